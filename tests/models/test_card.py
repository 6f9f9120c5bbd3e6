import json
import re
from dataclasses import replace
from datetime import datetime

import pytest
from models.helpers import BANDS, changed, write_model

from xsr.core.errors import BandError, WeightsError
from xsr.models import registry
from xsr.models.card import ModelCard, digest, file_sha256, from_item, read_card, to_item, write_card


@pytest.fixture
def path(tmp_path):
    return write_model(tmp_path)


@pytest.fixture
def card(path):
    return read_card(path)


def test_card_survives_the_round_trip(path, card):
    other = replace(card, scores=[{"place": "here", "scale": 2.0}], training={"steps": 3}, limits=("none",))
    write_card(other, path)
    assert read_card(path) == other


def test_fields_are_tuples_again(card):
    assert isinstance(card, ModelCard)
    for name in ("bands", "scale_range", "mtf", "limits"):
        assert isinstance(getattr(card, name), tuple)
    for name in ("names", "optional", "mean", "std", "fill"):
        assert isinstance(getattr(card.image, name), tuple)


def test_missing_card(path):
    path.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match=r"tiny\.json not found"):
        read_card(path)


def change(item, where, value):
    """Set a field of nested dictionaries, or delete it where the value is None."""
    *parents, last = where
    for name in parents:
        item = item[name]
    if value is None:
        del item[last]
    else:
        item[last] = value


@pytest.mark.parametrize(("text", "told"), [("{not json", "Expecting property name"), ("[]", "list"), ("{}", "props")])
def test_card_that_is_no_item(path, text, told):
    path.with_suffix(".json").write_text(text)
    with pytest.raises(WeightsError, match=rf"tiny\.json is not a model card.*{told.replace('props', 'properties')}"):
        read_card(path)


@pytest.mark.parametrize(
    ("where", "value", "told"),
    [
        (("properties", "license"), None, "license"),
        (("properties", "mlm:hyperparameters"), None, "mlm:hyperparameters"),
        (("properties", "mlm:hyperparameters", "surprise"), 1, "surprise"),
        (("properties", "mlm:hyperparameters", "radius"), None, "radius"),
        (("properties", "mlm:input"), [], "not enough values"),
        (("properties", "mlm:name"), None, "mlm:name"),
        (("assets", "weights", "file:checksum"), None, "file:checksum"),
        (("properties", "xsr:scores"), None, "xsr:scores"),
    ],
)
def test_malformed_card(path, where, value, told):
    item = json.loads(path.with_suffix(".json").read_text())
    change(item, where, value)
    path.with_suffix(".json").write_text(json.dumps(item))
    with pytest.raises(WeightsError, match=rf"is not a model card.*{told}"):
        read_card(path)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "../elsewhere"}, r"name '\.\./elsewhere'; expected a file name"),
        ({"bands": ("B02", "B02", "B04", "B08")}, r"bands .*expected different names"),
        ({"bands": ()}, r"bands \(\); expected different names, at least one"),
        ({"optional": ("B11",)}, r"optional \('B11',\); expected some of bands"),
        ({"mean": (0.1,), "std": (0.1,)}, r"mean \(0\.1,\); expected 4 finite numbers"),
        ({"mean": (float("nan"), 0.1, 0.1, 0.1)}, "mean .*expected 4 finite numbers"),
        ({"std": (0.0, 0.1, 0.1, 0.1)}, "std .*expected 4 finite numbers above 0"),
        ({"fill": (0.1,)}, r"fill \(0\.1,\); expected 4 finite numbers, or none"),
        ({"radius": -5}, "radius -5; expected a whole number, at least 0"),
        ({"radius": "9"}, "radius '9'; expected a whole number"),
        ({"factor": 0}, "factor 0; expected a whole number, at least 1, or none"),
        ({"factor": 2.5}, r"factor 2\.5; expected a whole number"),
        ({"factor": True}, "factor True; expected a whole number"),
        ({"unit": 0.0}, r"unit 0\.0; expected a finite number above 0"),
        ({"gsd_m": "10"}, "gsd_m '10'; expected a finite number above 0"),
        ({"scale_range": (4.0, 1.0)}, r"scale_range \(4\.0, 1\.0\); expected the lowest and the highest"),
        ({"scale_range": (1.0,)}, r"scale_range \(1\.0,\); expected the lowest and the highest"),
        ({"coarser": "spline"}, "coarser 'spline'; expected one of nearest, bilinear, bicubic"),
    ],
)
def test_values_that_cannot_be(path, card, fields, told):
    write_card(changed(card, **fields), path)
    with pytest.raises(WeightsError, match=rf"tiny\.json is not a model card.*{told}"):
        read_card(path)


