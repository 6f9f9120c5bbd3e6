"""Cubes of several members: dimensions beside time, band, y and x, over which an operation on pixels is mapped.

An ensemble, a set of models or of scenarios has one cube for each member. An operation computes each by itself, lazily,
and the results are joined along the dimension, with its coordinates and in its place among the others.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import wraps
from inspect import signature
from typing import Any, TypeVar, cast

import xarray as xr
from odc.geo.xr import spatial_dims

from xsr.core.classes import holds_classes
from xsr.core.errors import CubeError
from xsr.core.names import QUANTILE, standard_dims
from xsr.core.types import XarrayObject

Operation = TypeVar("Operation", bound=Callable[..., XarrayObject])

MEMBERS = ("realization", "realisation", "ensemble", "member", "members", "number", "model", "scenario")
"""Names without regard to case of dimensions that are neither dates nor bands, also where a cube has none of those."""


def member_dims(obj: Any) -> tuple[Hashable, ...]:
    """Dimensions of a cube over which operations on pixels are mapped.

    Those are all beside time, band, y, x and quantile whose name says it (`MEMBERS`), or, in a cube that has both dates
    and bands, whatever their names: else they might be one of the two, and the cube is refused when it is opened.

    Parameters
    ----------
    obj
        Cube as the user gave it.

    Examples
    --------
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(8, 8))
    >>> member_dims(cube.expand_dims(run=2)), member_dims(cube[0].expand_dims(run=2))
    (('run',), ())
    """
    if not isinstance(obj, xr.DataArray | xr.Dataset):
        return ()
    try:
        plain = standard_dims(obj)
    except CubeError:  # found again, and said, when the cube is opened
        return ()
    spatial = spatial_dims(plain, relaxed=True)
    if spatial is None:
        return ()
    arrays = list(plain.data_vars.values()) if isinstance(plain, xr.Dataset) else [plain]
    dims = dict.fromkeys(dim for one in arrays if {*spatial} <= {*one.dims} for dim in one.dims)
    extra = [dim for dim in dims if dim not in ("time", "band", *spatial)]
    if QUANTILE in extra:
        return ()
    complete = "time" in dims and ("band" in dims or isinstance(plain, xr.Dataset))
    return tuple(extra) if complete or all(str(dim).casefold() in MEMBERS for dim in extra) else ()


def each_member(operation: Operation) -> Operation:
    """Let an operation compute each member of a cube by itself; other cubes as before.

    Parameters
    ----------
    operation
        Function of a cube, its first argument, and options.

    Raises
    ------
    CubeError
        If a cube has no member.
    """

    @wraps(operation)
    def mapped(cube: XarrayObject, *args: Any, **options: Any) -> XarrayObject:
        dims = member_dims(cube)
        if not dims:
            return operation(cube, *args, **options)
        dim = dims[0]
        if not cube.sizes[dim]:
            raise CubeError(f"the cube is empty: {dict(cube.sizes)}; expected at least one member along {dim!r}.")
        parts = [mapped(cube.isel({dim: place}, drop=True), *args, **options) for place in range(cube.sizes[dim])]
        return _joined(cube, dim, parts)

    mapped.__signature__ = signature(operation)  # type: ignore[attr-defined]
    del mapped.__wrapped__  # it is the function of the package, and hides no other
    return cast(Operation, mapped)


def _joined(cube: XarrayObject, dim: Hashable, parts: Sequence[Any]) -> XarrayObject:
    """Join results of the members of a cube along their dimension."""
    first = parts[0]
    own = {name: one for name, one in _variables(cube).items() if dim in one.dims and not _over_pixels(cube, one)}
    coords = [name for name, one in first.coords.items() if name not in own and _differs(cube, dim, name, one)]
    how: dict[str, Any] = {"coords": coords, "compat": "override", "join": "override", "combine_attrs": "override"}
    if isinstance(first, xr.Dataset):
        how["data_vars"] = [
            name for name, one in first.data_vars.items() if name not in own and _differs(cube, dim, name, one)
        ]
    joined = xr.concat(parts, dim, **how).drop_vars([name for name in own if name in _variables(first)])
    kept = {name: one.variable for name, one in own.items() if _fits(one, joined, dim)}
    joined = joined.assign_coords({name: one for name, one in kept.items() if name in cube.coords})
    if isinstance(joined, xr.Dataset):
        joined = joined.assign({name: one for name, one in kept.items() if name not in cube.coords})
        assert isinstance(cube, xr.Dataset)
        ordered = {name: _in_order(one, cube.get(name, cube), dim) for name, one in joined.data_vars.items()}
        return joined.assign(ordered)
    return _in_order(joined, cube, dim)


def _variables(obj: XarrayObject) -> dict[Hashable, xr.DataArray]:
    return {**obj.coords, **(obj.data_vars if isinstance(obj, xr.Dataset) else {})}


def _fits(given: xr.DataArray, joined: XarrayObject, dim: Hashable) -> bool:
    """Whether what runs along the members runs along nothing that has changed, as dates may have."""
    return all(one in joined.dims and _places(given, one) == _places(joined, one) for one in given.dims if one != dim)


def _places(obj: XarrayObject, dim: Hashable) -> list[Any]:
    return obj[dim].values.tolist() if dim in obj.coords else list(range(obj.sizes[dim]))


def _over_pixels(cube: XarrayObject, variable: xr.DataArray) -> bool:
    return not {*(spatial_dims(cube, relaxed=True) or ())}.isdisjoint(variable.dims)


def _differs(cube: XarrayObject, dim: Hashable, name: Hashable, made: xr.DataArray) -> bool:
    """Whether a variable of a result is one of each member; classes that the members share stay one."""
    given = _variables(cube).get(name)
    if given is None:
        return made.ndim > 1
    if name in cube.coords or dim in given.dims:
        return dim in given.dims
    return _over_pixels(cube, given) and not holds_classes(name, given)


def _in_order(made: xr.DataArray, given: Any, dim: Hashable) -> xr.DataArray:
    """Put the dimension of the members where it was: before the first that came after it, else after those before."""
    dims = list(given.dims)
    if dim not in made.dims or dim not in dims:
        return made
    rest = [one for one in made.dims if one != dim]
    number = dims.index(dim)
    before = [rest.index(one) + 1 for one in dims[:number] if one in rest]
    after = [rest.index(one) for one in dims[number + 1 :] if one in rest]
    place = min(after, default=max(before, default=0))
    return made.transpose(*rest[:place], dim, *rest[place:])
