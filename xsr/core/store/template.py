"""What a store holds before its first block: metadata, coordinates and a header with the settings."""

import hashlib
import json
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
from odc.geo.xr import spatial_dims, xr_coords  # registers the .odc accessor, too

from xsr._version import __version__
from xsr.core import checks, graph
from xsr.core.crs import warn_of_others
from xsr.core.errors import CubeError, GridError, ParameterError, StoreError
from xsr.core.georeference import REGISTRATION, Georeference, geobox_of, georeference
from xsr.core.grid import crs_name
from xsr.core.names import check_container
from xsr.core.packing import FILL, Encoder, StoredType, packing_of
from xsr.core.store.block import BlockWriter
from xsr.core.store.cf import counted, form_of_times, settled
from xsr.core.store.conventions import grid_attributes, pyramid_attributes
from xsr.core.store.halving import Halving
from xsr.core.store.header import Header, fingerprint
from xsr.core.store.identity import changes, identity
from xsr.core.store.ledger import Blocks
from xsr.core.store.objects import StoreObject, new_memory
from xsr.core.store.overviews import SETTING, Level, count_for, levels_of, method_of, path_of
from xsr.core.store.place import RETRY, Place, reason
from xsr.core.store.plain import plain
from xsr.core.types import XarrayObject

CF = "CF-1.11"
"""Conventions that the attributes follow."""
GROWTH = 1024
"""Values in a chunk of a coordinate along a dimension that may grow."""
COMMAND = "xsr_command"
"""Attribute with the arguments of the command that made a cube, as JSON: enough to make it again."""
GATHERED = ("zarr.json", ".zmetadata")
"""Documents at the root that may hold the metadata of all groups and arrays."""
NUMBERS = "biufcmM"
"""Kinds of types that blocks are stored in, dates and durations as integers."""


@dataclass(frozen=True)
class Prepared:
    """A cube as it will be stored."""

    dataset: xr.Dataset
    encoding: dict[Hashable, dict[str, Any]]
    """Zarr encoding of every variable that is written block by block."""
    encoders: dict[Hashable, Encoder]
    """Stored form of the blocks of these variables."""
    zarr_format: Literal[2, 3]
    settings: dict[str, Any]
    """Everything that decides what the store holds; see `settings_of`."""
    grows: str | None = None
    """Dimension along which the store may grow."""
    levels: tuple[Level, ...] = ()
    """Overviews; with them every level is a group of the store."""

    @property
    def fingerprint(self) -> str:
        """Hash of the settings."""
        return fingerprint(self.settings)

    @property
    def blocks(self) -> list[Blocks]:
        """Blocks of every variable, those of the image first."""
        return [part for stage in self.stages for part in stage]

    @property
    def stages(self) -> list[list[Blocks]]:
        """Blocks of every level, each of which is made of the one before it."""
        datasets = [self.dataset, *(level.dataset for level in self.levels)]
        return [
            [Blocks(self.path(name, number), one[name].chunks or ()) for name in self.encoding]
            for number, one in enumerate(datasets)
        ]

    def path(self, name: Hashable, level: int = 0) -> str:
        """Name of a variable in the store."""
        return path_of(level, name) if self.levels else str(name)

    def sources(self, place: Place) -> dict[str, Any]:
        """Dask array of every variable in the store: of an overview, made of what lies there by then."""
        found = {self.path(name): self.dataset[name].data for name in self.encoding}
        for stage in self.stages[1:]:
            for part in stage:
                halving = self.halving(place, part)
                token = (self.fingerprint, place, part.variable)
                dtype = self.dataset[part.variable.partition("/")[2]].dtype
                found[part.variable] = graph.numbered(halving, part.sizes, dtype, token=token)
        return found

    def halving(self, place: Place, part: Blocks) -> Halving:
        """Find how the blocks of an overview are made."""
        level, _, name = part.variable.partition("/")
        variable, encoder = self.dataset[name], self.encoders[name]
        axes = tuple(variable.dims.index(dim) for dim in self.dataset.odc.spatial_dims)
        fill = variable.attrs.get("_FillValue") if variable.dtype.kind in "iu" else None
        source = self.path(name, int(level) - 1)
        method = method_of(name, variable)
        return Halving(place, self.fingerprint, source, part, axes, method, encoder.packing, fill)

    @property
    def arrays(self) -> dict[str, dict[str, list[int]]]:
        """Shape of every variable and of its blocks, as the header of a store keeps them."""
        return {part.variable: shapes_of(part) for part in self.blocks}

    @property
    def images(self) -> list[str]:
        """Variables that hold images, not classes or masks beside them."""
        kinds = {name: self.dataset[name].dtype.kind for name in self.encoding if name in self.dataset.data_vars}
        return [self.path(n) for n, kind in kinds.items() if kind == "f"] or [self.path(n) for n in kinds]

    def writers(self, place: Place) -> dict[str, BlockWriter]:
        """Writer of every variable."""
        return {
            blocks.variable: BlockWriter(place, self.fingerprint, blocks, encoder, self.zarr_format)
            for stage in self.stages
            for blocks, encoder in zip(stage, self.encoders.values(), strict=True)
        }


