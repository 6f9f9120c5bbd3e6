"""Rasters of a product, lazily, as reflectance on one grid.

A file is opened through rioxarray, decoded chunk by chunk and brought to the requested grid: bicubic (or any kernel of
`xsr.kernels.resample`) to a finer one, the mean of the valid pixels to a coarser one, nearest for masks.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import odc.geo.xr
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import graph, grid
from xsr.core.errors import GridError, ParameterError, ProductError, cause
from xsr.core.grid import Refinement, crs_name, resolution
from xsr.kernels import resample
from xsr.sources.limits import check_raster

DRIVERS = ("GTiff", "JP2OpenJPEG")
"""Drivers of GDAL that may open a raster. Left to choose, it would open files that name other files, or sites."""
VRT = "VRT"
"""Driver of such files, for those that the user trusts and that xsr makes."""
JPEG2000 = (".jp2", ".j2k")
OTHER_KIND = "not recognized"
"""What GDAL says of a file that a driver does not open."""
CHUNK = 1024
"""Side of a chunk in pixels."""
ALIGNED = 1e-6
"""Largest deviation of a ratio of pixel sizes from a whole number."""


@dataclass(frozen=True)
class Packing:
    """How the numbers of a file become reflectance: (DN + offset) / quantification."""

    quantification: float
    """Digital numbers to one unit of reflectance."""
    offset: float
    """Added to each digital number first."""
    special: tuple[float, ...]
    """Digital numbers that are no data."""

    def decode(self, numbers: NDArray[Any]) -> NDArray[np.float32]:
        """Reflectance in float32, NaN = no data."""
        values = numbers.astype(np.float32)
        out = (values + np.float32(self.offset)) / np.float32(self.quantification)
        for value in self.special:
            out[values == np.float32(value)] = np.nan
        return out


@dataclass(frozen=True)
class Header:
    """What a raster declares."""

    driver: str
    """Driver of GDAL that opens it."""
    shape: tuple[int, int]
    """Height and width in pixels."""
    transform: Affine
    crs: Any
    """CRS of rasterio, None without one."""
    dtypes: tuple[str, ...]
    """Type of each band."""


def read_header(path: str, *, label: str, chunk: int = CHUNK, driver: str | None = None) -> Header:
    """Open a raster by one of `DRIVERS`, or the one given, and look at what it declares.

    Raises
    ------
    RasterioError
        If none opens it.
    CubeError
        If it declares a size that no image has.
    """
    import rasterio

    ordered = sorted(DRIVERS, key=lambda name: (name != "GTiff") != path.partition("?")[0].lower().endswith(JPEG2000))
    *others, last = [driver] if driver is not None else ordered
    for name in others:
        try:
            return _header(path, name, label=label, chunk=chunk)
        except rasterio.errors.RasterioIOError as error:
            if OTHER_KIND not in str(error):
                raise
    return _header(path, last, label=label, chunk=chunk)


def _header(path: str, driver: str, *, label: str, chunk: int) -> Header:
    import rasterio

    with rasterio.open(path, driver=driver) as file:
        check_raster(file.height, file.width, chunk=chunk, label=label)
        return Header(driver, (file.height, file.width), file.transform, file.crs, file.dtypes)


def open_raster(path: str, *, label: str, chunk: int = CHUNK) -> xr.DataArray:
    """Open a georeferenced file lazily.

    Parameters
    ----------
    path
        Path as GDAL reads it.
    label
        What to call the file in a message.
    chunk
        Side of a chunk in pixels.

    Returns
    -------
    DataArray
        Stored numbers (band, y, x), Dask-backed.

    Raises
    ------
    ProductError
        If the file cannot be read, or has no georeference.
    CubeError
        If it declares a size that no image has.
    """
    import rasterio
    import rioxarray

    try:
        driver = read_header(path, label=label, chunk=chunk).driver
        data = rioxarray.open_rasterio(path, chunks={"y": chunk, "x": chunk}, lock=False, driver=driver)
    except rasterio.errors.RasterioError as error:
        raise ProductError(f"{label} cannot be read: {error}. Download it again.") from cause(error)
    assert isinstance(data, xr.DataArray)
    if data.odc.geobox is None or data.odc.crs is None:
        raise ProductError(f"{label} has no grid or CRS; expected a georeferenced file. Check that it is the original.")
    return data


def read_sample(path: str, side: int, *, label: str, driver: str | None = None) -> NDArray[Any]:
    """Read the first band at reduced resolution, nearest pixels.

    Parameters
    ----------
    path
        Path as GDAL reads it.
    side
        Most pixels of the sample, high and wide.
    label
        What to call the file in a message.
    driver
        Driver of GDAL that opens it; by default one of `DRIVERS`.

    Raises
    ------
    ProductError
        If its pixels cannot be read.
    """
    import rasterio

    try:
        with rasterio.open(path, driver=driver or read_header(path, label=label).driver) as file:
            shape = (min(file.height, side), min(file.width, side))
            values: NDArray[Any] = file.read(1, out_shape=shape)
    except rasterio.errors.RasterioError as error:
        raise ProductError(f"{label} cannot be read: {error}. Download it again.") from cause(error)
    return values


def decode(data: xr.DataArray, packing: Packing) -> xr.DataArray:
    """Reflectance (band, y, x) in float32, lazily."""
    return data.copy(data=data.data.map_blocks(packing.decode, dtype=np.float32, meta=np.empty((0,) * 3, np.float32)))


def join(images: Iterable[Any]) -> Any:
    """Join images (band, y, x) along band."""
    import dask.array as da

    return da.concatenate(list(images))


def to_grid(data: xr.DataArray, target: GeoBox, *, method: str, chunk: int = CHUNK) -> Any:
    """Bring an image to a grid, lazily.

    Parameters
    ----------
    data
        Image (band, y, x), float32, NaN = no data; Dask-backed.
    target
        Grid in the same CRS, parallel to the image's.
    method
        Kernel for a finer grid; ``nearest`` also for a coarser one, where the others take the mean of the valid pixels.
    chunk
        Side of a chunk in pixels.

    Returns
    -------
    dask Array
        Shape (band, *target.shape), float32, NaN outside the image.

    Raises
    ------
    GridError
        If the CRS differ, or a coarser grid is no whole multiple.
    """
    if method not in resample.METHODS:
        raise ParameterError(f"resampling={method!r}; expected one of {', '.join(resample.METHODS)}.")
    source: GeoBox = data.odc.geobox
    if source == target:
        return data.data.astype(np.float32).rechunk((-1, chunk, chunk))
    if source.crs != target.crs:
        raise GridError(
            f"a file is in {crs_name(source)}, the grid in {crs_name(target)}; expected the same CRS."
            " Open them separately."
        )
    if method != "nearest" and resolution(target)[0] > resolution(source)[0] * (1 + ALIGNED):
        data = _mean(data, target)
        if data.odc.geobox == target:
            return data.data.astype(np.float32).rechunk((-1, chunk, chunk))
        source = data.odc.geobox
    a, b = source.affine, target.affine
    height, width = target.shape.yx
    sampling = Refinement((height, width), (b.e / a.e, b.a / a.a), ((b.f - a.f) / a.e, (b.c - a.c) / a.a))
    function = resample.Interpolation(method)
    plan = graph.make_plan(sampling, (data.shape[1], data.shape[2]), halo=function.halo, chunks=(chunk, chunk))
    return graph.run(function, data.data[None], plan)[0]


def _mean(data: xr.DataArray, target: GeoBox) -> xr.DataArray:
    """Mean of the valid pixels of whole blocks."""
    ratio = [t / s for t, s in zip(resolution(target), resolution(data.odc.geobox), strict=True)]
    size = [round(r) for r in ratio]
    if any(abs(r - n) > ALIGNED * n for r, n in zip(ratio, size, strict=True)):
        raise GridError(
            f"pixels of {resolution(data.odc.geobox)} do not fill pixels of {resolution(target)}; expected a whole"
            " multiple. Choose another resolution, and interpolate the cube afterwards."
        )
    coarse = data.coarsen(y=size[0], x=size[1], boundary="trim").mean()
    box, _ = grid.coarsen(data.odc.geobox, size[0])
    return xr.DataArray(coarse.data, dims=("band", "y", "x"), coords=odc.geo.xr.xr_coords(box))


def nearest(data: xr.DataArray, target: GeoBox, *, dtype: Any, chunk: int = CHUNK) -> Any:
    """Bring a mask to a grid by its nearest pixels, lazily; 0 outside the mask.

    Returns
    -------
    dask Array
        Shape (band, *target.shape), of the requested type.
    """
    values = to_grid(data.astype(np.float32), target, method="nearest", chunk=chunk)
    return values.map_blocks(partial(whole_numbers, dtype=dtype), dtype=dtype)  # Dask keeps its dtype= to itself


def whole_numbers(values: NDArray[np.float32], dtype: Any = None) -> NDArray[Any]:
    """Turn classes read as floating point into integers; NaN becomes 0."""
    return np.nan_to_num(values, nan=0.0).astype(np.uint8 if dtype is None else dtype)
