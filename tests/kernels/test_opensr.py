import math
import warnings

import numpy as np
import pytest

from xsr.kernels.opensr import METRICS, find_shift, move, opensr

SHARES = ["hallucination", "omission", "improvement"]


def triplet(seed, bands, size, scale, shift):
    """Low, super-resolved and high image of a made-up scene, float32."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    shape = 1 / (0.02 + np.hypot(fy, fx)) ** 1.5
    common = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * shape, (size, size))
    own = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((bands, size, size))) * shape, (size, size))
    field = common / common.std() + 0.5 * own / own.std()
    high = 0.2 + 0.04 * np.arange(1, bands + 1)[:, None, None] * field / field.std()
    high = np.clip(high, 0.01, 0.9)
    low = high.reshape(bands, size // scale, scale, size // scale, scale).mean(axis=(2, 4))
    response = np.exp(-0.5 * (2 * np.pi * scale / 4) ** 2 * (fy**2 + fx**2))
    blurred = np.fft.irfft2(np.fft.rfft2(high) * response, (size, size))
    fine = np.roll(blurred, shift, axis=(1, 2)) * 1.03 + 0.004 + 0.004 * rng.standard_normal(high.shape)
    return tuple(x.astype(np.float32) for x in (low, fine, high))


# Written by opensr-test 1.3.3 on the scenes of `triplet`, CPU, with torch 2.13.0, numpy 2.4.6, scikit-image 0.26.0,
# satalign 0.1.17 and opencv-python-headless 5.0.0 in an environment of its own:
#
#   pip install torch==2.13.0 "numpy<2.5" scikit-image pydantic matplotlib mpltern requests opencv-python-headless \
#       xarray rasterio
#   pip install --no-deps opensr-test==1.3.3 satalign==0.1.17
#
# with a stub for satalign.lgm (it would import torchvision; the method is not used), then for each case
#   opensr_test.Metrics().compute(lr=low, sr=fine, hr=high)
ORACLE = {
    (1, 4, 192, 4, (0, 0)): (
        0.015192737802863121,
        3.3704144954681396,
        0.0,
        0.027061618864536285,
        0.18709276616573334,
        0.25741007924079895,
        0.5554971694946289,
    ),
    (2, 3, 160, 2, (0, 0)): (
        0.0138009712100029,
        1.943240761756897,
        0.0,
        0.014663180336356163,
        0.11511977016925812,
        0.26754868030548096,
        0.6173315644264221,
    ),
    (3, 4, 192, 4, (2, -1)): (
        0.031179632991552353,
        5.303643703460693,
        0.4753945767879486,
        0.026465866714715958,
        0.1992235630750656,
        0.3460027277469635,
        0.4547736644744873,
    ),
    (4, 6, 128, 2, (1, 0)): (
        0.03577325865626335,
        5.586870193481445,
        0.46000000834465027,
        0.02475883811712265,
        0.12946990132331848,
        0.2311973124742508,
        0.6393328309059143,
    ),
    (5, 4, 192, 8, (3, 3)): (
        0.03222402185201645,
        5.077002048492432,
        0.44045430421829224,
        0.036988820880651474,
        0.2588717043399811,
        0.3863978385925293,
        0.354730486869812,
    ),
}


def scores(low, fine, high, scale, **options):
    values = opensr(low, fine, high, scale=(scale, scale), **{"visible": (0, 1, 2), **options})
    return dict(zip(METRICS, values, strict=True))


@pytest.mark.parametrize("case", ORACLE)
def test_numbers_of_opensr_test(case):
    low, fine, high = triplet(*case)
    found = opensr(low, fine, high, scale=(case[3],) * 2, visible=(0, 1, 2))
    np.testing.assert_allclose(found, ORACLE[case], rtol=0, atol=2e-5)


def test_shares_sum_to_one():
    found = scores(*triplet(1, 4, 128, 4, (0, 0)), 4)
    assert sum(found[name] for name in SHARES) == pytest.approx(1)


@pytest.mark.parametrize(("scale", "size"), [(1, 90), (3, 120), (2.5, 120), (3.4, 119)])
@pytest.mark.parametrize("bands", [1, 2, 5])
def test_any_scale_and_any_number_of_bands(scale, size, bands):
    """A low image of the right shape at each scale; opensr-test refuses all of these."""
    _, fine, high = triplet(2, bands, 240, 2, (0, 0))
    fine, high = fine[:, :size, :size], high[:, :size, :size]
    count = math.floor(size / scale + 1e-6)
    edges = np.minimum((np.arange(count + 1) * scale).astype(int), size - 1)
    low = np.add.reduceat(np.add.reduceat(high, edges[:-1], axis=1), edges[:-1], axis=2)
    ones = np.add.reduceat(np.add.reduceat(np.ones_like(high), edges[:-1], axis=1), edges[:-1], axis=2)
    found = scores(low / ones, fine, high, scale, visible=tuple(range(min(bands, 3))))
    assert all(math.isfinite(value) for value in found.values())
    assert found["reflectance"] < 0.08


def test_an_image_that_is_not_square():
    low, fine, high = triplet(1, 3, 160, 4, (0, 0))
    found = scores(low[:, :30], fine[:, :120], high[:, :120], 4)
    assert all(math.isfinite(value) for value in found.values())


def test_no_data_is_left_out():
    """Random holes hardly change the scores of a homogeneous scene; every number stays finite."""
    low, fine, high = triplet(1, 4, 192, 4, (0, 0))
    whole = scores(low, fine, high, 4)
    holes = np.random.default_rng(0).random((3, 192, 192)) < 0.002
    fine = np.where(holes[0], np.float32(np.nan), fine)
    high = np.where(holes[1], np.float32(np.nan), high)
    low = np.where(holes[2, :48, :48], np.float32(np.nan), low)
    found = scores(low, fine, high, 4)
    for name in METRICS:
        assert found[name] == pytest.approx(whole[name], rel=0.06, abs=0.021), name  # shifts come in steps of 0.02


def test_no_data_in_half_of_the_image_gives_the_scores_of_the_other_half():
    low, fine, high = triplet(1, 4, 192, 4, (0, 0))
    for image, edge in ((low, 24), (fine, 96), (high, 96)):
        image[:, :, edge:] = np.nan
    found = scores(low, fine, high, 4)
    half = scores(low[:, :, :24], fine[:, :, :96], high[:, :, :96], 4)
    for name in ("reflectance", "spectral", "synthesis", *SHARES):
        assert found[name] == pytest.approx(half[name], rel=0.15), name


def test_nothing_known():
    low, fine, high = triplet(1, 3, 128, 4, (0, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(list(scores(low, fine * np.nan, high, 4).values())).all()


def test_a_constant_image_has_no_shift():
    flat = np.full((3, 96, 96), 0.2, np.float32)
    found = scores(flat[:, :24, :24], flat, flat, 4)
    assert math.isnan(found["spatial"])
    assert found["reflectance"] == pytest.approx(0, abs=1e-7)
    assert found["synthesis"] == pytest.approx(0, abs=1e-7)


def test_an_image_smaller_than_its_border():
    low, fine, high = triplet(1, 3, 32, 4, (0, 0))
    assert np.isnan(list(scores(low, fine, high, 4).values())).all()


def test_a_shift_is_found_and_undone():
    """Whole pixels exactly; the border is repeated."""
    _, _, high = triplet(4, 1, 96, 2, (0, 0))
    moved = np.roll(high, (3, -2), axis=(1, 2))
    shift = find_shift(high[0], moved[0])
    assert shift == pytest.approx((-3, 2), abs=0.021)
    back = move(moved, (-3.0, 2.0))
    np.testing.assert_array_equal(back[:, 4:-4, 4:-4], high[:, 4:-4, 4:-4])
    np.testing.assert_allclose(move(moved, (0.5, 0.0))[0, 10, 9], moved[0, 9:11, 9].mean(), rtol=1e-6)


def test_a_shift_that_is_too_long_is_not_believed():
    _, _, high = triplet(4, 1, 96, 2, (0, 0))
    assert find_shift(high[0], np.roll(high[0], 20, axis=0)) is None


def test_correctness_does_not_see_a_bias():
    """The known limit of the protocol, which is why consistency stands beside it."""
    low, fine, high = triplet(1, 4, 192, 4, (0, 0))
    plain, biased = scores(low, fine, high, 4), scores(low, fine + np.float32(0.05), high, 4)
    for name in SHARES:
        assert biased[name] == pytest.approx(plain[name], abs=1e-4)
    assert biased["reflectance"] > plain["reflectance"] + 0.02
