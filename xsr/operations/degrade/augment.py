"""The operation `augment_frames`: a set of frames and its truth, varied for training."""

import numpy as np

from xsr.core import checks
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import GridError, ParameterError
from xsr.core.grid import crs_name, resolution
from xsr.core.types import XarrayObject
from xsr.operations.degrade.arguments import checked_seed


def augment_frames(
    low: XarrayObject, high: XarrayObject, *, keep: int | None = None, seed: int = 0
) -> tuple[XarrayObject, XarrayObject]:
    """Vary a set of frames and their truth for training: which frames, in which order, and how the scene is turned.

    Parameters
    ----------
    low
        Frames along ``time``, as of `semi_simulate`.
    high
        Truth over the same extent.
    keep
        Number of frames to keep; all by default.
    seed
        Seed of the draw.

    Returns
    -------
    low, high : DataArray or Dataset
        Frames drawn without repetition and in random order, both sides mirrored alike and, where they are
        square, transposed alike. The coordinates stay: the scene is turned within its place on the map. Recorded
        shifts follow the content. Lazy if the inputs are.

    References
    ----------
    M. Ziaja et al. (2022), on data augmentation for multi-image super-resolution.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> high = synthetic_cube(size=(32, 32), gsd_m=5.0)
    >>> low = high.sr.semi_simulate(scale=2, frames=4)
    >>> low, high = xsr.augment_frames(low, high, keep=3, seed=1)
    >>> low.sizes["time"]
    3
    """
    frames, truth = open_cube(low), open_cube(high)
    count, seed = frames.data.sizes["time"], checked_seed(seed)
    if keep is not None and checks.whole("keep", keep) not in range(1, count + 1):
        raise ParameterError(f"keep={keep}; expected from 1 to {count}, the number of frames.")
    if frames.geobox.crs != truth.geobox.crs:
        raise GridError(
            f"the frames are in {crs_name(frames.geobox)} and the truth in {crs_name(truth.geobox)}; expected one CRS."
            " Reproject one of them."
        )
    extents = [np.array(cube.geobox.extent.boundingbox.bbox) for cube in (frames, truth)]
    if np.abs(extents[0] - extents[1]).max() > 1e-3 * resolution(truth.geobox)[0]:
        raise GridError(
            f"the frames cover {tuple(extents[0])} and the truth {tuple(extents[1])}; expected one extent, so that both"
            " can be turned alike. Crop both to common corners."
        )
    rng = np.random.default_rng([19, seed & 0xFFFFFFFFFFFFFFFF])
    order = rng.permutation(count)[:keep].tolist()
    square = all(cube.geobox.shape.y == cube.geobox.shape.x for cube in (frames, truth))
    flip_y, flip_x, swap = (bool(number < 0.5) for number in rng.random(3))
    turned = [_turned(cube, flip_y, flip_x, swap and square) for cube in (frames, truth)]
    (time,) = frames.names.of(["time"])
    chosen = turned[0].isel({time: order}) if time in turned[0].dims else turned[0]
    height, width = frames.pixel_m
    return _moved(chosen, flip_y, flip_x, height / width if swap and square else None), turned[1]


def _turned(cube: Cube, flip_y: bool, flip_x: bool, swap: bool) -> XarrayObject:
    """Mirror along y and x, then transpose; the grid stays."""
    values = cube.data.data[:, :, :: -1 if flip_y else 1, :: -1 if flip_x else 1]
    return cube.rewrap(values.swapaxes(2, 3) if swap else values, cube.geobox, {})


def _moved(obj: XarrayObject, flip_y: bool, flip_x: bool, swap: float | None) -> XarrayObject:
    """Let recorded shifts follow the content; ``swap`` is a pixel's height over its width where it is transposed."""
    if not {"shift_x_m", "shift_y_m"} <= set(obj.coords):
        return obj
    x = obj["shift_x_m"] * (-1 if flip_x else 1)
    y = obj["shift_y_m"] * (-1 if flip_y else 1)
    x, y = (x, y) if swap is None else (-y / swap, -x * swap)  # rows run south, columns east
    return obj.assign_coords(shift_x_m=(obj["shift_x_m"].dims, x.values), shift_y_m=(obj["shift_y_m"].dims, y.values))
