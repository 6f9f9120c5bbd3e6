"""Architectures by name: the records at the end of their files, and those that others register.

Names follow the literature. Of a CARN ``carn_{cascades}x{blocks}x{features}g{groups}[sw][_injection]`` (``sw``: shared
weights; ``injection``: reads what sharper bands predict), of an RRDBNet ``esrgan_{blocks}x{features}x{growth}``; any
numbers are accepted; those listed are the published ones, and that of the packaged weights.

The first look-up imports the networks, and PyTorch with them.
"""

import ast
import pkgutil
import re
from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path

from xsr.core import extensions
from xsr.core.errors import ModelError
from xsr.models import architectures
from xsr.models.record import KINDS, TILINGS, Architecture, Kind

_registered: list[Architecture] = []
"""Records from outside the package; a later one replaces an earlier one of its name."""


@cache
def _packaged() -> tuple[Architecture, ...]:
    """Collect the records of the package, fixed networks first."""
    names = [module.name for module in pkgutil.iter_modules(architectures.__path__)]
    modules = [import_module(f"{architectures.__name__}.{name}") for name in names]
    found = [record for module in modules for record in getattr(module, "ARCHITECTURES", ())]
    return tuple(sorted(found, key=lambda record: KINDS.index(record.kind)))


@cache
def _stated_kinds() -> dict[str, str]:
    """Kind by name, as the records of the package state it in their source: PyTorch is not imported for it."""
    found: dict[str, str] = {}
    for path in sorted(path for folder in architectures.__path__ for path in Path(folder).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == Architecture.__name__:
                stated = {one.arg: one.value.value for one in node.keywords if isinstance(one.value, ast.Constant)}
                if isinstance(stated.get("name"), str):
                    found[str(stated["name"])] = str(stated.get("kind"))
    return found


def is_of_kind(name: str, kind: Kind) -> bool:
    """Whether an architecture is of a kind, by the name of its record; imports no network.

    Examples
    --------
    >>> is_of_kind("temporal_liif", "temporal"), is_of_kind("liif", "temporal")
    (True, False)
    """
    own = next((record.kind for record in _own() if record.named(name) is not None), None)
    return (own or _stated_kinds().get(name)) == kind


def _own() -> tuple[Architecture, ...]:
    """Collect what was registered from outside the package, by extensions too."""
    extensions.load()
    return tuple({record.name: record for record in _registered}.values())


def listed() -> dict[str, Architecture]:
    """Architectures that ``xsr models list`` prints, by name."""
    records = (*_packaged(), *_own())
    found = ((name, record.named(name)) for record in records for name in record.names)
    return {name: record for name, record in found if record is not None}


def register(architecture: Architecture) -> None:
    """Make an architecture known by name, beside those of the package.

    Weights of it (``.safetensors`` with a card beside them) then go wherever the weights of the package do. Call it
    where a module is imported, not in a function: other processes, such as workers of a cluster, import that module
    before they load the weights. A package names such a module by an entry point of the group ``xsr.extensions``.
    Registering a name anew from the same module replaces it.

    Parameters
    ----------
    architecture
        Its record. ``module`` names what other processes import; by default the module that ``build`` comes from.

    Raises
    ------
    ModelError
        If the name is taken, the kind or the tiling is unknown, ``pattern`` is no regular expression, or ``build``
        cannot be called.

    Examples
    --------
    >>> import xsr
    >>> from torch import nn
    >>> class Blank(nn.Module):
    ...     factor, radius = 2, 0
    ...     def forward(self, x):
    ...         return nn.functional.interpolate(x, scale_factor=2) * 0
    >>> xsr.models.register(xsr.models.Architecture(name="blank", kind="fixed", build=Blank))
    >>> xsr.models.describe("blank").kind
    'fixed'
    """
    _check(architecture)
    module = architecture.module or getattr(architecture.build, "__module__", "")
    for name in (architecture.name, *architecture.listed):
        taken = find(name)
        if taken is not None and taken.module != module:
            raise ModelError(
                f"the name {name!r} is taken by an architecture of {taken.module or 'xsr'}; expected a free one."
                " Choose another name."
            )
    _registered.append(replace(architecture, module=module))


def _check(architecture: Architecture) -> None:
    """Refuse a record that no network could satisfy."""
    name = architecture.name
    if not name or set(name) & set("/\\"):
        raise ModelError(f"the name {name!r} of an architecture is empty or has slashes; expected a name without.")
    if architecture.kind not in KINDS:
        raise ModelError(f"architecture {name!r} is of kind {architecture.kind!r}; expected one of {', '.join(KINDS)}.")
    if architecture.tiling not in TILINGS:
        raise ModelError(
            f"architecture {name!r} has tiling {architecture.tiling!r}; expected one of {', '.join(TILINGS)}."
        )
    try:
        re.compile(architecture.pattern)
    except re.error as error:
        raise ModelError(
            f"pattern {architecture.pattern!r} of architecture {name!r} is no regular expression ({error}). Correct it."
        ) from error
    if not callable(architecture.build):
        raise ModelError(
            f"build of architecture {name!r} is a {type(architecture.build).__name__}; expected a function or class"
            " that makes the network."
        )


def get(name: str) -> Architecture:
    """Look up an architecture.

    Raises
    ------
    ModelError
        If the name is unknown; the closest names are offered.
    """
    found = find(name)
    if found is None:
        raise ModelError(f"architecture {name!r} is unknown; {suggest(name, listed())}")
    return found


def find(name: str) -> Architecture | None:
    """Architecture of a name, None where there is none."""
    records = (*_packaged(), *_own())
    return next((found for record in records if (found := record.named(name)) is not None), None)


def version() -> int:
    """Count the registrations: a network that was loaded before another one is loaded anew after it."""
    return len(_registered)


def module_of(name: str) -> str:
    """Name the module whose import registers an architecture; empty for those of the package."""
    found = (record for record in _own() if record.named(name) is not None)
    return next((record.module for record in found), "")


def require(name: str, module: str) -> None:
    """Import the module that registers an architecture, where this process does not know it yet.

    Raises
    ------
    ModelError
        If it cannot be imported, or does not register the architecture.
    """
    if not module or module_of(name):
        return
    try:
        import_module(module)
    except ImportError as error:
        raise ModelError(
            f"architecture {name!r} is registered by module {module!r}, which cannot be imported here ({error});"
            " expected a module on the path of every worker. Install it there."
        ) from error
    if not module_of(name):
        raise ModelError(
            f"importing {module!r} here does not register architecture {name!r}; expected a call of"
            " xsr.models.register at the top level of a module that every worker can import. Name it by module=."
        )


def suggest(name: str, known: Iterable[str]) -> str:
    """Name what was probably meant, or everything there is."""
    names = sorted(known)
    meant = close(name, names)
    return f"did you mean {' or '.join(meant)}?" if meant else f"expected one of {', '.join(names)}."


def close(name: str, known: Iterable[str]) -> list[str]:
    """Names that were probably meant, the closest first; at most three."""
    return get_close_matches(name, sorted(known), n=3, cutoff=0.6)
