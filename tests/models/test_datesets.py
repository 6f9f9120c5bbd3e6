"""Sets of valid dates: the same as computing every pixel by itself."""

import pytest
import torch

from xsr.models.architectures.temporal_liif import _remoteness, kernel_weights, linear_weights
from xsr.models.datesets import DateSets


def series(dates, share, batch=2):
    generator = torch.Generator().manual_seed(dates)
    valid = torch.rand((batch, dates, 3, 9, 8), generator=generator) < share
    return torch.linspace(-40, 90, dates, dtype=torch.float64), valid


@pytest.mark.parametrize("weigh", [kernel_weights, linear_weights, _remoteness])
@pytest.mark.parametrize(("dates", "share"), [(1, 0.5), (10, 0.7), (12, 0.9), (13, 0.9), (40, 0.95), (63, 0.97)])
def test_as_for_every_pixel(weigh, dates, share):
    days, valid = series(dates, share)
    made, wanted = DateSets(days[None], valid, 12.5).each(weigh), weigh(days, valid, 12.5)
    assert made.shape == wanted.shape
    assert torch.allclose(made, wanted, rtol=0, atol=1e-15)


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("weigh", [linear_weights, _remoteness])
def test_pixels_that_are_all_alike(weigh, share):
    days, valid = series(5, 2 * share)
    assert torch.equal(DateSets(days, valid, 12.5).each(weigh), weigh(days, valid, 12.5))


def test_images_with_times_of_their_own():
    days, valid = series(5, 0.6)
    own, tau = torch.stack([days, days + 7]), torch.tensor([12.5, 3.0])
    assert torch.equal(DateSets(own, valid, tau).each(linear_weights), linear_weights(own, valid, tau))


def test_a_function_is_called_with_each_set_once():
    days, valid = series(3, 0.5)
    seen = []
    DateSets(days, valid, 0.0).each(lambda days, sets, tau: seen.append(sets) or sets.double())
    (sets,) = seen
    assert sets.tolist() == [[bool(code >> date & 1) for date in range(3)] for code in range(8)]
