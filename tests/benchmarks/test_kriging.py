"""Kriging of points from pixels: equations written out in full, and what must be kept."""

import numpy as np
import pytest
from common.kriging import REACH, Field, Response, alike, area_to_point, behind_pixels, of_pixels

from xsr.kernels.degrade import blur_decimate


def rough(seed=1, shape=(24, 20)):
    image = np.random.default_rng(seed).normal(size=shape)
    return image + np.roll(image, 1, axis=0) + np.roll(image, 1, axis=1)


def points_of(response, side, row, col):
    """Places of the fine pixels of a coarse pixel, and their weights."""
    own = np.arange(response.weight.size) + response.first
    y, x = np.meshgrid(own + side * row, own + side * col, indexing="ij")
    return np.stack([y.ravel(), x.ravel()]), np.outer(response.weight, response.weight).ravel()


@pytest.mark.parametrize("response", [Response.area(3), Response.sensor(3, 0.3)], ids=["area", "sensor"])
def test_covariances_are_those_of_all_pairs_of_points(response):
    field, length = Field(3, 4.0, response), 4.0
    origin, weight = points_of(response, 3, 0, 0)
    for down, right in ((0, 0), (1, 0), (-2, 1)):
        other, beside = points_of(response, 3, down, right)
        apart = np.hypot(*(origin[:, :, None] - other[:, None]))
        wanted = weight @ np.exp(-apart / length) @ beside
        assert field.between_pixels()[down + 2 * REACH, right + 2 * REACH] == pytest.approx(wanted)
        point = np.hypot(other[0] - 2, other[1] - 1)  # the fine pixel of row 2 and column 1 of the middle
        assert field.to_points()[down + REACH, right + REACH, 2, 1] == pytest.approx(beside @ np.exp(-point / length))


def test_a_constant_stays():
    for response in (Response.area(4), Response.sensor(4, 0.3)):
        made = area_to_point(np.full((6, 7), 0.2), Field(4, 5.0, response))
        np.testing.assert_allclose(made, 0.2, rtol=1e-9)


def test_means_over_the_pixels_are_kept():
    image = rough()
    for field in (of_pixels(image, 3), behind_pixels(image, Response.area(3), 3)):
        made = area_to_point(image, field)
        assert made.shape == (72, 60)
        means = made.reshape(24, 3, 20, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(means[3:-3, 3:-3], image[3:-3, 3:-3], atol=0.05 * image.std())


def test_what_a_sensor_observes_is_kept_better_with_its_response():
    image = rough()
    errors = []
    for response in (Response.sensor(4, 0.3), Response.area(4)):
        made = area_to_point(image, behind_pixels(image, response, 4)).astype(np.float32)
        again = blur_decimate(made[None], scale=4, mtf=0.3)[0]
        errors.append(float(np.abs(again - image)[3:-3, 3:-3].mean()))
    assert errors[0] < 0.2 * errors[1]


def test_the_field_behind_pixels_is_as_alike_as_they_are():
    image = rough(shape=(60, 60))
    image = image + np.roll(image, 2, axis=0) + np.roll(image, 2, axis=1)
    field = behind_pixels(image, Response.area(4), 4)
    assert field.alike() == pytest.approx(alike(image), abs=0.03)
