"""Errors of sharpened temperatures: an image of ASTER is observed coarser, sharpened by an index, and compared.

Response and noise of the coarser sensor are drawn for each place and scale, as in the training of the networks. Each
result is there twice: as the network makes it, and held within that response; a model of errors takes them for two
bands.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import graph
from xsr.core.errors import ParameterError
from xsr.operations.guided import guided
from xsr.operations.interpolate import interpolate
from xsr.training import modis_aster
from xsr.training.intervals import Pixels, drawn, joined
from xsr.training.manifest import Manifest, Split
from xsr.training.modis_aster import cube
from xsr.training.recipe import Intervals, Recipe
from xsr.training.scenes import Say, quiet
from xsr.training.scores import TestPlace
from xsr.training.thermal import GuidedSampler, Image, observe

BANDS = ("lst", "lst_held")
"""What is calibrated: a network's own result, and that whose means are held within the response of the sensor."""
SHARE = 0.5
"""Least share of a patch that must be known."""


@dataclass(frozen=True)
class GuidedPlace:
    """A temperature and its guide on one grid."""

    name: str
    kelvin: Image
    """Shape (y, x); NaN is no data."""
    guide: Image
    """Shape (band, y, x)."""
    bands: tuple[str, ...] = ("ndvi",)

    def crop(self, rows: slice, cols: slice) -> "GuidedPlace":
        """Cut a rectangle out."""
        return GuidedPlace(self.name, self.kelvin[rows, cols], self.guide[:, rows, cols], self.bands)


@dataclass(frozen=True)
class Listed:
    """A place that is read when it is needed."""

    name: str
    path: str

    def read(self) -> GuidedPlace:
        """Read its file."""
        both = modis_aster.read(self.path)
        return GuidedPlace(self.name, both.truth.values[0], both.guide.values)


def split(manifest: Manifest) -> tuple[list[Listed], list[Listed]]:
    """Places to learn from, and places that calibrate: the train split and that for validation."""
    return listed(manifest, "train"), listed(manifest, "validation")


def listed(manifest: Manifest, one: Split) -> list[Listed]:
    """Places of a split."""
    scenes = manifest.select("thermal_errors", split=(one,))
    return [Listed(scene.place, path) for scene in scenes for path in manifest.paths(scene, scene.place)]


def collect_temperatures(recipe: Recipe[Intervals], places: Iterable[Listed], say: Say = quiet) -> Pixels:
    """Sharpen temperatures and draw pixels of them.

    Raises
    ------
    ParameterError
        If no place is large enough.
    """
    parts: list[Pixels] = []
    for number, place in enumerate(places):
        say(f"errors at {place.name}")
        patch = best_patch(place.read(), recipe.task.patch)
        if patch is None:
            continue
        rng = np.random.default_rng([recipe.seed, number])
        parts += [_pixels(recipe, patch, int(scale), number, rng) for scale in recipe.task.scales]
    if not parts:
        raise ParameterError(
            f"no place has {recipe.task.patch} pixels along both sides of which {SHARE:.0%} are known; expected one at"
            " least."
        )
    return joined(parts, recipe.task.pixels)


def best_patch(place: GuidedPlace, side: int) -> GuidedPlace | None:
    """Cut the square of which most is known; None where that is less than `SHARE`, or the place is smaller."""
    height, width = place.kelvin.shape
    if min(height, width) < side:
        return None
    total = np.pad(np.isfinite(place.kelvin).astype(np.int64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    known = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    top, left = (int(one) for one in np.unravel_index(known.argmax(), known.shape))
    if known[top, left] < SHARE * side**2:
        return None
    return place.crop(slice(top, top + side), slice(left, left + side))


def observed(
    place: GuidedPlace, scale: int, mtf: float, noise: NDArray[np.float32] | None = None
) -> tuple[xr.DataArray, xr.DataArray, Image]:
    """Observe a place coarser: its temperature, its guide, and the truth (y, x), cut to whole coarse pixels.

    Pixels are of an arbitrary grid.
    """
    height, width = (size // scale * scale for size in place.kelvin.shape)
    inside = place.crop(slice(0, height), slice(0, width))
    low = observe(inside.kelvin, scale, mtf)
    low = low if noise is None else low + noise[: low.shape[0], : low.shape[1]]
    size = 232.0
    boxes = [
        GeoBox(shape, Affine(pixel, 0, 600_000, 0, -pixel, 4_500_000), "EPSG:32631")
        for shape, pixel in ((low.shape, size * scale), ((height, width), size))
    ]
    return cube(low[None], ("lst",), boxes[0], "K"), cube(inside.guide, place.bands, boxes[1], "1"), inside.kelvin


def _pixels(recipe: Recipe[Intervals], place: GuidedPlace, scale: int, number: int, rng: np.random.Generator) -> Pixels:
    """Draw pixels of one patch at one scale."""
    mtf, size = float(rng.uniform(*GuidedSampler.mtf)), float(rng.uniform(*GuidedSampler.noise_k))
    noise = np.float32(size) * rng.standard_normal(place.kelvin.shape).astype(np.float32)
    low, guide, truth = observed(place, scale, mtf, noise)
    lazy = low.chunk()  # both results share one pass of the network
    free = guided(lazy, guide, model=recipe.task.of)
    held = guided(lazy, guide, model=recipe.task.of, conserve="radiance", mtf=mtf)
    assert isinstance(free, xr.DataArray)
    assert isinstance(held, xr.DataArray)
    fine = np.concatenate(graph.together(free.data, held.data))
    base = np.repeat(np.asarray(interpolate(low, scale=scale, method="bicubic").values), len(BANDS), axis=0)
    images = np.repeat(truth[None, None], len(BANDS), axis=1)
    return drawn(recipe, TestPlace(place.name, BANDS, images), 0, fine, base, scale, number, rng)
