"""Networks as tensors in, tensors out; what they are, where their weights lie, how they may be tiled.

The names below load on first use; importing this package loads no PyTorch. The package shows itself as a table of the
installed models.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from xsr.core.sheet import Sheet, Shown

if TYPE_CHECKING:
    from xsr.models.catalogue import register as register
    from xsr.models.record import Architecture as Architecture
    from xsr.models.registry import create as create
    from xsr.models.registry import describe as describe
    from xsr.models.registry import load as load
    from xsr.models.registry import names as names
    from xsr.models.registry import register_weights as register_weights

_LAZY = {
    "Architecture": "record",
    "create": "registry",
    "describe": "registry",
    "load": "registry",
    "names": "registry",
    "register": "catalogue",
    "register_weights": "registry",
}
__all__ = ["Architecture", "create", "describe", "load", "names", "register", "register_weights"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"xsr.models.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'xsr.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


class _Table(Shown, ModuleType):
    """The package: an interpreter and a notebook show its models."""

    def _sheet(self) -> Sheet:
        from xsr.models.listing import models_table

        return models_table()


sys.modules[__name__].__class__ = _Table
