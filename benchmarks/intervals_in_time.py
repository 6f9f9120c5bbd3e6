"""Whether quantiles at target times hold on the test series, which neither trained nor calibrated a network.

Dates of the series are made from the others, and compared with the original, as `benchmarks/intervals.py` does
for single dates: the date itself is shown, hidden, or hidden with all others within `APART` days. ``--write`` puts the
table into docs/reference/quantiles.md. Needs the folder of real images in XSR_DATA.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import xarray as xr
from common.data import manifest
from common.time_scores import CLEAR
from intervals import PAGE, QUANTILES, Case, cases_of, table
from numpy.typing import NDArray
from wald import write

import xsr
from xsr.training import series as training_series
from xsr.training.interval_dates import hidden_below, places
from xsr.training.manifest import Manifest
from xsr.training.scenes import TrainingScene, at_20m
from xsr.training.scores import TestPlace
from xsr.training.series import Series

MARKERS = "<!-- quantiles in time: written by benchmarks/intervals_in_time.py -->", "<!-- end of quantiles in time -->"
MODEL, SCALE = "temporal_liif_s2", 2.0
DATES = 8
"""Target dates, spread over the series."""
APART = 30
"""Days around a target within which every date is hidden, in the last case."""


def cases(data: Manifest, *, small: bool) -> Iterator[Case]:
    """Make dates of the test series from the others."""
    for series in training_series.read(data, split=("test",)):
        apart = np.timedelta64(APART, "D")
        between = (series.times >= series.times[0] + apart) & (series.times <= series.times[-1] - apart)
        clear = [int(date) for date in series.clear(CLEAR) if between[date]]
        spread = np.linspace(0, len(clear) - 1, 1 if small else DATES).round().astype(int)
        for place in grids(series):
            low, away = hidden_below(place, SCALE), np.array(place.times, "datetime64[ns]")
            for date in (clear[number] for number in spread):
                yield from _of_date(place, low, np.abs(away - away[date]) / np.timedelta64(1, "D"), date)


def grids(series: Series) -> Iterator[TestPlace]:
    """Give a series on its grid, and at 20 m with all its bands, however small that is."""
    yield from places(replace(series, coarse=None))
    if series.coarse is None:
        return
    dates = zip(series.image, series.coarse, strict=True)
    scenes = [at_20m(TrainingScene(series.place, fine, coarse=coarse), least=1) for fine, coarse in dates]
    images = np.stack([scene.image for scene in scenes if scene is not None])
    yield from places(replace(series, place=f"{series.place} at 20 m", image=images, coarse=None))


def _of_date(place: TestPlace, low: xr.DataArray, days: NDArray[np.float64], date: int) -> Iterator[Case]:
    """Show a date, hide it, and hide it with those around it."""
    assert place.times is not None
    hidden = {"date shown": days >= 0, "date hidden": days > 0, f"{APART} days around hidden": days >= APART}
    for name, kept in hidden.items():
        fine = xsr.liif(
            low.isel(time=np.flatnonzero(kept)), scale=SCALE, t=place.times[date], model=MODEL, quantiles=QUANTILES
        )
        part = replace(place, name=f"{place.name}, {name}", images=place.images[[date]], times=None, box=None)
        yield from cases_of(part, SCALE, fine)


def main() -> None:
    """Print the table; ``--write`` writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="one date, to check that it runs")
    parser.add_argument("--write", action="store_true", help="update the documentation")
    options = parser.parse_args()
    data = manifest()
    if data is None:
        print("XSR_DATA is not set: real scenes are needed")
        return
    lines = table(MODEL, list(cases(data, small=options.small)))
    print("\n".join(lines))
    if options.write and not options.small:
        write(PAGE, "\n".join(lines), MARKERS)


if __name__ == "__main__":
    main()
