"""What is known of an architecture: the record at the end of its file, and the only place where others look it up.

Kinds differ by how a network is called:

- *fixed*: ``network(images)`` maps (N, bands, h, w) to (N, outputs, factor h, factor w); it has ``factor``.
- *continuous*: ``encode(images)`` makes a code, ``decode(code, rows, cols, cell)`` evaluates it at positions.
- *temporal*: ``encode``, then ``merge``, ``compose`` and ``fold`` for a time, and ``decode``; see
  `xsr.models.architectures.temporal_liif.TemporalLIIF`.
- *guided*: for one band beside a guide of the output grid; the record's ``call`` picks what the network reads.
- *discriminator*: scores of images; used in training alone.

This module imports no PyTorch.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import get_ident
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from xsr.core.errors import ModelError, XsrError
from xsr.core.text import brief
from xsr.models.schema import LARGEST

if TYPE_CHECKING:
    from torch import Tensor, nn

Kind: TypeAlias = Literal["fixed", "continuous", "temporal", "guided", "discriminator"]
Tiling: TypeAlias = Literal["halo", "lattice", "none"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TILINGS: tuple[Tiling, ...] = get_args(Tiling)
INTERFACES: dict[str, tuple[str, ...]] = {
    "continuous": ("encode", "decode"),
    "temporal": ("encode", "merge", "compose", "fold", "decode"),
}
"""Methods that an operation calls on a network, by kind."""
PART = 1000
"""Parameters that a part of a network, a layer or a block, counts as where its size is bounded."""


@dataclass(frozen=True)
class GuidedInputs:
    """What a network for one band may read."""

    image: "Tensor"
    """Image enlarged to the output grid by bicubic interpolation, scaled to 0-1, (N, 1, H, W)."""
    low: "Tensor"
    """The image before it was enlarged, (N, 1, h, w); the enlarged one for a network that does not read it."""
    guide: "Tensor"
    """Standardised guide on the output grid, (N, guide bands, H, W)."""
    scale: int | None
    """Output pixels along one of ``low``."""


def call_low(network: "nn.Module", inputs: GuidedInputs) -> "Tensor":
    """Evaluate a network that reads the low-resolution image alone."""
    out: Tensor = network(inputs.low)
    return out


def _no_settings(match: re.Match[str]) -> dict[str, Any]:
    return {}


def _never(config: Mapping[str, Any]) -> bool:
    return False


def _is_huge(value: object) -> bool:
    return isinstance(value, int) and abs(value) > LARGEST


def _leave(network: "nn.Module") -> None:
    return None


@contextmanager
def _counted(most: int, name: str) -> Iterator[None]:
    """Stop the making of a network of this thread that gets too large."""
    from torch.nn.modules import module as hooks

    left, thread = most, get_ident()

    def count(network: object, part_name: str, part: Any) -> None:
        nonlocal left
        if part is None or get_ident() != thread:
            return
        left -= part.numel() if hasattr(part, "numel") else PART
        if left < 0:
            raise ModelError(f"{name} as configured has more than {most} parameters; expected at most as many.")

    handles = [
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_module_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Record of an architecture: its names, how it is made, prepared, called and tiled.

    Examples
    --------
    >>> from torch import nn
    >>> class Nothing(nn.Module):
    ...     factor, radius = 2, 0
    ...     def forward(self, x):
    ...         return nn.functional.interpolate(x, scale_factor=2) * 0
    >>> Architecture(name="nothing", kind="fixed", build=Nothing).make().radius
    0
    """

    name: str
    kind: Kind
    build: Callable[..., "nn.Module"]
    """Makes the untrained network from its settings, given by keyword; as a rule the class itself. A network tiled by
    halo has ``radius``: the input pixels that an output pixel depends on, beyond the nearest."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Settings that the name stands for."""
    pattern: str = ""
    """Regular expression of further names, if there are any."""
    settings: Callable[[re.Match[str]], dict[str, Any]] = _no_settings
    """Settings that a name matched by ``pattern`` stands for."""
    listed: tuple[str, ...] = ()
    """Names by ``pattern`` that are listed in place of ``name``."""
    tiling: Tiling = "halo"
    """``halo``: tiles with a margin of ``radius`` equal the whole image. ``lattice``: every output pixel depends on the
    whole patch, so patches on a fixed lattice are blended. ``none``: no operation evaluates it."""
    trunk: str | None = None
    """Submodule of convolutions, which a CPU evaluates in bands of rows and which may run in bfloat16; empty: the whole
    network. None: evaluated whole, in float32. Of a fixed network whose trunk is a part, ``forward`` takes a
    ``margin`` of input pixels to leave out of its output, as `xsr.models.engine.Bands` does."""
    head: str = ""
    """Submodule whose last layer makes the output; empty: the whole network."""
    reads_low: bool = False
    """Whether a guided network reads the image before it was enlarged; a fixed-scale one does in any case."""
    call: Callable[[Any, GuidedInputs], "Tensor"] = call_low
    """Evaluates a network for one band."""
    clips: Callable[[Mapping[str, Any]], bool] = _never
    """Whether the output of a network with these settings ends in a ReLU."""
    begin: Callable[[Any], None] = _leave
    """Sets, beyond the last layer, what training starts from."""
    encoder: Callable[[Any], "nn.Module"] | None = None
    """Makes the part of a continuous network that other programs can run; None if there is no such part."""
    published: bool = False
    """Whether its published state dicts give bands and factor by their shapes; see `xsr.models.published`."""
    rename: Callable[[str], str | None] = str
    """Maps the name of a published tensor to ours; None where ours has no such tensor."""
    summary: str = ""
    citation: str = ""
    module: str = ""
    """Module whose import registers the record, for other processes; filled in by `xsr.models.register`."""

    def named(self, name: str) -> "Architecture | None":
        """Record under one of its names; None for any other."""
        match = re.fullmatch(self.pattern, name) if self.pattern else None
        if match is not None:
            return replace(self, name=name, config=self.settings(match))
        return self if name == self.name and not self.listed else None

    @property
    def names(self) -> tuple[str, ...]:
        """Names that are listed."""
        return self.listed or (self.name,)

    def make(self, **config: Any) -> "nn.Module":
        """Untrained network; ``config`` overrides the settings of the name.

        Raises
        ------
        ModelError
            If the network has no such setting, or is not what its record says.
        """
        from torch import nn

        settings = {**self.config, **config}
        try:
            network = self.build(**settings)
        except (XsrError, MemoryError):
            raise
        except Exception as error:  # what a network makes of settings that it cannot have is up to it
            raise ModelError(f"{self.name} does not take these settings {brief(settings)}: {error}.") from error
        if not isinstance(network, nn.Module):
            raise ModelError(
                f"architecture {self.name!r} builds a {type(network).__name__}; expected a torch.nn.Module. Let build"
                " return the network."
            )
        lacking = [name for name in INTERFACES.get(self.kind, ()) if not callable(getattr(network, name, None))]
        if lacking and self.tiling != "none":
            raise ModelError(
                f"the network of architecture {self.name!r} lacks {', '.join(lacking)}; expected"
                f" {', '.join(INTERFACES[self.kind])} of a {self.kind} one. Add them, or choose another kind."
            )
        if self.tiling == "halo" and not isinstance(getattr(network, "radius", None), int):
            raise ModelError(
                f"the network of architecture {self.name!r} has no radius; expected the input pixels that an output"
                " pixel depends on, a whole number. Set self.radius, or tiling='lattice'."
            )
        return network

    def outline(self, most: int, **config: Any) -> "nn.Module":
        """Untrained network of shapes that take no memory.

        Parameters
        ----------
        most
            Parameters that it may have; a part counts as `PART` of them.
        config
            As in `make`.

        Raises
        ------
        ModelError
            As `make`, and as soon as it has more.
        """
        import torch

        huge = {key: value for key, value in {**self.config, **config}.items() if _is_huge(value)}
        if huge:
            raise ModelError(f"{self.name} has settings {brief(huge)}; expected numbers up to {LARGEST}.")
        with _counted(most, self.name):
            try:
                with torch.device("meta"):
                    return self.make(**config)
            except ModelError as error:
                # Code of others may read numbers while it makes a network.
                if not self.module or not isinstance(error.__cause__, RuntimeError):
                    raise
            return self.make(**config)

    def last(self, network: "nn.Module") -> "nn.Module":
        """Last layer with weights of a network of this architecture: what makes its output."""
        from torch import nn

        head = network.get_submodule(self.head)
        return [layer for layer in head.modules() if isinstance(layer, nn.Conv2d | nn.Linear)][-1]
