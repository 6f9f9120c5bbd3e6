"""From a cube and a block function to a cube on another grid: the path of every operation on pixels."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import graph, grid
from xsr.core.blocks import Padding
from xsr.core.cube import Cube
from xsr.core.errors import GridError, ParameterError
from xsr.core.georeference import geobox_of
from xsr.core.grid import Continued, Sampling, target_grid
from xsr.core.names import standard_dims
from xsr.core.provenance import INPUT, SCALE
from xsr.core.target_times import Group, TargetTime, Times, plan_groups, resolve_times
from xsr.core.types import Stack, WindowFunction, XarrayObject

CHUNK = 1024
"""Default output block, in pixels along y and x."""


def resolve_target(
    cube: Cube, *, scale: float | None, resolution: float | None, like: XarrayObject | GeoBox | None
) -> tuple[GeoBox, Sampling]:
    """Resolve the three ways to name a finer grid; see `xsr.core.grid.target_grid`."""
    box = geobox_of(like) if isinstance(like, xr.DataArray | xr.Dataset) else like
    if like is not None and not isinstance(box, GeoBox):
        raise GridError(f"like={type(like).__name__} has no grid; expected a georeferenced cube or a GeoBox.")
    return target_grid(cube.geobox, scale=scale, resolution_m=resolution, like=box)


def resolve_chunks(chunks: int | Sequence[int] | None) -> tuple[int, int]:
    """Resolve ``chunks`` to output pixels along (y, x).

    Raises
    ------
    ParameterError
        Unless it is a positive integer or a pair of them.
    """
    pair: tuple[Any, ...] = (
        (CHUNK, CHUNK) if chunks is None else tuple(chunks) if isinstance(chunks, Sequence) else (chunks, chunks)
    )
    if len(pair) != 2 or not all(isinstance(n, Integral) and int(n) > 0 for n in pair):
        raise ParameterError(f"chunks={chunks!r}; expected a positive number of output pixels, or a pair (y, x).")
    return int(pair[0]), int(pair[1])


def refine(
    cube: Cube,
    function: WindowFunction,
    *,
    scale: float | None,
    resolution: float | None,
    like: XarrayObject | GeoBox | None,
    chunks: int | Sequence[int] | None,
    provenance: Mapping[str, Any],
    beside: Any = None,
) -> XarrayObject:
    """Evaluate a block function on a finer grid; lazy for Dask-backed cubes.

    Parameters
    ----------
    cube
        Validated cube.
    function
        Arithmetic of a block.
    scale, resolution, like
        Exactly one names the target grid.
    chunks
        Output block in pixels, one number or (y, x).
    provenance
        Attributes to add to the result.
    beside
        Further bands that the function reads; see `values`.
    """
    target = resolve_target(cube, scale=scale, resolution=resolution, like=like)
    blocks = resolve_chunks(chunks)
    made = values(cube.towards(like), function, target[1], chunks=blocks, beside=beside)
    return dress(cube.towards(like), made, target, provenance)


def coarsen(
    cube: Cube,
    function: WindowFunction,
    *,
    scale: float,
    shape: tuple[int, int] | None = None,
    chunks: int | Sequence[int] | None,
    provenance: Mapping[str, Any],
) -> XarrayObject:
    """Evaluate a block function on a grid ``scale`` times coarser; lazy for Dask-backed cubes.

    Parameters
    ----------
    cube
        Validated cube.
    function
        Arithmetic of a block.
    scale
        Linear factor, >= 1.
    shape
        Fewer output pixels (y, x) than fit; see `xsr.core.grid.coarsen`.
    chunks
        Output block in pixels, one number or (y, x); by default what `CHUNK` input pixels become.
    provenance
        Attributes to add to the result.
    """
    target = grid.coarsen(cube.geobox, scale, shape=shape)
    blocks = resolve_chunks(math.ceil(CHUNK / scale) if chunks is None else chunks)
    whole = getattr(function, "whole", None)  # see `xsr.core.types.WholeFunction`
    if whole is None or not isinstance(cube.data.data, np.ndarray):
        return evaluate(cube, function, target, chunks=blocks, provenance=provenance)
    cube.block_sizes(target[1].shape, blocks)  # refuses sizes that no block has
    return dress(cube, whole(cube.data.data, target[1].shape), target, provenance)


def evaluate(
    cube: Cube,
    function: WindowFunction,
    target: tuple[GeoBox, Sampling],
    *,
    chunks: tuple[int, int],
    provenance: Mapping[str, Any],
) -> XarrayObject:
    """Evaluate a block function on a grid whose pixels lie where ``target`` says."""
    return dress(cube, values(cube, function, target[1], chunks=chunks), target, provenance)


def dress(cube: Cube, made: Any, target: tuple[GeoBox, Sampling], provenance: Mapping[str, Any]) -> XarrayObject:
    """Dress values on a grid as the user's cube; see `evaluate`."""
    geobox, sampling = target
    return cube.without_corner().rewrap(made, geobox, _record(cube, sampling, provenance))


