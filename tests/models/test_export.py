import json
import warnings

import numpy as np
import pytest
import torch
import yaml
from models.helpers import MEAN, STD, lively_carn, make_cube, write_fixed, write_model
from models.test_card import check_item
from safetensors.torch import save_file

import xsr
from xsr.core.errors import ModelError, ParameterError
from xsr.models import published, registry
from xsr.models.export import export

pytestmark = pytest.mark.slow

pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

SIZES = [(1, 12, 13), (2, 4, 5), (3, 21, 17)]
"""Images; the first is the one that is traced."""


def run(path, images):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_inputs() + session.get_outputs()] == ["input", "output"]
    return torch.from_numpy(session.run(None, {"input": images.numpy()})[0])


def noise(n, bands, height, width):
    return torch.randn(n, bands, height, width, generator=torch.Generator().manual_seed(height))


def in_units(network, mean, std, unit):
    """The network with normalisation by hand."""
    mean, std = (torch.tensor(values)[:, None, None] / unit for values in (mean, std))
    return lambda images: network((images - mean) / std) * std + mean


def assert_parity(path, network, mean, std, unit, sizes=SIZES):
    wanted = in_units(network, mean, std, unit)
    spread = torch.tensor(std)[:, None, None] / unit
    for n, height, width in sizes:
        images = torch.tensor(mean)[:, None, None] / unit + spread * noise(n, len(mean), height, width)
        with torch.inference_mode():
            gap = (run(path, images) - wanted(images)).abs() / spread
        assert gap.max() <= 1e-4


@pytest.mark.parametrize(("units", "unit"), [("dn10000", 1e-4), ("reflectance", 1.0)])
@pytest.mark.parametrize(
    "config", [{}, {"factor": 3}, {"residual": True}, {"shared": False, "blocks": 2}, {"guides": 3}], ids=str
)
def test_carn(tmp_path, units, unit, config):
    path = export(write_fixed(tmp_path, config=config), tmp_path / "out", units=units)
    assert_parity(path, lively_carn(**config), MEAN, STD, unit)


def published_weights(tmp_path, name, **config):
    torch.manual_seed(0)
    network = registry.create(name, **config).eval()
    save_file({k: v.clone().contiguous() for k, v in network.state_dict().items()}, tmp_path / "w.safetensors")
    return network, export(name, tmp_path / "out", weights=tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["carn_3x3x64g4sw", "esrgan_3x64x32"])
def test_networks_of_full_size(tmp_path, name):
    network, path = published_weights(tmp_path, name)
    assert_parity(path, network, published.SENTINEL2.mean, published.SENTINEL2.std, 1e-4, sizes=SIZES[1:])
    card = registry.card(path.with_suffix(".yaml"))
    assert card.radius == registry.describe(name).radius


def test_dense_blocks_of_factor_four(tmp_path):
    network, path = published_weights(tmp_path, "esrgan_1x8x4", bands=4, factor=4)
    assert_parity(path, network, published.SENTINEL2.mean[:4], published.SENTINEL2.std[:4], 1e-4)


def test_encoder_of_a_continuous_network(tmp_path):
    model = write_model(tmp_path)
    path = export(model, tmp_path / "out")
    assert path.name == "tiny_encoder.onnx"
    assert not path.with_suffix(".yaml").exists()
    network = registry.load(model)
    for n, height, width in SIZES:
        images = noise(n, 4, height, width)
        assert (run(path, images) - network.encode(images)).abs().max() <= 1e-4
    item = json.loads(path.with_suffix(".json").read_text())
    assert [scale["mean"] for scale in item["properties"]["mlm:input"][0]["value_scaling"]] == list(MEAN)


