"""Which part of a result was measured and which inferred, and where it contradicts the image that it was made from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import checks, grid, pipeline
from xsr.core.blocks import Padding
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import BandError, GridError, ModelError
from xsr.core.grid import Refinement
from xsr.core.match import Low, open_low
from xsr.core.names import BandsLike, fitting
from xsr.core.provenance import PREFIX, made_by
from xsr.core.types import Stack, XarrayObject
from xsr.kernels import support as kernels
from xsr.kernels.degrade import BandOptics
from xsr.kernels.optics import Mtf, Optics, PsfLike, by_band
from xsr.kernels.resample import Interpolation
from xsr.models import registry
from xsr.models.card import SHARPNESS, ModelCard
from xsr.operations.super_resolve.consistency import Observation, optics_of
from xsr.operations.super_resolve.dates import coarser_bands
from xsr.operations.super_resolve.repeats import smooth_repeats
from xsr.operations.super_resolve.sharpness import Sharpness, gains_of

VALID = 0.99
"""Least share of the sensor's weight on valid pixels of the result: with fewer, gaps would pass for contradictions."""
VARIABLES: dict[str, tuple[str, str]] = {
    "measured": ("1", "share of the detail that the sensor measured"),
    "inferred": ("reflectance", "root mean square of the detail that the sensor observes nothing of"),
    "contradiction": ("reflectance", "low - result observed again"),
    "possible_hallucination": ("1", "contradiction and unusual detail, in standard deviations"),
}
"""Variables of `support`: unit and meaning."""
Described: TypeAlias = tuple[tuple[BandOptics, ...], dict[str, Any]]
"""How each band is observed, and the attributes that say so."""


def support(
    fine: XarrayObject,
    low: XarrayObject,
    *,
    mtf: "Mtf | Mapping[str, Mtf] | None" = None,
    psf: "PsfLike | Mapping[str, PsfLike] | None" = None,
    source_mtf: "Mtf | Mapping[str, Mtf] | None" = None,
    sensor: str | None = None,
    noise: float | Mapping[str, float] = kernels.NOISE,
    bands: BandsLike | None = None,
    units: str | float | None = None,
    chunks: int | Sequence[int] | None = None,
) -> xr.Dataset:
    """Say which share of a result's detail was measured, and where it may be hallucinated.

    Parameters
    ----------
    fine
        Result: DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x).
    low
        The image that it was made from: same top-left corner, larger pixels by any factor, the same along both axes.
    mtf
        Modulation transfer of the sensor of ``low`` at its Nyquist frequency; see `xsr.degrade`. By default, where none
        of ``mtf``, ``psf``, ``source_mtf`` and ``sensor`` is given, the sensor is that of the model that made the
        result, by its attributes ``xsr_model`` and ``xsr_psf``; without a model, that of `xsr.degrade`.
    psf, source_mtf, sensor
        Point spread function of the sensor of ``low``, and the table that names its MTF; see `xsr.degrade`.
    noise
        Standard deviation of the noise of ``low`` in reflectance, one number or by band.
    bands
        Bands to judge; all of ``fine`` by default. See `xsr.evaluate`.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.
    chunks
        Output block in pixels of ``low``, one number or (y, x); by default what the blocks of ``fine`` become. No
        number depends on it.

    Returns
    -------
    Dataset
        Float32 on the pixels of ``low`` that lie inside ``fine``, dims (time, band, y, x); lazy if a cube is.
        ``measured`` is a share from 0 to 1, ``inferred`` and ``contradiction`` are reflectance, and
        ``possible_hallucination`` counts standard deviations, about 1 where nothing is unusual. NaN where ``low`` is no
        data, or valid pixels of ``fine`` carry less than 99 % of the sensor's weight. Attributes state the sensor.

    Raises
    ------
    GridError
        If the CRS or the corner differ, or the pixels of ``low`` are not larger by one factor.
    CubeError, BandError
        If a cube breaks the contract, or dates or bands do not match.
    ModelError
        If the result names a model that is not known, or whose card does not state how its sensor observes the result.
    ParameterError
        If an argument is out of range, or a band has no MTF.

    Notes
    -----
    With A the sensor (blur by the MTF of each band, and sampling), A+ its pseudo-inverse and d = fine - bicubic(low),
    the detail ``A+ A d`` is what the sensor measures, and the rest is inferred: any image ``fine + d - A+ A d`` gives
    the same ``low``. ``measured`` is the energy of the first over that of both, in a Gaussian window of half a pixel of
    ``low``; 1 where there is no detail. ``contradiction`` is ``low - A fine``: positive where the result is too dark.

    ``possible_hallucination`` is the root of the sum of two squares: the contradiction over ``sqrt(noise² + (0.2
    contrast)²)``, with the standard deviation of ``low`` over about a pixel as contrast, and by how much inferred
    detail exceeds what is usual at that contrast in the surroundings, over half of the usual. What leaves no trace in
    ``low`` and is no stronger than other inferred detail cannot be found: both images explain ``low`` equally well.
    Results of `xsr.sharpen`, on the grid of their input, have no larger pixels to be compared with.

    References
    ----------
    S. Bhadra et al., IEEE Transactions on Medical Imaging 40 (2021), doi:10.1109/TMI.2021.3077857 (measured and null
    components).

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(32, 32))
    >>> fine = cube.sr.liif(scale=2)
    >>> found = fine.sr.support(cube)
    >>> dict(found.sizes)
    {'time': 1, 'band': 4, 'y': 32, 'x': 32}
    >>> bool(found.measured.mean() > 0.5)
    True
    >>> kept = fine.sr.support(cube).possible_hallucination < 5  # where to trust the result
    """
    cube = open_cube(fine, units=units, bands=fitting(bands, fine), shared=True)
    coarse = open_low(low, cube, units=units, bands=bands)
    scale, given = _one_scale(coarse), (mtf, psf, source_mtf, sensor)
    card = _card(cube) if all(value is None for value in given) else None
    if card is None:
        image, stated = coarse.cube, Optics(cube.sensor(sensor), mtf, "gaussian" if psf is None else psf, source_mtf)
        optics, record = _observed_by(stated, cube, image, scale)
    else:
        image = smooth_repeats(coarse.cube, card.coarser)
        optics, record = _observed_by_model(card, cube, image, scale)
    noises = tuple(checks.positive("noise", by_band(noise, name, "noise")) for name in cube.bands)
    blocks = pipeline.resolve_chunks(None) if cube.data.chunks is None else cube.data.chunks[2:]
    observation = Observation(image.towards(cube.geobox), cube.geobox, scale, blocks)
    if min(observation.shape) < 1:
        height, width = cube.geobox.shape.yx
        raise GridError(
            f"fine= has {height} x {width} pixels, less than one of low= each way; expected at least one whole. Pass a"
            " larger part of the result."
        )
    values = _judged(cube.data.data, observation, optics, noises, chunks)
    return _dataset(values, image, observation, {**record, "noise": list(noises)})


