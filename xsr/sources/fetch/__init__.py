"""Download of a STAC search to one Zarr store, date by date.

The store is one of `xsr.to_zarr`: blocks are in its ledger once their bytes are down, so that an interrupted download
goes on with the block it was at. It remembers what was requested, which the next run must request again, and the items
that each date is made of.

=========  =======================================================
again      dates as the catalogue has them now, for a repair
dates      datasets of one date, and many as one axis
holding    what a store holds
update     how dates are written
=========  =======================================================
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry

from xsr.core.areas import GeometryLike, lonlat, resolve_area
from xsr.core.errors import ParameterError, StoreError, XsrWarning
from xsr.core.grid import crs_name
from xsr.core.sensors import canonical
from xsr.core.sheet import Section, Sheet, Shown
from xsr.core.store.ledger import BadBlock
from xsr.core.store.lock import locked
from xsr.core.store.outcome import bad_section
from xsr.core.store.place import Place, resolve_place
from xsr.sources.fetch.again import Again
from xsr.sources.fetch.holding import Holding, read_holding
from xsr.sources.fetch.update import Update, Written
from xsr.sources.granules import inside
from xsr.sources.rasters import CHUNK
from xsr.sources.stac import BandsLike, ItemErrors, ItemsLike, OffsetLike, Resampling, TimesLike
from xsr.sources.stac.classes import find_classification
from xsr.sources.stac.describe import acquisition
from xsr.sources.stac.examine import NoDateError
from xsr.sources.stac.revision import Reprocessed, Revision, revise
from xsr.sources.stac.search import find_items, in_order
from xsr.sources.stac.series import Acquisition, Reading, Series, read_series, resolve_reading, source_of

if TYPE_CHECKING:
    import pystac


@dataclass(frozen=True, repr=False)
class FetchReport(Shown):
    """What was downloaded."""

    path: str
    dates: int
    """Dates in the store."""
    fetched: int
    """Dates written by this run; the others were there."""
    added: tuple[str, ...] = ()
    """Items that came later than the others of their date, and were added to it."""
    reprocessed: tuple[str, ...] = ()
    """Items that were processed again since they were fetched, with what changed."""
    lacking: tuple[str, ...] = ()
    """Items that dates which are not whole are made of, and that this request does not find as they were."""
    quarantined: tuple[BadBlock, ...] = ()
    """Blocks that could not be read, with ``errors="drop"``; they hold no data, and the next run tries them again."""

    def _sheet(self) -> Sheet:
        listed = {"added": self.added, "reprocessed": self.reprocessed, "lacking": self.lacking}
        sections = (
            Section("dates", f"{self.dates}, {self.fetched} written by this run"),
            *(Section(title, f"{len(names)}", [(one,) for one in names]) for title, names in listed.items() if names),
            *bad_section("quarantined", self.quarantined, "the next fetch tries them again"),
        )
        return Sheet("xsr fetch", self.path, sections)


def fetch(
    path: str | Path,
    items: ItemsLike | None = None,
    *,
    url: str | None = None,
    bbox: Sequence[float] | None = None,
    geometry: GeometryLike | None = None,
    datetime: TimesLike | None = None,
    collection: str | Sequence[str] | None = None,
    bands: BandsLike | None = None,
    resolution: float | None = None,
    crs: str | int | None = None,
    resampling: Resampling = "cubic",
    max_cloud: float | None = None,
    mask: bool = False,
    offset: OffsetLike = None,
    errors: ItemErrors = "raise",
    patch_url: Callable[[str], str] | None = None,
    trust: bool = False,
    alternate: str | None = None,
    chunks: int = CHUNK,
    reprocessed: Reprocessed = "keep",
    repair: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    force: bool = False,
    progress: bool = True,
) -> FetchReport:
    """Download items of a SpatioTemporal Asset Catalog to a Zarr store, date by date.

    Parameters
    ----------
    path
        Folder or URL of the store. If it was written by `fetch` with the same area, bands and grid, what it holds is
        not read again: missing blocks, new dates, and tiles of a date that came later are added. Interval and cloud
        cover may change.
    items, url, bbox, geometry, datetime, collection, bands, resolution, crs, resampling
        What to download; see `xsr.open_stac`.
    max_cloud, mask, offset, patch_url, trust, alternate
        As of `xsr.open_stac`.
    errors
        As of `xsr.open_stac`; with ``drop``, blocks of new dates that cannot be read are set aside as well.
    chunks
        Side of a chunk in pixels; a store keeps the one that it was begun with.
    reprocessed
        What to do where an item was processed again since it was fetched, or its entry in the catalogue changed:
        ``keep`` what is there, with a warning, or ``replace`` its date.
    repair
        Read all that is there first: blocks that are not what was written are loaded again, coordinates made again from
        their items, which must be found. Items whose files are not what they were, under the same address, are named
        like those that were processed again.
    storage_options
        Options of fsspec where the path is a URL. They are not stored.
    force
        Take over the lock of a writer whose state cannot be checked.
    progress
        Show a progress bar over the dates.

    Returns
    -------
    FetchReport
        Path, number of dates, how many of them this run wrote, and the items that are not as the catalogue has them.

    Raises
    ------
    StoreError
        If something else is at the path, or the store was requested differently, with the difference; if it is being
        written by another, or cannot be written.
    ParameterError, ProductError, HarmonisationError, GridError, BandError
        As of `xsr.open_stac`.

    Notes
    -----
    The store holds the variable ``reflectance`` (or ``surface_temperature``) over (time, band, y, x), float32, in the
    order of time, with all coordinates of `xsr.open_stac`: provenance, and ``valid`` where there are classes. It is a
    store of `xsr.to_zarr`: `xsr.verify` checks it, and ``attrs["xsr"]["complete"]`` says whether all of it is there. A
    date that is not down yet is NaN. Dates before others are put into a sibling, ``NAME.incoming``, that takes over
    the blocks that are there and replaces the store once it is complete.

    Examples
    --------
    Not run by the tests, since it needs the internet:

    >>> import xsr
    >>> search = {
    ...     "url": "https://earth-search.aws.element84.com/v1",
    ...     "collection": "sentinel-2-l2a",
    ...     "bbox": (13.2, 52.4, 13.5, 52.6),
    ...     "datetime": "2024-06",
    ...     "bands": ["B02", "B03", "B04", "B08"],
    ... }
    >>> report = xsr.fetch("berlin.zarr", **search)  # doctest: +SKIP
    >>> cube = xsr.open("berlin.zarr")  # doctest: +SKIP
    """
    if reprocessed not in get_args(Reprocessed):
        raise ParameterError(f"reprocessed={reprocessed!r}; expected 'keep' or 'replace'.")
    reading = resolve_reading(
        bands=bands,
        resolution=resolution,
        crs=crs,
        resampling=resampling,
        mask=mask,
        offset=offset,
        errors=errors,
        patch_url=patch_url,
        trust=trust,
        alternate=alternate,
        chunks=chunks,
    )
    area = resolve_area(bbox, geometry)
    request = _request(area, bands, collection, resolution, crs, resampling, mask, offset)
    source = source_of(url, collection)

    @cache
    def search() -> "list[pystac.Item]":
        return find_items(
            items, url=url, area=area, datetime=datetime, collection=collection, max_cloud=max_cloud, trust=trust
        )

    place = resolve_place(path, storage_options)
    with locked(place, force=force) as lease:
        place = lease.guarding(place)
        again = Again(search, reading, area, source) if repair else None
        holding = read_holding(place, request, again=again)
        found = search()
        revisions = _revise(holding, found, reprocessed, again)
        left = _to_load(found, revisions)
        series = _read(left, found, reading, holding, area=area, source=source)
        update = Update(place, request, holding, series, {date: one.fate for date, one in revisions.items()})
        _warn(revisions.values(), kept=reprocessed == "keep")
        written = update.write(quarantine=errors == "drop", progress=progress) if update.changes else Written()
    return _report(place, update, written, series, revisions.values())


def _request(
    area: Geometry | None,
    bands: BandsLike | None,
    collection: str | Sequence[str] | None,
    resolution: float | None,
    crs: str | int | None,
    resampling: Resampling,
    mask: bool,
    offset: OffsetLike,
) -> dict[str, Any]:
    """Request as the store keeps it."""
    return {
        "area": None if area is None else [round(value, 7) for value in lonlat(area).boundingbox],
        "bands": _record_bands(bands),
        "collection": collection if collection is None or isinstance(collection, str) else list(collection),
        "resolution": resolution,
        "crs": crs,
        "resampling": resampling,
        "mask": mask,
        "offset": _record(offset),
    }


def _report(
    place: Place, update: Update, written: Written, series: Series | None, revisions: Iterable[Revision]
) -> FetchReport:
    """Say what was downloaded, and which items are not as the catalogue has them."""
    known = list(revisions)
    loaded = () if series is None else series.names
    return FetchReport(
        place.name,
        len(update.dates),
        written.dates,
        tuple(name for one in known for name in one.late if name in loaded),
        tuple(name for one in known for name in one.changed),
        tuple(name for one in known for name in one.lacking),
        tuple(written.failed),
    )


def _revise(
    holding: Holding | None, found: "Sequence[pystac.Item]", reprocessed: Reprocessed, again: Again | None
) -> dict[Acquisition, Revision]:
    """Decide what becomes of each date that is there; in a repair, their files are looked at."""
    if holding is None:
        return {}
    known = _by_date(found)
    contents = {} if again is None or holding.header is None else again.contents(holding.header)
    revisions = {
        date: revise(
            holding.scenes[date],
            known.get(date, []),
            whole=holding.whole(number),
            reprocessed=reprocessed,
            contents=contents,
        )
        for number, date in enumerate(holding.dates)
    }
    return {
        date: replace(one, lacking=()) if holding.void(number) else one
        for number, (date, one) in enumerate(revisions.items())
    }


def _by_date(items: "Sequence[pystac.Item]") -> "dict[Acquisition, list[pystac.Item]]":
    dates: dict[Acquisition, list[pystac.Item]] = {}
    for item in items:
        dates.setdefault(acquisition(item), []).append(item)
    return dates


def _to_load(found: "Sequence[pystac.Item]", revisions: Mapping[Acquisition, Revision]) -> "list[pystac.Item]":
    """Items of new dates, and those that change dates that are there, in the order of a search."""
    left = [item for date, items in _by_date(found).items() if date not in revisions for item in items]
    return in_order(left + [item for one in revisions.values() for item in one.items])


def _read(
    left: "Sequence[pystac.Item]",
    found: "Sequence[pystac.Item]",
    reading: Reading,
    holding: Holding | None,
    *,
    area: Geometry | None,
    source: str,
) -> Series | None:
    """Examine the items to load; None if nothing of them can be added to what is there."""
    if holding is None:
        return read_series(left, reading, area=area, source=source)
    if not left:
        return None
    try:
        return _fitted(read_series(left, _alike(reading, holding), area=area, source=source), holding, found)
    except NoDateError:
        if reading.errors == "raise" or all(map(holding.void, range(len(holding.dates)))):
            raise
        return None


def _alike(reading: Reading, holding: Holding) -> Reading:
    """Read what is added as the store was: in its chunks, and its bands where none are named."""
    held = holding.dataset
    side = max(max(sizes) for dim, sizes in held.chunksizes.items() if dim in held.odc.spatial_dims)
    return replace(reading, chunks=side, bands=reading.bands or held["band"].values.tolist())


def _fitted(series: Series, holding: Holding, found: "Sequence[pystac.Item]") -> Series:
    """Put what is added on the grid of the store.

    Raises
    ------
    StoreError
        If it does not continue the store.
    """
    path, held = holding.place.name, holding.dataset
    there, here = held.odc.geobox, series.layout.target
    if not inside(there, here):
        raise StoreError(
            f"{path} has the grid {_describe(there)}, the dates to add have {_describe(here)}; expected one grid."
            " Choose another path, or begin with bbox= or geometry=."
        )
    kinds = [one.kind for one in map(find_classification, found) if one is not None]
    kind = series.layout.kind or next(iter(kinds), None)
    fitted = replace(series, layout=replace(series.layout, target=there, kind=kind))
    cube = fitted.cube(list(fitted.dates)[:1])
    for what, before, now in (
        ("bands", held["band"].values.tolist(), cube["band"].values.tolist()),
        ("coordinates", sorted(map(str, held.coords)), sorted(map(str, cube.coords))),
    ):
        if before != now:
            raise StoreError(
                f"{path} has the {what} {before}, the dates to add have {now}; expected the same. Choose another path,"
                " or bands that all dates have."
            )
    return fitted


def _describe(box: GeoBox) -> str:
    return f"{box.shape.y} x {box.shape.x} at {tuple(box.boundingbox)} in {crs_name(box)}"


def _warn(revisions: Iterable[Revision], *, kept: bool) -> None:
    """Name the items of dates that are not as the catalogue has them."""
    changed = [name for one in revisions for name in one.changed if one.fate != "renew"]
    lacking = [name for one in revisions for name in one.lacking]
    if changed:
        advice = "pass reprocessed='replace'" if kept else "request all items of their dates"
        warnings.warn(
            f"processed again since they were fetched, and kept as they were: {', '.join(changed)}. To fetch their"
            f" dates anew, {advice}.",
            XsrWarning,
            stacklevel=3,
        )
    if lacking:
        warnings.warn(
            f"some dates are not whole, and this request does not find {', '.join(lacking)} as it was fetched. Request"
            " it too, to go on with them.",
            XsrWarning,
            stacklevel=3,
        )


def _record_bands(bands: BandsLike | None) -> Any:
    """Bands as the store keeps them."""
    if bands is None or isinstance(bands, Mapping):
        return None if bands is None else dict(bands)
    return [canonical(name) for name in ([bands] if isinstance(bands, str) else bands)]


def _record(offset: OffsetLike) -> Any:
    """Offset as the store keeps it; of a function its name."""
    if callable(offset):
        return getattr(offset, "__qualname__", type(offset).__name__)
    return dict(offset) if isinstance(offset, Mapping) else offset
