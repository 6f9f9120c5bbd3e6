"""Level-2A products of MAJA as Theia distributes them: folder or zip, flat reflectance with its masks.

References
----------
CNES, MUSCATE Sentinel-2 Level-2A product format, https://labo.obs-mip.fr/multitemp/sentinel-2/theias-sentinel-2-l2a-product-format/
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from xsr.core import grid, sensors
from xsr.core.errors import ParameterError, ProductError
from xsr.kernels.resample import METHODS, Method
from xsr.sources import masks
from xsr.sources.archive import Archive
from xsr.sources.granules import Granule, choose_bands, native_sizes, stack
from xsr.sources.harmonise import Identity
from xsr.sources.paths import product_path
from xsr.sources.rasters import CHUNK, Packing, decode, join, nearest, open_raster, to_grid
from xsr.sources.stated import stated_number
from xsr.sources.xml import parse_xml

Correction = Literal["FRE", "SRE"]
"""Reflectance corrected for slopes (flat reflectance), or not."""
QUANTIFICATION, NO_DATA = 10000.0, -10000.0
"""Digital numbers to one unit of reflectance, and that of no data, where a product has no metadata file."""
MASKS = ("CLM", "EDG", "SAT")
"""Clouds and their shadows, edges of the image, saturation."""
NAME = re.compile(
    r"(?P<stem>(?P<platform>[A-Z0-9-]+)_(?P<time>\d{8}-\d{6}-\d{3})_L2A_T?(?P<tile>[\w-]+?)_[A-Z]_V(?P<version>\d+-\d+))"
)
"""Beginning of the names of the files of a product."""
INSIDE = re.compile(r"_(MTD_ALL\.xml|(FRE|SRE)_B\w+\.tif)$", re.IGNORECASE)
"""End of the name of a file in the folder of a product."""


@dataclass(frozen=True)
class TheiaProduct:
    """Files of one date and tile."""

    archive: Archive
    stem: str
    """Name of the product."""
    platform: str
    time: np.datetime64
    tile: str
    version: tuple[int, ...]
    files: dict[str, str]
    """File names by what follows the product's name: ``FRE_B2``, ``CLM_R1``, ``MTD_ALL``."""

    def images(self, correction: str) -> dict[str, str]:
        """Image files by canonical band."""
        found = {key: re.fullmatch(rf"{correction}_(B\d+A?)", key) for key in self.files}
        return {sensors.canonical_band(match[1]): self.files[key] for key, match in found.items() if match}

    def packing(self) -> Packing:
        """How its numbers become reflectance."""
        if "MTD_ALL" not in self.files:
            return Packing(QUANTIFICATION, 0.0, (NO_DATA,))
        where = self.files["MTD_ALL"]
        tree = parse_xml(self.archive.read(where), where)
        quantification = tree.find(".//{*}REFLECTANCE_QUANTIFICATION_VALUE")
        special = [e for e in tree.findall(".//{*}SPECIAL_VALUE") if e.get("name") == "nodata"]
        value = QUANTIFICATION
        if quantification is not None:
            value = stated_number(quantification.text, "REFLECTANCE_QUANTIFICATION_VALUE", where=where, least=1)
        no_data = stated_number(special[0].text, "SPECIAL_VALUE nodata", where=where) if special else NO_DATA
        return Packing(value, 0.0, (no_data,))


