"""What lies at a path: the kind of file, folder, archive or store, found by its content and not by its name.

A file is known by its first bytes, a folder or archive by the metadata files in it, a store by its Zarr metadata. Only
a URL is known by the suffix of what it names. Nothing is opened but headers and lists of names.
"""

import json
import os
import re
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from xsr.core.errors import CubeError
from xsr.sources import registry
from xsr.sources.archive import ENTRIES, TAR
from xsr.sources.files import HEAD, JPEG2000, VRT, ZARR_METADATA, zarr_root
from xsr.sources.limits import read_document
from xsr.sources.paths import GDAL_SUBDATASET, LEVELS
from xsr.sources.references import REFERENCE_URL, is_references
from xsr.sources.registry import Source
from xsr.sources.safe import IMAGE as SAFE_IMAGE
from xsr.sources.safe import METADATA as SAFE_METADATA
from xsr.sources.theia import NAME as THEIA_NAME

MANY = 6
"""More names than these are listed by the first ones."""
LANDSAT_METADATA = re.compile(r"(^|/)[^/]*_MTL\.(txt|xml|json)$", re.IGNORECASE)
REFLECTANCE = "measurements/reflectance/"
"""Group of an EOPF product that holds its images."""
RASTERS = (".tif", ".tiff", ".jp2", ".j2k")
CATALOGS = ("catalog.json", "collection.json")
STAC_TYPES = ("Feature", "FeatureCollection", "Catalog", "Collection")


SIGNATURES = (
    (re.compile(rb"(II|MM)[*+]\0|(II|MM)\0[*+]"), registry.GEOTIFF),
    (re.compile(rb"\x89HDF\r\n\x1a\n|CDF[\x01\x02\x05]"), registry.NETCDF),
    (JPEG2000, registry.JPEG2000),
    (VRT, registry.VRT),
)
"""First bytes of files that are read by themselves."""
UNREAD = (
    (b"\x0e\x03\x13\x01", "HDF4"),
    (b"\x89PNG", "a PNG image without georeference"),
    (b"\xff\xd8\xff", "a JPEG image without georeference"),
    (b"SQLite format 3", "an SQLite database (GeoPackage or MBTiles)"),
    (b"PAR1", "Parquet"),
    (b"\x93NUMPY", "a NumPy array without georeference"),
    (b"\x1f\x8b", "a gzip file"),
)
"""First bytes of files that are known and not read."""
SUFFIXES = {
    **dict.fromkeys((".tif", ".tiff"), registry.GEOTIFF),
    **dict.fromkeys((".nc", ".nc4", ".h5"), registry.NETCDF),
    **dict.fromkeys((".json", ".geojson"), registry.STAC),
    ".jp2": registry.JPEG2000,
    ".vrt": registry.VRT,
}
"""Sources of what a URL names; a Zarr store has no suffix that could be relied on."""
SUPPORTED = (
    "a product (Sentinel-2 SAFE or EOPF, Theia, Landsat: folder, archive or metadata file), STAC, Zarr (.zarr.zip too),"
    " NetCDF, references of kerchunk, GeoTIFF or a folder of band files"
)


def supported() -> str:
    """List what xsr reads, for messages; added sources by their names."""
    return ", ".join([SUPPORTED, *(source.name for source in registry.added())])


@dataclass(frozen=True)
class Found:
    """What lies at a path."""

    source: Source
    path: str
    """Path for the reader: that of the product or store, where one of its metadata files was named."""


def detect(path: str) -> Found:
    """Find out what lies at a path or URL.

    Raises
    ------
    CubeError
        If there is nothing, nothing that xsr reads, or a product that an added source recognises as well; says what
        was found.
    """
    if path.startswith("file://"):
        path = unquote(urlsplit(path).path)
    path = os.path.expanduser(path)
    claimed = registry.claimed(path)
    if claimed is None:
        return _detect(path)
    own = _own_product(path)
    if own is not None:
        raise CubeError(
            f"source {claimed.name!r} recognises {path}, a product ({own.name}) that xsr opens itself; expected other"
            f" paths. Narrow what {claimed.name!r} recognises."
        )
    return Found(claimed, path)


