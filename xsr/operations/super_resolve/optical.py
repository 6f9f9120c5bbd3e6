"""Super-resolution of any bands of any optical sensor, each by itself, by its MTF and noise.

Bands are standardised by numbers of the whole image, and these are estimated once from up to 3 x 3 windows spread over
it, as `xsr.estimate_mtf` does: the result does not depend on its blocks.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import checks, graph, pipeline, radiometry
from xsr.core.blocks import Window
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import CubeError, ModelError, ParameterError
from xsr.core.graph import Job
from xsr.core.names import BandsLike
from xsr.core.types import Stack, XarrayObject
from xsr.kernels import resample, scenespectrum
from xsr.kernels.optics import by_band
from xsr.kernels.planes import LIKELY_MTF, MTF_RANGE, levels, moments, planes
from xsr.kernels.registration import spread_windows
from xsr.models import registry
from xsr.models.precision import Precision
from xsr.operations.super_resolve.networks import (
    FILL,
    Continuous,
    exact_precision,
    provenance,
    query_shape,
    refuse_temperature,
    remask,
    warn_of_pixel_size,
)
from xsr.operations.super_resolve.repeats import smooth_repeats

ByBand = float | Mapping[str, float] | None
"""A number for all bands, or by the name of the band; None: estimated."""
MEASURED = "measure_bands"
"""Beginning of the Dask keys of what is measured in the whole image."""
NUMBERS = 4
"""Numbers of a band: mean, standard deviation, MTF, noise."""


def reads_each(model: str | Path) -> bool:
    """Whether a model reads each band by itself."""
    return registry.card(model).reads == "each"


@dataclass(frozen=True)
class EachBand(Continuous):
    """Block function: each band, in units of its image, with the mean of all, its MTF and its noise.

    Beside the bands it reads `NUMBERS` constant images of each: all means, all standard deviations, and so on.
    """

    task: ClassVar[str] = "liif"

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        bands = window.shape[1] // (1 + NUMBERS)
        images, beside = window[:, :bands], window[:, bands:]
        shape = (*images.shape[:2], *query_shape(rows, cols))
        valid = np.isfinite(images)
        if not valid.any():
            return np.full(shape, np.nan, np.float32)
        numbers = beside[..., beside.shape[2] // 2, beside.shape[3] // 2].reshape(len(window), NUMBERS, bands)
        flat = images.reshape(-1, *images.shape[2:])
        filled = resample.fill_nodata(flat, passes=FILL, constant=np.ascontiguousarray(numbers[:, 0]).ravel())
        out = resample.interpolate_filled(filled, rows, cols, "bicubic").reshape(shape)
        for date, (stack, each) in enumerate(zip(filled.reshape(images.shape), numbers, strict=True)):
            mean, std, mtf, noise = each.astype(np.float64)
            used = np.flatnonzero(std > 0)
            if not used.size:
                continue
            middle, unit = (values[used, None, None].astype(np.float32) for values in (mean, std))
            read = planes((stack[used] - middle) / unit, mtf[used], noise[used] / std[used])
            for place, band in enumerate(used):  # one by one: the same in any order
                if valid[date, band].any():
                    out[date, band] += np.float32(std[band]) * self.predict(read[[place]], rows, cols, cell)[0, 0]
        return out if valid.all() else remask(out, valid, rows, cols)


@dataclass(frozen=True)
class Measure:
    """Reduction: mean and standard deviation of each band, and its MTF and noise where they are not given."""

    jobs: tuple[Job, ...]
    side: int
    """Side of the patches of the spectra; 0 measures none."""

    def __call__(self, job: Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Measure one window by band: mean, variance and noise at its place among all, patches, sum of spectra."""
        place, out, images = self.jobs.index(job), [], windows[0]
        bounds = scenespectrum.quietest(np.asarray(images, np.float64)) if self.side else np.zeros(len(images))
        for image, bound in zip(images, bounds, strict=True):
            own = np.zeros((3, len(self.jobs)))
            own[:, place] = *moments(image), bound
            spectra = []
            if self.side:
                power, count = scenespectrum.periodogram(np.asarray(image, np.float64), self.side)
                spectra = [np.array([count]), power.ravel()]
            out.append(np.concatenate([own.ravel(), *spectra]))
        return np.stack(out)

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers of every band, shape (`NUMBERS`, band)."""
        count = len(self.jobs)
        mean, std = levels(total[:, :count].T, total[:, count : 2 * count].T)
        spectral = (
            [self._spectral(band[2 * count :]) for band in total] if self.side else [(math.nan,) * 2] * len(total)
        )
        return np.stack([mean, std, *np.array(spectral).T])

    def _spectral(self, band: NDArray[np.float64]) -> tuple[float, float]:
        """MTF, as far as it is likely, and noise; NaN where the image does not say."""
        quiet, patches, power = np.split(band, [len(self.jobs), len(self.jobs) + 1])
        known = quiet[np.isfinite(quiet)]
        most = float(known.min()) if known.size else math.inf
        found = scenespectrum.fit(power.reshape(self.side, -1), int(patches[0]), most)
        return float(np.minimum(found.mtf[0], LIKELY_MTF)), found.noise


def refine(
    cube: XarrayObject,
    model: str | Path,
    *,
    mtf: ByBand,
    noise: ByBand,
    bands: BandsLike | None,
    units: str | float | None,
    device: str,
    precision: Precision,
    others: Mapping[str, Any],
    **how: Any,
) -> XarrayObject:
    """Super-resolve each band of a cube; see `xsr.liif`.

    Parameters
    ----------
    cube, model, mtf, noise, bands, units, device, precision
        As of `xsr.liif`.
    others
        Arguments that such models do not have, by name, where they are given.
    **how
        ``scale``, ``resolution``, ``like`` and ``chunks`` of `xsr.core.pipeline.refine`.
    """
    registry.check_device(device)
    card = registry.card(model)
    if others:
        name, value = next(iter(others.items()))
        raise ModelError(
            f"{name}={value!r} with model {card.name!r}, which computes each band of each date by itself, as sharp as"
            f" the sensor; expected no {name}. Leave it out, or choose a model of the sensor."
        )
    checked = open_cube(cube, units=_units(cube, units), bands=bands, watch=False)
    refuse_temperature(checked, card)
    warn_of_pixel_size(checked, card)
    checked = smooth_repeats(checked, card.coarser)
    given = _given("mtf", mtf, checked, _is_mtf, "a number in {:g} to {:g}".format(*MTF_RANGE))
    loud = _given("noise", noise, checked, lambda value: 0 <= value < math.inf, "a number from 0, in its units")
    exact = exact_precision(precision, card, residual=True, device=device)
    picks = (0,) * len(checked.bands)
    function = EachBand(registry.spec(model), card.image, picks, card.radius, device, precision=exact)
    record = provenance("liif", card, exact) | {"xsr_psf": "sensor"}
    record |= {"xsr_mtf": _stated(mtf), "xsr_noise": _stated(noise)}
    numbers = _numbers(checked, given, loud).reshape(checked.data.sizes["time"], -1)
    beside = graph.constant_images(numbers, checked.data.data)
    return pipeline.refine(checked, function, beside=beside, provenance=record, **how)


def _units(cube: XarrayObject, units: str | float | None) -> str | float | None:
    """Units of the numbers; integers without a scale are what they are."""
    variables = list(cube.data_vars.values()) if isinstance(cube, xr.Dataset) else [cube]
    plain = units is None and all(radiometry.without_scale(one) for one in variables)
    return 1.0 if plain else units


def _is_mtf(value: float) -> bool:
    return MTF_RANGE[0] <= value <= MTF_RANGE[1]


def _given(
    name: str, given: ByBand, cube: Cube, fits: Callable[[float], bool], expected: str
) -> NDArray[np.float64] | None:
    """Check the number of each band that the user gives; None where it is to be estimated."""
    if given is None:
        return None
    values = [by_band(given, band, name) for band in cube.bands]
    odd = [value for value in values if not (checks.is_number(value) and fits(float(value)))]
    if odd:
        raise ParameterError(f"{name}={odd[0]!r}; expected {expected}, one for all or by band, or None to estimate it.")
    return np.array(values, np.float64)


def _stated(given: ByBand) -> Any:
    """Say of a number where it comes from."""
    if given is None:
        return "estimated"
    return [f"{name} {float(value):g}" for name, value in given.items()] if isinstance(given, Mapping) else float(given)


def _numbers(cube: Cube, mtf: NDArray[np.float64] | None, noise: NDArray[np.float64] | None) -> Any:
    """Numbers of every band and date, shape (time, `NUMBERS`, band); lazy if the cube is."""
    shape = cube.data.sizes["y"], cube.data.sizes["x"]
    estimated = mtf is None or noise is None
    if estimated and min(shape) < scenespectrum.LEAST:
        raise CubeError(
            f"the cube has {shape[0]} x {shape[1]} pixels, too few to estimate its MTF and noise; expected at least"
            f" {scenespectrum.LEAST} each way. Pass mtf= and noise=, or take a larger area."
        )
    side = min(scenespectrum.PATCH, min(shape) // 2 * 2) if estimated else 0
    spans = product(*map(spread_windows, shape))
    jobs = tuple(Job(y, x, (Window(y, x),)) for y, x in spans)
    size = NUMBERS, len(cube.bands)
    found = graph.reduce_windows(Measure(jobs, side), [cube.data.data], jobs, size, name=MEASURED)
    return graph.each(Given(mtf, noise), found, np.float32)


@dataclass(frozen=True)
class Given:
    """Puts what the user gives in the place of what was measured."""

    mtf: NDArray[np.float64] | None
    noise: NDArray[np.float64] | None

    def __call__(self, numbers: NDArray[np.float64]) -> NDArray[np.float32]:
        """Map numbers (time, `NUMBERS`, band) to those that are used."""
        out = numbers.astype(np.float32)
        for place, given in ((2, self.mtf), (3, self.noise)):
            if given is not None:
                out[:, place] = given
        return out
