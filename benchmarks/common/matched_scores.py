"""Scores of a result against another sensor's image, at the sharpness of the reference and as it is."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import xsr
from xsr.core.errors import ParameterError

ABOVE_M = 20.0
"""Width of the Gaussian that is subtracted: what it takes away is detail, and changes of illumination stay behind."""
BORDER_M, PATCH_M = 100.0, 576.0
"""Left out along each side; side of the patches of the ring correlation."""
TAPS, TAP_M = 9, 6.0
"""Taps of the fitted filter along an axis, and their least distance."""
LARGEST_M = 30.0
"""Largest width that sharpness is matched by."""
METRICS = ("rmse", "detail_gain", "detail_correlation")


@dataclass(frozen=True)
class Judge:
    """A reference, and the image without added detail that all results are compared with."""

    reference: xr.DataArray
    base: xr.DataArray
    pixel_m: float
    above_m: float = ABOVE_M
    """Width in metres of the Gaussian whose difference from an image is its detail."""

    def scores(self, image: xr.DataArray) -> dict[str, float]:
        """Score an image; errors are shares of those of the base, mean over bands."""
        truth, base, fine = (detail(x, self.above_m) for x in (self.reference, self.base, image))
        matched, plain = (softened(x, truth) for x in (fine, base))
        width, base_width = (float(x.attrs["xsr_sigma_m"]) for x in (matched, plain))
        found = {"width, m": width}
        found |= self._compared(matched, truth, plain, "")
        ratios = (self._quartiles(matched, truth) / self._quartiles(plain, truth)).mean(axis=0)
        found |= {f"RMSE, quartile {number}": float(ratio) for number, ratio in enumerate(ratios, 1)}
        soft = xsr.match_psf(image, sigma_m=width, units="reflectance")
        softer = xsr.match_psf(self.base, sigma_m=base_width, units="reflectance")
        found |= self._compared(soft, self.reference, softer, ", all periods")
        found |= self._compared(fine, truth, base, ", not matched")
        rings = xsr.spectrum(image, self.reference, patch=round(PATCH_M / self.pixel_m), **self._options)
        return found | {"FRC, m": float(rings["resolution_m"].mean())}

    @property
    def _options(self) -> dict[str, object]:
        return {"border": round(BORDER_M / self.pixel_m), "units": "reflectance"}

    def _compared(self, image: xr.DataArray, truth: xr.DataArray, base: xr.DataArray, suffix: str) -> dict[str, float]:
        ours = xsr.evaluate(image, truth, base=base, metrics=METRICS, **self._options)
        theirs = xsr.evaluate(base, truth, metrics="rmse", **self._options)
        found = {"RMSE": ours["rmse"] / theirs["rmse"], "β": ours["detail_gain"], "ρ": ours["detail_correlation"]}
        return {f"{name}{suffix}": float(value.mean()) for name, value in found.items()}

    def _quartiles(self, image: xr.DataArray, truth: xr.DataArray) -> NDArray[np.float64]:
        """RMSE in the quarters of the gradient of the reference, shape (band, quarter)."""
        strata = xsr.strata(image, truth, quantiles=4, metrics="rmse", **self._options)
        return np.asarray(strata["rmse"].values[0])

    def bound(self, image: xr.DataArray) -> dict[str, float]:
        """Score a linear filter that is fitted to the reference itself, in either half of it for the other.

        It reads all bands of an image, `TAPS` x `TAPS` taps each.
        """
        truth, base, plain = (detail(x, self.above_m) for x in (self.reference, self.base, image))
        step = max(1, round(TAP_M / self.pixel_m))
        out = truth.copy(data=np.full(truth.shape, np.nan, np.float32))
        margin = TAPS // 2 * step
        inner = slice(margin, -margin)
        taps = windows(plain.values, step)
        wanted = truth.values[:, inner, inner]
        half = wanted.shape[2] // 2
        for ours, other in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
            weights = fitted(taps[:, :, other], wanted[:, :, other])
            out.values[:, inner, inner][:, :, ours] = np.einsum("kyx,kb->byx", taps[:, :, ours], weights)
        return self._compared(out, truth, softened(base, truth), "")


def detail(image: xr.DataArray, above_m: float) -> xr.DataArray:
    """Subtract what a Gaussian leaves of an image."""
    return image - xsr.match_psf(image, sigma_m=above_m, units="reflectance")


def softened(image: xr.DataArray, truth: xr.DataArray) -> xr.DataArray:
    """Match the sharpness of an image; one without any true detail gets the largest width."""
    try:
        return xsr.match_psf(image, truth, largest_m=LARGEST_M, units="reflectance")
    except ParameterError:
        return xsr.match_psf(image, sigma_m=LARGEST_M, units="reflectance")


def windows(images: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Taps around every pixel that has all of them, shape (tap, y, x)."""
    reach = (TAPS - 1) * step
    height, width = (size - reach for size in images.shape[1:])
    shifts = range(0, reach + 1, step)
    return np.stack([band[y : y + height, x : x + width] for band in images for y in shifts for x in shifts])


def fitted(taps: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float64]:
    """Weights (tap, band) of least squares over the pixels that are known."""
    known = np.isfinite(taps).all(axis=0) & np.isfinite(wanted).all(axis=0)
    x, y = taps[:, known].astype(np.float64), wanted[:, known].astype(np.float64)
    power = x @ x.T
    return np.asarray(np.linalg.solve(power + 1e-6 * np.trace(power) / len(power) * np.eye(len(power)), x @ y.T))
