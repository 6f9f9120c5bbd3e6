"""Output of the command: a store, checked before anything is read, and what is said of it when it is written."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from xsr.cli import options
from xsr.cli.terminal import say
from xsr.core.redact import public

if TYPE_CHECKING:
    from xsr.core.types import XarrayObject
    from xsr.operations.store import StoreReport


def prepare(out: str, workers: int | None, **inputs: str) -> None:
    """Refuse an output that is an input or cannot be written, and share the cores.

    Parameters
    ----------
    out
        Store to write; folders on the way to it are made.
    workers
        Blocks computed side by side.
    inputs
        Paths by their names in messages.

    Raises
    ------
    OptionError
        If OUT is an input, its folder cannot be written to, or there is no worker.
    """
    options.check_apart(out, **inputs)
    options.check_folder("OUT", out)
    options.share_cores(workers)


def name_of(source: str) -> str:
    """Name of an input without its folders and its secrets, for the record of a result."""
    return public(source).rstrip("/").rsplit("/", 1)[-1]


def write(fine: "XarrayObject", out: str, *, resume: bool, **packing: Any) -> None:
    """Write a store, say what it holds, and leave with exit code 1 if a block could not be computed."""
    import xsr

    report = xsr.to_zarr(fine, out, resume=resume, **packing)
    if not packing.get("compute", True):
        say(f"began {report.path}: {dict(fine.sizes)}, {report.blocks} blocks to compute")
        return
    _say_written(report, fine.sizes, resume=resume)
    if report.quarantined:
        raise typer.Exit(1)


def _say_written(report: "StoreReport", sizes: Mapping[Any, int], *, resume: bool) -> None:
    """Say what a store holds, and what it does not."""
    begin = (
        f"wrote {report.path}"
        if report.computed or report.quarantined
        else f"{report.path} was complete, nothing to do"
    )
    say(f"{begin}: {dict(sizes)}, {report.blocks} blocks, {report.valid} valid pixels, {report.clipped} clipped")
    say(f"opens in {report.readers}")
    if report.infinite:
        say(f"{report.infinite} pixels were infinite, and are stored as no data")
    if resume and 0 < report.computed < report.blocks:
        say(f"{report.computed} blocks were computed now, the others were there")
    if report.item is not None:
        say(f"described by {report.item}")
    if report.quarantined:
        say(f"{len(report.quarantined)} blocks could not be computed; --resume tries them again:")
    for bad in report.quarantined:
        say(f"  {bad}")
