"""Whether quantiles hold on test places, and what they cost.

Places of the test split are degraded and super-resolved as for `benchmarks/wald.py`; none of them trained or calibrated
a network. ``--write`` puts the tables into docs/reference/quantiles.md; with ``--models`` those of these models alone,
and the cost stays as it was. Needs the folder of real images in XSR_DATA.
"""

import argparse
import math
import platform
import re
import statistics
import time
from collections.abc import Iterable, Iterator
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
    marked: NDArray[np.bool_]
    """Where the result says that the image is unlike those of the calibration."""


def measured() -> list[str]:
    """Those of the models whose errors another expects."""
    return [model for model in MODELS if registry.card(model).intervals]


def cases(data: Manifest, model: str, scales: tuple[float, ...], *, small: bool) -> Iterator[Case]:
    """Super-resolve the test places."""
    yield from _scored(read_places(data), model, scales, small=small)


def _scored(places: Iterable[TestPlace], model: str, scales: tuple[float, ...], *, small: bool) -> Iterator[Case]:
    for place in places:
        if scales == (1.0,) and not place.coarser:
            continue
        height, width = place.images.shape[2:]
        top, left = (max(0, (n - SIDE) // 4 * 2) for n in (height, width))
        clear = [n for n, image in enumerate(place.images) if np.isfinite(image).mean() > 0.5]
        dates = clear[:: -(-len(clear) // (1 if small else MOST))]
        images = place.images[dates, :, top : top + SIDE, left : left + SIDE]
        part = replace(place, images=images, times=None, box=None)
        for scale in scales[: 1 if small else None]:
            fine = estimated(observed(part, scale), scale, model, QUANTILES)
            yield from cases_of(part, scale, fine)
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


def cases_of(place: TestPlace, scale: float, fine: xr.DataArray) -> Iterator[Case]:
    """Compare a result with quantiles with its place."""
    edge = math.ceil(BORDER * scale)
    if min(fine.sizes["y"], fine.sizes["x"]) < 2 * edge + LEAST:
        return
    inner = (..., slice(edge, -edge), slice(edge, -edge))
    values, truth = fine.values[inner], place.images[..., : fine.sizes["y"], : fine.sizes["x"]][inner]
    down, right = np.gradient(truth, axis=(-2, -1))
    gradient, half = np.hypot(down, right), len(QUANTILES) // 2
    marked = ~fine["interval_calibrated"].values[inner]
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
            marked[known],
        )


def outside(folder: Path) -> Iterator[TestPlace]:
    """Images unlike the calibration: ice, open sea, a lake of noise alone, another sensor, counts of 8 bits, noise."""
    fine = ("B02", "B03", "B04", "B08")
    for name, number in {"ice, Greenland": "25630", "open sea": "752389", "lake, noise alone": "74721"}.items():
        with xr.open_dataset(folder / "s2_global_patches" / "train" / f"{number}.nc", mask_and_scale=False) as data:
            counts = data["s2_10m"].sel(band_10m=list(fine)).values.astype(np.float32) + data.boa_add_offset_guess
        yield TestPlace(name, fine, (counts * np.float32(1e-4))[None])
        if number == "25630":
            noise = np.random.default_rng(0).normal(0, 0.05, counts.shape).astype(np.float32)
            yield TestPlace("the same ice, with noise of 0.05", fine, (counts * np.float32(1e-4) + noise)[None])
    counts = xsr.open(folder / "l8_sr_porto_velho_2019" / "l8_sr_b2_b7.tif").values[..., :4, :, :]
    yield TestPlace(
        "Landsat 8, 30 m", fine, counts.reshape(1, *counts.shape[-3:]).astype(np.float32) * np.float32(1e-4)
    )
    counts = xsr.open(folder / "naip_northdakota_5m_8bit" / "naip_20180716.tif").values
    counts = counts.reshape(1, *counts.shape[-3:])[:, [2, 1, 0, 3]].astype(np.float32)
    yield TestPlace("aerial image, counts / 255", fine, counts / np.float32(255))


def table_outside(model: str, found: list[Case]) -> list[str]:
    """Coverage of intervals of 90 % where the image is unlike the calibration."""
    lines = [
        f"`{model}`, ×2, unlike the calibration:",
        "",
        "| image | 90% | bands from | to | half width | marked |",
        "| --- |" + " --- |" * 5,
    ]
    for name in {one.place: None for one in found}:
        part = [one for one in found if one.place == name]
        each, width = [coverage([one], 1) for one in part], np.mean([one.upper[1].mean() for one in part])
        numbers = coverage(part, 1), min(each), max(each)
        lines.append(
            f"| {name} | " + " | ".join(f"{one:.1f}" for one in numbers) + f" | {width:.4f} | {share(part):.1f} |"
        )
    return lines


def share(found: list[Case]) -> float:
    """Share of the pixels that are marked, in per cent."""
    return 100 * float(np.concatenate([one.marked for one in found]).mean())


def coverage(found: list[Case], number: int, *, steep: bool = False) -> float:
    """Share of the pixels inside an interval, in per cent."""
    inside = [
        ((one.error >= -one.lower[number]) & (one.error <= one.upper[number]))[one.steep if steep else slice(None)]
        for one in found
    ]
    return 100 * float(np.concatenate(inside).mean())


def ause(found: list[Case], number: int) -> float:
    """Area between the sparsification curves of an interval, by `xsr.calibration` of all pixels in two rows."""
    error = np.concatenate([one.error for one in found])
    lower, upper = (np.concatenate([getattr(one, name)[number] for one in found]) for name in ("lower", "upper"))
    low, high = QUANTILES[number], QUANTILES[-1 - number]
    count = error.size // 2 * 2
    error, lower, upper = (part[:count].reshape(1, 2, -1) for part in (error, lower, upper))
    truth = TestPlace("pixels", ("B02",), error[None]).cube()
    values = (-lower, np.zeros_like(error), upper)
    fine = xr.concat([truth.copy(data=part[None]) for part in values], xr.Variable("quantile", [low, 0.5, high]))
    return float(xsr.calibration(fine, truth, units="reflectance").ause.item())


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
        "| pixels | "
        + " | ".join(f"{level:.0%}" for level in NOMINAL)
        + " | steepest tenth, 90% | AUSE | 90% score | marked |",
        "| --- |" + " --- |" * (len(NOMINAL) + 4),
    ]
    groups = {"all": found}
    groups |= {f"×{scale:g}": [one for one in found if one.scale == scale] for scale in {o.scale: None for o in found}}
    groups |= {band: [one for one in found if one.band == band] for band in {one.band: None for one in found}}
    groups |= {name: [one for one in found if one.place == name] for name in {one.place: None for one in found}}
    order, at_90 = {level: 3 - NOMINAL.index(level) for level in NOMINAL}, 1
    for name, part in groups.items():
        cover = [f"{coverage(part, order[level]):.1f}" for level in NOMINAL]
        numbers = [f"{coverage(part, at_90, steep=True):.1f}", f"{ause(part, at_90):.3f}"]
        numbers += [f"{score_ratio(part, at_90, 0.9):.2f}", f"{share(part):.1f}"]
        lines.append(f"| {name} | " + " | ".join([*cover, *numbers]) + " |")
    return lines


def cost(*, small: bool) -> list[str]:
    """Processor time with quantiles over that without, alternating in one run."""
    side, lines = (32 if small else 384), []
    bands = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")
    cube = xsr.testing.synthetic_cube(size=(side, side), bands=bands)
    for model in measured():
        what = f"{side}² pixels" if registry.card(model).reads == "detail" else f"×2, ten bands, {side}² pixels"

        def once(quantiles: tuple[float, ...] | None, model: str = model) -> float:
            begun = time.process_time()
            estimated(cube, 2.0, model, quantiles)
            return time.process_time() - begun

        if not small:
            once((0.05, 0.5, 0.95))
        pairs = [(once(None), once((0.05, 0.5, 0.95))) for _ in range(1 if small else REPEATS)]
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
    for model in options.models:
        if registry.card(model).reads == "detail":
            continue
        lines += [*table_outside(model, list(_scored(outside(data.root), model, (2.0,), small=options.small))), ""]
    if options.models == measured():
        lines += [f"Cost, median processor time of {REPEATS} alternating runs, {platform.machine()}:", ""]
        lines += cost(small=options.small)
    print("\n".join(lines))
    if options.write and not options.small:
        text, (begin, end) = PAGE.read_text(encoding="utf-8"), MARKERS
        write(PAGE, renewed(text.split(begin)[1].split(end)[0], "\n".join(lines)), MARKERS)


def renewed(text: str, made: str) -> str:
    """Replace the parts of a text that were made again; see `parts`."""
    found = {**parts(text), **parts(made)}
    return "\n\n".join(found.values())


def parts(text: str) -> dict[str, str]:
    """Parts of a text, each of which begins with a line that ends with a colon, by what that line is about."""
    found = re.split(r"\n\n(?=[`C].*:\n)", text.strip())
    return {re.sub(r", (?!×).*", "", part.split("\n")[0]): part.strip() for part in found}


if __name__ == "__main__":
    main()
