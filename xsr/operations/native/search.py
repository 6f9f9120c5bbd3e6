"""Search for the lattice from which an image was resampled by nearest neighbour.

For each zone and pixel size the pixels of a sample are grouped by the source pixel in which their centres lie. Pairs of
neighbours in one source pixel must be equal, far more often than other neighbours are, and going there and back must
reproduce the image. A band's own pixels are the largest for which both hold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from odc.geo.crs import CRS

from xsr.kernels import native as kernels
from xsr.kernels.native import STEPS, Agreement
from xsr.operations.native.lattices import NEAR, Lattice, nominal
from xsr.operations.native.sample import Sample, Zone, project_sample, project_straight_rows

EVIDENCE = 10.0
"""Repeats beyond chance without which a band counts as untested."""
EVIDENCE_SEARCHED = 100.0
"""The same where the lattice was moved to fit them."""
CONTRAST = 0.6
"""Share of the predicted repeats, beyond chance, that must be equal. Measured on 22 scenes of WorldStrat: 0.78 or more
in the right zone, 0.33 or less in its neighbours."""
REPRODUCED = 0.95
"""Share of the pixels that going to the lattice and back must reproduce."""
LEAPS = 8.0
"""Standard deviations by which neighbours must differ more over skipped pixels, where none is repeated. Measured: 13 or
more if resampled by nearest neighbour, 4 or less if by interpolation."""
SETTLE_M = 0.005
"""Steps in metres by which an image is moved to fit its lattices."""


@dataclass(frozen=True)
class Trial:
    """What a sample says about one lattice."""

    lattice: Lattice
    agreement: Agreement
    same: NDArray[np.float64]
    """Share of the pixels of each band that going there and back reproduces; NaN where repeats contradict it."""
    least: float
    """Evidence without which a band counts as untested."""

    @property
    def tested(self) -> NDArray[np.bool_]:
        """Bands that have repeats to test, beyond chance."""
        return np.asarray(self.agreement.evidence >= self.least)

    @property
    def holds(self) -> NDArray[np.bool_]:
        """Bands whose own pixels are those of the lattice, or larger."""
        return np.asarray(self.tested & (self.agreement.contrast >= CONTRAST) & (self.same >= REPRODUCED))

    @property
    def fails(self) -> NDArray[np.bool_]:
        """Bands whose own pixels are certainly not those of the lattice."""
        return np.asarray(self.tested & ~self.holds)

    @property
    def score(self) -> float:
        """Contrast over all bands; -1 where there is nothing to test."""
        pooled = self.agreement.pooled()
        return float(pooled.contrast[0]) if pooled.evidence[0] >= EVIDENCE else -1.0


@dataclass(frozen=True)
class Fit:
    """What a sample says about one zone."""

    crs: CRS
    grid: Lattice | None
    """Lattice on which the cube itself lies; None if it is on none of this zone."""
    finest: Lattice
    """Lattice of which those of all bands are blocks; the best one tried if none holds."""
    score: float
    """Contrast of the finest lattice; -1 where there is nothing to test."""
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

    straight: bool = False
    """Whether rows were projected along straight pieces, as GDAL does by default."""

    @property
    def untested(self) -> bool:
        """Whether the sample says nothing: no band alone has repeats to test, and all together none that differ."""
        scarce = self.score < 0 or (self.score >= CONTRAST and math.isnan(self.reproduced))
        return not self.own and scarce

    @property
    def coarsest(self) -> Lattice:
        """Lattice of the largest pixels of a band."""
        known = [lattice for lattice in (*self.own, self.finest) if lattice is not None]
        return max(known, key=lambda lattice: lattice.size_m)

    @property
    def holds(self) -> bool:
        """Whether the image was resampled from here."""
        return bool(self.own) and not self.against and self.reproduced >= REPRODUCED


def search(sample: Sample, zones: Sequence[CRS], sizes_m: Sequence[float]) -> list[Fit]:
    """Judge zones; those to which the sample cannot be projected are left out.

    Only where no zone holds with the lattices of products, pixels are searched for that begin elsewhere, or that are
    skipped but never repeated.
    """
    projected = [zone for crs in zones if (zone := project_sample(sample, crs, sizes_m)) is not None]
    trials = [_usual(zone, sizes_m) for zone in projected]
    if not any(trial.holds.any() for tried in trials for trial in tried):
        skipped = [
            fit for zone, tried in zip(projected, trials, strict=True) if (fit := _by_leaps(zone, tried)) is not None
        ]
        if skipped:
            return skipped
        trials = [tried + _shifted(zone, sizes_m) for zone, tried in zip(projected, trials, strict=True)]
    return [_judge(zone, tried, sizes_m) for zone, tried in zip(projected, trials, strict=True)]


def trust(sample: Sample, crs: CRS, size_m: float) -> Fit | None:
    """Take an image to be resampled from pixels that cannot be tested; None where it is on pixels of the zone itself.

    None, too, where products have pixels of the size at several places, and where going there and back shows that the
    statement is wrong.
    """
    zone, lattices = project_sample(sample, crs, (size_m,)), nominal((size_m,))
    if zone is None or zone.grid is not None or len(lattices) > 1:
        return None
    (lattice,), bands = lattices, range(len(sample.bands))
    pooled, back = zone.agreement(lattice).pooled(), zone.reproduced(lattice, bands).mean()
    evidence = float(pooled.evidence[0])
    fit = Fit(crs, None, lattice, float(pooled.contrast[0]), (lattice,) * len(bands), float(back), evidence)
    return fit if fit.holds else None


def _usual(zone: Zone, sizes_m: Sequence[float]) -> list[Trial]:
    """Try the lattices of products, and larger pixels of the cube's own grid."""
    grid = zone.grid
    if grid is None:
        return [_try(zone, lattice) for lattice in nominal(sizes_m)]
    larger = nominal([size for size in sizes_m if size / grid.size_m > 1 + NEAR])
    return [_try(zone, lattice) for lattice in dict.fromkeys([*larger, *_blocks(grid, sizes_m)])]


