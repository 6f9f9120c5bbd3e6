"""Download of a STAC search to one Zarr store, date by date.

A date is written by itself and counted in the store's attributes once its bytes are down, so that memory stays flat and
an interrupted download continues with the date it was at. Beside the number of dates the attribute `RECORD` keeps what
was requested: the next run must request the same.
"""

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xsr._version import __version__
from xsr.core.areas import GeometryLike, lonlat, resolve_area
from xsr.core.errors import StoreError
from xsr.core.grid import crs_name
from xsr.core.sensors import canonical
from xsr.sources.rasters import CHUNK
from xsr.sources.stac import BandsLike, ItemErrors, ItemsLike, OffsetLike, Resampling, TimesLike, open_stac
from xsr.sources.stac.describe import acquisition
from xsr.sources.stac.search import find_items

RECORD = "xsr_fetch"
"""Attribute of the store: what was requested, and how many dates are down."""
TIME = {"units": "microseconds since 1970-01-01", "dtype": "int64"}
"""Encoding of time: STAC gives fractions of a second."""
PER_DATE = 1024
"""Dates in one chunk of coordinates that have a value a date."""


@dataclass(frozen=True)
class FetchReport:
    """What was downloaded."""

    path: str
    dates: int
    """Dates in the store."""
    fetched: int
    """Dates written by this run; the others were there."""


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
    alternate: str | None = None,
    chunks: int = CHUNK,
    progress: bool = True,
) -> FetchReport:
    """Download items of a SpatioTemporal Asset Catalog to a Zarr store, date by date.

    Parameters
    ----------
    path
        Folder of the store. If it was written by `fetch` with the same area, bands and grid, the dates that it holds
        are skipped and the others are added; interval and cloud cover may change.
    items, url, bbox, geometry, datetime, collection, bands, resolution, crs, resampling
        What to download; see `xsr.open_stac`.
    max_cloud, mask, offset, errors, patch_url, alternate, chunks
        As of `xsr.open_stac`.
    progress
        Show a progress bar over the dates.

    Returns
    -------
    FetchReport
        Path, number of dates, and how many of them are new.

    Raises
    ------
    StoreError
        If something else is at the path, or the store was requested differently, with the difference.
    ParameterError, ProductError, HarmonisationError, GridError, BandError
        As of `xsr.open_stac`.

    Notes
    -----
    The store holds the variable ``reflectance`` (or ``surface_temperature``) over (time, band, y, x), float32, in the
    order of time, with all coordinates of `xsr.open_stac`: provenance, and ``valid`` where there are classes.
    One process may write to a store at a time.

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
    area = resolve_area(bbox, geometry)
    request = {
        "area": None if area is None else [round(value, 7) for value in lonlat(area).boundingbox],
        "bands": _record_bands(bands),
        "collection": collection if collection is None or isinstance(collection, str) else list(collection),
        "resolution": resolution,
        "crs": crs,
        "resampling": resampling,
        "mask": mask,
        "offset": _record(offset),
    }
    store = _Store(Path(path), request)
    known = store.resume()
    found = find_items(items, url=url, area=area, datetime=datetime, collection=collection, max_cloud=max_cloud)
    left = [item for item in found if acquisition(item) not in known]
    if not left:
        return FetchReport(str(path), store.dates, 0)
    cube = open_stac(
        left,
        geometry=area,
        bands=bands,
        resolution=resolution,
        crs=crs,
        resampling=resampling,
        mask=mask,
        offset=offset,
        errors=errors,
        patch_url=patch_url,
        alternate=alternate,
        chunks=chunks,
    )
    store.extend(_plain(cube), progress=progress)
    return FetchReport(str(path), store.dates, cube.sizes["time"])


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


def _plain(cube: xr.DataArray) -> xr.Dataset:
    """Cube as stored: all bands in a chunk, one date in a chunk, labels as plain text."""
    cube = cube.copy(deep=False)
    cube.attrs = {name: value for name, value in cube.attrs.items() if not name.startswith("dropped_")}
    name = str(cube.name)
    dataset = cube.chunk({"time": 1, "band": -1}).to_dataset().drop_encoding()
    dataset[name].encoding["grid_mapping"] = "spatial_ref"
    small = {n: c.compute() for n, c in dataset.coords.items() if not set(cube.odc.spatial_dims) <= set(c.dims)}
    return dataset.assign_coords({n: c.astype(object) if c.dtype.kind in "UT" else c for n, c in small.items()})


class _Store:
    """A store on disk that grows by dates."""

    def __init__(self, path: Path, request: Mapping[str, Any]) -> None:
        self.path = path
        self.request = dict(request)
        self.dates = 0

    @property
    def stage(self) -> Path:
        """Sibling that becomes the store once it is whole."""
        return self.path.with_name(f"{self.path.name}.incoming")

    def resume(self) -> set[tuple[str, str]]:
        """Take up what is there, without the date that an interrupted run left unfinished; returns its acquisitions.

        Raises
        ------
        StoreError
            If it is not a store of `fetch`, or was requested differently.
        """
        import zarr

        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return set()
        try:
            group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
            record: Any = group.attrs[RECORD]
        except (OSError, KeyError, ValueError) as error:
            raise StoreError(f"{self.path} exists and was not written by fetch. Choose another path.") from error
        before = record["asked"]
        changed = [
            f"{key} {before.get(key)!r} then, {now!r} now" for key, now in self.request.items() if before[key] != now
        ]
        if changed:
            raise StoreError(
                f"{self.path} was requested differently: {'; '.join(changed)}. Request the same, or choose another"
                " path."
            )
        self.dates = int(record["dates"])
        _cut(group, self.dates)
        held = self._open()
        return set(zip(held["platform"].values.tolist(), held["datatake"].values.tolist(), strict=True))

    def extend(self, cube: xr.Dataset, *, progress: bool) -> None:
        """Write the dates of a cube, one after the other, and bring all into the order of time.

        Raises
        ------
        StoreError
            If the cube does not continue the store.
        """
        from rich.progress import track

        if self.dates:
            self._check(cube)
        for number in track(range(cube.sizes["time"]), "fetching dates", disable=not progress):
            date = cube.isel(time=[number])
            if self.dates:
                self._write(date, self.path)
            else:
                shutil.rmtree(self.stage, ignore_errors=True)
                self._write(date, self.stage)
                self.stage.rename(self.path)
        self._sort()

    def _open(self) -> xr.Dataset:
        held: xr.Dataset = xr.open_zarr(self.path, decode_coords="all", consolidated=False)
        return held

    def _check(self, cube: xr.Dataset) -> None:
        held = self._open()
        here, there = (one.odc.geobox for one in (cube, held))
        if here != there:
            grids = [
                f"{box.shape.y} x {box.shape.x} at {tuple(box.boundingbox)} in {crs_name(box)}" for box in (there, here)
            ]
            raise StoreError(
                f"{self.path} has the grid {grids[0]}, the dates to add have {grids[1]}; expected one grid."
            )
        for what, before, now in (
            ("bands", held["band"].values.tolist(), cube["band"].values.tolist()),
            ("coordinates", sorted(map(str, held.coords)), sorted(map(str, cube.coords))),
        ):
            if before != now:
                raise StoreError(
                    f"{self.path} has the {what} {before}, the dates to add have {now}; expected the same. Choose"
                    " another path, or bands that all dates have."
                )

    def _write(self, date: xr.Dataset, path: Path) -> None:
        """Write one date behind the others, then count it."""
        import zarr

        record: dict[str, Any] = {"version": __version__, "asked": self.request, "dates": self.dates}
        date = date.assign_attrs({RECORD: record})
        if self.dates:
            date.to_zarr(path, append_dim="time", consolidated=False)
        else:
            date.to_zarr(path, mode="w", zarr_format=3, encoding=_encoding(date), consolidated=False)
        self.dates += 1
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        group.attrs[RECORD] = {**record, "dates": self.dates}
        with (
            warnings.catch_warnings()
        ):  # format 3 does not specify consolidated metadata yet; xarray reads and wants it
            warnings.filterwarnings("ignore", message="Consolidated metadata")
            zarr.consolidate_metadata(path)

    def _sort(self) -> None:
        """Write the store anew where a date was added that lies before others."""
        held = self._open()
        order = np.argsort(held["time"].values, kind="stable")
        if (np.diff(order) == 1).all():
            return
        held = _plain(next(iter(held.data_vars.values())))
        shutil.rmtree(self.stage, ignore_errors=True)
        self.dates = 0
        for number in order:
            self._write(held.isel(time=[number]), self.stage)
        shutil.rmtree(self.path)
        self.stage.rename(self.path)


def _encoding(date: xr.Dataset) -> dict[Any, Any]:
    """Chunks of what has a value a date: many in one; pixels keep the chunks that they have."""
    small = [n for n, v in date.variables.items() if v.dims[:1] == ("time",) and v.chunks is None]
    encoding: dict[Any, dict[str, Any]] = {name: {"chunks": (PER_DATE, *date[name].shape[1:])} for name in small}
    encoding["time"] |= TIME
    return encoding


def _cut(group: Any, dates: int) -> None:
    """Take dates off that were begun and not counted."""
    for _, array in group.arrays():
        names = array.metadata.dimension_names or ()
        if names[:1] == ("time",) and array.shape[0] > dates:
            array.resize((dates, *array.shape[1:]))
