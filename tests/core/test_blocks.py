import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import NumpyVersion

from xsr.core.blocks import Span, Window, chunk_sizes, edges, overlapping, padded_index, source_span, spans
from xsr.core.errors import ParameterError

check = settings(max_examples=200)


@pytest.mark.parametrize(
    ("size", "chunk", "sizes"),
    [
        (10, 4, (4, 4, 2)),
        (12, 4, (4, 4, 4)),
        (3, 4, (3,)),
        (5, 1, (1,) * 5),
        (9, 8, (8, 1)),
        (10, (1, 6, 3), (1, 6, 3)),
        (10, [10], (10,)),
    ],
)
def test_chunk_sizes_hand_values(size, chunk, sizes):
    assert chunk_sizes(size, chunk) == sizes


@pytest.mark.parametrize("chunk", [0, -3])
def test_chunk_sizes_refuses_chunks_without_pixels(chunk):
    with pytest.raises(ParameterError, match=rf"chunks={chunk}; expected a positive number"):
        chunk_sizes(10, chunk)


def test_chunk_sizes_refuses_sizes_that_do_not_sum_to_the_axis():
    with pytest.raises(ParameterError, match=r"chunks \(4, 4\) sum to 8; the axis has 10 pixels"):
        chunk_sizes(10, (4, 4))


@given(size=st.integers(1, 60), chunk=st.integers(1, 70))
@check
def test_spans_of_chunk_sizes_tile_the_axis_in_order(size, chunk):
    tiles = spans(chunk_sizes(size, chunk))
    assert [pixel for tile in tiles for pixel in range(tile.start, tile.stop)] == list(range(size))
    assert {len(tile) for tile in tiles[:-1]} <= {chunk}
    assert 0 < len(tiles[-1]) <= chunk


def test_span_is_half_open():
    assert len(Span(3, 7)) == 4
    assert list(range(10)[Span(3, 7).slice]) == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("window", "edge", "reflect"),
    [
        ((2, 5), (2, 5), (2, 5)),
        ((0, 10), (0, 10), (0, 10)),
        ((-3, 2), (0, 2), (0, 4)),
        ((-3, 8), (0, 8), (0, 8)),
        ((8, 13), (8, 10), (6, 10)),
        ((-1, 11), (0, 10), (0, 10)),
        ((-5, -2), (0, 1), (0, 6)),
        ((12, 14), (9, 10), (5, 10)),
        ((-40, 50), (0, 10), (0, 10)),
    ],
)
def test_source_span_hand_values_of_ten_pixels(window, edge, reflect):
    assert source_span(Span(*window), 10, "edge") == Span(*edge)
    assert source_span(Span(*window), 10, "reflect") == Span(*reflect)


def test_window_source_pads_rows_and_columns_by_themselves():
    window = Window(Span(-2, 3), Span(6, 10))
    assert window.source((4, 8), "reflect") == (Span(0, 3), Span(5, 8))
    assert window.source((4, 8), "edge") == (Span(0, 3), Span(6, 8))


@given(
    start=st.integers(-90, 90),
    length=st.integers(1, 120),
    size=st.integers(1, 12),
    mode=st.sampled_from(["edge", "reflect"]),
)
@check
def test_source_span_holds_every_padded_index_and_lies_inside(start, length, size, mode):
    source = source_span(Span(start, start + length), size, mode)
    index = padded_index(start, start + length, size, mode)
    assert 0 <= source.start <= index.min()
    assert index.max() < source.stop <= size


@given(start=st.integers(0, 30), length=st.integers(1, 30), size=st.integers(61, 80))
@check
def test_source_span_reads_no_more_than_an_inner_window(start, length, size):
    window = Span(start, start + length)
    assert source_span(window, size, "edge") == source_span(window, size, "reflect") == window


@pytest.mark.parametrize(
    ("span", "hits"),
    [((0, 1), [0]), ((3, 4), [0]), ((4, 5), [1]), ((3, 5), [0, 1]), ((0, 10), [0, 1, 2]), ((8, 10), [2]), ((4, 4), [])],
)
def test_overlapping_hand_values(span, hits):
    assert list(overlapping(Span(*span), edges((4, 4, 2)))) == hits


@pytest.mark.slow
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8), data=st.data())
@check
def test_overlapping_finds_exactly_the_chunks_that_share_a_pixel(sizes, data):
    start = data.draw(st.integers(0, sum(sizes) - 1))
    stop = data.draw(st.integers(start + 1, sum(sizes)))
    owner = np.repeat(np.arange(len(sizes)), sizes)
    assert list(overlapping(Span(start, stop), edges(sizes))) == sorted(set(owner[start:stop].tolist()))


@pytest.mark.parametrize(
    ("mode", "index"),
    [("edge", [0, 0, 0, 0, 1, 2, 3, 3, 3, 3, 3]), ("reflect", [3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1])],
)
def test_padded_index_hand_values(mode, index):
    assert padded_index(-3, 8, 4, mode).tolist() == index


def test_padded_index_of_a_single_pixel_repeats_it():
    assert padded_index(-4, 5, 1, "reflect").tolist() == [0] * 9


@pytest.mark.skipif(NumpyVersion(np.__version__) < "2.0.0", reason="np.pad was wrong where it folds a tiny axis twice")
@given(
    before=st.integers(0, 100),
    after=st.integers(0, 100),
    size=st.integers(1, 9),
    mode=st.sampled_from(["edge", "reflect"]),
)
@check
def test_padded_index_equals_numpy_pad_however_often_a_tiny_axis_is_folded(before, after, size, mode):
    expected = np.pad(np.arange(size), (before, after), mode=mode)
    assert np.array_equal(padded_index(-before, size + after, size, mode), expected)


@given(
    start=st.integers(-100, 100),
    length=st.integers(1, 20),
    size=st.integers(1, 9),
    mode=st.sampled_from(["edge", "reflect"]),
)
@check
def test_padded_index_of_a_window_is_a_cut_of_a_larger_one(start, length, size, mode):
    whole = padded_index(-150, 150, size, mode)
    assert np.array_equal(padded_index(start, start + length, size, mode), whole[start + 150 : start + 150 + length])
