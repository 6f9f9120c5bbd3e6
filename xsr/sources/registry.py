"""The sources that xsr opens: those it brings along, and those that `register_source` adds, in one table.

The sources it brings along are found by what lies at a path (`xsr.sources.detect`), the others say whether they
recognise it. Readers are imported when they are used.
"""

import inspect
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from importlib import import_module
from typing import TypeAlias, cast

from xsr.core import extensions
from xsr.core.errors import CubeError, ParameterError
from xsr.core.types import XarrayObject

Reader: TypeAlias = Callable[..., XarrayObject]


@dataclass(frozen=True)
class Source:
    """A kind of file, folder, store or address, and the function that opens it as a cube.

    Examples
    --------
    >>> import xarray as xr
    >>> table = Source("table", recognises=lambda path: path.endswith(".csv"), open=lambda path: xr.Dataset())
    >>> table.recognises("rain.csv")
    True
    """

    name: str
    """Name of the source in messages; unique."""

    _: KW_ONLY

    open: Reader | str
    """Function of the path or URL that returns a lazy DataArray or Dataset, or ``package.module:function``, which is
    imported on first use. What it takes beside the path are options of `xsr.open` and ``--open`` of the command."""

    recognises: Callable[[str], bool] | None = None
    """Whether a path or URL is one of the source; called for each that `xsr.open` gets, so it reads little. None for
    sources that xsr brings along."""

    product: bool = False
    """Whether it holds one date, so that several may be opened together: ``open`` then takes a list of paths, too."""

    by_band: bool = False
    """Whether ``open`` takes ``bands`` and reads these alone; the command then passes the bands it needs."""

    @property
    def reader(self) -> Reader:
        """Function that opens the source, imported now."""
        if not isinstance(self.open, str):
            return self.open
        module, _, name = self.open.partition(":")
        return cast(Reader, getattr(import_module(module), name))

    @property
    def options(self) -> tuple[str, ...]:
        """Names of what the reader takes beside the path."""
        return tuple(one.name for one in self._beside() if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD))

    def takes(self, option: str) -> bool:
        """Whether the reader has an option of this name, or takes any by ``**``."""
        return option in self.options or any(one.kind is one.VAR_KEYWORD for one in self._beside())

    def _beside(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self.reader).parameters.values())[1:]


SAFE = Source("Sentinel-2 SAFE", open="xsr.sources.safe:open_safe", product=True, by_band=True)
THEIA = Source("Theia", open="xsr.sources.theia:open_theia", product=True, by_band=True)
LANDSAT = Source("Landsat", open="xsr.sources.landsat:open_landsat", product=True, by_band=True)
EOPF = Source("Sentinel-2 EOPF", open="xsr.sources.eopf:open_eopf", product=True, by_band=True)
STAC = Source("STAC", open="xsr.sources.stac:open_stac", by_band=True)
GEOTIFF = Source("GeoTIFF", open="xsr.sources.files:open_raster_file")
JPEG2000 = Source("JPEG 2000", open="xsr.sources.files:open_raster_file")
VRT = Source("VRT", open="xsr.sources.files:open_vrt")
NETCDF = Source("NetCDF", open="xsr.sources.files:open_netcdf")
ZARR = Source("Zarr store", open="xsr.sources.files:open_store")
REFERENCES = Source("references", open="xsr.sources.references:open_references")
BANDS = Source("folder of band files", open="xsr.sources.bandfiles:open_band_files", by_band=True)
TREE = Source("DataTree", open="xsr.sources.labels:open_tree")
XARRAY = Source("xarray object", open="xsr.sources.labels:open_object")

BUILT_IN = (SAFE, THEIA, LANDSAT, EOPF, STAC, GEOTIFF, JPEG2000, VRT, NETCDF, ZARR, REFERENCES, BANDS, TREE, XARRAY)
_SOURCES = {source.name: source for source in BUILT_IN}


def register_source(source: Source, *, overwrite: bool = False) -> None:
    """Add a source, so that `xsr.open` and the command open what it recognises.

    Parameters
    ----------
    source : Source
        Its name, how it is recognised, and what opens it.
    overwrite : bool, default False
        Replace a source of the same name that was added before.

    Raises
    ------
    ParameterError
        If the name is that of a different source, nothing says how the source is recognised, or ``open`` is
        neither a function nor the name of one.

    Notes
    -----
    A source may recognise what xsr reads as a plain file, folder or store, such as a GeoTIFF: it comes first. It must
    not recognise products that xsr reads itself, nor what another added source recognises: `xsr.open` refuses such a
    path. A package registers its sources in a module that its entry point of the group ``xsr.extensions`` names.

    Examples
    --------
    >>> import xarray as xr
    >>> def open_table(path, rows=None):
    ...     return xr.Dataset()
    >>> table = Source("table", recognises=lambda path: path.endswith(".csv"), open=open_table)
    >>> register_source(table)
    >>> table.options
    ('rows',)
    """
    if not callable(getattr(source, "recognises", None)):
        name = getattr(source, "name", source)
        raise ParameterError(f"source {name!r} has no recognises=; expected a function of the path. Give one.")
    opens: object = source.open  # of any type, whatever the record says
    if not callable(opens) and str(opens).count(":") != 1:
        raise ParameterError(
            f"source {source.name!r} has open={source.open!r}; expected a function of the path, or"
            " 'package.module:function'. Give one."
        )
    known = _SOURCES.get(source.name)
    if known in BUILT_IN or (known not in (None, source) and not overwrite):
        remedy = "." if known in BUILT_IN else ", or pass overwrite=True to replace it."
        raise ParameterError(
            f"source {source.name!r} is registered already; expected a new name. Choose another{remedy}"
        )
    _SOURCES[source.name] = source


def added() -> tuple[Source, ...]:
    """Return the sources that were added, those of installed packages included."""
    extensions.load()
    return tuple(source for source in _SOURCES.values() if source not in BUILT_IN)


def claimed(path: str) -> Source | None:
    """Find the added source that recognises a path or URL; None if there is none.

    Raises
    ------
    CubeError
        If several do, or one fails to say.
    """
    found = [source for source in added() if _recognises(source, path)]
    if len(found) > 1:
        names = ", ".join(repr(source.name) for source in found)
        raise CubeError(f"{path} is recognised by the sources {names}; expected one. Narrow what they recognise.")
    return found[0] if found else None


def _recognises(source: Source, path: str) -> bool:
    assert source.recognises is not None
    try:
        return bool(source.recognises(path))
    except Exception as error:
        raise CubeError(
            f"source {source.name!r} failed on {path}: {type(error).__name__}: {error}; expected True or False from its"
            " recognises. Correct it, or remove the source."
        ) from error
