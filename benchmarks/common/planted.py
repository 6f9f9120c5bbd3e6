"""Hallucinations that are planted: how well `xsr.support` finds them.

Small squares are added to the truth of a pair. An image without them beside a result of the image with them is a
hallucination; the other way round, the result lacks what the image shows. Squares without what the sensor measures of
them are hallucinations that leave no trace in the image.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.stats import rankdata

import xsr
from xsr.core.cube import open_cube
from xsr.kernels.degrade import sensor_band
from xsr.operations.super_resolve.consistency import Observation

CASES = ("inserted", "removed", "without a trace")
CELL, MARGIN = 24, 16
"""Pixels of the truth from one square to the next, about, and left free along the border."""
SIDES, CONTRASTS = (3, 6), (1.0, 3.0)
"""Least and largest side in pixels, and contrast in standard deviations of the surroundings."""
SURROUNDINGS = 33
"""Side in pixels of the window of that standard deviation."""
NOISE = 0.001
"""Standard deviation in reflectance of the noise of the low-resolution images."""


@dataclass(frozen=True)
class Found:
    """How one case of one band came out."""

    case: str
    band: str
    auc: float
    """Area under the ROC curve: probability that a pixel under a square has a greater score than one elsewhere."""
    flagged: float
    """Share of the pixels under squares whose score exceeds 3."""
    usual: float
    """Share of all pixels whose score does without any square."""


def area_under_curve(score: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Probability that a random positive pixel has a greater score than a random other one; ties count half.

    >>> area_under_curve(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    count = int(positive.sum())
    ranks = rankdata(score)[positive.ravel()].sum() - count * (count + 1) / 2
    return float(ranks / (count * (positive.size - count)))


def squares(truth: NDArray[np.floating], seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Squares to add to an image (band, y, x), and the pixels under them."""
    rng, image = np.random.default_rng(seed), truth.astype(np.float64)
    size = (0, SURROUNDINGS, SURROUNDINGS)
    variance = uniform_filter(image**2, size) - uniform_filter(image, size) ** 2
    out, under = np.zeros_like(image), np.zeros(image.shape[1:], np.bool_)
    for row in range(MARGIN, image.shape[1] - MARGIN - CELL // 2, CELL):
        for col in range(MARGIN, image.shape[2] - MARGIN - CELL // 2, CELL):
            side = rng.integers(SIDES[0], SIDES[1] + 1)
            y, x = row + rng.integers(0, CELL // 3), col + rng.integers(0, CELL // 3)
            contrast = rng.uniform(*CONTRASTS) * rng.choice([-1, 1])
            here = slice(y, y + side), slice(x, x + side)
            out[:, *here] = contrast * np.sqrt(np.maximum(variance[:, y, x], 0))[:, None, None]
            under[here] = True
    return out, under


def planted(truth: xr.DataArray, scale: float, *, seed: int = 0) -> Iterator[Found]:
    """Judge results for one date of a place with squares.

    Parameters
    ----------
    truth
        Reflectance, dims (time, band, y, x), one date.
    scale
        Low over high pixel size.
    seed
        Of squares and noise.
    """
    objects, under = squares(truth.values[0], seed)
    images = {False: truth, True: truth + objects.astype(np.float32)}
    low = {
        there: image.assign_attrs(truth.attrs).sr.degrade(scale=scale, noise=NOISE, seed=seed, units="reflectance")
        for there, image in images.items()
    }
    fine = {there: image.sr.liif(scale=scale, units="reflectance") for there, image in low.items()}
    shape = fine[False].shape[2:]
    traceless = fine[False] + untraced(fine[False], low[False], objects[None, :, : shape[0], : shape[1]])
    pairs = {
        "inserted": (fine[True], low[False]),
        "removed": (fine[False], low[True]),
        "without a trace": (traceless.assign_attrs(fine[False].attrs), low[False]),
    }
    clean = score_of(fine[False], low[False])
    for case, (result, image) in pairs.items():
        score = score_of(result, image)
        where = below(under, scale, score.shape[1:])
        for number, band in enumerate(score.band.values):
            area = area_under_curve(score.values[number], where)
            flagged, usual = (score.values[number] > 3)[where].mean(), (clean.values[number] > 3).mean()
            yield Found(case, str(band), area, float(flagged), float(usual))


def score_of(result: xr.DataArray, image: xr.DataArray) -> xr.DataArray:
    """Score of each low-resolution pixel, dims (band, y, x)."""
    return result.sr.support(image, noise=NOISE, units="reflectance").possible_hallucination[0]


def untraced(fine: xr.DataArray, low: xr.DataArray, objects: NDArray[np.floating]) -> NDArray[np.floating]:
    """Part of objects on the grid of a result of which the sensor of `liif_s2` observes nothing."""
    card, cube = xsr.models.registry.card("liif_s2"), open_cube(low, units="reflectance")
    scale = float(fine.attrs["xsr_scale"][0])
    bands = [sensor_band(card.mtf[card.bands.index(name)], scale) for name in cube.canonical]
    observation = Observation(cube, open_cube(fine, units="reflectance").geobox, scale, (1024, 1024))
    values = objects.astype(np.float32)
    return values - observation.correct(observation.observe(values, bands), bands)


def below(under: NDArray[np.bool_], scale: float, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Low-resolution pixels of which a part lies under a square."""
    rows, cols = (
        [slice(int(np.floor(n * scale)), int(np.ceil((n + 1) * scale))) for n in range(size)] for size in shape
    )
    return np.array([[under[row, col].any() for col in cols] for row in rows])
