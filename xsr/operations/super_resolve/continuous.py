"""Super-resolution by a continuous implicit function: any scale, any grid, any time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from odc.geo.geobox import GeoBox

from xsr.core import checks, pipeline
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import ModelError, ParameterError
from xsr.core.grid import Sampling
from xsr.core.members import each_member
from xsr.core.names import BandsLike
from xsr.core.provenance import made_by
from xsr.core.target_times import TargetTime
from xsr.core.types import XarrayObject
from xsr.kernels import spread
from xsr.models import registry
from xsr.models.card import ModelCard
from xsr.models.precision import Exact, Precision
from xsr.operations.super_resolve import consistency, intervals, optical
from xsr.operations.super_resolve.dates import Fused, coarser_bands, displacements, lattice, reader_of
from xsr.operations.super_resolve.innovations import Innovated, optics_of
from xsr.operations.super_resolve.networks import (
    Continuous,
    Temporal,
    exact_precision,
    provenance,
    refuse_temperature,
    warn_of_grid,
    warn_of_pixel_size,
    warn_of_scale,
)
from xsr.operations.super_resolve.presharpened import Presharpened, sharpener_of
from xsr.operations.super_resolve.repeats import smooth_repeats
from xsr.operations.super_resolve.sharpness import Sharpness, chosen, gains_of, record, resharpened

DEFAULT = "liif_s2"
DEFAULT_AT = "temporal_liif_s2"
"""Default model where target times are given."""
CHUNK_AT = 512
"""Default output block where target times are given: a task holds the features of the dates of a target time."""
TOGETHER = 12
"""Target times that one task computes: neighbours share dates, and a date is encoded once."""


@each_member
def liif(
    cube: XarrayObject,
    *,
    scale: float | None = None,
    resolution: float | None = None,
    like: XarrayObject | GeoBox | None = None,
    t: Any = None,
    frames: int = 5,
    window: float | None = None,
    extrapolate: float | None = None,
    fill: bool = True,
    model: str | Path | None = None,
    bands: BandsLike | None = None,
    units: str | float | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    psf: Sharpness | None = None,
    consistent: bool = False,
    quantiles: float | Sequence[float] | None = None,
    mtf: float | Mapping[str, float] | None = None,
    noise: float | Mapping[str, float] | None = None,
    sharpen: bool = True,
    chunks: int | Sequence[int] | None = None,
) -> XarrayObject:
    """Super-resolve a cube to any finer grid with a local implicit image function.

    Parameters
    ----------
    cube
        DataArray ([time,] band, y, x) or Dataset of bands ([time,] y, x), reflectance.
    scale
        Linear factor, >= 1, any real number. The output has ``floor(n * scale)`` pixels of exactly ``gsd / scale``,
        anchored at the top-left corner of the cube.
    resolution
        Pixel size of the output in units of the CRS (metres for UTM), instead of ``scale``.
    like
        A georeferenced cube or GeoBox whose grid to use, another CRS included: one resampling, not two. Pixels
        outside the cube are NaN; the filter for ``psf`` reads beyond that grid where the cube goes on.
    t
        Target times to make from the dates around them: a date, several, a pandas frequency such as ``"10D"``, or an
        object with a ``time`` coordinate. Without it every date of the cube is super-resolved by itself.
    frames
        With ``t``: clear dates used for a pixel, the nearest to the target time. Clear is what is not NaN in any band;
        as many dates on either side of the target time are read.
    window
        With ``t``: days around a target time within which dates are used; all by default.
    extrapolate
        With ``t``: days by which a target time may lie outside the series; refused by default.
    fill
        With ``t``: whether gaps of a date are filled from the other dates that may be used, by how they differ around
        the gap, before the dates are averaged; see `xsr.kernels.gaps.fill_gaps`. Otherwise farther dates are used
        unchanged. The detail that the network adds comes from clear dates alone.
    model
        Name of packaged weights (see `xsr.models.names`), or a path to a ``.safetensors`` file with its card beside
        it. By default ``liif_s2``; with ``t`` ``temporal_liif_s2``. With ``t`` the image of ``liif_s2`` is corrected by
        what the other dates show, at the displacements that `xsr.register` writes: most where land hardly changes.
    bands
        Bands to keep, in any spelling of the alias table (``B02``, ``b2``, ``blue``); or a mapping from the names that
        they shall have to the labels of the cube, such as ``{"B02": "nbart_blue"}``; all by default.
    units
        Units of the numbers where the metadata do not say: ``reflectance``, ``percent``, ``dn10000``,
        ``dn10000-1000``, or a factor.
    device
        ``auto`` (CUDA where a worker has it, else CPU), ``cpu``, ``cuda``.
    precision
        Of the layers between the first and the last: ``float32``, ``bfloat16``, or ``auto``, which is bfloat16 where
        this machine multiplies it by itself (AVX512-BF16, AMX, or ``device="cuda"``). The result says which it was
        (``xsr_precision``).
    psf
        Sharpness of the result: ``sensor``, as if the sensor had pixels of the result's size, with its MTF at their
        Nyquist frequency; ``ideal``, without blur; or an MTF at that frequency, one number in (0, 1] or by band. By
        default ``sensor``, and what the network gives where its card does not state how sharp that is. The result says
        which it was (``xsr_psf``). Softening is a Gaussian; sharpening is the inverse of one, and amplifies noise as
        much.
    consistent
        Whether the result, observed again by the model's sensor, is to be the cube, to 1e-5 reflectance: the least that
        makes it so is added. The noise of the cube comes back with it, at its Nyquist frequency up to one over the MTF
        times as strong. Not with ``t`` or ``like``.
    quantiles
        Numbers in (0, 1) that rise, such as (0.05, 0.5, 0.95), for a dimension ``quantile`` in front of the others, as
        `xarray.DataArray.quantile` makes it: what the true values, as sharp as the result, are below with these
        probabilities. The estimate itself is at 0.5. The coordinate ``interval_calibrated`` is false where the image is
        unlike those on which the intervals were calibrated; for a subset of the model's bands the threshold is the one
        measured for its first ones, as many, which may be other bands. With ``like`` pixels are taken for squares of
        their area. Not with ``sharpen=False`` or another ``psf`` than ``sensor``, and with ``t`` of models alone whose
        card says so: errors of other results were not measured.
    mtf
        Of a model for any optical sensor: modulation transfer at the Nyquist frequency of the cube's pixels, one
        number or by band. By default it is estimated for each band and date, once for the whole image, as
        `estimate_mtf` does. The result says which it was (``xsr_mtf``).
    noise
        Of such a model: standard deviation of the noise in the units of the result, which are reflectance where the
        cube's numbers have a scale, likewise.
    sharpen
        Whether bands whose own pixels are twice those of the grid, of 20 m beside those of 10 m, are made by `sharpen`
        and the detail that the network finds in the other bands, where the model's card names the model for that
        (``before``). Then they have smaller errors; the other bands do not change. With ``t``, or another ``psf`` than
        ``sensor``, the network makes all bands.
    chunks
        Output block in pixels, one number or (y, x); each becomes one task and one Dask chunk over all bands.

    Returns
    -------
    DataArray or Dataset
        As the input, float32 reflectance on the finer grid; lazy if the input is. The values are not clipped. With
        ``t`` its dates are the target times, and a coordinate ``n_valid`` (time, y, x) counts the clear dates that
        could be used; where there is none the result is NaN.

    Raises
    ------
    ParameterError
        If not exactly one target is given, it is coarser than the cube, or ``precision`` is unknown.
    CubeError, GridError
        If the cube breaks the contract; see `xsr.core.cube.open_cube`.
    BandError
        If the model needs a band that the cube lacks, or the cube has one that the model was not trained on.
    ModelError
        If there is no such model; if ``t`` is given and the card of a model of single dates does not state its
        sharpness and MTF; or if ``t``, ``quantiles``, ``consistent`` or another ``psf`` than ``sensor`` is given and
        the model is one for any optical sensor.

    Notes
    -----
    A model for any optical sensor takes bands of any names and numbers of any linear unit; integers without a scale
    stay what they are. Where windows spread over the image hold no data of a band, or no contrast, it is interpolated.

    ``out(u) = bicubic(low)(u) + std * f(low)(u)``, with ``f`` the network and the base in float32. Blocks read a halo
    as wide as the receptive field, so that any chunking gives the same result. Beyond its border the cube is mirrored.
    No data: an output pixel is NaN exactly where the input pixel that contains its centre is invalid in that
    band; the network reads invalid pixels filled from their neighbours.

    With ``t`` a model of single dates makes the image of the date nearest in time, or of the time between dates; the
    image, observed again, says what each other date is expected to be, and what these show beyond corrects it; see
    `xsr.kernels.innovation`. Bands of larger pixels than the grid's are not corrected. Without displacements all dates
    lie alike, and bring little.

    In place of ``bicubic(low)`` a model that reads dates corrects their linear estimate; see `xsr.kernels.fusion`. A
    date counts with its displacement where the cube has the coordinates that `xsr.register` writes; the result
    then lies where the reference of those does.

    References
    ----------
    Y. Chen, S. Liu, X. Wang, CVPR 2021, doi:10.1109/CVPR46437.2021.00852.
    R. E. Kalman, Journal of Basic Engineering 82 (1960), doi:10.1115/1.3662552.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(32, 32), times=("2024-04-10", "2024-05-10"))
    >>> fine = cube.sr.liif(scale=3.4)  # or xsr.liif(cube, scale=3.4)
    >>> dict(fine.sizes)
    {'time': 2, 'band': 4, 'y': 108, 'x': 108}
    >>> between = cube.sr.liif(resolution=5, t="2024-04-25")
    >>> between.n_valid.max().item()
    2
    """
    if model is not None and optical.reads_each(model):
        where: dict[str, Any] = {"scale": scale, "resolution": resolution, "like": like, "chunks": chunks}
        numbers: dict[str, Any] = {"mtf": mtf, "noise": noise, "bands": bands, "units": units}
        other_psf = None if psf == "sensor" else psf
        others = _those_given(t=t, quantiles=quantiles, consistent=consistent or None, psf=other_psf)
        return optical.refine(cube, model, **numbers, **where, device=device, precision=precision, others=others)
    if mtf is not None or noise is not None:
        raise ParameterError("mtf= and noise= are for models of any optical sensor; expected neither. Leave them out.")
    moments = pipeline.Moments(t, window, most=frames, extrapolate=extrapolate, together=TOGETHER)
    request = prepare(
        cube, model, bands, units, device, precision, moments, frames, fill, sharpen and psf in (None, "sensor")
    )
    psf = chosen(psf, request.card)
    provenance = request.provenance | made_by("liif", **record(psf, request.card))
    gains = gains_of(psf, request.card, request.cube.canonical)
    unmeasured = {"sharpen": False if request.card.before and not sharpen and request.at is None else None}
    wanted = intervals.requested(quantiles, request.card, unmeasured, psf, timed=request.at is not None)
    if consistent and (request.at is not None or like is not None):
        raise ParameterError(
            f"consistent=True with {'t' if request.at else 'like'}=...; expected scale= or resolution= alone: the"
            " result is compared with the pixels of the cube, date by date. Leave one out."
        )
    function, picks = resharpened(request.function, gains), request.function.picks
    size: dict[str, Any] = {"scale": scale, "resolution": resolution}
    chunks = CHUNK_AT if chunks is None and request.at is not None else chunks
    how: dict[str, Any] = {"chunks": chunks, "provenance": provenance}
    made = None
    if consistent:
        fine = consistency.refine(request.cube, request.card, function, picks, gains, **size, **how)
    elif wanted and (like is not None or request.at is not None):
        fine, made = _wider(request, gains, like, pipeline.resolve_target(request.cube, **size, like=like), **how)
    elif request.at is None:
        fine = pipeline.refine(request.cube, function, **size, like=like, **how)
    else:
        fine = _at(request, gains, like, pipeline.resolve_target(request.cube, **size, like=like), **how)
    warn_of_scale(max(fine.attrs["xsr_scale"]), request.card)
    times = None if request.at is None else request.at[0]
    how = {"device": device, "chunks": chunks, "made": made, "moments": times}
    return intervals.with_quantiles(fine, request.cube, request.card, picks, wanted, **size, **how)


def _those_given(**given: Any) -> dict[str, Any]:
    """Arguments that are given, by name."""
    return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Request:
    """Checked arguments that `liif` and `sample` share."""

    cube: Cube
    card: ModelCard
    provenance: dict[str, Any]
    function: Continuous | Fused
    """Computes each date by itself."""
    at: tuple[pipeline.Moments, pipeline.MakeFunction] | None
    """Target times, and the function that computes them; None: each date is computed by itself."""
    beside: Any = None
    """Displacement of each date in pixels, which the function of target times reads beside the bands; see
    `xsr.operations.super_resolve.dates.displacements`."""


def prepare(
    cube: XarrayObject,
    model: str | Path | None,
    bands: BandsLike | None,
    units: str | float | None,
    device: str,
    precision: Precision,
    moments: pipeline.Moments,
    frames: int,
    fill: bool,
    sharpen: bool = False,
) -> Request:
    """Check the arguments shared by `liif` and `sample`."""
    registry.check_device(device)
    frames = checks.whole("frames", frames, least=1)
    checked = open_cube(cube, units=units, bands=bands)
    timed = moments.t is not None
    name = (DEFAULT_AT if timed else DEFAULT) if model is None else model
    card, spec = registry.card(name), registry.spec(name)
    if card.factor is not None:
        raise ModelError(
            f"model {card.name!r} has the factor {card.factor} alone; use sisr(model={str(model)!r}), or choose a"
            f" continuous model such as {DEFAULT}."
        )
    if card.reads == "each":
        raise ModelError(
            f"model {card.name!r} computes each band by what the whole image says; expected liif for it. Choose another"
            f" model, such as {DEFAULT}."
        )
    record = registry.record_of(card)
    if record.kind not in ("continuous", "temporal") or record.tiling == "none":
        raise ModelError(
            f"model {card.name!r} is a {card.architecture}; expected a continuous one, such as {DEFAULT} or"
            f" {DEFAULT_AT}."
        )
    several = record.kind == "temporal" or card.reads == "dates"
    if several and not timed and card.reads != "dates":
        raise ModelError(f"model {card.name!r} computes target times; t=... names them, or choose {DEFAULT}.")
    refuse_temperature(checked, card)
    picks = card.channels(checked.canonical, naming=checked.naming)
    warn_of_pixel_size(checked, card)
    warn_of_grid(checked, card)
    checked = smooth_repeats(checked, card.coarser)
    exact = exact_precision(precision, card, residual=True, device=device)
    if card.reads == "dates":
        return _fused(checked, card, spec, picks, device, exact, moments if timed else None, frames, fill)
    if timed and not several:
        return _innovated(checked, card, spec, picks, device, exact, moments, frames, fill)
    arguments = (spec, card.image, picks, card.radius, device)
    series = Temporal(*arguments, precision=exact, frames=frames, fill=fill)
    at = (moments, partial(_at_times, series)) if timed else None
    stated, single = provenance("liif", card, exact), Continuous(*arguments, precision=exact)
    before = sharpener_of(checked, card, picks, device, exact) if sharpen and not timed else None
    if before is None:
        return Request(checked, card, stated, single, at)
    function = Presharpened(*arguments, precision=exact, sharpened=before)
    made = made_by("liif", sharpened=[checked.bands[number] for number in function.larger], before=card.before)
    return Request(checked, card, stated | made, function, at)


def _fused(
    cube: Cube,
    card: ModelCard,
    spec: registry.ModelSpec,
    picks: tuple[int, ...],
    device: str,
    precision: Exact,
    moments: pipeline.Moments | None,
    frames: int,
    fill: bool,
) -> Request:
    """Request of a model that reads dates."""
    function = Fused(
        *(spec, card.image, picks, card.radius, device),
        precision=precision,
        reader=reader_of(card),
        coarser=coarser_bands(cube, card, picks),
        phase=lattice(cube),
        bands=len(picks),
        frames=frames,
        fill=fill,
    )
    record = provenance("liif", card, precision)
    if moments is None:
        return Request(cube, card, record, function, None)
    return Request(cube, card, record, function, (moments, partial(_at_times, function)), displacements(cube))


def _innovated(
    cube: Cube,
    card: ModelCard,
    spec: registry.ModelSpec,
    picks: tuple[int, ...],
    device: str,
    precision: Exact,
    moments: pipeline.Moments,
    frames: int,
    fill: bool,
) -> Request:
    """Request of a model of single dates at target times."""
    fused, optics, sensor = optics_of(card, picks, coarser_bands(cube, card, picks))
    arguments = (spec, card.image, picks, card.radius, device)
    function = Innovated(
        *arguments,
        precision=precision,
        bands=len(picks),
        frames=frames,
        fill=fill,
        fused=fused,
        optics=optics,
        sensor=sensor,
        ideal=card.sharpness == "ideal",
    )
    single, record = Continuous(*arguments, precision=precision), provenance("liif", card, precision)
    return Request(cube, card, record, single, (moments, partial(_at_times, function)), displacements(cube))


def _at(
    request: Request,
    gains: tuple[float, ...] | None,
    like: object | None,
    target: tuple[GeoBox, Sampling],
    *,
    chunks: int | Sequence[int] | None,
    provenance: dict[str, Any],
) -> XarrayObject:
    """Evaluate at target times."""
    assert request.at is not None
    moments, function = request.at
    return pipeline.evaluate_at(
        request.cube.towards(like),
        moments,
        lambda target_times: resharpened(function(target_times), gains),
        target,
        chunks=pipeline.resolve_chunks(chunks),
        provenance=provenance,
        beside=request.beside,
    )


def _wider(
    request: Request,
    gains: tuple[float, ...] | None,
    like: object | None,
    target: tuple[GeoBox, Sampling],
    *,
    chunks: int | Sequence[int] | None,
    provenance: dict[str, Any],
) -> tuple[XarrayObject, intervals.Made]:
    """Evaluate pixels around a grid too, as far as the cube goes on: errors are read from them."""
    cube, blocks = request.cube.towards(like), pipeline.resolve_chunks(chunks)
    around, sizes = pipeline.continued(cube, target[1], spread.MARGIN, chunks=blocks)
    inner = (..., *around.inside)
    if request.at is None:
        values, shell = pipeline.values(cube, resharpened(request.function, gains), around, chunks=sizes), cube
        fine = pipeline.dress(cube, values[inner], target, provenance)
    else:
        moments, function = request.at
        values = pipeline.values_at(
            *(cube, moments, lambda target_times: resharpened(function(target_times), gains), around),
            chunks=sizes,
            beside=request.beside,
        )
        shell = cube.at(moments.resolve(cube)[0])
        fine = pipeline.dress_at(cube, moments, values[inner], target, chunks=blocks, provenance=provenance)
    dress = partial(pipeline.dress, shell, target=target, provenance={})
    return fine, intervals.Made(values, sizes, around, around.inside, dress)


Series = TypeVar("Series", Temporal, Fused, Innovated)


def _at_times(function: Series, target_times: tuple[TargetTime, ...]) -> Series:
    return replace(function, target_times=target_times)
