"""The table of the Temporal LIIF thesis on real SPOT images: five 8-bit RGB dates in, one finer image out.

Every row is printed twice: raw, as published (PSNR of the 8-bit image, mean over scenes), and after the image was
registered to the reference and each band brought to its gain and offset, which no method could know. Needs the folder
of real images in XSR_DATA for the scenes kept for validation, or ``--scenes`` with folders of the same layout:
``low_1.png`` to ``low_5.png``, ``high_x2.png``, ``high_x4.png`` and, if there is one, ``high_x6.png``.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr
from affine import Affine
from common.data import manifest
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from rich.console import Console
from rich.progress import track
from rich.table import Table
from wald import write

import xsr
from xsr.core.errors import XsrWarning
from xsr.models import registry
from xsr.models.card import read_card, write_card
from xsr.training.finer import DATES, STEP_DAYS, Pair, load
from xsr.training.manifest import Manifest, Reference, Scene

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "reference" / "thesis.md"
MARKERS = "<!-- thesis table: written by benchmarks/thesis.py -->", "<!-- end of thesis table -->"
RGB = ("B04", "B03", "B02")
"""Bands of the images, in their order."""
SIZES = {"x2": 314, "x4": 628, "x6": 1054}
"""Side in pixels of the reference at the scales of the thesis."""
MODEL, SINGLE = "temporal_liif_worldstrat", "liif_s2"
BASE = "mean of five"
REFLECTANCE = 0.3
"""Reflectance that a count of 255 is taken for where a model of reflectance is run."""
PIXEL_M = 10.0
SMALL = 24
"""Side of a small input in low-resolution pixels."""
Images = dict[str, list[NDArray[np.float32]]]
"""By method, the images that the mean over scenes is over: several where the dates are scored one by one."""


@dataclass(frozen=True)
class Row:
    """PSNR of one method on one scene, dB of 8 bits."""

    method: str
    scene: str
    scale: str
    raw: float
    harmonised: float
    """After registration, and a gain and an offset of each band."""


def folders(root: Path) -> Manifest:
    """Manifest of the folders of a folder, of the layout of the thesis."""
    scenes = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        sizes = [key for key in SIZES if (folder / f"high_{key}.png").is_file()]
        high = tuple(
            Reference(name=key, path=(f"{folder.name}/high_{key}.png",), bands=RGB, scale=1 / 255) for key in sizes
        )
        low = tuple(f"{folder.name}/low_{date}.png" for date in range(1, DATES + 1))
        scenes.append(
            Scene(
                place=folder.name, split="test", path=low, bands=RGB, scale=1 / 255, reference=high, uses=("reference",)
            )
        )
    return Manifest(tuple(scenes), root)


def as_cube(pair: Pair) -> xr.DataArray:
    """Make a cube of the dates, with assumed times and place."""
    box = GeoBox(pair.low.shape[2:], Affine(PIXEL_M, 0, 600_000, 0, -PIXEL_M, 5_700_000), "EPSG:32631")
    step = np.timedelta64(int(STEP_DAYS * 86_400), "s")
    times = np.datetime64("2020-06-01", "ns") + np.arange(len(pair.low)) * step
    coords = {"time": times, "band": list(RGB), **xr_coords(box)}
    return xr.DataArray(pair.low, dims=("time", "band", "y", "x"), coords=coords)


def finer(cube: xr.DataArray, shape: tuple[int, ...]) -> GeoBox:
    """Grid of the same extent and another number of pixels."""
    box = cube.odc.geobox
    height, width = (old / new for old, new in zip(box.shape, shape, strict=True))
    return GeoBox(shape, box.affine * Affine.scale(width, height), box.crs)


def images(cube: xr.DataArray, grid: GeoBox) -> Iterator[tuple[str, list[NDArray[np.float32]]]]:
    """Make the images of all methods."""
    middle = cube["time"].values[len(cube["time"]) // 2]
    each = xsr.interpolate(cube, like=grid)
    yield "bicubic, each date", list(each.values)
    yield BASE, list(xsr.interpolate(cube, like=grid, t=middle, temporal="mean", frames=DATES).values)
    sharp = xsr.liif(cube * REFLECTANCE, like=grid, model=SINGLE, psf="ideal").values / REFLECTANCE
    yield f"LIIF (`{SINGLE}`), each date", list(sharp)
    yield f"LIIF (`{SINGLE}`), mean of five", [sharp.mean(axis=0)]
    yield (
        f"Temporal LIIF, dates (`{MODEL}`)",
        list(xsr.liif(cube, like=grid, t=middle, model=MODEL, frames=DATES).values),
    )


def psnr(image: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Peak signal-to-noise ratio of 8-bit images given as counts / 255, all bands together; NaN does not count."""
    eight = np.clip(np.rint(255.0 * image.astype(np.float64)), 0, 255)
    return float(20 * np.log10(255) - 10 * np.log10(np.nanmean((eight - 255.0 * truth) ** 2)))


