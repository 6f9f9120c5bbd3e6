"""Sums and activations of bfloat16 have the bits that PyTorch gives them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xsr.kernels.bfloat16 import F, N, add, leak

ROWS, WIDE = 3, 40
"""Rows, and numbers from one to the next."""


def bits(values):
    """Numbers in bfloat16, flat."""
    return values.view(torch.int16).numpy().view(np.uint16).ravel()


def numbers(found):
    return torch.from_numpy(found.view(np.int16)).view(torch.bfloat16).reshape(ROWS, -1)


def some(seed, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    return (spread * torch.randn(ROWS, WIDE, generator=generator)).to(torch.bfloat16)


def test_a_tie_goes_to_the_even_number():
    """Of bfloat16 there are 128 numbers between 1 and 2: halfway between two of them the last bit decides."""
    one = torch.tensor([1.0, 1.0 + 2**-7, 1.0, -1.0], dtype=torch.bfloat16)
    other = torch.tensor([2**-8, 2**-8, 2**-8 + 2**-14, 1.0], dtype=torch.bfloat16)
    out = np.empty(4, np.uint16)
    add(bits(one), N(4), bits(other), N(4), F(1), N(1), N(4), out, N(4))
    assert torch.from_numpy(out.view(np.int16)).view(torch.bfloat16).tolist() == [1.0, 1.0 + 2**-6, 1.0 + 2**-7, 0.0]


@settings(max_examples=60)
@given(st.integers(0, 99), st.integers(1, WIDE), st.sampled_from([1e-30, 1e-3, 1.0, 1e30]))
def test_sums_are_those_of_pytorch(seed, length, spread):
    """Also of parts of wider rows; what lies between the rows of the result stays."""
    one, other = some(seed, spread), some(seed + 100)
    out = np.full(ROWS * (length + 2), 7, np.uint16)
    step = N(WIDE)
    add(bits(one), step, bits(other), step, F(1), N(ROWS), N(length), out, N(length + 2))
    assert torch.equal(numbers(out)[:, :length], (one + other)[:, :length])
    assert (out.reshape(ROWS, -1)[:, length:] == 7).all()


@settings(max_examples=60)
@given(st.integers(0, 99), st.integers(1, WIDE), st.sampled_from([0.0, 0.01, 0.2, 1.0]))
def test_activations_are_those_of_pytorch(seed, length, slope):
    image = some(seed)
    out = np.empty(ROWS * length, np.uint16)
    leak(bits(image), N(WIDE), F(slope), N(ROWS), N(length), out, N(length))
    assert torch.equal(numbers(out), torch.nn.functional.leaky_relu(image, slope)[:, :length])


@settings(max_examples=60)
@given(st.integers(0, 99), st.integers(1, WIDE), st.sampled_from([0.0, 0.2]))
def test_a_sum_that_is_activated_is_rounded_once(seed, length, slope):
    one, other = some(seed), some(seed + 100)
    out, step = np.empty(ROWS * length, np.uint16), N(WIDE)
    add(bits(one), step, bits(other), step, F(slope), N(ROWS), N(length), out, N(length))
    exact = torch.nn.functional.leaky_relu(one.float() + other.float(), slope)
    assert torch.equal(numbers(out), exact.to(torch.bfloat16)[:, :length])


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_what_is_not_finite_stays(value):
    image = torch.full((ROWS, WIDE), value, dtype=torch.bfloat16)
    for make in (
        lambda out: add(bits(image), N(WIDE), bits(some(0)), N(WIDE), F(0.2), N(ROWS), N(WIDE), out, N(WIDE)),
        lambda out: leak(bits(image), N(WIDE), F(0.2), N(ROWS), N(WIDE), out, N(WIDE)),
    ):
        out = np.empty(ROWS * WIDE, np.uint16)
        make(out)
        assert np.array_equal(numbers(out).float(), image.float(), equal_nan=True)
