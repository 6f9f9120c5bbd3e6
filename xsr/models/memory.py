"""Batches of images that fit into memory: fewer at once after it has run out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

PIXELS = {"cpu": 1 << 14, "cuda": 1 << 20}
"""Input pixels evaluated at once at first. On a CPU larger batches only touch more memory."""
OUT_OF_MEMORY = ("not enough memory", "Failed to allocate memory")
"""What PyTorch and onnxruntime say when a CPU has no memory left."""


@dataclass
class Batches:
    """How much goes through a network at once; kept beside the network, so that what did not fit is not tried again."""

    pixels: int
    """Input pixels; one image is evaluated even if it has more."""

    @classmethod
    def on(cls, device: str) -> "Batches":
        """As many as a device is used to."""
        return cls(PIXELS[torch.device(device).type])

    def size(self, images: NDArray[np.float32]) -> int:
        """Count the images (n, channel, h, w) that are evaluated at once."""
        height, width = images.shape[2:]
        return min(len(images), max(1, self.pixels // int(height * width)))

    def run(
        self, evaluate: Callable[[slice], NDArray[np.float32]], images: NDArray[np.float32]
    ) -> Iterator[NDArray[np.float32]]:
        """Evaluate images in batches; one that does not fit is halved, and the size kept.

        Raises
        ------
        MemoryError
            If not even one image fits.
        """
        first, size = 0, self.size(images)
        while first < len(images):
            try:
                made = evaluate(slice(first, first + size))
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                if size == 1:
                    raise _too_large(images, error) from error
                size //= 2
                self.pixels = size * images.shape[2] * images.shape[3]
                continue
            yield made
            first += size


@contextmanager
def memory_errors(images: NDArray[np.float32]) -> Iterator[None]:
    """Turn what PyTorch says when memory is used up into a MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise _too_large(images, error) from error


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of PyTorch or onnxruntime says that memory is used up."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)


def _too_large(images: NDArray[np.float32], error: RuntimeError) -> MemoryError:
    return MemoryError(f"an image of {images.shape[2]} x {images.shape[3]} pixels does not fit into memory: {error}")
