import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from models.helpers import write_fixed, write_model

import xsr.models
from xsr.core.errors import ModelError
from xsr.models import catalogue, record, registry

COUNTS = {
    "carn_1x3x64g4sw": (1_243_530, 1_243_530),
    "carn_2x3x64g4sw": (1_867_914, 1_867_914),
    "carn_3x3x64g4sw": (2_492_298, 2_492_298),
    "carn_4x3x64g4sw": (3_116_682, 3_116_682),
    "carn_3x3x64g4": (4_659_594, 4_659_594),
    "carn_3x3x64g1sw": (5_146_506, 5_146_506),
    "esrgan_3x64x32": (2_280_650, 2_280_662),  # twelve scales are frozen
    "carn_light": (523_594, 523_594),
    "liif": (1_567_299, 1_567_299),
    "temporal_liif_index3d": (4_004_291, 4_004_291),
    "jiif": (10_830_978, 10_830_978),
    "dctnet": (482_865, 482_865),
}
"""Trainable and all parameters, as published or counted on the authors' code."""


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_those_of_the_published_networks(name):
    told = registry.describe(name)
    assert (told.trainable, told.parameters) == COUNTS[name]


@pytest.mark.parametrize("name", catalogue.listed())
def test_every_listed_architecture_can_be_made(name):
    told = registry.describe(name)
    network = registry.create(name)
    assert told.parameters == sum(p.numel() for p in network.parameters())
    assert network.training
    assert told.kind in ("fixed", "continuous", "temporal", "guided", "discriminator")
    assert told.summary
    assert told.tiling in ("halo", "lattice", "none")
    assert (told.radius is not None) == (told.tiling == "halo")


def test_names_with_any_numbers():
    settings = {"cascades": 2, "blocks": 5, "features": 8, "groups": 2, "shared": True}
    assert catalogue.get("carn_2x5x8g2sw").config == settings
    assert catalogue.get("carn_2x5x8g2").config == {**settings, "shared": False}
    assert catalogue.get("esrgan_1x16x8").config == {"blocks": 1, "features": 16, "growth": 8}
    assert registry.create("carn_2x5x8g2sw", bands=3).radius == 2 * 2 * 5 + 3
    assert registry.describe("esrgan_1x16x8").radius == 19


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("carn_3x3x64g4s", "did you mean carn_3x3x64g4"),
        ("life", r"did you mean liif\?"),
        ("dctnett", "did you mean dctnet"),
        ("zzz", "expected one of carn_1x3x64g4sw, .*unet_discriminator"),
        ("carn_3x3x64", "did you mean carn_3x3x64g"),
    ],
)
def test_closest_names_are_offered(name, told):
    with pytest.raises(ModelError, match=rf"'{name}' is unknown; {told}"):
        catalogue.get(name)
    with pytest.raises(ModelError, match=rf"'{name}' not found; {told.split('carn_1')[0]}"):
        registry.describe(name)


def test_closest_name_of_trained_weights():
    with pytest.raises(ModelError, match=r"'liif_s3' not found; did you mean liif_s2"):
        registry.find("liif_s3")


def test_closest_architecture_is_offered_where_weights_are_asked_for():
    with pytest.raises(ModelError, match=r"'carn_3x3x64g4s' not found; did you mean carn_3x3x64g4"):
        registry.find("carn_3x3x64g4s")


@pytest.mark.parametrize("name", ["carn_3x3x64g4sw", "carn_1x1x4g2", "liif"])
def test_architecture_is_told_apart_from_weights(name):
    with pytest.raises(ModelError, match=rf"'{name}' is an architecture and has no weights.*weights=PATH.*liif_s2"):
        registry.load(name)


def test_description_of_weights(tmp_path):
    told = registry.describe(write_fixed(tmp_path, licence="CC0-1.0", citation="nobody"))
    assert (told.kind, told.architecture, told.scale, told.gsd_in_m, told.gsd_out_m) == (
        "weights",
        "carn_1x1x4g2",
        "2",
        10.0,
        5.0,
    )
    assert (told.licence, told.citation, told.bands) == ("CC0-1.0", "nobody", ("B02", "B03", "B04", "B08"))
    told = registry.describe(write_model(tmp_path))
    assert (told.scale, told.gsd_out_m, told.radius) == ("1-4", None, 6)


def test_public_names_are_those_of_the_registry():
    assert dir(xsr.models) == ["Architecture", "create", "describe", "load", "names", "register", "register_weights"]
    homes = {"Architecture": record, "register": catalogue}
    for name in dir(xsr.models):
        assert getattr(xsr.models, name) is getattr(homes.get(name, registry), name)
    with pytest.raises(AttributeError, match="no attribute 'destroy'"):
        xsr.models.destroy  # noqa: B018


@pytest.mark.slow
def test_import_loads_no_torch():
    code = "import json, sys, xsr.models; xsr.models.names(); print(json.dumps('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False


def test_table_of_the_reference_is_up_to_date():
    docs = Path(__file__).parents[2] / "docs"
    table = runpy.run_path(str(docs / "_scripts" / "architectures.py"))["markdown"]()
    assert "| `carn_3x3x64g4sw` | fixed | 2 492 298 | 2 492 298 | 21 | halo |" in table
    assert table in (docs / "reference" / "models.md").read_text(encoding="utf-8"), "run docs/_scripts/architectures.py"
