"""The lazy result of ``xsr run``, from arguments that its store remembers, so that ``xsr verify`` makes it again."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

from xsr.cli import options
from xsr.cli.inputs import Reading

if TYPE_CHECKING:
    from xsr.core.types import XarrayObject

IN_TIME = ("frames", "window", "extrapolate", "fill", "temporal")
"""Arguments that say how target times are made, and mean nothing without them."""
KINDS = {
    "interpolate": "is an interpolation method",
    "sisr": "has a fixed factor and takes each date by itself",
    "liif": "is a continuous network",
}


def build(
    *,
    source: str,
    t: Sequence[str] | None = None,
    model: str | None = None,
    weights: str | None = None,
    bbox: Sequence[float] | None = None,
    like: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    bands: Sequence[str] | None = None,
    band_names: str | None = None,
    dims: Sequence[str] | None = None,
    crs: str | None = None,
    reader: Sequence[str] | None = None,
    **given: Any,
) -> "XarrayObject":
    """Build the lazy result of ``run``, and note in it what it was built from.

    Parameters
    ----------
    source, bbox, like
        Input, the box of it that is used, and another file whose grid the result gets.
    t
        Target times; one text may be a frequency.
    model, weights, device, precision
        Model or interpolation method, and how it runs.
    bands, band_names, dims, crs, reader
        Bands to keep, and how the input is opened; see `Reading`.
    given
        Further arguments of the operation; None is its default.

    Raises
    ------
    XsrError
        If the input cannot be opened, or the model takes an argument no other has.
    """
    remembered = {"source": source, "t": t, "model": model, "weights": weights, "bbox": bbox, "device": device}
    asked: dict[str, Any] = {"like": like, "band_names": band_names, "dims": dims, "crs": crs, "reader": reader}
    asked |= {name: given.pop(name) for name in IN_TIME if name in given}
    asked = {name: value for name, value in asked.items() if value is not None}
    function = _operation(model, weights, {**given, **asked, "t": t}, device=device, precision=precision)
    reading = Reading(band_names, dims, crs, reader)
    cube = _input(reading, source, bands, bbox)
    knobs: dict[str, Any] = {name: value for name, value in asked.items() if name in IN_TIME}
    if like is not None:
        knobs["like"] = Reading().open(like)
    if t is not None:
        knobs["t"] = t[0] if len(t) == 1 else t
    fine = function(cube, bands=bands, **knobs, **{name: value for name, value in given.items() if value is not None})
    remembered["precision"] = fine.attrs.get("xsr_precision", precision)  # a repair elsewhere uses the same
    _note(fine, source, cube, {**remembered, "bands": bands, **given, **asked})
    return fine


def _operation(
    model: str | None, weights: str | None, given: dict[str, Any], *, device: str, precision: str
) -> Callable[..., "XarrayObject"]:
    """Operation that a model means; refuses arguments that it does not know."""
    import xsr
    from xsr.operations.verbs import verb_of

    verb = verb_of(model, weights)
    functions: dict[str, Any] = {"interpolate": xsr.interpolate, "sisr": xsr.sisr, "liif": xsr.liif}
    known = signature(functions[verb]).parameters
    judged = ("scale", "resolution", "t", "like", *IN_TIME)
    unknown = [name for name in judged if given.get(name) is not None and name not in known]
    if verb == "liif" and weights is not None:
        unknown.append("weights")
    if unknown:
        listed = ", ".join(f"--{name}" for name in unknown)
        raise options.OptionError(
            f"{listed} given; model {model!r} {KINDS[verb]} (one factor); expected none of these. Leave them out."
            if verb == "sisr"
            else f"{listed} given; model {model!r} {KINDS[verb]} and takes none of these. Leave them out."
        )
    without = [name for name in IN_TIME if given.get(name) is not None and given.get("t") is None]
    if without:
        raise options.OptionError(
            f"{', '.join(f'--{name}' for name in without)} given without --t; expected target times. Add --t, or leave"
            " it out."
        )
    if verb == "interpolate":
        return partial(xsr.interpolate, method=model)  # type: ignore[arg-type]
    more = {"weights": weights} if verb == "sisr" else {}
    return partial(functions[verb], model=model, device=device, precision=precision, **more)


def _input(reading: Reading, source: str, bands: Sequence[str] | None, bbox: Sequence[float] | None) -> "XarrayObject":
    from xsr.sources.files import crop

    cube = reading.open(source, bands=bands)
    if bbox is None:
        return cube
    left, bottom, right, top = bbox
    return crop(cube, (left, bottom, right, top))


def _note(fine: "XarrayObject", source: str, cube: "XarrayObject", arguments: dict[str, Any]) -> None:
    """Note in a result what it was made from, and by which arguments."""
    fine.attrs["xsr_input"] = source.rstrip("/").rsplit("/", 1)[-1]
    if "xsr" in cube.attrs:  # the input is a store of ours
        fine.attrs["xsr_input_fingerprint"] = cube.attrs["xsr"]["fingerprint"]
    fine.attrs["xsr_command"] = json.dumps({"command": "run", **arguments})


def checked(device: str, precision: str) -> None:
    """Refuse values that no model knows, whether the one chosen reads them or not.

    Raises
    ------
    ParameterError
        If the device or precision is unknown.
    """
    from typing import get_args

    from xsr.models.precision import Precision
    from xsr.models.registry import check_device

    options.check_choice("--precision", precision, get_args(Precision))
    check_device(device)