def test_files_beside_the_network(tmp_path):
    path = export(write_fixed(tmp_path, licence="CC0-1.0"), tmp_path / "deep" / "out")
    assert yaml.safe_load(path.with_suffix(".yaml").read_text()) == {
        "model": "small.onnx",
        "bands": ["B02", "B03", "B04", "B08"],
        "margin": 10,
        "factor": 2,
        "units": "dn10000",
        "gsd_m": 10.0,
        "licence": "CC0-1.0",
    }
    item = json.loads(path.with_suffix(".json").read_text())
    check_item(item, ".onnx", "ONNX", "onnx")
    assert item["properties"]["mlm:hyperparameters"]["unit"] == 1e-4
    assert item["assets"]["weights"]["file:checksum"] == "1220" + registry.card(path.with_suffix(".yaml")).sha256


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("units", ["dn10000", "reflectance"])
def test_exported_network_gives_what_the_weights_give(tmp_path, residual, units):
    model = write_fixed(tmp_path, residual=residual)
    path = export(model, tmp_path / "out", units=units).with_suffix(".yaml")
    cube = make_cube(19, 16, dates=2)
    fine, other = xsr.sisr(cube, model=model), xsr.sisr(cube, model=path, chunks=15)
    assert float(np.abs(fine - other).max()) <= 1e-6


def test_exported_base_is_the_bicubic_one(tmp_path):
    path = export(write_fixed(tmp_path, residual=True, zero=True), tmp_path / "out", units="reflectance")
    cube = make_cube(15, 14)
    out = run(path, torch.from_numpy(cube.values))
    wanted = xsr.interpolate(cube, scale=2).values
    assert np.abs(out.numpy() - wanted)[..., 6:-6, 6:-6].max() <= 1e-6
    assert np.abs(wanted - cube.values.repeat(2, 2).repeat(2, 3)).max() > 1e-3


@pytest.mark.parametrize(("format", "suffix"), [("torchscript", ".pt"), ("torch.export", ".pt2")])
@pytest.mark.parametrize("residual", [False, True])
def test_formats_of_torch(tmp_path, format, suffix, residual):
    path = export(write_fixed(tmp_path, residual=residual), tmp_path / "out", format=format, units="reflectance")
    onnx = export(write_fixed(tmp_path, residual=residual), tmp_path / "onnx", units="reflectance")
    assert path.suffix == suffix
    assert not path.with_suffix(".yaml").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer releases prefer torch.export
        network = torch.jit.load(str(path)) if suffix == ".pt" else torch.export.load(str(path)).module()
        for n, height, width in SIZES:
            images = 0.1 + 0.03 * noise(n, 4, height, width)
            assert (network(images) - run(onnx, images)).abs().max() <= 1e-5
    framework, artifact = "PyTorch", f"torch.{'jit' if suffix == '.pt' else 'export'}.save"
    check_item(json.loads(path.with_suffix(".json").read_text()), suffix, framework, artifact)


def test_folder_that_is_a_file(tmp_path):
    path = write_fixed(tmp_path)
    with pytest.raises(ParameterError, match=r"small\.safetensors is no folder"):
        export(path, path)


def test_nothing_is_replaced(tmp_path):
    model = write_fixed(tmp_path)
    before = model.with_suffix(".json").read_bytes()
    with pytest.raises(ParameterError, match=r"small\.json exists; expected a free name\. Choose another folder"):
        export(model, tmp_path)
    assert model.with_suffix(".json").read_bytes() == before
    assert not (tmp_path / "small.onnx").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"format": "coreml"}, r"format='coreml'; expected one of onnx, torchscript, torch\.export"),
        ({"units": "kelvin"}, "units='kelvin'; expected one of dn10000, reflectance"),
    ],
)
def test_options_that_do_not_exist(tmp_path, options, told):
    with pytest.raises(ParameterError, match=told):
        export(write_fixed(tmp_path), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_models_that_cannot_be_exported(tmp_path):
    with pytest.raises(ModelError, match="'liif' is an architecture and has no weights"):
        export("liif", tmp_path)
    path = export(write_fixed(tmp_path), tmp_path / "out").with_suffix(".yaml")
    with pytest.raises(ModelError, match="'small' is an ONNX file already"):
        export(path, tmp_path / "again")
