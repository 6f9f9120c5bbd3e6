"""Published ways to sharpen a temperature by a guide that xsr does not have, short, to compare with.

Each reads a temperature in coarse pixels (h, w) and a guide in fine ones (band, side h, side w), and gives fine pixels
(side h, side w). NaN is no data; the result is bicubic interpolation where the guide has none.

References
----------
ATPRK: Q. Wang, W. Shi, P. Atkinson, Y. Zhao, Remote Sensing of Environment 166 (2015), doi:10.1016/j.rse.2015.06.003.
Regression trees: F. Gao, W. Kustas, M. Anderson, "A data mining approach for sharpening thermal satellite imagery over
land", Remote Sensing 4 (2012), doi:10.3390/rs4113287, sections 2.1 to 2.4.
"""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import BaggingRegressor
from sklearn.tree import DecisionTreeRegressor

from common.kriging import Response, area_to_point, behind_pixels
from xsr.kernels.degrade import blur_decimate
from xsr.kernels.resample import interpolate_filled
from xsr.operations.guided.networks import fill_nearest

Image = NDArray[np.float64]
TREES, SHARE = 30, 0.8
"""Trees of an ensemble, and the share of the samples that each is grown from."""
LEAVES, SAMPLES = 10, 10
"""Leaves of a tree, and samples in each, at most and at least."""
BEYOND = 0.25
"""Of the range of the samples of a leaf, how far its line may lead beyond them."""
ALIKE = 80
"""Percentile of the variation within coarse pixels up to which they are samples."""
WINDOW, AROUND = 15, 4
"""Coarse pixels along a window of local trees, and those around it that are samples too."""


def observed(images: NDArray[np.floating], side: int, mtf: float | None) -> Image:
    """Coarse pixels of images (n, h, w): means over their area, or within a Gaussian response; NaN without data."""
    if mtf is not None:
        return blur_decimate(images.astype(np.float32), scale=side, mtf=mtf).astype(np.float64)
    return cells(images, side).mean(axis=-1)


