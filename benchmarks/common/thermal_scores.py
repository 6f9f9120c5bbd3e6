"""Scores of sharpened temperatures by the Wald protocol.

The truth, observed through a Gaussian point spread function at four or eight times coarser pixels, is sharpened back by
the public operation `xsr.guided`, or by a published method of `common.thermal_comparators`, and compared with itself.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from common.thermal_comparators import atprk, regression_trees
from xsr.kernels.degrade import blur_decimate
from xsr.kernels.guidance import normalised_difference
from xsr.models import registry
from xsr.operations.evaluate import evaluate, strata
from xsr.operations.guided import guided
from xsr.training.thermal import ThermalScene
from xsr.training.thermal_synthetic import GUIDE, GUIDE_BANDS

MTF = 0.3
"""Modulation at the Nyquist frequency of the low-resolution image."""
BORDER = 4
"""Pixels along each side that do not count."""
PARTS = 3
"""Parts of a scene along each side, whose errors are compared in pairs."""
OF_MODIS = "DCTNet for MODIS"
"""Row for temperatures of MODIS alone."""
METHODS: dict[str, dict[str, str]] = {
    "bilinear": {"method": "bilinear"},
    "bicubic": {"method": "bicubic"},
    "guided filter": {"method": "guided_filter"},
    "TsHARP": {"method": "tsharp"},
    "ESRNet": {"model": "esrnet_lst"},
    "JIIF": {"model": "jiif_lst"},
    "DCTNet": {"model": "dctnet_lst"},
    "DCTRRDBNet": {"model": "dctrrdbnet_lst"},
    OF_MODIS: {"model": "dctnet_modis_lst"},
}
"""Rows of the table that xsr has, as arguments of `xsr.guided`."""
EIGHT = {"esrnet_lst": "esrnet_x8_lst"}
"""Networks of factor 8 that stand for those of factor 4."""
Own = Callable[[NDArray[np.float64], NDArray[np.float64], float | None], NDArray[np.float64]]
OTHERS: dict[str, Own] = {
    "kriging": lambda low, guide, mtf: atprk(low, guide[:0], mtf=mtf),
    "ATPRK": lambda low, guide, mtf: atprk(low, guide, mtf=mtf),
    "regression trees": lambda low, guide, mtf: regression_trees(low, guide),
}
"""Rows of other methods: of temperature, guide and, where it is to be heeded, the MTF of the sensor."""
UNGUIDED = ("bilinear", "bicubic", "kriging", "ESRNet")
"""Rows that read no guide."""
BLIND = (*UNGUIDED, "DCTNet")
"""Rows for scenes without one: the network was trained on some guides that are the mean of land everywhere."""
MEAN = np.array(GUIDE.mean, np.float32)
NETWORKS = tuple(name for name, row in METHODS.items() if "model" in row and name != OF_MODIS)
ROWS = ("bilinear", "bicubic", "kriging", "guided filter", "TsHARP", "ATPRK", "regression trees", *NETWORKS)
"""All rows, in the order of the table; that for MODIS is in none but the table of MODIS."""
GUIDES = ("bands", "index", "near infrared")
"""Guides: all bands, the vegetation index alone, one band."""


@dataclass(frozen=True)
class ThermalScore:
    """Errors of one method on one scene."""

    place: str
    scale: int
    method: str
    psnr_db: float
    ssim: float
    mse_k2: float
    bias_k: float
    edges: float
    """Correlation of the strength of the gradient with that of the guide; NaN without one."""
    strata_rmse_k: tuple[float, ...]
    """Root mean square error where the truth is flat, to where it is steep, by quartiles of its gradient."""


@dataclass(frozen=True)
class Pair:
    """Low-resolution temperature, guide and truth of a scene, on grids that nest."""

    place: str
    scale: int
    low: xr.DataArray
    guide: xr.DataArray
    """Bands of `GUIDE_BANDS`, or a vegetation index; where there is none the mean of land, for the grid."""
    truth: xr.DataArray


def model_of(method: str, scale: int) -> str | None:
    """Name of the model of a row at a factor; None if it has none."""
    model = METHODS.get(method, {}).get("model")
    return EIGHT.get(str(model), model) if scale == 8 else model


def trained(method: str, scale: int) -> bool:
    """Whether a row needs no weights, or has some for this factor."""
    model = model_of(method, scale)
    if model is None:
        return True
    return model in registry.names() and registry.card(model).factor in (None, scale)


def trained_on(method: str) -> tuple[str, ...]:
    """Places whose temperature a row was trained on."""
    models = {model_of(method, scale) for scale in (4, 8)} & {*registry.names()}
    return tuple(sorted({place for model in models for place in registry.card(str(model)).training.get("places", ())}))


def cube(images: NDArray[np.float32], names: tuple[str, ...], scale: int = 1) -> xr.DataArray:
    """Images (band, y, x) as a cube, in pixels of an arbitrary grid that are ``scale`` times 60 m."""
    box = GeoBox(images.shape[1:], Affine(60 * scale, 0, 600_000, 0, -60 * scale, 4_500_000), "EPSG:32618")
    units = "K" if names == ("lst",) else "1"
    return xr.DataArray(
        images, dims=("band", "y", "x"), coords={"band": list(names), **xr_coords(box)}, attrs={"units": units}
    )


def pair(scene: ThermalScene, scale: int) -> Pair:
    """Observe a scene, cut to whole low-resolution pixels."""
    height, width = (size // scale * scale for size in scene.kelvin.shape)
    truth = scene.kelvin[None, :height, :width]
    low = blur_decimate(truth, scale=scale, mtf=MTF)
    guide = scene.guide[:, :height, :width]
    if not np.isfinite(guide).any():
        guide = np.broadcast_to(MEAN[:, None, None], guide.shape).copy()  # gives the grid, and no information
    return Pair(scene.place, scale, cube(low, ("lst",), scale), cube(guide, GUIDE_BANDS), cube(truth, ("lst",)))


def read_guide(pair: Pair, kind: str) -> xr.DataArray:
    """Guide of some kind: all bands, their vegetation index, or one band.

    The near infrared alone comes with a red that is its mean everywhere, which some methods need.
    """
    guide = pair.guide
    if kind == "bands":
        return guide
    red, nir = guide.sel(band=list(GUIDE_BANDS[:2])).values
    if kind == "index":
        return guide.isel(band=[0]).assign_coords(band=["ndvi"]).copy(data=normalised_difference(red, nir)[None])
    flat = np.where(np.isfinite(nir), np.nanmean(red), np.float32(np.nan)).astype(np.float32)
    return guide.sel(band=list(GUIDE_BANDS[:2])).copy(data=np.stack([flat, nir]))


def can(method: str, kind: str) -> bool:
    """Whether a row takes a guide of some kind."""
    return kind == "bands" or (method not in UNGUIDED and not (method == "TsHARP" and kind != "index"))


@dataclass
class Estimates:
    """Sharpened images, each made once."""

    made: dict[tuple[str, int, str, str, float | None], NDArray[np.float32]] = field(default_factory=dict)

    def __call__(
        self, pair: Pair, method: str, *, guide: str = "bands", mtf: float | None = None
    ) -> NDArray[np.float32]:
        """Sharpen a pair by a method of `ROWS`, shape (y, x).

        Parameters
        ----------
        pair
            What to sharpen.
        method
            Row.
        guide
            One of `GUIDES`.
        mtf
            Modulation of the sensor for rows that can heed it: some of `OTHERS`, and networks, which conserve radiance
            within it.
        """
        key = pair.place, pair.scale, method, guide, mtf
        if key not in self.made:
            self.made[key] = _sharpened(pair, method, guide, mtf)
        return self.made[key]


def _sharpened(pair: Pair, method: str, kind: str, mtf: float | None) -> NDArray[np.float32]:
    guide = read_guide(pair, kind)
    one = kind == "near infrared"
    if method in OTHERS:
        plain = guide.values[1:] if one else guide.values
        return OTHERS[method](pair.low.values[0].astype(np.float64), plain.astype(np.float64), mtf).astype(np.float32)
    how: dict[str, Any] = dict(METHODS[method])
    if "model" in how:
        how["model"] = model_of(method, pair.scale)
    if method == "guided filter" and one:
        how["guide_bands"] = GUIDE_BANDS[1:2]
    if mtf is not None:
        how |= {"conserve": "radiance", "mtf": mtf}
    fine = guided(pair.low, guide, **how)
    assert isinstance(fine, xr.DataArray)
    return np.asarray(fine.isel(band=0).values, np.float32)


def score(pair: Pair, image: NDArray[np.float32], method: str) -> ThermalScore:
    """Compare a sharpened image (y, x) with the truth of its pair."""
    truth = pair.truth
    fine = truth.copy(data=np.where(np.isfinite(truth.values), image[None], np.nan))
    data_range = float(truth.max() - truth.min())
    found = evaluate(fine, truth, data_range=data_range, metrics=("psnr", "ssim", "rmse", "bias"), border=BORDER)
    steep = strata(fine, truth, metrics=("rmse",), border=BORDER)["rmse"].values.ravel()
    value = {name: float(found[name].values.squeeze()) for name in ("psnr", "ssim", "rmse", "bias")}
    return ThermalScore(
        pair.place,
        pair.scale,
        method,
        round(value["psnr"], 3),
        round(value["ssim"], 4),
        round(value["rmse"] ** 2, 4),
        round(value["bias"], 4),
        round(alignment(fine.values[0], pair.guide.values), 3),
        tuple(round(float(rmse), 3) for rmse in steep),
    )


def psnr(pair: Pair, image: NDArray[np.float32]) -> float:
    """Peak signal-to-noise ratio in dB, as `score` has it."""
    return 10 * math.log10(float(pair.truth.max() - pair.truth.min()) ** 2 / float(np.nanmean(squares(pair, image))))


def squares(pair: Pair, image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Squared errors of an image (y, x) without its border; NaN is no data."""
    inner = slice(BORDER, -BORDER)
    return (image.astype(np.float64) - pair.truth.values[0])[inner, inner] ** 2


