"""Patches on a fixed lattice, blended by fixed tapers: tiling for networks whose output depends on their whole input.

A cosine transform, an attention or a normalisation over the image makes every output pixel depend on every input
pixel: no halo makes such tiles exact. So the patches themselves are fixed. They are on a lattice anchored at the
cube's corner, whatever block needs them, and overlap by tapers that add up to one. A block evaluates the patches
that touch it; two blocks that share a patch compute the same numbers, so that there are no seams between blocks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.core.errors import ParameterError

Image = NDArray[np.float32]
TOGETHER = 8
"""Patches handed to the network at once."""


@dataclass(frozen=True)
class Lattice:
    """Square patches of output pixels at multiples of a stride.

    Of each patch ``trim`` pixels along the border, where a network has least context, are discarded; what is left
    overlaps by ``patch - 2 * trim - stride`` pixels, over which one patch fades out and the next fades in.
    """

    patch: int
    stride: int
    trim: int = 0

    def __post_init__(self) -> None:
        """Check that the tapers can add up to one."""
        kept = self.patch - 2 * self.trim
        if not (self.trim >= 0 and 0 < self.stride <= kept <= 2 * self.stride):
            raise ParameterError(
                f"patches of {self.patch} pixels, trimmed by {self.trim}, at a stride of {self.stride}; expected"
                " stride <= patch - 2 * trim <= 2 * stride, so that neighbours meet and no third patch reaches in."
            )

    @property
    def halo(self) -> int:
        """Pixels around a block that the patches touching it may cover."""
        return self.patch - self.trim - 1

    def starts(self, span: Span) -> range:
        """First pixels of the patches that contribute to a range of pixels."""
        first = (span.start - self.patch + self.trim) // self.stride + 1
        last = -((self.trim - span.stop) // self.stride)
        return range(first * self.stride, last * self.stride, self.stride)

    def taper(self) -> NDArray[np.float64]:
        """Weight of each pixel of a patch along one axis; over all patches the weights of a pixel add up to one."""
        kept = self.patch - 2 * self.trim
        overlap = kept - self.stride
        weight = np.ones(kept)
        if overlap:
            ramp = np.sin((np.arange(overlap) + 0.5) / overlap * np.pi / 2) ** 2
            weight[:overlap] = ramp
            weight[-overlap:] = ramp[::-1]
        return np.pad(weight, self.trim)


@dataclass(frozen=True)
class Source:
    """A window of an image on the output grid, or on one ``factor`` times coarser with the same corner."""

    images: Image
    """Shape (n, channel, h, w)."""
    origin: tuple[int, int]
    """The window's first pixel in the image, (y, x)."""
    factor: int = 1

    def cut(self, row: int, col: int, patch: int) -> Image:
        """Patch whose first output pixel is (row, col)."""
        y, x = row // self.factor - self.origin[0], col // self.factor - self.origin[1]
        size = patch // self.factor
        return self.images[:, :, y : y + size, x : x + size]


def blend(
    predict: Callable[[Sequence[Image]], Image],
    sources: Sequence[Source],
    rows: Span,
    cols: Span,
    lattice: Lattice,
) -> Image:
    """Evaluate a network patch by patch and blend the patches.

    Parameters
    ----------
    predict
        From one stack of patches of each source, shape (m, channel, patch / factor, patch / factor), to output
        patches, shape (m, output, patch, patch).
    sources
        Windows that cover `Lattice.halo` pixels around the block.
    rows, cols
        Output pixels to make.
    lattice
        Where the patches lie; a coarser source needs patch and stride to be multiples of its factor.

    Returns
    -------
    ndarray
        Shape (n, output, len(rows), len(cols)), float32.

    Raises
    ------
    ParameterError
        If patch or stride are not multiples of a source's factor.
    """
    for source in sources:
        if lattice.patch % source.factor or lattice.stride % source.factor:
            raise ParameterError(
                f"patches of {lattice.patch} pixels at a stride of {lattice.stride}; expected multiples of the factor"
                f" {source.factor} of the coarser image."
            )
    taper = lattice.taper()
    total: NDArray[np.float64] | None = None
    places = [(y, x) for y in lattice.starts(rows) for x in lattice.starts(cols)]
    count = len(sources[0].images)
    for first in range(0, len(places), TOGETHER):
        some = places[first : first + TOGETHER]
        stacks = [np.concatenate([source.cut(y, x, lattice.patch) for y, x in some]) for source in sources]
        out = predict(stacks).reshape(len(some), count, -1, lattice.patch, lattice.patch)
        if total is None:
            total = np.zeros((count, out.shape[2], len(rows), len(cols)))
        for (y, x), patches in zip(some, out, strict=True):
            into_y, from_y, weight_y = _overlap(y, rows, lattice.patch, taper)
            into_x, from_x, weight_x = _overlap(x, cols, lattice.patch, taper)
            total[:, :, into_y, into_x] += patches[:, :, from_y, from_x] * (weight_y[:, None] * weight_x)
    assert total is not None
    return total.astype(np.float32)


def _overlap(
    start: int, span: Span, patch: int, taper: NDArray[np.float64]
) -> tuple[slice, slice, NDArray[np.float64]]:
    """Where a patch lands in a range of pixels, which of its pixels, and their weights."""
    first, last = max(start, span.start), min(start + patch, span.stop)
    taken = slice(first - start, last - start)
    return slice(first - span.start, last - span.start), taken, taper[taken]
