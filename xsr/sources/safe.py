"""Sentinel-2 products in SAFE format: Level-1C and Level-2A, folder or zip, read in place.

Everything the numbers mean is taken from the product's own metadata. No satellite and no baseline is enumerated.

References
----------
ESA, Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD, issues 14.9 and 15.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import grid, sensors
from xsr.core.errors import ParameterError, ProductError
from xsr.kernels.resample import METHODS, Method
from xsr.sources import masks
from xsr.sources.archive import Archive, check_name
from xsr.sources.granules import Granule, choose_bands, native_sizes, stack
from xsr.sources.harmonise import (
    DARKEST,
    Identity,
    Statement,
    check_pixels,
    parse_baseline,
    resolve_offset,
    sensing_start,
)
from xsr.sources.manifest import Verify, check_level, verify_files
from xsr.sources.paths import product_path
from xsr.sources.rasters import CHUNK, Packing, decode, join, nearest, open_raster, read_sample, to_grid
from xsr.sources.stated import stated_number
from xsr.sources.xml import parse_xml

METADATA = re.compile(r"(^|/)(MTD_MSIL\w+|S2\w_(OPER|USER)_MTD_SAFL\w+)\.xml$")
"""Name of the metadata file of a product."""
IMAGE = re.compile(r"(?:^|[/\\])(?!MSK_)[^/\\]*_(B\d[\dA]|SCL)(?:_(\d+)m)?\.jp2$")
"""End of the path of an image: band or classification, not a mask, and its pixel size where there are several."""
RESOLUTIONS = (10, 20, 60)
"""Pixel sizes of the products in metres."""
SAMPLE = 512
"""Side in pixels of the sample against which the offset is validated."""


@dataclass(frozen=True)
class SafeProduct:
    """What the metadata of a product say."""

    archive: Archive
    root: str
    """Folder of the product inside the archive, with a trailing slash, or nothing."""
    metadata: str
    """Name of the metadata file."""
    tree: Element
    """Its content."""

    def text(self, tag: str) -> str | None:
        """Text of the first element of a name, whatever its namespace."""
        found = self.tree.find(f".//{{*}}{tag}")
        return None if found is None or found.text is None else found.text.strip()

    def need(self, *tags: str) -> str:
        """Text of the first element that is there, of names that an element has in issues of the specification."""
        text = next(filter(None, map(self.text, tags)), None)
        if not text:
            raise ProductError(
                f"{self.metadata} has no {' or '.join(tags)}; expected the metadata of a Sentinel-2 product,"
                " Level-1C or Level-2A. Check that it is one, and that the file was not edited."
            )
        return text

    @cached_property
    def label(self) -> str:
        """Name of the product."""
        uri = self.text("PRODUCT_URI") or self.text("PRODUCT_URI_2A")
        return (uri or self.root.rstrip("/") or self.archive.path.name).rsplit("/", 1)[-1]

    @cached_property
    def surface(self) -> bool:
        """Whether it is Level-2A."""
        return "2A" in self.need("PROCESSING_LEVEL")

    @cached_property
    def quantification(self) -> float:
        """Digital numbers to one unit of reflectance."""
        surface = ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE")
        names = surface if self.surface else ("QUANTIFICATION_VALUE",)
        return stated_number(self.need(*names), names[0], where=self.metadata, least=1)

    @cached_property
    def special(self) -> tuple[float, ...]:
        """Digital numbers of no data and of saturation."""
        name = "SPECIAL_VALUE_INDEX"
        found = self.tree.findall(f".//{{*}}{name}")
        return tuple(stated_number(e.text or "0", name, where=self.metadata) for e in found) or (0.0, 65535.0)

    @cached_property
    def band_ids(self) -> dict[str, str]:
        """Canonical band names by the number that the metadata give them."""
        found = self.tree.findall(".//{*}Spectral_Information")
        named = {e.get("bandId", ""): e.get("physicalBand", "") for e in found}
        known = {number: sensors.canonical_band(name) for number, name in named.items()}
        return known or {str(number): name for number, name in enumerate(sensors.get("sentinel-2").band_names)}

    @cached_property
    def offsets(self) -> dict[str, float]:
        """Offset in digital numbers by band; empty where the metadata state none."""
        name = "BOA_ADD_OFFSET" if self.surface else "RADIO_ADD_OFFSET"
        stated = {e.get("band_id", ""): e.text or "0" for e in self.tree.findall(f".//{{*}}{name}")}
        return {
            band: stated_number(stated[number], name, where=self.metadata)
            for number, band in self.band_ids.items()
            if number in stated
        }

    @cached_property
    def images(self) -> dict[tuple[str, int], str]:
        """File names by band (or ``SCL``) and pixel size in metres."""
        files = {}
        for name in self._listed():
            found = IMAGE.search(name)
            if found and name.count("/") > 1:
                files[found[1], int(found[2] or native_gsd(found[1]))] = self.root + name
        if not files:
            raise ProductError(
                f"{self.label} lists no image files; expected a product in the compact format (since December 2016), or"
                " an older one whose images are there."
            )
        granules = sorted({name.removeprefix(self.root).split("/")[1] for name in files.values()})
        if len(granules) > 1:
            raise ProductError(
                f"{self.label} holds {len(granules)} granules ({', '.join(granules)}); expected one tile a product, for"
                " a cube has one grid. Open the images of one tile as files."
            )
        return files

    def _listed(self) -> Iterator[str]:
        """Names of images as the metadata list them; before the compact format by their last part alone."""
        for tag in ("IMAGE_FILE", "IMAGE_FILE_2A"):
            for element in self.tree.findall(f".//{{*}}{tag}"):
                name = f"{(element.text or '').strip().removesuffix('.jp2')}.jp2"
                check_name(name, self.metadata)
                yield name
        known = {
            name.rpartition("/")[2]: name for name in self.archive.names if name.startswith(f"{self.root}GRANULE/")
        }
        for tag in ("IMAGE_ID", "IMAGE_ID_2A"):
            for element in self.tree.findall(f".//{{*}}{tag}"):
                image = known.get(f"{(element.text or '').strip()}.jp2")
                if image is not None:
                    yield image.removeprefix(self.root)

    @cached_property
    def granule(self) -> str:
        """Name of the folder of the one granule."""
        return next(iter(self.images.values())).removeprefix(self.root).split("/")[1]

    def describe_present(self) -> str:
        """Say which of the listed images are there, by pixel size."""
        there = {key for key, name in self.images.items() if name in self.archive.sizes}
        lines = [
            f"{' '.join(sorted(band for band, n in there if n == size))} ({size} m)"
            for size in RESOLUTIONS
            if any(n == size for _, n in there)
        ]
        return ", ".join(lines) or "metadata"

    @cached_property
    def bands(self) -> tuple[str, ...]:
        """Bands that the product has, in order."""
        have = {band for band, _ in self.images}
        return tuple(name for name in sensors.get("sentinel-2").band_names if name in have)

    @cached_property
    def identity(self) -> Identity:
        """Acquisition and processing."""
        return Identity(
            (self.platform, self.datatake, self.tile),
            parse_baseline(self.text("PROCESSING_BASELINE")),
            self.text("GENERATION_TIME") or "",
            self.stated_datastrip or sensing_start(f"_S{self.granule.rpartition('_')[2]}"),
        )

    @cached_property
    def stated_datastrip(self) -> str:
        """Start of the sensing of the datastrip as the metadata state it; nothing where they do not."""
        found = self.tree.find(".//{*}Granule_List//*[@datastripIdentifier]")
        return sensing_start("" if found is None else found.get("datastripIdentifier"))

    @cached_property
    def platform(self) -> str:
        """Satellite as the metadata spell it, in lower case."""
        return self.need("SPACECRAFT_NAME").lower()

    @cached_property
    def datatake(self) -> str:
        """Identifier of the datatake, without the baseline at its end; the start of sensing where there is none."""
        found = self.tree.find(".//{*}Datatake")
        stated = "" if found is None else found.get("datatakeIdentifier", "")
        return re.sub(r"_N[\d.]+$", "", stated or self.need("PRODUCT_START_TIME"))

    @cached_property
    def tile(self) -> str:
        """MGRS tile."""
        granule = self.tree.find(".//{*}Granule_List//*[@granuleIdentifier]")
        text = " ".join((self.label, "" if granule is None else granule.get("granuleIdentifier", "")))
        found = re.search(r"_T(\d{2}[A-Z]{3})(?=[_. ]|$)", text)
        return found[1] if found else ""

    def mask_files(self, kind: str) -> dict[str, str]:
        """File names of a mask by band; one for all bands has no name."""
        folder = f"{self.root}GRANULE/{self.granule}/"
        name = next(
            (one for one in self.archive.names if re.fullmatch(rf"{re.escape(folder)}\w+\.xml", one)),
            f"{folder}MTD_TL.xml",
        )
        found = {}
        for element in parse_xml(self.archive.read(name), name).findall(".//{*}MASK_FILENAME"):
            if element.get("type") == kind and element.text:
                mask = element.text.strip()
                check_name(mask, name)
                inside = mask if "/" in mask else f"GRANULE/{self.granule}/QI_DATA/{mask}"
                found[self.band_ids.get(element.get("bandId", ""), "")] = self.root + inside
        return found


def native_gsd(band: str) -> int:
    """Pixel size in metres at which a band was observed."""
    return round(sensors.get("sentinel-2").band(band).gsd_m)


def read_product(path: str | Path, *, trust: bool = False) -> SafeProduct:
    """Read the metadata of a product.

    Parameters
    ----------
    path
        Folder or zip archive of one product, or any file or folder inside it.
    trust
        As of `open_safe`.

    Raises
    ------
    ProductError
        If it is not one Sentinel-2 product in SAFE format, or its metadata are damaged.
    """
    archive = Archive.open(product_path(path, METADATA), trust=trust)
    found = [name for name in archive.names if METADATA.search(name)]
    if len(found) != 1:
        raise ProductError(
            f"{path} holds {len(found)} Sentinel-2 products in SAFE format; expected one folder or zip archive with one"
            " MTD_MSIL1C.xml or MTD_MSIL2A.xml. Give the paths of products one by one."
        )
    tree = parse_xml(archive.read(found[0]), f"{found[0]} in {archive.path}")
    return SafeProduct(archive, found[0].rpartition("/")[0] + "/" if "/" in found[0] else "", found[0], tree)


def open_safe(
    path: str | Path | Sequence[str | Path],
    *,
    bands: Sequence[str] | None = None,
    resolution: int | None = None,
    resampling: Method = "bicubic",
    offset: float | None = None,
    mask: bool = False,
    detectors: bool = False,
    verify: Verify = "checksum",
    trust: bool = False,
    chunks: int = CHUNK,
) -> xr.DataArray:
    """Open Sentinel-2 products in SAFE format as one cube of reflectance.

    Parameters
    ----------
    path
        A product, Level-1C or Level-2A, folder or zip archive; or several of one tile. Any file or folder inside a
        product names it, as ``MTD_MSIL2A.xml`` does; images (``.jp2``), and folders of them, name their bands and pixel
        size, too.
    bands
        Bands in the order requested, in any spelling; by default those of the images given, else all, for Level-2A all
        that have an image at the requested resolution or a coarser one.
    resolution
        Pixel size of the grid in metres: 10, 20 or 60; by default that of the images given, else of the finest band.
    resampling
        Kernel that brings coarser bands to the grid; see `xsr.interpolate`. Finer bands are averaged where the product
        has no image of the resolution.
    offset
        Offset of the digital numbers, instead of the product's own metadata; no pixels are checked then.
    mask
        Set clouds, cloud shadows and defects to NaN. They are in the coordinate ``valid`` anyway.
    detectors
        Add the coordinate ``detector`` (time, band, y, x): number of the detector that observed each pixel, 0 for none.
    verify
        What is checked before pixels are trusted, on every file that the cube reads: ``checksum`` and ``size`` against
        manifest.safe; ``structure`` for products re-encoded since, only that each file is whole.
    trust
        Follow links from the folder of a product to files outside of it.
    chunks
        Side of a chunk in pixels.

    Returns
    -------
    DataArray
        Cube (time, band, y, x), float32, lazy. Reflectance is (DN + offset) / quantification; no data and saturated
        pixels are NaN, band by band. Datastrips of one acquisition make one date: each pixel comes from the first that
        has it, the latest processing first. Coordinates along time say where each date comes from; ``native_gsd`` (m)
        along band; ``scl`` (Level-2A) and ``valid`` (time, y, x), nearest pixels.

    Raises
    ------
    ProductError
        If a product is missing, damaged, incomplete, or not what its manifest says.
    HarmonisationError
        If the offset is unknown, or contradicted by the pixels.
    BandError, ParameterError, GridError
        If a band, resolution or option is unknown, or products are on different grids.

    Notes
    -----
    Checksums are read at once: about a second for 500 MB.

    Examples
    --------
    Not run by the tests, since it needs a product of several hundred megabytes:

    >>> import xsr
    >>> product = "S2A_MSIL2A_20240615T105621_N0510_R094_T31UFS_20240615T170000.SAFE.zip"
    >>> cube = xsr.open_safe(product, bands=["B02", "B03", "B04", "B08"], mask=True)  # doctest: +SKIP
    >>> fine = cube.sr.liif(scale=2)  # doctest: +SKIP
    """
    check_level(verify)
    if resolution is not None and resolution not in RESOLUTIONS:
        raise ParameterError(
            f"resolution={resolution}; expected one of {RESOLUTIONS} metres. Interpolate or super-resolve to any other."
        )
    if resampling not in METHODS:
        raise ParameterError(f"resampling={resampling!r}; expected one of {', '.join(METHODS)}.")
    paths = [path] if isinstance(path, str | Path) else list(path)
    if not paths:
        raise ParameterError("no path given; expected at least one product.")
    bands, resolution = _by_images(paths, bands, resolution)
    options = _Options(resolution, resampling, offset, detectors, verify, chunks)
    found = (read_product(one, trust=trust) for one in paths)
    products = list({(one.archive.path, one.root): one for one in found}.values())
    if len({product.surface for product in products}) > 1:
        raise ProductError(
            "products of Level-1C and Level-2A were given together; expected one level. Open them separately."
        )
    granules = [_granule(product, _choose(product, bands, resolution), options) for product in products]
    granules = _separate_parts(products, granules)
    level = "Level-2A" if products[0].surface else "Level-1C"
    attrs = {"source": f"Sentinel-2 {level}", "units": "1", "long_name": _LONG_NAMES[products[0].surface]}
    return stack(granules, name="reflectance", attrs=attrs, mask=mask)


_LONG_NAMES = {True: "surface reflectance", False: "top-of-atmosphere reflectance"}


@dataclass(frozen=True)
class _Options:
    resolution: int | None
    resampling: Method
    offset: float | None
    detectors: bool
    verify: Verify
    chunk: int


def _by_images(
    paths: Sequence[str | Path], bands: Sequence[str] | None, resolution: int | None
) -> tuple[Sequence[str] | None, int | None]:
    """Bands and pixel size by the names of images, where the paths are images and nothing else is requested."""
    files = [file for path in paths for file in _images_in(path)]
    found = [IMAGE.search(file) for file in files if file.lower().endswith(".jp2")]
    images = [match for match in found if match is not None and match[1] != "SCL"]
    if bands is not None or not images or len(found) < len(files):
        return bands, resolution
    names = {match[1] for match in images}
    sizes = [int(match[2]) for match in images if match[2]]
    ordered = [name for name in sensors.get("sentinel-2").band_names if name in names]
    return ordered, resolution or (min(sizes) if sizes else None)


def _images_in(path: str | Path) -> list[str]:
    """Images of the bands in a folder of images; anything else unchanged."""
    inside = sorted(str(file) for file in Path(path).glob("*.jp2")) if Path(path).is_dir() else []
    return [file for file in inside if IMAGE.search(file)] or [str(path)]


def _separate_parts(products: Sequence[SafeProduct], granules: Sequence[Granule]) -> list[Granule]:
    """Separate parts of a tile from processings of one part, where the metadata state no datastrip.

    Products of one baseline that cover ground which the other does not cover are parts.
    """
    separated = list(granules)
    groups: dict[Any, list[int]] = {}
    for index, product in enumerate(products):
        if not product.stated_datastrip:
            one = product.identity
            groups.setdefault((one.acquisition, one.datastrip, one.baseline), []).append(index)
    for group in groups.values():
        visible = {index: _visible(products[index]) for index in group} if len(group) > 1 else {}
        latest = max(group, key=lambda index: products[index].identity.rank)
        for index in visible:
            if visible[index].shape == visible[latest].shape and (visible[index] & ~visible[latest]).any():
                one = products[index].identity
                separated[index] = replace(
                    separated[index], identity=replace(one, datastrip=f"{one.datastrip} {one.generated}")
                )
    return separated


def _visible(product: SafeProduct) -> NDArray[np.bool_]:
    """Which pixels of a sample of the smallest image have data."""
    there = [(-size, band) for (band, size), name in product.images.items() if name in product.archive.sizes]
    size, band = min(one for one in there if one[1] != "SCL")
    numbers = _sample(product, product.images[band, -size])
    return np.asarray(numbers != product.special[0])


def _choose(product: SafeProduct, bands: Sequence[str] | None, resolution: int | None) -> tuple[str, ...]:
    if bands is None:
        if resolution is None or not product.surface:
            return product.bands
        return tuple(
            band
            for band in product.bands
            if any((band, size) in product.images for size in RESOLUTIONS if size >= resolution)
        )
    return choose_bands(bands, product.bands, product.label)


def _granule(product: SafeProduct, bands: tuple[str, ...], options: _Options) -> Granule:
    gsd_m = options.resolution or min(native_gsd(band) for band in bands)
    sizes = {band: best_size(product, band, gsd_m) for band in bands}
    files = {band: product.images[band, size] for band, size in sizes.items()}
    classes = _classes_file(product, gsd_m)
    footprints = product.mask_files("MSK_DETFOO") if options.detectors else {}
    _check_present(product, files)
    used = [product.metadata, *files.values(), *classes.values(), *(footprints[b] for b in bands if b in footprints)]
    verify_files(product.archive, product.root, used, options.verify)
    images = {band: _open(product, name, options.chunk) for band, name in files.items()}
    target = _target(images, sizes, gsd_m)
    stated = _offset(product, bands, files, classes.get("SCL"), options)
    offsets = [stated[band] for band in bands]
    packings = [Packing(product.quantification, one.offset_dn, product.special) for one in offsets]
    decoded = tuple(decode(images[band], packing) for band, packing in zip(bands, packings, strict=True))
    place = partial(to_grid, target=target, method=options.resampling, chunk=options.chunk)
    shown = _classification(product, classes, target, options.chunk)
    if options.detectors:
        shown["detector"] = _detectors(product, bands, footprints, target, options.chunk)
    return Granule(
        label=product.label,
        time=_time(product),
        bands=bands,
        pixels=join(map(place, decoded)),
        images=decoded,
        place=place,
        geobox=target,
        native_gsd_m=native_sizes(bands, [images[band].odc.geobox for band in bands]),
        identity=product.identity,
        record=_record(product, offsets[0].source),
        offset_dn=tuple(one.offset_dn for one in offsets),
        masks=shown,
    )


def _record(product: SafeProduct, offset_source: str) -> dict[str, str]:
    """Where a date comes from."""
    return {
        "platform": product.platform,
        "processing_baseline": product.text("PROCESSING_BASELINE") or "",
        "product_id": product.label,
        "datatake": product.datatake,
        "mgrs_tile": product.tile,
        "generated": product.text("GENERATION_TIME") or "",
        "offset_source": offset_source,
    }


def _check_present(product: SafeProduct, files: dict[str, str]) -> None:
    """Refuse a choice of images that are not all there, and say which are."""
    missing = [name for name in files.values() if name not in product.archive.sizes]
    if not missing:
        return
    bands = [band for (band, _), name in product.images.items() if band != "SCL" and name in product.archive.sizes]
    others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    if not bands:
        raise ProductError(
            f"{product.archive.path} holds no reflectance: no image of a band that {product.label} lists is there, only"
            f" {product.describe_present()}; expected at least one. Add the files below IMG_DATA of the product."
        )
    raise ProductError(
        f"{missing[0]} is missing in {product.archive.path}{others}, though the product lists it. Add the file, or"
        f" choose bands and resolution= whose files are there: {product.describe_present()}."
    )


def best_size(product: SafeProduct, band: str, gsd_m: int) -> int:
    """Pixel size of the image to take: as requested, else the band's own, else the finest coarser, or coarsest."""
    have = sorted(size for name, size in product.images if name == band)
    if gsd_m in have:
        return gsd_m
    coarser = [size for size in have if size > gsd_m]
    own = native_gsd(band) if band != "SCL" else 20
    return own if own in coarser else coarser[0] if coarser else have[-1]


