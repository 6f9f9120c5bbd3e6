"""Trials of survival: work on a store, a fault, the remedy that the documentation names, and the judgement.

A store is *lost* if after the remedy anything that a user reads differs from what an uninterrupted run gives (a pixel,
a coordinate, an attribute), if a wrong value is read while `xsr.verify` finds nothing, or if success was reported for a
store that is not complete. An error that is none of xsr's counts as lost, too, and so does a run without an end. A
store is *refused* if an error of xsr says what is wrong with it, and it must be written anew.
"""

import errno
import itertools
import json
import os
import random
import resource
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import dask
import numpy as np
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsr
from common import faults
from common.object_store import ObjectStore
from xsr.core.errors import XsrError
from xsr.core.store.header import COPIES

State = dict[str, Any]
"""Everything that a user reads from a store."""
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"zarr_format": 3},
    "shards": {"inner_chunks": 5},
    "packed": {"dtype": "uint16"},
    "format 2": {"zarr_format": 2},
}
"""Options of `to_zarr` that change what is stored."""
WEST, NORTH = 499_980.0, 5_900_040.0
DAYS = ("2024-06-05", "2024-06-15", "2024-06-25")
SIDE = 32
"""Side of an image of a catalogue, in pixels of 10 m."""


class Lost(Exception):
    """Data are lost, or wrong without an error."""


class Refused(Exception):
    """Nothing is lost, but the store must be written anew."""


# --- what is done ----------------------------------------------------------------------------------------------


def cube(*, shift: float = 0.0) -> xr.DataArray:
    """Two dates of two bands of 20 x 23 pixels in blocks of 10, one without a value; a mask, and names of scenes."""
    values = np.random.default_rng(1).random((2, 2, 20, 23), dtype=np.float32) + np.float32(shift)
    values[0, :, :10, :10] = np.nan
    box = GeoBox((20, 23), Affine(10, 0, WEST, 0, -10, NORTH), "EPSG:32629")
    coords: dict[Any, Any] = {
        **xr_coords(box),
        "time": np.array(["2024-06-05", "2024-06-15"], "datetime64[ns]"),
        "band": ["B02", "B03"],
        "scene": ("time", ["scene 0", "scene 1"]),
        "valid": (("time", "y", "x"), values[:, 0] > 0.1),
    }
    made = xr.DataArray(values, coords, ("time", "band", "y", "x"), "reflectance", {"units": "1"})
    return made.chunk(time=1, y=10, x=10)


@dataclass
class Work:
    """A store, and the call that writes it, goes on with it, and mends it."""

    name: str
    """``to_zarr`` or ``fetch``."""
    variant: str
    shared: Path
    """Folder with what all trials read."""
    expected: State = field(default_factory=dict, repr=False)
    """What a user reads from a store that was written without a fault."""
    changes: int = 0
    """How many changes of files make the store."""

    @property
    def key(self) -> str:
        """Name in files."""
        return f"{self.name}-{self.variant}".replace(" ", "-")

    @property
    def source(self) -> Any:
        """What the store is made of."""
        return self.shared / "items.json" if self.name == "fetch" else cube()

    def some_items(self, rng: random.Random) -> list[Any]:
        """Choose some of the items that are downloaded."""
        import pystac

        found = list(pystac.ItemCollection.from_file(str(self.source)).items)
        for item in found:
            item.set_self_href(str(self.shared / f"{item.id}.json"))
        return rng.sample(found, rng.randint(1, len(found) - 1))

    def write(self, path: str | Path, source: Any = None, **options: Any) -> Any:
        """Write the store, or go on with it."""
        source = self.source if source is None else source
        if self.name == "fetch":
            area = GeoBox((SIDE, 2 * SIDE), Affine(10, 0, WEST, 0, -10, NORTH), "EPSG:32629").extent.to_crs("EPSG:4326")
            return xsr.fetch(path, source, bands=["B02", "B03"], geometry=area.json, progress=False, **options)
        return xsr.to_zarr(source, path, resume=True, progress=False, **VARIANTS[self.variant], **options)

    def anew(self, path: str | Path) -> Any:
        """Write the store anew, whatever is there."""
        if self.name == "fetch":
            shutil.rmtree(path, ignore_errors=True)
            return self.write(path)
        return xsr.to_zarr(cube(), path, overwrite=Path(path).exists(), progress=False, **VARIANTS[self.variant])

    def repair(self, path: str | Path, **options: Any) -> None:
        """Mend what `verify` finds."""
        if self.name == "fetch":
            self.write(path, repair=True, **options)
        else:
            xsr.verify(path, repair=cube(), progress=False, **options)

    @property
    def whole(self) -> Path:
        """That store."""
        return self.shared / f"{self.key}.zarr"

    def prepare(self) -> tuple[list[str], State, int]:
        """Write the store once: modules that this needs, what a user reads, and the number of changes of files."""
        before = set(sys.modules)
        if self.name == "fetch":
            write_items(self.shared)
        numbers = [0]
        faults.watch(self.whole, numbers.append)
        self.write(self.whole)
        changes = numbers[-1]
        return sorted(set(sys.modules) - before), state(self.whole), changes


