"""The main job, end to end: a cube, its super-resolution in Zarr, a picture and a score table."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import xsr.accessor  # noqa: F401  (registers .sr)
from xsr.core.errors import ParameterError, StoreError
from xsr.sources.files import open_file
from xsr.training.manifest import Manifest
from xsr.training.scores import Score, TestPlace, compare, read_places, score

SCALE = 3.4
MARK = ".xsr-demo"
"""File that marks a folder as ours, so that only our own folder is ever replaced."""
STRETCH = (0.0, 0.25)
"""Reflectance shown as black and as white."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo made."""

    source: Path
    """Zarr store of the input cube."""
    output: Path
    """Zarr store of the finer cube."""
    picture: Path
    scores: tuple[Score, ...]


def run_demo(out: Path, *, scenes: Manifest | None, model: str, say: Callable[[str], None]) -> DemoResult:
    """Run the main job on a synthetic cube, or on a real series where there is one.

    Parameters
    ----------
    out
        Folder to write; replaced if an earlier demo made it.
    scenes
        Manifest whose first test scene with two dates or more is the cube; None renders a synthetic cube with known
        truth.
    model
        Model to use.
    say
        Receives one line for each step.

    Raises
    ------
    StoreError
        If the folder exists and is not an earlier demo's.
    """
    _fresh(out)
    job = _real(scenes, model) if scenes is not None else _synthetic(model)
    cube = job.cube
    say(f"input: {job.what}, {dict(cube.sizes)}")
    source, output, picture = out / "input.zarr", out / "output.zarr", out / "side-by-side.png"
    cube.sr.to_zarr(source)
    opened = open_file(source)
    assert isinstance(opened, xr.DataArray)
    fine = opened.sr.liif(scale=SCALE, model=model)
    say(f"output: x{SCALE}, {dict(fine.sizes)}, {fine.odc.geobox.resolution.x:.4f} m, lazy: {fine.chunks is not None}")
    fine.sr.to_zarr(output)
    save_side_by_side(opened, xr.open_zarr(output)["reflectance"], job.truth, picture)
    return DemoResult(source, output, picture, job.scores)


def _fresh(out: Path) -> None:
    if out.exists():
        if not (out / MARK).exists():
            raise StoreError(
                f"{out} exists and is not a demo folder; expected a new folder. Choose another with --out."
            )
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / MARK).touch()


@dataclass(frozen=True)
class _Job:
    what: str
    cube: xr.DataArray
    truth: xr.DataArray | None
    """What a sensor of the output's pixel size would have observed, where it is known."""
    scores: tuple[Score, ...]


def _synthetic(model: str) -> _Job:
    from xsr.testing import synthetic_pair

    times = ("2024-04-10", "2024-06-15", "2024-09-01")
    pair = synthetic_pair(seed=1009, size=(160, 160), times=times, high_gsd_m=10 / SCALE)
    scores = compare(pair.low, pair.high, name="synthetic, truth known", scale=SCALE, model=model)
    return _Job("synthetic cube", pair.low.chunk(time=1).rename("reflectance"), pair.high, (scores,))


def _real(scenes: Manifest, model: str) -> _Job:
    place = _series(scenes)
    scores = tuple(score(place, scale, model) for scale in (2.0, SCALE, 4.0))
    cube = place.cube().isel(time=slice(0, 4)).chunk(time=1).rename("reflectance")
    return _Job(f"Sentinel-2 series {place.name}", cube, None, scores)


def _series(scenes: Manifest) -> TestPlace:
    """First test scene of several dates.

    Raises
    ------
    ParameterError
        If there is none.
    """
    for place in read_places(scenes):
        if place.times is not None and len(place.times) > 1 and {"B02", "B03", "B04"} <= set(place.bands):
            return place
    raise ParameterError(
        f"{scenes.path} has no test scene with two dates or more and the bands B02, B03 and B04; give it one, or leave"
        " the manifest out for a synthetic cube."
    )


def save_side_by_side(low: xr.DataArray, fine: xr.DataArray, truth: xr.DataArray | None, path: Path) -> None:
    """Save the second date in true colour: the input's pixels, bicubic, the result, and the truth if it is known."""
    from PIL import Image, ImageDraw

    date = low.isel(time=[1])
    panels = {
        f"input, {date.odc.geobox.resolution.x:.0f} m": date.sr.interpolate(scale=SCALE, method="nearest"),
        "bicubic": date.sr.interpolate(scale=SCALE, method="bicubic"),
        f"LIIF, {fine.odc.geobox.resolution.x:.2f} m": fine.isel(time=[1]),
    }
    if truth is not None:
        panels["truth"] = truth.isel(time=[1])
    pictures = [_true_colour(panel.isel(time=0)) for panel in panels.values()]
    height, width = pictures[0].shape[:2]
    gap, top = 6, 18
    sheet = np.full((height + top, len(pictures) * (width + gap) - gap, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        left = index * (width + gap)
        sheet[top:, left : left + width] = picture
    image = Image.fromarray(sheet)
    for index, label in enumerate(panels):
        ImageDraw.Draw(image).text((index * (width + gap) + 2, 3), label, fill=(0, 0, 0))
    image.save(path)


def _true_colour(image: xr.DataArray, crop: int = 150, zoom: int = 2) -> NDArray[np.uint8]:
    bands = image.sel(band=["B04", "B03", "B02"]).transpose("y", "x", "band").values[-crop:, -crop:]
    low, high = STRETCH
    stretched = np.clip((np.nan_to_num(bands) - low) / (high - low), 0, 1) ** (1 / 1.4)
    return np.repeat(np.repeat((255 * stretched).astype(np.uint8), zoom, axis=0), zoom, axis=1)
