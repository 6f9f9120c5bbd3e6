"""Writing a cube to Zarr: template first, then whole blocks, each checked and remembered.

The store is an ordinary Zarr group that xarray opens. Every Dask chunk becomes one whole Zarr chunk (or one whole shard
of smaller chunks) written by one task, so that no two tasks ever touch the same object. Beside the variables a group
`LEDGER` holds one row per block, written after the block's bytes are down: an all-NaN block leaves no file, so that a
missing file does not mean an undone block. The root attribute ``xsr`` turns ``complete`` last.
"""

import hashlib
import json
import shutil
import warnings
import zlib
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.xr import xr_coords  # registers the .odc accessor, too

from xsr._version import __version__
from xsr.core import graph
from xsr.core.errors import ParameterError, StoreError
from xsr.core.types import XarrayObject

Packing = Literal["float32", "uint16"]
LEDGER = "_xsr"
"""Name of the group that holds the ledger."""
COLUMNS = ("done", "n_valid", "n_clipped", "crc32")
"""Columns of the ledger; ``crc32`` is that of the block's stored values in C order."""
SCALE_FACTOR, ADD_OFFSET, FILL = 1e-4, -0.1, 0
"""Packing of reflectance into uint16, the one of Sentinel-2 products since baseline 04.00."""
CONVENTIONS = [
    {
        "schema_url": "https://raw.githubusercontent.com/zarr-experimental/geo-proj/refs/tags/v1/schema.json",
        "spec_url": "https://github.com/zarr-experimental/geo-proj/blob/v1/README.md",
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "name": "proj:",
        "description": "Coordinate reference system information for geospatial data",
    },
    {
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "name": "spatial:",
        "description": "Spatial coordinate information",
    },
]


@dataclass(frozen=True)
class StoreReport:
    """What was written."""

    path: str
    blocks: int
    """Blocks written."""
    valid: int
    """Pixels with a value."""
    clipped: int
    """Pixels outside the range of the packing, moved to its limits."""


@dataclass(frozen=True)
class BlockWriter:
    """Writes the blocks of one variable; travels to workers."""

    store: str
    variable: str
    dtype: str
    """Type of the stored numbers."""
    packed: bool
    """Whether reflectance is packed into integers."""
    first: int
    """Ledger row of the variable's first block."""
    starts: tuple[tuple[int, ...], ...]
    """First index of each block along every dimension."""

    def __call__(self, block: NDArray[Any], index: tuple[int, ...]) -> NDArray[np.int64]:
        """Write one block, then its ledger row; returns the row."""
        import zarr

        values, clipped = pack(block) if self.packed else (block.astype(self.dtype, copy=False), 0)
        region = tuple(
            slice(starts[i], starts[i] + size) for starts, i, size in zip(self.starts, index, block.shape, strict=True)
        )
        group = zarr.open_group(self.store, mode="r+", use_consolidated=False)
        _array(group, self.variable)[region] = values
        checksum = zlib.crc32(np.ascontiguousarray(values).tobytes())
        row = np.array([1, int(np.isfinite(block).sum()), clipped, checksum], np.int64)
        number = self.first + int(np.ravel_multi_index(index, tuple(len(s) for s in self.starts)))
        _array(group, f"{LEDGER}/ledger")[number] = row
        return row


def pack(values: NDArray[np.floating[Any]]) -> tuple[NDArray[np.uint16], int]:
    """Pack reflectance into uint16, clipped to the valid range, and count the clipped pixels.

    Encoders wrap silently: -0.2 would become 6.35. NaN becomes the fill value 0, which no value takes.
    """
    finite = np.isfinite(values)
    number = np.rint((np.where(finite, values, 0).astype(np.float64) - ADD_OFFSET) / SCALE_FACTOR)
    clipped = int(((number < 1) | (number > 65535))[finite].sum())
    return np.where(finite, np.clip(number, 1, 65535), FILL).astype(np.uint16), clipped


