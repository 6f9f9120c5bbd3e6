"""Search for the lattice from which an image was resampled by nearest neighbour.

For each zone and pixel size the pixels of a sample are grouped by the source pixel in which their centres lie. Pairs of
neighbours in one source pixel must be equal, far more often than other neighbours are, and going there and back must
reproduce the image. A band's own pixels are the largest for which both hold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from xsr.core import graph
from xsr.core.blocks import Span
from xsr.core.cube import Cube
from xsr.kernels import native as kernels
from xsr.kernels.native import STEPS, Agreement, Neighbours
from xsr.operations.native.lattices import NEAR, Lattice, View, nominal, own_lattice, view

WINDOW = 256
"""Side in pixels of a window of the sample."""
WINDOWS = 3
"""Windows along each axis."""
DATES = 4
"""Dates of the sample, evenly spread."""
EVIDENCE = 10.0
"""Repeats beyond chance without which a band says nothing."""
EVIDENCE_SEARCHED = 100.0
"""The same where the lattice was moved to fit them."""
LEAPS = 8.0
"""Standard deviations by which neighbours must differ more over skipped pixels, where none is repeated."""
CONTRAST = 0.6
"""Share of the predicted repeats, beyond chance, that must be equal."""
SETTLE_M = 0.005
"""Steps in metres by which an image is moved to fit its lattices."""
REPRODUCED = 0.95
"""Share of the pixels that going to the lattice and back must reproduce."""


@dataclass(frozen=True)
class Part:
    """A window of the sample."""

    images: NDArray[np.float32]
    """Shape (date, band, h, w)."""
    rows: Span
    cols: Span
    pairs: Neighbours


@dataclass(frozen=True)
class Sample:
    """Windows of some dates of a cube, read."""

    geobox: GeoBox
    bands: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def pixels(self) -> int:
        """Number of pixels of a band."""
        return sum(part.images[:, 0].size for part in self.parts)

    def views(self, crs: CRS) -> list[View]:
        """Pixels of each part seen from a zone."""
        found = []
        for part in self.parts:
            y, x = (np.arange(span.start, span.stop) + 0.5 for span in (part.rows, part.cols))
            found.append(view(self.geobox, crs, *np.meshgrid(y, x, indexing="ij")))
        return found


def read_sample(cube: Cube) -> Sample:
    """Read windows of some dates of a cube."""
    sizes = cube.data.sizes
    dates = np.unique(np.linspace(0, sizes["time"] - 1, DATES).round().astype(int))
    places = list(product(_spread(sizes["y"]), _spread(sizes["x"])))
    chosen = cube.data.isel(time=dates)
    windows = graph.together(*(chosen.isel(y=rows.slice, x=cols.slice).data for rows, cols in places))
    parts = [
        Part(images, rows, cols, kernels.neighbours(images))
        for images, (rows, cols) in zip(windows, places, strict=True)
    ]
    return Sample(cube.geobox, cube.bands, tuple(parts))


def _spread(size: int) -> list[Span]:
    """Windows along an axis, from end to end."""
    side, count = min(size, WINDOW), min(WINDOWS, math.ceil(size / WINDOW))
    return [Span(start, start + side) for start in np.linspace(0, size - side, count).astype(int).tolist()]


@dataclass(frozen=True)
class Trial:
    """What a sample says about one lattice."""

    lattice: Lattice
    agreement: Agreement
    same: NDArray[np.float64]
    """Share of the pixels of each band that going there and back reproduces; NaN where repeats speak against it."""
    least: float = EVIDENCE
    """Evidence without which a band says nothing."""

    @property
    def speaks(self) -> NDArray[np.bool_]:
        """Bands that have repeats to test, beyond chance."""
        return np.asarray(self.agreement.evidence >= self.least)

    @property
    def holds(self) -> NDArray[np.bool_]:
        """Bands whose own pixels are those of the lattice, or larger."""
        return np.asarray(self.speaks & (self.agreement.contrast >= CONTRAST) & (self.same >= REPRODUCED))

    @property
    def fails(self) -> NDArray[np.bool_]:
        """Bands whose own pixels are certainly not those of the lattice."""
        return np.asarray(self.speaks & ~self.holds)


@dataclass(frozen=True)
class Fit:
    """What a sample says about one zone."""

    crs: CRS
    trial: Trial
    """Of the finest lattice of the bands, or of the best one if none holds."""
    own: tuple[Lattice | None, ...] = ()
    """Lattice of the own pixels of each band; None where the sample does not say. Empty: no band has one."""
    reproduced: float = math.nan
    """Share of the pixels of the sample that going there and back reproduces, each band on its own lattice."""
    evidence: float = 0.0
    """Number of repeats beyond chance that were tested."""
    against: tuple[str, ...] = ()
    """Bands that are not of this zone's pixels."""
    moved_m: tuple[float, float] = (0.0, 0.0)
    """By how much the image's pixels lie farther down and right than its coordinates say: centimetres of rounding."""

    @property
    def coarsest(self) -> Lattice:
        """Lattice of the largest pixels of a band."""
        known = [lattice for lattice in (*self.own, self.trial.lattice) if lattice is not None]
        return max(known, key=lambda lattice: lattice.size_m)

    @property
    def holds(self) -> bool:
        """Whether the image was resampled from here."""
        return bool(self.own) and not self.against


