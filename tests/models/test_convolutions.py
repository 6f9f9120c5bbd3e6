"""How a layer is convolved follows from its shape and format; whatever it is, it is the layer's own convolution."""

import copy

import pytest
import torch
from torch import nn

from xsr.models import convolutions
from xsr.models.convolutions import convolution
from xsr.models.onednn import has_onednn
from xsr.models.threads import pooled
from xsr.models.winograd import Filter


def layer(inputs=64, outputs=64, groups=1, kernel=3, bias=True):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Conv2d(inputs, outputs, kernel, groups=groups, bias=bias)


def image(rows, columns, channels=64):
    x = torch.randn(1, channels, rows, columns, generator=torch.Generator().manual_seed(1))
    return x.contiguous(memory_format=torch.channels_last)


ONEDNN = pytest.mark.skipif(not has_onednn(torch.float32), reason="PyTorch without oneDNN")
FORMATS = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 8e-3}
"""Number formats, and by how much of the largest number results may differ from those in double precision."""


@pytest.fixture
def direct(monkeypatch):
    """Calls of oneDNN's own operator."""
    seen = []
    operator = torch.ops.mkldnn._convolution_pointwise

    def watch(*args):
        seen.append(args)
        return operator(*args)

    monkeypatch.setattr(torch.ops.mkldnn, "_convolution_pointwise", watch)
    return seen


def assert_convolved(one, slope, x):
    """Compare a layer and its activation with what they give in double precision."""
    with torch.inference_mode():
        made = convolution(one, slope)(x)
        wanted = nn.functional.leaky_relu(copy.deepcopy(one).double()(x.double()), slope)
    assert made.dtype == x.dtype
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert float((made - wanted).abs().max()) <= FORMATS[x.dtype] * float(wanted.abs().max())


def test_wide_kernels_of_3x3_are_filtered():
    assert isinstance(convolution(layer()), Filter)
    assert isinstance(convolution(layer(), 0.2), Filter)


@pytest.mark.parametrize(
    "one",
    [layer(inputs=32), layer(outputs=96), layer(128, 128, groups=4), layer(kernel=1), layer().to(torch.bfloat16)],
    ids=["few inputs", "an uneven number of outputs", "small groups", "one pixel", "bfloat16"],
)
def test_others_are_not(one):
    assert not isinstance(convolution(one), Filter)


@pytest.mark.parametrize("slope", [1.0, 0.2, 0.0])
@pytest.mark.parametrize(("inputs", "outputs", "groups"), [(24, 24, 1), (24, 7, 1), (64, 32, 4)])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_it_is_the_layer_and_its_activation(dtype, kernel, inputs, outputs, groups, slope):
    one = layer(inputs, outputs, groups, kernel, bias=outputs > groups)
    assert_convolved(one.to(dtype), slope, image(9, 14, inputs).to(dtype))


@ONEDNN
@pytest.mark.parametrize("slope", [1.0, 0.2])
def test_onednn_does_it_in_one_call(direct, slope):
    assert_convolved(layer(kernel=1), slope, image(9, 14))
    assert len(direct) == 1


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("slope", [1.0, 0.2])
def test_without_that_operator_pytorch_does(monkeypatch, dtype, slope):
    monkeypatch.setattr(convolutions, "has_onednn", lambda dtype: False)
    assert_convolved(layer(32, 32, kernel=1).to(dtype), slope, image(9, 14, 32).to(dtype))


def test_the_operator_is_tried_before_it_is_used(monkeypatch):
    """Another version of PyTorch, or a processor, may not have it."""

    def missing(*args):
        raise RuntimeError("unsupported")

    assert not has_onednn(torch.float64)
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_convolution_weight", missing)
    has_onednn.cache_clear()
    try:
        assert not has_onednn(torch.float32)
        assert_convolved(layer(32, 32), 0.2, image(9, 14, 32))
    finally:
        has_onednn.cache_clear()


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
