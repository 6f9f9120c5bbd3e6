"""Which pixels, bands and dates of its input a super-resolved place depends on."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import checks, graph, grid, pipeline
from xsr.core.blocks import Span, Window, padded_index
from xsr.core.cube import Cube
from xsr.core.errors import CubeError, ModelError, ParameterError
from xsr.core.names import BandsLike
from xsr.core.provenance import SCALE
from xsr.core.types import Stack, XarrayObject
from xsr.kernels import attribution
from xsr.models import foreign, registry
from xsr.models.card import ModelCard
from xsr.operations.super_resolve import fixed
from xsr.operations.super_resolve.continuous import DEFAULT, DEFAULT_AT, prepare
from xsr.operations.super_resolve.derivatives import Floats, Queries, Step, contributions
from xsr.operations.super_resolve.networks import Network, provenance, warn_of_scale

STEPS = 50
"""Default number of steps of the path."""
SIDE = 15
"""Default side of the patch that is explained, in output pixels."""


def explain(
    cube: XarrayObject,
    *,
    x: float,
    y: float,
    crs: str | int | None = None,
    scale: float | None = None,
    t: Any = None,
    frames: int = 5,
    extrapolate: float | None = None,
    fill: bool = True,
    window: int = SIDE,
    bands: BandsLike | None = None,
    steps: int = STEPS,
    model: str | Path | None = None,
    units: str | float | None = None,
    device: str = "auto",
) -> xr.Dataset:
    """Attribute the detail around one place of a super-resolved cube to the input: its pixels, bands and dates.

    Parameters
    ----------
    cube
        As in `liif`, or as in `sisr` with a fixed-scale ``model``. Without ``t`` it has one date.
    x, y
        Map coordinates of the place.
    crs
        CRS of ``x`` and ``y``, "EPSG:4326" for longitude and latitude; by default that of the cube.
    scale
        Linear factor of the result; left out with a fixed-scale model.
    t
        One target time, made from the dates around it; see `liif`. Needs a cube of several dates.
    frames, extrapolate, fill
        With ``t``, as in `liif`.
    window
        Side of the patch around the place whose detail is explained, in output pixels, odd.
    bands
        Bands of the result whose detail is explained, in any spelling; all by default. The network reads all bands
        in either case.
    steps
        Steps of the path along which the network is differentiated.
    model, units, device
        As in `liif`.

    Returns
    -------
    Dataset
        In memory, on the pixels of the cube that the patch depends on:

        ``attribution`` ([time,] band, y, x), in units of the cube: how much of the patch's detail came from a pixel of
        a band of a date; negative where the pixel takes detail away.
        ``share`` ([time,] band): its magnitude, summed over the pixels, of the sum over all.
        ``diffusion_index`` ([time,] band): how widely it spreads over these pixels, from 0, one pixel, to 100, all
        alike; NaN where nothing depends on a band.

        Attributes: ``xsr_detail`` of the patch, ``xsr_detail_blurred`` at the beginning of the path,
        ``xsr_completeness_error``, the model with its checksum, and the settings.

    Raises
    ------
    ParameterError
        If the place lies outside the cube or too near its border for the window, the window is even or larger than
        the result, or an argument is out of range or does not fit the model.
    CubeError, GridError
        If the cube breaks the contract, has several dates without ``t`` or one with it, or no data at the place.
    BandError
        If the model needs a band that the cube lacks, or ``bands`` names one that it lacks.
    ModelError
        If there is no such model, or it cannot be differentiated.

    Notes
    -----
    Read and computed at once, but only the pixels that the patch depends on are read. Bands of larger pixels are not
    sharpened before: what is explained is the network on the cube as it is, ``sharpen=False`` of `liif`.

    The detail of a patch is ``D = sum sqrt(Dx^2 + Dy^2)`` over its pixels and bands, with central differences of the
    result. Integrated gradients (Sundararajan et al. 2017) attribute it along the path ``g(a)``, the input blurred by a
    Gaussian of ``1.2 (1 - a)`` pixels: ``attribution = integral dD/dg dg/da da``, as local attribution maps do (Gu &
    Dong 2021), here with dates and bands. It is complete: its sum is the detail of the result less that from the
    blurred input. ``xsr_completeness_error`` is by how much it is not, of that difference, and falls with more steps.

    The network is differentiated in reverse, in float32. Which band and date something came from is exact for every
    model. So is the pixel where a network reads the bands themselves; a model that reads dates is fed estimates from
    the pixels around, and a contribution counts at the pixel of the estimate. A pixel without data is filled as `liif`
    fills it, and counts where it lies.

    References
    ----------
    J. Gu, C. Dong, CVPR 2021, doi:10.1109/CVPR46437.2021.00908, arXiv:2011.11036.
    M. Sundararajan, A. Taly, Q. Yan, ICML 2017, arXiv:1703.01365.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(48, 48))
    >>> x, y = cube.x.values[24], cube.y.values[20]
    >>> origin = cube.sr.explain(x=x, y=y, scale=2, window=5, steps=10)  # or xsr.explain(cube, ...)
    >>> dict(origin.attribution.sizes)
    {'time': 1, 'band': 4, 'y': 46, 'x': 48}
    >>> origin.share.sum().round(6).item(), origin.attrs["xsr_completeness_error"] < 0.01
    (1.0, True)
    """
    side, count = _odd(window), checks.whole("steps", steps, least=2)
    moments = None if t is None else pipeline.Moments(t, None, most=frames, extrapolate=extrapolate)
    request = _request(cube, model, scale, moments, units, device, frames, fill)
    chosen = _chosen(request.cube, bands)
    place = _place(request.cube, x, y, crs)
    patch = _patch(request, place, side)
    path = Blurring(_read(request, patch), len(request.cube.bands))
    found, details = _integrate(patch, path, chosen, count)
    return _dataset(request, patch, found, details, {"window": side, "steps": count})


@dataclass(frozen=True)
class Request:
    """Checked arguments."""

    cube: Cube
    card: ModelCard
    function: Network
    """Computes one image from the dates."""
    scale: float
    dates: tuple[int, ...] = (0,)
    """Of the cube, in the order that the function expects."""
    beside: Any = None
    """What the function reads beside the bands; see `xsr.operations.super_resolve.continuous.Request`."""


@dataclass(frozen=True)
class Patch:
    """A patch of the result with the gradients' ring, and the input that it depends on."""

    function: Network
    queries: Queries
    window: Window

    def result(self, window: Stack) -> Floats:
        """Compute the result (band, H, W) from a window (date, band, h, w)."""
        out = self.function(window, self.queries.rows, self.queries.cols, self.queries.cell)
        return np.asarray(out[0], np.float64)


