"""Writing a cube to Zarr: template first, then whole blocks, each checked and recorded.

The store is an ordinary Zarr group that xarray opens. Every Dask chunk becomes one whole Zarr chunk (or one whole shard
of smaller chunks) written by one task, so that no two tasks ever touch the same object. Beside the variables a group
``_xsr`` holds the ledger: one row per block, written after the block itself. The root attribute ``xsr`` turns
``complete`` last. A run that was interrupted goes on from the ledger.
"""

import math
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xsr.core.errors import ParameterError, StoreError, XsrWarning
from xsr.core.radiometry import warn_of_clipping
from xsr.core.store.ledger import CLIPPED, LEDGER, VALID, BadBlock, Index, read_ledger
from xsr.core.store.lock import locked
from xsr.core.store.place import RETRY, Place, resolve_place, store_errors
from xsr.core.store.template import Packing, Prepared, prepare, require_same, write_template
from xsr.core.store.writing import Errors, check_errors, undone, write_blocks
from xsr.core.types import XarrayObject

SQUEEZE = 10
"""Most by which compression is assumed to shrink a store, for the check of free space."""


@dataclass(frozen=True)
class StoreReport:
    """What was written."""

    path: str
    blocks: int
    """Blocks of the store."""
    valid: int
    """Pixels with a value."""
    clipped: int
    """Pixels outside the range of the packing, moved to its limits."""
    computed: int
    """Blocks computed by this run; the others were there."""
    quarantined: tuple[BadBlock, ...] = ()
    """Blocks that could not be computed and hold the fill value, with the reason."""


@dataclass(frozen=True)
class _Target:
    """Where blocks are written."""

    place: Place
    begun: bool
    """Whether the template and some blocks are there."""
    replaces: Place | None = None
    """Store that the finished one takes the place of."""


def to_zarr(
    cube: XarrayObject,
    path: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    errors: Errors = "raise",
    force: bool = False,
    inner_chunks: int | None = None,
    dtype: Packing = "float32",
    zarr_format: Literal[2, 3] = 3,
    storage_options: Mapping[str, Any] | None = None,
    input_id: str | None = None,
    progress: bool = True,
) -> StoreReport:
    """Write a cube to a Zarr store, block by block.

    Parameters
    ----------
    cube
        Georeferenced DataArray or Dataset; lazy ones are computed block by block, on the active Dask scheduler or
        cluster.
    path
        Folder or URL of the store.
    overwrite
        Replace an existing store; refused by default. A local store is replaced once the new one is complete, so that
        a cube may be written over the store it is read from, and a failed run leaves the old one.
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
        Side in pixels of the Zarr chunks inside each block; blocks become shards. None makes one chunk a block.
    dtype
        Of floating variables: ``float32`` with NaN, or ``uint16`` (scale 1e-4, offset -0.1, fill 0), which clips and
        counts. Integer and boolean variables keep their type.
    zarr_format
        3, with crc32c on every chunk; or 2, with the checksum of zstd, for GDAL before 3.12 (it reads no format 3).
    storage_options
        Options of fsspec where the path is a URL, for instance ``{"endpoint_url": ...}`` for ``s3://``.
    input_id
        Name of the input for ``resume``, where the same cube differs every time: signed URLs, for instance. By
        default inputs are identified by the names that Dask gives their layers and by the coordinates.
    progress
        Show a progress bar.

    Returns
    -------
    StoreReport
        Path, number of blocks, valid and clipped pixels, blocks that were quarantined.

    Raises
    ------
    StoreError
        If the store exists, is being written by another, was begun with other settings, or cannot be written; or the
        chunks of the cube cannot be whole Zarr chunks.
    CubeError, GridError
        If the cube has no grid.

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
    if overwrite and resume:
        raise ParameterError("overwrite and resume exclude each other: begin anew, or go on (an overwrite, too).")
    check_errors(errors)
    prepared = prepare(cube, dtype=dtype, zarr_format=zarr_format, inner_chunks=inner_chunks, input_id=input_id)
    place = resolve_place(path, storage_options)
    with locked(place, force=force):
        with store_errors(place, "looking at", remedy=RETRY):
            target = _resumed(place) if resume else _begun_anew(place, overwrite)
        todo = _todo(prepared, target)
        if not force:
            _check_space(prepared, target.place, todo)
        if not target.begun:
            write_template(prepared, target.place)
        outcomes = write_blocks(prepared, target.place, todo, errors=errors, progress=progress)
        if not outcomes.failed:
            target = _in_place(target)
        with store_errors(target.place, "reading the ledger of"):
            ledger = read_ledger(target.place.open("r"))
    bands = [row for name in prepared.images for row in prepared.writers(target.place)[name].blocks.rows]
    valid, clipped = (int(ledger[bands, column].sum()) for column in (VALID, CLIPPED))
    warn_of_clipping(valid, clipped)
    return StoreReport(target.place.path, len(ledger), valid, clipped, outcomes.done, tuple(outcomes.failed))


def _resumed(place: Place) -> _Target:
    """Find what to go on with: an interrupted replacement, an interrupted store, or nothing yet."""
    incoming = place.beside(".incoming")
    if not place.remote and incoming.is_group():
        return _Target(incoming, True, place)
    if not place.is_taken():
        return _Target(place, False)
    if not place.is_group() or LEDGER not in place.open("r"):
        raise StoreError(
            f"{place.path} holds no ledger; expected a store that was begun by to_zarr. Choose another path."
        )
    return _Target(place, True)


def _begun_anew(place: Place, overwrite: bool) -> _Target:
    """Choose where to write: the path itself, or a sibling that takes the place of an existing store in the end."""
    incoming = place.beside(".incoming")
    if not place.is_taken():
        if not place.remote and incoming.is_group():
            raise StoreError(
                f"{incoming.path} is an interrupted replacement of {place.path}. Go on with resume=True, or delete it."
            )
        return _Target(place, False)
    if not overwrite:
        raise StoreError(f"{place.path} exists; expected a new store. Choose another path{_ways_out(place)}.")
    if place.remote:
        return _Target(place, False)
    if not place.is_group():
        raise StoreError(f"{place.path} is not a Zarr group; it is not overwritten. Choose another path.")
    incoming.remove()
    return _Target(incoming, False, place)


def _ways_out(place: Place) -> str:
    unfinished = place.is_group() and place.open("r").attrs.get("xsr", {}).get("complete") is False
    go_on = ", go on with it by resume=True (it is not complete)" if unfinished else ""
    return f"{go_on} or pass overwrite=True"


def _todo(prepared: Prepared, target: _Target) -> dict[str, list[Index]]:
    """Blocks to compute; all of them in a new store."""
    writers = prepared.writers(target.place)
    if not target.begun:
        return {name: list(writer.blocks) for name, writer in writers.items()}
    with store_errors(target.place, "reading the ledger of", remedy=RETRY):
        group = target.place.open("r")
        require_same(group, target.place.path, prepared.settings)
        return undone(writers, read_ledger(group))


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
        needed += pixels * np.dtype(writer.dtype).itemsize
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


def _in_place(target: _Target) -> _Target:
    """Let a finished store take the place of the one it replaces; can be done again if it is interrupted."""
    if target.replaces is None:
        return target
    place, outgoing = target.replaces, target.replaces.beside(".outgoing")
    with store_errors(place, "replacing"):
        if place.is_taken():
            outgoing.remove()
            place.move(outgoing)
        target.place.move(place)
        outgoing.remove()
    return _Target(place, True)
