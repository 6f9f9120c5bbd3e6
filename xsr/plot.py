"""Pictures with matplotlib, as xarray draws: axes in, artists out; the methods of ``cube.sr.plot``."""

from xsr.view.plots import calibration, compare, rgb, series, spectrum, strata

__all__ = ["calibration", "compare", "rgb", "series", "spectrum", "strata"]
