"""Recipes of the shipped weights, by name."""

from dataclasses import replace
from typing import Any

from xsr.core.errors import ParameterError
from xsr.core.names import did_you_mean
from xsr.models.channels import Channels
from xsr.models.published import SENTINEL2
from xsr.training.recipe import (
    Adversary,
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
)
from xsr.training.scenes import BANDS, COARSE, FINE
from xsr.training.thermal_synthetic import GUIDE

LIIF_S2_FIRST: Recipe[Any] = Recipe(
    name="liif_s2_first",
    summary="Continuous-scale super-resolution of the 10 m and 20 m bands of Sentinel-2, any of them.",
    architecture="liif",
    config={"channels": 10, "outputs": 10, "features": 64, "blocks": 8, "hidden": (128, 128, 128)},
    task=Continuous(scale_range=(1.0, 6.0), similar=False),
    image=replace(SENTINEL2, optional=BANDS),
    drop=0.5,
    subsets=(FINE, FINE, FINE[:3], COARSE),
    steps=11_000,
    limits=(
        "Not for thermal bands, radar, snow and ice, or images with a point spread function far from Sentinel-2's.",
        "Not a source of new objects: details beyond the sensor's information are the network's guess.",
        "Expects the 20 m bands on the grid of the 10 m bands by bicubic interpolation, not by repetition.",
        "Trained on bottom- and top-of-atmosphere reflectance of single dates; scales beyond 6 are untested.",
    ),
)

LIIF_S2 = replace(
    LIIF_S2_FIRST,
    name="liif_s2",
    task=Continuous(scale_range=(1.0, 6.0), patch=40, square=48, low_fidelity=0.5, similar=False),
    start="liif_s2_first",
    intervals="liif_s2_intervals",
    before="sharpen_s2",
    batch=6,
    steps=2_000,
    learning_rate=2e-4,
    seed=1,
)

TEMPORAL_LIIF_S2 = replace(
    LIIF_S2_FIRST,
    name="temporal_liif_s2",
    summary="Super-resolution of Sentinel-2 at any scale and any time, from the clear dates around it.",
    architecture="temporal_liif",
    config={**LIIF_S2_FIRST.config, "mean": "linear", "blend": True},
    task=Temporal(synthetic=24, similar=False),
    start="liif_s2",
    frozen=("encoder.",),
    intervals="temporal_liif_s2_intervals",
    batch=6,
    steps=3_500,
    limits=(
        *LIIF_S2_FIRST.limits[:3],
        "Where the date itself is clear, liif_s2 alone is as good or better.",
        "Not a forecast: times outside the series are extrapolation, and refused by default.",
        "Between two dates it knows what such places usually do, not what happened; events between dates are missed.",
    ),
)

CARN_S2_FIRST: Recipe[Any] = replace(
    LIIF_S2_FIRST,
    name="carn_3x3x64g4sw_s2_first",
    summary="Super-resolution of the 10 m and 20 m bands of Sentinel-2 by two, to 5 m.",
    architecture="carn_3x3x64g4sw",
    config={"bands": 10, "factor": 2},
    task=Fixed(synthetic=24, mtf_jitter=0.15, noise=0.01, similar=False),
    batch=4,
    steps=4_200,
    learning_rate=8e-4,
    drop=0.25,
    limits=(
        *LIIF_S2_FIRST.limits[:3],
        "The 20 m bands learnt their detail at 20 m from 40 m and 80 m: that it is alike from 5 m to 20 m is assumed.",
        "How bands are varied in training was chosen with the scores on T33UUB in sight: those are no longer of an"
        " untouched test.",
    ),
)

CARN_S2_IDEAL = replace(
    CARN_S2_FIRST,
    name="carn_3x3x64g4sw_s2_ideal",
    architecture="carn_3x3x64g4sw_injection",
    config={"bands": 10, "guides": 4, "factor": 2},
    task=replace(CARN_S2_FIRST.task, mix=0.5, patch=36),
    start="carn_3x3x64g4sw_s2_first",
    batch=3,
    steps=6_500,
    learning_rate=5e-4,
    seed=1,
)

CARN_S2 = replace(
    CARN_S2_IDEAL,
    name="carn_3x3x64g4sw_s2",
    task=replace(CARN_S2_IDEAL.task, similar=True, soften=0.3),
    start="carn_3x3x64g4sw_s2_ideal",
    intervals="carn_3x3x64g4sw_s2_intervals",
    steps=9_000,
    seed=2,
)

