"""Sentinel-2 products of the EOPF in Zarr, and flat GeoZarr cubes.

The EOPF keeps a product as a tree: ``measurements/reflectance/{r10m,r20m,r60m}/b02 …``, the scene classification under
``conditions/mask/l2a_classification``, STAC metadata in the attributes of the root. Scale and offset stand in the
attributes of each band. Some stores put an overview pyramid below ``r10m``; its level ``0`` is the image.

References
----------
EOPF Product Structure and Format Definition, https://cpm.pages.eopf.copernicus.eu/eopf-cpm/main/PSFD/
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import assign_crs, xr_coords

from xsr.core import grid, sensors
from xsr.core.cube import open_cube
from xsr.core.errors import HarmonisationError, ParameterError, ProductError
from xsr.kernels.resample import METHODS, Method
from xsr.sources import masks
from xsr.sources.files import open_file, zarr_store
from xsr.sources.harmonise import DARKEST, Identity, Statement, check_pixels, parse_baseline, resolve_offset
from xsr.sources.rasters import CHUNK, Packing, decode, join, nearest, to_grid
from xsr.sources.scenes import Scene, choose_bands, stack

REFLECTANCE = "measurements/reflectance"
CLASSIFICATION = "conditions/mask/l2a_classification"
RESOLUTIONS = (10, 20, 60)
SATURATED = 65535.0
"""Digital number of saturation."""
SAMPLE = 1024
"""Side in pixels of the window that the offset is held against."""


def open_eopf(
    path: str | Path | Sequence[str | Path],
    *,
    bands: Sequence[str] | None = None,
    resolution: int | None = None,
    resampling: Method = "bicubic",
    offset: float | None = None,
    mask: bool = False,
    chunks: int = CHUNK,
) -> xr.DataArray:
    """Open Sentinel-2 products of the EOPF, or a flat GeoZarr cube, as one cube of reflectance.

    Parameters
    ----------
    path
        Zarr store, folder or URL; or several products of one tile, one date each.
    bands
        Bands in the order wanted, in any spelling; by default all.
    resolution
        Pixel size of the grid in metres: 10, 20 or 60; by default that of the finest band chosen. A flat cube has one
        grid and takes no resolution.
    resampling
        Kernel that brings coarser bands to the grid; see `xsr.interpolate`. Finer ones are averaged.
    offset
        Offset of the digital numbers, instead of the attributes of the bands; no pixels are checked then.
    mask
        Set clouds, cloud shadows and defects to NaN. They are in the coordinate ``valid`` anyway.
    chunks
        Side of a chunk in pixels.

    Returns
    -------
    DataArray
        Cube (time, band, y, x), float32, lazy; coordinates as of `xsr.open_safe`. A flat cube keeps its own.

    Raises
    ------
    ProductError
        If there is no such store, or it is neither an EOPF product nor a cube.
    HarmonisationError
        If the offset is unknown, or contradicted by the pixels.
    BandError, ParameterError, GridError
        If a band, resolution or option is unknown, or products lie on different grids.
    """
    if resampling not in METHODS:
        raise ParameterError(f"resampling={resampling!r}; expected one of {', '.join(METHODS)}.")
    if resolution is not None and resolution not in RESOLUTIONS:
        raise ParameterError(f"resolution={resolution}; expected one of {RESOLUTIONS} metres.")
    paths = [str(one) for one in ([path] if isinstance(path, str | Path) else path)]
    stores = [_open_store(one) for one in paths]
    if len(stores) == 1 and REFLECTANCE not in stores[0]:
        return _flat(paths[0], bands, resolution=resolution, offset=offset)
    scenes = [
        _scene(one, store, bands, gsd_m=resolution, method=resampling, offset=offset, chunk=chunks)
        for one, store in zip(paths, stores, strict=True)
    ]
    attrs = {"source": "Sentinel-2 EOPF", "units": "1", "long_name": "reflectance"}
    return stack(scenes, name="reflectance", attrs=attrs, mask=mask)


def _open_store(path: str) -> Any:
    import zarr

    try:
        return zarr.open_group(zarr_store(path), mode="r")
    except (OSError, ValueError, KeyError) as error:
        raise ProductError(f"{path} is no Zarr group: {error}. Expected an EOPF product or a GeoZarr cube.") from error


def _scene(
    path: str,
    store: Any,
    bands: Sequence[str] | None,
    *,
    gsd_m: int | None,
    method: Method,
    offset: float | None,
    chunk: int,
) -> Scene:
    if REFLECTANCE not in store:
        raise ProductError(f"{path} has no {REFLECTANCE}; expected Sentinel-2 products of the EOPF. Open it alone.")
    images = _images(store)
    have = [name for name in sensors.get("sentinel-2").band_names if any(band == name for band, _ in images)]
    names = choose_bands(bands, have, path)
    size = gsd_m or min(_own(name) for name in names)
    chosen = {name: _best_size(name, [s for band, s in images if band == name], size) for name in names}
    discovery = dict(store.attrs.get("stac_discovery", {}))
    properties = discovery.get("properties", {})
    label = str(discovery.get("id") or path.rstrip("/").rsplit("/", 1)[-1])
    crs = _crs(store, properties)
    arrays = {name: _array(path, images[name, chosen[name]], crs) for name in names}
    finest = min(names, key=lambda name: (chosen[name] != size, chosen[name]))
    factor = chosen[finest] / size
    box = arrays[finest].odc.geobox
    target = grid.refine(box, (factor, factor)) if factor >= 1 else grid.coarsen(box, 1 / factor)[0]
    packings = {name: _packing(arrays[name], label=label, offset=offset) for name in names}
    scl = _classes(path, store, size, crs)
    if offset is None:
        _check(arrays, packings, scl, label)
    classes = {} if scl is None else {"scl": nearest(scl, target, dtype=np.uint8, chunk=chunk)[0]}
    valid = {"valid": masks.valid_scl(classes["scl"])} if classes else {}
    return Scene(
        label=label,
        time=np.datetime64(str(properties.get("datetime") or properties.get("start_datetime")).rstrip("Z"), "ns"),
        bands=names,
        pixels=join(to_grid(_reflectance(arrays[n], packings[n]), target, method=method, chunk=chunk) for n in names),
        geobox=target,
        native_gsd_m=tuple(max(float(_own(n)), grid.resolution(arrays[n].odc.geobox)[0]) for n in names),
        identity=_identity(properties, label),
        record={
            "platform": str(properties.get("platform", "")).lower(),
            "processing_baseline": str(properties.get("processing:version", "")),
            "product_id": label,
            "generated": str(properties.get("created", "")),
        },
        offset_dn=tuple(0.0 if (p := packings[n]) is None else p.offset for n in names),
        masks={**classes, **valid},
    )


def _images(store: Any) -> dict[tuple[str, int], str]:
    """Paths of the bands by name and pixel size in metres."""
    found = {}
    for size in RESOLUTIONS:
        group = f"{REFLECTANCE}/r{size}m"
        if group not in store:
            continue
        group = f"{group}/0" if f"{group}/0" in store else group
        for key in store[group].array_keys():
            if re.fullmatch(r"b\d[\da]", key):
                found[sensors.canonical_band(key), size] = f"{group}/{key}"
    return found


def _own(band: str) -> int:
    return round(sensors.get("sentinel-2").band(band).gsd_m)


def _best_size(band: str, have: Sequence[int], gsd_m: int) -> int:
    coarser = [size for size in sorted(have) if size > gsd_m]
    if gsd_m in have:
        return gsd_m
    return _own(band) if _own(band) in coarser else coarser[0] if coarser else max(have)


def _crs(store: Any, properties: Mapping[str, Any]) -> str:
    code = store.attrs.get("other_metadata", {}).get("horizontal_CRS_code")
    code = code or properties.get("proj:code") or properties.get("proj:epsg")
    if not code:
        raise ProductError("the store names no CRS (other_metadata.horizontal_CRS_code); expected an EPSG code.")
    return f"EPSG:{str(code).upper().removeprefix('EPSG:')}"


def _array(path: str, name: str, crs: str) -> xr.DataArray:
    """One array of the tree as (band, y, x), stored numbers."""
    group, _, key = name.rpartition("/")
    with warnings.catch_warnings():  # a group need not have consolidated metadata of its own
        warnings.filterwarnings("ignore", category=RuntimeWarning, message="Failed to open Zarr store")
        data = xr.open_zarr(zarr_store(path), group=group, mask_and_scale=False, decode_coords=False)[key]
    data = data.rename(dict(zip(data.dims[-2:], ("y", "x"), strict=True))).expand_dims("band")
    return xr.DataArray(assign_crs(data, crs))


def _packing(data: xr.DataArray, *, label: str, offset: float | None) -> Packing | None:
    """How the numbers of a band become reflectance; None if they are reflectance."""
    attrs = {**data.attrs.get("_eopf_attrs", {}), **data.attrs, **data.encoding}
    scale = attrs.get("scale_factor")
    if scale is None and data.dtype.kind == "f":
        return None
    if not scale:
        raise HarmonisationError(f"{label}: band {data.name} has no scale_factor; expected one in its attributes.")
    quantification = round(1 / float(scale), 6)
    stated = (
        [Statement(round(float(attrs["add_offset"]) / float(scale), 3), "add_offset")] if "add_offset" in attrs else []
    )
    decided = resolve_offset(stated, product=label, baseline=None, override=offset)
    fill = attrs.get("_FillValue", attrs.get("fill_value", 0))
    return Packing(quantification, decided.offset_dn, (0.0 if fill is None else float(fill), SATURATED))


def _reflectance(data: xr.DataArray, packing: Packing | None) -> xr.DataArray:
    return data if packing is None else decode(data, packing)


def _classes(path: str, store: Any, gsd_m: int, crs: str) -> xr.DataArray | None:
    """Scene classification nearest to a pixel size."""
    for size in (60, 20) if gsd_m == 60 else (20, 60):
        for name in (f"{CLASSIFICATION}/r{size}m/scl", f"{CLASSIFICATION}/r{size}m/0/scl"):
            if name in store:
                return _array(path, name, crs)
    return None


def _check(
    arrays: Mapping[str, xr.DataArray], packings: Mapping[str, Packing | None], scl: xr.DataArray | None, label: str
) -> None:
    """Hold the offset of the darkest band against a window in the middle of it."""
    band = min(arrays, key=DARKEST.index)
    packing, data = packings[band], arrays[band]
    if packing is None:
        return
    middle = {
        dim: slice(max(0, (n - SAMPLE) // 2), (n + SAMPLE) // 2) for dim, n in data.sizes.items() if dim != "band"
    }
    numbers = data.isel(middle).values
    seen = ~np.isin(numbers, packing.special)
    same = scl is not None and scl.sizes == data.sizes
    classes = scl.isel(middle).values[seen] if scl is not None and same else None
    stated = Statement(packing.offset, f"add_offset of band {band}")
    check_pixels(stated, numbers[seen], classes, product=label, quantification=packing.quantification)


def _identity(properties: Mapping[str, Any], label: str) -> Identity:
    datatake = re.sub(r"_N[\d.]+$", "", str(properties.get("eopf:datatake_id") or properties.get("datetime") or label))
    found = re.search(r"_T(\d{2}[A-Z]{3})(?=[_.]|$)", label)
    return Identity(
        (str(properties.get("platform", "")).lower(), datatake, found[1] if found else ""),
        parse_baseline(str(properties.get("processing:version", ""))),
        str(properties.get("created", "")),
    )


def _flat(path: str, bands: Sequence[str] | None, *, resolution: int | None, offset: float | None) -> xr.DataArray:
    """Open a cube that lies on one grid."""
    if resolution is not None or offset is not None:
        raise ParameterError(f"{path} is a flat cube; expected no resolution= and no offset=. Its metadata say both.")
    cube = open_cube(_georeferenced(open_file(path)), bands=bands)
    return cube.data.assign_coords(xr_coords(cube.geobox)).rename("reflectance")


def _georeferenced(data: xr.DataArray | xr.Dataset) -> xr.DataArray | xr.Dataset:
    """Give a GeoZarr cube the grid that its ``spatial:`` and ``proj:`` attributes describe, where it has no other."""
    attrs = {str(key): value for key, value in data.attrs.items()}
    y, x = data.odc.spatial_dims or attrs.get("spatial:dimensions", ("y", "x"))
    placed = y in data.coords and x in data.coords
    if placed and data.odc.crs is not None:
        return data
    code, numbers = attrs.get("proj:code", attrs.get("proj:wkt2")), attrs.get("spatial:transform")
    if code is None or not (placed or numbers):
        raise ProductError(
            "the store names no CRS or no grid; expected a grid_mapping with coordinates, or proj:code and"
            " spatial:transform of the GeoZarr convention."
        )
    if placed or numbers is None:
        return data.odc.assign_crs(code)  # type: ignore[no-any-return]
    box = GeoBox((data.sizes[y], data.sizes[x]), Affine(*numbers[:6]), code)
    coords = xr_coords(box)
    north, east = (coords[name].values for name in box.dimensions)
    return data.assign_coords({y: (y, north), x: (x, east), "spatial_ref": coords["spatial_ref"]})
