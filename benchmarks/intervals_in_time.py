"""Whether quantiles at target times hold on the test series, which neither trained nor calibrated a network.

Dates of the series are made from the others, and compared with what the sensor observed, as `benchmarks/intervals.py`
does for single dates: the date itself is shown, hidden, or hidden with all others within `APART` days. With
``--calibration`` it is the series on which intervals were calibrated, each by itself, and no test series is read.
``--write`` puts the table into docs/reference/quantiles.md. Needs the folder of real images in XSR_DATA.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from common.data import manifest
from common.time_scores import CLEAR
from intervals import PAGE, QUANTILES, Case, cases_of, coverage, table
from numpy.typing import NDArray
from wald import write

import xsr
from xsr.training import series as training_series
from xsr.training.interval_dates import hidden_below, places, split_series
from xsr.training.manifest import Manifest
from xsr.training.scenes import TrainingScene, at_20m
from xsr.training.scores import TestPlace
from xsr.training.series import Series

MARKERS = "<!-- quantiles in time: written by benchmarks/intervals_in_time.py -->", "<!-- end of quantiles in time -->"
BY_SERIES = (
    "<!-- calibration in time: written by benchmarks/intervals_in_time.py --calibration -->",
    "<!-- end of calibration in time -->",
)
MODEL, SCALE = "temporal_liif_s2", 2.0
DATES = 8
"""Target dates, spread over the series."""
APART = 30
"""Days around a target within which every date is hidden, in the last case."""
HIDDEN = ("date hidden", f"{APART} days around hidden")
"""Cases in which the target is hidden."""
SIDE = 72
"""Pixels along a side of the middle of a calibration series that is looked at."""


def cases(data: Manifest, *, small: bool) -> Iterator[Case]:
    """Make dates of the test series from the others."""
    for series in training_series.read(data, split=("test",)):
        apart = np.timedelta64(APART, "D")
        between = (series.times >= series.times[0] + apart) & (series.times <= series.times[-1] - apart)
        clear = [int(date) for date in series.clear(CLEAR) if between[date]]
        spread = _spread(np.array(clear))[: 1 if small else None]
        for place in grids(series):
            low, away = hidden_below(place, SCALE), np.array(place.times, "datetime64[ns]")
            for date in spread:
                yield from _of_date(place, low, (away - away[date]) / np.timedelta64(1, "D"), date)


def calibration_cases(data: Manifest, *, small: bool) -> Iterator[Case]:
    """Hide dates of the series on which intervals were calibrated."""
    for series in split_series(data)[1][: 1 if small else None]:
        for place in places(series):
            assert place.times is not None
            top, left = (max(size - SIDE, 0) // 4 * 2 for size in place.images.shape[2:])
            images = place.images[:, :, top : top + SIDE, left : left + SIDE]
            useful = np.flatnonzero(np.isfinite(images[:, 0]).any(axis=(1, 2)))
            times = tuple(place.times[date] for date in useful)
            part = replace(place, images=images[useful], times=times)
            clear = np.flatnonzero(np.isfinite(part.images[:, 0]).mean(axis=(1, 2)) >= CLEAR)
            clear = clear[(clear > 0) & (clear < len(times) - 1)]
            low, away = hidden_below(part, SCALE), np.array(times, "datetime64[ns]")
            for date in _spread(clear):
                signed = (away - away[date]) / np.timedelta64(1, "D")
                yield from _of_date(part, low, signed, date, HIDDEN)


def _spread(dates: NDArray[np.int64]) -> list[int]:
    """Choose up to `DATES` of some dates, spread over them."""
    numbers = np.linspace(0, len(dates) - 1, min(DATES, len(dates))).round().astype(int)
    return [int(dates[number]) for number in numbers]


def grids(series: Series) -> Iterator[TestPlace]:
    """Give a series on its grid, and at 20 m with all its bands, however small that is."""
    yield from places(replace(series, coarse=None))
    if series.coarse is None:
        return
    dates = zip(series.image, series.coarse, strict=True)
    scenes = [at_20m(TrainingScene(series.place, fine, coarse=coarse), least=1) for fine, coarse in dates]
    images = np.stack([scene.image for scene in scenes if scene is not None])
    yield from places(replace(series, place=f"{series.place} at 20 m", image=images, coarse=None))


def _of_date(
    place: TestPlace,
    low: xr.DataArray,
    days: NDArray[np.float64],
    date: int,
    names: Sequence[str] = ("date shown", *HIDDEN),
) -> Iterator[Case]:
    """Show a date, hide it, and hide it with those around it, where dates are left on both sides."""
    assert place.times is not None
    away = np.abs(days)
    hidden = dict(zip(("date shown", *HIDDEN), (away >= 0, away > 0, away >= APART), strict=True))
    for name in names:
        kept = hidden[name]
        if not (days[kept] <= 0).any() or not (days[kept] >= 0).any():
            continue
        fine = xsr.liif(
            low.isel(time=np.flatnonzero(kept)), scale=SCALE, t=place.times[date], model=MODEL, quantiles=QUANTILES
        )
        part = replace(place, name=f"{place.name}, {name}", images=place.images[[date]], times=None, box=None)
        yield from cases_of(part, SCALE, fine)


def common(found: Sequence[Case]) -> float:
    """Share of the squared error that is the mean error of its image and band, in per cent, in the mean of these."""
    shares = [one.error.mean(dtype=np.float64) ** 2 / np.mean(one.error**2, dtype=np.float64) for one in found]
    return 100 * float(np.mean(shares))


def table_by_series(found: Sequence[Case]) -> list[str]:
    """Coverage by series of intervals of 50 and 90 %, and what is common to an image; a dash where there is none."""
    names = {one.place.split(", ")[0].removesuffix(" at 20 m"): None for one in found}
    lines = [
        "| series | " + " | ".join(f"{case}: 50% | 90% | common" for case in HIDDEN) + " |",
        "| --- |" + " --- |" * 3 * len(HIDDEN),
    ]
    rows = []
    for name in names:
        row: list[float] = []
        for case in HIDDEN:
            part = [one for one in found if one.place in {f"{name}, {case}", f"{name} at 20 m, {case}"}]
            row += [coverage(part, 3), coverage(part, 1), common(part)] if part else [np.nan] * 3
        rows.append(row)
        lines.append(_line(name, row))
    columns = [[one for one in column if not np.isnan(one)] for column in zip(*rows, strict=True)]
    mean = [float(np.mean(column)) if column else np.nan for column in columns]
    spread = [float(np.std(column, ddof=1)) if len(column) > 1 else np.nan for column in columns]
    lines += [_line("mean of series", mean), _line("standard deviation of series", spread)]
    return lines


def _line(name: str, numbers: Iterable[float]) -> str:
    return f"| {name} | " + " | ".join("–" if np.isnan(one) else f"{one:.1f}" for one in numbers) + " |"


def main() -> None:
    """Print a table; ``--write`` writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="one date, to check that it runs")
    parser.add_argument("--calibration", action="store_true", help="the series of the calibration, not the test series")
    parser.add_argument("--write", action="store_true", help="update the documentation")
    options = parser.parse_args()
    data = manifest()
    if data is None:
        print("XSR_DATA is not set: real scenes are needed")
        return
    if options.calibration:
        lines, markers = table_by_series(list(calibration_cases(data, small=options.small))), BY_SERIES
    else:
        lines, markers = table(MODEL, list(cases(data, small=options.small))), MARKERS
    print("\n".join(lines))
    if options.write and not options.small:
        write(PAGE, "\n".join(lines), markers)


if __name__ == "__main__":
    main()
