"""Attributes by which readers of Zarr find the grid, the CRS and the levels of a group: the GeoZarr conventions.

References
----------
Zarr conventions ``proj``, ``spatial`` and ``multiscales``, version 0.1, https://github.com/zarr-conventions
"""

from collections.abc import Sequence
from typing import Any

from odc.geo.geobox import GeoBox

VERSION = "v0.1"
"""Release of the conventions."""
REGISTERED = {
    "proj": (
        "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "Coordinate reference system information for geospatial data",
    ),
    "spatial": ("689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Spatial coordinate information"),
    "multiscales": ("d35379db-88df-4056-af3a-620245f8e347", "Multiscale layout of zarr datasets"),
}
"""Identifier and description of each convention, as it is registered."""


def registrations(*names: str) -> list[dict[str, str]]:
    """Entries of ``zarr_conventions`` that declare conventions by name.

    Examples
    --------
    >>> registrations("proj")[0]["schema_url"]
    'https://raw.githubusercontent.com/zarr-conventions/proj/refs/tags/v0.1/schema.json'
    """
    return [
        {
            "uuid": REGISTERED[name][0],
            "schema_url": f"https://raw.githubusercontent.com/zarr-conventions/{name}/refs/tags/{VERSION}/schema.json",
            "spec_url": f"https://github.com/zarr-conventions/{name}/blob/{VERSION}/README.md",
            "name": name,
            "description": REGISTERED[name][1],
        }
        for name in names
    ]


def grid_attributes(box: GeoBox) -> dict[str, Any]:
    """Attributes of a group whose arrays have one grid."""
    return {"zarr_conventions": registrations("proj", "spatial"), **_crs(box), **_extent(box), **_placed(box)}


def pyramid_attributes(boxes: Sequence[GeoBox], methods: Sequence[str | None]) -> dict[str, Any]:
    """Attributes of a group that holds one grid at several resolutions, as groups ``0``, ``1`` and so on.

    Parameters
    ----------
    boxes
        Grid of every level, the finest first.
    methods
        How each level was made of the one before it; None of the first.
    """
    layout = []
    for number, (box, method) in enumerate(zip(boxes, methods, strict=True)):
        entry: dict[str, Any] = {"asset": str(number), "transform": {"scale": [1.0, 1.0], "translation": [0.0, 0.0]}}
        if method is not None:
            entry["derived_from"] = str(number - 1)
            entry["transform"]["scale"] = [2.0, 2.0]
            entry["resampling_method"] = method
        layout.append(entry | _placed(box))
    return {
        "zarr_conventions": registrations("multiscales", "proj", "spatial"),
        "multiscales": {"layout": layout},
        **_crs(boxes[0]),
        **_extent(boxes[0]),
    }


def _crs(box: GeoBox) -> dict[str, Any]:
    assert box.crs is not None
    return {"proj:code": f"EPSG:{box.crs.epsg}"} if box.crs.epsg else {"proj:wkt2": box.crs.to_wkt()}


def _extent(box: GeoBox) -> dict[str, Any]:
    bounds = box.boundingbox
    return {
        "spatial:dimensions": list(box.dimensions),
        "spatial:bbox": [float(v) for v in (bounds.left, bounds.bottom, bounds.right, bounds.top)],
        "spatial:registration": "pixel",
    }


def _placed(box: GeoBox) -> dict[str, Any]:
    return {
        "spatial:transform": [float(v) for v in list(box.affine)[:6]],
        "spatial:shape": [int(n) for n in box.shape.yx],
    }