def open_theia(
    path: str | Path | Sequence[str | Path],
    *,
    bands: Sequence[str] | None = None,
    tile: str | None = None,
    correction: Correction = "FRE",
    resolution: int | None = None,
    resampling: Method = "bicubic",
    mask: bool = False,
    trust: bool = False,
    chunks: int = CHUNK,
) -> xr.DataArray:
    """Open Level-2A products of MAJA, as Theia distributes them, as one cube of reflectance.

    Parameters
    ----------
    path
        Folder or zip archive of one product or of several dates, or a file inside a product; or a list of them.
    bands
        Bands in the order requested, in any spelling; by default all.
    tile
        MGRS tile, where there are several.
    correction
        ``FRE``, corrected for slopes; or ``SRE``, not corrected.
    resolution
        Pixel size of the grid in metres, 10 or 20; by default that of the finest band chosen.
    resampling
        Kernel that brings coarser bands to the grid; see `xsr.interpolate`. Finer ones are averaged.
    mask
        Set clouds, their shadows, edges and saturated pixels to NaN. They are in the coordinate ``valid`` anyway.
    trust
        Follow links from the folder of a product to files outside of it.
    chunks
        Side of a chunk in pixels.

    Returns
    -------
    DataArray
        Cube (time, band, y, x), float32, lazy. No data is NaN, band by band; negative reflectance stays. Coordinates
        along time say where each date comes from; ``native_gsd`` (m) along band; ``valid`` (time, y, x): no bit set in
        the masks of clouds, edges and saturation (of any band), nearest pixels.

    Raises
    ------
    ProductError
        If there is no such product, or files of it are missing or damaged.
    BandError, ParameterError, GridError
        If a band, tile or option is unknown, or products are on different grids.

    Examples
    --------
    Not run by the tests, since it needs a product of several hundred megabytes:

    >>> import xsr
    >>> product = "SENTINEL2A_20240615-105621-000_L2A_T31UFS_C_V3-1.zip"
    >>> cube = xsr.open_theia(product, bands=["B02", "B03", "B04", "B08"])  # doctest: +SKIP
    >>> fine = cube.sr.liif(scale=2)  # doctest: +SKIP
    """
    if correction not in get_args(Correction):
        raise ParameterError(f"correction={correction!r}; expected FRE (corrected for slopes) or SRE (not corrected).")
    if resampling not in METHODS:
        raise ParameterError(f"resampling={resampling!r}; expected one of {', '.join(METHODS)}.")
    if resolution not in (None, 10, 20):
        raise ParameterError(
            f"resolution={resolution}; expected 10 or 20 metres. Interpolate or super-resolve to others."
        )
    products = _of_tile(find_products(path, trust=trust), tile)
    granules = [
        _granule(product, bands, correction=correction, gsd_m=resolution, method=resampling, chunk=chunks)
        for product in products
    ]
    attrs = {"source": f"Theia Level-2A {correction}", "units": "1", "long_name": "surface reflectance"}
    return stack(granules, name="reflectance", attrs=attrs, mask=mask)


def find_products(path: str | Path | Sequence[str | Path], *, trust: bool = False) -> list[TheiaProduct]:
    """Find the products in folders and archives.

    Raises
    ------
    ProductError
        If there is none.
    """
    found: dict[tuple[str, str], TheiaProduct] = {}
    for one in [path] if isinstance(path, str | Path) else path:
        archive = Archive.open(product_path(one, INSIDE), trust=trust)
        for name in archive.names:
            match = NAME.match(name.rpartition("/")[2])
            if match is None:
                continue
            _check_platform(match)
            key = (str(archive.path), match["stem"])
            product = found.setdefault(key, _product(archive, match))
            product.files[name.rpartition("/")[2][match.end() + 1 :].rpartition(".")[0]] = name
    if not found:
        raise ProductError(
            f"{path} holds no Level-2A product of MAJA; expected files like SENTINEL2A_20170613-071216-460_L2A_"
            "T38KPE_D_V1-4_FRE_B2.tif. Check the path."
        )
    return list(found.values())


def _check_platform(match: re.Match[str]) -> None:
    """Refuse products of other satellites, whose bands have other meanings under the same names."""
    if not match["platform"].startswith("SENTINEL2"):
        raise ProductError(
            f"{match['stem']} is a product of {match['platform']}; expected Sentinel-2, for the bands of others mean"
            " other wavelengths. Open its images as files and name their bands."
        )


