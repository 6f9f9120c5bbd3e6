"""The guided operation: which steps, in which order, on which grid."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import checks, pipeline
from xsr.core.cube import Cube
from xsr.core.errors import ModelError, ParameterError
from xsr.core.provenance import made_by
from xsr.core.sensors import canonical
from xsr.core.temperature import open_temperature
from xsr.core.types import XarrayObject
from xsr.models import registry
from xsr.models.card import ModelCard
from xsr.operations.guided import baselines, networks
from xsr.operations.guided.coregister import in_metres
from xsr.operations.guided.dates import Pairing, pair_dates
from xsr.operations.guided.guide import check_pixel_sizes, open_guide, output_grid
from xsr.operations.guided.planes import layer, planes_of
from xsr.operations.guided.quantiles import requested, with_quantiles
from xsr.operations.guided.steps import Steps

Method: TypeAlias = Literal["guided_filter", "tsharp", "bicubic", "bilinear"]
Conserve: TypeAlias = Literal["radiance", "temperature"]
BASELINES: tuple[str, ...] = get_args(Method)
DEFAULT = "dctnet_lst"
"""Packaged network that is used where neither a model nor a method is named."""
POWER = {"radiance": 4, "temperature": 1}
"""Power of the temperature whose means are held."""


def guided(
    cube: XarrayObject,
    guide: XarrayObject,
    *,
    scale: float | None = None,
    resolution: float | None = None,
    like: XarrayObject | GeoBox | None = None,
    model: str | Path | None = None,
    method: Method | None = None,
    conserve: Conserve | None = None,
    mtf: float | None = None,
    limits: tuple[float, float] | None = None,
    coregister: bool = False,
    tolerance: float = 16.0,
    units: str | None = None,
    guide_bands: Sequence[str] | None = None,
    guide_units: str | float | None = None,
    guide_sensor: str = "sentinel-2",
    quantiles: float | Sequence[float] | None = None,
    device: str = "auto",
    chunks: int | Sequence[int] | None = None,
) -> XarrayObject:
    """Sharpen a temperature by an optical image of finer pixels.

    Parameters
    ----------
    cube
        Surface or brightness temperature of one band, DataArray ([time,] [band,] y, x) or Dataset of one variable.
        Its attribute ``units`` says kelvin or degrees Celsius, see ``units``.
    guide
        Reflectance, DataArray ([time,] band, y, x) or Dataset of bands, with a grid, CRS and dates of its own. NaN is
        no data: mask clouds first. A guide without dates, or with one and a cube without any, serves every date. It
        may be a vegetation index alone, from -1 to 1, in one band of the name ``ndvi``.
    scale, resolution, like
        Output grid, at most one of them; see `xsr.interpolate`. By default the guide's: its pixels that lie wholly
        within the cube (of a cube in another CRS: within its bounding box).
    model
        Guided network: trained weights by name or path; `DEFAULT` where no method is named.
    method
        Instead of a network ``guided_filter`` (He 2013, the linear relation around each pixel), ``tsharp`` (Agam 2007,
        the linear relation of the scene to the vegetation index), or ``bicubic`` and ``bilinear``, which take from the
        guide no more than its grid.
    conserve
        Quantity whose means over each pixel of the cube the result keeps: its ``radiance`` (the fourth power of the
        temperature, what a detector averages) or its ``temperature``; None, the default, keeps neither. See Notes.
    mtf
        With ``conserve``, modulation transfer of the sensor at the Nyquist frequency of the cube's pixels, in (0, 1):
        means are weighted by its Gaussian response, which reaches beyond the pixel. By default they are means over
        the area of the pixel, which is right for cubes of block means. A network whose card names a method
        (``held_with``, as that of `DEFAULT` does) is averaged with it first, see Notes.
    limits
        Range of temperatures in kelvin that is 0 to 1 for a network, for all dates; by default each date's own, see
        Notes.
    coregister
        Measure by how much each date of the guide is displaced against the cube, and take it out while resampling. The
        shifts are measured at once, from the low-resolution grid; everything else stays lazy.
    tolerance
        Days by which the nearest date of the guide may differ from the cube's; 16 is one cycle of Landsat.
    units
        Units of the cube where its metadata do not say: ``K``, ``degC``, or the product whose stored numbers it holds:
        ``landsat-c2-st``, ``modis-lst``, ``ecostress-lst`` (see `xsr.core.sensors.TEMPERATURE_PRODUCTS`).
    guide_bands
        Bands of the guide for ``guided_filter`` by their Sentinel-2 names (``B04``, ``red``); all by default.
    guide_units
        Units of the guide where its metadata do not say; see `xsr.interpolate`.
    guide_sensor
        Sensor whose band names the guide uses: of ``landsat-8`` ``B5`` is the near infrared.
    quantiles
        Numbers in (0, 1) that rise, for a dimension ``quantile`` of the values below which the truth lies with that
        share; at 0.5 stands the estimate itself. For a network whose card names ``intervals`` (that of `DEFAULT`), at
        the scales at which its errors were measured, about 4 to 8; with ``conserve`` only where ``mtf`` is given, not
        with ``method`` or ``limits``. See Notes.
    device
        ``auto`` (CUDA where a worker has it, else CPU), ``cpu``, ``cuda``.
    chunks
        Output block in pixels, one number or (y, x).

    Returns
    -------
    DataArray or Dataset
        Kelvin, float32, lazy if an input is; container and dates of the cube. Coordinates: ``flag`` (uint8, dims as
        the temperature's), bit 1 where the guide is missing and the value is bicubic, bit 2 where the network's last
        ReLU cut its output off at the lower limit; ``guide_time``; with ``coregister`` ``guide_shift_y`` and
        ``guide_shift_x``, the displacement taken out, metres to the north and east, NaN where it is not known; with
        ``quantiles`` ``interval_calibrated``, false where the image is unlike those of the calibration, or the guide
        is missing.

    Raises
    ------
    ParameterError
        If both ``model`` and ``method`` are given, no date of the guide is near enough, or quantiles are none or were
        not measured.
    GridError
        If guide and cube do not overlap, the guide is coarser than the cube, or ``conserve`` is not possible between
        the two grids.
    BandError
        If the cube has several bands, or the guide lacks one that is needed.
    CubeError
        If the units of the cube are not known, or a cube breaks the contract.
    ModelError, WeightsError
        If there is no such model, or its file is damaged or does not fit.

    Warns
    -----
    XsrWarning
        Of a scale far from those of training, and of dates whose displacement is not known.

    Notes
    -----
    Networks read numbers from about 0 to 1, scaled by limits that the cube's own valid pixels give, date by date (one
    reduction over the low-resolution cube, when the result is computed): mean and four standard deviations, at most
    the extremes, widened by a quarter of that range and 1 K at least (`xsr.kernels.limits.limits`). The extremes of
    the truth, which are often used, are not known. The result may leave the range of the cube by that margin, and
    nothing is clipped; where a network ends in a ReLU, bit 2 of ``flag`` says what it could not reach. A date without
    any variation is returned unchanged.

    A network runs on a lattice of patches anchored at the result's corner, blended by fixed tapers, so that there are
    no seams between blocks.

    No data: a pixel of the result is NaN exactly where the pixel of the cube that holds its centre is. Where the guide
    is missing the result is the bicubic interpolation.

    Of a guide that is one band ``ndvi``, networks and ``tsharp`` read the red and near infrared with this index whose
    sum is 0.35 everywhere; ``guided_filter`` reads the index.

    ``conserve`` holds the mean over every pixel of the cube that lies wholly within the result, to 1e-3 K. Means over
    the area: a few corrections by a bicubic surface, then the rest evenly over each pixel. Means within the response
    of a sensor (``mtf``): by the least correction, ``D^T (D D^T)^-1`` of what is missing, with D the sensor. Beside no
    data less is held. Both are for grids of the cube's CRS with parallel axes, nested or not; others are refused.

    Within a response, a network whose card names a method (``held_with``) is averaged with it first; the attribute
    ``xsr_averaged_with`` of the result says so.

    ``quantiles`` come from a small model of the network's errors, calibrated on a few places of one region, at pixels
    of 232 m (split conformal prediction). They hold on average over places like those, see the reference of quantiles;
    the network is evaluated once. They speak of the error against an image of the resolution that the result claims,
    not of the sensor's own calibration.

    References
    ----------
    Networks: `xsr.models.architectures.dctnet`, `dctrrdbnet` and `jiif`. K. He et al., IEEE TPAMI 35 (2013),
    doi:10.1109/TPAMI.2012.213. N. Agam et al., Remote Sensing of Environment 107 (2007),
    doi:10.1016/j.rse.2006.10.006.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> guide = synthetic_cube(size=(64, 64), bands=("B04", "B08"), gsd_m=30.0).isel(time=0, drop=True)
    >>> truth = 310 - 20 * guide.sel(band="B08", drop=True)
    >>> low = truth.coarsen(y=4, x=4).mean().assign_attrs(units="K")
    >>> fine = low.sr.guided(guide, method="guided_filter")
    >>> base = low.sr.guided(guide, method="bicubic")
    >>> bool(abs(fine - truth).mean() < 0.5 * abs(base - truth).mean())
    True
    """
    model = DEFAULT if model is None and method is None else model
    card = _check_choice(model, method, conserve, mtf, limits)
    registry.check_device(device)
    given = networks.check_limits(limits)
    wanted = requested(quantiles, card, {"method": method, "limits": limits}, conserve, mtf)
    target = open_temperature(cube, units)
    other, bands = open_guide(
        guide,
        bands=_bands(card, method, guide_bands),
        optional=() if card is None else card.guide.optional,
        units=guide_units,
        sensor=guide_sensor,
        what=f"method {method!r}" if card is None else f"model {card.name!r}",
    )
    geobox = output_grid(target, other, scale=scale, resolution=resolution, like=like)
    check_pixel_sizes(target, other)
    if scale is None and resolution is None:  # the grid of another says which way y runs
        target = replace(target, flipped=other.flipped and like is None)
    pairing = pair_dates(target, other, tolerance)
    steps = Steps.plan(target, geobox, pipeline.resolve_chunks(chunks))
    holding = None if conserve is None else steps.holding(POWER[conserve], mtf)
    paired = planes_of(other, pairing.picks)
    shifts = steps.measure(paired) if coregister else None
    fine = steps.bring(paired, shifts) if bands else None
    partner = None if card is None or mtf is None else card.held_with
    if card is None:
        estimate = steps.by_method(str(method), fine)
    else:
        estimate = steps.by_network(card, registry.spec(str(model)), device, bands, fine, given)
    if partner is not None:
        estimate = estimate.averaged(steps.by_method(partner, fine))
    result, flag = steps.complete(estimate)
    if holding is not None:
        result = steps.hold(result, holding)
    provenance = made_by(
        f"guided:{method or 'network'}",
        conserve=conserve or "none",
        **({} if mtf is None else {"conserve_mtf": float(mtf)}),
        **({} if partner is None else {"averaged_with": partner}),
        scale=[1 / size for size in steps.cell],
        **({} if card is None else {"model": card.name, "weights_sha256": card.sha256}),
        **{name: c.source for name, c in (("input", target), ("guide", other)) if c.source is not None},
    )
    out = target.rewrap(result.data, geobox, provenance)
    out = _with_coordinates(out, target, geobox, flag, pairing, shifts)
    if card is None or not wanted:
        return out
    values = {"result": result, "base": estimate.base, "flag": flag}
    return with_quantiles(out, target, steps, card, wanted, **values, held=holding is not None, device=device)


def _check_choice(
    model: str | Path | None, method: object, conserve: object, mtf: object, limits: object
) -> ModelCard | None:
    """Card of the model, None if a method was chosen."""
    if model is not None and method is not None:
        raise ParameterError(
            f"model={model!r} and method={method!r}; expected one of them: the name or path of a guided network, or a"
            f" method ({', '.join(BASELINES)})."
        )
    if conserve is not None and not (isinstance(conserve, str) and conserve in POWER):
        raise ParameterError(f"conserve={conserve!r}; expected {', '.join(POWER)} or None.")
    _check_mtf(mtf, conserve)
    if method is not None:
        if not (isinstance(method, str) and method in BASELINES):
            raise ParameterError(f"method={method!r}; expected one of {', '.join(BASELINES)}.")
        if limits is not None:
            raise ParameterError(
                f"limits={limits!r} with method={method!r}; only networks have limits. Leave them out."
            )
        return None
    assert model is not None
    card = registry.card(model)
    kind = registry.record_of(card).kind
    if kind not in ("guided", "fixed") or card.units != "K" or len(card.bands) != 1:
        raise ModelError(
            f"model {card.name!r} is a {kind} one for {list(card.bands)} in units {card.units!r}; expected a guided or"
            " fixed-scale network for one band in kelvin. Reflectance is for liif and sisr."
        )
    return card


def _check_mtf(mtf: object, conserve: object) -> None:
    """Refuse a response without anything to conserve within it, and one that no sensor has."""
    if mtf is None:
        return
    if conserve is None:
        raise ParameterError(f"mtf={mtf!r} without conserve=; it says within which response means are held. Give both.")
    if isinstance(mtf, bool) or not isinstance(mtf, (int, float)) or not 0 < mtf < 1:
        raise ParameterError(
            f"mtf={mtf!r}; expected the modulation of the sensor at the Nyquist frequency of the cube's pixels, a"
            " number above 0 and below 1."
        )


def _bands(card: ModelCard | None, method: str | None, given: Sequence[str] | None) -> Sequence[str] | None:
    """Bands of the guide that are read, None for all."""
    if given is not None and method != "guided_filter":
        raise ParameterError(f"guide_bands={given!r}; only method='guided_filter' takes it. Leave it out.")
    if card is not None:
        return card.guide.names
    if method == "guided_filter" and given is not None:
        found = tuple(canonical(name) for name in checks.names("guide_bands", given))
        if not found or len(set(found)) != len(found):
            raise ParameterError(f"guide_bands={given!r}; expected one band or several, each once.")
        return found
    return {"tsharp": baselines.INDEX, "guided_filter": None}.get(str(method), ())


def _with_coordinates(
    out: XarrayObject,
    target: Cube,
    geobox: GeoBox,
    flag: xr.DataArray,
    pairing: Pairing,
    shifts: NDArray[np.float64] | None,
) -> XarrayObject:
    """Add what is known of each pixel and date."""
    (time,) = target.names.of(["time"])
    attrs = {
        "long_name": "how the value was made",
        "flag_masks": np.array([networks.MISSING, networks.AT_LIMIT], np.uint8),
        "flag_meanings": "guide_missing network_at_limit",
    }
    out = out.assign_coords(flag=layer(target, flag.data, geobox, attrs))
    rows: dict[str, tuple[Any, dict[str, str]]] = {}
    if pairing.times is not None:
        rows["guide_time"] = pairing.times, {"long_name": "date of the guide"}
    if shifts is not None:
        for name, values, where in zip("yx", in_metres(target.geobox, shifts), ("north", "east"), strict=True):
            long_name = f"displacement of the guide to the {where} against the cube, taken out"
            rows[f"guide_shift_{name}"] = values, {"long_name": long_name, "units": "m"}
    dims = (time,) if time in out.dims else ()
    return out.assign_coords({name: (dims, v if dims else v[0], attrs) for name, (v, attrs) in rows.items()})
