"""Super-resolution of Earth-observation data cubes in xarray and Dask.

Importing the package registers the accessor ``.sr`` on DataArray and Dataset. Functions and packages load on first use,
so that ``import xsr`` costs little more than ``import xarray``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import xsr.accessor  # noqa: F401  (registers .sr)
from xsr import api
from xsr._version import __version__

if TYPE_CHECKING:
    from xsr import models as models
    from xsr import openeo as openeo
    from xsr import plot as plot
    from xsr import testing as testing
    from xsr.api import *  # noqa: F403

PACKAGES = ("models", "openeo", "plot", "testing")

__all__ = ["__version__", *sorted((*api.HOMES, *PACKAGES))]

if not TYPE_CHECKING:  # a type checker refuses a name that is not imported above

    def __getattr__(name: str) -> Any:
        return import_module(f"xsr.{name}") if name in PACKAGES else getattr(api, name)


def __dir__() -> list[str]:
    return sorted(__all__)
