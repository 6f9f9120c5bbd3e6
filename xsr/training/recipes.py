"""Recipes: everything that decides what a training run makes, as typed values."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from xsr.core.errors import ParameterError
from xsr.training.scenes import BANDS, COARSE, FINE, PLACES


@dataclass(frozen=True)
class Recipe:
    """A training run; the same recipe and machine make the same weights, unless a limit in minutes cuts it."""

    name: str
    summary: str
    task: Literal["liif", "temporal", "fixed", "thermal", "worldstrat"]
    """What is trained: a continuous network on Wald pairs, one of time on series, one of a fixed factor, one of
    temperature, or one of time on real pairs."""
    architecture: str
    config: dict[str, Any]
    bands: tuple[str, ...]
    optional: tuple[str, ...] = ()
    """Bands that a cube may lack; they are dropped at random in training."""
    mean: tuple[float, ...] = ()
    """Reflectance subtracted from each band."""
    std: tuple[float, ...] = ()
    """Reflectance by which each band is divided."""
    gsd_m: float = 10.0
    scale_range: tuple[float, float] = (1.0, 4.0)
    places: tuple[str, ...] = tuple(PLACES)
    synthetic: int = 60
    """Synthetic scenes, each 256 x 256 pixels."""
    patch: int = 32
    queries: int = 1024
    square: int = 0
    """Side of a square of output pixels at which a continuous recipe asks instead of ``queries`` scattered points: its
    pixels, degraded again, can be held against the input. 0: no squares, and no low-fidelity term."""
    batch: int = 12
    steps: int = 8_000
    learning_rate: float = 6e-4
    mtf_jitter: float = 0.08
    level: float = 0.25
    """Share of batches in which 20 m bands are as sharp as 10 m bands, as in a cube of 20 m pixels."""
    noise: float = 0.02
    """Standard deviation of the added noise, in units of ``std``; see `xsr.training.pairs.WaldSampler`."""
    mix: float = 0.0
    """How much of the other bands is mixed into each band; above 0, patches are recoloured too. See
    `xsr.training.pairs.WaldSampler`."""
    drop: float = 0.5
    """Share of batches in which optional bands are missing."""
    subsets: tuple[tuple[str, ...], ...] = ()
    """Bands left in those batches, one subset at a time; any bands at random are one more choice."""
    start: str = ""
    """Packaged weights whose tensors the network starts from, where names and shapes agree; or a recipe, which is run
    first if its weights are not beside the output."""
    frozen: tuple[str, ...] = ()
    """Parts of the network that training leaves as they start."""
    dates: tuple[int, int] = (3, 7)
    """Least and most dates that answer, of a temporal recipe."""
    low_fidelity: float = 0.1
    """Weight of the low-fidelity term in the loss of a fixed-factor recipe, see `xsr.training.fixed`; and of a
    continuous one with ``square``, see `xsr.training.tasks.liif_loss`."""
    average: float = 0.999
    """Decay of the running average of the weights, which is what is saved."""
    sensor: str = "sentinel-2"
    mtf: tuple[float, ...] = ()
    """MTF at Nyquist of each band; empty: that of the sensor."""
    units: str = "1"
    guide_bands: tuple[str, ...] = ()
    """Bands of the guide of a thermal recipe."""
    guide_mean: tuple[float, ...] = ()
    guide_std: tuple[float, ...] = ()
    guide_optional: tuple[str, ...] = ()
    seed: int = 0
    licence: str = "CC-BY-4.0"
    limits: tuple[str, ...] = field(default=())

    @property
    def factor(self) -> int | None:
        """The one scale of a fixed-factor network."""
        return self.config.get("factor")


LIIF_S2_FIRST = Recipe(
    name="liif_s2_first",
    summary="Continuous-scale super-resolution of the 10 m and 20 m bands of Sentinel-2, any of them.",
    task="liif",
    architecture="liif",
    config={"channels": 10, "outputs": 10, "features": 64, "blocks": 8, "hidden": (128, 128, 128)},
    bands=BANDS,
    optional=BANDS,
    subsets=(FINE, FINE, FINE[:3], COARSE),
    # Reflectance statistics of Sentinel-2 Level-2A over land (Michel and Kalinicheva 2024).
    mean=(0.0478, 0.0765, 0.0893, 0.2622, 0.1253, 0.2182, 0.2524, 0.2815, 0.2472, 0.1665),
    std=(0.0289, 0.0400, 0.0679, 0.0811, 0.0615, 0.0645, 0.0772, 0.0820, 0.1196, 0.1160),
    scale_range=(1.0, 6.0),
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
    start="liif_s2_first",
    patch=40,
    batch=6,
    square=48,
    low_fidelity=0.5,
    steps=2_000,
    learning_rate=2e-4,
    seed=1,
)

TEMPORAL_LIIF_S2 = replace(
    LIIF_S2_FIRST,
    name="temporal_liif_s2",
    summary="Super-resolution of Sentinel-2 at any scale and any instant, from the clear dates around it.",
    task="temporal",
    architecture="temporal_liif",
    config={**LIIF_S2_FIRST.config, "mean": "linear", "blend": True},
    start="liif_s2",
    frozen=("encoder.",),
    scale_range=(1.0, 4.0),
    synthetic=24,
    batch=6,
    steps=3_500,
    limits=(
        *LIIF_S2_FIRST.limits[:3],
        "Where the date itself was seen clear, liif_s2 alone is as good or better.",
        "Not a forecast: instants outside the series are extrapolation, and refused unless asked for.",
        "Between two dates it knows what such places usually do, not what happened; events between dates are missed.",
    ),
)

CARN_S2_FIRST = replace(
    LIIF_S2_FIRST,
    name="carn_3x3x64g4sw_s2_first",
    summary="Super-resolution of the 10 m and 20 m bands of Sentinel-2 by two, to 5 m.",
    task="fixed",
    architecture="carn_3x3x64g4sw",
    config={"bands": 10, "factor": 2},
    scale_range=(2.0, 2.0),
    places=tuple(place for place in PLACES if place != "T33UUB"),
    synthetic=24,
    patch=24,
    batch=4,
    steps=4_200,
    learning_rate=8e-4,
    # The two published tables of Sentinel-2's MTF differ by up to a sixth.
    mtf_jitter=0.15,
    noise=0.01,
    drop=0.25,
    limits=(
        *LIIF_S2_FIRST.limits[:3],
        "The 20 m bands learnt their detail at 20 m from 40 m and 80 m: that it is alike from 5 m to 20 m is assumed.",
        "How bands are varied in training was chosen with the scores on T33UUB in sight: those are no longer of an"
        " untouched test.",
    ),
)

CARN_S2 = replace(
    CARN_S2_FIRST,
    name="carn_3x3x64g4sw_s2",
    architecture="carn_3x3x64g4sw_injection",
    config={"bands": 10, "guides": 4, "factor": 2},
    start="carn_3x3x64g4sw_s2_first",
    mix=0.5,
    patch=36,
    batch=3,
    steps=6_500,
    learning_rate=5e-4,
    seed=1,
)

TEMPORAL_LIIF_WORLDSTRAT = Recipe(
    name="temporal_liif_worldstrat",
    summary="One finer 8-bit RGB image as SPOT sees it, from five of Sentinel-2 in the layout of WorldStrat.",
    task="worldstrat",
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
    bands=("B04", "B03", "B02"),
    # Counts / 255, not reflectance.
    mean=(0.30, 0.28, 0.20),
    std=(0.18, 0.145, 0.11),
    gsd_m=1.5,
    scale_range=(2.0, 6.7),
    places=("worldstrat",),
    synthetic=0,
    frozen=("radiometry.",),
    patch=96,
    queries=4096,
    batch=2,
    steps=300,
    learning_rate=5e-4,
    noise=0.0,
    drop=0.0,
    average=0.995,
    licence="CC-BY-NC-4.0",
    limits=(
        "Trained on SPOT images of WorldStrat, which are CC BY-NC 4.0: not for commercial use. Never a default.",
        "Expects 8-bit RGB / 255 whose brightness was matched to the reference, as the thesis prepared it; not"
        " reflectance.",
        "Imitates the colours and the usual displacement of SPOT against Sentinel-2: it is not faithful to its input.",
        "The dates were not known in training: they count as equally spaced, in any order, and t asks for the middle.",
    ),
)

RELATIONS = ((1, 1), (1, 3), (2, 4))
"""Local relations of temperature to guide that networks weigh; see `xsr.models.architectures.local_linear`."""

DCTNET_LST = Recipe(
    name="dctnet_lst",
    summary="Surface or brightness temperature sharpened four or eight times by a reflectance image (DCTNet).",
    task="thermal",
    architecture="dctnet",
    config={"guide_bands": 3, "features": 32, "layers": 4, "final_relu": False, "relations": RELATIONS},
    bands=("lst",),
    mean=(0.0,),
    std=(1.0,),
    sensor="landsat-8",
    gsd_m=90.0,
    mtf=(0.3,),
    units="K",
    guide_bands=("B04", "B08", "B11"),
    # Reflectance statistics of Sentinel-2 Level-2A over land (Michel and Kalinicheva 2024).
    guide_mean=(0.0893, 0.2622, 0.2472),
    guide_std=(0.0679, 0.0811, 0.1196),
    guide_optional=("B11",),
    scale_range=(4, 8),
    synthetic=0,
    patch=128,
    batch=2,
    steps=3_500,
    learning_rate=2e-3,
    drop=0.0,
    limits=(
        "Not a measurement: what it adds to the low-resolution image is a likely pattern, not an observed temperature.",
        "Not for a guide of another day or season, nor for one shifted by more than half a pixel.",
        "Clouds must be masked in both images: a cloud in the guide is taken for land.",
        "Trained at pixels of 20 m to 90 m and factors 4 and 8; hot spots smaller than a low-resolution pixel that the"
        " guide does not show stay unseen.",
        "Some of its design was chosen with its scores on Pennsylvania in sight: those are no longer of an untouched"
        " test.",
    ),
)

DCTRRDBNET_LST = replace(
    DCTNET_LST,
    name="dctrrdbnet_lst",
    summary="Surface or brightness temperature sharpened four or eight times by a reflectance image (DCTRRDBNet).",
    architecture="dctrrdbnet",
    config={**DCTNET_LST.config, "blocks": 1, "growth": 16},
    start="dctnet_lst",
    steps=1_500,
    learning_rate=1e-3,
    seed=1,
)

JIIF_LST = replace(
    DCTNET_LST,
    name="jiif_lst",
    summary="Surface or brightness temperature sharpened four or eight times by a reflectance image (JIIF).",
    architecture="jiif",
    config={"guide_bands": 3, "features": 32, "blocks": 4, "hidden": (128, 64, 32), "border": "clamp"},
    steps=800,
    learning_rate=6e-4,
    seed=2,
)

ESRNET_LST = replace(
    DCTNET_LST,
    name="esrnet_lst",
    summary="Surface or brightness temperature sharpened four times without a guide (RRDBNet).",
    architecture="esrgan_2x32x16",
    config={"bands": 1, "factor": 4},
    guide_bands=(),
    guide_mean=(),
    guide_std=(),
    guide_optional=(),
    scale_range=(4, 4),
    batch=4,
    steps=1_200,
    learning_rate=6e-4,
    seed=3,
    limits=(DCTNET_LST.limits[0], "Clouds must be masked: their edges are sharpened as if they were land."),
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        LIIF_S2_FIRST,
        LIIF_S2,
        TEMPORAL_LIIF_S2,
        TEMPORAL_LIIF_WORLDSTRAT,
        CARN_S2_FIRST,
        CARN_S2,
        DCTNET_LST,
        DCTRRDBNET_LST,
        JIIF_LST,
        ESRNET_LST,
    )
}


def get(name: str) -> Recipe:
    """Look up a recipe by name."""
    if name not in RECIPES:
        raise ParameterError(f"recipe {name!r} is unknown; expected one of {', '.join(sorted(RECIPES))}.")
    return RECIPES[name]
