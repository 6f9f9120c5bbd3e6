"""Rasters of anybody: opened by the driver of their kind alone, and not beyond sizes that images have."""

import struct

import numpy as np
import pytest
import rasterio
from affine import Affine
from products import write_manifest, write_safe
from sources.test_theia import write_theia

import xsr
from xsr.core.errors import CubeError, ProductError
from xsr.sources import limits
from xsr.sources.rasters import open_raster, read_header, read_sample
from xsr.sources.safe import open_safe
from xsr.sources.theia import open_theia

PLACE = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500000, 0, -10, 5900000)}


def write_tif(path, size=8):
    with rasterio.open(
        path, "w", driver="GTiff", width=size, height=size, count=1, dtype="uint16", **PLACE, nodata=0
    ) as file:
        file.write(np.full((1, size, size), 4242, np.uint16))
    return path


def write_vrt(path, source, size=8):
    """Description that reads another file."""
    numbers = ",".join(map(str, PLACE["transform"].to_gdal()))
    path.write_text(
        f'<VRTDataset rasterXSize="{size}" rasterYSize="{size}"><SRS>EPSG:32633</SRS><GeoTransform>{numbers}'
        f'</GeoTransform><VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename>{source}'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return path


def write_huge(path, width, height):
    """Header of a GeoTIFF of any size, without pixels."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 4, height), (279, 4, 100)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4))
    return path


@pytest.mark.parametrize("name", ["stack.tif", "stack.jp2", "stack"])
def test_a_description_of_other_files_is_opened_under_no_name(tmp_path, name):
    private = write_tif(tmp_path / "private.tif")
    path = write_vrt(tmp_path / name, private)
    with rasterio.open(path) as file:
        assert (file.read(1) == 4242).all(), "GDAL alone would open it"
    for call in (open_raster, read_header):
        with pytest.raises((ProductError, rasterio.errors.RasterioIOError), match="not recognized"):
            call(str(path), label="it")
    with pytest.raises(ProductError, match=r"it cannot be read: .*not recognized"):
        read_sample(str(path), 4, label="it")
    with pytest.raises(CubeError):
        xsr.open(path)


def test_a_raster_is_opened_whatever_its_name(tmp_path):
    for name in ("a.tif", "b.jp2", "c"):
        assert read_header(str(write_tif(tmp_path / name)), label="it").driver == "GTiff"
        assert (read_sample(str(tmp_path / name), 4, label="it") == 4242).all()


def test_products_with_descriptions_in_place_of_images_are_refused(tmp_path):
    private = write_tif(tmp_path / "private.tif")
    product = write_safe(tmp_path / "safe", bands=("B02",), side=24)
    write_vrt(next(product.rglob("*_B02_10m.jp2")), private)
    write_manifest(product)
    for level in ("checksum", "structure"):
        with pytest.raises(ProductError, match="not a whole JPEG 2000 file"):
            open_safe(product, verify=level)
    folder, *_ = write_theia(tmp_path, quantification=10000)
    write_vrt(next(folder.rglob("*_FRE_B2.tif")), private)
    with pytest.raises(ProductError, match=r"FRE_B2\.tif in .* cannot be read: .*not recognized"):
        open_theia(folder, bands=["B2"])


@pytest.mark.parametrize(("width", "height"), [(2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (1, 2**31 - 1)])
def test_a_header_that_no_image_has_is_refused_before_memory_is_taken(tmp_path, width, height):
    path = write_huge(tmp_path / "huge.tif", width, height)
    for call in (xsr.open, lambda path: open_raster(str(path), label=str(path))):
        with pytest.raises(CubeError, match=r"huge\.tif declares 2147483647 pixels along an axis; expected at most"):
            call(path)


def test_many_chunks_are_refused_unless_they_are_larger(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "CHUNKS", 3)
    path = write_tif(tmp_path / "a.tif")
    with pytest.raises(CubeError, match=r"declares 8 x 8 pixels, which make 4 chunks of 4 pixels; .* pass chunks="):
        xsr.open(path, chunks=4)
    assert xsr.open(path, chunks=8).shape == (1, 8, 8)


def test_documents_are_read_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "METADATA_BYTES", 10)
    (tmp_path / "a").write_bytes(bytes(10))
    (tmp_path / "b").write_bytes(bytes(11))
    assert limits.read_document(tmp_path / "a") == bytes(10)
    with pytest.raises(ProductError, match="b has more than"):
        limits.read_document(tmp_path / "b")
