"""The jobs that a page can begin: each checks what was sent, and starts the work of its session."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from xsr.core.errors import ParameterError
from xsr.view.map import acquire, compute
from xsr.view.map.jobs import Job
from xsr.view.map.layers import Shown
from xsr.view.map.sessions import Session, Sessions

KEPT = 3
"""Cubes of a session, beside the served one, and its files; one more replaces the oldest."""


@dataclass(frozen=True)
class Context:
    """Where a job belongs."""

    sessions: Sessions
    session: Session
    origin: str
    """See `xsr.view.map.acquire.Wish.parse`."""


def search(context: Context, given: Mapping[str, Any]) -> None:
    """Begin to search a catalogue."""
    session = context.session
    wish = acquire.Wish.parse(given, origin=context.origin)

    def work(job: Job) -> Any:
        session.items = []
        session.items = acquire.search(job, wish)
        return {"dates": acquire.describe(session.items)}

    context.sessions.start(session, "search", work)


def fetch(context: Context, given: Mapping[str, Any]) -> None:
    """Begin to download dates of what was found last."""
    session = context.session
    wish = acquire.Wish.parse(given, origin=context.origin)
    keys = given.get("dates")
    if not (keys is None or (isinstance(keys, list) and all(isinstance(key, str) for key in keys))):
        raise ParameterError(f"dates={keys!r}; expected keys of those found.")
    dates = acquire.chosen(session.items, keys)
    acquire.check_size(acquire.estimate(wish, len(dates)), "the download")
    name = session.next_name("fetched")

    def work(job: Job) -> Any:
        cube = acquire.download(job, wish, dates, session.path(name))
        title = f"{wish.collection or 'fetched'}, {len(dates)} date{'s' * (len(dates) > 1)}"
        return _add(session, name, Shown(title, cube))

    context.sessions.start(session, "fetch", work, makes=name)


def sharpen(context: Context, given: Mapping[str, Any]) -> None:
    """Begin to compute a result of a cube."""
    session = context.session
    shown = _shown(session, given)
    recipe = compute.Recipe.parse(given)
    fine = recipe.apply(shown.cube, model=shown.model)
    name = session.next_name(recipe.method)

    def work(job: Job) -> Any:
        cube = compute.write(job, fine, session.path(name))
        factor = f" ×{recipe.factor:g}" if recipe.factor > 1 else ""
        return _add(session, name, Shown(f"{recipe.method}{factor}: {shown.title}", cube, made=True))

    context.sessions.start(session, "sharpen", work, makes=name)


def pack(context: Context, given: Mapping[str, Any]) -> None:
    """Begin to pack a cube for download."""
    session = context.session
    cube, form = _shown(session, given).cube, given.get("format")
    if form not in compute.FORMS:
        raise ParameterError(f"format={form!r}; expected zarr or cog.")
    acquire.check_size(acquire.values_of(cube), "the cube")
    name = str(given["cube"])

    def work(job: Job) -> Any:
        scratch = session.path("packing")
        path = compute.pack(job, cube, session.folder / name, str(form), scratch)
        rmtree(scratch)
        session.files.pop(path.name, None)
        session.files[path.name] = path
        for old in list(session.files)[:-KEPT]:
            session.files.pop(old).unlink(missing_ok=True)
        return {"file": path.name}

    context.sessions.start(session, "pack", work, makes="packing")


KINDS: Mapping[str, Callable[[Context, Mapping[str, Any]], None]] = {
    "search": search,
    "fetch": fetch,
    "sharpen": sharpen,
    "pack": pack,
}


def _shown(session: Session, given: Mapping[str, Any]) -> Shown:
    name = given.get("cube")
    shown = session.cubes.get(name) if isinstance(name, str) else None
    if shown is None:
        raise ParameterError(f"cube={name!r}; expected one of {', '.join(session.cubes) or 'none'}.")
    return shown


def _add(session: Session, name: str, shown: Shown) -> dict[str, Any]:
    """Show a new cube; one too many replaces the oldest."""
    made = [known for known in session.cubes if (session.folder / known).is_dir()]
    for old in made[: max(0, len(made) + 1 - KEPT)]:
        del session.cubes[old]
        _discard(session.folder / old)
    session.cubes[name] = shown
    return {"cube": name}


def _discard(path: Path) -> None:
    rmtree(path, ignore_errors=True)
