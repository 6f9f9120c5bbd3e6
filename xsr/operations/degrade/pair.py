"""The operation `wald`: pairs by Wald's protocol, and the rule for bands of several pixel sizes."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from xsr.core import checks, pipeline, sensors
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import GridError, ParameterError
from xsr.core.grid import EDGE, resolution
from xsr.core.names import BandsLike
from xsr.core.types import XarrayObject
from xsr.kernels.decimate import MIN_VALID
from xsr.kernels.optics import Mtf, Optics, PsfLike, by_band
from xsr.operations.degrade.arguments import checked_scale, checked_seed, checked_share, date_keys, provenance
from xsr.operations.degrade.block import Degradation, Frame
from xsr.operations.degrade.noise import Noise, noise_models
from xsr.operations.degrade.optics import CubeOptics, as_given, known_gsd, without_truth

NativeGsd: TypeAlias = Literal["grid", "sensor"] | Mapping[str, float] | None
"""Pixel size at which bands were observed: that of the grid, that of the sensor's table, or by band."""


def wald(
    cube: XarrayObject,
    *,
    scale: float,
    native_gsd: "NativeGsd" = None,
    mtf: "Mtf | Mapping[str, Mtf] | None" = None,
    psf: "PsfLike | Mapping[str, PsfLike]" = "effective",
    source_mtf: "Mtf | Mapping[str, Mtf] | None" = None,
    sensor: str | None = None,
    noise: Noise = None,
    seed: int = 0,
    min_valid: float = MIN_VALID,
    bands: BandsLike | None = None,
    units: str | float | None = None,
    chunks: int | Sequence[int] | None = None,
) -> tuple[XarrayObject, XarrayObject]:
    """Make a pair by Wald's protocol: a degraded cube, and the truth on a grid ``scale`` times finer.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x).
    scale
        Linear factor between the two grids of the pair, >= 1.
    native_gsd
        Pixel size at which each band was observed, in units of the CRS. ``grid``: that of the cube, for all.
        ``sensor``, or sizes by band: bands may be on a grid finer than that, as the 20 m bands of Sentinel-2 at 10 m;
        then the ten-band rule below applies. A record of the cube, its coordinate ``native_gsd`` in metres, goes
        before the table. By default ``grid``, unless the cube has the pixel size of the finest of its bands and others
        are known to be coarser: these have no truth, and one has to choose.
    mtf, psf, source_mtf, sensor, min_valid, bands, units
        See `xsr.degrade`. By default ``psf="effective"``: pairs are self-similar, both sides as sharp at their
        own pixels as the sensor. ``psf="gaussian"`` is the published formula, which takes the fine side for perfectly
        sharp.
    noise, seed
        Noise of the low-resolution side; see `xsr.degrade`.
    chunks
        Output block of the low-resolution side in pixels.

    Returns
    -------
    low, high : DataArray or Dataset
        Both are cut to whole common pixels: they share all four corners, and ``high`` has exactly ``scale`` times
        as many pixels. For a scale that is no ratio of small integers they share the top-left corner, and ``high``
        has the pixels that lie inside ``low``. By the ten-band rule both have the coordinate ``native_gsd`` over
        ``band`` (of a Dataset: an attribute of each variable), the pixel size in metres in which a band is observed.

    Raises
    ------
    ParameterError
        If bands have no truth on the grid and ``native_gsd`` does not say what to do.
    GridError
        If the cube is too small for common corners.

    Notes
    -----
    Ten-band rule. Let g be the finest and G the coarsest native pixel size. In use, super-resolution by ``scale``
    takes every band to g / scale, where no band has a truth; for B11 and B12 no satellite gives one. The pair moves
    the same task to where all bands have one, coarser by k = G * scale / g. ``high`` has pixels of G: bands of that
    size are averaged back to their own pixels, finer ones degraded to it. ``low`` has pixels of g * k: a band of
    native size b is degraded to b * k, and brought to the common grid by bicubic interpolation, as in use. For
    Sentinel-2 and scale 2: 10 m and 20 m bands degraded to 40 m and 80 m, truth at 20 m.

    References
    ----------
    L. Wald, T. Ranchin, M. Mangolini, Photogrammetric Engineering & Remote Sensing 63 (1997).

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(32, 32))
    >>> low, high = cube.sr.wald(scale=2)
    >>> scores = low.sr.interpolate(scale=2).sr.evaluate(high, metrics="rmse")
    >>> dict(low.sizes), dict(scores.rmse.sizes)
    ({'time': 1, 'band': 4, 'y': 16, 'x': 16}, {'time': 1, 'band': 4})
    """
    opened, factor = open_cube(cube, units=units, bands=bands), checked_scale(scale)
    sensor = opened.sensor(sensor)
    optics = CubeOptics(opened, factor, Optics(sensor, mtf, psf, source_mtf))
    sizes = _native_sizes(opened, native_gsd, sensor)
    models = noise_models(opened.spelled(sensor), noise, sensor)
    frames = tuple(Frame(key) for key in date_keys(opened.data))
    coarsest, record = max(sizes), provenance("wald", psf)
    low_shape, high_shape = _common_shapes(opened, factor, coarsest)
    bands_low = [optics.low(n, b, sizes, m) for n, b, m in zip(opened.spelled(sensor), sizes, models, strict=True)]
    seen_low, seen_high = pair_with_native_gsd(opened, sizes, factor, sensor)
    low = pipeline.coarsen(
        seen_low,
        Degradation(tuple(bands_low), frames, checked_share(min_valid), checked_seed(seed)).checked(),
        scale=coarsest * factor,
        shape=low_shape,
        chunks=chunks,
        provenance=record,
    )
    if coarsest == 1:
        values = opened.data.isel(y=slice(high_shape[0]), x=slice(high_shape[1])).data
        return low, seen_high.rewrap(values, opened.geobox[: high_shape[0], : high_shape[1]], record)
    bands_high = [optics.high(name, b, coarsest) for name, b in zip(opened.spelled(sensor), sizes, strict=True)]
    truth = Degradation(tuple(bands_high), frames, checked_share(min_valid)).checked()
    return low, pipeline.coarsen(seen_high, truth, scale=coarsest, shape=high_shape, chunks=None, provenance={**record})


