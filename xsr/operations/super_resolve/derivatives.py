"""Derivatives of the block functions of networks along a path of their input, split by date, band and pixel.

What a network reads is differentiated in reverse, through the network; what comes before it, interpolation, regressions
and the fusion of dates, along the path: by the difference between two neighbouring inputs. Their product is exact for
any network and any preparation of its input.
"""

from dataclasses import dataclass, replace
from functools import singledispatch
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from xsr.core.types import Stack
from xsr.kernels import fusion
from xsr.kernels.resample import interpolation_taps
from xsr.kernels.temporal import nearest
from xsr.models import registry
from xsr.operations.super_resolve.dates import Fused, Reading
from xsr.operations.super_resolve.networks import TRUST, Continuous, FixedFactor, Network, Temporal

Floats: TypeAlias = NDArray[np.float64]
Pair: TypeAlias = tuple[Stack, Stack]
"""The same array at the beginning and at the end of a step."""


@dataclass(frozen=True)
class Queries:
    """Where a block function is evaluated: the axes of a grid in pixels of the window, and the size of its pixels."""

    rows: Floats
    cols: Floats
    cell: tuple[float, float]

    def inward(self, by: int) -> "Queries":
        """Count from a pixel farther down and to the right."""
        return replace(self, rows=self.rows - by, cols=self.cols - by)


@dataclass(frozen=True)
class Step:
    """Windows (date, band, h, w) of one step of a path."""

    before: Stack
    middle: Stack
    after: Stack

    def along(self, date: int, band: int) -> Pair | None:
        """Move one band of one date alone, from the beginning to the end of the step; None if it does not change."""
        start, stop = self.before[date, band], self.after[date, band]
        if np.array_equal(start, stop, equal_nan=True):
            return None
        first, last = self.middle.copy(), self.middle.copy()
        first[date, band], last[date, band] = start, stop
        return first, last


@singledispatch
def contributions(function: Network, step: Step, queries: Queries, wanted: Stack) -> Floats:
    """Find by how much each pixel of each band of each date changes a scalar of the output, over a step.

    Parameters
    ----------
    function
        Block function of a network; one of several dates at one target time.
    step
        Its windows, shape (date, band, h, w).
    queries
        Where it is evaluated.
    wanted
        Derivative of the scalar by the output at the middle of the step, shape (band, H, W).

    Returns
    -------
    ndarray
        Shape (date, band, h, w). Their sum is the change of the scalar, to the third order of the step.
    """
    raise NotImplementedError


def _by_numbers(function: Network, wanted: Stack, count: int) -> Stack:
    """Turn a derivative by reflectance into one by the network's numbers, shape (1, count, H, W)."""
    out = np.zeros((1, count, *wanted.shape[1:]), np.float32)
    _, std = function.channels.statistics(function.picks)
    out[0, list(function.picks)] = wanted * std * np.float32(function.channels.step)
    return out


def _by_base(wanted: Stack, queries: Queries, shape: tuple[int, int]) -> Floats:
    """Turn a derivative by interpolated values into one by the pixels of the image, of ``shape``."""
    down, across = (
        interpolation_taps(places, "bicubic").matrix(size)[0]
        for places, size in zip((queries.rows, queries.cols), shape, strict=True)
    )
    return np.asarray(down.T @ wanted @ across)


def _of_images(
    function: Network, step: Step, queries: Queries, wanted: Stack, by_images: Stack, *, base: bool
) -> Floats:
    """Contributions where every channel of a network is a band of the cube."""
    (start, first), (stop, last) = (function.prepare(window) for window in (step.before, step.after))
    shape = step.middle.shape
    out = (by_images.astype(np.float64) * (last - first))[:, list(function.picks)]
    if base:
        out += _by_base(wanted, queries, (shape[2], shape[3])) * (stop - start).reshape(shape)
    return out


@contributions.register
def _(function: Continuous, step: Step, queries: Queries, wanted: Stack) -> Floats:
    from xsr.models.sensitivity import continuous_sensitivity

    _, images = function.prepare(step.middle)
    by_out = _by_numbers(function, wanted, len(function.channels))
    device = registry.resolve_device(function.device)
    by_images = continuous_sensitivity(function.spec, images, by_out, queries.rows, queries.cols, queries.cell, device)
    return _of_images(function, step, queries, wanted, by_images, base=True)


