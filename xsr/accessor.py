"""``cube.sr``: binds the functions of `xsr.api` to a cube. No state, no arithmetic, no signature of its own."""

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

import xarray as xr

from xsr import api
from xsr.core.sheet import Sheet, Shown
from xsr.core.types import XarrayObject

if TYPE_CHECKING:
    from xsr.view import plots

Container = TypeVar("Container", bound=XarrayObject)
Options = ParamSpec("Options")
Result = TypeVar("Result")


class Bound(Protocol):
    """What verbs are bound to."""

    def _cube_for(self, verb: str) -> XarrayObject:
        """Cube, or scores, that a verb is bound to."""
        ...


class Verb(Generic[Options, Result]):
    """A function of cubes as a method of the accessor: its signature without the cube, its docstring.

    Parameters
    ----------
    load
        Returns the function, imported when the method is first looked up.
    """

    def __init__(self, load: Callable[[], Callable[Concatenate[XarrayObject, Options], Result]]) -> None:
        self._load = load
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, accessor: None, owner: type) -> Callable[Concatenate[XarrayObject, Options], Result]: ...

    @overload
    def __get__(self, accessor: Bound, owner: type) -> Callable[Options, Result]: ...

    def __get__(self, accessor: Bound | None, owner: type) -> Any:
        """Return the function bound to the cube of an accessor; to the class, unbound."""
        function = self._load()
        if accessor is None:
            return function

        name = self._name

        @wraps(function)
        def method(self: Bound, *args: Any, **options: Any) -> Any:
            return function(self._cube_for(name), *args, **options)

        return MethodType(method, accessor)  # bound to the accessor, by which it can be pickled


class CubeVerb(Verb[Options, XarrayObject]):
    """A verb that returns the container it is given, DataArray or Dataset."""

    if TYPE_CHECKING:

        @overload  # type: ignore[override]  # mypy takes the narrower second case for another
        def __get__(
            self, accessor: None, owner: type
        ) -> Callable[Concatenate[XarrayObject, Options], XarrayObject]: ...

        @overload
        def __get__(self, accessor: "SuperResolution[Container]", owner: type) -> Callable[Options, Container]: ...

        @overload
        def __get__(self, accessor: Bound, owner: type) -> Callable[Options, XarrayObject]: ...

        def __get__(self, accessor: Bound | None, owner: type) -> Any: ...


class _Later:
    """The functions of a module, which is imported when the first is looked up."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._module), name)


if not TYPE_CHECKING:
    plots = _Later("xsr.view.plots")


class Plots:
    """Pictures of a cube, or of scores: every method is the function of the same name in `xsr.plot`, bound to it."""

    def __init__(self, obj: XarrayObject) -> None:
        self._obj = obj

    def _cube_for(self, verb: str) -> XarrayObject:
        """Cube, or scores, that a picture is made of."""
        return self._obj

    rgb = Verb(lambda: plots.rgb)
    compare = Verb(lambda: plots.compare)
    series = Verb(lambda: plots.series)
    strata = Verb(lambda: plots.strata)
    spectrum = Verb(lambda: plots.spectrum)
    calibration = Verb(lambda: plots.calibration)


def _homes(accessor: type) -> dict[str, str]:
    """Name the module of each verb of an accessor."""
    return {name: api.HOMES[name] for name, value in vars(accessor).items() if isinstance(value, Verb)}


@xr.register_dataset_accessor("sr")  # type: ignore[no-untyped-call]
@xr.register_dataarray_accessor("sr")  # type: ignore[no-untyped-call]
class SuperResolution(Shown, Generic[Container]):
    """Super-resolution of a cube: every method is the function of the same name in `xsr`, bound to the cube."""

    def __init__(self, obj: Container) -> None:
        self._obj = obj

    def _sheet(self) -> Sheet:
        from xsr.view.card import cube_card

        return cube_card(self._obj, _homes(type(self)))

    def _cube_for(self, verb: str) -> XarrayObject:
        """Cube that a verb is bound to."""
        return self._obj

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
    estimate_mtf = Verb(lambda: api.estimate_mtf)
    match_psf = CubeVerb(lambda: api.match_psf)
    support = Verb(lambda: api.support)
    to_cog = Verb(lambda: api.to_cog)
    to_zarr = Verb(lambda: api.to_zarr)
    explore = Verb(lambda: api.explore)
    report = Verb(lambda: api.report)

    @property
    def plot(self) -> Plots:
        """Pictures with matplotlib: `rgb`, `compare` and `series` of a cube, `strata` and the like of its scores."""
        return Plots(self._obj)


@xr.register_datatree_accessor("sr")  # type: ignore[no-untyped-call]
class TreeSuperResolution(SuperResolution[Any]):
    """Super-resolution of a tree: every method opens it as `xsr.open` does, and is bound to the cube that it holds.

    `sharpen` takes the bands of all its groups, each on its own grid.
    """

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    def _sheet(self) -> Sheet:
        from xsr.view.card import tree_card

        return tree_card(self._tree, api.open, _homes(SuperResolution))

    def _cube_for(self, verb: str) -> XarrayObject:
        """Cube of the tree for a verb."""
        if verb != "sharpen":
            return api.open(self._tree)
        from xsr.sources.opening import open_mixed

        return open_mixed(self._tree)
