"""From the masks of a product to one boolean ``valid``.

Scene classification of Sen2Cor (in SAFE, STAC and EOPF alike), masks of MAJA, and the polygons of Sentinel-2 products
before baseline 04.00. True means that the surface is visible.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core.errors import ProductError
from xsr.sources.xml import parse_xml

RING = 4
"""Fewest points of a ring, the last of which is the first."""
SCL_INVALID = (0, 1, 3, 8, 9, 10)
"""Classes that do not show the surface."""


def valid_scl(scl: Any, exclude: Collection[int] = SCL_INVALID) -> Any:
    """Whether each pixel of a scene classification shows the surface; lazy for Dask arrays.

    Examples
    --------
    >>> valid_scl(np.array([0, 4, 6, 9, 11]))
    array([False,  True,  True, False,  True])
    """
    table = np.ones(256, bool)
    table[list(exclude)] = False
    return table[scl] if isinstance(scl, np.ndarray) else scl.map_blocks(_look_up, table, dtype=bool)


def _look_up(values: NDArray[np.uint8], table: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return table[values]


QA_PIXEL_INVALID = (0, 1, 2, 3, 4)
"""Bits of Landsat's QA_PIXEL (LSDS-1619, table 5-3) that do not show the surface: fill, dilated cloud, cirrus, cloud
and cloud shadow."""


def valid_qa_pixel(flags: Any, exclude: Collection[int] = QA_PIXEL_INVALID) -> Any:
    """Whether each pixel of Landsat's QA_PIXEL has none of some bits set; lazy for Dask arrays.

    Examples
    --------
    Fill, a clear pixel, a cloud, and a clear pixel of snow:

    >>> valid_qa_pixel(np.array([1, 21824, 22280, 30048], np.uint16))
    array([False,  True, False,  True])
    """
    return (flags & sum(1 << bit for bit in exclude)) == 0


def valid_maja(clouds: Any, edge: Any, saturation: Any) -> Any:
    """Whether each pixel is free of clouds and their shadows, inside the image and saturated in no band.

    Parameters
    ----------
    clouds, edge, saturation
        Masks CLM, EDG and SAT of MAJA; a pixel is valid where no bit is set.
    """
    return (clouds == 0) & (edge == 0) & (saturation == 0)


@dataclass(frozen=True)
class Polygons:
    """Polygons of a GML mask with a number each."""

    rings: tuple[tuple[tuple[tuple[float, float], ...], ...], ...]
    """Exterior ring, then holes, of each polygon, as (x, y) in the CRS of the product."""
    numbers: tuple[int, ...]
    """Number to burn for each polygon."""

    def burn(self, geobox: GeoBox) -> NDArray[np.uint8]:
        """Burn the polygons into a grid; 0 elsewhere."""
        from rasterio.features import rasterize

        shapes = [
            ({"type": "Polygon", "coordinates": rings}, number)
            for rings, number in zip(self.rings, self.numbers, strict=True)
        ]
        if not shapes:
            return np.zeros(geobox.shape.yx, np.uint8)
        burnt: NDArray[np.uint8] = rasterize(
            shapes, out_shape=geobox.shape.yx, transform=geobox.affine, fill=0, dtype="uint8"
        )
        return burnt


def parse_gml(text: bytes, name: str = "the mask", *, number: str = "") -> Polygons:
    """Read the polygons of a GML mask.

    Parameters
    ----------
    text
        The file.
    name
        What to call it in a message.
    number
        Pattern whose first group in the ``gml:id`` of a feature is its number; without one each counts 1.
    """
    rings, numbers = [], []
    for feature in parse_xml(text, name).findall(".//{*}MaskFeature"):
        label = next((value for key, value in feature.attrib.items() if key.endswith("id")), "")
        found = re.search(number, label) if number else None
        for polygon in feature.findall(".//{*}Polygon"):
            rings.append(tuple(_ring(line, name) for line in polygon.findall(".//{*}posList")))
            numbers.append(int(found[1]) if found else 1)
    return Polygons(tuple(rings), tuple(numbers))


def _ring(line: Element, name: str) -> tuple[tuple[float, float], ...]:
    try:
        size = int(line.get("srsDimension", "2"))
        values = np.array((line.text or "").split(), np.float64).reshape(-1, size)[:, :2]
    except ValueError as error:
        raise ProductError(f"{name} holds a polygon that is damaged: {error}. Download the product again.") from error
    if len(values) < RING or not np.isfinite(values).all():
        raise ProductError(f"{name} holds a polygon that is damaged: no ring of points. Download the product again.")
    return tuple((float(x), float(y)) for x, y in values)


def burn(polygons: Polygons, geobox: GeoBox, *, chunk: int) -> Any:
    """Burn polygons into a grid, lazily.

    Returns
    -------
    dask Array
        Shape (y, x), uint8.
    """
    import dask.array as da

    sizes: Sequence[Any] = da.core.normalize_chunks((chunk, chunk), geobox.shape.yx)
    return da.map_blocks(_burn_block, polygons, geobox, chunks=sizes, dtype=np.uint8, meta=np.empty((0, 0), np.uint8))


def _burn_block(polygons: Polygons, geobox: GeoBox, block_info: Any = None) -> NDArray[np.uint8]:
    (top, bottom), (left, right) = block_info[None]["array-location"]
    return polygons.burn(geobox[top:bottom, left:right])
