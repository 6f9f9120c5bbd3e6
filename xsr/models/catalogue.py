"""Architectures by name: the class behind each, its settings, and what is known of it without any weights.

Names follow the literature. Of a CARN ``carn_{cascades}x{blocks}x{features}g{groups}[sw][_injection]`` (``sw``: shared
weights; ``injection``: shown what sharper bands predict), of an RRDBNet ``esrgan_{blocks}x{features}x{growth}``; any
numbers will do; those listed are the published ones, and that of the packaged weights.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from xsr.core.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

CARN = re.compile(r"carn_(\d+)x(\d+)x(\d+)g(\d+)(sw)?(_injection)?")
ESRGAN = re.compile(r"esrgan_(\d+)x(\d+)x(\d+)")

_MICHEL = "J. Michel, E. Kalinicheva, Evoland operational super-resolution (2024); network of"
_AHN = f"{_MICHEL} N. Ahn et al., ECCV 2018, doi:10.1007/978-3-030-01249-6_16"
_SELVA = f"{_AHN}; detail injection after M. Selva et al., IEEE JSTARS 8 (2015), doi:10.1109/JSTARS.2015.2440092"
_WANG = f"{_MICHEL} X. Wang et al., ECCVW 2018, doi:10.1007/978-3-030-11021-5_5"
_CHEN = "Y. Chen, S. Liu, X. Wang, CVPR 2021, doi:10.1109/CVPR46437.2021.00852"
_GUTIERREZ = "Gutiérrez Gómez, end-to-end continuous space-time super-resolution, thesis, 2023"
_TANG = "J. Tang, X. Chen, G. Zeng, ACM Multimedia 2021, doi:10.1145/3474085.3475584"
_ZHAO = "Z. Zhao et al., CVPR 2022, doi:10.1109/CVPR52688.2022.00561"
_DONG = "C. Dong et al., IEEE TPAMI 38 (2016), doi:10.1109/TPAMI.2015.2439281"
_REAL = "X. Wang et al., ICCVW 2021, doi:10.1109/ICCVW54120.2021.00217"


@dataclass(frozen=True)
class Architecture:
    """A network's class and settings."""

    name: str
    kind: str
    """fixed (one factor), continuous, temporal, guided or discriminator."""
    module: str
    """Module in `xsr.models.architectures`."""
    cls: str
    config: dict[str, Any] = field(default_factory=dict)
    """Arguments of the class that the name stands for."""
    summary: str = ""
    citation: str = ""

    def build(self, **config: Any) -> "nn.Module":
        """Untrained network; ``config`` overrides the settings of the name."""
        cls = getattr(import_module(f"xsr.models.architectures.{self.module}"), self.cls)
        network: nn.Module = cls(**{**self.config, **config})
        return network

    def rename(self) -> Callable[[str], str | None]:
        """Return the function from a published tensor's name to ours, None where ours has no such tensor."""
        module = import_module(f"xsr.models.architectures.{self.module}")
        function: Callable[[str], str | None] = getattr(module, "rename", str)
        return function


def _carn(name: str, match: re.Match[str]) -> Architecture:
    cascades, blocks, features, groups = (int(n) for n in match.groups()[:4])
    config: dict[str, Any] = {"cascades": cascades, "blocks": blocks, "features": features, "groups": groups}
    config["shared"] = match.group(5) is not None
    if match.group(6):
        summary = "Cascading residual network that is shown what sharper bands predict of the others"
        return Architecture(name, "fixed", "injection", "Injection", config, summary, _SELVA)
    return Architecture(name, "fixed", "carn", "CARN", config, "Cascading residual network, additive form", _AHN)


def _esrgan(name: str, match: re.Match[str]) -> Architecture:
    blocks, features, growth = (int(n) for n in match.groups())
    config = {"blocks": blocks, "features": features, "growth": growth}
    return Architecture(name, "fixed", "rrdb", "RRDBNet", config, "Residual-in-residual dense blocks", _WANG)


def _listed() -> tuple[Architecture, ...]:
    carn = [f"carn_{n}x3x64g4sw" for n in (1, 2, 3, 4)]
    carn += ["carn_3x3x64g4", "carn_3x3x64g1sw", "carn_3x3x64g4sw_injection"]
    found = [_carn(name, match) for name in carn if (match := CARN.fullmatch(name))]
    found += [_esrgan(name, match) for name in ("esrgan_3x64x32",) if (match := ESRGAN.fullmatch(name))]
    light: dict[str, Any] = {"levels": 1, "cascades": 1, "blocks": 2, "features": 32, "groups": 2, "shared": False}
    light |= {"wiring": "sum_then_mix", "activation": "relu"}
    found += [
        Architecture("carn_light", "fixed", "carn", "CARN", light, "Cascading residual network of 2023", _AHN),
        Architecture("srcnn", "fixed", "srcnn", "SRCNN", {}, "Three convolutions on the bicubic image", _DONG),
        Architecture("liif", "continuous", "liif", "LIIF", {}, "Local implicit image function", _CHEN),
        Architecture(
            "temporal_liif", "temporal", "temporal_liif", "TemporalLIIF", {}, "LIIF of any dates, by attention", _CHEN
        ),
        Architecture(
            "temporal_liif_index3d",
            "temporal",
            "temporal_liif",
            "TemporalLIIF3D",
            {},
            "LIIF of equally spaced dates, by 3-D convolutions",
            _GUTIERREZ,
        ),
        Architecture("jiif", "guided", "jiif", "JIIF", {}, "Joint implicit image function", _TANG),
        Architecture("dctnet", "guided", "dctnet", "DCTNet", {}, "Discrete cosine transform network", _ZHAO),
        Architecture(
            "dctrrdbnet",
            "guided",
            "dctrrdbnet",
            "DCTRRDBNet",
            {},
            "DCTNet that reconstructs by dense blocks (our reading of Lee 2023)",
            _ZHAO,
        ),
        Architecture(
            "unet_discriminator",
            "discriminator",
            "discriminators",
            "UNetDiscriminator",
            {},
            "U-Net with spectral normalisation",
            _REAL,
        ),
        Architecture(
            "simple_discriminator",
            "discriminator",
            "discriminators",
            "SimpleDiscriminator",
            {},
            "Convolutions, pooling and a linear layer",
            "",
        ),
    ]
    return tuple(found)


LISTED = {architecture.name: architecture for architecture in _listed()}
"""Architectures that ``xsr models list`` prints."""


def get(name: str) -> Architecture:
    """Look up an architecture.

    Raises
    ------
    ModelError
        If the name is unknown; the closest names are offered.
    """
    found = find(name)
    if found is None:
        raise ModelError(f"architecture {name!r} is unknown; {suggest(name, LISTED)}")
    return found


def find(name: str) -> Architecture | None:
    """Architecture of a name, None where there is none."""
    if name in LISTED:
        return LISTED[name]
    if match := CARN.fullmatch(name):
        return _carn(name, match)
    if match := ESRGAN.fullmatch(name):
        return _esrgan(name, match)
    return None


def suggest(name: str, known: Iterable[str]) -> str:
    """Name what was probably meant, or everything there is."""
    names = sorted(known)
    meant = close(name, names)
    return f"did you mean {' or '.join(meant)}?" if meant else f"expected one of {', '.join(names)}."


def close(name: str, known: Iterable[str]) -> list[str]:
    """Names that were probably meant, the closest first; at most three."""
    return get_close_matches(name, sorted(known), n=3, cutoff=0.6)
