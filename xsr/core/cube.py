"""The cube contract, checked once at the boundary, and the way back to the container the user gave.

Inside xsr a cube is one DataArray with dims (time, band, y, x), float32, y descending, NaN = no data. `open_cube` makes
it from whatever the user holds; `Cube.rewrap` returns a result in the same form.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import spatial_dims, xr_coords

import xsr.core.radiometry as radiometry
from xsr.core import aside, checks, graph, platforms, plausible
from xsr.core.blocks import chunk_sizes
from xsr.core.clock import with_utc
from xsr.core.crs import warn_of_others
from xsr.core.errors import BandError, CubeError, GridError
from xsr.core.georeference import REGISTRATION, Georeference, georeference, with_centres
from xsr.core.ground import pixel_size_m
from xsr.core.names import QUANTILE, BandsLike, Names, default_bands, did_you_mean, rename_dims, standardise
from xsr.core.provenance import OPERATION, PREFIX, SCALE
from xsr.core.rasterindex import raster_index, reindexed
from xsr.core.redact import public
from xsr.core.sensors import by_colour, canonical, doubt, get
from xsr.core.types import XarrayObject

NATIVE_GSD = "native_gsd"
"""Coordinate over ``band`` (of a Dataset: attribute of each variable) with the size in metres of the pixels in which a
band was observed, where it is on a finer grid."""
NATIVE_CORNER = ("native_x", "native_y")
"""Coordinates without dimensions: a corner (x, y) of the larger pixels that such bands repeat unchanged."""
STALE_ATTRIBUTES = (
    *("transform", "res", "grid_mapping", "crs", "crs_wkt", "spatial_ref", "_CRS", "epsg", "spec", "bounds"),
    *("gsd", "spatial_resolution"),
    *("resolution", "resolution_xy", "edge_size", "edge_size_m", "AREA_OR_POINT", "coord_save_mode"),
    *("nodatavals", "scales", "offsets", "valid_range", "valid_min", "valid_max", "actual_range", "xsr"),
)
"""Attributes that describe the input's grid, numbers or store and would lie about the output."""
STALE_PREFIXES = ("proj:", "spatial:", "zarr_conventions", PREFIX, "STATISTICS_")
"""Beginnings of such attributes and coordinates: GeoZarr's, and the provenance of an earlier operation."""

KEEPS_PIXELS = ("clip", "mask_clouds")
"""Operations after which pixels are where they were, and as they were or no data."""
PREPARES = ("native", "register")
"""Further operations before which floats may have been digital numbers, whose units a later one is given."""


