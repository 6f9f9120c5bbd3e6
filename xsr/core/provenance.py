"""How a result was made: the attributes that every operation leaves on what it returns."""

from typing import Any

from xsr._version import __version__

PREFIX = "xsr_"
"""Beginning of the names of these attributes."""
OPERATION = f"{PREFIX}operation"
SCALE = f"{PREFIX}scale"
INPUT = f"{PREFIX}input"


def made_by(operation: str, **settings: Any) -> dict[str, Any]:
    """Attributes of a result: the version of xsr, the operation, and what it was made with.

    Examples
    --------
    >>> list(made_by("clip", scale=[2.0, 2.0]))
    ['xsr_version', 'xsr_operation', 'xsr_scale']
    """
    version = {f"{PREFIX}version": __version__, OPERATION: operation}
    return version | {f"{PREFIX}{name}": value for name, value in settings.items()}
