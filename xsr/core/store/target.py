"""Where the blocks of a run go: a new store, one that was begun, or a sibling that replaces another in the end.

A replacement lies at ``NAME.incoming`` until it is complete, so that a cube may be written over the store that it is
read from, and a failed run leaves the old one. Nothing is deleted that was not made here or named by the user.
"""

import json
from dataclasses import dataclass
from pathlib import PurePosixPath

from xsr.core.errors import StoreError
from xsr.core.store.first_form import adopt_first_form, is_first_form
from xsr.core.store.header import COPIES, Header, read_header
from xsr.core.store.ledger import Ledger
from xsr.core.store.objects import StoreObject, new_memory
from xsr.core.store.place import SIDE, Place, store_errors
from xsr.core.store.template import Prepared, Template, as_begun, changed_settings, template_of
from xsr.core.store.writing import require_unchanged

OUTGOING = f"{SIDE}/outgoing"
"""Where a local replacement holds the store that it replaces, between two renames."""
OF_FILES = (".tif", ".tiff", ".jp2", ".nc", ".nc4", ".h5", ".hdf5", ".zip", ".png", ".jpg")
"""Suffixes of formats that are single files: no program would open a folder of that name as a Zarr store."""


@dataclass(frozen=True)
class Target:
    """Where blocks are written."""

    place: Place
    header: Header | None = None
    """Header of a store that was begun; None of one that is to be."""
    replaces: Place | None = None
    """Store that the finished one takes the place of."""


def resumed(place: Place) -> Target:
    """Find what to go on with: an interrupted replacement, an interrupted store, or nothing yet.

    Raises
    ------
    StoreError
        If something else lies there.
    """
    if not isinstance(place, StoreObject):
        incoming = place.beside(".incoming")
        if (header := begun(incoming)) is not None and not was_moved(incoming, place):
            return Target(incoming, header if _has_template(incoming) else None, place)
    if not place.is_taken():
        return Target(place)
    if is_first_form(place):
        adopt_first_form(place)
    header = continuable(place)
    if header is None:
        raise StoreError(
            f"{place.path} holds no ledger; expected a store that was begun by to_zarr. Choose another path."
        )
    return Target(place, header if _has_template(place) else None)


def begun_anew(place: Place, overwrite: bool) -> Target:
    """Choose where to write: the path itself, or a sibling that takes the place of an existing store in the end.

    Raises
    ------
    StoreError
        If something lies there and is not to be replaced, or is no store; or if the name is that of a file.
    """
    if isinstance(place, StoreObject):
        return _begun_within(place, overwrite)
    _refuse_name_of_file(place)
    incoming = place.beside(".incoming")
    was_moved(incoming, place)
    if not place.is_taken():
        if begun(incoming) is not None:
            raise StoreError(
                f"{incoming.path} is an interrupted replacement of {place.path}. Go on with resume=True, or delete it."
            )
        return Target(place)
    _require_replaceable(place, overwrite)
    if incoming.is_taken():
        if begun(incoming) is None:
            raise StoreError(f"{incoming.path} exists and was not made by to_zarr. Move it, or choose another path.")
        incoming.remove()
    return Target(incoming, None, place)


def _refuse_name_of_file(place: Place) -> None:
    """Refuse a name by which every program would take the folder of a store for a file of another format."""
    path = PurePosixPath(place.name)
    if path.suffix.casefold() in OF_FILES:
        raise StoreError(
            f"{path.name} has the suffix of a file, a Zarr store is a folder; expected a name such as"
            f" {path.stem.removesuffix('.zarr')}.zarr. To write GeoTIFF, use xsr.to_cog."
        )


def _begun_within(place: StoreObject, overwrite: bool) -> Target:
    """Choose where to write in a store object: in a transaction, or in other memory.

    Raises
    ------
    StoreError
        As of `begun_anew`; or if a store is to be replaced where there is neither.
    """
    if not place.is_taken():
        return Target(place)
    _require_replaceable(place, overwrite)
    if place.transactional:
        place.remove()
        return Target(place)
    if place.in_memory:
        return Target(new_memory(place.path), None, place)
    kind = type(place.store).__name__
    raise StoreError(
        f"{place.path} exists, and {kind} has neither transactions nor a place beside it where a replacement could be"
        " written; expected a new store. Delete this one, or write to another."
    )


def _require_replaceable(place: Place, overwrite: bool) -> None:
    """Refuse to replace what is not to be replaced, or is no store."""
    if not overwrite:
        raise StoreError(f"{place.path} exists; expected a new store. Choose another path{_ways_out(place)}.")
    if not place.is_group() and begun(place) is None:
        raise StoreError(f"{place.path} is not a Zarr group; it is not overwritten. Choose another path.")