def to_zarr(
    cube: XarrayObject,
    path: str | Path,
    *,
    overwrite: bool = False,
    inner_chunks: int | None = None,
    dtype: Packing = "float32",
    zarr_format: Literal[2, 3] = 3,
    progress: bool = True,
) -> StoreReport:
    """Write a cube to a new Zarr store, block by block.

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
    inner_chunks
        Side in pixels of the Zarr chunks inside each block; blocks become shards. None makes one chunk a block.
    dtype
        Of floating variables: ``float32`` with NaN, or ``uint16`` (scale 1e-4, offset -0.1, fill 0), which clips and
        counts. Integer and boolean variables keep their type.
    zarr_format
        3, with crc32c on every chunk; or 2, with the checksum of zstd, for GDAL before 3.12 (it reads no format 3).
    progress
        Show a progress bar.

    Returns
    -------
    StoreReport
        Path, number of blocks, valid and clipped pixels.

    Raises
    ------
    StoreError
        If the store exists, or the chunks of the cube cannot be whole Zarr chunks.
    CubeError, GridError
        If the cube has no grid.

    Notes
    -----
    Attributes: the provenance of the operation, CF ``grid_mapping`` and ``spatial_ref``, the GeoZarr conventions
    ``proj:`` and ``spatial:``, and ``_CRS`` for GDAL. ``ds.attrs["xsr"]["complete"]`` is True once everything is down.
    """
    if dtype not in ("float32", "uint16"):
        raise ParameterError(f"dtype={dtype!r}; expected 'float32' or 'uint16'.")
    if zarr_format not in (2, 3) or (zarr_format == 2 and inner_chunks is not None):
        raise ParameterError(f"zarr_format={zarr_format} with inner_chunks={inner_chunks}; format 2 has no shards.")
    dataset = _as_dataset(cube)
    names = [name for name, v in dataset.data_vars.items() if set(dataset.odc.spatial_dims) <= set(v.dims)]
    encoding = {name: _encoding(dataset[name], inner_chunks, dtype, zarr_format) for name in names}
    with _staged(str(path), overwrite) as stage:
        fingerprint = _write_template(dataset, stage, encoding, names, zarr_format)
        records = [
            graph.run_blocks(writer, dataset[name].data) for name, writer in _writers(dataset, stage, encoding).items()
        ]
        rows = np.stack([row.reshape(-1) for row in graph.compute(records, progress=progress)])
        clipped = int(rows[:, COLUMNS.index("n_clipped")].sum())
        _complete(stage, {**_state(fingerprint), "complete": True, "clipped": clipped})
    return StoreReport(str(path), len(rows), int(rows[:, COLUMNS.index("n_valid")].sum()), clipped)


def _complete(store: str, state: dict[str, Any]) -> None:
    """Mark a store as complete and gather its metadata."""
    import zarr

    zarr.open_group(store, mode="r+", use_consolidated=False).attrs["xsr"] = state
    with warnings.catch_warnings():  # format 3 does not specify consolidated metadata yet; xarray reads and wants it
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(store)


def _as_dataset(cube: XarrayObject) -> xr.Dataset:
    """Dataset with Dask arrays, spatial_ref as a coordinate and plain string labels."""
    if isinstance(cube, xr.DataArray):
        attrs = cube.attrs
        cube = cube.rename("reflectance" if cube.name is None else cube.name).to_dataset().assign_attrs(attrs)
    if cube.odc.spatial_dims is None or cube.odc.geobox is None or cube.odc.geobox.crs is None:
        raise StoreError("the cube has no grid or CRS; expected a georeferenced cube. Use .odc.assign_crs(...).")
    # A cropped cube carries the GeoTransform of the whole, and one without spatial_ref would name what is not there.
    cube = cube.assign_coords(spatial_ref=xr_coords(cube.odc.geobox)["spatial_ref"])
    for name, variable in cube.data_vars.items():
        if set(cube.odc.spatial_dims) <= set(variable.dims):
            cube = cube.assign({name: _chunked(variable, set(cube.odc.spatial_dims))})
    labels = {n: c.astype(object) for n, c in cube.coords.items() if c.dtype.kind in "UT"}
    return cube.assign_coords(labels)


def _chunked(variable: xr.DataArray, spatial: set[Hashable]) -> xr.DataArray:
    """Give a NumPy-backed variable chunks, and make uneven chunks of other axes than the spatial ones single."""
    if variable.chunks is None:
        return variable.chunk({dim: 1024 if dim in spatial else -1 for dim in variable.dims})
    sizes = zip(variable.dims, variable.chunks, strict=True)
    uneven = [dim for dim, chunks in sizes if dim not in spatial and not _even(chunks)]
    return variable.chunk(dict.fromkeys(uneven, 1)) if uneven else variable


def _even(chunks: tuple[int, ...]) -> bool:
    """Whether chunks are equal, but for a last one that may be smaller."""
    return len(set(chunks[:-1])) <= 1 and chunks[-1] <= chunks[0]


def _encoding(variable: xr.DataArray, inner: int | None, dtype: Packing, zarr_format: int) -> dict[str, Any]:
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
        if inner < 1:
            raise StoreError(f"inner_chunks={inner}; expected a positive number of pixels.")
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
    if variable.dtype.kind != "f":  # masks, classes and numbers keep their type
        return encoding | {"dtype": str(variable.dtype)}
    packing = {"scale_factor": SCALE_FACTOR, "add_offset": ADD_OFFSET, "_FillValue": FILL}
    return encoding | {"dtype": dtype} | (packing if dtype == "uint16" else {"_FillValue": np.float32(np.nan)})


