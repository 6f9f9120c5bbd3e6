"""Sentinel-2 products of the EOPF in Zarr, and flat GeoZarr cubes.

The EOPF keeps a product as a tree: ``measurements/reflectance/{r10m,r20m,r60m}/b02 …``, the scene classification under
``conditions/mask/l2a_classification``, STAC metadata in the attributes of the root. Scale and offset stand in the
attributes of each band. Some stores put an overview pyramid below ``r10m``; its level ``0`` is the image. Where an
array lies is decided in `xsr.sources.placement`.

References
----------
EOPF Product Structure and Format Definition, https://cpm.pages.eopf.copernicus.eu/eopf-cpm/main/PSFD/
GeoZarr flavour of the EOPF, https://github.com/EOPF-Explorer/data-model
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsr.core import grid, sensors
from xsr.core.cube import open_cube
from xsr.core.errors import BandError, HarmonisationError, ParameterError, ProductError, XsrWarning
from xsr.kernels.resample import METHODS, Method
from xsr.sources import masks, placement
from xsr.sources.files import open_file
from xsr.sources.granules import Granule, choose_bands, native_sizes, stack
from xsr.sources.harmonise import (
    DARKEST,
    Identity,
    Statement,
    check_pixels,
    parse_baseline,
    resolve_offset,
    sensing_start,
)
from xsr.sources.rasters import CHUNK, Packing, decode, join, nearest, to_grid
from xsr.sources.trees import Tree, ZarrTree, mapping, open_tree

REFLECTANCE = "measurements/reflectance"
CLASSIFICATION = "conditions/mask/l2a_classification"
RESOLUTIONS = (10, 20, 60)
SATURATED = 65535.0
"""Digital number of saturation."""
SAMPLE = 1024
"""Side in pixels of the window against which the offset is validated."""
BAND = re.compile(r"b\d[\da]", re.IGNORECASE)
"""Name of the array of a band."""
NAME = re.compile(
    r"(?P<platform>S2[A-Z])_MSIL\w+_(?P<datatake>\d{8}T\d{6})_N(?P<baseline>\d{4})_R\d{3}_T\d{2}[C-X][A-Z]{2}_\d{8}T\d{6}"
)
"""Name of a Sentinel-2 product."""
TILE = re.compile(r"_T(\d{2}[C-X][A-Z]{2})(?=[_.]|$)")
"""MGRS tile in such a name, or in another."""


def open_eopf(
    path: str | Path | xr.DataTree | Sequence[str | Path | xr.DataTree],
    *,
    bands: Sequence[str] | None = None,
    resolution: int | None = None,
    resampling: Method = "bicubic",
    offset: float | None = None,
    crs: str | int | None = None,
    mask: bool = False,
    chunks: int = CHUNK,
) -> xr.DataArray:
    """Open Sentinel-2 products of the EOPF, or a flat GeoZarr cube, as one cube of reflectance.

    Parameters
    ----------
    path
        Zarr store, folder, URL or zip archive, or a tree that `xarray.open_datatree` gave; or several products of one
        tile. A group of one resolution in it (``…/measurements/reflectance/r10m``), or a level of its pyramid
        (``…/r60m/2``), gives the images of that group on their own grid.
    bands
        Bands in the order requested, in any spelling; by default all.
    resolution
        Pixel size of the grid in metres: 10, 20 or 60; by default that of the finest image of the bands chosen. A flat
        cube has one grid and takes no resolution.
    resampling
        Kernel that brings coarser bands to the grid; see `xsr.interpolate`. Finer ones are averaged.
    offset
        Offset of the digital numbers, instead of the attributes of the bands; no pixels are checked then.
    crs
        CRS, where the product states none or contradicts itself; by default what its metadata, groups, arrays or the
        MGRS tile in its name say.
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
        If there is no such store, it is neither an EOPF product nor a cube, its pixels are not stored, or what it says
        of its CRS or grid is contradictory.
    HarmonisationError
        If the offset is unknown, or contradicted by the pixels.
    BandError, ParameterError, GridError
        If a band, resolution or option is unknown, or products are on different grids.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> report = synthetic_cube(size=(32, 32)).sr.to_zarr("geo.zarr", progress=False)
    >>> cube = xsr.open_eopf("geo.zarr", bands=["nir", "red"])
    >>> dict(cube.sizes)
    {'time': 1, 'band': 2, 'y': 32, 'x': 32}
    """
    if resampling not in METHODS:
        raise ParameterError(f"resampling={resampling!r}; expected one of {', '.join(METHODS)}.")
    if resolution is not None and resolution not in RESOLUTIONS:
        raise ParameterError(f"resolution={resolution}; expected one of {RESOLUTIONS} metres.")
    paths = [path] if isinstance(path, str | Path | xr.DataTree) else list(path)
    if not paths:
        raise ParameterError("no path given; expected at least one product.")
    products = [EopfProduct(*open_tree(one)) for one in paths]
    if len(products) == 1 and not products[0].hierarchical:
        return _flat(products[0], paths[0], bands, resolution=resolution, offset=offset, crs=crs)
    options = _Options(resolution, resampling, offset, crs, chunks)
    granules = [_granule(product, bands, options) for product in products]
    attrs = {"source": "Sentinel-2 EOPF", "units": "1", "long_name": "reflectance"}
    return stack(granules, name="reflectance", attrs=attrs, mask=mask)


@dataclass(frozen=True)
class _Options:
    resolution: int | None
    resampling: Method
    offset: float | None
    crs: str | int | None
    chunk: int


@dataclass(frozen=True)
class EopfProduct:
    """What the metadata of a product say."""

    tree: Tree
    group: str
    """Group that was named, empty for the whole product."""

    @cached_property
    def hierarchical(self) -> bool:
        """Whether it is a tree of groups by resolution, not a flat cube."""
        return bool(self.tree.children(REFLECTANCE))

    @cached_property
    def discovery(self) -> Mapping[str, Any]:
        """The STAC item among the metadata."""
        return mapping(self.tree.attributes("").get("stac_discovery"))

    @cached_property
    def properties(self) -> Mapping[str, Any]:
        """Properties of that item."""
        return mapping(self.discovery.get("properties"))

    @cached_property
    def label(self) -> str:
        """Name of the product."""
        return str(self.discovery.get("id") or self.tree.label.rstrip("/").rsplit("/", 1)[-1])

    @cached_property
    def named(self) -> Mapping[str, str]:
        """What the name says: platform, datatake and baseline; empty where it is no product's name."""
        found = NAME.search(self.label) or NAME.search(self.tree.label)
        return found.groupdict() if found else {}

    @cached_property
    def tile(self) -> str:
        """MGRS tile in the name."""
        found = TILE.search(self.label) or TILE.search(self.tree.label)
        return found[1] if found else ""

    def text(self, *keys: str) -> str:
        """First of some properties that is there, as text."""
        return next((str(self.properties[key]) for key in keys if self.properties.get(key) is not None), "")

    @cached_property
    def time(self) -> np.datetime64:
        """Start of the acquisition, UTC."""
        text = self.text("datetime", "start_datetime") or self.named.get("datatake", "")
        moment = pd.to_datetime(text, errors="coerce", utc=True)
        if pd.isna(moment):
            raise ProductError(
                f"{self.label} states no date ({text!r}); expected stac_discovery with a datetime, or the name of a"
                " Sentinel-2 product. Give the store (or the tree, by its name) that name."
            )
        return np.datetime64(moment.tz_localize(None), "ns")

    @cached_property
    def platform(self) -> str:
        """Satellite in lower case."""
        return self.text("platform").lower() or re.sub("^S2", "sentinel-2", self.named.get("platform", "")).lower()

    @cached_property
    def baseline(self) -> str:
        """Processing baseline."""
        digits = self.named.get("baseline", "")
        return self.text("processing:version") or (f"{digits[:2]}.{digits[2:]}" if digits else "")

    @cached_property
    def identity(self) -> Identity:
        """Acquisition and processing."""
        datatake = self.text("eopf:datatake_id", "datetime") or self.named.get("datatake", "") or self.label
        return Identity(
            (self.platform, re.sub(r"_N[\d.]+$", "", datatake), self.tile),
            parse_baseline(self.baseline),
            self.text("created"),
            sensing_start(self.text("eopf:datastrip_id")),
        )

    @cached_property
    def images(self) -> dict[tuple[str, float], str]:
        """Paths of the bands by name and pixel size in metres."""
        if self.group in ("", "measurements", REFLECTANCE):
            groups = [f"{REFLECTANCE}/r{size}m" for size in RESOLUTIONS]
        else:
            groups = [self.group]
        found = {
            (sensors.canonical_band(name), size): f"{group}/{name}"
            for group, size, names in map(self._bands_below, groups)
            for name in names
        }
        if not found:
            raise BandError(
                f"{self.label} has no bands in {', '.join(groups)}; expected arrays named b01 to b12, in either case."
                f" They hold {sorted({name for group in groups for name in self.tree.children(group)}) or 'nothing'}."
            )
        return found

    def _bands_below(self, group: str) -> tuple[str, float, list[str]]:
        """Group with the bands of a resolution, their pixel size in metres, and their names."""
        children = self.tree.children(group)
        if "0" in children:
            group, children = f"{group}/0", self.tree.children(f"{group}/0")
        names = _band_names(children)
        stated = re.search(r"/r(\d+)m(?:/0)?$", group)
        if stated or not names:
            return group, float(stated[1]) if stated else 0.0, names
        return group, placement.pixel_m(self.tree, f"{group}/{names[0]}"), names

    @cached_property
    def classification(self) -> dict[int, str]:
        """Paths of the scene classification by pixel size in metres, where it is stored."""
        found = {}
        for size in RESOLUTIONS:
            for name in (f"{CLASSIFICATION}/r{size}m/scl", f"{CLASSIFICATION}/r{size}m/0/scl"):
                if "scl" in self.tree.children(name.rpartition("/")[0]) and self.tree.stored(name)[0]:
                    found[size] = name
        return found


