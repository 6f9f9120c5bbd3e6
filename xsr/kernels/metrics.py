"""The table of metrics: for each its unit, its meaning, the numbers of a pixel that it is made of, and its formula.

A metric of the library is one row here; one from outside is a row too, see `register_metric`.

References
----------
L. Wald, "Quality of high resolution synthesised images: is there a simple criterion?", Fusion of Earth Data (2000).
"""

from collections.abc import Mapping
from operator import itemgetter
from typing import get_args

import numpy as np

from xsr.core import extensions
from xsr.core.blocks import Span
from xsr.core.errors import ParameterError
from xsr.kernels.fidelity import gaussian_sensor
from xsr.kernels.pixels import ABSOLUTE, COUNT, SQUARED, Sums, angle_map, error_sums
from xsr.kernels.similarity import (
    CORRELATION,
    LAPLACIAN_RADIUS,
    QUALITY,
    SIMILARITY,
    SSIM_RADIUS,
    UQI_SIZE,
    gaussian_window,
    laplacian,
    uniform_window,
    window_map,
)
from xsr.kernels.terms import Floats, Means, Metric, Need, Pixels, Terms

_HALF, _REST = UQI_SIZE // 2, UQI_SIZE // 2 - 1
"""Pixels before and after a pixel in its window of even size: it is the one right of and below the middle."""


# --- numbers of a pixel ------------------------------------------------------------------------------------


def _errors(pixels: Pixels) -> list[Floats]:
    reference = pixels.reference.astype(np.float64)
    error = pixels.image - reference
    return [error, np.abs(error), error**2, reference]


def _error_sums(pixels: Pixels) -> Sums:
    found: Sums = error_sums(pixels.image[None], pixels.reference[None])[0]
    return found


def _ssim(pixels: Pixels) -> list[Floats]:
    image, reference = (x[None] for x in pixels.around(SSIM_RADIUS, SSIM_RADIUS))
    window = gaussian_window()
    return [*window_map(image, reference, window=window, kind=SIMILARITY, data_range=pixels.data_range)]


def _uqi(pixels: Pixels) -> list[Floats]:
    image, reference = (x[None] for x in pixels.around(_HALF, _REST))
    return [*window_map(image, reference, window=uniform_window(), kind=QUALITY)]


def _scc(pixels: Pixels) -> list[Floats]:
    pair = pixels.around(_HALF + LAPLACIAN_RADIUS, _REST + LAPLACIAN_RADIUS)
    image, reference = (laplacian(x[None]) for x in pair)
    return [*window_map(image, reference, window=uniform_window(), kind=CORRELATION)]


def _angle(pixels: Pixels) -> list[Floats]:
    return [angle_map(pixels.image, pixels.reference)]


def _added(pixels: Pixels) -> list[Floats]:
    """Detail that was added to an image, and that which it lacked."""
    base = pixels.base.astype(np.float64)
    added, missing = pixels.image - base, pixels.reference - base
    return [added, missing, added**2, missing**2, added * missing]


def _low(pixels: Pixels) -> list[Floats]:
    error = pixels.degraded().astype(np.float64) - pixels.low
    return [np.abs(error), error**2]


def _high(pixels: Pixels) -> list[Floats]:
    """High-pass error: the high-pass is linear, so that of the error is the difference of the two."""
    error = np.abs(pixels.detail("error"))
    return [error, np.square(error, dtype=np.float64)]


def _high_sums(pixels: Pixels) -> Sums:
    detail = pixels.detail("error")[None]
    found: Sums = error_sums(detail, np.zeros_like(detail))[0, [COUNT, ABSOLUTE, SQUARED]]
    return found


ERRORS = Terms(("error", "absolute", "squared", "reference"), _errors, sums=_error_sums, infinities=True)
"""With the error e = image - reference: e, |e|, e² and the reference."""
SSIM = Terms(("index",), _ssim, needs={"reference", "data_range"}, reach=(SSIM_RADIUS, SSIM_RADIUS))
UQI = Terms(("index",), _uqi, reach=(_HALF, _REST))
SCC = Terms(("index",), _scc, reach=(_HALF + LAPLACIAN_RADIUS, _REST + LAPLACIAN_RADIUS))
ANGLE = Terms(("angle",), _angle, spectrum=True, infinities=True)
ADDED = Terms(("added", "missing", "added_squared", "missing_squared", "product"), _added, needs={"reference", "base"})
"""With d = image - base and e = reference - base: d, e, d², e² and d e."""
LOW = Terms(("absolute", "squared"), _low, needs={"low", "sensor"})
HIGH = Terms(("absolute", "squared"), _high, needs={"reference", "sensor"}, sums=_high_sums)


