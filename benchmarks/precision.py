"""What bfloat16 changes: `liif_s2` in both precisions on real scenes, by the Wald protocol.

Needs the folder of real images in XSR_DATA.
"""

import argparse
from dataclasses import replace

import numpy as np
from common.data import manifest

import xsr
from xsr.training.scores import BORDER, degraded, read_places

CLOSE = 5e-4
"""Difference in reflectance that counts as none: five digital numbers, below the noise of the sensor."""
PLACES = ("31UES", "31UES at 20 m", "Kempen 31UFS", "Kempen 31UFS at 20 m")


def main() -> None:
    """Print, for every place, how close the two results are to each other and to the truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    scale, places, side = options.scale, PLACES, None
    if options.small:
        places, side = PLACES[:1], 96
    data = manifest()
    if data is None:
        print("XSR_DATA is not set: real scenes are needed")
        return
    print(f"liif_s2, x{scale:g}, first clear date; PSNR against the truth, peak 1 reflectance")
    for whole in read_places(data):
        if whole.name not in places:
            continue
        dates = slice(0, 1)
        images = whole.images[dates, :, :side, :side]
        place = replace(whole, images=images, times=whole.times and whole.times[dates])
        low = place.cube(degraded(place, scale), scale=scale)
        inner = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
        made = {p: xsr.liif(low, scale=scale, precision=p).values[inner] for p in ("float32", "bfloat16")}
        truth = place.images[..., : int(low.sizes["y"] * scale), : int(low.sizes["x"] * scale)][inner]
        gap = np.abs(made["bfloat16"] - made["float32"])
        close = float((gap[np.isfinite(gap)] <= CLOSE).mean())
        psnr = {p: -10 * np.log10(np.nanmean((v - truth).astype(np.float64) ** 2)) for p, v in made.items()}
        print(
            f"{place.name:<22} {close:8.3%} of the values within {CLOSE:g}, largest difference {np.nanmax(gap):.1e};"
            f" PSNR {psnr['float32']:.3f} dB float32, {psnr['bfloat16'] - psnr['float32']:+.4f} dB bfloat16"
        )


if __name__ == "__main__":
    main()
