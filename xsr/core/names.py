"""Names of dimensions and bands, from whatever a tool calls them to what the cube contract calls them, and back.

openEO writes ``t``, stackstac ``time``, `Dataset.to_array` ``variable``; rioxarray numbers bands and keeps their names
in ``long_name``. `standardise` brings an object to dimensions ``time``, ``band``, ``y`` and ``x`` and to bands with
names; `Names.restore` gives a result the user's own dimensions again. Nothing is computed, and no name is taken from
pixel values. What a band name means is said by `xsr.core.sensors`.
"""

import difflib
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import numpy as np
import xarray as xr
from odc.geo.xr import spatial_dims

from xsr.core import checks, platforms
from xsr.core.errors import BandError, CubeError, ParameterError
from xsr.core.sensors import Sensor, canonical, canonical_names
from xsr.core.types import XarrayObject

BandsLike: TypeAlias = Sequence[str] | Mapping[str, Hashable]
"""Bands to keep: names in any spelling of the alias table, or new names with the labels that the cube gives them."""

Obj = TypeVar("Obj", xr.DataArray, xr.Dataset, XarrayObject)

DIMENSIONS = {
    "time": ("time", "t", "times", "timestamp", "timestamps", "date", "dates", "datetime"),
    "band": ("band", "bands", "channel", "channels", "variable", "variables", "spectral", "measurement"),
}
"""Names of dimensions without regard to case: of openEO, Earth Engine, xarray, Pangeo and machine learning."""
SPATIAL = (
    *(("y", "x"), ("yc", "xc"), ("latitude", "longitude"), ("lat", "lon")),
    *(("northing", "easting"), ("northings", "eastings"), ("line", "sample")),
)
"""Pairs of spatial dimensions without regard to case; odc-geo knows the first four in lower case."""
KNOWN_TO_ODC = SPATIAL[:4]
QUANTILE = "quantile"
"""Dimension of results that are intervals, with a coordinate in (0, 1), as xarray's ``quantile`` makes it."""
CF_AXES = {
    "y": ("Y", "projection_y_coordinate", "latitude"),
    "x": ("X", "projection_x_coordinate", "longitude"),
}
"""Value of the attribute ``axis``, and of ``standard_name``, by standard name of a dimension."""
COMMON_NAMES = ("common_name", "eo:common_name")
"""Coordinates along the band dimension that hold the common names of STAC."""
SECOND_NAMES = (*COMMON_NAMES, "long_name")
"""Attributes of a variable that may say which band it is; they count where they are names that are known."""
NUMBERED = re.compile(r"band_\d+")
"""Variables of a GeoTIFF that rioxarray opens with ``band_as_variable``; their names are in ``long_name``."""
NAME_COORDINATES = ("name", "band_name", *COMMON_NAMES)
"""Coordinates along the band dimension that hold names."""
NAME_ATTRIBUTES = ("long_name", "descriptions", "band_names")
"""Attributes of an array that list the names of its bands: rioxarray writes the first, earlier xarray the second."""


@dataclass(frozen=True)
class Names:
    """The user's names of the dimensions that were renamed, and what the names of the bands mean."""

    own: Mapping[str, Hashable] = field(default_factory=dict)
    """By standard name."""
    swapped: frozenset[str] = frozenset()
    """Those whose standard name a coordinate had already, which became the dimension's."""
    bands: Mapping[str, str] = field(default_factory=dict)
    """Canonical name by name; a name that is not known, or could be two bands, means itself."""
    foreign: bool = False
    """Whether the cube states a sensor that numbers its bands otherwise than Sentinel-2."""

    def of(self, dims: Iterable[Hashable]) -> tuple[Hashable, ...]:
        """Dimensions, given by their standard names, as the user calls them."""
        return tuple(self.own.get(str(dim), dim) for dim in dims)

    def chosen(self, names: Iterable[Hashable], bands: Sequence[str] | None) -> list[Hashable]:
        """Names of which the meaning is among those of ``bands``, in any spelling; all if that is None."""
        if bands is None:
            return list(names)
        wanted = {*bands, *map(canonical, bands)}
        return [name for name in names if not wanted.isdisjoint((str(name), self.bands.get(str(name), str(name))))]

    def restore(self, obj: Obj, *, spatial: bool = True) -> Obj:
        """Give a result the user's dimensions again.

        Parameters
        ----------
        obj
            Result with standard names.
        spatial
            Whether y and x, too: they have other names in another CRS.
        """
        for standard, own in self.own.items():
            if standard in obj.dims and (spatial or standard not in CF_AXES):
                obj = obj.swap_dims({standard: own}) if standard in self.swapped else obj.rename({standard: own})
        return obj


