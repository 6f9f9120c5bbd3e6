"""Writing a cube to Zarr: template first, then whole blocks, each checked and recorded.

The store is an ordinary Zarr group that xarray opens. Every Dask chunk becomes one whole Zarr chunk (or one whole shard
of smaller chunks) written by one task, so that no two tasks ever touch the same object, and is read back by it. The
ledger has one row per block, written after the block itself; see `xsr.core.store.ledger`. The root attribute ``xsr``
turns ``complete`` last. A run that was interrupted goes on from the ledger.
"""

import math
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from xsr.core import graph
from xsr.core.errors import ParameterError, StoreError, XsrWarning
from xsr.core.packing import StoredType, warn_of_infinite
from xsr.core.sheet import Section, Sheet, Shown
from xsr.core.store.first_form import adopt_first_form, is_first_form
from xsr.core.store.forks import can_fork, forked, merging
from xsr.core.store.header import Header, read_header
from xsr.core.store.inputs import are_read_from
from xsr.core.store.ledger import BadBlock, Index, Ledger
from xsr.core.store.lock import locked
from xsr.core.store.objects import StoreObject, resolve_store
from xsr.core.store.outcome import bad_section, pixels_section
from xsr.core.store.overviews import SETTING
from xsr.core.store.parts import Region, appended, extended, inside, publish
from xsr.core.store.place import RETRY, Place, StoreLike, groups_above, in_group, make_groups, store_errors
from xsr.core.store.readers import readers_of
from xsr.core.store.target import begin, begun_anew, continued, in_place, resumed
from xsr.core.store.template import Prepared, gather, leave_out, prepare
from xsr.core.store.writing import (
    Errors,
    Outcomes,
    check_errors,
    compute_blocks,
    finish,
    require_unchanged,
    write_blocks,
)
from xsr.core.types import XarrayObject
from xsr.items.writing import StacLike, require_path, write_beside

Mode = Literal["w-", "w", "a", "a-", "r+"]
"""What becomes of a store that exists."""
SQUEEZE = 10
"""Most by which compression is assumed to shrink a store, for the check of free space."""


@dataclass(frozen=True, repr=False)
class StoreReport(Shown):
    """What was written."""

    path: str
    blocks: int
    """Blocks of the store."""
    valid: int
    """Pixels with a value."""
    clipped: int
    """Valid pixels outside the range of the packing, moved to its limits."""
    infinite: int
    """Pixels that were infinite, and are stored as no data."""
    computed: int
    """Blocks computed by this run; the others were there."""
    quarantined: tuple[BadBlock, ...] = ()
    """Blocks that could not be computed and hold the fill value, with the reason."""
    readers: str = ""
    """Programs that open the store, and those that do not."""
    item: str | None = None
    """STAC item beside the store, if one was requested."""

    def _sheet(self) -> Sheet:
        sections = (
            Section("blocks", f"{self.blocks}, {self.computed} computed by this run"),
            pixels_section(self.valid, self.clipped, self.infinite),
            *bad_section("quarantined", self.quarantined, "to_zarr(..., resume=True) computes them again"),
            *([Section("readers", self.readers)] if self.readers else []),
            *([Section("STAC item", self.item)] if self.item else []),
        )
        return Sheet("xsr store", self.path, sections)


@dataclass(frozen=True)
class _How:
    """How blocks are written."""

    errors: Errors
    progress: bool
    resume: bool
    force: bool
    compute: bool
    above: list[Place]
    """Groups that lead to the one that is written, whose readers look at metadata gathered there."""


@dataclass(frozen=True)
class _Written:
    """What was written, and where: a replacement with blocks that failed stays beside what it replaces."""

    place: Place
    ledger: Ledger
    outcomes: Outcomes


