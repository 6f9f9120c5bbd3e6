"""What a metric is: numbers of every pixel, whose sums add up over blocks, and a formula of their means.

`Terms` makes numbers of the pixels of one block. Their count and sums, added over the blocks of an image or of a
stratum of it, are all that a `Metric` depends on: no metric is a mean of means, and none depends on the chunks. Arrays
only: nothing here knows xarray or Dask.
"""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.core.errors import ParameterError
from xsr.kernels.fidelity import LowSensor, degrade_window, high_pass_window
from xsr.kernels.pixels import Sums, cut, map_sums

T = TypeVar("T")
Floats: TypeAlias = NDArray[np.floating[Any]]
Need = Literal["reference", "low", "base", "data_range", "scale", "sensor"]
"""What a metric may need: an image to compare with, the one that detail was added to (that of ``low`` interpolated, or
given), the arguments ``data_range`` and ``scale``, or the point spread function of the low-resolution sensor, whose
scale is that of ``low`` or is given."""


@dataclass(frozen=True)
class Pixels:
    """The pixels of one block that terms are made of: one band, or all bands for terms of the whole spectrum.

    Arrays have shape (h, w), or (band, h, w) for terms of the whole spectrum. Pixels that do not count are NaN: no
    data, masked, beyond the border or outside the image.
    """

    rows: Span
    """Rows of the block, counted from the image's corner."""
    cols: Span
    wide_image: NDArray[Any]
    """Image with `halo` pixels more along each side."""
    wide_reference: NDArray[Any] | None
    """Reference with as many."""
    halo: int
    low_image: NDArray[Any] | None = None
    """Low-resolution pixels whose centre lies in the block."""
    low_spans: tuple[Span, Span] = (Span(0, 0), Span(0, 0))
    """Their rows and columns."""
    sensor: LowSensor | None = None
    """Point spread function and scale of the low-resolution sensor; with ``sensor`` among the needs."""
    data_range: float = 1.0
    scale: float = 1.0
    wide_base: NDArray[Any] | None = None
    """Image without the added detail, as wide as the others."""

    @property
    def image(self) -> NDArray[Any]:
        """Image that is evaluated."""
        return cut(self.wide_image, self.halo)

    @property
    def reference(self) -> NDArray[Any]:
        """Image that it is compared with."""
        return cut(_present(self.wide_reference, "reference"), self.halo)

    @property
    def base(self) -> NDArray[Any]:
        """Image without the added detail; with ``base`` among the needs."""
        return cut(_present(self.wide_base, "base"), self.halo)

    @property
    def low(self) -> NDArray[Any]:
        """Low-resolution pixels whose centre lies in the block; with ``low`` among the needs."""
        return _present(self.low_image, "low")

    def around(self, before: int, after: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Image and reference with pixels before and after the block, at most those of `Terms.reach`."""
        if max(before, after) > self.halo:
            raise ParameterError(
                f"terms read {before} pixels before and {after} after, and {self.halo} are there; expected no more than"
                f" they state. Give them reach=({before}, {after})."
            )
        return (
            cut(self.wide_image, self.halo, before, after),
            cut(_present(self.wide_reference, "reference"), self.halo, before, after),
        )

    def detail(self, which: Literal["image", "reference", "error"]) -> Floats:
        """High-pass x - up(D(x)) of the image, the reference, or of image minus reference; see `high_pass_window`."""
        sensor, wide = _present(self.sensor, "sensor"), self.wide_image
        if which != "image":
            reference = _present(self.wide_reference, "reference")
            wide = wide - reference if which == "error" else reference
        found: Floats = high_pass_window(wide[None], sensor, rows=self.rows, cols=self.cols, origin=self._origin)[0]
        return found

    def degraded(self) -> Floats:
        """Image as the low-resolution sensor observes it, D(image), at the pixels of `low`."""
        sensor = _present(self.sensor, "sensor")
        found: Floats = degrade_window(self.wide_image[None], sensor, low=self.low_spans, origin=self._origin)[0]
        return found

    @property
    def _origin(self) -> tuple[int, int]:
        """Row and column of the first pixel of the wide images."""
        return self.rows.start - self.halo, self.cols.start - self.halo

    def band(self, number: int, sensor: LowSensor | None) -> "Pixels":
        """Pixels of one band of all."""
        given = {
            name: image[number]
            for name in ("wide_image", "wide_reference", "wide_base", "low_image")
            if (image := getattr(self, name)) is not None
        }
        return replace(self, **given, sensor=sensor)


def _present(value: T | None, need: Need) -> T:
    if value is None:
        raise ParameterError(f"terms read what they do not state to need; expected {need!r} among their needs=.")
    return value


@dataclass(frozen=True)
class Terms:
    """Numbers of every pixel. Metrics that are formulas of the same means share the terms.

    Examples
    --------
    >>> products = Terms(("xy", "yy"), lambda pixels: [pixels.image * pixels.reference, pixels.reference**2])
    >>> products.width
    3
    """

    columns: tuple[str, ...]
    """Name of each number."""
    maps: Callable[[Pixels], Sequence[Floats]]
    """Function of a `Pixels` that returns one array for each column, shape (h, w); NaN where a pixel does not count. A
    pixel counts where all columns are finite. With ``low`` among the needs, arrays have the shape of `Pixels.low`."""
    needs: Set[Need] = frozenset({"reference"})
    """What the function reads beside the image."""
    reach: tuple[int, int] = (0, 0)
    """Pixels before and after a pixel, along both axes, that its numbers depend on; the terms of the sensor find their
    own."""
    spectrum: bool = False
    """Whether the numbers of a pixel are made of all its bands together."""
    sums: Callable[[Pixels], Sums] | None = None
    """Faster way to the count and the sums, shape (1 + column,)."""
    infinities: bool = False
    """Whether infinite pixels may be among those that the functions get: NaN is found in their place otherwise."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        object.__setattr__(self, "needs", frozenset(self.needs))  # terms are keys: they have to be hashable

    @property
    def width(self) -> int:
        """Number of sums: the count first, then one for each column."""
        return 1 + len(self.columns)

    def stacked(self, pixels: Pixels) -> NDArray[np.float64]:
        """Numbers of every pixel, shape (column, h, w)."""
        first, *others = self.maps(pixels)
        return np.stack([first, *others], dtype=np.float64) if others else np.asarray(first, np.float64)[None]

    def add_up(self, pixels: Pixels) -> Sums:
        """Count of one block and its sums, shape (1 + column,)."""
        return map_sums(self.stacked(pixels))[0] if self.sums is None else self.sums(pixels)

    def views(self, pixels: Pixels, sensors: Sequence[LowSensor | None]) -> list[tuple[slice, Pixels]]:
        """Bands, and the pixels that their numbers are made of; without those whose sensor is not known but needed."""
        count = len(pixels.wide_image)
        if self.spectrum:
            return [(slice(0, count), pixels)]
        known = [*sensors, *[None] * (count - len(sensors))]
        return [
            (slice(b, b + 1), pixels.band(b, sensor))
            for b, sensor in enumerate(known)
            if sensor is not None or "sensor" not in self.needs
        ]


@dataclass(frozen=True)
class Means:
    """Means of the terms over all pixels that count, and the settings: what a formula reads.

    ``means["column"]`` is an array that begins with the bands, NaN where no pixel counts.
    """

    columns: tuple[str, ...]
    sums: Sums
    """The count first, then the sum of each column, along the last axis."""
    data_range: float
    scale: float

    @property
    def count(self) -> Sums:
        """Number of pixels that count."""
        return np.asarray(self.sums[..., 0], np.float64)

    def __getitem__(self, column: str) -> Sums:
        if column not in self.columns:
            raise ParameterError(f"a formula reads the column {column!r}; its terms have {', '.join(self.columns)}.")
        total = self.sums[..., 1 + self.columns.index(column)]
        return np.asarray(total / np.where(self.count > 0, self.count, np.nan), np.float64)


@dataclass(frozen=True)
class Metric:
    """A formula of means over pixels: one row of the table of `xsr.evaluate` and `xsr.strata`."""

    name: str
    """Name of the variable in the result, and in ``metrics=``."""
    unit: str
    long_name: str
    terms: Terms
    """Numbers whose means it is made of."""
    formula: Callable[[Means], Sums]
    """Function of the `Means`; it works on arrays of any shape that begins with the bands."""
    needs: Set[Need] = frozenset()
    """What the formula needs beside the needs of the terms: ``data_range``, ``scale``."""
    over_bands: bool = False
    """Whether the formula joins all bands: it returns one number where there is one for each band."""

    @property
    def requires(self) -> frozenset[Need]:
        """All that it needs."""
        return frozenset((*self.needs, *self.terms.needs))


@dataclass(frozen=True)
class Sheet:
    """Metrics to compute, and the columns of the sums that they are computed from."""

    metrics: tuple[Metric, ...]
    first: Terms
    """Terms whose count is that of the pixels; they come first."""
    data_range: float
    scale: float

    @property
    def columns(self) -> dict[Terms, slice]:
        """Columns of each of the terms among the sums, the count first."""
        found, start = {}, 0
        for terms in dict.fromkeys((self.first, *(metric.terms for metric in self.metrics))):
            found[terms] = slice(start, start + terms.width)
            start += terms.width
        return found

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(terms.width for terms in self.columns)

    def requires(self, *needs: Need) -> bool:
        """Whether a metric needs one of these."""
        return any(not metric.requires.isdisjoint(needs) for metric in self.metrics)

    @property
    def infinities(self) -> bool:
        """Whether infinite pixels need not be sought."""
        return all(terms.infinities for terms in self.columns)

    def halo(self, sensors: Sequence[LowSensor | None], *, least: int = 0) -> int:
        """Pixels around a block that its sums depend on."""
        found = [least, *(max(terms.reach) for terms in self.columns)]
        if self.requires("sensor"):
            found += [sensor.halo for sensor in sensors if sensor is not None]
        return max(found)

    def values(self, sums: Sums) -> list[Sums]:
        """Metrics from the sums, shape (band, ..., column); each has the shape (band, ...)."""
        columns = self.columns
        with np.errstate(divide="ignore", invalid="ignore"):
            return [self._value(metric, sums[..., columns[metric.terms]]) for metric in self.metrics]

    def _value(self, metric: Metric, sums: Sums) -> Sums:
        means = Means(metric.terms.columns, sums, self.data_range, self.scale)
        return np.broadcast_to(metric.formula(means), sums.shape[:-1])
