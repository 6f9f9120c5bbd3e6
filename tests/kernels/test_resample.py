import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from xsr.core.blocks import padded_index
from xsr.core.errors import ParameterError
from xsr.core.keys import keys
from xsr.kernels.resample import (
    METHODS,
    RADIUS,
    containing_pixel,
    fill_nodata,
    interpolate,
    interpolate_filled,
    interpolation_taps,
    kernel_value,
    remask,
    resample,
    resample_points,
)
from xsr.kernels.taps import Taps

check = settings(max_examples=60)
SCALES = (1.5, 2, 3, 3.4, 4)


def centres(size, scale):
    """Positions of the output pixels of a scale."""
    return (np.arange(math.floor(size * scale + 1e-6)) + 0.5) / scale - 0.5


def padded(image, margin):
    """Stack continued by its border pixels."""
    rows, cols = (padded_index(-margin, size + margin, size, "edge") for size in image.shape[-2:])
    return image[:, rows[:, None], cols]


def enlarge(image, scale, method, margin=8):
    """Interpolate a whole stack as a block would."""
    rows, cols = (centres(size, scale) + margin for size in image.shape[-2:])
    return interpolate(padded(image, margin), rows, cols, method)


def random_stack(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


# --- kernels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "distance", "value"),
    [
        (-0.5, 0, 1),
        (-0.5, 1, 0),
        (-0.5, 2, 0),
        (-0.5, 2.5, 0),
        (-0.5, 0.5, 0.5625),
        (-0.5, -0.5, 0.5625),
        (-0.5, 1.5, -0.0625),
        (-0.75, 0.5, 0.59375),
        (-0.75, 1.5, -0.09375),
        (-0.75, 0.25, 0.87890625),
        (-0.75, 1, 0),
    ],
)
def test_keys_hand_values(a, distance, value):
    assert keys(np.array([float(distance)]), a)[0] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("method", "distance", "value"),
    [
        ("bilinear", 0.25, 0.75),
        ("bilinear", -1.5, 0),
        ("bicubic", 0.5, 0.5625),
        ("bicubic75", 0.5, 0.59375),
        ("lanczos3", 0.5, 18 / math.pi**2 * math.sin(math.pi / 2) * math.sin(math.pi / 6) / 1.5),
        ("lanczos3", 3.01, 0),
    ],
)
def test_kernel_value_hand_values(method, distance, value):
    assert kernel_value(np.array([distance]), method)[0] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "nearest"])
def test_kernels_pass_through_the_samples_and_end_at_their_radius(method):
    at = np.arange(-4.0, 5.0)
    np.testing.assert_allclose(kernel_value(at, method), at == 0, atol=1e-15)
    beyond = np.linspace(RADIUS[method], RADIUS[method] + 2, 9)
    np.testing.assert_allclose(kernel_value(beyond, method), 0, atol=1e-15)


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ParameterError, match=r"method 'spline' is unknown; expected one of nearest, bilinear"):
        kernel_value(np.zeros(1), "spline")


@pytest.mark.parametrize(
    ("position", "pixel"), [(-0.5, 0), (-0.51, -1), (0, 0), (0.49, 0), (0.5, 1), (1.5, 2), (2.4999, 2), (-3.2, -3)]
)
def test_a_pixel_holds_its_lower_border_and_not_its_upper(position, pixel):
    assert containing_pixel(np.array([position])).tolist() == [pixel]


@pytest.mark.parametrize(
    ("method", "position", "start", "weight"),
    [
        ("nearest", 1.5, 2, [1]),
        ("bilinear", 1.25, 1, [0.75, 0.25]),
        ("bilinear", 3.0, 3, [1, 0]),
        ("bicubic", 4.5, 3, [-0.0625, 0.5625, 0.5625, -0.0625]),
        ("bicubic75", 4.5, 3, [-0.09375, 0.59375, 0.59375, -0.09375]),
    ],
)
def test_interpolation_taps_hand_values(method, position, start, weight):
    taps = interpolation_taps(np.array([position]), method)
    assert taps.start.tolist() == [start]
    np.testing.assert_allclose(taps.weight, [weight], atol=1e-12)


