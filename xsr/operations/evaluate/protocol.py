"""The opensr-test protocol for cubes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import checks, graph
from xsr.core.cube import Cube
from xsr.core.errors import ParameterError
from xsr.core.match import open_low, quotient
from xsr.core.names import BandsLike, check_container
from xsr.core.provenance import made_by
from xsr.core.sensors import canonical
from xsr.core.types import XarrayObject
from xsr.kernels import opensr as kernels
from xsr.operations.evaluate.compare import labels, open_comparison, whole

VARIABLES: dict[str, tuple[str, str]] = {
    "reflectance": ("reflectance", "consistency: mean |low - down(image)|, lower is better"),
    "spectral": ("degree", "consistency: mean angle between low and down(image), lower is better"),
    "spatial": ("pixel of low", "consistency: shift between low and down(image), lower is better"),
    "synthesis": ("reflectance", "mean |up(low) - harmonised image|, higher is more detail"),
    "hallucination": ("1", "correctness: share of invented detail, lower is better"),
    "omission": ("1", "correctness: share of missing detail, lower is better"),
    "improvement": ("1", "correctness: share of true detail, higher is better"),
}
"""Variables of `opensr`: unit and meaning."""


@dataclass(frozen=True)
class Protocol:
    """Reduction of a single block, the whole image: histogram and registration look at all of it."""

    scale: tuple[float, float]
    border: int
    visible: tuple[int, ...]

    def __call__(self, job: graph.Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Score one date, shape (metric,)."""
        image, reference, low = (
            x if np.isfinite(x).all() else np.where(np.isfinite(x), x, np.float32(np.nan)) for x in windows
        )
        return kernels.opensr(low, image, reference, scale=self.scale, border=self.border, visible=self.visible)

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pass the only block on."""
        return total


def opensr(
    sr: XarrayObject,
    reference: XarrayObject,
    *,
    low: XarrayObject,
    border: int = 16,
    visible: str | Sequence[str] | None = None,
    bands: BandsLike | None = None,
    units: str | float | None = None,
) -> xr.Dataset:
    """Score a super-resolved cube by the opensr-test protocol.

    Parameters
    ----------
    sr, reference
        Super-resolved cube and truth on one grid; see `xsr.evaluate`.
    low
        The image that ``sr`` was made from: same top-left corner, coarser pixels, any ratio.
    border
        High-resolution pixels to leave out along each side.
    visible
        Bands whose mean is registered with ``low``; by default the red, green and blue ones, or the first three bands
        where those are not all there, or the first of fewer.
    bands, units
        See `xsr.evaluate`.

    Returns
    -------
    Dataset
        Dims (time): ``reflectance``, ``spectral`` and ``spatial`` consistency with ``low``; ``synthesis``; and
        ``hallucination``, ``omission`` and ``improvement``, which sum to 1. NaN where one cannot be computed. Lazy if
        any cube is; a task holds one date of the three cubes.

    Raises
    ------
    GridError, CubeError, BandError
        If the cubes do not match; see `xsr.evaluate`.
    ParameterError
        If the border leaves nothing, or ``visible`` names no band of the cube.

    Notes
    -----
    Numbers equal those of opensr-test 1.3.3 with its default settings where that package runs. Correctness is measured
    after the histogram and the place of ``sr`` have been matched to the reference: it does not depend on a bias or a
    shift. Read it together with the consistency.

    References
    ----------
    C. Aybar et al., IEEE GRSL (2024), https://ieeexplore.ieee.org/document/10530998.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_pair
    >>> pair = synthetic_pair(size=(32, 32))  # pixels of 10 m, and their truth of 2.5 m
    >>> fine = pair.low.sr.interpolate(scale=4)
    >>> scores = fine.sr.opensr(pair.high, low=pair.low)
    >>> round((scores.hallucination + scores.omission + scores.improvement).item(), 3)
    1.0
    >>> bool(scores.omission > scores.hallucination)  # interpolation invents little and misses much
    True
    """
    check_container(reference)
    pair = open_comparison(sr, reference, border=border, bands=bands, units=units)
    cube, coarse = pair.cube, open_low(low, pair.cube, units=units, bands=bands)
    function = Protocol(coarse.scale, pair.border, _visible(cube, visible))
    sources = [*pair.sources, coarse.cube.data.data]
    values = graph.reduce_windows(function, sources, [whole(sources)], (len(VARIABLES),), name="opensr")
    variables: dict[str, Any] = {
        name: (("time",), values[:, index], {"units": unit, "long_name": long})
        for index, (name, (unit, long)) in enumerate(VARIABLES.items())
    }
    settings = {
        **made_by("opensr"),
        "border_px": function.border,
        "scale": quotient(coarse.scale),
        "visible": [cube.bands[index] for index in function.visible],
    }
    return xr.Dataset(variables, labels(cube, "time"), settings)


def _visible(cube: Cube, wanted: str | Sequence[str] | None) -> tuple[int, ...]:
    bands, names = cube.bands, cube.canonical
    if wanted is not None:
        wanted = checks.names("visible", wanted)
        missing = [name for name in wanted if canonical(name) not in names]
        if missing or not wanted:
            raise ParameterError(f"visible={list(wanted)}; expected bands of the cube, which has {list(bands)}.")
        return tuple(names.index(canonical(name)) for name in wanted)
    if {"B02", "B03", "B04"} <= set(names):
        return tuple(names.index(name) for name in ("B04", "B03", "B02"))
    return tuple(range(3)) if len(bands) >= 3 else (0,)
