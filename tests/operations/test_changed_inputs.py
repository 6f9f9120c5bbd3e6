"""A run that goes on, and a repair, refuse an input or a model that changed, and name it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers .rio)
from models.helpers import make_cube, write_fixed

import xsr
from xsr.core.errors import StoreError
from xsr.models.export import export

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.tif"
    make_cube(20, 20)[0].rio.to_raster(path)
    return path


def fine(source):
    return xsr.open(source).sr.interpolate(scale=2, chunks=20, units="reflectance")


def write(cube, path, **how):
    return xsr.to_zarr(cube, path, progress=False, **how)


def change(source):
    """Write other pixels and put the time back."""
    before = source.stat()
    (make_cube(20, 20) + 1)[0].rio.to_raster(source)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_resume_and_repair_refuse_an_input_that_changed_and_name_it(source, tmp_path):
    write(fine(source), tmp_path / "out.zarr")
    assert write(fine(source), tmp_path / "out.zarr", resume=True).computed == 0
    change(source)
    with pytest.raises(StoreError, match=rf"was begun with other settings: {source} was changed\. Give the same cube"):
        write(fine(source), tmp_path / "out.zarr", resume=True)
    with pytest.raises(StoreError, match=rf"{source} was changed"):
        xsr.verify(tmp_path / "out.zarr", repair=fine(source), progress=False)


def test_an_input_that_was_moved_goes_on_by_the_word_of_the_user(source, tmp_path):
    write(fine(source), tmp_path / "out.zarr")
    (tmp_path / "moved").mkdir()
    moved = Path(shutil.move(source, tmp_path / "moved"))
    with pytest.raises(StoreError, match=rf"{source} is not read any more; {moved} is read as well"):
        write(fine(moved), tmp_path / "out.zarr", resume=True)
    for block in (tmp_path / "out.zarr/reflectance").glob("[0-9]*"):
        block.unlink()
    assert len(xsr.verify(tmp_path / "out.zarr").bad) == 4
    repaired = xsr.verify(tmp_path / "out.zarr", repair=fine(moved), input_id="moved", progress=False)
    assert repaired.ok
    assert len(repaired.repaired) == 4
    assert write(fine(moved), tmp_path / "out.zarr", resume=True, input_id="moved").computed == 0


def test_an_input_named_by_the_user_is_not_looked_at(source, tmp_path):
    write(fine(source), tmp_path / "out.zarr", input_id="scene")
    change(source)
    assert write(fine(source), tmp_path / "out.zarr", resume=True, input_id="scene").computed == 0


@pytest.mark.slow
def test_another_process_goes_on_with_the_same_input(source, tmp_path, python):
    """After other files appeared beside it, and until it changes."""
    command = ["-m", "xsr.cli", "run", source, tmp_path / "out.zarr", "--model", "bicubic"]
    command += ["--scale", "2", "--units", "reflectance"]
    run = {"cwd": ROOT, "env": {**os.environ, "COLUMNS": "500"}}
    python(*command, **run).check_returncode()
    (tmp_path / "other.tif").touch()
    python(*command, "--resume", **run).check_returncode()
    change(source)
    refused = python(*command, "--resume", **run)
    assert refused.returncode != 0
    assert f"{source} was changed" in refused.stderr
    python(*command, "--resume", "--input-id", "same", **run).check_returncode()


@pytest.mark.slow
def test_weights_that_changed_are_refused(tmp_path):
    """Those of a card of ours, and those in a further file of an ONNX network."""
    onnx = pytest.importorskip("onnx")
    cube = make_cube(12, 12).chunk(y=6)
    card = export(write_fixed(tmp_path), tmp_path / "out").with_suffix(".yaml")
    file = card.with_suffix(".onnx")
    onnx.save(onnx.load(file), file, save_as_external_data=True, location="w.data", size_threshold=0)
    write(cube.sr.sisr(model=str(card)), tmp_path / "a.zarr")
    assert write(cube.sr.sisr(model=str(card)), tmp_path / "a.zarr", resume=True).computed == 0
    numbers = np.fromfile(card.with_name("w.data"), np.uint8)
    numbers[-1] ^= 1
    numbers.tofile(card.with_name("w.data"))
    with pytest.raises(StoreError, match=r"xsr_weights_sha256 was '\w+' and is '\w+' \(of the model 'small'\)"):
        write(cube.sr.sisr(model=str(card)), tmp_path / "a.zarr", resume=True)