# --- formulas ----------------------------------------------------------------------------------------------


def _root(means: Means) -> Sums:
    return np.asarray(np.sqrt(means["squared"]), np.float64)


def _psnr(means: Means) -> Sums:
    return np.asarray(20 * np.log10(means.data_range / _root(means)), np.float64)


def _degrees(means: Means) -> Sums:
    return np.asarray(np.degrees(means["angle"]), np.float64)


def _ergas(means: Means) -> Sums:
    relative = _root(means) / means["reference"]
    return np.asarray(100 / means.scale * np.sqrt(np.mean(relative**2, axis=0)), np.float64)


def _detail_gain(means: Means) -> Sums:
    return np.asarray(means["product"] / means["added_squared"], np.float64)


def _detail_correlation(means: Means) -> Sums:
    covariance = means["product"] - means["added"] * means["missing"]
    return np.asarray(covariance / np.sqrt(_variance(means, "added") * _variance(means, "missing")), np.float64)


ROUNDING = 1e-12
"""Share of the mean square up to which a variance is that of rounding."""


def _variance(means: Means, column: str) -> Sums:
    """Variance of a column whose square is another; NaN where it is that of rounding."""
    power = means[f"{column}_squared"]
    variance = power - means[column] ** 2
    return np.asarray(np.where(variance > ROUNDING * power, variance, np.nan), np.float64)


# --- table -------------------------------------------------------------------------------------------------

_TABLE = (
    Metric("mae", "reflectance", "mean absolute error", ERRORS, itemgetter("absolute")),
    Metric("rmse", "reflectance", "root mean square error", ERRORS, _root),
    Metric("bias", "reflectance", "mean of image minus reference", ERRORS, itemgetter("error")),
    Metric("psnr", "dB", "peak signal-to-noise ratio", ERRORS, _psnr, needs={"data_range"}),
    Metric("ssim", "1", "structural similarity", SSIM, itemgetter("index")),
    Metric("uqi", "1", "universal image quality index", UQI, itemgetter("index")),
    Metric("scc", "1", "spatial correlation coefficient", SCC, itemgetter("index")),
    Metric("sam", "degree", "spectral angle", ANGLE, _degrees),
    Metric(
        "detail_gain", "1", "gain that fits the added detail best to the missing one, 1 is right", ADDED, _detail_gain
    ),
    Metric(
        "detail_correlation", "1", "correlation of the added detail with the missing one", ADDED, _detail_correlation
    ),
    Metric("ergas", "1", "relative global error of synthesis", ERRORS, _ergas, needs={"scale"}, over_bands=True),
    Metric(
        "low_fidelity",
        "reflectance",
        "mean |low - D(image)|, D the band's point spread function and decimation",
        LOW,
        itemgetter("absolute"),
    ),
    Metric("low_fidelity_rmse", "reflectance", "root mean square of low - D(image)", LOW, _root),
    Metric(
        "high_fidelity",
        "reflectance",
        "mean |HP(reference) - HP(image)|, HP(x) = x - up(D(x))",
        HIGH,
        itemgetter("absolute"),
    ),
    Metric("high_fidelity_rmse", "reflectance", "root mean square of HP(reference) - HP(image)", HIGH, _root),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _TABLE}
"""Metrics of the library by name."""
_registered: dict[str, Metric] = {}


def known_metrics() -> dict[str, Metric]:
    """Metrics by name: those of the library, then those that were registered."""
    extensions.load()
    return {**METRICS, **_registered}


# --- from outside ------------------------------------------------------------------------------------------

RESERVED = ("count", "share", "edge_low", "edge_high", "time", "band", "stratum")
"""Names that results have beside those of metrics."""


