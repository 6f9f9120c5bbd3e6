"""Training and calibration of a network that says how large the errors of another are.

Places are degraded and super-resolved by the public operations, as for scores, and pixels are drawn from them: what
`xsr.kernels.spread` finds around each, and how far the result is from the truth. The loss is the negative
log-likelihood of a Laplace distribution, |error| / b + log b, with b what the network says.

Split conformal prediction makes quantiles of that: places that the network did not learn from give the ratio of the
error to what it expects, and an interval is as many times as wide as covers the share of them. Places count alike,
whatever their size. Ratios are taken by range of scales and by how large an error is expected, from all bands, and a
band differs from them the more, the more places have it. The same places say which features are known: beyond that
range `xsr.kernels.spread.confined` widens intervals, and what is far from them as a whole is marked.

References
----------
V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random World", Springer 2005, doi:10.1007/b106715 (split
conformal prediction; Mondrian taxonomies).
R. Dunn, L. Wasserman, A. Ramdas, "Distribution-Free Prediction Sets for Two-Layer Hierarchical Models", Journal of the
American Statistical Association 118 (2023), doi:10.1080/01621459.2022.2060112 (distributions of groups pooled alike).
A. Angelopoulos, S. Bates, "Conformal Prediction: A Gentle Introduction", Foundations and Trends in Machine Learning 16
(2023), doi:10.1561/2200000101.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xsr.core.errors import ParameterError
from xsr.kernels import spread
from xsr.models.architectures.error_size import Spread
from xsr.operations.interpolate import interpolate
from xsr.training.manifest import Manifest
from xsr.training.recipe import Intervals, Recipe
from xsr.training.scenes import Say, quiet
from xsr.training.scores import TestPlace, observed, read_places, super_resolve

Floats = NDArray[np.float32]
BATCH = 4096
"""Pixels of a step."""
KEPT = 3
"""Every so many places of the train split calibrate, beside those of the validation split, and are not learnt from."""
PATCHES = 3
"""Patches of a place, of different dates where there are several."""
KNOWN = 0.98
"""Share of an image that must be known."""
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.998)
"""Shares of the errors whose ratios the table has."""
STRATA = (0.2, 0.4, 0.6, 0.8, 0.95)
"""Shares of the pixels, by expected error, between the strata."""
RANGE = (0.001, 0.999)
"""Shares of the pixels between which a feature is said to be known."""
PRIOR = 4
"""Places that the ratios of all bands count for beside those of one."""
UNLIKE = 0.01
"""Share of the calibration that is said to be unlike it."""
LEAST = 1e-3
"""Least variance of a combination of features."""
TINY = 1e-9
"""Least ratio."""
FLOOR = 1e-3
"""Standardised error that is added to any in the loss."""


@dataclass(frozen=True)
class Pixels:
    """Pixels of results: their features, and what the error was."""

    place: NDArray[np.int64]
    """Number of the place, shape (n,)."""
    band: NDArray[np.int64]
    scale: Floats
    features: Floats
    """Shape (n, feature)."""
    error: Floats
    """In units of the band's standard deviation."""
    pixel: NDArray[np.int64]
    """Number of the pixel, the same in all its bands."""

    def __getitem__(self, index: Any) -> "Pixels":
        return Pixels(*(values[index] for values in vars(self).values()))


