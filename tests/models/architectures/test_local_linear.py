import numpy as np
import pytest
import torch

from xsr.core.errors import ParameterError
from xsr.models.architectures.dctnet import DCTNet, weighed
from xsr.models.architectures.dctrrdbnet import DCTRRDBNet
from xsr.models.architectures.local_linear import BLUR, box, local_detail, observed
from xsr.models.architectures.srcnn import bicubic

SLOPE = torch.tensor([0.03, -0.05, 0.02])[None, :, None, None]


def guide(seed=0, size=48, bands=3):
    return torch.randn(1, bands, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [4, 8])
def test_a_linear_relation_is_found_on_the_coarse_image_and_holds_on_the_fine(scale):
    fine = guide()
    smooth = bicubic(observed(fine, scale), scale)
    coarse = 0.5 + (SLOPE * smooth).sum(1, keepdim=True)
    found = local_detail(coarse, fine, scale, 3, ridge=1e-7)
    wanted = (SLOPE * (fine - smooth)).sum(1, keepdim=True)
    torch.testing.assert_close(found, wanted, atol=2e-4, rtol=2e-3)


def test_slopes_are_those_of_ridge_regression():
    fine, coarse = guide(1, 12), 0.1 * guide(5, 12, 1)
    found = local_detail(coarse, fine, 4, 2, ridge=0.02)  # 3 x 3 coarse pixels: every window is the whole image
    smooth = bicubic(observed(fine, 4), 4)
    cells = [v.numpy().astype(np.float64)[0].reshape(-1, 3, 4, 3, 4).mean(axis=(2, 4)) for v in (coarse, smooth)]
    own, other = (cell.reshape(len(cell), 9) for cell in cells)
    own, other = own - own.mean(1, keepdims=True), other - other.mean(1, keepdims=True)
    slopes = np.linalg.solve(other @ other.T / 9 + 0.02 * np.eye(3), other @ own[0] / 9)
    wanted = np.tensordot(slopes, (fine - smooth).numpy()[0], axes=1)
    np.testing.assert_allclose(found.numpy()[0, 0], wanted, atol=1e-5)


def test_a_guide_without_contrast_predicts_nothing():
    assert not local_detail(guide(5, 32, 1), torch.full((1, 3, 32, 32), 0.7), 4, 1).abs().max() > 1e-5


def test_the_mean_over_windows_leaves_out_what_is_beyond_the_border():
    found = box(torch.arange(9.0).reshape(1, 1, 3, 3), 1)
    assert found[0, 0, 1, 1] == 4.0
    assert found[0, 0, 0, 0] == pytest.approx((0 + 1 + 3 + 4) / 4)


def test_an_observation_keeps_constants_and_weighs_a_point_by_the_gaussian():
    assert observed(torch.full((1, 2, 9, 10), 3.0), 4).sub(3).abs().max() < 1e-5
    assert observed(torch.zeros(1, 2, 9, 10), 4).shape == (1, 2, 3, 3)
    point = torch.zeros(1, 1, 60, 60)
    point[..., 32, 33] = 1
    found = observed(point, 5)
    sigma = BLUR * 5
    # Centres of coarse pixels 6 and 7 are at 32 and 37.
    ratio = np.exp(-0.5 * ((4 / sigma) ** 2 - (1 / sigma) ** 2))
    assert float(found[0, 0, 6, 7] / found[0, 0, 6, 6]) == pytest.approx(ratio, rel=1e-4)


def test_weighed_adds_each_detail_with_its_weight():
    answer, detail = torch.tensor([1.0, 0.5, -2.0]).reshape(1, 3, 1, 1), torch.tensor([4.0, 3.0]).reshape(1, 2, 1, 1)
    assert weighed(answer, detail).item() == 1.0 + 0.5 * 4.0 - 2.0 * 3.0


@pytest.mark.parametrize("kind", [DCTNet, DCTRRDBNet])
def test_a_network_can_trust_one_relation_alone(kind):
    network = kind(guide_bands=3, features=8, layers=1, final_relu=False, relations=((1, 1), (2, 3))).eval()
    last = network.Decoder_depth.Decoder_Deep[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
        own, other = guide(5, 32, 1), guide(2, 32)
        torch.testing.assert_close(network(own, other, 4), local_detail(own, other, 4, 1, 1))
        torch.testing.assert_close(network(own, other, 8), local_detail(own, other, 8, 1, 1))
    with pytest.raises(ParameterError, match="scale=None; a network with relations expects the factor"):
        network(own, other)


def test_no_relations_is_the_published_network():
    assert DCTNet().state_dict().keys() == DCTNet(relations=((1, 1),)).state_dict().keys()
    assert DCTNet().details(guide(5, 16, 1), guide(0, 16), None).shape == (1, 0, 16, 16)
