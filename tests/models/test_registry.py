import pickle
import re
import shutil
import threading
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest
import safetensors.torch
import torch
from models.helpers import BANDS, FIXED, changed, lively, write_fixed, write_model

from xsr.core import extensions
from xsr.core.errors import ModelError, ParameterError, WeightsError
from xsr.models import registry
from xsr.models.architectures.liif import LIIF
from xsr.models.card import file_sha256, read_card, write_card
from xsr.models.channels import Channels
from xsr.models.registry import ModelSpec
from xsr.operations.super_resolve.networks import Continuous
from xsr.operations.verbs import verb_of

REGISTERS = """
from pathlib import Path
from xsr.models import register_weights
register_weights(Path(__file__).parent)
"""


@pytest.fixture
def path(tmp_path):
    return write_model(tmp_path)


def test_packaged_names(monkeypatch, tmp_path):
    assert "liif_s2" in registry.names()
    monkeypatch.setattr(registry, "folders", lambda: (tmp_path,))
    assert registry.names() == ()
    for name in ("zeta", "alpha"):
        write_model(tmp_path, name=name)
    assert registry.names() == ("alpha", "zeta")
    assert registry.card("zeta").name == "zeta"


@pytest.mark.parametrize("name", ["liif_s2"])
def test_packaged_models_are_whole(name):
    card = registry.card(name)
    assert file_sha256(registry.find(name)) == card.sha256
    network = registry.load(registry.spec(name))
    assert sum(p.numel() for p in network.parameters()) == card.parameters
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())


def test_find_by_name_and_by_path(path):
    assert registry.find("liif_s2") == registry.PACKAGED / "liif_s2.safetensors"
    assert registry.find(path) == registry.find(str(path)) == path


def test_a_folder_of_weights_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere is no folder; expected one that holds weights"):
        registry.register_weights(str(tmp_path / "nowhere"))


def test_weights_of_other_distributions_are_found_by_name(monkeypatch, tmp_path):
    package = tmp_path / "others_weights"
    package.mkdir()
    (package / "__init__.py").write_text(REGISTERS)
    write_model(package, name="others")
    monkeypatch.setattr(registry, "_folders", [registry.PACKAGED])
    monkeypatch.setattr(extensions, "_loaded", set())
    monkeypatch.setattr(extensions, "entry_points", lambda group: [])
    assert "others" not in registry.names()
    entry = EntryPoint("others", "others_weights", extensions.GROUP)
    monkeypatch.setattr(extensions, "_loaded", set())
    monkeypatch.setattr(extensions, "entry_points", lambda group: [entry])
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.find("others") == package / "others.safetensors"
    assert "others" in registry.names()


@pytest.mark.parametrize("name", registry.APART)
def test_weights_that_are_not_installed_have_their_licence_named(name, monkeypatch):
    monkeypatch.setattr(registry, "folders", lambda: (registry.PACKAGED,))
    assert name not in registry.names()
    for request in (registry.find, registry.card, registry.describe, registry.load, verb_of):
        with pytest.raises(
            ModelError, match=rf"'{name}' are licensed {registry.APART[name]} .*xarray-sr\[noncommercial"
        ):
            request(name)


def test_the_default_distribution_holds_no_weights_under_a_non_commercial_licence():
    packaged = {path.stem: read_card(path).licence for path in registry.PACKAGED.glob("*.safetensors")}
    assert set(packaged.values()) == {"CC-BY-4.0"}
    apart = {name: registry.card(name).licence for name in set(registry.names()) - set(packaged)}
    assert apart.items() <= registry.APART.items()


@pytest.mark.parametrize("model", ["no_such_model", "gone/tiny.safetensors"])
def test_unknown_model(model):
    with pytest.raises(ModelError, match=rf"'{re.escape(model)}' not found; expected one of .*liif_s2"):
        registry.find(model)


def test_spec_is_the_name_and_the_hash_of_the_card(path):
    spec = registry.spec(path)
    assert spec == ModelSpec(str(path), file_sha256(path), card=spec.card)
    write_card(replace(read_card(path), scores=[{"place": "here"}], summary="other words"), path)
    assert registry.spec(path) == spec  # what only people read
    write_card(replace(read_card(path), radius=read_card(path).radius + 1), path)
    assert registry.spec(path) != spec


def test_changed_card_is_not_taken_for_the_one_in_the_graph(path):
    identity = registry.spec(path)
    write_card(changed(read_card(path), unit=1e-4), path)
    with pytest.raises(WeightsError, match=r"the card of .*tiny.* was changed"):
        registry.load(identity)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"factor": 4}, r"makes \(4, 16, 16\) of \(4, 8, 8\); its card says \(4, 32, 32\)"),
        ({"config": {**FIXED, "factor": 4}}, "does not fit CARN as configured"),
        ({"factor": None}, "is a fixed-scale network; its card says none"),
    ],
)
def test_factor_of_the_card_must_be_that_of_the_network(tmp_path, fields, told):
    path = write_fixed(tmp_path)
    write_card(changed(read_card(path), **fields), path)
    with pytest.raises(WeightsError, match=told):
        registry.load(path)