def to_zarr(
    cube: XarrayObject,
    path: StoreLike,
    *,
    overwrite: bool = False,
    resume: bool = False,
    errors: Errors = "raise",
    force: bool = False,
    inner_chunks: int | None = None,
    dtype: StoredType | None = None,
    allow_clipping: bool = False,
    zarr_format: Literal[2, 3] | None = None,
    overviews: bool | int = False,
    mode: Mode | None = None,
    append_dim: str | None = None,
    region: Region | None = None,
    group: str | None = None,
    compute: bool = True,
    storage_options: Mapping[str, Any] | None = None,
    input_id: str | None = None,
    stac: StacLike = False,
    progress: bool = True,
) -> StoreReport:
    """Write a cube to a Zarr store, block by block.

    Parameters
    ----------
    cube
        Georeferenced DataArray or Dataset; lazy ones are computed block by block, on the active Dask scheduler or
        cluster.
    path
        Folder or URL of the store; or a store object of Zarr, such as a MemoryStore or that of a writable session of
        icechunk, which is yours to commit. Blocks of a store object are computed by threads of this process; those of
        icechunk also by other processes, which write to forks of the session.
    overwrite
        Replace an existing store; refused by default. It is replaced once the new one is complete, so that a cube may
        be written over the store it is read from, and a failed run leaves the old one. At a URL the new store is
        copied by the object store itself to its final name. Of store objects, those in memory and of icechunk can be
        overwritten.
    resume
        Go on with a store that was interrupted: only blocks missing from its ledger are computed. The cube and the
        settings must be the same. Without a store this begins one; with a complete one there is nothing to do.
    errors
        What to do with a block that cannot be computed. ``raise`` ends the run at once; blocks already written are
        kept. ``quarantine`` tries once more, writes the fill value, goes on, and lists the block in the report; the
        store is then not complete, and ``resume`` tries those blocks again.
    force
        Skip the checks of lock and free space: take the lock over from whoever holds it, who then stops, and write
        although the estimate of the space needed exceeds what is free.
    inner_chunks
        Side in pixels of the Zarr chunks inside each block; blocks become shards, which format 3 alone has. None makes
        one chunk a block.
    dtype
        Of floating variables. None keeps the type of each: float32 of what xsr computes. ``float32`` converts.
        ``uint16`` packs and counts what it clips, by the attribute ``units`` of each variable: reflectance (none, or
        "1") with scale 1e-4 and offset -0.1, temperatures ("K", "degC") with scale 0.005 and offset 100 K; 0 is no
        data. Integer and boolean variables, and coordinates, keep their type.
    allow_clipping
        Pack blocks of which more than 1 % of the valid pixels lie outside the range of the packing; by default such a
        block counts as one that cannot be computed.
    zarr_format
        2, with the checksum of zstd on every chunk: GDAL, QGIS and rasterio open it, too. 3, with crc32c on every
        chunk, which GDAL reads from 3.13 on. None is 2, but 3 with ``inner_chunks``, in a store that takes format 3
        alone, and where the store that is continued has it; ``report.readers`` names what opens the store.
    overviews
        Levels of half the resolution of the one before, made of what was written, block by block: the mean of the
        valid pixels, of classes, booleans and dates the most frequent. True makes so many that the last has at most
        256 pixels a side. The store then has a group for each level, ``0`` for the image, and declares them as the
        convention ``multiscales`` has it. Open it by ``xr.open_zarr(path, group="0")``, ``xr.open_datatree`` or
        `xsr.open`. Such a store takes no parts.
    mode
        As xarray has it. ``w-``, the default: a new store. ``w``: as ``overwrite=True``. ``a`` and ``a-``, the default
        with ``append_dim``: append. ``r+``, the default with ``region``: new values for what is there, for all of it
        without a region.
    append_dim
        Dimension, the first of every variable, along which the cube is appended to a complete store; without a store
        this begins one. Variables, grid, labels and blocks must be those of the store, whose stored form holds: an
        append begins where a block ends. What was there stays readable throughout; until the new blocks are written the
        store is not complete, and ``resume=True`` with the same cube goes on.
    region
        Part of an existing store that the cube fills or replaces: slices of pixels by dimension, or "auto", which finds
        the cube by its labels. It must cover whole blocks, and may hold some of the variables.
    group
        Group of the store that the cube is written to, ``"tile/fine"``; those that lead to it are made. The whole store
        has one writer at a time.
    compute
        False writes metadata and coordinates only: a store that is filled by ``region``.
    storage_options
        Options of fsspec where the path is a URL, for instance ``{"endpoint_url": ...}`` for ``s3://``.
    input_id
        Name of the input for ``resume``, where the same cube differs every time: signed URLs, for instance. By
        default the input is identified by the content of the files, objects and addresses it is read from (sizes,
        times, tags, pieces of their bytes), the names that Dask gives to its layers, and the coordinates. Given to
        resume a store that was begun without one, it states that the input is the same, though its files may be newer.
    stac
        Write a STAC item of the store beside it, ``fine.json`` for ``fine.zarr``, and one of its model: True, or a
        template as of `xsr.stac_item`. Not with ``compute=False``.
    progress
        Show a progress bar.

    Returns
    -------
    StoreReport
        Path, number of blocks, valid, clipped and infinite pixels, blocks that were quarantined.

    Warns
    -----
    XsrWarning
        If pixels were infinite: they are stored as no data.

    Raises
    ------
    StoreError
        If the store exists, is being written by another, was begun with other settings, or cannot be written; or the
        chunks of the cube cannot be whole Zarr chunks.
    CubeError, GridError
        If the cube has no grid, a variable has no stored form, or packing would clip a block.

    Notes
    -----
    Attributes: the provenance of the operation, CF ``grid_mapping`` and ``spatial_ref``, the GeoZarr conventions
    ``proj:`` and ``spatial:``, and ``_CRS`` for GDAL. ``ds.attrs["xsr"]["complete"]`` is True once everything is
    written.

    Examples
    --------
    >>> import xarray as xr
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(32, 32)).chunk(y=16, x=16)
    >>> report = cube.sr.interpolate(scale=2, chunks=32).sr.to_zarr("fine.zarr", progress=False)
    >>> report.blocks, report.quarantined
    (4, ())
    >>> xr.open_zarr("fine.zarr").attrs["xsr"]["complete"]
    True
    """
    overwrite, region = _check_mode(mode, overwrite, resume, append_dim, region)
    check_errors(errors)
    require_path(stac if compute else False, path)
    form: dict[str, Any] = {"dtype": dtype, "zarr_format": zarr_format, "inner_chunks": inner_chunks}
    form["overviews"] = overviews
    if overviews and (append_dim is not None or region is not None):
        raise ParameterError(
            "overviews with append_dim or region; expected a whole store: its parts have no overviews of"
            " their own. Write the store first, then again with overviews to another path."
        )
    identity: dict[str, Any] = {"input_id": input_id, "allow_clipping": allow_clipping}
    if zarr_format is not None or inner_chunks is not None:  # refused before anything is looked at
        prepare(cube, **{**form, "zarr_format": zarr_format or 3}, **identity, grows=append_dim)
    root = _root_of(path, storage_options)
    place = in_group(root, group)
    form["zarr_format"] = _format_for(root, place, zarr_format, inner_chunks, resume)
    prepared = prepare(cube, **form, **identity, grows=append_dim)
    with locked(root, force=force) as lease, merging(root):
        root, place = lease.guarding(root), lease.guarding(place)
        above = [] if group is None else groups_above(root, place)
        how = _How(errors, progress, resume, force, compute, above)
        with store_errors(place, "looking at", remedy=RETRY):
            header = None if append_dim is None and region is None else _grown(place, dtype, inner_chunks)
        if header is not None:
            blocks = {name: one["block"] for name, one in header.arrays.items()}
            form = header.settings["packing"]
            if dtype is None and form["dtype"] == "float32":  # other types are refused, not converted
                form = {**form, "dtype": None}
            prepared = prepare(cube, **form, **identity, blocks=blocks)
            written = _write_part(place, header, prepared, append_dim, region or {}, how)
        elif region is not None:
            raise StoreError(f"{place.name} holds no store; expected one whose region= is written. Begin it first.")
        else:
            with store_errors(place, "beginning", remedy=RETRY):
                if group is not None:
                    make_groups(root, place, prepared.zarr_format)
            written = _write_whole(place, prepared, overwrite, how)
        _gather(above)
    report = _report(prepared, written)
    warn_of_infinite(report.infinite)
    if stac is False or not compute or report.quarantined:
        return report
    return replace(report, item=write_beside(path, stac, group=group, storage_options=storage_options))