def prepare(works: Iterable[Work]) -> None:
    """Write every store once, in a fork, and import here what that imported there, so that trials need not."""
    for work in works:
        modules, work.expected, work.changes = apart(work.prepare)
        for name in modules:
            with suppress(ImportError):
                import_module(name)


def apart(task: Callable[[], Any]) -> Any:
    """Run a task in a fork, and return its result: threads that it uses would hang later forks of this process."""
    ending = faults.forked(task)
    if ending.error or ending.hung:
        raise RuntimeError(ending.trace or "no end")
    return ending.value


def works(shared: Path, names: Iterable[str]) -> list[Work]:
    """Every work by its name."""
    variants = {"to_zarr": VARIANTS, "fetch": ("dates",)}
    return [Work(name, variant, shared) for name in names for variant in variants[name]]


def write_items(folder: Path, *, shift: int = 0) -> Path:
    """Write a small catalogue: two tiles side by side on each of three days, images of two bands."""
    items = [_item(folder, day, tile, shift) for day in DAYS for tile in range(2)]
    path = folder / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return path


def write_image(path: Path, values: Any, transform: Affine, **options: Any) -> None:
    """Write a GeoTIFF of numbers (band, y, x)."""
    count, height, width = values.shape
    size = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", **size, crs="EPSG:32629", transform=transform, **options) as file:
        file.write(values)


def _item(folder: Path, day: str, tile: int, shift: int) -> dict[str, Any]:
    identity = f"S2A_29UN{'UV'[tile]}_{day.replace('-', '')}_0_L2A"
    transform = Affine(10, 0, WEST + tile * SIDE * 10, 0, -10, NORTH)
    box = GeoBox((SIDE, SIDE), transform, "EPSG:32629")
    assets = {}
    for number, band in enumerate(("B02", "B03", "SCL")):
        rng = np.random.default_rng([int(day[-2:]), tile, number])
        values = rng.integers(1500, 4000, (1, SIDE, SIDE)).astype(np.uint16) + np.uint16(shift)
        values = np.full_like(values, 4).astype(np.uint8) if band == "SCL" else values
        path = folder / f"{identity}_{band}.tif"
        write_image(path, values, transform, nodata=0)
        assets[band] = {"href": path.name, "type": "image/tiff; application=geotiff", "roles": ["data"]}
    outline = box.extent.to_crs("EPSG:4326")
    properties = {
        "datetime": f"{day}T11:06:21Z",
        "platform": "sentinel-2a",
        "s2:processing_baseline": "05.11",
        "s2:mgrs_tile": f"29UN{'UV'[tile]}",
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": identity,
        "collection": "sentinel-2-l2a",
        "geometry": outline.json,
        "bbox": list(outline.boundingbox),
        "properties": properties,
        "assets": assets,
        "links": [],
    }


# --- what a user reads -----------------------------------------------------------------------------------------


ENCODING = ("dtype", "scale_factor", "add_offset", "_FillValue", "units", "calendar", "chunks", "shards")
"""What metadata say about how numbers are stored."""


