"""Linear layers by oneDNN are those of PyTorch, whatever part of a matrix they are given."""

import pytest
import torch
from torch import nn

from xsr.models import onednn
from xsr.models.onednn import has_onednn, linear

FORMATS = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 8e-3}
"""Number formats, and by how much of the largest number results may differ from those in double precision."""


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def called(monkeypatch):
    """Matrices that oneDNN's own operator was given."""
    seen = []
    operator = torch.ops.mkldnn._linear_pointwise

    def watch(x, weight, *args):
        seen.append((x, weight))
        return operator(x, weight, *args)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", watch)
    return seen


@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 20), (2, 3, 5, 20), (0, 20)])
@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_it_is_the_layer_and_its_rectifier(dtype, shape, bias, rectified):
    x, weight = numbers(*shape).to(dtype), numbers(12, 20, seed=1).to(dtype)
    offset = numbers(12, seed=2).to(dtype) if bias else None
    with torch.inference_mode():
        made = linear(x, weight, offset, rectified=rectified)
        wanted = nn.functional.linear(x.double(), weight.double(), None if offset is None else offset.double())
    wanted = wanted.relu() if rectified else wanted
    assert (made.dtype, made.shape) == (dtype, wanted.shape)
    assert made.numel() == 0 or float((made - wanted).abs().max()) <= FORMATS[dtype] * float(wanted.abs().max())


@pytest.mark.skipif(not has_onednn(torch.float32), reason="PyTorch without oneDNN")
def test_parts_of_matrices_are_copied_first(called):
    """OneDNN would multiply them number by number, in a thousand times the time."""
    x, weight = numbers(9, 30)[:, 3:23], numbers(12, 34, seed=1)[:, :20]
    with torch.inference_mode():
        made = linear(x, weight)
    assert torch.allclose(made, x @ weight.T, atol=1e-5)
    assert [[matrix.is_contiguous() for matrix in matrices] for matrices in called] == [[True, True]]


def test_where_derivatives_are_wanted_pytorch_does_it(called):
    x, weight = numbers(9, 20).requires_grad_(), numbers(12, 20, seed=1)
    linear(x, weight, rectified=True).sum().backward()
    assert torch.allclose(x.grad, ((x @ weight.T) > 0).float() @ weight, atol=1e-5)
    assert not called


def test_without_that_operator_pytorch_does_it(monkeypatch, called):
    monkeypatch.setattr(onednn, "has_onednn", lambda dtype: False)
    x, weight = numbers(9, 20), numbers(12, 20, seed=1)
    with torch.inference_mode():
        assert torch.allclose(linear(x, weight, rectified=True), (x @ weight.T).relu(), atol=1e-5)
    assert not called


def test_a_format_for_which_any_of_the_operators_is_missing_is_not_there(monkeypatch):
    def missing(*args):
        raise RuntimeError("could not create a primitive descriptor")

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", missing)
    has_onednn.cache_clear()
    try:
        assert not has_onednn(torch.float32)
    finally:
        has_onednn.cache_clear()
