"""Interpolation to any finer grid: the baseline of everything."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr._version import __version__
from xsr.core import pipeline
from xsr.core.blocks import Padding
from xsr.core.cube import open_cube
from xsr.core.errors import ParameterError
from xsr.core.types import Stack, XarrayObject
from xsr.kernels import resample


@dataclass(frozen=True)
class Interpolation:
    """Block function: fill no-data, interpolate, re-mask."""

    method: str
    padding: Padding = "edge"

    @property
    def halo(self) -> int:
        """Pixels needed around the two next to a position: the kernel's reach, and as many to fill from."""
        radius = resample.RADIUS[self.method]
        return 0 if self.method == "nearest" else 2 * radius - 1

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate queries; see `xsr.core.types.WindowFunction`."""
        dates, bands = window.shape[:2]
        images = window.reshape(dates * bands, *window.shape[2:])
        out = resample.interpolate(images, rows, cols, self.method)
        return out.reshape(dates, bands, *out.shape[1:])


def interpolate(
    cube: XarrayObject,
    *,
    scale: float | None = None,
    resolution: float | None = None,
    like: XarrayObject | GeoBox | None = None,
    method: resample.Method = "bicubic",
    bands: Sequence[str] | None = None,
    units: str | float | None = None,
    chunks: int | Sequence[int] | None = None,
) -> XarrayObject:
    """Interpolate a cube to a finer grid.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x).
    scale
        Linear factor, >= 1, any real number. The output has ``floor(n * scale)`` pixels of exactly ``gsd / scale``,
        anchored at the top-left corner of the cube.
    resolution
        Pixel size of the output in units of the CRS (metres for UTM), instead of ``scale``.
    like
        A georeferenced cube or GeoBox whose grid to use, another CRS included: one resampling. Pixels outside the
        cube are NaN.
    method
        ``nearest``, ``bilinear``, ``bicubic`` (Keys, a = -0.5), ``bicubic75`` (a = -0.75, as PyTorch and OpenCV) or
        ``lanczos3``. ``bilinear`` and ``bicubic`` reproduce a linear ramp exactly; the last two do not.
    bands
        Bands to keep; all by default.
    units
        Units of the numbers where the metadata do not say: ``reflectance``, ``percent``, ``dn10000``,
        ``dn10000-1000``, or a factor.
    chunks
        Output block in pixels, one number or (y, x); each becomes one Dask chunk over all bands.

    Returns
    -------
    DataArray or Dataset
        As the input, float32, on the finer grid; lazy if the input is.

    Raises
    ------
    ParameterError
        If not exactly one target is given, it is coarser than the cube, or the method is unknown.
    CubeError, GridError, BandError
        If the cube breaks the contract; see `xsr.core.cube.open_cube`.

    Notes
    -----
    Edges repeat the border pixel. No data: an output pixel is NaN exactly where the input pixel that contains
    its centre is invalid in that band; the kernel sees invalid neighbours filled with the mean of valid ones.

    References
    ----------
    R. Keys, IEEE TASSP 29 (1981), doi:10.1109/TASSP.1981.1163711.
    """
    if method not in resample.METHODS:
        raise ParameterError(f"method={method!r}; expected one of {', '.join(resample.METHODS)}.")
    return pipeline.refine(
        open_cube(cube, units=units, bands=bands),
        Interpolation(method),
        scale=scale,
        resolution=resolution,
        like=like,
        chunks=chunks,
        provenance={"xsr_version": __version__, "xsr_operation": f"interpolate:{method}"},
    )
