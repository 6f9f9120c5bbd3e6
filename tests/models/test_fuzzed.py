"""Cards and weight files, damaged in every way: they are read, or refused by an error of xsr."""

import json
import struct

import pytest
import safetensors.torch
import torch
import yaml
from fuzzing import damaged, damaged_json, damaged_json_text, examples, refused_or, values
from hypothesis import given
from hypothesis import strategies as st
from models.helpers import write_fixed, write_model

from xsr.models import foreign, registry
from xsr.models.card import file_sha256
from xsr.models.state import read_state

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Weights of both kinds, with their cards."""
    folder = tmp_path_factory.mktemp("models")
    return [write_model(folder), write_fixed(folder)]


def read(path, content):
    """Read a card and look at its network, as the building of a cube does."""
    card = path.with_suffix(".json")
    before = card.read_bytes()
    card.write_bytes(content)
    try:
        return refused_or(lambda: registry.describe(registry.spec(path).name))
    finally:
        card.write_bytes(before)


@pytest.mark.parametrize("number", [0, 1])
@examples(25)
@given(data=st.data())
def test_a_damaged_card_is_read_or_refused(models, number, data):
    path = models[number]
    item = json.loads(path.with_suffix(".json").read_text())
    read(path, data.draw(damaged_json_text(item)))


@examples(60)
@given(data=st.data())
def test_other_values_in_what_a_card_says_of_its_network(models, data):
    path = models[0]
    item = json.loads(path.with_suffix(".json").read_text())
    settings = item["properties"]["mlm:hyperparameters"]
    item["properties"]["mlm:hyperparameters"] = data.draw(damaged_json(settings))
    item["properties"]["mlm:hyperparameters"]["config"] = data.draw(damaged_json(settings["config"]) | values)
    read(path, json.dumps(item).encode())


WORDS = st.sampled_from(
    ["&a ", "*a", "!!int ", "!x ", "<<: ", "[", "{", "- ", "0x_", "1:2:3", "2024-02-30", "? ", ".inf", "|\n"]
)


@examples(60)
@given(data=st.data())
def test_a_damaged_foreign_card_is_read_or_refused(tmp_path_factory, data):
    fields = {"model": "n.onnx", "bands": ["B02", "B03"], "factor": 2, "margin": 4, "units": "reflectance"}
    text = yaml.safe_dump(data.draw(damaged_json(fields))).encode()
    at = data.draw(st.integers(0, len(text)))
    path = tmp_path_factory.mktemp("foreign") / "a.yaml"
    path.write_bytes(
        data.draw(damaged(text)) if data.draw(st.booleans()) else text[:at] + data.draw(WORDS).encode() + text[at:]
    )
    refused_or(lambda: foreign.read(path))


HEADER = {"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {"a": "b"}}


@examples(60)
@given(header=damaged_json(HEADER) | values, length=st.none() | st.integers(0, 2**64 - 1))
def test_a_damaged_header_of_tensors_is_read_or_refused(tmp_path_factory, header, length):
    text = json.dumps(header).encode()
    path = tmp_path_factory.mktemp("headers") / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + bytes(24))
    refused_or(lambda: read_state(path, parameters=6))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@examples(60)
@given(data=st.data())
def test_a_damaged_weight_file_is_read_or_refused(tmp_path_factory, suffix, data):
    path = tmp_path_factory.mktemp("weights") / f"a{suffix}"
    state = {"w": torch.zeros(4, 3), "b": torch.ones(3)}
    torch.save(state, path) if suffix == ".pth" else safetensors.torch.save_file(state, path)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    refused_or(lambda: read_state(path, parameters=15))


def test_what_is_not_damaged_is_read(models):
    """The fuzzers start from files that are accepted."""
    for path in models:
        assert registry.spec(path).sha256 == file_sha256(path)
        assert read(path, path.with_suffix(".json").read_bytes()) is not None
