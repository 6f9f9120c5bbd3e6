"""STAC: from a search, a catalog or given items to one cube of reflectance or temperature.

pystac-client finds items, odc-stac loads their pixels. What lies between is decided here, once for each item, one
module for each question:

==========  ==========================================================
reading     items from whatever holds them
interval    times that people write
search      which items are requested
footprint   where they lie
describe    what they are
bands       which asset is which band
classes     which asset classifies pixels, and which classes are clear
assets      where the files are, and on which grid
origin      what their addresses may name
online      catalogues by their links
packing     what their numbers mean
examine     whether an item can be used
load        the pixels of a date on the grid of the cube
series      dates, one by one or as one cube
==========  ==========================================================
"""

from collections.abc import Callable, Sequence

import xarray as xr

from xsr.core.areas import GeometryLike, resolve_area
from xsr.sources.rasters import CHUNK
from xsr.sources.stac.bands import BandsLike
from xsr.sources.stac.examine import ItemErrors
from xsr.sources.stac.interval import TimesLike
from xsr.sources.stac.load import Resampling
from xsr.sources.stac.packing import OffsetLike
from xsr.sources.stac.reading import ItemsLike
from xsr.sources.stac.search import find_items
from xsr.sources.stac.series import read_series, resolve_reading, source_of

__all__ = [
    "BandsLike",
    "ItemErrors",
    "ItemsLike",
    "OffsetLike",
    "Resampling",
    "TimesLike",
    "open_stac",
]


def open_stac(
    items: ItemsLike | None = None,
    *,
    url: str | None = None,
    bbox: Sequence[float] | None = None,
    geometry: GeometryLike | None = None,
    datetime: TimesLike | None = None,
    collection: str | Sequence[str] | None = None,
    bands: BandsLike | None = None,
    resolution: float | None = None,
    crs: str | int | None = None,
    resampling: Resampling = "cubic",
    max_cloud: float | None = None,
    mask: bool = False,
    offset: OffsetLike = None,
    errors: ItemErrors = "raise",
    patch_url: Callable[[str], str] | None = None,
    trust: bool = False,
    alternate: str | None = None,
    chunks: int = CHUNK,
) -> xr.DataArray:
    """Open items of a SpatioTemporal Asset Catalog as one cube of reflectance or temperature.

    Parameters
    ----------
    items
        Items: of pystac, as dictionaries, an ItemCollection or FeatureCollection, a catalog, a search of pystac-client,
        the path of any of them on disk, or several of these.
    url
        STAC API or static catalog to search, instead of ``items``.
    bbox, geometry
        Area of interest: west, south, east, north in degrees; or GeoJSON, or a vector file in any CRS. The cube covers
        its bounding box in whole pixels. By default the extent of the items.
    datetime
        Date or interval, both ends in it: as STAC writes it (``2024-06-15``, ``2024-04/2024-09``), a date or time of
        Python, NumPy or pandas, or a pair of them of which one may be None. Midnight stands for the whole day.
    collection
        Collection to search, or several.
    bands
        Bands in the order requested, in any spelling, or a mapping from bands to the keys of their assets (``image.3``
        is the third band of a file) where those do not name bands; by default all reflectances that every item has.
        Temperatures (``lwir11``, ``ST_B10``) make a cube of their own.
    resolution
        Pixel size in units of the CRS; by default that of the finest band chosen.
    crs
        CRS of the cube, where items lie in several, or another one is required.
    resampling
        Method of GDAL for bands that are not on the grid; masks are always nearest.
    max_cloud
        Largest cloud cover of an item in percent; items that do not state one are kept.
    mask
        Set clouds, cloud shadows and defects to NaN. They are in the coordinate ``valid`` anyway.
    offset
        Offset of the digital numbers, instead of the items' metadata: a number for all items, a mapping from the id of
        an item, or a function of an item; items without one, or with None, keep their metadata. The pixels of an item
        that has one are not checked.
    errors
        What to do about an item that cannot be used, since an asset cannot be opened, a band is missing or its metadata
        contradict each other or the pixels: ``raise``, or ``drop`` it with a warning: an older processing takes its
        place where there is one, else its date is left out.
    patch_url
        Function applied to each address before it is read, such as the signing of Planetary Computer.
    trust
        Let addresses and links lead anywhere. By default those of a public catalogue lead to public hosts, those of one
        in a private network or on this machine to hosts there, too; none of them to files on disk, to paths of GDAL
        (``/vsi...``, VRT), or to where a cloud keeps credentials. Items on disk may name files, and hosts of the
        network. What ``patch_url`` puts in the place of an address is not checked.
    alternate
        Name (``s3``) or scheme (``https``) of the address to prefer where an asset has alternates. By default they are
        tried in their order where the main address cannot be opened.
    chunks
        Side of a chunk in pixels.

    Returns
    -------
    DataArray
        Cube (time, band, y, x), float32, lazy; one date for each acquisition, its tiles joined: where several have a
        pixel, the first in time and name counts. In a geographic CRS the last dims are ``latitude`` and ``longitude``.
        Reflectance is (DN + offset) / quantification, temperature in kelvin. Coordinates along time say where each date
        comes from; ``native_gsd`` (m) along band; ``valid`` and the classes behind it (``scl``, ``qa_pixel`` or
        ``fmask``) over (time, y, x) where any item has a classification; a date without one is not ``valid``.

    Raises
    ------
    ParameterError
        If nothing is found, the area lies outside the items or crosses the antimeridian, or options contradict.
    ProductError
        If an asset cannot be opened, with the names of item and asset, or its CRS is unknown or contradicts the item.
    HarmonisationError
        If metadata of an item contradict each other or its pixels, or say nothing.
    GridError
        If items lie in several CRS and ``crs`` is not given.
    BandError
        If an item lacks a band, or reflectance and temperature are requested together.

    Notes
    -----
    The header of every asset is read at once, and a small sample of one band of each Sentinel-2 item; pixels are lazy.
    Landsat 4 to 9 make one series; where their sensors number bands differently, bands go by colour (``red``, ``nir``).

    Examples
    --------
    Not run by the tests, since it needs the internet:

    >>> import xsr
    >>> search = {
    ...     "url": "https://earth-search.aws.element84.com/v1",
    ...     "collection": "sentinel-2-l2a",
    ...     "bbox": (13.2, 52.4, 13.5, 52.6),
    ...     "datetime": "2024-06",
    ...     "bands": ["B02", "B03", "B04", "B08"],
    ... }
    >>> cube = xsr.open_stac(**search)  # doctest: +SKIP
    >>> fine = cube.sr.mask_clouds(dilate_m=100).sr.liif(scale=2)  # doctest: +SKIP
    """
    reading = resolve_reading(
        bands=bands,
        resolution=resolution,
        crs=crs,
        resampling=resampling,
        mask=mask,
        offset=offset,
        errors=errors,
        patch_url=patch_url,
        trust=trust,
        alternate=alternate,
        chunks=chunks,
    )
    area = resolve_area(bbox, geometry)
    found = find_items(
        items, url=url, area=area, datetime=datetime, collection=collection, max_cloud=max_cloud, trust=trust
    )
    return read_series(found, reading, area=area, source=source_of(url, collection)).cube()
