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


@pytest.mark.parametrize(
    ("text", "told"), [("{not json", "Expecting property name"), ("[]", "properties"), ("{}", "props")]
)
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
        (("properties", "mlm:input"), [], r"mlm:input \[\]; expected a list of one input"),
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
        ({"bands": ()}, r"bands \[\]; expected a list of 1 to 1000 items"),
        ({"optional": ("B11",)}, r"optional \('B11',\); expected some of bands"),
        ({"mean": (0.1,), "std": (0.1,)}, r"mean \(0\.1,\); expected 4 numbers, one for each band"),
        ({"mean": (float("nan"), 0.1, 0.1, 0.1)}, "mean .*each a number from -1e\\+06 to 1e\\+06"),
        ({"std": (0.0, 0.1, 0.1, 0.1)}, "std .*each a number from 1e-06 to 1e\\+06"),
        ({"fill": (0.1,)}, r"fill \(0\.1,\); expected 4 numbers, one for each band, or none"),
        ({"radius": -5}, "radius -5; expected a whole number from 0 to 1024"),
        ({"radius": "9"}, "radius '9'; expected a whole number"),
        ({"factor": 0}, "factor 0; expected a whole number from 1 to 128, or none"),
        ({"factor": 2.5}, r"factor 2\.5; expected a whole number"),
        ({"factor": True}, "factor True; expected a whole number"),
        ({"unit": 0.0}, r"unit 0\.0; expected a number from 1e-06 to 1e\+06"),
        ({"gsd_m": "10"}, "gsd_m '10'; expected a number from"),
        ({"scale_range": (4.0, 1.0)}, r"scale_range \(4\.0, 1\.0\); expected the lowest and the highest"),
        ({"scale_range": (1.0,)}, r"scale_range \[1\.0\]; expected a list of 2 items"),
        ({"coarser": "spline"}, "coarser 'spline'; expected one of nearest, bilinear, bicubic"),
    ],
)
def test_values_that_cannot_be(path, card, fields, told):
    write_card(changed(card, **fields), path)
    with pytest.raises(WeightsError, match=rf"tiny\.json is not a model card.*{told}"):
        read_card(path)


LIST = [1] * 5000
DEEP = [[[[1]]]]


@pytest.mark.parametrize(
    ("where", "value", "expected"),
    [
        ("properties.mlm:hyperparameters.config", [1], r"config \[1\]; expected an object of at most 64 settings"),
        ("properties.mlm:hyperparameters.config", {"features": 10**7}, "config .*numbers up to 1000000"),
        ("properties.mlm:hyperparameters.config", {"features": 10**400}, "config .*a number of 1329 bits"),
        ("properties.mlm:hyperparameters.config", {"features": 1e999}, "config .*inf.*; expected"),
        ("properties.mlm:hyperparameters.config", {"hidden": LIST}, "config .*; expected"),
        ("properties.mlm:hyperparameters.config", {"hidden": DEEP}, "config .*; expected"),
        ("properties.mlm:hyperparameters.config", {"a b": 1}, "config .*; expected"),
        ("properties.mlm:architecture", ["liif"], r"architecture \['liif'\]; expected a name"),
        ("properties.mlm:name", "a\x1b[31m", r"name 'a\\x1b\[31m'; expected a file name of 1 to 128 printable"),
        ("properties.mlm:name", "a" * 129, "name 'a.*'; expected a file name"),
        ("properties.mlm:hyperparameters.radius", 10**9, "radius 1000000000; expected a whole number from 0 to 1024"),
        ("properties.mlm:hyperparameters.patch", 10**9, "patch 1000000000; expected a whole number from 1 to 2048"),
        ("properties.mlm:hyperparameters.scale_range", [1, 1e999], "scale_range .*each a number from"),
        ("properties.mlm:hyperparameters.residual", "no", "residual 'no'; expected true or false"),
        ("properties.mlm:hyperparameters.mtf", "abc", "mtf 'abc'; expected a list"),
        ("properties.mlm:hyperparameters.mtf", [0.3, 0.3, 0.3, 1.0], "mtf .*each a number above 0 and below 1"),
        ("properties.mlm:hyperparameters.mtf", [0.3], r"mtf \(0\.3,\); expected 4 numbers"),
        ("properties.mlm:hyperparameters.fill", [1e999] * 4, "fill .*each a number from"),
        ("properties.mlm:hyperparameters.optional", "B08", "optional 'B08'; expected a list"),
        ("properties.mlm:hyperparameters", [], "mlm:hyperparameters .*expected an object"),
        ("properties.license", {"a": 1}, r"licence \{'a': 1\}; expected text of 0 to 128 characters"),
        ("properties.datetime", 20240101, "created 20240101; expected a day"),
        ("properties.datetime", "yesterday", "created 'yesterday'; expected a day"),
        ("properties.mlm:total_parameters", -1, "parameters -1; expected a whole number"),
        ("properties.xsr:training", [], r"training \[\]; expected an object"),
        ("properties.xsr:scores", {"a": 1}, r"scores \{'a': 1\}; expected a list"),
        ("assets.weights.file:checksum", "12345", "sha256 '12345'; expected a SHA-256"),
        ("assets.weights", None, "assets.weights is missing"),
    ],
)
def test_a_field_of_another_kind_or_size_is_named_with_what_is_expected(path, where, value, expected):
    item = json.loads(path.with_suffix(".json").read_text())
    change(item, where.split("."), value)
    path.with_suffix(".json").write_text(json.dumps(item))
    with pytest.raises(WeightsError, match=rf"tiny\.json is not a model card: {expected}") as caught:
        read_card(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("bands", "expected"),
    [("B02B", "bands 'B02B'; expected a list"), ([1, 2, 3, 4], r"bands \[1, 2, 3, 4\]; expected a list")],
)
def test_bands_that_are_no_names(path, bands, expected):
    item = json.loads(path.with_suffix(".json").read_text())
    item["properties"]["mlm:input"][0]["bands"] = bands
    path.with_suffix(".json").write_text(json.dumps(item))
    with pytest.raises(WeightsError, match=expected):
        read_card(path)


