"""WorldStrat scenes as the Temporal LIIF thesis has them: five images of Sentinel-2 and one of SPOT, 8-bit RGB.

A scene is a folder with ``low_1.png`` to ``low_5.png``, in time order but without dates, and the reference of the same
extent at two, four and nearly seven times as many pixels: ``high_x2.png``, ``high_x4.png``, ``high_x6.png``. Numbers
are counts / 255. Since the dates are not told they count as equally spaced, and the middle one is asked for.

References
----------
Gutiérrez Gómez, "End-to-end continuous space-time super-resolution", 2023: the data and the four strategies.
J. Cornebise, I. Oršolić, F. Kalaitzis, "Open High-Resolution Satellite Imagery: The WorldStrat Dataset", NeurIPS 2022.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xsr.core.blocks import Span
from xsr.core.errors import ParameterError
from xsr.kernels import psf
from xsr.kernels.degrade import BandOptics, observe
from xsr.kernels.resample import interpolate_filled
from xsr.models.architectures.temporal_liif import Radiometry, TemporalLIIF, surroundings
from xsr.training.recipes import Recipe
from xsr.training.scenes import VALIDATION, Image
from xsr.training.series import SeriesBatch
from xsr.training.tasks import Task, ask, begin, bicubic_at

RGB = ("B04", "B03", "B02")
"""Bands of the images, in their order."""
DATES = 5
STEP_DAYS = 5.0
"""Days between two images, for want of the true ones: the revisit time of the two satellites."""
SIZES = {"x2": 314, "x4": 628, "x6": 1054}
"""Side in pixels of the reference at the scales of the thesis."""
FOLDER = "worldstrat_temporal_8bit"
BORDER = 4
"""Low-resolution pixels at the border of a patch that are never asked for: the network pads them with zeros."""
FLOOR = 1e-3
"""Standardised squared error below which a patch counts as flat; keeps the relative loss finite."""
MIRROR = 1 / 3
"""Share of a patch that may lie beyond a scene, where it is mirrored as at use."""


@dataclass(frozen=True)
class Pair:
    """Images of a scene, and what another sensor saw there."""

    name: str
    low: Image
    """Shape (date, band, h, w), 0 to 1."""
    high: dict[str, Image]
    """By a key of `SIZES`, shape (band, H, W), of the same extent."""

    def scale(self, key: str) -> tuple[float, float]:
        """High-resolution pixels per low-resolution one, down and across: not quite the same, nor whole."""
        height, width = (big / small for big, small in zip(self.high[key].shape[1:], self.low.shape[2:], strict=True))
        return height, width


def read_pair(folder: Path) -> Pair:
    """Read the folder of a scene; references that are missing are left out.

    Raises
    ------
    ParameterError
        If an image of a date is missing, or they are not of one size.
    """
    paths = [folder / f"low_{date}.png" for date in range(1, DATES + 1)]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise ParameterError(f"{folder} lacks {', '.join(missing)}; expected low_1.png to low_{DATES}.png.")
    low = [_read(path) for path in paths]
    if len({image.shape for image in low}) > 1:
        raise ParameterError(f"{folder}: the dates measure {[image.shape[1:] for image in low]}; expected one size.")
    high = {key: _read(folder / f"high_{key}.png") for key in SIZES if (folder / f"high_{key}.png").is_file()}
    return Pair(folder.name, np.stack(low), high)


def _read(path: Path) -> Image:
    """Read an RGB image as (band, y, x), counts / 255."""
    from skimage.io import imread

    image: Image = np.moveaxis(imread(path)[..., :3], -1, 0).astype(np.float32) / np.float32(255)
    return image


def read_pairs(root: Path, *, validation: bool | None = None) -> Iterator[Pair]:
    """Read the scenes of the data folder: those kept for validation, the others, or all.

    Where the finest reference is missing it is derived from the panchromatic image; see `sharpened`.
    """
    for folder in sorted(path for path in (root / FOLDER).iterdir() if path.is_dir()):
        if validation is not None and (folder.name in VALIDATION) != validation:
            continue
        pair = read_pair(folder)
        spot = root / "worldstrat_s2_spot" / f"{pair.name}.nc"
        if "x6" not in pair.high and spot.is_file():
            pair.high["x6"] = sharpened(pair.high["x2"], pair.high["x4"], _panchromatic(spot))
        yield pair


def _panchromatic(path: Path) -> Image:
    import xarray as xr

    with xr.open_dataset(path, mask_and_scale=False) as data:
        return np.asarray(data["spot_pan"].values, np.float32)


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


def build(recipe: Recipe, data: Path | None) -> tuple[Task[SeriesBatch], dict[str, object]]:
    """Make the task of a recipe, and what its card says of the data.

    Raises
    ------
    ParameterError
        If the scenes are not there.
    """
    if data is None or not (data / FOLDER).is_dir():
        raise ParameterError(f"recipe {recipe.name!r} needs the folder {FOLDER} of real images. Set XSR_DATA.")
    scenes = list(read_pairs(data, validation=False))
    network = cast(TemporalLIIF, begin(recipe.architecture, recipe.config))
    fit_radiometry(network, scenes, recipe)
    told: dict[str, object] = {
        "protocol": "five dates of Sentinel-2 against one image of SPOT at two, four and nearly seven times the pixels",
        "places": [scene.name for scene in scenes],
        "scenes": len(scenes),
        "pixels": sum(scene.low[:, 0].size for scene in scenes),
    }
    sampler = PairSampler(scenes, recipe.patch, recipe.queries, recipe.batch, recipe.seed)
    return Task(network, sampler, pair_loss, recipe.frozen), told


RIDGE = 1e-4
"""Weight of the penalty on what `fit_radiometry` changes, in units of the images' power."""


