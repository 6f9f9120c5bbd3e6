"""Results that are their input when they are observed again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import graph, grid, pipeline
from xsr.core.blocks import Padding, Span
from xsr.core.cube import Cube
from xsr.core.errors import ModelError, ParameterError
from xsr.core.grid import Refinement, Sampling
from xsr.core.provenance import OPERATION, made_by
from xsr.core.types import Stack, WindowFunction, XarrayObject
from xsr.kernels.consistency import REACH, projector
from xsr.kernels.degrade import BandOptics, observe, sensor_band
from xsr.models.card import ModelCard
from xsr.operations.super_resolve.dates import coarser_bands


def optics_of(
    card: ModelCard, picks: Sequence[int], coarser: Sequence[bool], gains: Sequence[float] | None, scale: float
) -> tuple[BandOptics, ...]:
    """How the sensor of a model observes each band of a result, from its pixels to those of the input.

    Parameters
    ----------
    card
        Of the model.
    picks
        Channel of each band.
    coarser
        Which channels were interpolated to the grid from pixels twice as large.
    gains
        By which the sharpness of the result was changed; see `xsr.operations.super_resolve.sharpness.gains_of`.
    scale
        Input pixel in pixels of the result.

    Raises
    ------
    ModelError
        If the card does not state the sharpness of the result or the MTF of the sensor.
    """
    if card.sharpness is None or not card.mtf:
        raise ModelError(
            f"model {card.name!r} does not state the sharpness of its result and the MTF of its sensor; consistent=True"
            " needs both. Leave it out, or choose another model."
        )
    found = []
    for number, pick in enumerate(picks):
        mtf = card.mtf[pick]
        result = (1.0 if card.sharpness == "ideal" else mtf) * (1.0 if gains is None else gains[number])
        source = result if result < 1 else None
        found.append(sensor_band(mtf, scale, own=2 if coarser[pick] else 1, source_mtf=source, key=pick))
    return tuple(found)


def refine(
    cube: Cube,
    card: ModelCard,
    function: WindowFunction,
    picks: tuple[int, ...],
    gains: tuple[float, ...] | None,
    *,
    scale: float | None = None,
    resolution: float | None = None,
    chunks: int | Sequence[int] | None,
    provenance: Mapping[str, Any],
) -> XarrayObject:
    """Evaluate a block function on a finer grid so that the result, observed again, is the cube.

    Parameters
    ----------
    cube
        Validated cube.
    card, function
        Of the model.
    picks, gains
        See `optics_of`.
    scale, resolution, chunks, provenance
        See `xsr.core.pipeline.refine`.
    """
    target = pipeline.resolve_target(cube, scale=scale, resolution=resolution, like=None)
    sampling = target[1]
    assert isinstance(sampling, Refinement)
    if not math.isclose(*sampling.cell):
        raise ParameterError(
            f"consistent=True with pixels {1 / sampling.cell[0]:g} times finer down, {1 / sampling.cell[1]:g} across;"
            " expected one factor. Give scale=."
        )
    bands = optics_of(card, picks, coarser_bands(cube, card, picks), gains, 1 / sampling.cell[0])
    made = evaluate(cube, function, target, bands, chunks=pipeline.resolve_chunks(chunks))
    return pipeline.dress(cube, made, target, {**provenance, **made_by(str(provenance[OPERATION]), consistent=True)})


def evaluate(
    cube: Cube,
    function: WindowFunction,
    target: tuple[GeoBox, Sampling],
    bands: tuple[BandOptics, ...],
    *,
    chunks: tuple[int, int],
) -> Any:
    """Evaluate a block function, and correct the result such that it is the cube when observed again.

    Parameters
    ----------
    cube
        Input.
    function
        Block function of a model.
    target
        Finer grid with the corner of the cube.
    bands
        How each band of the result is observed; see `optics_of`.
    chunks
        Blocks of the result, pixels (y, x).

    Returns
    -------
    ndarray or dask array
        Shape (time, band, y, x).
    """
    geobox, sampling = target
    low, fine = cube.data.data, pipeline.values(cube, function, sampling, chunks=chunks)
    scale = 1 / sampling.cell[0]
    shape = tuple(int(np.floor(size / scale + grid.EDGE)) for size in geobox.shape.yx)
    again = Refinement((shape[0], shape[1]), (scale, scale))
    held = replace(cube, data=_like(cube, fine), geobox=geobox)
    size = tuple(max(1, round(one / scale)) for one in chunks)
    observed = pipeline.values(held, Observed(bands), again, chunks=size)
    rest = [(0, full - part) for full, part in zip(low.shape[2:], shape, strict=True)]
    missing = graph.each(_known, low[:, :, : shape[0], : shape[1]] - observed, np.float32)
    missing = np.pad(missing, [(0, 0), (0, 0), *rest])
    correction = Correction(bands, (shape[0], shape[1]), geobox.shape.yx)
    return fine + pipeline.values(replace(cube, data=_like(cube, missing)), correction, sampling, chunks=chunks)


def _known(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Nothing is missing where nothing was observed."""
    return np.where(np.isfinite(values), values, np.float32(0))


