"""Guided networks on the patch lattice: the same image whatever blocks it is computed in."""

import numpy as np
import pytest
import torch

from xsr.core.blocks import Span
from xsr.kernels.lattice import Lattice, Source, blend
from xsr.models.architectures.dctnet import DCTNet
from xsr.models.architectures.dctrrdbnet import DCTRRDBNet
from xsr.models.architectures.jiif import JIIF

FACTOR = 4
SIZE = 96
LATTICE = Lattice(48, 32, 4)
PAD = 48
"""Pixels of the images around the area asked for; a multiple of the factor that covers the lattice's halo."""
BLOCKS = [(17, 23), (40, 96), (96, 31)]


def image(channels, size, seed):
    rng = np.random.default_rng(seed)
    return rng.random((1, channels, size, size)).astype(np.float32)


def assert_blocks_agree(predict, sources, tolerance=1e-6):
    """``sources`` hold (images, factor); their first pixel lies ``PAD`` output pixels before the area's."""
    whole_sources = [Source(values, (-PAD // factor, -PAD // factor), factor) for values, factor in sources]
    whole = blend(predict, whole_sources, Span(0, SIZE), Span(0, SIZE), LATTICE)
    assert np.ptp(whole) > 1e-3
    worst = 0.0
    for high, wide in BLOCKS:
        for top in range(0, SIZE, high):
            for left in range(0, SIZE, wide):
                rows, cols = Span(top, min(top + high, SIZE)), Span(left, min(left + wide, SIZE))
                block = blend(predict, _windows(sources, rows, cols), rows, cols, LATTICE)
                worst = max(worst, float(np.abs(block - whole[:, :, rows.slice, cols.slice]).max()))
    assert worst <= tolerance
    return whole


def _windows(sources, rows, cols):
    """Only the pixels that a block may read: its halo, rounded to whole pixels of the source."""
    cut = []
    for values, factor in sources:
        first = [(span.start - LATTICE.halo) // factor for span in (rows, cols)]
        last = [-(-(span.stop + LATTICE.halo) // factor) for span in (rows, cols)]
        y, x = (slice(a + PAD // factor, b + PAD // factor) for a, b in zip(first, last, strict=True))
        cut.append(Source(values[:, :, y, x], (first[0], first[1]), factor))
    return cut


@pytest.mark.slow
@pytest.mark.parametrize("make", [DCTNet, DCTRRDBNet])
def test_a_global_transform_on_the_lattice_does_not_depend_on_the_blocks(make):
    torch.manual_seed(0)
    settings = {"growth": 8} if make is DCTRRDBNet else {}
    network = make(guide_bands=2, features=16, layers=1, final_relu=False, **settings).eval()

    def predict(stacks):
        with torch.inference_mode():
            return network(*(torch.from_numpy(stack) for stack in stacks)).numpy()

    sources = [(image(1, SIZE + 2 * PAD, 1), 1), (image(2, SIZE + 2 * PAD, 2), 1)]
    whole = assert_blocks_agree(predict, sources)

    # Tiles of their own with the same halo differ: the network does see the whole of its input.
    halo = LATTICE.halo
    stacks = [values[:, :, PAD - halo : PAD + 40 + halo, PAD - halo : PAD + 40 + halo] for values, _ in sources]
    tile = predict(stacks)[:, :, halo : halo + 40, halo : halo + 40]
    assert np.abs(tile - whole[:, :, :40, :40]).max() > 1e-5


@pytest.mark.slow
def test_a_guided_implicit_function_on_the_lattice():
    torch.manual_seed(0)
    network = JIIF(guide_bands=2, features=8, blocks=1, hidden=(16, 8)).eval()

    def predict(stacks):
        low, guide = (torch.from_numpy(stack) for stack in stacks)
        reduced = torch.nn.functional.avg_pool2d(guide, FACTOR)
        with torch.inference_mode():
            return network(low, guide, reduced).numpy()

    assert_blocks_agree(predict, [(image(1, (SIZE + 2 * PAD) // FACTOR, 3), FACTOR), (image(2, SIZE + 2 * PAD, 4), 1)])