def _one_scale(low: Low) -> float:
    """Low over high pixel size."""
    down, across = low.scale
    if not math.isclose(down, across, rel_tol=1e-6) or down < 1 + grid.EDGE:
        raise GridError(
            f"low= has pixels {down:g} times those of fine= down and {across:g} times across; expected one factor above"
            " 1. Pass the image that the result was made from."
        )
    return down


def _observed_by(given: Optics, cube: Cube, low: Cube, scale: float) -> Described:
    """How a sensor that is given, or that of a table, observes each band of a result."""
    names, low_m = cube.spelled(given.sensor), cube.pixel_m[0] * scale
    own = [a if math.isfinite(a) else b for a, b in zip(low.native_gsd, cube.native_gsd, strict=True)]
    sizes: dict[str, Any] = {"scale": (scale, scale), "pixel": grid.resolution(cube.geobox), "low_m": low_m}
    found = [given.low_sensor(name, **sizes, native_m=size) for name, size in zip(names, own, strict=True)]
    return tuple(BandOptics(one.stages(0), one.stages(1)) for one in found), given.record(names)


def _observed_by_model(card: ModelCard, cube: Cube, low: Cube, scale: float) -> Described:
    """How the sensor of a model observes each band of its result, of the sharpness that the result states."""
    unknown = [name for name in cube.canonical if name not in card.bands]
    if unknown:
        raise BandError(
            f"model {card.name!r} makes no band(s) {unknown}; expected some of {list(card.bands)}. Select those with"
            " bands=, or pass the MTF of each band, mtf=."
        )
    picks = tuple(card.bands.index(name) for name in cube.canonical)
    gains = gains_of(_sharpness(cube.original.attrs.get(f"{PREFIX}psf")), card, cube.canonical)
    optics = optics_of(card, picks, coarser_bands(low, card, picks), gains, scale)
    return optics, {"sensor": card.sensor, "model": card.name, "mtf": [card.mtf[pick] for pick in picks]}


