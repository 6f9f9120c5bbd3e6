"""The continuous image at scattered points."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsr.core import graph, pipeline
from xsr.core.errors import ParameterError, XsrWarning, calling
from xsr.core.grid import EDGE, Points, crs_name, inside, positive_number, project_points, reproject_points
from xsr.core.members import each_member
from xsr.core.names import BandsLike
from xsr.core.types import XarrayObject
from xsr.models.precision import Precision
from xsr.operations.super_resolve.continuous import TOGETHER, prepare
from xsr.operations.super_resolve.networks import warn_of_scale
from xsr.operations.super_resolve.pixels import Scattered, with_quantiles_at

POINTS = 1 << 16
"""Points of `sample` computed by one task at most."""
NEAR_M = 100_000
"""Distance in units of a projected CRS within which points in another one are taken to be meant for a cube."""
CELL = 256
"""Side, in input pixels, of the squares by which `sample` groups points."""


@each_member
def sample(
    cube: XarrayObject,
    *,
    x: ArrayLike | xr.DataArray,
    y: ArrayLike | xr.DataArray,
    crs: str | int | None = None,
    t: Any = None,
    frames: int = 5,
    window: float | None = None,
    extrapolate: float | None = None,
    fill: bool = True,
    scale: float = 2.0,
    model: str | Path | None = None,
    bands: BandsLike | None = None,
    units: str | float | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    quantiles: float | Sequence[float] | None = None,
) -> XarrayObject:
    """Evaluate the continuous image at points.

    Parameters
    ----------
    cube
        As in `liif`.
    x, y
        Map coordinates, shape (n,). DataArrays keep their dimension and coordinates; otherwise the dimension is called
        ``point``.
    crs
        CRS of ``x`` and ``y``, "EPSG:4326" for longitude and latitude; by default that of the cube, in which the points
        of the result are.
    t, frames, window, extrapolate, fill
        Target times instead of the cube's dates, alike at every point; see `liif`.
    scale
        Sharpness of the result: points are computed as pixels of ``gsd / scale`` would be.
    model, bands, units, device, precision
        As in `liif`.
    quantiles
        Numbers in (0, 1) that rise, for a dimension ``quantile``; see `liif`. An error is that of a pixel, so the
        values are those of the pixel of ``liif(scale=...)`` in which a point lies, as sharp as the sensor, the
        estimate at 0.5 too: not those of the continuous image at the point itself.

    Returns
    -------
    DataArray or Dataset
        Dims ([time,] band, point), in the order of the points; lazy if the cube is. Points outside are NaN.

    Raises
    ------
    ParameterError
        If ``x`` and ``y`` are not of one length and dimension, ``crs`` is unknown, ``scale`` is below 1, or
        ``quantiles`` are no numbers in (0, 1) that rise.
    ModelError
        If there is no such model, or ``quantiles`` of one whose errors were not measured.

    Warns
    -----
    XsrWarning
        If no point lies in the cube, but all lie near it in degrees or in Web Mercator.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(32, 32))
    >>> points = cube.sr.sample(x=cube.x.values[3:6] + 2.5, y=cube.y.values[3:6] - 2.5)
    >>> dict(points.sizes)
    {'time': 1, 'band': 4, 'point': 3}
    """
    moments = pipeline.Moments(t, window, most=frames, extrapolate=extrapolate, together=TOGETHER)
    request = prepare(cube, model, bands, units, device, precision, moments, frames, fill)
    checked = request.cube
    scale = positive_number("scale", scale)
    if scale < 1:
        raise ParameterError(f"scale={scale!r}; expected a number >= 1.")
    warn_of_scale(scale, request.card)
    dim, coords, east, north = _points(x, y)
    taken = {"time", "band", *checked.names.own.values(), *checked.data.coords} & ({dim, *coords} - {"x", "y"})
    if taken:
        raise ParameterError(
            f"the points bring {sorted(map(str, taken))}, which the cube has too; expected names of their own. Rename"
            " the dimension, or drop the coordinate, of x and y."
        )
    if crs is not None:
        east, north = reproject_points(crs, checked.geobox, east, north)
        coords = {**coords, "x": (dim, east), "y": (dim, north)}
    with np.errstate(invalid="ignore"):  # an infinite coordinate becomes NaN, which lies outside
        rows, cols = project_points(checked.geobox, east, north)
    if crs is None and not (inside(rows, checked.geobox.shape.y) & inside(cols, checked.geobox.shape.x)).any():
        _warn_of_crs(checked.geobox, east, north)
    order, sizes = _group(rows, cols)
    points = Points(rows[order], cols[order], (1 / scale, 1 / scale))
    shape = (checked.data.sizes["y"], checked.data.sizes["x"])
    coords = {**coords, "spatial_ref": xr_coords(checked.geobox)["spatial_ref"]}
    record = {**request.provenance, "xsr_scale": [scale, scale]}
    back = np.argsort(order)
    if quantiles is not None:
        how: dict[str, Any] = {"model": model, "bands": bands, "units": units, "device": device, "precision": precision}
        how |= {"t": t, "frames": frames, "window": window, "extrapolate": extrapolate, "fill": fill}
        where = Scattered(rows[order], cols[order], sizes, back, dim, coords)
        return with_quantiles_at(cube, checked, where, scale=scale, quantiles=quantiles, **how)
    if request.at is None:
        plan = graph.make_plan(points, shape, halo=request.function.halo, chunks=(1, sizes))
        values = graph.run(request.function, checked.data.data, plan)[:, :, 0]
        return checked.rewrap_points(values[:, :, back], coords, dim, record)
    moments, make = request.at
    targets, groups = moments.resolve(checked)
    frames_of = [graph.Frames(make(group.target_times), group.dates, len(group.target_times)) for group in groups]
    plan = graph.make_plan(points, shape, halo=frames_of[0].function.halo, chunks=(1, sizes))
    data = checked.data.data
    source = data if request.beside is None else np.concatenate([data, request.beside], axis=1)
    values = graph.run_frames(frames_of, source, plan, bands=data.shape[1])[:, :, 0]
    return checked.at(targets).rewrap_points(values[:, :, back], coords, dim, record)


def _points(
    x: ArrayLike | xr.DataArray, y: ArrayLike | xr.DataArray
) -> tuple[Any, dict[Any, Any], NDArray[np.float64], NDArray[np.float64]]:
    try:
        east, north = np.asarray(x, np.float64), np.asarray(y, np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"x and y are no map coordinates: {error}; expected two sequences of numbers. Of geometries, give their x"
            " and y."
        ) from error
    if east.shape != north.shape or east.ndim != 1 or not east.size:
        raise ParameterError(
            f"x has shape {east.shape} and y {north.shape}; expected two sequences of one length, at least one point."
        )
    given = [one for one in (y, x) if isinstance(one, xr.DataArray)]
    labels = [one.indexes[one.dims[0]] for one in given if one.dims[0] in one.indexes]
    if len({one.dims for one in given}) > 1 or any(not one.equals(labels[0]) for one in labels):
        raise ParameterError(
            f"x runs along {given[-1].dims} and y along {given[0].dims}; expected one dimension and the same labels."
        )
    dim = given[0].dims[0] if given else "point"
    kept = {name: coord for one in given for name, coord in one.coords.items()}
    return dim, {**kept, "x": (dim, east), "y": (dim, north)}, east, north


def _warn_of_crs(geobox: GeoBox, east: NDArray[np.float64], north: NDArray[np.float64]) -> None:
    """Warn of points none of which lies in a cube, if they do not lie far from it in another CRS."""
    box = geobox.boundingbox
    for crs in ("EPSG:4326", "EPSG:3857"):
        if geobox.crs is None or geobox.crs.geographic or geobox.crs == crs:
            continue
        x, y = reproject_points(crs, geobox, east, north)
        away = np.maximum.reduce([box.left - x, x - box.right, box.bottom - y, y - box.top])
        if np.isfinite(away).all() and (away < NEAR_M).all():
            warnings.warn(
                f"none of the {len(east)} points lies in the cube, which covers {tuple(box)} in {crs_name(geobox)}; in"
                f" {crs} they lie near it. Pass crs={crs!r} if they are in that CRS.",
                XsrWarning,
                stacklevel=calling(),
            )
            return


def _group(rows: NDArray[np.float64], cols: NDArray[np.float64]) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """Order points by squares of the input, so that each task reads one small window."""
    finite_rows, finite_cols = np.nan_to_num(rows) + EDGE, np.nan_to_num(cols) + EDGE
    square = np.stack([np.floor(finite_rows / CELL), np.floor(finite_cols / CELL)], axis=1)
    _, label = np.unique(square, axis=0, return_inverse=True)
    label = label.reshape(-1)
    order = np.argsort(label, kind="stable")
    sizes: list[int] = []
    for count in np.bincount(label).tolist():
        sizes += [POINTS] * (count // POINTS) + ([count % POINTS] if count % POINTS else [])
    return order, tuple(sizes)
