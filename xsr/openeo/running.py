"""What the file of a user-defined function calls: the operation on one window, and the metadata of the result."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import xarray as xr

from xsr.core.errors import CubeError, ParameterError
from xsr.core.names import DIMENSIONS, standard_dims
from xsr.openeo.request import Request, parse
from xsr.openeo.windows import period, reach

CONTEXT = "openeo.UDF(code, context={...})"


def apply_datacube(cube: xr.DataArray, context: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> xr.DataArray:
    """Compute an operation on one window of a cube, as the file that `udf` writes asks for.

    Parameters
    ----------
    cube
        Window with dims y and x, and any of those of dates and bands (openEO: ``t``, ``bands``). Coordinates may be of
        single precision, or absent; a CRS is not expected on it.
    context
        What the user passes with ``context=`` of ``openeo.UDF``: any setting of `udf`, which wins over the file's.
    settings
        Those in the file, ``operation`` among them.

    Returns
    -------
    DataArray
        The result for the whole window, overlap included: float32 in memory, the dims of ``cube`` in their order, with
        coordinates along x and y where it has them.

    Raises
    ------
    CubeError
        If the CRS is not known, or coordinates are absent and the pixel size is not known.
    ParameterError
        If the window is too small for what the operation reads around a pixel, the window times the scale is not whole,
        or a setting is unknown; or if the model reads the MTF and the noise of the image, and they are not given.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(40, 40)).rename(time="t", band="bands").drop_vars("spatial_ref")
    >>> settings = {"operation": "interpolate", "scale": 3.4}
    >>> dict(xsr.openeo.apply_datacube(cube, {"crs": "EPSG:32633"}, settings).sizes)
    {'t': 1, 'bands': 4, 'y': 136, 'x': 136}
    """
    request = _request(context, settings)
    request.check_numbers()
    _check_dims(cube)
    if cube.encoding.get("grid_mapping", cube.attrs.get("grid_mapping")) not in cube.coords:  # lost on the way
        cube = cube.drop_encoding()
        cube.attrs = {name: value for name, value in cube.attrs.items() if name != "grid_mapping"}
    _check_known(cube, request)
    placed = _placed(cube, request)
    _check_window(placed, request)
    result = request.run(placed).compute().transpose(*cube.dims)
    kept = {*cube.coords, *({"x", "y"} & {*cube.coords})}
    return result.drop_vars([name for name in result.coords if name not in kept])


def apply_metadata(metadata: Any, context: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> Any:
    """Say that a result has finer pixels, as the file that `udf` writes asks for.

    Parameters
    ----------
    metadata
        ``CubeMetadata`` of the openEO client.
    context, settings
        As in `apply_datacube`.

    Returns
    -------
    CubeMetadata
        With the pixel size divided by the scale; unchanged where the operation keeps the grid.

    Raises
    ------
    ParameterError
        If the metadata have no pixel size and ``context`` gives no ``resolution``.

    Examples
    --------
    Not run as a test: it needs the client of openEO.

    >>> xsr.openeo.apply_metadata(metadata, {}, {"operation": "liif", "scale": 2})  # doctest: +SKIP
    CubeMetadata(...)
    """
    request = _request(context, settings)
    if request.factor == 1:
        return metadata
    given = request.of_cube.get("resolution")
    steps: dict[str, Any] = {dim.name: dim.step or given for dim in metadata.spatial_dimensions}
    unknown = [name for name, step in steps.items() if step is None]
    if unknown:
        raise ParameterError(
            f"the metadata have no pixel size along {unknown}; expected one to divide by the scale. Pass it in units of"
            f" the CRS: {CONTEXT} with 'resolution': 10."
        )
    return metadata.resample_spatial(resolution=[abs(step) / float(request.factor) for step in steps.values()])


def _request(context: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> Request:
    merged = {**settings, **(context or {})}
    return parse(str(merged.pop("operation", "liif")), merged)


def _check_dims(cube: xr.DataArray) -> None:
    if not {"y", "x"} <= {*cube.dims}:
        raise CubeError(f"the window has dims {list(cube.dims)}; expected y and x among them. Rename them in openEO.")


def _check_known(cube: xr.DataArray, request: Request) -> None:
    """Refuse a cube of which something is not known, naming all of it at once."""
    known = request.of_cube
    needed: dict[str, Any] = {}
    if "crs" not in known and cube.odc.crs is None:
        needed["crs"] = "EPSG:32633"
    if not {"y", "x"} <= {*cube.coords} and "resolution" not in known:
        needed["resolution"] = 10
    named = "band_names" in known or "band" in standard_dims(cube).coords
    if not named and request.operation != "interpolate":
        needed["band_names"] = ["B02", "..."]
    if needed:
        raise CubeError(
            f"the window from openEO says nothing of {', '.join(needed)}; expected it from whoever runs the function."
            f" Pass it: context={needed}, as in openeo.UDF(code, context=...)."
        )


def _placed(cube: xr.DataArray, request: Request) -> xr.DataArray:
    """Window with CRS, coordinates, names of bands and the packing of its numbers."""
    known = request.of_cube
    cube = cube.astype(np.float32) if cube.dtype.kind == "f" else cube
    coords: dict[Hashable, Any] = {}
    for dim, sign in (("y", -1), ("x", 1)):
        if dim not in cube.coords:
            coords[dim] = sign * float(known["resolution"]) * (np.arange(cube.sizes[dim]) + 0.5)
    if "band_names" in known:
        coords |= _band_names(cube, known["band_names"])
    cube = cube.assign_coords(coords)
    if "crs" in known:
        cube = cube.odc.assign_crs(known["crs"])
    if not request.packed:
        return cube
    scale, offset = (np.float32(known.get(name, plain)) for name, plain in (("scale_factor", 1), ("add_offset", 0)))
    return cube.astype(np.float32) * scale + offset


def _band_names(cube: xr.DataArray, names: Sequence[str]) -> dict[Hashable, Any]:
    """Coordinate with the names of the bands."""
    along = [dim for dim in cube.dims if str(dim).casefold() in DIMENSIONS["band"]]
    count = cube.sizes[along[0]] if along else 1
    if isinstance(names, str) or len(names) != count:
        raise ParameterError(f"band_names={names!r}; the window has {count} band(s). Give a list with a name for each.")
    return {along[0]: list(map(str, names))} if along else {"band": str(names[0])}


def _check_window(cube: xr.DataArray, request: Request) -> None:
    """Refuse a window that has no pixel with all that the operation reads around it, or that the scale does not fit."""
    step = period(request)
    bands = standard_dims(cube)
    names = tuple(map(str, np.atleast_1d(bands["band"].values))) if "band" in bands.coords else None
    height, width = cube.sizes["y"], cube.sizes["x"]
    needed = reach(request, max(step, min(height, width) // step * step), names)
    needed = -(-needed // step) * step
    if min(height, width) <= 2 * needed or height % step or width % step:
        raise ParameterError(
            f"a window of {height} × {width} pixels; {request.text} needs an overlap of {needed} pixels on each side of"
            f" the size, in multiples of {step}. Pass the windows that xsr.openeo.neighborhood(...) returns to"
            " apply_neighborhood."
        )
