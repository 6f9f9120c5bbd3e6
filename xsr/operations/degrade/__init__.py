"""Degradation: what a coarser sensor would have observed, alone, as a pair with its truth, or as a series of frames."""

from xsr.operations.degrade.augment import augment_frames
from xsr.operations.degrade.noise import Noise, SensorNoise
from xsr.operations.degrade.operation import degrade
from xsr.operations.degrade.pair import NativeGsd, wald
from xsr.operations.degrade.series import semi_simulate

__all__ = ["NativeGsd", "Noise", "SensorNoise", "augment_frames", "degrade", "semi_simulate", "wald"]
