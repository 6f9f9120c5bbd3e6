"""Results that are their input when they are observed again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import graph, grid, pipeline
from xsr.core.cube import Cube
from xsr.core.errors import ModelError, ParameterError
from xsr.core.grid import Refinement
from xsr.core.provenance import OPERATION, made_by
from xsr.core.types import WindowFunction, XarrayObject
from xsr.kernels.consistency import Correction, Observed
from xsr.kernels.decimate import MIN_VALID
from xsr.kernels.degrade import BandOptics, sensor_band
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
            f"model {card.name!r} does not state the sharpness of its result and the MTF of its sensor; expected both,"
            " to observe the result again. Leave consistent=True out, or choose another model."
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
    blocks = pipeline.resolve_chunks(chunks)
    fine = pipeline.values(cube, function, sampling, chunks=blocks)
    made = consistent(Observation(cube, target[0], 1 / sampling.cell[0], blocks), fine, bands)
    return pipeline.dress(cube, made, target, {**provenance, **made_by(str(provenance[OPERATION]), consistent=True)})


@dataclass(frozen=True)
class Observation:
    """A cube, and a finer grid from its corner on which images lie that its sensor observes again."""

    cube: Cube
    geobox: GeoBox
    """The finer grid."""
    scale: float
    """Pixel of the cube in pixels of the finer grid."""
    chunks: tuple[int | Sequence[int], ...]
    """Blocks of the finer grid, pixels (y, x)."""

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels (y, x) of the cube that lie inside the finer grid."""
        sizes = zip(self.geobox.shape.yx, self.cube.geobox.shape.yx, strict=True)
        height, width = (min(int(np.floor(size / self.scale + grid.EDGE)), most) for size, most in sizes)
        return height, width

    def observe(self, fine: Any, bands: Sequence[BandOptics], *, min_valid: float = MIN_VALID) -> Any:
        """Observe images on the finer grid.

        Parameters
        ----------
        fine
            Array (time, band, y, x).
        bands
            How each band is observed; see `optics_of`.
        min_valid
            Least share of a pixel's weight on valid pixels; below, the output is NaN.

        Returns
        -------
        ndarray or dask array
            Shape (time, band, *shape).
        """
        held = replace(self.cube, data=self._like(fine), geobox=self.geobox)
        again = Refinement(self.shape, (self.scale, self.scale))
        largest = (one if isinstance(one, int) else max(one) for one in self.chunks)
        sizes = tuple(max(1, round(one / self.scale)) for one in largest)
        return pipeline.values(held, Observed(tuple(bands), min_valid), again, chunks=sizes)

    def correct(self, missing: Any, bands: Sequence[BandOptics]) -> Any:
        """Find the least that images on the finer grid must have for the sensor to observe what is given.

        Parameters
        ----------
        missing
            Array (time, band, *shape); NaN counts as zero.
        bands
            How each band is observed; see `optics_of`.

        Returns
        -------
        ndarray or dask array
            Shape (time, band, y, x) on the finer grid.
        """
        rest = [(0, full - part) for full, part in zip(self.cube.geobox.shape.yx, self.shape, strict=True)]
        known = np.pad(graph.each(_known, missing, np.float32), [(0, 0), (0, 0), *rest])
        fine = self.geobox.shape.yx
        function, cell = Correction(tuple(bands), self.shape, fine), 1 / self.scale
        held = replace(self.cube, data=self._like(known))
        return pipeline.values(held, function, Refinement(fine, (cell, cell)), chunks=self.chunks)

    def _like(self, values: Any) -> xr.DataArray:
        return xr.DataArray(values, dims=self.cube.data.dims)


def consistent(observation: Observation, fine: Any, bands: Sequence[BandOptics]) -> Any:
    """Correct an image on the finer grid, array (time, band, y, x), so that it is the cube when observed again."""
    height, width = observation.shape
    missing = observation.cube.data.data[:, :, :height, :width] - observation.observe(fine, bands)
    return fine + observation.correct(missing, bands)


def _known(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Nothing is missing where nothing was observed."""
    return np.where(np.isfinite(values), values, np.float32(0))
