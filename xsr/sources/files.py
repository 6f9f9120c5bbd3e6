"""Files and stores: Zarr (folder, URL or zip), NetCDF, GeoTIFF and JPEG 2000.

What a file does not say, its reader can be given: names of bands and dims, the CRS, the group. Numbers stay as they are
stored; what they mean is decided where they are used.
"""

import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr
from odc.geo.xr import spatial_dims, xr_coords  # registers the .odc accessor, too

from xsr.core import checks
from xsr.core.errors import CubeError, GridError, ParameterError, XsrError, cause
from xsr.core.georeference import geobox_of
from xsr.core.grid import crs_name
from xsr.core.redact import scrub
from xsr.core.types import XarrayObject
from xsr.sources.hierarchies import check_hdf5, check_zarr, image_level
from xsr.sources.labels import Bands, adapt, cube_of, node_of_bands
from xsr.sources.rasters import VRT as VRT_DRIVER
from xsr.sources.rasters import read_header

CHUNK = 1024
"""Chunk of files that have none of their own, in pixels."""
ZARR_METADATA = ("zarr.json", ".zgroup", ".zmetadata")
"""Names of the files that describe a Zarr group."""
HEAD = 1024
"""Bytes read of a file to know its kind."""
JPEG2000 = re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51")
"""First bytes of a JPEG 2000 file, with its boxes and without."""
VRT = re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?<VRTDataset")
"""First bytes of a virtual raster of GDAL."""


def open_file(path: str | Path) -> XarrayObject:
    """Open a cube lazily.

    Parameters
    ----------
    path
        A Zarr store (folder or URL), a NetCDF file (``.nc``, ``.h5``) or a GeoTIFF (``.tif``, ``.tiff``).

    Returns
    -------
    DataArray or Dataset
        Dask-backed. A Zarr store of one variable with a band dimension becomes a DataArray; GeoTIFF bands take
        their names from the band descriptions.

    Raises
    ------
    CubeError
        If there is nothing at the path, or its kind is not known.
    """
    text = str(path)
    if "://" not in text and not Path(text).exists():
        raise CubeError(f"{text} not found; expected a Zarr store, a NetCDF file or a GeoTIFF.")
    suffix = Path(text).suffix.lower()
    if suffix in (".tif", ".tiff"):
        return open_raster_file(text)
    if suffix in (".nc", ".nc4", ".h5"):
        return open_netcdf(text)
    if suffix == ".zarr" or "://" in text or Path(text).is_dir():
        return open_store(text)
    raise CubeError(f"{text} is of an unknown kind; expected .zarr, .nc, .tif or a folder holding a Zarr store.")


def open_raster_file(
    path: str,
    *,
    bands: Bands | None = None,
    crs: str | int | None = None,
    chunks: int = CHUNK,
    allow_vrt: bool = False,
) -> XarrayObject:
    """Open a GeoTIFF, a cloud-optimised one too, or a JPEG 2000 file.

    Parameters
    ----------
    path
        Path, URL, or a ``/vsi`` path of GDAL.
    bands
        Bands to keep, by their descriptions, or by number from 1 where they have none; or their names, each with
        that label: ``{"B02": 1, "B03": 2}``.
    crs
        CRS, where the file states none.
    chunks
        Side of a chunk in pixels.
    allow_vrt
        Open a VRT too. It can name any other file or URL, so that one from a stranger is not to be trusted.

    Raises
    ------
    CubeError
        If it cannot be read, declares a size that no image has, or holds several rasters.
    """
    import rioxarray

    if not checks.is_number(chunks) or chunks < 1:
        raise ParameterError(f"chunks={chunks!r}; expected the side of a chunk in pixels, such as {CHUNK}.")
    with reading(path):
        header = read_header(path, label=path, chunk=chunks, driver=VRT_DRIVER if _is_vrt(path) and allow_vrt else None)
        data = rioxarray.open_rasterio(path, chunks={"x": chunks, "y": chunks}, driver=header.driver)
    if not isinstance(data, xr.DataArray):
        raise CubeError(f"{path} holds several rasters; expected one. Name the subdataset.")
    return adapt(_described(data), bands=bands, crs=crs, label=path)


def open_vrt(
    path: str, *, bands: Bands | None = None, crs: str | int | None = None, allow_vrt: bool = False
) -> XarrayObject:
    """Open a VRT with consent; see `open_raster_file`.

    Raises
    ------
    CubeError
        If ``allow_vrt`` is not set.
    """
    if not allow_vrt:
        raise CubeError(
            f"{path} is a VRT, which can name any other file or address; expected consent to open those. Trust it and"
            " pass allow_vrt=True, or name the files themselves."
        )
    return open_raster_file(path, bands=bands, crs=crs, allow_vrt=True)


