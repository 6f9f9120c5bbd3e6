"""Block functions of networks, and what their operations check and record alike."""

import re
import warnings
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import graph
from xsr.core.blocks import Padding, Span
from xsr.core.cube import Cube
from xsr.core.errors import CubeError, ParameterError, XsrWarning, calling
from xsr.core.grid import crs_name, resolution, utm_equator_m
from xsr.core.provenance import made_by
from xsr.core.target_times import TargetTime
from xsr.core.types import Stack
from xsr.kernels import resample
from xsr.kernels.gaps import fill_gaps
from xsr.kernels.temporal import nearest
from xsr.models import foreign, registry
from xsr.models.card import ModelCard
from xsr.models.channels import Channels
from xsr.models.precision import Exact, resolve_precision

FILL = 4
"""Passes of no-data filling before the band's mean takes over."""
GAP_REACH = 24
"""Pixels from a gap at which a date of a series is still compared with the others to fill it."""
TRUST = 0.7
"""Share that the mean over filled dates has in the base; the mean over clear dates has the rest. Chosen on the training
series: the errors of the two cancel in part."""
OWN_M = 10.0
"""Sentinel-2's finest pixels, at multiples of which its grids begin."""
LANDSAT_M = 30.0
"""Landsat's pixels, whose grids begin half a pixel beside multiples of their size."""
PLATFORM = ("platform", "constellation", "mission")
"""Attributes that name the satellite of a cube."""
ON_GRID = 1e-3
"""Share of such a pixel by which a grid may be off."""


Extent: TypeAlias = tuple[EllipsisType, slice, slice]
"""Rows and columns of images."""


