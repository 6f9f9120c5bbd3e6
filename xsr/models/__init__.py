"""Networks as tensors in, tensors out; what they are, where their weights lie, how they may be tiled.

The names below load on first use, so that importing this package loads no PyTorch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xsr.models.registry import create as create
    from xsr.models.registry import describe as describe
    from xsr.models.registry import load as load
    from xsr.models.registry import names as names

__all__ = ["create", "describe", "load", "names"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from xsr.models import registry

        return getattr(registry, name)
    raise AttributeError(f"module 'xsr.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
