"""Where an array of a tree lies: its CRS and its grid, from all that the tree says of them.

Products state the CRS in the metadata of the root, in groups, in arrays, in a ``spatial_ref``, or only by the MGRS tile
in their name; the grid by coordinates of pixel centres or by a transform. Contradictory statements are refused.

References
----------
Zarr conventions ``proj`` and ``spatial``, https://github.com/zarr-conventions
STAC projection extension, https://github.com/stac-extensions/projection
"""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from xsr.core.errors import GridError, ParameterError, ProductError, XsrWarning
from xsr.sources.rasters import CHUNK
from xsr.sources.trees import Tree, mapping

CRS_KEYS = ("horizontal_CRS_code", "proj:code", "proj:epsg", "proj:wkt2", "crs_wkt")
"""Attributes that state a CRS."""
TRANSFORM_KEYS = (("proj:transform", "proj:shape"), ("spatial:transform", "spatial:shape"))
"""Attributes that state a transform, each with the one that says of which shape."""
TOLERANCE_PX = 1e-3
"""Largest deviation of two statements of one grid, in pixels."""
REGULAR_PX = 1e-2
"""Largest deviation of coordinates from a regular grid, in pixels."""


def find_crs(
    tree: Tree,
    paths: Iterable[str],
    properties: Mapping[str, Any],
    tile: str,
    given: str | int | None,
) -> str:
    """CRS of arrays of a tree.

    Parameters
    ----------
    tree
        The tree.
    paths
        The arrays.
    properties
        Properties of the STAC item that describes the product.
    tile
        MGRS tile in its name, empty if there is none.
    given
        CRS that the user gave; it ends the matter.

    Returns
    -------
    str
        Code or WKT.

    Raises
    ------
    ParameterError
        If the CRS given is none.
    ProductError
        If nothing states a CRS, or statements are contradictory.
    """
    stated = []
    for text, where in _statements(tree, list(paths), properties, tile):
        parsed = _parse(text)
        if parsed is not None:
            stated.append((parsed, where))
        elif given is None:
            raise ProductError(f"{tree.label}: {where} is {text!r}; expected a CRS. Pass crs=, for example crs=32633.")
    if given is not None:
        return _overridden(given, stated, tree.label)
    if not stated:
        raise ProductError(
            f"{tree.label} names no CRS: neither other_metadata.horizontal_CRS_code, nor the STAC item, its groups or"
            " arrays, nor an MGRS tile in its name. Pass crs=, for example crs=32633."
        )
    first, where = stated[0]
    for other, place in stated[1:]:
        if not _same(other, first):
            raise ProductError(
                f"{tree.label} contradicts itself: {where} says {_name(first)}, {place} says {_name(other)}; expected"
                f" one CRS. Pass the true one, crs={_name(first)!r} or crs={_name(other)!r}."
            )
    return _name(first)


def _overridden(given: str | int, stated: Sequence[tuple[CRS, str]], label: str) -> str:
    crs = _parse(given)
    if crs is None:
        raise ParameterError(f"crs={given!r}; expected a CRS, such as 32633 or 'EPSG:32633'.")
    if stated and all(_same(other, stated[0][0]) for other, _ in stated) and not _same(crs, stated[0][0]):
        other, where = stated[0]
        warnings.warn(f"crs={given} replaces {_name(other)} of {where} in {label}.", XsrWarning, stacklevel=6)
    return _name(crs)


def _statements(
    tree: Tree, paths: Sequence[str], properties: Mapping[str, Any], tile: str
) -> Iterator[tuple[Any, str]]:
    """Every statement of a CRS: its value, and where it is."""
    groups = dict.fromkeys(str(parent).strip(".") for path in paths for parent in PurePosixPath(path).parents)
    mapped = [f"{group}/spatial_ref".lstrip("/") for group in groups if "spatial_ref" in tree.children(group)]
    places: list[tuple[Mapping[str, Any], str]] = [
        (mapping(tree.attributes("").get("other_metadata")), "other_metadata"),
        (properties, "the STAC item"),
        *((tree.attributes(group), f"group {group or '/'}") for group in groups),
        *((tree.attributes(path), f"array {path}") for path in (*mapped, *paths)),
    ]
    for attributes, where in places:
        for key in CRS_KEYS:
            if attributes.get(key) not in (None, ""):
                yield attributes[key], f"{key} of {where}"
    if tile:
        code = (32600 if tile[2] >= "N" else 32700) + int(tile[:2])
        yield f"EPSG:{code}", f"the MGRS tile {tile} in the name"


def _parse(text: Any) -> CRS | None:
    code = re.fullmatch(r"(?:.*EPSG\D*?(?:[:/]+[\d.]*)?[:/])?(\d{4,6})", str(text).strip(), re.IGNORECASE)
    try:
        return CRS(f"EPSG:{code[1]}" if code else str(text))
    except Exception:  # pyproj and odc raise their own for anything that is no CRS
        return None


def _same(one: CRS, other: CRS) -> bool:
    """Whether two CRS are one, however they are written."""
    return one == other or bool(one.proj.equals(other.proj, ignore_axis_order=True))


def _name(crs: CRS) -> str:
    return f"EPSG:{crs.epsg}" if crs.epsg else str(crs.to_wkt())


def pixel_m(tree: Tree, path: str) -> float:
    """Pixel size of an array along x, in the unit of its CRS."""
    return float(abs(_affine(tree, path)[0].a))


