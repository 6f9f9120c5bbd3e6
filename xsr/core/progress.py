"""Progress bars: the same line in a terminal and in a notebook, where it stays in the file that is saved.

In a terminal Rich redraws the line. Rich's own bars in a notebook need widgets, whose state is not part of a saved
notebook; so there the line is an ordinary output that is replaced as work goes on, and the last one stays.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE_S: Final = 1.0
"""Seconds that an eager computation takes before it shows a bar."""
REDRAWN_S: Final = 0.2
"""Least seconds between two outputs of a notebook."""
VARIABLE: Final = "XSR_PROGRESS"
"""Variable of the environment that is 0 where eager computations shall show nothing."""
Advance = Callable[[], None]
Item = TypeVar("Item")

_shown = threading.local()
"""Whether this thread shows a bar: what is computed inside is part of it."""


@contextmanager
def bar(what: str, total: int, *, shown: bool) -> Iterator[Advance]:
    """Show a bar; the function that is given counts one step more.

    Parameters
    ----------
    what
        Words before the bar.
    total
        Number of steps.
    shown
        Whether it is shown at all; inside another bar of the thread none is.
    """
    if not shown or _is_inside():
        yield lambda: None
        return
    with _inside(), _drawn(what, total) as advance:
        yield advance


@contextmanager
def _inside() -> Iterator[None]:
    """Let this thread show no other bar."""
    _shown.any = True
    try:
        yield
    finally:
        _shown.any = False


def _is_inside() -> bool:
    return getattr(_shown, "any", False)


def counted(items: Sequence[Item], what: str, *, shown: bool) -> Iterator[Item]:
    """Give items one by one, with a bar over them."""
    with bar(what, len(items), shown=shown) as advance:
        for item in items:
            yield item
            advance()


@contextmanager
def where_watched(what: str, total: int) -> Iterator[Advance]:
    """Show a bar of an eager computation where somebody watches: in a notebook or interpreter, once it takes long.

    Scripts, workers and threads show none; nor does a computation that is part of one with a bar.
    """
    if not _is_watched():
        yield lambda: None
        return
    late = _Late(what, total)
    with _inside(), closing(late):
        yield late.advance


def _is_watched() -> bool:
    return (
        hasattr(sys, "ps1")
        and os.environ.get(VARIABLE) != "0"
        and threading.current_thread() is threading.main_thread()
        and not _is_inside()
    )


class _Late:
    """A bar that appears after a while."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._begun, self._count = monotonic(), 0
        self._bar: Any = None
        self._step: Advance = lambda: None

    def advance(self) -> None:
        """Count one step more."""
        self._count += 1
        if self._bar is not None:
            self._step()
        elif monotonic() - self._begun >= PATIENCE_S and self._count < self._total:
            self._bar = _drawn(self._what, self._total)
            self._step = self._bar.__enter__()
            for _ in range(self._count):
                self._step()

    def close(self) -> None:
        """Leave the last line."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)


@contextmanager
def _drawn(what: str, total: int) -> Iterator[Advance]:
    from rich import get_console

    progress = _columns(what)
    row = progress.add_task(what, total=total)
    if not get_console().is_jupyter:
        with progress:
            yield partial(progress.advance, row)
        return
    output = _Output(progress)
    try:
        yield partial(_step, progress, row, output)
    finally:
        output.draw()


def _step(progress: "Progress", row: Any, output: "_Output") -> None:
    progress.advance(row)
    output.redraw()


def _columns(what: str) -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    time = TimeRemainingColumn(elapsed_when_finished=True)
    return Progress(TextColumn(what, markup=False), BarColumn(), MofNCompleteColumn(), time)


class _Output:
    """Output of a notebook that is replaced."""

    def __init__(self, progress: "Progress") -> None:
        shown = import_module("IPython.display")  # the kernel brings it; xsr does not require it
        self._progress, self._drawn = progress, monotonic()
        self._output: Any = shown.display(self._table(), display_id=True)

    def _table(self) -> Any:
        return self._progress.make_tasks_table(self._progress.tasks)

    def redraw(self) -> None:
        """Replace the output, if that was not just done."""
        if monotonic() - self._drawn >= REDRAWN_S:
            self.draw()

    def draw(self) -> None:
        """Replace the output."""
        self._drawn = monotonic()
        if self._output is not None:
            self._output.update(self._table())
