"""A scene that no weights here were trained on, against a foreign network: T33UUB, factor two, in digital numbers.

The Wald test on one Level-1C scene with its ten bands, all degraded by the same Gaussian (response 0.3 at the Nyquist
frequency of the coarser grid, sampled at exact pixel centres), a border of 32 pixels off. Bands of 10 m have their
truth at 10 m: they are degraded to 20 m, and the 20 m bands to 40 m, which bicubic interpolation (a = -0.75) brings on
the 20 m grid. Bands of 20 m have theirs at 20 m, so everything happens one level up: the 10 m bands are degraded to
40 m, and the 20 m bands in two ways. As at use, they come on the 40 m grid from 80 m, once by that Gaussian and once by
the MTF of each band; or they are degraded to 40 m themselves, as in a cube of which all bands have pixels of 20 m.

Prints the table; ``--write`` puts it into the documentation and the model's card. Needs the folder of real images in
XSR_DATA, and onnxruntime for the foreign network.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from common.data import manifest
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from wald import write

from xsr.kernels.degrade import blur_decimate
from xsr.models import registry
from xsr.models.architectures.srcnn import bicubic
from xsr.models.card import read_card, write_card
from xsr.operations.super_resolve import sharpen, sisr
from xsr.training.build import band_mtf
from xsr.training.manifest import Manifest
from xsr.training.reading import read_scene
from xsr.training.scenes import BANDS, COARSE, FINE
from xsr.training.scores import TestPlace

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "reference" / "models.md"
MARKERS = "<!-- scores on T33UUB: written by benchmarks/t33uub.py -->", "<!-- end of scores on T33UUB -->"
SCENE = "T33UUB"
FOREIGN = Path("onnx_evoland_carn_light") / "carn_light.yaml"
MTF = 0.3
BORDER = 32
SMALL = 160
"""Side of a small input in pixels of 10 m."""
DN = 1e4
"""Digital numbers of a reflectance of one."""
Image = NDArray[np.float32]


@dataclass(frozen=True)
class Error:
    """Root mean square errors of a band, in digital numbers."""

    place: str
    band: str
    case: str
    """Pixel sizes: of those in which the band was observed, of the input's grid, of the truth."""
    rmse_dn: dict[str, float]
    """By method."""


@dataclass(frozen=True)
class Case:
    """An input (ten bands) and the truth of some."""

    name: str
    low: Image
    bands: tuple[str, ...]
    truth: Image
    mtf: tuple[float, ...] = (MTF,) * len(BANDS)
    """By which each band was blurred."""


def cases(fine: Image, coarse: Image) -> list[Case]:
    """Make the tests of bands of 10 m, shape (4, y, x), and of 20 m, shape (6, y / 2, x / 2)."""
    twice, quarter = observed(coarse, 2), observed(fine, 4)
    own = np.concatenate([observed(fine, 4, band_mtf(FINE)), double(observed(coarse, 4, band_mtf(COARSE)))])
    return [
        Case("20 m (20 m bands: 40 m) → 10 m", np.concatenate([observed(fine, 2), double(twice)]), FINE, fine),
        Case("40 m (20 m bands: 80 m) → 20 m", np.concatenate([quarter, double(observed(coarse, 4))]), COARSE, coarse),
        Case("40 m (20 m bands: 80 m), MTF of each band → 20 m", own, COARSE, coarse, band_mtf(BANDS)),
        Case("40 m → 20 m", np.concatenate([quarter, twice]), COARSE, coarse),
    ]


def observed(image: Image, factor: int, mtf: Sequence[float] = ()) -> Image:
    """Observe an image (band, y, x) by pixels ``factor`` times larger, with the MTF of each band or with `MTF`."""
    each = zip(image, mtf or (MTF,) * len(image), strict=True)
    return np.concatenate([blur_decimate(band[None], scale=float(factor), mtf=m) for band, m in each])


def double(image: Image) -> Image:
    """Bicubic interpolation (a = -0.75) to pixels half as large."""
    return np.asarray(bicubic(torch.from_numpy(image)[None], 2)[0].numpy(), np.float32)


def errors(case: Case, models: dict[str, str | Path]) -> list[Error]:
    """Errors of bicubic interpolation and of models, band by band."""
    place = TestPlace("T33UUB", BANDS, case.low[None])
    cube = place.cube(case.low[None], scale=2.0)
    found = {"bicubic": double(case.low)} | {name: image_of(cube, model, case.mtf) for name, model in models.items()}
    rows = []
    for index, band in enumerate(case.bands):
        truth = case.truth[index]
        rmse = {name: round(rmse_dn(image[BANDS.index(band)], truth), 2) for name, image in found.items()}
        rows.append(Error("T33UUB", band, case.name, rmse))
    return rows


