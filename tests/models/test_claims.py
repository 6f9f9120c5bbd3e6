import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from models.helpers import changed, make_cube, write_fixed, write_model, write_temporal
from safetensors.torch import load_file, save_file
from torch import nn

import xsr
from xsr.core.errors import ModelError, WeightsError, XsrWarning
from xsr.models import catalogue, claims, registry
from xsr.models.card import file_sha256, read_card, write_card
from xsr.models.record import Architecture


class Far(nn.Module):
    """Adds to each pixel what is ``reach`` pixels away, and says that it looks ``radius`` pixels far."""

    factor = 1

    def __init__(self, reach=3, radius=3):
        super().__init__()
        self.radius, self.size = radius, 2 * reach + 1
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        padded = nn.functional.pad(x, (self.size // 2,) * 4, mode="replicate")
        return self.weight * (padded[..., : x.shape[-2], : x.shape[-1]] + x)


class Whole(nn.Module):
    """Adds to each pixel the mean of the image."""

    factor, radius = 1, 3

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.weight * (x + x.mean(dim=(2, 3), keepdim=True))


class Reads(Far):
    """Reads a number while it is made."""

    def __init__(self):
        super().__init__(reach=int(torch.linspace(1, 3, 3)[2].item()))


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(catalogue, "_registered", [])
    for name, build in {"far": Far, "whole": Whole, "reads": Reads}.items():
        catalogue.register(Architecture(name=name, kind="fixed", build=build))


def rewrite(path, mend=lambda card: card, **tensors):
    """Change a card, and the hash in it after the weights were changed."""
    if tensors:
        save_file({**load_file(path), **tensors}, path)
    write_card(mend(replace(read_card(path), sha256=file_sha256(path))), path)


def write_far(folder, architecture="far", **config):
    """Write the weights of an architecture from outside."""
    path = write_fixed(folder)
    save_file({"weight": torch.ones(1)}, path)
    card = changed(read_card(path), architecture=architecture, config=config, factor=1, scale_range=(1.0, 1.0))
    radius = config.get("radius", 3)
    write_card(replace(card, radius=radius, parameters=1, sha256=file_sha256(path)), path)
    return path


@pytest.mark.parametrize(("write", "true"), [(write_model, 6), (write_fixed, 5), (write_temporal, 6)])
def test_the_radius_of_a_card_is_not_below_that_of_the_architecture_as_configured(tmp_path, write, true):
    path = write(tmp_path)
    assert read_card(path).radius == true
    identity = registry.spec(path)
    rewrite(path, lambda card: replace(card, radius=true + 1))
    assert registry.spec(path) != identity
    rewrite(path, lambda card: replace(card, radius=1000))
    with pytest.raises(WeightsError, match=f"says radius 1000; expected {true} input pixels"):
        registry.spec(path)
    rewrite(path, lambda card: replace(card, radius=true - 1))
    for take in (registry.spec, registry.load, lambda path: registry.load(registry.identify(path))):
        with pytest.raises(
            WeightsError, match=rf"says radius {true - 1}; expected {true} input pixels, what .*Correct"
        ):
            take(path)


@pytest.mark.parametrize("write", [write_temporal, write_model])
def test_bands_of_any_network_are_those_of_its_card(tmp_path, write):
    path = write(tmp_path)
    rewrite(path, lambda card: replace(card, image=card.image.only(card.bands[:3]), mtf=card.mtf[:3]))
    with pytest.raises(WeightsError, match="takes other bands than the 3 of its card"):
        registry.load(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.names())
def test_what_packaged_cards_say_is_true(name):
    registry.load(name)
    card = registry.card(name)
    if card.guide.names:
        short = replace(card, guide=card.guide.only(card.guide.names[:1]))
        with pytest.raises(WeightsError, match="takes other bands than the 1 of its card, or of its guide"):
            claims.check_trial(registry.load(name), short, registry.record_of(card), registry.find(name))


def test_a_cube_is_not_built_with_another_radius(tmp_path):
    path = write_model(tmp_path)
    rewrite(path, lambda card: replace(card, radius=0))
    with pytest.raises(WeightsError, match="says radius 0; expected 6"):
        xsr.liif(make_cube().chunk(y=7), scale=2, model=path)


@pytest.mark.parametrize(
    "config",
    [
        {"channels": 4, "outputs": 4, "features": 10**6, "blocks": 10**6, "hidden": [16, 16]},
        {"channels": 4, "outputs": 4, "features": 1, "blocks": 10**6, "hidden": [16, 16]},
        {"channels": 4, "outputs": 4, "features": 8, "blocks": 1, "hidden": [10**6] * 64},
    ],
)
def test_a_configuration_larger_than_its_file_takes_no_memory(tmp_path, config):
    path = write_model(tmp_path)
    rewrite(path, lambda card: replace(card, config=config))
    with pytest.raises(ModelError, match="liif as configured has more than 1048576 parameters"):
        registry.spec(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("carn_1000000x1000000x64g4sw", "more than 1048576 parameters"),
        ("carn_1x1000000x1g1sw", "more than 1048576 parameters"),
        ("carn_99999999999999999999x1x4g2", "settings .* a number of 67 bits|expected numbers up to 1000000"),
        ("esrgan_1x99999999x32", "expected numbers up to 1000000"),
    ],
)
def test_numbers_in_the_name_of_an_architecture_are_bounded_likewise(tmp_path, name, expected):
    path = write_fixed(tmp_path)
    rewrite(path, lambda card: replace(card, architecture=name, config={"bands": 4}))
    with pytest.raises(ModelError, match=expected):
        registry.spec(path)


@pytest.mark.parametrize(
    "config",
    [{"features": -1}, {"features": "x"}, {"hidden": [[1]]}, {"blocks": 1.5}, {"depth": 3}, {"features": None}],
)
def test_settings_that_a_network_cannot_have_are_named(tmp_path, config):
    path = write_model(tmp_path)
    rewrite(path, lambda card: replace(card, config={**card.config, **config}))
    with pytest.raises(ModelError, match=r"liif does not take these settings \{.*"):
        registry.spec(path)


def test_the_counting_ends_with_the_network(tmp_path):
    with pytest.raises(ModelError, match="more than 10 parameters"):
        catalogue.get("liif").outline(10)
    made = catalogue.get("liif").outline(10**7)
    assert {parameter.device.type for parameter in made.parameters()} == {"meta"}
    assert len(list(nn.Sequential(*(nn.Linear(100, 100) for _ in range(20))).parameters())) == 40


def test_a_sensor_that_is_unknown_is_named(tmp_path):
    path = write_model(tmp_path)
    rewrite(path, lambda card: replace(card, sensor="../../x"))
    with pytest.raises(WeightsError, match=r"the card of .*tiny\.safetensors: sensor '\.\./\.\./x' is not registered"):
        registry.spec(path)


def test_weights_that_overflow_are_refused(tmp_path):
    path = write_fixed(tmp_path)
    state = load_file(path)
    rewrite(path, **{name: tensor * 1e30 for name, tensor in state.items()})
    with pytest.raises(WeightsError, match="makes NaN or infinities of a finite image"):
        registry.load(path)


def test_the_reach_of_a_network_from_outside_is_measured(tmp_path, registered):
    path = write_far(tmp_path, reach=3, radius=3)
    image = make_cube(20, 20)
    whole = xsr.sisr(image, model=path).values
    cut = xsr.sisr(image.chunk(y=10, x=10), model=path, chunks=10).values
    assert np.abs(cut - whole).max() < 1e-6
    write_far(tmp_path, reach=3, radius=2)
    with pytest.raises(WeightsError, match=r"margin of 2 input pixels differ from the whole.*at least 3 input pixels"):
        registry.load(path)
    write_far(tmp_path, reach=3, radius=7)
    registry.load(path)


def test_a_network_that_depends_on_the_whole_tile_is_used_with_a_warning(tmp_path, registered):
    path = write_far(tmp_path, "whole")
    with pytest.warns(XsrWarning, match="no margin is wide enough: there will be seams"):
        registry.load(path)


def test_a_network_that_reads_numbers_while_it_is_made_needs_memory(tmp_path, registered):
    path = write_far(tmp_path, "reads")
    assert registry.load(path).size == 7


def test_cards_and_names_of_others_are_not_code(tmp_path):
    path = write_fixed(tmp_path)
    item = json.loads(path.with_suffix(".json").read_text())
    for name in ("os.system", "../../etc/passwd", "builtins.exec"):
        item["properties"]["mlm:architecture"] = name
        path.with_suffix(".json").write_text(json.dumps(item))
        with pytest.raises(ModelError, match="is unknown; expected one of"):
            registry.spec(path)
