"""Power spectrum, Fourier ring correlation and effective transfer of a super-resolved cube."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import checks, graph
from xsr.core.blocks import Span
from xsr.core.errors import ParameterError
from xsr.core.names import BandsLike, check_container
from xsr.core.provenance import made_by
from xsr.core.types import XarrayObject
from xsr.kernels import spectrum as kernels
from xsr.operations.evaluate.compare import Comparison, Reader, labels, open_comparison

VARIABLES: dict[str, tuple[str, str]] = {
    "power": ("reflectance2 m2", "radial power spectral density"),
    "power_reference": ("reflectance2 m2", "radial power spectral density of the reference"),
    "power_ratio": ("1", "power over power of the reference"),
    "frc": ("1", "Fourier ring correlation with the reference"),
    "mtf_gain": ("1", "transfer relative to the reference: real cross-power over power of the reference"),
}
SMALLEST = 8
"""Least side of a patch in pixels."""


@dataclass(frozen=True)
class Spectra:
    """Reduction: ring sums over patches on a lattice anchored at the corner inside the border."""

    rings: kernels.Rings
    reader: Reader

    def origins(self, axis: int) -> NDArray[np.int64]:
        """First pixel of the patches along an axis: half a patch apart from the border on, the last at the end."""
        size, border = self.rings.size[axis], self.reader.border
        last = self.reader.shape[axis] - border - size
        steps = np.arange(border, last + 1, max(1, size // 2))
        return steps if steps[-1] == last else np.append(steps, last)

    def __call__(self, job: graph.Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Add ring sums of the patches that begin in one block, shape (band, 3, rings + 1)."""
        image, reference, _ = self.reader(job, windows)
        assert reference is not None
        height, width = self.rings.size
        out = np.zeros((image.shape[0], 3, self.rings.count + 1))
        for y in _within(self.origins(0), job.rows) - job.rows.start:
            for x in _within(self.origins(1), job.cols) - job.cols.start:
                cut = (slice(None), slice(y, y + height), slice(x, x + width))
                out += kernels.ring_sums(image[cut], reference[cut], self.rings)
        return out

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Spectra of every band, shape (6, band, rings)."""
        return np.stack([kernels.curves(band, self.rings) for band in total], axis=1)


def _within(origins: NDArray[np.int64], span: Span) -> NDArray[np.int64]:
    return origins[(origins >= span.start) & (origins < span.stop)]


def spectrum(
    sr: XarrayObject,
    reference: XarrayObject,
    *,
    patch: int = 256,
    border: int = 0,
    mask: xr.DataArray | None = None,
    bands: BandsLike | None = None,
    units: str | float | None = None,
    chunks: int | Sequence[int] | None = None,
) -> xr.Dataset:
    """Compare a super-resolved cube with a reference frequency by frequency.

    Parameters
    ----------
    sr, reference
        Cubes on one grid; see `xsr.evaluate`.
    patch
        Side of the patches in pixels, at least 8; cut to what the border leaves. Smaller patches find more places
        without no data and average more noise away, and resolve fewer frequencies.
    border, mask, bands, units, chunks
        See `xsr.evaluate`.

    Returns
    -------
    Dataset
        Dims (time, band, frequency), frequency in cycles per metre: ``power``, ``power_reference``, ``power_ratio``,
        ``frc`` and ``mtf_gain``; dims (time, band): ``resolution_m`` and ``patches``. Lazy if any cube is.

    Raises
    ------
    GridError, CubeError, BandError, ParameterError
        If the cubes do not match or an argument is out of range; see `xsr.evaluate`.

    Notes
    -----
    Patches are on a lattice anchored at the corner inside the border, half a patch apart, whatever the chunks; each
    loses its mean and is tapered with a Hann window (Welch 1967). A patch with no data in it does not count. With
    transforms F of the image and G of the reference, summed over patches and rings of frequency: ``frc`` is
    ``Re sum(F G*) / sqrt(sum |F|² sum |G|²)``, ``mtf_gain`` is ``Re sum(F G*) / sum |G|²``, 1 where the image is as
    sharp as the reference and detail is in its place; noise and invented detail do not raise it. ``resolution_m`` is
    one over the frequency at which ``frc`` first falls below 1/7, or two pixels if it never does.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_pair
    >>> pair = synthetic_pair(size=(32, 32))  # pixels of 10 m, and their truth of 2.5 m
    >>> fine = pair.low.sr.interpolate(scale=4)
    >>> scores = fine.sr.spectrum(pair.high, patch=64)
    >>> scores.resolution_m.sel(band="B02").round().item()  # metres
    12.0
    """
    patch = checks.whole("patch", patch, least=SMALLEST, what="a number of pixels")
    check_container(reference)
    pair = open_comparison(sr, reference, mask=mask, border=border, bands=bands, units=units)
    rings = _rings(pair, patch)
    function = Spectra(rings, pair.reader)
    jobs = pair.jobs(chunks, after=(rings.size[0] - 1, rings.size[1] - 1))
    shape = (len(VARIABLES) + 1, len(pair.cube.bands), rings.count)
    values = graph.reduce_windows(function, pair.sources, jobs, shape, name="spectrum")
    variables: dict[str, Any] = {
        name: (("time", "band", "frequency"), values[:, index], {"units": unit, "long_name": long})
        for index, (name, (unit, long)) in enumerate(VARIABLES.items())
    }
    variables["resolution_m"] = (("time", "band"), values[:, -1, :, 0], {"units": "m"})
    variables["patches"] = (("time", "band"), values[:, -1, :, 1].astype(np.int64), {"units": "1"})
    coords = labels(pair.cube, "time", "band")
    coords["frequency"] = xr.Variable("frequency", rings.frequency(), {"units": "cycles per metre"})
    return xr.Dataset(variables, coords, made_by("spectrum") | {"patch_px": list(rings.size)})


def _rings(pair: Comparison, patch: int) -> kernels.Rings:
    """Rings of frequency of the largest patches that fit, at most ``patch`` a side."""
    shape, border = pair.shape, pair.border
    if min(shape) < SMALLEST:
        raise ParameterError(f"the cube has {shape[0]} x {shape[1]} pixels; expected at least {SMALLEST} each way.")
    height, width = (size - 2 * border for size in shape)
    if min(height, width) < SMALLEST:
        raise ParameterError(
            f"border={border} leaves {height} x {width} pixels; expected at least {SMALLEST} each way. Give a smaller"
            " border."
        )
    return kernels.Rings((min(patch, height), min(patch, width)), pair.cube.pixel_m)