def image_of(cube: xr.DataArray, model: str | Path, mtf: Sequence[float]) -> Image:
    """Super-resolve a cube of one date."""
    card = registry.card(model)
    psf = dict(zip(BANDS, sharpness(mtf), strict=True)) if card.sharpness == "sensor" else None
    return np.asarray(sisr(cube, model=model, bands=BANDS, psf=psf).values[0], np.float32)


def sharpness(mtf: Sequence[float]) -> list[float]:
    """MTF by band of a result that undoes the blur by ``mtf``, of a network that undoes what its sensor's pixels do.

    The network undoes ``m ** 0.75`` at the Nyquist frequency of the input, with m the sensor's; half as large pixels
    have twice that frequency, where a Gaussian's logarithm is four times as large.
    """
    return [min(1.0, (own / one) ** 4) for own, one in zip(band_mtf(BANDS), mtf, strict=True)]


def sharpened(fine: Image, coarse: Image) -> dict[str, float]:
    """Errors of bands of 20 m that `sharpen` brings there from 40 m, beside bands of 10 m observed at 20 m."""
    low = np.concatenate([observed(fine, 2), double(observed(coarse, 2))])[None]
    place = TestPlace(SCENE, BANDS, low)
    cube = place.cube(low, scale=2.0).assign_coords(native_gsd=("band", [20.0] * len(FINE) + [40.0] * len(COARSE)))
    made = np.asarray(sharpen(cube, bands=BANDS).values[0], np.float32)
    return {band: rmse_dn(made[BANDS.index(band)], truth) for band, truth in zip(COARSE, coarse, strict=True)}


def rmse_dn(image: Image, truth: Image) -> float:
    """Root mean square error, a border left out."""
    inner = (slice(BORDER, -BORDER),) * 2
    return float(np.sqrt(np.mean((image[inner] - truth[inner]).astype(np.float64) ** 2))) * DN


def read(data: Manifest) -> tuple[Image, Image]:
    """Bands of 10 m and of 20 m of the scene, as reflectance."""
    (scene,) = (one for one in data.select("image") if one.place == SCENE)
    reading = read_scene(data, scene)
    assert reading.coarse is not None
    return reading.fine.values[0][[reading.fine.names.index(band) for band in FINE]], reading.coarse.values[0]


def markdown(rows: list[Error], sharp: dict[str, float], sha256: str) -> str:
    """Return the table, one row a band and case."""
    names = list(rows[0].rmse_dn)
    lines = [
        "| input → truth | band | " + " | ".join(f"`{name}`" for name in names) + " |",
        "| --- | --- |" + " ---: |" * len(names),
    ]
    for row in rows:
        cells = " | ".join(f"{row.rmse_dn[name]:.1f}" for name in names)
        lines.append(f"| {row.case} | {row.band} | {cells} |")
    note = (
        f"Root mean square error in digital numbers (reflectance × 10 000), {BORDER} px border off, Gaussian of"
        f" response {MTF} at Nyquist where no other is given, which the result undoes (`psf=`). Weights sha256"
        f" `{sha256[:12]}`. Beside bands of 10 m observed at 20 m, `sharpen_s2` brings the others from 40 m to 20 m"
        " with errors of " + ", ".join(f"{value:.1f} ({band})" for band, value in sharp.items()) + "."
    )
    return "\n".join([*lines, "", note])


def main() -> None:
    """Score a model; print, and write with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="carn_3x3x64g4sw_s2")
    parser.add_argument("--write", action="store_true", help="update docs and card")
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    data = manifest()
    if data is None:
        print("XSR_DATA is not set: the scores need the folder of real images")
        return
    card = registry.card(options.model)
    models = {"carn_light": data.root / FOREIGN, card.name: options.model}
    fine, coarse = read(data)
    if options.small:
        fine, coarse = fine[:, :SMALL, :SMALL], coarse[:, : SMALL // 2, : SMALL // 2]
    tried = cases(fine, coarse)[: 2 if options.small else None]
    rows = [row for case in tried for row in errors(case, models)]
    table = Table("input → truth", "band", *rows[0].rmse_dn)
    for row in rows:
        table.add_row(row.case, row.band, *(f"{value:.1f}" for value in row.rmse_dn.values()))
    Console().print(table)
    sharp = sharpened(fine, coarse)
    print("sharpen_s2, 40 m → 20 m:", ", ".join(f"{band} {value:.1f}" for band, value in sharp.items()))
    if options.write and not options.small:
        path = registry.find(options.model)
        others = [row for row in read_card(path).scores if "rmse_dn" not in row]
        write_card(replace(read_card(path), scores=[*others, *map(asdict, rows)]), path)
        write(TARGET, markdown(rows, sharp, card.sha256), MARKERS)
        print(f"wrote {TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