@given(position=st.floats(-20, 20), method=st.sampled_from(METHODS))
@check
def test_interpolation_weights_sum_to_one_and_lie_around_the_position(position, method):
    taps = interpolation_taps(np.array([position]), method)
    assert taps.weight.sum() == pytest.approx(1, abs=1e-12)
    offset = taps.start[0] + np.arange(taps.weight.shape[1]) - position
    assert np.abs(offset[taps.weight[0] != 0]).max() <= RADIUS[method]


# --- sums ----------------------------------------------------------------------------------------------


def test_resample_hand_value():
    source = np.array([[[1, 2, 3], [4, 5, 6]]], np.float32)
    half = Taps(np.array([0]), np.array([[0.5, 0.5]]))
    cols = Taps(np.array([0, 1]), np.array([[1.0, 0.0], [0.25, 0.75]]))
    assert resample(source, half, cols).tolist() == [[[2.5, 4.25]]]


def naive(source, row_start, row_weight, col_start, col_weight):
    """Sum at one point, pixel by pixel."""
    total = 0.0
    for t, v in enumerate(row_weight):
        for u, w in enumerate(col_weight):
            total += v * w * float(source[row_start + t, col_start + u])
    return total


@given(method=st.sampled_from(METHODS), seed=st.integers(0, 99))
@check
def test_resample_and_resample_points_equal_a_naive_sum(method, seed):
    rng = np.random.default_rng(seed)
    source = random_stack(2, 11, 13, seed=seed)
    y, x = rng.uniform(3, 7, 6), rng.uniform(3, 9, 6)
    rows, cols = interpolation_taps(y, method), interpolation_taps(x, method)
    grid, points = resample(source, rows, cols), resample_points(source, rows, cols)
    assert grid.shape == (2, 6, 6)
    assert points.shape == (2, 6)
    for k in range(2):
        for i in range(6):
            for j in range(6):
                expected = naive(source[k], rows.start[i], rows.weight[i], cols.start[j], cols.weight[j])
                assert grid[k, i, j] == pytest.approx(expected, abs=3e-7)
            assert points[k, i] == pytest.approx(
                naive(source[k], rows.start[i], rows.weight[i], cols.start[i], cols.weight[i]), abs=2e-7
            )


def test_a_grid_of_points_equals_the_separable_sum():
    source = random_stack(3, 20, 20)
    y, x = np.linspace(4, 14, 9), np.linspace(3.3, 15.1, 7)
    grid = interpolate_filled(source, y, x, "bicubic")
    points = interpolate_filled(source, *np.meshgrid(y, x, indexing="ij"), "bicubic")
    np.testing.assert_allclose(points, grid, atol=2e-7)


@pytest.mark.parametrize("position", [0.5, 5.0])
def test_taps_beyond_the_image_are_refused(position):
    """Whatever their weight: at 5.0 the last of the four, on pixel 7, has none."""
    image, inside = np.zeros((1, 7, 7), np.float32), interpolation_taps(np.array([3.0]), "bicubic")
    outside = interpolation_taps(np.array([position]), "bicubic")
    for sums in (resample, resample_points):
        for taps in ((outside, inside), (inside, outside)):
            with pytest.raises(IndexError, match=r"taps on pixels .* of 7; expected padding around them"):
                sums(image, *taps)
        assert np.isfinite(sums(image, inside, inside)).all()


def test_sums_accept_views_and_other_floats():
    source = random_stack(2, 12, 12)
    rows = cols = interpolation_taps(np.linspace(2, 9, 5), "bicubic")
    strided = source.astype(np.float64).transpose(0, 2, 1)[:, ::-1]
    expected = resample(np.ascontiguousarray(strided, np.float32), rows, cols)
    assert np.array_equal(resample(strided, rows, cols), expected)
    points = resample_points(strided, rows, cols)
    np.testing.assert_allclose(points, np.diagonal(expected, axis1=1, axis2=2), atol=2e-7)


