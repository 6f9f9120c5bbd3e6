"""A cube and its reference on one grid: which pixels count, and which windows a block reads of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr
from numpy.typing import NDArray

from xsr.core.blocks import Span, Window
from xsr.core.cube import Cube, open_cube
from xsr.core.graph import Job
from xsr.core.match import blocks_of, check_border, check_same_grid, open_like, open_mask
from xsr.core.names import BandsLike, fitting
from xsr.core.types import XarrayObject
from xsr.kernels.pixels import exclude


@dataclass(frozen=True)
class Comparison:
    """A cube, the reference on its grid if there is one, and the pixels to leave out."""

    cube: Cube
    reference: Cube | None
    mask: Any
    """Array (time, band, y, x), True where a pixel counts, or None."""
    border: int

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels (y, x)."""
        return self.cube.data.sizes["y"], self.cube.data.sizes["x"]

    @property
    def sources(self) -> list[Any]:
        """Arrays that a block reads: image, reference and mask, those that are there."""
        cubes = (self.cube, self.reference)
        arrays = [given.data.data for given in cubes if given is not None]
        return arrays if self.mask is None else [*arrays, self.mask]

    @property
    def reader(self) -> "Reader":
        """What a block needs to know to read them."""
        return Reader(self.shape, self.border, self.reference is not None, self.mask is not None)

    def jobs(
        self, chunks: int | Sequence[int] | None, *, before: int = 0, after: tuple[int, int] = (0, 0)
    ) -> list[Job]:
        """Blocks, each with one window for every source: so many pixels before the block, and after it along (y, x)."""
        jobs = []
        for rows, cols in blocks_of(self.cube, chunks):
            down = Span(rows.start - before, rows.stop + after[0])
            right = Span(cols.start - before, cols.stop + after[1])
            jobs.append(Job(rows, cols, (Window(down, right),) * len(self.sources)))
        return jobs


@dataclass(frozen=True)
class Reader:
    """How a block reads the windows of a `Comparison`."""

    shape: tuple[int, int]
    border: int
    has_reference: bool
    has_mask: bool

    def __call__(self, job: Job, windows: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Image and reference (band, h, w); NaN where a pixel of the one or the other does not count."""
        given = iter(windows)
        image, reference = next(given), next(given) if self.has_reference else None
        mask = next(given) if self.has_mask else None
        place: dict[str, Any] = {"rows": job.windows[0].rows, "cols": job.windows[0].cols, "shape": self.shape}
        image = exclude(image, **place, border=self.border, mask=mask)
        return image, None if reference is None else exclude(reference, **place)


def open_comparison(
    sr: XarrayObject,
    reference: XarrayObject | None,
    *,
    mask: xr.DataArray | None = None,
    border: int = 0,
    bands: BandsLike | None,
    units: str | float | None,
) -> Comparison:
    """Open a cube and its reference.

    Raises
    ------
    GridError, CubeError, BandError, ParameterError
        If they do not match, or mask or border do not fit.
    """
    cube = open_cube(sr, units=units, bands=fitting(bands, sr))
    truth = None
    if reference is not None:
        truth = open_like(reference, cube, units=units, what="the reference", bands=bands)
        check_same_grid(cube.geobox, truth.geobox, what="the reference")
    return Comparison(cube, truth, None if mask is None else open_mask(mask, cube), check_border(border, cube))


def whole(sources: Sequence[Any]) -> Job:
    """Return the only block of a reduction that looks at whole images, arrays (time, band, y, x)."""
    windows = tuple(Window(Span(0, source.shape[2]), Span(0, source.shape[3])) for source in sources)
    return Job(windows[0].rows, windows[0].cols, windows)


def labels(cube: Cube, *dims: str) -> dict[str, Any]:
    """Coordinates of a cube along some of its dimensions, those that are there."""
    return {name: cube.data.coords[name] for name in dims if name in cube.data.coords}
