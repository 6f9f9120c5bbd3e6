"""Bands of 20 m and 60 m at 10 m: `sharpen` against classical methods, on places that the network was not trained on.

The truth is one level up (Wald). Of an image of 20 m pixels in all bands, the bands of 20 m are observed at 40 m by the
MTF of each band and brought back to the grid; every method sharpens them by the bands of 10 m, observed at 20 m. Bands
of 60 m likewise: an image of 60 m pixels, observed at 360 m. Pairs are self-similar, and again by the published
formula, which takes the image for perfectly sharp. At full scale there is no truth: indices without one stand beside.

Prints shares of bicubic's root mean square error; ``--write`` puts all tables into docs/reference/sharpening.md. Needs
the folder of real images in XSR_DATA.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
from common.data import data_folder
from common.machine import cores
from common.pansharpening import METHODS, Pair, khan, observed, qnr
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from wald import write

from xsr.kernels.degrade import sensor_band
from xsr.models import registry
from xsr.models.card import read_card, write_card
from xsr.operations.evaluate import evaluate
from xsr.operations.interpolate import interpolate
from xsr.operations.super_resolve import liif, sharpen, sisr
from xsr.operations.super_resolve.sharpness import Sharpness
from xsr.testing import synthetic_cube
from xsr.training.build import band_mtf
from xsr.training.manifest import read_manifest
from xsr.training.pairs import fill
from xsr.training.reading import read_scene
from xsr.training.scenes import BANDS, COARSE, FINE, TrainingScene, at_20m, images
from xsr.training.scores import TestPlace

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "sharpening.md"
MARKERS = "<!-- tables: written by benchmarks/sharpen.py -->", "<!-- end of tables -->"
NOTE = "Weights: "
"""How the line of the page with the speed begins."""
MANIFEST = Path(__file__).with_name("sharpen.toml")
DEFAULT = "sharpen_s2"
ALONE = "liif_s2, sharpen=False"
TWICE = ("carn_3x3x64g4sw_s2", ALONE, "liif_s2")
"""Models that sharpen bands and double the resolution at once; `ALONE`, without sharpening before."""
SIXTY = ("B01", "B09")
BORDER = 6
"""Pixels ignored along each side."""
LEAST = 30
"""Least side of a test image, in pixels of 20 m."""
DATES = 8
"""Most dates of a place, spread over the series."""
DN = 1e4
"""Digital numbers of a reflectance of one."""
Image = NDArray[np.float64]
Method = Callable[["Case"], Image]


@dataclass(frozen=True)
class Case:
    """One date of a place."""

    place: str
    bands: tuple[str, ...]
    """Sharp ones, then coarse ones."""
    pair: Pair
    truth: Image | None
    """Of the coarse bands, shape (band, h, w); None at full scale."""

    @property
    def coarse(self) -> tuple[str, ...]:
        """Names of the coarse bands."""
        return self.bands[len(self.pair.sharp) :]


def scenes() -> Iterator[tuple[str, TrainingScene]]:
    """Images of the places, some of many dates."""
    manifest = read_manifest(MANIFEST)
    for scene in manifest.select("image", split=("test",)):
        found = list(images(read_scene(manifest, scene).clear()))
        for one in found[:: max(1, len(found) // DATES)][:DATES]:
            yield scene.place, one


def cases(*, published: bool) -> Iterator[Case]:
    """Make the pairs of bands of 20 m, then those of 60 m."""
    for place, scene in scenes():
        level = at_20m(scene, least=LEAST)
        if level is not None:
            # A few pixels of no data are filled; a band that the place lacks stays without any.
            known = {b: v for b, v in zip(BANDS, fill(level.image), strict=True) if np.isfinite(v).all()}
            sharp, coarse = ([band for band in group if band in known] for group in (FINE, COARSE))
            yield degraded(place, [(b, known[b]) for b in sharp], [(b, known[b]) for b in coarse], 2, published)
    yield from cases_of_60m(published=published)


def cases_of_60m(*, published: bool) -> Iterator[Case]:
    """Make the pairs of bands of 60 m."""
    folder = data_folder()
    assert folder is not None
    scene = xr.open_dataset(folder / "s2_l1c_dsen2" / "S2A_MSIL1C_20170527_T33UUB.nc")
    ten, twenty, sixty = (scene[name].values / DN for name in ("im10", "im20", "im60"))
    sharp = [(b, at_60m(v, b, 6)) for b, v in zip(("B04", "B03", "B02", "B08"), ten, strict=True)]
    sharp += [(b, at_60m(v, b, 3)) for b, v in zip(COARSE, twenty, strict=True)]
    yield degraded("T33UUB, 60 m", sharp, list(zip(SIXTY, sixty, strict=True)), 6, published)
    scene = xr.open_dataset(folder / "s2_l1c_virginia_coast_20m" / "s2_20m_60m.nc")
    twenty, sixty = scene["s2_20m"].values / DN, scene["s2_60m"].values[:2] / DN
    sharp = [(b, at_60m(v, b, 3)) for b, v in zip(COARSE, twenty, strict=True)]
    yield degraded("Virginia, 60 m", sharp, list(zip(SIXTY, sixty, strict=True)), 6, published)


def at_60m(image: Image, band: str, scale: int) -> Image:
    """Image of 60 m pixels, as sharp as the band is in its own."""
    (mtf,) = band_mtf((band,))
    shape = (image.shape[0] // scale, image.shape[1] // scale)
    return observed(image[None], sensor_band(mtf, float(scale), source_mtf=mtf), shape)[0]


def degraded(
    place: str,
    sharp: Sequence[tuple[str, NDArray[np.floating]]],
    coarse: Sequence[tuple[str, NDArray[np.floating]]],
    side: int,
    published: bool,
) -> Case:
    """Observe bands of which the truth is known in pixels ``side`` times as large."""
    sizes = [image.shape for _, image in (*sharp, *coarse)]
    height, width = (min(size) // side * side for size in zip(*sizes, strict=True))
    guide, truth = (np.stack([image[:height, :width] for _, image in part]).astype(float) for part in (sharp, coarse))
    names = [band for band, _ in coarse]
    optics = [sensor_band(mtf, 1.0, own=side, source_mtf=None if published else mtf) for mtf in band_mtf(names)]
    low = np.concatenate([observed(v[None], by, (height, width)) for v, by in zip(truth, optics, strict=True)])
    shape = (height // side, width // side)
    own = np.concatenate([observed(v[None], by.own, shape) for v, by in zip(truth, optics, strict=True)])
    return Case(place, (*(band for band, _ in sharp), *names), Pair(guide, low, own, optics, side), truth)


def full_scale() -> Iterator[Case]:
    """Bands of 20 m beside those of 10 m, one date of each place."""
    done = set()
    for place, scene in scenes():
        if place in done or scene.coarse is None or min(scene.coarse.shape[1:]) < LEAST:
            continue
        done.add(place)
        fine, coarse = (dict(zip(BANDS, fill(v), strict=True)) for v in (scene.image, scene.coarse))
        sharp = [band for band in FINE if np.isfinite(fine[band]).all()]
        names = [band for band in COARSE if np.isfinite(coarse[band]).all()]
        own = np.stack([coarse[band] for band in names]).astype(float)
        height, width = (2 * size for size in own.shape[1:])
        optics = [sensor_band(mtf, 1.0, own=2, source_mtf=mtf) for mtf in band_mtf(names)]
        guide = np.stack([fine[band][:height, :width] for band in sharp]).astype(float)
        yield Case(place, (*sharp, *names), Pair.of(guide, own, optics, 2), None)


# --- methods ------------------------------------------------------------------------------------------------------


def by_xsr(model: str) -> Method:
    """Sharpen by the public operation, or by `liif` at scale 1."""

    def run(one: Case) -> Image:
        count = len(one.pair.sharp)
        cube = as_cube(one, np.concatenate([one.pair.sharp, one.pair.low]))
        sizes = [20.0] * count + [20.0 * one.pair.side] * len(one.pair.low)
        cube = cube.assign_coords(native_gsd=("band", sizes))
        fine = liif(cube, scale=1.0, model=model) if model.startswith("liif") else sharpen(cube, model=model)
        assert isinstance(fine, xr.DataArray)
        return np.asarray(fine.values[0, count:], np.float64)

    return run


def as_cube(one: Case, values: Image) -> xr.DataArray:
    """Bands of a case, the last ones where there are not all, on a grid of 20 m, whatever the pixel is."""
    stack = values[None].astype(np.float32)
    return TestPlace(one.place, one.bands[-len(values) :], stack).cube(stack, scale=2.0)


def methods(models: Sequence[str]) -> dict[str, Method]:
    """All methods by name."""
    classical = {name: (lambda one, method=method: method(one.pair)) for name, method in METHODS.items()}
    return {**classical, **{Path(model).stem: by_xsr(model) for model in models}}


# --- scores -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """Scores of a method on a band of one date of a place."""

    place: str
    band: str
    method: str
    mse: float
    """Squared reflectance."""
    sre_db: float
    uqi: float
    sam_deg: float
    """Of all bands together, as the next."""
    ergas: float
    low_rmse: float
    """Of the result, observed again in the band's own pixels, from its input, reflectance."""