def harmonised(image: NDArray[np.float32], truth: NDArray[np.float32], grid: GeoBox) -> NDArray[np.float32]:
    """Move an image onto the reference, and bring each band to its gain and offset by least squares."""
    coords = {"band": list(RGB), **xr_coords(grid)}
    both = [xr.DataArray(values, dims=("band", "y", "x"), coords=coords) for values in (image, truth)]
    moved = np.asarray(xsr.register(both[0], reference=both[1], apply=True, bands="B03").values)
    out = np.full_like(moved, np.nan)
    for band, (ours, theirs) in enumerate(zip(moved, truth, strict=True)):
        valid = np.isfinite(ours)
        gain, offset = np.polyfit(ours[valid].astype(np.float64), theirs[valid].astype(np.float64), 1)
        out[band] = gain * ours + offset
    return out


def score(pair: Pair) -> Iterator[Row]:
    """Score all methods at all scales of a scene."""
    cube = as_cube(pair)
    for scale, truth in pair.high.items():
        grid = finer(cube, truth.shape[1:])
        for method, made in images(cube, grid):
            raw = np.mean([psnr(image, truth) for image in made])
            fitted = np.mean([psnr(harmonised(image, truth, grid), truth) for image in made])
            yield Row(method, pair.name, scale, round(float(raw), 3), round(float(fitted), 3))


def corner(pair: Pair) -> Pair:
    """Corner of a scene, at one scale."""
    rows, cols = pair.low.shape[2:]
    high = {
        key: image[:, : round(image.shape[1] * SMALL / rows), : round(image.shape[2] * SMALL / cols)]
        for key, image in list(pair.high.items())[:1]
    }
    return replace(pair, low=pair.low[..., :SMALL, :SMALL], high=high)


def spread(values: Iterable[float]) -> str:
    """Mean and its standard error."""
    array = np.array(list(values))
    error = array.std(ddof=1) / np.sqrt(array.size) if array.size > 1 else float("nan")
    return f"{array.mean():+.2f} ± {error:.2f}"


def summary(rows: list[Row], kind: str) -> Iterator[list[str]]:
    """One row a method: mean over scenes and, in brackets, the paired difference from the mean of five."""
    value: Callable[[Row], float] = lambda row: getattr(row, kind)  # noqa: E731
    base = {(row.scene, row.scale): value(row) for row in rows if row.method == BASE}
    for method in dict.fromkeys(row.method for row in rows):
        cells = [method]
        for scale in SIZES:
            mine = [row for row in rows if row.method == method and row.scale == scale]
            mean = np.mean([value(row) for row in mine]) if mine else np.nan
            paired = spread(value(row) - base[row.scene, scale] for row in mine) if mine and method != BASE else ""
            cells.append(f"{mean:.2f}{f' ({paired})' if paired else ''}" if mine else "–")
        yield cells


def markdown(rows: list[Row]) -> str:
    """Both tables, and what stands behind them."""
    scenes = list(dict.fromkeys(row.scene for row in rows))
    lines: list[str] = []
    for title, kind in (("Raw, as published", "raw"), ("Registered and harmonised", "harmonised")):
        heads = [title, *(f"{scale.replace('x', '×')} ({size}²)" for scale, size in SIZES.items())]
        lines += ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
        lines += ["| " + " | ".join(cells) + " |" for cells in summary(rows, kind)]
        lines.append("")
    lines.append(
        f"PSNR in dB of 8-bit RGB, mean over {len(scenes)} scenes ({', '.join(scenes)}); in brackets the difference"
        f" from the {BASE} with the standard error over scenes. ×6 is really ×{SIZES['x6'] / 158:.1f}; its reference is"
        " derived from the panchromatic image where none is given. Weights sha256"
        f" `{registry.card(MODEL).sha256[:12]}`."
    )
    return "\n".join(lines)


def show(rows: list[Row]) -> None:
    """Print both tables."""
    for title, kind in (("raw, as published", "raw"), ("registered and harmonised", "harmonised")):
        table = Table(title, *SIZES)
        for cells in summary(rows, kind):
            table.add_row(*cells)
        Console().print(table)


def main() -> None:
    """Score, print, and write with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=Path, help="folder of scenes; by default those kept for validation")
    parser.add_argument("--json", type=Path, help="file for the scores of every scene")
    parser.add_argument("--write", action="store_true", help="update docs and card")
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    if options.scenes is not None:
        found = load(folders(options.scenes), RGB, split=("test",))
    elif (data := manifest()) is not None:
        found = load(data, RGB, split=("validation",))
    else:
        print("XSR_DATA is not set and no --scenes given: the scores need real images")
        return
    if options.small:
        found = [corner(found[0])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XsrWarning)  # of scales beyond training, by design
        rows = [row for pair in track(found, "scenes") for row in score(pair)]
    show(rows)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    if options.write and not options.small:
        path = registry.find(MODEL)
        write_card(replace(read_card(path), scores=[asdict(row) for row in rows]), path)
        write(TARGET, markdown(rows), MARKERS)
        print(f"wrote {TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
