"""Several dates that lie fractions of a pixel apart: what they reveal together, against one date and the linear bound.

Frames of places kept from training are simulated twice: alike but for their displacement and their noise, and with the
radiometry of real dates. Where a frame lies only the judge knows; `register` measures it. The result is compared with
the truth where the first frame lies. ``--model`` judges other weights. ``--write`` puts the tables into
docs/reference/several-dates.md, and counts there how often these places were looked at. Needs the folder of real images
in XSR_DATA.
"""

import argparse
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import xarray as xr
from common.data import manifest
from common.linear_bound import least_error, spectrum
from common.time_scores import as_cube
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

import xsr  # noqa: F401  (registers the accessor)
from xsr.core.errors import XsrWarning
from xsr.kernels.resample import fill_nodata
from xsr.models import registry
from xsr.training.build import band_mtf
from xsr.training.manifest import Manifest
from xsr.training.scenes import BANDS, FINE
from xsr.training.scores import TestPlace, read_places
from xsr.training.series import read

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "several-dates.md"
SCALE, COUNTS, NOISE = 2, (1, 2, 4, 8, 16), 0.001
SHIFT_PX = 0.5
"""Most displacement, in low-resolution pixels along each axis."""
SIDE, BORDER, SMALL = 256, 24, 96
"""Sides of the truth and of a small one in pixels, and the border that is not compared."""
CLEAR = 0.95
"""Least share of clear pixels of a date of a series."""
FIRST = np.datetime64("2024-06-01", "ns")
LOOKS = re.compile(r"Looks at these places so far: (\d+)")
ALIKE, REAL = "alike but for displacement and noise", "with the radiometry of real dates"


@dataclass(frozen=True)
class Row:
    """Peak signal-to-noise ratio of one place and kind of frames in dB, peak 1 reflectance, bands pooled."""

    place: str
    kind: str
    db: dict[str, float]


def truths(data: Manifest, side: int) -> Iterator[tuple[str, xr.DataArray]]:
    """Cut the middle of the first date of the test places of 10 m pixels."""
    for place in read_places(data):
        if place.coarser or min(place.images.shape[2:]) < side:
            continue
        yield place.name, middle(place, side)


