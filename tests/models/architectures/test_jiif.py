import itertools
import math

import pytest
import torch
from helpers import ROUNDING_ULPS, ulps
from models.architectures.reach import count, image, lively

from xsr.core.errors import ParameterError
from xsr.models.architectures import jiif
from xsr.models.architectures.jiif import JIIF, rename

SMALL = {"features": 5, "blocks": 1, "hidden": (9, 7)}


def inputs(height=5, width=4, scale=4.0, batch=2, bands=1, guides=3):
    high = round(height * scale), round(width * scale)
    return image(bands, height, width, 1, batch), image(guides, *high, 2, batch), image(guides, height, width, 3, batch)


# --- parameters --------------------------------------------------------------------------------------


def test_parameter_counts():
    network = JIIF()
    assert count(network.image_encoder) == 4_873_856
    assert count(network.depth_encoder) == 4_871_552
    assert count(network.imnet) == 1_085_570
    assert count(network) == 10_830_978
    assert all(p.requires_grad for p in network.parameters())
    assert network.radius == 35


@pytest.mark.slow
def test_state_dict_has_the_published_names():
    parts = ["head.0", "body.16", *(f"body.{i}.body.{j}" for i in range(16) for j in (0, 2))]
    modules = [f"{encoder}.{part}" for encoder in ("image_encoder", "depth_encoder") for part in parts]
    modules += [f"imnet.layers.{i}" for i in (0, 2, 4, 6, 8)]
    state = JIIF(features=4, hidden=(4, 4, 4, 4)).state_dict()
    assert set(state) == {f"{module}.{kind}" for module in modules for kind in ("weight", "bias")}


def test_rename_drops_the_mean_shifts():
    assert rename("image_encoder.sub_mean.weight") is None
    assert rename("depth_encoder.add_mean.bias") is None
    assert rename("imnet.layers.0.weight") == "imnet.layers.0.weight"


def test_shapes_with_other_bands():
    network = JIIF(bands=2, guide_bands=4, **SMALL).double()
    with torch.inference_mode():
        out = network(*inputs(bands=2, guides=4))
    assert out.shape == (2, 2, 20, 16)


def test_border_is_checked():
    with pytest.raises(ParameterError, match="border='reflect'; expected 'zero' or 'clamp'"):
        JIIF(border="reflect", **SMALL)


# --- the published form ------------------------------------------------------------------------------


def nearest(coordinate, size):
    """Index of a nearest look-up of a coordinate in [-1, 1]; ties go to the even pixel."""
    # Ties are exact in exact arithmetic; rounding to 1e-9 keeps them in floating point.
    return round(round(((coordinate + 1) * size - 1) / 2, 9))


def slow_pixel(network, features, at, shape):
    """One output pixel as the reference states it: shifted look-ups with zeros outside, softmax of the scores."""
    depth, high, guide = features
    size = depth.shape[1:]
    coordinate = [-1 + (2 * i + 1) / n for i, n in zip(at, shape, strict=True)]
    values, scores = [], []
    for shift in itertools.product((-1, 1), repeat=2):
        index = [nearest(c + s / n, n) for c, s, n in zip(coordinate, shift, size, strict=True)]
        if all(0 <= i < n for i, n in zip(index, size, strict=True)):
            own, other = depth[:, index[0], index[1]], guide[:, index[0], index[1]]
            centre = [-1 + (2 * i + 1) / n for i, n in zip(index, size, strict=True)]
        else:
            own, other, centre = torch.zeros_like(depth[:, 0, 0]), torch.zeros_like(guide[:, 0, 0]), [0.0, 0.0]
        here = high[:, at[0], at[1]]
        relative = [(c - m) * n for c, m, n in zip(coordinate, centre, size, strict=True)]
        answer = network.imnet(torch.cat((own, here, here - other, torch.tensor(relative, dtype=torch.float64))))
        values.append(answer[:-1])
        scores.append(answer[-1])
    return (torch.stack(scores).softmax(0)[:, None] * torch.stack(values)).sum(0)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [4.0, 3.0, 2.5])
@pytest.mark.parametrize("bands", [1, 2])
def test_equals_the_reference_formulation(scale, bands):
    network = lively(JIIF(bands=bands, **SMALL))
    low, high, guide = inputs(4, 6, scale, bands=bands)
    base = image(bands, *high.shape[2:], 4, 2)
    with torch.inference_mode():
        found = network(low, high, guide, base)
        features = network.depth_encoder(low), network.image_encoder(high), network.image_encoder(guide)
        for i, y, x in itertools.product(range(2), range(high.shape[2]), range(high.shape[3])):
            wanted = slow_pixel(network, [f[i] for f in features], (y, x), high.shape[2:]) + base[i, :, y, x]
            assert (found[i, :, y, x] - wanted).abs().max() <= 1e-10
    assert found.std() > 0.1


