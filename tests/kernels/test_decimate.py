import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from xsr.kernels import psf
from xsr.kernels.decimate import PART, decimate, decimate_reference
from xsr.kernels.degrade import whole

SCALES = (1, 1.5, 2, 2.5, 3, 3.4, 4, math.pi)


def random_stack(*shape):
    return np.random.default_rng(7).random(shape, dtype=np.float32)


def taps_of(size, scale, function):
    centre = psf.centres(0, len(whole(size, scale)), scale)
    return psf.sample(centre, function, cell=float(scale))


def direct(image, scale, sigma):
    """Sum of Gaussian weights around every low-resolution centre, over a mirrored image; no shared code."""
    half = math.ceil(4 * sigma)
    margin = half + 2
    wide = np.pad(image.astype(np.float64), margin, mode="reflect")
    shape = [math.floor(size / scale + 1e-6) for size in image.shape]
    out = np.zeros(shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            y, x = ((k + 0.5) * scale - 0.5 for k in (i, j))
            total = weights = 0.0
            for a in range(math.ceil(y - half), math.floor(y + half) + 1):
                for b in range(math.ceil(x - half), math.floor(x + half) + 1):
                    w = math.exp(-((a - y) ** 2 + (b - x) ** 2) / (2 * sigma**2))
                    total += w * wide[a + margin, b + margin]
                    weights += w
            out[i, j] = total / weights
    return out


@pytest.mark.parametrize(("scale", "bound"), [(2, 1e-6), (3, 1e-6), (4, 1e-6), (2.5, 2e-4), (3.4, 2e-4)])
def test_a_gaussian_equals_a_direct_sum(scale, bound):
    """Of other than whole factors the cut at 4 sigma is not symmetric, and xsr moves the centroid back."""
    image, sigma = random_stack(1, 27, 24), 0.49 * scale
    rows, cols = (taps_of(size, scale, psf.Gaussian(sigma)) for size in image.shape[1:])
    np.testing.assert_allclose(decimate(image, rows, cols)[0], direct(image[0], scale, sigma), atol=bound)


@pytest.mark.parametrize("factor", [1, 3, 5])
def test_odd_factors_equal_scipy(factor):
    """The centre of an odd factor is that of a pixel: blur the whole, then slice."""
    image, sigma = random_stack(1, 60, 45), 1.3
    rows, cols = (taps_of(size, factor, psf.Gaussian(sigma)) for size in image.shape[1:])
    blurred = ndimage.gaussian_filter(image[0].astype(np.float64), sigma, mode="mirror", radius=math.ceil(4 * sigma))
    expected = blurred[factor // 2 :: factor, factor // 2 :: factor]
    np.testing.assert_allclose(decimate(image, rows, cols)[0], expected, atol=1e-6)


@settings(max_examples=40, deadline=None)
@example(height=4, width=4, scale=3.141592653589793, mtf=0.5, gaps=0.0, seed=0)
@given(
    height=st.integers(4, 40),
    width=st.integers(4, 40),
    scale=st.sampled_from(SCALES),
    mtf=st.floats(0.1, 0.5),
    gaps=st.floats(0, 0.6),
    seed=st.integers(0, 99),
)
def test_the_kernel_equals_its_reference(height, width, scale, mtf, gaps, seed):
    rng = np.random.default_rng(seed)
    image = rng.random((2, height, width), dtype=np.float32)
    image[rng.random(image.shape) < gaps] = np.nan
    rows, cols = (taps_of(size, scale, psf.gaussian(mtf, scale)) for size in (height, width))
    np.testing.assert_allclose(decimate(image, rows, cols), decimate_reference(image, rows, cols), atol=2e-6)


@pytest.mark.parametrize("scale", [2, 3.4])
def test_a_pixel_does_not_depend_on_the_gaps_of_others_far_away(scale):
    """Gaps are summed anew in parts of a line: beside them, and in parts without, the bits are the same."""
    image = random_stack(1, 40, 5 * PART)
    image[0, 11, [3, PART - 1, PART, 2 * PART + 9]] = np.nan
    rows, cols = (taps_of(size, scale, psf.gaussian(0.3, scale)) for size in image.shape[1:])
    found = decimate(image, rows, cols)
    np.testing.assert_allclose(found, decimate_reference(image, rows, cols), atol=1e-6)
    filled = np.where(np.isnan(image), np.float32(0.5), image)
    untouched = decimate(np.isnan(image).astype(np.float32), rows, cols) == 0
    assert 0 < np.count_nonzero(untouched) < untouched.size
    np.testing.assert_array_equal(found[untouched], decimate(filled, rows, cols)[untouched])


@pytest.mark.parametrize("scale", SCALES)
def test_the_error_stays_below_a_millionth(scale):
    image = random_stack(1, 300, 310)
    rows, cols = (taps_of(size, scale, psf.gaussian(0.2, scale)) for size in image.shape[1:])
    np.testing.assert_allclose(decimate(image, rows, cols), decimate_reference(image, rows, cols), rtol=1e-6)
