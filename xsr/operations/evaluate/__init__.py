"""How good a cube is: scores against a reference, by stratum, frequency or protocol, of intervals, and without one."""

from xsr.operations.evaluate.intervals import calibration
from xsr.operations.evaluate.naturalness import brisque
from xsr.operations.evaluate.protocol import opensr
from xsr.operations.evaluate.scores import evaluate
from xsr.operations.evaluate.spectra import spectrum
from xsr.operations.evaluate.stratified import strata

__all__ = ["brisque", "calibration", "evaluate", "opensr", "spectrum", "strata"]