def _try(zone: Zone, lattice: Lattice, least: float = EVIDENCE) -> Trial:
    """Count repeats; where they hold, go there and back."""
    agreement = zone.agreement(lattice)
    same = np.full(len(zone.sample.bands), math.nan)
    promising = np.flatnonzero((agreement.evidence >= least) & (agreement.contrast >= CONTRAST))
    if promising.size:
        same[promising] = zone.reproduced(lattice, promising.tolist())
    return Trial(lattice, agreement, same, least)


def _by_leaps(zone: Zone, trials: Sequence[Trial]) -> Fit | None:
    """Judge a zone of which no pixel is repeated by those that are skipped."""
    silent = [trial for trial in trials if not (trial.agreement.repeats > 0).any()]
    if zone.grid is not None or not silent:
        return None
    scores = [zone.leaps(trial.lattice) for trial in silent]
    if max(scores) < LEAPS:
        return None
    lattice = silent[int(np.argmax(scores))].lattice
    return Fit(zone.crs, None, lattice, 1.0, (lattice,) * len(zone.sample.bands), reproduced=1.0)


def _shifted(zone: Zone, sizes_m: Sequence[float]) -> list[Trial]:
    """Try lattices whose pixels end where repeats do."""
    if zone.grid is not None:
        return []
    bands, found = range(len(zone.sample.bands)), []
    for size in sizes_m:
        down, right = (kernels.best_border(zone.borders(Lattice(size), bands, axis)) for axis in (0, 1))
        found.append(_try(zone, Lattice(size, down * size % size, right * size % size), EVIDENCE_SEARCHED))
    return found


def _judge(zone: Zone, trials: Sequence[Trial], sizes_m: Sequence[float]) -> Fit:
    """Find the finest lattice of all bands, then the own pixels of each."""
    held = [trial for trial in trials if trial.holds.any()]
    if not held:
        best = max(trials, key=lambda trial: trial.score, default=None)
        if best is None:
            return Fit(zone.crs, zone.grid, zone.grid or Lattice(min(sizes_m)), -1.0)
        back = float(np.fmin.reduce(best.same))
        return Fit(zone.crs, zone.grid, best.lattice, best.score, reproduced=back)
    count = len(zone.sample.bands)
    finest = _finest(zone, held, sizes_m)
    base = _try(zone, finest, max(trial.least for trial in held))
    known = [trial.lattice for trial in trials]
    blocks = [_try(zone, lattice) for lattice in _blocks(finest, sizes_m) if lattice not in known]
    nested = [trial for trial in [*trials, *blocks] if finest.nests_in(trial.lattice)]
    own = [_largest([base, *nested], band) for band in range(count)]
    against = [band for band in range(count) if own[band] is None and base.fails[band]]
    for band in range(count):  # one that repeats no larger pixels has the finest ones, though none may be repeated
        if own[band] is None and any(trial.fails[band] for trial in nested):
            own[band] = finest
    return _summary(zone, base, own, tuple(zone.sample.bands[band] for band in against))


