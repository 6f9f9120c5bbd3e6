"""Weights of xsr that may not be used commercially; a distribution of their own, ``xarray-sr-noncommercial``."""

from pathlib import Path

from xsr.models import register_weights

register_weights(Path(__file__).parent)