def judge(one: Case, method: str, made: Image) -> list[Row]:
    """Scores of a method on one date."""
    assert one.truth is not None
    names = ("rmse", "uqi", "sam", "ergas")
    fine, truth = as_cube(one, made), as_cube(one, one.truth)
    settings = {"metrics": names, "scale": float(one.pair.side), "border": BORDER, "units": "reflectance"}
    found = evaluate(fine, truth, **settings)
    rmse, uqi, sam, ergas = (np.asarray(found[name].values)[0] for name in names)
    mean = one.truth[:, BORDER:-BORDER, BORDER:-BORDER].mean(axis=(1, 2))
    edge = max(1, BORDER // one.pair.side)
    rows = []
    for number, band in enumerate(one.coarse):
        again = one.pair.in_own(made[[number]], number)[0] - one.pair.own[number]
        low = float(np.sqrt((again[edge:-edge, edge:-edge] ** 2).mean()))
        sre = float(20 * np.log10(mean[number] / rmse[number]))
        error = float(rmse[number]) ** 2
        rows.append(Row(one.place, band, method, error, sre, float(uqi[number]), float(sam), float(ergas), low))
    return rows


def errors(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, float]]:
    """Root mean square error by place and band, pooled over dates, of each method."""
    pooled: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        pooled.setdefault((row.place, row.band), {}).setdefault(row.method, []).append(row.mse)
    return {cell: {m: float(np.sqrt(np.mean(v))) for m, v in by.items()} for cell, by in pooled.items()}


