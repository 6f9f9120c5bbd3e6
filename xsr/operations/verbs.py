"""Which operation the name of a model means: interpolation, a fixed-scale network or a continuous one."""

from pathlib import Path
from typing import Literal, TypeAlias

from xsr.core.errors import ModelError
from xsr.kernels.resample import METHODS
from xsr.models import catalogue, foreign, registry
from xsr.models.card import SUFFIX

Verb: TypeAlias = Literal["interpolate", "sisr", "liif"]


def verb_of(model: str | Path | None, weights: str | Path | None = None) -> Verb:
    """Find the operation of `xsr` that takes a model.

    Parameters
    ----------
    model
        Interpolation method, packaged weights, a path, or an architecture; None is the default network.
    weights
        Weights of an architecture.

    Returns
    -------
    str
        ``interpolate``, ``sisr`` for a fixed-scale network, ``liif`` for any other.

    Raises
    ------
    ModelError
        If there is no such model or method, with the nearest names of both.

    Examples
    --------
    >>> verb_of("bicubic"), verb_of("liif_s2"), verb_of("carn_3x3x64g4sw_s2"), verb_of(None)
    ('interpolate', 'liif', 'sisr', 'liif')
    """
    if model is None:
        return "liif"
    if model in METHODS:
        return "interpolate"
    _check_known(str(model))
    return "liif" if registry.card(model, weights).factor is None else "sisr"


def _check_known(model: str) -> None:
    """Refuse a name that neither models, architectures nor methods have."""
    if Path(model).suffix in (SUFFIX, *foreign.SUFFIXES) or catalogue.find(model):
        return
    if model in (*registry.names(), *registry.APART):
        return
    meant = catalogue.close(model, (*registry.names(), *METHODS, *catalogue.listed()))
    known = f"a model ({', '.join(registry.names())}), an interpolation method ({', '.join(METHODS)}) or a path"
    hint = f"did you mean {' or '.join(meant)}?" if meant else f"expected {known}."
    raise ModelError(f"model {model!r} not found; {hint}")
