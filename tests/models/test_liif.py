import itertools
import math

import numpy as np
import pytest
import torch
from helpers import ROUNDING_ULPS, ulps
from models.helpers import lively

from xsr.models import registry
from xsr.models.architectures.edsr import EDSREncoder
from xsr.models.architectures.liif import LIIF, MLP, rename

SMALL = {"channels": 3, "outputs": 2, "features": 5, "blocks": 2, "hidden": (7, 6)}


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("bands", [1, 3, 4, 10])
def test_parameter_counts_follow_the_published_formula(bands):
    network = LIIF(bands, bands)
    assert count(network.encoder) == 1_220_416 + (bands - 3) * 576
    assert count(network.imnet) == 346_883 + (bands - 3) * 257
    assert count(network) == 1_567_299 + (bands - 3) * (576 + 257)
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("blocks", [1, 16])
def test_state_dict_has_the_names_of_the_reference(blocks):
    keys = set(LIIF(3, 3, 4, blocks, (8, 8, 8, 8)).state_dict())
    modules = ["encoder.head.0", f"encoder.body.{blocks}"]
    modules += [f"encoder.body.{i}.body.{j}" for i in range(blocks) for j in (0, 2)]
    modules += [f"imnet.layers.{i}" for i in (0, 2, 4, 6, 8)]
    assert keys == {f"{module}.{kind}" for module in modules for kind in ("weight", "bias")}


def test_shapes_of_the_first_and_last_layers():
    state = LIIF(4, 3, 64, 2, (256, 128)).state_dict()
    assert tuple(state["encoder.head.0.weight"].shape) == (64, 4, 3, 3)
    assert tuple(state["imnet.layers.0.weight"].shape) == (256, 9 * 64 + 4)
    assert tuple(state["imnet.layers.4.weight"].shape) == (3, 128)


def test_edsr_block_and_skip_by_hand():
    encoder = EDSREncoder(1, 1, 1).double()
    with torch.no_grad():
        for tensor in encoder.parameters():
            tensor.zero_()
        for layer, centre in (
            (encoder.head[0], 2.0),
            (encoder.body[0].body[0], -1.0),
            (encoder.body[0].body[2], 5.0),
            (encoder.body[1], 3.0),
        ):
            layer.weight[0, 0, 1, 1] = centre
    x = torch.tensor([[[[1.0, -1.0]]]], dtype=torch.float64)
    # h = 2 x, block h + 5 relu(-h), end 3 times that, long skip h: 3 * 2 + 2, and 3 * (-2 + 10) - 2.
    assert encoder(x).flatten().tolist() == [8.0, 22.0]


def test_mlp_has_relu_between_layers_and_none_at_the_end():
    mlp = MLP(1, (1,), 1).double()
    with torch.no_grad():
        for tensor, value in zip(mlp.parameters(), (1.0, 0.0, -2.0, 0.5), strict=True):
            tensor.fill_(value)
    x = torch.tensor([[-3.0], [3.0]], dtype=torch.float64)
    assert mlp(x).flatten().tolist() == [0.5, -5.5]


def unfold_channel_major(features):
    """(F, H, W) -> (9 F, H, W), index c * 9 + ky * 3 + kx, zeros beyond the border."""
    width, height, across = features.shape
    padded = torch.nn.functional.pad(features, (1, 1, 1, 1))
    out = features.new_empty(9 * width, height, across)
    for c, ky, kx in itertools.product(range(width), range(3), range(3)):
        out[c * 9 + ky * 3 + kx] = padded[c, ky : ky + height, kx : kx + across]
    return out


def reference_query(network, unfolded, row, col, cell):
    """One query as the reference states it: shifted nearest look-ups, areas to the diagonally opposite cell."""
    shape = unfolded.shape[1:]
    answers, areas = [], []
    for shift in itertools.product((-1, 1), (-1, 1)):
        relative, index = [], []
        for position, size, step in zip((row, col), shape, shift, strict=True):
            coord = -1 + (2 * position + 1) / size
            shifted = min(max(coord + step / size + 1e-6, -1 + 1e-6), 1 - 1e-6)
            nearest = int((shifted + 1) * size / 2)
            centre = -1 + (2 * nearest + 1) / size
            index.append(nearest)
            relative.append((coord - centre) * size)
        entry = torch.tensor([*relative, 2 * cell[0], 2 * cell[1]], dtype=torch.float64)
        answers.append(network.imnet(torch.cat([unfolded[:, index[0], index[1]], entry])))
        areas.append(abs(relative[0] * relative[1]))
    total = sum(areas)
    assert total > 0
    return sum(answer * (area / total) for answer, area in zip(answers, reversed(areas), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 2.0, 2.8, 3.4])
