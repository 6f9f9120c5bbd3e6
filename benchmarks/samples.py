"""Draw the sample picture of every packaged model: its input, interpolation, its result and the truth of a test place.

Networks for Sentinel-2 are shown on Kempen, that for dates on 31UES with one date hidden, that for sharp bands on
T33UUB, those for temperatures on Pennsylvania, that for MODIS beside ASTER, all by the pairs of the tables of scores.
``--write`` puts the pictures beside the weights, each under the hash of the weights that drew it; otherwise they go to
the working directory. Needs the folder of real images in XSR_DATA.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import sharpen as bands
import xarray as xr
from common.data import manifest
from common.modis_aster import read_pairs
from common.thermal_places import read_scenes
from common.thermal_scores import pair
from numpy.typing import NDArray
from PIL import Image

from xsr.models import registry
from xsr.models.shown import SAMPLES, sample_of
from xsr.operations.guided import guided
from xsr.operations.interpolate import interpolate
from xsr.operations.super_resolve import liif, sisr
from xsr.training.manifest import Manifest
from xsr.training.scores import TestPlace, degraded, read_places

PLACE, SERIES, TEN, SCENE = "Kempen 31UFS", "31UES", "T33UUB", "Pennsylvania 2002-07-20"
SIDE = 64
"""Pixels along a side of a panel: those of the truth."""
DRAWN = 3
"""Pixels of a picture along a side of one of the truth."""
CORNER = (656, 160)
"""Row and column at which a panel of Kempen begins."""
HIDDEN = "2019-10-13"
RGB, SWIR = ("B04", "B03", "B02"), ("B12", "B8A", "B05")
PERCENTILES = 1, 99
QUALITY = 88
Panel = NDArray[np.floating]
Panels = list[Panel]
"""Input, interpolation, result and truth: each (y, x) or (y, x, 3), of which the input may have fewer pixels."""


def place(data: Manifest, name: str) -> TestPlace:
    """Read a place of the test split."""
    return next(one for one in read_places(data) if one.name == name)


def colours(cube: xr.DataArray, names: tuple[str, ...] = RGB) -> Panel:
    """Bands of one date as (y, x, 3)."""
    return np.asarray(cube.squeeze("time", drop=True).sel(band=list(names)).transpose("y", "x", "band").values)


def single(name: str, data: Manifest) -> Panels:
    """One date, with pixels half as large."""
    there = place(data, PLACE)
    rows, cols = (slice(at - SIDE, at + 2 * SIDE) for at in CORNER)
    cut = TestPlace(PLACE, there.bands, there.images[:1, :, rows, cols])
    low, truth = cut.cube(degraded(cut, 2.0), scale=2.0), cut.cube()
    if registry.card(name).factor is None:
        fine = liif(low, scale=2, model=name, psf="sensor")
    else:
        fine = sisr(low, model=name, psf="sensor")
    images = (interpolate(low, scale=2, method="bicubic"), fine, truth)
    inner, half = slice(SIDE, 2 * SIDE), slice(SIDE // 2, SIDE)
    return [colours(low.isel(y=half, x=half)), *(colours(one.isel(y=inner, x=inner)) for one in images)]


def between(name: str, data: Manifest) -> Panels:
    """Date between others, with pixels half as large."""
    series = place(data, SERIES)
    series = replace(series, bands=RGB, images=series.images[:, [series.bands.index(band) for band in RGB]])
    low, truth = series.cube(degraded(series, 2.0), scale=2.0), series.cube()
    when = low["time"].sel(time=HIDDEN).values[0]
    hidden = int((low["time"].values == when).argmax())
    known = low.isel(time=[n for n in range(low.sizes["time"]) if n != hidden])
    around = interpolate(low.isel(time=[hidden - 1, hidden + 1]), scale=2, method="bicubic").interp(time=[when])
    fine = liif(known, scale=2, t=[when], model=name)
    before = low.isel(time=[hidden - 1])
    return [colours(one) for one in (before, around, fine, truth.isel(time=[hidden]))]


def sharper(name: str, data: Manifest) -> Panels:
    """Bands of 20 m on pixels of 10 m."""
    case = next(one for one in bands.cases(published=False) if one.place == TEN)
    assert case.truth is not None
    fine = bands.by_xsr(name)(case)
    picks = [case.coarse.index(band) for band in SWIR]
    row, col = SIDE, 2 * SIDE
    inner = (picks, slice(row, row + SIDE), slice(col, col + SIDE))
    half = (picks, slice(row // 2, (row + SIDE) // 2), slice(col // 2, (col + SIDE) // 2))
    images = (case.pair.own[half], case.pair.low[inner], fine[inner], case.truth[inner])
    return [np.moveaxis(one, 0, -1) for one in images]


def thermal(name: str, data: Manifest) -> Panels:
    """Temperature, guided, with pixels a quarter as large, or an eighth where the network has that factor alone."""
    scene, factor = next(one for one in read_scenes(data) if one.place == SCENE), registry.card(name).factor or 4
    made = pair(scene, factor)
    fine = guided(made.low, made.guide, model=name, conserve=None)
    smooth = guided(made.low, made.guide, method="bicubic", conserve=None)
    side = slice(SIDE, 2 * SIDE), slice(SIDE, 2 * SIDE)
    coarse = (slice(SIDE // factor, 2 * SIDE // factor),) * 2
    return [made.low.values[0][coarse], *(one.values[0][side] for one in (smooth, fine, made.truth))]


def overpass(name: str, data: Manifest) -> Panels:
    """Temperature of MODIS, guided by its index, beside that of ASTER."""
    one = next(read_pairs(data)).pair
    fine = guided(one.low, one.guide, model=name)
    smooth = guided(one.low, one.guide, method="bicubic")
    side, coarse = ((slice(start, 2 * start),) * 2 for start in (SIDE, SIDE // one.scale))
    return [one.low.values[0][coarse], *(image.values[0][side] for image in (smooth, fine, one.truth))]


def how(name: str) -> Callable[[str, Manifest], Panels] | None:
    """How a model is shown; None for one of errors, which draws nothing, and for one that lies elsewhere."""
    card = registry.card(name)
    if card.reads == "result" or registry.find(name).parent != SAMPLES:
        return None
    if card.units == "K":
        return overpass if card.sensor == "modis" else thermal
    return {"temporal_liif": between, "sharpener": sharper}.get(card.architecture, single)


def drawn(panels: Panels) -> Image.Image:
    """Panels side by side, every band with the stretch of the truth."""
    low, high = np.nanpercentile(panels[-1], PERCENTILES, axis=(0, 1))
    shown = []
    for panel in panels:
        levels = np.clip((panel - low) / (high - low), 0, 1)
        rgb = levels if levels.ndim == 3 else mpl.colormaps["inferno"](levels)[..., :3]
        side = len(panels[-1]) * DRAWN
        picture = Image.fromarray((rgb * 255).round().astype(np.uint8)).resize((side, side), Image.Resampling.NEAREST)
        shown.append(np.asarray(picture))
    gap = np.full((shown[0].shape[0], DRAWN, 3), 255, np.uint8)
    return Image.fromarray(np.concatenate([one for panel in shown for one in (panel, gap)][:-1], axis=1))


def main() -> None:
    """Draw all pictures, or one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="one model; all by default")
    parser.add_argument("--write", action="store_true", help="put the pictures beside the weights")
    parser.add_argument("--small", action="store_true", help="one model, to check that it runs")
    options = parser.parse_args()
    data = manifest()
    if data is None:
        print("XSR_DATA is not set: the pictures need the folder of real images")
        return
    names = [options.model or "liif_s2"] if options.model or options.small else registry.names()
    for name in names:
        panels = how(name)
        if panels is None:
            continue
        path = sample_of(registry.card(name))
        if options.write and not options.small:
            for old in path.parent.glob(f"{name}.*.webp"):
                old.unlink()
        else:
            path = Path(path.name)
        drawn(panels(name, data)).save(path, quality=QUALITY, method=6)
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