def _card(cube: Cube) -> ModelCard | None:
    """Card of the model that made a result; None if the result names none."""
    attrs = cube.original.attrs
    if f"{PREFIX}model" not in attrs:
        return None
    name, sha256 = str(attrs[f"{PREFIX}model"]), attrs.get(f"{PREFIX}weights_sha256")
    try:
        card = registry.card(name)
    except ModelError as error:
        raise ModelError(f"the result was made by model {name!r}, which is not known by name. {REMEDY}") from error
    if sha256 not in (None, card.sha256):
        raise ModelError(f"the result was made by other weights than those of model {name!r} that are here. {REMEDY}")
    if card.sharpness is None or not card.mtf:
        raise ModelError(
            f"model {name!r} does not state the sharpness of its result and the MTF of its sensor; expected both. Pass"
            " the MTF of the sensor, mtf=."
        )
    return card


REMEDY = "Pass the MTF of its sensor, mtf=, or register its weights with xsr.models.register_weights."
"""What to do where the model of a result is not known."""


def _sharpness(stated: Any) -> Sharpness | None:
    """Sharpness of a result, as its attribute says; see `xsr.operations.super_resolve.sharpness.record`."""
    if stated is None or checks.is_number(stated):
        return None if stated is None else float(stated)
    words = [stated] if isinstance(stated, str) else [str(word) for word in stated]
    if words[0] in SHARPNESS:
        return words[0]  # type: ignore[return-value]
    return {name: float(value) for name, value in (word.rsplit(" ", 1) for word in words)}


def _judged(
    fine: Any,
    observation: Observation,
    bands: tuple[BandOptics, ...],
    noise: tuple[float, ...],
    chunks: int | Sequence[int] | None,
) -> Any:
    """Variables of `VARIABLES`, one after another along the axis of bands: array (time, variable * band, y, x)."""
    height, width = observation.shape
    low = observation.cube.data.data[:, :, :height, :width]
    up = Refinement(observation.geobox.shape.yx, (1 / observation.scale, 1 / observation.scale))
    detail = fine - pipeline.values(observation.cube, Interpolation("bicubic"), up, chunks=observation.chunks)
    measured = observation.correct(observation.observe(detail, bands), bands)
    energies = np.square(np.concatenate([measured, detail - measured], axis=1))
    window = (kernels.window_optics(observation.scale),) * (2 * len(bands))
    sources = [low, low - observation.observe(fine, bands, min_valid=VALID), observation.observe(energies, window)]
    stack = np.concatenate(sources, axis=1)
    sizes = [math.ceil(pipeline.CHUNK / observation.scale)] * 2 if chunks is None else chunks
    cube = replace(observation.cube, data=xr.DataArray(stack, dims=observation.cube.data.dims))
    return pipeline.values(
        cube, Judgement(noise), Refinement((height, width), (1.0, 1.0)), chunks=pipeline.resolve_chunks(sizes)
    )


@dataclass(frozen=True)
class Judgement:
    """Block function: from low-resolution images, residuals and energies of detail to the variables of `support`."""

    noise: tuple[float, ...]
    """Standard deviation of each band."""
    padding: Padding = "reflect"
    halo: int = kernels.HALO

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate a block; see `xsr.core.types.WindowFunction`."""
        here = (..., slice(round(rows[0]), round(rows[-1]) + 1), slice(round(cols[0]), round(cols[-1]) + 1))
        low, residual, measured, inferred = np.split(window, 4, axis=1)
        scores = [
            kernels.hallucination(residual[:, n], inferred[:, n], low[:, n], noise=sigma)
            for n, sigma in enumerate(self.noise)
        ]
        variables = [kernels.measured_share(measured, inferred), np.sqrt(inferred), residual, np.stack(scores, axis=1)]
        known = np.isfinite(residual[here])
        return np.concatenate([np.where(known, one[here], np.float32(np.nan)) for one in variables], axis=1)


def _dataset(values: Any, low: Cube, observation: Observation, record: Mapping[str, Any]) -> xr.Dataset:
    """Dress the variables on the pixels of the low-resolution cube that were judged."""
    geobox = low.geobox[: observation.shape[0], : observation.shape[1]]
    shell, count = replace(low.without_corner(), original=low.data, layers=()), len(low.bands)
    variables = {}
    for number, (name, (unit, meaning)) in enumerate(VARIABLES.items()):
        part = shell.rewrap(values[:, number * count : (number + 1) * count], geobox, {})
        assert isinstance(part, xr.DataArray)
        variables[name] = part.rename(name).assign_attrs({"units": unit, "long_name": meaning})
    return xr.Dataset(variables, attrs={**made_by("support", scale=observation.scale), **record})
