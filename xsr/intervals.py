"""What a model of errors says of a result: its table of quantiles, and the block function that evaluates it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import checks
from xsr.core.blocks import Padding
from xsr.core.cube import Cube
from xsr.core.errors import ModelError, ParameterError
from xsr.core.types import Stack, XarrayObject
from xsr.kernels import spread
from xsr.kernels.resample import fill_nodata
from xsr.models import registry
from xsr.models.card import ModelCard
from xsr.models.channels import Channels

MIDDLE = 0.5
"""The quantile that the estimate itself is."""
EXACT = -1
"""Channel of a band that has no error."""
CALIBRATED = "interval_calibrated"
"""Coordinate that says where the image is like those of the calibration."""
MEANING = "whether the image around the pixel is like those on which intervals were calibrated"
ROWS = 64
"""Rows whose features are held at once."""
PIXELS = 1 << 13
"""Pixels whose errors are predicted at once: hidden layers that stay in cache are three times as fast."""


def shares(quantiles: Any) -> tuple[float, ...]:
    """Check what a user gives for quantiles: a number, or several.

    Raises
    ------
    ParameterError
        If they are not numbers in (0, 1) that rise.
    """
    given = list(quantiles) if isinstance(quantiles, Sequence | np.ndarray) else [quantiles]
    numbers = all(map(checks.is_number, given))
    if not given or not numbers or not all(0 < one < 1 for one in given) or given != sorted(set(given)):
        raise ParameterError(
            f"quantiles={quantiles!r}; expected different numbers in (0, 1) that rise, such as (0.05, 0.5, 0.95)."
        )
    return tuple(map(float, given))


def check_alone(others: Mapping[str, Any]) -> None:
    """Refuse arguments with which errors were not measured; those that are None are not given.

    Raises
    ------
    ParameterError
        With the first.
    """
    beside = [name for name, value in others.items() if value is not None]
    if beside:
        raise ParameterError(
            f"quantiles with {beside[0]}={others[beside[0]]!r}; the errors of such results were not measured. Leave one"
            " out."
        )


def model_of(card: ModelCard) -> tuple[ModelCard, registry.ModelSpec]:
    """Model of the errors of another.

    Raises
    ------
    ModelError
        If there is none.
    """
    if not card.intervals:
        raise ModelError(
            f"the errors of model {card.name!r} were never measured: its card names no intervals. Leave quantiles out,"
            " or choose a model whose card does, such as liif_s2 or dctnet_lst."
        )
    return registry.card(card.intervals), registry.spec(card.intervals)


def along_quantiles(
    fine: XarrayObject, quantiles: Sequence[float], above: Callable[[float], XarrayObject], name: str
) -> XarrayObject:
    """Join the quantiles of a result along a dimension; the result itself is that of `MIDDLE`.

    Parameters
    ----------
    fine
        Result.
    quantiles
        See `shares`.
    above
        What a quantile is above the result.
    name
        Name of the model of its errors, which an attribute keeps.
    """
    with xr.set_options(keep_attrs=True):  # type: ignore[no-untyped-call]
        parts: list[Any] = [fine if one == MIDDLE else fine + above(one) for one in quantiles]
    joined: Any = xr.concat(parts, dim="quantile", coords="minimal", compat="override", join="override")
    index = xr.Variable("quantile", list(quantiles), {"long_name": "share of the likely values below"})
    found: XarrayObject = joined.assign_coords(quantile=index).assign_attrs(xsr_intervals=name)
    return found


def of_pixels(found: XarrayObject, cube: Cube) -> xr.Variable:
    """Keep one band of what is alike in all."""
    if isinstance(found, xr.Dataset):
        found = next(one for one in found.data_vars.values() if set(cube.spatial) <= set(one.dims))
    (dim,) = cube.names.of(["band"])
    one = found.isel({dim: 0}) if dim in found.dims else found
    return xr.Variable(one.dims, one.data, {"long_name": MEANING})


def calibrated(error: Stack) -> NDArray[np.bool_]:
    """Where a block of `Error` is like the calibration."""
    known: NDArray[np.bool_] = error > 0
    return known


@dataclass(frozen=True)
class Table:
    """Quantiles of the error over what a model of errors expects of it, of each band of a cube."""

    share: tuple[float, ...]
    """Shares of the errors."""
    ratio: tuple[tuple[tuple[float, ...], ...], ...]
    """Error of which that share is no larger, over what is expected, by band and stratum."""
    expected: tuple[tuple[float, ...], ...]
    """Expected error in the middle of each stratum, by band, in reflectance; between them ratios are interpolated."""
    least: tuple[tuple[float, ...], ...]
    """Range of each feature that the calibration has, by band; features are brought into it."""
    greatest: tuple[tuple[float, ...], ...]
    middle: tuple[float, ...] = ()
    """Mean of the features `xsr.kernels.spread.SMOOTH` of all bands of the calibration; none on older cards."""
    root: tuple[tuple[float, ...], ...] = ()
    """Root of their inverse covariance, over the distance that is far; see `xsr.kernels.spread.unlikeness`."""

    @classmethod
    def of(cls, card: ModelCard, picks: Sequence[int], scale: float) -> "Table":
        """Read the table of the range of scales nearest to a scale off a card.

        Raises
        ------
        ModelError
            If the card has none that fits its bands.
        """
        try:
            found = min(card.calibration, key=lambda row: abs(math.log(scale / math.sqrt(math.prod(row["scale"])))))
            expected, least, greatest = (
                tuple(() if pick == EXACT else tuple(map(float, found[name][pick])) for pick in picks)
                for name in ("expected", "least", "greatest")
            )
            ratio = tuple(() if pick == EXACT else _ratios(found["ratio"][pick]) for pick in picks)
            typical = _typical(found, [pick for pick in picks if pick != EXACT]) if "far" in found else ()
            return cls(tuple(map(float, found["share"])), ratio, expected, least, greatest, *typical)
        except (LookupError, TypeError, ValueError) as error:
            raise ModelError(
                f"the calibration of {card.name!r} cannot be read ({error!r}); expected what training wrote. Fetch its"
                " card again."
            ) from error

    @staticmethod
    def reads_days(card: ModelCard) -> bool:
        """Whether a model of errors reads how far the nearest clear date is: it has one feature more."""
        return len(card.image) * spread.COUNT < (card.inputs or 0)

    def offset(self, error: Stack, *, quantile: float) -> Stack:
        """From expected errors (time, band, y, x) to what a quantile is above the estimate."""
        share, sign = abs(2 * quantile - 1), np.float32(np.sign(quantile - MIDDLE))
        out = np.zeros_like(error)
        for band, (ratios, middles) in enumerate(zip(self.ratio, self.expected, strict=True)):
            if not ratios:
                continue
            factors = np.array([np.interp(share, self.share, ratio) for ratio in ratios], np.float32)
            out[:, band] = spread.scaled(np.abs(error[:, band]), np.array(middles, np.float32), sign * factors)
        return out


def _ratios(strata: Any) -> tuple[tuple[float, ...], ...]:
    """Ratios of a band, of the card."""
    return tuple(tuple(map(float, part)) for part in strata)


def _typical(row: Mapping[str, Any], picks: Sequence[int]) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """Mean of the features of some bands, and the root of their inverse covariance."""
    size = len(spread.SMOOTH)
    index = np.concatenate([np.arange(size * pick, size * (pick + 1)) for pick in picks])
    covariance = np.array(row["covariance"], float)[np.ix_(index, index)]
    root = spread.rooted(covariance) / math.sqrt(row["far"][len(picks) - 1])
    return tuple(np.array(row["middle"], float)[index].tolist()), tuple(map(tuple, root.tolist()))


@dataclass(frozen=True)
class Error:
    """Block function: expected error of a result, from the result and the interpolation of its input beside it.

    It is negative where the image around a pixel is unlike those of the calibration. Bands without error have a size of
    1, of which no quantile is made.
    """

    task: ClassVar[str] = "error_size"

    spec: registry.ModelSpec
    channels: Channels
    picks: tuple[int, ...]
    scale: float
    device: str
    least: tuple[tuple[float, ...], ...]
    """Of each feature but the scale, by band; see `Table`."""
    greatest: tuple[tuple[float, ...], ...]
    middle: tuple[float, ...] = ()
    """Of the features that say what kind of image it is; see `Table`."""
    root: tuple[tuple[float, ...], ...] = ()
    timed: bool = False
    """Whether the days to the nearest clear date lie beside."""
    padding: Padding = "reflect"

    @property
    def halo(self) -> int:
        """What the features depend on, and what filling all of that needs."""
        return 2 * spread.MARGIN

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries, which are pixels; see `xsr.core.types.WindowFunction`."""
        from xsr.models.predictor import predict_fixed

        top, left, edge = round(float(rows[0])), round(float(cols[0])), spread.MARGIN
        known = [(band, pick) for band, pick in enumerate(self.picks) if pick != EXACT]
        of, picks = [band for band, _ in known], [pick for _, pick in known]
        std = np.array(self.channels.std, np.float32)
        ranges = [tuple(np.array(ends[band], np.float32) for ends in (self.least, self.greatest)) for band in of]
        bands = len(self.picks)
        filled = fill_nodata(window.reshape(-1, *window.shape[2:]), passes=spread.MARGIN, constant=0)
        filled = filled.reshape(window.shape)
        count = spread.COUNT + self.timed
        shape = len(window), len(known), len(rows), len(cols)
        logarithm, beyond = np.empty((2, *shape), np.float32)
        unlike = np.zeros((len(window), len(rows), len(cols)), np.float32)
        middle, root = np.array(self.middle, np.float32), np.array(self.root, np.float32)
        across, device = slice(left - edge, left + len(cols) + edge), registry.resolve_device(self.device)
        for first in range(0, len(rows), ROWS):
            last = min(first + ROWS, len(rows))
            read = filled[..., top + first - edge : top + last + edge, across]
            inputs = np.zeros((len(window), len(self.channels), count, last - first, len(cols)), np.float32)
            for number, images in enumerate(read):
                days = images[-1] if self.timed else None
                for band, pick in known:
                    pair = images[band] / std[pick], images[bands + band] / std[pick]
                    spread.features(*pair, self.scale, inputs[number, pick], days=days)
                if self.root:
                    kind = inputs[number][np.ix_(picks, spread.SMOOTH)]
                    unlike[number, first:last] = spread.unlikeness(kind.reshape(-1, *kind.shape[2:]), middle, root)
                for place, (_, pick) in enumerate(known):
                    beyond[number, place, first:last] = spread.confined(inputs[number, pick], *ranges[place])
            flat = inputs.reshape(len(window), -1, *inputs.shape[3:])
            step = max(1, PIXELS // len(cols))
            for row in range(0, last - first, step):
                part = predict_fixed(self.spec, flat[:, :, row : row + step], device)
                logarithm[:, :, first + row : min(first + row + step, last)] = part[:, picks]
        error = np.ones((len(window), bands, len(rows), len(cols)), np.float32)
        error[:, of] = np.exp(logarithm + beyond) * std[picks, None, None]
        return np.where(unlike[:, None] > 1, -error, error)
