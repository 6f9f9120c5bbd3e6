"""Numbers of each date as images beside a cube, for block functions that read bands alone."""

from typing import Any

import numpy as np


def constant_images(numbers: Any, like: Any) -> Any:
    """Repeat numbers (time, n) over the pixels of an array (time, band, y, x), in its chunks; lazy if it is."""
    shape = (*numbers.shape, *like.shape[2:])
    if isinstance(like, np.ndarray):
        return np.broadcast_to(np.asarray(numbers)[:, :, None, None], shape)
    import dask.array as da

    times, _, height, width = like.chunks
    columns = (numbers.shape[1],)
    known = da.asarray(numbers).rechunk((times, columns))
    return da.broadcast_to(known[:, :, None, None], shape, chunks=(times, columns, height, width))
