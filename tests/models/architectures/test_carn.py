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
from xsr.models.architectures.carn import CARN

LIGHT = {
    "levels": 1,
    "cascades": 1,
    "blocks": 2,
    "features": 32,
    "groups": 2,
    "shared": False,
    "activation": "relu",
    "wiring": "sum_then_mix",
}
TINY = {"bands": 3, "outputs": 2, "cascades": 2, "blocks": 2, "features": 2, "groups": 2}
SMALLEST = {"bands": 1, "cascades": 1, "blocks": 1, "features": 1, "groups": 1}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"cascades": 1}, 1_243_530),
        ({"cascades": 2}, 1_867_914),
        ({"cascades": 3}, 2_492_298),
        ({"cascades": 4}, 3_116_682),
        ({"cascades": 3, "shared": False}, 4_659_594),
        ({"cascades": 3, "groups": 1}, 5_146_506),
        (LIGHT, 523_594),
    ],
    ids=["1x3x64g4sw", "2x3x64g4sw", "3x3x64g4sw", "4x3x64g4sw", "3x3x64g4", "3x3x64g1sw", "light"],
)
def test_parameter_counts_are_the_published_ones(config, expected):
    network = CARN(**config)
    assert count(network) == expected
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_parameter_count_follows_the_formula(factor):
    bands, outputs, features, groups, cascades, blocks = 4, 3, 2, 4, 2, 3
    n = features * {2: 2, 3: 4, 4: 4}[factor] ** 2
    block = 2 * (n + 9 * n**2 // groups) + n * (n + 1)
    mix = n * (n + 1)
    trunk = cascades * (block + blocks * mix + mix)
    expected = 9 * bands * n + n + trunk + 9 * n**2 + n + 9 * features * outputs + outputs
    network = CARN(
        bands=bands,
        outputs=outputs,
        factor=factor,
        cascades=cascades,
        blocks=blocks,
        features=features,
        groups=groups,
    )
    assert count(network) == expected


def test_state_dict_has_the_published_names_and_repeats_shared_tensors():
    state = CARN(features=1).state_dict()
    modules = ["input_conv", "output_conv1", "output_conv2"]
    for i in range(3):
        modules.append(f"residual_1d_conv.{i}")
        for j in range(3):
            block = f"cascading_blocks.{i}.residual_blocks.{j}"
            modules += [f"{block}.net.conv_1", f"{block}.net.conv_2", f"{block}.single_conv"]
            modules.append(f"cascading_blocks.{i}.residual_1d_conv.{j}")
    assert set(state) == {f"{module}.{kind}" for module in modules for kind in ("weight", "bias")}
    assert len(state) == 84
    for kind in ("net.conv_1.weight", "net.conv_2.bias", "single_conv.weight"):
        first, second = (state[f"cascading_blocks.1.residual_blocks.{j}.{kind}"] for j in (0, 2))
        assert first.data_ptr() == second.data_ptr()


@pytest.mark.slow
def test_a_state_dict_with_repeated_tensors_loads():
    source, target = (lively(CARN(**TINY), seed) for seed in (0, 5))
    target.load_state_dict({key: value.clone() for key, value in source.state_dict().items()})
    x = image(3, 5, 6)
    assert torch.equal(source(x), target(x))
    assert count(target) == count(source)


def test_one_level_has_the_names_of_the_light_file():
    state = CARN(**LIGHT).state_dict()
    modules = ["input_conv", "output_conv1", "output_conv2"]
    for j in range(2):
        block = f"residual_blocks.{j}"
        modules += [f"{block}.net.conv_1", f"{block}.net.conv_2", f"{block}.single_conv", f"residual_1d_conv.{j}"]
    assert set(state) == {f"{module}.{kind}" for module in modules for kind in ("weight", "bias")}
    assert tuple(state["residual_blocks.0.net.conv_1.weight"].shape) == (128, 64, 3, 3)


def reference_conv(state, name, x, groups=1):
    weight = state[f"{name}.weight"]
    if weight.shape[-1] == 3:
        x = functional.pad(x, (1, 1, 1, 1), mode="reflect")
    return functional.conv2d(x, weight, state[f"{name}.bias"], groups=groups)


def reference_block(state, name, x, groups, act):
    h = act(reference_conv(state, f"{name}.net.conv_1", x, groups))
    h = act(reference_conv(state, f"{name}.net.conv_2", h, groups))
    return act(x + reference_conv(state, f"{name}.single_conv", h))


def reference_cascade(state, name, x, length, wiring, member):
    outputs = [x]
    current = x
    for j in range(length):
        y = member(j, current)
        mix = f"{name}residual_1d_conv.{j}"
        if wiring == "mix_then_sum":
            current = reference_conv(state, mix, y) + sum(outputs)
            outputs.append(y)
        else:
            outputs.append(y)
            current = reference_conv(state, mix, sum(outputs))
    return current


def reference(state, x, config):
    """The network straight from its formulas, on a dictionary of tensors."""
    groups, wiring, factor = config["groups"], config.get("wiring", "mix_then_sum"), config.get("factor", 2)
    slope = 0.2 if config.get("activation", "leaky_relu") == "leaky_relu" else 0.0
    size = [factor * side for side in x.shape[-2:]]

    def act(h):
        return torch.where(h > 0, h, slope * h)

    def blocks_of(name):
        return lambda j, h: reference_block(state, f"{name}residual_blocks.{j}", h, groups, act)

    def cascade_of(i, h):
        name = f"cascading_blocks.{i}."
        return reference_cascade(state, name, h, config["blocks"], wiring, blocks_of(name))

    h = reference_conv(state, "input_conv", x)
    if config.get("levels", 2) == 2:
        h = reference_cascade(state, "", h, config["cascades"], wiring, cascade_of)
    else:
        h = reference_cascade(state, "", h, config["blocks"], wiring, blocks_of(""))
    h = functional.pixel_shuffle(reference_conv(state, "output_conv1", h), {1: 2, 2: 2, 3: 4, 4: 4}[factor])
    h = reference_conv(state, "output_conv2", h)
    if factor % 2:
        h = functional.interpolate(h, size=size, mode="bicubic", align_corners=False)
    if config.get("residual"):
        h = h + functional.interpolate(x, size=size, mode="bicubic", align_corners=False)
    return h


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"wiring": "sum_then_mix"},
        {"activation": "relu"},
        {"shared": False},
        {"factor": 1},
        {"factor": 3},
        {"factor": 4, "residual": True, "outputs": 3},
        {"factor": 3, "residual": True, "outputs": 3},
        {"levels": 1, "cascades": 1, "shared": False, "wiring": "sum_then_mix"},
        {"levels": 1, "cascades": 1, "blocks": 3},
    ],
    ids=str,
)
def test_forward_equals_the_formulas(change):
    config = TINY | change
    network = lively(CARN(**config))
    x = image(3, 7, 5, batch=2)
    with torch.inference_mode():
        found, wanted = network(x), reference(network.state_dict(), x, config)
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= 1e-13 * wanted.abs().max()
    assert wanted.std() > 0.1


