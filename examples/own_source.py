"""A format that xsr does not know: one record, and `xsr.open` and the command read it like any other.

Run it with ``python examples/own_source.py``; it writes a scene of raw numbers beside a header, opens and refines it.
"""

import argparse
import json
from pathlib import Path

import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
import xarray as xr

import xsr
from xsr.testing import synthetic_cube

HEADER = "raw-scene.json"


def is_raw_scene(path: str) -> bool:
    """Whether a folder holds the header of a scene."""
    return (Path(path) / HEADER).is_file()


def open_raw_scene(path: str, *, chunks: int = 64) -> xr.DataArray:
    """Open a scene lazily: one file of float32 for each band, north up."""
    header = json.loads((Path(path) / HEADER).read_text())
    size, gsd = header["size"], header["gsd_m"]
    files = [Path(path) / f"{band}.raw" for band in header["bands"]]
    images = [np.memmap(file, np.float32, "r", shape=(size, size)) for file in files]
    pixel = np.arange(size) + 0.5
    cube = xr.DataArray(
        da.stack([da.from_array(image, chunks) for image in images]),
        {"band": header["bands"], "y": header["top"] - gsd * pixel, "x": header["left"] + gsd * pixel},
        ("band", "y", "x"),
        attrs={"units": "1"},
    )
    located: xr.DataArray = cube.odc.assign_crs(header["crs"])
    return located


def write_raw_scene(folder: Path, size: int) -> None:
    """Write a scene in this format."""
    cube = synthetic_cube(size=(size, size)).isel(time=0)
    folder.mkdir(parents=True, exist_ok=True)
    for band in cube.band.values:
        cube.sel(band=band).values.tofile(folder / f"{band}.raw")
    left, _, _, top = cube.odc.geobox.boundingbox
    header = {"bands": list(map(str, cube.band.values)), "size": size, "gsd_m": 10.0, "left": left, "top": top}
    (folder / HEADER).write_text(json.dumps({**header, "crs": "EPSG:32631"}))


def main(size: int) -> None:
    """Register the source, and open a scene of it by its path alone."""
    write_raw_scene(Path("scene"), size)
    xsr.register_source(xsr.Source("raw scene", recognises=is_raw_scene, open=open_raw_scene))
    cube = xsr.open("scene", chunks=32)
    fine = cube.sr.interpolate(scale=2)
    print(f"opened {dict(cube.sizes)}, refined to {dict(fine.sizes)}, mean {float(fine.mean()):.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true", help="a smaller scene")
    main(64 if parser.parse_args().small else 256)
