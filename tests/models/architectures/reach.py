"""How far a network looks: by gradients, and by cutting a tile out of an image."""

import torch
from helpers import ROUNDING_ULPS, ulps

from xsr.models.architectures.rrdb import ScaledResidual


def count(module):
    """Number of parameters, shared ones once, frozen ones included."""
    return sum(p.numel() for p in module.parameters())


def lively(network, seed=0):
    """Give double-precision weights that keep the variance through the layers, so that all of the reach matters."""
    generator = torch.Generator().manual_seed(seed)
    network.double()
    with torch.no_grad():
        for tensor in network.parameters():
            fan = tensor[0].numel() if tensor.ndim > 1 else 200
            tensor.copy_((2 / fan) ** 0.5 * torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
        for module in network.modules():
            if isinstance(module, ScaledResidual):
                module.scale.fill_(0.7)
    return network.eval()


def image(bands, height, width, seed=1, batch=1):
    """Random image in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, bands, height, width, dtype=torch.float64, generator=generator)


def measured_reach(network, bands):
    """Input pixels that an output pixel needs before and after its own, for each of its phases.

    Weights become positive: nothing cancels, and no activation is off.
    """
    network = network.double().eval()
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.abs_().clamp_(min=1e-3)
    middle = network.radius + 3
    x = torch.ones(1, bands, 2 * middle + 1, 2 * middle + 1, dtype=torch.float64, requires_grad=True)
    out = network(x)
    reach = []
    for phase in range(network.factor):
        at = middle * network.factor + phase
        (gradient,) = torch.autograd.grad(out[0, :, at, at].sum(), x, retain_graph=True)
        hit = gradient[0].abs().sum(0) > 0
        rows, cols = (torch.nonzero(hit.any(dim=axis)).flatten() for axis in (1, 0))
        assert torch.equal(rows, cols)
        reach.append((middle - int(rows.min()), int(rows.max()) - middle))
    return reach


def assert_radius_is_measured(network, bands):
    """The declared radius is the largest measured reach, and the phases mirror one another."""
    reach = measured_reach(network, bands)
    assert max(max(pair) for pair in reach) == network.radius
    assert reach == [pair[::-1] for pair in reversed(reach)]


def tile_difference(network, bands, margin, block=3):
    """Largest difference of a block read with a margin from the same block of the whole image, in ulps."""
    start = network.radius + 2
    size = 2 * start + block + 3
    x = image(bands, size, size)
    near, far = start - margin, start + block + margin
    f = network.factor
    with torch.inference_mode():
        whole = network(x)[..., start * f : (start + block) * f, start * f : (start + block) * f]
        tile = network(x[..., near:far, near:far])
    inner = tile[..., margin * f : (margin + block) * f, margin * f : (margin + block) * f]
    return ulps(inner, whole)


def assert_tiles_need_exactly_the_radius(network, bands):
    """With the radius as margin a tile has the values of the whole, with one pixel less it has not."""
    assert tile_difference(network, bands, network.radius) <= ROUNDING_ULPS
    assert tile_difference(network, bands, network.radius - 1) > 100 * ROUNDING_ULPS