@dataclass(frozen=True)
class Network:
    """What the block functions of networks share: fill no-data, standardise, evaluate, re-mask."""

    spec: registry.ModelSpec
    channels: Channels
    picks: tuple[int, ...]
    """Channel of each band of the cube."""
    radius: int
    """Receptive field radius of the network in pixels."""
    device: str
    padding: Padding = "reflect"
    precision: Exact = "float32"
    """Of the network between its first and its last layer."""

    @property
    def halo(self) -> int:
        """The network's reach beyond the pixels next to a query, and what filling needs beyond that."""
        return self.radius - 1 + FILL

    def predict(
        self,
        images: NDArray[np.float32],
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> NDArray[np.float32]:
        """Output of the network at the positions, shape (date, channel, H, W), standardised."""
        raise NotImplementedError

    def base(
        self, filled: NDArray[np.float32], rows: NDArray[np.float64], cols: NDArray[np.float64]
    ) -> NDArray[np.float32] | None:
        """Image (n, H, W) to which the network's output is added; None where the output is the image itself."""
        return resample.interpolate_filled(filled, rows, cols, "bicubic")

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        shape = (*window.shape[:2], *query_shape(rows, cols))
        valid = np.isfinite(window)
        if not valid.any():
            return np.full(shape, np.nan, np.float32)
        filled, images = self.prepare(window)
        out = self.predict(images, rows, cols, cell)[:, list(self.picks)]
        base = self.base(filled, rows, cols)
        out = self.channels.restore(out, self.picks, None if base is None else base.reshape(shape))
        return out if valid.all() else remask(out, valid, rows, cols)

    def prepare(self, window: Stack) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Fill no data and standardise.

        Returns
        -------
        filled : ndarray
            Reflectance, shape (date * band, h, w).
        images : ndarray
            The network's numbers, shape (date, channel, h, w); zero in channels that the cube lacks.
        """
        filled = self.fill_nodata(window)
        return filled, self.channels.standardise(filled.reshape(window.shape), self.picks)

    def fill_nodata(self, window: Stack) -> NDArray[np.float32]:
        """Fill invalid pixels from their neighbours, then by a constant of the band; shape (date * band, h, w)."""
        stack = window.reshape(-1, *window.shape[2:])
        constant = np.array(self.channels.constant, np.float32)[list(self.picks)]
        return resample.fill_nodata(stack, passes=FILL, constant=np.tile(constant, len(window)))


def query_shape(rows: NDArray[np.float64], cols: NDArray[np.float64]) -> tuple[int, ...]:
    """Shape (H, W) of queries, whether they are a grid's axes or points."""
    return rows.shape if rows.ndim == 2 else (rows.size, cols.size)


def remask(out: Stack, valid: NDArray[np.bool_], rows: NDArray[np.float64], cols: NDArray[np.float64]) -> Stack:
    """Set to NaN the queries that lie in an invalid pixel (date, band, h, w)."""
    flat = resample.remask(out.reshape(-1, *out.shape[2:]), valid.reshape(-1, *valid.shape[2:]), rows, cols)
    return flat.reshape(out.shape)


@dataclass(frozen=True)
class Continuous(Network):
    """Block function of a continuous network: its output at the positions is added to the bicubic base."""

    task: ClassVar[str] = "liif"

    def predict(
        self,
        images: NDArray[np.float32],
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> NDArray[np.float32]:
        """Query the network; see `Network.predict`."""
        from xsr.models.predictor import predict_continuous
        from xsr.models.threads import threads

        device = registry.resolve_device(self.device)
        with threads(graph.threads_each()):
            return predict_continuous(self.spec, images, rows, cols, cell, device, self.precision)


@dataclass(frozen=True)
class FixedFactor(Network):
    """Block function of a fixed-scale network: its output pixels are the positions."""

    task: ClassVar[str] = "sisr"

    factor: int = 2
    residual: bool = True
    """Whether the output is added to the bicubic base."""

    @property
    def halo(self) -> int:
        """The network's reach beyond the pixel that an output lies in, and what filling needs beyond that."""
        return self.radius + FILL

    def base(
        self, filled: NDArray[np.float32], rows: NDArray[np.float64], cols: NDArray[np.float64]
    ) -> NDArray[np.float32] | None:
        """Bicubic base of a residual network; see `Network.base`."""
        return super().base(filled, rows, cols) if self.residual else None

    def predict(
        self,
        images: NDArray[np.float32],
        rows: NDArray[np.float64],
        cols: NDArray[np.float64],
        cell: tuple[float, float],
    ) -> NDArray[np.float32]:
        """Evaluate as much of the window as its output pixels need; see `Network.predict`."""
        from xsr.models.predictor import predict_fixed
        from xsr.models.threads import threads

        window, inner = self.extent(rows, cols)
        # The rest of the window was there to be filled from.
        read = np.ascontiguousarray(images[window])
        with threads(graph.threads_each()):
            made = predict_fixed(self.spec, read, registry.resolve_device(self.device), self.precision, self.radius)
        return made[inner]

    def extent(self, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> tuple[Extent, Extent]:
        """Part of the window that the network reads for some output pixels, and these within its output."""
        y, x = (self._span(v) for v in (rows, cols))
        (top, bottom), (left, right) = ((span.start // self.factor, -(-span.stop // self.factor)) for span in (y, x))
        first_row, first_col = y.start - top * self.factor, x.start - left * self.factor
        return (
            np.s_[..., top - self.radius : bottom + self.radius, left - self.radius : right + self.radius],
            np.s_[..., first_row : first_row + len(y), first_col : first_col + len(x)],
        )

    def _span(self, positions: NDArray[np.float64]) -> Span:
        """Output pixels of an axis, which lie side by side."""
        first = round((float(positions[0]) + 0.5) * self.factor - 0.5)
        return Span(first, first + len(positions))


@dataclass(frozen=True)
class Temporal(Network):
    """Block function of a temporal network: its output is added to the bicubic base of a mean over the dates."""

    task: ClassVar[str] = "liif"

    target_times: tuple[TargetTime, ...] = ()
    frames: int = 5
    """Clear dates used, pixel by pixel: the nearest to the target time."""
    fill: bool = True
    """Whether gaps of the dates are filled from the others that may be used, for the mean over the dates."""

    @property
    def reach(self) -> int:
        """Pixels from a gap at which its date is compared with others."""
        return GAP_REACH if self.fill else 0

    @property
    def halo(self) -> int:
        """What the network needs, and what filling from other dates needs beyond that."""
        return super().halo + self.reach

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        from xsr.models.predictor import interpolates_in_time, predict_temporal, temporal_margin
        from xsr.models.threads import threads

        trim = slice(self.reach, -self.reach or None)
        inner, rows, cols = window[..., trim, trim], rows - self.reach, cols - self.reach
        valid = np.isfinite(inner)
        shape = (len(self.target_times), window.shape[1], *query_shape(rows, cols))
        known = np.stack([valid[list(target.picks)].any(axis=0) for target in self.target_times])
        if not known.any():
            return np.full(shape, np.nan, np.float32)
        _, images = self.prepare(inner)
        device = registry.resolve_device(self.device)
        spare = 0 if known.all() else FILL
        margin = temporal_margin(self.spec, inner.shape[-2:], rows, cols, spare, device, self.precision)
        near = (..., slice(margin, -margin or None), slice(margin, -margin or None))
        window, known, rows, cols = window[near], known[near], rows - margin, cols - margin
        whole = np.asarray(valid[near].all(axis=1))
        used = [nearest(whole[list(target.picks)], target.offset, self.frames) for target in self.target_times]
        linear = interpolates_in_time(self.spec, device, self.precision)
        series = (self.series(window, target, linear=linear) for target in self.target_times)
        with threads(graph.threads_each()):
            composite, detail = predict_temporal(
                self.spec, images, self.target_times, used, series, rows, cols, cell, device, self.precision, margin
            )
        pick, (mean, std) = list(self.picks), self.channels.statistics(self.picks)
        clear, filled = composite[0], composite[-1]
        blend = (clear + np.float32(TRUST) * (filled - clear))[:, pick] * std + mean
        mean_image = self.fill_nodata(np.where(known, blend, np.float32(np.nan)))
        base = resample.interpolate_filled(mean_image, rows, cols, "bicubic").reshape(shape)
        out: Stack = base + detail[:, pick] * std
        return out if known.all() else remask(out, known, rows, cols)

    def series(self, window: Stack, target: TargetTime, *, linear: bool = False) -> NDArray[np.float32]:
        """Dates whose mean a target time starts from, clear and then filled; see `predict_temporal`.

        With ``linear`` only gaps that linear interpolation in time reads are filled.
        """
        trim, dates = slice(self.reach, -self.reach or None), window[list(target.picks)]
        inner = dates[..., trim, trim]
        clear = np.where(np.isfinite(inner), inner, np.float32(np.nan))
        offset = target.offset if linear else None
        known = np.stack([clear, fill_gaps(dates, reach=self.reach, offset=offset)] if self.fill else [clear])
        return self.channels.standardise(known, self.picks)


def provenance(operation: str, card: ModelCard, precision: Exact) -> dict[str, Any]:
    """Attributes by which a result names the model it was made with, and the precision."""
    return made_by(operation, model=card.name, weights_sha256=card.sha256, precision=precision)


def exact_precision(precision: str, card: ModelCard, *, residual: bool, device: str) -> Exact:
    """Resolve a precision for a network; one without a trunk of convolutions runs in float32.

    Raises
    ------
    ParameterError
        If another is requested of such a network.
    """
    exact = resolve_precision(precision, residual=residual, device=device)
    if registry.record_of(card).trunk is not None:
        return exact
    if precision == "bfloat16":
        what = "ONNX network" if foreign.is_foreign(card) else "network"
        raise ParameterError(f"precision={precision!r}; the {what} of {card.name!r} has its own. Leave it out.")
    return "float32"


def refuse_temperature(cube: Cube, card: ModelCard) -> None:
    """Refuse a temperature where a network was trained on reflectance.

    Raises
    ------
    CubeError
        With the operation that sharpens temperatures.
    """
    if cube.is_temperature and card.units != "K":
        raise CubeError(
            f"the cube states a temperature; model {card.name!r} was trained on reflectance. Sharpen temperatures with"
            " guided (cube.sr.guided(guide)), or interpolate."
        )


def warn_of_pixel_size(cube: Cube, card: ModelCard) -> None:
    """Warn if the cube's pixels are far from those of the low-resolution images in training."""
    crs = cube.geobox.crs
    if crs is None or not crs.projected or "metre" not in crs.units:
        return
    doubt = card.doubt_of_pixels(resolution(cube.geobox)[0])
    if doubt:
        warnings.warn(doubt, XsrWarning, stacklevel=calling())


def warn_of_grid(cube: Cube, card: ModelCard) -> None:
    """Warn if a cube of Sentinel-2 is not on the sensor's own pixels, unless xsr has made its grid."""
    attrs = cube.original.attrs
    stated = [str(attrs[name]).lower() for name in PLATFORM if name in attrs]
    other = bool(stated) and not any(re.search(r"s(entinel)?[-_ ]?2", text) for text in stated)
    if card.sensor != "sentinel-2" or other or cube.regridded:
        return
    fault = _fault(cube.geobox)
    if fault:
        warnings.warn(
            f"{fault}, where Sentinel-2's pixels do not lie; expected a grid of its UTM zone, at multiples of 10 m. If"
            f" the cube was resampled by nearest neighbour, cube.sr.native() gives the sensor's pixels back; model"
            f" {card.name!r} would sharpen what resampling left.",
            XsrWarning,
            stacklevel=calling(),
        )


def _fault(geobox: GeoBox) -> str:
    """Say how a grid differs from those of Sentinel-2's products; empty if it does not."""
    crs, a = geobox.crs, geobox.affine
    assert crs is not None
    if utm_equator_m(crs) is None:
        return f"the cube lies in {crs_name(geobox)}"
    if a.b or a.d:
        return "the cube's grid is rotated"
    down, across = resolution(geobox)
    on_landsat = down == across == LANDSAT_M and _multiples(LANDSAT_M, a.c - LANDSAT_M / 2, a.f - LANDSAT_M / 2)
    if on_landsat or _multiples(OWN_M, down, across, a.c, a.f):
        return ""
    return f"the cube's pixels of {across:g} m begin at ({a.c:.10g}, {a.f:.10g})"


def _multiples(size_m: float, *places: float) -> bool:
    """Whether places are multiples of a pixel size, by `ON_GRID`."""
    return all(abs(place / size_m - round(place / size_m)) <= ON_GRID for place in places)


def warn_of_scale(scale: float, card: ModelCard) -> None:
    """Warn if the scale is beyond those of training."""
    if scale > card.scale_range[1] * (1 + 1e-6):
        warnings.warn(
            f"scale {scale:g} is beyond those model {card.name!r} was trained for ({card.scale_range[0]:g} to"
            f" {card.scale_range[1]:g}); expect the result to look smoother than its pixel size.",
            XsrWarning,
            stacklevel=calling(),
        )
