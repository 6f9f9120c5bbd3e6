"""How the coordinates of a cube are registered to a grid that it states.

Coordinates are pixel centres. Part of a stated grid, or every n-th pixel of it, or the means of n of its pixels, are no
contradiction: attributes outlive slicing and averaging. Half a pixel between the two means that the coordinates are
corners, as stackstac, cubo and sentle write them: the statement is followed. All else is refused: either may be wrong.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from affine import Affine

from xsr.core.axes import JITTER, Axis
from xsr.core.errors import GridError, XsrWarning, calling
from xsr.core.statements import Statement, describe, is_rotated

Axes = tuple[Axis, Axis]
AGREE = 0.01
"""Share of a pixel by which a statement may lie off the coordinates: text with few decimals."""
SAME = 1e-6
"""Share of a pixel up to which the numbers of a statement stand for those of the coordinates, as in odc-geo."""


@dataclass(frozen=True)
class _Match:
    """How an axis is registered to a stated one."""

    shift: float
    """Stated pixels by which the coordinates must move: 0, or half a pixel."""
    axis: Axis
    """The axis in the numbers of the statement."""
    fits: bool
    """Whether the stated axis is as near to the coordinates as their rounding allows."""


Matches = tuple[_Match, _Match]


def affine_of(found: Axes) -> Affine:
    """Affine from pixel coordinates, (0, 0) at the outer corner of the first pixel, of axes (y, x)."""
    y, x = found
    return Affine(x.step, 0.0, x.corner, 0.0, y.step, y.corner)


def reconcile(found: Axes, stated: list[Statement]) -> tuple[Axes, str | None]:
    """Axes in the light of what is stated, and why they were moved to pixel centres, if they were.

    Parameters
    ----------
    found
        Axes (y, x) of the coordinates.
    stated
        What the cube states; of the statements that are not binding, those count that fit.

    Raises
    ------
    GridError
        If a binding statement contradicts the coordinates or another by more than its registration.

    Warns
    -----
    XsrWarning
        If the coordinates are corners by what is stated.
    """
    matches = [(statement, _match(found, statement)) for statement in stated]
    for statement, match in matches:
        if match is None and statement.binding:
            raise GridError(
                f"the coordinates give {describe(affine_of(found))}, {statement.source} gives"
                f" {describe(statement.affine)}; expected one grid, or a part of it. Drop what is wrong: the statement"
                f" ({statement.remedy}), or the coordinates (drop_vars)."
            )
    fitting = [(s, m) for s, m in matches if m is not None and s.binding] or [(s, m) for s, m in matches if m]
    if not fitting:
        return found, None
    shifts = {(m[0].shift, m[1].shift): s for s, m in fitting}
    if len(shifts) > 1:
        one, two, *_ = shifts.values()
        raise GridError(
            f"{one.source} gives {describe(one.affine)}, {two.source} {describe(two.affine)}: they lie half a pixel"
            f" apart; expected one grid. Drop what is wrong: {one.remedy}, or {two.remedy}."
        )
    statement, match = fitting[0]
    if any(axis.shift for axis in match):
        return (match[0].axis, match[1].axis), _moved(found, statement, match)
    return _refined(found, statement.affine, match), None


def agrees(found: Axes, statement: Statement) -> bool:
    """Whether axes are on a stated grid without being moved."""
    match = _match(found, statement)
    return match is not None and not any(axis.shift for axis in match)


def _refined(found: Axes, stated: Affine, match: Matches) -> Axes:
    """Prefer the numbers of a statement to estimates, and to those of the very same grid in other digits."""
    if not any(math.isnan(axis.step) for axis in found):
        apart = np.subtract(tuple(~stated @ affine_of(found)), tuple(Affine.identity()))
        if np.abs(apart).max() < SAME:
            return match[0].axis, match[1].axis
    y, x = (m.axis if axis.estimated and m.fits else axis for axis, m in zip(found, match, strict=True))
    return y, x


def _moved(found: Axes, statement: Statement, match: Matches) -> str:
    """Say that coordinates were corners."""
    (y, x), (down, across) = found, match
    warnings.warn(
        f"the coordinates begin at ({x.start:.12g}, {y.start:.12g}), by {statement.source} on the edge of a pixel;"
        f" expected its centre, ({across.axis.start:.12g}, {down.axis.start:.12g}). The statement is followed: the"
        " coordinates are moved by half a pixel. Assign those of the centres, or drop the statement"
        f" ({statement.remedy}).",
        XsrWarning,
        stacklevel=calling(),
    )
    return f"coordinates moved from pixel corners to centres, as {statement.source} states"


def _match(found: Axes, statement: Statement) -> Matches | None:
    """How both axes are registered to a stated grid; None where they contradict it by more than half a pixel."""
    match = _on(found, statement, statement.affine)
    if match is not None and statement.point and any(m.shift for m in match):
        points = _on(found, statement, statement.affine @ Affine.translation(-0.5, -0.5))
        match = points if points is not None and not any(m.shift for m in points) else match
    if match is None and statement.mapping and not is_rotated(statement.affine):
        parts = _on(found, statement, statement.affine @ Affine.scale(*_parts(found, statement.affine)))
        match = parts if parts is not None and not any(m.shift for m in parts) else None
    return match


def _parts(found: Axes, affine: Affine) -> tuple[float, float]:
    """Size of pixels that divide stated ones into whole parts, (x, y), as shares of these."""
    shares = [abs(axis.step / step) for axis, step in zip(found, (affine.e, affine.a), strict=True)]
    down, across = (1 / round(1 / share) if 0 < share < 1 else 1.0 for share in shares)
    return across, down


def _on(found: Axes, statement: Statement, affine: Affine) -> Matches | None:
    if is_rotated(affine):
        return None
    steps, sizes = (affine.e, affine.a), statement.shape or (None, None)
    factors = [axis.step / step for axis, step in zip(found, steps, strict=True)]
    known = [abs(factor) for factor in factors if not math.isnan(factor)]
    factors = [(known or [1.0])[0] if math.isnan(factor) else factor for factor in factors]
    lines = zip(found, (affine.f, affine.c), steps, factors, sizes, strict=True)
    y, x = (
        _along(axis, corner=corner, step=step, factor=round(factor), size=size, corners=statement.corners)
        for axis, corner, step, factor, size in lines
    )
    return None if y is None or x is None else (y, x)


def _along(axis: Axis, *, corner: float, step: float, factor: int, size: int | None, corners: bool) -> _Match | None:
    """Register an axis to a stated one whose pixels are ``factor`` times smaller, against its order if negative."""
    if factor == 0:
        return None
    first, last = ((centre - corner) / step - 0.5 for centre in (axis.start, axis.stop))
    position, length = round(2 * first) / 2, factor * (axis.size - 1)
    off = max(abs(first - position), abs(last - position - length))
    slack = axis.slack / abs(step)
    if off > AGREE + slack:
        return None
    for shift in _shifts(position, position + length, factor, corners=corners):
        low, high = sorted((position + shift, position + shift + length))
        if low >= 0 and (size is None or high <= size - 1):
            centre = position + shift + 0.5
            edge = corner + (centre - factor / 2) * step
            moved = Axis(corner + centre * step, factor * step, axis.size, edge)
            return _Match(shift, moved, fits=off <= JITTER + slack)
    return None


def _shifts(first: float, last: float, factor: int, *, corners: bool) -> tuple[float, ...]:
    """List the moves that may bring coordinates to centres, likeliest first.

    Every n-th pixel is at a whole position, the mean of an even number of pixels between two. A corner is the
    top-left one, unless rows run against the stated order and end on its first edge but one.
    """
    between, even = bool(first % 1), factor % 2 == 0
    if even and corners:  # every second corner, or the mean of two centres: indistinguishable
        return ()
    if not between:
        return (0.0,)
    if even:
        return (0.0, 0.5)
    return (-0.5,) if factor < 0 and last == 0.5 else (0.5,)