def standardise(obj: Obj, bands: BandsLike | None = None) -> tuple[Obj, tuple[str, ...] | None, Names]:
    """Bring the dimensions and band names of a cube to those of the contract; nothing is computed.

    Parameters
    ----------
    obj
        DataArray or Dataset with any of the names in `DIMENSIONS` and `SPATIAL`.
    bands
        Bands to keep, or a mapping from new names to the labels of the cube.

    Returns
    -------
    obj
        The same with dimensions ``time``, ``band``, ``y``, ``x`` where they were recognised, and, where the bands are
        numbers, with the names that coordinates or attributes give them.
    bands
        Names of the bands to keep; None keeps all.
    names
        What to call the dimensions of a result.

    Raises
    ------
    CubeError
        If it is no object of xarray, two dimensions claim one role, or a name that is needed is taken.
    BandError
        If a band has an empty name, or a mapping names bands that are not there, or a band twice.
    ParameterError
        If ``bands`` is neither names nor a mapping.
    """
    check_container(obj)
    own = {**_spatial(obj), **_roles(obj)}
    swapped = frozenset(standard for standard in own if standard in obj.coords)
    obj = _renamed(obj, own)
    numbers = _numbers(obj)
    if isinstance(obj, xr.DataArray):
        obj = _named(obj)
    else:
        obj = _named_variables(obj)
    if isinstance(bands, Mapping):
        obj = _mapped(obj, bands, numbers)
    elif bands is not None:
        bands = _by_number(checks.names("bands", bands), _labels(obj), numbers)
    found = () if isinstance(bands, Mapping) else platforms.stated(obj)  # names of a mapping are what they say
    names = Names(own, swapped, _meanings(obj, found), platforms.number_otherwise(found))
    if bands is None:
        _check_empty(obj, names)
    return obj, None if bands is None else tuple(bands), names


def rename_dims(obj: Obj, mapping: Mapping[str, str]) -> Obj:
    """Rename dimensions as the user says, for names that cannot be recognised.

    Parameters
    ----------
    obj
        Cube with any dimensions.
    mapping
        From its name to ``time``, ``band``, ``y`` or ``x``.

    Raises
    ------
    CubeError
        If there is no such dimension, or the new name is taken.
    ParameterError
        If a new name is not one of the four, or given twice.

    Examples
    --------
    >>> rename_dims(xr.DataArray([0.1], dims="scene"), {"scene": "time"}).dims
    ('time',)
    """
    standard = (*DIMENSIONS, *CF_AXES)
    odd = [new for new in mapping.values() if new not in standard]
    if odd or len(set(mapping.values())) != len(mapping):
        raise ParameterError(
            f"dimensions renamed to {list(mapping.values())}; expected each of {', '.join(standard)} at most once."
            " Give the cube's name first: {'scene': 'time'}."
        )
    dims = [str(dim) for dim in obj.dims]
    missing = [own for own in mapping if own not in dims]
    if missing:
        raise CubeError(
            f"dimension {missing[0]!r} not found; the cube has {dims}{did_you_mean(missing[0], dims)}. Name one."
        )
    return _renamed(obj, {new: own for own, new in mapping.items() if own != new})


def check_container(obj: Any) -> None:
    """Refuse what is no object of xarray that can be a cube.

    Raises
    ------
    CubeError
        With its type, and the way from a tree to a cube.
    """
    if not isinstance(obj, xr.DataArray | xr.Dataset):
        way = " Open the cube that the tree holds: xsr.open(tree)." if isinstance(obj, xr.DataTree) else ""
        raise CubeError(f"got {type(obj).__name__}; expected an xarray DataArray or Dataset.{way}")


def standard_dims(obj: Obj) -> Obj:
    """Object with standard names of its dimensions; band names stay.

    Raises
    ------
    CubeError
        If it is no object of xarray, or two dimensions claim one role.
    """
    check_container(obj)
    return _renamed(obj, {**_spatial(obj), **_roles(obj)})


