"""One way in for whatever xsr reads: a path or URL of any kind, items of a catalog, a tree, a cube.

What something is follows from its content (`xsr.sources.detect`); its source (`xsr.sources.registry`) gets the
options.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from xsr.core.errors import CubeError, ParameterError, discreet
from xsr.core.redact import public
from xsr.core.types import XarrayObject
from xsr.sources import registry
from xsr.sources.detect import STAC_TYPES, detect, supported
from xsr.sources.labels import joined_groups
from xsr.sources.registry import Source

REFLECTANCE = "measurements/reflectance"


@dataclass(frozen=True)
class Recognised:
    """Something that xsr can open."""

    source: Source
    value: Any
    """What the reader takes."""

    def open(self, **options: Any) -> XarrayObject:
        """Open it.

        Raises
        ------
        ParameterError
            If the reader has no such option; says which it has. The reader raises its own.
        CubeError
            If the reader does not return a cube.
        """
        known, name = self.source.options, self.source.name
        unknown = [option for option in options if not self.source.takes(option)]
        if unknown:
            raise ParameterError(
                f"option {', '.join(unknown)} is not known for a {name}; its options are: {', '.join(known) or 'none'}."
                " Leave it out."
            )
        with discreet(self.value if isinstance(self.value, str) else None):
            cube = self.source.reader(self.value, **options)
        if not isinstance(cube, xr.DataArray | xr.Dataset):
            raise CubeError(
                f"source {name!r} returned a {type(cube).__name__} for {self.value}; expected a DataArray or Dataset."
                " Correct its function open."
            )
        _forget_secrets(cube)
        return cube


def _forget_secrets(cube: XarrayObject) -> None:
    """Take passwords and signatures off the address that xarray remembers of a cube and of its variables."""
    held = cube.variables if isinstance(cube, xr.Dataset) else {**cube.coords.variables, None: cube.variable}
    for encoding in (cube.encoding, *(variable.encoding for variable in held.values())):
        if "source" in encoding:
            encoding["source"] = public(encoding["source"])


def open(x: Any, /, **options: Any) -> XarrayObject:
    """Open anything that xsr reads as a cube.

    Parameters
    ----------
    x
        One of these:

        - path or URL of a product (Sentinel-2 SAFE or EOPF, Theia, Landsat: folder, archive or metadata file; of SAFE
          also an image of a band, or a folder of them), or of a folder with one archive of a product; of a STAC item,
          collection or catalog, of a Zarr store (``.zarr.zip`` too), references of kerchunk (JSON), a NetCDF file, a
          GeoTIFF, a JPEG 2000 file, a folder with one file for each band, or, with ``allow_vrt=True``, a VRT;
        - paths of several products of one kind, one date each, or of several images of one SAFE product;
        - STAC items as pystac or dicts hold them, or a search of pystac-client;
        - a path or URL that a source added by `xsr.register_source` recognises;
        - a DataTree; a DataArray or Dataset, which is returned unchanged.
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
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> report = synthetic_cube(size=(32, 32)).sr.to_zarr("cube.zarr", progress=False)
    >>> cube = xsr.open("cube.zarr")
    >>> dict(cube.sizes), xsr.open(cube) is cube
    ({'time': 1, 'band': 4, 'y': 32, 'x': 32}, True)
    """
    return recognise(x).open(**options)


def open_mixed(tree: xr.DataTree) -> XarrayObject:
    """Open the bands of all groups of a tree, as `xsr.sharpen` takes them.

    Raises
    ------
    CubeError
        If the groups hold no bands, a band twice, or do not fit; see `xsr.sources.labels.joined_groups`.
    """
    return open(tree) if _is_eopf(tree) else joined_groups(tree)


def recognise(x: Any) -> Recognised:
    """Find out what something is, and the source that opens it; as `open`.

    Raises
    ------
    CubeError
        If xsr does not read it.
    """
    if isinstance(x, xr.DataTree):
        return Recognised(registry.EOPF if _is_eopf(x) else registry.TREE, x)
    if isinstance(x, xr.DataArray | xr.Dataset):
        return Recognised(registry.XARRAY, x)
    if isinstance(x, str | Path):
        found = detect(str(x))
        return Recognised(found.source, found.path)
    if isinstance(x, Sequence) and x and all(isinstance(one, str | Path) for one in x):
        return _several([str(one) for one in x])
    if _is_stac(x):
        return Recognised(registry.STAC, x)
    raise CubeError(f"{_named(x)} cannot be opened; expected a path or URL of {supported()}, STAC items, or a cube.")


def _several(paths: list[str]) -> Recognised:
    """Several products of one kind, one date each."""
    if len(paths) == 1:
        return recognise(paths[0])
    found = [detect(path) for path in paths]
    sources = {one.source.name: one.source for one in found}
    if set(sources) == {registry.SAFE.name, registry.JPEG2000.name}:  # images: classes and pictures beside the bands
        sources = {registry.SAFE.name: registry.SAFE}
    source = next(iter(sources.values()))
    if len(sources) > 1 or not source.product:
        raise CubeError(
            f"{len(paths)} paths of {', '.join(sorted(sources))} given; expected products of one kind, one date each."
            " Open them one by one and join them, as by xarray.concat."
        )
    return Recognised(source, [one.path for one in found])


def _is_eopf(tree: xr.DataTree) -> bool:
    """Whether a tree, or the tree of a node, is an EOPF product; of any other the node with images is taken."""
    within = tree.path.strip("/")
    if within and not within.startswith("measurements"):
        return False
    return REFLECTANCE in {node.path.strip("/") for node in tree.root.subtree}


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