def state(path: str | Path, **options: Any) -> State:
    """Read everything that a user reads, and what the metadata say that are not consolidated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = xr.open_zarr(path, decode_coords="all", **options).load()
        plain = xr.open_zarr(path, decode_coords="all", consolidated=False, **options)
    values = {str(name): found[name].values for name in found.variables}
    return {"values": values, "metadata": _described(found), "metadata, not consolidated": _described(plain)}


def _described(dataset: xr.Dataset) -> dict[str, Any]:
    arrays = {name: dataset[name] for name in dataset.variables}
    return {
        "variables": sorted(map(str, dataset.data_vars)),
        "coordinates": sorted(map(str, dataset.coords)),
        "grid": _grid(dataset.odc.geobox),
        "dims": {str(name): array.dims for name, array in arrays.items()},
        "attributes": {str(name): _plain(array.attrs) for name, array in arrays.items()},
        "attributes of all": _plain(dataset.attrs),
        "encoding": {str(n): _plain({key: a.encoding.get(key) for key in ENCODING}) for n, a in arrays.items()},
    }


def _grid(box: GeoBox | None) -> str:
    """Shape, affine and reference system; by their text, for whether that has a code is looked up, and may fail."""
    known = None if box is None or box.crs is None else box.crs.to_wkt()
    return "none" if box is None else f"{box.shape} {box.affine!r} {known}"


def _plain(attrs: Mapping[Any, Any]) -> str:
    return json.dumps(attrs, sort_keys=True, default=str)


def difference(found: State, expected: State) -> str:
    """Name the first difference between two states; empty if there is none."""
    for way in ("metadata", "metadata, not consolidated"):
        for what, wanted in expected[way].items():
            if found[way][what] != wanted:
                return f"{what} ({way}): {_first_difference(str(found[way][what]), str(wanted))}"
    differing = [n for n, wanted in expected["values"].items() if not _same(found["values"][n], wanted)]
    return f"values of {', '.join(differing)}" if differing else ""


def _first_difference(one: str, other: str) -> str:
    at = next((n for n, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
    start = max(at - 60, 0)
    return f"{one[start : at + 60]!r} for {other[start : at + 60]!r}"


def _same(one: Any, other: Any) -> bool:
    numbers = other.dtype.kind == "f"
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=numbers)


# --- judgement -------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """One trial."""

    work: Work
    folder: Path
    """Empty, for this trial alone."""
    rng: random.Random
    remote: ObjectStore | None = None
    path: Any = ""
    """Where the store is written."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of a remote store."""
    notes: list[str] = field(default_factory=list)
    """What xsr reported."""

    def __post_init__(self) -> None:
        self.path = self.path or self.folder / "a.zarr"

    def copy_whole(self) -> None:
        """Put a store there that was written without a fault."""
        shutil.copytree(self.work.whole, self.path)

    def write(self) -> Any:
        """Write the store, or go on with it, on one scheduler or another."""
        with dask.config.set(self.rng.choice(SCHEDULERS)):
            return self.work.write(self.path, **self.options)

    def attempt(self, call: Callable[[], Any]) -> bool:
        """Call what may be refused by an error of xsr; whether it succeeded."""
        try:
            call()
        except XsrError as error:
            self.notes.append(f"{type(error).__name__}: {error}"[:300])
            return False
        return True

    def judge(self, ending: faults.Ending, *allowed: str) -> None:
        """Refuse a process that hangs, raises what is no error of xsr, or reports success for a store that has none."""
        if ending.hung:
            raise Lost("no end after two minutes")
        if ending.error:
            self.notes.append(ending.error[:300])
            if not ending.known and ending.error.partition(":")[0] not in allowed:
                raise Lost(f"foreign error: {ending.error[:200]} {ending.trace[-900:]}")
        elif not ending.killed:  # read in a fork: more of them may follow
            checked = faults.forked(partial(self.check_equal, "success was reported"))
            if checked.error:
                raise Lost(checked.error)

    def begin(self) -> None:
        """Let a part of a download be there already: some of the dates and tiles, in any order."""
        if self.work.name == "fetch" and self.rng.random() < 0.5:
            apart(partial(self.work.write, self.path, self.work.some_items(self.rng), **self.options))

    def check_equal(self, when: str) -> None:
        """Refuse a store that reads otherwise than it should; threads that this uses would hang later forks."""
        try:
            found = state(self.path, **self.options)
        except Exception as error:  # whatever a reader says about a damaged store
            raise Lost(f"{when}: it cannot be read: {type(error).__name__}: {error}"[:400]) from error
        differing = difference(found, self.work.expected)
        if differing:
            raise Lost(f"{when}: {differing}")

    def verified(self) -> bool:
        """Whether `verify` finds nothing; what it finds is noted."""
        try:
            report = xsr.verify(self.path, **self.options)
        except XsrError as error:
            self.notes.append(f"verify: {error}"[:300])
            return False
        if not report.ok:
            self.notes.append(f"verify: complete {report.complete}, {'; '.join(map(str, report.bad))}"[:300])
        return report.ok

    def check_mended(self, *, anew: bool = False) -> None:
        """Apply the remedies of the documentation: go on, repair; then the store is as if nothing had happened.

        Parameters
        ----------
        anew
            Whether a refusal of both may be all there is, so that the store is written anew.
        """
        remedies = [self.write, lambda: self.work.repair(self.path, **self.options)]
        if any(self.attempt(remedy) and self.verified() for remedy in remedies):
            return self.check_equal("after the remedy")
        why = " | ".join(self.notes[-4:])
        if not anew:
            raise Lost(f"no remedy helps: {why}")
        self.work.anew(self.path)
        if not self.verified():
            raise Lost(f"not even written anew: {self.notes[-1]}")
        self.check_equal("written anew")
        raise Refused(why)