def shares(rows: Sequence[Row], names: Sequence[str], *, sixty: bool) -> list[list[str]]:
    """Table of shares of bicubic's error: by place, pooled over bands; by band, mean over places; of all cells."""
    found = {cell: by for cell, by in errors(rows).items() if (cell[1] in SIXTY) == sixty}
    lines = []
    for place in dict.fromkeys(place for place, _ in found):
        of = [by for (other, _), by in found.items() if other == place]
        pooled = {m: float(np.sqrt(np.mean([by[m] ** 2 for by in of]))) for m in ("bicubic", *names)}
        lines.append(
            [
                f"{place} (bicubic {DN * pooled['bicubic']:.0f} DN)",
                *(f"{pooled[m] / pooled['bicubic']:.3f}" for m in names),
            ]
        )
    cells = {cell: {m: by[m] / by["bicubic"] for m in names} for cell, by in found.items()}
    for band in dict.fromkeys(band for _, band in cells):
        of = [by for (_, other), by in cells.items() if other == band]
        lines.append([f"{band}, mean of places", *(f"{np.mean([by[m] for by in of]):.3f}" for m in names)])
    every = list(cells.values())
    lines.append(["mean of all bands and places", *(f"{np.mean([by[m] for by in every]):.3f}" for m in names)])
    lines.append(["largest", *(f"{max(by[m] for by in every):.3f}" for m in names)])
    best = [min(by, key=by.__getitem__) for by in every]
    lines.append([f"least of the {len(every)}", *(str(best.count(m)) for m in names)])
    return lines


def record(rows: Sequence[Row], model: str) -> None:
    """Write the errors of a model on bands of 20 m, pooled over dates, into its card."""
    path = registry.find(model)
    found = [
        {
            "place": place,
            "band": band,
            "rmse_dn": round(DN * by[Path(model).stem], 2),
            "bicubic_dn": round(DN * by["bicubic"], 2),
        }
        for (place, band), by in errors(rows).items()
        if band not in SIXTY
    ]
    write_card(replace(read_card(path), scores=found), path)


def means(rows: Sequence[Row], names: Sequence[str]) -> list[list[str]]:
    """Table of the other scores of bands of 20 m, mean over bands, dates and places."""
    lines = []
    for label, value, digits in (
        ("SRE, dB", lambda row: row.sre_db, 2),
        ("UIQI", lambda row: row.uqi, 4),
        ("SAM, degrees", lambda row: row.sam_deg, 3),
        ("ERGAS", lambda row: row.ergas, 3),
        ("observed again, RMSE from the input, DN", lambda row: DN * row.low_rmse, 2),
    ):
        of = [[value(row) for row in rows if row.method == m and row.band not in SIXTY] for m in names]
        lines.append([label, *(f"{np.mean(v):.{digits}f}" for v in of)])
    return lines