def fitting(bands: BandsLike | None, obj: XarrayObject) -> BandsLike | None:
    """Bands to keep of one of several cubes that share the argument: by the keys of a mapping where it has those.

    Parameters
    ----------
    bands
        Bands to keep, as in `standardise`.
    obj
        The cube; it may have the labels of the mapping or, as results do, its keys.
    """
    if not isinstance(bands, Mapping) or not isinstance(obj, xr.DataArray | xr.Dataset):
        return bands
    plain = standard_dims(obj)
    named = _named(plain) if isinstance(plain, xr.DataArray) else _named_variables(plain)
    labels = {str(label) for label in (*_numbers(plain), *_labels(named))}
    if {str(label) for label in bands.values()} <= labels:
        return bands
    has_keys = {canonical(str(new)) for new in bands} <= {canonical(label) for label in labels}
    return tuple(bands) if has_keys else bands


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Hint at the nearest known name, as text to append to a list of names; empty if none is near."""
    folded = {str(one).casefold(): str(one) for one in known}
    found = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.7)
    return f" (did you mean {folded[found[0]]!r}?)" if found else ""


def _roles(obj: XarrayObject) -> dict[str, Hashable]:
    """Dimensions of a cube that are time and band under another name.

    Raises
    ------
    CubeError
        If two dimensions claim one role.
    """
    dims = list(obj.dims)
    if isinstance(obj, xr.Dataset):  # tables and the like may have dimensions of their own
        spatial = set(_spatial(obj).values() or spatial_dims(obj, relaxed=True) or ())
        dims = list(dict.fromkeys(d for v in obj.data_vars.values() if spatial <= set(v.dims) for d in v.dims))
    found = {}
    for standard, known in DIMENSIONS.items():
        names = [dim for dim in dims if str(dim).casefold() in known]
        if len(names) > 1:
            raise CubeError(
                f"dimensions {[str(name) for name in names]} may each be the {standard}; expected one. Select or reduce"
                f" the other, for example .isel({names[0]}=0, drop=True)."
            )
        if names and names[0] != standard:
            found[standard] = names[0]
    return found


def _spatial(obj: XarrayObject) -> dict[str, Hashable]:
    """Dimensions y and x that odc-geo does not find by name, or would find in the order of the array only."""
    dims = {str(dim): dim for dim in obj.dims}
    if any(set(pair) <= set(dims) for pair in KNOWN_TO_ODC):
        return {}
    folded = {name.casefold(): dim for name, dim in dims.items()}
    for y, x in SPATIAL:
        if y in folded and x in folded:
            return {"y": folded[y], "x": folded[x]}
    stated = {axis: [dim for dim in obj.dims if _runs_along(obj, dim, axis)] for axis in CF_AXES}
    unique = all(len(candidates) == 1 for candidates in stated.values())
    return {axis: candidates[0] for axis, candidates in stated.items()} if unique else {}


def _runs_along(obj: XarrayObject, dim: Hashable, axis: str) -> bool:
    attrs = obj.coords[dim].attrs if dim in obj.coords else {}
    return attrs.get("axis") == CF_AXES[axis][0] or attrs.get("standard_name") in CF_AXES[axis][1:]


def _check_free(obj: XarrayObject, standard: str, own: Hashable) -> None:
    """Refuse to rename a dimension where its new name belongs to something else than a coordinate along it."""
    taken = obj.variables if isinstance(obj, xr.Dataset) else obj.coords
    if standard in obj.dims or (standard in taken and obj[standard].dims != (own,)):
        remedy = f".drop_dims({standard!r})" if standard in obj.dims else f".drop_vars({standard!r})"
        raise CubeError(
            f"dimension {own!r} is the {standard} of the cube, but {standard!r} is the name of something else; expected"
            f" one {standard}. Drop or rename the other: {remedy}."
        )


def _renamed(obj: Obj, own: Mapping[str, Hashable]) -> Obj:
    """Object with dimensions renamed, given by their new names."""
    for standard, name in own.items():
        _check_free(obj, standard, name)
        obj = _swapped(obj, name, standard)
    return obj


def _swapped(obj: Obj, old: Hashable, new: Hashable) -> Obj:
    """Rename a dimension with its coordinate; a coordinate that has the new name already becomes the dimension's."""
    return obj.swap_dims({old: new}) if new in obj.coords else obj.rename({old: new})


