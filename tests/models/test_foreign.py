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
from xsr.models.export import Bicubic, export

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
    with pytest.raises(
        WeightsError,
        match=rf"small\.yaml is not the card of a network: it lacks {name}; expected the fields model, bands, factor",
    ):
        registry.card(path)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"factor": 2.5}, r"factor 2\.5; expected a whole number from 1 to 128"),
        ({"factor": float("nan")}, "factor nan; expected a whole number"),
        ({"factor": 0}, "factor 0; expected a whole number from 1"),
        ({"margin": -1}, "margin -1; expected a whole number from 0 to 4096"),
        ({"margin": True}, "margin True; expected a whole"),
        ({"bands": "B02"}, "bands 'B02'; expected a list of 1 to 1000 items, each a name"),
        ({"bands": []}, r"bands \[\]; expected a list"),
        ({"bands": ["B02", "blue", "B04", "B08"]}, "bands .*expected a band for each channel, none more than once"),
        ({"units": "kelvin"}, "units 'kelvin'; expected one of dn10000, reflectance"),
        ({"units": ["dn10000"]}, r"units \['dn10000'\]; expected one of dn10000, reflectance"),
        ({"gsd_m": -10}, r"gsd_m -10; expected a number from 1e-06"),
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
    with pytest.raises(WeightsError, match="it lacks model, bands, factor, margin"):
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
        registry.opened(registry.spec(path), "cpu").network(torch.zeros(1, 4, 5, 6))
    with pytest.raises(WeightsError, match="its card says factor 3"):  # it is tried when it is loaded
        registry.load(path)


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
    with pytest.raises(
        WeightsError, match=r"gives tensor\(float\) 'output', tensor\(float\) 'a'; expected one output of float32"
    ):
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
        hashes.append(foreign._sha256(foreign.read_graph(tmp_path / "a.onnx"), tmp_path / "a.onnx"))
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x: !!python/object/apply:os.system ['true']", "tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("x: !evil 1", "tag '!evil'; expected no tags"),
        ("x: &a [1]", "anchor 'a'; expected no anchors"),
        ("x: &a [*a]", "anchor 'a'"),
        ("x: " + "[" * 3000 + "]" * 3000, "more than 8 collections in one another"),
        ("x: 2024-99-99", "month must be in 1..12"),
        ("factor: " + "9" * 5000, "Exceeds the limit"),
        ("\x00", "special characters are not allowed"),
    ],
)
def test_yaml_that_no_card_needs_is_refused(path, text, expected):
    path.write_text(f"{path.read_text()}{text}\n")
    with pytest.raises(WeightsError, match=rf"(?s)small\.yaml is not YAML.*{re.escape(expected)}") as caught:
        registry.card(path)
    assert len(str(caught.value)) < 1000


def test_lines_that_unfold_to_any_size_are_refused_at_once(path):
    lines = [f"{b}: &{b} [{','.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    path.write_text(path.read_text().replace("bands:", "b:") + "\n".join(["a: &a [x]", *lines, "bands: *i", ""]))
    with pytest.raises(WeightsError, match="anchor 'a'; expected no anchors and aliases"):
        registry.card(path)


def test_size_of_a_card_is_bounded(path):
    path.write_text(path.read_text() + "#" * 70_000)
    with pytest.raises(WeightsError, match=r"small\.yaml has 70\d\d\d bytes; expected .* at most 65536"):
        registry.card(path)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"factor": float("inf")}, "factor inf; expected a whole number from 1 to 128"),
        ({"factor": 10**400}, "factor a number of 1329 bits; expected a whole number"),
        ({"factor": 10**9}, "factor 1000000000; expected"),
        ({"margin": 10**12}, "margin 1000000000000; expected a whole number from 0 to 4096"),
        ({"gsd_m": 10**400}, "gsd_m a number of 1329 bits; expected a number"),
        ({"gsd_m": "10"}, "gsd_m '10'; expected a number"),
        ({"bands": [["B02"], {"a": 1}, None, 1]}, "bands .*each a name of 1 to 128 printable characters"),
        ({"bands": ["B02\x1b[31m", "B03", "B04", "B08"]}, "bands .*each a name"),
        ({"model": ["a", "b"]}, r"model \['a', 'b'\]; expected text"),
        ({"licence": {"a": 1}}, r"licence \{'a': 1\}; expected text"),
    ],
)
def test_values_of_any_size_and_kind_are_named(path, fields, expected):
    change(path, **fields)
    with pytest.raises(WeightsError, match=rf"small\.yaml is not the card of a network: {expected}"):
        registry.card(path)