def test_network_of_any_factor_with_a_card_of_one(path):
    write_card(replace(read_card(path), factor=2), path)
    with pytest.raises(WeightsError, match="is no fixed-scale network; its card says 2"):
        registry.load(path)


def test_bands_of_the_card_must_be_those_of_the_network(tmp_path):
    path = write_fixed(tmp_path)
    card = read_card(path)
    write_card(replace(card, image=card.image.only(card.bands[:3]), mtf=card.mtf[:3]), path)
    with pytest.raises(WeightsError, match="takes other bands than the 3 of its card"):
        registry.load(path)


def test_create():
    network = registry.create("liif", channels=2, outputs=1, features=4, blocks=1, hidden=(4,))
    assert isinstance(network, LIIF)
    assert network.imnet.layers[-1].out_features == 1
    with pytest.raises(ModelError, match=r"'gan' is unknown; expected one of carn_1x3x64g4sw, .*liif"):
        registry.create("gan")
    with pytest.raises(ModelError, match=r"liif does not take these settings \{'depth': 3\}.*depth"):
        registry.create("liif", depth=3)


def test_load_gives_the_weights_of_the_file(path):
    network = registry.load(registry.spec(path))
    wanted = lively(LIIF(4, 4, 8, 1, (16, 16))).state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in network.state_dict().items())


def test_changed_byte_names_both_hashes(path):
    identity = registry.spec(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        registry.load(identity)
    assert identity.sha256 in str(caught.value)
    assert file_sha256(path) in str(caught.value)


def test_swapped_file_is_not_taken_for_the_one_in_the_graph(path, tmp_path):
    identity = registry.spec(path)
    (tmp_path / "other").mkdir()
    other = write_model(tmp_path / "other", seed=1)
    shutil.copy(other, path)
    shutil.copy(other.with_suffix(".json"), path.with_suffix(".json"))
    with pytest.raises(WeightsError, match=identity.sha256):
        registry.load(identity)


@pytest.mark.parametrize("change", ["shape", "missing", "extra"])
def test_tensors_that_do_not_fit_are_named(path, change):
    state = safetensors.torch.load_file(path)
    key = "encoder.body.1.bias"
    if change == "shape":
        state[key] = torch.zeros(9)
    elif change == "missing":
        del state[key]
    else:
        key = "encoder.tail"
        state[key] = torch.zeros(3)
    safetensors.torch.save_file(state, path)
    write_card(replace(read_card(path), sha256=file_sha256(path)), path)
    found, wanted = {"shape": ("(9,)", "(8,)"), "missing": ("None", "(8,)"), "extra": ("(3,)", "None")}[change]
    with pytest.raises(WeightsError, match=re.escape(f"{key!r} has shape {found}; expected {wanted}")):
        registry.load(registry.spec(path))


def test_weights_without_a_card(path):
    path.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match="need their card"):
        registry.spec(path)


def test_loaded_once_from_many_threads(path, monkeypatch):
    reads, real = [], safetensors.torch.load_file

    def counting(name, *args, **kwargs):
        reads.append(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(safetensors.torch, "load_file", counting)
    identity, found, start = registry.spec(path), [], threading.Barrier(8)

    def work():
        start.wait()
        found.append(registry.load(identity))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) == 1
    assert len(found) == 8
    assert len({id(network) for network in found}) == 1


def test_half_precision_is_computed_in_float32(tmp_path):
    path = write_model(tmp_path, dtype=torch.float16)
    stored = safetensors.torch.load_file(path)
    network = registry.load(registry.spec(path))
    for key, value in network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, stored[key].float())


def test_what_travels_is_small(path):
    identity = registry.spec(path)
    registry.load(identity)
    function = Continuous(identity, Channels(BANDS, (0.1,) * 4, (0.05,) * 4), (0, 1, 2, 3), 6, "cpu")
    for thing in (identity, function):
        message = pickle.dumps(thing)
        assert len(message) < 1000
        assert pickle.loads(message) == thing


def test_resolve_device(monkeypatch):
    assert registry.resolve_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert registry.resolve_device("auto") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert registry.resolve_device("auto") == "cuda"


@pytest.mark.parametrize("device", ["abacus", "cpu:nonsense", "cuda:x"])
def test_devices_that_are_not_spelt_right(device):
    with pytest.raises(ParameterError, match=rf"device='{device}'; expected auto, cpu, cuda or cuda:N"):
        registry.resolve_device(device)


def test_a_device_that_does_not_exist_here():
    with pytest.raises(ParameterError, match=r"device='cuda:99' cannot be used here.*expected auto, cpu or cuda"):
        registry.resolve_device("cuda:99")
