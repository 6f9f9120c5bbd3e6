"""MTF that `xsr.estimate_mtf` finds in real images degraded by a known one.

Prints the table; ``--write`` puts it into the documentation. Needs the folder of real images in XSR_DATA.

Each image is degraded by `xsr.degrade` with the given MTF at the Nyquist frequency of the larger pixels. The image has
a response of its own, which is taken as 0.3 at its own Nyquist frequency: at a factor of 4 that is 0.93 at the Nyquist
frequency of the larger pixels, at a factor of 3 it is 0.87. The truth is the product.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray
from wald import write

import xsr

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "estimate-mtf.md"
MARKERS = "<!-- mtf: written by benchmarks/mtf.py -->", "<!-- end of mtf -->"
OWN = 0.3
"""MTF of the images at their own Nyquist frequency."""
MTFS = 0.15, 0.3, 0.45
PLACES = {
    "WorldView-2, city, panchromatic": ("vhr_worldview2_geoeye1_nonprofit/WV2.nc", "pan", 0),
    "GeoEye-1, fields, panchromatic": ("vhr_worldview2_geoeye1_nonprofit/GE1.nc", "pan", 0),
    "NAIP, North Dakota, red": ("naip_northdakota_5m_8bit", "", 1),
    "SPOT-7, Madagascar, red": ("spot7_red_5m_madagascar/ref_spot7_5m_20170216.tif", "", 1),
    "Sentinel-2, Aberystwyth, B04": ("s2_aberystwyth_10m/s2_20210527_aber.tif", "", 3),
    "Sentinel-2, Denmark T33UUB, B04": ("s2_l1c_dsen2/S2A_MSIL1C_20170527_T33UUB.nc", "im10", 0),
    "Sentinel-2, Kempen, B04": ("s2_l8_kempen_31UFS/s2_l1c_10m_*.tif", "", 3),
    "Sentinel-2, Orihuela, B04": ("s2_spain_orihuela_l1c/s2.nc", "s2_10m", 2),
    "Sentinel-2, Berlin, B04": ("s2_rgb_berlin_10m/*A*", "", 3),
    "Sentinel-2, New Zealand, B04": ("s2_newzealand_T60HWB/20201002.nc", "s2_10m", 2),
    "Sentinel-2, Tunisia, B04": ("s2_global_patches/test/*70975*", "s2_10m", 2),
    "Sentinel-2, Northwest Territories, B04": ("s2_global_patches/test/*8845*", "s2_10m", 2),
    "Sentinel-2, Northern Australia, B04": ("s2_global_patches/test/*766272*", "s2_10m", 2),
}
"""File below XSR_DATA, variable and index of the band."""


def read(root: Path, path: str, variable: str, band: int) -> NDArray[np.float64]:
    """Pixels (y, x) of one band, with the largest as 0.5."""
    found = sorted(root.glob(path))[0]
    found = sorted(found.glob("*.tif"))[-1] if found.is_dir() else found
    if variable:
        values = xr.open_dataset(found)[variable].values
        image = values if values.ndim == 2 else values[band]
    else:
        with rasterio.open(found) as source:
            image = source.read(band)
    image = np.nan_to_num(image.astype(np.float64))
    return image * (0.5 / image.max())


def compare(image: NDArray[np.float64], mtf: float) -> tuple[float, xr.Dataset]:
    """Degrade an image; the true MTF, and what is estimated."""
    scale = 4 if min(image.shape) >= 500 else 3
    y, x = (np.arange(size, dtype=float) for size in image.shape)
    attrs = {"units": "1", "crs": "EPSG:32631"}
    cube = xr.DataArray(image[None], {"band": ["B04"], "y": 6e6 - y, "x": 5e5 + x}, ("band", "y", "x"), attrs=attrs)
    return mtf * OWN ** (1 / scale**2), xsr.estimate_mtf(xsr.degrade(cube, scale=scale, mtf=mtf))


def table(root: Path, places: Sequence[str]) -> str:
    """Rows of places, and how many are within 0.05."""
    head = " | ".join(f"true | found | along y, x at {mtf:g}" for mtf in MTFS)
    lines = [f"| place | pixels | {head} |", "| --- | --- |" + " --- |" * 9]
    within = dict.fromkeys(MTFS, 0)
    for name in places:
        image = read(root, *PLACES[name])
        scale = 4 if min(image.shape) >= 500 else 3
        cells = []
        for mtf in MTFS:
            true, found = compare(image, mtf)
            within[mtf] += bool(abs(found.mtf.item() - true) < 0.05)
            cells.append(
                f"{true:.2f} | {found.mtf.item():.2f} ± {found.mtf_std.item():.2f} |"
                f" {found.mtf_y.item():.2f}, {found.mtf_x.item():.2f}"
            )
        lines.append(f"| {name} | {image.shape[0] // scale} x {image.shape[1] // scale} | {' | '.join(cells)} |")
    count = ", ".join(f"{n} at an MTF of {mtf:g}" for mtf, n in within.items())
    return "\n".join([*lines, "", f"Within 0.05 of the truth, of {len(places)} places: {count}."])


def main() -> None:
    """Print the table or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into the documentation")
    parser.add_argument("--small", action="store_true", help="one place, to check that it runs")
    options = parser.parse_args()
    if "XSR_DATA" not in os.environ:
        print("XSR_DATA is not set: the table needs the folder of real images")
        return
    text = table(Path(os.environ["XSR_DATA"]), list(PLACES)[-1:] if options.small else list(PLACES))
    print(text)
    if options.write and not options.small:
        write(PAGE, text, MARKERS)


if __name__ == "__main__":
    main()