@pytest.fixture
def outside(tmp_path):
    """Folder beside the one of a card."""
    folder = tmp_path.with_name(f"{tmp_path.name}-outside")
    folder.mkdir()
    return folder


def test_a_link_to_itself_is_no_network(path):
    (path.parent / "loop.onnx").symlink_to("loop.onnx")
    change(path, model="loop.onnx")
    with pytest.raises(WeightsError, match=r"names the network 'loop\.onnx', which is not at"):
        registry.card(path)


@pytest.mark.parametrize("way", ["absolute", "up", "link", "null", "through"])
def test_a_card_names_no_network_outside_its_folder(path, outside, way):
    network = shutil.copy(path.with_suffix(".onnx"), outside / "n.onnx")
    (path.parent / "link.onnx").symlink_to(network)
    names = {
        "absolute": str(network),
        "up": f"../{outside.name}/n.onnx",
        "link": "link.onnx",
        "null": "n\0.onnx",
        "through": f"../{path.parent.name}/small.onnx",
    }
    change(path, model=names[way])
    with pytest.raises(WeightsError, match=r"the card .*small\.yaml names the file .*; expected one in .*Put it there"):
        registry.card(path)


def external(path, location):
    """Keep the weights of a network in a file of their own."""
    model = onnx.load(path.with_suffix(".onnx"))
    onnx.save(model, path.with_suffix(".onnx"), save_as_external_data=True, location="c.data", size_threshold=0)
    model = onnx.load(path.with_suffix(".onnx"), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = location if entry.key == "location" else entry.value
    path.with_suffix(".onnx").write_bytes(model.SerializeToString())


@pytest.mark.parametrize("way", ["absolute", "up", "link", "here"])
def test_a_network_reads_no_numbers_outside_its_folder(tmp_path, outside, way):
    path = write_convolution(tmp_path)
    names = {"absolute": str(outside / "d"), "up": f"../{outside.name}/d", "link": "link.data", "here": "./c.data"}
    external(path, names[way])
    shutil.copy(tmp_path / "c.data", outside / "d")
    (tmp_path / "link.data").symlink_to(outside / "d")
    if way == "here":
        assert torch.equal(registry.load(path)(torch.ones(1, 4, 5, 6)), 2 * torch.ones(1, 4, 5, 6))
        return
    for open_it in (registry.card, registry.load):
        with pytest.raises(WeightsError, match=r"tensor 'w' of .*c\.onnx names the file .*; expected one in "):
            open_it(path)


def test_tensors_of_inner_graphs_and_functions_are_found():
    tensor = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "w")
    inner = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["a"], value=tensor)], "g", [], [], [tensor])
    node = onnx.helper.make_node("If", ["c"], ["b"], then_branch=inner, else_branch=inner)
    graph = onnx.helper.make_graph([node], "g", [], [], [tensor])
    function = onnx.helper.make_function("d", "f", [], ["b"], [node], [])
    model = onnx.helper.make_model(graph, functions=[function])
    assert len(list(foreign._tensors(model))) == 1 + 4 + 4


def test_a_margin_narrower_than_the_network_is_refused_with_the_one_measured(path):
    change(path, margin=8)
    with pytest.raises(WeightsError, match=r"margin of 4 input pixels .*at least 5 input pixels \(10 output pixels\)"):
        registry.load(path)
    change(path, margin=20)
    registry.load(path)


def test_numbers_that_are_none_are_refused(tmp_path):
    path = write_convolution(tmp_path)
    model = onnx.load(tmp_path / "c.onnx")
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights[0] = np.nan
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(model, tmp_path / "c.onnx")
    with pytest.raises(WeightsError, match="makes NaN or infinities of a finite image"):
        registry.load(path)


def test_flipped_bits_of_a_network_give_one_of_our_errors(tmp_path):
    path, rng = write_convolution(tmp_path, factor=2), np.random.default_rng(0)
    file, refused = tmp_path / "c.onnx", 0
    whole = file.read_bytes()
    for _ in range(60):
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        file.write_bytes(content)
        try:
            registry.load(path)
        except ModelError:
            refused += 1
    assert refused > 10


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
