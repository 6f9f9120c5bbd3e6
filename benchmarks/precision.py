"""What bfloat16 changes: `liif_s2` in both precisions on real scenes, by the Wald protocol; and fixed-scale networks.

Those run on ten real bands, here and, where it is installed, in OpenVINO, which rounds the image itself. Needs the
folder of real images in XSR_DATA.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common.data import manifest
from common.engines import in_openvino
from country import SCENE, image
from numpy.typing import NDArray
from pipeline import FASTEST, NAME

import xsr
from xsr.models.export import export
from xsr.training.scores import BORDER, degraded, read_places

CLOSE = 5e-4
"""Difference in reflectance that counts as none: five digital numbers, below the noise of the sensor."""
SIDE = 512
PLACES = ("31UES", "31UES at 20 m", "Kempen 31UFS", "Kempen 31UFS at 20 m")


def near(made: NDArray[Any], wanted: NDArray[Any]) -> str:
    """Say how near two results are, where they are known."""
    gap = np.abs(made - wanted)
    close = float((gap[np.isfinite(gap)] <= CLOSE).mean())
    return f"{close:8.3%} of the values within {CLOSE:g}, largest difference {np.nanmax(gap):.1e}"


def engines(model: str, side: int) -> None:
    """Print how near bfloat16 is to float32 in each engine, for a network that doubles ten bands."""
    cube = image(side)
    made = {precision: xsr.sisr(cube, model=model, precision=precision).values for precision in ("float32", "bfloat16")}
    print(f"{'xsr':<22} {near(made['bfloat16'], made['float32'])}")
    with tempfile.TemporaryDirectory() as folder:
        exported = export(model, Path(folder) / "onnx", units="reflectance").with_suffix(".onnx")
        runs = in_openvino(exported, cube.values.astype(np.float32))
        theirs = {precision: np.array(run()[0]) for precision, run in runs.items()}
    if theirs:
        print(f"{'OpenVINO':<22} {near(theirs['bfloat16'], theirs['float32'])}")


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
        psnr = {p: -10 * np.log10(np.nanmean((v - truth).astype(np.float64) ** 2)) for p, v in made.items()}
        print(
            f"{place.name:<22} {near(made['bfloat16'], made['float32'])};"
            f" PSNR {psnr['float32']:.3f} dB float32, {psnr['bfloat16'] - psnr['float32']:+.4f} dB bfloat16"
        )
    for model in (f"{NAME}_s2", FASTEST):
        print(f"{model}, x2, ten bands of {SCENE}")
        engines(model, side or SIDE)


if __name__ == "__main__":
    main()
