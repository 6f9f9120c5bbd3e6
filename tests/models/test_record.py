"""The records of architectures: what they refuse, and that nobody else knows an architecture by name or class."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

import xsr
from xsr.core.errors import ModelError
from xsr.models import architectures, catalogue, registry
from xsr.models.record import KINDS, Architecture

ROOT = Path(xsr.__file__).parent
OWN = {*(ROOT / "models" / "architectures").glob("*.py"), ROOT / "models" / "foreign.py"}
"""Files that may know an architecture: its own."""


class Doubling(nn.Module):
    """Every pixel four times."""

    def __init__(self, bands: int = 4) -> None:
        super().__init__()
        self.factor, self.radius, self.bands = 2, 0, bands

    def forward(self, x):
        return nn.functional.interpolate(x, scale_factor=2)


DOUBLING = Architecture(name="doubling", kind="fixed", build=Doubling)


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(catalogue, "_registered", [])


# --- nobody else knows -------------------------------------------------------------------------------


def classes_of_architectures():
    modules = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "models" / "architectures").glob("*.py")]
    return {node.name for module in modules for node in module.body if isinstance(node, ast.ClassDef)}


def names(node):
    """Every name below a node, the last part of dotted ones."""
    return {
        part.id if isinstance(part, ast.Name) else part.attr
        for part in ast.walk(node)
        if isinstance(part, ast.Name | ast.Attribute)
    }


def is_architecture(node):
    """Whether a node is the name of an architecture: ``architecture``, or an attribute of that name."""
    return (isinstance(node, ast.Attribute) and node.attr == "architecture") or (
        isinstance(node, ast.Name) and node.id == "architecture"
    )


def is_fixed(node):
    """Whether a node is a text, a collection, or a constant of a module."""
    return isinstance(node, ast.Constant | ast.Tuple | ast.Set | ast.List) or (
        isinstance(node, ast.Name) and node.id.isupper()
    )


def lines_that_test(source, classes):
    """Lines that test for the class or for the name of an architecture."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, kind]) if names(kind) & classes:
                found.append(node.lineno)
            case ast.MatchClass(cls=kind) if names(kind) & classes:
                found.append(kind.lineno)
            case ast.Compare(left=left, comparators=others) if any(
                is_architecture(one) for one in (left, *others)
            ) and any(is_fixed(one) for one in (left, *others)):
                found.append(node.lineno)
            case ast.Call(func=ast.Attribute(value=value, attr="startswith" | "endswith")) if is_architecture(value):
                found.append(node.lineno)
            case ast.Match(subject=subject) if is_architecture(subject):
                found.append(node.lineno)
    return found


def test_no_class_or_name_of_an_architecture_is_tested_outside_its_own_file():
    classes = classes_of_architectures()
    assert {"LIIF", "CARN", "DCTNet", "JIIF"} <= classes
    files = set(ROOT.rglob("*.py")) - OWN
    assert len(files) > 100
    found = {path: lines_that_test(path.read_text(encoding="utf-8"), classes) for path in files}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "isinstance(network, LIIF | carn.CARN)",
        "card.architecture == 'jiif'",
        "card.architecture in ('liif', 'carn')",
        "card.architecture in CLIPPING",
        "recipe.architecture.startswith('dct')",
        "match network:\n    case DCTNet():\n        pass",
    ],
)
def test_such_a_test_would_be_found(line):
    assert lines_that_test(line, classes_of_architectures()) != []


def test_names_that_differ_from_each_other_may_be_compared():
    assert lines_that_test("found.architecture != str(model)", classes_of_architectures()) == []


# --- records of the package --------------------------------------------------------------------------


def test_every_file_with_an_architecture_ends_in_its_record():
    for path in (ROOT / "models" / "architectures").glob("*.py"):
        last = ast.parse(path.read_text(encoding="utf-8")).body[-1]
        names = [target.id for target in getattr(last, "targets", []) if isinstance(target, ast.Name)]
        assert names == ["ARCHITECTURES"] or path.stem in ("__init__", "edsr", "local_linear"), path
    assert architectures.__doc__


@pytest.mark.parametrize("name", catalogue.listed())
def test_records_say_what_their_networks_are(name):
    record = catalogue.get(name)
    network = record.make()
    assert record.kind in KINDS
    if record.trunk is not None:
        assert any(isinstance(layer, nn.Conv2d) for layer in network.get_submodule(record.trunk).modules())
    assert (record.kind == "discriminator") <= (record.tiling == "none")
    assert isinstance(record.last(network), nn.Conv2d | nn.Linear)


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("carn_1x1x4g2", "output_conv2"),
        ("carn_1x1x4g2_injection", "body.output_conv2"),
        ("esrgan_1x8x4", "decoder.blocks.conv.2"),
        ("liif", "imnet.layers.8"),
        ("temporal_liif", "imnet.layers.8"),
        ("jiif", "imnet.layers.8"),
        ("dctnet", "Decoder_depth.Decoder_Deep.4"),
        ("dctrrdbnet", "Decoder_depth.Decoder_Deep.4"),
    ],
)
def test_last_layer_makes_the_output(name, last):
    record = catalogue.get(name)
    network = record.make()
    assert record.last(network) is network.get_submodule(last)