def _own_product(path: str) -> Source | None:
    """Product on disk that xsr reads itself, at a path that an added source recognises."""
    try:
        found = None if "://" in path else _detect(path)
    except CubeError:
        return None
    return found.source if found is not None and found.source.product else None


def _detect(path: str) -> Found:
    if "://" in path:
        return _detect_url(path)
    if GDAL_SUBDATASET.match(path) or (path.startswith("/vsi") and SAFE_METADATA.search(path)):
        return Found(registry.SAFE, path)
    if path.startswith("/vsi"):  # a file inside another, in the words of GDAL
        return Found(SUFFIXES.get(PurePosixPath(path).suffix.lower(), registry.GEOTIFF), path)
    local = Path(path)
    if path and not local.exists():
        archive = next((one for one in local.parents if one.is_file()), None)
        found = None if archive is None else _detect_file(archive)
        if found is not None and found.source.product:
            return Found(found.source, str(local))
    if not path or not local.exists():
        raise CubeError(f"{path or 'an empty path'} not found; expected {supported()}. Check the path.")
    return _detect_folder(local) if local.is_dir() else _detect_file(local)


def _detect_url(url: str) -> Found:
    name = urlsplit(url).path.rstrip("/").lower()
    if name.endswith((".zip", *TAR)) and not name.endswith(".zarr.zip"):
        raise CubeError(
            f"{url} is an archive at a URL; expected a product on disk, for its images are read in many small pieces."
            " Download it, or open the same scenes from a catalog with xsr.open_stac."
        )
    if REFERENCE_URL.search(name):
        return Found(registry.REFERENCES, url)
    return Found(SUFFIXES.get(PurePosixPath(name).suffix) or _store_kind(url), url)


