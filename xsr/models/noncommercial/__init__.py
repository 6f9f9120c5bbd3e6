"""Weights of xsr that may not be used commercially; a distribution of their own, ``xarray-sr-noncommercial``."""
