"""How good a cube is: scores against a reference, by stratum and frequency, by a protocol, and without a reference."""

from xsr.operations.evaluate.naturalness import brisque
from xsr.operations.evaluate.protocol import opensr
from xsr.operations.evaluate.scores import evaluate
from xsr.operations.evaluate.spectra import spectrum
from xsr.operations.evaluate.stratified import strata

__all__ = ["brisque", "evaluate", "opensr", "spectrum", "strata"]