def middle(place: TestPlace, side: int) -> xr.DataArray:
    """Middle of the first date of a place, its few invalid pixels filled."""
    cube = place.cube().isel(time=0, drop=True)
    top, left = ((cube.sizes[axis] - side) // 4 * 2 for axis in ("y", "x"))
    part = cube.isel(y=slice(top, top + side), x=slice(left, left + side))
    return part.fillna(part.mean(["y", "x"]))


def displacements(count: int, seed: int) -> NDArray[np.float64]:
    """Displacement (down, right) of each frame in low-resolution pixels; the first lies where the truth does."""
    drawn = np.random.default_rng(seed).uniform(-SHIFT_PX, SHIFT_PX, (count, 2))
    drawn[0] = 0.0
    return drawn


def frames(truth: xr.DataArray, shifts: NDArray[np.float64], series: xr.DataArray | None, seed: int) -> xr.DataArray:
    """Simulate frames five days apart, or of the dates of a series; where they lie is not kept."""
    made = truth.sr.semi_simulate(
        scale=SCALE,
        frames=len(shifts),
        series=series,
        shift_px=shifts,
        blur_jitter=0.0,
        noise=NOISE,
        psf="effective",
        seed=seed,
    )
    made = made.drop_vars(["shift_x_m", "shift_y_m", "blur"])
    if series is not None:
        return made
    return made.assign_coords(time=FIRST + np.arange(len(shifts)) * np.timedelta64(5, "D"))


def alike(data: Manifest, counts: tuple[int, ...], side: int) -> Iterator[tuple[str, int, xr.DataArray, xr.DataArray]]:
    """Give place, number, truth and frames that only lie elsewhere; the first lies where the truth does."""
    for number, (place, truth) in enumerate(truths(data, side)):
        all_frames = frames(truth, displacements(max(counts), number), None, number)
        for count in counts:
            yield place, count, truth, all_frames.isel(time=slice(count))


def real(data: Manifest, counts: tuple[int, ...], side: int) -> Iterator[tuple[str, int, xr.DataArray, xr.DataArray]]:
    """Give place, number, truth and frames of the dates of a series, nearest first; the first is that of the truth."""
    for number, series in enumerate(read(data, split=("test", "validation"))):
        cube = as_cube(series, series.image[:, [BANDS.index(band) for band in FINE]], 1.0)
        dates = series.clear(CLEAR)
        if not len(dates):
            continue
        clear = cube.isel(time=dates, y=slice(side), x=slice(side))
        clear = clear.copy(
            data=np.stack([fill_nodata(v, passes=4, constant=float(np.nanmean(v))) for v in clear.values])
        )
        middle = len(dates) // 2
        order = np.argsort(np.abs(clear["time"].values - clear["time"].values[middle]), kind="stable")
        low = clear.sr.degrade(scale=SCALE, psf="effective")
        for count in (count for count in counts if count <= len(dates)):
            picks = np.sort(order[:count])
            shifts = displacements(count, number)
            first = int(np.flatnonzero(picks == middle)[0])
            shifts[[0, first]] = shifts[[first, 0]]
            made = frames(clear.isel(time=middle, drop=True), shifts, low.isel(time=picks), number)
            yield (
                series.place,
                count,
                clear.isel(time=middle, drop=True),
                made.isel(time=np.argsort(picks != middle, kind="stable")),
            )


def judged(place: str, kind: str, found: list[tuple[int, xr.DataArray, xr.DataArray]], model: str) -> Row:
    """Score a model on growing numbers of frames of one place."""
    db: dict[str, float] = {}
    for count, truth, low in found:
        t = low["time"].values[0]
        if count == 1:
            db["bicubic"] = decibels(low.sr.interpolate(scale=SCALE).isel(time=0), truth)
            db["one"] = decibels(low.sr.liif(scale=SCALE, model=model, psf="sensor").isel(time=0), truth)
            continue
        registered = low.sr.register(reference=low.isel(time=[0]))
        fine = registered.sr.liif(scale=SCALE, t=t, model=model, frames=count, psf="sensor")
        db[f"{count}"] = decibels(fine.isel(time=0, drop=True), truth)
    return Row(place, kind, db)


def bounds(truth: xr.DataArray, counts: tuple[int, ...], seed: int) -> dict[str, float]:
    """Linear bound for each number of frames."""
    power = [spectrum(band, len(band) - len(band) % SCALE) for band in truth.values]
    shifts = displacements(max(counts), seed)
    mtf = band_mtf([str(name) for name in truth["band"].values])
    squares = [
        np.mean([least_error(p, SCALE, shifts[:count], m, NOISE) ** 2 for p, m in zip(power, mtf, strict=True)])
        for count in counts
    ]
    return {f"bound, {count}": float(-10 * np.log10(square)) for count, square in zip(counts, squares, strict=True)}


def decibels(fine: xr.DataArray, truth: xr.DataArray) -> float:
    """Peak signal-to-noise ratio inside the border."""
    border = min(BORDER, truth.sizes["y"] // 8)
    inner = (slice(None), slice(border, -border), slice(border, -border))
    return float(-10 * np.log10(np.mean((fine.values - truth.values)[inner].astype(np.float64) ** 2)))


def rows(data: Manifest, model: str, counts: tuple[int, ...], side: int, most: int | None = None) -> Iterator[Row]:
    """Score all places or the first, both kinds of frames."""
    for kind, make in ((ALIKE, alike), (REAL, real)):
        by_place: dict[str, list[tuple[int, xr.DataArray, xr.DataArray]]] = {}
        for place, count, truth, low in islice(make(data, counts, side), most):
            by_place.setdefault(place, []).append((count, truth, low))
        for number, (place, found) in enumerate(track(by_place.items(), kind)):
            row = judged(place, kind, found, model)
            if kind == ALIKE:
                row.db.update(bounds(found[0][1], counts, number))
            yield row


def table(found: list[Row], kind: str, counts: tuple[int, ...]) -> tuple[list[str], list[list[str]]]:
    """Heads and cells of one kind, with the mean over places."""
    heads = ["place", "bicubic, one", "one", *(f"{count}" for count in counts[1:])]
    names = ["bicubic", "one", *(f"{count}" for count in counts[1:])]
    if kind == ALIKE:
        heads += [f"bound, {count}" for count in counts]
        names += [f"bound, {count}" for count in counts]
    chosen = [row for row in found if row.kind == kind]
    cells = [[row.place, *(f"{row.db[name]:.2f}" if name in row.db else "" for name in names)] for row in chosen]
    complete = [row for row in chosen if set(names) <= set(row.db)]
    means = [f"{np.mean([row.db[name] for row in complete]):.2f}" if complete else "" for name in names]
    return heads, [*cells, [f"**mean of {len(complete)}**", *means]]


def page(found: list[Row], model: str, counts: tuple[int, ...]) -> str:
    """Write the page."""
    lines = [
        "# Several dates",
        "",
        "What dates that lie fractions of a pixel apart reveal together, beside one date and the best linear estimate.",
        "Written by `python benchmarks/several_dates.py --write`.",
        "",
    ]
    for kind in (ALIKE, REAL):
        heads, cells = table(found, kind, counts)
        lines += [f"## Frames {kind}", "", f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
        lines += [f"| {' | '.join(row)} |" for row in cells]
        lines.append("")
    lines += [
        f"PSNR in dB at ×{SCALE}, peak 1 reflectance, bands pooled, by the number of frames. They are displaced by up"
        f" to {SHIFT_PX:g} low-resolution pixels along each axis, have noise of {NOISE:g} reflectance and the sharpness"
        " of the sensor; the result lies where the first frame does. `register` measures where the others lie. The"
        " bound is that of the best linear estimate from the spectrum of the truth, displacements and noise known."
        f" Weights sha256 `{registry.card(model).sha256[:12]}`. How it is made: [](../decisions/0073-innovations.md).",
        "",
        f"Looks at these places so far: {looks() + 1}.",
        "",
    ]
    return "\n".join(lines)


def looks() -> int:
    """Count how often the page was written."""
    found = LOOKS.search(PAGE.read_text()) if PAGE.exists() else None
    return int(found.group(1)) if found else 0


def main() -> None:
    """Score, print, and write with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="liif_s2")
    parser.add_argument("--write", action="store_true", help="update the documentation")
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    data = manifest()
    if data is None:
        print("XSR_DATA is not set: the scores need the folder of real images")
        return
    counts, side = (COUNTS[:2], SMALL) if options.small else (COUNTS, SIDE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XsrWarning)  # of displacements too small to be found in small images
        found = list(rows(data, options.model, counts, side, len(counts) if options.small else None))
    for kind in (ALIKE, REAL):
        heads, cells = table(found, kind, counts)
        shown = Table(*heads, title=kind)
        for row in cells:
            shown.add_row(*row)
        Console(width=150).print(shown)
    if options.write and not options.small:
        PAGE.write_text(page(found, options.model, counts))
        print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