@dataclass(frozen=True)
class Blurring:
    """Path from a blurred window (date, band, h, w) to the window; further bands stay as they are."""

    window: Stack
    bands: int

    def at(self, place: float) -> Stack:
        """Window at a place of the path, from 0, blurred, to 1."""
        out = self.window.copy()
        out[:, : self.bands] = attribution.blurred(self.window[:, : self.bands], attribution.SIGMA_PX * (1 - place))
        return out

    def steps(self, count: int) -> Iterator[Step]:
        """Equal steps along the path."""
        after = self.at(0.0)
        for number in range(count):
            before, after = after, self.at((number + 1) / count)
            yield Step(before, self.at((number + 0.5) / count), after)


def _odd(window: Any) -> int:
    """Check the side of a patch."""
    side = checks.whole("window", window, least=1)
    if side % 2 == 0:
        raise ParameterError(f"window={side}; expected an odd number of output pixels, such as {side + 1}.")
    return side


def _request(
    cube: XarrayObject,
    model: str | Path | None,
    scale: float | None,
    moments: pipeline.Moments | None,
    units: str | float | None,
    device: str,
    frames: int,
    fill: bool,
) -> Request:
    """Check what names a result, and find the function that computes it."""
    name = (DEFAULT if moments is None else DEFAULT_AT) if model is None else model
    card = registry.card(name)
    if card.factor is not None:
        return _fixed(cube, card, name, scale, moments, units, device)
    if scale is None:
        raise ParameterError(
            f"no scale is given, and model {card.name!r} has any; expected a number >= 1. Pass scale=."
        )
    timed = moments or pipeline.Moments(None)
    if moments is not None and registry.record_of(card).kind == "continuous" and card.reads != "dates":
        raise ModelError(f"model {card.name!r} computes each date by itself; leave t out, or choose {DEFAULT_AT}.")
    request = prepare(cube, name, None, units, device, "float32", timed, frames, fill)
    scale = grid.positive_number("scale", scale)
    warn_of_scale(scale, card)
    count = request.cube.data.sizes["time"]
    if request.at is None:
        _check_one_date(count)
        return Request(request.cube, card, request.function, scale)
    if count == 1:
        raise CubeError(
            "t= with a cube of one date; expected several dates around it. Leave t out, or pass the series."
        )
    timed, make = request.at
    targets, groups = timed.resolve(request.cube)
    if len(targets) != 1:
        raise ParameterError(f"t= names {len(targets)} times; expected one. Explain them one after the other.")
    function = make(groups[0].target_times)
    assert isinstance(function, Network)
    return Request(request.cube, card, function, scale, groups[0].dates, request.beside)


