"""The dates of a store as the catalogue has them now: what was lost beside the pixels is made again from them."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry

from xsr.core.store.header import Header
from xsr.core.store.inputs import of_files
from xsr.core.store.ledger import READERS
from xsr.core.store.template import prepare, template_of
from xsr.sources.fetch.dates import axis, labels, plain
from xsr.sources.stac.examine import Candidate, NoDateError
from xsr.sources.stac.series import Reading, Series, read_series

if TYPE_CHECKING:
    import pystac


@dataclass(frozen=True)
class Again:
    """A search, and how its items are read."""

    search: "Callable[[], Sequence[pystac.Item]]"
    reading: Reading
    area: Geometry | None
    source: str

    def coordinates(self, header: Header) -> dict[str, bytes]:
        """Objects of the coordinates of a store, by key, as far as its items are found; they may have changed."""
        series = self._series(header)
        if series is None:
            return {}
        known = [tuple(date["acquisition"]) for date in header.settings["input"]["dates"]]
        dates = [plain(series.cube([date])) for date in known if date in series.dates]
        prepared = prepare(axis([labels(date) for date in dates], dates[0]), input_id="", grows="time")
        return template_of(prepared).objects

    def contents(self, header: Header) -> dict[str, str]:
        """Hash of the files of every item of a store that is found, by its name."""
        series = self._series(header)
        return {} if series is None else contents_of(one for date in series.dates.values() for one in date)

    def _series(self, header: Header) -> Series | None:
        """Items that are found of those that a store is made of, on its grid; None if there are none."""
        known = {scene["id"] for date in header.settings["input"]["dates"] for scene in date["items"]}
        items = [item for item in self.search() if item.id in known]
        if not items:
            return None
        image = next(iter(header.arrays.values()))
        reading = replace(self.reading, chunks=max(image["block"][-2:]))
        try:
            series = read_series(items, reading, area=self.area, source=self.source)
        except NoDateError:
            return None
        height, width = image["shape"][-2:]
        grid = GeoBox((height, width), Affine(*header.settings["grid"]), header.settings["crs"])
        return replace(series, layout=replace(series.layout, target=grid))


def contents_of(candidates: Iterable[Candidate]) -> dict[str, str]:
    """Hash of the files of items, by their names; an empty one where a file cannot be looked at."""
    with ThreadPoolExecutor(READERS) as pool:
        known = {one.item.id: pool.submit(of_files, one.paths) for one in candidates}
        return {name: found.result() for name, found in known.items()}