CARN_LIGHTER_S2_FIRST = replace(
    CARN_S2,
    name="carn_3x2x48g3sw_s2",
    summary="Super-resolution of the 10 m and 20 m bands of Sentinel-2 by two, to 5 m, in half of the operations.",
    architecture="carn_3x2x48g3sw_injection",
    start="carn_3x3x64g4sw_s2",
    intervals=None,
    steps=10_000,
    seed=5,
    limits=CARN_S2.limits[:-1],  # the last is of T33UUB, on which this one was trained
)

CARN_LIGHTER_S2 = replace(
    CARN_LIGHTER_S2_FIRST,
    name="carn_3x2x32g2sw_s2",
    summary="Super-resolution of the 10 m and 20 m bands of Sentinel-2 by two, to 5 m, in 28 % of the operations.",
    architecture="carn_3x2x32g2sw_injection",
    start="carn_3x2x48g3sw_s2",
    seed=6,
)

CARN_LIGHTEST_S2 = replace(
    CARN_LIGHTER_S2,
    name="carn_3x1x32g2_s2",
    summary="Super-resolution of the 10 m and 20 m bands of Sentinel-2 by two, to 5 m, in 16 % of the operations.",
    architecture="carn_3x1x32g2_injection",
    start="carn_3x2x32g2sw_s2",
    seed=7,
)

CARN_GAN_S2 = replace(
    CARN_S2,
    name="carn_3x3x64g4sw_gan_s2",
    summary="Super-resolution of Sentinel-2 by two, to 5 m, with detail that a discriminator takes for true.",
    start="carn_3x3x64g4sw_s2",
    intervals=None,
    adversary=Adversary(),
    steps=2_200,
    learning_rate=2e-4,
    seed=3,
    limits=(
        *CARN_S2.limits,
        "Its detail is chosen to look true, not for the least error: for measurement take carn_3x3x64g4sw_s2.",
    ),
)

CARN_GAN_NOHP_S2 = replace(CARN_GAN_S2, name="carn_3x3x64g4sw_gan_nohp_s2", adversary=Adversary(high_pass=None))

SHARPEN_S2 = Recipe(
    name="sharpen_s2",
    summary="The 20 m bands of Sentinel-2 on the grid of its 10 m bands.",
    architecture="sharpener",
    config={"channels": 16, "bands": 10, "features": 32, "blocks": 3},
    task=Sharpen(similar=True, synthetic=12, mtf_jitter=0.15, noise=0.01, mix=0.2),
    image=replace(SENTINEL2, optional=BANDS),
    drop=0.25,
    subsets=(FINE + COARSE[4:], FINE + COARSE[:4], FINE[2:] + COARSE),
    intervals="sharpen_s2_intervals",
    batch=6,
    steps=8_000,
    learning_rate=1e-3,
    limits=(
        *LIIF_S2_FIRST.limits[:2],
        "Learnt at 20 m from 40 m: that bands go together alike at 10 m and at 20 m is assumed.",
        "Expects bands of 20 m in their own pixels, or interpolated bicubically on the grid of 10 m.",
    ),
)

LIIF_S2_INTERVALS = Recipe(
    name="liif_s2_intervals",
    summary="How large the errors of liif_s2 are, for quantiles of its results.",
    architecture="error_size",
    config={"channels": 140, "bands": 10, "width": 16},
    task=Intervals(of="liif_s2"),
    image=replace(SENTINEL2, optional=BANDS),
    steps=3_000,
    learning_rate=3e-3,
    limits=(
        "Calibrated for Sentinel-2 of land, each date by itself, at scales 1.5 to 4. Not for snow and ice, clouds,"
        " fire, open sea, or other sensors: intervals widen where there is more structure or light than was calibrated;"
        " elsewhere they may be too narrow. interval_calibrated is false where the image is unlike the calibration.",
        "Intervals hold on average over places like those of the calibration, not in each place.",
        "What is measured is the error against an image as sharp as the sensor: neither its noise nor its calibration.",
    ),
)

CARN_S2_INTERVALS = replace(
    LIIF_S2_INTERVALS,
    name="carn_3x3x64g4sw_s2_intervals",
    summary="How large the errors of carn_3x3x64g4sw_s2 are, for quantiles of its results.",
    task=Intervals(of="carn_3x3x64g4sw_s2", scale_range=(2.0, 2.0), scales=(2.0,), ranges=((1.99, 2.01),)),
)