def register_metric(metric: Metric, *, overwrite: bool = False) -> None:
    """Add a metric, so that `xsr.evaluate` and `xsr.strata` compute it where ``metrics=`` names it.

    Its functions are tried on a few pixels first. They travel with the tasks: nothing needs to be registered in other
    processes or on the workers of a cluster.

    Parameters
    ----------
    metric
        Name, unit, terms and formula; see `xsr.Metric` and `xsr.Terms`.
    overwrite
        Replace a metric of the same name that was registered before.

    Raises
    ------
    ParameterError
        If the name is that of a different metric or no name of a variable, something it needs is not known, it has no
        formula, its terms are not as many as its columns or not of the shape of the pixels, or its formula does not
        give one number a band.

    Notes
    -----
    Without ``metrics=`` those of the library are computed alone: registering one changes no other results.

    Examples
    --------
    The mean ratio of image and reference:

    >>> from xsr.kernels.metrics import METRICS, known_metrics
    >>> ratio = Terms(("ratio",), lambda pixels: [pixels.image / pixels.reference])
    >>> register_metric(Metric("gain", "1", "mean ratio to the reference", ratio, lambda means: means["ratio"]))
    >>> "gain" in known_metrics(), "gain" in METRICS
    (True, False)
    """
    name = metric.name
    if not str(name).isidentifier() or name in RESERVED:
        raise ParameterError(
            f"a metric cannot have the name {name!r}; expected letters, digits and underscores, and none of"
            f" {', '.join(RESERVED)}."
        )
    if name in METRICS or (_registered.get(name, metric) != metric and not overwrite):
        remedy = "Choose another." if name in METRICS else "Choose another, or pass overwrite=True to replace it."
        raise ParameterError(f"metric {name!r} exists already; expected a new name. {remedy}")
    _check(metric)
    _registered[name] = metric


def _check(metric: Metric) -> None:
    """Try a metric on a few pixels."""
    unknown = sorted(metric.requires - set(get_args(Need)))
    if unknown:
        raise ParameterError(f"metric {metric.name!r} needs {unknown}; expected some of {', '.join(get_args(Need))}.")
    if metric.terms.spectrum and "sensor" in metric.terms.needs:
        raise ParameterError(
            f"metric {metric.name!r} has spectrum=True and needs the sensor, which differs between bands; expected"
            " one of the two."
        )
    for what, function in (("formula", metric.formula), ("function of the pixels", metric.terms.maps)):
        if not callable(function):
            raise ParameterError(f"metric {metric.name!r} has no {what} but {function!r}; expected a function.")
    pixels = _few_pixels(metric.terms)
    with np.errstate(all="ignore"):
        _check_maps(metric, pixels)
        sums = np.broadcast_to(metric.terms.add_up(pixels), (2, 3, metric.terms.width))
        found = np.shape(metric.formula(Means(metric.terms.columns, sums, data_range=1.0, scale=2.0)))
    expected = (3,) if metric.over_bands else (2, 3)
    if found != expected:
        raise ParameterError(
            f"the formula of metric {metric.name!r} makes shape {found} of means of shape (2, 3), two bands first;"
            f" expected {expected}. over_bands= says whether it joins the bands."
        )


def _check_maps(metric: Metric, pixels: Pixels) -> None:
    """Refuse terms that are not as many as their columns, or not of the shape of the pixels."""
    columns, maps = metric.terms.columns, metric.terms.maps(pixels)
    if len(maps) != len(columns) or not columns:
        raise ParameterError(
            f"metric {metric.name!r} names {len(columns)} columns ({', '.join(columns)}), and its terms are"
            f" {len(maps)}; expected one array for each column."
        )
    expected = np.shape(pixels.low if "low" in metric.terms.needs else pixels.image)[-2:]
    shapes = {np.shape(values) for values in maps}
    if shapes != {expected}:
        raise ParameterError(
            f"the terms of metric {metric.name!r} have shapes {sorted(shapes)} for pixels of shape {expected}; expected"
            " one number for each pixel."
        )
    found = metric.terms.add_up(pixels).shape
    if found != (metric.terms.width,):
        raise ParameterError(
            f"sums= of metric {metric.name!r} returns shape {found}; expected ({metric.terms.width},), the count first."
        )


def _few_pixels(terms: Terms) -> Pixels:
    """Pixels to try terms on, without what the terms do not state to need."""
    sensor = gaussian_sensor(0.3, (2.0, 2.0)) if "sensor" in terms.needs else None
    halo = max(*terms.reach, 0 if sensor is None else sensor.halo)
    rows, cols = Span(0, 4), Span(0, 6)
    image, reference, base = np.random.default_rng(0).random((3, 2, 4 + 2 * halo, 6 + 2 * halo), dtype=np.float32)
    low = np.full((2, 2, 3), np.float32(0.5)) if "low" in terms.needs else None
    truth = reference if "reference" in terms.needs else None
    base = base if "base" in terms.needs else None
    pixels = Pixels(rows, cols, image, truth, halo, low, (Span(0, 2), Span(0, 3)), scale=2.0, wide_base=base)
    return pixels if terms.spectrum else pixels.band(0, sensor)
