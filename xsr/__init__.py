"""Super-resolution of Earth-observation data cubes in xarray and Dask.

Importing the package registers the accessor ``.sr`` on DataArray and Dataset. The names below load on first use, so
that ``import xsr`` costs little more than ``import xarray``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import xsr.accessor  # noqa: F401  (registers .sr)
from xsr._version import __version__

if TYPE_CHECKING:
    from xsr.operations.brisque import brisque as brisque
    from xsr.operations.degrade import degrade as degrade
    from xsr.operations.degrade import semi_simulate as semi_simulate
    from xsr.operations.degrade import wald as wald
    from xsr.operations.evaluate import evaluate as evaluate
    from xsr.operations.interpolate import interpolate as interpolate
    from xsr.operations.opensr import opensr as opensr
    from xsr.operations.spectrum import spectrum as spectrum
    from xsr.operations.store import to_zarr as to_zarr
    from xsr.operations.strata import strata as strata
    from xsr.operations.super_resolve import liif as liif
    from xsr.operations.super_resolve import sample as sample

_LAZY = {
    "degrade": "xsr.operations.degrade",
    "brisque": "xsr.operations.brisque",
    "evaluate": "xsr.operations.evaluate",
    "interpolate": "xsr.operations.interpolate",
    "liif": "xsr.operations.super_resolve",
    "opensr": "xsr.operations.opensr",
    "sample": "xsr.operations.super_resolve",
    "spectrum": "xsr.operations.spectrum",
    "strata": "xsr.operations.strata",
    "semi_simulate": "xsr.operations.degrade",
    "to_zarr": "xsr.operations.store",
    "wald": "xsr.operations.degrade",
}

__all__ = ["__version__", *sorted(_LAZY)]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'xsr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
