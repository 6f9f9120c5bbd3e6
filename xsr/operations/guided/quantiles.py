"""Quantiles of a sharpened temperature: how large its error is likely to be, pixel by pixel."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xsr.core import graph
from xsr.core.cube import Cube
from xsr.core.errors import ParameterError
from xsr.core.types import XarrayObject
from xsr.intervals import CALIBRATED, MEANING, Error, Table, along_quantiles, calibrated, check_alone, model_of, shares
from xsr.models.card import ModelCard
from xsr.operations.guided.networks import MISSING
from xsr.operations.guided.planes import Planes, layer
from xsr.operations.guided.steps import Steps

FREE, HELD = 0, 1
"""Channels of a model of errors: of the network's own result, and of that held within the response of a sensor."""


def requested(
    quantiles: Any, card: ModelCard | None, others: Mapping[str, Any], conserve: object, mtf: object
) -> tuple[float, ...]:
    """Check the quantiles requested of a result; none where none are.

    Parameters
    ----------
    quantiles
        What the user gives: a number, several, or None.
    card
        Of the network.
    others
        Arguments of the same call with which errors were not measured, methods without a network among them.
    conserve, mtf
        As of `xsr.guided`.

    Raises
    ------
    ParameterError
        If they are not numbers in (0, 1) that rise, or come with such an argument, or with means over the area.
    ModelError
        If the errors of the network were not measured.
    """
    if quantiles is None:
        return ()
    given = shares(quantiles)
    check_alone(others)
    if conserve is not None and mtf is None:
        raise ParameterError(
            f"quantiles with conserve={conserve!r} and no mtf; errors were measured of results held within the response"
            " of a sensor, and of those not held. Give mtf=, or leave conserve out."
        )
    assert card is not None  # others has the method
    model_of(card)
    return given


def with_quantiles(
    fine: XarrayObject,
    target: Cube,
    steps: Steps,
    card: ModelCard,
    quantiles: Sequence[float],
    *,
    result: xr.DataArray,
    base: xr.DataArray,
    flag: xr.DataArray,
    held: bool,
    device: str,
) -> XarrayObject:
    """Add the dimension ``quantile`` to a result.

    Parameters
    ----------
    fine
        Result, as the user gets it.
    target
        Its input.
    steps
        How it was made.
    card
        Of the network.
    quantiles
        See `requested`.
    result, base, flag
        Its values, the interpolation of its input, and how each was made, dims (time, band, y, x).
    held
        Whether its means are held within a response.
    device
        Where the model of errors is evaluated.

    Raises
    ------
    ParameterError
        If errors were not measured at such a scale.
    """
    stated, spec = model_of(card)
    scale = 1 / math.sqrt(steps.cell[0] * steps.cell[1])
    _check_scale(stated, scale)
    picks = (HELD if held else FREE,)
    table = Table.of(stated, picks, scale)
    ranges = table.least, table.greatest, table.middle, table.root
    function = Error(spec, stated.image, picks, scale, device, *ranges)
    both = Planes(xr.concat([result, base], dim="band"), steps.geobox)
    error = both.to(steps.geobox, function, steps.chunks, bands=1).data

    def above(quantile: float) -> XarrayObject:
        offset = graph.each(partial(table.offset, quantile=quantile), error, np.float32)
        return target.rewrap(offset, steps.geobox, {})

    found = along_quantiles(fine, quantiles, above, stated.name)
    like = graph.each(calibrated, error, np.bool_) & ((flag.data & MISSING) == 0)
    return found.assign_coords({CALIBRATED: layer(target, like, steps.geobox, {"long_name": MEANING})})


def _check_scale(stated: ModelCard, scale: float) -> None:
    """Refuse a scale beyond those at which errors were measured."""
    ends = [end for row in stated.calibration for end in row["scale"]]
    if not min(ends) <= scale <= max(ends):
        raise ParameterError(
            f"quantiles of a result {scale:.3g} times finer; errors were measured from {min(ends):g} to {max(ends):g}."
            " Choose such a scale=, or leave quantiles out."
        )