def _open(product: SafeProduct, name: str, chunk: int) -> xr.DataArray:
    return open_raster(product.archive.gdal(name), label=f"{name} in {product.archive.path}", chunk=chunk)


def _sample(product: SafeProduct, name: str) -> NDArray[Any]:
    return read_sample(product.archive.gdal(name), SAMPLE, label=f"{name} in {product.archive.path}")


def _target(images: dict[str, xr.DataArray], sizes: dict[str, int], gsd_m: int) -> GeoBox:
    """Grid of the finest image, at the requested resolution."""
    band = min(sizes, key=lambda name: (sizes[name] != gsd_m, sizes[name]))
    box: GeoBox = images[band].odc.geobox
    factor = sizes[band] / gsd_m
    if factor >= 1:
        return box if factor == 1 else grid.refine(box, (factor, factor))
    return grid.coarsen(box, 1 / factor)[0]


def _offset(
    product: SafeProduct, bands: tuple[str, ...], files: dict[str, str], scl: str | None, options: _Options
) -> dict[str, Statement]:
    """Offset of each band, validated against the pixels."""
    tag = "BOA_ADD_OFFSET" if product.surface else "RADIO_ADD_OFFSET"
    stated = {
        band: [Statement(product.offsets[band], f"{tag} of the product metadata")]
        for band in bands
        if band in product.offsets
    }
    decided = {
        band: resolve_offset(
            stated.get(band, []),
            product=product.label,
            baseline=product.text("PROCESSING_BASELINE"),
            override=options.offset,
        )
        for band in bands
    }
    if options.offset is None:
        band = min(bands, key=DARKEST.index)
        numbers = _sample(product, files[band])
        valid = ~np.isin(numbers, product.special)
        classes = _sample(product, scl) if scl is not None else None
        matching = classes[valid] if classes is not None and classes.shape == numbers.shape else None
        check_pixels(
            decided[band], numbers[valid], matching, product=product.label, quantification=product.quantification
        )
    return decided