def fit_radiometry(network: TemporalLIIF, scenes: Sequence[Pair], recipe: Recipe) -> None:
    """Fit the radiometric map of a network to the plain mean of the dates, by least squares with a penalty.

    Each scene counts by one over the error of that mean, so that decibels count. Fitted at twice the pixels.
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


def _terms(scene: Pair, radiometry: Radiometry, recipe: Recipe) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what `Radiometry` weighs, shape (term, pixel), and what the sum shall be, (band, pixel)."""
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (recipe.mean, recipe.std))
    dates = torch.from_numpy((scene.low - mean) / std)
    composite, spread = dates.mean(0, keepdim=True), dates.std(0, correction=0, keepdim=True)
    size = radiometry.kernel.kernel_size[0]
    padded = torch.nn.functional.pad(torch.cat((composite, spread), dim=1), (size // 2,) * 4, mode="replicate")
    unfolded = torch.nn.functional.unfold(padded, size).unflatten(2, composite.shape[2:])
    around = surroundings(composite, radiometry.reach)
    terms = torch.cat((unfolded, around, torch.ones_like(composite[:, :1])), dim=1)[0].numpy()
    wanted = (scene.high["x2"] - mean) / std
    known = enlarged(terms, wanted.shape[1:])
    return known.reshape(len(known), -1).astype(np.float64), wanted.reshape(len(wanted), -1).astype(np.float64)


Strategy = Callable[[np.random.Generator, int], NDArray[np.int64]]
"""Draws the dates that answer, of a number of dates in time order."""


def complete(rng: np.random.Generator, dates: int) -> NDArray[np.int64]:
    """All dates."""
    return np.arange(dates)


def groups(rng: np.random.Generator, dates: int) -> NDArray[np.int64]:
    """Adjacent dates, as many as chance has it."""
    length = int(rng.integers(1, dates + 1))
    return int(rng.integers(dates - length + 1)) + np.arange(length)


def pairs(rng: np.random.Generator, dates: int) -> NDArray[np.int64]:
    """Two adjacent dates."""
    return int(rng.integers(dates - 1)) + np.arange(2)


def single(rng: np.random.Generator, dates: int) -> NDArray[np.int64]:
    """One date."""
    return rng.integers(dates, size=1)


STRATEGIES: dict[str, Strategy] = {"complete": complete, "groups": groups, "pairs": pairs, "single": single}
"""Which of the five dates a network sees in training, by the names of the thesis."""


@dataclass(frozen=True)
class PairSampler:
    """Draws batches of scenes; draw number ``step`` is a function of the seed and the step alone."""

    scenes: Sequence[Pair]
    patch: int
    """Low-resolution pixels along a side: the crop."""
    queries: int
    batch: int
    seed: int
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
        days = np.tile(np.arange(DATES) * STEP_DAYS, (self.batch, 1))
        tau = np.full(self.batch, (DATES - 1) / 2 * STEP_DAYS)
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
        low = scene.low[:, :, index[0][:, None], index[1]][rng.permutation(len(scene.low))]
        at = [self._pixels(rng, *where) for where in zip(start, shape, scene.high[key].shape[1:], strict=True)]
        rows, cols = (
            (pixel + 0.5) / factor - 0.5 - first
            for pixel, factor, first in zip(at, scene.scale(key), start, strict=True)
        )
        target = scene.high[key][:, at[0], at[1]]
        if rng.random() < 0.5:
            low, rows, cols = low.swapaxes(2, 3), cols, rows
        bands = target.shape[0]
        gain = np.exp(rng.normal(0, self.gain) + rng.normal(0, self.colour, (bands, 1))).astype(np.float32)
        valid = np.zeros((len(low), self.patch, self.patch), np.bool_)
        valid[STRATEGIES[self.strategy](rng, len(low))] = True
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
    network: TemporalLIIF, batch: SeriesBatch, recipe: Recipe, *, drop: tuple[int, ...], device: str
) -> tuple[Tensor, Tensor]:
    """Squared error of the detail over that of the mean of the dates, mean over patches, and 1.

    A relative squared error is what decibels count. From the reference of each patch, the gain and the offset by which
    each band differs from the composite are taken out before: that is what `Radiometry` is for, and a network that
    sees so few scenes would learn their colours by heart. See `xsr.training.tasks.Loss`.
    """
    mean, std = (torch.tensor(v, device=device) for v in (recipe.mean, recipe.std))
    low = (torch.from_numpy(batch.low).to(device) - mean[:, None, None]) / std[:, None, None]
    valid = torch.from_numpy(batch.valid).to(device)
    answer = ask(network, batch, low, valid)
    known = valid[:, :, None].expand(low.shape)
    composite = network.compose(low, known, answer.days, answer.tau, answer.fused, answer.attention)
    target = (torch.from_numpy(batch.target).to(device) - mean) / std
    plain_mean = (low * known).sum(1) / known.sum(1)
    base, plain = (bicubic_at(image, answer.rows, answer.cols) for image in (composite, plain_mean))
    error, reference = base + answer.detail - matched(target, base.detach()), plain - matched(target, plain)
    mine, other = (v.square().mean((1, 2)) for v in (error, reference))
    return (mine / (other + FLOOR)).mean(), (other / (other + FLOOR)).mean()


def matched(target: Tensor, base: Tensor) -> Tensor:
    """Take from a target what gain and offset explain of its difference from a base, each (n, query, band)."""
    difference = target - base
    centred, change = base - base.mean(1, keepdim=True), difference - difference.mean(1, keepdim=True)
    slope = (centred * change).mean(1, keepdim=True) / centred.square().mean(1, keepdim=True).clamp(min=FLOOR)
    return base + change - slope * centred
