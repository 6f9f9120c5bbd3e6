"""Losses of the relativistic average GAN: real images shall look more real than the average fake one, and vice versa.

With raw scores ``r`` of real and ``f`` of fake images and ``H`` the binary cross-entropy of a logit, the
discriminator minimises ``(H(r - mean f, 1) + H(f - mean r, 0)) / 2`` and the generator the same with 0 and 1
exchanged. Recipes with an adversary use them, and so may training loops of your own, with the discriminators that
`xsr.models.create` makes.

References
----------
A. Jolicoeur-Martineau, "The relativistic discriminator: a key element missing from standard GAN", ICLR 2019,
arXiv:1807.00734.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from xsr.core.errors import ParameterError

Mean = Literal["all", "batch"]
"""What an average score is taken over: everything, or the batch alone, which leaves one average per pixel."""


def discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, *, smoothing: float = 0.1, mean: Mean = "all"
) -> Tensor:
    """Loss of the discriminator.

    Parameters
    ----------
    real_logits, fake_logits
        Raw scores of real and of fake images, (N, ...); the fakes are detached from the generator.
    smoothing
        The target for real images is 1 less this, that for fake ones 0; in [0, 1).
    mean
        What an average score is taken over.

    Returns
    -------
    Tensor
        Scalar.

    Raises
    ------
    ParameterError
        If ``smoothing`` is out of range, ``mean`` is unknown, or the shapes differ with ``mean="batch"``.
    """
    if not 0 <= smoothing < 1:
        raise ParameterError(f"smoothing={smoothing}; expected a number from 0 to below 1.")
    real, fake = _relative(real_logits, fake_logits, mean)
    return 0.5 * (_cross_entropy(real, 1.0 - smoothing) + _cross_entropy(fake, 0.0))


def generator_loss(real_logits: Tensor, fake_logits: Tensor, *, mean: Mean = "all") -> Tensor:
    """Loss of the generator; see `discriminator_loss`. Its targets are not smoothed."""
    real, fake = _relative(real_logits, fake_logits, mean)
    return 0.5 * (_cross_entropy(real, 0.0) + _cross_entropy(fake, 1.0))


def _relative(real: Tensor, fake: Tensor, mean: Mean) -> tuple[Tensor, Tensor]:
    """Scores relative to the average of the other kind, in single precision or better."""
    if mean not in ("all", "batch"):
        raise ParameterError(f"mean={mean!r}; expected 'all' or 'batch'.")
    if mean == "batch" and real.shape[1:] != fake.shape[1:]:
        raise ParameterError(
            f"real_logits of shape {tuple(real.shape)} and fake_logits of shape {tuple(fake.shape)}; expected equal"
            " shapes apart from the batch. Choose mean='all'."
        )
    real, fake = (logits.to(torch.promote_types(logits.dtype, torch.float32)) for logits in (real, fake))
    if mean == "all":
        return real - fake.mean(), fake - real.mean()
    return real - fake.mean(dim=0, keepdim=True), fake - real.mean(dim=0, keepdim=True)


def _cross_entropy(logits: Tensor, target: float) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
