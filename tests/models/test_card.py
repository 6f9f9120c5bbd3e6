import json
from dataclasses import asdict, replace

import pytest
from models.helpers import BANDS, write_model

from xsr.core.errors import BandError, WeightsError
from xsr.models.card import ModelCard, file_sha256, read_card, write_card


@pytest.fixture
def path(tmp_path):
    return write_model(tmp_path)


@pytest.fixture
def card(path):
    return read_card(path)


def test_card_survives_the_round_trip(path, card):
    changed = replace(card, scores=[{"place": "here", "scale": 2.0}], training={"steps": 3}, limits=("none",))
    write_card(changed, path)
    assert read_card(path) == changed
    assert json.loads(path.with_suffix(".json").read_text()).keys() == asdict(card).keys()


def test_fields_are_tuples_again(card):
    assert isinstance(card, ModelCard)
    for name in ("bands", "optional", "mean", "std", "scale_range", "mtf", "limits"):
        assert isinstance(getattr(card, name), tuple)


def test_missing_card(path):
    path.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match=r"tiny\.json not found"):
        read_card(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{not json", "Expecting property name"),
        ("[]", "is not a model card"),
        ("{}", "bands"),
        (None, "licence"),
        ("extra", "surprise"),
    ],
)
def test_malformed_card(path, card, text, told):
    fields = asdict(card)
    if text is None:
        del fields["licence"]
        text = json.dumps(fields)
    elif text == "extra":
        text = json.dumps({**fields, "surprise": 1})
    path.with_suffix(".json").write_text(text)
    with pytest.raises(WeightsError, match=told):
        read_card(path)


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
