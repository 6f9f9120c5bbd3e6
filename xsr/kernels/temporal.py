"""Weights of the dates of a series for one target time, pixel by pixel, over gaps."""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Padding
from xsr.core.errors import ParameterError
from xsr.kernels.resample import Interpolation

Temporal: TypeAlias = Literal["linear", "nearest", "mean"]
"""How dates are combined: linearly between the neighbours in time, the nearest alone, the plain mean of some."""
TEMPORAL: tuple[str, ...] = get_args(Temporal)


class Target(Protocol):
    """What a target time says of its dates; see `xsr.core.target_times.TargetTime`."""

    @property
    def picks(self) -> tuple[int, ...]:
        """Which of the dates of a window may be used, in time order."""

    @property
    def offset(self) -> NDArray[np.float64]:
        """Days from the target time to each of them."""


def date_weights(
    valid: NDArray[np.bool_], offset: NDArray[np.float64], *, method: str, frames: int
) -> NDArray[np.float32]:
    """Weigh dates by their distance to a target time, among those on which a pixel is valid.

    Parameters
    ----------
    valid
        Whether a pixel is valid on a date, shape (date, ...).
    offset
        Time of each date minus the target time, in days, shape (date,), ascending.
    method
        ``linear``: the last valid date before and the first after, by their distances; where there is none on one
        side, the nearest on the other. ``nearest``: the nearest valid date, the earlier of two. ``mean``: the
        ``frames`` nearest valid dates alike.
    frames
        See ``mean``.

    Returns
    -------
    ndarray
        Shape of ``valid``; sums to one over the dates, to zero where no date is valid.
    """
    if method == "linear":
        return _linear(valid, offset)
    if method not in TEMPORAL:
        raise ParameterError(f"temporal={method!r}; expected one of {', '.join(TEMPORAL)}.")
    used = nearest(valid, offset, 1 if method == "nearest" else frames)
    weights: NDArray[np.float32] = (used / np.maximum(used.sum(axis=0), 1)).astype(np.float32)
    return weights


def nearest(valid: NDArray[np.bool_], offset: NDArray[np.float64], frames: int) -> NDArray[np.bool_]:
    """Keep, for each pixel, the ``frames`` valid dates nearest to the target time; the earlier of two as near."""
    order = np.argsort(np.abs(offset), kind="stable")
    rank = np.cumsum(valid[order], axis=0)
    used = np.empty_like(valid)
    used[order] = valid[order] & (rank <= frames)
    return used


def _linear(valid: NDArray[np.bool_], offset: NDArray[np.float64]) -> NDArray[np.float32]:
    over = (-1,) + (1,) * (valid.ndim - 1)
    before = nearest(valid & (offset <= 0).reshape(over), offset, 1)
    after = nearest(valid & (offset >= 0).reshape(over), offset, 1)
    distance = np.abs(offset).reshape(over)
    to_before, to_after = (np.where(side, distance, 0).sum(axis=0) for side in (before, after))
    both = before.any(axis=0) & after.any(axis=0)
    span = np.where(both & (to_before + to_after > 0), to_before + to_after, 1)
    share = np.where(both, to_before / span, after.any(axis=0))  # of the date after; zero on the date itself
    weights: NDArray[np.float32] = (before * (1 - share) + after * share).astype(np.float32)
    return weights


@dataclass(frozen=True)
class TemporalInterpolation(Interpolation):
    """Block function: weigh the dates pixel by pixel, then interpolate in space."""

    temporal: str = "linear"
    frames: int = 5
    target_times: tuple[Target, ...] = ()

    def __call__(
        self,
        window: NDArray[np.float32],
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> NDArray[np.float32]:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        valid = np.isfinite(window)
        known = np.where(valid, window, np.float32(0))
        images = []
        for target in self.target_times:
            picks = list(target.picks)
            weight = date_weights(valid[picks], target.offset, method=self.temporal, frames=self.frames)
            image = np.einsum("t...,t...->...", weight, known[picks])
            images.append(np.where(valid[picks].any(axis=0), image, np.float32(np.nan)))
        return super().__call__(np.stack(images), rows, cols, cell)


@dataclass(frozen=True)
class DaysAway:
    """Block function: days from a target time to the nearest date that is valid in every band; NaN without one."""

    target_times: tuple[Target, ...]
    halo: int = 0
    padding: Padding = "edge"

    def __call__(
        self,
        window: NDArray[np.float32],
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> NDArray[np.float32]:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        valid = np.asarray(np.isfinite(window).all(axis=1))
        y, x = (np.floor(v + 0.5).astype(np.int64) for v in (rows, cols))
        at = (y[:, None], x) if rows.ndim == 1 else (y, x)
        out = np.empty((len(self.target_times), 1, *np.broadcast_shapes(*(part.shape for part in at))), np.float32)
        for number, target in enumerate(self.target_times):
            away = np.abs(target.offset)[:, None, None]
            nearest_of = np.where(valid[list(target.picks)], away, np.inf).min(axis=0)
            out[number, 0] = np.where(np.isfinite(nearest_of), nearest_of, np.nan)[at]
        return out