def _band_names(children: Sequence[str]) -> list[str]:
    """Names of arrays that are bands of Sentinel-2."""
    known = sensors.get("sentinel-2").band_names
    return [name for name in children if BAND.fullmatch(name) and sensors.canonical(name) in known]


@dataclass(frozen=True)
class _Choice:
    """Bands of a cube, with the images that they come from."""

    gsd_m: float
    """Pixel size of the cube."""
    sizes: Mapping[str, float]
    """Pixel size of the image of each band."""
    paths: Mapping[str, str]
    """Its path in the tree."""


def _choose(product: EopfProduct, bands: Sequence[str] | None, resolution: int | None) -> _Choice:
    images = product.images
    have = [name for name in sensors.get("sentinel-2").band_names if any(band == name for band, _ in images)]
    names = choose_bands(bands, have, product.label)
    sizes = {name: [size for band, size in images if band == name] for name in names}
    gsd_m = resolution or min(_finest(name, sizes[name]) for name in names)
    chosen = {name: _best_size(name, sizes[name], gsd_m) for name in names}
    return _Choice(gsd_m, chosen, {name: images[name, chosen[name]] for name in names})


def _granule(product: EopfProduct, bands: Sequence[str] | None, options: _Options) -> Granule:
    if not product.hierarchical:
        raise ProductError(
            f"{product.label} has no {REFLECTANCE}; expected Sentinel-2 products of the EOPF. Open it alone."
        )
    choice = _choose(product, bands, options.resolution)
    names, paths = tuple(choice.paths), choice.paths
    _check_stored(product, paths)
    crs = placement.find_crs(product.tree, paths.values(), product.properties, product.tile, options.crs)
    scl_path = _classes(product, choice.gsd_m)
    grids = placement.find_grids(product.tree, [*paths.values(), *filter(None, [scl_path])], crs)
    arrays = {name: _array(product, path, grids, options.chunk) for name, path in paths.items()}
    scl = None if scl_path is None else _array(product, scl_path, grids, options.chunk)
    packings = {name: _packing(arrays[name], label=product.label, offset=options.offset) for name in names}
    if options.offset is None:
        _check(arrays, packings, scl, product.label)
    target = _target(arrays, choice.sizes, choice.gsd_m)
    images = tuple(_reflectance(arrays[name], packings[name]) for name in names)
    place = partial(to_grid, target=target, method=options.resampling, chunk=options.chunk)
    classes = {} if scl is None else {"scl": nearest(scl, target, dtype=np.uint8, chunk=options.chunk)[0]}
    valid = {"valid": masks.valid_scl(classes["scl"])} if classes else {}
    return Granule(
        label=product.label,
        time=product.time,
        bands=names,
        pixels=join(map(place, images)),
        images=images,
        place=place,
        geobox=target,
        native_gsd_m=native_sizes(names, [arrays[name].odc.geobox for name in names]),
        identity=product.identity,
        record={
            "platform": product.platform,
            "processing_baseline": product.baseline,
            "product_id": product.label,
            "generated": product.text("created"),
        },
        offset_dn=tuple(0.0 if (p := packings[n]) is None else p.offset for n in names),
        masks={**classes, **valid},
    )


