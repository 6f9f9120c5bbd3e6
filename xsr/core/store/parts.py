"""A cube that is a part of a store: appended along a dimension, or a region of what is there.

The store stays what it is, but for its shape: metadata are extended in memory, the values that the cube brings beside
the images are written there, and what differs then goes to the store, the documents at the root last. Blocks of before
keep their objects and their rows. The header lists every part with its settings, so that each can be continued and
repaired by the cube that it was made of.
"""

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import xarray as xr

from xsr._version import __version__
from xsr.core.errors import ParameterError, StoreError, XsrWarning
from xsr.core.store.block import BlockWriter
from xsr.core.store.cf import CODED
from xsr.core.store.header import Header
from xsr.core.store.ledger import DONE, Blocks, Index, Ledger, row_of
from xsr.core.store.objects import StoreObject, new_memory
from xsr.core.store.place import Place, reason
from xsr.core.store.plain import as_json
from xsr.core.store.template import (
    Prepared,
    Template,
    as_begun,
    changed_settings,
    differences,
    digests_of,
    is_document,
    is_gathered,
    loaded,
    set_state,
)

Region = Mapping[Hashable, slice] | Literal["auto"]
Span = tuple[int, int]
STORED_FORM = ("units", "calendar", "dtype", "scale_factor", "add_offset", "_FillValue")
"""Encoding that decides which numbers stand for values."""


