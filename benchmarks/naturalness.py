"""The packaged BRISQUE model: fitted to degradations of Sentinel-2 images, judged on places it did not learn from.

Patches of the images of the train split are degraded in six ways and four degrees each. A score is fitted to
100 (1 - SSIM) by radial basis functions over the 36 features, by least squares with a penalty. ``--write`` writes the
model and the table of the documentation; the same command gives the same file. Needs the folder of real images in
XSR_DATA.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from common.data import manifest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from wald import write

from xsr.kernels import brisque
from xsr.training.manifest import Manifest, Split
from xsr.training.reading import read_scene

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "xsr" / "kernels" / "brisque_s2.json"
TARGET = ROOT / "docs" / "reference" / "naturalness.md"
MARKERS = "<!-- naturalness table: written by benchmarks/naturalness.py -->", "<!-- end of naturalness table -->"
KINDS = ("blur", "noise", "over-sharpening", "blocks", "bicubic zoom", "stripes")
LEVELS = (1, 2, 3, 4)
SIDE, PATCHES, TRIALS = 128, 2, 10
CENTRES, PENALTY, SEED = 120, 1e-2, 0
Floats = NDArray[np.float64]


def degrade(image: Floats, kind: str, level: int, rng: np.random.Generator) -> Floats:
    """Degrade an image (h, w), the more the higher the level."""
    contrast = float(image.std())
    if kind == "blur":
        return np.asarray(gaussian_filter(image, 0.4 + 0.4 * level))
    if kind == "noise":
        return image + rng.normal(0, 0.08 * level * contrast, image.shape)
    if kind == "over-sharpening":
        return image + 1.2 * level * (image - gaussian_filter(image, 1.0))
    if kind == "blocks":
        means = image.reshape(image.shape[0] // 8, 8, image.shape[1] // 8, 8).mean(axis=(1, 3))
        return image + 0.2 * level * (np.kron(means, np.ones((8, 8))) - image)
    if kind == "stripes":
        return image + rng.normal(0, 0.06 * level * contrast, (1, image.shape[1]))
    factor = 1 + 0.5 * level
    small = zoom(gaussian_filter(image, 0.5 * factor), 1 / factor, order=3)
    return np.asarray(zoom(small, np.array(image.shape) / small.shape, order=3))


def patches(data: Manifest, split: Split) -> Iterator[Floats]:
    """Cut patches (h, w) of reflectance without gaps, each of another band."""
    for number, scene in enumerate(data.select("image", split=(split,))):
        images = read_scene(data, scene).clear().fine.values
        height, width = (size - SIDE for size in images.shape[2:])
        rng, found = np.random.default_rng([SEED, number]), 0
        for _ in range(TRIALS if len(images) and min(height, width) >= 0 else 0):
            y, x = int(rng.integers(height + 1)), int(rng.integers(width + 1))
            image = images[int(rng.integers(len(images))), int(rng.integers(images.shape[1]))]
            patch = image[y : y + SIDE, x : x + SIDE].astype(np.float64)
            if found < PATCHES and np.isfinite(patch).all() and patch.std() > 0:
                found += 1
                yield patch


def examples(images: Sequence[Floats]) -> tuple[Floats, Floats, list[str]]:
    """Features, degrees of degradation and kinds of all images; those of the images as they are have kind ''."""
    found, degrees, kinds = [], [], []
    for number, image in enumerate(images):
        rng = np.random.default_rng([SEED, number, 1])
        span = float(np.subtract(*np.percentile(image, (99.5, 0.5))))
        variants = [("", image), *((kind, degrade(image, kind, level, rng)) for kind in KINDS for level in LEVELS)]
        for kind, variant in variants:
            found.append(brisque.features(brisque.luminance(variant.astype(np.float32))))
            degrees.append(100 * (1 - float(structural_similarity(image, variant, data_range=span))))
            kinds.append(kind)
    keep = np.isfinite(found).all(axis=1)
    return np.array(found)[keep], np.array(degrees)[keep], [k for k, known in zip(kinds, keep, strict=True) if known]


def fit(found: Floats, degrees: Floats) -> brisque.SupportVectors:
    """Fit radial basis functions by least squares with a penalty."""
    least, greatest = np.percentile(found, (1, 99), axis=0)
    scaled = -1 + 2 * (found - least) / (greatest - least)
    chosen = np.random.default_rng(SEED).choice(len(scaled), min(CENTRES, len(scaled)), replace=False)
    gamma, offset = 0.03, float(degrees.mean())
    centres = np.round(scaled[chosen], 4)
    kernel = np.exp(-gamma * ((scaled[:, None] - centres) ** 2).sum(axis=2))
    penalty = PENALTY * np.eye(len(centres))
    weights = np.linalg.solve(kernel.T @ kernel + penalty, kernel.T @ (degrees - offset))
    return brisque.SupportVectors(gamma, round(offset, 4), np.round(weights, 4), centres, least, greatest)


def as_text(model: brisque.SupportVectors, about: dict[str, object]) -> str:
    """Text of the model's file."""
    fields = {
        "about": about,
        "gamma": model.gamma,
        "offset": model.offset,
        "coefficients": model.coefficients.tolist(),
        "vectors": model.vectors.tolist(),
        "least": model.least.tolist(),
        "greatest": model.greatest.tolist(),
    }
    return json.dumps(fields) + "\n"


def table(model: brisque.SupportVectors, found: Floats, degrees: Floats, kinds: Sequence[str], images: int) -> str:
    """Tabulate the rank correlation of scores with degrees, and mean scores, by kind of degradation."""
    scores = np.array([model.score(one) for one in found])
    lines = ["| degradation | rank correlation | mean score | mean degree |", "| --- | --- | --- | --- |"]
    names = np.array(kinds)
    for kind in ("", *KINDS):
        mine = names == kind
        rank = f"{spearmanr(scores[mine], degrees[mine]).statistic:.2f}" if kind else ""
        lines.append(f"| {kind or 'none'} | {rank} | {scores[mine].mean():.1f} | {degrees[mine].mean():.1f} |")
    every = spearmanr(scores, degrees).statistic
    lines.append(f"| **all** | {every:.2f} | {scores.mean():.1f} | {degrees.mean():.1f} |")
    lines += ["", f"{images} patches of {SIDE} x {SIDE} pixels of validation places, {len(LEVELS)} levels each."]
    return "\n".join(lines)


def main() -> None:
    """Fit, judge, and write with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the model and the documentation")
    parser.add_argument("--small", action="store_true", help="a few patches, to check that it runs")
    chosen, data = parser.parse_args(), manifest()
    if data is None:
        print("XSR_DATA is not set: the model needs the folder of real images")
        return
    most = 3 if chosen.small else None
    learnt, kept = (list(islice(patches(data, split), most)) for split in ("train", "validation"))
    found, degrees, _ = examples(learnt)
    model = fit(found, degrees)
    text = table(model, *examples(kept), len(kept))
    print(text)
    if chosen.write and not chosen.small:
        about: dict[str, object] = {
            "name": "brisque_s2",
            "summary": "BRISQUE score of Sentinel-2 reflectance: 100 (1 - SSIM) of a degraded image, expected.",
            "patches": len(learnt),
            "examples": len(degrees),
            "degradations": list(KINDS),
            "seed": SEED,
            "licence": "CC-BY-4.0",
            "made by": "benchmarks/naturalness.py --write",
        }
        MODEL.write_text(as_text(model, about))
        write(TARGET, text, MARKERS)


if __name__ == "__main__":
    main()
