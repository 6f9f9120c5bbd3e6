import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsr.core import sensors
from xsr.core.errors import ParameterError
from xsr.kernels import psf

BANDS = [band for band in sensors.get("sentinel-2").bands if band.mtf is not None]
RATIONAL = (1, 1.5, 2, 2.5, 3, 3.4, 4, 7)


def centres(cell, count=24):
    return (np.arange(count) + 0.5) * cell - 0.5


def offsets(taps, centre):
    return taps.start[:, None] + np.arange(taps.weight.shape[1]) - centre[:, None]


def measured_mtf(taps, centre, cell):
    """Modulation of a cosine at the low-resolution Nyquist frequency, mean over the outputs; no shared code."""
    phase = np.pi / cell * offsets(taps, centre)
    return float((taps.each * np.cos(phase)).sum(axis=1).mean())


@pytest.mark.parametrize("make", [psf.gaussian, psf.detector])
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("band", BANDS, ids=lambda band: band.name)
def test_the_measured_mtf_is_that_of_the_band(band, factor, make):
    centre = centres(factor)
    taps = psf.sample(centre, make(band.mtf, factor), cell=factor)
    assert measured_mtf(taps, centre, factor) == pytest.approx(band.mtf, abs=1e-6)


@given(cell=st.sampled_from(RATIONAL), mtf=st.floats(0.05, 0.6))
def test_the_measured_mtf_is_the_one_asked_for(cell, mtf):
    centre = centres(cell, 128)
    taps = psf.sample(centre, psf.gaussian(mtf, cell), cell=cell)
    assert measured_mtf(taps, centre, cell) == pytest.approx(mtf, abs=1e-3)


@pytest.mark.parametrize("make", [psf.gaussian, psf.detector])
@pytest.mark.parametrize("cell", [*RATIONAL, math.pi])
def test_weights_have_sum_one_and_their_centroid_at_the_centre(cell, make):
    centre = centres(cell)
    taps = psf.sample(centre, make(0.3, cell), cell=cell)
    weight = taps.each
    np.testing.assert_allclose(weight.sum(axis=1), 1, atol=1e-14)
    np.testing.assert_allclose((weight * offsets(taps, centre)).sum(axis=1), 0, atol=1e-13)


def test_a_wide_gaussian_has_the_ratio_of_its_values():
    taps = psf.sample(np.array([10.5]), psf.Gaussian(2.0), cell=4)
    offset = offsets(taps, np.array([10.5]))[0]
    np.testing.assert_allclose(taps.weight[0] / taps.weight[0].max(), np.exp(-(offset**2 - 0.25) / 8), rtol=1e-12)


def test_a_detector_with_a_perfect_lens_averages_the_pixels_it_covers():
    taps = psf.sample(centres(2.5, 2), psf.Detector(2.5, 0.0), cell=2.5)
    # Low-resolution pixels cover [-0.5, 2.0) and [2.0, 4.5): two whole pixels and half of the third. The centroid of
    # such a mean lies off the centre, and is moved back to it.
    plain = np.array([[1, 1, 0.5], [0.5, 1, 1]]) / 2.5
    moved = taps.each[:, -3:] if taps.weight.shape[1] == 3 else taps.weight[taps.phase]
    assert np.abs(moved[:, :3] - plain).max() < 0.2
    even = psf.sample(centres(4, 3), psf.Detector(4.0, 0.0), cell=4)
    np.testing.assert_allclose(even.weight, np.full((1, 4), 0.25), atol=1e-15)
    assert even.start.tolist() == [0, 4, 8]


def test_a_detector_responds_like_a_box_behind_a_lens():
    """At a quarter of the sampling frequency the response is that of sinc times Gaussian, sampling aside."""
    cell = 8
    centre = centres(cell)
    taps = psf.sample(centre, psf.detector(0.3, cell), cell=cell)
    sigma = sensors.sigma_px(0.3 * math.pi / 2, cell)
    frequency = 0.25 / cell
    expected = np.sinc(frequency * cell) * math.exp(-2 * (math.pi * sigma * frequency) ** 2)
    assert psf.response(taps, frequency, centre).mean() == pytest.approx(expected, abs=5e-3)


def test_measured_kernel_is_centred_on_its_centroid():
    measured = psf.Measured((0.0, 1.0, 2.0, 4.0, 2.0, 1.0), 0.5)
    centre = centres(2)
    taps = psf.sample(centre, measured, cell=2)
    np.testing.assert_allclose((taps.each * offsets(taps, centre)).sum(axis=1), 0, atol=1e-13)


