"""The operation `degrade`."""

from collections.abc import Mapping, Sequence

from xsr.core import pipeline
from xsr.core.cube import open_cube
from xsr.core.members import each_member
from xsr.core.names import BandsLike
from xsr.core.types import XarrayObject
from xsr.kernels.decimate import MIN_VALID
from xsr.kernels.optics import Mtf, Optics, PsfLike
from xsr.operations.degrade.arguments import checked_scale, checked_seed, checked_share, date_keys, provenance
from xsr.operations.degrade.block import Degradation, Frame
from xsr.operations.degrade.noise import Noise, noise_models
from xsr.operations.degrade.optics import CubeOptics, with_native_gsd


@each_member
def degrade(
    cube: XarrayObject,
    *,
    scale: float,
    mtf: "Mtf | Mapping[str, Mtf] | None" = None,
    psf: "PsfLike | Mapping[str, PsfLike]" = "gaussian",
    source_mtf: "Mtf | Mapping[str, Mtf] | None" = None,
    sensor: str | None = None,
    noise: Noise = None,
    seed: int = 0,
    min_valid: float = MIN_VALID,
    bands: BandsLike | None = None,
    units: str | float | None = None,
    chunks: int | Sequence[int] | None = None,
) -> XarrayObject:
    """Degrade a cube to what a sensor with pixels ``scale`` times larger would have observed.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x).
    scale
        Linear factor between the pixel sizes, any real number >= 1; 1 blurs and keeps the grid.
    mtf
        Modulation transfer at the Nyquist frequency of the output, in (0, 1): one number, a pair (along y, along x), or
        either by band; by default that of the sensor's bands.
    psf
        ``gaussian``, ``detector`` (integration over the output pixel behind Gaussian optics, together with ``mtf``) or
        ``effective`` (the input is itself blurred by ``source_mtf`` at its own Nyquist frequency, and only the rest is
        added); or a line spread function of `xsr.kernels.psf` in units of the CRS, a pair of them (y, x), or either
        by band.
    source_mtf
        Modulation transfer of the input at its own Nyquist frequency for ``effective``; by default ``mtf``.
    sensor
        Sensor whose table names bands, MTF and noise; by default Sentinel-2, or the sensor that the cube states or
        whose band names it has, if its table has the MTF of each band (see `xsr.register_sensor`).
    noise
        None, a standard deviation in reflectance, a mapping by band, or ``sensor`` for signal-dependent noise with
        the published signal-to-noise ratio; see `SensorNoise`.
    seed
        Seed of the noise, which is a function of seed, band, date and pixel: chunks do not change it.
    min_valid
        Share of a pixel's weight that must be on valid input pixels; below, the output is NaN.
    bands
        Bands to keep, or a mapping from names to labels of the cube; all by default. See `xsr.liif`.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.
    chunks
        Output block in pixels, one number or (y, x); by default what 1024 input pixels become.

    Returns
    -------
    DataArray or Dataset
        Same container on the grid of pixel size ``gsd * scale`` with the same top-left corner and
        ``floor(n / scale)`` pixels; float32; lazy if ``cube`` is. Where the sensor's table has larger pixels for a
        band, the coordinate ``native_gsd`` (of a Dataset: an attribute of each variable) is the size in metres of
        those it was degraded to, unless the cube is a stack of the sensor's bands on the grid of the finest.

    Raises
    ------
    ParameterError
        If ``scale`` is below 1, an MTF lies outside (0, 1) or cannot be reached, or a band has none.

    Notes
    -----
    The Gaussian of an MTF m has sigma = gsd * scale / pi * sqrt(-2 ln m). It is centred on the output pixel, borders
    are mirrored as ``numpy.pad`` does by ``reflect``, and weights are divided by their share on valid pixels.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(32, 32), bands=("B04", "B08"))
    >>> low = cube.sr.degrade(scale=2, noise=0.001, seed=1)
    >>> dict(low.sizes)
    {'time': 1, 'band': 2, 'y': 16, 'x': 16}
    >>> low = cube.sr.degrade(scale=3.4, mtf={"B04": 0.29, "B08": 0.25})  # a sensor of one's own
    """
    opened, factor = open_cube(cube, units=units, bands=bands), checked_scale(scale)
    sensor = opened.sensor(sensor)
    optics = CubeOptics(opened, factor, Optics(sensor, mtf, psf, source_mtf))
    models = noise_models(opened.spelled(sensor), noise, sensor)
    function = Degradation(
        tuple(optics.band(name, model) for name, model in zip(opened.spelled(sensor), models, strict=True)),
        tuple(Frame(key) for key in date_keys(opened.data)),
        min_valid=checked_share(min_valid),
        seed=checked_seed(seed),
    )
    record = provenance("degrade", psf)
    opened = with_native_gsd(opened, factor, sensor)
    return pipeline.coarsen(opened, function.checked(), scale=factor, chunks=chunks, provenance=record)
