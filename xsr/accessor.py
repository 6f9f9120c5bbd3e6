"""``cube.sr``: binds the functions of `xsr.api` to a cube. No state, no arithmetic, no signature of its own."""

from collections.abc import Callable
from functools import wraps
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

import xarray as xr

from xsr import api
from xsr.core.types import XarrayObject

Container = TypeVar("Container", bound=XarrayObject)
Options = ParamSpec("Options")
Result = TypeVar("Result")


class Verb(Generic[Options, Result]):
    """A function of cubes as a method of the accessor: its signature without the cube, its docstring.

    Parameters
    ----------
    load
        Returns the function, imported when the method is first looked up.
    """

    def __init__(self, load: Callable[[], Callable[Concatenate[XarrayObject, Options], Result]]) -> None:
        self._load = load

    @overload
    def __get__(self, accessor: None, owner: type) -> Callable[Concatenate[XarrayObject, Options], Result]: ...

    @overload
    def __get__(self, accessor: "SuperResolution[Any]", owner: type) -> Callable[Options, Result]: ...

    def __get__(self, accessor: "SuperResolution[Any] | None", owner: type) -> Any:
        """Return the function bound to the cube of an accessor; to the class, unbound."""
        function = self._load()
        if accessor is None:
            return function

        @wraps(function)
        def method(self: "SuperResolution[Any]", *args: Any, **options: Any) -> Any:
            return function(self._obj, *args, **options)

        return MethodType(method, accessor)  # bound to the accessor, by which it can be pickled


class CubeVerb(Verb[Options, XarrayObject]):
    """A verb that returns the container it is given, DataArray or Dataset."""

    if TYPE_CHECKING:

        @overload
        def __get__(
            self, accessor: None, owner: type
        ) -> Callable[Concatenate[XarrayObject, Options], XarrayObject]: ...

        @overload
        def __get__(self, accessor: "SuperResolution[Container]", owner: type) -> Callable[Options, Container]: ...

        def __get__(self, accessor: "SuperResolution[Any] | None", owner: type) -> Any: ...


@xr.register_dataset_accessor("sr")  # type: ignore[no-untyped-call]
@xr.register_dataarray_accessor("sr")  # type: ignore[no-untyped-call]
class SuperResolution(Generic[Container]):
    """Super-resolution of a cube: every method is the function of the same name in `xsr`, bound to the cube."""

    def __init__(self, obj: Container) -> None:
        self._obj = obj

    interpolate = CubeVerb(lambda: api.interpolate)
    interpolate_time = CubeVerb(lambda: api.interpolate_time)
    liif = CubeVerb(lambda: api.liif)
    sisr = CubeVerb(lambda: api.sisr)
    sharpen = CubeVerb(lambda: api.sharpen)
    native = CubeVerb(lambda: api.native)
    guided = CubeVerb(lambda: api.guided)
    sample = CubeVerb(lambda: api.sample)
    explain = Verb(lambda: api.explain)
    evaluate = Verb(lambda: api.evaluate)
    strata = Verb(lambda: api.strata)
    spectrum = Verb(lambda: api.spectrum)
    calibration = Verb(lambda: api.calibration)
    opensr = Verb(lambda: api.opensr)
    brisque = Verb(lambda: api.brisque)
    degrade = CubeVerb(lambda: api.degrade)
    wald = Verb(lambda: api.wald)
    semi_simulate = CubeVerb(lambda: api.semi_simulate)
    mask_clouds = CubeVerb(lambda: api.mask_clouds)
    clip = CubeVerb(lambda: api.clip)
    register = CubeVerb(lambda: api.register)
    match_psf = CubeVerb(lambda: api.match_psf)
    support = Verb(lambda: api.support)
    to_cog = Verb(lambda: api.to_cog)
    to_zarr = Verb(lambda: api.to_zarr)
    explore = Verb(lambda: api.explore)


@xr.register_datatree_accessor("sr")  # type: ignore[no-untyped-call]
class TreeSuperResolution:
    """Super-resolution of a tree: a method opens it as `xsr.open` does, and is bound to the cube that it holds."""

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    def sharpen(self, **options: Any) -> XarrayObject:
        """Bring the bands of all groups to the grid of the sharpest; see `xsr.sharpen`, whose options these are."""
        return api.sharpen(api.open(self._tree), **options)
