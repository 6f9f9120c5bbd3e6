"""Results that a page requests: an area cropped and sharpened into a store, and a store packed for download."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geom import Geometry

from xsr.core.errors import ParameterError
from xsr.core.types import XarrayObject
from xsr.view.map.acquire import check_size, read_area
from xsr.view.map.jobs import Job
from xsr.view.map.layers import moment, number

METHODS = ("liif", "sisr", "sharpen", "bicubic", "crop")
"""What can be done with an area; ``crop`` leaves its pixels as they are."""
FIXED = "carn_3x3x64g4sw_s2"
"""Weights of ``sisr``."""
FORMS = ("zarr", "cog")
MOST_SCALE = 16.0
BLOCK = 512
"""Side of an output block in pixels: between two rows of blocks a job can be cancelled."""


@dataclass(frozen=True)
class Recipe:
    """What is computed of a cube."""

    method: str = "liif"
    scale: float = 2.0
    t: np.datetime64 | None = None
    """The one date, acquired or not; None for all that were acquired."""
    area: Geometry | None = None

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Recipe":
        """Read what a page sends: ``method``, ``scale``, ``t`` and ``area``, of which any may be missing.

        Raises
        ------
        ParameterError
            If one is wrong.
        """
        method = given.get("method", cls.method)
        if method not in METHODS:
            raise ParameterError(f"method={method!r}; expected one of {', '.join(METHODS)}.")
        scale = number("scale", str(given.get("scale", cls.scale)))
        if not 1 <= scale <= MOST_SCALE:
            raise ParameterError(f"scale={scale:g}; expected a number from 1 to {MOST_SCALE:g}.")
        t, area = given.get("t"), given.get("area")
        return cls(method, scale, moment(None if t is None else str(t)), None if area is None else read_area(area))

    @property
    def factor(self) -> float:
        """Output pixels along a side of an input pixel, at most."""
        return {"sisr": 2.0, "sharpen": 1.0, "crop": 1.0}.get(self.method, self.scale)

    def apply(self, cube: XarrayObject, *, model: str | None = None) -> XarrayObject:
        """Build the result on a cube, lazy.

        Parameters
        ----------
        cube
            The cube.
        model
            Weights of ``liif``, by default those of the library.

        Raises
        ------
        ParameterError
            If the result is too large, or the date is none that the method can compute.
        XsrError
            As of the operations.
        """
        from xsr.operations.clip import clip

        part = cube if self.area is None else clip(cube, self.area)
        part, between = self._dated(part)
        images = part.sizes.get("time", 1) if between is None else 1
        bands = part.sizes.get("band", 1) if isinstance(part, xr.DataArray) else len(part.data_vars)
        y, x = part.odc.spatial_dims
        check_size(part.sizes[y] * part.sizes[x] * self.factor**2 * bands * images, "the result")
        return self._computed(part if part.chunks else part.chunk(), between, model)

    def _dated(self, cube: XarrayObject) -> tuple[XarrayObject, np.datetime64 | None]:
        """Cube of the dates requested, and the date that is to be computed between them."""
        if self.t is None or "time" not in cube.dims:
            return cube, None
        known = cube["time"].values.astype("datetime64[s]")
        there = np.flatnonzero(known == self.t.astype("datetime64[s]"))
        if there.size:
            return cube.isel(time=there[:1]), None
        if self.method != "liif":
            raise ParameterError(
                f"no image was acquired at {self.t.astype('datetime64[s]')}, which {self.method} needs; expected one of"
                " the dates. Choose liif, or an acquisition."
            )
        return cube, self.t

    def _computed(self, part: XarrayObject, between: np.datetime64 | None, model: str | None) -> XarrayObject:
        from xsr.operations.interpolate import interpolate
        from xsr.operations.super_resolve import liif, sharpen, sisr

        kinds: dict[str, Callable[[], XarrayObject]] = {
            "liif": lambda: liif(
                part, scale=self.scale, t=between, model=None if between is not None else model, chunks=BLOCK
            ),
            "sisr": lambda: sisr(part, model=FIXED, chunks=BLOCK),
            "sharpen": lambda: sharpen(part, chunks=BLOCK),
            "bicubic": lambda: interpolate(part, scale=self.scale, method="bicubic", chunks=BLOCK),
            "crop": lambda: even(part),
        }
        return kinds[self.method]()


def even(cube: XarrayObject) -> XarrayObject:
    """Lazy cube in blocks of one size, one date in each, as a store needs them."""
    return cube.chunk({dim: 1 if dim == "time" else BLOCK for dim in cube.dims if dim != "band"})


def write(job: Job, fine: XarrayObject, path: Path) -> XarrayObject:
    """Write a result to a store, some rows of blocks at a time, and open it.

    Raises
    ------
    XsrError
        As of `xsr.to_zarr`.
    """
    from xsr.operations.store import to_zarr
    from xsr.sources.opening import open as open_any

    parts = list(_parts(fine))
    job.step(0, len(parts), "preparing")
    to_zarr(fine, path, compute=False, progress=False)
    for done, part in enumerate(parts):
        job.step(done, len(parts), "computing")
        to_zarr(fine.isel(part), path, region=part, progress=False)
    job.step(len(parts), len(parts), "opening")
    return open_any(path)


def _parts(fine: XarrayObject) -> Iterator[dict[Any, slice]]:
    """Parts of a lazy cube that are whole blocks: rows of blocks of each date."""
    split = [dim for dim in ("time", fine.odc.spatial_dims[0]) if dim in fine.dims]
    for chosen in product(*(list(_spans(fine.chunksizes[dim])) for dim in split)):
        yield dict(zip(split, chosen, strict=True))


def _spans(sizes: tuple[int, ...]) -> Iterator[slice]:
    start = 0
    for size in sizes:
        yield slice(start, start + size)
        start += size


def pack(job: Job, cube: XarrayObject, path: Path, form: str, scratch: Path) -> Path:
    """Pack a cube into one file.

    Parameters
    ----------
    job
        The job, for its progress.
    cube
        The cube.
    path
        File to write, without its suffix.
    form
        ``zarr``: a zip archive that is a Zarr store. ``cog``: a Cloud Optimized GeoTIFF, or a zip archive of one for
        each date.
    scratch
        Folder for what is packed, empty or not there.

    Raises
    ------
    ParameterError
        If there is no such form.
    XsrError
        As of `xsr.to_zarr` and `xsr.to_cog`.
    """
    if form not in FORMS:
        raise ParameterError(f"format={form!r}; expected zarr or cog.")
    if form == "zarr":
        write(job, even(cube), scratch)
        return _zipped(scratch, path.with_name(f"{path.name}.zarr.zip"))
    from xsr.operations.to_cog import to_cog

    scratch.mkdir(parents=True)
    dates = [cube] if "time" not in cube.dims else [cube.isel(time=[one]) for one in range(cube.sizes["time"])]
    for done, date in enumerate(dates):
        job.step(done, len(dates), "writing GeoTIFF")
        to_cog(date, scratch / f"{path.name}.tif" if len(dates) == 1 else scratch, progress=False)
    if len(dates) == 1:
        (found,) = scratch.glob("*.tif")
        return found.rename(path.with_name(f"{path.name}.tif"))
    return _zipped(scratch, path.with_name(f"{path.name}.zip"))


def _zipped(folder: Path, path: Path) -> Path:
    """Put the files of a folder at the root of a zip archive, without compression: they are compressed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
    return path