def without_truth(names: dict[str, Method]) -> list[list[str]]:
    """Table of indices at full scale, mean over places."""
    found: dict[str, list[tuple[float, float]]] = {}
    for one in full_scale():
        for name, method in names.items():
            made = method(one)
            found.setdefault(name, []).append((qnr(one.pair, made), khan(one.pair, made)))
    both = {name: np.mean(values, axis=0) for name, values in found.items()}
    return [[label, *(f"{both[m][n]:.4f}" for m in names)] for n, label in enumerate(("QNR", "Khan"))]


def speed(model: str, side: int, runs: int) -> float:
    """Median of megapixels per second: six bands, lazily, one thread a core."""
    scene = synthetic_cube(size=(256, 256), bands=BANDS)
    times = side // 256
    values = np.tile(np.asarray(scene.values), (1, 1, times, times))
    cube = TestPlace("", BANDS, values).cube().assign_coords(native_gsd=("band", [10.0] * 4 + [20.0] * 6))
    lazy = cube.chunk(y=1024, x=1024)
    taken = []
    with dask.config.set(scheduler="threads"):
        for _ in range(runs):
            begun = time.perf_counter()
            sharpen(lazy, model=model).compute()
            taken.append(time.perf_counter() - begun)
    return side * side / 1e6 / float(np.median(taken))


# --- both steps at once ---------------------------------------------------------------------------------------------