@contributions.register
def _(function: FixedFactor, step: Step, queries: Queries, wanted: Stack) -> Floats:
    from xsr.models.sensitivity import fixed_sensitivity

    _, images = function.prepare(step.middle)
    window, inner = function.extent(queries.rows, queries.cols)
    read = np.ascontiguousarray(images[window])
    size = [(length - 2 * function.radius) * function.factor for length in read.shape[2:]]
    by_out = np.zeros((1, len(function.channels), *size), np.float32)
    by_out[inner] = _by_numbers(function, wanted, len(function.channels))
    by_images = np.zeros_like(images)
    device = registry.resolve_device(function.device)
    by_images[window] = fixed_sensitivity(function.spec, read, by_out, device, function.radius)
    return _of_images(function, step, queries, wanted, by_images, base=function.residual)


@contributions.register
def _(function: Temporal, step: Step, queries: Queries, wanted: Stack) -> Floats:
    from xsr.models.sensitivity import temporal_sensitivity

    (target,), reach = function.target_times, function.reach
    trim = (..., slice(reach, -reach or None), slice(reach, -reach or None))
    inner, near = step.middle[trim], queries.inward(reach)
    _, images = function.prepare(inner)
    series = function.series(step.middle, target)
    used = nearest(np.asarray(np.isfinite(inner).all(axis=1)), target.offset, function.frames)
    by_mean = np.zeros((len(series), *series.shape[2:]), np.float32)
    _, std = function.channels.statistics(function.picks)
    by_pixels = _by_base(wanted, near, (inner.shape[2], inner.shape[3])) * std
    shares = (1 - TRUST, TRUST) if len(series) == 2 else (1.0,)
    for version, share in zip(by_mean, shares, strict=True):
        version[list(function.picks)] = share * by_pixels
    by_detail = _by_numbers(function, wanted, len(function.channels))[0]
    by_images, by_series = temporal_sensitivity(
        *(function.spec, images, series, (by_mean, by_detail), target, used),
        *(near.rows, near.cols, near.cell, registry.resolve_device(function.device)),
    )
    first, last = (function.prepare(window[trim])[1] for window in (step.before, step.after))
    start, stop = (np.nan_to_num(function.series(window, target)) for window in (step.before, step.after))
    part = by_images.astype(np.float64) * (last - first) + (by_series.astype(np.float64) * (stop - start)).sum(axis=0)
    out = np.zeros(step.middle.shape)
    out[trim] = part[:, list(function.picks)]
    return out


@contributions.register
def _(function: Fused, step: Step, queries: Queries, wanted: Stack) -> Floats:
    from xsr.models.sensitivity import continuous_sensitivity

    middle = _reading(function, step.middle, queries)
    by_out = _by_numbers(function, wanted, len(function.channels))
    device = registry.resolve_device(function.device)
    by_inputs = continuous_sensitivity(
        function.spec, middle.inputs, by_out, middle.rows, middle.cols, queries.cell, device
    )
    out = np.zeros((step.middle.shape[0], function.bands, *step.middle.shape[2:]))
    size = middle.inputs.shape[2:]
    edge = (out.shape[2] - size[0]) // 2
    pixels = tuple(fusion.pixel_of(at, length) for at, length in zip((middle.rows, middle.cols), size, strict=True))
    for date, band in np.ndindex(out.shape[:2]):
        pair = step.along(date, band)
        if pair is None:
            continue
        first, last = (_reading(function, window, queries) for window in pair)
        found = (by_inputs.astype(np.float64) * (last.inputs - first.inputs))[0].sum(axis=0)
        change = (last.base - first.base)[0, list(function.picks)]
        np.add.at(found, np.ix_(*pixels), (wanted * change).sum(axis=0))
        out[date, band, edge : edge + size[0], edge : edge + size[1]] = found
    return out


def _reading(function: Fused, window: Stack, queries: Queries) -> Reading:
    """Make what a network that reads dates reads of a window."""
    if not function.target_times:
        return function.read(window, queries.rows, queries.cols, queries.cell)
    near = queries.inward(function.beside)
    return function.read_at(function.target_times[0], window, near.rows, near.cols, near.cell)