def prepare(
    cube: XarrayObject,
    *,
    dtype: StoredType | None = None,
    zarr_format: Literal[2, 3] = 3,
    inner_chunks: int | None = None,
    input_id: str | None = None,
    allow_clipping: bool = False,
    grows: str | None = None,
    blocks: Mapping[str, Sequence[int]] | None = None,
    overviews: bool | int = False,
) -> Prepared:
    """Decide how a cube is stored; nothing is computed.

    Along ``grows``, a dimension, coordinates have chunks of `GROWTH` values, which stay as they are when it grows.
    NumPy-backed variables take the chunks of ``blocks``, by their names. ``overviews`` is the number of levels, each of
    half the resolution of the one before; True makes so many that the last has at most 256 pixels a side.

    Raises
    ------
    ParameterError
        If the packing or the format is unknown, ``inner_chunks`` is no number of pixels, or the image has not enough
        pixels for its ``overviews``.
    CubeError
        If the cube is no object of xarray, or a variable has no stored form.
    StoreError
        If the chunks of the cube cannot be whole Zarr chunks.
    """
    if dtype is not None and dtype not in get_args(StoredType):
        raise ParameterError(f"dtype={dtype!r}; expected 'float32', 'uint16', or None for the type of each variable.")
    if zarr_format not in (2, 3) or (zarr_format == 2 and inner_chunks is not None):
        raise ParameterError(f"zarr_format={zarr_format} with inner_chunks={inner_chunks}; format 2 has no shards.")
    if inner_chunks is not None:
        inner_chunks = checks.whole("inner_chunks", inner_chunks, least=1, what="a number of pixels")
    dataset = _as_dataset(cube, blocks or {})
    names = _blockwise(dataset)
    encoders = {name: _encoder(dataset, name, dtype, allow_clipping) for name in names}
    encoding = {
        name: _encoding(dataset[name], inner_chunks, zarr_format) | _numbers(encoder)
        for name, encoder in encoders.items()
    }
    floats = {str(variable.dtype) for variable in dataset.data_vars.values() if variable.dtype.kind == "f"}
    named = "float32" if dtype is None and floats <= {"float32"} else dtype
    packing = {"dtype": named, "zarr_format": zarr_format, "inner_chunks": inner_chunks}
    settings = settings_of(dataset, encoders, packing, input_id)
    count = count_for(dataset, overviews)
    if count:
        settings[SETTING] = count
    return Prepared(dataset, encoding, encoders, zarr_format, settings, grows, levels_of(dataset, names, count))