def _labels(obj: XarrayObject) -> list[Any]:
    """Labels of the bands as they are given; an array without any has those of `default_bands`."""
    if isinstance(obj, xr.Dataset):
        spatial = set(spatial_dims(obj, relaxed=True) or ())
        return [name for name, variable in obj.data_vars.items() if spatial <= set(variable.dims)]
    if "band" in obj.coords:
        return list(np.atleast_1d(obj["band"].values).tolist())
    return default_bands(obj)


def default_bands(data: xr.DataArray) -> list[str]:
    """Names of bands that have none: that of the array for a single one, else numbered ones."""
    count = data.sizes.get("band", 1)
    if count == 1:
        return [str(data.name) if data.name is not None else "band_1"]
    return [f"band_{number + 1}" for number in range(count)]


def _numbers(obj: XarrayObject) -> list[Any]:
    """Labels by which bands may be given although they have names: their numbers."""
    if isinstance(obj, xr.Dataset):
        labels = _labels(obj)
        return labels if all(NUMBERED.fullmatch(str(label)) for label in labels) else []
    if "band" not in {*obj.dims, *obj.coords}:
        return []
    labels = _labels(obj) if "band" in obj.coords else list(range(1, obj.sizes["band"] + 1))
    return labels if all(checks.is_number(label) for label in labels) else []


def _by_number(bands: Sequence[str], labels: Sequence[Any], numbers: Sequence[Any]) -> tuple[str, ...]:
    """Names of the bands to keep, of which some may be given by number."""
    texts = [str(label) for label in labels]
    named = {str(number): text for number, text in zip(numbers, texts, strict=False)}
    return tuple(name if name in texts else named.get(name, name) for name in bands)


def _meanings(obj: XarrayObject, found: Sequence[Sensor]) -> dict[str, str]:
    """Canonical name of each band, by its name; second names count where names are not known.

    Of a sensor that numbers its bands in its own way, and that the cube states, by what the names mean for it.
    """
    labels = [str(label) for label in _labels(obj)]
    read = canonical_names(labels, _second_names(obj))
    return dict(zip(labels, platforms.meanings(labels, read, found), strict=True))


def _second_names(obj: XarrayObject) -> list[str]:
    """Read the second name of each band, empty where there is none; no list if no band has one."""
    if isinstance(obj, xr.Dataset):
        attrs = [obj.variables[name].attrs for name in _labels(obj)]
        found = [next((some[key] for key in SECOND_NAMES if key in some), "") for some in attrs]
        return [str(name) for name in found] if any(found) else []
    coords = (obj.coords[key] for key in COMMON_NAMES if key in obj.coords)
    return next(([str(v) for v in coord.values.tolist()] for coord in coords if coord.dims == ("band",)), [])


def _named(data: xr.DataArray) -> xr.DataArray:
    """Array whose bands, where they are numbers, have the names that its coordinates or attributes list."""
    labels = _numbers(data)
    if not labels:
        return data
    along = ("band",) if "band" in data.dims else ()
    for name in NAME_COORDINATES if along else COMMON_NAMES:
        if name in data.coords and data.coords[name].dims == along:
            listed = _listed(np.atleast_1d(data.coords[name].values), len(labels), None)
            if listed is not None:
                return _labelled(data, listed)
    numbers = labels if "band" in data.coords else None
    for name in NAME_ATTRIBUTES:
        listed = _listed(data.attrs.get(name), len(labels), numbers)
        if listed is not None:
            named = _labelled(data, listed)
            named.attrs = {key: value for key, value in data.attrs.items() if key != name}  # a list of all bands
            return named
    return data


def _named_variables(data: xr.Dataset) -> xr.Dataset:
    """Dataset whose variables, where all are numbered, have the names that their attributes give them."""
    given = {label: data.variables[label].attrs.get("long_name") for label in _numbers(data)}
    found = {label: text for label, text in given.items() if isinstance(text, str) and _is_name(text)}
    taken = {*map(str, data.variables), *map(str, data.dims)}
    if len(set(found.values())) != len(found) or not taken.isdisjoint(found.values()):
        return data
    named = data.rename(found)
    for name in found.values():
        named[name].attrs = {key: value for key, value in named[name].attrs.items() if key != "long_name"}
    return named


def _is_name(text: str) -> bool:
    """Whether a text names a band instead of describing it: it is one word, or known."""
    return not _is_empty(text) and (len(text.split()) == 1 or canonical_names((text,)) != (text,))


