import itertools
import math

import numpy as np
import pytest
import torch
from models.architectures.reach import count, image, lively

from xsr.core.errors import ParameterError
from xsr.models.architectures.dctnet import (
    MINIMUM_SIZE,
    CoupledLayer,
    DCTNet,
    EdgeAttention,
    dct2,
    idct2,
    laplacian,
    solve,
)
from xsr.models.architectures.dctrrdbnet import DCTRRDBNet

SIZES = [(6, 5), (5, 8), (1, 7), (16, 15)]


def trainable(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def published_shapes():
    """Tensors of the published weights."""
    shapes = {"lambd": (1, 64, 1, 1)}
    convolutions = {
        "WPNet.conv1": (16, 64, 1, 1),
        "WPNet.conv_f": (16, 16, 1, 1),
        "WPNet.conv4": (64, 16, 1, 1),
        "Encoder_coupled.init_deep.0": (64, 1, 3, 3),
        "Encoder_coupled.init_rgb.0": (64, 3, 3, 3),
        "Decoder_depth.Decoder_Deep.0": (32, 64, 3, 3),
        "Decoder_depth.Decoder_Deep.2": (16, 32, 3, 3),
        "Decoder_depth.Decoder_Deep.4": (1, 16, 3, 3),
    }
    for name in ("conv_max", "conv2", "conv3", "conv3_", "conv_dilation"):
        convolutions[f"WPNet.{name}"] = (16, 16, 3, 3)
    for name, shape in convolutions.items():
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]
    for layer, which, step in itertools.product(range(4), ("shared", "depth", "rgb"), (1, 2)):
        name = f"Encoder_coupled.coupled_feat_extractor.{layer}"
        shapes[f"{name}.kernel_{which}_{step}"] = (32, 64, 3, 3)
        shapes[f"{name}.bias_{which}_{step}"] = (32,)
    return shapes


# --- parameters --------------------------------------------------------------------------------------


def test_parameter_counts_and_names():
    network = DCTNet()
    assert count(network) == trainable(network) == 482_865
    assert count(network.WPNet) == 14_000
    assert count(network.WPNet.conv_dilation) == 2_320
    assert count(network.Decoder_depth) == 23_233
    assert count(network.Encoder_coupled.coupled_feat_extractor[0]) == 110_784
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert len(shapes) == 75
    assert shapes == published_shapes()


def test_bands_of_the_guide_change_one_kernel():
    three, one = (DCTNet(guide_bands=bands).state_dict() for bands in (3, 1))
    assert [key for key in three if three[key].shape != one[key].shape] == ["Encoder_coupled.init_rgb.0.weight"]


def test_features_are_checked():
    with pytest.raises(ParameterError, match="features=6; expected a multiple of 4"):
        DCTNet(features=6)


# --- the cosine transform and the solve --------------------------------------------------------------


def cosine_matrix(size):
    """Unnormalised DCT-II: 2 cos(pi k (2 n + 1) / 2 N)."""
    k, n = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    return 2 * np.cos(np.pi * k * (2 * n + 1) / (2 * size))


@pytest.mark.parametrize("size", SIZES)
def test_cosine_transform_equals_its_matrix_and_is_inverted(size):
    x = image(2, *size)
    height, width = (torch.from_numpy(cosine_matrix(n)) for n in size)
    assert (dct2(x) - height @ x @ width.T).abs().max() <= 1e-12
    assert (idct2(dct2(x)) - x).abs().max() <= 1e-13


@pytest.mark.parametrize("size", SIZES)
def test_cosine_transform_equals_scipy(size):
    fft = pytest.importorskip("scipy.fft")
    x = image(2, *size)
    assert np.abs(dct2(x).numpy() - fft.dctn(x.numpy(), type=2, axes=(2, 3))).max() <= 1e-12
    assert np.abs(idct2(x).numpy() - fft.idctn(x.numpy(), type=2, axes=(2, 3))).max() <= 1e-13


def test_cosine_transform_in_single_precision_stays_single():
    x = torch.rand(1, 1, 31, 64)
    assert idct2(dct2(x)).dtype == torch.float32
    assert (idct2(dct2(x)) - x).abs().max() <= 1e-6


def slow_laplacian(x):
    """Eight neighbours minus eight times the pixel, over 16, in a map (H, W) mirrored about its edge pixels."""
    padded = np.pad(x, 1, mode="reflect")
    out = np.zeros_like(x)
    for dy, dx in itertools.product(range(3), range(3)):
        out += (-8 if dy == dx == 1 else 1) / 16 * padded[dy : dy + x.shape[0], dx : dx + x.shape[1]]
    return out


def test_laplacian_has_eight_neighbours_and_mirrored_borders():
    x = image(1, 6, 5)
    assert np.abs(laplacian(x)[0, 0].numpy() - slow_laplacian(x[0, 0].numpy())).max() <= 1e-15


