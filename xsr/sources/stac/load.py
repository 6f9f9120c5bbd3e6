"""The grid of a cube, and the pixels of its dates on it, lazily, by odc-stac."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry, unary_union

from xsr.core.areas import snap
from xsr.core.errors import GridError, ParameterError, XsrWarning
from xsr.core.grid import crs_name
from xsr.core.grid import resolution as pixel_size
from xsr.sources.granules import Granule
from xsr.sources.harmonise import Identity
from xsr.sources.stac.assets import File
from xsr.sources.stac.classes import Kind
from xsr.sources.stac.describe import acquisition, baseline, name_crs, time_of
from xsr.sources.stac.examine import Candidate

if TYPE_CHECKING:
    import pystac

Resampling = Literal["nearest", "bilinear", "cubic", "lanczos", "average"]
DEGREE_M = math.pi / 180 * 6378137.0
"""Metres in a degree of the equator."""
CLASSES = "classes"
"""Name of the classification among the bands of an item."""


@dataclass(frozen=True)
class Layout:
    """How dates are loaded."""

    target: GeoBox
    kind: Kind | None
    """Scheme of classes of the cube, None without one."""
    resampling: str
    chunk: int


def find_grid(
    candidates: Sequence[Candidate],
    area: Geometry | None,
    *,
    resolution: float | None,
    crs: CRS | None,
) -> GeoBox:
    """Grid of a cube, snapped to that of the finest band.

    Raises
    ------
    GridError
        If items lie in several CRS and none is named.
    ParameterError
        If the area lies outside the images, or the pixel size is none in the unit of the CRS.
    """
    files = [file for one in candidates for file in one.files.values()]
    finest = min(files, key=_size_m)
    systems = {crs_name(file.geobox) for file in files}
    if crs is None and len(systems) > 1:
        raise GridError(
            f"items lie in {', '.join(sorted(systems))}; expected one CRS. Open them zone by zone, or pass crs= and"
            " accept that reprojection before super-resolution changes the point spread function."
        )
    system = finest.crs if crs is None else crs
    covered = _cover([file.geobox for file in files], system)
    size = _pixel_size(finest, system) if resolution is None else (resolution, resolution)
    _check_size(size, system, area=covered if area is None else area)
    if system != finest.crs or len(systems) > 1:
        warnings.warn(
            f"items in {', '.join(sorted(systems))} are reprojected to {name_crs(system)}: that changes their point"
            " spread function, which super-resolution models count on.",
            XsrWarning,
            stacklevel=4,
        )
    return _fit(area, covered, system=system, size=size, origin=_corner(finest, system))


def _cover(grids: Sequence[GeoBox], system: CRS) -> Geometry:
    covered: Any = unary_union([box.extent.to_crs(system, resolution=pixel_size(box)[0] * 100) for box in grids])
    assert isinstance(covered, Geometry)
    return covered


def _fit(
    area: Geometry | None, covered: Geometry, *, system: CRS, size: tuple[float, float], origin: tuple[float, float]
) -> GeoBox:
    """Fit a grid around an area that the images cover, or around the images."""
    target = snap(covered if area is None else area, system, size, origin)
    if not target.extent.intersects(covered):
        raise ParameterError(
            f"the area {tuple(target.boundingbox)} lies outside the images, which cover {tuple(covered.boundingbox)} in"
            f" {crs_name(target)}. Check the area."
        )
    return target


def _corner(finest: File, system: CRS) -> tuple[float, float]:
    """Corner of a pixel to snap to."""
    a = finest.geobox.affine
    return (a.c, a.f) if system == finest.crs else (0.0, 0.0)


def _size_m(file: File) -> float:
    return pixel_size(file.geobox)[0] * (DEGREE_M if file.crs.geographic else 1.0)


def _pixel_size(finest: File, system: CRS) -> tuple[float, float]:
    """Pixel size (y, x) of the finest band in the unit of a CRS; in degrees what its metres are along a meridian."""
    if system == finest.crs:
        return pixel_size(finest.geobox)
    size = _size_m(finest) / DEGREE_M if system.geographic else pixel_size(finest.geobox.to_crs(system))[0]
    return size, size


def _check_size(size: tuple[float, float], system: CRS, *, area: Geometry) -> None:
    if not system.geographic:
        return
    if max(size) > 1:
        raise ParameterError(
            f"resolution={max(size):g} in {name_crs(system)} is in degrees; expected a fraction of one. Pass"
            f" resolution={max(size) / DEGREE_M:.6g} for {max(size):g} m."
        )
    west, _, east, _ = area.to_crs(system, resolution=math.inf).boundingbox
    if east - west > 180:
        raise GridError(
            f"the images cross the antimeridian, where longitudes in {name_crs(system)} jump; expected one side. Give"
            " bbox= on one side of 180 degrees, or a projected crs."
        )


def make_granule(group: Sequence[Candidate], bands: tuple[str, ...], *, layout: Layout) -> Granule:
    """One acquisition, its tiles and their parts joined.

    Where several have a pixel, that of the first tile in the order of time and name counts, and within a tile that of
    the latest processing.
    """
    import dask.array as da

    ordered = _by_precedence(group)
    layers = [_load(one, bands, layout=layout) for one in ordered]
    pixels, classes = layers[0]
    for other, other_classes in layers[1:]:
        pixels = da.where(da.isnan(pixels), other, pixels)
        if layout.kind is not None:
            classes = da.where(classes == layout.kind.empty, other_classes, classes)
    first = group[0]
    shown = {} if layout.kind is None else {layout.kind.name: classes, "valid": layout.kind.valid(classes)}
    return Granule(
        label=first.item.id,
        time=min(time_of(one.item) for one in group),
        bands=bands,
        pixels=pixels,
        geobox=layout.target,
        native_gsd_m=tuple(max(first.sensor.band(band).gsd_m, _size_m(first.files[band])) for band in bands),
        identity=Identity(acquisition(first.item)),
        record=_record(group),
        offset_dn=tuple(first.packings[band].offset for band in bands),
        masks=shown,
    )


def _record(group: Sequence[Candidate]) -> dict[str, str]:
    """Where a date comes from."""
    platform, datatake = acquisition(group[0].item)
    return {
        "platform": platform,
        "processing_baseline": " ".join(sorted({baseline(one.item) or "" for one in group})),
        "product_id": " ".join(one.item.id for one in group),
        "datatake": datatake,
        "offset_source": " / ".join(sorted({one.offset_source for one in group})),
    }


def _by_precedence(group: Sequence[Candidate]) -> list[Candidate]:
    tiles: dict[tuple[str, ...], int] = {}
    for number, one in enumerate(group):
        tiles.setdefault(one.identity.acquisition, number)
    newest_first = sorted(group, key=lambda one: one.identity.rank, reverse=True)
    return sorted(newest_first, key=lambda one: tiles[one.identity.acquisition])


def _load(one: Candidate, bands: tuple[str, ...], *, layout: Layout) -> tuple[Any, Any]:
    """Values (band, y, x) and classes (y, x) of an item."""
    import dask.array as da
    import odc.stac

    files = {band: one.files[band] for band in bands}
    plain: dict[str, Any] = {band: {"data_type": "float32", "nodata": one.packings[band].special[0]} for band in bands}
    if one.kind is not None and one.classes is not None:
        files[CLASSES] = one.classes
        plain[CLASSES] = {"data_type": one.kind.dtype, "nodata": one.kind.empty}
    loaded = odc.stac.load(
        [_plain_item(one, files)],
        bands=list(files),
        geobox=layout.target,
        chunks={"y": layout.chunk, "x": layout.chunk},
        resampling={**dict.fromkeys(bands, layout.resampling), CLASSES: "nearest"},
        dtype="float32",
        stac_cfg={"*": {"assets": plain}},
        patch_url={_address(name): file.path for name, file in files.items()}.__getitem__,
    )
    planes = [loaded[band].data[0].map_blocks(one.packings[band].decode, dtype=np.float32) for band in bands]
    if layout.kind is None:
        return da.stack(planes), None
    if CLASSES not in files:
        unknown = da.full(layout.target.shape.yx, layout.kind.empty, dtype=layout.kind.dtype, chunks=planes[0].chunks)
        return da.stack(planes), unknown
    return da.stack(planes), loaded[CLASSES].data[0].map_blocks(layout.kind.numbers, dtype=layout.kind.dtype)


def _address(name: str) -> str:
    """Absolute address that stands for what GDAL opens, which may be no address."""
    return f"/{name}"


def _plain_item(one: Candidate, files: dict[str, File]) -> "pystac.Item":
    """Item with what odc-stac needs: one asset a band, placed as its file says."""
    import pystac
    from pystac.extensions.projection import ProjectionExtension

    item = pystac.Item(one.item.id, None, None, one.item.datetime or one.item.common_metadata.start_datetime, {})
    ProjectionExtension.add_to(item)
    for name, file in files.items():
        asset = pystac.Asset(_address(name), media_type=pystac.MediaType.GEOTIFF, roles=["data"])
        item.add_asset(name, asset)
        crs = file.crs
        ProjectionExtension.ext(asset).apply(
            code=f"EPSG:{crs.epsg}" if crs.epsg else None,
            wkt2=None if crs.epsg else crs.to_wkt(),
            shape=list(file.geobox.shape.yx),
            transform=list(file.geobox.affine)[:6],
        )
    return item
