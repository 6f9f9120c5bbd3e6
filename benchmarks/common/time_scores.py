"""Scores in time: a date of a series is hidden or not, and made from the others at a finer scale.

The whole series is degraded by the per-band point spread function of a sensor ``scale`` times coarser; clouds stay
holes. Each clear date but the first and the last is then a target, and compared with the original where it is clear,
a border of `BORDER` pixels off.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsr.kernels.degrade import blur_decimate
from xsr.models import registry
from xsr.operations.interpolate import interpolate
from xsr.operations.register import register
from xsr.operations.super_resolve import liif
from xsr.training import series as training_series
from xsr.training.build import band_mtf
from xsr.training.manifest import Manifest
from xsr.training.scenes import BANDS, FINE
from xsr.training.scores import BORDER
from xsr.training.series import Series, cloud

CLEAR = 0.95
"""Least share of clear pixels of a target date; native pixels of resampled scenes have some gaps."""
DATES = 12
"""Most target dates of one place, spread over its series."""
CLOUDS = 0.4
"""Share of every date that synthetic clouds hide in the third case."""
Case = Literal["hidden", "shown", "clouded"]
"""The target date is missing; is there; is missing, and synthetic clouds hide a share of all others."""
METHODS = ("nearest", "mean", "linear")


@dataclass(frozen=True)
class TimeScore:
    """Mean over dates of the peak signal-to-noise ratio in dB, peak 1 reflectance, bands pooled."""

    place: str
    scale: float
    case: Case
    dates: int
    db: dict[str, float]
    """By method: the three means over dates, bicubic in space; single-date models, and the same corrected by the other
    dates, whose displacements are measured; the temporal model."""


def read_series(manifest: Manifest) -> Iterator[Series]:
    """Read the series that no recipe trains on: test places, and scenes for validation."""
    yield from training_series.read(manifest, split=("test", "validation"))


def as_cube(series: Series, images: NDArray[np.float32], scale: float) -> xr.DataArray:
    """Images (date, band, y, x) of a series on a grid ``scale`` times coarser than a 10 m one."""
    box = GeoBox(images.shape[2:], Affine(10 * scale, 0, 600_000, 0, -10 * scale, 5_700_000), "EPSG:32631")
    coords = {"time": series.times, "band": list(FINE), **xr_coords(box)}
    made = {} if scale == 1.0 else {"xsr_operation": "degrade"}
    return xr.DataArray(images, dims=("time", "band", "y", "x"), coords=coords, attrs=made)


def _ideal(model: str | Path) -> Literal["ideal"] | None:
    """Sharpness of the truth, which the published formula takes for perfect, where a model states its own."""
    return None if registry.card(model).sharpness is None else "ideal"


def score_series(
    series: Series, scale: float, case: Case, *, temporal: str | Path, single: tuple[str | Path, ...] = ()
) -> TimeScore | None:
    """Score a temporal model against means over dates, and single-date models alone and corrected by other dates.

    Returns
    -------
    TimeScore or None
        None if the series has no target date.
    """
    truth = series.image[:, [BANDS.index(band) for band in FINE]]
    mtf = band_mtf(FINE)
    low = np.stack([blur_decimate(truth[:, i], scale=scale, mtf=m) for i, m in enumerate(mtf)], axis=1)
    if case == "clouded":
        rng = np.random.default_rng(0)
        size = max(low.shape[2:])
        holes = np.stack([cloud(size, CLOUDS, rng) for _ in low])[:, None, : low.shape[2], : low.shape[3]]
        low = np.where(holes, np.float32(np.nan), low)
    targets = [int(i) for i in series.clear(CLEAR) if 0 < i < len(series.times) - 1]
    targets = targets[:: max(1, -(-len(targets) // DATES))]
    whole = as_cube(series, low, scale)
    errors: dict[str, list[float]] = {}
    for date in targets:
        kept = [i for i in range(len(low)) if case == "shown" or series.times[i] != series.times[date]]
        cube = whole.isel(time=kept)
        measured = register(whole, reference=whole.isel(time=[date])).isel(
            time=kept
        )  # the truth lies where the date does
        t = series.times[date]
        made = {f"bicubic, {m}": interpolate(cube, scale=scale, t=t, temporal=m) for m in METHODS}  # type: ignore[arg-type]
        made["temporal"] = liif(cube, scale=scale, t=t, model=temporal, psf=_ideal(temporal))
        made |= {
            f"{Path(str(m)).stem}, registered": liif(measured, scale=scale, t=t, model=m, psf=_ideal(m)) for m in single
        }
        if case == "shown":
            itself = cube.isel(time=[date])
            made |= {Path(str(m)).stem: liif(itself, scale=scale, model=m, psf=_ideal(m)) for m in single}
        for name, image in made.items():
            errors.setdefault(name, []).append(_db(np.asarray(image.values)[0], truth[date]))
    if not targets:
        return None
    return TimeScore(
        series.place, scale, case, len(targets), {name: round(float(np.mean(v)), 3) for name, v in errors.items()}
    )


def _db(image: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    inner = (slice(None), slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    difference = (image - truth[:, : image.shape[1], : image.shape[2]])[inner].astype(np.float64)
    return float(-10 * np.log10(np.nanmean(difference**2)))