def doubled(*, published: bool) -> Iterator[tuple[str, tuple[str, ...], xr.DataArray, Image]]:
    """Place, bands, cube of 40 m pixels whose bands of 20 m were observed at 80 m, and truth of 20 m pixels."""
    for place, scene in scenes():
        level = at_20m(scene, least=LEAST)
        if level is None:
            continue
        known = {b: v for b, v in zip(BANDS, fill(level.image), strict=True) if np.isfinite(v).all()}
        height, width = (size // 4 * 4 for size in level.image.shape[1:])
        truth = np.stack([image[:height, :width] for image in known.values()]).astype(float)
        low = [
            observed(
                image[None],
                sensor_band(mtf, 2.0, own=2 if band in COARSE else 1, source_mtf=None if published else mtf),
                (height // 2, width // 2),
            )
            for image, band, mtf in zip(truth, known, band_mtf(tuple(known)), strict=True)
        ]
        stack = np.concatenate(low)[None].astype(np.float32)
        cube = TestPlace(place, tuple(known), stack).cube(stack, scale=4.0)
        yield (
            place,
            tuple(known),
            cube.assign_coords(native_gsd=("band", [80.0 if b in COARSE else 40.0 for b in known])),
            truth,
        )


def at_twice(names: Sequence[str], *, published: bool, few: bool) -> list[list[str]]:
    """Table of shares of bicubic's error, of bands of 20 m (from 80 m) and of 10 m (from 40 m), mean over cells."""
    psf: Sharpness = "ideal" if published else "sensor"
    errors: dict[tuple[str, str, str], list[float]] = {}
    for number, (place, bands, cube, truth) in enumerate(doubled(published=published)):
        if few and number:
            break
        made = {
            "bicubic": interpolate(cube, scale=2, method="bicubic"),
            **{name: twice(cube, name, psf) for name in names},
        }
        inner = (slice(None), slice(BORDER, -BORDER), slice(BORDER, -BORDER))
        for name, fine in made.items():
            for band, value in zip(bands, ((np.asarray(fine)[0] - truth)[inner] ** 2).mean(axis=(1, 2)), strict=True):
                errors.setdefault((place, band, name), []).append(float(value))
    cells = {key: float(np.sqrt(np.mean(values))) for key, values in errors.items()}
    lines = []
    for label, group in (("bands of 20 m, from 80 m", COARSE), ("bands of 10 m, from 40 m", FINE)):
        of = [(place, band) for place, band, name in cells if band in group and name == "bicubic"]
        found = [[cells[*key, name] / cells[*key, "bicubic"] for key in of] for name in names]
        lines.append([label, *(f"{np.mean(one):.3f}" for one in found)])
    return lines


def twice(cube: xr.DataArray, name: str, psf: Sharpness) -> xr.DataArray:
    """Twice the resolution by a model, or by `sharpen` and the default of `liif` after it."""
    if name.startswith("sharpen"):
        fine = liif(sharpen(cube, model=name), scale=2, psf=psf)
    else:
        alone = name == ALONE
        how: dict[str, Any] = {"model": "liif_s2" if alone else name, "psf": psf}
        fine = liif(cube, scale=2, sharpen=not alone, **how) if name.startswith("liif") else sisr(cube, **how)
    assert isinstance(fine, xr.DataArray)
    return fine


# --- output -------------------------------------------------------------------------------------------------------


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Table of a page."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    """Run every method on every place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=[DEFAULT], help="of sharpen, or of liif at scale 1")
    parser.add_argument("--write", action="store_true", help="update the page")
    parser.add_argument("--sixty", action="store_true", help="bands of 60 m alone; with --write their tables alone")
    parser.add_argument("--speed", action="store_true", help="the speed alone; with --write its line alone")
    parser.add_argument("--small", action="store_true", help="little input, to check that it runs")
    options = parser.parse_args()
    if options.speed:
        how_fast(options.models, keep=options.write)
        return
    if data_folder() is None:
        print("XSR_DATA is not set: the scores need the folder of real images")
        return
    every, text = methods(options.models), []
    names = [name for name in every if name != "bicubic"]
    if options.sixty:
        sixty(every, names, keep=options.write)
        return
    for published in (False, True):
        rows = []
        for one in islice(cases(published=published), 1, 2) if options.small else cases(published=published):
            rows += [row for name, method in every.items() for row in judge(one, name, method(one))]
        if options.write and not published:
            record(rows, options.models[0])
        title = "By the published formula" if published else "Self-similar pairs"
        tables = [("bands of 20 m", shares(rows, names, sixty=False)), ("other scores", means(rows, names))]
        if not options.small:
            tables.insert(1, ("bands of 60 m", shares(rows, names, sixty=True)))
        for label, lines in tables:
            show(f"{title}, {label}", ["", *names], lines)
            text += [f"**{title}, {label}**", "", markdown(["", *names], lines), ""]
        both = at_twice([*TWICE, options.models[0]], published=published, few=options.small)
        show(f"{title}, both steps at once", ["", *TWICE, f"{options.models[0]}, then liif_s2"], both)
        text += [
            *(f"**{title}, both steps at once**", ""),
            *(markdown(["", *TWICE, f"{Path(options.models[0]).stem}, then liif_s2"], both), ""),
        ]
        if options.small:
            print(f"{speed(options.models[0], 256, 1):.2f} megapixels per second")
            return
    lines = without_truth(every)
    show("At full scale, without a truth", ["", *every], lines)
    text += ["**At full scale, without a truth**", "", markdown(["", *every], lines), ""]
    last = note(options.models)
    print(last)
    if options.write:
        write(PAGE, "\n".join([*text, last]), MARKERS)
        print(f"wrote {PAGE.relative_to(ROOT)}")


def note(models: Sequence[str]) -> str:
    """Last line of the tables: weights, and how fast the first of them is."""
    weights = ", ".join(f"`{m}` {registry.card(m).sha256[:12]}" for m in models)
    fast = speed(models[0], 4096, 3)
    return f"{NOTE}{weights}. Speed: {fast:.2f} megapixels per second, six bands of 4096 × 4096 pixels, {cores()}."


def how_fast(models: Sequence[str], *, keep: bool) -> None:
    """Measure the speed, and put it into the page if it is to be kept."""
    last = note(models)
    print(last)
    if keep:
        lines = PAGE.read_text(encoding="utf-8").split("\n")
        PAGE.write_text("\n".join(last if line.startswith(NOTE) else line for line in lines), encoding="utf-8")


def sixty(every: dict[str, Method], names: Sequence[str], *, keep: bool) -> None:
    """Score bands of 60 m, and put their tables into the page if they are to be kept."""
    for title, published in (("Self-similar pairs", False), ("By the published formula", True)):
        found = cases_of_60m(published=published)
        lines = shares(
            [row for one in found for name, m in every.items() for row in judge(one, name, m(one))], names, sixty=True
        )
        label = f"{title}, bands of 60 m"
        show(label, ["", *names], lines)
        if keep:
            head = f"**{label}**\n\n"
            before, rest = PAGE.read_text(encoding="utf-8").split(head)
            after = rest[rest.index("\n\n") :]
            PAGE.write_text(before + head + markdown(["", *names], lines) + after, encoding="utf-8")


def show(title: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    table = Table(*head, title=title)
    for line in lines:
        table.add_row(*line)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
