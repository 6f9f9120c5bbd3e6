"""Items examined: the headers of their files opened, the meaning of their numbers decided and compared with pixels."""

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from xsr.core.errors import BandError, HarmonisationError, ProductError, XsrError, XsrWarning
from xsr.core.sensors import Sensor
from xsr.sources.harmonise import DARKEST, Identity, Statement, check_pixels, duplicates
from xsr.sources.rasters import Packing, read_sample
from xsr.sources.stac.assets import Access, File, open_file
from xsr.sources.stac.bands import Choice, Source, sources
from xsr.sources.stac.classes import SCL, Kind, find_classification
from xsr.sources.stac.describe import acquisition, identities, sensor_of
from xsr.sources.stac.packing import OffsetLike, find_packing, offset_of

if TYPE_CHECKING:
    import pystac

Errors = Literal["raise", "drop"]
WORKERS = 16
"""Assets opened side by side."""
SAMPLE = 512
"""Side in pixels of the sample that an offset is compared with."""
REFUSED = (BandError, HarmonisationError, ProductError)
"""What may be wrong with one item."""


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


@dataclass(frozen=True)
class Request:
    """What is wanted of every item."""

    choice: Choice
    size: float | None
    """Pixel size for which assets are chosen."""
    offset: OffsetLike
    access: Access
    mask: bool
    """Whether every date needs a classification."""


def latest(items: "Sequence[pystac.Item]") -> "tuple[list[pystac.Item], list[Identity], list[str]]":
    """Keep one processing of each part of an acquisition; warn of the others."""
    known = identities(items)
    kept, dropped = duplicates(known)
    lines = [f"{items[lost].id} (kept {items[winner].id})" for lost, winner in dropped]
    if lines:
        warnings.warn(
            f"the same acquisition was found more than once; dropped {'; '.join(lines)}.", XsrWarning, stacklevel=3
        )
    return [items[index] for index in kept], [known[index] for index in kept], lines


def examine(
    items: "Sequence[pystac.Item]", known: Sequence[Identity], *, request: Request, errors: Errors
) -> tuple[list[Candidate], list[str]]:
    """Open the headers of all assets, and decide what their numbers mean.

    Returns
    -------
    candidates
        Items of the dates that are whole.
    dropped
        Why the other dates were left out.

    Raises
    ------
    ProductError, HarmonisationError, BandError
        If an item cannot be used and ``errors`` is ``raise``, or no date is left.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(partial(_try, request), items, known))
    dead: dict[tuple[str, str], XsrError] = {}
    for item, result in zip(items, results, strict=True):
        if isinstance(result, XsrError):
            dead.setdefault(acquisition(item), result)
    first = next(iter(dead.values()), None)
    if first is not None and errors == "raise":
        remedy = " Or pass errors='drop' to leave its date out." if len({*map(acquisition, items)}) > len(dead) else ""
        raise type(first)(f"{first}{remedy}") from first
    for error in dead.values():
        warnings.warn(f"{error} Its date is left out.", XsrWarning, stacklevel=3)
    alive = [one for one in results if isinstance(one, Candidate) and acquisition(one.item) not in dead]
    if not alive:
        raise ProductError(f"no date is left: {first}") from first
    return alive, [str(error) for error in dead.values()]


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
    numbers = read_sample(files[band].path, SAMPLE)
    seen = ~np.isin(numbers, packings[band].special)
    labels = None if classes is None else read_sample(classes.path, SAMPLE)
    matching = labels[seen] if labels is not None and labels.shape == numbers.shape else None
    check_pixels(
        Statement(packings[band].offset, origin),
        numbers[seen],
        matching,
        product=f"item {item.id}",
        quantification=packings[band].quantification,
        item=item.id,
    )