SHARPEN_S2_INTERVALS = replace(
    LIIF_S2_INTERVALS,
    name="sharpen_s2_intervals",
    summary="How large the errors of sharpen_s2 are in bands of 20 m, for quantiles of its results.",
    config={"channels": 84, "bands": 6, "width": 16},
    task=Intervals(of="sharpen_s2", scale_range=(1.0, 1.0), scales=(1.0,), ranges=((0.99, 1.01),), pixels=4_000),
    image=replace(SENTINEL2.only(COARSE), optional=COARSE),
    limits=(
        "Calibrated for Sentinel-2 of land, at 20 m from 40 m: that errors are alike at 10 m from 20 m is assumed. Not"
        " for snow and ice, clouds, fire, open sea, or other sensors: there intervals may be too narrow.",
        *LIIF_S2_INTERVALS.limits[1:],
    ),
)

TEMPORAL_S2_INTERVALS = replace(
    LIIF_S2_INTERVALS,
    name="temporal_liif_s2_intervals",
    summary="How large the errors of temporal_liif_s2 are at target times, for quantiles of its results.",
    config={"channels": 150, "bands": 10, "width": 16},
    task=Intervals(of="temporal_liif_s2", at_times=True, scales=(2.0, 3.4), ranges=((1.0, 2.6), (2.6, 6.0))),
    limits=(
        "Calibrated for Sentinel-2 of land at scales 2 and 3.4, on dates hidden or shown among those of a few series."
        " They rest on as many series as the calibration has places: fewer than those of single dates, so intervals may"
        " be some points off. Not for snow and ice, fire, open sea, other sensors, or times outside a series. On the"
        " test series intervals of 90 % of hidden dates hold more than 10 points too little: take them for too narrow.",
        "Intervals widen with the days to the nearest clear date, beyond those of the calibration in proportion. What"
        " happens between two dates, such as a harvest, a flood or a fire, is no rarer than in those series.",
        *LIIF_S2_INTERVALS.limits[1:],
    ),
)

TEMPORAL_LIIF_WORLDSTRAT = Recipe(
    name="temporal_liif_worldstrat",
    summary="One finer 8-bit RGB image as SPOT observes it, from five of Sentinel-2 in the layout of WorldStrat.",
    architecture="temporal_liif",
    config={
        "channels": 3,
        "outputs": 3,
        "features": 32,
        "blocks": 4,
        "hidden": (64, 64),
        "mean": "equal",
        "radiometry": 64,
    },
    task=Reference(),
    # Counts / 255, not reflectance.
    image=Channels(("B04", "B03", "B02"), mean=(0.30, 0.28, 0.20), std=(0.18, 0.145, 0.11)),
    gsd_m=1.5,
    frozen=("radiometry.",),
    batch=2,
    steps=300,
    learning_rate=5e-4,
    average=0.995,
    licence="CC-BY-NC-4.0",
    limits=(
        "Trained on SPOT images of WorldStrat, which are CC BY-NC 4.0: not for commercial use. Never a default.",
        "Expects 8-bit RGB / 255 whose brightness was matched to the reference, as the thesis prepared it; not"
        " reflectance.",
        "Imitates the colours and the usual displacement of SPOT against Sentinel-2: it is not faithful to its input.",
        "The dates were not known in training: they count as equally spaced, in any order, and t is the middle.",
    ),
)

LIIF_OPTICAL_FIRST = Recipe(
    name="liif_optical_first",
    summary="Continuous-scale super-resolution of any bands of any optical sensor, by their MTF and noise.",
    architecture="liif",
    config={"channels": 4, "outputs": 1, "features": 40, "blocks": 8, "hidden": (96, 96)},
    task=Optical(),
    # Any band, in units of its own image.
    image=Channels(("any",), mean=(0.0,), std=(1.0,)),
    sensor="any",
    gsd_m=1.0,
    batch=5,
    steps=9_000,
    learning_rate=8e-4,
    limits=(
        "Not for thermal bands, radar, snow and ice.",
        "Not a source of new objects: details beyond the sensor's information are the network's guess.",
        "Resampled or compressed images have blur and noise of another kind than it was trained on.",
        "Trained on pixels of 0.5 m to 30 m; finer than 5 m on synthetic scenes alone.",
    ),
)

