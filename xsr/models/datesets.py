"""The sets of valid dates that occur in a series: what follows from them is computed once for each, not for pixels."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Weigh: TypeAlias = Callable[[Tensor, Tensor, Tensor | float], Tensor]
"""Function of ``days``, ``valid`` and ``tau`` that treats all pixels alike; its result has the shape of ``valid``, or
that without the axis of the dates."""
TABLE = 12
"""Most dates whose sets, a power of two, are all in a table; the sets of more are sorted."""
BITS = 62
"""Most dates of which a set is an integer; of more, every pixel is computed by itself."""


class DateSets:
    """Sets of valid dates of the pixels of a series.

    Parameters
    ----------
    days
        Times of acquisition in days from any origin, (T,) or (B, T).
    valid
        Boolean, (B, T, ...).
    tau
        Query time in days, a number or (B,). Where images have times of their own, every pixel is computed by itself.

    Examples
    --------
    >>> valid = torch.tensor([[[True, True, False], [True, False, True]]])
    >>> sets = DateSets(torch.tensor([0.0, 10.0]), valid, 4.0)
    >>> sets.each(lambda days, valid, tau: valid / valid.sum(1, keepdim=True))
    tensor([[[0.5000, 1.0000, 0.0000],
             [0.5000, 0.0000, 1.0000]]])
    """

    def __init__(self, days: Tensor, valid: Tensor, tau: Tensor | float) -> None:
        self._days, self._valid, self._tau = days, valid, tau
        self._which: Tensor | None = None
        dates = valid.shape[1]
        if days.numel() == dates and torch.as_tensor(tau).numel() == 1 and dates <= BITS and valid.numel():
            sets, self._which = _found(valid)
            self._sets = (sets[:, None] >> torch.arange(dates, device=valid.device) & 1).bool()

    def each(self, weigh: Weigh) -> Tensor:
        """Call a function for each set that occurs, and give every pixel what its set has."""
        if self._which is None:
            return weigh(self._days, self._valid, self._tau)
        made = weigh(self._days.reshape(-1), self._sets, self._tau).movedim(0, -1)  # ([date,] set)
        shape = self._valid[:, 0].shape
        if len(self._sets) == 1:
            return made.reshape(1, *made.shape[:-1], *(1 for _ in shape[1:])).expand(
                shape[0], *made.shape[:-1], *shape[1:]
            )
        picked: Tensor = made.contiguous().index_select(-1, self._which).unflatten(-1, shape)
        return picked.transpose(0, 1) if made.ndim == 2 else picked


def _found(valid: Tensor) -> tuple[Tensor, Tensor]:
    """Find the sets that occur, as integers, and which of them each pixel has."""
    dates = valid.shape[1]
    code = valid[:, 0].flatten().to(torch.int32 if dates < 31 else torch.int64)
    for date in range(1, dates):
        code |= valid[:, date].flatten().to(code.dtype) << date
    if dates > TABLE:
        sets, which = code.unique(return_inverse=True)
        return sets, which
    sets = torch.bincount(code, minlength=1 << dates).nonzero()[:, 0]
    places = torch.zeros(1 << dates, dtype=torch.int64, device=valid.device)
    places[sets] = torch.arange(len(sets), device=valid.device)
    return sets, places[code.long()] if len(sets) > 1 else code
