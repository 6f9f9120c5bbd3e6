"""Whether quantiles hold on test places, and what they cost.

Places of the test split are degraded and super-resolved as for `benchmarks/wald.py`; none of them trained or calibrated
a network. ``--write`` puts the tables into docs/reference/quantiles.md. Needs the folder of real images in XSR_DATA.
"""

import argparse
import math
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr
from common.data import manifest
from numpy.typing import NDArray
from wald import write

import xsr
from xsr.models import registry
from xsr.training.manifest import Manifest
from xsr.training.scores import TestPlace, observed, read_places

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "quantiles.md"
MARKERS = "<!-- quantiles: written by benchmarks/intervals.py -->", "<!-- end of quantiles -->"
MODELS = {"liif_s2": (2.0, 3.4, 4.0), "carn_3x3x64g4sw_s2": (2.0,), "sharpen_s2": (1.0,)}
QUANTILES = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
NOMINAL = (0.5, 0.8, 0.9, 0.95)
BORDER = 4
"""Pixels of the input left out along each side, beyond which mirrored pixels are read."""
LEAST = 8
"""Pixels of the result along a side that must be left."""
MOST, SIDE = 6, 256
"""Dates of a place, and pixels along a side of its middle, that are looked at."""
STEEP = 0.9
"""Share of the pixels of an image and band that are less steep than the steepest."""
REPEATS = 5


@dataclass(frozen=True)
class Case:
    """Pixels of one place, band and scale."""

    place: str
    band: str
    scale: float
    error: NDArray[np.float32]
    lower: NDArray[np.float32]
    """What the quantiles below the middle are below the estimate, shape (quantile, n)."""
    upper: NDArray[np.float32]
    """What those above are above it, from the outermost inwards, likewise."""
    steep: NDArray[np.bool_]


def measured() -> list[str]:
    """Those of the models whose errors another expects."""
    return [model for model in MODELS if registry.card(model).intervals]


