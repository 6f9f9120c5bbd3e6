"""From a recipe and scenes to what a run optimises: a network as it starts, a source of batches, a loss."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import nn

from xsr.core import sensors
from xsr.core.errors import BandError, ParameterError
from xsr.kernels.evidence import Reader
from xsr.models import catalogue, registry
from xsr.models.architectures.error_size import Spread
from xsr.models.architectures.temporal_liif import TemporalLIIF
from xsr.models.registry import load
from xsr.training import finer, interval_kinds, intervals, optical, thermal_pairs, thermal_task
from xsr.training import scenes as single
from xsr.training import series as several
from xsr.training.adversary import Opponent
from xsr.training.dates import DateSampler, Either, RealDateSampler
from xsr.training.fixed import FixedSampler, fixed_loss
from xsr.training.manifest import Manifest
from xsr.training.pairs import WaldSampler
from xsr.training.recipe import (
    Continuous,
    Fixed,
    Guided,
    Intervals,
    Optical,
    Paired,
    Recipe,
    Reference,
    Sharpen,
    Temporal,
    Wald,
    dropped,
)
from xsr.training.scenes import BANDS, COARSE, Image, Say, TrainingScene, quiet
from xsr.training.series import Series, SeriesSampler
from xsr.training.sharpening import SharpenSampler, sharpen_loss
from xsr.training.tasks import Training, begin, deepen, liif_loss, start_from, temporal_loss, widen
from xsr.training.thermal import GuidedSampler, load_optical, load_thermal

Built: TypeAlias = tuple[Training[Any], dict[str, object]]
"""What a run optimises, and what its card says of the scenes."""


def build(recipe: Recipe[Any], manifest: Manifest | None, *, say: Say = quiet) -> Built:
    """Make what a recipe optimises, and what its card says of the scenes.

    Parameters
    ----------
    recipe
        What to train.
    manifest
        Real images; None for synthetic scenes alone.
    say
        Receives a line for each scene that is read or rendered.

    Raises
    ------
    ParameterError
        If the recipe needs real images and there are none, one is too small, or it has an adversary and no whole
        patches.
    BandError
        If no scene has a band that the recipe needs.
    XsrError
        If a file is not what the manifest says.
    """
    if recipe.adversary is not None and not isinstance(recipe.task, Fixed):
        raise ParameterError(
            f"recipe {recipe.name!r} has an adversary and the task {recipe.task.kind!r}; expected the task 'fixed',"
            " whose batches are whole patches. Leave the adversary out."
        )
    torch.manual_seed(recipe.seed)
    return BUILDERS[type(recipe.task)](recipe, manifest, say)


def _continuous(recipe: Recipe[Continuous], manifest: Manifest | None, say: Say) -> Built:
    """Any scale, on Wald pairs."""
    network = _implicit(recipe)
    scenes, about = _scenes(recipe, manifest, say)
    about["protocol"] = "Wald pairs: per-band MTF at Nyquist, continuous scale, noise"
    task = recipe.task
    sampler = replace(_sampler(recipe, scenes), queries=task.queries, square=task.square)
    if task.reads == "bands":
        return Training(network, sampler, liif_loss, recipe.frozen), about
    about["protocol"] = f"{about['protocol']}; half the time with other dates, displaced by fractions of a pixel"
    series, places = _series(recipe, manifest, task.series, say)
    about["series"] = places
    hidden = partial(dropped, recipe)
    reader = Reader(recipe.image.std, sampler.mtf, sampler.coarser)
    scattered = replace(sampler, square=0, queries=task.square**2)
    alone = DateSampler(sampler, reader, task.most, task.alone, hidden)
    real = RealDateSampler(SeriesSampler(series, scattered, (2, task.most + 1)), reader, hidden)
    return Training(network, Either(alone, real, task.real, recipe.seed), liif_loss, recipe.frozen), about


def _temporal(recipe: Recipe[Temporal], manifest: Manifest | None, say: Say) -> Built:
    """Any scale and time, on series."""
    network, task = _implicit(recipe), recipe.task
    published = finer.published_series(manifest, recipe=recipe.name)
    series, places = _series(recipe, manifest, task.synthetic, say, published)
    sampler = SeriesSampler(series, replace(_sampler(recipe, ()), queries=task.queries), task.dates)
    about: dict[str, object] = {
        "protocol": "Wald pairs of one date of a series, made from others: half the time without that date",
        "places": places,
        "scenes": sum(len(one.times) for one in series),
        "pixels": sum(one.image[:, 0].size for one in series),
    }
    return Training(network, sampler, temporal_loss, recipe.frozen), about


def _fixed(recipe: Recipe[Fixed], manifest: Manifest | None, say: Say) -> Built:
    """One factor, on pairs of the grid."""
    network = begin(recipe.architecture, recipe.config)
    if recipe.start:
        first = registry.card(recipe.start)
        widen(_trunk(network, recipe.architecture), _trunk(load(recipe.start), first.architecture))
    scenes, about = _scenes(recipe, manifest, say)
    about["protocol"] = "full-resolution pairs at 10 m and Wald pairs at 20 m: per-band MTF at Nyquist, noise"
    sampler = FixedSampler(_sampler(recipe, scenes), recipe.factor or 1)
    loss = fixed_loss if recipe.adversary is None else Opponent(recipe.adversary, len(recipe.bands))
    return Training(network, sampler, loss, recipe.frozen, torch.contiguous_format), about


def _sharpen(recipe: Recipe[Sharpen], manifest: Manifest | None, say: Say) -> Built:
    """Bands of larger pixels on the grid of the others, on images that are known in all bands."""
    network = begin(recipe.architecture, recipe.config)
    scenes, about = _scenes(recipe, manifest, say, keep=partial(_known_in_both, recipe.bands))
    about["protocol"] = "Wald pairs at 20 m: bands of 20 m observed at 40 m, per-band MTF at Nyquist, noise"
    sampler = _sampler(recipe, scenes)
    reader = Reader(recipe.image.std, sampler.mtf, sampler.coarser)
    return Training(
        network, SharpenSampler(sampler, reader, partial(dropped, recipe), recipe.task.published), sharpen_loss
    ), about


def _intervals(recipe: Recipe[Intervals], manifest: Manifest | None, say: Say) -> Built:
    """Errors of another network, on places that are known."""
    if manifest is None:
        raise ParameterError(f"recipe {recipe.name!r} measures errors on real images; give scenes.")
    network = cast(Spread, catalogue.get(recipe.architecture).make(**recipe.config))
    learnt, kept = interval_kinds.split_of(recipe, manifest)
    pixels = interval_kinds.collected(recipe, learnt, say)
    intervals.start(network, pixels)
    pairs = "temperatures observed coarser" if recipe.task.guided else "self-similar Wald pairs"
    about: dict[str, object] = {
        "protocol": f"errors of {pairs}; split conformal calibration on places not learnt from",
        "places": interval_kinds.names(learnt),
        "calibration places": interval_kinds.names(kept),
        "of_sha256": registry.card(recipe.task.of).sha256,
        "pixels": len(pixels.error),
    }
    return Training(network, intervals.PixelSampler(pixels, recipe.seed), intervals.intervals_loss), about


def _known_in_both(bands: Sequence[str], scene: TrainingScene) -> bool:
    """Whether an image has bands of both pixel sizes on its grid."""
    known = {band for band, image in zip(bands, scene.image, strict=True) if np.isfinite(image).any()}
    return bool(known & {*COARSE}) and bool(known - {*COARSE})


def _guided(recipe: Recipe[Guided], manifest: Manifest | None, say: Say) -> Built:
    """Temperature, with a guide or without."""
    network, task = begin(recipe.architecture, recipe.config), recipe.task
    if recipe.start:
        start_from(network, load(recipe.start))
    thermal = load_thermal(manifest, recipe=recipe.name, say=say)
    optical = load_optical(manifest, recipe=recipe.name, say=say)
    factors = tuple(dict.fromkeys(int(factor) for factor in task.scale_range))
    sampler = GuidedSampler(thermal, optical, task.patch, recipe.batch, recipe.seed, factors)
    about: dict[str, object] = {
        "protocol": (
            "Wald pairs at about the native thermal resolution: Gaussian point spread function, factor 4 or 8, noise;"
            " truth from synthetic scenes whose link between temperature and reflectance is drawn anew each time, half"
            " of them on real optical images, and from real thermal images"
        ),
        "places": [scene.place for scene in thermal],
        "optical images": len(optical),
        "pixels": sum(scene.kelvin.size for scene in thermal) + sum(image[0].size for image in optical),
    }
    return Training(network, sampler, thermal_task.guided_loss, recipe.frozen), about


def _paired(recipe: Recipe[Paired], manifest: Manifest | None, say: Say) -> Built:
    """Temperature of one sensor, by that of another and a guide."""
    network, task = begin(recipe.architecture, recipe.config), recipe.task
    if recipe.start:
        start_from(network, load(recipe.start))
    scenes = thermal_pairs.load(manifest, task.smooth, recipe=recipe.name, say=say)
    if not scenes:
        raise ParameterError(
            f"recipe {recipe.name!r} learns from temperatures of two sensors; expected scenes of the use"
            f" {task.use!r}. Add them to the manifest."
        )
    about: dict[str, object] = {
        "protocol": (
            "temperatures of MODIS and, registered to them, of ASTER at the pixels of the vegetation index of MODIS,"
            " without the smooth part of their difference"
        ),
        "places": [scene.place for scene in scenes],
        "pixels": sum(scene.truth.size for scene in scenes),
    }
    sampler = thermal_pairs.PairedSampler(scenes, task.patch, recipe.batch, recipe.seed, *recipe.mtf)
    return Training(network, sampler, thermal_task.paired_loss, recipe.frozen), about


def _optical(recipe: Recipe[Optical], manifest: Manifest | None, say: Say) -> Built:
    """Bands of any sensor, one by one, on Wald pairs."""
    scenes = optical.load(
        manifest, recipe=recipe.name, synthetic=recipe.task.synthetic, least=recipe.task.patch, say=say
    )
    about: dict[str, object] = {
        "protocol": "self-similar Wald pairs of each band: MTF and noise drawn, and stated with an error",
        "places": sorted({scene.place for scene in scenes}),
        "scenes": len(scenes),
        "pixels": sum(scene.image[0].size for scene in scenes),
    }
    sampler = optical.OpticalSampler(recipe.task, tuple(scenes), recipe.batch, recipe.seed)
    return Training(_implicit(recipe), sampler, optical.optical_loss, recipe.frozen), about


def _reference(recipe: Recipe[Reference], manifest: Manifest | None, say: Say) -> Built:
    """Several images, and a finer one of another sensor."""
    task = recipe.task
    pairs = finer.load(manifest, recipe.bands, recipe=recipe.name, say=say)
    network = cast(TemporalLIIF, begin(recipe.architecture, recipe.config))
    finer.fit_radiometry(network, pairs, recipe)
    about: dict[str, object] = {
        "protocol": "images of a sensor against one of a finer sensor",
        "places": [pair.name for pair in pairs],
        "scenes": len(pairs),
        "pixels": sum(pair.low[:, 0].size for pair in pairs),
    }
    sampler = finer.PairSampler(pairs, task.patch, task.queries, recipe.batch, recipe.seed, strategy=task.strategy)
    return Training(network, sampler, finer.pair_loss, recipe.frozen), about


BUILDERS: dict[type, Callable[[Recipe[Any], Manifest | None, Say], Built]] = {
    Continuous: _continuous,
    Temporal: _temporal,
    Fixed: _fixed,
    Sharpen: _sharpen,
    Intervals: _intervals,
    Guided: _guided,
    Paired: _paired,
    Optical: _optical,
    Reference: _reference,
}
"""What makes the run of a recipe, by its task."""


def _implicit(recipe: Recipe[Any]) -> nn.Module:
    """Continuous network that starts close to the interpolation that it corrects."""
    network = begin(recipe.architecture, recipe.config, bias=False)
    if recipe.start:
        first = registry.card(recipe.start)
        deeper = recipe.config.get("blocks") != first.config.get("blocks")
        alike = deepen if deeper else widen
        (alike if first.architecture == recipe.architecture else start_from)(network, load(recipe.start))
    return network


def _trunk(network: nn.Module, architecture: str) -> nn.Module:
    """Part of a fixed-scale network that has weights."""
    return network.get_submodule(catalogue.get(architecture).trunk or "")


def _series(
    recipe: Recipe[Any], manifest: Manifest | None, synthetic: int, say: Say, published: Iterable[Series] = ()
) -> tuple[list[Series], list[str]]:
    """Series of a recipe, in the order of its bands, and the names of their places."""
    found = several.load(
        manifest, recipe=recipe.name, synthetic=synthetic, published=published, least=recipe.task.patch, say=say
    )
    index = _order(recipe.bands)
    ordered = [
        replace(one, image=one.image[:, index], coarse=None if one.coarse is None else one.coarse[:, index])
        for one in found
    ]
    return ordered, sorted({one.place for one in found})


# --- scenes ---------------------------------------------------------------------------------------------------


def _scenes(
    recipe: Recipe[Any], manifest: Manifest | None, say: Say, keep: Callable[[TrainingScene], bool] = lambda scene: True
) -> tuple[list[TrainingScene], dict[str, object]]:
    """Single images of a recipe that it can use, and what they are."""
    task: Wald = recipe.task
    scenes = single.load(manifest, recipe=recipe.name, synthetic=task.synthetic, least=task.patch, say=say)
    index = _order(recipe.bands)
    scenes = [replace(one, image=one.image[index], coarse=_taken(one.coarse, index)) for one in scenes]
    scenes = list(filter(keep, scenes))
    _check_bands(recipe, scenes)
    about: dict[str, object] = {
        "places": sorted({scene.place for scene in scenes}),
        "scenes": len(scenes),
        "pixels": sum(scene.image[0].size for scene in scenes),
    }
    return scenes, about


def _taken(coarse: Image | None, index: Sequence[int]) -> Image | None:
    return None if coarse is None else coarse[index]


def _order(bands: Sequence[str]) -> list[int]:
    """Places of the bands of a recipe among those of a scene."""
    unknown = [band for band in bands if band not in BANDS]
    if unknown:
        raise BandError(f"the recipe has the band {unknown[0]}; expected bands of {', '.join(BANDS)}.")
    return [BANDS.index(band) for band in bands]


def _check_bands(recipe: Recipe[Any], scenes: Sequence[TrainingScene]) -> None:
    """Refuse scenes of which none has a band that the network cannot go without."""
    known = {
        band
        for scene in scenes
        for image in (scene.image, scene.coarse)
        if image is not None
        for band, values in zip(recipe.bands, image, strict=True)
        if np.isfinite(values).any()
    }
    needed = [band for band in recipe.bands if band not in recipe.image.optional]
    missing = [band for band in needed if band not in known]
    if missing or not known:
        raise BandError(
            f"no scene has {', '.join(missing) or 'a band of the recipe'}, which {recipe.name!r} needs; give images"
            f" with the bands {', '.join(needed) or recipe.bands[0]}."
        )


def _sampler(recipe: Recipe[Any], scenes: Sequence[TrainingScene]) -> WaldSampler:
    task: Wald = recipe.task
    return WaldSampler(
        scenes=scenes,
        mtf=recipe.mtf or band_mtf(recipe.bands, recipe.sensor),
        scale_range=task.scale_range,
        patch=task.patch,
        queries=1,
        batch=recipe.batch,
        mtf_jitter=task.mtf_jitter,
        seed=recipe.seed,
        coarser=tuple(band in COARSE for band in recipe.bands),
        level=task.level,
        noise=tuple(task.noise * std for std in recipe.image.std),
        mix=task.mix,
        similar=task.similar,
        soften=task.soften,
        resampled=task.resampled,
    )


def band_mtf(bands: Sequence[str], sensor: str = "sentinel-2") -> tuple[float, ...]:
    """MTF at Nyquist of each band.

    Raises
    ------
    ParameterError
        If the sensor table has none for a band.
    """
    table = sensors.get(sensor)
    values = [table.band(band).mtf for band in bands]
    known = [value for value in values if value is not None]
    if len(known) != len(values):
        raise ParameterError(f"the MTF of some of {list(bands)} is unknown for {sensor}; choose other bands.")
    return tuple(known)