SCHEDULERS: tuple[dict[str, Any], ...] = ({"scheduler": "synchronous"}, {"scheduler": "threads", "num_workers": 2})


# --- processes that die ----------------------------------------------------------------------------------------


def stopped(case: Case, act: Callable[[], None], *allowed: str) -> None:
    """Stop the writer before a change, one to three times in a row, and go on."""
    case.begin()
    for _ in range(case.rng.choice((1, 1, 2, 3))):
        number = case.rng.randint(1, case.work.changes)
        case.judge(faults.forked(partial(watched, case, faults.once(number, act))), *allowed)
    case.check_mended()


def watched(case: Case, act: Callable[[int], None]) -> Any:
    """Write, with a fault before a change."""
    faults.watch(case.folder, act)
    return case.write()


def killed_at_a_change(case: Case) -> None:
    """Kill before a change of a file."""
    stopped(case, faults.kill)


def killed_at_a_moment(case: Case) -> None:
    """Kill at any time."""
    case.begin()
    for _ in range(case.rng.choice((1, 1, 2, 3))):
        process = faults.start(case.write)
        ending = process.wait(case.rng.uniform(0.0, 0.8))
        if not ending.hung:
            case.judge(ending)
    case.check_mended()


def interrupted(case: Case) -> None:
    """Interrupt before a change."""
    stopped(case, faults.interrupt, "KeyboardInterrupt")


def killed_while_replacing(case: Case) -> None:
    """Kill while a store takes the place of another: a reader finds the old one or the new one, and nothing between."""
    apart(partial(xsr.to_zarr, cube(shift=1.0), case.path, progress=False))
    old = apart(partial(state, case.path))
    number = case.rng.randint(1, case.work.changes + 20)

    def replace() -> None:
        faults.watch(case.folder, faults.once(number, faults.kill))
        case.work.anew(case.path)

    case.judge(faults.forked(replace))
    if case.path.exists() and difference(state(case.path), old):
        case.check_equal("in the place of the old store")
    if not case.attempt(case.write):  # the replacement had not begun
        case.work.anew(case.path)
    case.check_mended()


# --- damaged files ---------------------------------------------------------------------------------------------

METADATA = {"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"}


def part_of(path: Path, store: Path) -> str:
    """Part of a store that a file belongs to: pixels, coordinates, metadata or ledger."""
    relative = path.relative_to(store)
    if "_xsr" in relative.parts:
        return "ledger"
    if relative.name in METADATA:
        return "metadata"
    return "pixels" if relative.parts[0] == "reflectance" else "coordinates"