@dataclass(frozen=True)
class Part:
    """Where a cube lies in a store."""

    prepared: Prepared
    spans: dict[str, Span]
    """First pixel and the one after the last, along every dimension that it covers a part of."""
    new: str | None = None
    """Dimension along which it is appended."""

    @property
    def record(self) -> dict[str, Any]:
        """What the header keeps of it."""
        return {"region": {dim: list(span) for dim, span in self.spans.items()}, "settings": self.prepared.settings}

    def is_last_of(self, header: Header) -> bool:
        """Whether a store was last written from this cube."""
        return header.parts[-1:] == (self.record,)

    def writers(self, header: Header, place: Place) -> dict[str, BlockWriter]:
        """Writer of every variable, which numbers blocks as the cube does."""
        whole = {blocks.variable: blocks for blocks in header.blocks}
        return {
            name: replace(writer, blocks=whole[name], fingerprint=header.fingerprint, origin=self._origin(whole[name]))
            for name, writer in self.prepared.writers(place).items()
        }

    def _origin(self, blocks: Blocks) -> Index:
        """Block of the store that the first block of the cube is."""
        if not self.spans:
            return tuple(0 for _ in blocks.sizes)
        starts = [self.spans.get(str(dim), (0, 0))[0] for dim in self.prepared.dataset[blocks.variable].dims]
        return tuple(start // sizes[0] for start, sizes in zip(starts, blocks.sizes, strict=True))

    def holds(self, header: Header, name: str, index: Index) -> Index | None:
        """Block of the cube that a block of the store is; None if it is none, or was written from a later cube."""
        if not header.parts:
            return index
        blocks = next(one for one in header.blocks if one.variable == name)
        dims = [str(dim) for dim in self.prepared.dataset[name].dims]
        pixels = {dim: at.start for dim, at in zip(dims, blocks.region(index), strict=True)}
        owner = next((one for one in reversed(header.parts) if _within(pixels, one["region"])), self.record)
        origin = self._origin(blocks)
        return tuple(n - first for n, first in zip(index, origin, strict=True)) if owner == self.record else None

    def undone(self, header: Header, ledger: Ledger) -> dict[str, list[Index]]:
        """Blocks of the cube that are not done, by their numbers in the cube."""
        writers = self.writers(header, ledger.place)
        return {
            part.variable: [
                index
                for index in part
                if ledger.rows[part.variable][writers[part.variable].row(index)]["status"] != DONE
            ]
            for part in self.prepared.blocks
        }


def appended(place: Place, header: Header, ledger: Ledger, prepared: Prepared, dim: str, *, resume: bool) -> Part:
    """Place a cube behind what a store holds along a dimension.

    Raises
    ------
    StoreError
        If the store is not complete, the cube does not continue it, or the labels are there already.
    """
    last = header.parts[-1] if header.parts else None
    if (
        resume
        and last is not None
        and dim in last["region"]
        and not changed_settings(last["settings"], prepared.settings)
    ):
        start, stop = last["region"][dim]
        return Part(_as(prepared, last), {dim: (start, stop)}, dim)
    if not (header.complete and ledger.complete):
        raise StoreError(
            f"{place.name} is not complete; expected a complete store to append to. Go on with it by resume=True and"
            " the cube it was begun with, or repair it."
        )
    held = held_in(place, header)
    if dim not in held.dims or dim not in prepared.dataset.dims:
        raise ParameterError(
            f"append_dim={dim!r}; expected a dimension of both, of {list(map(str, held.dims))} in the store and"
            f" {list(map(str, prepared.dataset.dims))} in the cube."
        )
    start = held.sizes[dim]
    part = Part(prepared, {dim: (start, start + prepared.dataset.sizes[dim])}, dim)
    _check_alike(place, header, part, held)
    _check_first(place, part, dim)
    _check_new(place, held, prepared.dataset, dim)
    return part


def inside(place: Place, header: Header, prepared: Prepared, region: Region) -> Part:
    """Place a cube in a region of what a store holds.

    Raises
    ------
    ParameterError
        If the region is none of the store, or has not the size of the cube.
    StoreError
        If the cube is not like the store.
    """
    held, dataset = held_in(place, header), prepared.dataset
    slices = _found(held, dataset) if region == "auto" else dict(region)
    spans = {str(dim): _span(held, dataset, dim, slices.get(dim, slice(None))) for dim in (*slices, *dataset.dims)}
    whole = {dim for dim, (start, stop) in spans.items() if (start, stop) == (0, held.sizes[dim])}
    part = Part(prepared, {dim: span for dim, span in spans.items() if dim not in whole})
    last = header.parts[-1] if header.parts else None
    if last is not None and last["region"] == part.record["region"]:
        same = not changed_settings(last["settings"], prepared.settings)
        part = replace(part, prepared=_as(prepared, last)) if same else part
    _check_alike(place, header, part, held)
    return part


def made_of(place: Place, header: Header, prepared: Prepared) -> Part:
    """Find the part of a store that was written from a cube.

    A cube as large as the store, of which none was written, has no blocks of it: only what lies beside the images.

    Raises
    ------
    StoreError
        If no part was, and it is not as large.
    """
    if not header.parts:
        return Part(as_begun(prepared, header.settings, place.path), {})
    own = [one for one in header.parts if not changed_settings(one["settings"], prepared.settings)]
    if not own and prepared.arrays == header.arrays:
        cut = {dim for one in header.parts for dim in one["region"]}
        region = {dim: [0, n] for dim, n in prepared.dataset.sizes.items() if dim in cut}
        own = [{"region": region, "settings": prepared.settings}]
    if not own:
        raise StoreError(
            f"{place.name} was written from {len(header.parts)} cubes, of which this is none; expected one of them,"
            " with the settings it had. Repair it with one after the other."
        )
    return Part(_as(prepared, own[-1]), {dim: (start, stop) for dim, (start, stop) in own[-1]["region"].items()})


def _as(prepared: Prepared, record: Mapping[str, Any]) -> Prepared:
    """Give a cube the settings that it was written with."""
    return replace(prepared, settings=dict(record["settings"]))


def held_in(place: Place, header: Header) -> xr.Dataset:
    """Open what a store holds, lazily; coordinates are read."""
    held: xr.Dataset = xr.open_zarr(_memory(place, header).store, consolidated=False, chunks=None, decode_coords="all")
    return held


def _span(held: xr.Dataset, dataset: xr.Dataset, dim: Hashable, given: slice) -> Span:
    """Bring the region along a dimension to pixels."""
    if dim not in held.dims or dim not in dataset.dims:
        raise ParameterError(f"region names {dim!r}; expected dimensions of store and cube: {list(held.dims)}.")
    start, stop, step = given.indices(held.sizes[dim])
    if step != 1 or stop - start != dataset.sizes[dim]:
        raise ParameterError(
            f"region {given} along {dim!r} has {max(0, stop - start)} of {held.sizes[dim]} pixels and the cube"
            f" {dataset.sizes[dim]}; expected the same number, in steps of 1."
        )
    return start, stop


def _found(held: xr.Dataset, dataset: xr.Dataset) -> dict[Hashable, slice]:
    """Find a cube in a store by the labels of its dimensions."""
    found: dict[Hashable, slice] = {}
    for dim in dataset.dims:
        if dim not in held.indexes or dim not in dataset.indexes:
            continue
        at = held.indexes[dim].get_indexer(dataset.indexes[dim])
        if (at < 0).any() or (np.diff(at) != 1).any():
            raise ParameterError(
                f"region='auto': the labels of {dim!r} are no unbroken part of those in the store. Give the region as"
                " slices, or select what is there."
            )
        found[dim] = slice(int(at[0]), int(at[-1]) + 1)
    return found


def _check_alike(place: Place, header: Header, part: Part, held: xr.Dataset) -> None:
    """Refuse a cube whose variables, grid, labels or blocks are not those of the store."""
    old, new, dataset = header.settings, part.prepared.settings, part.prepared.dataset
    known = [str(name) for name in part.prepared.encoding if name in header.arrays]
    wrong = [f"{name!r} is not in the store" for name in part.prepared.encoding if name not in known]
    if part.new is not None:
        lacking = [name for name in header.arrays if part.new in held[name].dims and name not in known]
        wrong += [f"{name!r} is not in the cube" for name in lacking]
    cut = {str(dim) for dim in dataset.odc.spatial_dims} & set(part.spans)
    for key in ("crs",) if cut else ("crs", "grid"):
        wrong += differences({key: old[key]}, {key: new[key]})
    stored, given = ({name: one["encoding"][name] for name in known} for one in (old, new))
    wrong += differences(stored, given, "encoding.")
    wrong += [f"the labels of {str(dim)!r} are others" for dim in dataset.dims if _other_labels(part, held, str(dim))]
    wrong += differences(*_numbers(place, header, dataset, [n for n in known if dataset[n].dtype.kind in "iu"]))
    sides = {name: header.arrays[name]["block"] for name in known}
    wrong += [text for name in known for text in _wrong_blocks(part, held[name], sides[name])]
    if wrong:
        raise StoreError(
            f"the cube is no part of {place.name}: {'; '.join(wrong)}. Give one of the same variables, grid and blocks."
        )


def _numbers(
    place: Place, header: Header, dataset: xr.Dataset, names: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Find what attributes state of the numbers of integers, in a store and in a cube."""
    raw = xr.open_zarr(_memory(place, header).store, consolidated=False, chunks=None, decode_cf=False)
    stored, given = (
        {name: {key: as_json(one[name].attrs.get(key)) for key in CODED} for name in names} for one in (raw, dataset)
    )
    return stored, given


def _other_labels(part: Part, held: xr.Dataset, dim: str) -> bool:
    """Whether the labels of a dimension in the cube are not those in the store."""
    labels = part.prepared.dataset.indexes
    if dim not in held.indexes or dim not in labels or dim == part.new:
        return False
    there, here = held.indexes[dim][slice(*part.spans.get(dim, (None, None)))], labels[dim]
    if here.dtype.kind == "f" and here.shape == there.shape:  # a grid that was cut is computed anew
        return not np.allclose(here, there, rtol=1e-12)
    return list(map(str, here)) != list(map(str, there))


def _wrong_blocks(part: Part, held: xr.DataArray, block: Sequence[int]) -> list[str]:
    """Say where the blocks of a variable are not whole blocks of the store."""
    name, variable = str(held.name), part.prepared.dataset[held.name]
    if variable.dims != held.dims:
        return [f"{name!r} has the dimensions {variable.dims}, in the store {held.dims}"]
    wrong = []
    for dim, side, sizes in zip(variable.dims, block, variable.chunks or (), strict=True):
        start, stop = part.spans.get(str(dim), (0, held.sizes[dim]))
        last = stop >= held.sizes[dim]
        if start % side:
            wrong.append(f"it begins at {start} along {dim!r}, within a block of {side} of {name!r}")
        elif {*sizes[:-1]} - {side} or sizes[-1] > side or (sizes[-1] < side and not last):
            wrong.append(f"{name!r} has chunks {sizes} along {dim!r}, in the store blocks of {side}")
    return wrong


def _check_first(place: Place, part: Part, dim: str) -> None:
    """Refuse another than the first dimension: rows of the ledger would change their places."""
    for name in part.prepared.encoding:
        dims = part.prepared.dataset[name].dims
        if dims[0] != dim:
            raise StoreError(
                f"append_dim={dim!r} is not the first dimension of {name!r} {dims} in {place.name}; expected the first."
                " Write a new store, transposed."
            )


def _check_new(place: Place, held: xr.Dataset, dataset: xr.Dataset, dim: str) -> None:
    """Refuse labels that the store has."""
    if dim not in held.indexes or dim not in dataset.indexes:
        return
    there = dataset.indexes[dim].isin(held.indexes[dim])
    if there.any():
        raise StoreError(
            f"{place.name} has {dim} {', '.join(map(str, dataset.indexes[dim][there][:3]))} already; expected new"
            " labels. Leave them out, or replace them by region=."
        )
    if held.indexes[dim].is_monotonic_increasing and not dataset.indexes[dim][0] > held.indexes[dim][-1]:
        warnings.warn(
            f"{dim} {dataset.indexes[dim][0]} is appended behind {held.indexes[dim][-1]}: the store is not in order.",
            XsrWarning,
            stacklevel=5,
        )


def extended(place: Place, header: Header, part: Part) -> Template:
    """Build the metadata of a store with a part of its own, and the objects beside the images that change.

    Raises
    ------
    StoreError
        If values of the cube cannot be stored as those of the store are.
    """
    memory, continues = _memory(place, header), part.is_last_of(header)
    if not continues:
        _require_whole(place, header, _objects(memory))
    before = _resize(memory.open(), part)
    _write_beside(memory, part)
    state = {"version": __version__, "fingerprint": header.fingerprint, "complete": False}
    set_state(memory, state, gathered=is_gathered(header.documents))
    objects = _objects(memory)
    if continues:  # the objects may have been those of before
        _require_whole(place, header, objects)
    group = memory.open()
    grown = replace(
        header,
        arrays={name: {**one, "shape": list(group[name].shape)} for name, one in header.arrays.items()},
        documents={key: content.decode() for key, content in objects.items() if is_document(key)},
        objects=digests_of(objects),
        parts=_with_record(header, part, before),
        complete=False,
    )
    return Template(grown, objects)


def _resize(group: Any, part: Part) -> dict[str, int]:
    """Extend all arrays along the dimension that a part is appended along; returns its length before."""
    if part.new is None:
        return {}
    before, stop = 0, part.spans[part.new][1]
    for name, array in list(group.arrays()):
        dims = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS", ())
        if part.new in dims:
            before = array.shape[tuple(dims).index(part.new)]
            group[name].resize(tuple(stop if dim == part.new else n for dim, n in zip(dims, array.shape, strict=True)))
    return {part.new: before}


def _with_record(header: Header, part: Part, before: Mapping[str, int]) -> tuple[dict[str, Any], ...]:
    """Parts of a store; what it was begun with is the first. Those that a new one covers go."""
    first = {"region": {dim: [0, n] for dim, n in before.items()}, "settings": header.settings}
    old = header.parts or (first,)
    kept = [one for one in old if not _covers(part.record["region"], one["region"])]
    return (*kept, part.record)


def _covers(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a region holds all of another."""
    return all(dim in other and span[0] <= other[dim][0] and other[dim][1] <= span[1] for dim, span in one.items())


def _within(pixels: Mapping[str, int], region: Mapping[str, Any]) -> bool:
    """Whether a block lies in a region, by its first pixel."""
    return all(dim in pixels and start <= pixels[dim] < stop for dim, (start, stop) in region.items())


def publish(template: Template, header: Header, ledger: Ledger, part: Part, *, resume: bool) -> Ledger:
    """Give a store its new header, objects and documents; returns the ledger of the store as it is then.

    What is read meanwhile is the store of before: its values stay, and the documents at the root come last. Blocks of
    a part that is not continued count as undone.
    """
    place, grown = ledger.place, template.header
    if part.new is None and not (resume and part.is_last_of(header)):
        for name, writer in part.writers(header, place).items():
            for index in Blocks(name, part.prepared.dataset[name].chunks or ()):
                ledger.record(name, writer.row(index), row_of(0))
        ledger.flush()
    grown.write(place)
    changed = [key for key, content in template.objects.items() if place.get(key) != content]
    for key in sorted(changed, key=lambda key: ("/" not in key, is_document(key) != place.shaped, key)):
        place.put(key, template.objects[key])
    return Ledger.read(place, grown.fingerprint, grown.blocks)


def rebuilt(place: Place, header: Header, part: Part) -> dict[str, bytes]:
    """Objects beside the images of a store, made from those that are whole and from one of its cubes."""
    memory = _memory(place, header)
    for key, digest in digests_of(_objects(memory)).items():
        if digest != header.objects[key]:
            memory.erase(key)
    _write_beside(memory, part, labels=True)
    return _objects(memory)


def _memory(place: Place, header: Header) -> StoreObject:
    """Metadata of a store, as the header has them, and the objects beside the images, as they are, in memory."""
    memory = new_memory()
    for key, text in header.documents.items():
        memory.put(key, text.encode())
    for key in header.objects:
        content = place.get(key)
        if content is not None:
            memory.put(key, content)
    return memory


def _objects(memory: StoreObject) -> dict[str, bytes]:
    return {key: memory.get(key) or b"" for key in memory.keys()}


def _require_whole(place: Place, header: Header, objects: Mapping[str, bytes]) -> None:
    """Refuse to go on with coordinates that are not what was written."""
    found = digests_of(objects)
    wrong = sorted(key for key in header.objects if found.get(key) != header.objects[key])
    if wrong:
        raise StoreError(
            f"{place.name} was changed since it was written: {', '.join(wrong)}. Bring it back by"
            " verify(..., repair=cube) (xsr verify --repair), or begin anew with overwrite=True."
        )


def _write_beside(memory: StoreObject, part: Part, *, labels: bool = False) -> None:
    """Write what a cube brings beside the images, and read it back: the stored form of before may not hold it."""
    beside = _beside(part, labels=labels)
    if not beside.variables:
        return
    try:
        lost = [name for name, one in beside.variables.items() if not _write_one(memory, part, str(name), one)]
    except (TypeError, ValueError, KeyError, NotImplementedError) as error:
        raise StoreError(
            f"{sorted(map(str, beside.variables))} of the cube cannot be stored as in the store: {reason(error)}."
            " Give variables of the same types, or write a new store."
        ) from error
    if lost:
        raise StoreError(
            f"{sorted(map(str, lost))} of the cube cannot be stored as in the store: units and type there are too"
            " coarse. Round the values, or write a new store."
        )


def _write_one(memory: StoreObject, part: Part, name: str, variable: xr.Variable) -> bool:
    """Write the part of a variable; False if its stored form there cannot hold the values."""
    held = xr.open_zarr(memory.store, consolidated=False, chunks=None)[name].encoding
    form = {key: value for key, value in held.items() if key in STORED_FORM}
    at = tuple(slice(*part.spans.get(str(dim), (None, None))) for dim in variable.dims)
    with warnings.catch_warnings():  # of units that are too coarse: others are taken then
        warnings.simplefilter("ignore")
        plain = xr.Variable(variable.dims, variable.values, encoding=form)
        encoded = xr.conventions.encode_cf_variable(plain, name=name)
    if encoded.attrs.get("units") != form.get("units"):
        return False
    memory.open()[name][at] = encoded.values
    return _same(xr.open_zarr(memory.store, consolidated=False, chunks=None).variables[name][at], variable)


def _beside(part: Part, *, labels: bool) -> xr.Dataset:
    """Variables that are not written block by block and lie along a dimension of which a cube is a part."""
    dataset, names = part.prepared.dataset, list(part.prepared.encoding)
    known = set() if labels else set(part.spans) - {part.new}  # labels, which are those of the store
    over = {name for name, v in dataset.variables.items() if set(part.spans) & {str(dim) for dim in v.dims}}
    found = loaded(dataset, names)
    kept = over - set(names) - known
    return found.drop_vars([name for name in found.variables if name not in kept]).drop_attrs()


def _same(found: xr.Variable, given: xr.Variable) -> bool:
    """Whether values were read back as they were given, in whatever type."""
    one, two = found.values, given.values
    if one.dtype.kind in "OTU" or two.dtype.kind in "OTU":
        return one.shape == two.shape and [*map(str, one.ravel())] == [*map(str, two.ravel())]
    return bool(np.array_equal(one, two, equal_nan=one.dtype.kind in "fmM" and two.dtype.kind in "fmM"))
