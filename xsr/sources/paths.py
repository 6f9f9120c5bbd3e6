"""From any path that names a product, or a file of one, to the product itself.

GDAL, SNAP and satpy users name a product by its metadata file, a granule or an image; a reader needs the folder or
archive that holds all of it.
"""

import re
import zipfile
from pathlib import Path

from xsr.core.errors import ProductError
from xsr.sources.archive import TAR

URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/+")
"""Beginning of a URL; `pathlib` leaves one slash of two. A drive of one letter is none."""
GDAL_SUBDATASET = re.compile(r"^SENTINEL2_\w+:(.+?\.(?:xml|zip))(?::.*)?$", re.IGNORECASE)
"""Name that GDAL's driver gives to a part of a Sentinel-2 product."""
GDAL_ARCHIVE = re.compile(r"^/vsi(zip|tar)/+")
LEVELS = 6
"""Folders above a file among which its product is looked for; an image lies four below."""


def product_path(path: str | Path, metadata: re.Pattern[str]) -> Path:
    """Find the product that a path names.

    Parameters
    ----------
    path
        Folder or zip archive of products; any file or folder inside a product, also as GDAL spells it.
    metadata
        Pattern of the name of the file that every product of the kind has in its folder.

    Returns
    -------
    Path
        The folder or archive of the product; the path itself where nothing above it is a product.

    Raises
    ------
    ProductError
        If it is a URL, nothing is there, or it is a file that belongs to no product.
    """
    local = _local(path)
    if not local.exists():
        archive = next((one for one in local.parents if _is_archive(one)), None)
        if archive is None:
            raise ProductError(f"{path} not found; expected a product folder or archive. Check the path.")
        return archive
    if _is_archive(local):
        return local
    above = [local, *local.parents][: LEVELS + 1] if local.is_dir() else list(local.parents)[:LEVELS]
    found = next((folder for folder in above if _holds(folder, metadata)), None)
    if found is None and local.is_file() and not zipfile.is_zipfile(local):
        raise ProductError(
            f"{path} belongs to no product: no metadata of one lie beside it or in a folder above; expected the folder"
            " or archive of a product, or a file inside. Open a single file by itself."
        )
    return local if found is None else found


def _local(path: str | Path) -> Path:
    text = str(path)
    part = GDAL_SUBDATASET.match(text)
    text = part[1] if part else text
    if GDAL_ARCHIVE.match(text):
        text = GDAL_ARCHIVE.sub("/", text).replace("/{", "/", 1).replace("}", "", 1)
    if URL.match(text):
        raise ProductError(
            f"{path} is a URL; expected a product on disk, for its images are read in many small pieces. Download the"
            " product, or open the same scenes from a catalog with xsr.open_stac."
        )
    return Path(text).absolute()


def _is_archive(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith((".zip", *TAR))


def _holds(folder: Path, metadata: re.Pattern[str]) -> bool:
    try:
        return any(metadata.search(file.name) for file in folder.iterdir())
    except OSError:
        return False
