"""Dates of a search: their items examined at once, their pixels made lazy date by date.

A long series is never one graph: `fetch` takes one date after another.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import xarray as xr
from odc.geo.crs import CRS
from odc.geo.geom import Geometry

from xsr.core.errors import ParameterError, ProductError, XsrWarning
from xsr.core.grid import positive_number
from xsr.core.redact import public
from xsr.sources.granules import stack
from xsr.sources.stac.assets import Access
from xsr.sources.stac.bands import BandsLike, Quantity, choose_bands
from xsr.sources.stac.classes import Kind
from xsr.sources.stac.describe import acquisition
from xsr.sources.stac.examine import Candidate, ItemErrors, Request, examine, processings
from xsr.sources.stac.load import Layout, Resampling, find_grid, make_granule
from xsr.sources.stac.packing import OffsetLike

if TYPE_CHECKING:
    import pystac

ATTRIBUTES: dict[Quantity, dict[str, str]] = {
    "reflectance": {"units": "1", "long_name": "reflectance"},
    "temperature": {"units": "K", "long_name": "surface temperature", "standard_name": "surface_temperature"},
}
"""Attributes of a cube."""

Acquisition = tuple[str, str]
"""Platform and datatake: one date."""


@dataclass(frozen=True)
class Reading:
    """How items are read; see `xsr.open_stac`."""

    bands: BandsLike | None
    resolution: float | None
    crs: CRS | None
    resampling: Resampling
    mask: bool
    offset: OffsetLike
    errors: ItemErrors
    access: Access
    chunks: int


def resolve_reading(
    *,
    bands: BandsLike | None,
    resolution: float | None,
    crs: str | int | None,
    resampling: Resampling,
    mask: bool,
    offset: OffsetLike,
    errors: ItemErrors,
    patch_url: Callable[[str], str] | None,
    trust: bool,
    alternate: str | None,
    chunks: int,
) -> Reading:
    """Check how items are read, as of `xsr.open_stac`.

    Raises
    ------
    ParameterError
        If an option is out of range.
    """
    if errors not in get_args(ItemErrors):
        raise ParameterError(f"errors={errors!r}; expected 'raise' or 'drop'.")
    if resampling not in get_args(Resampling):
        raise ParameterError(f"resampling={resampling!r}; expected one of {', '.join(get_args(Resampling))}.")
    if resolution is not None:
        positive_number("resolution", resolution)
    system = None if crs is None else _resolve_crs(crs)
    return Reading(
        bands, resolution, system, resampling, mask, offset, errors, Access(patch_url, alternate, system, trust), chunks
    )


def _resolve_crs(crs: str | int) -> CRS:
    from pyproj.exceptions import CRSError

    try:
        return CRS(crs)
    except (CRSError, ValueError, TypeError) as error:
        raise ParameterError(f"crs={crs!r} is no CRS ({error}); expected an EPSG code, such as 32633.") from error


@dataclass(frozen=True)
class Series:
    """Items that can be used, by the date that they are parts of."""

    dates: Mapping[Acquisition, Sequence[Candidate]]
    bands: tuple[str, ...]
    layout: Layout
    name: str
    attrs: Mapping[str, Any]
    mask: bool

    @property
    def names(self) -> set[str]:
        """Names of all items."""
        return {one.item.id for date in self.dates.values() for one in date}

    def cube(self, dates: Iterable[Acquisition] | None = None) -> xr.DataArray:
        """Cube (time, band, y, x) of some dates, by default of all, lazy; see `xsr.open_stac`."""
        chosen = self.dates if dates is None else dates
        granules = [make_granule(self.dates[date], self.bands, layout=self.layout) for date in chosen]
        return stack(granules, name=self.name, attrs=self.attrs, mask=self.mask)


def read_series(found: "Sequence[pystac.Item]", reading: Reading, *, area: Geometry | None, source: str) -> Series:
    """Examine items, and decide on the grid, bands and classes of their cube; pixels stay where they are.

    Parameters
    ----------
    found
        Items.
    reading
        How they are read.
    area
        Area of interest, by default the extent of the items.
    source
        Where they come from, for the attribute of this name.

    Raises
    ------
    ProductError, HarmonisationError, GridError, BandError, ParameterError
        As of `xsr.open_stac`.
    """
    choice = choose_bands(found, reading.bands)
    request = Request(choice, reading.resolution, reading.offset, reading.access, reading.mask)
    usable = examine(processings(found), request=request, errors=reading.errors)
    target = find_grid(usable.candidates, area, resolution=reading.resolution, crs=reading.crs)
    layout = Layout(target, _common_kind(usable.candidates), reading.resampling, reading.chunks)
    dates: dict[Acquisition, list[Candidate]] = {}
    for one in usable.candidates:
        dates.setdefault(acquisition(one.item), []).append(one)
    attrs: dict[str, Any] = {"source": f"STAC {source}", **ATTRIBUTES[choice.quantity]}
    attrs |= {"dropped_duplicates": usable.duplicates} if usable.duplicates else {}
    attrs |= {"dropped_dates": usable.dead} if usable.dead else {}
    name = attrs.get("standard_name", choice.quantity)
    return Series(dates, choice.names, layout, name, attrs, reading.mask)


def source_of(url: str | None, collection: str | Sequence[str] | None) -> str:
    """Name where items come from, without secrets."""
    return str(collection or "items") if url is None else public(url)


def _common_kind(candidates: Sequence[Candidate]) -> Kind | None:
    """Scheme of classes of a cube; items without a classification are named once."""
    kinds = {one.kind.name: one.kind for one in candidates if one.kind is not None}
    if len(kinds) > 1:
        raise ProductError(
            f"items carry classes of the kinds {', '.join(sorted(kinds))}; expected one. Open them separately."
        )
    lacking = [one.item.id for one in candidates if one.kind is None]
    if kinds and lacking:
        warnings.warn(
            f"no classification comes with {', '.join(lacking)}: whether the surface is visible there is unknown, and"
            " `valid` is False.",
            XsrWarning,
            stacklevel=4,
        )
    return next(iter(kinds.values()), None)