def four_neighbours(height, width):
    """Matrix of the Laplacian of four neighbours; pixels outside repeat the border, so that differences vanish."""
    out = np.zeros((height * width, height * width))
    for y, x in itertools.product(range(height), range(width)):
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            if 0 <= y + dy < height and 0 <= x + dx < width:
                out[y * width + x, (y + dy) * width + x + dx] += 1
                out[y * width + x, y * width + x] -= 1
    return out


@pytest.mark.parametrize("strength", [0.1, 7.0, 3000.0])
def test_solve_equals_a_dense_solve(strength):
    height, width = 6, 5
    own, edges = image(1, height, width, 1), image(1, height, width, 2)
    found = solve(own, edges, torch.full((1, 1, 1, 1), strength, dtype=torch.float64))
    operator = four_neighbours(height, width)
    right = own[0, 0].numpy() + strength * slow_laplacian(edges[0, 0].numpy())
    wanted = np.linalg.solve(np.eye(height * width) + strength * operator @ operator, right.ravel())
    assert np.abs(found.numpy().ravel() - wanted).max() <= 1e-9


@pytest.mark.parametrize("strength", [0.1, 7.0])
def test_solve_equals_the_formula_with_dense_cosine_matrices(strength):
    size = 6, 5
    own, edges = image(1, *size, 1), image(1, *size, 2)
    height, width = (cosine_matrix(n) for n in size)
    u, v = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
    kappa = 2 * (np.cos(np.pi * u / size[0]) + np.cos(np.pi * v / size[1]) - 2)
    right = height @ (own[0, 0].numpy() + strength * slow_laplacian(edges[0, 0].numpy())) @ width.T
    wanted = np.linalg.inv(height) @ (right / (1 + strength * kappa**2)) @ np.linalg.inv(width).T
    found = solve(own, edges, torch.full((1, 1, 1, 1), strength, dtype=torch.float64))
    assert np.abs(found[0, 0].numpy() - wanted).max() <= 1e-9


def test_strength_belongs_to_its_channel():
    own, edges = image(2, 6, 5, 1), image(2, 6, 5, 2)
    strength = torch.tensor([0.3, 20.0], dtype=torch.float64).reshape(1, 2, 1, 1)
    both = solve(own, edges, strength)
    for c in range(2):
        alone = solve(own[:, [c]], edges[:, [c]], strength[:, [c]])
        assert (both[:, [c]] - alone).abs().max() <= 1e-14


