"""Train on images of your own: write a manifest, run ``xsr train``, use the weights.

Run it with ``python examples/own_training.py``. It stands in for your images with two synthetic ones, fine-tunes the
packaged weights on them for some seconds, and sharpens a third.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import xsr
from xsr.models.card import read_card
from xsr.testing import synthetic_cube

BANDS = ("B02", "B03", "B04", "B08")
MANIFEST = """
[default]
bands = ["B02", "B03", "B04", "B08"]
scale = 1e-4
nodata = 0

[[scene]]
place = "valley"
path = "valley.npy"

[[scene]]
place = "hills"
path = "hills.npy"
"""


def make_images(folder: Path, size: int) -> None:
    """Write two images (band, y, x) of digital numbers, and the manifest that describes them."""
    for seed, name in enumerate(("valley", "hills")):
        cube = synthetic_cube(seed=100 + seed, size=(size, size), times=("2024-06-15",), bands=BANDS)
        np.save(folder / f"{name}.npy", np.rint(cube.values[0] * 1e4).astype(np.uint16))
    (folder / "scenes.toml").write_text(MANIFEST, encoding="utf-8")


def main(size: int, minutes: float) -> None:
    """Make images, fine-tune `liif_s2` on them, and use the new weights."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        make_images(folder, size)
        options = ["--start", "liif_s2", "--synthetic", "0", "--minutes", str(minutes), "--out", "mine.safetensors"]
        command = [sys.executable, "-m", "xsr.cli", "train", "liif_s2", "--scenes", "scenes.toml", *options]
        subprocess.run(command, cwd=folder, check=True)
        training = read_card(folder / "mine.safetensors").training
        print(f"{training['steps']} step(s) on {', '.join(training['places'])}")
        cube = synthetic_cube(seed=7, size=(32, 32), times=("2024-06-15",), bands=BANDS)
        fine = xsr.liif(cube, scale=2, model=folder / "mine.safetensors").compute()
        print(f"sharpened by the new weights: {dict(fine.sizes)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true", help="smaller images, and a step or two")
    small = parser.parse_args().small
    main(*((64, 0.001) if small else (128, 0.05)))