@dataclass(frozen=True)
class PixelSampler:
    """Draws pixels, as many of each place; draw number ``step`` is a function of the seed and the step alone."""

    pixels: Pixels
    seed: int

    @cached_property
    def _order(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        order = np.argsort(self.pixels.place, kind="stable")
        _, first, count = np.unique(self.pixels.place[order], return_index=True, return_counts=True)
        return order, first, count

    def __call__(self, step: int) -> Pixels:
        """Draw the batch of one step."""
        rng, (order, first, count) = np.random.default_rng([self.seed, step]), self._order
        place = rng.integers(len(first), size=BATCH)
        return self.pixels[order[first[place] + (rng.random(BATCH) * count[place]).astype(np.int64)]]


def collect(recipe: Recipe[Intervals], places: Iterable[TestPlace], say: Say = quiet) -> Pixels:
    """Super-resolve places and draw pixels of them.

    Raises
    ------
    ParameterError
        If no place is large enough.
    """
    parts: list[Pixels] = []
    numbers = dict[str, int]()
    for place in places:
        number = numbers.setdefault(place.name.split(" at ")[0], len(numbers))
        rng = np.random.default_rng([recipe.seed, number, len(place.bands)])
        for patch in _patches(place, recipe.task.patch, rng):
            say(f"errors at {place.name}")
            for scale in recipe.task.scales:
                parts.append(_pixels(recipe, patch, scale, number, rng))
    if not parts:
        raise ParameterError(
            f"no place has {recipe.task.patch} pixels along both sides of which {KNOWN:.0%} are known; expected one at"
            " least."
        )
    return joined(parts, recipe.task.pixels)


def joined(parts: Sequence[Pixels], most: int) -> Pixels:
    """Join pixels of images, at ``most`` so many of each, which are numbered on."""
    parts = [replace(part, pixel=part.pixel + number * most) for number, part in enumerate(parts)]
    return Pixels(*(np.concatenate([vars(one)[name] for one in parts]) for name in vars(parts[0])))


def _patches(place: TestPlace, size: int, rng: np.random.Generator) -> Iterator[TestPlace]:
    """Cut patches of different dates, at random."""
    dates = [date for date, image in enumerate(place.images) if np.isfinite(image).mean() >= KNOWN]
    height, width = place.images.shape[2:]
    if min(height, width) < size // 2 or not dates:
        return
    for date in rng.choice(dates, PATCHES, replace=len(dates) < PATCHES):
        top, left = (2 * int(rng.integers(0, max(n - size, 0) // 2 + 1)) for n in (height, width))
        images = place.images[date : date + 1, :, top : top + size, left : left + size]
        yield TestPlace(place.name, place.bands, images, coarser=place.coarser)


def _pixels(recipe: Recipe[Intervals], place: TestPlace, scale: float, number: int, rng: np.random.Generator) -> Pixels:
    """Draw pixels of one patch at one scale."""
    low = observed(place, scale)
    fine = np.asarray(super_resolve(low, scale, recipe.task.of, "self-similar").values)[0]
    base = np.asarray(interpolate(low, scale=scale, method="bicubic").values)[0]
    return drawn(recipe, place, 0, fine, base, scale, number, rng)


def drawn(
    recipe: Recipe[Intervals],
    place: TestPlace,
    date: int,
    fine: Floats,
    base: Floats,
    scale: float,
    number: int,
    rng: np.random.Generator,
    *,
    days: Floats | None = None,
) -> Pixels:
    """Draw pixels of a result (band, y, x) of one date of a place; see `xsr.kernels.spread.features`."""
    truth = place.images[date, :, : fine.shape[1], : fine.shape[2]]
    names = [name for name in place.bands if name in recipe.bands]
    here = [place.bands.index(name) for name in names]
    edge = spread.MARGIN
    std = np.array([recipe.image.std[recipe.bands.index(name)] for name in names], np.float32)
    made, enlarged, wanted = (image[here] / std[:, None, None] for image in (fine, base, truth))
    error = (made - wanted)[:, edge:-edge, edge:-edge].reshape(len(std), -1)
    known = np.stack([spread.features(*pair, scale, days=days) for pair in zip(made, enlarged, strict=True)])
    features = known.shape[1]
    known = known.reshape(len(std), features, -1)
    finite = np.isfinite(error) & np.isfinite(known).all(axis=1)
    bands = np.flatnonzero(finite.any(axis=1))
    everywhere = np.flatnonzero(finite[bands].all(axis=0))
    picks = rng.choice(everywhere, min(recipe.task.pixels, len(everywhere)), replace=False)
    count = len(bands) * len(picks)
    return Pixels(
        place=np.full(count, number),
        band=np.repeat(np.array([recipe.bands.index(names[band]) for band in bands], np.int64), len(picks)),
        scale=np.full(count, scale, np.float32),
        features=known[bands][:, :, picks].transpose(0, 2, 1).reshape(count, features),
        error=error[bands][:, picks].ravel(),
        pixel=np.tile(np.arange(len(picks)), len(bands)),
    )


def split(manifest: Manifest, recipe: Recipe[Intervals]) -> tuple[list[TestPlace], list[TestPlace]]:
    """Places to learn from, and places that calibrate."""
    names: dict[str, int] = {}
    learnt: list[TestPlace] = []
    kept: list[TestPlace] = []
    for place in read_places(manifest, split=("train",)):
        if not _suits(recipe, place):
            continue
        number = names.setdefault(place.name.split(" at ")[0], len(names))
        (kept if number % KEPT == KEPT - 1 else learnt).append(place)
    kept += [one for one in read_places(manifest, split=("validation",)) if _suits(recipe, one)]
    return learnt, kept


def _suits(recipe: Recipe[Intervals], place: TestPlace) -> bool:
    """Whether the errors of all bands that a network makes can be measured at a place."""
    if recipe.task.scale_range[1] == 1:
        coarser = set(place.coarser)
        return coarser <= set(recipe.bands) and set() < coarser < set(place.bands)
    return set(place.bands) <= set(recipe.bands)


def start(network: Spread, pixels: Pixels) -> None:
    """Let a network standardise features by those of some pixels, and begin at their mean error."""
    with torch.no_grad():
        network.mean.copy_(torch.from_numpy(pixels.features.mean(axis=0)))
        network.std.copy_(torch.from_numpy(pixels.features.std(axis=0) + 1e-6))
        network.last.weight.zero_()
        network.last.bias.fill_(float(np.log(np.abs(pixels.error).mean() + FLOOR)))


def intervals_loss(
    network: nn.Module, batch: Pixels, recipe: Recipe[Intervals], *, drop: tuple[int, ...], device: str
) -> tuple[Tensor, Tensor]:
    """Likelihood of errors, and that with one mean error for all; see `xsr.training.tasks.Loss`."""
    error = torch.from_numpy(np.abs(batch.error)).to(device) + FLOOR
    features, band = torch.from_numpy(batch.features).to(device), torch.from_numpy(batch.band).to(device)
    expected = network.of(features, network.band[band])  # type: ignore[operator, index]
    constant = error.mean()
    # Both begin above zero: the logarithm is that over the floor.
    above = np.log(FLOOR)
    return (error * torch.exp(-expected) + expected - above).mean(), (1 + constant.log() - above).detach()


def calibrate(recipe: Recipe[Intervals], network: nn.Module, pixels: Pixels) -> list[dict[str, Any]]:
    """Quantiles of the error over what a network expects, for the card of its weights; one row a range of scales."""
    rows = []
    for low, high in recipe.task.ranges:
        here = pixels[(pixels.scale >= low) & (pixels.scale < high)]
        parts = [here[here.band == number] for number in range(len(recipe.image.std))]
        bands = [_of_band(network, part, std) for part, std in zip(parts, recipe.image.std, strict=True)]
        ratios = pooled([band.pop("errors") for band in bands])
        row = {"scale": [low, high], "pixels": len(here.error), "places": len(np.unique(here.place))}
        named = {name: [band[name] for band in bands] for name in bands[0]}
        rows.append({**row, "share": list(SHARES), "ratio": _rounded(ratios), **named, **likeness(here, len(bands))})
    return rows


def _of_band(network: nn.Module, pixels: Pixels, std: float) -> dict[str, Any]:
    """Calibrate one band at one range of scales: what errors are expected, how they are off, and what is known."""
    weight = alike(pixels.place)
    least, greatest = np.quantile(pixels.features[:, :-1], RANGE, axis=0).round(3).astype(np.float32)
    known = np.ascontiguousarray(pixels.features.T[:, None])
    beyond = spread.confined(known, least, greatest)[0]
    with torch.inference_mode():
        band = torch.from_numpy(pixels.band)
        logs = network.of(torch.from_numpy(known[:, 0].T), network.band[band])  # type: ignore[operator, index]
        expected = np.exp(logs.numpy() + beyond)
    stratum = np.searchsorted(weighted(expected, weight, STRATA), expected)
    middles = [weighted(expected[mine], weight[mine], (0.5,))[0] for mine in _strata(stratum)]
    return {
        "errors": Errors(np.abs(pixels.error) / expected, stratum, weight, len(np.unique(pixels.place))),
        "expected": _rounded(np.array(middles) * std),
        "least": _rounded(least),
        "greatest": _rounded(greatest),
    }


@dataclass(frozen=True)
class Errors:
    """Errors of one band."""

    ratio: Floats
    """Over what was expected, shape (n,)."""
    stratum: NDArray[np.int64]
    weight: NDArray[np.float64]
    places: int


def pooled(bands: Sequence[Errors]) -> NDArray[np.float64]:
    """Ratios of which the errors exceed a share, shape (band, stratum, share).

    Each stratum has those of all bands. A band has a factor to them for each share, the closer to 1 the fewer places
    it was calibrated on.
    """
    ratio, stratum, weight = (np.concatenate([vars(one)[name] for one in bands]) for name in list(vars(bands[0]))[:3])
    common = np.stack([weighted(ratio[mine], weight[mine], SHARES) for mine in _strata(stratum)])
    out = np.empty((len(bands), *common.shape))
    for band, errors in zip(out, bands, strict=True):
        trust = errors.places / (errors.places + PRIOR)
        for number, share in enumerate(SHARES):
            expected = common[:, number]
            own = weighted(errors.ratio / np.maximum(expected, TINY)[errors.stratum], errors.weight, (share,))[0]
            band[:, number] = expected * max(own, TINY) ** trust
    out[..., 0] = 0
    return np.maximum.accumulate(out, axis=-1)


def _strata(stratum: NDArray[np.int64]) -> list[NDArray[np.bool_]]:
    return [stratum == one for one in range(len(STRATA) + 1)]


def alike(place: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights of pixels by which each place counts alike."""
    _, index, count = np.unique(place, return_inverse=True, return_counts=True)
    found: NDArray[np.float64] = 1 / count[index]
    return found


def weighted(
    values: NDArray[np.floating[Any]], weight: NDArray[np.float64], shares: Sequence[float]
) -> NDArray[np.float64]:
    """Least values that shares of the weight do not exceed."""
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    index = np.searchsorted(total, np.array(shares) * total[-1])
    found: NDArray[np.float64] = values[order][np.minimum(index, len(values) - 1)].astype(np.float64)
    return found


def likeness(pixels: Pixels, bands: int) -> dict[str, Any]:
    """Mean and covariance of the features `xsr.kernels.spread.SMOOTH` of all bands together, and how far is unlike.

    ``far`` has the squared Mahalanobis distance that `UNLIKE` of the pixels exceed in the first band alone, the first
    two, and so on. The distance of a place is that from all others: from a mean and a covariance that it is part of, a
    place is never far, and a new one would be marked too often, the more so the fewer places there are. Not all pixels
    have all bands: each covariance is that of the pixels that have both.
    """
    size = len(spread.SMOOTH)
    _, first, index = np.unique(pixels.pixel, return_index=True, return_inverse=True)
    by_band = np.full((len(first), bands, size), np.nan)
    by_band[index, pixels.band] = pixels.features[:, spread.SMOOTH]
    table, place = by_band.reshape(len(first), -1), pixels.place[first]
    weight, there = alike(place), np.isfinite(table)
    middle = np.array(
        [np.average(column[has], weights=weight[has]) for column, has in zip(table.T, there.T, strict=True)]
    )
    off = np.where(there, table - middle, 0)
    parts = {
        int(one): Spreads.of(*(values[place == one] for values in (off, there, weight))) for one in np.unique(place)
    }
    whole = Spreads.sum(parts.values())
    far: list[float] = []
    for end in range(size, table.shape[1] + 1, size):
        has = there[:, :end].all(axis=1)
        distance = np.empty(len(off))
        for one in np.unique(place[has]):
            mine, others = has & (place == one), [part for other, part in parts.items() if other != one]
            known = Spreads.sum(others) if others else whole
            distance[mine] = known.distance(off[mine, :end])
        far.append(
            float(weighted(distance[has], weight[has], (1 - UNLIKE,))[0]) if has.any() else far[-1] * end / (end - size)
        )
    covariance = whole.covariance(len(middle))
    return {"middle": _rounded(middle), "covariance": _rounded(covariance), "far": _rounded(np.array(far))}


@dataclass(frozen=True)
class Spreads:
    """Weighted sums of features, from which a mean and a covariance follow."""

    common: NDArray[np.float64]
    """Weight of the pixels that have both features of a pair."""
    products: NDArray[np.float64]
    """Sum of the products of such a pair."""
    share: NDArray[np.float64]
    """Weight of the pixels that have a feature."""
    total: NDArray[np.float64]

    @classmethod
    def of(cls, off: NDArray[np.float64], there: NDArray[np.bool_], weight: NDArray[np.float64]) -> "Spreads":
        """Sum rows of features, 0 where they are not there."""
        shares = there * weight[:, None]
        return cls(shares.T @ there, (off * weight[:, None]).T @ off, shares.sum(axis=0), (shares * off).sum(axis=0))

    @classmethod
    def sum(cls, parts: Iterable["Spreads"]) -> "Spreads":
        """Join what was summed apart."""
        return cls(*(np.sum(group, axis=0) for group in zip(*(vars(one).values() for one in parts), strict=True)))

    def mean(self, size: int) -> NDArray[np.float64]:
        """Mean of the first features; 0 of one that none has."""
        found: NDArray[np.float64] = self.total[:size] / np.maximum(self.share[:size], TINY)
        return found

    def covariance(self, size: int) -> NDArray[np.float64]:
        """Covariance of the first features, of no combination below `LEAST`."""
        mean, common = self.mean(size), self.common[:size, :size]
        raw = self.products[:size, :size] / np.where(common > 0, common, 1) - np.outer(mean, mean)
        values, vectors = np.linalg.eigh(raw)
        found: NDArray[np.float64] = (vectors * np.maximum(values, LEAST)) @ vectors.T
        return found

    def distance(self, off: NDArray[np.float64]) -> NDArray[np.float64]:
        """Squared Mahalanobis distance of rows of the first features."""
        size = off.shape[1]
        return spread.squared_distance(off - self.mean(size), self.covariance(size))


def _rounded(values: NDArray[Any]) -> Any:
    """Numbers of a card."""
    if np.ndim(values):
        return [_rounded(one) for one in values]
    return float(f"{values:.4g}")