def test_wirings_and_activations_differ_with_the_same_weights():
    x = image(3, 6, 6)
    default = lively(CARN(**TINY))
    for change in ({"wiring": "sum_then_mix"}, {"activation": "relu"}):
        other = CARN(**TINY | change).double()
        other.load_state_dict(default.state_dict())
        assert (other(x) - default(x)).abs().max() > 1e-2


def test_forward_leaves_its_input_alone():
    x = image(3, 6, 6)
    before = x.clone()
    CARN(**TINY, residual=False).double()(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
def test_shape_of_the_output(factor):
    network = CARN(**TINY | {"factor": factor, "cascades": 1})
    assert network.factor == factor
    assert network(torch.zeros(2, 3, 5, 4)).shape == (2, 2, 5 * factor, 4 * factor)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_residual_with_silent_convolutions_is_bicubic(factor):
    network = lively(CARN(**TINY | {"outputs": 3, "factor": factor}, residual=True))
    torch.nn.init.zeros_(network.output_conv2.weight)
    torch.nn.init.zeros_(network.output_conv2.bias)
    x = image(3, 6, 5)
    wanted = functional.interpolate(x, scale_factor=factor, mode="bicubic", align_corners=False)
    assert (network(x) - wanted).abs().max() <= 1e-13
    assert network.float()(x.float()).dtype == torch.float32


def test_residual_is_added_in_single_precision():
    network = CARN(**TINY | {"outputs": 3}, residual=True)
    torch.nn.init.zeros_(network.output_conv2.weight)
    torch.nn.init.zeros_(network.output_conv2.bias)
    x = image(3, 6, 5).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(x)
    wanted = functional.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)
    assert found.dtype == torch.float32
    assert (found - wanted).abs().max() <= 1e-5


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
def test_declared_radius_is_measured_for_every_phase(factor):
    network = CARN(**SMALLEST | {"blocks": 2, "factor": factor}, residual=True)
    assert network.radius == 2 * 1 * 2 + 3
    assert_radius_is_measured(network, 1)


@pytest.mark.parametrize(("cascades", "radius"), [(1, 9), (2, 15), (3, 21), (4, 27)])
def test_radius_of_the_published_depths(cascades, radius):
    network = CARN(**SMALLEST | {"cascades": cascades, "blocks": 3})
    assert network.radius == radius
    assert_radius_is_measured(network, 1)


def test_radius_of_the_light_network():
    network = CARN(**LIGHT | {"features": 1}, bands=1)
    assert network.radius == 7
    assert_radius_is_measured(network, 1)


@pytest.mark.parametrize(
    "change",
    [{}, {"factor": 3}, {"factor": 4}, {"factor": 3, "residual": True}, {"wiring": "sum_then_mix", "levels": 1}],
    ids=str,
)
def test_tiles_need_exactly_the_radius(change):
    network = lively(CARN(**{"bands": 2, "cascades": 1, "blocks": 2, "features": 2, "groups": 2} | change))
    assert_tiles_need_exactly_the_radius(network, 2)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"bands": 0}, "bands=0; expected at least 1"),
        ({"factor": 0}, "factor=0; expected at least 1"),
        ({"cascades": 0}, "cascades=0"),
        ({"outputs": 0}, "outputs=0"),
        ({"groups": 3}, "groups=3 with a trunk of 256 features .* expected a divisor"),
        ({"wiring": "sum"}, "wiring='sum'; expected one of mix_then_sum, sum_then_mix"),
        ({"activation": "gelu"}, "activation='gelu'; expected one of leaky_relu, relu"),
        ({"levels": 3}, "levels=3; expected 1 or 2"),
        ({"levels": 1}, "levels=1 with cascades=3; expected cascades=1"),
        ({"residual": True, "outputs": 4}, "residual=True with bands=10 and outputs=4"),
    ],
)
def test_bad_arguments_are_refused(config, message):
    with pytest.raises(ParameterError, match=message):
        CARN(**config)
