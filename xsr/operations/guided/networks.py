"""Guided networks on the patch lattice, in the range of each date."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import graph
from xsr.core.blocks import Padding, Span
from xsr.core.errors import ModelError, ParameterError
from xsr.core.types import Stack
from xsr.kernels.lattice import Image, Lattice, Source, blend
from xsr.kernels.limits import limits
from xsr.models import registry
from xsr.models.card import ModelCard
from xsr.models.channels import Channels
from xsr.operations.guided.planes import finite

PATCH = 128
"""Side of a patch in output pixels, for a network whose card names none."""
MISSING, AT_LIMIT = 1, 2
"""Bits of the coordinate ``flag``."""


def lattice_of(card: ModelCard, factor: int) -> Lattice:
    """Lattice of a network: of each patch a sixteenth is discarded on every side, an eighth overlaps the next.

    Raises
    ------
    ModelError
        If the patch cannot be divided so into whole pixels of the coarse grid.
    """
    patch = PATCH if card.patch is None else card.patch
    stride, trim = 3 * patch // 4, patch // 16
    if patch % 16 or patch % factor or stride % factor:
        raise ModelError(
            f"model {card.name!r} reads patches of {patch} pixels; expected a multiple of 16, of which three"
            f" quarters are a multiple of the factor {factor}. Correct the card, or choose another factor."
        )
    return Lattice(patch, stride, trim)


def reads_low(card: ModelCard) -> bool:
    """Whether a network reads the image before it was enlarged, too."""
    return card.factor > 1 if card.factor is not None else registry.record_of(card).reads_low


@dataclass(frozen=True)
class GuidedNetwork:
    """Block function of a guided network.

    Reads the normalised image enlarged by a bicubic kernel, the same by nearest neighbour, and the bands of the guide.
    Makes two bands: the normalised result, and whether the network's last ReLU cut it off (1) or not (0).
    """

    spec: registry.ModelSpec
    device: str
    lattice: Lattice
    channels: Channels
    """Channels of the guide."""
    picks: tuple[int, ...]
    """Channel of each band of the guide."""
    residual: bool
    """Whether the output is added to the enlarged image."""
    clips: bool
    """Whether the network ends in a ReLU."""
    factor: int | None = None
    """Output pixels in a coarse one, for a network that reads the coarse image."""
    scale: int = 2
    """About as many for any network."""
    corner: tuple[int, int] = (0, 0)
    """First pixel of the block."""
    padding: Padding = "reflect"

    @property
    def halo(self) -> int:
        """Pixels around a block that the patches touching it cover."""
        return self.lattice.halo

    def place(self, dates: Span, rows: Span, cols: Span) -> "GuidedNetwork":
        """Bind to a rectangle of output pixels."""
        return replace(self, corner=(rows.start, cols.start))

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        out = np.full((*window.shape[:2], rows.size, cols.size), np.nan, np.float32)
        if not np.isfinite(window[:, 0]).any():
            return out
        origin = self.corner[0] - round(rows[0]), self.corner[1] - round(cols[0])
        own = Span(self.corner[0], self.corner[0] + rows.size), Span(self.corner[1], self.corner[1] + cols.size)
        made = blend(self._predict, [Source(window, origin)], *own, self.lattice)
        y, x = np.rint(rows).astype(np.int64), np.rint(cols).astype(np.int64)
        valid = np.isfinite(window[:, :1, y[:, None], x])
        out[:, :2] = np.where(valid, made, np.float32(np.nan))
        return out

    def _predict(self, stacks: Sequence[Image]) -> Image:
        """Patches (n, 2, P, P) of patches (n, 2 + guide, P, P)."""
        from xsr.models.predictor import predict_guided
        from xsr.models.threads import threads

        (stack,) = stacks
        filled = fill_nearest(stack)
        image, near = filled[:, :1], filled[:, 1:2]
        known = np.isfinite(filled[:, 2:])
        guide = self.channels.standardise(np.where(known, filled[:, 2:], np.float32(0)), self.picks)
        guide[:, list(self.picks)] *= known  # what is unknown is held at the mean
        middle = None if self.factor is None else slice(self.factor // 2, None, self.factor)
        low = None if middle is None else np.ascontiguousarray(np.nan_to_num(near[:, :, middle, middle]))
        image = np.nan_to_num(image)
        device = registry.resolve_device(self.device)
        with threads(graph.threads_each()):
            output = predict_guided(self.spec, np.ascontiguousarray(image), guide, device, low=low, scale=self.scale)
        cut = (output <= 0) & self.clips
        return np.concatenate((image + output if self.residual else output, cut.astype(np.float32)), axis=1)


def fill_nearest(stack: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give every invalid pixel of each image (..., h, w) the value of the nearest valid one, if there is one."""
    from scipy.ndimage import distance_transform_edt

    valid = np.isfinite(stack)
    if valid.all():
        return stack
    out = np.where(valid, stack, np.float32(np.nan))
    for index in np.ndindex(stack.shape[:-2]):
        if valid[index].any() and not valid[index].all():
            nearest = distance_transform_edt(~valid[index], return_distances=False, return_indices=True)
            out[index] = stack[index][tuple(nearest)]
    return out


def clips(card: ModelCard) -> bool:
    """Whether a network ends in a ReLU."""
    return registry.record_of(card).clips(card.config)


def ranges(low: xr.DataArray, given: tuple[float, float] | None) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Limits of each date in kelvin, and whether it varies at all; (time,), lazy if the image is.

    Parameters
    ----------
    low
        Low-resolution image in kelvin, dims (time, band, y, x).
    given
        Limits for all dates, instead of those derived from the image.
    """
    over = ("band", "y", "x")
    valid = finite(low)
    values = low.where(valid, 0).astype(np.float64)
    lowest = low.where(valid, np.inf).min(over, skipna=False).astype(np.float64)
    highest = low.where(valid, -np.inf).max(over, skipna=False).astype(np.float64)
    varies = highest > lowest
    if given is not None:
        ends = [xr.full_like(lowest, value) for value in given]
        return ends[0], ends[1], varies
    found = xr.apply_ufunc(
        limits,
        valid.sum(over),
        values.sum(over),
        (values**2).sum(over),
        lowest,
        highest,
        output_core_dims=[[], []],
        dask="parallelized",
        output_dtypes=[np.float64, np.float64],
    )
    return found[0], found[1], varies


def check_limits(given: object) -> tuple[float, float] | None:
    """Refuse limits that are no range of temperatures.

    Raises
    ------
    ParameterError
        With what was given.
    """
    if given is None:
        return None
    try:
        low, high = (float(value) for value in given)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not 0 <= low < high < np.inf:
        raise ParameterError(f"limits={given!r}; expected two temperatures in kelvin, the lower first: (270, 330).")
    return low, high
