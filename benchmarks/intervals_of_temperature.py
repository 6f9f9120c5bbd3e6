"""Whether quantiles of sharpened temperatures hold on test places, which neither trained nor calibrated a network.

Temperatures are observed coarser and sharpened, as `benchmarks/thermal.py` does, by reflectance and, of ASTER, by a
vegetation index; freely, and held within the response of the sensor. ``--write`` puts the table and the cost into
docs/reference/quantiles.md. Needs the folder of real images in XSR_DATA.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

import xarray as xr
from common.data import manifest
from common.thermal_places import guided, read_scenes
from common.thermal_scores import MTF, trained_on
from intervals import BORDER, PAGE, QUANTILES, REPEATS, Case, cases_of, table
from wald import write

import xsr
from xsr.training.interval_temperatures import GuidedPlace, best_patch, listed, observed
from xsr.training.manifest import Manifest
from xsr.training.scores import TestPlace
from xsr.training.thermal_synthetic import GUIDE_BANDS

MARKERS = (
    "<!-- quantiles of temperature: written by benchmarks/intervals_of_temperature.py -->",
    "<!-- end of quantiles of temperature -->",
)
MODEL, SCALES = "dctnet_lst", (4, 8)
SIDE = 160
"""Pixels along a side that are looked at."""
HOW = {"lst": {}, "held": {"conserve": "radiance", "mtf": MTF}}
"""Results, by the names of their rows."""


def places(data: Manifest) -> Iterator[GuidedPlace]:
    """Read the places with a guide on which the network was not trained, cut to what is looked at."""
    for scene in read_scenes(data):
        if guided(scene) and scene.place not in trained_on("DCTNet"):
            yield GuidedPlace(scene.place, scene.kelvin[:SIDE, :SIDE], scene.guide[:, :SIDE, :SIDE], GUIDE_BANDS)
    for one in listed(data, "test"):
        patch = best_patch(one.read(), SIDE)
        if patch is not None:
            yield replace(patch, name="MODIS index, ASTER")


def cases(data: Manifest, *, small: bool) -> Iterator[Case]:
    """Sharpen the test places."""
    for place in places(data):
        for scale in SCALES[: 1 if small else None]:
            low, guide, truth = observed(place, scale, MTF)
            for name, how in HOW.items():
                fine = xsr.guided(low.expand_dims("time"), guide, model=MODEL, quantiles=QUANTILES, **how)
                assert isinstance(fine, xr.DataArray)
                part = TestPlace(place.name, (name,), truth[None, None])
                # Of a small place a narrower border is left out.
                edge = min(scale, min(truth.shape) // (4 * BORDER))
                yield from (replace(one, scale=float(scale)) for one in cases_of(part, edge, fine))
        if small:
            return


def cost(*, small: bool) -> list[str]:
    """Processor time with quantiles over that without, alternating in one run."""
    side = 64 if small else 128
    guide = xsr.testing.synthetic_cube(size=(side, side), bands=GUIDE_BANDS, gsd_m=20.0).isel(time=0, drop=True)
    low = (310 - 20 * guide.sel(band="B08", drop=True)).coarsen(y=4, x=4).mean().assign_attrs(units="K")

    def once(quantiles: tuple[float, ...] | None) -> float:
        begun = time.process_time()
        xsr.guided(low, guide, model=MODEL, quantiles=quantiles)
        return time.process_time() - begun

    once((0.05, 0.5, 0.95))
    pairs = [(once(None), once((0.05, 0.5, 0.95))) for _ in range(1 if small else REPEATS)]
    alone, ratio = statistics.median(a for a, _ in pairs), statistics.median(b / a for a, b in pairs)
    return [
        f"Cost, median processor time of {len(pairs)} alternating runs, {platform.machine()}:",
        "",
        f"- `{MODEL}`, ×4, {side}² pixels: {alone:.2f} s alone, {ratio:.2f} times with three.",
    ]


def main() -> None:
    """Print the table; ``--write`` writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="one place, to check that it runs")
    parser.add_argument("--write", action="store_true", help="update the documentation")
    options = parser.parse_args()
    data = manifest()
    if data is None:
        print("XSR_DATA is not set: real scenes are needed")
        return
    found = list(cases(data, small=options.small))
    lines = [*table(MODEL, found), "", *cost(small=options.small)]
    print("\n".join(lines))
    if options.write and not options.small:
        write(PAGE, "\n".join(lines), MARKERS)


if __name__ == "__main__":
    main()