def _native_sizes(cube: Cube, native_gsd: Any, sensor: str) -> list[int]:
    """Side of each band's own pixels in pixels of the cube."""
    gsd = resolution(cube.geobox)[0]
    if isinstance(native_gsd, str) and native_gsd == "grid":
        return [1] * len(cube.bands)
    if isinstance(native_gsd, Mapping):
        given = [checks.positive("native_gsd", by_band(native_gsd, name, "native_gsd")) for name in cube.bands]
        return [_whole(name, size, gsd) for name, size in zip(cube.bands, given, strict=True)]
    if native_gsd is not None and not (isinstance(native_gsd, str) and native_gsd == "sensor"):
        raise ParameterError(f"native_gsd={native_gsd!r}; expected 'grid', 'sensor', or sizes by band.")
    table = sensors.get(sensor)
    metres = cube.pixel_m[0] / gsd
    recorded = [size / metres if math.isfinite(size) else None for size in cube.native_gsd]
    if native_gsd == "sensor":
        pairs = zip(cube.spelled(sensor), recorded, strict=True)
        return [_whole(name, size or table.band(name).gsd_m / metres, gsd) for name, size in pairs]
    known = [size or known_gsd(table, name, metres) for name, size in zip(cube.spelled(sensor), recorded, strict=True)]
    coarse = without_truth(cube.spelled(sensor), known, gsd)
    if coarse:
        raise ParameterError(
            f"bands {coarse} of {table.name} are coarser than the grid of {gsd:g}: they have no truth there. Pass"
            " native_gsd='sensor' for a pair where all bands have one, native_gsd='grid' to take the pixels as they"
            " are, or select the other bands."
        )
    return [1] * len(cube.bands)


def _whole(name: str, native: float, gsd: float) -> int:
    """Side of a native pixel in pixels of the cube; 1 where the cube is coarser."""
    ratio = native / gsd
    size = max(1, round(ratio))
    if not (math.isfinite(ratio) and ratio > 0) or (ratio > 1 and abs(ratio - size) > 1e-3):
        raise ParameterError(
            f"band {name!r} was observed at {native:g} and is on a grid of {gsd:g}; expected a whole number of"
            " pixels. Resample the cube to a grid that divides it."
        )
    return size


def _common_shapes(cube: Cube, scale: float, coarsest: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Shapes of low and high side, so that both end at the same corner."""
    ratio = Fraction(scale).limit_denominator(64)
    exact = abs(float(ratio) - scale) < 1e-9
    low, high = [], []
    for size in cube.geobox.shape.yx:
        count = math.floor(size / (scale * coarsest) + EDGE)
        if exact:
            count -= count % ratio.denominator
        low.append(count)
        high.append(round(count * scale) if exact else math.floor(count * scale + EDGE))
    if min(low) < 1:
        step = coarsest * (ratio.numerator if exact else math.ceil(scale))
        raise GridError(
            f"a cube of {cube.geobox.shape.y} x {cube.geobox.shape.x} pixels is too small for scale {scale:g}; expected"
            f" at least {step} along each axis, so that both grids end at the same corner."
        )
    return (low[0], low[1]), (high[0], high[1])


def pair_with_native_gsd(cube: Cube, sizes: Sequence[int], scale: float, sensor: str) -> tuple[Cube, Cube]:
    """Record the pixels in which both sides of a pair are observed, where they differ or the cube has a record."""
    if len(set(sizes)) == 1 and not any(math.isfinite(size) for size in cube.native_gsd):
        return as_given(cube, scale, sensor), cube
    pixel, coarsest = cube.pixel_m[0], max(sizes)
    factor = coarsest * scale / min(sizes)
    high = cube.with_native_gsd([pixel * coarsest] * len(sizes))
    return cube.with_native_gsd([pixel * size * factor for size in sizes]), high