def _record(cube: Cube, sampling: Sampling, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes to add to a result."""
    cell = sampling.cell
    source = {} if cube.source is None else {INPUT: cube.source}
    return {**provenance, SCALE: [float(1 / cell[0]), float(1 / cell[1])], **source}


MakeFunction: TypeAlias = Callable[[tuple[TargetTime, ...]], WindowFunction]
"""From target times and their dates to the block function that computes them."""


@dataclass(frozen=True)
class Moments:
    """Target times of a series, and the dates that they may be computed from."""

    t: Any
    """What the user calls a time; see `xsr.core.target_times.resolve_times`."""
    window: float | None = None
    """Days around a target time within which dates are used."""
    most: int = 10
    """Dates on either side of a target time that may be used."""
    extrapolate: float | None = None
    """Days by which a target time may lie outside the series."""
    together: int = 1
    """Target times that one task computes from one reading of the dates."""

    def resolve(self, cube: Cube) -> tuple[Times, tuple[Group, ...]]:
        """Resolve the target times of a cube, and the dates of each."""
        times = cube.times
        targets = resolve_times(self.t, times, extrapolate=self.extrapolate)
        return targets, plan_groups(targets, times, window=self.window, most=self.most, together=self.together)


def evaluate_at(
    cube: Cube,
    moments: Moments,
    function: MakeFunction,
    target: tuple[GeoBox, Sampling],
    *,
    chunks: tuple[int, int],
    provenance: Mapping[str, Any],
    beside: Any = None,
) -> XarrayObject:
    """Evaluate a block function of several dates at target times, on a grid whose pixels lie where ``target`` says.

    The result has a coordinate ``n_valid`` (time, y, x): the number of dates used there that are valid in every band.
    The function may read further bands ``beside`` (time, band, y, x) those of the cube, which it does not return.
    """
    made = values_at(cube, moments, function, target[1], chunks=chunks, beside=beside)
    return dress_at(cube, moments, made, target, chunks=chunks, provenance=provenance)


def values_at(
    cube: Cube,
    moments: Moments,
    function: MakeFunction,
    sampling: Sampling,
    *,
    chunks: tuple[int | Sequence[int], ...],
    beside: Any = None,
    bands: int | None = None,
) -> Any:
    """Evaluate a block function at target times, as an array (time, band, y, x) of the kind of the cube's.

    It has as many ``bands`` as the cube by default; see `evaluate_at` and `values`.
    """
    data = cube.data.data
    _, groups = moments.resolve(cube)
    source = data if beside is None else np.concatenate([data, beside], axis=1)
    frames = [graph.Frames(function(group.target_times), group.dates, len(group.target_times)) for group in groups]
    plan = _plan(cube, sampling, frames[0].function, chunks)
    return graph.run_frames(frames, source, plan, bands=data.shape[1] if bands is None else bands)


def dress_at(
    cube: Cube,
    moments: Moments,
    made: Any,
    target: tuple[GeoBox, Sampling],
    *,
    chunks: tuple[int, int],
    provenance: Mapping[str, Any],
) -> XarrayObject:
    """Dress values at target times as the user's cube, with ``n_valid``; see `evaluate_at`."""
    geobox, sampling = target
    targets, _ = moments.resolve(cube)
    shell = cube.at(targets).without_corner()
    out = shell.rewrap(made, geobox, _record(cube, sampling, provenance))
    count = replace(shell, data=shell.data.isel(band=[0]), original=_one_band(out), layers=())
    number = values_at(cube, moments, CountValid, sampling, chunks=chunks, bands=1)
    counted = count.rewrap(graph.each(_whole, number, np.uint16), geobox, {})
    return out.assign_coords(n_valid=(counted.dims, counted.data))


def continued(
    cube: Cube, sampling: Sampling, margin: int, *, chunks: tuple[int, int]
) -> tuple[Continued, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Grid and up to ``margin`` pixels around it, as far as the cube, and its blocks: those of the grid, wider ends."""
    shape = (cube.data.sizes["y"], cube.data.sizes["x"])
    around = Continued(sampling, *sampling.lattice(shape, margin))
    sizes = []
    for own, size, of in zip(
        (around.rows, around.cols), sampling.shape, cube.block_sizes(sampling.shape, chunks), strict=True
    ):
        wider = [*of]
        wider[0] -= own.start
        wider[-1] += own.stop - size
        sizes.append(tuple(wider))
    return around, (sizes[0], sizes[1])


def _whole(counts: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Turn counts into integers; beyond the cube nothing is valid."""
    return np.nan_to_num(counts).astype(np.uint16)


def _one_band(out: XarrayObject) -> xr.DataArray:
    """Template of a layer of one band of a result."""
    out = standard_dims(out)
    layer = out if isinstance(out, xr.DataArray) else next(iter(out.data_vars.values()))
    return layer.isel(band=0, drop=True) if "band" in layer.dims else layer


@dataclass(frozen=True)
class CountValid:
    """Block function that counts the dates of a target time that are valid in every band."""

    target_times: tuple[TargetTime, ...]
    halo: int = 0
    padding: Padding = "edge"

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        valid = np.asarray(np.isfinite(window).all(axis=1))
        y, x = (np.floor(v + 0.5).astype(np.int64) for v in (rows, cols))
        counts = np.stack([valid[list(target.picks)].sum(axis=0) for target in self.target_times]).astype(np.float32)
        at = counts[:, y[:, None], x] if rows.ndim == 1 else counts[:, y, x]
        return np.asarray(at[:, None])


def _plan(
    cube: Cube, sampling: Sampling, function: WindowFunction, chunks: tuple[int | Sequence[int], ...]
) -> graph.Plan:
    shape = (cube.data.sizes["y"], cube.data.sizes["x"])
    blocks, margin = cube.block_sizes(sampling.shape, chunks), getattr(function, "margin", 0)
    return graph.make_plan(sampling, shape, halo=function.halo, chunks=blocks, margin=margin)


def values(
    cube: Cube,
    function: WindowFunction,
    sampling: Sampling,
    *,
    chunks: tuple[int | Sequence[int], ...],
    beside: Any = None,
) -> Any:
    """Evaluate a block function on a grid, as an array (time, band, y, x) of the kind of the cube's.

    Blocks have the size ``chunks`` along (y, x): one number an axis, or the size of each block along it. The function
    may read further bands ``beside`` (time, band, y, x) those of the cube, which it does not return.
    """
    data = cube.data.data
    source = data if beside is None else np.concatenate([data, beside], axis=1)
    return graph.run(function, source, _plan(cube, sampling, function, chunks), bands=data.shape[1])