def _own(band: str) -> int:
    return round(sensors.get("sentinel-2").band(band).gsd_m)


def _finest(band: str, have: Sequence[float]) -> float:
    """Pixel size of a band's own image, or of the finest where the product does not have that one."""
    return _own(band) if _own(band) in have else min(have)


def _best_size(band: str, have: Sequence[float], gsd_m: float) -> float:
    coarser = [size for size in sorted(have) if size > gsd_m]
    if gsd_m in have:
        return gsd_m
    return _own(band) if _own(band) in coarser else coarser[0] if coarser else max(have)


def _target(arrays: Mapping[str, xr.DataArray], chosen: Mapping[str, float], gsd_m: float) -> GeoBox:
    """Grid of the finest image, at the resolution of the cube."""
    finest = min(arrays, key=lambda name: (chosen[name] != gsd_m, chosen[name]))
    factor = chosen[finest] / gsd_m
    box: GeoBox = arrays[finest].odc.geobox
    if factor >= 1:
        return box if factor == 1 else grid.refine(box, (factor, factor))
    return grid.coarsen(box, 1 / factor)[0]


def _check_stored(product: EopfProduct, paths: Mapping[str, str]) -> None:
    """Refuse bands of which no chunk is stored, for they would read as fill; warn of decoded ones that lack some."""
    counts = {path: product.tree.stored(path) for path in paths.values()}
    absent = [path for path, (stored, _) in counts.items() if stored == 0]
    if absent:
        raise ProductError(
            f"{product.label} holds no pixels of {', '.join(absent)}: none of their chunks is stored, and all would"
            f" read as fill; expected pixels. {_elsewhere(product)}"
        )
    gaps = {path: (k, n) for path, (k, n) in counts.items() if k < n and not product.tree.omits_empty(path)}
    if gaps:
        lines = [f"{path} ({k} of {n})" for path, (k, n) in gaps.items()]
        warnings.warn(
            f"{product.label} does not store all chunks of {', '.join(lines)}; their pixels are NaN.",
            XsrWarning,
            stacklevel=5,
        )