def _fixed(
    cube: XarrayObject,
    card: ModelCard,
    model: str | Path,
    scale: float | None,
    moments: pipeline.Moments | None,
    units: str | float | None,
    device: str,
) -> Request:
    """Check what names a result of a fixed-scale network."""
    assert card.factor is not None
    if moments is not None:
        raise ModelError(f"model {card.name!r} computes each date by itself; leave t out, or choose {DEFAULT_AT}.")
    if scale is not None and checks.positive("scale", scale) != card.factor:
        raise ParameterError(
            f"scale={scale!r}; model {card.name!r} has the factor {card.factor} alone. Leave scale out."
        )
    if card.reads != "bands" or foreign.is_foreign(card):
        what = "is an ONNX network" if foreign.is_foreign(card) else "sharpens bands on their grid"
        raise ModelError(f"model {card.name!r} {what}; expected one that liif or sisr run with torch. Choose another.")
    registry.check_device(device)
    checked, picks = fixed.checked_for(cube, card, None, units)
    _check_one_date(checked.data.sizes["time"])
    function = fixed.function_of(card, registry.spec(model), picks, device, "float32")
    return Request(checked, card, function, float(card.factor))


def _check_one_date(count: int) -> None:
    """Refuse a series whose dates are computed one by one."""
    if count != 1:
        raise CubeError(
            f"the cube has {count} dates; expected one, or t=. Select one, .isel(time=[0]), or name a target time."
        )


def _chosen(cube: Cube, bands: Any) -> list[int]:
    """Bands whose detail is explained."""
    if bands is None:
        return list(range(len(cube.bands)))
    return [cube.bands.index(band) for band in cube.select(checks.names("bands", bands)).bands]


def _place(cube: Cube, x: Any, y: Any, crs: str | int | None) -> tuple[float, float]:
    """Position (row, column) in pixels of the cube."""
    for name, value in (("x", x), ("y", y)):
        if not (checks.is_number(value) and math.isfinite(value)):
            raise ParameterError(f"{name}={value!r}; expected one map coordinate. Give a number.")
    east, north = (np.array([float(value)]) for value in (x, y))
    if crs is not None:
        east, north = grid.reproject_points(crs, cube.geobox, east, north)
    rows, cols = grid.project_points(cube.geobox, east, north)
    height, width = cube.geobox.shape.yx
    if not (grid.inside(rows, height) & grid.inside(cols, width)).all():
        box = cube.geobox.boundingbox
        raise ParameterError(
            f"x={x!r}, y={y!r} lies outside the cube, which covers x {box.left:.10g} to {box.right:.10g} and y"
            f" {box.bottom:.10g} to {box.top:.10g} in {grid.crs_name(cube.geobox)}. Move it, or pass crs=."
        )
    return float(rows[0]), float(cols[0])


