"""Cubic convolution, for whatever computes: numbers, arrays and tensors alike.

Interpolation stands on both sides of the wall between kernels and networks, and a network that corrects an
interpolation must do so with the same weights. The kernel is a polynomial and needs no library.

References
----------
R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29 (1981),
doi:10.1109/TASSP.1981.1163711.
"""

from typing import Any, TypeVar

Numeric = TypeVar("Numeric")


def keys(distance: Numeric, a: float = -0.5) -> Numeric:
    """Evaluate Keys' cubic convolution kernel (eq. 4, generalised to any ``a``).

    Parameters
    ----------
    distance
        Signed distance in source pixels: a number, an array or a tensor.
    a
        Slope at a distance of one pixel. -1/2 keeps ramps; PyTorch and OpenCV take -3/4.

    Returns
    -------
    float, ndarray or Tensor
        Weight, zero from a distance of two pixels on.

    Examples
    --------
    >>> [keys(distance) for distance in (0.0, 0.5, 1.0, 1.5, 2.0)]
    [1.0, 0.5625, 0.0, -0.0625, 0.0]
    """
    signed: Any = distance
    d = abs(signed)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    weight: Numeric = (d <= 1) * near + ((d > 1) & (d < 2)) * far
    return weight
