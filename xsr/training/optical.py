"""Bands of any optical sensor, one by one: scenes of many sensors, batches of their bands, and the loss.

Each band of a scene is standardised by numbers of the whole image, as at use. A patch is observed by a sensor whose MTF
and noise are drawn for each of its bands; what is stated of them to the network is a little wrong, as an estimate is.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xsr.core.errors import ParameterError
from xsr.kernels.planes import MTF_RANGE, QUIET, levels, moments, planes
from xsr.kernels.registration import spread_windows
from xsr.kernels.resample import interpolation_taps, resample_points
from xsr.models.architectures.liif import LIIF
from xsr.training import scenes as single
from xsr.training.manifest import Manifest
from xsr.training.mixed import mixed
from xsr.training.pairs import OWN_MTF, Batch, PatchSensor, WaldSampler, fill, softened
from xsr.training.reading import read_scene
from xsr.training.recipe import Optical, Recipe
from xsr.training.scenes import BANDS, Image, Say, TrainingScene, check_size, quiet
from xsr.training.tasks import relative

SIZES_M = 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0
"""Pixel sizes of the synthetic scenes, in turn."""
SYNTHETIC = 4.0
"""Weight of the synthetic scenes, which alone have pixels below 5 m."""
APART = 0.06
"""Standard deviation of the difference of the two MTF that the bands of a patch have: a sensor has few kinds of
detectors, and few kinds of pairs are soon made."""
SPREAD = 0.03
"""Standard deviation of what is stated of a band beside the others."""
MOST_MTF = 0.6
"""Greatest MTF of a band."""
GAIN, LEVEL = 0.2, 0.3
"""Standard deviations of the logarithm of the gain and of the level of a patch beside its neighbours: at use, bands
are standardised by the image, of which a patch is a part."""


def load(
    manifest: Manifest | None, *, recipe: str, synthetic: int, least: int, say: Say = quiet
) -> list[TrainingScene]:
    """Make the scenes: those of Sentinel-2 at 10 m and at 20 m, those of other sensors, and synthetic ones.

    Parameters
    ----------
    manifest
        Real images; None uses synthetic scenes alone.
    recipe
        Name of the recipe, which scenes may leave out.
    synthetic
        Number of synthetic scenes.
    least
        Least side of an image in pixels.
    say
        Receives a line for each scene.

    Returns
    -------
    list of TrainingScene
        Of each the bands that it has, standardised; NaN is no data.

    Raises
    ------
    ParameterError
        If nothing is left to train on, or an image is too small.
    XsrError
        If a file is not what the manifest says.
    """
    found: list[TrainingScene] = []
    if manifest is not None:
        if manifest.select("image", recipe=recipe):
            found += single.load(manifest, recipe=recipe, least=least, say=say)
        for scene in manifest.select("optical", recipe=recipe):
            say(f"scene of another sensor: {scene.place}")
            images = read_scene(manifest, scene).clear().fine.values
            found += [TrainingScene(scene.place, image, scene.weight) for image in images]
    for one in found:
        check_size(one.place, one.image.shape[1:], least)
    found += _rendered(synthetic, say)
    if not found:
        raise ParameterError("no training scenes; give a manifest with images, or more than 0 synthetic scenes.")
    return [scene for scene in map(standardised, found) if len(scene.image)]


def standardised(scene: TrainingScene) -> TrainingScene:
    """Keep the bands of a scene that have contrast, each standardised as at use; see `xsr.kernels.planes.levels`."""
    spans = product(*map(spread_windows, scene.image.shape[1:]))
    parts = [[moments(band[rows.slice, cols.slice]) for band in scene.image] for rows, cols in spans]
    mean, std = levels(*np.moveaxis(np.array(parts), 2, 0))
    keep = std > 0
    image = (scene.image[keep] - mean[keep, None, None]) / std[keep, None, None]
    return TrainingScene(scene.place, image.astype(np.float32), scene.weight)


def _rendered(count: int, say: Say) -> list[TrainingScene]:
    from xsr.testing import synthetic_cube

    days = ("2024-02-10", "2024-04-20", "2024-06-15", "2024-08-05", "2024-10-01")
    found = []
    for seed in range(count):
        if seed % 10 == 0:
            say(f"synthetic scene {seed + 1} of {count}")
        size_m, day = SIZES_M[seed % len(SIZES_M)], days[seed % len(days)]
        cube = synthetic_cube(seed=seed, size=(256, 256), gsd_m=size_m, times=(day,), bands=BANDS)
        found.append(TrainingScene("synthetic", np.asarray(cube.values[0], np.float32), weight=SYNTHETIC))
    return found


@dataclass(frozen=True)
class OpticalSampler:
    """Draws batches of bands; draw number ``step`` is a function of the seed and the step alone."""

    task: Optical
    scenes: tuple[TrainingScene, ...]
    batch: int
    """Patches; each gives up to `Optical.taught` bands."""
    seed: int

    @cached_property
    def wald(self) -> WaldSampler:
        """Draws scenes, windows and positions."""
        task = self.task
        return WaldSampler(
            *(self.scenes, (), task.scale_range, task.patch, task.queries, self.batch),
            mtf_jitter=0.0,
            seed=self.seed,
            mix=task.mix,
        )

    def __call__(self, step: int) -> Batch:
        """Draw the batch of one step: planes of bands, and one output a band."""
        rng = np.random.default_rng([self.seed, step])
        scale = float(rng.uniform(*self.task.scale_range))
        parts = [self._draw(scene, scale, rng) for scene in self.wald.choose(rng)]
        low, rows, cols, base, target = (np.concatenate(group) for group in zip(*parts, strict=True))
        return Batch(scale, low, rows, cols, base, target)

    def sensor(self, scale: float, bands: int, rng: np.random.Generator) -> PatchSensor:
        """Draw the sensor of one patch."""
        task = self.task
        first = rng.uniform(*task.mtf)
        kinds = np.round([first, first + APART * rng.standard_normal()], 3)
        mtf = kinds[(rng.random(bands) < 0.3).astype(np.int64)]
        loud = np.exp(rng.uniform(*np.log(task.noise)) + 0.3 * rng.standard_normal(bands))
        noise = loud if rng.random() < 0.5 else np.zeros(bands)
        return PatchSensor(scale, np.clip(mtf, task.mtf[0] / 2, MOST_MTF), (False,) * bands, noise)

    def stated(self, sensor: PatchSensor, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """MTF and noise of each band as they are stated to the network."""
        task, bands = self.task, len(sensor.mtf)
        mtf = sensor.mtf + rng.uniform(-task.mtf_error, task.mtf_error) + SPREAD * rng.standard_normal(bands)
        own = QUIET * np.exp(rng.uniform(0, np.log(task.noise[0] / QUIET) + 1, bands))  # that of the image itself
        noise = np.hypot(sensor.noise, own) * np.exp(task.noise_error * rng.standard_normal(bands))
        if not task.mistaken:
            return mtf, noise
        wrong_mtf, wrong_noise = rng.random(2) < task.mistaken
        if wrong_mtf:
            mtf = rng.uniform(*MTF_RANGE) + SPREAD * rng.standard_normal(bands)
        if wrong_noise:
            noise = np.hypot(noise, np.exp(rng.uniform(*np.log(task.noise))))
        return mtf, noise

    def _draw(self, scene: TrainingScene, scale: float, rng: np.random.Generator) -> tuple[NDArray[np.generic], ...]:
        least, most = self.task.bands
        count = min(int(rng.integers(least, most + 1)), len(scene.image))
        part = replace(scene, image=scene.image[rng.choice(len(scene.image), count, replace=False)])
        sensor = self.sensor(scale, count, rng)
        (window,), inside = self.wald.window(part, sensor, rng)
        window = self._softened(window, sensor, rng)
        taught = min(count, self.task.taught)
        low = self.wald.degrade([fill(window)], sensor, rng)
        rows, cols, target, _ = self.wald.queries_of(window, inside, sensor, rng)
        base = resample_points(low[:taught], interpolation_taps(rows, "bicubic"), interpolation_taps(cols, "bicubic"))
        gain = np.float32(np.exp(GAIN * rng.standard_normal()))
        level = (LEVEL * rng.standard_normal((count, 1, 1))).astype(np.float32)
        made = planes(np.nan_to_num(gain * low + level), *self.stated(sensor, rng))[:taught]
        places = [np.repeat(axis[None], taught, axis=0) for axis in (rows, cols)]
        return made, *places, gain * base[..., None], gain * target[:taught, :, None]

    def _softened(self, window: Image, sensor: PatchSensor, rng: np.random.Generator) -> Image:
        """Soften the truth to the MTF of the sensor, where that is below the truth's own."""
        mtf = np.minimum(sensor.mtf, OWN_MTF)
        if rng.random() >= self.task.soften or (mtf == OWN_MTF).all():
            return window
        return softened(window, list(np.maximum(mtf / OWN_MTF, 1e-3).clip(max=0.999)), 1.0)


def optical_loss(
    network: LIIF, batch: Batch, recipe: Recipe[Optical], *, drop: tuple[int, ...], device: str
) -> tuple[Tensor, Tensor]:
    """Loss of a network that corrects the bicubic interpolation of single bands; see `xsr.training.tasks.Loss`."""
    low, rows, cols = (torch.from_numpy(v).float().to(device) for v in (batch.low, batch.rows, batch.cols))
    wanted = (torch.from_numpy(batch.target) - torch.from_numpy(batch.base)).to(device)
    with mixed(device):
        code = network.encode(low.contiguous(memory_format=torch.channels_last))
    found = network.decode(code.float(), rows, cols, (1 / batch.scale, 1 / batch.scale))
    return relative(found - wanted, wanted, (), squared=recipe.task.squared)
