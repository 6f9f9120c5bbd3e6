"""Modulation transfer function and noise of a cube, estimated from its own pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import graph
from xsr.core.blocks import Window
from xsr.core.cube import open_cube
from xsr.core.errors import CubeError
from xsr.core.graph import Job
from xsr.core.names import BandsLike, standard_dims
from xsr.core.provenance import made_by
from xsr.core.types import XarrayObject
from xsr.kernels import scenespectrum as kernels
from xsr.kernels.registration import spread_windows

VARIABLES: dict[str, tuple[str, str]] = {
    "mtf": ("1", "modulation transfer at the Nyquist frequency, geometric mean of both axes"),
    "mtf_std": ("1", "standard deviation of mtf"),
    "mtf_y": ("1", "modulation transfer at the Nyquist frequency along y"),
    "mtf_x": ("1", "modulation transfer at the Nyquist frequency along x"),
    "mtf_y_std": ("1", "standard deviation of mtf_y"),
    "mtf_x_std": ("1", "standard deviation of mtf_x"),
    "sigma_y_m": ("m", "standard deviation of the Gaussian point spread function along y"),
    "sigma_x_m": ("m", "standard deviation of the Gaussian point spread function along x"),
    "sigma_y_m_std": ("m", "standard deviation of sigma_y_m"),
    "sigma_x_m_std": ("m", "standard deviation of sigma_x_m"),
    "noise": ("", "standard deviation of the noise, in the units of the cube"),
    "noise_std": ("", "standard deviation of noise"),
    "slope": ("1", "exponent of the power spectrum of the scene"),
    "patches": ("1", "number of patches without no data"),
}


def estimate_mtf(cube: XarrayObject, *, bands: BandsLike | None = None, units: str | float | None = None) -> xr.Dataset:
    """Estimate the modulation transfer function and the noise of each band from the image alone.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x), 64 x 64 pixels or more for a good estimate,
        at least 32 x 32. Set clouds to no data first.
    bands
        Bands to measure; all by default.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.

    Returns
    -------
    Dataset
        Dims ([time,] band): ``mtf_y`` and ``mtf_x``, the modulation transfer at the Nyquist frequency, and ``mtf``,
        their geometric mean, which is the surest of the three; ``sigma_y_m`` and ``sigma_x_m``, the width of the
        Gaussian of that MTF in metres; ``noise``, the standard deviation of the noise in the units in which the cube
        is read; each with its standard deviation (``_std``); ``slope``, the exponent of the scene's spectrum, and
        ``patches``, how many were read. Lazy if the cube is: computing it reads up to 3 x 3 windows of 256 pixels.
        An image that says nothing of its MTF (flat, noise alone, no patch without no data) has NaN.

    Raises
    ------
    CubeError, BandError
        If the cube breaks the contract, or is smaller than 32 pixels.

    Notes
    -----
    The mean power spectrum of patches of 64 pixels is fitted by a scene whose power falls as a power of the frequency,
    times a Gaussian MTF, with its aliases, plus white noise (`xsr.kernels.scenespectrum`). Real sensors are close to a
    Gaussian up to the Nyquist frequency. Resampled images have the MTF of the resampling too, and noise that is not
    white. The standard deviations hold the scatter of the spectrum and 20 percent for scenes that follow no power law.

    Noise is no more than where the image is quietest, nor than what the other bands do not show. Noise that bands share
    is not bounded by the latter: give such bands one by one.

    Edges are not used: on real land they are wider than the point spread function, see the decision on this estimate.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(256, 256), bands=("B04",), gsd_m=2.5)
    >>> found = cube.sr.degrade(scale=2, mtf=0.3, sensor="sentinel-2").sr.estimate_mtf()
    >>> found.mtf_x.dims, found.attrs["method"]
    (('time', 'band'), 'spectrum')
    """
    timed = "time" in standard_dims(cube).dims
    opened = open_cube(cube, units=units, bands=bands)
    shape = opened.data.sizes["y"], opened.data.sizes["x"]
    if min(shape) < kernels.LEAST:
        raise CubeError(
            f"the cube has {shape[0]} x {shape[1]} pixels; expected at least {kernels.LEAST} each way."
            " Take a larger area."
        )
    side = min(kernels.PATCH, min(shape) // 2 * 2)
    rows, cols = (spread_windows(size) for size in shape)
    jobs = tuple(Job(y, x, (Window(y, x),)) for y, x in product(rows, cols))
    function = Spectra(side, opened.pixel_m, jobs)
    size = (len(VARIABLES), len(opened.bands))
    values = graph.reduce_windows(function, [opened.data.data], jobs, size, name="estimate_mtf")
    variables = {
        name: (("time", "band"), values[:, index], {"long_name": long} | ({"units": unit} if unit else {}))
        for index, (name, (unit, long)) in enumerate(VARIABLES.items())
    }
    coords = {name: opened.data.coords[name] for name in ("time", "band") if name in opened.data.coords}
    attrs = made_by("estimate_mtf") | {"method": "spectrum", "patch_px": side}
    result = xr.Dataset(variables, coords, attrs)
    return result if timed else result.isel(time=0, drop=True)


@dataclass(frozen=True)
class Spectra:
    """Reduction: the spectra of the patches of all windows, then the fit."""

    side: int
    pixel_m: tuple[float, float]
    """Metres of a pixel along y and x."""
    jobs: tuple[Job, ...]

    def __call__(self, job: Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Measure one window by band: noise at its place among all windows, number of patches, sum of their spectra."""
        out, images = [], np.asarray(windows[0], np.float64)
        for image, bound in zip(images, kernels.quietest(images), strict=True):
            quiet = np.zeros(len(self.jobs))
            quiet[self.jobs.index(job)] = bound
            power, count = kernels.periodogram(image, self.side)
            out.append(np.concatenate([quiet, [count], power.ravel()]))
        return np.stack(out)

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Estimates of every band, shape (variable, band)."""
        return np.stack([self._row(band) for band in total], axis=1)

    def _row(self, band: NDArray[np.float64]) -> NDArray[np.float64]:
        quiet, count, power = np.split(band, [len(self.jobs), len(self.jobs) + 1])
        known = quiet[np.isfinite(quiet)]
        found = kernels.fit(power.reshape(self.side, -1), int(count[0]), float(known.min()) if known.size else math.inf)
        sigma, metres = np.sqrt(found.variances), np.array(self.pixel_m)
        sigma_std = np.array(found.variances_std) / (2 * sigma)
        rest = [found.noise, found.noise_std, found.slope, count[0]]
        return np.concatenate([found.mtf, *found.axes, sigma * metres, sigma_std * metres, rest])
