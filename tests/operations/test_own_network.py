"""Networks registered from a module outside the package, through the operations, in this process and in others."""

import sys
from dataclasses import replace
from importlib import import_module

import distributed
import numpy as np
import pytest
from models.helpers import BANDS, MEAN, STD, make_cube
from safetensors.torch import save_file

import xsr
from xsr.core.errors import ModelError, ParameterError
from xsr.models import catalogue, registry
from xsr.models.card import ModelCard, file_sha256, write_card
from xsr.models.channels import Channels

MODULE = '''
import torch
from torch import Tensor, nn

import xsr


class Spread(nn.Module):
    """Corrects by a share of the standardised image, at the nearest pixel."""

    def __init__(self):
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.25))
        self.radius = 1

    def encode(self, images):
        return self.share * images

    def decode(self, code, rows, cols, cell):
        y, x = ((v + 0.5).floor().long().clamp(0, size - 1) for v, size in zip((rows, cols), code.shape[2:]))
        return code[:, :, y, x].mT


class Twice(nn.Module):
    """Adds a share of the standardised image to its bicubic interpolation by two."""

    def __init__(self):
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.25))
        self.factor, self.radius = 2, 0

    def forward(self, images):
        return self.share * nn.functional.interpolate(images, scale_factor=2)


xsr.models.register(xsr.models.Architecture(name="spread", kind="continuous", build=Spread))
xsr.models.register(xsr.models.Architecture(name="twice", kind="fixed", build=Twice))
'''


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Folder of a module that registers two networks, and of their weights."""
    monkeypatch.setattr(catalogue, "_registered", [])
    (tmp_path / "outside_network.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "outside_network", raising=False)
    import_module("outside_network")
    for name, factor in (("spread", None), ("twice", 2)):
        path = tmp_path / f"{name}_s2.safetensors"
        save_file(registry.create(name).state_dict(), path)
        write_card(card(name, path, factor), path)
    return tmp_path


def card(name, path, factor):
    return ModelCard(
        name=path.stem,
        summary="A share of the image.",
        architecture=name,
        config={},
        image=Channels(BANDS, MEAN, STD),
        sensor="sentinel-2",
        gsd_m=10.0,
        scale_range=(1.0, 4.0),
        mtf=(0.3,) * 4,
        sha256=file_sha256(path),
        parameters=1,
        radius=1 if factor is None else 0,
        licence="CC0-1.0",
        factor=factor,
    )


INNER = np.s_[..., 8:-8, 8:-8]
"""Where no border, which interpolation treats another way, has a part."""


def by_hand(cube, scale):
    """Bicubic interpolation and a quarter of the difference of the nearest pixel to the mean."""
    base = cube.sr.interpolate(scale=scale, method="bicubic")
    near = cube.sr.interpolate(scale=scale, method="nearest")
    return base + 0.25 * (near - np.array(MEAN, np.float32)[:, None, None])


@pytest.mark.parametrize("scale", [2.0, 2.7])
def test_a_continuous_network_from_outside_runs_through_liif(outside, scale):
    cube = make_cube(18, 15)
    fine = cube.sr.liif(scale=scale, model=outside / "spread_s2.safetensors")
    np.testing.assert_allclose(fine[INNER], by_hand(cube, scale)[INNER], atol=1e-5)
    lazy = cube.chunk(y=7, x=5).sr.liif(scale=scale, model=outside / "spread_s2.safetensors", chunks=11)
    np.testing.assert_allclose(lazy.compute(), fine, atol=1e-6)


def test_a_fixed_network_from_outside_runs_through_sisr(outside):
    cube = make_cube(18, 15)
    fine = cube.sr.sisr(model=outside / "twice_s2.safetensors")
    np.testing.assert_allclose(fine[INNER], by_hand(cube, 2.0)[INNER], atol=1e-5)
    assert fine.attrs["xsr_precision"] == "float32"


@pytest.mark.parametrize(("verb", "name"), [("liif", "spread"), ("sisr", "twice")])
def test_a_network_without_a_trunk_has_no_other_precision(outside, verb, name):
    arguments = {"scale": 2.0} if verb == "liif" else {}
    model = outside / f"{name}_s2.safetensors"
    with pytest.raises(ParameterError, match=rf"precision='bfloat16'; the network of '{name}_s2' has its own"):
        getattr(make_cube().sr, verb)(model=model, precision="bfloat16", **arguments)


def test_a_network_registered_anew_is_loaded_anew(outside):
    """As when a cell of a notebook is changed and run again."""
    cube, model = make_cube(18, 15), outside / "twice_s2.safetensors"
    first = cube.sr.sisr(model=model)
    record = catalogue.get("twice")

    class Thrice(record.build):
        def forward(self, images):
            return 3 * super().forward(images)

    xsr.models.register(replace(record, build=Thrice))
    again = cube.sr.sisr(model=model)
    difference = 2 * (first - cube.sr.interpolate(scale=2, method="bicubic"))
    np.testing.assert_allclose((again - first)[INNER], difference[INNER], atol=1e-5)


def test_weights_of_a_network_that_nobody_registered(outside, monkeypatch):
    monkeypatch.setattr(catalogue, "_registered", [])
    with pytest.raises(ModelError, match="architecture 'spread' is unknown"):
        make_cube().sr.liif(scale=2.0, model=outside / "spread_s2.safetensors")


def test_the_spec_names_the_module(outside):
    assert registry.spec(outside / "twice_s2.safetensors").module == "outside_network"
    assert registry.spec("liif_s2").module == ""


@pytest.mark.slow
def test_workers_in_other_processes_import_the_module(outside):
    cube = make_cube(18, 15).chunk(y=9, x=8)
    fine = cube.sr.liif(scale=2.0, model=outside / "spread_s2.safetensors", chunks=16)
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        found = fine.compute()
        known = client.run(lambda: "outside_network" in sys.modules)
    assert set(known.values()) == {True}
    np.testing.assert_allclose(found[INNER], by_hand(make_cube(18, 15), 2.0)[INNER], atol=1e-5)


def test_the_model_check_measures_it(outside):
    from xsr.models.check import check

    found = check(outside / "spread_s2.safetensors")
    assert found.enough
    assert found.smallest == 0
    assert xsr.models.describe(str(outside / "spread_s2.safetensors")).architecture == "spread"
