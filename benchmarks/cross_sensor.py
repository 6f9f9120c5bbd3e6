"""Sentinel-2 made finer, against SPOT: what holds when the truth is another satellite's image, not a degraded one.

On the WorldStrat scenes kept for validation the clearest date of Sentinel-2, of several the one nearest to SPOT's, is
brought to the grid of the multispectral image of SPOT (6 m, four bands) and to that of its panchromatic one (1.5 m), by
bicubic interpolation and by a model. The reference is harmonised band by band to Sentinel-2 (gain and offset at 10 m),
once where it lies and once registered. Needs the folder of real images in XSR_DATA.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from affine import Affine
from common.data import manifest
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from rich.console import Console
from rich.table import Table
from wald import write

import xsr
from xsr.core.errors import XsrWarning
from xsr.models import registry
from xsr.sources.masks import SCL_INVALID
from xsr.training.finer import reduced
from xsr.training.manifest import Manifest
from xsr.training.scenes import FINE

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "reference" / "cross-sensor.md"
MARKERS = "<!-- cross-sensor table: written by benchmarks/cross_sensor.py -->", "<!-- end of cross-sensor table -->"
NAMES = {"red": "B04", "green": "B03", "blue": "B02", "nir": "B08"}
"""Bands of SPOT and those of Sentinel-2 they are compared with."""
PAN = ("B04", "B03", "B02")
"""Bands whose mean is compared with the panchromatic image."""
EXTENT_M = 1054 * 1.5
"""Side of a scene in metres; half of it holds a whole number of pixels of every image, too."""
BORDER = 16
"""Pixels of the reference left out along each side."""
PATCH = 96
"""Patch of the spectra in pixels of 6 m; four times as many of 1.5 m."""


@dataclass(frozen=True)
class Row:
    """Scores of one method on one scene."""

    scene: str
    method: str
    reference: str
    """Whether the reference was moved."""
    scores: dict[str, float]


def cube(values: NDArray[np.float32], bands: tuple[str, ...]) -> xr.DataArray:
    """Image of a scene (band, y, x) as a cube: all have the same extent, with another number of pixels."""
    shape = values.shape[1:]
    height, width = (EXTENT_M / size for size in shape)
    box = GeoBox(shape, Affine(width, 0, 600_000, 0, -height, 5_700_000), "EPSG:32631")
    return xr.DataArray(values, dims=("band", "y", "x"), coords={"band": list(bands), **xr_coords(box)})


def read(path: Path) -> tuple[xr.DataArray, ...]:
    """Read the clearest date of Sentinel-2 in reflectance, and both images of SPOT in counts."""
    with xr.open_dataset(path, mask_and_scale=False) as data:
        cloudy = np.isin(data["scl"].values, SCL_INVALID).mean(axis=(1, 2))
        days = np.abs(data["time"].values - np.datetime64(data.attrs["spot_date"], "ns"))
        dn = data["s2_l2a"].sel(band=list(FINE)).values[np.lexsort((days, cloudy))[0]]
        names = [NAMES[str(name)] for name in data["band_spot"].values]
        order = [names.index(band) for band in FINE]
        spot = data["spot_rgbn"].values[order].astype(np.float32)
        pan = data["spot_pan"].values[None].astype(np.float32)
    low = np.where(dn == 0, np.nan, dn * 1e-4).astype(np.float32)
    return cube(low, FINE), cube(spot, FINE), cube(pan, ("pan",))


def scenes(data: Manifest, small: bool) -> Iterator[tuple[str, tuple[xr.DataArray, ...]]]:
    """Read the scenes kept for validation, or a corner of the first."""
    kept = data.select("series", split=("validation",))
    for scene in kept[:1] if small else kept:
        (path,) = data.paths(scene, scene.place)
        images = read(Path(path))
        yield Path(path).stem, tuple(map(corner, images)) if small else images


def corner(image: xr.DataArray) -> xr.DataArray:
    """Quarter of an image."""
    return image.isel(y=slice(image.sizes["y"] // 2), x=slice(image.sizes["x"] // 2))


def harmonised(reference: xr.DataArray, low: xr.DataArray) -> xr.DataArray:
    """Bring each band of a reference to the gain and offset of the low-resolution image, fitted on its grid."""
    filled = np.where(np.isfinite(reference.values), reference.values, np.nanmean(reference.values))
    coarse = reduced(filled, low.shape[1:])
    out = reference.copy()
    inner = slice(4, -4), slice(4, -4)
    for band, (ours, theirs) in enumerate(zip(coarse, low.values, strict=True)):
        gain, offset = np.polyfit(ours[inner].ravel().astype(np.float64), theirs[inner].ravel().astype(np.float64), 1)
        out[band] = gain * reference[band] + offset
    return out


def visible(image: xr.DataArray) -> xr.DataArray:
    """Mean of the bands that the panchromatic one spans."""
    return image.sel(band=list(PAN)).mean("band", keepdims=True).assign_coords(band=["pan"])


def references(low: xr.DataArray, spot: xr.DataArray) -> Iterator[tuple[str, xr.DataArray, float]]:
    """Harmonise a reference where it lies, and registered with the bicubic image; with the shift in metres."""
    guide = xsr.interpolate(low, like=spot.odc.geobox)
    yield "as it lies", harmonised(spot, low), 0.0
    guide = guide if spot.sizes["band"] == 1 else guide.assign_coords(band=spot["band"])
    moved = xsr.register(spot, reference=guide, apply=True)
    shift = float(np.hypot(moved["shift_x_m"], moved["shift_y_m"]))
    yield "registered", harmonised(moved.drop_vars(["shift_x_m", "shift_y_m", "shift_quality"]), low), shift


METHODS: dict[str, Callable[[xr.DataArray, GeoBox], xr.DataArray]] = {
    "bicubic": lambda low, box: xsr.interpolate(low, like=box),
    "liif_s2": lambda low, box: xsr.liif(low, like=box, model="liif_s2"),
}


def score(scene: str, low: xr.DataArray, spot: xr.DataArray, pan: xr.DataArray) -> Iterator[Row]:
    """Score both methods on one scene."""
    fine = {name: method(low, spot.odc.geobox) for name, method in METHODS.items()}
    finest = {name: visible(method(low, pan.odc.geobox)) for name, method in METHODS.items()}
    known = zip(references(low, spot), references(visible(low), pan), strict=True)
    for (kind, reference, shift), (_, sharp, _) in known:
        for name, image in fine.items():
            found: dict[str, float] = {"shift, m": shift}
            protocol = xsr.opensr(image, reference, low=low, border=BORDER)
            found |= {
                key: float(protocol[key].item())
                for key in ("reflectance", "synthesis", "improvement", "omission", "hallucination")
            }
            strata = xsr.strata(image, reference, quantiles=4, metrics="rmse", border=BORDER)["rmse"]
            found |= {f"RMSE, quartile {i + 1}": float(v) for i, v in enumerate(strata.mean("band").values.ravel())}
            found["FRC, m"] = float(xsr.spectrum(image, reference, patch=PATCH, border=BORDER)["resolution_m"].mean())
            sharpness = xsr.spectrum(finest[name], sharp, patch=4 * PATCH, border=4 * BORDER)
            found["FRC pan, m"] = float(sharpness["resolution_m"].mean())
            yield Row(scene, name, kind, found)


def summary(rows: list[Row]) -> Iterator[list[str]]:
    """One row a score: mean over scenes of each method, and the paired difference with its standard error."""
    for kind in dict.fromkeys(row.reference for row in rows):
        for key in rows[0].scores:
            values = [np.array([r.scores[key] for r in rows if (r.method, r.reference) == (m, kind)]) for m in METHODS]
            difference = values[1] - values[0]
            error = difference.std(ddof=1) / np.sqrt(difference.size) if difference.size > 1 else np.nan
            digits = 4 if "RMSE" in key or key in ("reflectance", "synthesis") else 3 if key.islower() else 2
            cells = [f"{v.mean():.{digits}f}" for v in values]
            yield [
                kind,
                key,
                *cells,
                "" if key.startswith("shift") else f"{difference.mean():+.{digits}f} ± {error:.{digits}f}",
            ]


def markdown(rows: list[Row]) -> str:
    """Return the table, and what stands behind it."""
    heads = ["reference", "score", *METHODS, "difference"]
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    lines += ["| " + " | ".join(cells) + " |" for cells in summary(rows)]
    names = list(dict.fromkeys(row.scene for row in rows))
    note = (
        f"Mean over {len(names)} scenes ({', '.join(names)}); the difference is paired, with its standard error over"
        f" scenes. A border of {BORDER} pixels of 6 m is left out. Weights sha256"
        f" `{registry.card('liif_s2').sha256[:12]}`."
    )
    return "\n".join([*lines, "", note])


def main() -> None:
    """Score, print, and write with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="update the documentation")
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    data = manifest()
    if data is None:
        print("XSR_DATA is not set: the scores need the folder of real images")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XsrWarning)  # of a scale a little beyond training, by design
        rows = [row for scene, images in scenes(data, options.small) for row in score(scene, *images)]
    table = Table("reference", "score", *METHODS, "difference")
    for cells in summary(rows):
        table.add_row(*cells)
    Console().print(table)
    if options.write and not options.small:
        write(TARGET, markdown(rows), MARKERS)
        print(f"wrote {TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