def _classes_file(product: SafeProduct, gsd_m: int) -> dict[str, str]:
    """File of the classification by its kind, where the product has one."""
    if any(name == "SCL" for name, _ in product.images):
        return {"SCL": product.images["SCL", best_size(product, "SCL", gsd_m)]}
    if product.surface:
        return {}
    for kind in ("MSK_CLASSI", "MSK_CLOUDS"):
        found = product.mask_files(kind)
        if found:
            return {kind: next(iter(found.values()))}
    return {}


def _classification(product: SafeProduct, files: dict[str, str], target: GeoBox, chunk: int) -> dict[str, Any]:
    """Masks of the scene: the classification itself, and whether the surface is visible."""
    if "SCL" in files:
        scl = nearest(_open(product, files["SCL"], chunk), target, dtype=np.uint8, chunk=chunk)[0]
        return {"scl": scl, "valid": masks.valid_scl(scl)}
    if "MSK_CLASSI" in files:  # three bands: opaque clouds, cirrus, snow
        classes = nearest(_open(product, files["MSK_CLASSI"], chunk), target, dtype=np.uint8, chunk=chunk)
        return {"valid": (classes[:2] == 0).all(axis=0)}
    if "MSK_CLOUDS" in files:
        clouds = masks.parse_gml(product.archive.read(files["MSK_CLOUDS"]), files["MSK_CLOUDS"])
        return {"valid": masks.burn(clouds, target, chunk=chunk) == 0}
    return {}


def _detectors(product: SafeProduct, bands: tuple[str, ...], files: dict[str, str], target: GeoBox, chunk: int) -> Any:
    missing = [band for band in bands if band not in files]
    if missing:
        raise ProductError(f"{product.label} lists no detector footprints of {missing}. Pass detectors=False.")
    planes = []
    for band in bands:
        if files[band].endswith(".jp2"):
            planes.append(nearest(_open(product, files[band], chunk), target, dtype=np.uint8, chunk=chunk))
        else:
            content = product.archive.read(files[band])
            polygons = masks.parse_gml(content, files[band], number=r"detector_footprint-B\w+-(\d+)-")
            planes.append(masks.burn(polygons, target, chunk=chunk)[None])
    return join(planes)


def _time(product: SafeProduct) -> np.datetime64:
    text = product.need("PRODUCT_START_TIME").rstrip("Z")
    try:
        return np.datetime64(text, "ns")
    except ValueError as error:
        raise ProductError(f"{product.metadata} has PRODUCT_START_TIME {text!r}; expected a time.") from error