def test_measured_gaussian_equals_the_gaussian():
    step, sigma = 0.05, 2.0
    place = np.arange(-200, 201) * step
    values = tuple(np.exp(-(place**2) / (2 * sigma**2)).tolist())
    centre = centres(4)
    taps = psf.sample(centre, psf.Measured(values, step), cell=4)
    # The integral over a pixel is as wide as a Gaussian of variance sigma^2 + 1/12.
    equal = psf.sample(centre, psf.Gaussian(math.sqrt(sigma**2 + 1 / 12)), cell=4)
    for frequency in (0.05, 0.1, 0.125):
        np.testing.assert_allclose(
            psf.response(taps, frequency, centre), psf.response(equal, frequency, centre), atol=1e-3
        )


@pytest.mark.parametrize(("low", "cell", "high"), [(0.3, 2.0, 0.3), (0.25, 3.4, 0.4), (0.1, 1.0, 0.5)])
def test_effective_variance_is_the_difference(low, cell, high):
    wanted = sensors.sigma_px(low, cell) ** 2 - sensors.sigma_px(high, 1.0) ** 2
    assert psf.effective(low, cell, high).sigma ** 2 == pytest.approx(wanted)


@pytest.mark.parametrize("cell", [1.5, 2.0, 4.0])
def test_effective_of_two_sensors_gives_the_response_of_the_coarser(cell):
    """Blurring what a 10 m sensor saw gives what a coarser sensor would see: responses multiply."""
    m = 0.3
    centre = centres(cell)
    taps = psf.sample(centre, psf.effective(m, cell, m), cell=cell)
    own = math.exp(-2 * (math.pi * sensors.sigma_px(m, 1) * 0.5 / cell) ** 2)
    assert psf.response(taps, 0.5 / cell, centre).mean() * own == pytest.approx(m, abs=1e-6)


def test_effective_is_no_sharper_than_a_grid_allows():
    """Half of the centres of a grid of 1.25 pixels lie between two pixels, and lose as much by that alone."""
    assert psf.effective(0.3, 1.25, 0.3).nyquist == (0.4, psf.NEARLY * psf.sharpest(1.25))
    assert psf.remaining(0.3, 1.25, 0.3) > psf.sharpest(1.25)


def test_units_of_the_map_become_pixels():
    assert psf.pixels(psf.gaussian(0.3, 20.0), 10.0).sigma == pytest.approx(sensors.sigma_px(0.3, 2.0))
    assert psf.pixels(psf.Detector(20.0, 5.0), 10.0) == psf.Detector(2.0, 0.5)
    assert psf.pixels(psf.Measured((1.0,), 10.0), 10.0).step == 1.0


@pytest.mark.parametrize("function", [psf.gaussian(0.3, 4.0), psf.detector(0.3, 4.0)])
def test_a_wider_blur_has_a_smaller_response(function):
    centre = centres(4)
    plain, wide = (
        psf.response(psf.sample(centre, f, cell=4), 0.125, centre).mean() for f in (function, function.widened(1.2))
    )
    assert wide < 0.9 * plain
    assert function.widened(1.0) == function


def test_phases_of_a_rational_factor_share_their_weights():
    taps = psf.sample(centres(3.4, 1000), psf.gaussian(0.3, 3.4), cell=3.4)
    assert taps.weight.shape[0] == 5
    assert taps.phase[:10].tolist() == [*taps.phase[:5].tolist()] * 2


@given(first=st.integers(0, 500), cell=st.sampled_from([1, 2, 2.5, 3.4, math.pi]))
def test_weights_do_not_depend_on_where_a_block_starts(first, cell):
    stage = (psf.Stage(psf.gaussian(0.3, cell), cell),)
    whole, part = psf.sample_chain(0, 520, stage), psf.sample_chain(first, 20, stage)
    assert np.array_equal(whole.start[first : first + 20], part.start)
    index = range(first, first + 20)
    for i, j in zip(index, range(20), strict=True):
        a, b = whole.weight[whole.phase[i]], part.weight[part.phase[j]]
        n = min(a.size, b.size)
        assert np.array_equal(a[:n], b[:n])


