"""Scores by the Wald protocol on places that no recipe trains on.

Each image is degraded by the per-band point spread function of a sensor ``scale`` times coarser, super-resolved back by
the public operations, and compared with the original, a border of `BORDER` pixels off. Pairs are self-similar, or by
the published formula, and the result is as sharp as the original is taken to be.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsr.core import sensors
from xsr.core.blocks import Span
from xsr.kernels.degrade import BandOptics, observe, sensor_band, whole
from xsr.kernels.resample import fill_nodata
from xsr.models import registry
from xsr.operations.interpolate import interpolate
from xsr.operations.super_resolve import liif, sharpen, sisr
from xsr.operations.super_resolve.sharpness import Sharpness
from xsr.operations.verbs import verb_of
from xsr.training.manifest import Manifest, Split
from xsr.training.reading import read_scene
from xsr.training.scenes import BANDS, COARSE, Image, Say, coarser_names, quiet, repetition

BORDER = 4
"""High-resolution pixels ignored along each side."""


@dataclass(frozen=True)
class TestPlace:
    """Images of one place, kept apart from training."""

    __test__ = False

    name: str
    bands: tuple[str, ...]
    images: Image
    """Reflectance, shape (date, band, y, x)."""
    times: tuple[str, ...] | None = None
    """Dates, where they are known."""
    box: GeoBox | None = None
    """Grid of the images; an arbitrary one where it is unknown."""
    coarser: tuple[str, ...] = ()
    """Bands whose native pixel is twice the grid's at use: degraded to twice the pixel, then brought to the grid."""

    def cube(self, images: Image | None = None, *, scale: float = 1.0) -> xr.DataArray:
        """Images as a cube; with ``scale``, images degraded by that factor on their coarser grid."""
        images = self.images if images is None else images
        a = self.box.affine if self.box is not None else Affine(10, 0, 600_000, 0, -10, 5_700_000)
        crs = self.box.crs if self.box is not None else "EPSG:32631"
        coarse = Affine(a.a * scale, 0, a.c, 0, a.e * scale, a.f)
        coords = {"band": list(self.bands), **xr_coords(GeoBox(images.shape[2:], coarse, crs))}
        own = [abs(coarse.a) * (2 if scale > 1 and band in self.coarser else 1) for band in self.bands]
        coords["native_gsd"] = ("band", own)
        if self.times is not None:
            coords["time"] = np.array(self.times, "datetime64[ns]")
        made = {} if scale == 1.0 else {"xsr_operation": "degrade"}
        return xr.DataArray(images, dims=("time", "band", "y", "x"), coords=coords, attrs=made)


Pairs: TypeAlias = Literal["self-similar", "published"]
"""Whether the sensor's image is as sharp at its pixels as the degraded one at its own, or taken for perfectly sharp."""


@dataclass(frozen=True)
class Score:
    """Mean over dates of the peak signal-to-noise ratio, peak 1 reflectance, errors pooled over bands."""

    place: str
    scale: float
    dates: int
    bicubic_db: float
    model_db: float
    band_gain_db: dict[str, float]
    """Gain of each band over bicubic."""
    pairs: Pairs = "self-similar"
    """How the images were degraded, and how sharp a result is judged."""
    low_rmse: float | None = None
    """Root mean square difference, in reflectance, of the model's image, degraded again, from its input."""
    low_rmse_bicubic: float | None = None
    """The same of bicubic interpolation."""

    @property
    def gain_db(self) -> float:
        """Gain over bicubic interpolation."""
        return round(self.model_db - self.bicubic_db, 3)


def read_places(manifest: Manifest, *, split: Sequence[Split] = ("test",), say: Say = quiet) -> Iterator[TestPlace]:
    """Read the places of the test split; those with 20 m bands are there a second time, at 20 m.

    Bands of 20 m that came as copies on a grid of 10 m are there at 20 m alone.

    Raises
    ------
    XsrError
        If a file is not what the manifest says.
    """
    for scene in manifest.select("image", split=split):
        say(f"test place: {scene.place}")
        reading = read_scene(manifest, scene).clear()
        times = None if reading.fine.times is None else tuple(str(time) for time in reading.fine.times)
        place = TestPlace(scene.place, reading.fine.names, reading.fine.values, times, reading.fine.box)
        if reading.coarse is None:
            known = [name for name in place.bands if name in BANDS]
            yield from without_copies(place, coarser_names(scene, known), scene.gsd_m)
        else:
            yield place
            yield at_20m(place, reading.coarse.values, reading.coarse.names)