def _patch(request: Request, place: tuple[float, float], side: int) -> Patch:
    """Place a patch around a position, and find the window of the cube that it depends on."""
    _, sampling = pipeline.resolve_target(request.cube, scale=request.scale, resolution=None, like=None)
    reach = side // 2 + attribution.RING
    if 2 * reach + 1 > min(sampling.shape):
        raise ParameterError(
            f"window={side} with its ring needs {2 * reach + 1} pixels each way; the result has {sampling.shape[0]} x"
            f" {sampling.shape[1]}. Choose a smaller window, or pass a larger part of the cube."
        )
    middle = [math.floor((at + 0.5) / cell + grid.EDGE) for at, cell in zip(place, sampling.cell, strict=True)]
    nearest = min(min(at, size - 1 - at) for at, size in zip(middle, sampling.shape, strict=True))
    if nearest < reach:
        raise ParameterError(
            f"the place lies {max(nearest, 0)} output pixels from the border; window={side} needs {reach}. Choose a"
            f" smaller window, or a place farther inside."
        )
    rows, cols = (Span(at - reach, at + reach + 1) for at in middle)
    query = sampling.query(rows, cols)
    shape = request.cube.data.sizes["y"], request.cube.data.sizes["x"]
    window = grid.input_window(query, shape, request.function.halo)
    assert window is not None
    y, x = (at - span.start for at, span in zip(query.positions(), (window.rows, window.cols), strict=True))
    locate = getattr(request.function, "locate", None)
    function = request.function if locate is None else locate(window.rows.start, window.cols.start)
    return Patch(function, Queries(y, x, sampling.cell), window)


def _indices(request: Request, patch: Patch) -> list[NDArray[np.int64]]:
    """Row and column of the cube of each row and column of a window."""
    spans, sizes = (patch.window.rows, patch.window.cols), request.cube.geobox.shape.yx
    padding = patch.function.padding
    return [padded_index(span.start, span.stop, size, padding) for span, size in zip(spans, sizes, strict=True)]


def _read(request: Request, patch: Patch) -> Stack:
    """Read the window (date, band, h, w), with what lies beside its bands."""
    data = request.cube.data.data
    source = data if request.beside is None else np.concatenate([data, request.beside], axis=1)
    rows, cols = _indices(request, patch)
    part = source[list(request.dates)][:, :, rows.min() : rows.max() + 1, cols.min() : cols.max() + 1]
    (values,) = graph.together(part)
    return np.asarray(values, np.float32)[:, :, (rows - rows.min())[:, None], cols - cols.min()]


def _integrate(patch: Patch, path: Blurring, chosen: list[int], count: int) -> tuple[Floats, tuple[float, float]]:
    """Attribution (date, band, h, w), and the detail from the input and from the blurred one."""
    results = [patch.result(path.at(place))[chosen] for place in (1.0, 0.0)]
    if not all(np.isfinite(result).all() for result in results):
        raise CubeError(
            "the result has no data in the window around the place; expected valid pixels there. Choose another place"
            " or bands=, a smaller window, or with t= a target time near clear dates."
        )
    total = np.zeros((len(path.window), path.bands, *path.window.shape[2:]))
    for step in path.steps(count):
        result = patch.result(step.middle)
        wanted = np.zeros(result.shape, np.float32)
        wanted[chosen] = attribution.gradient_sum(result[chosen])[1]
        total += contributions(patch.function, step, patch.queries, wanted)
    details = [attribution.gradient_sum(result)[0] for result in results]
    return total, (details[0], details[1])


def _dataset(
    request: Request, patch: Patch, found: Floats, details: tuple[float, float], settings: dict[str, Any]
) -> xr.Dataset:
    """Dress an attribution on the pixels of the cube, those that mirror others added to them."""
    rows, cols = _indices(request, patch)
    y, x = (slice(at.min(), at.max() + 1) for at in (rows, cols))
    part = request.cube.data.isel(time=list(request.dates), y=y, x=x)
    values = np.zeros(part.shape)
    for date, band in np.ndindex(values.shape[:2]):
        np.add.at(values[date, band], np.ix_(rows - y.start, cols - x.start), found[date, band])
    size = np.abs(values).sum(axis=(2, 3))
    whole, change = size.sum(), details[0] - details[1]
    labels = ("time", "band")
    variables = {
        "attribution": ((*labels, "y", "x"), values.astype(np.float32)),
        "share": (labels, size / (whole or np.nan)),
        "diffusion_index": (labels, attribution.diffusion_index(values)),
    }
    record = provenance("explain", request.card, "float32") | {
        SCALE: [request.scale, request.scale],
        **{f"xsr_{name}": value for name, value in settings.items()},
        "xsr_detail": details[0],
        "xsr_detail_blurred": details[1],
        "xsr_completeness_error": abs(float(values.sum()) - change) / (abs(change) or math.nan),
    }
    out = xr.Dataset(variables, part.coords, record)
    out["attribution"].encoding["grid_mapping"] = "spatial_ref"
    return out