def of(kind):
    return lambda value: isinstance(value, kind) and not isinstance(value, bool)


def every(check):
    return lambda value: isinstance(value, list) and bool(value) and all(check(item) for item in value)


def one_of(*values):
    return lambda value: value in values


def fields(required):
    return lambda value: (
        isinstance(value, dict) and all(name in value and ok(value[name]) for name, ok in required.items())
    )


TENSOR = fields({"shape": every(of(int)), "dim_order": every(of(str)), "data_type": one_of("float32")})
MLM = {
    "mlm:name": of(str),
    "mlm:architecture": of(str),
    "mlm:tasks": every(one_of("super-resolution")),
    "mlm:framework": one_of("PyTorch", "ONNX"),
    "mlm:total_parameters": of(int),
    "mlm:pretrained": lambda value: isinstance(value, bool),
    "mlm:hyperparameters": of(dict),
    "mlm:input": every(
        fields(
            {
                "name": of(str),
                "bands": every(of(str)),
                "input": TENSOR,
                "value_scaling": every(fields({"type": one_of("z-score"), "mean": of(float), "stddev": of(float)})),
            }
        )
    ),
    "mlm:output": every(fields({"name": of(str), "tasks": every(of(str)), "result": TENSOR})),
}
"""What version 1.4 of the extension requires of the properties that we write, by hand."""


def check_item(item, suffix, framework, artifact):
    """Check an item against STAC 1.1 and the extension, as far as xsr uses them."""
    assert item["type"] == "Feature"
    assert item["stac_version"] >= "1.0.0"
    assert item["geometry"] is None
    assert "bbox" not in item
    assert item["links"] == []
    assert datetime.fromisoformat(item["properties"]["datetime"]).tzinfo is not None
    extensions = " ".join(item["stac_extensions"])
    assert "/mlm/v1" in extensions
    assert "/file/v2" in extensions
    for name, ok in MLM.items():
        assert ok(item["properties"][name]), (name, item["properties"][name])
    assert item["properties"]["mlm:framework"] == framework
    asset = item["assets"]["weights"]
    assert {"mlm:model", "mlm:weights"} <= set(asset["roles"])
    assert asset["mlm:artifact_type"] == artifact
    assert asset["href"].startswith("./")
    assert asset["href"].endswith(suffix)
    assert re.fullmatch(r"1220[0-9a-f]{64}", asset["file:checksum"])


@pytest.mark.parametrize(
    ("suffix", "framework", "artifact"),
    [
        (".safetensors", "PyTorch", "safetensors"),
        (".onnx", "ONNX", "onnx"),
        (".pt", "PyTorch", "torch.jit.save"),
        (".pt2", "PyTorch", "torch.export.save"),
    ],
)
def test_item_is_what_the_extension_asks_for(card, suffix, framework, artifact):
    item = to_item(card, f"tiny{suffix}")
    check_item(item, suffix, framework, artifact)
    assert from_item(item) == card
    for name in ("mlm:input", "mlm:name", "mlm:tasks"):  # the check can fail
        with pytest.raises((AssertionError, KeyError)):
            check_item({**item, "properties": {**item["properties"], name: 3}}, suffix, framework, artifact)


@pytest.mark.parametrize("name", registry.names())
def test_packaged_cards_are_items(name):
    item = json.loads(registry.find(name).with_suffix(".json").read_text(encoding="utf-8"))
    check_item(item, ".safetensors", "PyTorch", "safetensors")


