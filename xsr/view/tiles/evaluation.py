"""A block function on the grid of a tile, from as many pixels of a cube as it reads."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import graph
from xsr.core.blocks import Span
from xsr.core.grid import Sampling, between, inside
from xsr.core.types import Stack
from xsr.view.tiles.source import Source

Image = NDArray[np.float32]
"""Pixels of a tile (band, y, x), NaN = no data."""


def evaluate(box: GeoBox, frames: graph.Frames, source: Source, beside: Any = None) -> Image:
    """Evaluate a block function on a grid.

    The plan is that of `xsr.liif` over the whole cube, and so is the rectangle that it reads: nothing else is fetched,
    and no pixel knows what was left out.

    Parameters
    ----------
    box
        The grid.
    frames
        The function, and the dates that it reads.
    source
        The cube.
    beside
        Further bands (time, band, y, x) that the function reads beside those of the cube.
    """
    function, bands = frames.function, len(source.cube.bands)
    sampling, margin = between(source.cube.geobox, box), getattr(function, "margin", 0)
    plan = graph.make_plan(sampling, source.shape, halo=function.halo, chunks=sampling.shape, margin=margin)
    fetch = source.fetch if beside is None else partial(_beside, source.fetch, beside)
    out = np.full((bands, *sampling.shape), np.nan, np.float32)
    rows, cols = occupied(sampling, source.shape)
    if len(rows) and len(cols):
        out[:, rows.slice, cols.slice] = graph.run_here(frames, fetch, plan, rows, cols, bands=bands)[0]
    return out


def occupied(sampling: Sampling, shape: tuple[int, int]) -> tuple[Span, Span]:
    """Rows and columns of a grid from the first to the last that has a pixel in the cube."""
    height, width = sampling.shape
    query = sampling.query(Span(0, height), Span(0, width))
    if all(0 <= low and high <= size - 1 for (low, high), size in zip(query.bounds(), shape, strict=True)):
        return Span(0, height), Span(0, width)
    rows, cols = query.positions()
    y, x = inside(rows, shape[0]), inside(cols, shape[1])
    within = y[:, None] & x if rows.ndim == 1 else y & x
    return _hull(within.any(axis=1)), _hull(within.any(axis=0))


def _hull(some: Any) -> Span:
    """Range from the first to the last that is true."""
    at = np.flatnonzero(some)
    return Span(int(at[0]), int(at[-1]) + 1) if at.size else Span(0, 0)


def _beside(fetch: graph.Fetch, beside: Any, dates: Sequence[int], rows: Span, cols: Span) -> Stack:
    """Fetch further bands beside those of the cube."""
    more = np.asarray(beside[list(dates), :, rows.slice, cols.slice], np.float32)
    return np.concatenate([fetch(dates, rows, cols), more], axis=1)
