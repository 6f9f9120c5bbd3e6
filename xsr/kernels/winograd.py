"""Minimal filtering: a 3x3 convolution as products of matrices, for a quarter of the multiplications.

Tiles of 6 x 6 pixels of an image, which overlap by two, become tiles of 4 x 4 of the result:

    A' [(G g G') * (B' d B)] A

with tile ``d`` and weights ``g``. The product in the middle is one of numbers at each of 36 points, which for many
channels and tiles is 36 products of matrices; `xsr.models.winograd` makes them between the two kernels here. The
polynomials behind it are evaluated at 0, 1, -1, 2, -2 and infinity; float32 loses two bits by it.

References
----------
S. Winograd, "Arithmetic Complexity of Computations", SIAM, 1980, doi:10.1137/1.9781611970364.
A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, doi:10.1109/CVPR.2016.435.
"""

import numpy as np
from numpy.typing import NDArray

from xsr.kernels.accelerate import jit

F = np.float32
N = np.uint64
Flat = NDArray[F]
CHANNELS = 64
"""Channels that go through the kernels together."""
POINTS = 36
"""Products of a tile and a pair of channels, in place of 144."""
SIZE = 4
"""Pixels of the result along the side of a tile."""
WEIGHTS = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
"""The matrix G."""

# Loops are over unsigned numbers, and distances between arrays of a loop are constants: the compiler then knows that
# they do not overlap, and computes several channels at once. What goes into matrices of any width, or comes from them,
# is therefore copied from or to a tile.
SIDE, STEP, TWO, SIX, LANES, PLACES = N(SIZE), N(SIZE - 1), N(2), N(6), N(CHANNELS), N(POINTS)
NEXT = tuple(N(i * CHANNELS) for i in range(6))
"""Distances between six columns of a tile, or the products of them."""
BELOW = tuple(N(6 * i * CHANNELS) for i in range(6))
"""Distances between its six rows."""
ZERO, F2, F4, F5, F8 = F(0), F(2), F(4), F(5), F(8)


def transformed(weights: NDArray[F]) -> NDArray[F]:
    """Weights of a convolution at the 36 points, in double precision until the end.

    Parameters
    ----------
    weights
        (output, input, 3, 3).

    Returns
    -------
    NDArray
        ``G g G'``, (point, output, input).
    """
    at_points = np.einsum("ia,jb,ocab->ijoc", WEIGHTS, WEIGHTS, weights.astype(np.float64))
    return np.ascontiguousarray(at_points.reshape(POINTS, *weights.shape[:2]), np.float32)


@jit
def _to_points(d0: F, d1: F, d2: F, d3: F, d4: F, d5: F) -> tuple[F, F, F, F, F, F]:  # pragma: no cover
    """Six pixels of a line at the six points: a column of ``B' d``."""
    even, odd, high, low = d4 - F4 * d2, d3 - F4 * d1, d4 - d2, F2 * (d3 - d1)
    return F4 * d0 - F5 * d2 + d4, even + odd, even - odd, high + low, high - low, F4 * d1 - F5 * d3 + d5


@jit
def _to_pixels(m0: F, m1: F, m2: F, m3: F, m4: F, m5: F) -> tuple[F, F, F, F]:  # pragma: no cover
    """Products at six points as four pixels of the result: a column of ``A' m``."""
    even, odd, high, low = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return m0 + even + high, odd + F2 * low, even + F4 * high, odd + F8 * low + m5


@jit
def _leaked(value: F, slope: F) -> F:  # pragma: no cover
    return value if value > ZERO else value * slope


