"""Items examined: the headers of their files opened, the meaning of their numbers decided and compared with pixels."""

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xsr.core.errors import BandError, HarmonisationError, ProductError, XsrError, XsrWarning
from xsr.core.sensors import Sensor
from xsr.sources.harmonise import DARKEST, Identity, Statement, check_pixels
from xsr.sources.rasters import Packing, read_sample
from xsr.sources.stac.assets import Access, File, open_file
from xsr.sources.stac.bands import Choice, Source, sources
from xsr.sources.stac.classes import SCL, Kind, find_classification
from xsr.sources.stac.describe import acquisition, identities, sensor_of
from xsr.sources.stac.packing import OffsetLike, find_packing, offset_of

if TYPE_CHECKING:
    import pystac

ItemErrors = Literal["raise", "drop"]
WORKERS = 16
"""Assets opened side by side."""
SAMPLE = 512
"""Side in pixels of the sample that an offset is compared with."""
REFUSED = (BandError, HarmonisationError, ProductError)
"""What may be wrong with one item."""


class NoDateError(ProductError):
    """No date is left of those that were examined."""


@dataclass(frozen=True)
class Candidate:
    """An item and what was decided about it."""

    item: "pystac.Item"
    identity: Identity
    sensor: Sensor
    files: Mapping[str, File]
    """Files by name of the band in the cube."""
    packings: Mapping[str, Packing]
    """How the numbers of each band become reflectance or kelvin."""
    offset_source: str
    kind: Kind | None
    """Scheme of its classification, None without one."""
    classes: File | None
    """File of the classification."""

    @property
    def paths(self) -> list[str]:
        """Paths of all its files, as GDAL opens them."""
        files = [*self.files.values(), *([] if self.classes is None else [self.classes])]
        return [file.path for file in files]


@dataclass(frozen=True)
class Request:
    """What is requested of every item."""

    choice: Choice
    size: float | None
    """Pixel size for which assets are chosen."""
    offset: OffsetLike
    access: Access
    mask: bool
    """Whether every date needs a classification."""


Processing: TypeAlias = "tuple[pystac.Item, Identity]"
"""An item, and which processing of which part of an acquisition it is."""


@dataclass(frozen=True)
class Examined:
    """What of the items can be used."""

    candidates: list[Candidate]
    """One item for each part of an acquisition, of the dates that are whole."""
    dead: list[str]
    """Why the other dates were left out."""
    duplicates: list[str]
    """Other processings of the candidates, which were not needed."""


def processings(items: "Sequence[pystac.Item]") -> list[list[Processing]]:
    """Group items by the part of an acquisition that they show, each with its latest processing first."""
    known = identities(items)
    parts: dict[tuple[tuple[str, ...], str], list[int]] = {}
    for index, one in enumerate(known):
        parts.setdefault((one.acquisition, one.datastrip), []).append(index)
    ranked = [sorted(part, key=lambda index: known[index].rank, reverse=True) for part in parts.values()]
    return [[(items[index], known[index]) for index in part] for part in sorted(ranked)]


