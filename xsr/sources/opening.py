"""One door for whatever xsr reads: a path or URL of any kind, items of a catalog, a tree, a cube.

What something is follows from its content (`xsr.sources.detect`); its reader gets the options.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import xarray as xr

from xsr.core.errors import CubeError, ParameterError
from xsr.core.types import XarrayObject
from xsr.sources.detect import STAC_TYPES, SUPPORTED, Found, Kind, detect
from xsr.sources.labels import Bands, adapt, cube_of, node_at, node_of_bands

Reader: TypeAlias = Callable[..., XarrayObject]
REFLECTANCE = "measurements/reflectance"
SEVERAL = (Kind.SAFE, Kind.THEIA, Kind.EOPF, Kind.LANDSAT)
"""Kinds whose readers take several products, one date each."""
BY_BAND = (Kind.SAFE, Kind.THEIA, Kind.EOPF, Kind.LANDSAT, Kind.STAC, Kind.BANDS)
"""Kinds whose readers open the chosen bands alone, on a grid that depends on them."""


@dataclass(frozen=True)
class Source:
    """Something that xsr can open."""

    kind: Kind
    value: Any
    """What the reader takes."""
    reader: Reader

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the reader."""
        parameters = inspect.signature(self.reader).parameters.values()
        return tuple(one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY)

    def open(self, **options: Any) -> XarrayObject:
        """Open it.

        Raises
        ------
        ParameterError
            If the reader has no such option; says which it has. The reader raises its own.
        """
        unknown = [name for name in options if name not in self.options]
        if unknown:
            known = ", ".join(self.options) or "none"
            raise ParameterError(
                f"option {', '.join(unknown)} is not known for a {self.kind.value}; its options are: {known}. Leave it"
                " out."
            )
        return self.reader(self.value, **options)


def open(x: Any, /, **options: Any) -> XarrayObject:
    """Open anything that xsr reads as a cube.

    Parameters
    ----------
    x
        One of these:

        - path or URL of a product (Sentinel-2 SAFE or EOPF, Theia, Landsat: folder, archive or metadata file; of SAFE
          also an image of a band, or a folder of them), or of a folder with one archive of a product; of a STAC item,
          collection or catalog, of a Zarr store (``.zarr.zip`` too), a NetCDF file, a GeoTIFF, a JPEG 2000 file, a
          folder with one file for each band, or, with ``allow_vrt=True``, a VRT;
        - paths of several products of one kind, one date each, or of several images of one SAFE product;
        - STAC items as pystac or dicts hold them, or a search of pystac-client;
        - a DataTree; a DataArray or Dataset, which is returned as it is.
    options
        Options of the reader of that kind: of products and STAC see `open_safe`, `open_theia`, `open_eopf` and
        `open_stac`. Of files: ``bands`` to keep, or their names, each with the label in the file
        (``{"B02": "nbart_blue"}``, ``{"B02": 1}``); ``dims``, standard names of dims (``{"t": "time"}``); ``crs``,
        where the file states none; ``group`` of a file or tree that has several; ``chunks`` of rasters, in pixels.

    Returns
    -------
    DataArray or Dataset
        Lazy. Of a product reflectance (time, band, y, x); of a file what it holds, as it holds it.

    Raises
    ------
    CubeError
        If there is nothing, nothing that xsr reads, or several things; says what was found.
    ParameterError
        If an option is not known for what was found, with those that are.
    XsrError
        What the reader raises.

    Notes
    -----
    The kind follows from the content: the first bytes of a file, the metadata files of a folder or archive; of a URL
    also from its suffix. Rasters are opened by the driver of their kind alone.

    Examples
    --------
    >>> import xarray as xr
    >>> cube = xr.Dataset()
    >>> open(cube) is cube
    True
    """
    return recognise(x).open(**options)


def recognise(x: Any) -> Source:
    """Find out what something is, and the reader that opens it; as `open`.

    Raises
    ------
    CubeError
        If xsr does not read it.
    """
    if isinstance(x, xr.DataTree):
        return _tree(x)
    if isinstance(x, xr.DataArray | xr.Dataset):
        return Source(Kind.XARRAY, x, _adapted)
    if isinstance(x, str | Path):
        found = detect(str(x))
        return Source(found.kind, found.path, _reader(found))
    if isinstance(x, Sequence) and x and all(isinstance(one, str | Path) for one in x):
        return _several([str(one) for one in x])
    if _is_stac(x):
        return Source(Kind.STAC, x, _stac_reader())
    raise CubeError(f"{_named(x)} cannot be opened; expected a path or URL of {SUPPORTED}, STAC items, or a cube.")


