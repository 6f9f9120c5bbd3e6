"""What a user-defined function computes: an operation with its options, and what openEO does not say of a cube."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import xarray as xr

from xsr import api
from xsr.core import checks
from xsr.core.errors import ParameterError
from xsr.core.names import did_you_mean
from xsr.models import registry

NETWORK = ("model", "device", "precision")
OPERATIONS: dict[str, tuple[str, ...]] = {
    "liif": ("scale", *NETWORK, "psf", "sharpen", "mtf", "noise"),
    "sisr": ("scale", "weights", *NETWORK, "psf"),
    "interpolate": ("scale", "method"),
    "sharpen": NETWORK,
    "degrade": ("scale", "mtf", "psf", "source_mtf", "sensor", "min_valid"),
}
"""Operations of one cube whose result has its dates and bands, and the options of each that suit a user-defined
function. Noise that `degrade` adds does not, since windows that overlap would each begin it anew; nor does
``consistent``, which looks farther than a window."""
CUBE = ("crs", "resolution", "band_names", "units", "scale_factor", "add_offset")
"""What may be said of a cube: its CRS, pixel size in units of that, names of its bands, and how its numbers become
reflectance."""
SCALED = ("liif", "interpolate", "degrade")
"""Operations that need a scale."""
LARGEST = 64
"""Largest denominator of a scale, which is the least size of a window in pixels."""


@dataclass(frozen=True)
class Request:
    """A checked request; hashable, as its settings are text."""

    operation: str
    options: str
    """Options of the operation, JSON."""
    cube: str
    """What is said of the cube, JSON."""

    @property
    def of_cube(self) -> dict[str, Any]:
        """What is said of the cube."""
        found: dict[str, Any] = json.loads(self.cube)
        return found

    @property
    def arguments(self) -> dict[str, Any]:
        """Options of the operation."""
        found: dict[str, Any] = json.loads(self.options)
        return found

    @property
    def model(self) -> str | None:
        """Name of the model, also where it is the default; None where the operation has none."""
        if "model" not in OPERATIONS[self.operation]:
            return None
        return str(self.arguments.get("model", {"liif": "liif_s2", "sharpen": "sharpen_s2"}.get(self.operation)))

    @property
    def each(self) -> bool:
        """Whether the model reads each band by itself, with numbers of the whole image."""
        return self.operation == "liif" and registry.card(str(self.model)).reads == "each"

    def check_numbers(self) -> None:
        """Refuse numbers that every window would estimate for itself.

        Raises
        ------
        ParameterError
            If the model reads the MTF and the noise of the image, and one of them is not given.
        """
        lacking = [f"{name}=" for name in ("mtf", "noise") if name not in self.arguments]
        if lacking and self.each:
            raise ParameterError(
                f"model {self.model!r} without {' and '.join(lacking)}; each window of a back end would estimate its"
                " own, and windows would not join. Give both, in the context or where the file is written; estimate_mtf"
                " finds them on a piece of the image."
            )

    @property
    def factor(self) -> Fraction:
        """Pixels of the result along a side of a pixel of the cube.

        Raises
        ------
        ParameterError
            If it is no ratio of small numbers: no window would have a whole number of pixels before and after.
        """
        if self.operation == "sharpen":
            return Fraction(1)
        scale = self.arguments.get("scale")
        if scale is None:
            scale = registry.card(str(self.model), self.arguments.get("weights")).factor
        if scale is None:
            raise ParameterError(
                f"model {self.model!r} has no factor of its own; use operation='liif' with scale=..., or a model of one"
                " factor."
            )
        ratio = Fraction(scale).limit_denominator(LARGEST)
        if abs(float(ratio) - scale) > 1e-9 * scale:
            raise ParameterError(
                f"scale={scale}; expected a ratio of whole numbers of which the lower is at most {LARGEST}, as 3.4 is:"
                f" windows of openEO times the scale must be whole. The nearest is {float(ratio)}."
            )
        return 1 / ratio if self.operation == "degrade" else ratio

    @property
    def packed(self) -> bool:
        """Whether a scale and an offset make reflectance of the numbers."""
        return not {"scale_factor", "add_offset"}.isdisjoint(self.of_cube)

    @property
    def text(self) -> str:
        """The operation in words."""
        arguments = self.arguments if self.model is None else {"model": self.model, **self.arguments}
        return ", ".join([self.operation, *(f"{name}={value!r}" for name, value in arguments.items())])

    def run(self, cube: xr.DataArray, **how: Any) -> xr.DataArray:
        """Compute the operation of a cube placed as `of_cube` says."""
        units = "reflectance" if self.packed else self.of_cube.get("units")
        result: xr.DataArray = getattr(api, self.operation)(cube, **self.arguments, units=units, **how)
        return result


def parse(operation: str, settings: Mapping[str, Any]) -> Request:
    """Check what a user-defined function is to compute.

    Parameters
    ----------
    operation
        One of `OPERATIONS`.
    settings
        Its options, and what is said of the cube (`CUBE`): values of JSON.

    Raises
    ------
    ParameterError
        If the operation or a setting is unknown, a value is not of JSON, or the scale is missing.
    """
    if operation not in OPERATIONS:
        raise ParameterError(
            f"operation={operation!r}; expected one of {', '.join(OPERATIONS)}{did_you_mean(operation, OPERATIONS)}."
        )
    known = (*OPERATIONS[operation], *CUBE)
    odd = [name for name in settings if name not in known]
    if odd:
        raise ParameterError(
            f"{odd[0]!r} given to a user-defined function that computes {operation}; expected any of {', '.join(known)}"
            f"{did_you_mean(odd[0], known)}. Leave it out, or correct its name."
        )
    given = {name: value for name, value in settings.items() if value is not None}
    if operation in SCALED and "scale" not in given:
        raise ParameterError(f"{operation} of a user-defined function needs scale=..., such as 2 or 3.4.")
    if operation == "sisr" and "model" not in given:
        raise ParameterError("sisr of a user-defined function needs model=..., the name of weights of one factor.")
    for name in ("scale", "resolution"):
        if name in given:
            checks.positive(name, given[name])
    if "units" in given and not {"scale_factor", "add_offset"}.isdisjoint(given):
        raise ParameterError("units and scale_factor or add_offset are given; expected one of both. Leave one out.")
    of_cube = {name: value for name, value in given.items() if name in CUBE}
    options = {name: value for name, value in given.items() if name not in CUBE}
    return Request(operation, _json(options), _json(of_cube))


def _json(values: Mapping[str, Any]) -> str:
    for name, value in values.items():
        try:
            plain = json.loads(json.dumps(value, allow_nan=False)) == (
                list(value) if isinstance(value, tuple) else value
            )
        except (TypeError, ValueError):
            plain = False
        if not plain:
            raise ParameterError(
                f"{name}={value!r}; expected text, a number, a truth value, a list or a mapping from text: openEO"
                " passes JSON to a user-defined function."
            )
    return json.dumps(dict(values), sort_keys=True)