def examine(parts: Sequence[Sequence[Processing]], *, request: Request, errors: ItemErrors) -> Examined:
    """Open the headers of all assets, and decide what their numbers mean.

    Of each part its latest processing is taken; if that cannot be used, and ``errors`` is ``drop``, the next older one.

    Raises
    ------
    ProductError, HarmonisationError, BandError
        If an item cannot be used and ``errors`` is ``raise``, or no date is left.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        tried = list(pool.map(partial(_usable, request, errors=errors), parts))
    dead: dict[tuple[str, str], XsrError] = {}
    for part, results in zip(parts, tried, strict=True):
        failed = [one for one in results if isinstance(one, XsrError)]
        if len(failed) == len(results):
            dead.setdefault(acquisition(part[0][0]), failed[0])
    first = next(iter(dead.values()), None)
    if first is not None and errors == "raise":
        raise type(first)(f"{first}{_remedy(parts, dead)}") from first
    for error in dead.values():
        warnings.warn(f"{error} Its date is left out.", XsrWarning, stacklevel=4)
    duplicates = []
    for part, results in zip(parts, tried, strict=True):
        if acquisition(part[0][0]) not in dead:
            duplicates += _unneeded(part, results)
    if duplicates:
        warnings.warn(
            f"the same acquisition was found more than once; dropped {'; '.join(duplicates)}.", XsrWarning, stacklevel=4
        )
    last = [results[-1] for results in tried]
    alive = [one for one in last if isinstance(one, Candidate) and acquisition(one.item) not in dead]
    if not alive:
        raise NoDateError(f"no date is left: {first}") from first
    return Examined(alive, [str(error) for error in dead.values()], duplicates)


def _remedy(parts: Sequence[Sequence[Processing]], dead: Mapping[tuple[str, str], XsrError]) -> str:
    """Advice about an item that cannot be used, where anything is left without it."""
    acquisitions = {acquisition(part[0][0]) for part in parts}
    older = any(len(part) > 1 for part in parts if acquisition(part[0][0]) in dead)
    if older:
        return " Or pass errors='drop' to use an older processing in its place."
    return " Or pass errors='drop' to leave its date out." if len(acquisitions) > len(dead) else ""


def _unneeded(part: Sequence[Processing], results: "Sequence[Candidate | XsrError]") -> list[str]:
    """Name the processings that were not needed; warn of those that could not be used."""
    used = part[len(results) - 1][0]
    for error in results[:-1]:
        warnings.warn(f"{error} The older processing {used.id} is used in its place.", XsrWarning, stacklevel=5)
    return [f"{item.id} (kept {used.id})" for item, _ in part[len(results) :]]


def _usable(request: Request, part: Sequence[Processing], *, errors: ItemErrors) -> "list[Candidate | XsrError]":
    """Examine processings until one can be used; the last is that one, if any can."""
    results: list[Candidate | XsrError] = []
    for item, identity in part if errors == "drop" else part[:1]:
        results.append(_try(request, item, identity))
        if isinstance(results[-1], Candidate):
            break
    return results


def _try(request: Request, item: "pystac.Item", identity: Identity) -> Candidate | XsrError:
    try:
        return _examine(item, identity, request=request)
    except REFUSED as error:
        return error


def _examine(item: "pystac.Item", identity: Identity, *, request: Request) -> Candidate:
    sensor = sensor_of(item)
    wanted = sources(item, request.choice, size=request.size)
    override = offset_of(item, request.offset)
    files = {name: open_file(item, source, access=request.access) for name, source in wanted.items()}
    found = find_classification(item)
    classes = None if found is None else open_file(item, Source(found.key), access=request.access)
    if found is None and request.mask:
        raise ProductError(f"mask=True, but item {item.id} has no classification; expected one. Pass mask=False.")
    stated = {
        name: find_packing(item, sensor, band=sensor.resolve(name), source=source, override=override)
        for name, source in wanted.items()
    }
    packings = {name: packing for name, (packing, _) in stated.items()}
    origin = next(iter(stated.values()))[1]
    if override is None and sensor.name == "sentinel-2":
        _compare(
            item, files, classes=classes if found and found.kind is SCL else None, packings=packings, origin=origin
        )
    return Candidate(item, identity, sensor, files, packings, origin, found.kind if found else None, classes)


def _compare(
    item: "pystac.Item",
    files: Mapping[str, File],
    *,
    classes: File | None,
    packings: Mapping[str, Packing],
    origin: str,
) -> None:
    """Refuse an offset that the pixels contradict; ``classes`` is a scene classification."""
    band = min(files, key=DARKEST.index)
    numbers = _sample(item, files[band])
    valid = ~np.isin(numbers, packings[band].special)
    labels = None if classes is None else _sample(item, classes)
    matching = labels[valid] if labels is not None and labels.shape == numbers.shape else None
    check_pixels(
        Statement(packings[band].offset, origin),
        numbers[valid],
        matching,
        product=f"item {item.id}",
        quantification=packings[band].quantification,
        item=item.id,
    )


def _sample(item: "pystac.Item", file: File) -> NDArray[Any]:
    return read_sample(file.path, SAMPLE, label=f"a file of item {item.id}", driver=file.driver)