LIIF_OPTICAL_SECOND = replace(
    LIIF_OPTICAL_FIRST,
    name="liif_optical_second",
    start="liif_optical_first",
    steps=10_000,
    learning_rate=6e-4,
    seed=1,
)

LIIF_OPTICAL = replace(
    LIIF_OPTICAL_FIRST,
    name="liif_optical",
    config={**LIIF_OPTICAL_FIRST.config, "blocks": 14},
    task=Optical(mistaken=0.25, squared=True),
    start="liif_optical_second",
    steps=8_000,
    learning_rate=5e-4,
    seed=2,
)

RELATIONS = ((1, 1), (1, 3), (2, 4))
"""Local relations of temperature to guide that networks weigh; see `xsr.models.architectures.local_linear`."""

DCTNET_LST_FIRST = Recipe(
    name="dctnet_lst_first",
    summary="Surface or brightness temperature sharpened four or eight times by a reflectance image (DCTNet).",
    architecture="dctnet",
    config={"guide_bands": 3, "features": 32, "layers": 4, "final_relu": False, "relations": RELATIONS},
    task=Guided(guide=replace(GUIDE, optional=("B11",))),
    image=Channels(("lst",), mean=(0.0,), std=(1.0,), units="K"),
    sensor="landsat-8",
    gsd_m=90.0,
    mtf=(0.3,),
    batch=2,
    steps=3_500,
    learning_rate=2e-3,
    limits=(
        "Not a measurement: what it adds to the low-resolution image is a likely pattern, not an observed temperature.",
        "Not for a guide of another day or season, nor for one shifted by more than half a pixel.",
        "Clouds must be masked in both images: a cloud in the guide is taken for land.",
        "Trained at pixels of 20 m to 90 m and factors 4 and 8; hot spots smaller than a low-resolution pixel that the"
        " guide does not show are not recovered.",
        "Some of its design was chosen with its scores on Pennsylvania in sight: those are no longer of an untouched"
        " test.",
    ),
)

DCTNET_LST = replace(
    DCTNET_LST_FIRST,
    name="dctnet_lst",
    task=replace(DCTNET_LST_FIRST.task, held=True),
    start="dctnet_lst_first",
    intervals="dctnet_lst_intervals",
    steps=4_000,
    learning_rate=1e-3,
    until=0.4,
    average=0.0,
    seed=4,
)

DCTNET_LST_INTERVALS = replace(
    LIIF_S2_INTERVALS,
    name="dctnet_lst_intervals",
    summary="How large the errors of dctnet_lst are, for quantiles of its results.",
    config={"channels": 28, "bands": 2, "width": 16},
    task=Intervals(
        of="dctnet_lst",
        guided=True,
        scale_range=(4.0, 8.0),
        scales=(4.0, 8.0),
        ranges=((3.5, 5.7), (5.7, 9.0)),
        patch=160,
    ),
    image=Channels(("lst", "lst_held"), mean=(0.0,) * 2, std=(1.0,) * 2, optional=("lst", "lst_held"), units="K"),
    sensor="landsat-8",
    mtf=(0.3, 0.3),
    gsd_m=232.0,
    steps=1_500,
    limits=(
        "Learnt and calibrated on ASTER temperatures of one region, France, at 232 m from 0.9 km to 1.9 km, with a"
        " vegetation index alone for a guide: ten pairs calibrate, and some of them overlap. That errors go together"
        " with the features alike at other pixels, places and guides is assumed.",
        "Intervals hold on average over places like those of the calibration, not in each place. Not for snow, clouds,"
        " the night, or a guide of another day.",
        "Results held within a response: with the response of the sensor as given; a wrong one makes larger errors.",
        "What is measured is the error against an image of the pixels of the result: not the sensor's calibration.",
    ),
)

DCTNET_MODIS_LST = replace(
    DCTNET_LST,
    name="dctnet_modis_lst",
    summary="Land surface temperature of MODIS sharpened four times by its vegetation index (DCTNet).",
    task=Paired(guide=DCTNET_LST.task.guide),
    start="dctnet_lst",
    sensor="modis",
    gsd_m=232.0,
    intervals=None,
    batch=3,
    steps=600,
    until=1.0,
    average=0.98,
    seed=6,
    limits=(
        *DCTNET_LST_FIRST.limits[:3],
        "Trained on MODIS temperatures of 927 m on their sinusoidal grid, with the vegetation index of 232 m: days of"
        " one region, France, on which ASTER measured from the same satellite. Other sensors are for dctnet_lst.",
        "Takes single pixels of MODIS for uncertain, as gridding leaves them, and smooths them: means over the pixels"
        " of MODIS are not kept.",
        "Expects MODIS in the place where its products have it: temperature lies about 90 m to the east of the index,"
        " which the network has learnt. Leave coregister= out.",
    ),
)