def _report(prepared: Prepared, written: _Written) -> StoreReport:
    """Say what was written, and what opens it."""
    ledger, outcomes = written.ledger, written.outcomes
    valid, clipped, infinite = (ledger.total(column, prepared.images) for column in ("valid", "clipped", "infinite"))
    readers = readers_of(prepared.zarr_format, levels=bool(prepared.levels))
    failed = tuple(outcomes.failed)
    return StoreReport(
        written.place.name, len(ledger), valid, clipped, infinite, outcomes.done, failed, readers=readers
    )


def _root_of(path: StoreLike, options: Mapping[str, Any] | None) -> Place:
    """Place that is written to: where other processes compute, a fork of a session that has such."""
    if can_fork(path) and options is None and not path.read_only and not graph.in_threads():
        return forked(type(path).__name__, path)
    return resolve_store(path, options, writes=True)


def _format_for(
    root: Place, place: Place, given: Literal[2, 3] | None, inner_chunks: int | None, resume: bool
) -> Literal[2, 3]:
    """Choose the format of a store: the one given, that of what it continues, or the one that most readers open."""
    with store_errors(root, "looking at", remedy=RETRY):
        boxes = isinstance(root, StoreObject) and root.boxes
        if given == 2 and boxes:
            raise ParameterError(f"zarr_format=2, but {root.name} takes format 3 alone; expected zarr_format=3.")
        if given is not None:
            return given
        if boxes or inner_chunks is not None:
            return 3
        incoming = [] if isinstance(place, StoreObject) else [place.beside(".incoming")]
        held = [_format_of(one) for one in ([*incoming, place] if resume else []) + ([root] if root != place else [])]
        return next((one for one in held if one is not None), 2)


