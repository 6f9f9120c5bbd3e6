"""Super-resolution by a continuous implicit function: any scale, any grid, any point."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsr._version import __version__
from xsr.core import graph, pipeline
from xsr.core.blocks import Padding
from xsr.core.cube import Cube, canonical, open_cube
from xsr.core.errors import NotAvailableError, ParameterError, XsrWarning
from xsr.core.grid import EDGE, Points, positive_number, project_points, resolution
from xsr.core.types import Stack, XarrayObject
from xsr.kernels import resample
from xsr.models import registry
from xsr.models.card import ModelCard

DEFAULT = "liif_s2"
FILL = 4
"""Passes of no-data filling before the band's mean takes over."""
POINTS = 1 << 16
"""Points of `sample` computed by one task at most."""
SLACK = 1.5
"""Factor by which pixels may leave the range of training before a warning."""
CELL = 256
"""Side, in input pixels, of the squares by which `sample` groups points."""


@dataclass(frozen=True)
class Liif:
    """Block function: fill no-data, standardise, query the network, add to the bicubic base, re-mask."""

    spec: registry.ModelSpec
    channels: tuple[int, ...]
    """Network channel of each band of the cube."""
    radius: int
    """Receptive field radius of the network in pixels."""
    device: str
    mean: tuple[float, ...]
    """Reflectance subtracted from each channel of the network."""
    std: tuple[float, ...]
    """Reflectance by which each channel is divided."""
    padding: Padding = "reflect"

    @property
    def halo(self) -> int:
        """The network's reach beyond the pixels next to a query, and what filling needs beyond that."""
        return self.radius - 1 + FILL

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        dates, bands, height, width = window.shape
        shape = rows.shape if rows.ndim == 2 else (rows.size, cols.size)
        valid = np.isfinite(window)
        if not valid.any():
            return np.full((dates, bands, *shape), np.nan, np.float32)
        pick = list(self.channels)
        mean = np.array(self.mean, np.float32)[pick]
        std = np.array(self.std, np.float32)[pick]
        stack = (dates * bands, height, width)
        filled = resample.fill_nodata(window.reshape(stack), passes=FILL, constant=np.tile(mean, dates))
        base = resample.interpolate_filled(filled, rows, cols, "bicubic").reshape(dates, bands, *shape)
        images = np.zeros((dates, len(self.mean), height, width), np.float32)
        images[:, pick] = (filled.reshape(window.shape) - mean[:, None, None]) / std[:, None, None]
        out = base + self._residual(images, rows, cols, cell)[:, pick] * std[:, None, None]
        if valid.all():
            return out
        return resample.remask(out.reshape(-1, *shape), valid.reshape(stack), rows, cols).reshape(out.shape)

    def _residual(
        self,
        images: NDArray[np.float32],
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> NDArray[np.float32]:
        from xsr.models.predictor import predict_liif

        device = registry.resolve_device(self.device)
        return predict_liif(self.spec, images, rows, cols, cell, device)


def _prepare(
    cube: XarrayObject,
    model: str | Path,
    bands: Sequence[str] | None,
    units: str | float | None,
    device: str,
    t: Any,
) -> tuple[Cube, Liif, dict[str, Any]]:
    """Check the arguments shared by `liif` and `sample`."""
    if t is not None:
        raise NotAvailableError(
            f"t={t!r}: continuous time is not available in xsr {__version__}; every date of the cube is super-resolved."
            " Leave t out, or select dates with .sel(time=...)."
        )
    registry.check_device(device)
    checked = open_cube(cube, units=units, bands=bands)
    card, spec = registry.describe(model), registry.spec(model)
    channels = card.channels(tuple(canonical(name) for name in checked.bands))
    _warn_of_pixel_size(checked, card)
    function = Liif(spec, channels, card.radius, device, card.mean, card.std)
    provenance = {
        "xsr_version": __version__,
        "xsr_operation": "liif",
        "xsr_model": card.name,
        "xsr_weights_sha256": card.sha256,
    }
    return checked, function, provenance


def _warn_of_pixel_size(cube: Cube, card: ModelCard) -> None:
    """Warn if the cube's pixels are far from those of the low-resolution images in training."""
    crs = cube.geobox.crs
    if crs is None or not crs.projected or "metre" not in crs.units:
        return
    size = resolution(cube.geobox)[0]
    least, most = card.gsd_m * card.scale_range[0] / SLACK, card.gsd_m * card.scale_range[1] * SLACK
    if not least <= size <= most:
        warnings.warn(
            f"the cube's pixels measure {size:g} m; model {card.name!r} was trained on pixels of {card.gsd_m:g} m"
            f" times {card.scale_range[0]:g} to {card.scale_range[1]:g}. Its detail is a guess"
            " here: compare with interpolate.",
            XsrWarning,
            stacklevel=4,
        )


def _warn_of_scale(scale: float, card: ModelCard) -> None:
    """Warn if the scale is beyond those of training."""
    if scale > card.scale_range[1] * (1 + 1e-6):
        warnings.warn(
            f"scale {scale:g} is beyond those model {card.name!r} was trained for ({card.scale_range[0]:g} to"
            f" {card.scale_range[1]:g}); the result is smoother than it looks fine.",
            XsrWarning,
            stacklevel=4,
        )


def liif(
    cube: XarrayObject,
    *,
    scale: float | None = None,
    resolution: float | None = None,
    like: XarrayObject | GeoBox | None = None,
    t: Any = None,
    model: str | Path = DEFAULT,
    bands: Sequence[str] | None = None,
    units: str | float | None = None,
    device: str = "auto",
    chunks: int | Sequence[int] | None = None,
) -> XarrayObject:
    """Super-resolve a cube to any finer grid with a local implicit image function.

    Parameters
    ----------
    cube
        DataArray ([time,] band, y, x) or Dataset of bands ([time,] y, x), reflectance.
    scale
        Linear factor, >= 1, any real number. The output has ``floor(n * scale)`` pixels of exactly ``gsd / scale``,
        anchored at the top-left corner of the cube.
    resolution
        Pixel size of the output in units of the CRS (metres for UTM), instead of ``scale``.
    like
        A georeferenced cube or GeoBox whose grid to use, another CRS included: one resampling, not two. Pixels
        outside the cube are NaN.
    t
        Instants. Not available yet: leave it out, and every date of the cube is super-resolved.
    model
        Name of packaged weights (see `xsr.models.registry.names`), or a path to a ``.safetensors`` file with its card
        beside it.
    bands
        Bands to keep, in any spelling of the alias table (``B02``, ``b2``, ``blue``); all by default.
    units
        Units of the numbers where the metadata do not say: ``reflectance``, ``percent``, ``dn10000``,
        ``dn10000-1000``, or a factor.
    device
        ``auto`` (CUDA where a worker has it, else CPU), ``cpu``, ``cuda``.
    chunks
        Output block in pixels, one number or (y, x); each becomes one task and one Dask chunk over all bands.

    Returns
    -------
    DataArray or Dataset
        As the input, float32 reflectance on the finer grid; lazy if the input is. The values are not clipped.

    Raises
    ------
    ParameterError
        If not exactly one target is given, or it is coarser than the cube.
    CubeError, GridError
        If the cube breaks the contract; see `xsr.core.cube.open_cube`.
    BandError
        If the model needs a band that the cube lacks, or does not know one that it has.
    ModelError
        If there is no such model.
    NotAvailableError
        If ``t`` is given.

    Notes
    -----
    ``out(u) = bicubic(low)(u) + std * f(low)(u)``, with ``f`` the network and the base in float32. Blocks read a halo
    as wide as the receptive field, so that any chunking gives the same result. Beyond its border the cube is mirrored.
    No data: an output pixel is NaN exactly where the input pixel that contains its centre is invalid in that
    band; the network sees invalid pixels filled from their neighbours.

    References
    ----------
    Y. Chen, S. Liu, X. Wang, CVPR 2021, doi:10.1109/CVPR46437.2021.00852.
    """
    checked, function, provenance = _prepare(cube, model, bands, units, device, t)
    fine = pipeline.refine(
        checked, function, scale=scale, resolution=resolution, like=like, chunks=chunks, provenance=provenance
    )
    _warn_of_scale(max(fine.attrs["xsr_scale"]), registry.describe(model))
    return fine


def sample(
    cube: XarrayObject,
    *,
    x: ArrayLike | xr.DataArray,
    y: ArrayLike | xr.DataArray,
    t: Any = None,
    scale: float = 2.0,
    model: str | Path = DEFAULT,
    bands: Sequence[str] | None = None,
    units: str | float | None = None,
    device: str = "auto",
) -> XarrayObject:
    """Evaluate the continuous image at points.

    Parameters
    ----------
    cube
        As in `liif`.
    x, y
        Map coordinates in the CRS of the cube, shape (n,). DataArrays keep their dimension and coordinates; otherwise
        the dimension is called ``point``.
    t
        Instants. Not available yet; see `liif`.
    scale
        Sharpness asked for: points are answered as pixels of ``gsd / scale`` would be.
    model, bands, units, device
        As in `liif`.

    Returns
    -------
    DataArray or Dataset
        Dims ([time,] band, point), in the order of the points; lazy if the cube is. Points outside are NaN.

    Raises
    ------
    ParameterError
        If ``x`` and ``y`` are not of one length, or ``scale`` is below 1.
    """
    checked, function, provenance = _prepare(cube, model, bands, units, device, t)
    scale = positive_number("scale", scale)
    if scale < 1:
        raise ParameterError(f"scale={scale!r}; expected a number >= 1.")
    _warn_of_scale(scale, registry.describe(model))
    dim, coords, east, north = _points(x, y)
    taken = {"time", "band", *checked.data.coords} & ({dim, *coords} - {"x", "y"})
    if taken:
        raise ParameterError(
            f"the points bring {sorted(map(str, taken))}, which the cube has too; expected names of their own. Rename"
            " the dimension, or drop the coordinate, of x and y."
        )
    with np.errstate(invalid="ignore"):  # an infinite coordinate becomes NaN, which lies outside
        rows, cols = project_points(checked.geobox, east, north)
    order, sizes = _group(rows, cols)
    points = Points(rows[order], cols[order], (1 / scale, 1 / scale))
    shape = (checked.data.sizes["y"], checked.data.sizes["x"])
    plan = graph.make_plan(points, shape, halo=function.halo, chunks=(1, sizes))
    values = graph.run(function, checked.data.data, plan)[:, :, 0]
    if not np.array_equal(order, np.arange(order.size)):
        values = values[:, :, np.argsort(order)]
    coords = {**coords, "spatial_ref": xr_coords(checked.geobox)["spatial_ref"]}
    return checked.rewrap_points(values, coords, dim, {**provenance, "xsr_scale": [scale, scale]})


def _points(
    x: ArrayLike | xr.DataArray, y: ArrayLike | xr.DataArray
) -> tuple[Any, dict[Any, Any], NDArray[np.float64], NDArray[np.float64]]:
    east, north = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if east.shape != north.shape or east.ndim != 1 or not east.size:
        raise ParameterError(
            f"x has shape {east.shape} and y {north.shape}; expected two sequences of one length, at least one point."
        )
    if isinstance(x, xr.DataArray) and isinstance(y, xr.DataArray):
        same = x.dims == y.dims and (x.dims[0] not in x.indexes or x.indexes[x.dims[0]].equals(y.indexes[y.dims[0]]))
        if not same:
            raise ParameterError(
                f"x runs along {x.dims} and y along {y.dims}; expected one dimension and the same labels."
            )
    dim = x.dims[0] if isinstance(x, xr.DataArray) else "point"
    kept = dict(x.coords) if isinstance(x, xr.DataArray) else {}
    return dim, {**kept, "x": (dim, east), "y": (dim, north)}, east, north


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
