"""Continuous networks on cubes some of whose bands have larger pixels, which are sharpened before.

A network that reads bands of larger pixels as they were interpolated has to find what `xsr.operations.super_resolve`
knows how to compute; one that reads them sharpened was not trained on such images.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from xsr.core.cube import Cube
from xsr.core.types import Stack
from xsr.kernels import injection
from xsr.kernels.resample import interpolate_filled
from xsr.models import registry
from xsr.models.card import ModelCard
from xsr.models.precision import Exact
from xsr.operations.super_resolve.dates import coarser_bands, lattice
from xsr.operations.super_resolve.networks import FILL, Continuous, remask
from xsr.operations.super_resolve.sharpened import SIXFOLD, SLACK, TWICE, Sharpened, function_of

AROUND = 2 + injection.WINDOW + FILL
"""Pixels around a query to which bands are sharpened: for interpolation, regressions, and filling."""


def sharpener_of(
    cube: Cube, card: ModelCard, picks: tuple[int, ...], device: str, precision: Exact
) -> Sharpened | None:
    """Block function that sharpens the bands of larger pixels of a cube before a network reads them.

    Parameters
    ----------
    cube
        Validated cube.
    card
        Of the network; it names the model that sharpens.
    picks
        The network's channel of each band.
    device, precision
        As of the network.

    Returns
    -------
    Sharpened or None
        None where the card names no model, or the bands are of one kind, or of pixels that such a model does not know.
    """
    if card.before is None:
        return None
    larger = coarser_bands(cube, card, picks)
    sides = tuple(TWICE if larger[pick] else 1 for pick in picks)
    if len(set(sides)) == 1 or not all(map(_known, cube.native_gsd, sides, [cube.pixel_m[0]] * len(sides))):
        return None
    corners = {side: lattice(cube, side) for side in (TWICE, SIXFOLD)}
    return function_of(cube, registry.card(card.before), registry.spec(card.before), sides, corners, device, precision)


def finer(cell: tuple[float, float]) -> float:
    """Share of the network's detail that bands of larger pixels get: none on the cube's own grid, all from twice on.

    On its own grid what the network adds to a sharp band is its error alone.
    """
    return min(max(1 / math.sqrt(cell[0] * cell[1]) - 1, 0.0), 1.0)


def _known(size: float, side: int, pixel: float) -> bool:
    """Whether a band's own pixels have a side, as far as the cube says how large they are."""
    return not math.isfinite(size) or abs(max(size / pixel, 1.0) / side - 1) < SLACK


@dataclass(frozen=True)
class Presharpened(Continuous):
    """Block function of a continuous network that super-resolves bands of larger pixels by the others.

    The others are computed from the cube as it is. Bands of larger pixels are sharpened and interpolated, and get the
    detail that the network has found in the others, by local regressions on them.
    """

    sharpened: Sharpened = field(kw_only=True)

    @property
    def larger(self) -> list[int]:
        """Bands that are sharpened."""
        return [number for number, side in enumerate(self.sharpened.sides) if side > 1]

    @property
    def sharp(self) -> list[int]:
        """The others."""
        return [number for number, side in enumerate(self.sharpened.sides) if side == 1]

    @property
    def halo(self) -> int:
        """What the network needs, or sharpening."""
        return max(super().halo, AROUND + self.sharpened.halo)

    def locate(self, row: int, col: int) -> "Presharpened":
        """Bind to the first pixel of a window; see `xsr.core.types.LocatedFunction`."""
        return replace(self, sharpened=self.sharpened.locate(row, col))

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries; see `xsr.core.types.WindowFunction`.

        After the bands follow what `finish` needs: the interpolated sharp bands, and the slopes of each of the larger
        pixels on each of them. Until then bands of larger pixels are sharpened and interpolated alone.
        """
        cut = self.halo - super().halo
        trim = slice(cut, -cut or None)
        out = super().__call__(window[..., trim, trim], rows - cut, cols - cut, cell)
        if not np.isfinite(out[:, self.larger]).any():
            count = len(self.sharp) * (1 + len(self.larger))
            return np.concatenate([out, np.full((len(out), count, *out.shape[2:]), np.nan, np.float32)], axis=1)
        edge = self.halo - AROUND
        y, x = (np.arange(edge, size - edge, dtype=np.float64) for size in window.shape[2:])
        level = self.sharpened(window, y, x, (1.0, 1.0))
        base, slopes = self._injected(level, out, rows - edge, cols - edge)
        return np.concatenate([out, base, np.float32(finer(cell)) * slopes], axis=1)

    def _injected(
        self, level: Stack, out: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64]
    ) -> tuple[Stack, Stack]:
        """Write interpolated bands of larger pixels; return the interpolated sharp bands, and the slopes."""
        valid, filled = np.isfinite(level), self.fill_nodata(level)
        base = interpolate_filled(filled, rows, cols, "bicubic").reshape(out.shape)
        out[:, self.larger] = remask(base[:, self.larger], valid[:, self.larger], rows, cols)
        images = filled.reshape(level.shape)
        found = np.stack([injection.slopes(one[self.sharp], one[self.larger]) for one in images])
        flat = found.reshape(-1, *found.shape[3:])
        near = interpolate_filled(flat, rows - injection.WINDOW, cols - injection.WINDOW, "bilinear")
        return base[:, self.sharp], near.reshape(len(out), -1, *out.shape[2:])

    def finish(self, out: Stack) -> Stack:
        """Add the detail of the sharp bands to the others; see `xsr.core.types.FinishedFunction`."""
        count, sharp = len(self.picks), self.sharp
        made, slopes = out[:, :count], out[:, count + len(sharp) :]
        for date, band in np.ndindex(len(out), len(sharp)):
            added = np.nan_to_num(made[date, sharp[band]] - out[date, count + band])
            for number, larger in enumerate(self.larger):
                made[date, larger] += slopes[date, number * len(sharp) + band] * added
        return made.copy()  # what is kept of a block does not hold the slopes
