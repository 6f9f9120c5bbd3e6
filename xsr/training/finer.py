"""Several images of one sensor and one of a finer sensor: pairs whose truth is another satellite's image.

The dates of the images are not used: they count as equally spaced, in their order, and the middle one is the target
time. The reference may come at several pixel sizes, each of the extent of the images.

References
----------
Gutiérrez Gómez, "End-to-end continuous space-time super-resolution", 2023: the four strategies.
J. Cornebise, I. Oršolić, F. Kalaitzis, "Open High-Resolution Satellite Imagery: The WorldStrat Dataset", NeurIPS 2022.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xsr.core.blocks import Span
from xsr.core.errors import BandError, ParameterError
from xsr.kernels import psf
from xsr.kernels.degrade import BandOptics, observe
from xsr.kernels.resample import interpolate_filled
from xsr.models.architectures.temporal_liif import Radiometry, TemporalLIIF, surroundings
from xsr.training import layouts
from xsr.training.manifest import Manifest, Scene, Split
from xsr.training.pairs import BORDER
from xsr.training.reading import read, read_scene
from xsr.training.recipe import Recipe, Reference
from xsr.training.scenes import Image, Say, quiet
from xsr.training.series import Series, SeriesBatch
from xsr.training.tasks import bicubic_at, predict

DATES = 5
"""Images that a network reads, where a recipe gives no other number."""
STEP_DAYS = 5.0
"""Days between two images, for want of the true ones: the revisit time of the two satellites of Sentinel-2."""
FLOOR = 1e-3
"""Standardised squared error below which a patch counts as flat; keeps the relative loss finite."""
MIRROR = 1 / 3
"""Share of a patch that may lie beyond a scene, where it is mirrored as at use."""


@dataclass(frozen=True)
class Pair:
    """Images of a scene, and finer ones of another sensor; NaN is no data."""

    name: str
    low: Image
    """Shape (date, band, h, w)."""
    high: dict[str, Image]
    """By the name of their pixel size, shape (band, H, W), of the same extent."""
    bands: tuple[str, ...] = ()

    def scale(self, key: str) -> tuple[float, float]:
        """High-resolution pixels per low-resolution one, down and across: not quite the same, nor whole."""
        height, width = (big / small for big, small in zip(self.high[key].shape[1:], self.low.shape[2:], strict=True))
        return height, width

    def select(self, bands: Sequence[str]) -> "Pair":
        """Keep some bands, in the given order.

        Raises
        ------
        BandError
            If one is missing.
        """
        missing = [band for band in bands if band not in self.bands]
        if missing:
            raise BandError(f"scene {self.name!r} has the bands {', '.join(self.bands)}; expected {', '.join(bands)}.")
        index = [self.bands.index(band) for band in bands]
        return Pair(self.name, self.low[:, index], {k: v[index] for k, v in self.high.items()}, tuple(bands))


def load(
    manifest: Manifest | None,
    bands: Sequence[str],
    *,
    split: Sequence[Split] = ("train",),
    recipe: str = "",
    say: Say = quiet,
) -> list[Pair]:
    """Read the scenes of a manifest that have a finer image of another sensor.

    Raises
    ------
    ParameterError
        If there are none, or their references have no name in common.
    XsrError
        If a file is not what the manifest says.
    """
    found = () if manifest is None else manifest.select("reference", split=split, recipe=recipe)
    if manifest is None or not found:
        raise ParameterError(
            f"recipe {recipe!r} needs images with a finer one of another sensor; give a manifest whose scenes have a"
            " reference, or a layout."
        )
    pairs = []
    for number, scene in enumerate(found, 1):
        say(f"scene {number} of {len(found)}: {scene.place}")
        read_from = published if scene.layout is not None else _pair
        pairs += [pair.select(bands) for pair in read_from(manifest, scene)]
    if not set.intersection(*(set(pair.high) for pair in pairs)):
        sizes = sorted({name for pair in pairs for name in pair.high})
        raise ParameterError(
            f"no reference name is common to all scenes ({', '.join(sizes)}); expected one that all have. Give"
            " references of the same pixel size the same name."
        )
    return pairs


def published(manifest: Manifest, scene: Scene) -> Iterator[Pair]:
    """Pairs of a published data set."""
    readers: dict[str, Callable[[Path], Iterator[layouts.Pair]]] = {
        "sen2venus": layouts.sen2venus,
        "worldstrat": lambda root: (pair for _, pair in layouts.worldstrat(root)),
        "probav": layouts.probav,
    }
    for folder in manifest.paths(scene, scene.place):
        for one in readers[str(scene.layout)](Path(folder)):
            yield Pair(one.place, one.low, {"fine": one.high}, one.bands)


def published_series(manifest: Manifest | None, *, recipe: str = "") -> Iterator[Series]:
    """Series of the scenes of a manifest that hold WorldStrat as published."""
    if manifest is None:
        return
    for scene in manifest.select("series", recipe=recipe):
        for folder in manifest.paths(scene, scene.place) if scene.layout == "worldstrat" else ():
            yield from (series for series, _ in layouts.worldstrat(Path(folder)))


def _pair(manifest: Manifest, scene: Scene) -> Iterator[Pair]:
    """Images of a scene and its references."""
    low = read_scene(manifest, scene).fine
    high = {}
    for reference in scene.reference:
        given = read(manifest, reference, scene.place)
        if given.names != low.names:
            raise BandError(
                f"scene {scene.place!r} has the bands {', '.join(low.names)}, its reference"
                f" {', '.join(given.names)}; expected the same."
            )
        high[reference.name] = given.values[0]
    if scene.align:
        high = {key: layouts.align(scene.place, low.names, low.values, image).high for key, image in high.items()}
    if scene.pan is not None:
        if len(high) < 2:
            raise ParameterError(f"scene {scene.place!r}: pan needs two references of other pixel sizes; add them.")
        coarse, fine = sorted(high.values(), key=lambda image: image.shape[1])[-2:]
        high[scene.pan.name] = sharpened(coarse, fine, read(manifest, scene.pan, scene.place).values[0, 0])
    yield Pair(scene.place, low.values, high, low.names)


def sharpened(coarse: Image, fine: Image, pan: Image) -> Image:
    """Bring an RGB image to the grid of a panchromatic one, whose detail it takes over.

    Detail is what an image loses when it is brought to a coarser grid and back. How much of the panchromatic detail
    a band shows is measured by regression between the grids of ``coarse`` and ``fine``, and assumed between those of
    ``fine`` and ``pan``.

    Parameters
    ----------
    coarse, fine
        The same RGB image on two grids, (band, h, w) and (band, H, W).
    pan
        Panchromatic image of the same extent, (Y, X).

    Returns
    -------
    ndarray
        Shape (band, Y, X), float32, clipped to 0 to 1.
    """
    grids = coarse.shape[1:], fine.shape[1:], pan.shape
    middle = reduced(pan[None], grids[1])
    known = (middle - enlarged(reduced(middle, grids[0]), grids[1]))[0]
    shown = fine - enlarged(coarse, grids[1])
    slope = (shown * known).sum(axis=(1, 2)) / max(float((known * known).sum()), 1e-12)
    detail = pan - enlarged(middle, grids[2])[0]
    out: Image = np.clip(enlarged(fine, grids[2]) + slope[:, None, None] * detail, 0, 1).astype(np.float32)
    return out


def enlarged(images: Image, shape: Sequence[int]) -> Image:
    """Bring images (n, h, w) to another grid of the same extent, bicubic."""
    pad = 4
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad)), mode="edge")
    rows, cols = (
        (np.arange(new) + 0.5) * old / new - 0.5 + pad for old, new in zip(images.shape[1:], shape, strict=True)
    )
    return interpolate_filled(padded, rows, cols, "bicubic")


def reduced(images: Image, shape: Sequence[int]) -> Image:
    """Bring images (n, h, w) to a coarser grid of the same extent, by a Gaussian as wide as half an output pixel."""
    ratios = [old / new for old, new in zip(images.shape[1:], shape, strict=True)]
    y, x = (psf.chain(psf.Gaussian(ratio / 2), ratio) for ratio in ratios)
    return observe(images, BandOptics(y, x), rows=Span(0, shape[0]), cols=Span(0, shape[1]))


RIDGE = 1e-4
"""Weight of the penalty on what `fit_radiometry` changes, in units of the images' power."""


