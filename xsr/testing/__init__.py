"""Synthetic Sentinel-2 cubes with known truth, and assertions for lazy, georeferenced cubes.

A :class:`Scene` is a continuous description of farmland with a village: parcels that follow the
seasons, hedges, tracks, roads, a river, houses and trees that cast shadows. It has no pixels, so it can be
observed at any ground sampling distance: the truth at 2.5 m is known when the cube is given at 10 m. Every
sample is a function of its position alone, so a window equals the crop of the whole. Imports NumPy,
xarray, odc-geo and :mod:`xsr.core`; Dask on first use.
"""

from xsr.testing.asserts import assert_lazy, assert_same_grid
from xsr.testing.cubes import SyntheticPair, synthetic_cube, synthetic_pair
from xsr.testing.scene import Scene

__all__ = [
    "Scene",
    "SyntheticPair",
    "assert_lazy",
    "assert_same_grid",
    "synthetic_cube",
    "synthetic_pair",
]
