"""A discriminator beside a network: it learns to tell the network's images from true ones, the network to be taken.

`Opponent` is a loss like any other: that of a fixed-scale network, and after a warm-up `Adversary.weight` times the
relativistic average loss of the generator. Each call first teaches the discriminator one step. What it has learnt is
part of a run's checkpoint, so that a run that was killed goes on to the same weights.

Where the truth is unknown, along the border and in bands that a scene lacks, both images are the interpolation: there
is nothing to tell apart.

References
----------
J. Michel, E. Kalinicheva, super-resolution of Sentinel-2 in the EVOLAND project, 2024.
A. Jolicoeur-Martineau, "The relativistic discriminator", ICLR 2019, arXiv:1807.00734.
"""

from typing import Any

import torch
from torch import Tensor, nn

from xsr.models import catalogue
from xsr.models.adversarial import discriminator_loss, generator_loss
from xsr.training.fixed import UNJUDGED, FixedBatch, Images, fixed_error, fixed_images
from xsr.training.mixed import mixed
from xsr.training.recipe import Adversary, Fixed, Recipe


class Opponent:
    """Loss of a network against a discriminator; see `xsr.training.tasks.Loss`.

    Parameters
    ----------
    settings
        The discriminator and its weight.
    bands
        Number of bands of the images.
    """

    def __init__(self, settings: Adversary, bands: int) -> None:
        self.settings = settings
        self.discriminator = catalogue.get(settings.architecture).make(
            bands=bands, features=settings.features, high_pass=settings.high_pass
        )
        self.optimiser = torch.optim.Adam(self.discriminator.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))
        self.step = 0

    def __call__(
        self, network: nn.Module, batch: FixedBatch, recipe: Recipe[Fixed], *, drop: tuple[int, ...], device: str
    ) -> tuple[Tensor, Tensor]:
        """Teach the discriminator a step; return the network's loss, and that of the interpolation it corrects."""
        self.discriminator.to(device)
        images = fixed_images(network, batch, recipe, drop=drop, device=device)
        mine, other = fixed_error(images, batch, recipe)
        real, fake = judged(images, batch.factor)
        self.teach(real, fake.detach())
        if self.step > self.settings.after:
            mine = mine + self.settings.weight * self.deceive(real, fake)
        return mine, other

    def teach(self, real: Tensor, fake: Tensor) -> Tensor:
        """Train the discriminator one step to tell true images from others; return its loss."""
        self.step += 1
        self.discriminator.requires_grad_(True)
        loss = discriminator_loss(self.score(real), self.score(fake), smoothing=self.settings.smoothing)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def deceive(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of images that should be taken for true ones; its gradient reaches them, not the discriminator."""
        self.discriminator.requires_grad_(False)
        with torch.no_grad():
            known = self.score(real)
        return generator_loss(known, self.score(fake))

    def score(self, image: Tensor) -> Tensor:
        """Raw scores of images (n, band, H, W), one for each pixel."""
        with mixed(image.device):
            scores: Tensor = self.discriminator(image)
        return scores.float()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what a checkpoint holds."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = int(state["step"])


def judged(images: Images, factor: int) -> tuple[Tensor, Tensor]:
    """Return true images and the network's: alike where the truth is unknown, and less its border."""
    edge = factor * UNJUDGED
    inner = (..., slice(edge, -edge), slice(edge, -edge))
    base = images.base[inner].nan_to_num()
    known = torch.isfinite(images.target[inner]) & torch.isfinite(images.found[inner])
    real, fake = (torch.where(known, image[inner].nan_to_num(), base) for image in (images.target, images.found))
    return real, fake
