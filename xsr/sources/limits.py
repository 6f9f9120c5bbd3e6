"""Limits on what files of anybody declare, compared before memory is taken for it."""

import math
from pathlib import Path

from xsr.core.errors import CubeError, ProductError

METADATA_BYTES = 1 << 26
"""Most bytes of a document that is read whole (64 MiB); the largest of real products have a tenth of that."""
SIDE = 1 << 26
"""Most pixels of a raster or coordinate along an axis: a line around the Earth in steps of 0.6 m."""
CHUNKS = 10**7
"""Most chunks of a raster: in chunks of 1024 pixels the whole Earth at 10 m, and a graph that fits in memory."""


def read_document(path: str | Path) -> bytes:
    """Read a document on disk.

    Raises
    ------
    ProductError
        If it is larger than any document of metadata.
    OSError
        If it cannot be read.
    """
    with Path(path).open("rb") as file:
        return check_document(file.read(METADATA_BYTES + 1), str(path))


def check_document(content: bytes, label: str) -> bytes:
    """Refuse a document of which more than `METADATA_BYTES` were read.

    Raises
    ------
    ProductError
        If it is too large.
    """
    if len(content) > METADATA_BYTES:
        raise ProductError(
            f"{label} has more than {METADATA_BYTES >> 20} MiB; expected metadata, which are smaller by far. Do not"
            " trust what it came with."
        )
    return content


def check_side(size: int, label: str) -> None:
    """Refuse an axis that is longer than any real one.

    Raises
    ------
    CubeError
        If it is longer than `SIDE`.
    """
    if size > SIDE:
        raise CubeError(
            f"{label} declares {size} pixels along an axis; expected at most {SIDE}. Check that it is complete, or cut"
            " out the part that you need."
        )


def check_raster(height: int, width: int, *, chunk: int, label: str) -> None:
    """Refuse a raster that is larger than any real one.

    Parameters
    ----------
    height, width
        Size that its header declares, in pixels.
    chunk
        Side of a chunk in pixels.
    label
        What to call it in a message.

    Raises
    ------
    CubeError
        If an axis is longer than `SIDE`, or it has more chunks than `CHUNKS`.
    """
    for size in (height, width):
        check_side(size, label)
    count = math.ceil(height / chunk) * math.ceil(width / chunk)
    if count > CHUNKS:
        raise CubeError(
            f"{label} declares {height} x {width} pixels, which make {count} chunks of {chunk} pixels; expected at most"
            f" {CHUNKS}. Check that it is complete, or pass chunks= for larger ones."
        )
