"""How a layer is convolved follows from its shape and format; whatever it is, it is the layer's own convolution."""

import pytest
import torch
from torch import nn

from xsr.models import convolutions
from xsr.models.convolutions import convolution
from xsr.models.threads import pooled
from xsr.models.winograd import Filter


def layer(inputs=64, outputs=64, groups=1, kernel=3, bias=True):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Conv2d(inputs, outputs, kernel, groups=groups, bias=bias)


def image(rows, columns, channels=64):
    x = torch.randn(1, channels, rows, columns, generator=torch.Generator().manual_seed(1))
    return x.contiguous(memory_format=torch.channels_last)


@pytest.fixture
def direct(monkeypatch):
    """Calls of oneDNN's own convolution."""
    seen = []
    convolve = torch.mkldnn_convolution

    def watch(*args):
        seen.append(args)
        return convolve(*args)

    monkeypatch.setattr(torch, "mkldnn_convolution", watch)
    return seen


def test_wide_kernels_of_3x3_are_filtered():
    assert isinstance(convolution(layer()), Filter)


@pytest.mark.parametrize(
    "one",
    [layer(inputs=32), layer(outputs=96), layer(128, 128, groups=4), layer().to(torch.bfloat16)],
    ids=["few inputs", "an uneven number of outputs", "small groups", "bfloat16"],
)
def test_other_kernels_of_3x3_are_left_to_pytorch(direct, one):
    x = image(12, 12, one.in_channels).to(one.weight.dtype)
    with torch.inference_mode():
        assert torch.equal(convolution(one)(x), one(x))
    assert not direct


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN")
@pytest.mark.parametrize(("inputs", "outputs", "groups"), [(64, 64, 1), (24, 7, 1), (64, 32, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_kernels_of_1x1_in_float32_are_convolved_by_onednn(direct, inputs, outputs, groups, bias):
    one, x = layer(inputs, outputs, groups, 1, bias), image(9, 14, inputs)
    with torch.inference_mode():
        made = convolution(one)(x)
        wanted = one.double()(x.double())
    assert direct
    assert made.dtype == torch.float32
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert float((made - wanted).abs().max()) <= 1e-6 * float(wanted.abs().max())


@pytest.mark.parametrize(
    "one", [layer(kernel=1).to(torch.bfloat16), layer(kernel=1).double()], ids=["bfloat16", "double"]
)
def test_in_other_formats_by_pytorch(direct, one):
    x = image(9, 14).to(one.weight.dtype)
    with torch.inference_mode():
        assert torch.equal(convolution(one)(x), one(x))
    assert not direct


def test_without_onednn_by_pytorch(direct, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    one, x = layer(kernel=1), image(9, 14)
    assert torch.equal(convolution(one)(x), one(x))
    assert not direct


@pytest.mark.parametrize("one", [layer(kernel=1), layer(16, 8), layer(16, 8).to(torch.bfloat16)], ids=str)
def test_threads_share_the_rows(monkeypatch, one):
    """Each has those that its kernel reaches."""
    rows, share = [], convolutions.share
    x = image(31, 14, one.in_channels).to(one.weight.dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with torch.inference_mode(), pooled():
            monkeypatch.setattr(convolutions, "share", lambda work, length: rows.append(length) or share(work, length))
            made = convolution(one)(x)
    finally:
        torch.set_num_threads(before)
    assert rows == [32 - one.kernel_size[0]]
    with torch.inference_mode():
        assert float((made - one(x)).abs().max()) <= (1e-5 if one.weight.dtype == torch.float32 else 2e-2)
