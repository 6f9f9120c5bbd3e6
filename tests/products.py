"""Small satellite products written by the tests: SAFE trees with lossless JPEG 2000 files, and repairs of real ones."""

import hashlib
import re
import shutil
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from xsr.core.errors import XsrWarning

WEST, NORTH = 499_980.0, 5_900_040.0
"""Top-left corner of the products written here."""
SIDE = 96
"""Side in pixels of 10 m; a multiple of 6."""
OWN = {"B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20, "B08": 10, "B8A": 20, "B09": 60}
OWN |= {"B10": 60, "B11": 20, "B12": 20}


def truth(band, size, *, side=SIDE, seed=3):
    """Reflectance of a band on pixels of `size` metres, in steps of 1e-4: smooth, textured, dark in the infrared."""
    n = side * 10 // size
    y, x = np.mgrid[0:n, 0:n] * (size / 10)
    number = sum(map(ord, band))
    rng = np.random.default_rng(number + seed)
    field = 0.15 + 0.05 * np.sin(x / 9 + number) + 0.05 * np.cos(y / 7) + 0.01 * rng.standard_normal((n, n))
    field[: n // 3] *= 0.15  # water
    return np.maximum(np.round(field, 4), 0.001)


def classes(size, *, side=SIDE):
    """Scene classification: water in the upper third, a cloud in a corner, else vegetation."""
    n = side * 10 // size
    scl = np.full((n, n), 4, np.uint8)
    scl[: n // 3] = 6
    scl[-n // 4 :, -n // 4 :] = 9
    return scl


def write_jp2(path, values, size):
    """Write a lossless JPEG 2000 file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.atleast_3d(values.T).T if values.ndim == 3 else values[None]
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG",
        count=values.shape[0],
        height=values.shape[1],
        width=values.shape[2],
        dtype=values.dtype,
        crs="EPSG:32629",
        transform=Affine(size, 0, WEST, 0, -size, NORTH),
        QUALITY="100",
        REVERSIBLE="YES",
        YCBCR420="NO",
        RESOLUTIONS="3",
    ) as file:
        file.write(values)
    path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)


def write_safe(
    folder,
    *,
    level="2A",
    baseline="05.00",
    stated=-1000,
    added=1000,
    bands=("B02", "B03", "B04", "B08", "B05", "B8A", "B12"),
    satellite="Sentinel-2A",
    start="2024-06-15T11:06:21.024Z",
    generated="2024-06-15T18:00:00.000000Z",
    tile="29UNU",
    classified=True,
    values=truth,
    side=SIDE,
    datastrip=None,
):
    """Write a product and return its folder: digital numbers are reflectance times 10000 plus `added`."""
    stamp = re.sub(r"[-:]|\..*", "", start)
    short = "S2" + satellite[-1]
    plain = re.sub(r"[-:]|\..*", "", generated)
    name = f"{short}_MSIL{level}_{stamp}_N{baseline.replace('.', '')}_R023_T{tile}_{plain}.SAFE"
    root = Path(folder) / name
    granule = f"GRANULE/L{level}_T{tile}_A038058_{stamp}"
    listed = []
    for band in bands:
        sizes = [size for size in (10, 20, 60) if size >= OWN[band]] if level == "2A" else [OWN[band]]
        sizes = [10] if level == "2A" and band == "B08" else sizes
        for size in sizes:
            inside = (
                f"IMG_DATA/R{size}m/T{tile}_{stamp}_{band}_{size}m"
                if level == "2A"
                else f"IMG_DATA/T{tile}_{stamp}_{band}"
            )
            listed.append(f"{granule}/{inside}")
            numbers = np.round(values(band, size, side=side) * 10000).astype(np.uint16) + np.uint16(added)
            write_jp2(root / f"{listed[-1]}.jp2", numbers, size)
    if classified and level == "2A":
        for size in (20, 60):
            listed.append(f"{granule}/IMG_DATA/R{size}m/T{tile}_{stamp}_SCL_{size}m")
            write_jp2(root / f"{listed[-1]}.jp2", classes(size, side=side), size)
    strip = f'datastripIdentifier="{short}_OPER_MSI_L{level}_DS_2APS_{plain}_S{datastrip}_N{baseline}"'
    strip = strip if datastrip else ""
    images = "".join(f"<IMAGE_FILE>{one}</IMAGE_FILE>" for one in listed)
    kind, tag = ("BOA", "BOA_QUANTIFICATION_VALUE") if level == "2A" else ("RADIO", "QUANTIFICATION_VALUE")
    offsets = "".join(f'<{kind}_ADD_OFFSET band_id="{n}">{stated}</{kind}_ADD_OFFSET>' for n in range(13))
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:User_Product xmlns:n1="https://psd-15.example/User_Product.xsd"><n1:General_Info><Product_Info>
<PRODUCT_START_TIME>{start}</PRODUCT_START_TIME><PRODUCT_URI>{name}</PRODUCT_URI>
<PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
<GENERATION_TIME>{generated}</GENERATION_TIME>
<Datatake datatakeIdentifier="G{short}_{stamp}_038058_N{baseline}">
<SPACECRAFT_NAME>{satellite}</SPACECRAFT_NAME></Datatake>
<Product_Organisation><Granule_List><Granule {strip}>{images}</Granule></Granule_List></Product_Organisation>
</Product_Info>
<Product_Image_Characteristics>
<Special_Values><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
<Special_Values><SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX></Special_Values>
<{tag} unit="none">10000</{tag}>{offsets if stated is not None else ""}
</Product_Image_Characteristics></n1:General_Info></n1:User_Product>"""
    (root / f"MTD_MSIL{level}.xml").write_text(text)
    (root / granule / "MTD_TL.xml").write_text("<Tile><Quality/></Tile>")
    write_manifest(root)
    return root


def write_manifest(root, *, algorithm="SHA3-256"):
    """Write a manifest that describes the files as they are."""
    objects = []
    for path in sorted(file for file in root.rglob("*") if file.is_file() and file.name != "manifest.safe"):
        digest = hashlib.new(algorithm.lower().replace("-", "_"), path.read_bytes()).hexdigest()
        objects.append(
            f'<dataObject><byteStream size="{path.stat().st_size}">'
            f'<fileLocation href="./{path.relative_to(root).as_posix()}"/>'
            f'<checksum checksumName="{algorithm}">{digest}</checksum></byteStream></dataObject>'
        )
    (root / "manifest.safe").write_text(f"<XFDU><dataObjectSection>{''.join(objects)}</dataObjectSection></XFDU>")


def zipped(root, *, compression=zipfile.ZIP_DEFLATED):
    """Pack a folder as it would be downloaded, and return the archive."""
    path = root.with_name(f"{root.name}.zip")
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                archive.write(file, f"{root.name}/{file.relative_to(root).as_posix()}")
    return path


def unpack(archive, folder):
    """Unpack a real product whose pixels were re-encoded, and make its manifest true again."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    root = next(path for path in Path(folder).iterdir() if path.is_dir())
    for path in root.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    write_manifest(root)
    return root


def cut(path, share=0.95):
    """Cut a file short."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def flip(path):
    """Flip one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(bytes(data))


def copy(root, folder):
    """Copy a product."""
    target = Path(folder) / root.name
    shutil.copytree(root, target)
    return target


@contextmanager
def warned(pattern):
    """Expect a warning of xsr, whatever libraries below it warn of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    messages = [str(one.message) for one in caught if issubclass(one.category, XsrWarning)]
    assert any(re.search(pattern, message) for message in messages), messages
