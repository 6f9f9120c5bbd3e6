"""What tests of displays share: cubes of every kind, and references that one command writes anew."""

import re
from pathlib import Path

import numpy as np
import xarray as xr
from models.helpers import make_cube

REFERENCES = Path(__file__).parent / "references"
SCRIPT = "<script>alert(1)</script>"


def make_series(dates=5, size=16):
    """Series of reflectance (time, band, y, x) with a stripe of no data, an eighth of it at the usual size."""
    cube = make_cube(size, size, dates=dates, bands=("B02", "B03", "B04", "B08"))
    values = np.broadcast_to(np.linspace(0.01, 0.4, size * size).reshape(size, size), cube.shape)
    cube = cube.copy(data=values.astype(np.float32))
    cube[..., :2] = np.nan
    return cube


def no_cubes():
    """Objects that are no cubes, and a word of what their card says is wrong."""
    cube = make_series()
    bare = cube.drop_vars("spatial_ref").assign_coords(x=cube.x.values, y=cube.y.values)
    numbers = (cube.fillna(0) * 1e4).astype("uint16")
    return {
        "no x and y": (xr.DataArray([1.0, 2.0], dims="scene"), "no spatial dimensions"),
        "no dimensions": (xr.DataArray(1.0), "no spatial dimensions"),
        "no variables": (xr.Dataset(), "no spatial dimensions"),
        "no pixels": (cube.isel(x=slice(0, 0)), "the cube is empty"),
        "no dates": (cube.isel(time=slice(0, 0)), "the cube is empty"),
        "unknown units": (numbers.assign_attrs(units="bananas"), "without a scale"),
        "texts": (xr.DataArray(np.array([["a", "b"], ["c", "d"]]), dims=("y", "x")), "expected integers or floats"),
        "no CRS": (bare, "no CRS"),
        "one pixel": (bare.isel(x=[0], y=[0]), "no pixel size"),
        "another dimension": (cube.expand_dims(model=2), "dimension(s) ['model'] found"),
        "a band twice": (cube.assign_coords(band=["B02", "B02", "B04", "B08"]), "name a band twice"),
    }


def stable(html):
    """HTML without the style sheet of xarray and the names that differ each time."""
    numbers = {name: f"id-{n}" for n, name in enumerate(dict.fromkeys(re.findall(r"xsr-[0-9a-f-]{36}", html)))}
    html = re.sub(r"xsr-[0-9a-f-]{36}", lambda found: numbers[found[0]], html)
    html = re.sub(r"<style>.*?</style>", "<style></style>", html, flags=re.DOTALL)
    return html.replace("<li ", "\n<li ").replace("<tr>", "\n<tr>")


def assert_as_before(text, name, request):
    """Compare a text with its reference; ``--update-references`` writes it instead."""
    path = REFERENCES / name
    if request.config.getoption("--update-references"):
        path.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == path.read_text(encoding="utf-8"), f"{name} differs: look at it, then --update-references"