@dataclass(frozen=True)
class Cube:
    """A validated cube and how to give results back."""

    data: xr.DataArray
    """Reflectance (time, band, y, x), float32, y descending."""
    geobox: GeoBox
    """Grid of `data`, from its pixel-centre coordinates."""
    original: XarrayObject
    """What the user gave, with standard names."""
    spatial: tuple[Hashable, Hashable]
    """Its names of y and x."""
    flipped: bool
    """Whether the user's y ascends."""
    names: Names = field(default_factory=Names)
    """The user's names of dimensions, and what the names of bands mean."""
    layers: tuple[aside.Layer, ...] = ()
    """Classes beside the bands, set aside; see `xsr.core.aside`."""
    moved: str | None = None
    """Why the user's coordinates count as corners of pixels, where they do."""

    @property
    def source(self) -> str | None:
        """File or store that the cube was opened from, where xarray remembers it; its name without folders."""
        variables = self.original.data_vars.values() if isinstance(self.original, xr.Dataset) else (self.original,)
        for holder in (self.original, *variables):
            if holder.encoding.get("source"):
                return public(holder.encoding["source"]).rstrip("/").rsplit("/", 1)[-1]
        return None

    @cached_property
    def pixel_m(self) -> tuple[float, float]:
        """Size (y, x) of a pixel in metres on the ground; see `xsr.core.ground.pixel_size_m`."""
        return pixel_size_m(self.geobox)

    def turned(self, data: xr.DataArray, dim: Hashable = "y") -> xr.DataArray:
        """Reverse y where that of the user's object ascends: from their order of rows to that of `data`, and back."""
        return data.isel({dim: slice(None, None, -1)}) if self.flipped else data

    def towards(self, like: object | None) -> "Cube":
        """Cube whose results run along y as a target grid does, if one is given, and not as the user's object."""
        return self if like is None else replace(self, flipped=False)

    def block_sizes(
        self, shape: tuple[int, int], chunks: tuple[int | Sequence[int], ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Sizes of the blocks (y, x) of a result; if its rows are reversed in the end, the short one comes first."""
        rows, cols = (chunk_sizes(size, chunk) for size, chunk in zip(shape, chunks, strict=True))
        return (rows[::-1] if self.flipped else rows), cols

    @cached_property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands as the user spells them."""
        return tuple(str(name) for name in self.data["band"].values)

    @cached_property
    def canonical(self) -> tuple[str, ...]:
        """Canonical names of the bands, each read beside the others; a band's own name where it is not known."""
        return tuple(self.names.bands.get(name, canonical(name)) for name in self.bands)

    def sensor(self, given: str | None = None) -> str:
        """Name of the sensor whose table fills gaps: the given one, or the one that the cube's band names belong to.

        That is the sensor the cube states, or the only one that knows all bands, where its table has the MTF of each;
        Sentinel-2 where there is none, or where Sentinel-2 knows all bands and the cube states no other.
        """
        return given or platforms.sensor_of(self.bands, platforms.stated(self.original)).name

    def spelled(self, sensor: str) -> tuple[str, ...]:
        """Names of the bands for the table of a sensor: their own, or the meaning where that depends on the others."""
        alone = tuple(map(canonical, self.bands))
        if self.names.foreign or alone == self.canonical or not get(sensor).name.startswith("sentinel-2"):
            return self.bands
        found = zip(self.bands, alone, self.canonical, strict=True)
        return tuple(name if one == meaning else meaning for name, one, meaning in found)

    def meanings(self, sensor: str) -> tuple[str, ...]:
        """Canonical names of the bands where they are named as those of a sensor; their own where it has no such."""
        if get(sensor).name.startswith("sentinel-2"):
            return self.canonical
        return tuple(by_colour(name, sensor) for name in self.bands)

    @property
    def naming(self) -> str:
        """How the user can say what the bands are, for messages."""
        labels = [int(name) if name.isdecimal() else name for name in self.bands]
        mapping = f"Say what each is: bands={{'B02': {labels[0]!r}, ...}} with the labels {labels}"
        if isinstance(self.original, xr.Dataset):
            return f"{mapping}; or rename the variables: .rename({{{labels[0]!r}: 'B02', ...}})."
        (dim,) = self.names.of(["band"])
        return f"{mapping}; or name all in their order: .assign_coords({dim}=['B02', ...])."

    @property
    def attrs(self) -> Mapping[Any, Any]:
        """Attributes of the user's object, or of the variable that holds the first band: bands are of one kind."""
        if isinstance(self.original, xr.DataArray):
            return self.original.attrs
        labels = {str(name): variable.attrs for name, variable in self.original.data_vars.items()}
        return labels.get(self.bands[0], {})

    @property
    def is_temperature(self) -> bool:
        """Whether the user's object states kelvin or degrees Celsius."""
        return radiometry.is_temperature(self.attrs)

    @property
    def native_gsd(self) -> tuple[float, ...]:
        """Pixel size in metres in which each band was observed; NaN where the cube does not say."""
        if NATIVE_GSD not in self.data.coords:
            return (math.nan,) * len(self.bands)
        return tuple(self.data[NATIVE_GSD].values.tolist())

    def with_native_gsd(self, sizes_m: Sequence[float]) -> "Cube":
        """Record the pixel size in metres in which each band was observed; no band's known, no record."""
        data = self.data.drop_vars(NATIVE_GSD, errors="ignore")
        return replace(self, data=_with_native_gsd(data, sizes_m))

    @property
    def native_corner(self) -> tuple[float, float] | None:
        """Corner (x, y) of the pixels that bands of a larger `native_gsd` repeat; None if none is known to."""
        if not set(NATIVE_CORNER) <= set(self.data.coords):
            return None
        x, y = (float(self.data[name]) for name in NATIVE_CORNER)
        return x, y

    def without_corner(self) -> "Cube":
        """Cube whose bands repeat no larger pixels, or of which a resampling leaves none."""
        return replace(self, data=self.data.drop_vars(NATIVE_CORNER, errors="ignore"))

    def select(self, bands: Sequence[str]) -> "Cube":
        """Keep some bands, named in any spelling the alias table knows, in the order given.

        Raises
        ------
        BandError
            If a band is not in the cube, with the bands it has.
        """
        bands = [bands] if isinstance(bands, str) else [str(name) for name in bands]
        known = {name: index for several in (self.canonical, self.bands) for index, name in enumerate(several)}
        keys = [name if name in known else canonical(name) for name in bands]
        if len({canonical(name) for name in bands}) != len(bands):
            raise BandError(f"bands={list(bands)} names a band twice; expected unique bands. Drop the duplicates.")
        missing = [name for name, key in zip(bands, keys, strict=True) if key not in known]
        if missing or not bands:
            raise BandError(
                f"bands {missing or 'none'} requested; the cube has {list(self.bands)}{_hint(missing, self.bands)}."
                " Name bands of the cube, or say which is which: bands={'B02': LABEL, ...}."
            )
        return replace(self, data=self.data.isel(band=[known[key] for key in keys]))

    @property
    def dates(self) -> NDArray[np.datetime64] | None:
        """Time of each image, nanoseconds; None if the cube has none.

        Raises
        ------
        CubeError
            If not all are known.
        """
        if "time" not in self.data.coords:
            return None
        times = np.atleast_1d(self.data["time"].values)
        if times.dtype.kind != "M" or np.isnat(times).any():
            raise CubeError(
                f"'time' has dtype {times.dtype}, {self.data['time'].isnull().values.sum()} of it missing; expected a"
                " datetime64 for every date. Convert it, or drop the dates that are unknown."
            )
        return np.asarray(times.astype("datetime64[ns]"))

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Dates of the series, nanoseconds.

        Raises
        ------
        CubeError
            If the cube has no dates, or not all are known.
        """
        dates = self.dates if "time" in self._band_dims() else None
        if dates is None:
            raise CubeError(
                "the cube has no dates; expected a dimension 'time' with a coordinate. Add one, for example"
                " .expand_dims(time=[...]), to compute images at target times."
            )
        return dates

    def at(self, times: NDArray[np.datetime64]) -> "Cube":
        """Cube that dresses results at other times: what belongs to its own dates is dropped."""
        shell = self.data.drop_vars([name for name, c in self.data.coords.items() if "time" in c.dims])
        shell = shell.isel(time=0).expand_dims(time=times)  # a view: nothing is copied
        original = self.original
        if isinstance(original, xr.Dataset):
            original = original.drop_vars(
                [
                    name
                    for name, v in original.variables.items()
                    if "time" in v.dims and not set(self.spatial) & set(v.dims)
                ]
            )
        dated = [layer for layer in self.layers if "time" in layer.data.dims]
        aside.warn_dropped(dated, "they belong to the dates of the cube")
        layers = tuple(layer for layer in self.layers if "time" not in layer.data.dims)
        return replace(self, data=shell, original=original, layers=layers)

    @property
    def regridded(self) -> bool:
        """Whether an operation of xsr has made the grid or the values; cutting and masking do not."""
        return _computed(self.original)

    @property
    def scale_made(self) -> dict[str, Any]:
        """``xsr_scale``, for results of operations that keep pixels; empty where xsr has not made the grid."""
        return {name: value for name, value in self.original.attrs.items() if name == SCALE}

    def rewrap(self, values: Any, geobox: GeoBox, provenance: Mapping[str, Any]) -> XarrayObject:
        """Dress values (time, band, y, x) on a new grid as the container, names and coordinates of the user.

        Parameters
        ----------
        values
            NumPy or Dask array.
        geobox
            Grid of the values, y descending.
        provenance
            Attributes to add.
        """
        spatial = dict(xr_coords(geobox))
        y, x = (name for name in spatial if spatial[name].dims == (name,))
        data = xr.DataArray(
            values,
            dims=("time", "band", y, x),
            coords={**self._kept(self.data), **spatial},
            name=self.data.name,
        )
        data = data.assign_coords(self._classes(data, geobox))
        data = self.turned(data, y)
        if geobox.crs == self.geobox.crs:
            data = data.rename({y: self.spatial[0], x: self.spatial[1]})
        index = raster_index(self.original)
        if index is not None:
            data = reindexed(data, geobox.flipy() if self.flipped else geobox, index)
        return self.names.restore(self._restore(data, provenance), spatial=geobox.crs == self.geobox.crs)

    def rewrap_points(
        self, values: Any, coords: Mapping[Hashable, Any], dim: Hashable, provenance: Mapping[str, Any]
    ) -> XarrayObject:
        """Dress values (time, band, n) at scattered points; see `rewrap`."""
        data = xr.DataArray(
            values,
            dims=("time", "band", dim),
            coords={**self._kept(self.data), **coords},
            name=self.data.name,
        )
        aside.warn_dropped(self.layers, "the result is points")
        return self.names.restore(self._restore(data, provenance), spatial=False)

    def _classes(self, data: xr.DataArray, geobox: GeoBox) -> dict[Hashable, Any]:
        """Coordinates of a result (time, band, y, x): the layers set aside, on its grid."""
        axes = dict(zip(("y", "x"), data.dims[-2:], strict=True))
        layers = aside.carried(self.layers, self.geobox, geobox, data)
        return {
            layer.name: ([axes.get(str(dim), dim) for dim in layer.data.dims], *_parts(layer.data)) for layer in layers
        }

    @staticmethod
    def _kept(data: xr.DataArray) -> dict[Hashable, Any]:
        return {
            name: coord
            for name, coord in data.coords.items()
            if not _is_grid_mapping(name, coord)
            and not {"y", "x"} & set(coord.dims)
            and name not in STALE_ATTRIBUTES
            and not str(name).startswith(STALE_PREFIXES)
        }

    def _band_dims(self) -> tuple[Hashable, ...]:
        """Dims of the user's bands."""
        if isinstance(self.original, xr.DataArray):
            return self.original.dims
        labels = {str(name): name for name in self.original.data_vars}
        return self.original[labels[self.bands[0]]].dims

    def _restore(self, data: xr.DataArray, provenance: Mapping[str, Any]) -> XarrayObject:
        """Undo, step by step, what else `open_cube` did."""
        provenance = provenance if self.moved is None else {**provenance, REGISTRATION: self.moved}
        grid = {"grid_mapping": "spatial_ref"} if "spatial_ref" in data.coords else {}
        original = self.original
        if "time" not in self._band_dims():
            data = data.isel(time=0)
        if isinstance(original, xr.Dataset):
            labels = {str(name): name for name in original.data_vars}
            native = dict(zip(data["band"].values.tolist(), self.native_gsd, strict=True))
            dataset = data.drop_vars(NATIVE_GSD, errors="ignore").to_dataset(dim="band")
            for name, variable in dataset.data_vars.items():
                size = {} if math.isnan(native[name]) else {NATIVE_GSD: native[name]}
                variable.attrs = {**clean(original[labels[str(name)]].attrs), **size}
                variable.encoding = dict(grid)
            others = {n: v for n, v in original.data_vars.items() if not set(self.spatial) & set(v.dims)}
            others = {name: variable for name, variable in others.items() if not _is_grid_mapping(name, variable)}
            dataset = dataset.rename({name: labels[str(name)] for name in dataset.data_vars})
            variables = [layer.name for layer in self.layers if layer.role == "variable"]
            dataset = dataset.reset_coords([name for name in variables if name in dataset.coords])
            return dataset.assign(others).assign_attrs({**clean(original.attrs), **provenance})
        if "band" not in original.dims:
            data = data.isel(band=0)
            data = data if "band" in original.coords else data.drop_vars("band")
        data.attrs = {**clean(original.attrs), **provenance}
        data.encoding = dict(grid)
        return data.rename(original.name)


def _parts(layer: xr.DataArray) -> tuple[Any, Mapping[Any, Any], Mapping[Any, Any]]:
    """Values, attributes and encoding of a layer."""
    return layer.data, layer.attrs, layer.encoding


def _is_grid_mapping(name: Hashable, variable: xr.DataArray) -> bool:
    """Whether a variable describes the input's grid; it may have any name."""
    return name == "spatial_ref" or (
        not variable.dims and not {"crs_wkt", "grid_mapping_name"}.isdisjoint(variable.attrs)
    )


def clean(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Drop attributes that describe the input's grid or packing."""
    drop = {*STALE_ATTRIBUTES, *radiometry.PACKING_ATTRIBUTES}
    kept = {k: v for k, v in attrs.items() if k not in drop and not str(k).startswith(STALE_PREFIXES)}
    stored = radiometry.stated_units(attrs) in radiometry.PERCENT | radiometry.COUNTS
    return kept | {"units": "1"} if stored and "units" in kept else kept


def open_cube(
    obj: XarrayObject,
    *,
    units: str | float | None = None,
    bands: BandsLike | None = None,
    watch: bool = True,
    shared: bool = False,
) -> Cube:
    """Check the contract and normalise a cube; lazy for Dask arrays.

    Parameters
    ----------
    obj
        DataArray with dims ([time,] [band,] y, x) or Dataset of band variables with dims ([time,] y, x).
    units
        Units of the numbers where the metadata do not say; see `xsr.core.radiometry.UNITS`. Without it the numbers are
        checked as they are computed: a warning says once if they cannot be reflectance (see `xsr.core.plausible`).
        With it only a negative number that many pixels share is, as no data that nothing states, and reflectance that
        would be scaled again; with "reflectance" nothing.
    bands
        Bands to keep, in this order; or a mapping from the names that they shall have to the labels of the cube.
    watch
        Whether numbers are looked at when they are computed; see `xsr.core.plausible`.
    shared
        Whether ``units`` are those of several cubes of a call: floats that an operation of xsr has computed are then
        reflectance, or the temperature that they state, whatever the units.

    Returns
    -------
    Cube
        Its bands; layers of classes beside them, such as SCL, are set aside (see `xsr.core.aside`).

    Raises
    ------
    CubeError
        If dimensions, emptiness or units break the contract.
    GridError
        If the CRS is missing, or coordinates are irregular, duplicated or not monotonic.
    BandError
        If bands are duplicated, a requested band is missing, or it holds classes.
    ParameterError
        If ``bands`` names none.
    """
    obj, bands, names = standardise(obj, bands)
    variables = obj.data_vars.values() if isinstance(obj, xr.Dataset) else (obj,)
    if any(np.isnan(size) for variable in variables for sizes in variable.chunks or () for size in sizes):
        raise CubeError("the cube has chunks of unknown size; expected known ones. Call .compute_chunk_sizes() first.")
    spatial = _spatial_dims(obj)
    obj = with_utc(obj)
    rest, layers = aside.set_aside(obj, spatial)
    aside.refuse_as_bands(layers, bands)
    named = isinstance(units, str) and units == "reflectance"
    ignored = shared and units is not None and not named and _computed_floats(rest)
    units = None if ignored else units
    if isinstance(rest, xr.Dataset):
        data = _stack_bands(rest, spatial, bands, units, meanings=names)
    else:
        data = radiometry.decode(rest, units)
    data = rename_dims(data, {str(old): new for old, new in zip(spatial, ("y", "x"), strict=True)})
    extra = [str(dim) for dim in data.dims if dim not in ("time", "band", "y", "x")]
    if extra:
        raise CubeError(_unknown_dims(extra, [str(dim) for dim in data.dims]))
    for dim in ("band", "time"):
        if dim not in data.dims:
            data = data.expand_dims(dim)
    if "band" not in data.coords:
        data = data.assign_coords(band=default_bands(data))
    data = _with_native_gsd(data, _recorded_sizes(rest, data)).transpose("time", "band", "y", "x")
    if 0 in data.shape:
        raise CubeError(f"the cube is empty: {dict(data.sizes)}; expected at least one element in every dimension.")
    read = georeference(obj, spatial)
    geobox, flipped = _geobox(read, spatial[1])
    warn_of_others(obj, spatial, geobox)
    data = with_centres(data, read.geobox)
    if flipped:
        data = data.isel(y=slice(None, None, -1))
        layers = [layer.turned() for layer in layers]
    cube = Cube(data, geobox, obj, spatial, flipped, names, tuple(layers), read.moved)
    if len(set(cube.canonical)) != len(cube.bands):
        raise BandError(f"bands {list(cube.bands)} name a band twice; expected unique bands. Drop the duplicates.")
    cube = cube if bands is None else cube.select(bands)
    if cube.is_temperature or named or not watch:
        return cube
    made = f"that {obj.attrs[OPERATION]} made it: pass units= to that operation" if ignored else ""
    return _watched(cube, rest, units, made)


def _computed(obj: XarrayObject) -> bool:
    """Whether an operation of xsr has made the grid or the values; cutting and masking do not."""
    made = any(str(name).startswith(PREFIX) for name in obj.attrs)
    return made and (obj.attrs.get(OPERATION) not in KEEPS_PIXELS or SCALE in obj.attrs)


def _computed_floats(obj: XarrayObject) -> bool:
    """Whether an operation of xsr has made reflectance or temperatures, and they are not stored as integers."""
    variables = obj.data_vars.values() if isinstance(obj, xr.Dataset) else (obj,)
    final = obj.attrs.get(OPERATION) not in (None, *PREPARES)
    return final and _computed(obj) and not any(map(radiometry.are_stored, variables))


def _watched(cube: Cube, obj: XarrayObject, units: str | float | None, made: str) -> Cube:
    """Let the numbers be looked at when they are computed; those of given units for a number that means no data."""
    variables = [v for n, v in obj.data_vars.items() if str(n) in cube.bands] if isinstance(obj, xr.Dataset) else [obj]
    stated = filter(None, (made, *map(radiometry.stated_otherwise, variables)))
    packing = radiometry.packing(variables[0], units)
    inspect = plausible.Reflectance(cube.bands, next(stated, ""), packing, given=units is not None)
    array = graph.watch(cube.data.data, inspect)
    return replace(cube, data=cube.data.copy(data=array))


def _unknown_dims(extra: Sequence[str], dims: Sequence[str]) -> str:
    """Message for dimensions that are none of the contract's."""
    if extra == [QUANTILE]:
        return (
            f"dimension {QUANTILE!r} found; expected ([time,] [band,] y, x). Select one, as the estimate by"
            f" .sel({QUANTILE}=0.5); xsr.calibration scores all together."
        )
    free = [name for name in ("time", "band") if name not in dims]
    rename = f", or say what it is, as by .rename({{{extra[0]!r}: {free[0]!r}}})" if free and len(extra) == 1 else ""
    return (
        f"dimension(s) {extra} found; expected ([time,] [band,] y, x). Select or reduce them first, as by"
        f" .isel({{{extra[0]!r}: 0}}){rename}."
    )


def _hint(missing: Sequence[str], bands: Sequence[str]) -> str:
    """Guess what is meant by the first band that is missing, among the bands of the cube and of the sensor."""
    if not missing:
        return ""
    return did_you_mean(missing[0], bands) or (f" ({text})" if (text := doubt(missing[0])) else "")


def _recorded_sizes(obj: XarrayObject, data: xr.DataArray) -> list[float]:
    """Pixel size in metres in which each band was observed, as the user's object says; NaN where it does not."""
    if isinstance(obj, xr.Dataset):
        known = {str(name): variable.attrs.get(NATIVE_GSD) for name, variable in obj.data_vars.items()}
        found = [known[str(name)] for name in data["band"].values]
    elif NATIVE_GSD not in obj.coords:
        return [math.nan] * data.sizes["band"]
    elif set(obj[NATIVE_GSD].dims) <= {"band"}:
        found = np.broadcast_to(obj[NATIVE_GSD].values, data.sizes["band"]).tolist()
    else:
        raise CubeError(f"coordinate {NATIVE_GSD!r} has dims {obj[NATIVE_GSD].dims}; expected a number for each band.")
    sizes = [math.nan if size is None else size for size in found]
    odd = [size for size in sizes if not (checks.is_number(size) and not size <= 0)]
    if odd:
        raise CubeError(f"{NATIVE_GSD!r} is {odd[0]!r}; expected the pixel size of each band in metres, or NaN.")
    return [float(size) for size in sizes]


def _with_native_gsd(data: xr.DataArray, sizes_m: Sequence[float]) -> xr.DataArray:
    if all(math.isnan(size) for size in sizes_m):
        return data
    attrs = {"units": "m", "long_name": "pixel size at which the band was observed"}
    return data.assign_coords({NATIVE_GSD: ("band", np.array(sizes_m, np.float64), attrs)})


def _spatial_dims(obj: XarrayObject) -> tuple[Hashable, Hashable]:
    dims = spatial_dims(obj, relaxed=True)
    if dims is None:
        raise CubeError(f"no spatial dimensions among {[str(d) for d in obj.dims]}; expected y and x. Rename them.")
    return dims[0], dims[1]


def _stack_bands(
    data: xr.Dataset,
    spatial: tuple[Hashable, Hashable],
    bands: Sequence[str] | None,
    units: str | float | None,
    *,
    meanings: Names,
) -> xr.DataArray:
    """Join the band variables of a Dataset; variables without spatial dims are not bands."""
    names = [name for name in meanings.chosen(data.data_vars, bands) if set(spatial) <= set(data[name].dims)]
    if not names:
        raise BandError(
            f"no band variables {list(bands) if bands else ''} over {spatial} in {[str(n) for n in data.data_vars]}."
        )
    stacked_already = [str(name) for name in names if "band" in data[name].dims]
    if stacked_already:
        raise CubeError(
            f"variable {stacked_already[0]!r} has a band dimension of its own; expected a Dataset with one variable a"
            f" band. Pass the variable: ds[{stacked_already[0]!r}]."
        )
    odd = [name for name in names if set(data[name].dims) != set(data[names[0]].dims)]
    if odd:
        raise CubeError(
            f"variable {odd[0]!r} has dims {data[odd[0]].dims}, {names[0]!r} has {data[names[0]].dims}; expected the"
            " same for every band. Select the bands with bands=, or expand the odd one."
        )
    radiometry.check_alike({name: data[name] for name in names}, units)
    decoded = {name: radiometry.decode(data[name], units) for name in names}
    stacked: xr.DataArray = xr.apply_ufunc(  # one task a chunk, where concatenation would take several a band
        _joined_bands,
        *decoded.values(),
        output_core_dims=[["band"]],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {"band": len(names)}},
    )
    return stacked.assign_coords(band=[str(name) for name in names])


def _joined_bands(*bands: NDArray[np.float32]) -> NDArray[np.float32]:
    """Join bands along a last axis; in memory an image of a band stays in one piece."""
    return np.moveaxis(np.stack(bands, axis=-3), -3, -1)


def _geobox(read: Georeference, dim: Hashable) -> tuple[GeoBox, bool]:
    """Grid with y descending, and whether the given one ascends."""
    geobox, affine = read.geobox, read.geobox.affine
    if geobox.crs is None:
        raise GridError("the cube has no CRS; expected a georeferenced grid. Assign one with .odc.assign_crs(...).")
    if affine.b == affine.d == 0 and affine.a < 0:
        raise GridError(f"{dim!r} descends; expected ascending coordinates. Use .sortby({dim!r}).")
    if affine.b == affine.d == 0 and affine.e > 0:
        return geobox.flipy(), True
    return geobox, False
