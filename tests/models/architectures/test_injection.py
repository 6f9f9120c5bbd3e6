import numpy as np
import pytest
import torch
from models.architectures.reach import assert_tiles_need_exactly_the_radius, image, lively
from scipy.ndimage import gaussian_filter

from xsr.core.errors import ParameterError
from xsr.models import registry
from xsr.models.architectures import injection
from xsr.models.architectures.carn import CARN
from xsr.models.architectures.injection import Injection, blur, box, crop, regressed
from xsr.models.architectures.srcnn import bicubic

SMALL = {"bands": 5, "guides": 3, "cascades": 1, "blocks": 1, "features": 2, "groups": 2}
SLOPES = torch.tensor([[0.4, -0.3, 0.9], [0.0, 0.5, 0.2]], dtype=torch.float64)


def linear_image(height=30, width=26):
    """Three sharp bands, and two that are sums of them as a coarser sensor sees them."""
    sharp = image(3, height, width)
    return torch.cat((sharp, torch.einsum("cg,nghw->nchw", SLOPES, blur(sharp)) + 0.7), dim=1)


def slopes_of(images, guide):
    return regressed(images, guide, torch.zeros_like(guide))[0]


def answering(bias, **change):
    """A network whose body answers constants, whatever it sees."""
    network = Injection(**SMALL | change).double().eval()
    with torch.no_grad():
        network.body.output_conv2.weight.zero_()
        network.body.output_conv2.bias.copy_(torch.tensor(bias))
    return network


@pytest.mark.slow
def test_slopes_of_a_linear_relation_are_found(monkeypatch):
    monkeypatch.setattr(injection, "RIDGE", 1e-9)
    x = linear_image()
    found = slopes_of(x[:, 3:], blur(x[:, :3]))
    torch.testing.assert_close(found, SLOPES[None, :, :, None, None].expand_as(found), atol=1e-5, rtol=1e-5)