def fit(sample: Sample, crs: CRS, sizes_m: Sequence[float]) -> Fit | None:
    """Judge a zone; None where the sample cannot be seen from it."""
    views = sample.views(crs)
    if not all(np.isfinite(v).all() for seen in views for v in (seen.south, seen.east)):
        return None
    grid = own_lattice(sample.geobox, crs, sizes_m)
    first = nominal(sizes_m) if grid is None else _larger(grid, sizes_m)
    trials = [_try(sample, views, lattice) for lattice in first]
    if grid is None and not any(trial.holds.any() for trial in trials):
        trials += [_try(sample, views, _shifted(sample, views, size), EVIDENCE_SEARCHED) for size in sizes_m]
    if not any(trial.holds.any() for trial in trials):
        best = max(trials, key=_score)
        return _by_leaps(sample, views, crs, trials) or Fit(crs, best) if grid is None else Fit(crs, best)
    return _resolve(sample, views, crs, trials, grid, sizes_m)


def _larger(grid: Lattice, sizes_m: Sequence[float]) -> list[Lattice]:
    """Lattices of larger pixels than those of a grid, whether or not the grid is a part of them."""
    usual = nominal([size for size in sizes_m if size / grid.size_m > 1 + NEAR])
    return usual + [lattice for lattice in _blocks(grid, sizes_m) if lattice not in usual]


def _by_leaps(sample: Sample, views: Sequence[View], crs: CRS, trials: Sequence[Trial]) -> Fit | None:
    """Judge a zone of which no pixel is repeated by those that are skipped."""
    pairs = [part.pairs for part in sample.parts]
    silent = [trial for trial in trials if not (trial.agreement.repeats > 0).any()]
    scores = [kernels.leaps(pairs, [trial.lattice.cells(seen)[0] for seen in views]) for trial in silent]
    if not scores or max(scores) < LEAPS:
        return None
    trial = silent[int(np.argmax(scores))]
    return Fit(crs, trial, (trial.lattice,) * len(sample.bands), reproduced=1.0)


def _score(trial: Trial) -> float:
    pooled = trial.agreement.pooled()
    return float(pooled.contrast[0]) if pooled.evidence[0] >= EVIDENCE else -1.0


def _try(sample: Sample, views: Sequence[View], lattice: Lattice, least: float = EVIDENCE) -> Trial:
    """Count repeats; where they hold, go there and back."""
    total: Any = None
    for part, seen in zip(sample.parts, views, strict=True):
        counts = kernels.agreement(part.pairs, *lattice.positions(seen))
        total = counts if total is None else total + counts
    same = np.full(len(sample.bands), math.nan)
    promising = np.flatnonzero((total.evidence >= least) & (total.contrast >= CONTRAST))
    if promising.size:
        parts = zip(sample.parts, views, strict=True)
        hits = sum(kernels.reproduced(part.images[:, promising], *lattice.cells(seen)) for part, seen in parts)
        same[promising] = hits / sample.pixels
    return Trial(lattice, total, same, least)


def _shifted(sample: Sample, views: Sequence[View], size_m: float) -> Lattice:
    """Lattice whose pixels end where repeats do."""
    lattice, bands = Lattice(size_m), list(range(len(sample.bands)))
    down, right = (kernels.best_border(_borders(sample, views, lattice, bands, axis)) for axis in (0, 1))
    return Lattice(size_m, down * size_m % size_m, right * size_m % size_m)


def _borders(
    sample: Sample, views: Sequence[View], lattice: Lattice, bands: Sequence[int], axis: int
) -> NDArray[np.float64]:
    """Judge where pixels end along an axis, from the corner of a lattice; see `xsr.kernels.native.borders`."""
    positions = [lattice.positions(seen)[axis] for seen in views]
    known, equal = (
        [counts[axis][list(bands)].sum(axis=0) for counts in (getattr(part.pairs, kind) for part in sample.parts)]
        for kind in ("known", "equal")
    )
    return kernels.borders(positions, known, equal, axis=axis)