def _elsewhere(product: EopfProduct) -> str:
    """Advise on groups of reflectance whose pixels are stored."""
    tree = product.tree
    groups = [f"{REFLECTANCE}/{name}" for name in tree.children(REFLECTANCE)]
    levels = [f"{group}/{level}" for group in groups for level in tree.children(group)]
    found = []
    for group in (*groups, *levels):
        bands = [name for name in _band_names(tree.children(group)) if tree.stored(f"{group}/{name}")[0]]
        if bands:
            found.append(f"{group} ({' '.join(sorted(bands))})")
    if not found:
        return "No other group of reflectance has any; get the whole product."
    return f"Stored are {', '.join(found)}: append the group to the path, and pass bands= where it lacks some."


def _array(product: EopfProduct, path: str, grids: Mapping[str, GeoBox], chunk: int) -> xr.DataArray:
    """One array of the tree as (band, y, x) on its grid, stored numbers."""
    data = product.tree.array(path, chunk=chunk)
    data = data.rename(dict(zip(data.dims[-2:], ("y", "x"), strict=True))).expand_dims("band")
    return data.assign_coords(xr_coords(grids[path]))


def _packing(data: xr.DataArray, *, label: str, offset: float | None) -> Packing | None:
    """How the numbers of a band become reflectance; None if they are reflectance.

    What the EOPF notes of the original numbers holds for integers alone; decoded floats keep that note.
    """
    if data.dtype.kind == "f" and "scale_factor" not in data.attrs:
        return None
    attrs = {**mapping(data.attrs.get("_eopf_attrs")), **data.attrs}
    scale = attrs.get("scale_factor")
    if not scale:
        raise HarmonisationError(f"{label}: band {data.name} has no scale_factor; expected one in its attributes.")
    quantification = round(1 / float(scale), 6)
    stated = (
        [Statement(round(float(attrs["add_offset"]) / float(scale), 3), "add_offset")] if "add_offset" in attrs else []
    )
    decided = resolve_offset(stated, product=label, baseline=None, override=offset)
    fill = attrs.get("_FillValue", attrs.get("fill_value"))
    no_data = 0.0 if fill is None or isinstance(fill, str) else float(fill)  # as text it is the NaN of floats
    return Packing(quantification, decided.offset_dn, (no_data, SATURATED))


