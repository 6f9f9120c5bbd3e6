"""The lazy result of ``xsr run``, from arguments that its store remembers, so that ``xsr verify`` makes it again."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from inspect import signature
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from xsr._version import __version__
from xsr.cli import options
from xsr.cli.inputs import Reading
from xsr.cli.output import name_of
from xsr.core.redact import public, scrub
from xsr.core.text import brief

if TYPE_CHECKING:
    from xsr.core.types import XarrayObject
    from xsr.operations.verbs import Verb

IN_TIME = ("frames", "window", "extrapolate", "fill", "temporal")
"""Arguments that say how target times are made, and mean nothing without them."""
BY_BAND = ("mtf", "noise")
"""Arguments that are a number, or numbers by band."""
BY_VERB = ("scale", "resolution", "like", "psf", "consistent", "quantiles", "sharpen", *BY_BAND, "t", *IN_TIME)
"""Arguments that some operations have and others not."""
OPENED = ("source", "like", "model", "weights")
"""Arguments that name what is opened."""
EDGES = ("left", "bottom", "right", "top")
KINDS = {
    "interpolate": "is an interpolation method",
    "sisr": "has a fixed factor and takes each date by itself",
    "liif": "is a continuous network",
}
"""What a model is, by its operation."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Arguments of ``xsr run`` that decide what it makes."""

    source: str
    t: Sequence[str] | None = None
    """Target times; one text may be a frequency."""
    model: str | None = None
    weights: str | None = None
    bbox: Sequence[float] | None = None
    device: str = "auto"
    precision: str = "auto"
    psf: str | float | None = None
    """Sharpness of the result: a word or an MTF."""
    consistent: bool | None = None
    quantiles: Sequence[float] | None = None
    sharpen: bool | None = None
    mtf: str | None = None
    """A number, or numbers by band, as typed; so is ``noise``."""
    noise: str | None = None
    scale: float | None = None
    resolution: float | None = None
    bands: Sequence[str] | None = None
    units: str | None = None
    chunks: int | None = None
    like: str | None = None
    """File whose grid the result gets."""
    frames: int | None = None
    window: float | None = None
    extrapolate: float | None = None
    fill: bool | None = None
    temporal: str | None = None
    band_names: str | None = None
    dims: Sequence[str] | None = None
    crs: str | None = None
    reader: Sequence[str] | None = None

    @classmethod
    def parse(cls, typed: Mapping[str, Any]) -> "Request":
        """Read the options of ``xsr run``, given by the names of its parameters.

        Raises
        ------
        OptionError
            If the text of one cannot be read.
        """
        given: dict[str, Any] = {field.name: typed[field.name] for field in fields(cls)}
        for name, read in READ.items():
            given[name] = None if given[name] is None else read(given[name])
        return cls(**given)

    @classmethod
    def recall(cls, remembered: object, store: str) -> "Request":
        """Read what a store remembers, which anybody may have written.

        Parameters
        ----------
        remembered
            What `build` noted.
        store
            Where it stands, for messages.

        Raises
        ------
        OptionError
            If it is not of ``xsr run``, or holds an argument that is unknown or of another type.
        ParameterError
            As `check`.
        """
        if not isinstance(remembered, dict) or remembered.get("command") != "run":
            raise options.OptionError(
                f"{store} does not say how it was made; --repair needs a store of xsr run. One of xsr fetch is repaired"
                " by xsr fetch --repair."
            )
        arguments = {"source": None, **remembered}
        del arguments["command"]
        types = get_type_hints(cls)
        unknown = sorted(arguments.keys() - types.keys())
        if unknown:
            raise options.OptionError(
                f"{store} was made with {brief(unknown)}, unknown to xsr {__version__}. Update xsr."
            )
        odd = [name for name, value in arguments.items() if not _fits(value, types[name])]
        if not odd and arguments.get("bbox") is not None and len(arguments["bbox"]) != len(EDGES):
            odd = ["bbox"]
        if odd:
            raise options.OptionError(
                f"{store} was made with {odd[0]} {brief(arguments[odd[0]])}, as it says; expected what xsr run takes."
                " Its settings were changed: write it anew."
            )
        request = cls(**arguments)
        request.check()
        return request

    def opens(self) -> dict[str, str]:
        """Name what is opened to build the result: paths, and addresses without passwords."""
        named = {name: getattr(self, name) for name in OPENED}
        found = {name: public(value) for name, value in named.items() if value is not None}
        return found if self.reader is None else {**found, "options": scrub(", ".join(self.reader))}

    def check(self) -> None:
        """Refuse what no model knows, whether the chosen one reads it or not.

        Raises
        ------
        OptionError
            If an MTF or a noise cannot be read.
        ParameterError
            If the device, the precision or the rule in time is unknown.
        """
        from xsr.kernels.temporal import TEMPORAL
        from xsr.models.precision import Precision
        from xsr.models.registry import check_device

        check_device(self.device)
        options.check_choice("--precision", self.precision, get_args(Precision))
        if self.temporal is not None:
            options.check_choice("--temporal", self.temporal, TEMPORAL)
        self._by_band()

    def build(self) -> "XarrayObject":
        """Build the lazy result, and note in it what it was built from.

        Raises
        ------
        XsrError
            If the input cannot be opened, the model is unknown, or it does not take an argument.
        """
        function = self._operation()
        cube = self._input()
        fine = function(cube, bands=self.bands, **self._given("units", "chunks", *BY_VERB))
        fine.attrs["xsr_input"] = name_of(self.source)
        if "xsr" in cube.attrs:  # the input is a store of ours
            fine.attrs["xsr_input_fingerprint"] = cube.attrs["xsr"]["fingerprint"]
        used = fine.attrs.get("xsr_precision", self.precision)  # a repair elsewhere uses the same
        fine.attrs["xsr_command"] = json.dumps({"command": "run", **replace(self, precision=used).remembered()})
        return fine

    def remembered(self) -> dict[str, Any]:
        """Arguments as a store keeps them, without secrets; those that are newer than the first only where given."""
        kept = {name: value for name, value in asdict(self).items() if value is not None or name in FIRST}
        return {name: _public(value) for name, value in kept.items()}

    def _operation(self) -> Callable[..., "XarrayObject"]:
        """Operation that the model means; refuses arguments that it does not know."""
        import xsr
        from xsr.operations.verbs import verb_of

        verb = verb_of(self.model, self.weights)
        functions: Mapping[str, Any] = {"interpolate": xsr.interpolate, "sisr": xsr.sisr, "liif": xsr.liif}
        self._check_known(verb, signature(functions[verb]).parameters)
        if verb == "interpolate":
            return partial(xsr.interpolate, method=self.model)  # type: ignore[arg-type]
        weights = {"weights": self.weights} if verb == "sisr" else {}
        return partial(functions[verb], model=self.model, device=self.device, precision=self.precision, **weights)

    def _check_known(self, verb: "Verb", known: Mapping[str, Any]) -> None:
        unknown = [name for name in (*BY_VERB, "weights") if getattr(self, name) is not None and name not in known]
        if unknown:
            raise options.OptionError(
                f"{_flags(unknown)} given; model {self.model!r} {KINDS[verb]}, and takes no such option. Leave it out."
            )
        late = [name for name in IN_TIME if getattr(self, name) is not None and self.t is None]
        if late:
            raise options.OptionError(
                f"{_flags(late)} given without --t; expected target times. Add --t, or leave it out."
            )

    def _input(self) -> "XarrayObject":
        from xsr.sources.files import crop

        cube = Reading(self.band_names, self.dims, self.crs, self.reader).open(self.source, bands=self.bands)
        if self.bbox is None:
            return cube
        left, bottom, right, top = self.bbox
        return crop(cube, (left, bottom, right, top))

    def _given(self, *names: str) -> dict[str, Any]:
        """Arguments that are given, as the operation takes them."""
        found = {name: getattr(self, name) for name in names if getattr(self, name) is not None} | self._by_band()
        if self.like is not None:
            found["like"] = Reading().open(self.like)
        if self.t is not None and len(self.t) == 1:
            found["t"] = self.t[0]
        return found

    def _by_band(self) -> dict[str, Any]:
        """MTF and noise that are given, as numbers."""
        typed = {name: getattr(self, name) for name in BY_BAND}
        return {name: options.by_band(f"--{name}", text) for name, text in typed.items() if text is not None}