def _encoder(dataset: xr.Dataset, name: Hashable, dtype: StoredType | None, allow_clipping: bool) -> Encoder:
    """Choose the stored form of a variable: floating data take the given type, all else keeps its own."""
    variable = dataset[name]
    if variable.dtype.kind not in "biufc":
        raise CubeError(
            f"{name!r} over {variable.dims} is of type {variable.dtype}; expected numbers, booleans or dates. Convert"
            f" it, text to integers with the CF attributes flag_values and flag_meanings, or leave it out with"
            f" .drop_vars({name!r})."
        )
    if dtype is None or variable.dtype.kind != "f" or name in dataset.coords:
        return Encoder(str(name), str(variable.dtype.newbyteorder("=")))
    packing = packing_of(str(name), variable.attrs) if dtype == "uint16" else None
    return Encoder(str(name), dtype, packing, allow_clipping)


def _numbers(encoder: Encoder) -> dict[str, Any]:
    """Zarr encoding of the numbers that an encoder makes."""
    dtype, packing = np.dtype(encoder.dtype), encoder.packing
    if packing is not None:
        return {"dtype": str(dtype), "scale_factor": packing.scale, "add_offset": packing.offset, "_FillValue": FILL}
    return {"dtype": str(dtype)} | ({"_FillValue": dtype.type(np.nan)} if dtype.kind == "f" else {})


def _blockwise(dataset: xr.Dataset) -> list[Hashable]:
    """Variables that are written block by block: what lies over y and x, of coordinates only what is not in memory.

    Without Dask, too, a coordinate may be one that xarray reads where its values are used.
    """
    spatial = set(dataset.odc.spatial_dims)
    over = {name: v for name, v in dataset.variables.items() if spatial <= set(v.dims)}
    beside = {n: v for n, v in over.items() if n in dataset.coords and n not in dataset.xindexes}
    unread = [n for n, v in beside.items() if not v._in_memory and (v.chunks is not None or v.dtype.kind in NUMBERS)]
    return [name for name in over if name in dataset.data_vars] + unread