def without_copies(place: TestPlace, copied: tuple[str, ...], gsd_m: float = 10.0) -> Iterator[TestPlace]:
    """Place whose bands ``copied`` were brought to a grid twice as fine as their own: there they are no truth.

    The others stay on that grid; all are known at 20 m, where the copies are averaged back. Of a place without dates
    there is nothing to average.
    """
    if not copied:
        larger = tuple(name for name in place.bands if name in COARSE) if gsd_m == 20 else ()
        yield replace(place, coarser=larger)
        return
    index = [place.bands.index(name) for name in copied]
    kept = [number for number, name in enumerate(place.bands) if name not in copied]
    names = tuple(place.bands[number] for number in kept)
    if kept:
        yield replace(place, bands=names, images=place.images[:, kept])
    if not len(place.images):
        return
    known = max(place.images[:, index], key=lambda image: np.isfinite(image).mean())
    top, left = repetition(known, copied, copied)
    height, width = ((size - first) // 2 for size, first in zip(place.images.shape[2:], (top, left), strict=True))
    cut = place.images[:, :, top : top + 2 * height, left : left + 2 * width]
    twice = cut[:, index].reshape(len(cut), len(index), height, 2, width, 2).mean(axis=(3, 5))
    box = None if place.box is None else place.box[top : top + 2 * height, left : left + 2 * width]
    yield at_20m(replace(place, bands=names, images=cut[:, kept], box=box), twice, copied)


def at_20m(place: TestPlace, coarse: Image, names: tuple[str, ...]) -> TestPlace:
    """Place of 20 m pixels whose truth is known in the 20 m bands too; 10 m bands are blurred to as sharp an image."""
    height, width = (min(a // 2, b) for a, b in zip(place.images.shape[2:], coarse.shape[2:], strict=True))
    optics = [sensor_band(_mtf(name), 2.0, source_mtf=_mtf(name)) for name in place.bands]
    fine = [_observed(place.images[:, index], band, (height, width)) for index, band in enumerate(optics)]
    images = np.stack([*fine, *np.moveaxis(coarse[:, :, :height, :width], 1, 0)], axis=1)
    box = None if place.box is None else place.box.zoom_out(2)[:height, :width]
    return TestPlace(f"{place.name} at 20 m", (*place.bands, *names), images, place.times, box, names)


def _mtf(name: str) -> float:
    mtf = sensors.get("sentinel-2").band(name).mtf
    assert mtf is not None
    return mtf


def _optics(name: str, scale: float, own: int, pairs: Pairs) -> BandOptics:
    """How a band is observed by the coarser sensor."""
    mtf = _mtf(name)
    return sensor_band(mtf, scale, own=own, source_mtf=mtf if pairs == "self-similar" else None)


def _observed(images: Image, band: BandOptics, shape: tuple[int, int]) -> Image:
    """Images (date, y, x) of a band as a coarser sensor observes them, after gap filling."""
    filled = fill_nodata(images, passes=4, constant=float(np.nanmean(images)))
    return observe(filled, band, rows=Span(0, shape[0]), cols=Span(0, shape[1]))


def degraded(place: TestPlace, scale: float, pairs: Pairs = "self-similar") -> Image:
    """Images of a place as a sensor ``scale`` times coarser would have observed them."""
    own = [2 if name in place.coarser else 1 for name in place.bands]
    height, width = (max(own) * len(whole(size, max(own) * scale)) for size in place.images.shape[2:])
    optics = [_optics(name, scale, size, pairs) for name, size in zip(place.bands, own, strict=True)]
    bands = [_observed(place.images[:, index], band, (height, width)) for index, band in enumerate(optics)]
    return np.stack(bands, axis=1)


def observed(place: TestPlace, scale: float, pairs: Pairs = "self-similar") -> xr.DataArray:
    """Cube of a place as a sensor ``scale`` times coarser would have observed it.

    At scale 1 its bands of larger pixels alone are observed, in pixels twice as large, and stand on the grid; the
    others are as they are.
    """
    low = place.cube(degraded(place, scale, pairs), scale=scale)
    if scale > 1:
        return low
    larger = np.array([name in place.coarser for name in place.bands])
    sizes = low["native_gsd"].values * np.where(larger, 2, 1)
    height, width = low.shape[2:]
    images = np.where(larger[:, None, None], low.values, place.images[..., :height, :width])
    return low.copy(data=images).assign_coords(native_gsd=("band", sizes)).assign_attrs(xsr_operation="degrade")


def score(place: TestPlace, scale: float, model: str | Path, pairs: Pairs = "self-similar") -> Score:
    """Score a model against bicubic interpolation at one place and scale."""
    low = place.cube(degraded(place, scale, pairs), scale=scale)
    return compare(low, place.cube(), name=place.name, scale=scale, model=model, coarser=place.coarser, pairs=pairs)


def super_resolve(low: xr.DataArray, scale: float, model: str | Path, pairs: Pairs) -> xr.DataArray:
    """Super-resolve as sharp as the truth, by a continuous model or by one of the factor ``scale``."""
    stated = registry.card(model).sharpness is not None
    psf: Sharpness | None = ("sensor" if pairs == "self-similar" else "ideal") if stated else None
    if registry.card(model).reads == "detail":
        sharpened = sharpen(low, model=model)
        assert isinstance(sharpened, xr.DataArray)
        return sharpened
    verb = sisr if verb_of(model) == "sisr" else liif
    fine = verb(low, scale=scale, model=model, psf=psf)
    assert isinstance(fine, xr.DataArray)
    return fine


def compare(
    low: xr.DataArray,
    high: xr.DataArray,
    *,
    name: str,
    scale: float,
    model: str | Path,
    coarser: tuple[str, ...] = (),
    pairs: Pairs = "self-similar",
) -> Score:
    """Super-resolve ``low`` and compare it with ``high``, whose grid has the same corner and the finer pixel."""
    fine = np.asarray(super_resolve(low, scale, model, pairs).values)
    base = np.asarray(interpolate(low, scale=scale, method="bicubic").values)
    inner = (slice(None), slice(None), slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    truth = high.values[:, :, : fine.shape[2], : fine.shape[3]][inner]
    model_mse, base_mse = (np.nanmean((v[inner] - truth).astype(np.float64) ** 2, axis=(2, 3)) for v in (fine, base))
    base_db, model_db = (float(-10 * np.log10(mse.mean(axis=1)).mean()) for mse in (base_mse, model_mse))
    gains = (10 * np.log10(base_mse / model_mse)).mean(axis=0)
    bands = [str(band) for band in high["band"].values]
    by_band = {band: round(float(gain), 3) for band, gain in zip(bands, gains, strict=True)}
    kept = [i for i, band in enumerate(bands) if band not in coarser]
    names = [bands[i] for i in kept]
    mine, other = (_low_rmse(v[:, kept], low.values[:, kept], names, scale, pairs) for v in (fine, base))
    return Score(name, scale, len(truth), round(base_db, 3), round(model_db, 3), by_band, pairs, mine, other)


def _low_rmse(fine: Image, low: Image, bands: list[str], scale: float, pairs: Pairs) -> float:
    """Difference of an image, degraded again, from the input it was made of; a border is left out."""
    total = []
    for index, name in enumerate(bands):
        height, width = (len(whole(size, scale)) for size in fine.shape[2:])
        again = _observed(fine[:, index], _optics(name, scale, 1, pairs), (height, width))
        inner = tuple(slice(edge := min(BORDER, n // 4), n - edge) for n in again.shape[1:])
        total.append(((again - low[:, index, :height, :width])[:, *inner].astype(np.float64)) ** 2)
    return round(float(np.sqrt(np.nanmean(np.stack(total)))), 6)
