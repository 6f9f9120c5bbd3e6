"""By kernels the same as from tensors in double precision, whatever the size."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xsr.kernels.local_detail import carried_over, slopes_and_detail
from xsr.models.architectures.injection import RIDGE, carried, regressed
from xsr.models.architectures.srcnn import taps


def images(count, height, width, seed=0):
    return np.random.default_rng(seed).standard_normal((count, height, width), dtype=np.float32)


def batch(*arrays):
    """One image each, in double precision."""
    return [torch.from_numpy(array).double()[None] for array in arrays]


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(1, 40), st.integers(1, 3), st.integers(1, 4), st.integers(0, 99))
def test_slopes_and_detail(height, width, count, guides, seed):
    own, guide, lost = (images(n, height, width, seed + k) for k, n in enumerate((count, guides, guides)))
    slopes, detail = slopes_and_detail(own, guide, lost, RIDGE)
    wanted = [made[0].numpy() for made in regressed(*batch(own, guide, lost))]
    spread = max(1.0, np.abs(wanted[0]).max())
    assert np.abs(slopes - wanted[0]).max() <= 1e-3 * spread
    assert np.abs(detail - wanted[1]).max() <= 4e-3 * spread
    if min(height, width) >= 4:  # of fewer pixels than unknowns the ridge alone decides
        assert np.sqrt(np.mean((slopes - wanted[0]) ** 2)) <= 1e-4 * spread


def test_of_a_smooth_image_as_exactly_as_float32_allows():
    """Variances are small differences of large numbers there."""
    y, x = np.mgrid[:40, :50] / 10
    guide = np.stack([np.sin(x) + y, np.cos(y) * x, x * y / 5]).astype(np.float32)
    own = np.stack([guide[0] - 0.5 * guide[2], guide[1]])
    lost = images(3, 40, 50)
    slopes, _ = slopes_and_detail(own, guide, lost, RIDGE)
    wanted = regressed(*batch(own, guide, lost))[0][0].numpy()
    assert np.abs(slopes - wanted).max() <= 1e-3


def test_no_pixel_depends_on_others_than_those_of_two_windows():
    own, guide, lost = images(2, 30, 31), images(3, 30, 31, 1), images(3, 30, 31, 2)
    whole = slopes_and_detail(own, guide, lost, RIDGE)
    part = slopes_and_detail(*(np.ascontiguousarray(v[:, 5:, 7:]) for v in (own, guide, lost)), RIDGE)
    for one, other in zip(whole, part, strict=True):
        assert np.array_equal(one[..., 11:, 13:], other[..., 6:, 6:])


def test_a_guide_without_contrast_has_no_slope():
    guide = np.concatenate([images(1, 20, 20), np.zeros((2, 20, 20), np.float32)])
    slopes, _ = slopes_and_detail(images(1, 20, 20, 2), guide, guide, RIDGE)
    assert np.abs(slopes[0, 0]).min() > 0
    assert not slopes[0, 1:].any()


@pytest.mark.parametrize("margin", [0, 1, 3])
@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize(("count", "guides"), [(6, 4), (1, 1), (2, 3)])
def test_what_is_carried_over(factor, margin, count, guides):
    """The outermost pixels are those of the detail, not of the output."""
    slopes = np.random.default_rng(0).standard_normal((count, guides, 8, 11), dtype=np.float32)
    detail = images(count, 8, 11, 2)
    output = images(guides + 2 * count, (8 - 2 * margin) * factor, (11 - 2 * margin) * factor, 1)
    phases = [taps(phase, factor, 1) for phase in range(factor)]
    made = carried_over(output.transpose(1, 2, 0), detail, slopes, phases, margin)
    wanted = carried(*batch(output, detail, slopes), factor, margin)[0].numpy()
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, wanted, atol=2e-5)


def test_what_is_carried_over_by_hand():
    """Half trusted: of 3 + 2 * 10, the detail and what is carried over, half is added to 100."""
    output = np.float32([[[10, 100, 0.5]]])
    itself = [(-1, (0.0, 1.0, 0.0, 0.0))]
    made = carried_over(output, np.float32([[[3]]]), np.float32([[[[2]]]]), itself)
    assert made.ravel().tolist() == [10, 111.5]