def test_a_chain_equals_one_step_after_the_other():
    rng = np.random.default_rng(5)
    image = rng.random(480)

    def apply(taps, values):
        index = np.clip(taps.start[:, None] + np.arange(taps.weight.shape[1]), 0, values.size - 1)
        return (taps.each * values[index]).sum(axis=1)

    box, blur = psf.Stage(psf.Detector(2.0, 0.0), 2.0), psf.Stage(psf.gaussian(0.3, 4.0), 4.0)
    up = psf.Stage(psf.Cubic(), 0.5)
    whole = apply(psf.sample_chain(0, 120, (box, blur, up)), image)
    steps = apply(psf.sample_chain(0, 240, (box,)), image)
    steps = apply(psf.sample_chain(0, 60, (blur,)), steps)
    steps = apply(psf.sample_chain(0, 120, (up,)), steps)
    np.testing.assert_allclose(whole[20:-20], steps[20:-20], atol=1e-12)


def test_reach_covers_the_weights():
    stages = (psf.Stage(psf.Detector(2.0, 0.0), 2.0), psf.Stage(psf.gaussian(0.3, 4.0), 4.0))
    centre = (np.arange(10) + 0.5) * 8 - 0.5
    taps = psf.sample_chain(0, 10, stages, shift=0.4)
    reach = psf.reach_px(stages, 0.4)
    assert (taps.start >= np.floor(centre) - reach).all()
    assert (taps.start + taps.weight.shape[1] - 1 <= np.floor(centre) + 1 + reach).all()


@pytest.mark.parametrize(("cell", "mtf", "most"), [(2, 0.8, "0.707"), (4, 0.95, "0.924")])
def test_a_response_that_no_weights_have_is_refused(cell, mtf, most):
    with pytest.raises(ParameterError, match=rf"mtf={mtf} at scale {cell}.*expected at most {most}"):
        psf.sample(centres(cell), psf.gaussian(mtf, cell), cell=cell)


@pytest.mark.parametrize("mtf", [0.0, 1.0, -0.1, math.nan])
def test_an_mtf_outside_its_range_is_refused(mtf):
    for make in (psf.gaussian, psf.detector):
        with pytest.raises(ParameterError, match="above 0 and below 1"):
            make(mtf, 2.0)


def test_a_detector_sharper_than_its_pixel_is_refused():
    with pytest.raises(ParameterError, match=r"mtf=0.7 with psf='detector'; expected less than 0.637"):
        psf.detector(0.7, 2.0)


def test_sharpening_is_refused():
    with pytest.raises(ParameterError, match="A blur cannot sharpen"):
        psf.effective(0.3, 1.0, 0.2)
    assert psf.effective(0.3, 1.0, 0.3).nyquist == (0.5, psf.NEARLY)


@pytest.mark.parametrize("values", [(), (0.0, 0.0), (1.0, math.nan), (-1.0, 0.5)])
def test_a_measured_kernel_without_weight_is_refused(values):
    with pytest.raises(ParameterError, match="finite numbers with a positive sum"):
        psf.Measured(values, 1.0)


@pytest.mark.parametrize("step", [0.0, -1.0, math.inf])
def test_a_measured_kernel_without_a_step_is_refused(step):
    with pytest.raises(ParameterError, match="expected a positive distance"):
        psf.Measured((1.0,), step)


@pytest.mark.parametrize("cell", [1.02, 1.1, 1.25, 1.5, 2.0, 3.4])
def test_weights_up_to_the_sharpest_are_exact_and_beyond_are_refused(cell):
    most, centre = psf.sharpest(cell), centres(cell, 100)
    taps = psf.sample(centre, psf.gaussian(0.999 * most, cell), cell=cell)
    assert np.abs((taps.each * offsets(taps, centre)).sum(axis=1)).max() < 1e-12
    assert measured_mtf(taps, centre, cell) == pytest.approx(0.999 * most, abs=1e-9)
    with pytest.raises(ParameterError, match=f"at scale {cell:.4g} .*expected at most {most:.3f}"):
        psf.sample(centre, psf.gaussian(1.001 * most, cell), cell=cell)


def test_the_sharpest_weights_are_those_of_linear_interpolation():
    # Centres of pixels of 1.5 lie at 1/4 and 3/4 between two pixels: 3/4 cos(30 deg) + 1/4 cos(90 deg).
    assert psf.sharpest(1.5) == pytest.approx(0.75 * math.cos(math.pi / 6))
    assert psf.sharpest(3.0) == 1.0  # centres on pixels