def open_netcdf(
    path: str,
    *,
    bands: Bands | None = None,
    dims: Mapping[str, str] | None = None,
    crs: str | int | None = None,
    group: str | None = None,
    trust: bool = False,
) -> XarrayObject:
    """Open a NetCDF file.

    Parameters
    ----------
    path
        Path or URL.
    bands
        Bands to keep; or their names, each with the label in the file: ``{"B02": "nbart_blue"}``.
    dims
        Names of dims, each with its standard one: ``{"t": "time"}``.
    crs
        CRS, where the file states none.
    group
        Group that holds the bands, where there are several.
    trust
        Read what the file takes from other files, by links or as raw bytes.

    Returns
    -------
    DataArray or Dataset
        Dask-backed. One variable with bands along a dim becomes a DataArray.

    Raises
    ------
    CubeError
        If it cannot be read, takes something from other files, or several groups hold bands.
    """
    with reading(path):
        engine = "scipy" if _head(path).startswith(b"CDF") else "h5netcdf"
        if engine == "h5netcdf" and "://" not in path:
            check_hdf5(path, trust=trust)
        options = {"chunks": {}, "engine": engine, "decode_coords": "all"}
        data = xr.open_dataset(path, group=group, **options)  # type: ignore[arg-type]
        if not data.data_vars and group is None and engine == "h5netcdf":
            data = node_of_bands(xr.open_datatree(path, **options), label=path)  # type: ignore[arg-type]
    return adapt(cube_of(data, path, dims), bands=bands, dims=dims, crs=crs, label=path)


def open_store(
    path: str,
    *,
    bands: Bands | None = None,
    dims: Mapping[str, str] | None = None,
    crs: str | int | None = None,
    group: str | None = None,
) -> XarrayObject:
    """Open a Zarr store: a folder, a URL or a zip archive; as `open_netcdf`."""
    with reading(path), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated", RuntimeWarning)
        store = zarr_store(path)
        check_zarr(store, group, label=path)
        data = xr.open_zarr(store, group=group, decode_coords="all")
        level = image_level(data.attrs) if group is None else None
        if level is not None:
            state = data.attrs["xsr"]
            check_zarr(store, level, label=path)
            data = xr.open_zarr(store, group=level, decode_coords="all").assign_attrs(xsr=state)
        if not data.data_vars and group is None:
            tree = xr.open_datatree(store, engine="zarr", chunks={}, decode_coords="all")
            data = node_of_bands(tree, label=path) if tree.children else data
    return adapt(cube_of(data, path, dims), bands=bands, dims=dims, crs=crs, label=path)


def _head(path: str) -> bytes:
    """First bytes of a file on disk; none of anything else."""
    if "://" in path or not Path(path).is_file():
        return b""
    with Path(path).open("rb") as file:
        return file.read(HEAD)


def zarr_store(path: str) -> Any:
    """Give what zarr opens: the path itself; of a zip archive the store in it.

    Parameters
    ----------
    path
        Folder, URL or zip archive, whose store may lie at its root or in a folder.
    """
    if not _head(path).startswith(b"PK"):
        return path
    import zarr
    from zarr.storage import ZipStore

    with zipfile.ZipFile(path) as file:
        root = zarr_root(file.namelist())
    return zarr.open_group(ZipStore(path, mode="r"), path=(root or "").rstrip("/"), mode="r").store_path


def zarr_root(names: Iterable[str]) -> str | None:
    """Folder of the outermost Zarr group among file names, with a trailing slash unless it is the root."""
    roots = [name[: -len(end)] for name in names for end in ZARR_METADATA if f"/{name}".endswith(f"/{end}")]
    return min(roots, key=lambda root: (root.count("/"), root), default=None)


def _is_vrt(path: str) -> bool:
    """Whether a file is a VRT by its name or first bytes."""
    return path.partition("?")[0].lower().endswith(".vrt") or VRT.match(_head(path)) is not None


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn what libraries raise about a file into one error."""
    try:
        yield
    except XsrError:
        raise
    except Exception as error:  # of any kind, where a library reaches a file on the web
        lines = scrub(str(error), path).splitlines() or [type(error).__name__]
        raise CubeError(
            f"{path} cannot be read: {lines[0].rstrip('.')}. Check that it is complete and of the kind it claims."
        ) from cause(error, path)


def _described(data: xr.DataArray) -> xr.DataArray:
    """Name bands by their descriptions, where each has its own."""
    names = data.attrs.get("long_name")
    names = (names,) if isinstance(names, str) else tuple(names or ())
    if len(names) != data.sizes["band"] or not all(names) or len(set(names)) != len(names):
        return data
    data.attrs.pop("long_name")
    return data.assign_coords(band=list(names))


def crop(cube: XarrayObject, bbox: tuple[float, float, float, float]) -> XarrayObject:
    """Keep the pixels whose centres lie in a box (left, bottom, right, top), in the CRS of the cube.

    Raises
    ------
    ParameterError
        If the box is not in order, or holds no pixel.
    """
    left, bottom, right, top = bbox
    if not (left < right and bottom < top):
        raise ParameterError(f"bbox {bbox}; expected left < right and bottom < top, in the CRS of the cube.")
    box, dims = geobox_of(cube), spatial_dims(cube, relaxed=True)
    if box is None or dims is None or box.crs is None:
        raise GridError("the cube has no grid or CRS; a bbox needs both. Assign a CRS with .odc.assign_crs(...).")
    y, x = dims
    centres = xr_coords(box, dims=(y, x))
    rows = ((centres[y] >= bottom) & (centres[y] <= top)).values.nonzero()[0]
    cols = ((centres[x] >= left) & (centres[x] <= right)).values.nonzero()[0]
    if not (rows.size and cols.size):
        raise ParameterError(
            f"bbox {bbox} holds no pixel; the cube covers {tuple(box.boundingbox)} in {crs_name(box)}."
        )
    return cube.isel({y: slice(rows[0], rows[-1] + 1), x: slice(cols[0], cols[-1] + 1)})