def _public(value: Any) -> Any:
    """Argument without the secrets of the addresses in it."""
    if isinstance(value, str):
        return public(value)
    return [_public(one) for one in value] if isinstance(value, list | tuple) else value


def _listed(given: Sequence[str]) -> list[str] | None:
    return list(given) or None


def _fits(value: object, expected: Any) -> bool:
    """Whether a value that JSON brought is of an annotated type."""
    if isinstance(expected, UnionType):
        return any(_fits(value, one) for one in get_args(expected))
    if get_origin(expected) is Sequence:
        return isinstance(value, list) and all(_fits(item, get_args(expected)[0]) for item in value)
    return type(value) in ((int, float) if expected is float else (expected,))


READ: Mapping[str, Callable[[Any], Any]] = {
    "source": options.absolute,
    "like": options.absolute,
    "weights": lambda path: str(Path(path).resolve()),
    "t": options.names,
    "bands": options.names,
    "bbox": options.bbox,
    "psf": options.number_or_word,
    "quantiles": options.numbers,
    "dims": _listed,
    "reader": _listed,
}
"""How the text of an option becomes an argument, by its name; the others are what they are."""

FIRST = (
    *("source", "t", "model", "weights", "bbox", "device", "precision", "scale", "resolution", "bands", "units"),
    "chunks",
)
"""Arguments that every store remembers, given or not."""


def _flags(names: Sequence[str]) -> str:
    return ", ".join(f"--{name}" for name in names)
