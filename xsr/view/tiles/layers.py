"""What a map shows: the result of a network, its input, an interpolation, or how wide the likely values spread."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from xsr.core import graph, pipeline
from xsr.core.blocks import Span
from xsr.core.cube import Cube, open_cube
from xsr.core.grid import between
from xsr.core.names import BandsLike
from xsr.core.target_times import TargetTime, plan_groups
from xsr.core.types import WindowFunction, XarrayObject
from xsr.kernels import sharpness, spread
from xsr.kernels.resample import Interpolation
from xsr.kernels.temporal import TemporalInterpolation, date_weights
from xsr.models import registry
from xsr.models.precision import Precision
from xsr.operations.super_resolve import intervals
from xsr.operations.super_resolve.continuous import DEFAULT, DEFAULT_AT, TOGETHER, Request, liif, prepare
from xsr.operations.super_resolve.sharpness import Sharpness, chosen, gains_of, resharpened
from xsr.view.tiles.evaluation import Image, evaluate
from xsr.view.tiles.memory import Memory
from xsr.view.tiles.moments import Moment
from xsr.view.tiles.source import Source

LAYERS = ("liif", "bicubic", "input", "spread")
QUANTILES = (0.05, 0.95)
"""Between which the spread is."""
SCALES = (2, 4)
"""At which it is computed, the one nearest to the tile: whole, so that it does not depend on where the cube is cut."""
FRAMES = 5
"""Clear dates that a time between dates is computed from; see `xsr.liif`."""
MOST = {"interpolated": 10, "averaged": 2}
"""Dates on either side of a time between dates that interpolation may use; at coarse zooms each is read whole."""

BEYOND = sharpness.MARGIN + 2 * spread.MARGIN + 2
"""Pixels of that grid around those that are shown on which they depend, beside what the network reads."""


@dataclass(frozen=True)
class Settings:
    """How results are computed; see `xsr.liif`."""

    model: str | Path | None
    bands: BandsLike | None
    units: str | float | None
    device: str
    precision: Precision
    psf: Sharpness | None


class Layers:
    """Computes images of any grid finer than the cube, or averages of coarser ones.

    Parameters
    ----------
    cube
        What the user gave.
    checked
        The same, validated.
    settings
        How results are computed.
    memory
        Where pixels that were read are kept.
    """

    def __init__(self, cube: XarrayObject, checked: Cube, settings: Settings, memory: Memory[Any]) -> None:
        self.checked, self.source = checked, Source(checked, memory)
        self._cube, self._memory, self._settings = cube, memory, settings

    def _prepare(self, model: str | Path, moments: pipeline.Moments) -> Request:
        how = self._settings
        return prepare(
            *(self._cube, model, how.bands, how.units, how.device, how.precision),
            *(moments, FRAMES, True),
            sharpen=how.psf in (None, "sensor"),
        )

    @property
    def psf(self) -> Sharpness | None:
        """Sharpness of the results."""
        return chosen(self._settings.psf, self.single.card)

    # --- networks ---------------------------------------------------------------------------------------------------

    @cached_property
    def single(self) -> Request:
        """Model of each date by itself."""
        return self._prepare(self._named("continuous", DEFAULT), pipeline.Moments(None))

    @cached_property
    def series(self) -> Request:
        """Model of times between dates."""
        moments = pipeline.Moments(self.checked.times[0], most=FRAMES, together=TOGETHER)
        return self._prepare(self._named("temporal", DEFAULT_AT), moments)

    def _named(self, kind: str, default: str) -> str | Path:
        """Model that the user chose, where it does what is needed; the default elsewhere."""
        model = self._settings.model
        if model is None:
            return default
        card = registry.card(model)
        known = registry.record_of(card).kind
        fits = known == kind or card.reads == "dates"
        return default if known in ("continuous", "temporal") and card.factor is None and not fits else model

    def _of(self, request: Request) -> Source:
        """Where a model reads: bands that repeat larger pixels are smoothed for it."""
        same = self.checked.native_corner is None
        return self.source if same else Source(request.cube, self._memory, name="smooth")

    def _gains(self, request: Request) -> tuple[float, ...] | None:
        return gains_of(chosen(self._settings.psf, request.card), request.card, request.cube.canonical)

    def liif(self, box: GeoBox, moment: Moment) -> Image:
        """Compute the result of the network on a grid."""
        request = self.single if moment.between is None else self.series
        source, gains = self._of(request), self._gains(request)
        if moment.between is None:
            return evaluate(box, graph.Frames(resharpened(request.function, gains), (moment.date,), 1), source)
        assert request.at is not None
        _, make = request.at
        return self._at(
            box, moment.between, lambda times: resharpened(make(times), gains), source, FRAMES, request.beside
        )

    def _at(
        self,
        box: GeoBox,
        target: np.datetime64,
        make: Callable[[tuple[TargetTime, ...]], WindowFunction],
        source: Source,
        most: int,
        beside: Any = None,
    ) -> Image:
        """Evaluate a block function of several dates at a target time."""
        (group,) = plan_groups(np.array([target]), source.cube.times, window=None, most=most, together=1)
        return evaluate(box, graph.Frames(make(group.target_times), group.dates, 1), source, beside)

    # --- likely values ------------------------------------------------------------------------------------------------

    def refuse_spread(self, between: bool = False) -> None:
        """Refuse a spread where errors were not measured.

        Raises
        ------
        ModelError, ParameterError
            With the reason.
        """
        card = self.single.card
        t = "a time between dates" if between else None
        intervals.requested(QUANTILES, card, {"t": t}, self.psf)

    def spread(self, box: GeoBox, moment: Moment) -> Image:
        """Width of the interval that holds nine tenths of the likely values.

        It is computed on a grid of the cube's own, twice or four times finer, whose nearest pixels a tile shows: errors
        were measured on such grids.
        """
        self.refuse_spread(moment.between is not None)
        cell = max(between(self.checked.geobox, box).cell)
        scale = min(SCALES, key=lambda one: abs(np.log(one * cell)))
        halo = self.single.function.halo + -(-BEYOND // scale)
        sampling = between(self.checked.geobox, box)
        window = graph.make_plan(sampling, self.source.shape, halo=halo, chunks=sampling.shape).blocks[0].window
        nothing = np.full((len(self.checked.bands), *box.shape.yx), np.nan, np.float32)
        if window is None:
            return nothing
        part = self._cut(moment.date, *window.source(self.source.shape, "edge"))
        how = self._settings
        made = liif(
            part,
            scale=scale,
            quantiles=QUANTILES,
            units="reflectance",
            model=self._named("continuous", DEFAULT),
            device=how.device,
            precision=how.precision,
        )
        low, high = (open_cube(made.sel(quantile=one), units="reflectance") for one in QUANTILES)
        width = high.data.data - low.data.data
        onto = between(high.geobox, box)
        function = Interpolation("nearest")
        plan = graph.make_plan(onto, width.shape[2:], halo=function.halo, chunks=onto.shape)
        found: Image = graph.run(function, width, plan)[0]
        return found

    def _cut(self, date: int, rows: Span, cols: Span) -> XarrayObject:
        """Part of the cube in memory, as the user's container; it begins where pixels twice as large do."""
        rows, cols = (Span(span.start // 2 * 2, span.stop) for span in (rows, cols))
        values = self.source.fetch([date], rows, cols)
        one = replace(self.checked, data=self.checked.data.isel(time=[date]), layers=())
        return one.rewrap(values, self.checked.geobox[rows.slice, cols.slice], {})

    # --- interpolation ----------------------------------------------------------------------------------------------

    def bicubic(self, box: GeoBox, moment: Moment) -> Image:
        """Interpolation on a grid; between dates the mean of those around, by their distances."""
        if moment.between is None:
            return evaluate(box, graph.Frames(Interpolation("bicubic"), (moment.date,), 1), self.source)
        return self._at(box, moment.between, _linear, self.source, MOST["interpolated"])

    def input(self, box: GeoBox, moment: Moment) -> Image:
        """Pixels of the acquisition, or of the nearest in time, unchanged."""
        return evaluate(box, graph.Frames(Interpolation("nearest"), (moment.date,), 1), self.source)

    # --- coarser than the cube ----------------------------------------------------------------------------------------

    def average(self, box: GeoBox, moment: Moment, units: float) -> Image:
        """Mean of the pixels of the cube in each pixel of a coarser grid of Web Mercator.

        Parameters
        ----------
        box
            The grid.
        moment
            When.
        units
            Side of a pixel of the cube in units of that grid.
        """
        from odc.geo.warp import rio_reproject

        level = max(0, int(np.floor(np.log2(box.resolution.x / units))))
        grid = self.source.level_grid(level)
        out = np.full((len(self.checked.bands), *box.shape.yx), np.nan, np.float32)
        window = graph.make_plan(between(grid, box), grid.shape.yx, halo=2, chunks=box.shape.yx).blocks[0].window
        if window is None:
            return out
        rows, cols = window.source(grid.shape.yx, "edge")
        image = self._averaged(moment, level, rows, cols)
        part = grid[rows.slice, cols.slice]
        for band, values in enumerate(image):
            rio_reproject(values, out[band], part, box, "average", src_nodata=np.nan, dst_nodata=np.nan)
        return out

    def _averaged(self, moment: Moment, level: int, rows: Span, cols: Span) -> Image:
        """Averaged pixels at a target time; between dates the mean of those around, by their distances."""
        if moment.between is None:
            return self.source.average(moment.date, level, rows, cols)
        at, times = np.array([moment.between]), self.checked.times
        (group,) = plan_groups(at, times, window=None, most=MOST["averaged"], together=1)
        images = np.stack([self.source.average(date, level, rows, cols) for date in group.dates])
        (target,), valid = group.target_times, np.isfinite(images)
        weight = date_weights(valid, target.offset, method="linear", frames=FRAMES)
        mean = (weight * np.where(valid, images, np.float32(0))).sum(axis=0)
        return np.where(valid.any(axis=0), mean, np.float32(np.nan))


def _linear(times: tuple[TargetTime, ...]) -> TemporalInterpolation:
    return TemporalInterpolation("bicubic", temporal="linear", frames=FRAMES, target_times=times)
