import itertools

import pytest
import torch
from models.architectures.reach import (
    assert_radius_is_measured,
    assert_tiles_need_exactly_the_radius,
    count,
    image,
    lively,
)
from torch.nn import functional

from xsr.core.errors import ParameterError
from xsr.models.architectures.rrdb import RRDB, RRDBNet

TINY = {"bands": 3, "outputs": 2, "blocks": 2, "features": 4, "growth": 3}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, 2_280_662),
        ({"bands": 4, "blocks": 6}, 4_432_028),
        ({"bands": 4, "blocks": 5, "factor": 4}, 3_749_528),
        ({"bands": 4, "blocks": 6, "factor": 4}, 4_468_956),
    ],
    ids=str,
)
def test_parameter_counts_are_the_published_ones(config, expected):
    network = RRDBNet(**config)
    assert count(network) == expected
    frozen = [p for p in network.parameters() if not p.requires_grad]
    assert len(frozen) == 4 * config.get("blocks", 3)
    assert all(p.ndim == 0 and float(p) == pytest.approx(0.2) for p in frozen)


@pytest.mark.parametrize(("growth", "expected"), [(32, 719_424), (16, 373_632)])
@pytest.mark.parametrize("closing_activation", [True, False])
def test_weights_of_one_block(growth, expected, closing_activation):
    block = RRDB(64, growth, closing_activation=closing_activation)
    assert sum(p.numel() for p in block.parameters() if p.requires_grad) == expected
    assert count(block) == expected + 4


@pytest.mark.parametrize("factor", [2, 4])
def test_state_dict_has_the_published_names(factor):
    blocks = 2
    convs = ["encoder.blocks.0", f"encoder.blocks.{blocks + 1}", "decoder.blocks.conv.0", "decoder.blocks.conv.2"]
    convs += [f"decoder.blocks.upsampling_{i}.block.0" for i in range(factor // 2)]
    scales = []
    for i in range(1, blocks + 1):
        scales.append(f"encoder.blocks.{i}.scale")
        for k in range(3):
            scales.append(f"encoder.blocks.{i}.module.block_{k}.scale")
            convs += [f"encoder.blocks.{i}.module.block_{k}.module.module.{j}.conv" for j in range(5)]
    expected = {*scales, *(f"{conv}.{kind}" for conv, kind in itertools.product(convs, ("weight", "bias")))}
    assert set(RRDBNet(**TINY | {"factor": factor}).state_dict()) == expected


def reference_rrdb(state, name, x, *, fifth=True):
    out = x
    for k in range(3):
        dense = f"{name}.module.block_{k}"
        known = out
        for j in range(5):
            layer = f"{dense}.module.module.{j}.conv"
            h = functional.conv2d(known, state[f"{layer}.weight"], state[f"{layer}.bias"], padding=1)
            if j < 4 or fifth:
                h = torch.where(h > 0, h, 0.2 * h)
            known = torch.cat([known, h], dim=1)
        out = out + state[f"{dense}.scale"] * h
    return x + state[f"{name}.scale"] * out


def reference(state, x, blocks, factor):
    """The network straight from its formulas, on a dictionary of tensors."""

    def conv(name, h):
        return functional.conv2d(h, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    def act(h):
        return torch.where(h > 0, h, 0.2 * h)

    first = h = conv("encoder.blocks.0", x)
    for i in range(1, blocks + 1):
        h = reference_rrdb(state, f"encoder.blocks.{i}", h)
    h = first + conv(f"encoder.blocks.{blocks + 1}", h)
    for i in range({2: 1, 4: 2, 8: 3}[factor]):
        h = h.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        h = act(conv(f"decoder.blocks.upsampling_{i}.block.0", h))
    return conv("decoder.blocks.conv.2", act(conv("decoder.blocks.conv.0", h)))


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_forward_equals_the_formulas(factor):
    network = lively(RRDBNet(**TINY | {"factor": factor}))
    x = image(3, 6, 5, batch=2)
    with torch.inference_mode():
        found, wanted = network(x), reference(network.state_dict(), x, 2, factor)
    assert found.shape == wanted.shape == (2, 2, 6 * factor, 5 * factor)
    assert (found - wanted).abs().max() <= 1e-13 * wanted.abs().max()
    assert wanted.std() > 0.1


def test_the_fifth_activation_is_an_option_of_the_block():
    x = image(4, 5, 6)
    published, original = (lively(RRDB(4, 3, closing_activation=closing)) for closing in (True, False))
    state = {f"b.{key}": value for key, value in published.state_dict().items()}
    with torch.inference_mode():
        assert (published(x) - reference_rrdb(state, "b", x)).abs().max() <= 1e-12
        assert (original(x) - reference_rrdb(state, "b", x, fifth=False)).abs().max() <= 1e-12
        assert (published(x) - original(x)).abs().max() > 1e-2


@pytest.mark.parametrize("factor", [2, 4])
def test_residual_with_silent_convolutions_is_bicubic(factor):
    network = lively(RRDBNet(**TINY | {"outputs": 3, "factor": factor}, residual=True))
    torch.nn.init.zeros_(network.decoder.blocks.conv[2].weight)
    torch.nn.init.zeros_(network.decoder.blocks.conv[2].bias)
    x = image(3, 6, 5)
    wanted = functional.interpolate(x, scale_factor=factor, mode="bicubic", align_corners=False)
    assert (network(x) - wanted).abs().max() <= 1e-13


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_radius_of_the_published_depths(blocks):
    network = RRDBNet(bands=1, blocks=blocks, features=1, growth=1)
    assert network.radius == 15 * blocks + 4 == {1: 19, 2: 34, 3: 49}[blocks]
    assert_radius_is_measured(network, 1)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_radius_does_not_depend_on_the_factor(factor):
    network = RRDBNet(bands=1, blocks=1, features=1, growth=1, factor=factor, residual=True)
    assert network.radius == 19
    assert_radius_is_measured(network, 1)


@pytest.mark.parametrize("factor", [2, 4])
def test_tiles_need_exactly_the_radius(factor):
    network = lively(RRDBNet(bands=2, blocks=1, features=3, growth=2, factor=factor))
    assert_tiles_need_exactly_the_radius(network, 2)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"factor": 1}, "factor=1; expected 2, 4, 8 or another power of two"),
        ({"factor": 3}, "factor=3; expected 2, 4, 8 or another power of two"),
        ({"factor": 6}, "factor=6; .* CARN takes any integer"),
        ({"blocks": 0}, "blocks=0; expected at least 1"),
        ({"growth": 0}, "growth=0; expected at least 1"),
        ({"residual": True, "outputs": 4}, "residual=True with bands=10 and outputs=4"),
    ],
)
def test_bad_arguments_are_refused(config, message):
    with pytest.raises(ParameterError, match=message):
        RRDBNet(**config)
