"""Files behind the assets of an item: their addresses, headers and coordinate reference systems."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from xsr.core.errors import ProductError
from xsr.core.grid import crs_name, resolution
from xsr.core.redact import public, scrub
from xsr.sources.rasters import VRT, read_header
from xsr.sources.stac.bands import Source
from xsr.sources.stac.describe import name_crs, stated_crs, tile_crs
from xsr.sources.stac.origin import TRUST, origin_of, refusal

if TYPE_CHECKING:
    import pystac

HTTP = {"GDAL_HTTP_TIMEOUT": "60", "GDAL_HTTP_MAX_RETRY": "2", "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
"""Options of GDAL for assets on the web: none of them may hang for ever, and folders are not listed."""
TEMPLATE = re.compile(r"\{\{.*?\}\}|\$?\{\w+\}")
ZARR = re.compile(r"\.zarr(\.zip)?(/|$)")
SAME_PX = 0.5
"""Largest distance in pixels between corners in two CRS that count as the same."""
SHOWN = 200
"""Most characters of an address in a message."""
SCHEMES = {"http": "/vsicurl/http://", "https": "/vsicurl/https://", "s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}


@dataclass(frozen=True)
class File:
    """A band of a file that was opened."""

    path: str
    """What GDAL opens: an address, or a description of the band (VRT) where the file alone does not do."""
    geobox: GeoBox
    driver: str = VRT
    """Driver of GDAL that opens it."""

    @property
    def crs(self) -> CRS:
        """CRS, which every file that was opened has."""
        assert self.geobox.crs is not None
        return self.geobox.crs


@dataclass(frozen=True)
class Access:
    """How to reach assets."""

    patch_url: Callable[[str], str] | None = None
    """Applied to each address before it is read."""
    alternate: str | None = None
    """Name or scheme of the address to prefer."""
    crs: CRS | None = None
    """CRS of files that name none, and whose items name none."""
    trust: bool = False
    """Whether addresses may lead anywhere; see `xsr.sources.stac.origin`."""

    def path(self, address: str) -> str:
        """Path to read for an address."""
        return address if self.patch_url is None else self.patch_url(address)

    def refusal(self, path: str, address: str, origin: str | None) -> str | None:
        """Say why the path for an address of an item from ``origin`` may not be opened; None if it may.

        A path to another place than the address is that of the user's own function.
        """
        if self.trust or _place(path) != _place(address):
            return None
        reason = refusal(address, origin)
        return reason and f"its address {public(address)[:SHOWN]!r} {reason}. {TRUST.rstrip('.')}"


def addresses(item: "pystac.Item", key: str, *, alternate: str | None) -> list[str]:
    """Addresses of an asset: its main one, then its alternates as they are listed; preferred ones first."""
    asset = item.assets[key]
    main = asset.href if TEMPLATE.search(asset.href) else asset.get_absolute_href() or asset.href
    others = asset.extra_fields.get("alternate") or {}
    found = [("", main), *((str(name), str(one["href"])) for name, one in others.items() if one.get("href"))]
    found.sort(key=lambda one: alternate is not None and alternate not in (one[0], one[1].partition("://")[0]))
    return [address for _, address in found]


def open_file(item: "pystac.Item", source: Source, *, access: Access) -> File:
    """Open the header of a band at the first of its addresses that can be opened.

    Raises
    ------
    ProductError
        If none can, it is no raster, or its CRS is unknown or contradicts the item.
    """
    failures, origin = [], origin_of(item)
    for address in addresses(item, source.key, alternate=access.alternate):
        path = access.path(address)
        _refuse_other_kinds(item, source.key, path=path)
        refused = access.refusal(path, address, origin)
        if refused is not None:
            failures.append(refused)
            continue
        try:
            return _open(item, source, path=path, crs=access.crs)
        except ProductError:
            raise
        except Exception as error:  # a dead asset, whatever the reader says about it
            failures.append(scrub(str(error), path))
    relative = item.get_self_href() is None and not re.match(r"[\w+]+://|/", item.assets[source.key].href)
    advice = " Its address is relative, and the item does not say to what: set its self link." if relative else ""
    raise ProductError(f"asset {source.key!r} of item {item.id} cannot be opened: {'; '.join(failures)}.{advice}")


def _place(address: str) -> str:
    """Address without what signing adds to it."""
    return public(address).partition("?")[0]


def _refuse_other_kinds(item: "pystac.Item", key: str, *, path: str) -> None:
    template = TEMPLATE.search(path)
    store = ZARR.search(path) or "zarr" in str(item.assets[key].media_type)
    if template:
        raise ProductError(
            f"asset {key!r} of item {item.id} has the address {path!r}, a template that its catalogue left open;"
            f" expected an address. patch_url= is the function that fills in {template[0]!r}"
            + (", but what it names is a Zarr store: open that with xsr.open_eopf." if store else ".")
        )
    if store:
        raise ProductError(
            f"asset {key!r} of item {item.id} is a Zarr store ({path}); expected a raster file. Open the store with"
            " xsr.open_eopf."
        )


def _open(item: "pystac.Item", source: Source, *, path: str, crs: CRS | None) -> File:
    import rasterio

    with rasterio.Env(**HTTP):
        header = read_header(path, label=f"asset {source.key!r} of item {item.id}")
    shape, transform, own = header.shape, header.transform, header.crs
    if source.index > len(header.dtypes):
        raise ProductError(
            f"asset {source.key!r} of item {item.id} should hold band {source.index} after its eo:bands; the file has"
            f" {len(header.dtypes)}. Correct them, or name the band: bands={{'B04': '{source.key}.1'}}."
        )
    placed = _placed(item, source.key, transform=transform)
    stated = stated_crs(item, source.key)
    if own is not None:
        box = GeoBox(shape, placed, own.to_wkt())
        _check_stated(item, source.key, box=box, stated=stated)
    else:
        system = stated[0] if stated else tile_crs(item) or crs
        if system is None:
            raise ProductError(
                f"asset {source.key!r} of item {item.id} names no CRS, nor does its item; expected one. Pass crs=."
            )
        box = GeoBox(shape, placed, system)
    if own is not None and placed == transform and source.index == 1:
        return File(path, box, header.driver)
    return _described(path, box, band=source.index, dtype=header.dtypes[source.index - 1])


def _placed(item: "pystac.Item", key: str, *, transform: Affine) -> Affine:
    """Transform of a file, or of the item where the file has none."""
    if transform != Affine.identity():
        return transform
    fields = {**item.properties, **item.assets[key].extra_fields}
    numbers = fields.get("proj:transform")
    if not numbers:
        raise ProductError(
            f"asset {key!r} of item {item.id} has no geotransform, and its item no proj:transform; expected a"
            " georeferenced file."
        )
    return Affine(*(float(number) for number in numbers[:6]))


def _check_stated(item: "pystac.Item", key: str, *, box: GeoBox, stated: tuple[CRS, str] | None) -> None:
    """Refuse a file whose CRS is another than its item states."""
    if stated is None or stated[0] == box.crs or _same_place(box, stated[0]):
        return
    raise ProductError(
        f"asset {key!r} of item {item.id} lies in {crs_name(box)} by its file and in {name_crs(stated[0])} by"
        f" {stated[1]}; expected the same. Set that of the item to {crs_name(box)}, if the file is right."
    )


def _same_place(box: GeoBox, other: CRS) -> bool:
    """Whether the corners have the same coordinates in another CRS, as between WGS 84 and ETRS89."""
    from pyproj import Transformer
    from pyproj.exceptions import ProjError

    corners = np.array(box.extent.exterior.coords[:4]).T
    try:
        moved = np.array(Transformer.from_crs(str(box.crs), str(other), always_xy=True).transform(*corners))
    except ProjError:
        return False
    return bool(np.abs(moved - corners).max() < SAME_PX * min(resolution(box)))


def _described(path: str, box: GeoBox, *, band: int, dtype: str) -> File:
    """One band of a file, described to GDAL (VRT) with the grid and CRS that the file itself does not give."""
    assert box.crs is not None
    height, width = box.shape.yx
    a = box.affine
    numbers = ", ".join(repr(float(one)) for one in (a.c, a.a, a.b, a.f, a.d, a.e))
    kind = {"uint8": "Byte", "int8": "Int8"}.get(dtype, dtype[:1].upper() + dtype[1:]).replace("Uint", "UInt")
    text = (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{escape(box.crs.to_wkt())}</SRS>'
        f'<GeoTransform>{numbers}</GeoTransform><VRTRasterBand dataType="{kind}" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{escape(gdal_path(path))}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return File(text, box)


def gdal_path(path: str) -> str:
    """Path as GDAL itself spells it."""
    scheme, separator, rest = path.partition("://")
    if not separator:
        return path
    return rest if scheme == "file" else SCHEMES.get(scheme.lower(), path[: -len(rest)] if rest else path) + rest
