"""Quantiles of a result: how large its error is likely to be, pixel by pixel."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from xsr.core import graph, pipeline
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import ModelError, ParameterError
from xsr.core.grid import Refinement, Sampling
from xsr.core.target_times import TargetTime
from xsr.core.types import XarrayObject
from xsr.intervals import (
    CALIBRATED,
    Error,
    Table,
    along_quantiles,
    calibrated,
    check_alone,
    model_of,
    of_pixels,
    shares,
)
from xsr.kernels.resample import Interpolation
from xsr.kernels.temporal import DaysAway, TemporalInterpolation
from xsr.models import registry
from xsr.models.card import ModelCard
from xsr.operations.super_resolve.sharpness import Sharpness


def requested(
    quantiles: Any, card: ModelCard, others: Mapping[str, Any], psf: Sharpness | None, *, timed: bool = False
) -> tuple[float, ...]:
    """Check the quantiles requested of results of a model; none where none are.

    Parameters
    ----------
    quantiles
        What the user gives: a number, several, or None.
    card
        Of the model.
    others
        Arguments of the same call with which errors were not measured; None where they are not given.
    psf
        Sharpness of the result.
    timed
        Whether it is of target times.

    Raises
    ------
    ParameterError
        If they are not numbers in (0, 1) that rise, or come with one of those arguments.
    ModelError
        If the errors of the model were not measured, or not those of target times.
    """
    if quantiles is None:
        return ()
    given = shares(quantiles)
    check_alone(others)
    stated, _ = model_of(card)
    if timed != Table.reads_days(stated):
        raise ModelError(
            f"quantiles {'with' if timed else 'without'} t=...; the errors of model {card.name!r} were measured"
            f" {'date by date' if timed else 'at target times'} alone. {'Leave one out' if timed else 'Give t'}."
        )
    if psf != "sensor":
        raise ParameterError(
            f"quantiles with psf={psf!r}; errors were measured against images as sharp as the sensor. Leave psf out."
        )
    return given


@dataclass(frozen=True)
class Made:
    """Values of a result, and of pixels around it that its errors are read from too."""

    values: Any
    """Array (time, band, y, x)."""
    sizes: tuple[tuple[int, ...], tuple[int, ...]]
    """Of its blocks, (y, x)."""
    sampling: Sampling
    """Where its pixels lie in the cube."""
    inside: tuple[slice, slice]
    """Where the result lies in it, (y, x)."""
    dress: Callable[[Any], XarrayObject]
    """From an array of the result's shape to the form of the result."""

    def inner(self, values: Any) -> Any:
        """Cut off the pixels around."""
        return values[(..., *self.inside)]


def with_quantiles(
    fine: XarrayObject,
    cube: Cube,
    card: ModelCard,
    picks: Sequence[int],
    quantiles: Sequence[float],
    *,
    scale: float | None = None,
    resolution: float | None = None,
    device: str,
    chunks: int | Sequence[int] | None,
    made: Made | None = None,
    moments: pipeline.Moments | None = None,
) -> XarrayObject:
    """Add the dimension ``quantile`` to a result, where quantiles are requested.

    Parameters
    ----------
    fine
        Result of a model.
    cube
        Its input.
    card
        Of the model.
    picks
        Channel of each band; `EXACT` for one whose values are those of the input.
    quantiles
        See `requested`; without any the result is returned as it is.
    scale, resolution, device, chunks
        As of the result.
    made
        Its values, where there are more than the result has.
    moments
        Its target times, if it has some.
    """
    if not quantiles:
        return fine
    stated, spec = model_of(card)
    opened = open_cube(fine, units="reflectance")
    if made is None:
        made = _made(opened, cube, scale, resolution, pipeline.resolve_chunks(chunks))
    factor = 1 / math.sqrt(made.sampling.cell[0] * made.sampling.cell[1])
    table = Table.of(stated, picks, factor)
    error, inner = _errors(made, cube, moments, table, spec, stated, picks, factor, device), made.inner

    def above(quantile: float) -> XarrayObject:
        return made.dress(inner(graph.each(partial(table.offset, quantile=quantile), error, np.float32)))

    found = along_quantiles(fine, quantiles, above, stated.name)
    if not table.root:
        return found
    like = made.dress(inner(graph.each(calibrated, error, np.bool_)))
    return found.assign_coords({CALIBRATED: of_pixels(like, opened)})


def _made(opened: Cube, cube: Cube, scale: float | None, resolution: float | None, chunks: tuple[int, int]) -> Made:
    """Values of a result on the grid of a cube, which ends where the cube ends."""
    geobox, sampling = pipeline.resolve_target(cube, scale=scale, resolution=resolution, like=None)
    sizes, all_of = opened.block_sizes(sampling.shape, chunks), slice(None)
    dress = partial(opened.rewrap, geobox=geobox, provenance={})
    return Made(opened.data.data, sizes, sampling, (all_of, all_of), dress)


def _errors(
    made: Made,
    cube: Cube,
    moments: pipeline.Moments | None,
    table: "Table",
    spec: registry.ModelSpec,
    stated: ModelCard,
    picks: Sequence[int],
    factor: float,
    device: str,
) -> Any:
    """Compute the expected errors (time, band, y, x) of a result; see `Error`."""
    ranges = table.least, table.greatest, table.middle, table.root
    function = Error(spec, stated.image, tuple(picks), factor, device, *ranges, timed=moments is not None)
    beside = read_beside(cube, moments, made.sampling, made.sizes)
    shape = made.sampling.shape
    plan = graph.make_plan(Refinement(shape, (1.0, 1.0)), shape, halo=function.halo, chunks=made.sizes)
    return graph.run(function, np.concatenate([made.values, *beside], axis=1), plan, bands=made.values.shape[1])


def read_beside(
    cube: Cube, moments: pipeline.Moments | None, sampling: Sampling, sizes: tuple[tuple[int, ...], tuple[int, ...]]
) -> list[Any]:
    """Interpolation of a cube, and at target times the days to the nearest clear date, as arrays of blocks."""
    if moments is None:
        return [pipeline.values(cube, Interpolation("bicubic"), sampling, chunks=sizes)]
    base = pipeline.values_at(cube, moments, _between_dates, sampling, chunks=sizes)
    return [base, pipeline.values_at(cube, moments, DaysAway, sampling, chunks=sizes, bands=1)]


def _between_dates(target_times: tuple[TargetTime, ...]) -> TemporalInterpolation:
    return TemporalInterpolation("bicubic", target_times=target_times)