def _like(cube: Cube, values: Any) -> xr.DataArray:
    return xr.DataArray(values, dims=cube.data.dims)


@dataclass(frozen=True)
class Observed:
    """Block function: the bands of a result as the sensor observes them."""

    bands: tuple[BandOptics, ...]
    padding: Padding = "reflect"
    rows: Span = field(default=Span(0, 0))
    cols: Span = field(default=Span(0, 0))

    @property
    def halo(self) -> int:
        """Half-width of the widest point spread function."""
        return max(band.halo() for band in self.bands)

    def place(self, dates: Span, rows: Span, cols: Span) -> "Observed":
        """Bind to output pixels; see `xsr.core.types.PlacedFunction`."""
        return replace(self, rows=rows, cols=cols)

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate a block; see `xsr.core.types.WindowFunction`."""
        y, x = (
            round((span.start + 0.5) * size - 0.5 - float(position[0]))
            for span, position, size in zip((self.rows, self.cols), (rows, cols), cell, strict=True)
        )
        made = [
            observe(window[:, number], band, rows=self.rows, cols=self.cols, origin=(y, x))
            for number, band in enumerate(self.bands)
        ]
        return np.stack(made, axis=1)


@dataclass(frozen=True)
class Correction:
    """Block function: what to add to a result, of what is missing in the input's pixels."""

    bands: tuple[BandOptics, ...]
    low: tuple[int, int]
    """Input pixels that the result covers."""
    fine: tuple[int, int]
    """Pixels of the result."""
    padding: Padding = "edge"
    corner: tuple[int, int] = (0, 0)
    """First pixel of the window."""
    rows: Span = field(default=Span(0, 0))
    cols: Span = field(default=Span(0, 0))

    @property
    def halo(self) -> int:
        """Input pixels that the correction depends on."""
        return REACH

    def place(self, dates: Span, rows: Span, cols: Span) -> "Correction":
        """Bind to output pixels; see `xsr.core.types.PlacedFunction`."""
        return replace(self, rows=rows, cols=cols)

    def locate(self, row: int, col: int) -> "Correction":
        """Bind to the first pixel of a window; see `xsr.core.types.LocatedFunction`."""
        return replace(self, corner=(row, col))

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate a block; see `xsr.core.types.WindowFunction`."""
        spans = [
            Span(max(first, 0), min(first + size, whole))
            for first, size, whole in zip(self.corner, window.shape[2:], self.low, strict=True)
        ]
        out = np.zeros((*window.shape[:2], len(self.rows), len(self.cols)), np.float32)
        if not all(map(len, spans)):
            return out
        y, x = (slice(s.start - first, s.stop - first) for s, first in zip(spans, self.corner, strict=True))
        for number, band in enumerate(self.bands):
            down = _projector(spans[0], self.rows, self.fine[0], band.y)
            across = _projector(spans[1], self.cols, self.fine[1], band.x)
            out[:, number] = down @ window[:, number, y, x] @ across.T
        return out


@lru_cache(maxsize=64)
def _projector(low: Span, fine: Span, size: int, stages: Any) -> NDArray[np.float32]:
    """Weights of the bands of one MTF are alike, and those of the blocks of a row."""
    return projector(low, fine, size, stages).astype(np.float32)
