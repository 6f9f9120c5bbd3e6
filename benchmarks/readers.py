"""One result, many readers: what each program reads of the same image in every form that xsr writes.

``python benchmarks/readers.py`` prints the table; ``--write`` writes it to docs/reference/readers.md. A reader is right
if CRS, transform, bands, no data and all values are those that were written.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsr

PAGE = Path(__file__).parents[1] / "docs/reference/readers.md"
MARK = "<!-- table -->"
BANDS = ("B02", "B03", "B8A")
SIDE = (40, 36)
CRS = "EPSG:32633"
TRANSFORM = (2.5, 0.0, 600_000.0, 0.0, -2.5, 5_800_000.0)
NAME = "reflectance"

FORMS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "packed": {"dtype": "uint16"},
    "overviews": {"overviews": 2},
    "format 3": {"zarr_format": 3},
    "shards": {"inner_chunks": 10},
}
"""Options of `to_zarr`."""
COGS: Mapping[str, Mapping[str, Any]] = {"COG": {}, "COG packed": {"dtype": "uint16"}}
"""Options of `to_cog`."""


class Absent(Exception):
    """A reader is not here."""


@dataclass(frozen=True)
class Found:
    """What a reader says of an image; None where it says nothing."""

    values: NDArray[Any]
    """Of (band, y, x), NaN where there is no data."""
    transform: tuple[float, ...]
    crs: Any
    bands: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Target:
    """An image that was written."""

    form: str
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cog(self) -> bool:
        """Whether it is a GeoTIFF."""
        return self.form in COGS

    @property
    def group(self) -> str | None:
        """Group of the image."""
        return "0" if "overviews" in self.options else None

    @property
    def folder(self) -> str:
        """What a program opens that knows no levels."""
        return self.path if self.group is None else f"{self.path}/{self.group}"


def image() -> xr.DataArray:
    """Image with no data in one corner and a hole in one band."""
    values = np.random.default_rng(1).uniform(0.01, 0.6, (len(BANDS), *SIDE)).astype(np.float32)
    values = (np.rint(values * 1e4) / 1e4).astype(np.float32)  # what uint16 holds as well
    values[:, :7, :5] = np.nan
    values[1, 20, 30] = np.nan
    grid = xr_coords(GeoBox(SIDE, Affine(*TRANSFORM), CRS))
    made = xr.DataArray(values, {**grid, "band": list(BANDS)}, ("band", "y", "x"), name=NAME)
    return made.chunk(band=1, y=20, x=20)


def write(folder: Path) -> list[Target]:
    """Write the image in every form."""
    cube, made = image(), []
    for number, (form, options) in enumerate(FORMS.items()):
        path = folder / f"{number}.zarr"
        xsr.to_zarr(cube, path, progress=False, **options)
        made.append(Target(form, str(path), options))
    for number, (form, options) in enumerate(COGS.items()):
        path = folder / f"{number}.tif"
        xsr.to_cog(cube, path, progress=False, blocksize=128, **options)
        made.append(Target(form, str(path), options))
    return made


# --- readers -----------------------------------------------------------------------------------------------


def _of_xarray(data: xr.DataArray, crs: Any, transform: Any) -> Found:
    return Found(data.values, tuple(transform)[:6], crs, tuple(map(str, data["band"].values)))


def _spaced(data: xr.DataArray) -> tuple[float, ...]:
    """Transform by the coordinates of the pixel centres."""
    y, x = (data[dim].values[0] for dim in "yx")
    dy, dx = (np.diff(data[dim].values).mean() for dim in "yx")
    return float(dx), 0.0, float(x - dx / 2), 0.0, float(dy), float(y - dy / 2)


def by_xarray(target: Target) -> Found:
    """`xarray.open_zarr`."""
    data = xr.open_zarr(target.path, group=target.group)[NAME]
    return _of_xarray(data, data["spatial_ref"].attrs["crs_wkt"], _spaced(data))


def by_datatree(target: Target) -> Found:
    """`xarray.open_datatree`, and `open_groups` beside it."""
    tree = xr.open_datatree(target.path, engine="zarr")
    assert set(xr.open_groups(target.path, engine="zarr")) == set(tree.groups)
    data = tree[target.group or "/"].to_dataset()[NAME]
    return _of_xarray(data, data["spatial_ref"].attrs["crs_wkt"], _spaced(data))


def by_rioxarray(target: Target) -> Found:
    """Accessor ``rio`` of what xarray opens; `rioxarray.open_rasterio` of a COG."""
    import rioxarray

    if target.cog:
        data = rioxarray.open_rasterio(target.path, mask_and_scale=True)
        assert isinstance(data, xr.DataArray)
        return Found(data.values, tuple(data.rio.transform())[:6], data.rio.crs, data.attrs["long_name"])
    data = xr.open_zarr(target.path, group=target.group, decode_coords="all")[NAME]
    return _of_xarray(data, data.rio.crs, data.rio.transform())


def by_odc_geo(target: Target) -> Found:
    """Accessor ``odc`` of what xarray opens."""
    data = xr.open_zarr(target.path, group=target.group, decode_coords="all")[NAME]
    return _of_xarray(data, str(data.odc.geobox.crs), data.odc.geobox.affine)


def by_zarr(target: Target) -> Found:
    """zarr-python alone: arrays, attributes and the GeoZarr conventions."""
    import zarr

    group = zarr.open_group(target.path, path=target.group or "", mode="r")
    array = group[NAME]
    attrs = array.attrs
    numbers, fill = array[:], array.fill_value
    values = numbers * attrs.get("scale_factor", 1) + attrs.get("add_offset", 0)
    values = np.where(numbers == fill, np.nan, values) if numbers.dtype.kind == "u" else values
    bands = tuple(map(str, group["band"][:]))
    return Found(values, tuple(group.attrs["spatial:transform"]), group.attrs["proj:code"], bands)


def by_rasterio(target: Target) -> Found:
    """GDAL in the wheel of rasterio."""
    return _of_gdal(target.folder)


def _of_gdal(path: str) -> Found:
    import rasterio

    with rasterio.open(path) as source:
        if not source.count:
            raise ValueError("it shows no raster")
        numbers = source.read()
        scales, offsets = (np.reshape(n, (-1, 1, 1)) for n in (source.scales, source.offsets))
        values = np.where(source.read_masks() == 0, np.nan, numbers * scales + offsets)
        named = source.descriptions if all(source.descriptions) else None
        return Found(values, tuple(source.transform)[:6], source.crs, named)


def by_gdal(target: Target) -> Found:
    """Gdalinfo and gdal_translate of the system, as programs."""
    if shutil.which("gdal_translate") is None:
        raise Absent("no gdal_translate here")
    shown = json.loads(_run("gdalinfo", "-json", target.folder))
    listed = shown.get("metadata", {}).get("SUBDATASETS", {})
    names = [listed[key] for key in sorted(listed) if key.endswith("_NAME") and f"/{NAME}:" in listed[key]]
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for number, name in enumerate(names or [target.folder]):  # before 3.8 each band is a subdataset
            copy = f"{folder}/{number}.tif"
            _run("gdal_translate", "-q", name, copy)
            parts.append(_of_gdal(copy))
        values = np.concatenate([part.values for part in parts])
        return Found(values, parts[0].transform, parts[0].crs, parts[0].bands if target.cog else None)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip().splitlines()[0])
    return done.stdout


def by_rio_tiler(target: Target) -> Found:
    """rio-tiler: its reader of GeoTIFF, and of xarray."""
    from rio_tiler.io import Reader, XarrayReader

    if target.cog:
        with Reader(target.path) as reader:
            read = reader.read(unscale=True)
            bands = tuple(name for _, name in reader.info().band_descriptions)
    else:
        data = xr.open_zarr(target.path, group=target.group, decode_coords="all")[NAME]
        reader = XarrayReader(data)
        read, bands = reader.part(reader.bounds, bounds_crs=reader.crs), tuple(map(str, data["band"].values))
    return Found(read.array.astype(float).filled(np.nan), tuple(read.transform)[:6], read.crs, bands)


def by_geozarr(target: Target) -> Found:
    """Reader of GeoZarr in rio-tiler, which goes by the conventions alone."""
    import zarr
    from rio_tiler.experimental.zarr import GroupReader

    reader = GroupReader(zarr.open_group(target.path, mode="r"))
    read = reader.part(reader.bounds, bounds_crs=reader.crs, variables=[NAME])
    return Found(read.array.astype(float).filled(np.nan), tuple(read.transform)[:6], read.crs)


def by_xsr(target: Target) -> Found:
    """`xsr.open`."""
    data = xsr.open(target.path)
    assert isinstance(data, xr.DataArray)
    return _of_xarray(data, str(data.odc.geobox.crs), data.odc.geobox.affine)


# --- the table ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reader:
    """A program, its version and how it reads."""

    name: str
    version: Callable[[], str]
    read: Callable[[Target], Found]
    leaves: frozenset[str] = frozenset()
    """Forms that are none of its own."""


def _of(package: str) -> Callable[[], str]:
    return lambda: metadata.version(package)


def _gdal_wheel() -> str:
    import rasterio

    return f"{rasterio.__version__}, GDAL {rasterio.__gdal_version__}"


def _gdal_here() -> str:
    if shutil.which("gdalinfo") is None:
        return "not here"
    return _run("gdalinfo", "--version").split(",")[0].removeprefix("GDAL ")


ZARR_ONLY = frozenset(COGS)
READERS = (
    Reader("xarray, `open_zarr`", _of("xarray"), by_xarray, ZARR_ONLY),
    Reader("xarray, `open_datatree`", _of("xarray"), by_datatree, ZARR_ONLY),
    Reader("rioxarray", _of("rioxarray"), by_rioxarray),
    Reader("odc-geo", _of("odc-geo"), by_odc_geo, ZARR_ONLY),
    Reader("zarr-python", _of("zarr"), by_zarr, ZARR_ONLY),
    Reader("rasterio (wheel)", _gdal_wheel, by_rasterio),
    Reader("GDAL of the system", _gdal_here, by_gdal),
    Reader("rio-tiler", _of("rio-tiler"), by_rio_tiler),
    Reader("rio-tiler, GeoZarr", _of("rio-tiler"), by_geozarr, ZARR_ONLY | {"packed"}),  # it does not unpack
    Reader("xsr", _of("xarray-sr"), by_xsr, frozenset({"COG packed"})),  # digital numbers, which its operations unpack
)


def wrong(read: Found, cube: xr.DataArray) -> list[str]:
    """Say what a reader read otherwise than it was written."""
    from rasterio.crs import CRS as Parsed

    found = []
    if not np.allclose(read.transform, TRANSFORM, rtol=0, atol=1e-6):
        found.append("grid")
    if Parsed.from_user_input(read.crs).to_epsg() != Parsed.from_user_input(CRS).to_epsg():
        found.append("CRS")
    if read.bands is not None and tuple(read.bands) != BANDS:
        found.append("bands")
    if not np.array_equal(np.isnan(read.values), np.isnan(cube.values)):
        found.append("no data")
    elif not np.allclose(read.values, cube.values, rtol=0, atol=1e-6, equal_nan=True):
        found.append("values")
    return found


def outcome(reader: Reader, target: Target, cube: xr.DataArray) -> str:
    """Say in a word or two what became of a reading."""
    if target.form in reader.leaves:
        return "–"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = reader.read(target)
    except (Absent, ImportError):
        return "–"
    except Exception as error:
        return f"no: {str(error).splitlines()[0]}"
    bad = wrong(read, cube)
    if bad:
        return f"wrong {', '.join(bad)}"
    return "all" if read.bands is not None else "all but names of bands"


def table(readers: Sequence[Reader] = READERS) -> tuple[list[str], list[str]]:
    """Rows of the table, and what programs said that could not open a form."""
    cube = image().compute()
    with tempfile.TemporaryDirectory() as folder:
        targets = write(Path(folder))
        forms = [target.form for target in targets]
        rows, said = [f"| reader | version | {' | '.join(forms)} |", f"| --- | --- |{' --- |' * len(forms)}"], []
        for reader in readers:
            found = [outcome(reader, target, cube) for target in targets]
            failed = [(form, one[4:]) for form, one in zip(forms, found, strict=True) if one.startswith("no:")]
            said += [f"{reader.name}, {form}: {text}".replace(f"{folder}/", "") for form, text in failed]
            rows.append(
                f"| {reader.name} | {reader.version()} | {' | '.join(one.partition(':')[0] for one in found)} |"
            )
    return rows, said


def main() -> None:
    """Print the table, or write it into its page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="Write docs/reference/readers.md.")
    parser.add_argument("--small", action="store_true", help="Two readers.")
    arguments = parser.parse_args()
    rows, said = table(READERS[:2] if arguments.small else READERS)
    text = "\n".join([*rows, "", *(f"- {one}" for one in said)])
    print(text)
    if arguments.write and not arguments.small:
        head = PAGE.read_text().partition(MARK)[0]
        PAGE.write_text(f"{head}{MARK}\n{text}\n")


if __name__ == "__main__":
    main()