def fit_radiometry(network: TemporalLIIF, scenes: Sequence[Pair], recipe: Recipe[Reference]) -> None:
    """Fit the radiometric map of a network to the plain mean of the dates, by least squares with a penalty.

    Each scene counts by one over the error of that mean, so that decibels count. Fitted at the coarsest reference.
    """
    radiometry = network.radiometry
    assert radiometry is not None
    assert radiometry.kernel.bias is not None
    layers = radiometry.kernel.weight, radiometry.around.weight, radiometry.kernel.bias
    start = np.concatenate(
        [tensor.detach().flatten(1).T if tensor.ndim > 1 else tensor.detach()[None] for tensor in layers]
    )
    power, shared, total = 0.0, np.zeros((len(start), len(start))), np.zeros(start.shape)
    for scene in scenes:
        known, wanted = _terms(scene, radiometry, recipe)
        weight = 1 / (np.square(start.T @ known - wanted).mean() * wanted.size)
        shared += weight * known @ known.T
        total += weight * known @ (wanted - start.T @ known).T
        power += weight * float(np.square(wanted).sum())
    change = np.linalg.solve(shared + RIDGE * power * np.eye(len(start)), total)
    rows = np.cumsum([layers[0][0].numel(), layers[1][0].numel()])
    with torch.no_grad():
        for tensor, values in zip(layers, np.split(start + change, rows), strict=True):
            tensor.copy_(torch.from_numpy(values.T).reshape(tensor.shape))


