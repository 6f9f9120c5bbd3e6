"""Writing a cube to Cloud Optimized GeoTIFF: one file a date, strip by strip.

The driver of GDAL copies a finished file and cannot be written to window by window. So each date goes to a plain tiled
file first, one row of blocks at a time, and is copied from there, overviews included. A file takes its name once it is
whole.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from xsr._version import __version__
from xsr.core import checks, graph, radiometry
from xsr.core.blocks import Span, chunk_sizes, spans
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import ParameterError, StoreError
from xsr.core.pipeline import CHUNK
from xsr.core.provenance import PREFIX
from xsr.core.types import XarrayObject

Packing = Literal["float32", "uint16"]
Compression = Literal["deflate", "zstd", "lzw", "none"]
SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class CogReport:
    """What was written."""

    paths: tuple[Path, ...]
    """Files in the order of time."""
    valid: int
    """Pixels with a value, over all bands and dates."""
    clipped: int
    """Pixels outside the range of the packing, moved to its limits."""


def to_cog(
    cube: XarrayObject,
    path: str | Path,
    *,
    dtype: Packing = "float32",
    overwrite: bool = False,
    blocksize: int = 512,
    compress: Compression = "deflate",
    units: str | float | None = None,
    progress: bool = True,
) -> CogReport:
    """Write a cube as Cloud Optimized GeoTIFF, one file a date.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x); lazy ones may be larger than memory.
    path
        Folder for files named after the cube and the date, ``reflectance_20240615T110621.tif``; or, for one date, a
        name that ends with ``.tif``.
    dtype
        ``float32`` with NaN, or ``uint16`` (scale 1e-4, offset -0.1, no data 0), which clips and counts.
    overwrite
        Replace files that exist; refused by default.
    blocksize
        Side of the tiles inside a file in pixels, a multiple of 16.
    compress
        Compression without loss: ``deflate``, ``zstd``, ``lzw`` or ``none``.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.
    progress
        Show a progress bar.

    Returns
    -------
    CogReport
        Paths, valid and clipped pixels.

    Raises
    ------
    StoreError
        If a file exists, or its folder does not.
    ParameterError
        If an option is out of range, or two dates fall in the same second.
    CubeError, GridError
        If the cube breaks the contract; see `xsr.core.cube.open_cube`.

    Notes
    -----
    Bands have their names as descriptions, scale and offset where packed, and overviews by averages of valid pixels.
    Memory holds one row of blocks of one date; on disk a second copy of a date lies beside it meanwhile.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(32, 32))
    >>> report = cube.sr.interpolate(scale=2).sr.to_cog("fine.tif", dtype="uint16", progress=False)
    >>> report.clipped, dict(xsr.open("fine.tif").sizes)
    (0, {'band': 4, 'y': 64, 'x': 64})
    """
    if dtype not in get_args(Packing):
        raise ParameterError(f"dtype={dtype!r}; expected 'float32' or 'uint16'.")
    if compress not in get_args(Compression):
        raise ParameterError(f"compress={compress!r}; expected one of {', '.join(get_args(Compression))}.")
    if checks.whole("blocksize", blocksize, least=16) % 16:
        raise ParameterError(f"blocksize={blocksize}; expected a multiple of 16, such as 512.")
    opened = open_cube(cube, units=units)
    paths = _paths(opened, Path(path))
    there = [str(one) for one in paths if one.exists()]
    if there and not overwrite:
        raise StoreError(f"{there[0]} exists; expected a new file. Choose another path or pass overwrite=True.")
    if not paths[0].parent.parent.is_dir():
        raise StoreError(f"{path}: folder {paths[0].parent.parent} does not exist. Make it first.")
    paths[0].parent.mkdir(exist_ok=True)
    counts = np.zeros(2, np.int64)
    with _bar(progress, len(paths) * len(_strips(opened))) as advance:
        for number, file in enumerate(paths):
            with _incoming(file) as (plain, whole):
                for valid, clipped in _write_plain(opened, number, plain, dtype=dtype, blocksize=blocksize):
                    counts += (valid, clipped)
                    advance()
                _copy(plain, whole, blocksize=blocksize, compress=compress)
    radiometry.warn_of_clipping(int(counts[0]), int(counts[1]))
    return CogReport(tuple(paths), int(counts[0]), int(counts[1]))


def _paths(cube: Cube, path: Path) -> list[Path]:
    """File of each date."""
    dates = cube.data.sizes["time"]
    if path.suffix.lower() in SUFFIXES:
        if dates != 1:
            raise ParameterError(f"path={str(path)!r} names one file; the cube has {dates} dates. Name a folder.")
        return [path]
    name = str(cube.original.name) if getattr(cube.original, "name", None) else "cube"
    if "time" not in cube.data.coords:
        return [path / f"{name}_{number:04d}.tif" for number in range(dates)]
    stamps = [str(date).replace("-", "").replace(":", "") for date in _seconds(cube)]
    if len(set(stamps)) != dates:
        raise ParameterError(f"dates {stamps} are not all different; expected one a second. Select or average them.")
    return [path / f"{name}_{stamp}.tif" for stamp in stamps]


def _seconds(cube: Cube) -> list[Any]:
    times = cube.data["time"].values
    return list(times.astype("datetime64[s]") if times.dtype.kind == "M" else times)


@contextmanager
def _bar(progress: bool, total: int) -> Iterator[Any]:
    from rich.progress import Progress

    with Progress(disable=not progress) as bar:
        task = bar.add_task("writing strips", total=total)
        yield lambda: bar.advance(task)


@contextmanager
def _incoming(file: Path) -> Iterator[tuple[Path, Path]]:
    """Two files beside the one to write: a plain one, and the whole one that takes its name in the end."""
    plain, whole = (file.with_name(f".{file.stem}.{kind}.tif") for kind in ("plain", "incoming"))
    try:
        yield plain, whole
        os.replace(whole, file)
    finally:
        plain.unlink(missing_ok=True)
        whole.unlink(missing_ok=True)


def _strips(cube: Cube) -> tuple[Span, ...]:
    """Rows of pixels computed at once: those of one row of blocks."""
    chunks = cube.data.chunks
    return spans(chunk_sizes(cube.data.sizes["y"], CHUNK) if chunks is None else chunks[2])


def _write_plain(cube: Cube, date: int, path: Path, *, dtype: Packing, blocksize: int) -> Iterator[tuple[int, int]]:
    """Write a date to a tiled GeoTIFF; gives the valid and clipped pixels of each strip."""
    import rasterio
    from rasterio.windows import Window

    _, bands, height, width = cube.data.shape
    profile = {
        "driver": "GTiff",
        "count": bands,
        "height": height,
        "width": width,
        "dtype": dtype,
        "nodata": radiometry.FILL if dtype == "uint16" else float("nan"),
        "crs": cube.geobox.crs.to_wkt() if cube.geobox.crs is not None else None,
        "transform": cube.geobox.affine,
        "tiled": True,
        "blockxsize": blocksize,
        "blockysize": blocksize,
        "BIGTIFF": "IF_SAFER",
    }
    with rasterio.open(path, "w", **profile) as file:
        for rows in _strips(cube):
            (values,) = graph.together(cube.data.data[date, :, rows.slice])
            packed, clipped = radiometry.pack(values) if dtype == "uint16" else (values, 0)
            file.write(packed, window=Window(0, rows.start, width, len(rows)))
            yield int(np.isfinite(values).sum()), clipped
        file.descriptions = cube.bands
        if dtype == "uint16":
            file.scales = (radiometry.SCALE_FACTOR,) * bands
            file.offsets = (radiometry.ADD_OFFSET,) * bands
        file.update_tags(**_tags(cube, date))


def _tags(cube: Cube, date: int) -> dict[str, str]:
    """Date and provenance as metadata of the file."""
    tags = {f"{PREFIX}version": __version__}
    tags |= {str(k): str(v) for k, v in cube.original.attrs.items() if str(k).startswith(PREFIX)}
    if "time" in cube.data.coords and cube.data["time"].dtype.kind == "M":
        tags["TIFFTAG_DATETIME"] = str(_seconds(cube)[date]).replace("-", ":").replace("T", " ")
    for name, coord in cube.data.coords.items():
        if coord.dims == ("time",) and coord.dtype.kind in "UTO":
            tags[str(name)] = str(coord.values[date])
    return tags


def _copy(plain: Path, whole: Path, *, blocksize: int, compress: Compression) -> None:
    from rasterio.shutil import copy

    options = {"COMPRESS": compress, "BLOCKSIZE": blocksize, "BIGTIFF": "IF_SAFER", "OVERVIEW_RESAMPLING": "AVERAGE"}
    if compress != "none":
        options["PREDICTOR"] = "YES"
    copy(plain, whole, driver="COG", **options)
