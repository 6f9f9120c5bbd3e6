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
    """A cube, the images on its grid that it is compared with, and the pixels to leave out."""

    cube: Cube
    reference: Cube | None
    mask: Any
    """Array (time, band, y, x), True where a pixel counts, or None."""
    border: int
    base: Any = None
    """Array (time, band, y, x) of the image without the added detail, or None."""

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels (y, x)."""
        return self.cube.data.sizes["y"], self.cube.data.sizes["x"]

    @property
    def sources(self) -> list[Any]:
        """Arrays that a block reads: image, reference, base and mask, those that are there."""
        reference = None if self.reference is None else self.reference.data.data
        return [array for array in (self.cube.data.data, reference, self.base, self.mask) if array is not None]

    @property
    def reader(self) -> "Reader":
        """What a block needs to know to read them."""
        there = [array is not None for array in (self.reference, self.base, self.mask)]
        return Reader(self.shape, self.border, *there)

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
    has_base: bool
    has_mask: bool

    def __call__(
        self, job: Job, windows: Sequence[NDArray[Any]], *, infinities: bool = False
    ) -> tuple[NDArray[Any], NDArray[Any] | None, NDArray[Any] | None]:
        """Image, reference and base (band, h, w); NaN where a pixel of one of them does not count; see `exclude`."""
        given = iter(windows)
        image, reference = next(given), next(given) if self.has_reference else None
        base, mask = (next(given) if there else None for there in (self.has_base, self.has_mask))
        rows, cols = job.windows[0].rows, job.windows[0].cols
        place: dict[str, Any] = {"rows": rows, "cols": cols, "shape": self.shape, "infinities": infinities}
        image = exclude(image, **place, border=self.border, mask=mask)
        reference, base = (None if other is None else exclude(other, **place) for other in (reference, base))
        return image, reference, base


def open_comparison(
    sr: XarrayObject,
    reference: XarrayObject | None,
    *,
    base: XarrayObject | None = None,
    mask: xr.DataArray | None = None,
    border: int = 0,
    bands: BandsLike | None,
    units: str | float | None,
) -> Comparison:
    """Open a cube, its reference, and the image that its detail was added to.

    Raises
    ------
    GridError, CubeError, BandError, ParameterError
        If they do not match, or mask or border do not fit.
    """
    cube = open_cube(sr, units=units, bands=fitting(bands, sr), shared=True)
    truth = _beside(cube, reference, "the reference", bands, units)
    plain = _beside(cube, base, "base=", bands, units)
    masked = None if mask is None else open_mask(mask, cube)
    return Comparison(cube, truth, masked, check_border(border, cube), None if plain is None else plain.data.data)


def _beside(
    cube: Cube, other: XarrayObject | None, what: str, bands: BandsLike | None, units: str | float | None
) -> Cube | None:
    """Open another image of the bands and the grid of a cube, if there is one."""
    if other is None:
        return None
    found = open_like(other, cube, units=units, what=what, bands=bands)
    check_same_grid(cube.geobox, found.geobox, what=what)
    return found


def whole(sources: Sequence[Any]) -> Job:
    """Return the only block of a reduction that looks at whole images, arrays (time, band, y, x)."""
    windows = tuple(Window(Span(0, source.shape[2]), Span(0, source.shape[3])) for source in sources)
    return Job(windows[0].rows, windows[0].cols, windows)


def labels(cube: Cube, *dims: str) -> dict[str, Any]:
    """Coordinates of a cube along some of its dimensions, those that are there."""
    return {name: cube.data.coords[name] for name in dims if name in cube.data.coords}