@pytest.mark.parametrize(("field", "value"), [("stddev", 1e-300), ("mean", 1e308), ("mean", "0.1"), ("stddev", True)])
def test_statistics_that_no_image_has(path, field, value):
    item = json.loads(path.with_suffix(".json").read_text())
    item["properties"]["mlm:input"][0]["value_scaling"][1][field] = value
    path.with_suffix(".json").write_text(json.dumps(item))
    with pytest.raises(WeightsError, match=rf"{field.removesuffix('dev')}.*; expected a list.*each a number from"):
        read_card(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a":' * 100_000, "is not a model card: it is nested too deeply"),
        (b"\xff\xfe", "is not a model card: 'utf-8' codec"),
        (b" " * (1 << 20) + b"{}", "has 1048578 bytes; expected a model card, of at most 1048576"),
        (b"9" * 5000, "is not a model card: Exceeds the limit"),
    ],
)
def test_content_that_no_card_has(path, content, expected):
    path.with_suffix(".json").write_bytes(content)
    with pytest.raises(WeightsError, match=expected):
        read_card(path)


def test_fields_of_other_extensions_are_left_alone(path, card):
    item = json.loads(path.with_suffix(".json").read_text())
    item["properties"]["proj:epsg"] = item["others"] = {"anything": [1]}
    path.with_suffix(".json").write_text(json.dumps(item))
    assert read_card(path) == card


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
        ("held_with", "kriging", "held_with 'kriging'; expected"),
        ("guide_mean", (0.1,), "expected 2 numbers, one for each band of the guide"),
        ("guide_std", (0.1, 0.0), "each a number from 1e-06"),
    ],
)
def test_guided_card_that_no_model_can_have(card, field, value, told):
    with pytest.raises(ValueError, match=told):
        from_item(to_item(changed(card, **{**GUIDED, field: value}), "tiny.safetensors"))


DIGESTS = {
    "carn_3x1x32g2_s2": "238bc8a4641355f5",
    "carn_3x2x32g2sw_s2": "e4cfe649fc50590d",
    "carn_3x3x64g4sw_s2": "edde8bca1e912856",
    "carn_3x3x64g4sw_s2_ideal": "a034cc2c145879f6",
    "dctnet_lst": "4ac96a8d2803b36c",
    "dctnet_modis_lst": "24a16e8ae81bd1ee",
    "dctrrdbnet_lst": "cbbef8fe78a3123b",
    "esrnet_lst": "bb56e662657d3cb0",
    "esrnet_x8_lst": "9a261a442e09ca16",
    "jiif_lst": "71f7d23422933db9",
    "liif_s2": "3cd96a76ecba6816",
    "liif_optical": "20a6dccd587ef873",
    "sharpen_s2": "ffc377894773576d",
    "temporal_liif_s2": "3f6a2554c37abdd3",
}
"""Specs hold them, so that graphs and stores made before are known again: they change with the weights alone."""


@pytest.mark.parametrize("name", DIGESTS)
def test_packaged_cards_have_the_digest_they_always_had(name):
    assert digest(registry.card(name)).startswith(DIGESTS[name])


def test_digest_follows_what_a_result_depends_on(card):
    assert digest(changed(card, summary="other", scores=[{"place": "here"}])) == digest(card)
    for name, value in {
        "mean": (0.1,) * 4,
        "unit": 1e-4,
        "guide_std": (0.1,),
        "units": "K",
        "held_with": "guided_filter",
    }.items():
        assert digest(changed(card, **{name: value})) != digest(card)


@pytest.mark.parametrize(
    ("unit", "units", "expected"),
    [(1.0, "degC", "'degC'; expected one of 1, K"), (0.01, "K", "'K' with unit 0.01; expected units '1', or 'K' with")],
)
def test_units_that_no_network_has(path, unit, units, expected):
    item = json.loads(path.with_suffix(".json").read_text())
    item["properties"]["mlm:hyperparameters"] |= {"unit": unit, "units": units}
    path.with_suffix(".json").write_text(json.dumps(item))
    with pytest.raises(WeightsError, match=f"units {expected}"):
        read_card(path)