def settings_of(
    dataset: xr.Dataset, encoders: Mapping[Hashable, Encoder], packing: Mapping[str, Any], input_id: str | None
) -> dict[str, Any]:
    """Everything that decides what a store holds, as plain JSON: a store is continued with the same settings only."""
    geobox = geobox_of(dataset)
    assert geobox is not None
    assert geobox.crs is not None
    settings = {
        "version": __version__,
        "variables": {str(n): [dataset[n].shape, [len(c) for c in dataset[n].chunks or ()]] for n in encoders},
        "grid": list(geobox.affine)[:6],
        "crs": crs_name(geobox),
        "provenance": {k: v for k, v in dataset.attrs.items() if str(k).startswith("xsr_") and k != COMMAND},
        "command": json.loads(dataset.attrs.get(COMMAND, "{}")),
        "encoding": {str(n): str(encoder) for n, encoder in encoders.items()},
        "packing": dict(packing),
        "input": identity(dataset, encoders) if input_id is None else {"id": input_id},
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return plain


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name every field in which two settings differ."""
    found: list[str] = []
    for key in dict.fromkeys([*old, *new]):
        one, two = old.get(key), new.get(key)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            found += differences(one, two, f"{prefix}{key}.")
        elif one != two:
            of = f" (of the model {new['xsr_model']!r})" if key == "xsr_weights_sha256" and "xsr_model" in new else ""
            found.append(f"{prefix}{key} was {one!r} and is {two!r}{of}")
    return found


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Say in what the settings of two cubes differ, but for more that one states of the same input."""
    return changes(old["input"], new["input"]) + differences({**old, "input": None}, {**new, "input": None})


def as_begun(prepared: Prepared, old: Mapping[str, Any], path: str) -> Prepared:
    """Go on with a store that was begun, in its settings: those of the cube may state more of the same input.

    Raises
    ------
    StoreError
        If the settings differ, so that blocks of one cube would get into the store of another; says how.
    """
    found = changed_settings(old, prepared.settings)
    if found:
        named = [text for text in found if not text.startswith("input.graph")] or found  # which changes with all else
        raise StoreError(
            f"{path} was begun with other settings: {'; '.join(named)}. Give the same cube and settings, or begin anew"
            " with overwrite=True."
        )
    return replace(prepared, settings=dict(old))


@dataclass(frozen=True)
class Template:
    """What a store holds before its first block."""

    header: Header
    objects: dict[str, bytes]
    """All metadata documents, and the objects of the arrays that are not written block by block."""

    @property
    def order(self) -> list[str]:
        """Keys in the order of writing: documents at the root last, of them the one that makes it a group."""
        return sorted(self.objects, key=lambda key: ("/" not in key, not is_document(key), key == ".zgroup", key))

    def write(self, place: Place) -> None:
        """Write the header, then everything else in its order."""
        self.header.write(place)
        for key in self.order:
            place.put(key, self.objects[key])


def template_of(prepared: Prepared, *, gathered: bool = True) -> Template:
    """Build the template of a store in memory; lazy variables that are not written block by block are computed.

    Parameters
    ----------
    prepared
        The cube.
    gathered
        Whether the metadata are gathered at the root.

    Raises
    ------
    StoreError
        If Zarr cannot hold a variable; it is named.
    """
    memory = new_memory()
    if prepared.levels:
        _write_root(prepared, memory)
        _write_level(prepared, memory.inside("0"), prepared.dataset)
    else:
        _write_level(prepared, memory, prepared.dataset)
    for level in prepared.levels:
        _write_level(prepared, memory.inside(str(level.number)), level.dataset, made=True)
    set_state(
        memory, {"version": __version__, "fingerprint": prepared.fingerprint, "complete": False}, gathered=gathered
    )
    objects = {key: memory.get(key) or b"" for key in memory.keys()}
    documents = {key: content.decode() for key, content in objects.items() if is_document(key)}
    return Template(Header(prepared.settings, prepared.arrays, documents, digests_of(objects)), objects)


def _write_root(prepared: Prepared, memory: StoreObject) -> None:
    """Write the group that holds the levels: what they have in common, and how they lie to each other."""
    dataset = prepared.dataset
    root = xr.Dataset(coords={"spatial_ref": dataset["spatial_ref"]}, attrs=dataset.attrs)
    root.to_zarr(memory.store, mode="w", zarr_format=prepared.zarr_format, consolidated=False)
    methods = {method_of(name, dataset[name]) for name in prepared.encoding}
    method = "average" if "average" in methods else "mode"
    boxes = [_box(dataset), *(level.box for level in prepared.levels)]
    made: list[str | None] = [None, *[method] * len(prepared.levels)]
    memory.open().attrs.update({**pyramid_attributes(boxes, made), "Conventions": CF})


def _write_level(prepared: Prepared, memory: StoreObject, dataset: xr.Dataset, *, made: bool = False) -> None:
    """Write metadata and coordinates of one level into memory; the only one is the store itself."""
    names = list(prepared.encoding)
    empty = loaded(dataset, names, prepared.grows)
    inner = prepared.settings["packing"]["inner_chunks"]
    encoding = {
        name: _encoding(dataset[name], inner, prepared.zarr_format) | _numbers(encoder)
        for name, encoder in prepared.encoders.items()
    }
    _write_empty(prepared, memory, fixed_width(empty) if prepared.zarr_format == 2 else empty, encoding)
    group, geobox = memory.open(), _box(dataset)
    for name in set(names) & set(dataset.data_vars):
        attrs = group[str(name)].attrs
        listed = dict.fromkeys([*str(attrs.get("coordinates", "")).split(), "spatial_ref"])
        crs: dict[str, Any] = {"wkt": geobox.crs.to_wkt()}
        if geobox.crs.epsg:
            crs["url"] = _epsg_url(geobox.crs.epsg)
        attrs.update({"grid_mapping": "spatial_ref", "coordinates": " ".join(listed), "_CRS": crs})
        if made:
            attrs["resampling_method"] = method_of(name, dataset[name])
    group.attrs.update({**grid_attributes(geobox), "Conventions": CF})


def _box(dataset: xr.Dataset) -> Any:
    geobox = geobox_of(dataset)
    assert geobox is not None
    assert geobox.crs is not None
    return geobox


def digests_of(objects: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of the objects that are no documents."""
    return {key: hashlib.sha256(one).hexdigest() for key, one in objects.items() if not is_document(key)}


def shapes_of(blocks: Blocks) -> dict[str, list[int]]:
    """Shape of a variable and of its blocks."""
    sizes = blocks.sizes
    return {"shape": [sum(one) for one in sizes], "block": [one[0] for one in sizes]}


def is_document(key: str) -> bool:
    """Whether an object is a metadata document."""
    return key.rpartition("/")[2] in ("zarr.json", ".zgroup", ".zattrs", ".zarray", ".zmetadata")


def set_state(memory: Place, state: Mapping[str, Any], *, gathered: bool) -> None:
    """Write the root attribute ``xsr``, and gather the metadata; those of groups that lie elsewhere are kept."""
    before = _gathered(memory)
    memory.open().attrs["xsr"] = dict(state)
    if not gathered:
        return
    gather(memory)
    for key, listed in _gathered(memory).items():
        others = {name: one for name, one in before.get(key, {}).items() if name not in listed}
        if others:
            whole = json.loads(memory.get(key) or b"")
            _list_of(whole).update(others)
            memory.put(key, json.dumps(whole, indent=2).encode())


def is_gathered(documents: Mapping[str, str]) -> bool:
    """Whether documents of a store hold the gathered metadata."""
    return any(_list_of(json.loads(documents.get(key, "{}"))) for key in GATHERED)


def _gathered(memory: Place) -> dict[str, dict[str, Any]]:
    """Gathered metadata by name, of every document at the root that has some."""
    found = {key: json.loads(memory.get(key) or b"{}") for key in GATHERED}
    return {key: listed for key, document in found.items() if (listed := _list_of(document))}


def _list_of(document: dict[str, Any]) -> dict[str, Any]:
    """Gathered metadata in a document of format 3 or 2."""
    listed: dict[str, Any] = (document.get("consolidated_metadata") or document).get("metadata", {})
    return listed


def gather(place: Place) -> None:
    """Write the metadata of all groups and arrays to the root of a store, where its readers look first."""
    import zarr

    if not place.gathers:
        return
    with warnings.catch_warnings():  # format 3 does not specify consolidated metadata yet; xarray wants it
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        # What a writer of a group was killed over lies beside it until it goes on.
        warnings.filterwarnings("ignore", message="Object at .* is not recognized")
        group = place.open()
        zarr.consolidate_metadata(group.store, path=group.path)


def leave_out(place: Place, group: Place) -> None:
    """Leave a group below a place, and all in it, out of the metadata that are gathered there."""
    name = group.path.removeprefix(place.path.rstrip("/")).strip("/")
    for key in ("zarr.json", ".zmetadata"):
        document = json.loads(place.get(key) or b"null") or {}
        listed = (document if key == ".zmetadata" else document.get("consolidated_metadata") or {}).get("metadata", {})
        kept = {one: text for one, text in listed.items() if one != name and not one.startswith(f"{name}/")}
        if len(kept) < len(listed):
            listed.clear()
            listed.update(kept)
            place.put(key, json.dumps(document).encode())


def with_state(documents: Mapping[str, str], state: Mapping[str, Any]) -> dict[str, str]:
    """Metadata documents of a store in another state."""
    memory = new_memory()
    for key, text in documents.items():
        memory.put(key, text.encode())
    set_state(memory, state, gathered=is_gathered(documents))
    return {key: (memory.get(key) or b"").decode() for key in memory.keys()}


def _write_empty(prepared: Prepared, place: StoreObject, template: xr.Dataset, encoding: dict[Hashable, Any]) -> None:
    """Write metadata and what lies beside the bands; a variable that Zarr refuses is named."""
    try:
        template.to_zarr(
            place.store,
            mode="w",
            group=place.prefix.rstrip("/") or None,
            compute=False,
            encoding=encoding,
            zarr_format=prepared.zarr_format,
            consolidated=False,
        )
    except (TypeError, ValueError, NotImplementedError) as error:
        raise _naming(error, template, list(prepared.encoding), prepared.zarr_format) from error


def _naming(error: Exception, template: xr.Dataset, names: list[Hashable], zarr_format: Literal[2, 3]) -> Exception:
    """Name the variable beside the bands that Zarr refused; the error itself where it was none of them."""
    from zarr.storage import MemoryStore

    for name in set(template.variables) - set(names):
        alone = xr.Dataset({"variable": template[name].variable.to_base_variable()})
        try:
            alone.to_zarr(MemoryStore(), consolidated=False, zarr_format=zarr_format)
        except (TypeError, ValueError, NotImplementedError) as cause:
            return StoreError(
                f"{name!r} of type {template[name].dtype} cannot be written: {reason(cause)}. Convert it, or leave"
                f" it out with .drop_vars({name!r}). {RETRY}"
            )
    return error


def loaded(dataset: xr.Dataset, names: list[Hashable], grows: str | None = None) -> xr.Dataset:
    """Compute what is not written block by block, and choose its stored form: that of times takes any other time."""
    template = dataset.copy()
    lazy = graph.loaded({n: v for n, v in dataset.variables.items() if n not in names and v.chunks is not None})
    template = template.assign({n: v for n, v in lazy.items() if n in dataset.data_vars})
    template = template.assign_coords({n: v for n, v in lazy.items() if n in dataset.coords})
    for name in set(template.variables) - set(names):
        form = form_of_times(template[name].variable)
        if grows in template[name].dims:
            form["chunks"] = tuple(GROWTH if dim == grows else n for dim, n in template[name].sizes.items())
        template[name].encoding = form
    stale = ("grid_mapping", "coordinates", "xsr")
    for name in names:
        old = template.variables[name]
        attrs = {k: v for k, v in old.attrs.items() if k not in stale}
        empty = xr.Variable(old.dims, graph.placeholder(old.shape, old.dtype), attrs)
        template = template.assign_coords({name: empty}) if name in template.coords else template.assign({name: empty})
    return template


def fixed_width(template: xr.Dataset) -> xr.Dataset:
    """Store text as characters of one width, which GDAL reads; but not along time, where longer ones may be appended.

    Format 3 specifies no such type: text there is of any length.
    """
    held = {name: one for name, one in template.variables.items() if one.dtype.kind == "O" and "time" not in one.dims}
    text = {name: one.astype(str) for name, one in held.items() if all(type(v) is str for v in one.values.ravel())}
    return template.assign_coords({name: one for name, one in text.items() if name in template.coords}).assign(
        {name: one for name, one in text.items() if name not in template.coords}
    )


def _epsg_url(epsg: int) -> str:
    return f"http://www.opengis.net/def/crs/EPSG/0/{epsg}"


def _as_dataset(cube: XarrayObject, blocks: Mapping[str, Sequence[int]]) -> xr.Dataset:
    """Dataset with Dask arrays, spatial_ref as a coordinate and plain string labels."""
    check_container(cube)
    read = _read(cube)
    if isinstance(cube, xr.DataArray):
        attrs = cube.attrs
        cube = cube.rename("reflectance" if cube.name is None else cube.name).to_dataset().assign_attrs(attrs)
    cube = plain(_placed(cube, read))
    spatial = set(cube.odc.spatial_dims)
    for name in _blockwise(cube):
        block = blocks.get(str(name))
        chunked = counted(_chunked(cube[name], spatial, deep=1 if name in cube.coords else -1, block=block))
        cube = cube.assign_coords({name: chunked}) if name in cube.coords else cube.assign({name: chunked})
    cube = settled(cube)
    labels = {n: c.astype(object) for n, c in cube.coords.items() if c.dtype.kind in "UT"}
    return cube.assign_coords(labels)


def _read(cube: XarrayObject) -> Georeference:
    """Grid and CRS of a cube, both of which a store must have."""
    dims = spatial_dims(cube, relaxed=True)
    if dims is None:
        raise StoreError("the cube has no grid or CRS; expected a georeferenced cube. Use .odc.assign_crs(...).")
    try:
        read = georeference(cube, dims)
    except GridError as error:
        raise StoreError(f"the cube has no grid or CRS to be stored with: {error}") from error
    if read.geobox.crs is None:
        raise StoreError("the cube has no grid or CRS; expected a georeferenced cube. Use .odc.assign_crs(...).")
    warn_of_others(cube, dims, read.geobox)
    return read


def _placed(cube: xr.Dataset, read: Georeference) -> xr.Dataset:
    """Write the grid into a Dataset: one spatial_ref with its transform, and coordinates of the pixel centres."""
    dims = cube.odc.spatial_dims
    # A cropped cube carries the GeoTransform of the whole, and one without spatial_ref would name what is not there.
    grid = xr_coords(read.geobox, dims=dims)
    cube = cube.assign_coords(spatial_ref=grid["spatial_ref"])
    if read.moved is None and set(dims) <= set(cube.coords):
        return cube
    moved = {} if read.moved is None else {REGISTRATION: read.moved}
    cube = cube.drop_vars(list(dims), errors="ignore").assign_coords({dim: grid[dim] for dim in dims})
    return cube.assign_attrs(moved)


def _chunked(variable: xr.DataArray, spatial: set[Hashable], *, deep: int, block: Sequence[int] | None) -> xr.DataArray:
    """Give a variable without chunks some: those of a block, or ``deep`` along other axes than the spatial ones.

    Uneven ones along other axes become single.
    """
    if variable.chunks is None and block is not None and len(block) == variable.ndim:
        return variable.chunk(dict(zip(variable.dims, block, strict=True)))
    if variable.chunks is None:
        return variable.chunk({dim: 1024 if dim in spatial else deep for dim in variable.dims})
    sizes = zip(variable.dims, variable.chunks, strict=True)
    uneven = [dim for dim, chunks in sizes if dim not in spatial and not _even(chunks)]
    return variable.chunk(dict.fromkeys(uneven, 1)) if uneven else variable


def _even(chunks: tuple[int, ...]) -> bool:
    """Whether chunks are equal, but for a last one that may be smaller."""
    return len(set(chunks[:-1])) <= 1 and chunks[-1] <= chunks[0]


def _encoding(variable: xr.DataArray, inner: int | None, zarr_format: int) -> dict[str, Any]:
    """Zarr encoding in which every Dask chunk is one whole chunk or shard."""
    from zarr.codecs import Crc32cCodec, ZstdCodec

    assert variable.chunks is not None
    block = []
    for dim, sizes in zip(variable.dims, variable.chunks, strict=True):
        if not _even(sizes):
            raise StoreError(
                f"{variable.name!r} has chunks {sizes} along {dim!r}; expected equal chunks and a last one not larger."
                f" Rechunk: .chunk({{{dim!r}: {max(sizes)}}})."
            )
        block.append(sizes[0])
    encoding: dict[str, Any] = {"chunks": tuple(block)}
    if inner is not None:
        spatial = variable.odc.spatial_dims
        sides = zip(variable.dims, block, strict=True)
        shard = [n if dim not in spatial else -(-n // inner) * inner for dim, n in sides]
        split = [s != n and len(c) > 1 for s, n, c in zip(shard, block, variable.chunks, strict=True)]
        if any(split):
            raise StoreError(f"inner_chunks={inner} does not divide the blocks {tuple(block)}; choose a divisor.")
        chunk = tuple(inner if dim in spatial else 1 for dim in variable.dims)
        encoding = {"shards": tuple(shard), "chunks": chunk}
    if zarr_format == 3:
        encoding["compressors"] = [ZstdCodec(level=3), Crc32cCodec()]
    else:
        import numcodecs

        encoding["compressors"] = [numcodecs.Zstd(level=3, checksum=True)]
    return encoding