def _detect_folder(folder: Path) -> Found:
    if any((folder / name).is_file() for name in ZARR_METADATA):
        return Found(_store_kind(str(folder)), str(folder))
    product = _product(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    if product is not None:
        return Found(product, str(folder))
    here = sorted(folder.iterdir())
    root = _safe_root(folder)
    if root is not None and any(SAFE_IMAGE.search(file.name) for file in here):
        return Found(registry.SAFE, str(folder))
    catalog = next((file for file in here if file.name in CATALOGS), None)
    if catalog is not None:
        return Found(registry.STAC, str(catalog))
    if any(file.suffix.lower() in RASTERS for file in here):
        return Found(registry.BANDS, str(folder))
    if root is not None:
        return Found(registry.SAFE, str(root))
    archives = [file for file in here if file.name.lower().endswith((".zip", *TAR))]
    if len(archives) == 1:
        return _detect_file(archives[0])
    inside = _listed(f"{file.name}/" if file.is_dir() else file.name for file in here)
    raise CubeError(f"{folder} cannot be read: it holds {inside}; expected {supported()}. Name one of what is inside.")


def _detect_file(file: Path) -> Found:
    try:
        with file.open("rb") as opened:
            head = opened.read(HEAD)
    except OSError as error:
        raise CubeError(f"{file} cannot be read: {error.strerror or error}. Check its permissions.") from error
    kind = next((kind for pattern, kind in SIGNATURES if pattern.match(head)), None)
    if kind is registry.JPEG2000 and _is_band_of_safe(file):
        return Found(registry.SAFE, str(file))
    if kind is not None:
        return Found(kind, str(file))
    found = _metadata_file(file) or _archive(file, head)
    if found is None and head.lstrip()[:1] in (b"{", b"["):
        kind = _kind_of_json(file)
        found = None if kind is None else Found(kind, str(file))
    if found is None:
        raise CubeError(f"{file} cannot be read: it is {_unread(head)}; expected {supported()}. Check the path.")
    return found


def _metadata_file(file: Path) -> Found | None:
    """Product or store that a file describes by its name."""
    if file.name in ZARR_METADATA:
        return Found(_store_kind(str(file.parent)), str(file.parent))
    root = _safe_root(file) if file.suffix.lower() in (".safe", ".xml") else None
    if root is not None:
        return Found(registry.SAFE, str(root))
    kind = _product([file.name]) if file.suffix.lower() in (".xml", ".txt", ".json") else None
    if kind is registry.LANDSAT:  # a folder may hold several
        return Found(kind, str(file))
    return None if kind is None else Found(kind, str(file.parent))


def _safe_root(path: Path) -> Path | None:
    """Folder of the SAFE product that a file or folder is part of."""
    above = list(path.absolute().parents)[:LEVELS]
    return next((one for one in above if any(SAFE_METADATA.search(file.name) for file in _files(one))), None)


def _is_band_of_safe(file: Path) -> bool:
    """Whether an image is that of a band in a SAFE product, whose metadata say what its numbers are."""
    image = SAFE_IMAGE.search(file.name)
    return image is not None and image[1] != "SCL" and _safe_root(file) is not None


def _archive(file: Path, head: bytes) -> Found | None:
    """Product or store in a zip or tar archive; None if it is no archive.

    Raises
    ------
    CubeError
        If it is damaged, or holds neither.
    """
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(file) as opened:
                names = opened.namelist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise CubeError(f"{file} cannot be read: {error}. The zip archive is damaged: get it again.") from error
    elif head[257:262] == b"ustar":
        try:
            with tarfile.open(file, "r:") as packed:
                names = [member.name for member in islice(packed, ENTRIES)]
        except (tarfile.TarError, ValueError, EOFError) as error:
            raise CubeError(f"{file} cannot be read: {error}. The tar archive is damaged: get it again.") from error
    else:
        return None
    if zarr_root(names) is not None:
        return Found(registry.EOPF if any(REFLECTANCE in name for name in names) else registry.ZARR, str(file))
    kind = _product(names)
    if kind is None:
        raise CubeError(f"{file} cannot be read: it holds {_listed(names)}; expected {supported()}. Unpack it.")
    return Found(kind, str(file))


def _product(names: Iterable[str]) -> Source | None:
    """Kind of the product that files belong to by their names."""
    kinds = set()
    for name in names:
        if SAFE_METADATA.search(name):
            return registry.SAFE
        if THEIA_NAME.match(name.rpartition("/")[2]):
            kinds.add(registry.THEIA)
        if LANDSAT_METADATA.search(name):
            kinds.add(registry.LANDSAT)
    return next((kind for kind in (registry.THEIA, registry.LANDSAT) if kind in kinds), None)


def _store_kind(path: str) -> Source:
    """Whether a Zarr store is an EOPF product."""
    import zarr

    if REFLECTANCE.rstrip("/") in path.replace("\\", "/"):  # a group of a product
        return registry.EOPF
    try:
        return registry.EOPF if REFLECTANCE.rstrip("/") in zarr.open_group(path, mode="r") else registry.ZARR
    except Exception:  # of any kind for a store on the web; its reader says what is wrong
        return registry.ZARR


def _kind_of_json(file: Path) -> Source | None:
    try:
        content: Any = json.loads(read_document(file))
    except (ValueError, RecursionError):
        return None
    if is_references(content):
        return registry.REFERENCES
    items = content if isinstance(content, list) else [content]
    stac = bool(items) and all(isinstance(one, dict) and one.get("type") in STAC_TYPES for one in items)
    return registry.STAC if stac else None


def _unread(head: bytes) -> str:
    """Name the kind of a file that xsr does not read."""
    if not head:
        return "empty"
    known = next((name for magic, name in UNREAD if head.startswith(magic)), None)
    text = re.sub(rb"\s+", b" ", head[:24]).decode("latin-1")
    return known or f"of an unknown kind, beginning with {text!r}"


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.is_file()]


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - MANY} more" if len(found) > MANY else ""
    return (", ".join(found[:MANY]) or "nothing") + more