# --- oracles -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "mode"), [("bilinear", "bilinear"), ("bicubic75", "bicubic")])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_whole_scales_equal_torch(method, mode, scale):
    image = random_stack(2, 13, 17)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None], scale_factor=scale, mode=mode, align_corners=False
    )[0].numpy()
    np.testing.assert_allclose(enlarge(image, scale, method), expected, atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_bilinear_equals_scipy_at_any_scale(scale):
    image = random_stack(1, 12, 9)
    where = np.meshgrid(*(centres(size, scale) for size in image.shape[1:]), indexing="ij")
    expected = ndimage.map_coordinates(image[0].astype(np.float64), where, order=1, mode="nearest")
    np.testing.assert_allclose(enlarge(image, scale, "bilinear")[0], expected, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_nearest_at_whole_scales_repeats_pixels(scale):
    image = random_stack(2, 5, 6)
    assert np.array_equal(enlarge(image, scale, "nearest"), image.repeat(scale, 1).repeat(scale, 2))


# --- identities ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", SCALES)
def test_a_constant_stays_constant(method, scale):
    out = enlarge(np.full((1, 6, 7), 0.3, np.float32), scale, method)
    np.testing.assert_allclose(out, np.float32(0.3), rtol=2e-7)


def ramp_error(method, scale):
    """Largest error of a ramp of one unit a pixel along either axis, where the kernel sees no border."""
    size, inner = 24, 4
    along = np.arange(size, dtype=np.float32)
    rows, cols = np.broadcast_to(along[:, None], (size, size)), np.broadcast_to(along, (size, size))
    position = centres(size, scale)
    inside = (position > inner) & (position < size - 1 - inner)
    down, across = enlarge(np.stack([rows, cols]), scale, method)
    error = np.abs(down - position[:, None]).max(where=inside[:, None], initial=0)
    return max(error, np.abs(across - position).max(where=inside, initial=0))


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("scale", [2, 3, 3.4, 4])
def test_a_ramp_is_kept(method, scale):
    assert ramp_error(method, scale) < 1e-5


@pytest.mark.parametrize(
    ("method", "bound"),
    # In pixels of displacement. Keys' error is -(a + 1/2) t (1 - t) (1 - 2 t) * 2, at most 0.0481; Lanczos measured.
    [("bicubic75", 0.0482), ("lanczos3", 0.0201)],
)
def test_a_ramp_is_not_kept_by_the_sharper_kernels(method, bound):
    errors = [ramp_error(method, scale) for scale in (2, 3, 3.4, 4)]
    assert 0.9 * bound < max(errors) < bound


@pytest.mark.parametrize("method", METHODS)
def test_scale_one_returns_the_image(method):
    image = random_stack(2, 7, 5)
    np.testing.assert_allclose(enlarge(image, 1, method), image, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_mirrored_and_transposed_images_give_mirrored_and_transposed_results(method):
    image = random_stack(1, 9, 8)
    out = enlarge(image, 3, method)
    np.testing.assert_allclose(enlarge(image[:, ::-1], 3, method), out[:, ::-1], atol=5e-7)
    np.testing.assert_allclose(enlarge(image.transpose(0, 2, 1), 3, method), out.transpose(0, 2, 1), atol=5e-7)


# --- no data -------------------------------------------------------------------------------------------

NAN = float("nan")


def test_fill_nodata_hand_value():
    image = np.array([[[1, 2, NAN, NAN], [3, NAN, NAN, NAN], [NAN, NAN, NAN, 9]]], np.float32)
    once = fill_nodata(image, passes=1, constant=-1)
    assert once.tolist() == [[[1, 2, 2, -1], [3, 2, 5.5, 9], [3, 3, 9, 9]]]
    twice = fill_nodata(image, passes=2, constant=-1)
    assert twice[0, 0, 3] == pytest.approx((2 + 5.5 + 9) / 3)
    assert np.array_equal(np.delete(twice.ravel(), 3), np.delete(once.ravel(), 3))


def test_fill_nodata_treats_infinities_as_holes():
    image = np.array([[[1, np.inf], [-np.inf, 3]]], np.float32)
    assert fill_nodata(image, passes=1, constant=0).tolist() == [[[1, 2], [2, 3]]]


def test_fill_nodata_constant_may_differ_by_image():
    image = np.full((2, 2, 2), NAN, np.float32)
    filled = fill_nodata(image, passes=3, constant=np.array([0.25, 0.5], np.float32))
    assert filled.tolist() == [[[0.25, 0.25]] * 2, [[0.5, 0.5]] * 2]
    assert fill_nodata(image, passes=0, constant=7.0).tolist() == [[[7, 7]] * 2] * 2


def test_fill_nodata_leaves_the_input_and_a_complete_image_alone():
    image = random_stack(1, 4, 4)
    assert fill_nodata(image, passes=2, constant=0) is image
    image[0, 1, 1] = NAN
    before = image.copy()
    fill_nodata(image, passes=2, constant=0)
    np.testing.assert_array_equal(image, before)


holes = hnp.arrays(bool, (1, 12, 12))


@given(hole=holes, passes=st.integers(1, 3))
@check
def test_fill_nodata_does_not_depend_on_the_order_of_pixels(hole, passes):
    image = np.where(hole, np.float32(NAN), random_stack(1, 12, 12))
    filled = fill_nodata(image, passes=passes, constant=0)
    for turn in (lambda a: a[:, ::-1], lambda a: a[:, :, ::-1], lambda a: a.transpose(0, 2, 1)):
        np.testing.assert_allclose(fill_nodata(turn(image), passes=passes, constant=0), turn(filled), atol=1e-6)


@given(hole=holes, passes=st.integers(1, 3), y=st.integers(0, 5), x=st.integers(0, 5))
@check
def test_fill_nodata_of_a_window_equals_the_whole_beyond_its_margin(hole, passes, y, x):
    image = np.where(hole, np.float32(NAN), random_stack(1, 12, 12))
    image[0, 0, 0] = NAN
    whole = fill_nodata(image, passes=passes, constant=0)
    window = fill_nodata(image[:, y : y + 7, x : x + 7], passes=passes, constant=0)
    inner = np.s_[:, passes : 7 - passes, passes : 7 - passes]
    assert np.array_equal(window[inner], whole[:, y : y + 7, x : x + 7][inner])


@given(hole=holes)
@check
def test_fill_nodata_keeps_valid_pixels_and_stays_within_their_range(hole):
    image = np.where(hole, np.float32(NAN), random_stack(1, 12, 12))
    filled = fill_nodata(image, passes=2, constant=0.5)
    assert np.array_equal(filled[~hole], image[~hole])
    bounds = [*image[~hole], 0.5]
    assert filled.min() >= min(bounds)
    assert filled.max() <= max(bounds)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_output_is_nan_exactly_where_its_pixel_is_no_data(method, bad):
    image = random_stack(2, 8, 8)
    image[0, 3, 4] = bad
    image[0, 0, 0] = bad
    for scale in (2, 3.4):
        at = containing_pixel(centres(8, scale))
        assert np.array_equal(np.isnan(enlarge(image, scale, method)), ~np.isfinite(image)[:, at[:, None], at])


@pytest.mark.parametrize("method", METHODS)
def test_points_are_masked_like_the_grid(method):
    image = padded(random_stack(1, 6, 6), 8)
    image[0, 10, 11] = NAN
    y, x = np.meshgrid(np.linspace(8, 13, 21), np.linspace(8, 13, 11), indexing="ij")
    out = interpolate(image, y, x, method)
    assert np.array_equal(np.isnan(out[0]), (np.floor(y + 0.5) == 10) & (np.floor(x + 0.5) == 11))
    grid = interpolate(image, y[:, 0], x[0], method)
    np.testing.assert_allclose(out, grid, atol=5e-7)


@pytest.mark.parametrize("method", METHODS)
def test_a_hole_moves_no_value_beyond_the_reach_of_the_kernel(method):
    whole = random_stack(1, 16, 16)
    image = whole.copy()
    image[0, 8, 8] = NAN
    change = np.abs(enlarge(image, 2, method) - enlarge(whole, 2, method))
    distance = np.abs(centres(16, 2) - 8)
    far = np.maximum(distance[:, None], distance) >= RADIUS[method]
    assert change[0][far].max() == 0
    assert np.nanmax(change) < 1


def test_a_constant_with_holes_stays_constant():
    image = np.full((1, 10, 10), 0.25, np.float32)
    image[0, 2:5, 2:6] = NAN
    out = enlarge(image, 3.4, "lanczos3")
    np.testing.assert_allclose(out[np.isfinite(out)], 0.25, rtol=1e-6)


def test_remask_of_nothing_hidden_changes_nothing():
    out = random_stack(1, 2, 2)
    assert np.array_equal(remask(out, np.ones((1, 3, 3), bool), np.array([0.2, 1.7]), np.array([0.0, 2.0])), out)