def _reflectance(data: xr.DataArray, packing: Packing | None) -> xr.DataArray:
    return data if packing is None else decode(data, packing)


def _classes(product: EopfProduct, gsd_m: float) -> str | None:
    """Path of the scene classification nearest to a pixel size."""
    order = (60, 20) if gsd_m >= 60 else (20, 60)
    return next((product.classification[size] for size in order if size in product.classification), None)


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
    valid = np.isfinite(numbers) & ~np.isin(numbers, packing.special)
    same = scl is not None and scl.sizes == data.sizes
    classes = scl.isel(middle).values[valid] if scl is not None and same else None
    stated = Statement(packing.offset, f"add_offset of band {band}")
    check_pixels(stated, numbers[valid], classes, product=label, quantification=packing.quantification)


def _flat(
    product: EopfProduct,
    path: str | Path | xr.DataTree,
    bands: Sequence[str] | None,
    *,
    resolution: int | None,
    offset: float | None,
    crs: str | int | None,
) -> xr.DataArray:
    """Open a cube that is on one grid."""
    if resolution is not None or offset is not None:
        raise ParameterError(
            f"{product.label} is a flat cube; expected no resolution= and no offset=. Its metadata say both."
        )
    cube = open_cube(_georeferenced(_flat_object(product, path), crs), bands=bands)
    return cube.data.assign_coords(xr_coords(cube.geobox)).rename("reflectance")


def _flat_object(product: EopfProduct, path: str | Path | xr.DataTree) -> xr.DataArray | xr.Dataset:
    if isinstance(path, xr.DataTree):
        return path.to_dataset()
    assert isinstance(product.tree, ZarrTree)
    if ".zip" not in product.tree.label.lower():
        return open_file(path)
    store = product.tree.group.store_path
    data: xr.Dataset = xr.open_zarr(store.store, group=store.path or None, decode_coords="all", consolidated=False)
    cubes = [name for name, variable in data.data_vars.items() if "band" in variable.dims]
    if len(cubes) != 1:
        return data
    cube = data[cubes[0]]
    return cube.assign_attrs({**data.attrs, **cube.attrs})


def _georeferenced(data: xr.DataArray | xr.Dataset, crs: str | int | None) -> xr.DataArray | xr.Dataset:
    """Give a GeoZarr cube the grid that its ``spatial:`` and ``proj:`` attributes describe, where it has no other."""
    attrs = {str(key): value for key, value in data.attrs.items()}
    y, x = data.odc.spatial_dims or attrs.get("spatial:dimensions", ("y", "x"))
    placed = y in data.coords and x in data.coords
    if crs is not None and placed:
        return data.odc.assign_crs(crs)  # type: ignore[no-any-return]
    if placed and data.odc.crs is not None:
        return data
    code, numbers = crs or attrs.get("proj:code", attrs.get("proj:wkt2")), attrs.get("spatial:transform")
    if code is None or not (placed or numbers):
        raise ProductError(
            "the store names no CRS or no grid; expected a grid_mapping with coordinates, or proj:code and"
            " spatial:transform of the GeoZarr convention. Pass crs= if only the CRS is missing."
        )
    if placed or numbers is None:
        return data.odc.assign_crs(code)  # type: ignore[no-any-return]
    box = GeoBox((data.sizes[y], data.sizes[x]), Affine(*numbers[:6]), code)
    coords = xr_coords(box)
    north, east = (coords[name].values for name in box.dimensions)
    return data.assign_coords({y: (y, north), x: (x, east), "spatial_ref": coords["spatial_ref"]})