@pytest.mark.slow
def test_solve_is_differentiable():
    own, edges = image(1, 4, 3, 1).requires_grad_(), image(1, 4, 3, 2).requires_grad_()
    strength = torch.full((1, 1, 1, 1), 0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(solve, (own, edges, strength))


# --- the network -------------------------------------------------------------------------------------


def test_coupled_layer_by_hand():
    layer = CoupledLayer(2).double()
    with torch.no_grad():
        for tensor in layer.parameters():
            tensor.zero_()
        # The shared kernel doubles channel 0; the private ones scale channel 1 by 3 (image) and 5 (guide).
        layer.kernel_shared_1[0, 0, 1, 1] = 2.0
        layer.kernel_depth_1[0, 1, 1, 1] = 3.0
        layer.kernel_rgb_1[0, 1, 1, 1] = 5.0
        for kernel in (layer.kernel_shared_2, layer.kernel_depth_2, layer.kernel_rgb_2):
            kernel[0, 0, 1, 1] = kernel[0, 1, 1, 1] = 1.0
        layer.bias_rgb_2[0] = -20.0
    x = torch.tensor([1.0, 2.0], dtype=torch.float64).reshape(1, 2, 1, 1)
    own, other = layer(x, x)
    assert own.flatten().tolist() == [2 + 6 + 1, 2 + 6 + 2]
    assert other.flatten().tolist() == [2 + 10 + 1, 0.0]


def slow_attention(attention, x):
    """The attention's layers one after the other, with the pooling written out."""
    small = attention.conv1(x)
    strided = attention.conv2(small)
    height, width = ((n - 7) // 3 + 1 for n in strided.shape[2:])
    pooled = torch.stack(
        [
            torch.stack([strided[..., 3 * i : 3 * i + 7, 3 * j : 3 * j + 7].amax((2, 3)) for j in range(width)], -1)
            for i in range(height)
        ],
        -2,
    )
    pooled = attention.conv3_(attention.conv3(attention.conv_max(pooled).clamp(min=0)).clamp(min=0))
    wide = pooled.new_zeros(*pooled.shape[:2], *x.shape[2:])
    for y, z in itertools.product(range(x.shape[2]), range(x.shape[3])):
        row, col = (
            max((i + 0.5) * n / m - 0.5, 0) for i, n, m in zip((y, z), (height, width), x.shape[2:], strict=True)
        )
        for i, j in itertools.product((0, 1), (0, 1)):
            a, b = min(math.floor(row) + i, height - 1), min(math.floor(col) + j, width - 1)
            share = (1 - abs(row - math.floor(row) - i)) * (1 - abs(col - math.floor(col) - j))
            wide[..., y, z] += share * pooled[..., a, b]
    return attention.conv4(wide + attention.conv_f(small)).sigmoid()


@pytest.mark.parametrize("size", [(15, 15), (23, 28)])
def test_attention_equals_its_layers_written_out(size):
    attention = lively(EdgeAttention(8))
    x = image(8, *size)
    with torch.inference_mode():
        found = attention(x)
        assert (found - slow_attention(attention, x)).abs().max() <= 1e-12
    assert found.std() > 0.05


def test_network_is_its_parts():
    network = lively(DCTNet(features=8, layers=2))
    own, guide = image(1, 17, 20, 1, 2), image(3, 17, 20, 2, 2)
    with torch.inference_mode():
        a, b = network.Encoder_coupled.init_deep(own), network.Encoder_coupled.init_rgb(guide)
        for layer in network.Encoder_coupled.coupled_feat_extractor:
            a, b = layer(a, b)
        edges = laplacian(network.WPNet(b) * laplacian(b))
        kappa = (2 * torch.cos(math.pi * torch.arange(17).double() / 17) - 2)[:, None]
        kappa = kappa + 2 * torch.cos(math.pi * torch.arange(20).double() / 20) - 2
        weight = network.lambd.exp()
        z = idct2(dct2(a + weight * edges) / (1 + weight * kappa**2))
        wanted = network.Decoder_depth.Decoder_Deep(z)
        found = network(own, guide)
        network.final_relu = False
        free = network(own, guide)
    assert (free - wanted).abs().max() <= 1e-12
    assert (found - wanted.clamp(min=0)).abs().max() <= 1e-12
    assert (free < 0).any()


def test_unused_convolution_changes_nothing():
    network = lively(DCTNet(features=8))
    own, guide = image(1, 16, 15, 1), image(3, 16, 15, 2)
    with torch.inference_mode():
        before = network(own, guide)
        network.WPNet.conv_dilation.weight.fill_(9.0)
        assert torch.equal(network(own, guide), before)


def test_smallest_size():
    network = DCTNet(features=8)
    assert network(torch.rand(1, 1, MINIMUM_SIZE, 40), torch.rand(1, 3, MINIMUM_SIZE, 40)).shape == (1, 1, 15, 40)
    with pytest.raises(ParameterError, match="image of 40 x 14 pixels; expected at least 15 x 15"):
        network(torch.rand(1, 1, 40, 14), torch.rand(1, 3, 40, 14))


# --- DCTRRDBNet --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 1_202_289),
        ({"where": "encoder"}, 1_478_577),
        ({"growth": 16}, 482_865 + 373_632),
        ({"blocks": 2}, 482_865 + 2 * 719_424),
    ],
)
def test_parameter_counts_with_dense_blocks(options, parameters):
    assert trainable(DCTRRDBNet(**options)) == parameters


@pytest.mark.parametrize("where", ["decoder", "encoder"])
def test_weights_of_dctnet_fit_all_common_parts(where):
    published = lively(DCTNet(features=8))
    network = DCTRRDBNet(features=8, growth=4, where=where).double()
    left = network.load_state_dict(published.state_dict(), strict=False)
    assert all("trunk" in key for key in left.missing_keys)
    assert all("coupled_feat_extractor" in key for key in left.unexpected_keys)
    assert bool(left.unexpected_keys) == (where == "encoder")
    assert torch.equal(network.Decoder_depth.Decoder_Deep[4].weight, published.Decoder_depth.Decoder_Deep[4].weight)


@pytest.mark.parametrize("where", ["decoder", "encoder"])
def test_dense_blocks_that_answer_zero_leave_the_rest(where):
    """A residual scale of zero takes the trunk out: DCTNet remains, or DCTNet without coupled layers."""
    plain = lively(DCTNet(features=8, layers=4 if where == "decoder" else 0))
    network = DCTRRDBNet(features=8, growth=4, where=where, guide_bands=3).double()
    network.load_state_dict(plain.state_dict(), strict=False)
    own, guide = image(1, 16, 18, 1), image(3, 16, 18, 2)
    with torch.inference_mode():
        wanted = plain(own, guide)
        assert (network(own, guide) - wanted).abs().max() > 1e-6
        for name, tensor in network.named_parameters():
            if name.endswith(".0.scale"):
                tensor.zero_()
        assert torch.equal(network(own, guide), wanted)


def test_place_of_the_dense_blocks_is_checked():
    with pytest.raises(ParameterError, match="where='middle'; expected 'decoder' or 'encoder'"):
        DCTRRDBNet(where="middle")