def begun(place: Place) -> Header | None:
    """Header of a store, if one was begun here."""
    return read_header(place)[0] if place.is_taken() else None


def continuable(place: Place) -> Header | None:
    """Header of a store, if one was begun here; a document at its root of which a part was stored is written anew."""
    header = begun(place)
    for key, text in header.documents.items() if header is not None else ():
        if "/" not in key and _is_part(place.get(key)):
            place.put(key, text.encode())
    return header


def _is_part(document: bytes | None) -> bool:
    """Whether a document is there and is no JSON: no program that changes one leaves it so."""
    try:
        json.loads(b"null" if document is None else document)
    except ValueError:
        return True
    return False


def was_moved(incoming: Place, place: Place) -> bool:
    """Whether a finished replacement is in place already, and its own copy, on a URL, a leftover; that is deleted."""
    if not incoming.remote:
        return False
    one, two = begun(incoming), begun(place)
    if one is None or one != two or not one.complete or not place.is_group():
        return False
    if any("/" not in key and place.get(key) is None for key in one.documents):  # format 2 has several at the root
        return False
    incoming.remove()
    return True


def _has_template(place: Place) -> bool:
    """Whether more than a part of the template is there: on a URL, a writer may have been killed within it."""
    return place.is_group() or any(key not in COPIES for key in place.keys(SIDE))


def _ways_out(place: Place) -> str:
    """Ways out of an existing path, for messages; what is neither a store nor the beginning of one is left alone."""
    if not place.is_group() and begun(place) is None:
        return ""
    unfinished = not place.is_group() or place.open("r").attrs.get("xsr", {}).get("complete") is False
    go_on = ", go on with it by resume=True (it is not complete)" if unfinished else ""
    return f"{go_on} or pass overwrite=True"


def continued(target: Target, prepared: Prepared) -> tuple[Prepared, Ledger]:
    """Read the ledger of a store that was begun; that of a new one is empty. The cube takes the store's settings.

    Raises
    ------
    StoreError
        If the store was begun with other settings, or its metadata were changed since.
    """
    if target.header is None:
        return prepared, Ledger.empty(target.place, prepared.fingerprint, prepared.blocks)
    given, prepared = prepared, as_begun(prepared, target.header.settings, target.place.path)
    parts = target.header.parts
    if target.header.arrays != prepared.arrays or (parts and changed_settings(parts[-1]["settings"], given.settings)):
        raise StoreError(
            f"{target.place.name} was written from {len(target.header.parts)} cubes, of which this is one; expected the"
            " append_dim= or region= that the last one was written with. Or begin anew with overwrite=True."
        )
    ledger = Ledger.read(target.place, prepared.fingerprint, target.header.blocks)
    require_unchanged(target.place, target.header, ledger)
    return prepared, ledger


def begin(target: Target, prepared: Prepared) -> Header:
    """Write the template of a new store; a local one appears as a whole or not at all. Returns the header.

    Raises
    ------
    StoreError
        If another store has appeared there: this writer was stopped, and lost its lock to another.
    """
    if target.header is not None:
        return target.header
    place = target.place
    template = template_of(prepared, gathered=place.gathers)
    leftover = begun(place)
    if leftover is not None and _has_template(place):
        raise StoreError(f"{place.path} was begun by another writer meanwhile; this one stops. Go on with resume=True.")
    if leftover is not None:  # a writer was killed at this point, on a URL
        for key in (*leftover.documents, *leftover.objects):
            place.erase(key)
    if place.remote:
        template.write(place)
    else:
        _appear(template, place)
    return template.header


def _appear(template: Template, place: Place) -> None:
    """Write a template beside a place, then give it its name."""
    draft = place.beside(".template")
    if draft.is_taken():
        if read_header(draft)[0] is None and any(not key.startswith(f"{SIDE}/") for key in draft.keys()):
            raise StoreError(f"{draft.path} exists and was not made by to_zarr. Move it, or choose another path.")
        draft.remove()  # of a writer that was killed: the header, or a part of it, comes first
    try:
        template.write(draft)
        draft.move(place)
    finally:
        if draft.is_taken():
            draft.remove()


def in_place(target: Target) -> Place:
    """Let a finished store take the place of the one it replaces; can be done again if it is interrupted."""
    place = target.place if target.replaces is None else target.replaces
    with store_errors(place, "replacing"):
        if target.replaces is not None:
            if place.remote:
                place.remove()
            elif place.is_taken():
                place.move(target.place.inside(OUTGOING))
            target.place.move(place)
        if not place.remote:
            place.inside(OUTGOING).remove()
    return place