@contextmanager
def _staged(path: str, overwrite: bool) -> Iterator[str]:
    """Where to write: the path itself, or a sibling that takes the place of an existing store in the end."""
    import zarr
    from zarr.errors import GroupNotFoundError

    local = Path(path)
    exists = "://" not in path and local.exists() and (local.is_file() or any(local.iterdir()))
    if not exists and "://" in path:
        try:
            zarr.open_group(path, mode="r")
            exists = True
        except (FileNotFoundError, GroupNotFoundError):
            exists = False
    if exists and not overwrite:
        raise StoreError(f"{path} exists; expected a new store. Choose another path or pass overwrite=True.")
    if not exists or "://" in path:
        yield path
        return
    if local.is_file() or not any((local / name).exists() for name in ("zarr.json", ".zgroup")):
        raise StoreError(f"{path} is not a Zarr group; it is not overwritten. Choose another path.")
    stage = local.with_name(f"{local.name}.incoming")
    shutil.rmtree(stage, ignore_errors=True)
    try:
        yield str(stage)
        shutil.rmtree(local)
        stage.rename(local)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _write_template(
    dataset: xr.Dataset, path: str, encoding: Mapping[Any, Any], names: list[Hashable], zarr_format: Literal[2, 3]
) -> str:
    """Write metadata, coordinates, attributes and an empty ledger; returns the settings fingerprint."""
    import zarr

    template = dataset.copy()
    lazy = {n: v.compute() for n, v in dataset.variables.items() if n not in names and v.chunks is not None}
    template = template.assign({n: v for n, v in lazy.items() if n in dataset.data_vars})
    template = template.assign_coords({n: v for n, v in lazy.items() if n in dataset.coords})
    for name in set(template.variables) - set(names):
        kept = {k: v for k, v in template[name].encoding.items() if k in ("units", "calendar", "dtype", "_FillValue")}
        template[name].encoding = kept
    for name in names:
        variable = template[name]
        variable.encoding = {}
        variable.attrs = {k: v for k, v in variable.attrs.items() if k not in ("grid_mapping", "coordinates")}
    template.to_zarr(
        path, mode="w", compute=False, encoding=dict(encoding), zarr_format=zarr_format, consolidated=False
    )
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    geobox = dataset.odc.geobox
    for name in names:
        attrs = group[str(name)].attrs
        listed = dict.fromkeys([*str(attrs.get("coordinates", "")).split(), "spatial_ref"])
        crs: dict[str, Any] = {"wkt": geobox.crs.to_wkt()}
        if geobox.crs.epsg:
            crs["url"] = _epsg_url(geobox.crs.epsg)
        attrs.update({"grid_mapping": "spatial_ref", "coordinates": " ".join(listed), "_CRS": crs})
    blocks = [int(np.prod([len(c) for c in dataset[name].chunks or ()])) for name in names]
    settings = {
        "version": __version__,
        "variables": {
            str(n): [list(map(int, dataset[n].shape)), [len(c) for c in dataset[n].chunks or ()]] for n in names
        },
        "grid": list(geobox.affine)[:6],
        "crs": str(geobox.crs),
        "provenance": {k: v for k, v in dataset.attrs.items() if str(k).startswith("xsr_")},
        "encoding": {str(n): str(encoding[n]["dtype"]) for n in names},
    }
    fingerprint = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
    root: dict[str, Any] = {**_geozarr(geobox), "Conventions": "CF-1.11", "xsr": _state(fingerprint)}
    group.attrs.update(root)
    ledger = group.create_group(LEDGER)
    about: dict[str, Any] = {"settings": settings, "columns": list(COLUMNS)}
    ledger.attrs.update(about)
    shape = (sum(blocks), len(COLUMNS))
    ledger.create_array("ledger", shape=shape, chunks=(1, len(COLUMNS)), dtype="int64", fill_value=0)
    return fingerprint


def _state(fingerprint: str) -> dict[str, Any]:
    return {"version": __version__, "fingerprint": fingerprint, "ledger": f"{LEDGER}/ledger", "complete": False}


def _epsg_url(epsg: int) -> str:
    return f"http://www.opengis.net/def/crs/EPSG/0/{epsg}"


def _geozarr(geobox: Any) -> dict[str, Any]:
    """Attributes of the Zarr conventions ``proj:`` and ``spatial:``."""
    box = geobox.boundingbox
    crs = {"proj:code": f"EPSG:{geobox.crs.epsg}"} if geobox.crs.epsg else {"proj:wkt2": geobox.crs.to_wkt()}
    return {
        "zarr_conventions": [dict(convention) for convention in CONVENTIONS],
        **crs,
        "spatial:dimensions": list(geobox.dimensions),
        "spatial:transform": [float(v) for v in list(geobox.affine)[:6]],
        "spatial:shape": [int(n) for n in geobox.shape.yx],
        "spatial:bbox": [float(v) for v in (box.left, box.bottom, box.right, box.top)],
        "spatial:registration": "pixel",
    }


def _writers(
    dataset: xr.Dataset, path: str, encoding: Mapping[Hashable, Mapping[str, Any]]
) -> dict[Hashable, BlockWriter]:
    writers: dict[Hashable, BlockWriter] = {}
    first = 0
    for name, how in encoding.items():
        chunks = dataset[name].chunks or ()
        starts = tuple(tuple(int(n) for n in np.cumsum((0, *sizes[:-1]))) for sizes in chunks)
        writers[name] = BlockWriter(path, str(name), how["dtype"], "scale_factor" in how, first, starts)
        first += len(list(product(*starts)))
    return writers


def _array(group: Any, name: str) -> Any:
    return group[name]