def _largest(trials: Sequence[Trial], band: int) -> Lattice | None:
    """Lattice of the largest pixels that hold for a band."""
    held = [trial for trial in trials if trial.holds[band]]
    return max(held, key=lambda trial: (trial.lattice.size_m, trial.same[band])).lattice if held else None


def _finest(zone: Zone, held: Sequence[Trial], sizes_m: Sequence[float]) -> Lattice:
    """Lattice of which the own pixels of all bands are blocks."""
    own = [_largest(held, band) for band in range(len(zone.sample.bands))]
    lattices = [lattice for lattice in own if lattice is not None]
    least = min(lattices, key=lambda lattice: lattice.size_m)
    if not all(least.nests_in(lattice) for lattice in lattices):
        least = least.inner(float(math.gcd(*(round(lattice.size_m) for lattice in lattices))))
    trial = next((trial for trial in held if trial.lattice == least), None)
    if trial is None or not any(lattice is None and fails for lattice, fails in zip(own, trial.fails, strict=True)):
        return least
    smaller = [size for size in sizes_m if size < least.size_m and least.inner(size).nests_in(least)]
    return zone.grid or (least.inner(max(smaller)) if smaller else least)


def _blocks(finest: Lattice, sizes_m: Sequence[float]) -> list[Lattice]:
    """Larger pixels of a lattice: where products have them, and of twice the side wherever they may begin."""
    larger = [size for size in sizes_m if size / finest.size_m > 1 + NEAR]
    usual = [lattice for lattice in nominal(larger) if finest.nests_in(lattice)]
    twice = [size for size in larger if abs(size / finest.size_m - 2) < NEAR]
    return list(dict.fromkeys([*usual, *(lattice for size in twice for lattice in finest.blocks(size))]))


def _summary(zone: Zone, base: Trial, own: Sequence[Lattice | None], against: tuple[str, ...]) -> Fit:
    """Pool what the bands say, each on its own lattice."""
    finest, places = base.lattice, [lattice or base.lattice for lattice in own]
    groups = {lattice: [band for band, one in enumerate(places) if one == lattice] for lattice in dict.fromkeys(places)}
    evidence = sum(float(zone.agreement(lattice).evidence[bands].sum()) for lattice, bands in groups.items())
    found = Fit(zone.crs, zone.grid, finest, base.score, tuple(own), math.nan, evidence, against)
    exact = _settled(found, zone, groups)
    if zone.grid is not None:
        return exact
    straight = _settled(replace(found, straight=True), project_straight_rows(zone, finest), groups)
    return max(exact, straight, key=lambda fit: fit.reproduced)


def _settled(found: Fit, zone: Zone, groups: dict[Lattice, list[int]]) -> Fit:
    """Move the image to where it fits best, and go there and back."""
    moved = _settle(zone, groups)
    same = sum(float(zone.reproduced(lattice, bands, moved).sum()) for lattice, bands in groups.items())
    return replace(found, reproduced=same / len(found.own), moved_m=moved)


def _settle(zone: Zone, groups: dict[Lattice, list[int]]) -> tuple[float, float]:
    """Move the image by the centimetres by which it fits its lattices best, down and right."""
    count = round(kernels.SLACK * min(lattice.size_m for lattice in groups) / SETTLE_M)
    places = np.arange(-count, count + 1)
    moved = []
    for axis in (0, 1):
        score = np.zeros(len(places))
        for lattice, bands in groups.items():
            steps = np.rint(places * SETTLE_M / lattice.size_m * STEPS - 1).astype(int)
            score += zone.borders(lattice, bands, axis)[steps]
        best = places[score >= score.max()]
        moved.append(-SETTLE_M * float(best[np.argmin(np.abs(best))]))
    return moved[0], moved[1]