@jit
def to_points(  # pragma: no cover
    image: Flat, columns: N, channels: N, begin: N, rows: N, first: N, tiles: N, out: Flat, width: N, place: N
) -> None:
    """Evaluate a block of channels of some tiles at the 36 points.

    Parameters
    ----------
    image
        (row, column, channel), flat.
    columns, channels
        Its size.
    begin
        First channel of the block.
    rows
        Rows of the result, two fewer than those of the image and at least `SIZE`.
    first, tiles
        First tile, and how many there are at most. They are counted along rows; the last of a row or a column reaches
        back over the one before.
    out
        (tile, point, channel), flat.
    width, place
        Its channels, and the first one of the block among them.
    """
    tile, made = np.empty(POINTS * CHANNELS, np.float32), np.empty(POINTS * CHANNELS, np.float32)
    line = columns * channels
    across = (columns - TWO + STEP) // SIDE
    for n in range(min(tiles, across * ((rows + STEP) // SIDE) - first)):
        top = min(SIDE * ((first + n) // across), rows - SIDE)
        left = min(SIDE * ((first + n) % across), columns - TWO - SIDE)
        for column in range(SIX):
            d0 = top * line + (left + column) * channels + begin
            d1, d2, d3, d4, d5 = d0 + line, d0 + N(2) * line, d0 + N(3) * line, d0 + N(4) * line, d0 + N(5) * line
            o = column * LANES
            for c in range(LANES):
                p0, p1, p2, p3, p4, p5 = _to_points(
                    image[d0 + c], image[d1 + c], image[d2 + c], image[d3 + c], image[d4 + c], image[d5 + c]
                )
                tile[o + c] = p0
                tile[o + c + BELOW[1]] = p1
                tile[o + c + BELOW[2]] = p2
                tile[o + c + BELOW[3]] = p3
                tile[o + c + BELOW[4]] = p4
                tile[o + c + BELOW[5]] = p5
        for row in range(SIX):
            d = row * BELOW[1]
            for c in range(LANES):
                p0, p1, p2, p3, p4, p5 = _to_points(
                    tile[d + c],
                    tile[d + c + NEXT[1]],
                    tile[d + c + NEXT[2]],
                    tile[d + c + NEXT[3]],
                    tile[d + c + NEXT[4]],
                    tile[d + c + NEXT[5]],
                )
                made[d + c] = p0
                made[d + c + NEXT[1]] = p1
                made[d + c + NEXT[2]] = p2
                made[d + c + NEXT[3]] = p3
                made[d + c + NEXT[4]] = p4
                made[d + c + NEXT[5]] = p5
        for point in range(PLACES):
            d, o = point * LANES, (n * PLACES + point) * width + place
            for c in range(LANES):
                out[o + c] = made[d + c]


@jit
def to_pixels(  # pragma: no cover
    products: Flat,
    width: N,
    place: N,
    bias: Flat,
    slope: F,
    columns: N,
    channels: N,
    begin: N,
    rows: N,
    first: N,
    tiles: N,
    out: Flat,
) -> None:
    """Bring the products of a block of channels of some tiles to the pixels of the result.

    Parameters
    ----------
    products
        (tile, point, channel), flat.
    width, place
        Their channels, and the first one of the block among them.
    bias
        Added, for each channel of the result.
    slope
        By what negative results are multiplied.
    columns, channels
        Size of the result; at least `SIZE` columns.
    begin
        First channel of the block.
    rows
        Rows of the result, at least `SIZE`.
    first, tiles
        As in `to_points`.
    out
        The result, (row, column, channel), flat.
    """
    tile, made = np.empty(POINTS * CHANNELS, np.float32), np.empty(POINTS * CHANNELS, np.float32)
    line = columns * channels
    across = (columns + STEP) // SIDE
    for n in range(min(tiles, across * ((rows + STEP) // SIDE) - first)):
        top = min(SIDE * ((first + n) // across), rows - SIDE)
        left = min(SIDE * ((first + n) % across), columns - SIDE)
        for point in range(PLACES):
            o, d = point * LANES, (n * PLACES + point) * width + place
            for c in range(LANES):
                made[o + c] = products[d + c]
        for column in range(SIX):
            o = column * LANES
            for c in range(LANES):
                p0, p1, p2, p3 = _to_pixels(
                    made[o + c],
                    made[o + c + BELOW[1]],
                    made[o + c + BELOW[2]],
                    made[o + c + BELOW[3]],
                    made[o + c + BELOW[4]],
                    made[o + c + BELOW[5]],
                )
                tile[o + c] = p0
                tile[o + c + BELOW[1]] = p1
                tile[o + c + BELOW[2]] = p2
                tile[o + c + BELOW[3]] = p3
        for row in range(SIDE):
            m = row * BELOW[1]
            o0 = (top + row) * line + left * channels + begin
            o1, o2, o3 = o0 + channels, o0 + N(2) * channels, o0 + N(3) * channels
            for c in range(LANES):
                p0, p1, p2, p3 = _to_pixels(
                    tile[m + c],
                    tile[m + c + NEXT[1]],
                    tile[m + c + NEXT[2]],
                    tile[m + c + NEXT[3]],
                    tile[m + c + NEXT[4]],
                    tile[m + c + NEXT[5]],
                )
                out[o0 + c] = _leaked(p0 + bias[begin + c], slope)
                out[o1 + c] = _leaked(p1 + bias[begin + c], slope)
                out[o2 + c] = _leaked(p2 + bias[begin + c], slope)
                out[o3 + c] = _leaked(p3 + bias[begin + c], slope)
