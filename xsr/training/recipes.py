"""Recipes: everything that decides what a training run makes, as typed values."""

from dataclasses import dataclass, field
from typing import Any

from xsr.core.errors import ParameterError
from xsr.training.scenes import BANDS, PLACES


@dataclass(frozen=True)
class Recipe:
    """A training run; the same recipe and machine make the same weights, unless a limit in minutes cuts it."""

    name: str
    summary: str
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
    batch: int = 12
    steps: int = 8_000
    learning_rate: float = 6e-4
    mtf_jitter: float = 0.08
    drop: float = 0.25
    """Share of batches without the optional bands."""
    average: float = 0.999
    """Decay of the running average of the weights, which is what is saved."""
    seed: int = 0
    licence: str = "CC-BY-4.0"
    limits: tuple[str, ...] = field(default=())


LIIF_S2 = Recipe(
    name="liif_s2",
    summary="Continuous-scale super-resolution of the 10 m bands of Sentinel-2.",
    architecture="liif",
    config={"channels": 4, "outputs": 4, "features": 64, "blocks": 8, "hidden": (128, 128, 128)},
    bands=BANDS,
    optional=("B08",),
    # Reflectance statistics of Sentinel-2 Level-2A over land (Michel and Kalinicheva 2024).
    mean=(0.0478, 0.0765, 0.0893, 0.2622),
    std=(0.0289, 0.0400, 0.0679, 0.0811),
    limits=(
        "Not for thermal bands, radar, snow and ice, or images with a point spread function far from Sentinel-2's.",
        "Not a source of new objects: details beyond the sensor's information are the network's guess.",
        "Trained on bottom- and top-of-atmosphere reflectance of single dates; scales beyond 4 are untested.",
    ),
)

RECIPES: dict[str, Recipe] = {LIIF_S2.name: LIIF_S2}


def get(name: str) -> Recipe:
    """Look up a recipe by name."""
    if name not in RECIPES:
        raise ParameterError(f"recipe {name!r} is unknown; expected one of {', '.join(sorted(RECIPES))}.")
    return RECIPES[name]
