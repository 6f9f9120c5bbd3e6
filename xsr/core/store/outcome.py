"""What is shown of a run that wrote or read blocks: counts of pixels, and blocks that are bad."""

from collections.abc import Sequence

from xsr.core.sheet import Section
from xsr.core.store.ledger import BadBlock

MOST = 20
"""Blocks that are listed."""


def pixels_section(valid: int, clipped: int, infinite: int) -> Section:
    """Pixels with a value, and those that were altered to be stored."""
    altered = [f"{count} {what}" for count, what in ((clipped, "clipped"), (infinite, "infinite")) if count]
    text = f"{valid} with a value"
    return Section("pixels", f"{text}, {', '.join(altered)}" if altered else text, alert=bool(altered))


def bad_section(title: str, bad: Sequence[BadBlock], remedy: str) -> tuple[Section, ...]:
    """List bad blocks with their reasons, and what to do; no section where there are none."""
    if not bad:
        return ()
    rows = [(f"{one.variable} {one.index}", one.reason) for one in bad[:MOST]]
    rest = f"; the first {MOST} are listed" if len(bad) > MOST else ""
    return (Section(title, f"{len(bad)} blocks; {remedy}{rest}", rows, ("block", "reason"), opened=True, alert=True),)
