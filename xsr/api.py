"""The functions and records of the package, each imported from its module on first use.

So `import xsr` costs little more than ``import xarray``. `xsr` offers these names, `xsr.accessor` binds them to cubes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xsr.core.sensors import Band as Band
    from xsr.core.sensors import Sensor as Sensor
    from xsr.core.sensors import register_sensor as register_sensor
    from xsr.items import stac_item as stac_item
    from xsr.kernels.metrics import register_metric as register_metric
    from xsr.kernels.terms import Means as Means
    from xsr.kernels.terms import Metric as Metric
    from xsr.kernels.terms import Pixels as Pixels
    from xsr.kernels.terms import Terms as Terms
    from xsr.operations.clip import clip as clip
    from xsr.operations.degrade import augment_frames as augment_frames
    from xsr.operations.degrade import degrade as degrade
    from xsr.operations.degrade import semi_simulate as semi_simulate
    from xsr.operations.degrade import wald as wald
    from xsr.operations.estimate_mtf import estimate_mtf as estimate_mtf
    from xsr.operations.evaluate import brisque as brisque
    from xsr.operations.evaluate import calibration as calibration
    from xsr.operations.evaluate import evaluate as evaluate
    from xsr.operations.evaluate import opensr as opensr
    from xsr.operations.evaluate import spectrum as spectrum
    from xsr.operations.evaluate import strata as strata
    from xsr.operations.guided import guided as guided
    from xsr.operations.interpolate import interpolate as interpolate
    from xsr.operations.interpolate import interpolate_time as interpolate_time
    from xsr.operations.mask_clouds import mask_clouds as mask_clouds
    from xsr.operations.match_psf import match_psf as match_psf
    from xsr.operations.native import native as native
    from xsr.operations.register import register as register
    from xsr.operations.store import to_zarr as to_zarr
    from xsr.operations.super_resolve import explain as explain
    from xsr.operations.super_resolve import liif as liif
    from xsr.operations.super_resolve import sample as sample
    from xsr.operations.super_resolve import sharpen as sharpen
    from xsr.operations.super_resolve import sisr as sisr
    from xsr.operations.super_resolve import support as support
    from xsr.operations.to_cog import to_cog as to_cog
    from xsr.operations.verify import verify as verify
    from xsr.sources.eopf import open_eopf as open_eopf
    from xsr.sources.fetch import fetch as fetch
    from xsr.sources.landsat import open_landsat as open_landsat
    from xsr.sources.opening import open as open
    from xsr.sources.registry import Source as Source
    from xsr.sources.registry import register_source as register_source
    from xsr.sources.safe import open_safe as open_safe
    from xsr.sources.stac import open_stac as open_stac
    from xsr.sources.theia import open_theia as open_theia
    from xsr.view.map import explore as explore
    from xsr.view.report import report as report

HOMES = {
    "Band": "xsr.core.sensors",
    "Means": "xsr.kernels.terms",
    "Metric": "xsr.kernels.terms",
    "Pixels": "xsr.kernels.terms",
    "Sensor": "xsr.core.sensors",
    "Source": "xsr.sources.registry",
    "Terms": "xsr.kernels.terms",
    "augment_frames": "xsr.operations.degrade",
    "brisque": "xsr.operations.evaluate",
    "calibration": "xsr.operations.evaluate",
    "clip": "xsr.operations.clip",
    "degrade": "xsr.operations.degrade",
    "estimate_mtf": "xsr.operations.estimate_mtf",
    "evaluate": "xsr.operations.evaluate",
    "explain": "xsr.operations.super_resolve",
    "explore": "xsr.view.map",
    "fetch": "xsr.sources.fetch",
    "guided": "xsr.operations.guided",
    "interpolate": "xsr.operations.interpolate",
    "interpolate_time": "xsr.operations.interpolate",
    "liif": "xsr.operations.super_resolve",
    "mask_clouds": "xsr.operations.mask_clouds",
    "match_psf": "xsr.operations.match_psf",
    "native": "xsr.operations.native",
    "open": "xsr.sources.opening",
    "open_eopf": "xsr.sources.eopf",
    "open_landsat": "xsr.sources.landsat",
    "open_safe": "xsr.sources.safe",
    "open_stac": "xsr.sources.stac",
    "open_theia": "xsr.sources.theia",
    "opensr": "xsr.operations.evaluate",
    "register": "xsr.operations.register",
    "register_metric": "xsr.kernels.metrics",
    "register_sensor": "xsr.core.sensors",
    "register_source": "xsr.sources.registry",
    "report": "xsr.view.report",
    "sample": "xsr.operations.super_resolve",
    "semi_simulate": "xsr.operations.degrade",
    "sharpen": "xsr.operations.super_resolve",
    "sisr": "xsr.operations.super_resolve",
    "spectrum": "xsr.operations.evaluate",
    "stac_item": "xsr.items",
    "strata": "xsr.operations.evaluate",
    "support": "xsr.operations.super_resolve",
    "to_cog": "xsr.operations.to_cog",
    "to_zarr": "xsr.operations.store",
    "verify": "xsr.operations.verify",
    "wald": "xsr.operations.degrade",
}
"""Module of each name."""

if not TYPE_CHECKING:  # a type checker refuses a name that is not imported above

    def __getattr__(name: str) -> Any:
        if name not in HOMES:
            raise AttributeError(f"module 'xsr' has no attribute {name!r}")
        return getattr(import_module(HOMES[name]), name)