def cells(images: NDArray[np.floating], side: int) -> Image:
    """Fine pixels of each coarse one, shape (n, h / side, w / side, side * side)."""
    count, height, width = images.shape
    parts = images.astype(np.float64).reshape(count, height // side, side, width // side, side).swapaxes(2, 3)
    return parts.reshape(*parts.shape[:3], side * side)


def enlarged(image: Image, side: int, method: str = "bicubic") -> Image:
    """Interpolate an image (h, w); no data is taken from the nearest pixel."""
    rows, cols = ((np.arange(side * size) + 0.5) / side - 0.5 + 2 for size in image.shape)
    padded = np.pad(fill_nearest(image.astype(np.float32)[None])[0], 2, mode="edge")
    return interpolate_filled(padded[None], rows, cols, method)[0].astype(np.float64)


# --- area-to-point regression kriging --------------------------------------------------------------------------------


def atprk(low: Image, guide: Image, *, mtf: float | None = None) -> Image:
    """Regression on the guide over the whole image, and area-to-point kriging of what it leaves.

    Parameters
    ----------
    low, guide
        See above; a guide of no bands leaves kriging alone.
    mtf
        Modulation of the sensor at the Nyquist frequency of the coarse pixels; by default they are means of areas.
    """
    side = _side(low, guide)
    response = Response.area(side) if mtf is None else Response.sensor(side, mtf)
    trend, missing = _trend(low, guide, observed(guide, side, mtf))
    filled = fill_nearest(missing[None].astype(np.float32))[0].astype(np.float64)
    made = trend + area_to_point(filled, behind_pixels(filled, response, side))
    return np.where(np.isfinite(made), made, enlarged(low, side))


def _trend(low: Image, guide: Image, coarse: Image) -> tuple[Image, Image]:
    """Predict fine pixels by one linear relation, and tell what it leaves of the coarse ones."""
    known = np.isfinite(low) & np.isfinite(coarse).all(axis=0)
    line = np.linalg.lstsq(np.vstack([np.ones(known.sum()), coarse[:, known]]).T, low[known], rcond=None)[0]
    fine, rough = (line[0] + np.tensordot(line[1:], images, axes=1) for images in (guide, coarse))
    return fine, low - rough


# --- regression trees ------------------------------------------------------------------------------------------------


class LinearLeaves(DecisionTreeRegressor):  # type: ignore[misc]
    """Regression tree with a line in each leaf, which leads no further than `BEYOND` its samples."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None, check_input: bool = True) -> Self:
        """Grow the tree, then fit a line to the samples of each leaf."""
        super().fit(X, y, sample_weight=sample_weight, check_input=check_input)
        self.lines_ = {}
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
        leaf = self.apply(X)
        for number in np.unique(leaf[weight > 0]):
            mine = (leaf == number) & (weight > 0)
            margin = BEYOND * np.ptp(y[mine])
            self.lines_[number] = _line(X[mine], y[mine], weight[mine]), y[mine].min() - margin, y[mine].max() + margin
        return self

    def predict(self, X: Any, check_input: bool = True) -> Any:
        """Follow the line of the leaf of each sample."""
        leaf, out = self.apply(X), np.empty(len(X))
        for number, (line, least, most) in self.lines_.items():
            mine = leaf == number
            out[mine] = np.clip(line[0] + X[mine] @ line[1:], least, most)
        return out


def _line(x: Image, y: Image, weight: Image) -> Image:
    """Constant and slopes of a weighted regression of y (n,) on x (n, k)."""
    root = np.sqrt(weight / weight.mean())[:, None]
    return np.linalg.lstsq(root * np.column_stack([np.ones(len(x)), x]), root[:, 0] * y, rcond=None)[0]


def regression_trees(low: Image, guide: Image) -> Image:
    """Ensembles of trees for the image and for windows of it, joined by their residuals, which are added at last.

    Samples are the coarse pixels of which the guide varies least within; those that vary less count more.
    """
    side = _side(low, guide)
    within = cells(guide, side)
    coarse = within.mean(axis=-1)
    varies = (within.std(axis=-1) / np.maximum(np.abs(coarse), 1e-6)).mean(axis=0)
    sampled = np.isfinite(low) & np.isfinite(varies)
    sampled &= varies <= np.percentile(varies[sampled], ALIKE)
    overall = _predicted(low, guide, coarse, varies, sampled)
    if max(low.shape) <= WINDOW:
        fine = overall
    else:
        local = overall.copy()
        for inner, outer in _windows(low.shape):
            near = np.zeros_like(sampled)
            near[outer] = sampled[outer]
            if near.sum() >= 3 * SAMPLES:
                block = (slice(None), *(slice(side * s.start, side * s.stop) for s in inner))
                local[block[1:]] = _predicted(low, guide[block], coarse, varies, near)
        fine = _joined(low, overall, local, side)
    made = fine + enlarged(low - observed(fine[None], side, None)[0], side)
    return np.where(np.isfinite(made), made, enlarged(low, side))


def _predicted(low: Image, guide: Image, coarse: Image, varies: Image, sampled: NDArray[np.bool_]) -> Image:
    """Fine pixels that an ensemble grown from samples predicts; NaN where the guide is."""
    trees = BaggingRegressor(
        LinearLeaves(max_leaf_nodes=LEAVES, min_samples_leaf=SAMPLES),
        n_estimators=TREES,
        max_samples=SHARE,
        random_state=0,
    )
    weight = 1 / np.maximum(varies[sampled], np.percentile(varies[sampled], 5) + 1e-6)
    trees.fit(coarse[:, sampled].T, low[sampled], sample_weight=weight)
    known = np.isfinite(guide).all(axis=0)
    out = np.full(guide.shape[1:], np.nan)
    if known.any():
        out[known] = trees.predict(guide[:, known].T)
    return out


def _windows(shape: tuple[int, ...]) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Windows that cover an image, and the same with the pixels around them."""
    edges = [np.linspace(0, size, max(1, round(size / WINDOW)) + 1).round().astype(int) for size in shape]
    for top, bottom in zip(edges[0][:-1], edges[0][1:], strict=True):
        for left, right in zip(edges[1][:-1], edges[1][1:], strict=True):
            inner = slice(top, bottom), slice(left, right)
            y, x = (slice(max(0, s.start - AROUND), s.stop + AROUND) for s in inner)
            yield inner, (y, x)


def _joined(low: Image, overall: Image, local: Image, side: int) -> Image:
    """Mean of two predictions, weighted by the inverse of their squared residuals."""
    weight = []
    for fine in (overall, local):
        error = (low - observed(fine[None], side, None)[0]) ** 2
        weight.append(1 / np.maximum(enlarged(error, side, "bilinear"), 1e-4))
    return (weight[0] * overall + weight[1] * local) / (weight[0] + weight[1])


def _side(low: Image, guide: Image) -> int:
    """Fine pixels along a coarse one."""
    return guide.shape[1] // low.shape[0]
