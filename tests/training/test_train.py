"""``xsr train`` as a user runs it: in a process of its own, on images of a manifest, for seconds."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from models.helpers import make_cube
from safetensors.torch import load_file

import xsr
from xsr.models.card import file_sha256, read_card

pytestmark = pytest.mark.slow
MANIFEST = """
[default]
path = "valley.npy"
bands = ["B02", "B03", "B04", "B08"]
units = "dn10000"

[[scene]]
place = "valley"
"""


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "valley.npy", rng.integers(500, 3000, (4, 64, 72)).astype(np.uint16))
    (tmp_path / "scenes.toml").write_text(MANIFEST)
    return tmp_path


@pytest.fixture
def xsr_train(folder, python):
    def run(*options, recipe="liif_s2_first", umask=0o022):
        command = ["-m", "xsr.cli", "train", recipe, "--scenes", "scenes.toml", "--synthetic", "0", *options]
        return python(*command, cwd=folder, umask=umask)

    return run


@pytest.mark.parametrize("minutes", ["0", "nan"])
def test_minutes_that_cannot_be_are_refused_before_images_are_read(xsr_train, minutes):
    done = xsr_train("--minutes", minutes)
    assert done.returncode != 0
    assert "expected a positive number" in done.stderr
    assert "scene 1" not in done.stdout


def test_minutes_include_the_scenes_and_progress_is_shown_from_the_start(folder, xsr_train):
    done = xsr_train("--minutes", "0.0001", "--out", "mine.safetensors", umask=0o027)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "training liif_s2_first, weights go to mine.safetensors"
    assert lines[1] == "scene 1 of 1: valley"
    assert lines[2].startswith("step 1, 100%")
    assert lines[3] == "scenes and the first step took all 0.0001 minutes: nothing was learnt, give more"
    assert lines[4].startswith("wrote mine.safetensors")
    assert sorted(path.name for path in folder.iterdir()) == [
        *("mine.json", "mine.safetensors", "scenes.toml", "valley.npy")
    ]
    modes = [(folder / name).stat().st_mode & 0o777 for name in ("mine.safetensors", "mine.json")]
    assert modes == [0o640, 0o640]
    card = read_card(folder / "mine.safetensors")
    assert (card.training["steps"], card.training["places"], card.training["scenes"]) == (1, ["valley"], 1)
    fine = xsr.liif(make_cube(12, 12), scale=2.0, model=folder / "mine.safetensors")
    assert np.isfinite(fine.values).all()


def test_training_starts_from_packaged_weights_where_the_user_says_so(folder, xsr_train):
    done = xsr_train("--minutes", "0.0001", "--start", "liif_s2", recipe="liif_s2")
    assert done.returncode == 0, done.stderr
    packaged = Path(xsr.__file__).parent / "models" / "weights" / "liif_s2.safetensors"
    assert read_card(folder / "liif_s2.safetensors").training["start_sha256"] == file_sha256(packaged)
    # The minutes were over, so the learning rate of the one step was zero.
    assert file_sha256(folder / "liif_s2.safetensors") == file_sha256(packaged)


FAULTS = {
    'place = "valley"': (
        'place = "valley"\n[[scene]]\nplace = "hill"\nsplit = "test"\npath = "hill.npy"',
        "hill.npy is missing",  # found before training, not when the weights are scored
    ),
    'units = "dn10000"': ("scale = 1", "values up to 2999 in a cube taken as reflectance"),
    'path = "valley.npy"': ('path = "vally.npy"', "vally.npy is missing"),
    '"B02", "B03", "B04"': ('"B02"', "expected the 2 of bands"),
}


@pytest.mark.parametrize("old", FAULTS)
def test_a_fault_is_one_line(folder, xsr_train, old):
    new, message = FAULTS[old]
    (folder / "scenes.toml").write_text(MANIFEST.replace(old, new))
    done = xsr_train("--minutes", "0.0001")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert message in " ".join(done.stderr.split())
    assert not list(folder.glob("*.safetensors"))


# --- killed between the last step and the card ----------------------------------------------------------------

CHILD = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from xsr.training import loop, recipes, run
from xsr.training.manifest import read_manifest
from xsr.training.recipe import Continuous

kill, out = sys.argv[1:]
loop.REMEMBER = 2
recipe = replace(
    recipes.LIIF_S2_FIRST,
    config={"channels": 10, "outputs": 10, "features": 8, "blocks": 1, "hidden": (16, 16)},
    task=Continuous(synthetic=0, patch=14, queries=64), batch=2, steps=5,
)
if kill:
    setattr(run, kill, lambda *args: os.kill(os.getpid(), signal.SIGKILL))
run.run_recipe(recipe, Path(out), scenes=read_manifest("scenes.toml"), report=lambda p: print(p.step, flush=True))
"""


@pytest.fixture
def child(folder, python):
    return lambda kill, out: python("-c", CHILD, kill, out, cwd=folder)


@pytest.mark.parametrize("kill", ["write_weights", "write_card"])
def test_the_checkpoint_stays_until_weights_and_card_are_written(folder, child, kill):
    killed = child(kill, "mine.safetensors")
    assert killed.returncode == -signal.SIGKILL
    assert (folder / "mine.checkpoint").is_file()
    assert (folder / "mine.safetensors").is_file() == (kill == "write_card")
    resumed = child("", "mine.safetensors")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.split() == ["5"]  # the fourth was remembered
    assert not (folder / "mine.checkpoint").exists()
    assert child("", "whole.safetensors").stdout.split() == ["1", "2", "3", "4", "5"]
    assert (folder / "mine.safetensors").read_bytes() == (folder / "whole.safetensors").read_bytes()
    assert read_card(folder / "mine.safetensors").training["steps"] == 5


# --- a network from outside the package -----------------------------------------------------------------------

OUTSIDE = """
import sys
from dataclasses import replace
from pathlib import Path
from torch import nn
import xsr
from xsr.training import recipes, run
from xsr.training.manifest import read_manifest

class Two(nn.Module):
    def __init__(self, bands=10, factor=2):
        super().__init__()
        self.factor, self.radius = factor, 2
        self.first, self.second = nn.Conv2d(bands, 8, 3, padding=1), nn.Conv2d(8, bands * factor**2, 3, padding=1)

    def forward(self, x):
        return nn.functional.pixel_shuffle(self.second(self.first(x).relu()), self.factor)

xsr.models.register(xsr.models.Architecture(name="two", kind="fixed", build=Two))
recipe = replace(
    recipes.CARN_S2_FIRST, name="two_s2", architecture="two", config={"bands": 10, "factor": 2},
    task=replace(recipes.CARN_S2_FIRST.task, synthetic=0, patch=16), batch=1, steps=2,
)
card = run.run_recipe(recipe, Path("two.safetensors"), scenes=read_manifest("scenes.toml"))
print(card.architecture, card.factor, card.radius, card.training["steps"])
"""


def test_a_registered_network_of_another_package_is_trained_by_a_recipe(folder, python):
    done = python("-c", OUTSIDE, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["two", "2", "2", "2"]
    assert all(torch.isfinite(value).all() for value in load_file(folder / "two.safetensors").values())
