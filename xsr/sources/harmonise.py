"""Which offset the numbers of a product carry, and which processing of an acquisition to keep.

Since processing baseline 04.00 the digital numbers of Sentinel-2 carry an offset of 1000, so that negative reflectance
fits into unsigned integers; scenes of any date have been reprocessed since, and some archives have taken the offset
out again. The date of acquisition therefore says nothing. Reflectance is (DN + offset) / quantification, and the offset
comes from what the product states about itself. Two statements that disagree are an error, and so are pixels that
contradict them.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsr.core import checks
from xsr.core.errors import HarmonisationError, ParameterError

SINCE = (4, 0)
"""First baseline whose digital numbers carry an offset."""
OFFSET = -1000.0
"""That offset."""
DARK = (2, 3, 6)
"""Classes of the scene classification that are dark in the infrared: topographic shadow, cloud shadow, water."""
DARKEST = ("B12", "B11", "B8A", "B08", "B07", "B06", "B05", "B04", "B03", "B02", "B01", "B09", "B10")
"""Bands of Sentinel-2 by how dark water is in them; the last two measure the atmosphere more than the ground."""
FEW = 200
"""Pixels below which a sample proves nothing."""
NEGATIVE_DN = 800.0
"""With an offset of -1000, numbers below this mean a reflectance under -0.02; atmospheric correction makes few."""
NEGATIVE_SHARE = 0.05
"""Share of such numbers that contradicts the offset."""
DARK_DN = 1000.0
"""Without an offset, numbers above this mean a reflectance over 0.1; water and shadow in the infrared lie below."""
DARK_QUANTILE = 0.05
"""Quantile of the dark pixels that must lie below it."""


@dataclass(frozen=True)
class Statement:
    """What one piece of metadata says about the offset."""

    offset_dn: float
    source: str
    """Name of that piece, for messages and provenance."""


@dataclass(frozen=True)
class Identity:
    """Which acquisition a product shows, and which processing of it."""

    acquisition: tuple[str, ...]
    """Platform, datatake and tile."""
    baseline: tuple[int, ...] = ()
    generated: str = ""
    """Time of the processing, ISO 8601."""
    datastrip: str = ""
    """Start of the datastrip's sensing, where it is known: two datastrips of one datatake can share a tile."""

    @property
    def rank(self) -> tuple[tuple[int, ...], str]:
        """Sorts processings of one acquisition, the latest last."""
        return self.baseline, self.generated


def sensing_start(datastrip: str | None) -> str:
    """Read the start of sensing from the identifier of a datastrip; empty if it has none.

    Examples
    --------
    >>> sensing_start("S2B_OPER_MSI_L2A_DS_2BPS_20230820T124817_S20230820T094908_N05.09")
    '20230820T094908'
    """
    found = re.search(r"_S(\d{8}T\d{6})(?=_|$)", datastrip or "")
    return found[1] if found else ""


def parse_baseline(text: str | None) -> tuple[int, ...]:
    """Read a processing baseline; empty if it is not one.

    Examples
    --------
    >>> parse_baseline("05.10"), parse_baseline("N0400"), parse_baseline("latest")
    ((5, 10), (4, 0), ())
    """
    found = re.fullmatch(r"\s*N?(\d{2})\.?(\d{2})\s*", text or "")
    return (int(found[1]), int(found[2])) if found else ()


def spell_offset(offset_dn: float, item: str | None = None) -> str:
    """Spell the argument that gives a product its offset: of an item in a catalogue for that item alone.

    Examples
    --------
    >>> spell_offset(-1000), spell_offset(0, "S2A_31UFS")
    ('offset=-1000', "offset={'S2A_31UFS': 0}")
    """
    return f"offset={offset_dn:g}" if item is None else f"offset={{{item!r}: {offset_dn:g}}}"


