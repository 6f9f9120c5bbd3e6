"""From the scenes of a manifest to arrays: names of bands in order, numbers decoded, NaN where there is no data."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsr.core.errors import BandError, CubeError, ParameterError, XsrError
from xsr.core.georeference import geobox_of
from xsr.core.plausible import KELVIN as KELVIN_RANGE
from xsr.core.plausible import Reflectance
from xsr.core.radiometry import brightness_temperature, decode
from xsr.core.sensors import canonical
from xsr.operations.native import native
from xsr.sources import opening
from xsr.sources.labels import labels
from xsr.training.manifest import DIMS, KELVIN, SUFFIXES, File, Manifest, Mask, Scene, Source

Image = NDArray[np.float32]
CLEAR_SHARE = 0.98
"""Least share of clear pixels for an image that has a mask, where the manifest gives none."""
PICTURE = ("y", "x", "band")
"""Dimensions of a picture."""


@dataclass(frozen=True)
class Frames:
    """Images of one grid."""

    names: tuple[str, ...]
    """Of the bands."""
    values: Image
    """Shape (frame, band, y, x); NaN is no data."""
    times: NDArray[np.datetime64] | None = None
    box: GeoBox | None = None
    """Grid, where the file states one."""

    def take(self, index: NDArray[np.int64]) -> "Frames":
        """Keep some of the images, in the given order."""
        times = None if self.times is None else self.times[index]
        return replace(self, values=self.values[index], times=times)


@dataclass(frozen=True)
class Reading:
    """What a scene of the manifest holds, as arrays."""

    scene: Scene
    fine: Frames
    coarse: Frames | None
    cloudy: NDArray[np.bool_] | None
    """Pixels that do not show the surface, shape (frame, y, x) of ``fine`` or half of it; None without a mask."""

    def take(self, index: NDArray[np.int64]) -> "Reading":
        """Keep some of the images, in the given order."""
        coarse = None if self.coarse is None else self.coarse.take(index)
        return replace(
            self, fine=self.fine.take(index), coarse=coarse, cloudy=None if self.cloudy is None else self.cloudy[index]
        )

    def begun(self, row: int, col: int) -> "Reading":
        """Leave out what lies before the first larger pixel that begins at a row and a column, each 0 or 1."""
        if self.coarse is None or not (row or col):
            return self
        height, width = ((size - by) // 2 for size, by in zip(self.fine.values.shape[2:], (row, col), strict=True))
        fine, coarse = ((..., slice(row, row + side * height), slice(col, col + side * width)) for side in (2, 1))
        hidden = self.cloudy
        if hidden is not None:
            hidden = hidden[coarse if hidden.shape[1:] == self.coarse.values.shape[2:] else fine]
        return replace(
            self,
            fine=replace(
                self.fine,
                values=self.fine.values[fine],
                box=None if self.fine.box is None else self.fine.box[fine[1], fine[2]],
            ),
            coarse=replace(self.coarse, values=self.coarse.values[coarse]),
            cloudy=hidden,
        )

    def clear(self) -> "Reading":
        """Images that are clear enough to be used alone; see `xsr.training.manifest.Scene.clear`."""
        least = self.scene.clear
        if self.cloudy is not None:
            share = 1 - self.cloudy.mean(axis=(1, 2))
            return self.take(np.flatnonzero(share >= (CLEAR_SHARE if least is None else least)))
        share = np.isfinite(self.fine.values).mean(axis=(1, 2, 3))
        return self.take(np.flatnonzero(share >= least if least is not None else share > 0))


def read_scene(manifest: Manifest, scene: Scene) -> Reading:
    """Read the images of a scene.

    Raises
    ------
    XsrError
        If a file cannot be read, or is not what the manifest says of it; names the scene.
    """
    fine = read(manifest, scene, scene.place)
    if scene.times:
        fine = replace(fine, times=_times(scene, len(fine.values)))
    coarse = None if scene.coarse is None else read(manifest, scene.coarse, scene.place)
    cloudy = None if scene.mask is None else _cloudy(manifest, scene.mask, scene.place)
    for part in (None if coarse is None else coarse.values, cloudy):
        if part is not None and len(part) != len(fine.values):
            raise CubeError(
                f"scene {scene.place!r} has {len(fine.values)} images, and {len(part)} of the coarse bands or the mask;"
                " expected as many."
            )
    if scene.resampled:
        fine, cloudy = _recovered(scene, fine, cloudy)
    reading = Reading(scene, fine, coarse, cloudy).begun(*scene.begins)
    if scene.frames:
        if max(scene.frames) >= len(fine.values):
            raise ParameterError(
                f"scene {scene.place!r}: frames = {list(scene.frames)}; expected numbers from 0 to"
                f" {len(fine.values) - 1}."
            )
        reading = reading.take(np.array(scene.frames, np.int64))
    return reading


def _recovered(scene: Scene, fine: Frames, cloudy: NDArray[np.bool_] | None) -> tuple[Frames, NDArray[np.bool_] | None]:
    """Put the pixels of a resampled image, and what hides it, back where they came from."""
    if fine.box is None or (cloudy is not None and cloudy.shape[1:] != fine.values.shape[2:]):
        raise CubeError(
            f"scene {scene.place!r} is resampled; expected coordinates x and y of its pixels, and a mask of as many."
        )
    given = GeoBox(fine.values.shape[2:], fine.box.affine, scene.resampled)
    dims = given.dimensions
    coords = xr_coords(given)
    cube = xr.DataArray(fine.values, coords={"band": list(fine.names), **coords}, dims=("time", "band", *dims))
    try:
        found = native(cube, units="reflectance")
    except XsrError as error:
        raise CubeError(f"scene {scene.place!r}: {error}") from error
    assert isinstance(found, xr.DataArray)
    box = geobox_of(found)
    assert box is not None
    if cloudy is not None:
        hidden = xr.DataArray(cloudy.astype(np.uint8), coords=coords, dims=("time", *dims))
        cloudy = np.asarray(hidden.odc.reproject(box, resampling="nearest", dst_nodata=2).values == 1)
    return replace(fine, values=np.asarray(found.values, np.float32), box=box), cloudy


def read(manifest: Manifest, source: Source, place: str) -> Frames:
    """Read the bands of a source, decoded.

    Raises
    ------
    XsrError
        If it cannot be read, lacks a band, has another number of bands, is no data throughout, or its numbers are not
        in the unit that the manifest states.
    """
    arrays = [_labelled(_array(path, source), source, place, path) for path in manifest.paths(source, place)]
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) > 1:
        raise CubeError(f"scene {place!r}: its files measure {sorted(shapes)}; expected one size (band, y, x).")
    first = arrays[0]
    values = np.concatenate([_decoded(array, source, place) for array in arrays])
    names = tuple(str(name) for name in first["band"].values)
    _check_numbers(values, names, place)
    times = [array["time"].values for array in arrays if "time" in array.coords]
    known = len(times) == len(arrays) and all(part.dtype.kind == "M" for part in times)
    box = geobox_of(first) if {"x", "y"} <= set(first.coords) else None
    return Frames(names, values, np.concatenate(times).astype("datetime64[ns]") if known else None, box)


def _times(scene: Scene, count: int) -> NDArray[np.datetime64]:
    if len(scene.times) != count:
        raise ParameterError(
            f"scene {scene.place!r} has {count} images and {len(scene.times)} times; expected as many."
        )
    return np.array(scene.times, "datetime64[ns]")


def _cloudy(manifest: Manifest, mask: Mask, place: str) -> NDArray[np.bool_]:
    """Whether each pixel is of a class that hides the surface."""
    classes = []
    for path in manifest.paths(mask, place):
        array = _array(path, mask)
        array = array.isel(band=0) if "band" in array.dims else array
        classes.append((array if "time" in array.dims else array.expand_dims("time")).transpose("time", "y", "x"))
    return np.isin(np.concatenate([array.values for array in classes]), mask.invalid)


def _array(path: str, file: File) -> xr.DataArray:
    """Array of a file, with dims of `DIMS`."""
    kind = file.format or SUFFIXES.get(Path(path).suffix.lower()) or ("variable" if file.variable else "cube")
    if kind == "cube":
        return _cube(path, file)
    if kind == "variable":
        return _with_dims(_variable(path, file.variable), file, path)
    default = PICTURE if kind == "picture" else ()
    return _with_dims(xr.DataArray(_numbers(path, kind, file.variable)), file, path, default)


def _variable(path: str, name: str) -> xr.DataArray:
    """Variable of a NetCDF file or Zarr store, its numbers as they are stored."""
    engine = "zarr" if Path(path).is_dir() else None
    with _opening(path), xr.open_dataset(path, engine=engine, mask_and_scale=False) as data:
        return data[_known(name, [str(one) for one in data.data_vars], path)].load()


def _numbers(path: str, kind: str, variable: str) -> NDArray[Any]:
    """Numbers of a file of NumPy or of a picture."""
    with _opening(path):
        if kind == "picture":
            from skimage.io import imread

            return np.asarray(imread(path)[..., :3])
        if kind == "npy":
            return np.asarray(np.load(path, allow_pickle=False))
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[_known(variable or archive.files[0], archive.files, path)])


@contextmanager
def _opening(path: str) -> Iterator[None]:
    """Turn what libraries raise about a file into one error."""
    try:
        yield
    except XsrError:
        raise
    except (OSError, ValueError, EOFError) as error:
        raise CubeError(
            f"{path} cannot be read: {error}. Check that it is complete and of the kind it claims."
        ) from error


def _known(name: str, names: Sequence[str], path: str) -> str:
    if name not in names:
        raise ParameterError(f"variable {name!r} is not in {path}; expected one of {', '.join(names)}.")
    return name


def _with_dims(array: xr.DataArray, file: File, path: str, default: Sequence[str] = ()) -> xr.DataArray:
    """Array whose dimensions have the names of `DIMS`."""
    own = [str(dim) for dim in array.dims]
    dims = file.dims or (own if set(own) <= set(DIMS) else default or DIMS[-len(own) :])
    if len(dims) != len(own) or not {"y", "x"} <= set(dims):
        raise CubeError(f"{path} has the dimensions {own}; expected {list(dims)}. Name them with dims.")
    renamed = {old: new for old, new in zip(own, dims, strict=True) if old != new}
    coords = [name for name, one in array.coords.items() if set(map(str, one.dims)) & set(renamed)]
    return array.drop_vars(coords).rename(renamed)


def _cube(path: str, file: File) -> xr.DataArray:
    """Whatever `xsr.open` reads, as one array that keeps the labels of its bands."""
    renamed = dict(zip(file.dims, file.dims, strict=True))
    cube = opening.open(path, **({"dims": renamed} if renamed else {}))
    if isinstance(cube, xr.DataArray):
        return cube if "band" in cube.dims else cube.expand_dims("band")
    return cube[labels(cube)].to_dataarray("band")


def _labelled(array: xr.DataArray, source: Source, place: str, path: str) -> xr.DataArray:
    """Array (time, band, y, x) of the bands of a source, by their names."""
    array = array if "band" in array.dims else array.expand_dims("band")
    array = array if "time" in array.dims else array.expand_dims("time")
    own = [str(name) for name in array["band"].values] if "band" in array.coords else []
    index, names = _order(source.bands, own, array.sizes["band"], f"scene {place!r}: {path}")
    return array.isel(band=index).assign_coords(band=names).transpose("time", "band", "y", "x")


def _order(
    bands: tuple[str, ...] | Mapping[str, int | str], own: Sequence[str], count: int, where: str
) -> tuple[list[int], list[str]]:
    """Places of the bands in a file, and their names."""
    if isinstance(bands, Mapping):
        places = {str(number): number - 1 for number in range(1, count + 1)} | {name: i for i, name in enumerate(own)}
        unknown = [label for label in bands.values() if str(label) not in places]
        if unknown:
            raise BandError(f"{where} has {own or f'{count} bands'}; {unknown[0]!r} is none of them. Correct bands.")
        return [places[str(label)] for label in bands.values()], list(bands)
    meant = [canonical(name) for name in own]
    if not bands:
        if not own:
            raise BandError(f"{where} does not name its {count} bands. Name them in their order: bands = [...].")
        return list(range(count)), meant
    if set(bands) <= set(meant):
        return [meant.index(name) for name in bands], list(bands)
    if len(bands) != count:
        raise BandError(f"{where} has {count} bands{f' {own}' if own else ''}; expected the {len(bands)} of bands.")
    return list(range(count)), list(bands)


def _decoded(array: xr.DataArray, source: Source, place: str) -> Image:
    """Numbers in float32, NaN where there is no data."""
    try:
        if source.scale is None and source.offset == 0 and source.planck is None:
            numbers = array if source.nodata is None else array.assign_attrs(nodata=source.nodata)
            return np.asarray(decode(numbers, source.units).values, np.float32)
    except CubeError as error:
        raise CubeError(f'scene {place!r}: {error} In the manifest: units = "dn10000", or scale and offset.') from error
    nodata = source.nodata if source.nodata is not None else stated_nodata(array)
    values = array.values.astype(np.float32) * np.float32(1.0 if source.scale is None else source.scale)
    values = values + np.float32(source.offset)
    if source.planck is not None:
        k1, k2 = source.planck
        values = brightness_temperature(values, k1, k2)
    return np.where(array.values == nodata, np.float32(np.nan), values) if nodata is not None else values


def stated_nodata(array: xr.DataArray) -> float | None:
    """Find the number that an array states to be no data."""
    for name in ("_FillValue", "nodata", "missing_value"):
        if (found := array.attrs.get(name, array.encoding.get(name))) is not None:
            return float(found)
    return None


def _check_numbers(values: Image, names: Sequence[str], place: str) -> None:
    """Refuse images without data, and numbers that are neither reflectance nor kelvin.

    Raises
    ------
    CubeError
        With the median, and what to write into the manifest.
    """
    if not np.isfinite(values).any():
        raise CubeError(f"scene {place!r} is no data throughout; expected an image. Correct nodata, or leave it out.")
    if KELVIN in names:
        median, (low, high) = float(np.nanmedian(values)), KELVIN_RANGE
        if not low <= median <= high:
            raise CubeError(f"scene {place!r}: the median is {median:.4g}; expected kelvin. Give scale and offset.")
        return
    odd = Reflectance(tuple(names))(values)
    if odd is not None:
        raise CubeError(f"scene {place!r}: {odd} Give units or scale in the manifest.")