def _format_of(place: Place) -> Literal[2, 3] | None:
    """Format of the store that lies at a place; None if there is none."""
    if not place.is_taken():
        return None
    header = read_header(place)[0]
    if header is not None:
        form: Literal[2, 3] = header.settings["packing"]["zarr_format"]
        return form
    return place.open("r").metadata.zarr_format if place.is_group() else None


def _check_mode(
    mode: Mode | None, overwrite: bool, resume: bool, append_dim: str | None, region: Region | None
) -> tuple[bool, Region | None]:
    """Refuse what contradicts; returns whether a store is replaced, and the region that is written."""
    if mode is not None and mode not in get_args(Mode):
        raise ParameterError(f"mode={mode!r}; expected one of {', '.join(get_args(Mode))}.")
    if append_dim is not None and region is not None:
        raise ParameterError(
            "append_dim= and region= exclude each other; expected one: append, or write to what is there."
        )
    part = "append_dim" if append_dim is not None else "region" if region is not None else None
    allowed = {"append_dim": ("a", "a-"), "region": ("r+", "a", "a-"), None: ("w-", "w", "r+")}[part]
    if mode is not None and mode not in allowed:
        raise ParameterError(
            f"mode={mode!r} {f'with {part}' if part else 'without append_dim or region'}; expected one of"
            f" {', '.join(allowed)}."
        )
    if overwrite and (part is not None or mode not in (None, "w")):
        raise ParameterError(f"overwrite=True with {part or f'mode={mode!r}'}; expected one of them.")
    if (overwrite or mode == "w") and resume:
        raise ParameterError("overwrite and resume exclude each other: begin anew, or go on (an overwrite, too).")
    return overwrite or mode == "w", {} if mode == "r+" and region is None else region


def _gather(above: list[Place], *, without: Place | None = None) -> None:
    """Gather the metadata of all groups below some places; if a cube of ours lies there, its header has them, too.

    With ``without`` nothing is gathered, and what was gathered of that group is left out: it is about to be replaced.
    """
    for place in reversed(above):  # each has those of what lies below it
        with store_errors(place, "gathering the metadata of"):
            header = read_header(place)[0]
            if without is None:
                gather(place)
            else:
                leave_out(place, without)
            if header is not None:
                found = {key: (place.get(key) or b"").decode() for key in header.documents if "/" not in key}
                replace(header, documents={**header.documents, **found}).write(place)


def _grown(place: Place, dtype: StoredType | None, inner_chunks: int | None) -> Header | None:
    """Header of the store that a part is written to, whose stored form holds; None if there is no store."""
    if not place.is_taken():
        return None
    if is_first_form(place):
        adopt_first_form(place)
    header = read_header(place)[0]
    if header is None:
        raise StoreError(f"{place.name} holds no ledger; expected a store written by to_zarr. Choose another path.")
    if SETTING in header.settings:
        raise StoreError(
            f"{place.name} has overviews, which a part of it would contradict; expected a store without. Write it anew"
            " with overwrite=True."
        )
    form = header.settings["packing"]
    for name, value in (("dtype", dtype), ("inner_chunks", inner_chunks)):
        if value is not None and value != form[name]:
            raise ParameterError(f"{name}={value!r}, but the store has {form[name]!r}. Leave {name} out.")
    return header


