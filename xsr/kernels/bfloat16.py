"""Sums and activations of numbers in bfloat16, which are the upper halves of numbers in float32.

Computed in float32, and rounded to the nearest with ties to even, as PyTorch does; at twice its rate or more, which
leaves memory the limit. Images are rows of so many numbers side by side, each row a step behind the one before; what is
written must not overlap what is read.
"""

import numpy as np
from numpy.typing import NDArray

from xsr.kernels.accelerate import jit

F = np.float32
N = np.uint64
Word = np.uint32
Bits = NDArray[np.uint16]
HALF, ONE, ZERO = Word(16), Word(1), F(0)
BELOW = Word(0x7FFF)
"""A little less than half of the last bit that is kept."""


@jit
def _wide(bits: np.uint16) -> F:  # pragma: no cover
    return Word(Word(bits) << HALF).view(F)


@jit
def _rounded(value: F) -> np.uint16:  # pragma: no cover
    word = F(value).view(Word)
    return np.uint16(Word(Word(word + BELOW) + Word(Word(word >> HALF) & ONE)) >> HALF)


@jit
def _leaked(value: F, slope: F) -> F:  # pragma: no cover
    return value if value > ZERO else F(value * slope)


@jit
def add(  # pragma: no cover
    one: Bits, one_step: N, other: Bits, other_step: N, slope: F, rows: N, length: N, out: Bits, step: N
) -> None:
    """Add two images, and multiply what is negative.

    Parameters
    ----------
    one, other
        Bits of the images, flat from their first number on.
    one_step, other_step
        From a row to the next.
    slope
        The factor; one for the sum alone, and zero for what is called ReLU.
    rows, length
        Rows, and numbers of each.
    out
        The result, likewise.
    step
        From a row of it to the next.
    """
    for row in range(rows):
        a, b, o = row * one_step, row * other_step, row * step
        for i in range(length):
            out[o + i] = _rounded(_leaked(F(_wide(one[a + i]) + _wide(other[b + i])), slope))


@jit
def leak(image: Bits, image_step: N, slope: F, rows: N, length: N, out: Bits, step: N) -> None:  # pragma: no cover
    """Multiply what is negative; everything as for `add`."""
    for row in range(rows):
        a, o = row * image_step, row * step
        for i in range(length):
            out[o + i] = _rounded(_leaked(_wide(image[a + i]), slope))