def _several(paths: list[str]) -> Source:
    """Several products of one kind, one date each."""
    if len(paths) == 1:
        return recognise(paths[0])
    found = [detect(path) for path in paths]
    kinds = {one.kind for one in found}
    if kinds == {Kind.SAFE, Kind.JPEG2000}:  # images of a product: classes and pictures beside the bands
        found = [replace(one, kind=Kind.SAFE) for one in found]
        kinds = {Kind.SAFE}
    if len(kinds) > 1 or found[0].kind not in SEVERAL:
        names = ", ".join(sorted(kind.value for kind in kinds))
        raise CubeError(
            f"{len(paths)} paths of {names} given; expected products of one kind, one date each."
            " Open them one by one and join them, as by xarray.concat."
        )
    return Source(found[0].kind, [one.path for one in found], _reader(found[0]))


def _reader(found: Found) -> Reader:
    """Reader of a kind; loaded only now."""
    from xsr.sources import bandfiles, eopf, files, safe, theia

    readers: Mapping[Kind, Reader] = {
        Kind.SAFE: safe.open_safe,
        Kind.THEIA: theia.open_theia,
        Kind.EOPF: eopf.open_eopf,
        Kind.GEOTIFF: files.open_raster_file,
        Kind.JPEG2000: files.open_raster_file,
        Kind.VRT: _open_vrt,
        Kind.NETCDF: files.open_netcdf,
        Kind.ZARR: files.open_store,
        Kind.BANDS: bandfiles.open_band_files,
    }
    if found.kind is Kind.STAC:
        return _stac_reader()
    return _landsat_reader() if found.kind is Kind.LANDSAT else readers[found.kind]


def _stac_reader() -> Reader:
    from xsr.sources.stac import open_stac

    return open_stac


def _landsat_reader() -> Reader:
    reader: Reader = import_module("xsr.sources.landsat").open_landsat
    return reader


def _open_vrt(
    path: str, *, bands: Bands | None = None, crs: str | int | None = None, allow_vrt: bool = False
) -> XarrayObject:
    from xsr.sources.files import open_raster_file

    if not allow_vrt:
        raise CubeError(
            f"{path} is a VRT, which can name any other file or address; expected consent to open those. Trust it and"
            " pass allow_vrt=True, or name the files themselves."
        )
    return open_raster_file(path, bands=bands, crs=crs, allow_vrt=True)


def _adapted(
    cube: XarrayObject,
    *,
    bands: Bands | None = None,
    dims: Mapping[str, str] | None = None,
    crs: str | int | None = None,
) -> XarrayObject:
    """Cube that is in memory already."""
    return adapt(cube, bands=bands, dims=dims, crs=crs, label="the cube")


def _tree(tree: xr.DataTree) -> Source:
    """Source of a tree or node: an EOPF product is opened as one, of any other the node with images is taken."""
    from xsr.sources.eopf import open_eopf

    within = tree.path.strip("/")
    if within.startswith("measurements") or not within:
        if REFLECTANCE in {node.path.strip("/") for node in tree.root.subtree}:
            return Source(Kind.EOPF, tree, open_eopf)
    return Source(Kind.TREE, tree, _node)


def _node(
    tree: xr.DataTree,
    *,
    bands: Bands | None = None,
    dims: Mapping[str, str] | None = None,
    crs: str | int | None = None,
    group: str | None = None,
) -> XarrayObject:
    node = node_of_bands(tree, label="the tree") if group is None else node_at(tree, group, label="the tree")
    return adapt(cube_of(node, "", dims), bands=bands, dims=dims, crs=crs, label="the tree")


def _is_stac(x: Any) -> bool:
    """Whether something is an item, a collection of items, a catalog or a search, as pystac or dicts have them."""
    if isinstance(x, dict):
        return x.get("type") in STAC_TYPES
    if isinstance(x, list | tuple):
        return bool(x) and all(_is_stac(one) for one in x)
    return type(x).__module__.partition(".")[0] in ("pystac", "pystac_client")


def _named(x: Any) -> str:
    kind = f"a {type(x).__name__}"
    return f"{kind} of {len(x)}" if isinstance(x, list | tuple | dict) else kind