def test_item_is_read_by_pystac(path):
    pystac = pytest.importorskip("pystac")
    from pystac.extensions import mlm

    item = pystac.Item.from_file(str(path.with_suffix(".json")))
    assert mlm.MLMExtension.ext(item).mlm_name == "tiny"


def test_channels_in_the_order_asked(card):
    assert card.channels(BANDS) == (0, 1, 2, 3)
    assert card.channels(("B08", "B02", "B04", "B03")) == (3, 0, 2, 1)


def test_optional_band_may_be_absent(card):
    assert card.channels(("B04", "B03", "B02")) == (2, 1, 0)


def test_required_band_is_missed_by_name(card):
    with pytest.raises(BandError, match=r"needs band\(s\) \['B03'\].*has \['B02', 'B04'\]"):
        card.channels(("B02", "B04"))


def test_unknown_band_is_named_with_a_remedy(card):
    with pytest.raises(BandError, match=r"band\(s\) \['B11'\].*bands=\['B02', 'B03', 'B04'\]"):
        card.channels(("B02", "B03", "B04", "B11"))


def test_file_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


GUIDED = {"guide_bands": ("B04", "B08"), "guide_mean": (0.1, 0.3), "guide_std": (0.05, 0.1), "guide_optional": ("B08",)}


def test_guided_card_survives_the_round_trip(path, card):
    fields = {"bands": ("lst",), "mean": (0.0,), "std": (1.0,), "optional": (), "mtf": (0.3,), "patch": 128}
    guided = changed(card, **fields, **GUIDED, units="K")
    write_card(guided, path)
    assert read_card(path) == guided


def test_card_from_before_there_were_guides(card):
    item = to_item(card, "tiny.safetensors")
    for name in (*GUIDED, "patch", "units"):
        del item["properties"]["mlm:hyperparameters"][name]
    assert from_item(item) == card


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("patch", 0, "patch 0; expected a whole number"),
        ("guide_bands", ("B04", "B04"), "expected different names"),
        ("guide_optional", ("B11",), r"expected some of guide_bands"),
        ("guide_mean", (0.1,), "expected 2 finite numbers, one for each band of the guide"),
        ("guide_std", (0.1, 0.0), "expected 2 finite numbers above 0"),
    ],
)
def test_guided_card_that_no_model_can_have(card, field, value, told):
    with pytest.raises(ValueError, match=told):
        from_item(to_item(changed(card, **{**GUIDED, field: value}), "tiny.safetensors"))


DIGESTS = {
    "carn_3x3x64g4sw_s2": "54342cf2adaa2917",
    "dctnet_lst": "328b78df6a9ca19b",
    "dctrrdbnet_lst": "cbbef8fe78a3123b",
    "esrnet_lst": "bb56e662657d3cb0",
    "jiif_lst": "7c9ec1c71f0269dc",
    "liif_s2": "3cd96a76ecba6816",
    "temporal_liif_s2": "3f6a2554c37abdd3",
}
"""As version 0.1 has them: specs hold them, so graphs and stores made before are known again."""


@pytest.mark.parametrize("name", DIGESTS)
def test_packaged_cards_have_the_digest_they_always_had(name):
    assert digest(registry.card(name)).startswith(DIGESTS[name])


def test_digest_follows_what_a_result_depends_on(card):
    assert digest(changed(card, summary="other", scores=[{"place": "here"}])) == digest(card)
    for name, value in {"mean": (0.1,) * 4, "unit": 1e-4, "guide_std": (0.1,), "units": "K"}.items():
        assert digest(changed(card, **{name: value})) != digest(card)


@pytest.mark.parametrize(("unit", "units"), [(1.0, "degC"), (0.01, "K"), (1.0, "0.0001")])
def test_units_that_no_network_has(path, unit, units):
    item = json.loads(path.with_suffix(".json").read_text())
    item["properties"]["mlm:hyperparameters"] |= {"unit": unit, "units": units}
    path.with_suffix(".json").write_text(json.dumps(item))
    with pytest.raises(WeightsError, match=rf"units '{units}' with unit {unit}; expected units '1', or 'K' with"):
        read_card(path)
