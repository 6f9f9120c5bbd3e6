"""A folder with one file for each band: ``B02.tif``, ``T31UFS_20240615T105031_B02_10m.jp2``, ``scene_blue.tif``.

The name of a band is the last part of a file's name that the table of bands knows. Files of other things (true colour,
water vapour) are left out; a scene classification on the same grid becomes the coordinate ``scl``.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xsr.core import checks
from xsr.core.errors import BandError, CubeError, GridError
from xsr.core.grid import crs_name, resolution
from xsr.core.sensors import canonical, canonical_band
from xsr.sources.files import CHUNK, open_raster_file
from xsr.sources.labels import Bands

SUFFIXES = (".tif", ".tiff", ".jp2", ".j2k")
LANDSAT = re.compile(r"(^|[_\-. ])(L[COTEM]0?[4-9]|L[4-9]_|landsat|HLS\.L30)", re.IGNORECASE)
"""What names of Landsat's files hold, whose bands have other numbers."""
SIZE = re.compile(r"\d+m", re.IGNORECASE)


def open_band_files(
    path: str, *, bands: Bands | None = None, crs: str | int | None = None, chunks: int = CHUNK
) -> xr.Dataset:
    """Open a folder of single-band files as one cube.

    Parameters
    ----------
    path
        Folder. Of a band in several pixel sizes (``_10m``, ``_20m``) the finest file is taken.
    bands
        Bands to keep, in any spelling; by default all. Or their names, each with the name of its file without suffix.
    crs
        CRS, where the files state none.
    chunks
        Side of a chunk in pixels.

    Returns
    -------
    Dataset
        One variable (y, x) for each band, Dask-backed: numbers as they are stored, each with the no data and scale of
        its file.

    Raises
    ------
    BandError
        If no file is named for a band, two are for the same, or a band is missing.
    GridError
        If the files are on several grids, with the bands on each.
    CubeError
        If a file cannot be read, or holds several bands.
    """
    files = _choose(Path(path), bands)
    images = {name: _open(file, crs=crs, chunks=chunks) for name, file in files.items()}
    _check_grids(images)
    cube = xr.Dataset(images)
    classes = _classes(Path(path), crs=crs, chunks=chunks)
    first = next(iter(images.values()))
    if classes is not None and classes.odc.geobox == first.odc.geobox:
        cube = cube.assign_coords(scl=classes)
    return cube.assign_attrs(source="band files")


def band_of(stem: str) -> str | None:
    """Canonical band that the name of a file without suffix ends with; None if there is none.

    Examples
    --------
    >>> band_of("T31UFS_20240615T105031_B02_10m"), band_of("b8a"), band_of("scene_blue"), band_of("TCI")
    ('B02', 'B8A', 'B02', None)
    """
    for part in reversed(re.split(r"[_.\- ]", stem)):
        try:
            return canonical_band(part)
        except BandError:
            continue
    return None


def _choose(folder: Path, bands: Bands | None) -> dict[str, Path]:
    """File of each band, in the order of the sensor or of ``bands``."""
    rasters = _rasters(folder)
    if isinstance(bands, Mapping):
        stems = {file.stem: file for file in rasters}
        missing = [str(stem) for stem in bands.values() if str(stem) not in stems]
        if missing or not bands:
            raise BandError(f"files {missing or 'none'} requested; {folder} has {sorted(stems)}. Name its files.")
        return {name: stems[str(stem)] for name, stem in bands.items()}
    found = _by_band(folder, rasters)
    if bands is None:
        return found
    names = [canonical(name) for name in checks.names("bands", bands)]
    missing = [name for name in names if name not in found]
    if missing or not names or len(set(names)) != len(names):
        raise BandError(f"bands {missing or names} requested; {folder} has {', '.join(found)}. Name each once.")
    return {name: found[name] for name in names}


def _by_band(folder: Path, rasters: list[Path]) -> dict[str, Path]:
    landsat = next((file.name for file in rasters if LANDSAT.search(file.name)), None)
    if landsat is not None:
        raise BandError(
            f"{folder} holds {landsat}, a band of Landsat, without the metadata that say which band and what its"
            " numbers are; expected the _MTL file beside it. Download it."
        )
    groups: dict[str, list[Path]] = {}
    for file in rasters:
        name = band_of(file.stem)
        if name is not None:
            groups.setdefault(name, []).append(file)
    if not groups:
        names = [file.name for file in rasters[:6]]
        raise BandError(
            f"no file of {folder} is named for a band: {names}; expected names like B02.tif or scene_B02_10m.jp2."
            " Open one file, or give each band its file: bands={'B02': 'file'}."
        )
    return {name: _finest(name, groups[name]) for name in sorted(groups, key=_order)}


def _order(name: str) -> str:
    return name.replace("B8A", "B08A")


def _finest(name: str, files: list[Path]) -> Path:
    """File of the smallest pixels among those of one image in several sizes."""
    if len(files) == 1:
        return files[0]
    sizes = {int(found[0][:-1]): file for file in files if (found := SIZE.findall(file.stem)[-1:])}
    images = {SIZE.sub("", file.stem) for file in files}
    if len(sizes) != len(files) or len(images) != 1:
        raise BandError(
            f"band {name} has several files, {', '.join(file.name for file in files)}; expected one date and one file"
            " for each band. Keep each date in a folder of its own."
        )
    return sizes[min(sizes)]


def _rasters(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.iterdir()) if file.suffix.lower() in SUFFIXES]


def _open(file: Path, *, crs: str | int | None, chunks: int) -> xr.DataArray:
    data = open_raster_file(str(file), crs=crs, chunks=chunks)
    assert isinstance(data, xr.DataArray)
    if data.sizes["band"] != 1:
        raise CubeError(f"{file} holds {data.sizes['band']} bands; expected one in each file. Open it alone.")
    if data.odc.geobox is None or data.odc.crs is None:
        raise GridError(f"{file} has no CRS; expected a georeferenced file. Give it: crs='EPSG:32633'.")
    image = data.isel(band=0, drop=True)
    image.attrs.pop("long_name", None)
    return image


def _check_grids(images: Mapping[str, xr.DataArray]) -> None:
    """Refuse files on several grids: which to bring to which, and how, is not for a reader to decide."""
    groups: dict[GeoBox, list[str]] = {}
    for name, image in images.items():
        groups.setdefault(image.odc.geobox, []).append(name)
    if len(groups) == 1:
        return
    listed = "; ".join(f"{', '.join(names)}: {_grid(box)}" for box, names in groups.items())
    largest = max(groups.values(), key=len)
    raise GridError(f"the files are on {len(groups)} grids ({listed}); expected one. Choose one: bands={largest}.")


def _grid(box: GeoBox) -> str:
    down, across = resolution(box)
    size = f"{across:g}" if np.isclose(down, across) else f"{across:g} x {down:g}"
    corner = f"{box.boundingbox.left:g}, {box.boundingbox.top:g}"
    return f"{box.shape.y} x {box.shape.x} pixels of {size} at {corner} in {crs_name(box)}"


def _classes(folder: Path, *, crs: str | int | None, chunks: int) -> xr.DataArray | None:
    """Scene classification, the finest there is."""
    files = [file for file in _rasters(folder) if re.search(r"(^|_)SCL(_\d+m)?$", file.stem, re.IGNORECASE)]
    return _open(_finest("SCL", files), crs=crs, chunks=chunks) if files else None
