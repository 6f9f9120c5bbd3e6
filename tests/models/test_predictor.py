"""What the predictor does when memory runs out: smaller batches first, then an error that the block engine knows."""

import numpy as np
import pytest
import torch
from models.helpers import write_fixed, write_model, write_temporal

from xsr.core.target_times import TargetTime
from xsr.models import catalogue, predictor, registry
from xsr.models.engine import Ready, ready
from xsr.models.memory import Batches

SAYINGS = {
    "PyTorch": lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9"),
    "CUDA": lambda: torch.cuda.OutOfMemoryError("CUDA out of memory."),
    "onnxruntime": lambda: RuntimeError("Failed to allocate memory for requested buffer of size 9"),
}


@pytest.fixture
def fixed(tmp_path):
    return registry.spec(write_fixed(tmp_path))


def images(count=5, side=8):
    return np.random.default_rng(0).standard_normal((count, 4, side, side)).astype(np.float32)


def plain(spec):
    """Network that the predictor evaluates."""
    return ready(spec, "float32", "cpu").module


def near(made, wanted):
    """Whether numbers are the same but for the order of sums, which may follow the size of the batch."""
    return np.abs(made - wanted).max() <= 1e-5 * wanted.std()


def short_of_memory(monkeypatch, module, method, most, error):
    """Let a method of a network fail for batches larger than ``most``; the batches that it saw."""
    seen = []
    plain = getattr(module, method)

    def limited(x, *args):
        seen.append(len(x))
        if len(x) > most:
            raise error()
        return plain(x, *args)

    monkeypatch.setattr(module, method, limited)
    return seen


@pytest.mark.parametrize("error", SAYINGS.values(), ids=SAYINGS)
def test_batches_are_halved_and_the_size_remembered(fixed, monkeypatch, error):
    wanted = predictor.predict_fixed(fixed, images(), "cpu")
    seen = short_of_memory(monkeypatch, plain(fixed), "forward", 2, error)
    assert near(predictor.predict_fixed(fixed, images(), "cpu"), wanted)
    assert seen == [5, 2, 2, 1]
    seen.clear()
    predictor.predict_fixed(fixed, images(), "cpu")
    assert seen == [2, 2, 1]
    seen.clear()
    predictor.predict_fixed(fixed, images(side=16), "cpu")  # four times the pixels
    assert seen == [1] * 5


def test_queries_follow_the_batches(tmp_path, monkeypatch):
    spec, axis = registry.spec(write_model(tmp_path)), np.arange(16) / 2 - 0.25
    ask = {"rows": axis, "cols": axis, "cell": (0.5, 0.5), "device": "cpu"}
    wanted = predictor.predict_continuous(spec, images(), **ask)
    seen = short_of_memory(monkeypatch, plain(spec), "encode", 3, SAYINGS["PyTorch"])
    assert near(predictor.predict_continuous(spec, images(), **ask), wanted)
    assert seen == [5, 2, 2, 1]


def test_an_image_too_large_is_a_memory_error(fixed, monkeypatch):
    short_of_memory(monkeypatch, plain(fixed), "forward", 0, SAYINGS["CUDA"])
    with pytest.raises(MemoryError, match="an image of 8 x 8 pixels does not fit into memory: CUDA out of memory"):
        predictor.predict_fixed(fixed, images(), "cpu")


def test_dates_too_large_are_a_memory_error(tmp_path, monkeypatch):
    spec = registry.spec(write_temporal(tmp_path))
    short_of_memory(monkeypatch, plain(spec), "encode", 0, SAYINGS["PyTorch"])
    target = TargetTime(day=0.0, season=0.0, picks=(0,), days=(0.0,), seasons=(0.0,))
    known, axis = np.ones((1, 8, 8), np.bool_), np.arange(8.0)
    with pytest.raises(MemoryError, match="an image of 8 x 8 pixels"):
        predictor.predict_temporal(spec, images(1), [target], [known], [images(1)[None]], axis, axis, (1.0, 1.0), "cpu")


def test_other_errors_are_not_about_memory(fixed, monkeypatch):
    short_of_memory(monkeypatch, plain(fixed), "forward", 0, lambda: RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        predictor.predict_fixed(fixed, images(), "cpu")


@pytest.fixture
def dctnet(monkeypatch):
    """A guided network with random weights, whatever the spec."""
    torch.manual_seed(0)
    network = registry.create("dctnet", guide_bands=3, features=4, layers=1, final_relu=False).eval()
    made = Ready(network, catalogue.get("dctnet"), "cpu", Batches.on("cpu"))
    monkeypatch.setattr(predictor, "ready", lambda spec, precision, device: made)
    return network


def predict_guided(count):
    rng = np.random.default_rng(0)
    image, guide = (rng.standard_normal((count, bands, 16, 16)).astype(np.float32) for bands in (1, 3))
    return predictor.predict_guided(registry.ModelSpec("any", ""), image, guide, "cpu")


def test_guided_batches_are_halved(dctnet, monkeypatch):
    wanted = predict_guided(5)
    seen = short_of_memory(monkeypatch, dctnet, "forward", 2, SAYINGS["PyTorch"])
    assert near(predict_guided(5), wanted)
    assert seen == [5, 2, 2, 1]


def test_a_guided_patch_too_large_is_a_memory_error(dctnet, monkeypatch):
    short_of_memory(monkeypatch, dctnet, "forward", 0, SAYINGS["CUDA"])
    with pytest.raises(MemoryError, match="an image of 16 x 16 pixels does not fit"):
        predict_guided(1)


def test_dates_are_encoded_once_and_kept_to_their_last_use(tmp_path, monkeypatch):
    network, seen = ready(registry.spec(write_temporal(tmp_path)), "float32", "cpu"), []
    plain_encode = network.module.encode
    monkeypatch.setattr(network.module, "encode", lambda x, margin: seen.append(len(x)) or plain_encode(x, margin))
    series = images()
    features = predictor.Features(network, series, [[0, 1], [1], [1, 3]])
    with torch.inference_mode():
        wanted = plain_encode(torch.from_numpy(series)).numpy()
        taken = [features.take(number) for number in range(3)]
    assert seen == [2, 1]  # dates 0 and 1, then 3; date 2 is used nowhere
    assert not features._kept
    for dates, made in zip([[0, 1], [1], [1, 3]], taken, strict=True):
        assert near(torch.stack(made).numpy(), wanted[dates])


def test_features_of_a_margin_are_left_out(tmp_path):
    network = ready(registry.spec(write_temporal(tmp_path)), "float32", "cpu")
    series, margin = images(2, side=24), network.module.encoder.whole.radius + 2
    with torch.inference_mode():
        wanted = network.module.encode(torch.from_numpy(series))[:, :, margin:-margin, margin:-margin]
        made = torch.stack(predictor.Features(network, series, [[0, 1]], margin).take(0))
    assert made.shape == wanted.shape
    assert near(made.numpy(), wanted.numpy())


@pytest.mark.parametrize(("low", "high", "wanted"), [(6.3, 9.6, 3), (4.0, 9.6, 2), (6.3, 11.0, 1), (0.2, 15.0, 0)])
def test_a_margin_leaves_what_positions_and_gaps_need(tmp_path, low, high, wanted):
    spec, axis = registry.spec(write_temporal(tmp_path)), np.array([6.5, 9.5])
    for rows, cols in ((np.array([low, high]), axis), (axis, np.array([low, high]))):
        made = predictor.temporal_margin(spec, (16, 16), rows, cols, 1, "cpu")
        # The pixel before and the two after a position, and one to fill from.
        assert made == wanted
