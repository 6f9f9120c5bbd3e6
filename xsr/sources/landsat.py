"""Landsat products: surface reflectance and temperature of Collection 2, Level-2, and brightness temperatures.

Level-2 products are read in place, folder or archive; scale and offset come from their metadata file, see
`xsr.sources.mtl`. Brightness temperatures are worked out from digital numbers of any collection.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import checks, radiometry, sensors
from xsr.core.errors import BandError, CubeError, ParameterError, ProductError
from xsr.sources import masks
from xsr.sources.archive import Archive, check_name
from xsr.sources.granules import Granule, native_sizes, on_one_lattice, stack
from xsr.sources.harmonise import Identity
from xsr.sources.mtl import FILE, Mtl, parse_groups
from xsr.sources.mtl import read_mtl as read_mtl
from xsr.sources.paths import product_path
from xsr.sources.rasters import CHUNK, join, nearest, open_raster, to_grid

BAND = re.compile(r"(?:band_?|b)?0*(\d+)(?:_?vcid_?([12]))?", re.IGNORECASE)
IMAGE = re.compile(r"_(S[RT]_B\d+)\.tif$", re.IGNORECASE)
"""End of the name of an image of Level-2."""
LARGEST = 1e6
"""Bound of gains, offsets, radiances and digital numbers: beyond any that a product states."""
EXTREMES = (
    ("RADIANCE_{}_", "QUANTIZE_CAL_{}_", ("MAXIMUM", "MINIMUM")),
    ("L{}_", "QCAL{}_", ("MAX", "MIN")),
)
"""Names of the extremes of radiance and of digital numbers, of newer and of older products."""
FILL = 0
"""Digital number that is no data."""


def open_landsat(
    path: str | Path | Sequence[str | Path],
    *,
    bands: Sequence[str] | None = None,
    mask: bool = False,
    trust: bool = False,
    chunks: int = CHUNK,
) -> xr.DataArray:
    """Open Landsat products of Collection 2, Level-2, as one cube of surface reflectance or of surface temperature.

    Parameters
    ----------
    path
        A product: its folder, zip or tar archive, metadata file (``*_MTL.txt``, ``.xml``, ``.json``) or an image; or
        several of one path and row, one date each.
    bands
        Bands in the order requested, by the names of the files (``SR_B4``), of the sensor (``B4``) or by colour
        (``red``); by default those of the images given, else all of reflectance. ``["ST_B10"]`` (``ST_B6`` of Landsat
        4 to 7) is the temperature.
    mask
        Set clouds, their shadows and cirrus to NaN. They are in the coordinate ``valid`` anyway.
    trust
        Follow links from the folder of a product to files outside of it.
    chunks
        Side of a chunk in pixels.

    Returns
    -------
    DataArray
        Cube (time, band, y, x), float32, lazy: reflectance, or kelvin at the surface, DN · scale + offset by the
        metadata file; fill is NaN. Bands have the names of the sensor (``B2`` is blue of Landsat 8). Coordinates along
        time say where each date comes from; ``native_gsd`` (m) along band, of a temperature that of its detector;
        ``qa_pixel`` and ``valid`` (time, y, x), no bit set of fill, cloud, dilated cloud, cirrus and cloud shadow.

    Raises
    ------
    ProductError
        If it is no such product, or files of it are missing or damaged.
    BandError, ParameterError, GridError
        If a band or option is unknown, reflectance and temperature are mixed, or products are on other lattices.

    References
    ----------
    USGS, Landsat 8-9 Collection 2 Level 2 Science Product Guide, LSDS-1619.

    Examples
    --------
    Not run by the tests, since it needs a product of several hundred megabytes:

    >>> import xsr
    >>> product = "LC08_L2SP_195025_20240615_20240621_02_T1.tar"
    >>> lst = xsr.open_landsat(product, bands=["ST_B10"])  # doctest: +SKIP
    >>> guide = xsr.open_safe("S2A_MSIL2A_….SAFE", mask=True)  # doctest: +SKIP
    >>> fine = lst.sr.guided(guide)  # doctest: +SKIP
    """
    paths = [path] if isinstance(path, str | Path) else list(path)
    if not paths:
        raise ParameterError("no path given; expected at least one product.")
    bands = _by_images(paths) if bands is None else bands
    products = list(
        {(one.archive.path, one.metadata): one for one in (read_product(path, trust=trust) for path in paths)}.values()
    )
    kinds = {kind for product in products for kind in product.kinds(bands)}
    if len(kinds) > 1:
        raise ParameterError(
            f"bands={list(bands or ())} mix reflectance and temperature; expected one kind a cube."
            " Open them separately."
        )
    granules = on_one_lattice([_granule(product, bands, chunks) for product in products])
    name, attrs = _DESCRIPTIONS[kinds.pop()]
    return stack(granules, name=name, attrs={"source": "Landsat Collection 2 Level-2", **attrs}, mask=mask)


def _by_images(paths: Sequence[str | Path]) -> list[str] | None:
    """Bands by the names of images, where all paths are images."""
    found = [IMAGE.search(str(path)) for path in paths]
    names = [match[1].upper() for match in found if match is not None]
    return sorted(set(names), key=lambda name: (len(name), name)) if len(names) == len(paths) else None


_DESCRIPTIONS = {
    "SR": ("reflectance", {"units": "1", "long_name": "surface reflectance"}),
    "ST": ("temperature", {"units": "K", "long_name": "surface temperature"}),
}


@dataclass(frozen=True)
class LandsatProduct:
    """What the metadata of a product say."""

    archive: Archive
    metadata: str
    """Name of the metadata file."""
    groups: Mapping[str, Mtl]
    """Its fields by group."""

    def text(self, name: str, group: str | None = None) -> str:
        """Field of a group, or of the first group that has it, as text; empty if there is none."""
        groups = self.groups.values() if group is None else [self.groups.get(group, {})]
        return next((str(fields[name]) for fields in groups if name in fields), "")

    @cached_property
    def label(self) -> str:
        """Name of the product."""
        return self.text("LANDSAT_PRODUCT_ID", CONTENTS) or FILE.sub("", self.metadata.rpartition("/")[2])

    @cached_property
    def platform(self) -> str:
        """Satellite, such as ``landsat-8``."""
        return self.text("SPACECRAFT_ID").lower().replace("_", "-")

    @cached_property
    def sensor(self) -> sensors.Sensor:
        """Table of its bands; Landsat 4 carries the Thematic Mapper of Landsat 5."""
        return sensors.get({"landsat-4": "landsat-5"}.get(self.platform, self.platform))

    @cached_property
    def images(self) -> dict[tuple[str, str], str]:
        """File names by kind (``SR``, ``ST``) and band of the sensor."""
        level = self.text("PROCESSING_LEVEL", CONTENTS)
        if not level.startswith("L2"):
            raise ProductError(
                f"{self.label} is of level {level or 'unknown'}; expected Collection 2 Level-2 (L2SP or L2SR), whose"
                " numbers are reflectance and temperature at the surface. Of a thermal band of Level-1,"
                " xsr.sources.landsat.brightness_temperature makes kelvin."
            )
        found = {}
        for field, value in self.groups[CONTENTS].items():
            match = re.fullmatch(r"FILE_NAME_BAND_(ST_B)?(\d+)", field)
            if match:
                found["ST" if match[1] else "SR", self.sensor.resolve(f"B{match[2]}")] = self.file(str(value))
        return found

    def file(self, name: str) -> str:
        """Name of a file in the archive, in whatever case its ending is there."""
        check_name(name, self.metadata)
        full = self.metadata.rpartition("/")[0] + "/" + name if "/" in self.metadata else name
        return next((one for one in self.archive.names if one.lower() == full.lower()), full)

    def choose(self, bands: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
        """Images of the requested bands by kind and band; all of reflectance by default."""
        have = [key for name in self.sensor.band_names for key in self.images if key[1] == name]
        if bands is None:
            wanted = [key for key in have if key[0] == "SR"]
        else:
            wanted = [self._find(name, have) for name in ([bands] if isinstance(bands, str) else bands)]
        if not wanted or len(set(wanted)) != len(wanted):
            raise BandError(f"bands={bands} names no band, or one twice; {self.label} has {_listed(have)}.")
        return tuple(wanted)

    def _find(self, name: str, have: Sequence[tuple[str, str]]) -> tuple[str, str]:
        """Image of a band by the name of the file or of the sensor."""
        kind, _, number = str(name).upper().rpartition("_B")
        kinds = (kind,) if kind in _KINDS else _KINDS
        try:
            band = self.sensor.resolve(f"B{number}" if kind in _KINDS else name)
        except BandError:
            band = ""
        found = next((key for key in have if key[1] == band and key[0] in kinds), None)
        if found is None:
            raise BandError(f"bands ['{name}'] requested; {self.label} has {_listed(have)}.")
        return found

    def kinds(self, bands: Sequence[str] | None) -> set[str]:
        """Whether requested bands are reflectance, temperature or both."""
        return {kind for kind, _ in self.choose(bands)}

    def scaling(self, kind: str, band: str) -> "Scaling":
        """How the numbers of a band become reflectance or kelvin."""
        group, prefix = _SCALES[kind]
        names = f"{prefix}{band.removeprefix('B')}"
        pair = _pair(self.groups.get(group, {}), names, ("MULT", "ADD"))
        if pair is None:
            raise ProductError(
                f"{self.metadata} has no {names.format('MULT')} and {names.format('ADD')} in {group}; expected the"
                " metadata file of a Level-2 product."
            )
        return Scaling(*pair)


_KINDS = ("SR", "ST")
_SCALES = {
    "SR": ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "REFLECTANCE_{}_BAND_"),
    "ST": ("LEVEL2_SURFACE_TEMPERATURE_PARAMETERS", "TEMPERATURE_{}_BAND_ST_B"),
}
"""Group of the scales of a kind, and how their names begin."""
CONTENTS = "PRODUCT_CONTENTS"
"""Group of the metadata that lists the files of a product of Collection 2."""
TIERS = {"RT": 0, "T2": 1, "T1": 2}
"""Categories of processing, the one to prefer last."""


@dataclass(frozen=True)
class Scaling:
    """How digital numbers become physical ones: DN · gain + offset; 0 is no data."""

    gain: float
    offset: float

    def decode(self, numbers: NDArray[Any]) -> NDArray[np.float32]:
        """Physical numbers in float32, NaN = no data."""
        values = numbers.astype(np.float64) * self.gain + self.offset
        return np.where(numbers == FILL, np.nan, values).astype(np.float32)


def read_product(path: str | Path, *, trust: bool = False) -> LandsatProduct:
    """Read the metadata of a product.

    Raises
    ------
    ProductError
        If it is not one Landsat product with its metadata file.
    """
    archive = Archive.open(product_path(path, FILE), trust=trust)
    found = sorted(name for name in archive.names if FILE.search(name))
    products = {FILE.sub("", name) for name in found}
    if len(products) != 1:
        raise ProductError(
            f"{path} holds {len(products)} Landsat products; expected one folder or archive with one metadata file"
            " (*_MTL.txt, .xml or .json). Give the paths of products one by one."
        )
    name = next((one for one in found if one.lower().endswith(".txt")), found[0])
    groups = parse_groups(archive.read(name), name)
    if CONTENTS not in groups:
        raise ProductError(
            f"{name} has no group {CONTENTS}; expected a product of Collection 2. Of older collections, open the files"
            " and scale them by their guide; xsr.sources.landsat.brightness_temperature takes any collection."
        )
    return LandsatProduct(archive, name, groups)


def _granule(product: LandsatProduct, bands: Sequence[str] | None, chunk: int) -> Granule:
    chosen = product.choose(bands)
    files = [product.images[key] for key in chosen]
    _check_present(product, files)
    quality = product.file(product.text("FILE_NAME_QUALITY_L1_PIXEL", CONTENTS) or "QA_PIXEL")
    masked = quality in product.archive.sizes
    product.archive.check([*files, *([quality] if masked else [])])
    images = [_open(product, name, chunk) for name in files]
    target = images[0].odc.geobox
    planes = [
        image.data.map_blocks(product.scaling(*key).decode, dtype=np.float32, meta=np.empty((0,) * 3, np.float32))
        for key, image in zip(chosen, images, strict=True)
    ]
    names = tuple(band for _, band in chosen)
    classes = {}
    if masked:
        flags = nearest(_open(product, quality, chunk), target, dtype=np.uint16, chunk=chunk)[0]
        classes = {"qa_pixel": flags, "valid": masks.valid_qa_pixel(flags)}
    return Granule(
        label=product.label,
        time=_time(product),
        bands=names,
        pixels=join(
            to_grid(image.copy(data=plane), target, method="nearest", chunk=chunk)
            for image, plane in zip(images, planes, strict=True)
        ),
        geobox=target,
        native_gsd_m=native_sizes(names, [target] * len(names), product.sensor),
        identity=_identity(product),
        record={
            "platform": product.platform,
            "product_id": product.label,
            "wrs": _wrs(product),
            "collection_category": product.text("COLLECTION_CATEGORY", CONTENTS),
            "generated": product.text("DATE_PRODUCT_GENERATED", "LEVEL2_PROCESSING_RECORD"),
        },
        masks=classes,
    )


def _open(product: LandsatProduct, name: str, chunk: int) -> xr.DataArray:
    return open_raster(product.archive.gdal(name), label=f"{name} in {product.archive.path}", chunk=chunk)


def _listed(keys: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{kind}_{band}" for kind, band in keys)


def _check_present(product: LandsatProduct, files: Sequence[str]) -> None:
    missing = [name for name in files if name not in product.archive.sizes]
    if missing:
        there = [key for key, name in product.images.items() if name in product.archive.sizes]
        raise ProductError(
            f"{', '.join(missing)} is missing in {product.archive.path}, though the product lists it. Add the file, or"
            f" choose bands= that are there: {_listed(there) or 'none is'}."
        )


def _identity(product: LandsatProduct) -> Identity:
    tier = TIERS.get(product.text("COLLECTION_CATEGORY", CONTENTS), -1)
    made = product.text("DATE_PRODUCT_GENERATED", "LEVEL2_PROCESSING_RECORD")
    return Identity((product.platform, product.text("DATE_ACQUIRED"), _wrs(product)), (tier,), made)


def _wrs(product: LandsatProduct) -> str:
    """Path and row, such as ``008/059``."""
    numbers = [product.text(name).partition(".")[0] for name in ("WRS_PATH", "WRS_ROW")]
    return "/".join(number.zfill(3) for number in numbers)


def _time(product: LandsatProduct) -> np.datetime64:
    text = f"{product.text('DATE_ACQUIRED')}T{product.text('SCENE_CENTER_TIME').rstrip('Z')[:15]}"
    try:
        return np.datetime64(text, "ns")
    except ValueError as error:
        raise ProductError(
            f"{product.metadata} has DATE_ACQUIRED and SCENE_CENTER_TIME {text!r}; expected a date and time."
        ) from error


def brightness_temperature(dn: xr.DataArray, mtl: Mtl | str | Path, band: str | int) -> xr.DataArray:
    """Temperature of the black body that a thermal band of Landsat would take for the scene.

    Parameters
    ----------
    dn
        Digital numbers of one band (integers, or floats in which NaN and infinities are no data), any dims; 0 is no
        data.
    mtl
        Metadata file of the product, or its fields from `read_mtl`.
    band
        Thermal band as the metadata number it: 10 or 11 (``"B10"``), 6, ``"6_VCID_1"``.

    Returns
    -------
    DataArray
        Kelvin at the top of the atmosphere, float32, NaN is no data, lazy if ``dn`` is. Of its attributes none is kept,
        since they describe digital numbers; ``units`` is K.
        Emissivity and atmosphere are not corrected for, so that it is not the surface temperature.

    Raises
    ------
    ProductError
        If the metadata cannot be read.
    BandError
        If they have no calibration for the band.
    CubeError
        If ``dn`` is no DataArray of numbers.

    Notes
    -----
    Radiance ``L = gain * DN + offset`` from ``RADIANCE_MULT`` and ``RADIANCE_ADD``, of older products from the extremes
    of radiance and DN (``RADIANCE_MAXIMUM``, ``QUANTIZE_CAL_MAX``, or ``LMAX``, ``QCALMAX``, and so on). Temperature
    ``K2 / ln(K1 / L + 1)``; where the metadata lack the constants, as for Landsat 5 and 7, those of Chander et al.

    References
    ----------
    G. Chander, B. L. Markham, D. L. Helder, Remote Sensing of Environment 113 (2009), doi:10.1016/j.rse.2009.01.007.
    USGS, Landsat 8 Data Users Handbook, LSDS-1574.
    """
    _check_numbers(dn)
    fields = mtl if isinstance(mtl, Mapping) else read_mtl(mtl)
    gain, offset, k1, k2 = calibration(fields, band)
    radiance = dn.where(dn != FILL).astype(np.float64) * gain + offset
    temperature = radiometry.brightness_temperature
    kelvin: xr.DataArray = xr.apply_ufunc(
        temperature, radiance, k1, k2, dask="parallelized", output_dtypes=[np.float32], keep_attrs=False
    )
    return kelvin.assign_attrs(units="K", long_name="brightness temperature at the top of the atmosphere")


def _check_numbers(dn: Any) -> None:
    if not isinstance(dn, xr.DataArray) or dn.dtype.kind not in "iuf":
        kind = getattr(dn, "dtype", type(dn).__name__)
        raise CubeError(f"dn is {kind}; expected a DataArray of digital numbers, integers or floats.")


CONSTANTS = {"LANDSAT_4": (671.62, 1284.30), "LANDSAT_5": (607.76, 1260.56), "LANDSAT_7": (666.09, 1282.71)}
"""K1 (W m-2 sr-1 um-1) and K2 (K) of Chander et al. (2009), Table 7."""


def calibration(mtl: Mtl, band: str | int) -> tuple[float, float, float, float]:
    """Gain and offset from digital numbers to radiance (W m-2 sr-1 um-1), K1 and K2 of a thermal band.

    Parameters
    ----------
    mtl, band
        As in `brightness_temperature`.

    Raises
    ------
    BandError
        If the metadata have none for the band.
    """
    match = BAND.fullmatch(str(band).strip())
    number, gain_state = match.groups() if match else (None, None)
    names = [f"BAND_{number}_VCID_{gain_state}", f"BAND{number}{gain_state}"] if gain_state else []
    names += [] if gain_state else [f"BAND_{number}", f"BAND{number}"]
    line = next((found for name in names if (found := _line(mtl, name)) is not None), None)
    constants = next((found for name in names if (found := _pair(mtl, "K{}_CONSTANT_" + name, (1, 2)))), None)
    if constants is None and number == "6":
        constants = CONSTANTS.get(_spacecraft(mtl))
    if line is None or constants is None:
        known = sorted(name.removeprefix("K1_CONSTANT_BAND_") for name in mtl if name.startswith("K1_CONSTANT_BAND_"))
        raise BandError(
            f"the metadata have no thermal calibration for band {band!r} of {mtl.get('SPACECRAFT_ID')}; expected one of"
            f" {known or '6, with 6_VCID_1 and 6_VCID_2 of Landsat 7'}. Name a thermal band."
        )
    return (*line, *constants)


def _spacecraft(mtl: Mtl) -> str:
    """Name as in `CONSTANTS`; early products write Landsat5."""
    return re.sub(r"[^A-Z]*(\d)$", r"_\1", str(mtl.get("SPACECRAFT_ID", "")).upper())


def _line(mtl: Mtl, name: str) -> tuple[float, float] | None:
    """Gain and offset, directly or through the extremes of radiance and digital numbers."""
    direct = _pair(mtl, "RADIANCE_{}_" + name, ("MULT", "ADD"))
    if direct is not None:
        return direct
    for values, numbers, ends in EXTREMES:
        radiance, count = _pair(mtl, values + name, ends), _pair(mtl, numbers + name, ("MAX", "MIN"))
        if radiance is not None and count is not None and count[0] != count[1]:
            gain = (radiance[0] - radiance[1]) / (count[0] - count[1])
            return gain, radiance[1] - gain * count[1]
    return None


def _pair(mtl: Mtl, pattern: str, words: tuple[object, object]) -> tuple[float, float] | None:
    """Two numbers of the metadata, None if one is missing, or is none that a product has."""
    found: list[Any] = [mtl.get(pattern.format(word)) for word in words]
    known = all(checks.is_number(value) and abs(value) <= LARGEST for value in found)
    return (float(found[0]), float(found[1])) if known else None
