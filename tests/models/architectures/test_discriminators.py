import itertools
import math
import warnings

import pytest
import torch
from models.architectures.reach import count, image
from torch import nn
from torch.nn import functional

from xsr.core.errors import ParameterError
from xsr.models.architectures.discriminators import (
    HighPass,
    SimpleDiscriminator,
    SpectralConv2d,
    UNetDiscriminator,
)


@pytest.mark.parametrize(
    ("bands", "features", "expected"),
    [(3, 64, 4_376_897), (7, 64, 4_379_201), (10, 64, 4_380_929), (4, 32, 1_095_105)],
)
def test_parameter_counts_are_the_published_ones(bands, features, expected):
    assert count(UNetDiscriminator(bands=bands, features=features)) == expected


@pytest.mark.parametrize("high_pass", [None, 0.4])
def test_state_dict_has_the_names_of_real_esrgan(high_pass):
    state = UNetDiscriminator(bands=3, features=2, high_pass=high_pass).state_dict()
    expected = {f"conv{i}.{kind}" for i in (0, 9) for kind in ("weight", "bias")}
    expected |= {f"conv{i}.{kind}" for i in range(1, 9) for kind in ("weight_orig", "weight_u", "weight_v")}
    assert set(state) == expected
    assert len(state) == 28
    assert tuple(state["conv1.weight_orig"].shape) == (4, 2, 4, 4)
    assert tuple(state["conv1.weight_u"].shape) == (4,)
    assert tuple(state["conv1.weight_v"].shape) == (2 * 16,)


def legacy(layer):
    """The same layer with torch's own spectral norm of the old kind."""
    outputs, inputs, kernel, _ = layer.weight_orig.shape
    conv = nn.Conv2d(inputs, outputs, kernel, stride=layer.stride, padding=1, bias=False).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        conv = nn.utils.spectral_norm(conv)
    conv.load_state_dict(layer.state_dict())
    return conv


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (4, 2)])
def test_spectral_convolution_equals_torch_in_training_and_evaluation(kernel, stride):
    ours = SpectralConv2d(3, 5, kernel, stride=stride).double()
    theirs = legacy(ours)
    x = image(3, 8, 10, batch=2)
    for training in (True, True, False):
        for layer in (ours, theirs):
            layer.train(training).zero_grad()
            layer(x).square().sum().backward()
        assert (ours(x) - theirs(x)).abs().max() <= 1e-13
        assert (ours.weight_orig.grad - theirs.weight_orig.grad).abs().max() <= 1e-11
        for name in ("weight_u", "weight_v"):
            assert (getattr(ours, name) - getattr(theirs, name)).abs().max() <= 1e-13


def test_largest_singular_value_becomes_one():
    torch.manual_seed(0)
    layer = SpectralConv2d(4, 6, 3).double()
    x = image(4, 3, 3)
    for _ in range(200):
        layer(x)
    assert float(torch.linalg.matrix_norm(layer.weight().detach().flatten(1), 2)) == pytest.approx(1, abs=1e-9)


def test_a_new_layer_is_nearly_normalised_before_training():
    torch.manual_seed(0)
    norm = float(torch.linalg.matrix_norm(SpectralConv2d(16, 32, 3).weight().detach().flatten(1), 2))
    assert norm == pytest.approx(1, abs=0.05)


def test_evaluation_changes_no_state_and_training_does():
    network = UNetDiscriminator(bands=2, features=2).eval()
    x = image(2, 16, 16).float()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert torch.equal(network(x), network(x))
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    network.train()(x)
    changed = {key for key, value in network.state_dict().items() if not torch.equal(before[key], value)}
    assert changed <= {f"conv{i}.weight_{kind}" for i in range(1, 9) for kind in "uv"}
    assert "conv4.weight_u" in changed


def test_two_calls_in_training_may_precede_the_gradient():
    network = UNetDiscriminator(bands=2, features=2)
    x, y = image(2, 16, 16).float(), image(2, 16, 16, seed=3).float()
    (network(x).mean() - network(y).mean()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def reference(state, x, skip):
    """The network straight from its description, on a dictionary of tensors, in evaluation mode."""

    def conv(i, h, stride=1):
        if i in (0, 9):
            return functional.conv2d(h, state[f"conv{i}.weight"], state[f"conv{i}.bias"], padding=1)
        weight = state[f"conv{i}.weight_orig"]
        sigma = torch.einsum("o,ok,k->", state[f"conv{i}.weight_u"], weight.flatten(1), state[f"conv{i}.weight_v"])
        return functional.conv2d(h, weight / sigma, stride=stride, padding=1)

    def act(h):
        return torch.where(h > 0, h, 0.2 * h)

    def enlarge(h, like):
        return functional.interpolate(h, size=like.shape[-2:], mode="bilinear", align_corners=False)

    x0 = act(conv(0, x))
    x1 = act(conv(1, x0, 2))
    x2 = act(conv(2, x1, 2))
    x3 = act(conv(3, x2, 2))
    x4 = act(conv(4, enlarge(x3, x2))) + (x2 if skip else 0)
    x5 = act(conv(5, enlarge(x4, x1))) + (x1 if skip else 0)
    x6 = act(conv(6, enlarge(x5, x0))) + (x0 if skip else 0)
    return conv(9, act(conv(8, act(conv(7, x6)))))


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("size", [(32, 32), (33, 46), (46, 64), (64, 33), (8, 9)])
def test_unet_equals_the_description_at_any_size(size, skip):
    network = UNetDiscriminator(bands=3, features=3, skip=skip).double().eval()
    x = image(3, *size, batch=2)
    with torch.inference_mode():
        found, wanted = network(x), reference(network.state_dict(), x, skip)
    assert found.shape == (2, 1, *size)
    assert (found - wanted).abs().max() <= 1e-13


def test_skip_matters():
    torch.manual_seed(0)
    x = image(3, 16, 16)
    with_skip = UNetDiscriminator(bands=3, features=3).double().eval()
    without = UNetDiscriminator(bands=3, features=3, skip=False).double().eval()
    without.load_state_dict(with_skip.state_dict())
    assert (with_skip(x) - without(x)).abs().max() > 1e-4


@pytest.mark.parametrize("mtf", [0.05, 0.1, 0.3, 0.4, 0.7, 0.95])
def test_high_pass_blurs_as_asked(mtf):
    kernel = HighPass(mtf).kernel.double()
    offset = torch.arange(len(kernel)) - len(kernel) // 2
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-6)
    assert float((kernel * torch.cos(math.pi / 2 * offset)).sum()) == pytest.approx(mtf, abs=1e-6)