def cases(data: Manifest, model: str, scales: tuple[float, ...], *, small: bool) -> Iterator[Case]:
    """Super-resolve the test places."""
    for place in read_places(data):
        if scales == (1.0,) and not place.coarser:
            continue
        height, width = place.images.shape[2:]
        top, left = (max(0, (n - SIDE) // 4 * 2) for n in (height, width))
        clear = [n for n, image in enumerate(place.images) if np.isfinite(image).mean() > 0.5]
        dates = clear[:: -(-len(clear) // MOST)]
        images = place.images[dates, :, top : top + SIDE, left : left + SIDE]
        part = replace(place, images=images, times=None, box=None)
        for scale in scales:
            fine = estimated(observed(part, scale), scale, model, QUANTILES)
            yield from _cases(part, scale, fine)
        if small:
            return


def estimated(low: xr.DataArray, scale: float, model: str, quantiles: tuple[float, ...] | None) -> xr.DataArray:
    """Super-resolve by the operation that a model is for."""
    card = registry.card(model)
    if card.reads == "detail":
        made = xsr.sharpen(low, model=model, quantiles=quantiles)
    else:
        verb = xsr.liif if card.factor is None else xsr.sisr
        made = verb(low, scale=scale, model=model, quantiles=quantiles)
    assert isinstance(made, xr.DataArray)
    return made


def _cases(place: TestPlace, scale: float, fine: xr.DataArray) -> Iterator[Case]:
    edge = math.ceil(BORDER * scale)
    if min(fine.sizes["y"], fine.sizes["x"]) < 2 * edge + LEAST:
        return
    inner = (..., slice(edge, -edge), slice(edge, -edge))
    values, truth = fine.values[inner], place.images[..., : fine.sizes["y"], : fine.sizes["x"]][inner]
    down, right = np.gradient(truth, axis=(-2, -1))
    gradient, half = np.hypot(down, right), len(QUANTILES) // 2
    for band, label in enumerate(place.bands):
        if scale == 1 and label not in place.coarser:
            continue
        known = np.isfinite(truth[:, band]) & np.isfinite(values[:, :, band]).all(axis=0)
        steps = gradient[:, band][known]
        of_band, estimate = values[:, :, band][:, known], values[half, :, band][known]
        yield Case(
            place.name,
            label,
            scale,
            truth[:, band][known] - estimate,
            estimate - of_band[:half],
            of_band[:half:-1] - estimate,
            steps > np.nanquantile(steps, STEEP),
        )


def coverage(found: list[Case], number: int, *, steep: bool = False) -> float:
    """Share of the pixels inside an interval, in per cent."""
    inside = [
        ((one.error >= -one.lower[number]) & (one.error <= one.upper[number]))[one.steep if steep else slice(None)]
        for one in found
    ]
    return 100 * float(np.concatenate(inside).mean())


def ause(error: NDArray[np.float32], width: NDArray[np.float32]) -> float:
    """Area between the sparsification curves by width and by error, over the mean error."""
    size = np.abs(error).astype(float)

    def left(order: NDArray[np.int64]) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = np.cumsum(size[order]) / np.arange(1, size.size + 1)
        return mean

    return float((left(np.argsort(width)) - left(np.argsort(size))).mean() / size.mean())


def score_ratio(found: list[Case], number: int, level: float) -> float:
    """Interval score over that of the best constant width of each band, in the mean of bands."""
    ratios = []
    for band in {one.band for one in found}:
        mine = [one for one in found if one.band == band]
        error = np.concatenate([one.error for one in mine])
        lower, upper = (np.concatenate([getattr(one, name)[number] for one in mine]) for name in ("lower", "upper"))
        constant = np.quantile(np.abs(error), level)
        scores = [_score(error, a, b, level) for a, b in ((lower, upper), (constant, constant))]
        ratios.append(scores[0] / scores[1])
    return float(np.mean(ratios))


def _score(error: NDArray[np.float32], lower: object, upper: object, level: float) -> float:
    """Mean interval score, Gneiting and Raftery (2007), doi:10.1198/016214506000001437."""
    low, high = np.asarray(lower), np.asarray(upper)
    outside = np.maximum(-low - error, 0) + np.maximum(error - high, 0)
    return float((low + high + 2 / (1 - level) * outside).mean())


def table(model: str, found: list[Case]) -> list[str]:
    """Table of one model: all, by scale, by band and by place."""
    lines = [
        f"`{model}`:",
        "",
        "| pixels | " + " | ".join(f"{level:.0%}" for level in NOMINAL) + " | steepest tenth, 90% | AUSE | 90% score |",
        "| --- |" + " --- |" * (len(NOMINAL) + 3),
    ]
    groups = {"all": found}
    groups |= {f"×{scale:g}": [one for one in found if one.scale == scale] for scale in {o.scale: None for o in found}}
    groups |= {band: [one for one in found if one.band == band] for band in {one.band: None for one in found}}
    groups |= {name: [one for one in found if one.place == name] for name in {one.place: None for one in found}}
    order, at_90 = {level: 3 - NOMINAL.index(level) for level in NOMINAL}, 1
    for name, part in groups.items():
        cover = [f"{coverage(part, order[level]):.1f}" for level in NOMINAL]
        error = np.concatenate([one.error for one in part])
        width = np.concatenate([one.lower[at_90] + one.upper[at_90] for one in part])
        numbers = [f"{coverage(part, at_90, steep=True):.1f}", f"{ause(error, width):.3f}"]
        lines.append(f"| {name} | " + " | ".join([*cover, *numbers, f"{score_ratio(part, at_90, 0.9):.2f}"]) + " |")
    return lines


def cost(*, small: bool) -> list[str]:
    """Time with quantiles over time without, alternating in one run."""
    side, lines = (64 if small else 384), []
    bands = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")
    cube = xsr.testing.synthetic_cube(size=(side, side), bands=bands)
    for model in measured():
        what = f"{side}² pixels" if registry.card(model).reads == "detail" else f"×2, ten bands, {side}² pixels"

        def once(quantiles: tuple[float, ...] | None, model: str = model) -> float:
            begun = time.perf_counter()
            estimated(cube, 2.0, model, quantiles)
            return time.perf_counter() - begun

        once((0.05, 0.5, 0.95))
        pairs = [(once(None), once((0.05, 0.5, 0.95))) for _ in range(2 if small else REPEATS)]
        alone, ratio = statistics.median(a for a, _ in pairs), statistics.median(b / a for a, b in pairs)
        lines.append(f"- `{model}`, {what}: {alone:.2f} s alone, {ratio:.2f} times with three.")
    return lines


def main() -> None:
    """Print the tables; ``--write`` writes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="one place and a small input, to check that it runs")
    parser.add_argument("--models", nargs="*", default=measured(), help="those of which tables are printed")
    parser.add_argument("--write", action="store_true", help="update the documentation")
    options = parser.parse_args()
    data = manifest()
    if data is None:
        print("XSR_DATA is not set: real scenes are needed")
        return
    lines = []
    for model in options.models:
        scales = MODELS[model]
        lines += [*table(model, list(cases(data, model, scales, small=options.small))), ""]
    lines += [f"Cost, median of {REPEATS} alternating runs, {platform.machine()}:", "", *cost(small=options.small)]
    print("\n".join(lines))
    if options.write and not options.small:
        write(PAGE, "\n".join(lines), MARKERS)


if __name__ == "__main__":
    main()
