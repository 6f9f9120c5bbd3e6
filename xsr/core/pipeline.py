"""From a cube and a block function to a cube on another grid: the road every operation on pixels takes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
from odc.geo.geobox import GeoBox

from xsr.core import graph, grid
from xsr.core.blocks import chunk_sizes
from xsr.core.cube import Cube
from xsr.core.errors import GridError, ParameterError
from xsr.core.grid import Sampling, target_grid
from xsr.core.types import WindowFunction, XarrayObject

CHUNK = 1024
"""Default output block, in pixels along y and x."""


class _NoGrid:
    geobox = None


def resolve_target(
    cube: Cube, *, scale: float | None, resolution: float | None, like: XarrayObject | GeoBox | None
) -> tuple[GeoBox, Sampling]:
    """Resolve the three ways to name a finer grid; see `xsr.core.grid.target_grid`."""
    box: GeoBox | None = like if like is None or isinstance(like, GeoBox) else getattr(like, "odc", _NoGrid).geobox
    if like is not None and box is None:
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
    """
    target = resolve_target(cube, scale=scale, resolution=resolution, like=like)
    if like is not None:
        cube = replace(cube, flipped=False)  # the grid asked for says which way y runs
    return evaluate(cube, function, target, chunks=resolve_chunks(chunks), provenance=provenance)


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
    sizes = math.ceil(CHUNK / scale) if chunks is None else chunks
    return evaluate(cube, function, target, chunks=resolve_chunks(sizes), provenance=provenance)


def evaluate(
    cube: Cube,
    function: WindowFunction,
    target: tuple[GeoBox, Sampling],
    *,
    chunks: tuple[int, int],
    provenance: Mapping[str, Any],
) -> XarrayObject:
    """Evaluate a block function on a grid whose pixels lie where ``target`` says."""
    geobox, sampling = target
    cell = sampling.cell
    record = {**provenance, "xsr_scale": [float(1 / cell[0]), float(1 / cell[1])]}
    if cube.source is not None:
        record["xsr_input"] = cube.source
    return cube.rewrap(values(cube, function, sampling, chunks=chunks), geobox, record)


def values(cube: Cube, function: WindowFunction, sampling: Sampling, *, chunks: tuple[int, int]) -> Any:
    """Evaluate a block function on a grid, as an array (time, band, y, x) of the kind of the cube's."""
    shape = (cube.data.sizes["y"], cube.data.sizes["x"])
    rows, cols = (chunk_sizes(size, chunk) for size, chunk in zip(sampling.shape, chunks, strict=True))
    # An ascending cube is flipped back at the end: its last block becomes the first, and must be a whole one.
    plan = graph.make_plan(sampling, shape, halo=function.halo, chunks=(rows[::-1] if cube.flipped else rows, cols))
    return graph.run(function, cube.data.data, plan)
