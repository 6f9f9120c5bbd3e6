"""Temperatures of MODIS sharpened by its vegetation index, against those that ASTER measured from the same satellite.

MODIS has 927 m, its index 232 m; ASTER, averaged to 232 m, is the truth. It is another instrument: its content is
displaced, it has a bias, and it differs from MODIS in coarse pixels, too. The displacement is measured and taken out,
and so is the mean difference of every result; what then remains in coarse pixels bounds what any method can reach.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.thermal_comparators import enlarged
from common.thermal_scores import OF_MODIS, Estimates, Pair
from common.thermal_tables import COMPARED, pooled, table
from xsr.training import modis_aster
from xsr.training.manifest import Manifest
from xsr.training.modis_aster import SCALE

BORDER = 8
"""Pixels of the result along each side that do not count."""
Image = NDArray[np.float64]
BOUNDS = "ASTER without its detail", "ASTER with the coarse pixels of MODIS"
"""What a method without any error in coarse pixels and without any detail reaches, and one with all detail that keeps
the coarse pixels of MODIS."""


@dataclass(frozen=True)
class Overpass:
    """A pair, on the grid of the result."""

    pair: Pair
    shift_m: tuple[float, float]
    """By how much ASTER's content was displaced to the east and to the north."""
    alike: float
    """Correlation of ASTER, averaged, with MODIS in coarse pixels."""
    bias_k: float
    """ASTER minus MODIS."""


@dataclass(frozen=True)
class Agreement:
    """How one result agrees with ASTER once their mean difference is taken out."""

    name: str
    number: int
    rmse_k: float
    correlation: float
    detail: float
    """Correlation of what was added to interpolated MODIS with what ASTER has beyond its own coarse pixels."""


def read_pairs(manifest: Manifest) -> Iterator[Overpass]:
    """Read pairs of the test split, ASTER registered to MODIS."""
    for scene in manifest.select("thermal_errors", split=("test",)):
        for path in manifest.paths(scene, scene.place):
            yield overpass(f"pair {int(scene.place.split()[-1])}", modis_aster.read(path))


def overpass(name: str, one: modis_aster.Overpass) -> Overpass:
    """Compare both sensors in coarse pixels."""
    shift = float(one.truth["shift_x_m"]), float(one.truth["shift_y_m"])
    pair = Pair(name, SCALE, one.low, one.guide, one.truth)
    own, known = coarse(one.truth.values[0])
    mine, other = own[known], one.low.values[0][known]
    return Overpass(pair, shift, float(np.corrcoef(mine, other)[0, 1]), float(mine.mean() - other.mean()))


def coarse(image: NDArray[np.floating]) -> tuple[Image, NDArray[np.bool_]]:
    """Image (y, x) in pixels of MODIS, and which of them it fills."""
    height, width = (size // SCALE for size in image.shape)
    cells = image.astype(np.float64).reshape(height, SCALE, width, SCALE).mean(axis=(1, 3))
    known = np.isfinite(cells)
    return cells, known


def agreements(one: Overpass, made: Estimates, names: Sequence[str]) -> list[Agreement]:
    """Score rows on a pair, and the bounds."""
    number = int(one.pair.place.split()[-1])
    truth = one.pair.truth.values[0].astype(np.float64)
    base = np.asarray(made(one.pair, "bicubic"), np.float64)
    observed, _ = coarse(truth)
    own = enlarged(observed, SCALE)
    results = {name: np.asarray(made(one.pair, name), np.float64) for name in names}
    results |= dict(zip(BOUNDS, (own, truth + enlarged(one.pair.low.values[0] - observed, SCALE)), strict=True))
    inner = np.zeros(truth.shape, bool)
    inner[BORDER:-BORDER, BORDER:-BORDER] = True
    rows = []
    for name, image in results.items():
        known = inner & np.isfinite(truth) & np.isfinite(image)
        error = image[known] - truth[known]
        added = image[known] - (own if name == BOUNDS[0] else base)[known]
        rows.append(
            Agreement(
                name,
                number,
                float(error.std()),
                float(np.corrcoef(image[known], truth[known])[0, 1]),
                float(np.corrcoef(added, (truth - own)[known])[0, 1]) if added.std() > 1e-9 else math.nan,
            )
        )
    return rows


def tables(found: Sequence[Overpass], made: Estimates, networks: Sequence[str]) -> Iterator[str]:
    """Tables of how rows agree with ASTER, mean ± standard error over pairs, and of what each pair is.

    Other rows are compared with the first of the networks.
    """
    names, network = (*COMPARED, *networks, OF_MODIS), networks[0]
    rows = [row for one in found for row in agreements(one, made, names)]
    by_name = {name: [row for row in rows if row.name == name] for name in (*names, *BOUNDS)}
    best = np.array([row.rmse_k for row in by_name[network]])
    lines = []
    for name, mine in by_name.items():
        rmse = np.array([row.rmse_k for row in mine])
        detail = [row.detail for row in mine]
        lines.append(
            [
                name if name in names else f"*{name}*",
                f"{rmse.mean():.3f}",
                f"{np.mean([row.correlation for row in mine]):.3f}",
                "" if np.isnan(detail).any() else f"{np.mean(detail):.3f}",
                "" if name in (network, *BOUNDS) else pooled(20 * np.log10(rmse / best)),
            ]
        )
    yield table(("method", "RMSE K", "r", "r of the detail", f"{network} above it, dB"), lines)
    lines = []
    for one in found:
        mine = {row.name: row for row in rows if row.number == int(one.pair.place.split()[-1])}
        scores = [f"{mine[name].rmse_k:.2f}" for name in ("bicubic", network, OF_MODIS, *BOUNDS)]
        lines.append(
            [one.pair.place, *(f"{m:+.0f}" for m in one.shift_m), f"{one.bias_k:+.2f}", f"{one.alike:.2f}", *scores]
        )
    head = ("displaced to the east, m", "to the north, m", "ASTER − MODIS, K", "r in coarse pixels")
    yield table(("", *head, *(f"RMSE K: {name}" for name in ("bicubic", network, OF_MODIS, *BOUNDS))), lines)
