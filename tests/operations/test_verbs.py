import pytest
from models.helpers import write_fixed, write_model

from xsr.core.errors import ModelError
from xsr.kernels.resample import METHODS
from xsr.models import registry
from xsr.operations.verbs import verb_of


def test_every_method_and_packaged_model_has_its_operation():
    assert {verb_of(name) for name in METHODS} == {"interpolate"}
    for name in registry.names():
        assert verb_of(name) == ("liif" if registry.card(name).factor is None else "sisr")


def test_paths_are_told_by_their_cards(tmp_path):
    assert verb_of(write_model(tmp_path)) == "liif"
    assert verb_of(str(write_fixed(tmp_path))) == "sisr"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bicubci", r"model 'bicubci' not found; did you mean bicubic"),
        ("liif_s3", r"did you mean liif_s2"),
        (
            "zzz",
            r"'zzz' not found; expected a model \(.*liif_s2.*\), an interpolation method \(.*bicubic.*\) or a path",
        ),
        ("gone.safetensors", r"gone\.safetensors"),
    ],
)
def test_an_unknown_name_is_refused_with_what_is_near(name, message):
    with pytest.raises(ModelError, match=message):
        verb_of(name)
