"""Sentinel-2 made finer, against SPOT: what holds when the truth is another satellite's image, not a degraded one.

The scenes of WorldStrat kept for validation (bands of 6 m, and the panchromatic one at 3 m) and two dates over
Madagascar (red of SPOT-7, 5 m), on the sensor's own pixels. Detail, what a Gaussian of 20 m takes away, is compared
twice: as it is, and softened to the sharpness of the reference. ``--weights`` judges other weights beside the packaged
ones, ``--bound`` a linear filter fitted to the reference itself, and how sharp the reference is; ``--test`` the scenes
kept for the test. Needs the folder of real images in XSR_DATA.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from common.data import manifest
from common.finer_sensor import PAN, Pair, pairs
from common.matched_scores import ABOVE_M, BORDER_M, Judge
from common.reference_sharpness import Sharpness, sharpness
from rich.console import Console
from rich.progress import track
from rich.table import Table
from wald import write

import xsr
from xsr.core.errors import XsrWarning
from xsr.models import registry

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "reference" / "cross-sensor.md"
MARKERS = "<!-- cross-sensor table: written by benchmarks/cross_sensor.py -->", "<!-- end of cross-sensor table -->"
BASE, BOUND = "bicubic", "filter fitted to the reference"
BANDS = "SPOT 6 m"
"""Reference whose bands come with a panchromatic image."""
SINGLE, SERIES = "liif_s2", "temporal_liif_s2"
SMALL = 96
"""Side of a small reference in pixels."""
FRAMES = 16
"""Most dates of a method that reads them all."""
ALL_DATES = f"{SINGLE}, t="
"""Method that is compared with `SINGLE`, place by place."""


@dataclass(frozen=True)
class Method:
    """What makes an image on the grid of a reference."""

    make: Callable[[Pair], xr.DataArray]
    all_dates: bool = False
    """Whether it reads all dates: then it is compared where the single one is the nearest to the reference."""


@dataclass(frozen=True)
class Row:
    """Scores of one method on one pair."""

    place: str
    kind: str
    method: str
    scores: dict[str, float]


def bicubic(pair: Pair) -> xr.DataArray:
    """Interpolate one date."""
    return xsr.interpolate(pair.single, like=pair.box, units="reflectance")


def single(pair: Pair, model: str, psf: Literal["sensor"] | None = None) -> xr.DataArray:
    """Super-resolve one date, by default as sharp as the network makes it."""
    own = registry.card(model).sharpness if psf is None else psf
    return xsr.liif(pair.single, like=pair.box, model=model, psf=own, units="reflectance")


def series(pair: Pair, model: str) -> xr.DataArray:
    """Super-resolve the day of the reference, from all dates."""
    low, card = pair.low, registry.card(model)
    if xsr.models.describe(card.architecture).kind != "temporal":
        low = xsr.register(low, reference=low.isel(time=[pair.date]), units="reflectance")
    how: dict[str, Any] = {"units": "reflectance", "extrapolate": 60, "frames": FRAMES, "psf": card.sharpness}
    found = xsr.liif(low, like=pair.box, t=pair.day, model=model, **how)
    return found.isel(time=0, drop=True).drop_vars("n_valid")


def in_time(pair: Pair) -> xr.DataArray:
    """Interpolate the day of the reference, from all dates."""
    found = xsr.interpolate(pair.low, like=pair.box, t=pair.day, units="reflectance", extrapolate=60)
    return found.isel(time=0, drop=True).drop_vars("n_valid")


def of_model(model: str, *, all_dates: bool = False) -> Method:
    """Use packaged weights, or a file."""
    kind = xsr.models.describe(registry.card(model).architecture).kind
    temporal = kind == "temporal" or all_dates
    return Method(partial(series if temporal else single, model=model), temporal)


def given(path: str) -> dict[str, Method]:
    """Methods of a weight file: with one date, and with all where it reads dates."""
    name = f"{Path(path).stem} {registry.card(path).sha256[:6]}"
    found = {name: of_model(path)}
    if registry.card(path).reads == "dates":
        found[f"{name}, t="] = of_model(path, all_dates=True)
    return found


def methods(weights: Sequence[str]) -> dict[str, Method]:
    """List what is compared, by name: one date first, then all of them."""
    return {
        BASE: Method(bicubic),
        SINGLE: of_model(SINGLE),
        f"{SINGLE}, psf=sensor": Method(partial(single, model=SINGLE, psf="sensor")),
        **{name: method for path in weights for name, method in given(path).items()},
        f"{BASE}, t=": Method(in_time, all_dates=True),
        f"{SERIES}, t=": of_model(SERIES),
        ALL_DATES: of_model(SINGLE, all_dates=True),
    }


def score(pair: Pair, compared: dict[str, Method], *, above_m: float, bound: bool) -> Iterator[Row]:
    """Score all methods on a pair."""
    plain = bicubic(pair)
    judge = Judge(pair.reference, pair.shown(plain), pair.pixel_m, above_m)
    for name, method in compared.items():
        if pair.nearest or not method.all_dates:
            yield Row(pair.place, pair.kind, name, judge.scores(pair.shown(method.make(pair))))
    if bound:
        yield Row(pair.place, pair.kind, BOUND, judge.bound(plain))


def sharpnesses(known: Sequence[Pair]) -> list[Sharpness]:
    """Measure how sharp the references with a panchromatic image are."""
    pans = {pair.place: pair for pair in known if pair.reference["band"].values.tolist() == [PAN]}
    return [sharpness(pair, pans[pair.place], pair.shown(bicubic(pair))) for pair in known if pair.kind == BANDS]


def by_place(rows: Sequence[Row], kind: str) -> tuple[list[str], list[list[str]]]:
    """Tabulate the matched errors of every place, and their mean: heads and cells."""
    chosen = [row for row in rows if row.kind == kind]
    names = sorted(dict.fromkeys(row.method for row in chosen if row.method != BASE), key=lambda name: name == BOUND)
    found = {(row.place, row.method): row.scores["RMSE"] for row in chosen}
    places = list(dict.fromkeys(row.place for row in chosen))
    cells = [[place, *(cell("RMSE", [found.get((place, name), np.nan)]) for name in names)] for place in places]
    means = [cell("RMSE", [found.get((place, name), np.nan) for place in places]) for name in names]
    return ["RMSE, matched", *names], [*cells, ["**mean**", *means]]


def by_score(rows: Sequence[Row], kind: str) -> tuple[list[str], list[list[str]]]:
    """Tabulate the scores of every method, mean over places: heads and cells."""
    chosen = [row for row in rows if row.kind == kind and row.method != BOUND]
    names = list(dict.fromkeys(row.method for row in chosen))
    cells = []
    for key in chosen[0].scores:
        known = {name: {row.place: row.scores[key] for row in chosen if row.method == name} for name in names}
        means = [cell(key, list(values.values())) for values in known.values()]
        cells.append([key, *means, difference(key, known[ALL_DATES], known[SINGLE])])
    return ["mean", *names, f"{ALL_DATES} − {SINGLE}"], cells


def cell(key: str, values: Sequence[float]) -> str:
    """Mean of what is known."""
    known = [value for value in values if np.isfinite(value)]
    return f"{np.mean(known):.{digits(key)}f}" if known else ""


def difference(key: str, one: Mapping[str, float], other: Mapping[str, float]) -> str:
    """Mean difference over the places that both have, with its standard error."""
    paired = np.array([one[place] - other[place] for place in one])
    error = f" ± {paired.std(ddof=1) / np.sqrt(paired.size):.{digits(key)}f}" if paired.size > 1 else ""
    return f"{paired.mean():+.{digits(key)}f}{error}"


def digits(key: str) -> int:
    """Decimals of a score."""
    return 1 if key.endswith(", m") else 2 if key[0] in "βρ" else 3


def by_sharpness(found: Sequence[Sharpness]) -> tuple[list[str], list[list[str]]]:
    """Tabulate how sharp the references are: heads and cells."""
    heads = ["place", "width, m", "correlation", "MTF at its Nyquist frequency", "error of the scene, made sharper"]
    cells = [[one.place, f"{one.width_m:.2f}", *(f"{v:.2f}" for v in astuple(one)[2:])] for one in found]
    means = np.array([astuple(one)[1:] for one in found]).mean(axis=0)
    return heads, [*cells, ["**mean**", *(f"{mean:.2f}" for mean in means)]]


def tables(rows: Sequence[Row], sharp: Sequence[Sharpness]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Make all tables: the reference, heads and cells."""
    for kind in dict.fromkeys(row.kind for row in rows):
        yield kind, *by_place(rows, kind)
        yield kind, *by_score(rows, kind)
    if sharp:
        yield f"How sharp {BANDS} is", *by_sharpness(sharp)


