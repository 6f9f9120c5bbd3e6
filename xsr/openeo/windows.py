"""Windows on which a back end must run an operation, so that the parts of the result join without a seam.

How far an operation looks is not stated anywhere a second time: the graph of one block of a result names the pixels
that the block reads. A probe cube in Dask chunks of one pixel shows them.
"""

import math
import warnings
from functools import lru_cache
from typing import Any

import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import xarray as xr
from dask.optimization import cull

from xsr.core import checks
from xsr.core.errors import ParameterError, XsrWarning
from xsr.models import registry
from xsr.openeo.request import Request, parse
from xsr.operations.super_resolve.optical import MEASURED

SIZE = 256
"""Least side of a window without its overlap, in pixels, where none is given."""
BANDS = ("B02", "B03", "B04", "B08")
COARSE = ("B01", "B09")
"""Bands of 60 m, which look farthest in `sharpen`."""
LATTICE = 6
"""Pixels of 10 m in one of 60 m: windows of `sharpen` hold whole ones of 20 m and 60 m."""
PROBE = "xsr-openeo-probe"
NUMBERS = MEASURED + "-"
"""Beginning of the Dask keys of numbers of a whole image."""
GSD_M = 10.0


def neighborhood(operation: str = "liif", *, size: int | None = None, **settings: Any) -> dict[str, Any]:
    """Windows for ``apply_neighborhood`` of openEO, on which a user-defined function gives the result of the whole.

    Parameters
    ----------
    operation
        As in `udf`.
    size
        Least side in pixels of a window without its overlap, 256 by default. The side returned is the next that, times
        the scale, is whole.
    settings
        As in `udf`.

    Returns
    -------
    dict
        ``size`` and ``overlap`` as the openEO client takes them, in pixels of the cube: a back end delivers windows of
        ``size + 2 * overlap``. Both times the scale are whole, and ``overlap`` is at most ``size``.

    Raises
    ------
    ParameterError
        If ``size`` is too small for what the operation reads around a window, or a setting is unknown; or if the model
        reads the MTF and the noise of the image, and they are not given.

    Notes
    -----
    The overlap is what one block of the operation's graph reads around itself, rounded up to where the scale is whole
    (of `xsr.liif`, on the lattice of pixels twice as large too): it is exact for the options given, a model's receptive
    field and what filling gaps needs among them.

    Examples
    --------
    >>> import xsr
    >>> windows = xsr.openeo.neighborhood("interpolate", scale=3.4, size=64)
    >>> [(one["dimension"], one["value"]) for one in windows["size"] + windows["overlap"]]
    [('x', 65), ('y', 65), ('x', 5), ('y', 5)]
    """
    request = parse(operation, settings)
    request.check_numbers()
    side, overlap = sides(request, size)
    return {
        name: [{"dimension": dim, "value": value, "unit": "px"} for dim in ("x", "y")]
        for name, value in (("size", side), ("overlap", overlap))
    }


def sides(request: Request, size: int | None = None) -> tuple[int, int]:
    """Side of a window without overlap, and the overlap, in pixels of the cube; see `neighborhood`."""
    step = period(request)
    side = math.ceil((SIZE if size is None else checks.whole("size", size, least=1)) / step) * step
    overlap = math.ceil(reach(request, side) / step) * step
    if overlap > side:
        raise ParameterError(
            f"size={side}; {request.text} reads {overlap} pixels or more around a window, and openEO takes no overlap"
            " above the size. Give a larger size."
        )
    return side, overlap


def period(request: Request) -> int:
    """Pixels of the cube of which a window has a whole multiple."""
    if request.operation == "sharpen":
        return LATTICE
    return math.lcm(request.factor.denominator, 2 if request.operation == "liif" else 1)


@lru_cache(maxsize=64)
def reach(request: Request, size: int, bands: tuple[str, ...] | None = None) -> int:
    """Pixels that a block of ``size`` input pixels reads around itself, along the axis where they are more.

    More than ``size`` is returned as ``size + 1``.
    """
    names = _bands(request) if bands is None else bands
    return max(_reach(request, size, names, axis) for axis in (2, 3))


def _reach(request: Request, size: int, bands: tuple[str, ...], axis: int) -> int:
    """Reach along one axis of (time, band, y, x): what the middle one of three blocks reads."""
    shape = (1, len(bands), 3 * size, 3 * size)
    chunks = tuple(1 if number == axis else length for number, length in enumerate(shape))
    pixels = da.from_array(np.broadcast_to(np.float32(0.1), shape), chunks=chunks, name=PROBE)
    gsd = float(request.of_cube.get("resolution", GSD_M))
    centres = gsd * (np.arange(3 * size) + 0.5)
    coords = {"band": list(bands), "y": -centres, "x": centres}
    cube = xr.DataArray(pixels, dims=("time", "band", "y", "x"), coords=coords)
    cube = cube.odc.assign_crs(request.of_cube.get("crs", "EPSG:32633"))
    with warnings.catch_warnings():  # of the probe: those of the cube come when it is computed
        warnings.simplefilter("ignore", XsrWarning)
        array = request.run(cube, chunks=round(size * request.factor)).data
    graph = dict(array.__dask_graph__())
    # Numbers of the whole image, which a model of any sensor reads beside it, lie in no place.
    graph |= {key: None for key in graph if isinstance(key, tuple) and key[0].startswith(NUMBERS)}
    graph, _ = cull(graph, [(array.name, 0, 0, 1, 1)])
    read = [key[1 + axis] for key in graph if isinstance(key, tuple) and key[0] == PROBE]
    beyond = max(size - min(read), max(read) + 1 - 2 * size)
    return size + 1 if min(read) == 0 or max(read) + 1 == 3 * size else beyond


def _bands(request: Request) -> tuple[str, ...]:
    """Bands of the probe: those named, else those of the model."""
    names = request.of_cube.get("band_names")
    if names is not None:
        return tuple(map(str, names))
    if request.model is None:
        return BANDS
    if request.each:
        by_band = [given for given in map(request.arguments.get, ("mtf", "noise")) if isinstance(given, dict)]
        return tuple(by_band[0]) if by_band else BANDS
    bands = tuple(registry.card(request.model, request.arguments.get("weights")).image.names)
    return (*bands, *COARSE) if request.operation == "sharpen" else bands