DCTRRDBNET_LST = replace(
    DCTNET_LST_FIRST,
    name="dctrrdbnet_lst",
    summary="Surface or brightness temperature sharpened four or eight times by a reflectance image (DCTRRDBNet).",
    architecture="dctrrdbnet",
    config={**DCTNET_LST_FIRST.config, "blocks": 1, "growth": 16},
    start="dctnet_lst_first",
    steps=1_500,
    learning_rate=1e-3,
    seed=1,
)

JIIF_LST = replace(
    DCTNET_LST_FIRST,
    name="jiif_lst",
    summary="Surface or brightness temperature sharpened four or eight times by a reflectance image (JIIF).",
    architecture="jiif",
    config={"guide_bands": 3, "features": 32, "blocks": 4, "hidden": (128, 64, 32), "border": "clamp"},
    steps=4_000,
    learning_rate=6e-4,
    seed=2,
)

ESRNET_LST = replace(
    DCTNET_LST_FIRST,
    name="esrnet_lst",
    summary="Surface or brightness temperature sharpened four times without a guide (RRDBNet).",
    architecture="esrgan_2x32x16",
    config={"bands": 1, "factor": 4},
    task=Guided(scale_range=(4, 4)),
    batch=4,
    steps=1_200,
    learning_rate=6e-4,
    seed=3,
    limits=(DCTNET_LST_FIRST.limits[0], "Clouds must be masked: their edges are sharpened as if they were land."),
)

ESRNET_X8_LST = replace(
    ESRNET_LST,
    name="esrnet_x8_lst",
    summary="Surface or brightness temperature sharpened eight times without a guide (RRDBNet).",
    config={"bands": 1, "factor": 8},
    task=Guided(scale_range=(8, 8)),
    seed=5,
)

RECIPES: dict[str, Recipe[Any]] = {
    recipe.name: recipe
    for recipe in (
        LIIF_S2_FIRST,
        LIIF_S2,
        TEMPORAL_LIIF_S2,
        TEMPORAL_LIIF_WORLDSTRAT,
        CARN_S2_FIRST,
        CARN_S2_IDEAL,
        CARN_S2,
        CARN_LIGHTER_S2_FIRST,
        CARN_LIGHTER_S2,
        CARN_LIGHTEST_S2,
        CARN_GAN_S2,
        CARN_GAN_NOHP_S2,
        SHARPEN_S2,
        LIIF_OPTICAL_FIRST,
        LIIF_OPTICAL_SECOND,
        LIIF_OPTICAL,
        LIIF_S2_INTERVALS,
        CARN_S2_INTERVALS,
        SHARPEN_S2_INTERVALS,
        TEMPORAL_S2_INTERVALS,
        DCTNET_LST_FIRST,
        DCTNET_LST,
        DCTNET_LST_INTERVALS,
        DCTNET_MODIS_LST,
        DCTRRDBNET_LST,
        JIIF_LST,
        ESRNET_LST,
        ESRNET_X8_LST,
    )
}


def get(name: str) -> Recipe[Any]:
    """Look up a recipe by name.

    Raises
    ------
    ParameterError
        If there is none of that name.
    """
    if name not in RECIPES:
        known = f"{', '.join(sorted(RECIPES))}{did_you_mean(name, RECIPES)}"
        raise ParameterError(f"recipe {name!r} is unknown; expected one of {known}.")
    return RECIPES[name]


def varied(recipe: Recipe[Any], *, start: str | None = None, synthetic: int | None = None) -> Recipe[Any]:
    """Recipe that starts from other weights, or renders another number of synthetic scenes.

    Raises
    ------
    ParameterError
        If its task has no synthetic scenes of which the number could be chosen.
    """
    if start is not None:
        recipe = replace(recipe, start=start)
    if synthetic is None:
        return recipe
    if not isinstance(recipe.task, Wald | Optical) or synthetic < 0:
        raise ParameterError(
            f"synthetic={synthetic}; expected 0 or more, of a recipe that trains on a number of synthetic scenes."
            " Leave it out."
        )
    return replace(recipe, task=replace(recipe.task, synthetic=synthetic))