def _product(archive: Archive, match: re.Match[str]) -> TheiaProduct:
    day, clock, milli = match["time"].split("-")
    text = f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}.{milli}"
    version = tuple(int(number) for number in match["version"].split("-"))
    platform = re.sub(r"^sentinel(?=\d)", "sentinel-", match["platform"].lower())
    return TheiaProduct(archive, match["stem"], platform, np.datetime64(text, "ns"), match["tile"], version, {})


def _of_tile(products: list[TheiaProduct], tile: str | None) -> list[TheiaProduct]:
    tiles = sorted({product.tile for product in products})
    if tile is None and len(tiles) > 1:
        raise ParameterError(f"tiles {', '.join(tiles)} are there; expected one a cube. Pass tile='{tiles[0]}'.")
    wanted = tiles[0] if tile is None else str(tile).upper().removeprefix("T")
    if wanted not in tiles:
        raise ParameterError(f"tile={tile!r}; the products show {', '.join(tiles)}. Name one of them.")
    return [product for product in products if product.tile == wanted]


def _granule(
    product: TheiaProduct,
    bands: Sequence[str] | None,
    *,
    correction: str,
    gsd_m: int | None,
    method: Method,
    chunk: int,
) -> Granule:
    files = product.images(correction)
    have = [name for name in sensors.get("sentinel-2").band_names if name in files]
    if not have:
        raise ProductError(f"{product.stem} has no {correction} images; expected them. Try the other correction=.")
    names = choose_bands(bands, have, product.stem)
    size = gsd_m or min(_native_gsd(name) for name in names)
    ring = _mask_files(product, size)
    product.archive.check([*(files[name] for name in names), *ring.values()])
    images = {name: _open(product, files[name], chunk) for name in names}
    finest = min(names, key=_native_gsd)
    factor = _native_gsd(finest) / size
    box = images[finest].odc.geobox
    target = grid.refine(box, (factor, factor)) if factor >= 1 else grid.coarsen(box, 1 / factor)[0]
    packing = product.packing()
    valid = masks.valid_maja(
        *(nearest(_open(product, ring[kind], chunk), target, dtype=np.uint8, chunk=chunk)[0] for kind in MASKS)
    )
    return Granule(
        label=product.stem,
        time=product.time,
        bands=names,
        pixels=join(to_grid(decode(images[name], packing), target, method=method, chunk=chunk) for name in names),
        geobox=target,
        native_gsd_m=native_sizes(names, [images[name].odc.geobox for name in names]),
        identity=Identity((product.platform, str(product.time), product.tile), product.version),
        record={
            "platform": product.platform,
            "product_id": product.stem,
            "product_version": ".".join(str(number) for number in product.version),
            "mgrs_tile": product.tile,
        },
        masks={"valid": valid},
    )


def _mask_files(product: TheiaProduct, size: float) -> dict[str, str]:
    """File of each kind of mask, of the ring of a pixel size where there are both.

    Raises
    ------
    ProductError
        If a kind is missing.
    """
    rings = ("R1", "R2") if size == 10 else ("R2", "R1")  # of the bands of 10 m and of 20 m; some come with one alone
    ring = {
        kind: next((product.files[n] for r in rings if (n := f"{kind}_{r}") in product.files), "") for kind in MASKS
    }
    missing = [kind for kind, name in ring.items() if not name]
    if missing:
        raise ProductError(
            f"{product.stem} lacks its masks {', '.join(missing)}; expected files such as MASKS/{product.stem}_"
            f"{missing[0]}_R1.tif. Add the folder MASKS of the product."
        )
    return ring


def _native_gsd(band: str) -> float:
    return sensors.get("sentinel-2").band(band).gsd_m


def _open(product: TheiaProduct, name: str, chunk: int) -> Any:
    return open_raster(product.archive.gdal(name), label=f"{name} in {product.archive.path}", chunk=chunk)