def damaged(case: Case, part: str, *ways: Callable[[Path, random.Random], None]) -> None:
    """Damage a file of a complete store: `verify` finds it, or nothing that a user reads differs; then it is mended."""
    case.copy_whole()
    own = [path for path in faults.files(case.path) if part in ("any", part_of(path, case.path))]
    case.rng.choice(ways)(case.rng.choice(own), case.rng)
    if case.verified():
        return case.check_equal("verify finds nothing")
    case.check_mended(anew=True)


# --- inputs that change ------------------------------------------------------------------------------------------


def changed_input(case: Case) -> None:
    """Change the input of a store that was interrupted: going on is refused, or gives what the new input gives."""
    form = case.rng.choice(sorted(INPUTS))
    source = case.folder / f"in.{form}"
    apart(partial(INPUTS[form], cube(), source))
    number = case.rng.randint(case.work.changes // 3, case.work.changes)
    write = partial(_write_input, case, source)

    def begin() -> None:
        faults.watch(case.path, faults.once(number, faults.kill))
        write(case.path)

    faults.forked(begin)
    before = source.stat()
    INPUTS[form](_altered(case.rng), source)
    if case.rng.random() < 0.3:  # as `rsync --times` does
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    if case.attempt(lambda: write(case.path)):
        write(case.folder / "new.zarr")
        differing = difference(state(case.path), state(case.folder / "new.zarr"))
        if differing:
            raise Lost(f"{form} changed: {differing}")


def _write_input(case: Case, source: Path, path: Path) -> Any:
    opened = xsr.open(source).chunk(y=10, x=10)
    return xsr.to_zarr(opened, path, resume=True, progress=False, **VARIANTS[case.work.variant])


def _altered(rng: random.Random) -> xr.DataArray:
    """Another cube of the same grid: all values, or those of one block."""
    made = cube().copy(deep=True)
    if rng.random() < 0.5:
        return made + np.float32(0.1)
    values = made.values
    values[-1, :, 10:, :10] += np.float32(0.1)
    return made.copy(data=values).chunk(time=1, y=10, x=10)


def _to_netcdf(made: xr.DataArray, path: Path) -> None:
    part = path.with_suffix(".part")
    made.drop_vars(("scene", "valid")).to_dataset().to_netcdf(part, engine="h5netcdf")
    part.replace(path)


def _to_geotiff(made: xr.DataArray, path: Path) -> None:
    part = path.with_suffix(".part")
    write_image(part, made.values[-1], made.odc.geobox.affine)
    part.replace(path)


def _to_plain_zarr(made: xr.DataArray, path: Path, zarr_format: Any) -> None:
    made.drop_vars("scene").to_dataset().to_zarr(path, mode="w", zarr_format=zarr_format)


def _to_own_zarr(made: xr.DataArray, path: Path) -> None:
    xsr.to_zarr(made, path, progress=False, overwrite=path.exists(), input_id="the same")


INPUTS: dict[str, Callable[[xr.DataArray, Path], None]] = {
    "nc": _to_netcdf,
    "tif": _to_geotiff,
    "v3": partial(_to_plain_zarr, zarr_format=3),
    "v2": partial(_to_plain_zarr, zarr_format=2),
    "xsr": _to_own_zarr,
}
"""Writers of inputs."""


def changed_images(case: Case) -> None:
    """Change the images of a catalogue under their addresses between two runs: no date is a mixture."""
    own = case.folder / "catalogue"
    own.mkdir()
    items = apart(partial(write_items, own))
    number = case.rng.randint(case.work.changes // 3, case.work.changes)

    def begin() -> None:
        faults.watch(case.path, faults.once(number, faults.kill))
        case.work.write(case.path, items)

    faults.forked(begin)
    write_items(own, shift=500)
    if not case.attempt(lambda: case.work.write(case.path, items)):
        return
    case.work.write(case.folder / "new.zarr", items)
    old, new = case.work.expected["values"], state(case.folder / "new.zarr")["values"]
    found = state(case.path)["values"]
    for date, values in enumerate(found["reflectance"]):
        if not any(_same(values, one["reflectance"][date]) for one in (old, new)):
            raise Lost(f"date {date} is a mixture of old and new images")


# --- races -------------------------------------------------------------------------------------------------------


def raced(case: Case) -> None:
    """Two to eight writers at once, now and then after one that died and left its lock."""
    case.begin()
    if case.rng.random() < 0.4:
        number = case.rng.randint(1, case.work.changes)
        faults.forked(partial(watched, case, faults.once(number, faults.kill)))
    started = [faults.start(case.write) for _ in range(case.rng.choice((2, 2, 3, 4, 8)))]
    for ending in [process.wait() for process in started]:
        case.judge(ending)
    case.check_mended()


def raced_by_another(case: Case) -> None:
    """Writers of different cubes: the store is that of one of them."""
    shifts = [float(number) for number in range(case.rng.choice((2, 3)))]
    sources = [cube(shift=shift) for shift in shifts]
    started = [faults.start(partial(case.work.write, case.path, source)) for source in sources]
    endings = [process.wait() for process in started]
    for ending in endings:
        if ending.hung or (ending.error and not ending.known):
            raise Lost(f"foreign error: {ending.error} {ending.trace[-600:]}")
    winners = [source for source, ending in zip(sources, endings, strict=True) if not ending.error]
    if not winners and not any(case.attempt(partial(case.work.write, case.path, source)) for source in sources):
        raise Lost("no writer can go on")
    for number, source in enumerate(winners[:1]):
        case.work.write(case.folder / f"{number}.zarr", source)
        differing = difference(state(case.path), state(case.folder / f"{number}.zarr"))
        if differing or len(winners) > 1:
            raise Lost(f"{len(winners)} writers reported success: {differing}")


# --- disks -------------------------------------------------------------------------------------------------------


def disk_full(case: Case) -> None:
    """Fill the disk on the way; go on once there is space."""
    disk = case.folder / "disk"
    full = sum(file.stat().st_size for file in faults.files(case.work.whole))
    with faults.small_disk(disk, int(full * case.rng.uniform(0.5, 4.0))) as mounted:
        if not mounted:
            return limited(case)
        case.path = disk / "a.zarr"
        case.judge(faults.forked(case.write))
        faults.mount(disk, 1 << 26, faults.REMOUNT)
        case.check_mended()


def limited(case: Case) -> None:
    """Let no file grow beyond a limit; go on without it."""
    sizes = sorted({file.stat().st_size for file in faults.files(case.work.whole)})
    limit = case.rng.choice(sizes)

    def write() -> Any:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        return case.write()

    case.judge(faults.forked(write))
    case.check_mended()


def read_only(case: Case) -> None:
    """Make the disk read-only on the way."""
    disk = case.folder / "disk"
    first = case.rng.randint(1, case.work.changes)

    def protect(number: int) -> None:
        if number >= first:  # refused while a file is open for writing: then before the next change
            faults.mount(disk, 1 << 26, faults.REMOUNT | faults.READ_ONLY)

    with faults.small_disk(disk, 1 << 26) as mounted:
        if not mounted:
            return failing(case)
        case.path = disk / "a.zarr"
        case.judge(faults.forked(partial(watched, case, protect)))
        faults.mount(disk, 1 << 26, faults.REMOUNT)
        case.check_mended()


def failing(case: Case) -> None:
    """Let one change fail, or every one from then on."""
    first, lasting = case.rng.randint(1, case.work.changes), case.rng.random() < 0.5

    def fail(number: int) -> None:
        if number == first or (lasting and number > first):
            raise OSError(errno.EIO, "Input/output error")

    case.judge(faults.forked(partial(watched, case, fail)))
    case.check_mended()


def removed(case: Case) -> None:
    """Delete the store, or its lock, while it is written."""
    what = case.rng.choice((case.path, Path(f"{case.path}.lock")))
    number = case.rng.randint(2, case.work.changes)

    def remove() -> None:
        if what.is_dir():
            shutil.rmtree(what, ignore_errors=True)
        else:
            what.unlink(missing_ok=True)

    case.judge(faults.forked(partial(watched, case, faults.once(number, remove))))
    if what == case.path:  # blocks that were being written at that moment are left
        faults.remove(case.path)
    case.check_mended()


def replaced(case: Case) -> None:
    """Put something of the user in the place of the store while it is written: it stays as it is.

    But for the object that each thread is writing at that moment, for which no file system offers a condition.
    """
    number = case.rng.randint(2, case.work.changes)
    mine = case.folder / "mine"
    if case.rng.random() < 0.5:
        mine.mkdir()
        (mine / "thesis.txt").write_text("mine")
        (mine / "zarr.json").write_text("{}")
    else:
        apart(partial(xsr.to_zarr, cube(shift=1.0), mine, progress=False))
    before = {path.relative_to(mine): path.read_bytes() for path in faults.files(mine)}

    late = case.folder / "late"

    def replace() -> None:
        if all(same_file(case.path / key, case.work.whole / key) for key in COPIES):
            late.touch()  # all is written and said; only the lock is still there
        shutil.rmtree(case.path, ignore_errors=True)
        shutil.copytree(mine, case.path, dirs_exist_ok=True)

    where = case.rng.choice(SCHEDULERS)

    def write() -> Any:
        faults.watch(case.folder, faults.once(number, replace))
        with dask.config.set(where):
            return case.work.write(case.path)

    ending = faults.forked(write)
    there = {path.relative_to(mine): case.path / path.relative_to(mine) for path in faults.files(mine)}
    changed = [str(name) for name, path in there.items() if not path.is_file() or path.read_bytes() != before[name]]
    if ending.error and len(changed) > where.get("num_workers", 1):
        raise Lost(f"of what was put there it changed {changed[:3]}")
    if not late.exists():
        case.judge(ending)
    shutil.rmtree(case.path)
    case.check_mended()


def same_file(one: Path, other: Path) -> bool:
    """Whether two files are there and hold the same."""
    return one.is_file() and one.read_bytes() == other.read_bytes()


def beside(case: Case) -> None:
    """Leave what lies beside the store under names that a writer might use: nothing of it is deleted."""
    mine = [case.folder / f"a.zarr{suffix}" for suffix in (".template", ".incoming", ".outgoing", ".tmp", ".part")]
    for folder in mine:
        folder.mkdir()
        (folder / "thesis.txt").write_text("mine")
    case.attempt(case.write)
    case.attempt(lambda: case.work.anew(case.path))
    gone = [folder.name for folder in mine if not (folder / "thesis.txt").exists()]
    if gone:
        raise Lost(f"deleted what was not its own: {gone}")
    for folder in mine:
        shutil.rmtree(folder)
    case.check_mended()


# --- object stores -------------------------------------------------------------------------------------------------


def to_object_store(case: Case) -> tuple[ObjectStore, str]:
    """Let a trial write to an object store; that and the name of its Zarr store."""
    assert case.remote is not None
    name = f"{case.folder.name}.zarr"
    case.path, case.options = f"s3://{case.remote.bucket}/{name}", {"storage_options": case.remote.options}
    return case.remote, name


def remote_fault(case: Case, *kinds: str) -> None:
    """Let requests fail while a store is written to an object store; go on once they succeed."""
    remote, name = to_object_store(case)
    with remote.failing(name, case.rng.choice(kinds), case.rng.choice((0.02, 0.1, 0.3))):
        ending = faults.forked(case.write)
    case.judge(ending)
    case.check_mended()


def remote_kill(case: Case) -> None:
    """Kill before a request that changes an object store."""
    to_object_store(case)
    number = case.rng.randint(1, case.work.changes)

    def write() -> Any:
        import s3fs

        real, numbers = s3fs.S3FileSystem._call_s3, itertools.count(1)

        async def counting(self: Any, method: str, *arguments: Any, **named: Any) -> Any:
            if method.startswith(("put_", "delete_", "create_", "complete_", "upload_")) and next(numbers) == number:
                faults.kill()
            return await real(self, method, *arguments, **named)

        s3fs.S3FileSystem._call_s3 = counting
        return case.write()

    case.judge(faults.forked(write))
    case.check_mended()