def _labelled(data: xr.DataArray, names: Sequence[str]) -> xr.DataArray:
    return data.assign_coords(band=("band", list(names)) if "band" in data.dims else names[0])


def _listed(value: Any, count: int, numbers: Sequence[float] | None) -> list[str] | None:
    """Names among those that metadata list, by the numbers of the bands, which count from 1; None if they are none.

    A band without a name keeps its number.
    """
    if isinstance(value, str):
        return [value] if count == 1 and _is_name(value) else None
    if not isinstance(value, list | tuple | np.ndarray):
        return None
    places: Sequence[float] = range(count)
    if numbers is not None and list(numbers) != list(places):  # numbers from 0 are places
        places = [number - 1 for number in numbers]
    if not set(places) <= set(range(len(value))) or (numbers is None and len(value) != count):
        return None
    chosen = [value[int(place)] for place in places]
    texts = [None if _is_empty(one) else str(one) for one in chosen]
    known = [text for text in texts if text is not None]
    if not known or len(set(known)) != len(known) or not all(isinstance(v, str) or _is_empty(v) for v in chosen):
        return None
    return [str(int(place) + 1) if text is None else text for text, place in zip(texts, places, strict=True)]


def _is_empty(label: Any) -> bool:
    return label is None or label != label or str(label).strip().casefold() in ("", "nan", "none")


def _check_empty(obj: XarrayObject, names: Names) -> None:
    labels = _labels(obj)
    empty = [place + 1 for place, label in enumerate(labels) if _is_empty(label)]
    if not empty:
        return
    array = isinstance(obj, xr.DataArray)
    remedy = (
        f".assign_coords({names.of(['band'])[0]}=[...])" if array else f".rename({{{labels[empty[0] - 1]!r}: 'B02'}})"
    )
    raise BandError(
        f"band(s) number {empty} of {labels} have no name; expected a name for each. Name them with {remedy}, or select"
        " others with bands=."
    )


def _mapped(obj: Obj, bands: Mapping[str, Hashable], numbers: Sequence[Any]) -> Obj:
    """Cube that calls its bands by the keys of a mapping; of an array the others are dropped.

    ``numbers`` are the labels before names were found, which may be given as well.
    """
    labels = _labels(obj)
    known = {str(label): place for several in (numbers, labels) for place, label in enumerate(several)}
    _check_mapping(bands, known, labels)
    places = {new: known[str(label)] for new, label in bands.items()}
    if len(set(places.values())) != len(places):
        raise BandError(f"bands={dict(bands)} gives one band two names; expected unique bands. Drop one of them.")
    if isinstance(obj, xr.DataArray):
        chosen = obj.isel(band=list(places.values())) if "band" in obj.dims else obj
        return _labelled(chosen, list(bands))
    assert isinstance(obj, xr.Dataset)
    taken = [new for new in bands if new in obj.coords or new in obj.dims]
    if taken:
        raise BandError(f"bands= gives the name {taken[0]!r}, which a coordinate of the cube has. Choose another.")
    own = {new: labels[place] for new, place in places.items()}
    others = [name for name in obj.data_vars if str(name) in bands and name not in own.values()]
    return obj.drop_vars(others).rename({label: new for new, label in own.items() if label != new})


def _check_mapping(bands: Mapping[Any, Hashable], known: Iterable[str], labels: Sequence[Any]) -> None:
    """Refuse a mapping without bands, with keys that are no names, or with labels that the cube does not have."""
    if not bands or not all(isinstance(new, str) and not _is_empty(new) for new in bands):
        raise BandError(
            f"bands={dict(bands)}; expected names with the labels of the cube, such as bands={{'B02':"
            f" {next(iter(labels), 'blue')!r}}}."
        )
    if len({canonical(new) for new in bands}) != len(bands):
        raise BandError(f"bands={dict(bands)} names a band twice; expected unique bands. Drop the duplicates.")
    missing = [label for label in bands.values() if str(label) not in known]
    if missing and set(bands) <= set(known):
        raise BandError(
            f"bands={dict(bands)} has the labels of the cube first; expected the new names first. Swap them:"
            f" bands={ {str(label): new for new, label in bands.items()} }."
        )
    if missing:
        raise BandError(
            f"bands= names {missing}; the cube has {labels}{did_you_mean(missing[0], labels)}. Give labels of the cube."
        )
