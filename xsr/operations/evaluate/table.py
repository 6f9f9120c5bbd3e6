"""The table of metrics and a cube: which can be computed, with which sensor, and how their values are labelled."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from xsr.core import checks
from xsr.core.cube import Cube
from xsr.core.grid import resolution
from xsr.core.match import Low
from xsr.core.provenance import made_by
from xsr.kernels.fidelity import LowSensor
from xsr.kernels.metrics import METRICS, known_metrics
from xsr.kernels.optics import Optics
from xsr.kernels.terms import Metric, Need, Sheet, Terms

LACKING: Mapping[Need, str] = {
    "low": "low=",
    "reference": "a reference",
    "base": "base= or low=",
    "data_range": "data_range=",
    "scale": "scale= or low=",
    "sensor": "scale= or low=",
}
"""What a metric needs that may not be given, as messages name it."""


def choose_metrics(
    metrics: str | Iterable[str] | None, given: Collection[Need], *, lacking: Mapping[Need, str] = LACKING
) -> tuple[Metric, ...]:
    """Metrics by name, or without names all of the library that the arguments allow.

    Raises
    ------
    ParameterError
        If a name is unknown, or a metric lacks an argument.
    """
    table = METRICS if metrics is None else known_metrics()
    missing = {
        name: next((what for need, what in lacking.items() if need in metric.requires and need not in given), "")
        for name, metric in table.items()
    }
    return tuple(table[name] for name in checks.choose("metrics", metrics, missing))


def sheet_of(metrics: tuple[Metric, ...], first: Terms, *, data_range: float | None, scale: float | None) -> Sheet:
    """Metrics with their settings; ``first`` are the terms whose pixels are counted."""
    peak = 1.0 if data_range is None else checks.positive("data_range", data_range)
    return Sheet(metrics, first, peak, scale or 1.0)


def check_scale(scale: float | None) -> float | None:
    """Refuse a factor below 1."""
    what = "low over high pixel size, at least 1"
    return None if scale is None else checks.within("scale", scale, low=1, what=what)


def sensors_of(
    cube: Cube, low: Low | None, optics: Optics, *, scale: tuple[float, float], unknown: Sequence[str] = ()
) -> tuple[LowSensor | None, ...]:
    """How each band is observed at low resolution; None for those of ``unknown`` MTF."""
    own = cube.native_gsd if low is None else low.cube.native_gsd
    native = [a if math.isfinite(a) else b for a, b in zip(own, cube.native_gsd, strict=True)]
    low_m, pixel = cube.pixel_m[0] * scale[0], resolution(cube.geobox)
    return tuple(
        None if name in unknown else optics.low_sensor(name, scale=scale, pixel=pixel, low_m=low_m, native_m=size)
        for name, size in zip(cube.spelled(optics.sensor), native, strict=True)
    )


def variables_of(sheet: Sheet, values: Any, dims: tuple[str, ...], *, joined: Sequence[bool]) -> dict[str, Any]:
    """Variables of the metrics.

    Parameters
    ----------
    sheet
        The metrics.
    values
        Array (time, metric, band, ...); metrics may be followed by other numbers.
    dims
        Dimensions of a metric, ``time`` and ``band`` first.
    joined
        For each metric, whether its values are those of all bands together; such have no dimension ``band``.
    """
    variables: dict[str, Any] = {}
    for index, (metric, together) in enumerate(zip(sheet.metrics, joined, strict=True)):
        data, attrs = values[:, index], {"units": metric.unit, "long_name": metric.long_name}
        kept = (dims[0], *dims[2:]) if together else dims
        variables[metric.name] = (kept, data[:, 0] if together else data, attrs)
    return variables


def settings_of(sheet: Sheet, operation: str, border: int) -> dict[str, Any]:
    """Attributes that say how scores were made."""
    settings: dict[str, Any] = {**made_by(operation), "border_px": border}
    if sheet.requires("data_range"):
        settings["data_range"] = sheet.data_range
    if sheet.requires("scale", "low", "sensor"):
        settings["scale"] = sheet.scale
    return settings
