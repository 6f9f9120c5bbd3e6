"""Assertions for lazy, georeferenced cubes.

They take any xarray object or grid, synthetic or not, and state in their message what differs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox


@contextlib.contextmanager
def assert_lazy(*objects: Any) -> Iterator[None]:
    """Fail if anything is computed by Dask inside the block.

    Parameters
    ----------
    *objects : xarray.DataArray, xarray.Dataset or dask collection
        Inputs that must be backed by Dask, so that the test bites.

    Yields
    ------
    None
        Control to the block.

    Raises
    ------
    AssertionError
        If an input is not lazy, or a computation is started.

    Examples
    --------
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(8, 8), chunks={"y": 4})
    >>> with assert_lazy(cube):
    ...     doubled = cube * 2
    """
    import dask
    from dask.base import is_dask_collection

    for item in objects:
        if not is_dask_collection(item):
            raise AssertionError(f"{type(item).__name__} is in memory; expected a Dask-backed object. Chunk it.")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a Dask computation was started; expected none. Keep the operation lazy.")

    with dask.config.set(scheduler=refuse):
        yield


def assert_same_grid(left: Any, right: Any) -> None:
    """Fail if two objects differ in CRS, shape or transform (beyond 1e-9 relative).

    Parameters
    ----------
    left, right : xarray.DataArray, xarray.Dataset or GeoBox
        Georeferenced objects.

    Raises
    ------
    AssertionError
        If the grids differ; the message states how.

    Examples
    --------
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(8, 8))
    >>> assert_same_grid(cube, cube.isel(time=0))
    """
    one, two = (item if isinstance(item, GeoBox) else item.odc.geobox for item in (left, right))
    if one is None or two is None:
        raise AssertionError("a grid is missing; expected spatial coordinates on both. Assign a CRS.")
    differences = []
    if one.crs != two.crs:
        differences.append(f"CRS {one.crs} against {two.crs}")
    if tuple(one.shape) != tuple(two.shape):
        differences.append(f"shape {tuple(one.shape)} against {tuple(two.shape)}")
    ours, theirs = (np.array(tuple(grid.transform)[:6]) for grid in (one, two))
    if not np.allclose(ours, theirs, rtol=1e-9, atol=1e-9 * abs(ours[0])):
        differences.append(f"transform {ours.tolist()} against {theirs.tolist()}")
    if differences:
        raise AssertionError("grids differ: " + "; ".join(differences))
