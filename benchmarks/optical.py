"""Gains of `liif_optical` over bicubic interpolation by the Wald protocol, on images of many sensors.

Prints the table; ``--write`` puts it into the documentation and the model's card. Needs the folder of
real images in XSR_DATA.

Pairs are self-similar: an image is taken to have an MTF of 0.3 at its own Nyquist frequency, or that of Sentinel-2's
bands, and is degraded so that the larger pixels have the same. The network estimates it, or is given it. Errors are in
units of the standard deviation of each band, pooled over bands and dates. Beside the network: linear filters of each
band, fitted to the truth itself, which say how much of it lines can find in the larger pixels.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr
from common.data import manifest
from common.matched_scores import TAPS, fitted, windows
from numpy.typing import NDArray
from wald import write

import xsr
from xsr.core import sensors
from xsr.core.blocks import Span
from xsr.kernels.degrade import observe, sensor_band, whole
from xsr.kernels.resample import fill_nodata
from xsr.kernels.scenespectrum import LEAST
from xsr.models import registry
from xsr.models.card import read_card, write_card
from xsr.training.manifest import Manifest, Scene
from xsr.training.reading import read_scene

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "any-optical-sensor.md"
MARKERS = "<!-- optical: written by benchmarks/optical.py -->", "<!-- end of optical -->"
MODEL, OTHER = "liif_optical", "liif_s2"
MTF = 0.3
SCALES = 2, 3, 4
BORDER = 4
"""Output pixels left out along each side."""
SMALL = 96
"""Side of a small image in pixels."""
MOST_DATES = 3


@dataclass(frozen=True)
class Place:
    """Images of one place."""

    name: str
    trained: bool
    """Whether the network has learnt from the place in training."""
    bands: tuple[str, ...]
    images: NDArray[np.float32]
    """Shape (date, band, y, x)."""
    gsd_m: float
    sentinel2: bool

    @property
    def mtf(self) -> dict[str, float]:
        """MTF of each band."""
        table = sensors.get("sentinel-2")
        return {name: (table.band(name).mtf or MTF) if self.sentinel2 else MTF for name in self.bands}


def places(data: Manifest) -> Iterator[Place]:
    """Test places of Sentinel-2, and every place of another sensor."""
    found: list[Scene] = [*data.select("optical", split=("test", "train")), *data.select("image", split=("test",))]
    for scene in sorted({scene.place: scene for scene in found}.values(), key=lambda one: one.split):
        frames = read_scene(data, scene).clear().fine
        images = frames.values[:MOST_DATES]
        yield Place(scene.place, scene.split == "train", frames.names, images, scene.gsd_m, "image" in scene.roles)


def as_cube(images: NDArray[np.float32], bands: Sequence[str], gsd_m: float) -> xr.DataArray:
    """Cube (time, band, y, x) on a grid at multiples of its pixels."""
    y, x = ((np.arange(size) + 0.5) * gsd_m for size in images.shape[2:])
    times = np.datetime64("2024-06-01", "ns") + np.arange(len(images)) * np.timedelta64(1, "D")
    coords = {"time": times, "band": list(bands), "y": 6e6 - y, "x": 6e5 + x}
    attrs = {"crs": "EPSG:32631", "xsr_operation": "degrade"}
    return xr.DataArray(images, coords, ("time", "band", "y", "x"), attrs=attrs)


def degraded(place: Place, scale: float) -> NDArray[np.float32]:
    """Images as a sensor of larger pixels would observe them."""
    rows, cols = (Span(0, len(whole(size, scale))) for size in place.images.shape[2:])
    out = []
    for band, mtf in enumerate(place.mtf.values()):
        image = place.images[:, band]
        filled = fill_nodata(image, passes=4, constant=float(np.nanmean(image)))
        out.append(observe(filled, sensor_band(mtf, scale, source_mtf=mtf), rows=rows, cols=cols))
    return np.stack(out, axis=1)


@dataclass(frozen=True)
class Gain:
    """Gain over bicubic interpolation in dB at one place and scale; None where there is none."""

    place: str
    trained: bool
    """Whether the network has learnt from the place in training."""
    scale: float
    gain_db: float | None
    """With the MTF estimated from the image."""
    gain_db_given: float | None
    """With the MTF that was used."""
    gain_db_other: float | None
    """Of the other model."""
    gain_db_fitted: float | None
    """Of the filters fitted to the truth."""


def filtered(low: NDArray[np.float32], truth: NDArray[np.float32], base: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images of a linear filter for each band and subpixel, fitted in either half of the truth for the other."""
    scale, reach = base.shape[2] // low.shape[2], TAPS // 2
    out = np.full(base.shape, np.nan, np.float32)
    for index in np.ndindex(base.shape[:2]):
        taps = windows(low[index][None], 1)
        height, width = taps.shape[1:]
        inner = tuple(slice(reach * scale, (reach + size) * scale) for size in (height, width))
        cells = (height, scale, width, scale)
        wanted = (truth[index][inner] - base[index][inner]).reshape(cells).transpose(1, 3, 0, 2)
        wanted = wanted.reshape(scale**2, height, width)
        found = np.empty_like(wanted)
        for ours, other in ((slice(width // 2), slice(width // 2, None)), (slice(width // 2, None), slice(width // 2))):
            weights = fitted(taps[..., other], wanted[..., other])
            found[..., ours] = np.einsum("kyx,kb->byx", taps[..., ours], weights)
        detail = found.reshape(scale, scale, height, width).transpose(2, 0, 3, 1).reshape(height * scale, -1)
        out[index][inner] = base[index][inner] + detail
    return out


def gain(place: Place, scale: float, model: str) -> Gain:
    """Score the model with the estimated and with the true MTF, and the other model where it knows the bands."""
    low = as_cube(degraded(place, scale), place.bands, place.gsd_m)  # pixels as at use
    if min(low.shape[2:]) < LEAST:
        return Gain(place.name, place.trained, scale, None, None, None, None)
    base = xsr.interpolate(low, scale=scale, method="bicubic", units="reflectance")
    results = [xsr.liif(low, scale=scale, model=model, mtf=mtf) for mtf in (None, place.mtf)]
    known = place.sentinel2 and {*place.bands} <= {*registry.card(OTHER).bands}
    results += [xsr.liif(low, scale=scale, model=OTHER, units="reflectance", psf="sensor")] if known else []
    truth = place.images[..., : base.sizes["y"], : base.sizes["x"]]
    unit = np.nanstd(truth, axis=(0, 2, 3))[:, None, None]
    lines = filtered(low.values, truth, base.values)

    def better(image: NDArray[np.float32], where: NDArray[np.bool_] | np.bool_ = np.True_) -> float:
        """Gain in dB over interpolation, over the same pixels."""
        inner = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
        errors = (
            np.where(where, (one - truth) / unit, np.nan)[inner].astype(np.float64) for one in (base.values, image)
        )
        reference, error = (np.nanmean(one**2) for one in errors)
        return round(10 * float(np.log10(reference / error)), 3)

    found = [better(result.values) for result in results]
    estimated, given, other = (*found, *(3 - len(found)) * (None,))
    return Gain(place.name, place.trained, scale, estimated, given, other, better(lines, np.isfinite(lines)))


def shown(value: float | None) -> str:
    """Text of a gain."""
    return "–" if value is None else f"{value:+.2f}"


def table(places: Sequence[Place], found: Sequence[Gain], model: str) -> str:
    """Rows of places, columns of scales."""
    scales = sorted({one.scale for one in found})
    head = " | ".join(f"×{scale:g}: estimated, given, `{OTHER}`, fitted" for scale in scales)
    lines = [f"| place | in training | bands | pixels | {head} |", "| --- | --- | --- | --- |" + " --- |" * len(scales)]
    for place in places:
        ordered = sorted((one for one in found if one.place == place.name), key=lambda one: one.scale)
        gains = [(one.gain_db, one.gain_db_given, one.gain_db_other, one.gain_db_fitted) for one in ordered]
        cells = [f"**{shown(first)}**, {', '.join(map(shown, others))}" for first, *others in gains]
        learnt = "yes" if place.trained else "no"
        lines.append(f"| {place.name} | {learnt} | {len(place.bands)} | {place.gsd_m:g} m | {' | '.join(cells)} |")
    note = (
        "Gain over bicubic interpolation in dB, by Wald pairs whose truth has the pixels of the table; – where the"
        f" larger pixels are below {LEAST} x {LEAST}, or the other model does not know the bands. *fitted*: a linear"
        f" filter of {TAPS} x {TAPS} pixels for each band and subpixel, fitted to the truth in one half of the image"
        " for the other."
    )
    return "\n".join([*lines, "", f"{note} Weights sha256 `{registry.card(model).sha256[:12]}`."])


def small(place: Place) -> Place:
    """Corner of one date."""
    image = place.images[:1, :, :SMALL, :SMALL]
    return Place(place.name, place.trained, place.bands, image, place.gsd_m, place.sentinel2)


def main() -> None:
    """Print the table or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=MODEL, help="name or path of the weights")
    parser.add_argument("--write", action="store_true", help="put the table into the documentation")
    parser.add_argument("--small", action="store_true", help="a corner of one place, to check that it runs")
    options = parser.parse_args()
    data = manifest()
    if data is None:
        print("XSR_DATA is not set: the table needs the folder of real images")
        return
    if options.model not in registry.names() and not os.path.isfile(options.model):
        first = next(places(data))
        print(f"there are no weights {options.model}: train them with xsr train {MODEL}, and pass --model PATH;")
        print(f"the first place is {first.name}, {len(first.bands)} bands of {first.gsd_m:g} m")
        return
    if options.small:
        part = small(next(places(data)))
        print(table([part], [gain(part, SCALES[0], options.model)], options.model))
        return
    known = list(places(data))
    found = [gain(place, scale, options.model) for place in known for scale in SCALES]
    text = table(known, found, options.model)
    print(text)
    if options.write:
        write(PAGE, text, MARKERS)
        path = registry.find(options.model)
        elsewhere = [asdict(one) for one in found if not one.trained and one.gain_db is not None]
        write_card(replace(read_card(path), scores=[{**row, "pairs": "self-similar"} for row in elsewhere]), path)


if __name__ == "__main__":
    main()
