import pytest
import torch
from helpers import ulps
from models.architectures.reach import (
    assert_radius_is_measured,
    assert_tiles_need_exactly_the_radius,
    count,
    image,
    lively,
)
from torch.nn import functional

from xsr.core.errors import ParameterError
from xsr.models.architectures.srcnn import SRCNN, bicubic


@pytest.mark.parametrize(
    ("up", "down"), [(1, 1), (2, 1), (3, 1), (4, 1), (7, 1), (3, 4), (5, 6), (1, 2), (1, 3), (1, 8)]
)
def test_bicubic_equals_torch(up, down):
    x = image(3, 2 * down, 3 * down, batch=2)
    size = (2 * up, 3 * up)
    wanted = functional.interpolate(x, size=size, mode="bicubic", align_corners=False)
    assert (bicubic(x, up, down) - wanted).abs().max() <= 1e-13


@pytest.mark.parametrize("up", [3, 5])
def test_bicubic_does_not_lose_precision_far_from_the_corner(up):
    x = image(1, 2, 3000).float()
    assert ulps(bicubic(x[..., 2900:], up)[..., 2 * up :], bicubic(x, up)[..., 2902 * up :]) <= 4


def test_bicubic_keeps_constants_and_at_least_single_precision():
    flat = torch.full((1, 1, 4, 5), 7.0, dtype=torch.float64)
    assert (bicubic(flat, 3) - 7).abs().max() <= 1e-13
    assert bicubic(flat, 3).dtype == torch.float64
    assert bicubic(flat.half(), 2).dtype == torch.float32


@pytest.mark.parametrize(("bands", "expected"), [(1, 8_032 + 97), (10, 81 * 640 + 64 + 2048 + 32 + 25 * 320 + 10)])
def test_parameter_counts(bands, expected):
    """The paper counts 8032 weights for one band; 97 are the biases."""
    assert count(SRCNN(bands=bands)) == expected


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_forward_equals_the_formulas(factor, residual):
    network = lively(SRCNN(bands=3, factor=factor, residual=residual))
    state = network.state_dict()
    x = image(3, 7, 6, batch=2)
    size = [factor * side for side in x.shape[-2:]]
    with torch.inference_mode():
        h = large = functional.interpolate(x, size=size, mode="bicubic", align_corners=False)
        for name, half in (("conv1", 4), ("conv2", 0), ("conv3", 2)):
            h = functional.pad(h, (half,) * 4, mode="replicate")
            h = functional.conv2d(h, state[f"{name}.weight"], state[f"{name}.bias"])
            h = h if name == "conv3" else h.clamp(min=0)
        wanted = large + h if residual else h
        found = network(x)
    assert found.shape == (2, 3, *size)
    assert (found - wanted).abs().max() <= 1e-12 * wanted.abs().max()


def test_outputs_may_differ_from_bands():
    assert SRCNN(bands=3, outputs=1, factor=3)(torch.zeros(1, 3, 4, 5)).shape == (1, 1, 12, 15)


def test_residual_with_silent_convolutions_is_bicubic():
    network = lively(SRCNN(bands=2, residual=True))
    torch.nn.init.zeros_(network.conv3.weight)
    torch.nn.init.zeros_(network.conv3.bias)
    x = image(2, 5, 6)
    assert torch.equal(network(x), bicubic(x, 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "radius"),
    [(1, 6), (2, 5), (3, 4), (4, 3), (8, 3), *(pytest.param(factor, 2, marks=pytest.mark.slow) for factor in (11, 12))],
)
def test_declared_radius_is_measured_for_every_phase(factor, radius):
    network = SRCNN(bands=1, factor=factor)
    assert network.radius == radius
    assert_radius_is_measured(network, 1)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_tiles_need_exactly_the_radius(factor):
    assert_tiles_need_exactly_the_radius(lively(SRCNN(bands=2, factor=factor)), 2)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"factor": 0}, "factor=0; expected at least 1"),
        ({"bands": 0}, "bands=0; expected at least 1"),
        ({"residual": True, "outputs": 4}, "residual=True with bands=10 and outputs=4; expected equal numbers"),
    ],
)
def test_bad_arguments_are_refused(config, message):
    with pytest.raises(ParameterError, match=message):
        SRCNN(**config)