def _write_whole(place: Place, prepared: Prepared, overwrite: bool, how: "_How") -> "_Written":
    """Write a new store, or go on with one."""
    if overwrite and isinstance(place, StoreObject) and place.transactional:
        _require_other_source(place, prepared)
    with store_errors(place, "looking at", remedy=RETRY):
        target = resumed(place) if how.resume else begun_anew(place, overwrite)
        prepared, ledger = continued(target, prepared)
    todo = {part.variable: ledger.undone(part) if how.compute else [] for part in prepared.blocks}
    if not how.force:
        _check_space(prepared, target.place, todo)
    with store_errors(target.place, "beginning", remedy=RETRY):
        header = begin(target, prepared)
    outcomes = write_blocks(prepared, header, ledger, todo, errors=how.errors, progress=how.progress)
    if outcomes.failed and target.replaces is not None and isinstance(target.place, StoreObject):
        _warn_of_lost(target.place, len(outcomes.failed))
    if outcomes.failed:
        return _Written(target.place, ledger, outcomes)
    if target.replaces is not None:  # between two renames readers find no group, and never one for the other
        _gather(how.above, without=target.replaces)
    return _Written(in_place(target), ledger, outcomes)


def _warn_of_lost(place: StoreObject, failed: int) -> None:
    """Warn that a replacement in memory is not kept: nothing lies beside a store object."""
    warnings.warn(
        f"{failed} blocks could not be computed: the {place.name} was not overwritten, and what was computed is lost.",
        XsrWarning,
        stacklevel=4,
    )


def _require_other_source(place: StoreObject, prepared: Prepared) -> None:
    """Refuse to delete what the cube is read from, in the same transaction."""
    if are_read_from([prepared.dataset[name].data for name in prepared.encoding], place.store):
        raise StoreError(
            f"the cube is read from the {place.name} that it is to overwrite; expected another source. Open it from a"
            " session of its own: repo.readonly_session(...)."
        )


def _write_part(
    place: Place,
    header: Header,
    prepared: Prepared,
    append_dim: str | None,
    region: Region,
    how: "_How",
) -> "_Written":
    """Append a cube to a store, or write it to a region."""
    with store_errors(place, "looking at", remedy=RETRY):
        ledger = Ledger.read(place, header.fingerprint, header.blocks)
        if append_dim is not None:
            part = appended(place, header, ledger, prepared, append_dim, resume=how.resume)
        else:
            part = inside(place, header, prepared, region)
        if not part.is_last_of(header):  # of one that was interrupted the documents may be those of before
            require_unchanged(place, header, ledger)
        template = extended(place, header, part)
    with store_errors(place, "beginning a part of"):
        ledger = publish(template, header, ledger, part, resume=how.resume)
    _gather(how.above)  # readers know that it is not complete before any block is replaced
    header = template.header
    todo = part.undone(header, ledger) if how.compute else {name: [] for name in header.arrays}
    writers = part.writers(header, place)
    if not how.force:
        _check_space(prepared, place, todo)
    arrays = {name: prepared.dataset[name].data for name in writers}
    outcomes = compute_blocks(writers, arrays, ledger, todo, errors=how.errors, progress=how.progress)
    finish(place, header, ledger, outcomes.failed)
    return _Written(place, ledger, outcomes)


def _check_space(prepared: Prepared, place: Place, todo: Mapping[str, Collection[Index]]) -> None:
    """Compare what will be written with the free space: warn if only compression can make it fit, refuse if not even.

    Raises
    ------
    StoreError
        If a tenth of the uncompressed size does not fit.
    """
    free = place.free_bytes()
    if free is None:
        return
    needed = 0
    for name, writer in prepared.writers(place).items():
        pixels = sum(math.prod(s.stop - s.start for s in writer.blocks.region(index)) for index in todo[name])
        needed += pixels * np.dtype(writer.encode.dtype).itemsize
    need = f"{place.path} needs {_size(needed)} before compression; {_size(free)} are free"
    if needed > free * SQUEEZE:
        raise StoreError(
            f"{need}. Free space, choose another disk, or pass force=True (--force) to begin all the same."
        )
    if needed > free:
        warnings.warn(f"{need}. If the disk fills up, free space and go on with resume=True.", XsrWarning, stacklevel=3)


def _size(count: int) -> str:
    power = min(max(len(str(count)) - 1, 0) // 3, 4)
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