def resolve_offset(
    statements: Sequence[Statement],
    *,
    product: str,
    baseline: str | None,
    override: float | None,
    item: str | None = None,
) -> Statement:
    """Decide the offset of a product.

    Parameters
    ----------
    statements
        What its metadata say, the most trusted first.
    product
        Name of the product.
    baseline
        Its processing baseline, where nothing states an offset: none before 04.00.
    override
        Offset in digital numbers that the user gave; it ends the matter.
    item
        Identifier of the item in a catalogue, where the product is one: advice is for it alone then.

    Raises
    ------
    HarmonisationError
        If statements disagree, or nothing is known.
    ParameterError
        If ``override`` is no finite number.
    """
    if override is not None:
        if not (checks.is_number(override) and math.isfinite(override)):
            raise ParameterError(f"offset={override!r}; expected a finite number, such as {OFFSET:g}.")
        return Statement(float(override), "offset=")
    for other in statements[1:]:
        if abs(other.offset_dn - statements[0].offset_dn) > 0.5:
            first = statements[0]
            raise HarmonisationError(
                f"{product}: {first.source} gives an offset of {first.offset_dn:g}, {other.source} gives"
                f" {other.offset_dn:g}; expected the same. Check on dark water which holds, and pass"
                f" {spell_offset(first.offset_dn, item)} or {spell_offset(other.offset_dn, item)}."
            )
    if statements:
        return statements[0]
    number = parse_baseline(baseline)
    if number and number < SINCE:
        return Statement(0.0, f"processing baseline {baseline}")
    raise HarmonisationError(
        f"{product}: no metadata state the offset of its digital numbers, and its processing baseline is"
        f" {baseline or 'unknown'}; expected an offset, since baselines from 04.00 on have one. Pass"
        f" {spell_offset(OFFSET, item)} or {spell_offset(0, item)}."
    )


def check_pixels(
    stated: Statement,
    numbers: NDArray[Any],
    classes: NDArray[Any] | None,
    *,
    product: str,
    quantification: float,
    item: str | None = None,
) -> None:
    """Hold an offset against pixels.

    Parameters
    ----------
    stated
        The offset and where it comes from.
    numbers
        Sample of digital numbers of a band in the infrared (or of the longest wavelength there is), without no data.
    classes
        Scene classification of the same pixels, where there is one.
    product
        Name of the product.
    quantification
        Digital numbers to one unit of reflectance; other than 10000 nothing is known, and nothing checked.
    item
        As in `resolve_offset`.

    Raises
    ------
    HarmonisationError
        If the offset makes many pixels clearly negative, or its absence leaves no dark pixel dark.
    """
    if quantification != 10000 or numbers.size < FEW:
        return
    if stated.offset_dn <= OFFSET / 2:
        share = float((numbers < NEGATIVE_DN).mean())
        if share > NEGATIVE_SHARE:
            raise HarmonisationError(
                f"{product}: {stated.source} gives an offset of {stated.offset_dn:g}, but the pixels contradict it:"
                f" with it {share:.0%} of them had a reflectance below {(NEGATIVE_DN + OFFSET) / quantification:g}."
                f" Pass {spell_offset(0, item)} if it has been applied already, or {spell_offset(OFFSET, item)} to"
                " override."
            )
    elif classes is not None and abs(stated.offset_dn) < 0.5:
        dark = numbers[np.isin(classes, DARK)]
        if dark.size >= FEW and float(np.quantile(dark, DARK_QUANTILE)) > DARK_DN:
            raise HarmonisationError(
                f"{product}: {stated.source} gives no offset, but the pixels contradict it: without one water and"
                f" shadow had a reflectance above {DARK_DN / quantification:g} in the infrared. Pass"
                f" {spell_offset(OFFSET, item)}, or {spell_offset(0, item)} to override."
            )


def duplicates(identities: Sequence[Identity]) -> tuple[list[int], list[tuple[int, int]]]:
    """Choose one processing of each datastrip of an acquisition: the highest baseline, then the latest.

    Products of one acquisition and tile that belong to different datastrips show different parts of the tile: all are
    kept, to be joined.

    Returns
    -------
    kept
        Indices to keep, in order.
    dropped
        Pairs (index dropped, index kept in its place).

    Examples
    --------
    >>> old = Identity(("s2a", "20200101T100000", "31UFS"), (2, 14), "2020-01-01")
    >>> new = Identity(("s2a", "20200101T100000", "31UFS"), (5, 0), "2023-05-01")
    >>> duplicates([old, new])
    ([1], [(0, 1)])
    >>> north = Identity(old.acquisition, (5, 0), "2023-05-01", datastrip="20200101T100001")
    >>> south = Identity(old.acquisition, (5, 0), "2023-05-02", datastrip="20200101T100501")
    >>> duplicates([north, south])
    ([0, 1], [])
    """
    keys = [(one.acquisition, one.datastrip) for one in identities]
    best: dict[tuple[tuple[str, ...], str], int] = {}
    for index, (key, identity) in enumerate(zip(keys, identities, strict=True)):
        winner = best.get(key)
        if winner is None or identity.rank > identities[winner].rank:
            best[key] = index
    kept = sorted(best.values())
    return kept, [(index, best[key]) for index, key in enumerate(keys) if best[key] != index]