def parts_db(pair: Pair, one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """By how many dB the error of one image is below that of another, in each part of the scene."""
    gains = []
    for rows in zip(*(np.array_split(squares(pair, image), PARTS) for image in (one, other)), strict=True):
        for mine, its in zip(*(np.array_split(row, PARTS, axis=1) for row in rows), strict=True):
            known = np.isfinite(mine) & np.isfinite(its)
            if known.sum() > known.size / 2:
                gains.append(10 * math.log10(its[known].mean() / mine[known].mean()))
    return np.array(gains)


def alignment(kelvin: NDArray[np.floating], guide: NDArray[np.floating]) -> float:
    """Correlation of the strengths of the gradients of a temperature (y, x) and a guide (band, y, x).

    The strength in the guide is the sum over its bands, each divided by its standard deviation. The truth has a value
    of its own: below it edges of the guide are missed, above it edges are made up that the temperature has not. NaN
    where either has no gradient.
    """
    own = np.hypot(*np.gradient(kelvin.astype(np.float64)))
    other = np.zeros_like(own)
    for band in guide.astype(np.float64):
        other += np.hypot(*np.gradient(band)) / max(float(np.nanstd(band)), 1e-9)
    inner = np.zeros(own.shape, bool)
    inner[BORDER:-BORDER, BORDER:-BORDER] = True
    known = inner & np.isfinite(own) & np.isfinite(other)
    if known.sum() < 2 or min(own[known].std(), other[known].std()) < 1e-12:
        return math.nan
    return float(np.corrcoef(own[known], other[known])[0, 1])