# --- records of others -------------------------------------------------------------------------------


def test_a_registered_network_is_made_listed_and_described():
    xsr.models.register(DOUBLING)
    assert registry.create("doubling", bands=3).bands == 3
    assert "doubling" in catalogue.listed()
    found = registry.describe("doubling")
    assert (found.kind, found.tiling, found.radius, found.scale) == ("fixed", "halo", 0, "2")
    assert catalogue.get("doubling").module == __name__
    with pytest.raises(ModelError, match="did you mean doubling"):
        catalogue.get("doublin")


def test_names_by_a_pattern():
    settings = {"settings": lambda match: {"bands": int(match[1])}, "listed": ("doubling_3",)}
    xsr.models.register(replace(DOUBLING, pattern=r"doubling_(\d+)", **settings))
    assert registry.create("doubling_7").bands == 7
    assert "doubling_3" in catalogue.listed()
    assert catalogue.find("doubling") is None


def test_the_same_module_may_register_anew():
    xsr.models.register(DOUBLING)
    xsr.models.register(replace(DOUBLING, summary="again"))
    assert catalogue.get("doubling").summary == "again"


def refusal(**fields):
    return lambda: xsr.models.register(replace(DOUBLING, **fields))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (refusal(name="liif"), "the name 'liif' is taken by an architecture of xsr; expected a free one"),
        (refusal(name="carn_2x2x2g2"), r"the name 'carn_2x2x2g2' is taken"),
        (refusal(name="mine/doubling"), "the name 'mine/doubling' of an architecture is empty or has slashes"),
        (refusal(kind="fixd"), "architecture 'doubling' is of kind 'fixd'; expected one of fixed, continuous"),
        (refusal(tiling="tiles"), "architecture 'doubling' has tiling 'tiles'; expected one of halo, lattice, none"),
        (refusal(pattern="("), r"pattern '\(' of architecture 'doubling' is no regular expression"),
        (refusal(build="Doubling"), "build of architecture 'doubling' is a str; expected a function or class"),
    ],
)
def test_records_that_are_refused(call, message):
    with pytest.raises(ModelError, match=message):
        call()


def test_a_name_of_another_module_is_taken():
    xsr.models.register(replace(DOUBLING, module="elsewhere"))
    with pytest.raises(ModelError, match="'doubling' is taken by an architecture of elsewhere"):
        xsr.models.register(DOUBLING)


class Boundless(nn.Module):
    """A network that does not say how far it reads."""


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"build": list}, "architecture 'doubling' builds a list; expected a torch.nn.Module"),
        ({"build": Boundless}, "the network of architecture 'doubling' has no radius; expected the input pixels"),
        ({"kind": "continuous"}, "lacks encode, decode; expected encode, decode of a continuous one"),
        ({"kind": "temporal"}, "lacks encode, merge, compose, fold, decode"),
    ],
)
def test_networks_that_are_not_what_their_record_says(fields, message):
    xsr.models.register(replace(DOUBLING, **fields))
    with pytest.raises(ModelError, match=message):
        registry.create("doubling")


def test_a_setting_that_the_network_does_not_have():
    xsr.models.register(DOUBLING)
    with pytest.raises(ModelError, match=r"doubling does not take these settings.*shape"):
        registry.create("doubling", shape=3)


def test_a_lattice_needs_no_radius():
    xsr.models.register(replace(DOUBLING, build=Boundless, tiling="lattice"))
    assert registry.describe("doubling").radius is None


# --- other processes ---------------------------------------------------------------------------------


def test_the_module_is_imported_where_the_architecture_is_unknown(tmp_path, monkeypatch):
    (tmp_path / "brings_a_network.py").write_text(
        "import xsr\n"
        "from models.test_record import DOUBLING\n"
        "from dataclasses import replace\n"
        "xsr.models.register(replace(DOUBLING, name='brought', module=__name__))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert catalogue.find("brought") is None
    catalogue.require("brought", "brings_a_network")
    assert catalogue.get("brought").make().factor == 2


def test_a_module_that_is_not_there():
    message = (
        "registered by module 'gone_away', which cannot be imported here .*; expected a module on the path of every"
    )
    with pytest.raises(ModelError, match=message):
        catalogue.require("doubling", "gone_away")


def test_a_module_that_does_not_register():
    message = "importing 'json' here does not register architecture 'doubling'; expected a call of xsr.models.register"
    with pytest.raises(ModelError, match=message):
        catalogue.require("doubling", "json")
