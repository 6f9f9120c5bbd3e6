"""What the metadata of a file do not say, given by the user: names of bands and dims, and the CRS.

And, of a file that holds much, the part that is a cube: the variable with bands, the group with images.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeAlias

import xarray as xr
from odc.geo.xr import spatial_dims  # registers the .odc accessor, too

from xsr.core import checks
from xsr.core.errors import BandError, CubeError, ParameterError
from xsr.core.grid import crs_name
from xsr.core.names import DIMENSIONS, rename_dims, standard_dims
from xsr.core.radiometry import PACKING_ATTRIBUTES
from xsr.core.redact import public
from xsr.core.sensors import canonical
from xsr.core.types import XarrayObject

Bands: TypeAlias = Sequence[str] | Mapping[str, str | int]
"""Bands to keep; or their names, each with the label that the file gives the band."""
BAND_DIMS = DIMENSIONS["band"]
"""Dims along which files keep bands."""


def adapt(
    cube: XarrayObject,
    *,
    bands: Bands | None = None,
    dims: Mapping[str, str] | None = None,
    crs: str | int | None = None,
    label: str,
) -> XarrayObject:
    """Name dims and bands of a cube, and assign the CRS that it lacks.

    Parameters
    ----------
    cube
        Cube as its file gives it.
    bands
        Bands to keep; or their names, each with its label in the cube.
    dims
        Names of dims in the cube, each with its standard one (``time``, ``band``, ``y``, ``x``).
    crs
        CRS of a cube that states none.
    label
        What to call the cube in messages.

    Raises
    ------
    BandError
        If a band is not there, or named twice.
    CubeError
        If a dim is not there.
    ParameterError
        If a dim is given another name than a standard one, or the cube states another CRS.
    """
    if dims:
        cube = rename_dims(cube, dims)
    if crs is not None:
        cube = _assign_crs(cube, crs, label)
    return cube if bands is None else _choose_bands(cube, bands, label)


def open_object(
    cube: XarrayObject,
    *,
    bands: Bands | None = None,
    dims: Mapping[str, str] | None = None,
    crs: str | int | None = None,
) -> XarrayObject:
    """Return a DataArray or Dataset as `adapt` names it."""
    return adapt(cube, bands=bands, dims=dims, crs=crs, label="the cube")


def open_tree(
    tree: xr.DataTree,
    *,
    bands: Bands | None = None,
    dims: Mapping[str, str] | None = None,
    crs: str | int | None = None,
    group: str | None = None,
) -> XarrayObject:
    """Open the node of a tree that holds images, or the one at ``group``; see `adapt`."""
    node = node_of_bands(tree, label="the tree") if group is None else node_at(tree, group, label="the tree")
    return adapt(cube_of(node, "", dims), bands=bands, dims=dims, crs=crs, label="the tree")


def _assign_crs(cube: XarrayObject, crs: str | int, label: str) -> XarrayObject:
    from odc.geo.crs import CRS
    from pyproj.exceptions import CRSError

    try:
        wanted = CRS(crs)
    except (CRSError, ValueError) as error:
        raise ParameterError(f"crs={crs!r} is not known; expected an EPSG code such as EPSG:32633, or WKT.") from error
    stated = cube.odc.crs
    if stated is not None and stated != wanted:
        name = crs_name(cube.odc.geobox) if cube.odc.geobox else str(stated)
        raise ParameterError(f"crs={crs!r}, but {label} states {name}; expected the same. Leave crs= out.")
    assigned: XarrayObject = cube.odc.assign_crs(wanted)
    return assigned


def _choose_bands(cube: XarrayObject, bands: Bands, label: str) -> XarrayObject:
    have = labels(cube, label=label)
    wanted = bands if isinstance(bands, Mapping) else {name: name for name in checks.names("bands", bands)}
    found = {new: _place(str(old), have, numbered=isinstance(cube, xr.DataArray)) for new, old in wanted.items()}
    missing = [str(wanted[new]) for new, place in found.items() if place is None]
    if missing or not found:
        raise BandError(f"bands {missing or 'none'} requested; {label} has {have}. Name bands of the file.")
    places = [place for place in found.values() if place is not None]
    if len(set(places)) != len(places):
        chosen = [have[place] for place in places]
        raise BandError(f"bands {chosen} name a band twice; expected unique bands. Drop the duplicates.")
    names = list(found) if isinstance(bands, Mapping) else None
    return _picked(cube, places, names) if isinstance(cube, xr.DataArray) else _kept(cube, have, places, names)


def _place(name: str, have: Sequence[str], *, numbered: bool) -> int | None:
    """Place of a band by its label, by another spelling of it, or, of an array, by its number from 1."""
    if name in have:
        return have.index(name)
    spelled = [canonical(label) for label in have]
    if canonical(name) in spelled:
        return spelled.index(canonical(name))
    return int(name) - 1 if numbered and name.isdecimal() and 1 <= int(name) <= len(have) else None


def _picked(cube: xr.DataArray, places: list[int], names: list[str] | None) -> xr.DataArray:
    dim = next(dim for dim in cube.dims if dim in BAND_DIMS)
    picked = cube.isel({dim: places})
    return picked if names is None else picked.assign_coords({dim: (dim, names)})


def _kept(cube: xr.Dataset, have: list[str], places: list[int], names: list[str] | None) -> xr.Dataset:
    """Dataset without the other bands; what is no band stays."""
    chosen = [have[place] for place in places]
    kept = cube.drop_vars([name for name in have if name not in chosen])
    if names is None:
        return kept
    return kept.rename_vars({old: new for old, new in zip(chosen, names, strict=True) if old != new})


def labels(cube: XarrayObject, *, label: str = "the cube") -> list[str]:
    """Labels of the bands of a cube, as text, in order; numbers from 1 where it has none.

    Raises
    ------
    BandError
        If it has no dim of bands.
    """
    if isinstance(cube, xr.Dataset):
        return [str(name) for name, variable in cube.data_vars.items() if is_image(variable)]
    dim = next((dim for dim in cube.dims if dim in BAND_DIMS), None)
    if dim is None:
        raise BandError(f"{label} has no dim of bands among {list(cube.dims)}; leave bands= out.")
    return [str(v) for v in cube[dim].values] if dim in cube.coords else [str(n + 1) for n in range(cube.sizes[dim])]


def name_in_order(cube: XarrayObject, names: Sequence[str], *, label: str) -> dict[str, str]:
    """Names of all bands of a cube in its order, each with the label it has there.

    Raises
    ------
    BandError
        If there are not as many.
    """
    have = labels(cube, label=label)
    if len(names) != len(have) or len(set(names)) != len(names):
        raise BandError(
            f"{len(names)} names {list(names)} given for {len(have)} bands {have} of {label}; expected one name for"
            " each, all different. To name some, give each with its label."
        )
    return dict(zip(names, have, strict=True))


def is_image(variable: xr.DataArray) -> bool:
    """Whether a variable lies over two spatial dims."""
    spatial = spatial_dims(variable, relaxed=True)
    return spatial is not None and set(spatial) <= set(variable.dims)


def cube_of(data: xr.Dataset, source: str, dims: Mapping[str, str] | None = None) -> XarrayObject:
    """Cube that a Dataset holds: its only variable with bands along a dim, else the Dataset itself.

    Parameters
    ----------
    data
        Content of a file.
    source
        Path of the file, kept in the encoding of the variable.
    dims
        Names of dims that the user gives, each with its standard one; see `adapt`.
    """
    along = {*BAND_DIMS, *(name for name, standard in (dims or {}).items() if standard in BAND_DIMS)}
    stacked = [name for name, v in data.data_vars.items() if is_image(v) and along & set(v.dims)]
    if len(stacked) != 1:
        return data
    shared = {key: value for key, value in data.attrs.items() if key not in PACKING_ATTRIBUTES}
    variable = data[stacked[0]].assign_attrs({**shared, **data[stacked[0]].attrs})
    variable.encoding["source"] = public(source)
    return variable


def joined_groups(tree: xr.DataTree) -> XarrayObject:
    """Join the bands of all groups of a tree, each on its own grid: dims of a group end with its path.

    Returns
    -------
    DataArray or Dataset
        What the only group holds; of several a Dataset with one variable for each band.

    Raises
    ------
    CubeError
        If there is no band, one lies in several groups, or the groups have other dates or another CRS.
    """
    found = _nodes_of_bands(tree)
    if len(found) < 2:
        return open_tree(tree)
    parts, homes = [], dict[Hashable, str]()
    for path, node in found.items():
        cube = standard_dims(cube_of(node.to_dataset(), "", None))
        part = cube.to_dataset("band") if isinstance(cube, xr.DataArray) else cube
        twice = [name for name in part.data_vars if homes.setdefault(name, path) != path]
        if twice:
            raise CubeError(
                f"{str(twice[0])!r} lies in the groups {homes[twice[0]]} and {path} of the tree; expected each band"
                f" once. Take one group, tree[{path!r}], or drop what is there twice."
            )
        parts.append((part, path.strip("/").replace("/", "_")))
    systems = {part.odc.crs: "none" if part.odc.geobox is None else crs_name(part.odc.geobox) for part, _ in parts}
    if len(systems) > 1:
        raise CubeError(
            f"the groups {', '.join(found)} lie in {' and '.join(systems.values())}; expected one CRS. Take one group."
        )
    own = [part.rename({dim: f"{dim}_{name}" for dim in part.odc.spatial_dims}) for part, name in parts]
    try:
        return xr.merge(own, join="exact", compat="override", combine_attrs="drop_conflicts")
    except ValueError as error:
        raise CubeError(
            f"the groups {', '.join(found)} of the tree do not fit: {error}. Expected the same dates; take one group,"
            " or select dates that all have."
        ) from error


def _nodes_of_bands(tree: xr.DataTree) -> dict[str, xr.DataTree]:
    """Nodes that hold images, by path."""
    return {node.path: node for node in tree.subtree if any(is_image(v) for v in node.to_dataset().data_vars.values())}


def node_of_bands(tree: xr.DataTree, *, label: str) -> xr.Dataset:
    """Find the only node of a tree that holds images.

    Raises
    ------
    CubeError
        If there is none, or several, with their paths.
    """
    found = _nodes_of_bands(tree)
    if len(found) != 1:
        paths = ", ".join(found) or "none"
        example = next(iter(found), "/path")
        raise CubeError(
            f"{label} has {len(found)} groups with images ({paths}); expected one. Choose it: group={example!r}, or of"
            f" an open tree the node tree[{example!r}]."
        )
    return next(iter(found.values())).to_dataset()


def node_at(tree: xr.DataTree, group: str, *, label: str) -> xr.Dataset:
    """Node of a tree by its path.

    Raises
    ------
    ParameterError
        If there is none, with the paths there are.
    """
    try:
        node = tree[group]
    except KeyError:
        node = None
    if not isinstance(node, xr.DataTree):
        paths = ", ".join(one.path for one in tree.subtree)
        raise ParameterError(f"group={group!r} is not in {label}; it has {paths}. Name one of them.")
    return node.to_dataset()
