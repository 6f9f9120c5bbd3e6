"""The functions of `xsr.plot`."""

from xsr.view.plots.coverage import calibration
from xsr.view.plots.frequencies import spectrum
from xsr.view.plots.gradients import strata
from xsr.view.plots.panels import compare
from xsr.view.plots.points import series
from xsr.view.plots.truecolour import rgb

__all__ = ["calibration", "compare", "rgb", "series", "spectrum", "strata"]
