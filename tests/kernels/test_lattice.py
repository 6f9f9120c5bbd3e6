import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsr.core.blocks import Span
from xsr.core.errors import ParameterError
from xsr.kernels.lattice import Lattice, Source, blend

LATTICES = st.integers(2, 9).flatmap(
    lambda stride: st.tuples(st.just(stride), st.integers(stride, 2 * stride), st.integers(0, 3))
)


@given(LATTICES, st.integers(-30, 30), st.integers(1, 40))
def test_tapers_of_all_patches_add_up_to_one(sizes, start, length):
    stride, kept, trim = sizes
    lattice = Lattice(kept + 2 * trim, stride, trim)
    span = Span(start, start + length)
    total = np.zeros(length)
    for first in lattice.starts(span):
        assert first % stride == 0
        assert first >= span.start - lattice.halo
        assert first + lattice.patch <= span.stop + lattice.halo
        pixel = np.arange(first, first + lattice.patch)
        inside = (pixel >= span.start) & (pixel < span.stop)
        assert (lattice.taper()[inside] > 0).any()  # no patch is evaluated for nothing
        total[pixel[inside] - span.start] += lattice.taper()[inside]
    assert total == pytest.approx(np.ones(length), abs=1e-12)


def whole_patch_mean(stacks):
    """Depends on every pixel of the patch, as a network with a global transform does."""
    return stacks[0] + stacks[0].mean(axis=(2, 3), keepdims=True) * np.float32(3)


@pytest.mark.slow
@given(st.integers(1, 19), st.integers(1, 19), st.integers(0, 2))
def test_blocks_of_any_size_give_the_same_image(high, wide, trim):
    lattice = Lattice(8 + 2 * trim, 5, trim)
    rng = np.random.default_rng(0)
    pad = lattice.halo
    image = rng.standard_normal((2, 1, 21 + 2 * pad, 17 + 2 * pad)).astype(np.float32)
    whole = blend(whole_patch_mean, [Source(image, (-pad, -pad))], Span(0, 21), Span(0, 17), lattice)
    assert whole.shape == (2, 1, 21, 17)
    for top in range(0, 21, high):
        for left in range(0, 17, wide):
            rows, cols = Span(top, min(top + high, 21)), Span(left, min(left + wide, 17))
            window = image[:, :, rows.start : rows.stop + 2 * pad, cols.start : cols.stop + 2 * pad]
            source = Source(window, (rows.start - pad, cols.start - pad))
            block = blend(whole_patch_mean, [source], rows, cols, lattice)
            assert np.array_equal(block, whole[:, :, rows.slice, cols.slice])


def test_a_lattice_that_moves_with_the_block_would_not():
    lattice = Lattice(8, 5)
    image = np.random.default_rng(0).standard_normal((1, 1, 40, 40)).astype(np.float32)
    right = blend(whole_patch_mean, [Source(image, (-10, -10))], Span(0, 20), Span(0, 20), lattice)
    moved = blend(whole_patch_mean, [Source(image, (-9, -10))], Span(1, 21), Span(0, 20), lattice)
    assert np.abs(moved - right).max() > 0.1


def test_identity_gives_the_image_back():
    image = np.random.default_rng(1).standard_normal((1, 2, 60, 60)).astype(np.float32)
    out = blend(lambda stacks: stacks[0], [Source(image, (-20, -20))], Span(0, 20), Span(0, 20), Lattice(12, 7, 1))
    assert np.abs(out - image[:, :, 20:40, 20:40]).max() <= 1e-6


def test_a_coarser_source_is_cut_at_the_same_place():
    coarse = np.random.default_rng(2).standard_normal((1, 1, 20, 20)).astype(np.float32)
    fine = coarse.repeat(4, axis=2).repeat(4, axis=3)
    seen = []

    def predict(stacks):
        seen.append(np.array_equal(stacks[0].repeat(4, axis=2).repeat(4, axis=3), stacks[1]))
        return stacks[1]

    sources = [Source(coarse, (-5, -5), 4), Source(fine, (-20, -20))]
    out = blend(predict, sources, Span(3, 33), Span(6, 29), Lattice(16, 8))
    assert all(seen)
    assert np.abs(out - fine[:, :, 23:53, 26:49]).max() <= 1e-6
    with pytest.raises(ParameterError, match="multiples of the factor 4"):
        blend(predict, sources, Span(0, 8), Span(0, 8), Lattice(10, 8))


@pytest.mark.parametrize("sizes", [(8, 9, 0), (8, 3, 0), (8, 4, 3), (8, 4, -1), (8, 0, 0)])
def test_patches_that_cannot_add_up(sizes):
    with pytest.raises(ParameterError, match="stride <= patch"):
        Lattice(*sizes)