def test_base_is_added():
    network = lively(JIIF(**SMALL))
    given = inputs()
    base = image(1, 20, 16, 4, 2)
    with torch.inference_mode():
        assert torch.equal(network(*given, base), network(*given) + base)


def clamped_pixel(network, features, at, shape):
    """One output pixel with the four pixels around it, the nearest inside where they lie outside."""
    depth, high, guide = features
    size = depth.shape[1:]
    place = [(i + 0.5) * n / m - 0.5 for i, n, m in zip(at, size, shape, strict=True)]
    answers = []
    for step in itertools.product((0, 1), repeat=2):
        y, x = (min(max(math.floor(p) + s, 0), n - 1) for p, s, n in zip(place, step, size, strict=True))
        here = high[:, at[0], at[1]]
        relative = torch.tensor([2 * (place[0] - y), 2 * (place[1] - x)], dtype=torch.float64)
        answers.append(network.imnet(torch.cat((depth[:, y, x], here, here - guide[:, y, x], relative))))
    answers = torch.stack(answers)
    return (answers[:, -1:].softmax(0) * answers[:, :-1]).sum(0)


def test_clamped_border_equals_its_formulation_and_differs_from_the_published_one_at_the_border_alone():
    network = lively(JIIF(border="clamp", **SMALL))
    published = JIIF(**SMALL).double()
    published.load_state_dict(network.state_dict())
    low, high, guide = inputs(4, 5)
    with torch.inference_mode():
        found = network(low, high, guide)
        features = network.depth_encoder(low), network.image_encoder(high), network.image_encoder(guide)
        for y, x in itertools.product(range(16), range(20)):
            wanted = clamped_pixel(network, [f[0] for f in features], (y, x), high.shape[2:])
            assert (found[0, :, y, x] - wanted).abs().max() <= 1e-10
        difference = (published(low, high, guide) - found).abs().amax((0, 1))
    assert difference[2:-2, 2:-2].max() <= 1e-12
    border = torch.ones_like(difference, dtype=torch.bool)
    border[2:-2, 2:-2] = False
    assert (difference[border] > 1e-6).all()


@pytest.mark.slow
@pytest.mark.parametrize("queries", [1, 50, 1 << 14])
def test_slices_do_not_change_the_output(queries, monkeypatch):
    network = lively(JIIF(**SMALL))
    given = inputs()
    with torch.inference_mode():
        whole = network(*given)
        monkeypatch.setattr(jiif, "QUERIES", queries)
        assert (network(*given) - whole).abs().max() <= 1e-12


def test_gradients_reach_every_parameter():
    network = lively(JIIF(**SMALL))
    network(*inputs()).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


# --- the receptive field -----------------------------------------------------------------------------


def extent(gradient):
    hit = gradient[0].abs().sum(0) > 0
    rows, cols = (torch.nonzero(hit.any(dim=axis)).flatten() for axis in (1, 0))
    assert torch.equal(rows, cols)
    return int(rows.min()), int(rows.max())


def test_declared_radius_is_the_measured_support():
    scale, network = 4, JIIF(**SMALL).double()
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.abs_().clamp_(min=1e-3)
        network.imnet.layers[-1].weight[-1] = 1e-9  # the scores stay close, so that every neighbour counts
    radius = network.radius
    middle = 3 * radius
    size = 2 * middle + 1
    given = [torch.ones(1, c, s, s, dtype=torch.float64) for c, s in ((1, size), (3, scale * size), (3, size))]
    for x in given:
        x.requires_grad_()
    out = network(*given)
    for phase, (first, last) in enumerate([(-radius, radius - 1)] * 2 + [(1 - radius, radius)] * 2):
        at = scale * middle + phase
        low, high, guide = torch.autograd.grad(out[0, 0, at, at], given, retain_graph=True)
        assert extent(low) == extent(guide) == (middle + first, middle + last)
        assert extent(high) == (at - radius + 1, at + radius - 1)


def test_tiles_are_exact_with_the_declared_margin_and_not_with_one_pixel_less():
    scale, network = 4, lively(JIIF(**SMALL))
    margin, block, start = network.radius, 3, network.radius + 4
    size = 2 * start + block
    given = inputs(size, size, scale, batch=1)
    with torch.inference_mode():
        whole = network(*given)[..., scale * start : scale * (start + block), scale * start : scale * (start + block)]
        for used in (margin, margin - 1):
            tile = [
                x[..., s * (start - used) : s * (start + block + used), s * (start - used) : s * (start + block + used)]
                for x, s in zip(given, (1, scale, 1), strict=True)
            ]
            found = network(*tile)[..., scale * used : scale * (used + block), scale * used : scale * (used + block)]
            assert ulps(found, whole) <= ROUNDING_ULPS if used == margin else ulps(found, whole) > 1e10
