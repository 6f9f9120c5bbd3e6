"""The published ``carn_light.onnx`` against its twin in torch."""

import numpy as np
import pytest
import torch
from models.architectures.reach import count

from xsr.models.architectures.carn import CARN

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

MEAN = (0.0478, 0.0765, 0.0893, 0.2622, 0.1253, 0.2182, 0.2524, 0.2815, 0.2472, 0.1665)
STD = (0.0289, 0.0400, 0.0679, 0.0811, 0.0615, 0.0645, 0.0772, 0.0820, 0.1196, 0.1160)
"""Reflectance of B2 B3 B4 B8 B5 B6 B7 B8A B11 B12."""
NETWORK = "1."
"""Prefix of the network between the normalisation (0) and its inverse (2)."""


@pytest.fixture(scope="module")
def path(data_dir):
    return data_dir / "onnx_evoland_carn_light" / "carn_light.onnx"


@pytest.fixture(scope="module")
def initialisers(path):
    tensors = onnx.load(str(path)).graph.initializer
    return {tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in tensors}


@pytest.fixture(scope="module")
def twin(initialisers):
    """Our network with the weights of the file; their names are ours after the prefix."""
    network = CARN(
        levels=1,
        cascades=1,
        blocks=2,
        features=32,
        groups=2,
        shared=False,
        activation="relu",
        wiring="sum_then_mix",
    )
    state = {key.removeprefix(NETWORK): value for key, value in initialisers.items() if key.startswith(NETWORK)}
    network.load_state_dict(state)
    return network.eval()


def digital_numbers(size, batch):
    rng = np.random.default_rng(0)
    mean, std = (np.array(values)[:, None, None] for values in (MEAN, STD))
    reflectance = mean + std * rng.standard_normal((batch, len(MEAN), size, size))
    return (10_000 * reflectance.clip(min=0)).round().astype(np.float32)


def run(network, x):
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    with torch.inference_mode():
        standard = (torch.from_numpy(x) / 10_000 - mean) / std
        return ((network(standard) * std + mean) * 10_000).numpy()


@pytest.fixture(scope="module")
def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def test_file_holds_the_parameters_and_the_normalisation(initialisers, twin):
    assert count(twin) == 523_594
    assert initialisers["0.mean"].tolist() == pytest.approx(MEAN)
    assert initialisers["0.std"].tolist() == pytest.approx(STD)


@pytest.mark.parametrize("batch", [1, 2])
def test_twin_equals_the_file(twin, session, batch):
    x = digital_numbers(24, batch)
    (wanted,) = session.run(None, {"input": x})
    found = run(twin, x)
    assert found.shape == wanted.shape == (batch, 10, 48, 48)
    assert np.abs(found - wanted).max() <= 0.05
    assert wanted.std() > 100


def test_the_other_wiring_is_not_the_file(twin, session):
    other = CARN(levels=1, cascades=1, blocks=2, features=32, groups=2, shared=False, activation="relu")
    other.load_state_dict(twin.state_dict())
    x = digital_numbers(24, 1)
    (wanted,) = session.run(None, {"input": x})
    assert np.abs(run(other.eval(), x) - wanted).max() > 10


def test_the_file_needs_the_declared_radius(twin, session):
    x = digital_numbers(40, 1)
    (whole,) = session.run(None, {"input": x})
    near, far = 18, 22
    differences = []
    for margin in (twin.radius, twin.radius - 1):
        read = x[..., near - margin : far + margin, near - margin : far + margin]
        (tile,) = session.run(None, {"input": read})
        inner = tile[..., 2 * margin : -2 * margin, 2 * margin : -2 * margin]
        differences.append(np.abs(inner - whole[..., 2 * near : 2 * far, 2 * near : 2 * far]).max())
    assert twin.radius == 7
    assert differences[0] <= 0.05 < differences[1]
