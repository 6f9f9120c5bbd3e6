"""Writing a cube to Cloud Optimized GeoTIFF: one file a date, strip by strip.

The driver of GDAL copies a finished file and cannot be written to window by window. So each date goes to a plain tiled
file first, one row of blocks at a time, and is copied from there, overviews included. Dates whose blocks are the same,
as those of `xsr.liif` at several target times, are written side by side, so that a block is computed once. A file takes
its name once it is whole: on disk it is renamed, in an object store it is uploaded in one request, or in parts that
appear together.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import numpy as np

from xsr._version import __version__
from xsr.core import checks, graph
from xsr.core.blocks import Span, Window, chunk_sizes, spans
from xsr.core.cube import Cube, clean, open_cube
from xsr.core.errors import ParameterError, StoreError
from xsr.core.packing import FILL, Encoder, StoredType, packing_of, warn_of_infinite
from xsr.core.pipeline import CHUNK
from xsr.core.progress import bar
from xsr.core.provenance import PREFIX
from xsr.core.redact import public
from xsr.core.sheet import Section, Sheet, Shown
from xsr.core.store.outcome import pixels_section
from xsr.core.store.place import Place, resolve_place, store_errors
from xsr.core.types import XarrayObject
from xsr.items.writing import StacLike, require_path, write_beside

Compression = Literal["deflate", "zstd", "lzw", "none"]
SUFFIXES = (".tif", ".tiff")
SIDE_BY_SIDE, TOGETHER = 4, 12
"""Fewest blocks of a row that are computed at once, where it has so many, unless they hold more dates than these."""
AGAIN = "Files written so far are whole; mend the cause and try again."


@dataclass(frozen=True, repr=False)
class CogReport(Shown):
    """What was written."""

    paths: tuple[Path | str, ...]
    """Files in the order of time: paths on disk, or URLs."""
    valid: int
    """Pixels with a value, over all bands and dates."""
    clipped: int
    """Valid pixels outside the range of the packing, moved to its limits."""
    infinite: int
    """Pixels that were infinite, and are written as no data."""
    items: tuple[str, ...] = ()
    """STAC items beside the files, if they were requested."""

    def _sheet(self) -> Sheet:
        where = public(self.paths[0]) if self.paths else ""
        rows = [(public(path),) for path in self.paths] if len(self.paths) > 1 else []
        sections = (
            Section("files", f"{len(self.paths)}", rows, brief=True),
            pixels_section(self.valid, self.clipped, self.infinite),
        )
        return Sheet("xsr GeoTIFF", where, sections)


@dataclass(frozen=True)
class _Form:
    """How the files are written."""

    encode: Encoder
    blocksize: int
    compress: str


def to_cog(
    cube: XarrayObject,
    path: str | Path,
    *,
    dtype: StoredType = "float32",
    allow_clipping: bool = False,
    overwrite: bool = False,
    blocksize: int = 512,
    compress: Compression = "deflate",
    units: str | float | None = None,
    storage_options: Mapping[str, Any] | None = None,
    stac: StacLike = False,
    progress: bool = True,
) -> CogReport:
    """Write a cube as Cloud Optimized GeoTIFF, one file a date.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x); lazy ones may be larger than memory.
    path
        Folder or URL for files named after the cube and the date, ``reflectance_20240615T110621.tif``; or, for one
        date, a name that ends with ``.tif``.
    dtype
        ``float32`` with NaN, or ``uint16`` with no data 0, which packs and counts what it clips: reflectance with scale
        1e-4 and offset -0.1, temperatures (attribute ``units`` "K" or "degC") with scale 0.005 and offset 100 K.
    allow_clipping
        Pack strips of which more than 1 % of the valid pixels lie outside the range of the packing; refused by default.
        A strip is a row of blocks of one date, or a part of it where blocks hold several dates.
    overwrite
        Replace files that exist; refused by default.
    blocksize
        Side of the tiles inside a file in pixels, a multiple of 16.
    compress
        Compression without loss: ``deflate``, ``zstd``, ``lzw`` or ``none``.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.
    storage_options
        Options of fsspec where the path is a URL, for instance ``{"endpoint_url": ...}`` for ``s3://``.
    stac
        Write a STAC item of each file beside it, ``fine.json`` for ``fine.tif``, and one of its model: True, or a
        template as of `xsr.stac_item`.
    progress
        Show a progress bar.

    Returns
    -------
    CogReport
        Paths, valid, clipped and infinite pixels.

    Warns
    -----
    XsrWarning
        If pixels were infinite: they are written as no data.

    Raises
    ------
    StoreError
        If a file exists, its folder does not, or it cannot be written.
    ParameterError
        If an option is out of range, or two dates fall in the same second.
    CubeError, GridError
        If the cube breaks the contract (see `xsr.core.cube.open_cube`), its units have no packing, or packing would
        clip a strip.

    Notes
    -----
    Bands have their names as descriptions, scale and offset where packed, and overviews by averages of valid pixels.
    Memory holds one row of blocks of one date; of dates that share blocks as much, or four blocks. Meanwhile a second
    copy of these dates lies beside them on disk; of dates that go to an object store, both lie in the folder for
    temporary files (``TMPDIR``).

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(32, 32))
    >>> report = cube.sr.interpolate(scale=2).sr.to_cog("fine.tif", dtype="uint16", progress=False)
    >>> report.clipped, dict(xsr.open("fine.tif").sizes)
    (0, {'band': 4, 'y': 64, 'x': 64})
    """
    if dtype not in get_args(StoredType):
        raise ParameterError(f"dtype={dtype!r}; expected 'float32' or 'uint16'.")
    if compress not in get_args(Compression):
        raise ParameterError(f"compress={compress!r}; expected one of {', '.join(get_args(Compression))}.")
    if checks.whole("blocksize", blocksize, least=16) % 16:
        raise ParameterError(f"blocksize={blocksize}; expected a multiple of 16, such as 512.")
    require_path(stac, path)
    opened = open_cube(cube, units=units)
    form = _Form(_encoder(opened, dtype, allow_clipping), blocksize, compress)
    files = _files(opened, resolve_place(path, storage_options))
    _refuse_taken(files, overwrite)
    counts = np.zeros(3, np.int64)
    parts = _parts(opened)
    total = sum(len(dates) * len(windows) for dates, windows in parts)
    with bar("writing strips", total, shown=progress) as advance:
        for dates, windows in parts:
            for pixels in _write(opened, dates, windows, files[dates.slice], form):
                counts += pixels
                advance()
    items = [write_beside(file.path, stac, storage_options=storage_options) for file in files]
    valid, clipped, infinite = counts.tolist()
    paths = tuple(_path_of(file) for file in files)
    report = CogReport(paths, valid, clipped, infinite, tuple(filter(None, items)))
    warn_of_infinite(report.infinite)
    return report


def _encoder(cube: Cube, dtype: StoredType, allow_clipping: bool) -> Encoder:
    name = str(getattr(cube.original, "name", None) or cube.bands[0])
    packing = packing_of(name, clean(cube.attrs)) if dtype == "uint16" else None
    return Encoder(name, dtype, packing, allow_clipping)


def _files(cube: Cube, place: Place) -> list[Place]:
    """File of each date."""
    dates = cube.data.sizes["time"]
    if place.path.lower().endswith(SUFFIXES):
        if dates != 1:
            raise ParameterError(f"path={place.path!r} names one file; the cube has {dates} dates. Name a folder.")
        return [place]
    name = str(cube.original.name) if getattr(cube.original, "name", None) else "cube"
    stamps = [f"{number:04d}" for number in range(dates)]
    if "time" in cube.data.coords:
        stamps = [str(date).replace("-", "").replace(":", "") for date in _seconds(cube)]
    if len(set(stamps)) != dates:
        raise ParameterError(f"dates {stamps} are not all different; expected one a second. Select or average them.")
    return [Place(f"{place.path.rstrip('/')}/{name}_{stamp}.tif", place.options) for stamp in stamps]


def _refuse_taken(files: list[Place], overwrite: bool) -> None:
    """Refuse files that exist, and folders that cannot be made on the way to them."""
    taken = None if overwrite else next(filter(_exists, files), None)
    if taken is not None:
        raise StoreError(f"{taken.path} exists; expected a new file. Choose another path or pass overwrite=True.")
    if not files[0].remote:
        folder = Path(files[0].path).parent
        if not folder.parent.is_dir():
            raise StoreError(f"{folder}: folder {folder.parent} does not exist. Make it first.")
        folder.mkdir(exist_ok=True)


def _exists(file: Place) -> bool:
    if not file.remote:
        return Path(file.path).exists()
    with store_errors(file, "looking for", remedy=AGAIN):
        files, path = _at(file)
        return bool(files.exists(path))


def _path_of(file: Place) -> Path | str:
    return file.path if file.remote else Path(file.path)


def _at(file: Place) -> tuple[Any, str]:
    """File system of fsspec and path there of a URL; what it listed before is forgotten."""
    from fsspec.core import url_to_fs

    files, path = url_to_fs(file.path, **(file.fsspec or {}))
    files.invalidate_cache()
    return files, path


def _seconds(cube: Cube) -> list[Any]:
    times = cube.data["time"].values
    return list(times.astype("datetime64[s]") if times.dtype.kind == "M" else times)


@contextmanager
def _incoming(file: Place) -> Iterator[tuple[Path, Path]]:
    """Two files that lie elsewhere: a plain one, and the whole one that becomes the file in the end."""
    if file.remote:
        with TemporaryDirectory(prefix="xsr-") as folder:
            plain, whole = Path(folder, "plain.tif"), Path(folder, "whole.tif")
            yield plain, whole
            with store_errors(file, "uploading", remedy=AGAIN):
                files, path = _at(file)
                files.put_file(str(whole), path)
        return
    target = Path(file.path)
    plain, whole = (target.with_name(f".{target.stem}.{kind}.tif") for kind in ("plain", "incoming"))
    try:
        yield plain, whole
        os.replace(whole, target)
    finally:
        plain.unlink(missing_ok=True)
        whole.unlink(missing_ok=True)


def _parts(cube: Cube) -> list[tuple[Span, list[Window]]]:
    """Dates whose blocks are the same, and the windows of them that are computed at once.

    A window is a row of blocks, or so many of them that it takes no more memory than a row of one date.
    """
    dates, _, height, width = cube.data.shape
    chunks = cube.data.chunks
    if chunks is None:
        strips = [Window(rows, Span(0, width)) for rows in spans(chunk_sizes(height, CHUNK))]
        return [(Span(date, date + 1), strips) for date in range(dates)]
    found, blocks = [], spans(chunks[3])
    for some in spans(chunks[0]):
        step = max(-(-len(blocks) // len(some)), SIDE_BY_SIDE if len(some) <= TOGETHER else 1)
        groups = [blocks[first : first + step] for first in range(0, len(blocks), step)]
        columns = [Span(group[0].start, group[-1].stop) for group in groups]
        found.append((some, [Window(rows, cols) for rows in spans(chunks[2]) for cols in columns]))
    return found


def _write(
    cube: Cube, dates: Span, windows: list[Window], files: list[Place], form: _Form
) -> Iterator[tuple[int, int, int]]:
    """Write the files of some dates; gives the valid, clipped and infinite pixels of each date and window."""
    from rasterio import windows as inside

    with ExitStack() as stack:
        paths = [stack.enter_context(_incoming(file)) for file in files]
        with ExitStack() as opened:
            images = [opened.enter_context(_plain(cube, path, form)) for path, _ in paths]
            for window in windows:
                rows, cols = window.rows, window.cols
                (values,) = graph.together(cube.data.data[dates.slice, :, rows.slice, cols.slice])
                for image, values_of_date in zip(images, values, strict=True):
                    stored = form.encode(values_of_date)
                    image.write(stored.numbers, window=inside.Window(cols.start, rows.start, len(cols), len(rows)))
                    yield stored.valid, stored.clipped, stored.infinite
            for number, image in enumerate(images):
                image.update_tags(**_tags(cube, dates.start + number))
        for plain, whole in paths:
            _copy(plain, whole, form)


def _plain(cube: Cube, path: Path, form: _Form) -> Any:
    """Open a tiled GeoTIFF for one date."""
    import rasterio

    packing = form.encode.packing
    _, bands, height, width = cube.data.shape
    file = rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=bands,
        height=height,
        width=width,
        dtype=form.encode.dtype,
        nodata=float("nan") if packing is None else FILL,
        crs=cube.geobox.crs.to_wkt() if cube.geobox.crs is not None else None,
        transform=cube.geobox.affine,
        tiled=True,
        blockxsize=form.blocksize,
        blockysize=form.blocksize,
        BIGTIFF="IF_SAFER",
    )
    file.descriptions = cube.bands
    if cube.is_temperature:
        file.units = (str(cube.attrs["units"]),) * bands
    if packing is not None:
        file.scales = (packing.scale,) * bands
        file.offsets = (packing.offset,) * bands
    return file


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


def _copy(plain: Path, whole: Path, form: _Form) -> None:
    from rasterio.shutil import copy

    options = {"COMPRESS": form.compress, "BLOCKSIZE": form.blocksize, "BIGTIFF": "IF_SAFER"}
    options["OVERVIEW_RESAMPLING"] = "AVERAGE"
    if form.compress != "none":
        options["PREDICTOR"] = "YES"
    copy(plain, whole, driver="COG", **options)