def markdown(rows: Sequence[Row], sharp: Sequence[Sharpness], above_m: float) -> str:
    """Return the tables, and what stands behind them."""
    lines: list[str] = []
    for kind, heads, cells in tables(rows, sharp):
        lines += [f"## {kind}", ""] if f"## {kind}" not in lines else []
        lines += ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
        lines += ["| " + " | ".join(one) + " |" for one in cells]
        lines.append("")
    hashes = ", ".join(f"`{name}` `{registry.card(name).sha256[:12]}`" for name in (SINGLE, SERIES))
    lines.append(
        f"RMSE as a share of that of bicubic interpolation of the single date, mean over bands, of what a Gaussian of"
        f" {above_m:g} m takes away; a border of {BORDER_M:.0f} m is left out. Weights (sha256): {hashes}."
    )
    return "\n".join(lines)


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", action="append", default=[], metavar="PATH", help="weights to judge, too")
    parser.add_argument(
        "--above", type=float, default=ABOVE_M, metavar="METRES", help="width beyond which is no detail"
    )
    parser.add_argument("--bound", action="store_true", help="judge a filter fitted to the reference, too")
    parser.add_argument("--test", action="store_true", help="scenes kept for the test instead of validation")
    parser.add_argument("--write", action="store_true", help="update the documentation")
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    return parser.parse_args()


def main() -> None:
    """Score, print, and write with ``--write``."""
    chosen, data = options(), manifest()
    if data is None:
        print("XSR_DATA is not set: the scores need the folder of real images")
        return
    compared = methods(chosen.weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XsrWarning)  # of scales beyond training and of references that are sharper
        found = pairs(data, "test" if chosen.test else "validation")
        known = [pair.corner(SMALL) for pair in islice(found, 1)] if chosen.small else list(found)
        rows = [
            row
            for pair in track(known, "scoring")
            for row in score(pair, compared, above_m=chosen.above, bound=chosen.bound)
        ]
        sharp = sharpnesses(known) if chosen.bound and not chosen.small else []
    if not rows:
        print("no scene of that split has an image of a finer sensor")
        return
    for kind, heads, cells in tables(rows, sharp):
        table = Table(*heads, title=kind)
        for one in cells:
            table.add_row(*one)
        Console(width=150).print(table)
    if chosen.write and not chosen.small:
        write(TARGET, markdown(rows, sharp, chosen.above), MARKERS)
        print(f"wrote {TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
