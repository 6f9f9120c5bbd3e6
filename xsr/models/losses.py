"""Fidelity as differentiable losses: the metrics ``low_fidelity`` and ``high_fidelity`` of `xsr.evaluate` on tensors.

The weights are those of the metrics, handed over as matrices (see `xsr.kernels.fidelity.axis_operators`), so that
training optimises what evaluation measures. What reaches beyond the patch or meets no data does not count.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class AxisOperators(Protocol):
    """Blur, decimation and interpolation along one axis; `xsr.kernels.fidelity.AxisOperators`."""

    @property
    def down(self) -> NDArray[np.float64]:
        """Shape (low, high)."""

    @property
    def up(self) -> NDArray[np.float64]:
        """Shape (high, low)."""

    @property
    def low_inside(self) -> NDArray[np.bool_]:
        """Shape (low,)."""

    @property
    def high_inside(self) -> NDArray[np.bool_]:
        """Shape (high,)."""


Penalty = Literal["l1", "smooth_l1", "l2"]


class Fidelity(nn.Module):
    """What the sensor would observe of an image, band by band, and losses against what it observed.

    Parameters
    ----------
    rows, cols
        Operators of every band along y and x, for the size of the patches.
    penalty
        ``l1`` as the metric, ``smooth_l1`` (beta 1) or ``l2``.
    """

    down_rows: Tensor
    down_cols: Tensor
    up_rows: Tensor
    up_cols: Tensor
    low_inside: Tensor
    high_inside: Tensor

    def __init__(
        self, rows: Sequence[AxisOperators], cols: Sequence[AxisOperators], *, penalty: Penalty = "l1"
    ) -> None:
        super().__init__()
        self.penalty = penalty
        for axis, operators in (("rows", rows), ("cols", cols)):
            down = torch.from_numpy(np.stack([o.down for o in operators])).float()
            self.register_buffer(f"down_{axis}", down, persistent=False)
            self.register_buffer(f"up_{axis}", torch.from_numpy(operators[0].up).float(), persistent=False)
        for name in ("low_inside", "high_inside"):
            inside = [
                np.outer(getattr(y, name), getattr(x, name)).astype(np.float32) for y, x in zip(rows, cols, strict=True)
            ]
            self.register_buffer(name, torch.from_numpy(np.stack(inside)), persistent=False)

    def degrade(self, image: Tensor) -> Tensor:
        """Blur and decimate, (n, band, H, W) to (n, band, h, w)."""
        return self.down_rows @ image @ self.down_cols.mT

    def high_pass(self, image: Tensor) -> Tensor:
        """Subtract what the sensor would keep, (n, band, H, W)."""
        return image - self.up_rows @ self.degrade(image) @ self.up_cols.mT

    def low_fidelity(self, image: Tensor, low: Tensor) -> Tensor:
        """Mean over bands of the mean penalty of low - D(image).

        Parameters
        ----------
        image
            Super-resolved patch (n, band, H, W).
        low
            Patch it was made from (n, band, h, w), in the same units; NaN is no data in both.
        """
        sensed, known = self._sensed(image)
        valid = torch.isfinite(low)
        return self._mean(sensed - torch.where(valid, low, 0.0), self.low_inside * known * valid)

    def high_fidelity(self, image: Tensor, reference: Tensor) -> Tensor:
        """Mean over bands of the mean penalty of HP(reference) - HP(image); both (n, band, H, W)."""
        valid = torch.isfinite(image) & torch.isfinite(reference)
        error = torch.where(valid, image, 0.0) - torch.where(valid, reference, 0.0)
        known = valid.to(error.dtype)
        if not bool(valid.all()):
            touched = self.up_rows.ne(0).float() @ (1 - self._footprint(valid)) @ self.up_cols.ne(0).float().mT
            known = known * (touched < 0.5)
        return self._mean(self.high_pass(error), self.high_inside * known)

    def _sensed(self, image: Tensor) -> tuple[Tensor, Tensor]:
        valid = torch.isfinite(image)
        if bool(valid.all()):
            return self.degrade(image), torch.ones((), dtype=image.dtype, device=image.device)
        return self.degrade(torch.where(valid, image, 0.0)), self._footprint(valid)

    def _footprint(self, valid: Tensor) -> Tensor:
        """1 where every pixel under the point spread function is valid."""
        missing = self.down_rows.ne(0).float() @ (~valid).float() @ self.down_cols.ne(0).float().mT
        return (missing < 0.5).float()

    def _mean(self, error: Tensor, weight: Tensor) -> Tensor:
        """Mean over the pixels that count, then over the bands that have any."""
        zero = torch.zeros_like(error)
        if self.penalty == "l1":
            cost = error.abs()
        elif self.penalty == "l2":
            cost = error.square()
        else:
            cost = nn.functional.smooth_l1_loss(error, zero, reduction="none")
        weight = weight.expand_as(cost)
        count = weight.sum(dim=(0, 2, 3))
        means = (cost * weight).sum(dim=(0, 2, 3)) / count.clamp(min=1)
        return means.sum() / (count > 0).sum().clamp(min=1)