def test_closed_form_equals_the_reference_formulation(scale):
    height, width = 6, 5
    network = lively(LIIF(**SMALL).double())
    x = torch.randn(2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    # At scale 1 the areas of the reference vanish in the last row and column: it is undefined there.
    less = 1 if scale == 1.0 else 0
    rows = (np.arange(int(height * scale + 1e-6) - less) + 0.5) / scale - 0.5
    cols = (np.arange(int(width * scale + 1e-6) - less) + 0.5) / scale - 0.5
    cell = (1 / scale, 1 / scale)
    row, col = (v.ravel() for v in np.meshgrid(rows, cols, indexing="ij"))
    with torch.inference_mode():
        found = network(x, torch.from_numpy(row), torch.from_numpy(col), cell)
        for image in range(2):
            unfolded = unfold_channel_major(network.encoder(x[[image]])[0])
            wanted = [reference_query(network, unfolded, r, c, cell) for r, c in zip(row, col, strict=True)]
            assert (found[image] - torch.stack(wanted)).abs().max() <= 1e-10
    assert found.std() > 0.1  # the network says something


def unfolded_query(network, unfolded, row, col, cell):
    """One query with the whole MLP at every corner and bilinear weights, which is defined everywhere."""
    total = 0.0
    for dy, dx in itertools.product((0, 1), (0, 1)):
        y, x = math.floor(row) + dy, math.floor(col) + dx
        weight = (1 - abs(row - y)) * (1 - abs(col - x))
        y, x = min(max(y, 0), unfolded.shape[1] - 1), min(max(x, 0), unfolded.shape[2] - 1)
        entry = torch.tensor([2 * (row - y), 2 * (col - x), 2 * cell[0], 2 * cell[1]], dtype=torch.float64)
        total = total + weight * network.imnet(torch.cat([unfolded[:, y, x], entry]))
    return total


@pytest.mark.parametrize("scale", [1.0, 2.0, 2.8, 3.4])
def test_forward_equals_the_unfolded_network_up_to_the_border(scale):
    height, width = 6, 5
    network = lively(LIIF(**SMALL).double())
    x = torch.randn(1, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    rows = (np.arange(round(height * scale)) + 0.5) / scale - 0.5
    cols = (np.arange(round(width * scale)) + 0.5) / scale - 0.5
    row, col = (v.ravel() for v in np.meshgrid(rows, cols, indexing="ij"))
    cell = (1 / scale, 1 / scale)
    with torch.inference_mode():
        found = network(x, torch.from_numpy(row), torch.from_numpy(col), cell)[0]
        unfolded = unfold_channel_major(network.encoder(x)[0])
        wanted = [unfolded_query(network, unfolded, r, c, cell) for r, c in zip(row, col, strict=True)]
    assert (found - torch.stack(wanted)).abs().max() <= 1e-10


def test_rename_takes_a_published_checkpoint_to_our_keys():
    names = [f"encoder.{shift}.{kind}" for shift in ("sub_mean", "add_mean") for kind in ("weight", "bias")]
    assert [rename(name) for name in names] == [None] * 4
    ours = list(LIIF(3, 3, 4, 16, (8, 8, 8, 8)).state_dict())
    assert [rename(name) for name in ours] == ours


@pytest.mark.parametrize(
    ("options", "parameters", "beyond"),
    [
        ({}, 1_567_299, 2),
        ({"unfold": False}, 1_436_227, 1),
        ({"cell": False}, 1_566_787, 2),
        ({"ensemble": False}, 1_567_299, 1),
    ],
)
def test_published_network_and_its_ablations(options, parameters, beyond):
    network = LIIF(3, 3, 64, 16, (256,) * 4, **options)
    assert count(network) == parameters
    assert network.radius == network.encoder.radius + beyond == 34 + beyond


def test_without_unfolding_cell_and_ensemble_the_nearest_pixel_answers_alone():
    network = lively(LIIF(**SMALL, unfold=False, cell=False, ensemble=False).double())
    x = torch.randn(1, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    rows, cols = torch.tensor([1.3, -0.4, 3.4]).double(), torch.tensor([2.6, 0.2, 4.4]).double()
    with torch.inference_mode():
        features = network.encoder(x)[0]
        found = network(x, rows, cols, (0.5, 0.5))[0]
        for answer, row, col, y, cx in zip(found, rows, cols, (1, 0, 3), (3, 0, 4), strict=True):
            entry = torch.stack((2 * (row - y), 2 * (col - cx)))
            assert (answer - network.imnet(torch.cat([features[:, y, cx], entry]))).abs().max() <= 1e-12


def test_last_row_and_column_at_scale_one_are_the_pixels_own_answer():
    network = lively(LIIF(**SMALL).double())
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = network(x, torch.tensor([3.0]).double(), torch.tensor([3.0]).double(), (1.0, 1.0))[0, 0]
        code = unfold_channel_major(network.encoder(x)[0])[:, 3, 3]
        wanted = network.imnet(torch.cat([code, torch.tensor([0, 0, 2, 2], dtype=torch.float64)]))
    assert (found - wanted).abs().max() <= 1e-12


def test_folded_first_layer_equals_the_unfolded_one():
    network = lively(LIIF(**SMALL).double())
    x = torch.randn(1, 3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        unfolded = unfold_channel_major(network.encoder(x)[0])
        first = network.imnet.layers[0]
        wanted = torch.einsum("of,fhw->ohw", first.weight[:, :-4], unfolded) + first.bias[:, None, None]
        assert (network.encode(x)[0] - wanted).abs().max() <= 1e-12


def test_cell_is_ordered_y_x_and_matters():
    network = lively(LIIF(**SMALL).double())
    x = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    at = torch.tensor([2.3], dtype=torch.float64)
    with torch.inference_mode():
        unfolded = unfold_channel_major(network.encoder(x)[0])
        found = network(x, at, at, (0.5, 0.25))[0, 0]
        assert (found - reference_query(network, unfolded, 2.3, 2.3, (0.5, 0.25))).abs().max() <= 1e-10
        assert (found - network(x, at, at, (0.25, 0.5))[0, 0]).abs().max() > 1e-4


def test_shifting_image_and_queries_together_changes_nothing():
    network = lively(LIIF(**SMALL).double())
    size, by = 40, (3, 5)
    x = torch.randn(1, 3, size, size, dtype=torch.float64)
    rows, cols = torch.rand(2, 20, dtype=torch.float64) * 6 + 14
    with torch.inference_mode():
        here = network(x, rows, cols, (0.4, 0.4))
        there = network(torch.roll(x, by, dims=(2, 3)), rows + by[0], cols + by[1], (0.4, 0.4))
    assert (here - there).abs().max() <= 1e-10


def test_queries_of_each_image():
    network = lively(LIIF(**SMALL).double())
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    rows, cols = torch.rand(2, 2, 9, dtype=torch.float64) * 5
    with torch.inference_mode():
        both = network(x, rows, cols, (0.5, 0.5))
        for image in range(2):
            alone = network(x[[image]], rows[image], cols[image], (0.5, 0.5))
            assert (both[image] - alone[0]).abs().max() <= 1e-12


def support(network, channels, at, size):
    """Rows and columns of the input that a query at (at, at) depends on, weights and biases made positive."""
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.abs_().clamp_(min=1e-3)
    x = torch.ones(1, channels, size, size, dtype=torch.float64, requires_grad=True)
    position = torch.tensor([at], dtype=torch.float64)
    network(x, position, position, (0.5, 0.5)).sum().backward()
    hit = x.grad[0].abs().sum(0) > 0
    rows, cols = (torch.nonzero(hit.any(dim=axis)).flatten() for axis in (1, 0))
    return (int(rows.min()), int(rows.max())), (int(cols.min()), int(cols.max()))


@pytest.mark.slow
@pytest.mark.parametrize("which", ["small", "shipped"])
def test_declared_radius_is_the_measured_support(which):
    config = SMALL if which == "small" else registry.card("liif_s2").config
    network = LIIF(**config).double()
    middle = network.radius + 3
    size = 2 * middle + 1
    reach = []
    for at in (middle - 0.4, middle + 0.4):  # both lie in the pixel `middle` and lean on its neighbours
        rows, cols = support(network, config["channels"], at, size)
        assert rows == cols
        reach.append(rows)
    assert reach[0] == (middle - network.radius, middle + network.radius - 1)
    assert reach[1] == (middle - network.radius + 1, middle + network.radius)
    assert network.radius == network.encoder.radius + 2 == 2 * config["blocks"] + 4


def test_shipped_card_declares_the_radius_and_parameters_of_its_network():
    card = registry.card("liif_s2")
    network = LIIF(**card.config)
    assert card.radius == network.radius
    assert card.parameters == count(network)
    assert network.encoder.head[0].in_channels == len(card.bands) == len(card.image.mean) == len(card.image.std)


@pytest.mark.slow
def test_tiles_are_exact_with_the_declared_margin_and_not_with_one_pixel_less():
    network = lively(LIIF(**SMALL).double())
    margin, block = network.radius, 3
    size = 2 * margin + block
    x = torch.randn(1, 3, size + 9, size + 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    steps = torch.arange(-0.5, block - 0.5, 0.25, dtype=torch.float64) + 0.125
    rows, cols = (v.flatten() for v in torch.meshgrid(steps, steps, indexing="ij"))
    with torch.inference_mode():
        whole = network(x, rows + margin + 4, cols + margin + 4, (0.25, 0.25))
        for less in (0, 1):
            tile = x[:, :, 4 + less : 4 + size - less, 4 + less : 4 + size - less]
            found = network(tile, rows + margin - less, cols + margin - less, (0.25, 0.25))
            assert ulps(found, whole) <= ROUNDING_ULPS if less == 0 else ulps(found, whole) > 1e10
