import numpy as np
import pytest
import torch
from helpers import make_cube

import xsr
from xsr.kernels.fidelity import axis_operators, gaussian_sensor
from xsr.models.losses import Fidelity

MTF = {"B02": 0.3, "B03": 0.2}


def loss_of(height, width, scale, **options):
    sensors = [gaussian_sensor(mtf, (scale, scale)) for mtf in MTF.values()]
    rows = [axis_operators(height, sensor, 0) for sensor in sensors]
    cols = [axis_operators(width, sensor, 1) for sensor in sensors]
    return Fidelity(rows, cols, **options)


def arrays(height, width, scale, holes=0.0):
    rng = np.random.default_rng(3)
    image, reference = rng.random((2, 1, 2, height, width), dtype=np.float32)
    low = rng.random((1, 2, int(height / scale + 1e-6), int(width / scale + 1e-6)), dtype=np.float32)
    return tuple(np.where(rng.random(x.shape) < holes, np.float32(np.nan), x) for x in (image, reference, low))


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2.0, 2.5, 3.0, 3.4, 4.0])
@pytest.mark.parametrize("holes", [0.0, 0.002])
def test_losses_equal_the_metrics(scale, holes):
    image, reference, low = arrays(68, 85, scale, holes)
    scores = xsr.evaluate(make_cube(image), make_cube(reference), low=make_cube(low, gsd=10 * scale), mtf=MTF)
    loss = loss_of(68, 85, scale)
    tensors = {name: torch.from_numpy(x) for name, x in (("image", image), ("reference", reference), ("low", low))}
    ours = float(loss.low_fidelity(tensors["image"], tensors["low"]))
    assert ours == pytest.approx(float(scores["low_fidelity"].mean()), abs=1e-6)
    ours = float(loss.high_fidelity(tensors["image"], tensors["reference"]))
    assert ours == pytest.approx(float(scores["high_fidelity"].mean()), abs=1e-6)


@pytest.mark.parametrize("holes", [0.0, 0.002])
def test_gradients_flow_and_stay_finite(holes):
    image, reference, low = (torch.from_numpy(x) for x in arrays(40, 40, 2.0, holes))
    for name, other in (("low_fidelity", low), ("high_fidelity", reference)):
        leaf = image.clone().requires_grad_()
        getattr(loss_of(40, 40, 2.0), name)(leaf, other).backward()
        assert torch.isfinite(leaf.grad).all()
        assert leaf.grad.abs().max() > 0


@pytest.mark.slow
def test_descending_the_loss_restores_consistency():
    image, _, low = (torch.from_numpy(x) for x in arrays(40, 40, 2.0))
    loss = loss_of(40, 40, 2.0, penalty="l2")
    leaf = image.clone().requires_grad_()
    optimiser = torch.optim.Adam([leaf], lr=0.02)
    first = float(loss.low_fidelity(image, low))
    for _ in range(60):
        optimiser.zero_grad()
        value = loss.low_fidelity(leaf, low)
        value.backward()
        optimiser.step()
    assert float(value.detach()) < first / 10


def test_penalties():
    image, reference, _ = (torch.from_numpy(x) for x in arrays(40, 40, 2.0))
    values = {p: float(loss_of(40, 40, 2.0, penalty=p).high_fidelity(image, reference)) for p in ("l1", "l2")}
    smooth = float(loss_of(40, 40, 2.0, penalty="smooth_l1").high_fidelity(image, reference))
    assert smooth == pytest.approx(values["l2"] / 2, rel=1e-3)  # errors below 1
    assert values["l2"] < values["l1"]


def test_nothing_to_compare_costs_nothing():
    image, _, low = (torch.from_numpy(x) for x in arrays(20, 20, 2.0))
    assert float(loss_of(20, 20, 2.0).low_fidelity(image, low * torch.nan)) == 0


def test_weights_are_not_saved_with_a_model():
    assert not loss_of(20, 20, 2.0).state_dict()