def _resolve(
    sample: Sample,
    views: Sequence[View],
    crs: CRS,
    trials: Sequence[Trial],
    grid: Lattice | None,
    sizes_m: Sequence[float],
) -> Fit:
    """Find the finest lattice of all bands, then the own pixels of each."""
    count = len(sample.bands)
    own = [_largest(trials, band) for band in range(count)]
    finest = _finest([lattice for lattice in own if lattice is not None])
    without = [band for band in range(count) if own[band] is None]
    if any(trial.fails[band] for band in without for trial in trials if trial.lattice == finest):
        finest = grid or _inner(finest, sizes_m)
    base = _try(sample, views, finest, max(trial.least for trial in trials if trial.holds.any()))
    blocks = [_try(sample, views, lattice) for lattice in _joined(finest, sizes_m, trials)]
    for band in range(count):
        if own[band] is None or own[band] == finest:
            own[band] = _largest([*blocks, base], band)
    against = [sample.bands[band] for band in range(count) if own[band] is None and base.fails[band]]
    nested = [trial for trial in [*trials, *blocks] if finest.nests_in(trial.lattice)]
    for band in without:  # one that does not repeat larger pixels has the finest ones, though none may be repeated
        if own[band] is None and any(trial.fails[band] for trial in nested):
            own[band] = finest
    return _summary(sample, views, crs, base, own, tuple(against))


def _largest(trials: Sequence[Trial], band: int) -> Lattice | None:
    """Lattice of the largest pixels that hold for a band."""
    held = [trial for trial in trials if trial.holds[band]]
    return max(held, key=lambda trial: (trial.lattice.size_m, trial.same[band])).lattice if held else None


def _finest(lattices: Sequence[Lattice]) -> Lattice:
    """Lattice of which all given ones are blocks."""
    least = min(lattices, key=lambda lattice: lattice.size_m)
    if all(least.nests_in(lattice) for lattice in lattices):
        return least
    return least.inner(float(math.gcd(*(round(lattice.size_m) for lattice in lattices))))


def _inner(lattice: Lattice, sizes_m: Sequence[float]) -> Lattice:
    """Lattice of the largest smaller pixels of which the given ones are blocks; itself if there are none."""
    fitting = [size for size in sizes_m if size < lattice.size_m and lattice.inner(size).nests_in(lattice)]
    return lattice.inner(max(fitting)) if fitting else lattice


def _joined(finest: Lattice, sizes_m: Sequence[float], trials: Sequence[Trial]) -> list[Lattice]:
    """Blocks of the finest lattice that were not tried yet."""
    known = [trial.lattice for trial in trials]
    return [lattice for lattice in _blocks(finest, sizes_m) if lattice not in known]


def _blocks(finest: Lattice, sizes_m: Sequence[float]) -> list[Lattice]:
    """Larger pixels of a lattice: where products have them, and of twice the side wherever they may begin."""
    larger = [size for size in sizes_m if size / finest.size_m > 1 + NEAR]
    usual = [lattice for lattice in nominal(larger) if finest.nests_in(lattice)]
    twice = [size for size in larger if abs(size / finest.size_m - 2) < NEAR]
    return usual + [lattice for size in twice for lattice in finest.blocks(size) if lattice not in usual]


def _summary(
    sample: Sample,
    views: Sequence[View],
    crs: CRS,
    base: Trial,
    own: Sequence[Lattice | None],
    against: tuple[str, ...],
) -> Fit:
    """Pool what the bands say, each on its own lattice."""
    groups = {
        lattice: [band for band, one in enumerate(own) if (one or base.lattice) == lattice]
        for lattice in dict.fromkeys(one or base.lattice for one in own)
    }
    moved = _settle(sample, views, groups)
    hits, evidence = 0.0, 0.0
    for lattice, bands in groups.items():
        for part, seen in zip(sample.parts, views, strict=True):
            found = lattice.cells(seen.moved(*moved))
            hits += kernels.reproduced(part.images[:, bands], *found).sum()
            evidence += kernels.agreement(part.pairs, *lattice.positions(seen)).evidence[bands].sum()
    return Fit(crs, base, tuple(own), hits / (sample.pixels * len(own)), evidence, against, moved)


def _settle(sample: Sample, views: Sequence[View], groups: dict[Lattice, list[int]]) -> tuple[float, float]:
    """Move the image by the centimetres by which it fits its lattices best, down and right."""
    finest = min(lattice.size_m for lattice in groups)
    count = round(kernels.SLACK * finest / SETTLE_M)
    places = np.arange(-count, count + 1)
    moved = []
    for axis in (0, 1):
        score = np.zeros(len(places))
        for lattice, bands in groups.items():
            per_step = _borders(sample, views, lattice, bands, axis)
            score += per_step[np.rint(places * SETTLE_M / lattice.size_m * STEPS - 1).astype(int)]
        best = places[score >= score.max()]
        moved.append(-SETTLE_M * float(best[np.argmin(np.abs(best))]))
    return moved[0], moved[1]