def find_grids(tree: Tree, paths: Iterable[str], crs: str) -> dict[str, GeoBox]:
    """Grids of arrays by path, from the coordinates beside them or from transforms.

    Raises
    ------
    ProductError
        If one has neither.
    GridError
        If coordinates are no regular grid, or the two contradict each other by other than half a pixel.
    """
    grids, corners = {}, []
    for path in paths:
        affine, at_corners = _affine(tree, path)
        height, width = tree.array(path, chunk=CHUNK).shape[-2:]
        grids[path] = GeoBox((height, width), affine, crs)
        corners += [path.rpartition("/")[0]] if at_corners else []
    if corners:
        warnings.warn(
            f"{tree.label}: the coordinates in {', '.join(dict.fromkeys(corners))} are those of the pixels' corners, by"
            " the transform that is stated; the transform holds.",
            XsrWarning,
            stacklevel=5,
        )
    return grids


def _affine(tree: Tree, path: str) -> tuple[Affine, bool]:
    """Transform of an array, and whether its coordinates are those of corners."""
    stated = _transform(tree, path, tree.array(path, chunk=CHUNK).shape[-2:])
    measured = _by_coordinates(tree, path)
    if measured is not None:
        return (measured, False) if stated is None else _agreed(stated, measured, path)
    if stated is None:
        raise ProductError(
            f"{path} of {tree.label} has no coordinates x and y that are stored, and no spatial:transform or"
            " proj:transform for its shape; expected one of them. Open the store with xarray.open_datatree, assign"
            " coordinates, and pass the tree."
        )
    return stated, False


def _agreed(stated: Affine, measured: Affine, path: str) -> tuple[Affine, bool]:
    """One grid of two statements, and whether the coordinates are those of corners instead of centres."""
    shift = np.array([(measured.c - stated.c) / stated.a, (measured.f - stated.f) / stated.e])
    steps = np.array([measured.a / stated.a, measured.e / stated.e])
    if np.abs(steps - 1).max() <= TOLERANCE_PX:
        if np.abs(shift).max() <= TOLERANCE_PX:
            return measured, False
        if np.abs(shift + 0.5).max() <= TOLERANCE_PX:
            return stated, True
    raise GridError(
        f"{path}: its coordinates give the transform {tuple(measured)[:6]}, its attributes give {tuple(stated)[:6]};"
        " expected one grid. Open the store with xarray.open_datatree, drop the wrong one, and pass the tree."
    )


def _by_coordinates(tree: Tree, path: str) -> Affine | None:
    group = path.rpartition("/")[0]
    dims = [str(dim) for dim in tree.array(path, chunk=CHUNK).dims[-2:]]
    if any(dim not in tree.children(group) or not tree.stored(f"{group}/{dim}")[0] for dim in dims):
        return None
    (y, down), (x, right) = (_line(tree, f"{group}/{dim}") for dim in dims)
    if not down or not right:
        return None
    return Affine(right, 0.0, x - right / 2, 0.0, down, y - down / 2)


def _line(tree: Tree, path: str) -> tuple[float, float]:
    """First centre and step of regular coordinates; no step of a single one."""
    centres = np.asarray(tree.array(path, chunk=CHUNK).values, np.float64)
    if centres.size < 2:
        return float(centres[0]), 0.0
    step = float(centres[-1] - centres[0]) / (centres.size - 1)
    wrong = np.abs(centres - (centres[0] + step * np.arange(centres.size))).max()
    if not (step and wrong <= REGULAR_PX * abs(step)):
        raise GridError(
            f"the coordinate {path} is not regular: it deviates by {wrong:g} from steps of {step:g}; expected a grid."
        )
    return float(centres[0]), step


def _transform(tree: Tree, path: str, shape: tuple[int, ...]) -> Affine | None:
    """Transform that an array, its group, its pyramid or its grid mapping states for the shape of the array."""
    group = path.rpartition("/")[0]
    for attributes in (tree.attributes(path), tree.attributes(group), _level(tree, group)):
        for key, size in TRANSFORM_KEYS:
            numbers = attributes.get(key)
            if numbers is not None and tuple(attributes.get(size, shape)) == tuple(shape):
                return _parallel(numbers, path, nodes=attributes.get("spatial:registration") == "node")
    mapped = "spatial_ref" in tree.children(group)
    text = tree.attributes(f"{group}/spatial_ref").get("GeoTransform") if mapped else None
    if text is None:
        return None
    c, a, b, f, d, e = map(float, str(text).split())
    return _parallel((a, b, c, d, e, f), path, nodes=False)


def _parallel(numbers: Sequence[Any], path: str, *, nodes: bool) -> Affine:
    """Transform of corners whose axes are those of the CRS."""
    a, b, c, d, e, f = (float(number) for number in numbers[:6])
    if b or d or not a or not e:
        raise GridError(f"{path} has the transform {(a, b, c, d, e, f)}; expected rows and columns along the axes.")
    return Affine(a, 0.0, c - a / 2 * nodes, 0.0, e, f - e / 2 * nodes)


def _level(tree: Tree, group: str) -> Mapping[str, Any]:
    """Find what a pyramid says of one of its levels, in the group above it."""
    above, _, name = group.rpartition("/")
    pyramid = mapping(tree.attributes(above).get("multiscales"))
    for one in map(mapping, pyramid.get("layout", ())):
        if one.get("asset") == name:
            return one
    for one in map(mapping, mapping(pyramid.get("tile_matrix_set")).get("tileMatrices", ())):
        if str(one.get("id")) == name and "cellSize" in one and "pointOfOrigin" in one:
            size, (x, y) = one["cellSize"], one["pointOfOrigin"]
            return {"spatial:transform": (size, 0, x, 0, -size, y)}
    return {}
