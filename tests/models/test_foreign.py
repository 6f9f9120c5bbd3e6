import hashlib
import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from models.helpers import BANDS, lively_carn, write_fixed

from xsr.core.errors import ModelError, WeightsError
from xsr.models import foreign, registry
from xsr.models.check import check
from xsr.models.engine import Ready
from xsr.models.export import Bicubic, export
from xsr.models.memory import Batches

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Card and network of a tiny CARN."""
    folder = tmp_path_factory.mktemp("foreign")
    return export(write_fixed(folder), folder / "out").with_suffix(".yaml")


@pytest.fixture
def path(exported, tmp_path):
    """Copy to spoil."""
    for file in (exported, exported.with_suffix(".onnx")):
        shutil.copy(file, tmp_path)
    return tmp_path / exported.name


def change(path, **fields):
    told = {**yaml.safe_load(path.read_text()), **fields}
    path.write_text(yaml.safe_dump({name: value for name, value in told.items() if value is not None}))


def convolution(path, *, size=(None, None), opset=17, factor=1, outputs=4, dtype=np.float32):
    """Write an ONNX file that doubles four bands at one place, or enlarges them by a factor."""
    shape = ["n", 4, *size]
    number = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    value = onnx.helper.make_tensor_value_info
    doubles = value("input", number, shape), value("output", number, None)
    weight = onnx.numpy_helper.from_array(
        2 * np.tile(np.eye(outputs, 4, dtype=dtype), (factor**2, 1))[..., None, None], "w"
    )
    nodes = [
        onnx.helper.make_node("Conv", ["input", "w"], ["a"]),
        onnx.helper.make_node("DepthToSpace", ["a"], ["output"], blocksize=factor),
    ]
    graph = onnx.helper.make_graph(nodes, "g", [doubles[0]], [doubles[1]], [weight])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, str(path))


def write_convolution(folder, **options):
    convolution(folder / "c.onnx", **options)
    fields = {"model": "c.onnx", "bands": list(BANDS), "margin": 0, "factor": options.get("factor", 1)}
    (folder / "c.yaml").write_text(yaml.safe_dump(fields))
    return folder / "c.yaml"


def test_card_of_an_exported_network(exported):
    card = foreign.read(exported)
    assert (card.bands, card.factor, card.radius, card.image.step, card.licence) == (BANDS, 2, 5, 1e-4, "CC0-1.0")
    assert card.residual is False
    told = registry.describe(exported)
    assert (told.kind, told.architecture, told.scale, told.gsd_out_m) == ("weights", "onnx", "2", 5.0)
    assert told.parameters >= sum(p.numel() for p in lively_carn().parameters())


@pytest.mark.parametrize("name", ["model", "bands", "factor", "margin"])
def test_missing_fields_are_named(path, name):
    change(path, **{name: None})
    with pytest.raises(WeightsError, match=rf"small\.yaml lacks {name}; expected the fields model, bands, factor"):
        registry.card(path)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"factor": 2.5}, r"factor 2\.5, margin 10; expected whole numbers"),
        ({"factor": float("nan")}, "factor nan.*expected whole numbers"),
        ({"factor": 0}, "factor 0.*at least 1 and 0"),
        ({"margin": -1}, "margin -1; expected whole numbers"),
        ({"margin": True}, "margin True; expected whole"),
        ({"bands": "B02"}, "bands 'B02'; expected the list of band names"),
        ({"bands": []}, r"bands \[\]; expected the list"),
        ({"bands": ["B02", "blue", "B04", "B08"]}, r"bands .*names \['B02'\] more than once"),
        ({"units": "kelvin"}, "units 'kelvin'; expected one of dn10000, reflectance"),
        ({"units": ["dn10000"]}, r"units \['dn10000'\]; expected one of dn10000, reflectance"),
        ({"gsd_m": -10}, "gsd_m -10; expected the size of an input pixel in metres"),
        ({"model": "gone.onnx"}, r"names the network 'gone\.onnx', which is not at .*gone\.onnx\. Put it there"),
    ],
)
def test_values_that_make_no_sense(path, fields, told):
    change(path, **fields)
    with pytest.raises(WeightsError, match=told):
        registry.card(path)


@pytest.mark.parametrize("content", [b"model: [unclosed", b"\xff\xfe\xff"])
def test_card_that_is_no_yaml(path, content):
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"(?s)small\.yaml is not YAML.*Expected the fields"):
        registry.card(path)


def test_card_that_is_a_list(path):
    path.write_text("- 1")
    with pytest.raises(WeightsError, match="lacks model, bands, factor, margin"):
        registry.card(path)


def test_missing_card(tmp_path):
    with pytest.raises(ModelError, match=r"gone\.yaml' not found"):
        registry.card(tmp_path / "gone.yaml")


def test_factor_of_the_project_is_a_float_and_bands_are_aliases(path):
    change(path, factor=2.0, margin=9, bands=["B2", "B3", "B4", "B8"], units=None)
    card = registry.card(path)
    assert (card.factor, card.radius, card.bands, card.image.step) == (2, 5, BANDS, 1e-4)


@pytest.mark.parametrize("opset", [11, 13, 20])
def test_other_opsets(tmp_path, opset):
    path = write_convolution(tmp_path, opset=opset, factor=2)
    image = torch.arange(48.0).reshape(1, 4, 3, 4)
    out = registry.load(path)(image)
    assert torch.equal(out[:, :, ::2, ::2], 2 * image)
    found = check(path)
    assert (found.opset, found.enough, found.smallest, found.size) == (opset, True, 0, None)


def test_opset_that_the_runtime_does_not_know(tmp_path):
    path = write_convolution(tmp_path, opset=999)
    with pytest.raises(WeightsError, match=r"onnxruntime cannot open .*c\.onnx"):
        registry.load(path)


def test_fixed_input_size(tmp_path):
    path = write_convolution(tmp_path, size=(16, 24))
    network = registry.load(path)
    assert network.size == (16, 24)
    with pytest.raises(WeightsError, match="images of 16 x 24 pixels alone; expected free height and width"):
        network.check_any_size()
    found = check(path)
    assert (found.size, found.enough, found.smallest) == ((16, 24), False, None)
    registry.load(write_convolution(tmp_path)).check_any_size()


def test_wrong_band_count(path):
    change(path, bands=["B02", "B03"])
    with pytest.raises(WeightsError, match=r"small\.onnx takes 4 bands; its card names 2\. Correct the card"):
        registry.load(path)


def test_wrong_factor(path):
    change(path, factor=3)
    with pytest.raises(WeightsError, match=r"made .*10, 12.* of \(5, 6\) pixels; its card says factor 3, \(15, 18\)"):
        registry.load(path)(torch.zeros(1, 4, 5, 6))


@pytest.mark.parametrize("outputs", [3, 5])
def test_network_of_other_output_than_input_bands(tmp_path, outputs):
    path = write_convolution(tmp_path, outputs=outputs)
    with pytest.raises(WeightsError, match=rf"made {outputs} bands of 4; expected as many"):
        registry.load(path)(torch.zeros(1, 4, 5, 6))


@pytest.mark.parametrize("size", [(16, None), (None, 24)])
def test_one_fixed_side_is_a_fixed_size(tmp_path, size):
    path = write_convolution(tmp_path, size=size)
    with pytest.raises(WeightsError, match=r"16 x any|any x 24"):
        registry.load(path).check_any_size()


def test_network_of_other_numbers_than_single_precision(tmp_path):
    path = write_convolution(tmp_path, dtype=np.float16)
    with pytest.raises(WeightsError, match=r"takes tensor\(float16\) .*expected one input of float32"):
        registry.load(path)


def test_network_of_several_outputs(tmp_path):
    path = write_convolution(tmp_path)
    model = onnx.load(tmp_path / "c.onnx")
    model.graph.output.append(onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "c.onnx")
    with pytest.raises(WeightsError, match=r"gives \['output', 'a'\]; expected one output"):
        registry.load(path)


def test_weights_in_a_further_file_that_is_missing(tmp_path):
    path = write_convolution(tmp_path)
    model = onnx.load(tmp_path / "c.onnx")
    onnx.save(model, tmp_path / "c.onnx", save_as_external_data=True, location="c.data", size_threshold=0)
    assert torch.equal(registry.load(path)(torch.ones(1, 4, 5, 6)), 2 * torch.ones(1, 4, 5, 6))
    registry._load.cache_clear()
    (tmp_path / "c.data").unlink()
    with pytest.raises(WeightsError, match=r"onnxruntime cannot open .*c\.onnx"):
        registry.load(path)


def test_weights_in_further_files_are_part_of_the_hash(tmp_path):
    """Of nodes and of graphs within nodes, too; the hash of a network of one file is that of the file."""
    path, image = write_convolution(tmp_path), torch.ones(1, 4, 5, 6)
    alone = registry.spec(path).sha256
    assert alone == hashlib.sha256((tmp_path / "c.onnx").read_bytes()).hexdigest()
    model = onnx.load(tmp_path / "c.onnx")
    onnx.save(model, tmp_path / "c.onnx", save_as_external_data=True, location="c.data", size_threshold=0)
    before = registry.spec(path)
    assert before.sha256 not in (alone, hashlib.sha256((tmp_path / "c.onnx").read_bytes()).hexdigest())
    assert torch.equal(registry.load(before)(image), 2 * image)
    numbers = np.fromfile(tmp_path / "c.data", np.float32)
    (1.5 * numbers).tofile(tmp_path / "c.data")
    assert registry.spec(path).sha256 != before.sha256
    assert torch.equal(registry.load(path)(image), 3 * image)
    registry._load.cache_clear()
    with pytest.raises(WeightsError, match=rf"with the files that it names; expected {before.sha256}"):
        registry.load(before)


def test_weights_of_a_graph_within_a_node_may_lie_in_a_further_file(tmp_path):
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="inner.data")
    helper = onnx.helper
    inner = helper.make_graph([], "inner", [], [helper.make_tensor_value_info("w", 1, [1])], [tensor])
    node = helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=inner)
    outer = helper.make_graph([node], "outer", [], [helper.make_tensor_value_info("o", 1, [1])])
    (tmp_path / "a.onnx").write_bytes(helper.make_model(outer).SerializeToString())
    hashes = []
    for number in (1, 2):
        (tmp_path / "inner.data").write_bytes(bytes([number]))
        hashes.append(foreign._sha256(tmp_path / "a.onnx"))
    assert hashes[0] != hashes[1]


def test_corrected_card_counts_at_once(path):
    """The bytes of the network are the same; what a process has loaded is not."""
    image = torch.zeros(1, 4, 5, 6)
    change(path, factor=3)
    with pytest.raises(WeightsError, match="Correct the card"):
        registry.load(path)(image)
    change(path, factor=2)
    assert registry.load(path)(image).shape == (1, 4, 10, 12)


def test_flipped_byte_names_both_hashes(path):
    spec, file = registry.spec(path), path.with_suffix(".onnx")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"sha256 (?!{spec.sha256}).*; expected {spec.sha256}"):
        registry.load(spec)


def test_file_that_is_not_whole(path):
    file = path.with_suffix(".onnx")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"small\.onnx is not a whole ONNX file"):
        registry.card(path)


def test_spec_travels_and_opens_on_the_worker(exported):
    spec = registry.spec(exported)
    assert spec.name == str(exported.resolve())
    image = 1e3 * torch.rand(1, 4, 9, 8, generator=torch.Generator().manual_seed(0))
    assert registry.load(spec)(image).shape == (1, 4, 18, 16)


def test_margin_is_measured(path):
    found = check(path)
    assert (found.margin, found.enough, found.smallest, found.opset) == (5, True, 5, 17)
    change(path, margin=8)
    found = check(path)
    assert (found.margin, found.enough, found.smallest) == (4, False, 5)
    assert found.difference > 1e-4


@pytest.mark.slow
def test_margin_of_weights_and_of_a_continuous_model(tmp_path):
    found = check(write_fixed(tmp_path))
    assert (found.margin, found.enough, found.smallest, found.opset) == (5, True, 5, None)
    assert check(write_fixed(tmp_path, name="short", radius=4)).enough is False
    found = check("liif_s2")
    assert found.enough
    assert 4 < found.smallest <= found.margin == 20


def test_network_that_sees_the_whole_image_has_no_margin(tmp_path, monkeypatch):
    monkeypatch.setattr("xsr.models.check.WIDEST", 40)
    path = write_fixed(tmp_path)
    real = lively_carn()
    everything = lambda images: real(images) + images.mean(dim=(2, 3), keepdim=True)  # noqa: E731
    monkeypatch.setattr(registry, "load", lambda spec, device="cpu": everything)
    made = Ready(everything, foreign.RECORD, "cpu", Batches.on("cpu"))
    monkeypatch.setattr("xsr.models.predictor.ready", lambda spec, precision, device: made)
    found = check(path)
    assert (found.enough, found.smallest) == (False, None)


def test_base_of_a_ramp_is_the_ramp():
    ramp = torch.arange(12.0).expand(1, 2, 12, 12)
    out = Bicubic(3, 2)(ramp)[..., 9:-9, 9:-9]
    assert torch.allclose(out, ((torch.arange(36.0) + 0.5) / 3 - 0.5)[9:-9].expand_as(out), atol=1e-5)


def test_message_without_onnxruntime(path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(
        NotImplementedError, match=re.escape("needs onnxruntime; install it with: pip install 'xarray-sr[onnx]'")
    ):
        registry.load(path)
