"""The card of a cube: what ``cube.sr`` shows in a terminal and a notebook.

Nothing of a lazy cube is computed: its structure is read from a stand-in with the same dimensions, names and attributes
and no pixels. What is wrong with a cube is said in the words of the error that every operation would raise.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from xsr.core import graph
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import XsrError
from xsr.core.sheet import Section, Sheet
from xsr.core.types import XarrayObject
from xsr.view import facts, pixels
from xsr.view.fit import Fit, fits
from xsr.view.scores import is_scores, scores_card
from xsr.view.verbs import first_lines

KIND = "xsr cube"


@dataclass(frozen=True)
class Reading:
    """A cube as a user holds it, and what the contract makes of it."""

    given: XarrayObject
    cube: Cube | None
    """From a stand-in without pixels; None where the contract refuses it."""
    problem: str
    """Why it does, and what to do."""
    warned: tuple[str, ...]
    """Warnings on the way."""


def cube_card(given: XarrayObject, homes: Mapping[str, str]) -> Sheet:
    """Describe a cube; never raises, computes no pixel of a lazy cube, loads no network.

    Parameters
    ----------
    given
        DataArray or Dataset, a cube or not.
    homes
        Module of each verb to list.

    Returns
    -------
    Sheet
        Size, grid, dates, bands, units, no data, clouds, models that fit, and verbs; of scores their means.
    """
    if is_scores(given):
        return scores_card(given)
    read = _read(given)
    name = getattr(given, "name", None)
    found = [_safely(title, make) for title, make in _makers(read, homes).items()]
    return Sheet(KIND, "" if name is None else str(name), tuple(one for one in found if one is not None))


def tree_card(tree: xr.DataTree, open_tree: Callable[[Any], XarrayObject], homes: Mapping[str, str]) -> Sheet:
    """Describe the cube that a tree holds, and its groups; see `cube_card`.

    Parameters
    ----------
    tree
        Tree of groups.
    open_tree
        Opens it as one cube.
    homes
        Module of each verb of the tree to list.
    """
    groups = _safely("groups", lambda: facts.groups(tree))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = open_tree(tree.map_over_datasets(standin))
    except Exception as error:
        sections: tuple[Section, ...] = (Section("problem", _said(error), alert=True),)
    else:
        sections = tuple(one for one in cube_card(opened, homes).sections if one.title != "no data")
    return Sheet("xsr tree", tree.name or "", (*sections, *([] if groups is None else [groups])))


def standin(obj: Any) -> Any:
    """Object with the dimensions, names, coordinates and attributes of another, and pixels that are never computed."""
    if isinstance(obj, xr.DataArray):
        data = obj if obj.ndim < 2 else obj.copy(deep=False, data=graph.standin(obj.shape, obj.dtype))
        return data.assign_coords(_large(obj.coords))
    return obj.assign(_large(obj.data_vars)).assign_coords(_large(obj.coords))


def _large(variables: Mapping[Any, xr.DataArray]) -> dict[Any, Any]:
    """Stand-ins of the variables over two dimensions or more."""
    return {
        name: (one.dims, graph.standin(one.shape, one.dtype), one.attrs, one.encoding)
        for name, one in variables.items()
        if one.ndim > 1
    }


def _read(given: XarrayObject) -> Reading:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            cube, problem = open_cube(standin(given), watch=False), ""
        except Exception as error:  # a card must not fail, whatever an object holds
            cube, problem = None, _said(error)
    return Reading(given, cube, problem, pixels.texts(caught))


def _said(error: Exception) -> str:
    """Text of an error; of one that is not ours with its kind."""
    return str(error) if isinstance(error, XsrError) else f"{type(error).__name__}: {error}"


def _makers(read: Reading, homes: Mapping[str, str]) -> dict[str, Callable[[], Section | None]]:
    """How each section is made, by its title."""
    cube, given = read.cube, read.given
    of_all: dict[str, Callable[[], Section | None]] = {
        "problem": lambda: Section("problem", read.problem, alert=True) if read.problem else None,
        "size": lambda: facts.size(given),
    }
    if cube is None:
        of_all["dates"] = lambda: facts.raw_dates(given)
    else:
        contents = pixels.Contents(given, cube)
        of_all |= {
            "grid": lambda: facts.grid(cube),
            "dates": lambda: facts.dates(cube),
            "bands": lambda: facts.bands(cube),
            "units": lambda: facts.units(cube),
            "no data": contents.nodata,
            "clouds": contents.clouds,
            "attention": lambda: _attention((*read.warned, *contents.warned())),
            "models": lambda: _models(fits(cube)),
            "made by": lambda: facts.provenance(cube),
        }
    return {**of_all, "verbs": lambda: _verbs(homes)}


def _safely(title: str, make: Callable[[], Section | None]) -> Section | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make()
    except Exception as error:  # what one section cannot say does not hide the others
        return Section(title, f"cannot be described: {_said(error)}")


def _attention(warned: tuple[str, ...]) -> Section | None:
    return Section("attention", " ".join(dict.fromkeys(warned)), alert=True) if warned else None


def _models(found: list[Fit]) -> Section:
    return Section(
        "models",
        " · ".join(_counted(found)),
        [(one.model, one.verdict, one.text) for one in found],
        ("model", "fits", "call or reason"),
    )


def _counted(found: list[Fit]) -> Iterator[str]:
    words = {
        "fits": ("fits", "fit"),
        "in part": ("fits in part", "fit in part"),
        "doubtful": ("is doubtful", "are doubtful"),
        "no": ("does not", "do not"),
    }
    for verdict, (one, many) in words.items():
        names = [fit.model for fit in found if fit.verdict == verdict]
        if names or verdict == "fits":
            named = f" ({', '.join(names)})" if names and verdict == "fits" else ""
            yield f"{len(names)} {one if len(names) == 1 else many}{named}"


def _verbs(homes: Mapping[str, str]) -> Section:
    rows = [(f".sr.{name}", line) for name, line in first_lines(homes).items()]
    return Section("verbs", f"{len(rows)}; help(cube.sr.liif) prints the options of one", rows)