def test_high_pass_width_is_that_of_the_formula():
    sigma = 2 / math.pi * math.sqrt(-2 * math.log(0.3))
    wanted = torch.exp(-0.5 * (torch.arange(-4, 5) / sigma) ** 2)
    assert (HighPass(0.3).kernel - wanted / wanted.sum()).abs().max() <= 1e-3


def test_high_pass_equals_the_formula():
    kernel = HighPass(0.4).double().kernel
    half = len(kernel) // 2
    x = image(2, 13, 16)
    cut = x[:, :, :12]
    padded = functional.pad(cut, (half,) * 4, mode="reflect")
    blurred = functional.conv2d(padded, torch.outer(kernel, kernel).expand(2, 1, -1, -1), groups=2)
    low = functional.interpolate(blurred, scale_factor=0.5, mode="bicubic", align_corners=False)
    wanted = cut - functional.interpolate(low, scale_factor=2, mode="bicubic", align_corners=False)
    assert (HighPass(0.4).double()(x) - wanted).abs().max() <= 1e-12


def test_high_pass_hides_radiometry_from_the_discriminator():
    network = UNetDiscriminator(bands=2, features=2, high_pass=0.4).double().eval()
    x = image(2, 16, 18)
    assert (network(x + 3) - network(x)).abs().max() <= 1e-6 * network(x).abs().max()
    assert network(image(2, 33, 46)).shape == (1, 1, 32, 46)


def test_high_pass_keeps_single_precision_under_autocast():
    x = 1000 + image(2, 16, 18).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = HighPass(0.4)(x)
    assert (found - HighPass(0.4)(x)).abs().max() <= 1e-3


def test_simple_discriminator_scores_patches():
    network = SimpleDiscriminator(bands=7)
    widths = [7, 64, 64, 128, 128, 256]
    expected = sum(9 * a * b + b + 2 * b for a, b in itertools.pairwise(widths)) + 4 * 256 + 1
    assert count(network) == expected == 559_937
    for side in (25, 32, 47):
        assert SimpleDiscriminator(bands=7, features=4)(torch.randn(2, 7, side, 30)).shape == (2, 1)


def test_simple_discriminator_by_its_description():
    network = SimpleDiscriminator(bands=2, features=2, high_pass=0.4).double().eval()
    state = network.state_dict()
    x = image(2, 30, 32)
    h = HighPass(0.4).double()(x)
    for layer, stride in enumerate((1, 2, 1, 2, 1)):
        conv, norm = f"body.{3 * layer}", f"body.{3 * layer + 1}"
        h = functional.conv2d(h, state[f"{conv}.weight"], state[f"{conv}.bias"], stride=stride)
        scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-5).sqrt()
        shift = state[f"{norm}.bias"] - scale * state[f"{norm}.running_mean"]
        h = scale[:, None, None] * h + shift[:, None, None]
        h = torch.where(h > 0, h, 0.2 * h)
    pooled = functional.adaptive_avg_pool2d(h, 2).flatten(1)
    wanted = pooled @ state["head.weight"].T + state["head.bias"]
    assert (network(x) - wanted).abs().max() <= 1e-12


@pytest.mark.parametrize("network", [UNetDiscriminator, SimpleDiscriminator])
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"bands": 0}, "bands=0; expected at least 1"),
        ({"features": 0}, "features=0; expected at least 1"),
        ({"high_pass": 1.0}, "high_pass=1.0; expected an MTF at Nyquist between 0 and 1"),
        ({"high_pass": 0.0}, "high_pass=0.0"),
    ],
)
def test_bad_arguments_are_refused(network, config, message):
    with pytest.raises(ParameterError, match=message):
        network(**config)


def test_images_too_small_are_refused():
    with pytest.raises(ParameterError, match="image of 7 x 9 pixels; expected at least 8"):
        UNetDiscriminator(bands=1, features=1)(torch.zeros(1, 1, 7, 9))
    with pytest.raises(ParameterError, match="patch of 24 x 30 pixels; expected at least 25"):
        SimpleDiscriminator(bands=1, features=1)(torch.zeros(1, 1, 24, 30))
    with pytest.raises(ParameterError, match="image of 4 x 8 pixels; expected more than 4 for the high-pass"):
        HighPass(0.4)(torch.zeros(1, 1, 5, 8))
