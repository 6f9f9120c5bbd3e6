"""How the bands of a cube are observed by a sensor with larger pixels, and from pixels of which size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xsr.core import sensors
from xsr.core.cube import Cube
from xsr.core.errors import BandError, ParameterError
from xsr.core.grid import resolution
from xsr.core.sensors import canonical
from xsr.kernels import psf
from xsr.kernels.degrade import NOTHING, BandOptics
from xsr.kernels.noise import NoiseModel
from xsr.kernels.optics import Optics
from xsr.operations.degrade.arguments import key_of


@dataclass(frozen=True)
class CubeOptics:
    """How a sensor with pixels ``scale`` times larger observes the bands of a cube."""

    cube: Cube
    scale: float
    given: Optics
    """What the user says of the sensor."""

    def band(self, name: str, noise: NoiseModel = NOTHING) -> BandOptics:
        """Describe a band that is observed in the pixels of the result."""
        return self._described(name, self.scale, noise=noise)

    def low(self, name: str, size: int, sizes: Sequence[int], noise: NoiseModel) -> BandOptics:
        """Describe a band whose own pixels are ``size`` ones of the cube, for the low side of a pair; see `wald`."""
        finest, coarsest = min(sizes), max(sizes)
        factor = coarsest * self.scale / finest
        if size > finest and factor != round(factor):
            raise ParameterError(
                f"scale={self.scale:g} degrades bands of {size} pixels by {factor:g}; expected a whole number where"
                " bands of several pixel sizes are joined. Choose another scale, or bands of one pixel size."
            )
        return self._described(name, factor, size=size, grid=finest / size, noise=noise)

    def high(self, name: str, size: int, coarsest: int) -> BandOptics:
        """Describe a band for the high side of a pair, in pixels of the coarsest; see `wald`."""
        if size == coarsest:
            return BandOptics(_averaged(size), _averaged(size))
        return self._described(name, coarsest / size, size=size)

    def _described(
        self, name: str, factor: float, *, size: int = 1, grid: float = 1.0, noise: NoiseModel = NOTHING
    ) -> BandOptics:
        """Average a band back to its own pixels of ``size``, blur it by ``factor``, and bring it to the grid."""
        pixel = [size * length for length in resolution(self.cube.geobox)]
        functions = self.given.functions(name, (factor, factor), (pixel[0], pixel[1]))
        y, x = ((*_averaged(size), *psf.chain(function, factor, grid)) for function in functions)
        return BandOptics(y, x, noise, key_of(canonical(name)))


def _averaged(size: int) -> tuple[psf.Stage, ...]:
    """Mean over the pixels of a band whose own pixels are ``size`` ones of the grid on which it lies."""
    return (psf.Stage(psf.Detector(float(size), 0.0), float(size)),) if size > 1 else ()


def with_native_gsd(cube: Cube, factor: float, sensor: str) -> Cube:
    """Bring the record of the pixels in which bands were observed to a grid ``factor`` times coarser."""
    gsd, metres = resolution(cube.geobox)[0], cube.pixel_m[0]
    table = sensors.get(sensor)
    known = [known_gsd(table, name, metres / gsd) for name in cube.spelled(sensor)]
    if not without_truth(cube.spelled(sensor), known, gsd):
        cube = as_given(cube, factor, sensor)
    return cube.with_native_gsd([max(s, metres * factor) if math.isfinite(s) else s for s in cube.native_gsd])


def as_given(cube: Cube, factor: float, sensor: str) -> Cube:
    """Record the pixels of a grid ``factor`` times coarser for bands without a record of which the table has larger.

    The pixels of the cube are taken as those in which the bands were observed.
    """
    table, least = sensors.get(sensor), cube.pixel_m[0] * factor
    known = [known_gsd(table, name, 1.0) for name in cube.spelled(sensor)]
    found = [least if size is not None and size > 1.01 * least else math.nan for size in known]
    return cube.with_native_gsd([a if math.isfinite(a) else b for a, b in zip(cube.native_gsd, found, strict=True)])


def without_truth(names: Sequence[str], sizes: Sequence[float | None], gsd: float) -> list[str]:
    """Bands coarser than a grid on which the finest lie in their own pixels; none where no band does."""
    if not any(size is not None and abs(size / gsd - 1) < 0.01 for size in sizes):
        return []
    return [name for name, size in zip(names, sizes, strict=True) if size is not None and size > 1.01 * gsd]


def known_gsd(table: sensors.Sensor, name: str, metres: float) -> float | None:
    """Pixel size in units of the CRS, of which each has so many metres."""
    try:
        return table.band(name).gsd_m / metres
    except BandError:
        return None
