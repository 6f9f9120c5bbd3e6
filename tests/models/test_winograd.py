"""Convolutions by minimal filtering are those of PyTorch to rounding."""

import pytest
import torch
from torch import nn

from xsr.kernels import winograd as kernels
from xsr.models import winograd
from xsr.models.convolutions import convolution
from xsr.models.threads import pooled, sharing


def layer(inputs=64, outputs=64, groups=1, kernel=3, bias=True, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Conv2d(inputs, outputs, kernel, groups=groups, bias=bias)


def image(rows, columns, channels=64, count=1):
    return torch.randn(count, channels, rows, columns, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def counted(monkeypatch):
    """Blocks of tiles that went through the kernel."""
    seen = []

    def watch(*args):
        seen.append(args)
        return kernels.to_points(*args)

    monkeypatch.setattr(winograd, "to_points", watch)
    return seen


@pytest.mark.parametrize(("inputs", "outputs", "groups"), [(64, 64, 1), (192, 64, 1), (64, 128, 1), (256, 128, 2)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_convolution_to_rounding(counted, inputs, outputs, groups, bias):
    one, x = layer(inputs, outputs, groups, bias=bias), image(21, 38, inputs, count=2)
    with torch.inference_mode():
        made = convolution(one)(x)
        wanted = one.double()(x.double())
    assert counted
    assert made.shape == wanted.shape
    assert made.is_contiguous(memory_format=torch.channels_last)
    error = made - wanted
    assert float(error.square().mean().sqrt()) <= 3e-6 * float(wanted.std())
    assert float(error.abs().max()) <= 1e-4 * float(wanted.std())


def test_numbers_do_not_depend_on_the_threads():
    """And PyTorch has as many afterwards as before."""
    one, x = convolution(layer()), image(90, 95)
    made = []
    for count in (1, 2, 3):
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            with pooled():
                assert (sharing(), torch.get_num_threads()) == (count, 1)
                made.append(one(x))
            assert (sharing(), torch.get_num_threads()) == (1, count)
        finally:
            torch.set_num_threads(before)
    assert all(torch.equal(made[0], other) for other in made[1:])


@pytest.mark.parametrize("size", [(5, 40), (40, 5), (3, 3)])
def test_what_is_smaller_than_a_tile_is_left_to_pytorch(counted, size):
    one, x = layer(), image(*size)
    with torch.inference_mode():
        assert torch.allclose(convolution(one)(x), one(x), atol=1e-6)
    assert not counted
