import math

import pytest
import torch

from xsr.core.errors import ParameterError
from xsr.models.adversarial import discriminator_loss, generator_loss

REAL = torch.tensor([[1.0, 3.0], [0.0, 2.0]], dtype=torch.float64)
FAKE = torch.tensor([[-1.0, 0.0], [2.0, 1.0]], dtype=torch.float64)


def entropy(logit, target):
    """Binary cross-entropy of a logit by its definition."""
    probability = 1 / (1 + math.exp(-logit))
    return -target * math.log(probability) - (1 - target) * math.log(1 - probability)


def by_hand(real_target, fake_target, mean):
    """Loss from averages worked out on paper: 0.5 fake and 1.5 real; per pixel (0.5, 0.5) fake and (0.5, 2.5) real."""
    if mean == "all":
        real, fake = [0.5, 2.5, -0.5, 1.5], [-2.5, -1.5, 0.5, -0.5]
    else:
        real, fake = [0.5, 2.5, -0.5, 1.5], [-1.5, -2.5, 1.5, -1.5]
    total = sum(entropy(x, real_target) for x in real) + sum(entropy(x, fake_target) for x in fake)
    return total / 8


@pytest.mark.parametrize("mean", ["all", "batch"])
def test_losses_by_hand(mean):
    assert float(discriminator_loss(REAL, FAKE, mean=mean)) == pytest.approx(by_hand(0.9, 0, mean), abs=1e-12)
    assert float(discriminator_loss(REAL, FAKE, mean=mean, smoothing=0.0)) == pytest.approx(by_hand(1, 0, mean))
    assert float(generator_loss(REAL, FAKE, mean=mean)) == pytest.approx(by_hand(0, 1, mean), abs=1e-12)


def test_equal_scores_cost_the_logarithm_of_two():
    for loss in (discriminator_loss, generator_loss):
        assert float(loss(torch.full((3, 1, 4, 4), 5.0), torch.full((3, 1, 4, 4), 5.0))) == pytest.approx(math.log(2))


def test_the_two_losses_pull_apart():
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    discriminator_loss(real, fake, smoothing=0).backward()
    assert real.grad.sum() < 0 < fake.grad.sum()
    real.grad = fake.grad = None
    generator_loss(real, fake).backward()
    assert fake.grad.sum() < 0 < real.grad.sum()


def test_a_common_offset_of_all_scores_changes_nothing():
    for loss in (discriminator_loss, generator_loss):
        assert float(loss(REAL + 7, FAKE + 7)) == pytest.approx(float(loss(REAL, FAKE)), abs=1e-12)


def test_half_precision_scores_are_averaged_in_single_precision():
    loss = generator_loss(REAL.half(), FAKE.half())
    assert loss.dtype == torch.float32
    assert loss.ndim == 0


def test_images_of_different_sizes_need_the_overall_mean():
    real, fake = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 5, 4)
    assert torch.isfinite(generator_loss(real, fake))
    with pytest.raises(ParameterError, match=r"shape \(2, 1, 4, 4\) and .* \(2, 1, 5, 4\); expected equal"):
        generator_loss(real, fake, mean="batch")


def test_bad_arguments_are_refused():
    with pytest.raises(ParameterError, match="mean='pixel'; expected 'all' or 'batch'"):
        generator_loss(REAL, FAKE, mean="pixel")
    for smoothing in (-0.1, 1.0):
        with pytest.raises(ParameterError, match=f"smoothing={smoothing}; expected a number from 0 to below 1"):
            discriminator_loss(REAL, FAKE, smoothing=smoothing)