def _terms(
    scene: Pair, radiometry: Radiometry, recipe: Recipe[Reference]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what `Radiometry` weighs, shape (term, pixel), and what the sum shall be, (band, pixel)."""
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (recipe.image.mean, recipe.image.std))
    dates = torch.from_numpy((scene.low - mean) / std)
    composite, spread = dates.mean(0, keepdim=True), dates.std(0, correction=0, keepdim=True)
    size = radiometry.kernel.kernel_size[0]
    padded = torch.nn.functional.pad(torch.cat((composite, spread), dim=1), (size // 2,) * 4, mode="replicate")
    unfolded = torch.nn.functional.unfold(padded, size).unflatten(2, composite.shape[2:])
    around = surroundings(composite, radiometry.reach)
    terms = torch.cat((unfolded, around, torch.ones_like(composite[:, :1])), dim=1)[0].numpy()
    wanted = (min(scene.high.values(), key=lambda image: image.shape[1]) - mean) / std
    known, wanted = (v.reshape(len(v), -1).astype(np.float64) for v in (enlarged(terms, wanted.shape[1:]), wanted))
    both = np.isfinite(known).all(axis=0) & np.isfinite(wanted).all(axis=0)
    return known[:, both], wanted[:, both]


Strategy = Callable[[np.random.Generator, int], NDArray[np.int64]]
"""Draws the input dates, of a number of dates in time order."""


def complete(rng: np.random.Generator, dates: int) -> NDArray[np.int64]:
    """All dates."""
    return np.arange(dates)


def groups(rng: np.random.Generator, dates: int) -> NDArray[np.int64]:
    """Adjacent dates, a random number of them."""
    length = int(rng.integers(1, dates + 1))
    return int(rng.integers(dates - length + 1)) + np.arange(length)


def pairs(rng: np.random.Generator, dates: int) -> NDArray[np.int64]:
    """Two adjacent dates."""
    return int(rng.integers(dates - 1)) + np.arange(2)


def single(rng: np.random.Generator, dates: int) -> NDArray[np.int64]:
    """One date."""
    return rng.integers(dates, size=1)


STRATEGIES: dict[str, Strategy] = {"complete": complete, "groups": groups, "pairs": pairs, "single": single}
"""Which of the dates a network reads in training, by the names of the thesis."""


@dataclass(frozen=True)
class PairSampler:
    """Draws batches of scenes; draw number ``step`` is a function of the seed and the step alone."""

    scenes: Sequence[Pair]
    patch: int
    """Low-resolution pixels along a side: the crop."""
    queries: int
    batch: int
    seed: int
    dates: int = DATES
    """Images of a patch; a scene that has fewer repeats them."""
    strategy: str = "complete"
    """A key of `STRATEGIES`."""
    gain: float = 0.1
    """Standard deviation of the logarithm of a gain of all bands, of images and reference alike."""
    colour: float = 0.05
    """Likewise of a gain of each band."""

    def __call__(self, step: int) -> SeriesBatch:
        """Draw the batch of one step."""
        rng = np.random.default_rng([self.seed, step])
        keys = sorted(set.intersection(*(set(scene.high) for scene in self.scenes)))
        key = str(rng.choice(keys))
        chosen = rng.choice(len(self.scenes), size=self.batch)
        parts = [self._draw(self.scenes[index], key, rng) for index in chosen]
        low, valid, rows, cols, target = (np.stack(group) for group in zip(*parts, strict=True))
        days = np.tile(np.arange(self.dates) * STEP_DAYS, (self.batch, 1))
        tau = np.full(self.batch, (self.dates - 1) / 2 * STEP_DAYS)
        scale = float(np.mean([self.scenes[index].scale(key) for index in chosen]))
        return SeriesBatch(scale, low, valid, days, np.zeros_like(days), tau, np.zeros_like(tau), rows, cols, target)

    def _draw(self, scene: Pair, key: str, rng: np.random.Generator) -> tuple[NDArray[np.generic], ...]:
        """Cut a patch: images, pixels to use, positions of the queries, truth there.

        Only transposed, never flipped: the images of the two sensors are displaced, and always much the same way.
        """
        shape = scene.low.shape[2:]
        start = [_start(rng, self.patch, size) for size in shape]
        index = [
            _mirrored(np.arange(first, first + self.patch), size) for first, size in zip(start, shape, strict=True)
        ]
        order = np.resize(rng.permutation(len(scene.low)), self.dates)
        low = scene.low[:, :, index[0][:, None], index[1]][order]
        at = [self._pixels(rng, *where) for where in zip(start, shape, scene.high[key].shape[1:], strict=True)]
        rows, cols = (
            (pixel + 0.5) / factor - 0.5 - first
            for pixel, factor, first in zip(at, scene.scale(key), start, strict=True)
        )
        target = scene.high[key][:, at[0], at[1]]
        known = np.flatnonzero(np.isfinite(target).all(axis=0))
        if 0 < len(known) < target.shape[1]:  # query pixels without data are replaced by others
            kept = np.resize(known, target.shape[1])
            rows, cols, target = rows[kept], cols[kept], target[:, kept]
        if rng.random() < 0.5:
            low, rows, cols = low.swapaxes(2, 3), cols, rows
        bands = target.shape[0]
        gain = np.exp(rng.normal(0, self.gain) + rng.normal(0, self.colour, (bands, 1))).astype(np.float32)
        valid = np.zeros((len(low), self.patch, self.patch), np.bool_)
        valid[STRATEGIES[self.strategy](rng, len(low))] = True
        valid &= np.isfinite(low).all(axis=1)
        return np.ascontiguousarray(low * gain[..., None]), valid, rows, cols, (target * gain).T

    def _pixels(self, rng: np.random.Generator, first: int, size: int, fine: int) -> NDArray[np.int64]:
        """Draw high-resolution pixels that lie in the scene and off the border of the patch."""
        low = max(first + BORDER, 0), min(first + self.patch - BORDER, size)
        return rng.integers(int(np.ceil(low[0] * fine / size)), int(low[1] * fine / size), self.queries)


def _start(rng: np.random.Generator, patch: int, size: int) -> int:
    """Draw the first pixel of a patch; it may lie beyond the scene."""
    beyond = max(int(MIRROR * patch), patch - size)
    return int(rng.integers(-beyond, max(size - patch, 0) + beyond + 1))


def _mirrored(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Pixel that stands at an index where a scene is mirrored about its edge."""
    place = np.mod(index, 2 * size)
    return np.where(place < size, place, 2 * size - 1 - place)


def pair_loss(
    network: TemporalLIIF, batch: SeriesBatch, recipe: Recipe[Reference], *, drop: tuple[int, ...], device: str
) -> tuple[Tensor, Tensor]:
    """Squared error of the detail over that of the mean of the dates, mean over patches, and 1.

    A relative squared error is what decibels count. From the reference of each patch, the gain and the offset by which
    each band differs from the composite are taken out before: that is what `Radiometry` is for, and a network
    trained on so few scenes would memorise their colours. See `xsr.training.tasks.Loss`.
    """
    mean, std = (torch.tensor(v, device=device) for v in (recipe.image.mean, recipe.image.std))
    low = ((torch.from_numpy(batch.low).to(device) - mean[:, None, None]) / std[:, None, None]).nan_to_num()
    valid = torch.from_numpy(batch.valid).to(device)
    predicted = predict(network, batch, low, valid)
    known = valid[:, :, None].expand(low.shape)
    composite = network.compose(low, known, predicted.days, predicted.tau, predicted.fused, predicted.attention)
    target = (torch.from_numpy(batch.target).to(device) - mean) / std
    plain_mean = (low * known).sum(1) / known.sum(1)
    base, plain = (bicubic_at(image, predicted.rows, predicted.cols) for image in (composite, plain_mean))
    error, reference = base + predicted.detail - matched(target, base.detach()), plain - matched(target, plain)
    mine, other = (v.square().mean((1, 2)) for v in (error, reference))
    return (mine / (other + FLOOR)).mean(), (other / (other + FLOOR)).mean()


def matched(target: Tensor, base: Tensor) -> Tensor:
    """Take from a target what gain and offset explain of its difference from a base, each (n, query, band)."""
    difference = target - base
    centred, change = base - base.mean(1, keepdim=True), difference - difference.mean(1, keepdim=True)
    slope = (centred * change).mean(1, keepdim=True) / centred.square().mean(1, keepdim=True).clamp(min=FLOOR)
    return base + change - slope * centred
