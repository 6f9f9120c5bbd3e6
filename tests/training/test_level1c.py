import numpy as np
import pytest

from xsr.core.blocks import Span
from xsr.kernels.degrade import observe, sensor_band
from xsr.kernels.noise import NoiseModel
from xsr.training.level1c import LEAST_CELL, Resampled, draw
from xsr.training.pairs import Batch, WaldSampler
from xsr.training.scenes import TrainingScene

SPAN = Span(4, 24)


def keys(distance):
    d = np.abs(distance)
    return np.where(d <= 1, 1.5 * d**3 - 2.5 * d**2 + 1, np.where(d < 2, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2, 0))


def texture(size):
    return (0.2 + 0.05 * np.random.default_rng(0).standard_normal((1, size, size))).astype(np.float32)


def seen(observer, images, band, *, rows=SPAN, cols=SPAN, shift=(0.0, 0.0), seed=0):
    return observer(images, band, rows=rows, cols=cols, origin=(0, 0), shift=shift, seed=seed)


def sampler(**changes):
    image = 0.1 + 0.05 * np.random.default_rng(0).standard_normal((2, 200, 190))
    settings = dict(
        mtf=(0.3, 0.25), scale_range=(1.5, 4.0), patch=20, queries=50, batch=4, mtf_jitter=0.08, seed=3, similar=False
    )
    scene = TrainingScene("here", image.astype(np.float32))
    return WaldSampler((scene,), **{**settings, "coarser": (False, True), "noise": (0.02, 0.02), **changes})


def same(one: Batch, two: Batch, *names: str) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in names)


def test_the_switch_changes_observed_images_and_no_other_draw():
    plain, real, half = sampler(), sampler(resampled=1.0), sampler(resampled=0.5)
    changed = 0
    for step in range(12):
        one, two = plain(step), real(step)
        assert one.scale == two.scale
        assert same(one, two, "rows", "cols", "target")
        assert not np.isclose(one.low, two.low, atol=1e-4).all(axis=(2, 3)).any()  # of no patch and no band
        assert same(two, sampler(resampled=1.0)(step), "low", "base")
        changed += (one.low != half(step).low).any(axis=(1, 2, 3)).sum()
    assert 0.25 < changed / 48 < 0.75


def test_phases_of_bands_are_uniform_and_their_own():
    rng = np.random.default_rng(1)
    drawn = [draw(0.3, 2, rng) for _ in range(6000)]
    changed = np.array([[band.shift for band in bands] for bands in drawn if bands != [Resampled()] * 2])
    assert len(changed) / 6000 == pytest.approx(0.3, abs=0.02)
    assert np.abs(changed).max() <= 0.5
    assert changed.std(axis=0) == pytest.approx(1 / np.sqrt(12), rel=0.05)
    assert abs(np.corrcoef(changed[:, 0, 0], changed[:, 1, 0])[0, 1]) < 0.07
    assert draw(0.0, 3, rng) == [Resampled()] * 3


@pytest.mark.parametrize("aside", [0.5, -0.2])
def test_a_wave_keeps_its_place_and_has_the_response_of_the_interpolation(aside):
    """Weights k at distances d make of a wave its product with the sum of k(d) exp(2 pi i f d)."""
    scale, period = 4.0, 5.0
    lines = 0.3 + 0.1 * np.cos(2 * np.pi * np.arange(160) / (scale * period))
    images, band = np.tile(lines[:, None], (1, 160)).astype(np.float32)[None], sensor_band(0.3, scale)
    plain, real = (seen(Resampled(shift), images, band)[0, :, 0] for shift in ((0.0, 0.0), (aside, 0.0)))
    at = np.arange(-3, 4) - aside
    gain = (keys(at) * np.exp(2j * np.pi * at / period)).sum()
    turn = np.exp(2j * np.pi * ((np.arange(SPAN.start, SPAN.stop) + 0.5) / period - 0.5 / (scale * period)))
    amplitude = (plain - 0.3) @ turn.real / (turn.real @ turn.real)
    np.testing.assert_allclose(real, 0.3 + amplitude * (gain * turn).real, atol=2e-4)
    assert amplitude * abs(1 - gain) > 5e-4


@pytest.mark.parametrize("own", [1, 2])
def test_a_ramp_stays_where_it_is(own):
    y, x = np.mgrid[:260, :260]
    images, band = (0.1 + 1e-3 * y - 5e-4 * x).astype(np.float32)[None], sensor_band(0.3, 3.0, own=own)
    how = dict(rows=Span(8, 30), cols=Span(6, 30), shift=(0.3, -0.2))
    np.testing.assert_allclose(
        seen(Resampled((0.4, -0.3)), images, band, **how), seen(observe, images, band, **how), atol=1e-5
    )


def test_a_band_of_larger_pixels_is_interpolated_in_its_own_pixels_first():
    """Each step written out: own pixels that lie aside, own pixels, pixels of the grid."""
    scale, shift = 2.0, (0.3, -0.45)
    images, wide = texture(200), sensor_band(0.25, 2 * scale)
    real = seen(Resampled(shift), images, sensor_band(0.25, scale, own=2))[0]
    aside = seen(observe, images, wide, rows=Span(-4, 30), cols=Span(-4, 30), shift=shift)[0].astype(float)
    own = [keys((np.arange(16) + by)[:, None] - np.arange(-4, 30)) for by in shift]
    grid = keys(((np.arange(SPAN.start, SPAN.stop) + 0.5) / 2 - 0.5)[:, None] - np.arange(16))
    np.testing.assert_allclose(real, grid @ own[0] @ aside @ own[1].T @ grid.T, atol=2e-6)


def test_noise_loses_variance_and_is_correlated_as_the_weights_say():
    flat, band = np.full((1, 520, 520), 0.2, np.float32), sensor_band(0.3, 2.0, noise=NoiseModel(0.01))
    shift = (0.5, 0.2)
    noise = seen(Resampled(shift), flat, band, rows=Span(4, 254), cols=Span(4, 254))[0].astype(float) - 0.2
    weight = [keys(np.arange(-3, 4) - by) for by in shift]
    power = [w @ w for w in weight]
    assert noise.std() / 0.01 == pytest.approx(np.sqrt(power[0] * power[1]), rel=0.02)
    for axis, (w, p) in enumerate(zip(weight, power, strict=True)):
        one, two = (np.moveaxis(noise, axis, 0)[part] for part in (slice(1, None), slice(-1)))
        assert (one * two).mean() / noise.var() == pytest.approx((w[1:] * w[:-1]).sum() / p, abs=0.02)


def test_near_a_scale_of_one_an_image_is_left_as_it_is():
    images = texture(90)
    for scale, left in ((LEAST_CELL - 0.01, True), (LEAST_CELL, False)):
        band = sensor_band(0.3, scale)
        assert np.array_equal(seen(Resampled((0.5, 0.5)), images, band), seen(observe, images, band)) == left