def test_slopes_are_those_of_ridge_regression_averaged():
    guide, own = image(3, 31, 31), image(2, 31, 31, seed=4)
    found = slopes_of(own, guide)[0, 1, :, 15, 15].numpy()
    steps = range(15 - injection.WINDOW, 16 + injection.WINDOW)
    wanted = np.mean([ridge(guide, own[0, 1], y, x) for y in steps for x in steps], axis=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def ridge(guide, own, y, x):
    """Slopes of the regression in the window around a pixel."""
    inside = tuple(slice(at - injection.WINDOW, at + injection.WINDOW + 1) for at in (y, x))
    g = guide[0][(slice(None), *inside)].reshape(3, -1).numpy()
    c = own[inside].reshape(-1).numpy()
    g, c = g - g.mean(axis=1, keepdims=True), c - c.mean()
    return np.linalg.solve(g @ g.T / c.size + injection.RIDGE * np.eye(3), g @ c / c.size)


def test_a_guide_without_contrast_has_no_slope():
    guide = torch.cat((image(1, 20, 20), torch.zeros(1, 2, 20, 20)), dim=1)
    slopes = slopes_of(image(1, 20, 20, seed=2), guide)[:, 0]
    assert slopes[:, 0].abs().min() > 0
    assert not slopes[:, 1:].any()


def test_blur_is_a_gaussian_with_repeated_borders():
    x = image(1, 12, 15)
    wanted = gaussian_filter(x[0, 0].numpy(), injection.BLUR, radius=injection.BLUR_REACH, mode="nearest")
    np.testing.assert_allclose(blur(x)[0, 0].numpy(), wanted, atol=1e-12)


def test_a_mean_leaves_out_what_is_beyond_the_border():
    x = torch.arange(100.0).reshape(1, 1, 10, 10)
    found = box(x)
    assert float(found[0, 0, 5, 5]) == pytest.approx(55.0)
    assert float(found[0, 0, 0, 9]) == pytest.approx(float(x[0, 0, :4, 6:].mean()))


def test_a_silent_body_adds_nothing():
    assert not answering([0.0] * 7)(linear_image()).any()


@pytest.mark.parametrize("factor", [2, 3])
def test_a_body_that_trusts_adds_the_detail_of_the_relation(factor, monkeypatch):
    monkeypatch.setattr(injection, "RIDGE", 1e-9)
    x = linear_image()
    found = answering([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.5], factor=factor)(x)
    detail = torch.einsum("cg,nghw->nchw", SLOPES, x[:, :3] - blur(x[:, :3]))
    assert not found[:, :3].any()
    wanted = bicubic(detail, factor) * torch.tensor([1.0, 0.5])[:, None, None]
    torch.testing.assert_close(found[:, 3:], wanted, atol=1e-4, rtol=1e-4)


def test_the_answer_of_sharp_bands_is_carried_over_by_the_slopes(monkeypatch):
    monkeypatch.setattr(injection, "RIDGE", 1e-9)
    x = linear_image()
    own = [0.3, -0.2, 0.1, 0.05, 0.0]
    silent, telling = answering([0.0] * 3 + own[3:] + [1.0, 1.0]), answering([*own, 1.0, 1.0])
    carried = telling(x)[:, 3:] - silent(x)[:, 3:]
    wanted = (SLOPES @ torch.tensor(own[:3], dtype=torch.float64))[:, None, None]
    torch.testing.assert_close(carried, wanted.expand_as(carried), atol=1e-5, rtol=1e-5)


def test_answers_of_pixels_go_to_their_place():
    """The slope of a pixel meets the answers of the output pixels inside it."""
    network = lively(Injection(**SMALL))
    x = image(5, 20, 22)
    slopes = slopes_of(x[:, 3:], blur(x[:, :3])).unbind(1)
    detail = torch.stack([(slope * (x[:, :3] - blur(x[:, :3]))).sum(1) for slope in slopes], dim=1)
    with torch.inference_mode():
        answer = network.body(torch.cat((x, detail), dim=1))
        large = [slope.repeat_interleave(2, 2).repeat_interleave(2, 3) for slope in slopes]
        told = torch.stack([(slope * answer[:, :3]).sum(1) for slope in large], dim=1)
        wanted = answer[:, 3:5] + answer[:, 5:] * (bicubic(detail, 2) + told)
        torch.testing.assert_close(network(x), torch.cat((answer[:, :3], wanted), dim=1))


def test_an_untrained_network_ignores_the_detail():
    torch.manual_seed(0)
    network = Injection(**SMALL).double().eval()
    body = CARN(**{key: value for key, value in SMALL.items() if key != "guides"}).double().eval()
    state = network.body.state_dict()
    body.load_state_dict({k: v[tuple(slice(n) for n in body.state_dict()[k].shape)] for k, v in state.items()})
    x = image(5, 20, 21)
    torch.testing.assert_close(network(x), body(x))


@pytest.mark.parametrize("change", [{}, {"factor": 3}, {"bands": 3, "guides": 1, "blocks": 2}], ids=str)
def test_tiles_need_exactly_the_radius(change):
    config = SMALL | change
    network = lively(Injection(**config))
    assert network.radius == network.body.radius + injection.BLUR_REACH + 2 * injection.WINDOW
    assert_tiles_need_exactly_the_radius(network, config["bands"])


def test_name_and_parameters():
    network = registry.create("carn_3x3x64g4sw_injection")
    # Six input and six output bands more than the published network of ten.
    assert sum(p.numel() for p in network.parameters()) == 2_492_298 + 6 * 9 * 256 + 6 * (9 * 64 + 1)
    assert network.radius == 30


@pytest.mark.parametrize("guides", [0, 5])
def test_bad_arguments_are_refused(guides):
    with pytest.raises(ParameterError, match=f"guides={guides} of bands=5; expected at least one"):
        Injection(bands=5, guides=guides)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("margin", [0, 4])
def test_inference_answers_by_kernels_what_derivatives_are_of(monkeypatch, count, margin):
    """They are used in float32, outside of it never."""
    used = []
    for name in ("slopes_and_detail", "carried_over"):
        kernel = getattr(injection, name)
        monkeypatch.setattr(injection, name, lambda *args, k=kernel: used.append(k.__name__) or k(*args))
    network = lively(Injection(**SMALL)).float()
    body = network.body.forward
    network.body.forward = lambda x, edge=0: crop(body(x), edge * network.factor)
    x = torch.cat([linear_image().float() + 0.1 * image(5, 30, 26, seed=k).float() for k in range(count)])
    wanted = network(x, margin).detach()
    assert not used
    with torch.inference_mode():
        made = network(x, margin)
        precise = network.double()(x.double(), margin)
    assert used == ["slopes_and_detail"] * count + ["carried_over"] * count
    assert made.shape == wanted.shape
    assert float((made - wanted).abs().max()) <= 1e-3 * float(wanted.std())
    assert float((made - precise).abs().max()) <= 1e-3 * float(wanted.std())
