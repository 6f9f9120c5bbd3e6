"""Degradation: what a coarser sensor would have seen, alone, as a pair with its truth, or as a series of frames."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import product
from typing import Any, Literal, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xsr._version import __version__
from xsr.core import checks, grid, pipeline, sensors
from xsr.core.blocks import Padding, Span
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import BandError, GridError, ParameterError
from xsr.core.grid import EDGE, crs_name, resolution
from xsr.core.match import pixel_m
from xsr.core.names import BandsLike, fitting
from xsr.core.sensors import canonical
from xsr.core.types import Stack, XarrayObject
from xsr.kernels import psf as spread
from xsr.kernels.decimate import MIN_VALID
from xsr.kernels.degrade import NOTHING, BandOptics, observe
from xsr.kernels.noise import NoiseModel, add_noise, clouds
from xsr.kernels.optics import Mtf, Optics, PsfLike, by_band

CLOUD_KEY = zlib.crc32(b"clouds")
"""Names clouds among the bands in random fields."""


@dataclass(frozen=True)
class SensorNoise:
    """Signal-dependent noise from the published signal-to-noise ratio of a sensor's bands."""

    read_share: float = 0.5
    """Share of the variance at the reference radiance that does not depend on the signal. What is published is the
    total: the split is an assumption."""
    factor: float = 1.0
    """Multiplies the standard deviation."""
    sun_zenith_deg: float = 0.0
    """Zenith angle of the sun, which turns the reference radiance into reflectance."""

    def model(self, band: sensors.Band) -> NoiseModel:
        """Noise of a band in reflectance."""
        if band.noise is None:
            raise ParameterError(
                f"band {band.name!r} has no published signal-to-noise ratio; expected one for noise='sensor'. Give"
                " noise= as standard deviations in reflectance."
            )
        if not 0 <= self.sun_zenith_deg < 90:
            raise ParameterError(f"sun_zenith_deg={self.sun_zenith_deg}; expected an angle from 0 to below 90.")
        reference = band.noise.reflectance(self.sun_zenith_deg)
        return NoiseModel.from_snr(band.noise.ratio / self.factor, reference, read_share=self.read_share)


Noise: TypeAlias = float | Literal["sensor"] | SensorNoise | Mapping[str, "float | NoiseModel"] | None
"""Standard deviation in reflectance, of all bands or by band; or the sensor's own, which depends on the signal."""


@dataclass(frozen=True)
class Frame:
    """How one date is seen."""

    key: int
    """Names the date in the noise."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Displacement of the content towards greater rows and columns, in low-resolution pixels."""
    blur: float = 1.0
    """Factor of the width of the point spread function."""


@dataclass(frozen=True)
class Degradation:
    """Block function: blur, decimate and add noise."""

    bands: tuple[BandOptics, ...]
    frames: tuple[Frame, ...]
    min_valid: float = MIN_VALID
    seed: int = 0
    padding: Padding = "reflect"
    rows: Span = field(default=Span(0, 0))
    """Output rows of the block, once placed."""
    cols: Span = field(default=Span(0, 0))

    @property
    def halo(self) -> int:
        """Half-width of the widest point spread function, shifted furthest."""
        shift = max(abs(s) for frame in self.frames for s in frame.shift)
        widest = max(frame.blur for frame in self.frames)
        return max(band.widened(widest).halo(shift) for band in self.bands)

    def checked(self) -> "Degradation":
        """Return itself if weights of every requested MTF exist; planning must not leave that to a task."""
        for band, blur in product(self.bands, {frame.blur for frame in self.frames}):
            band.widened(blur).check()
        return self

    def place(self, dates: Span, rows: Span, cols: Span) -> "Degradation":
        """Bind to dates and output pixels; see `xsr.core.types.PlacedFunction`."""
        return replace(self, frames=self.frames[dates.slice], rows=rows, cols=cols)

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate a block; see `xsr.core.types.WindowFunction`."""
        out = np.empty((*window.shape[:2], rows.size, cols.size), np.float32)
        origin = _origin(self.rows, rows, cell[0]), _origin(self.cols, cols, cell[1])
        for date, frame in enumerate(self.frames):
            for number, band in enumerate(self.bands):
                out[date, number] = observe(
                    window[date, number][None],
                    band.widened(frame.blur),
                    rows=self.rows,
                    cols=self.cols,
                    origin=origin,
                    shift=frame.shift,
                    min_valid=self.min_valid,
                    seed=self.seed,
                    frame=frame.key,
                )[0]
        return out


def _origin(span: Span, position: NDArray[np.float64], cell: float) -> int:
    """First pixel of a window, counted from the corner of the whole; ``position`` counts from the window."""
    return round((span.start + 0.5) * cell - 0.5 - float(position[0]))


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
    """Degrade a cube to what a sensor with pixels ``scale`` times larger would have seen.

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
        Share of a pixel's weight that must lie on valid input pixels; below, the output is NaN.
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
        band, the coordinate ``native_gsd`` (of a Dataset: an attribute of each variable) tells the size in metres of
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
    opened, factor = open_cube(cube, units=units, bands=bands), _checked_scale(scale)
    sensor = opened.sensor(sensor)
    seeing = _Seeing(opened, factor, Optics(sensor, mtf, psf, source_mtf))
    models = _noise_models(opened.spelled(sensor), noise, sensor)
    function = Degradation(
        tuple(seeing.band(name, model) for name, model in zip(opened.spelled(sensor), models, strict=True)),
        tuple(Frame(key) for key in _date_keys(opened.data)),
        min_valid=_share(min_valid),
        seed=_seed(seed),
    )
    record = _record("degrade", psf)
    opened = _seen_again(opened, factor, sensor)
    return pipeline.coarsen(opened, function.checked(), scale=factor, chunks=chunks, provenance=record)


def wald(
    cube: XarrayObject,
    *,
    scale: float,
    native_gsd: "NativeGsd" = None,
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
) -> tuple[XarrayObject, XarrayObject]:
    """Make a pair by Wald's protocol: a degraded cube, and the truth on a grid ``scale`` times finer.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x).
    scale
        Linear factor between the two grids of the pair, >= 1.
    native_gsd
        Pixel size at which each band was seen, in units of the CRS. ``grid``: that of the cube, for all. ``sensor``, or
        sizes by band: bands may lie on a grid finer than they were seen on, as the 20 m bands of Sentinel-2 at
        10 m; then the ten-band rule below applies. A record of the cube, its coordinate ``native_gsd`` in metres, goes
        before the table. By default ``grid``, unless the cube has the pixel size
        of the finest of its bands and others are known to be coarser: these have no truth, and one has to choose.
    mtf, psf, source_mtf, sensor, min_valid, bands, units
        See `xsr.degrade`.
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
        ``band`` (of a Dataset: an attribute of each variable), the pixel size in metres in which a band is seen.

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
    native size b is degraded to b * k, and brought to the common grid by bicubic interpolation, as it is in use. For
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
    opened, factor = open_cube(cube, units=units, bands=bands), _checked_scale(scale)
    sensor = opened.sensor(sensor)
    seeing = _Seeing(opened, factor, Optics(sensor, mtf, psf, source_mtf))
    sizes = _native_sizes(opened, native_gsd, sensor)
    models = _noise_models(opened.spelled(sensor), noise, sensor)
    frames = tuple(Frame(key) for key in _date_keys(opened.data))
    coarsest, record = max(sizes), _record("wald", psf)
    low_shape, high_shape = _common_shapes(opened, factor, coarsest)
    bands_low = [seeing.moved(n, b, sizes, m) for n, b, m in zip(opened.spelled(sensor), sizes, models, strict=True)]
    seen_low, seen_high = _recorded_pair(opened, sizes, factor, sensor)
    low = pipeline.coarsen(
        seen_low,
        Degradation(tuple(bands_low), frames, _share(min_valid), _seed(seed)).checked(),
        scale=coarsest * factor,
        shape=low_shape,
        chunks=chunks,
        provenance=record,
    )
    if coarsest == 1:
        values = opened.data.isel(y=slice(high_shape[0]), x=slice(high_shape[1])).data
        return low, seen_high.rewrap(values, opened.geobox[: high_shape[0], : high_shape[1]], record)
    bands_high = [seeing.truth(name, b, coarsest) for name, b in zip(opened.spelled(sensor), sizes, strict=True)]
    truth = Degradation(tuple(bands_high), frames, _share(min_valid)).checked()
    return low, pipeline.coarsen(seen_high, truth, scale=coarsest, shape=high_shape, chunks=None, provenance={**record})


def semi_simulate(
    cube: XarrayObject,
    high: XarrayObject | None = None,
    *,
    scale: float,
    series: XarrayObject | None = None,
    frames: int | None = None,
    shift_px: "float | ArrayLike" = 0.5,
    blur_jitter: float = 0.05,
    change_px: float = 4.0,
    cloud_cover: float = 0.0,
    mtf: "Mtf | Mapping[str, Mtf] | None" = None,
    psf: "PsfLike | Mapping[str, PsfLike]" = "gaussian",
    sensor: str | None = None,
    noise: Noise = None,
    seed: int = 0,
    min_valid: float = MIN_VALID,
    bands: BandsLike | None = None,
    units: str | float | None = None,
    chunks: int | Sequence[int] | None = None,
) -> XarrayObject:
    """Make the low-resolution frames that a satellite would have taken of one high-resolution image.

    Parameters
    ----------
    cube
        High-resolution image of one date: DataArray ([time,] [band,] y, x) or Dataset of bands. With ``high``, the
        low-resolution ``series``.
    high
        High-resolution image, where ``cube`` is the series: ``semi_simulate(series, high, scale=2)`` equals
        ``semi_simulate(high, scale=2, series=series)``.
    scale
        Linear factor between the pixel sizes, >= 1.
    series
        Real low-resolution dates of the same bands on the grid of the result. Each frame then has the radiometry of one
        of them and, where that one has no data, none either; the geometry stays that of ``high``. None for frames
        that differ in sampling, blur and noise alone.
    frames
        Number of frames; by default all dates of ``series``, or 5. Of a longer series dates are drawn, kept in order.
    shift_px
        Frames are displaced by up to so many low-resolution pixels along each axis, drawn evenly; or the
        displacements themselves, shape (frames, 2), towards greater rows and columns.
    blur_jitter
        Standard deviation of the logarithm of the width of each frame's point spread function.
    change_px
        Width (standard deviation) in low-resolution pixels of the blur that separates radiometric change, taken
        from ``series``, from detail, taken from ``high``.
    cloud_cover
        Share of each frame under simulated clouds, 0 to 1; they become NaN.
    mtf, psf, sensor, noise, seed, min_valid, bands, units, chunks
        See `xsr.degrade`. Shifts, blur, dates, noise and clouds follow ``seed``.

    Returns
    -------
    DataArray or Dataset
        Frames along ``time`` (dates of ``series``, or numbers from 0) on the coarser grid; lazy if an input is. The
        coordinates ``shift_x_m`` (east) and ``shift_y_m`` (north) tell by how many metres the content of each frame is
        displaced, for a CRS in degrees those at the middle of the cube, ``blur`` by what factor its point spread
        function is wider.

    Raises
    ------
    ParameterError
        If the image has several dates, the series is given twice, or a number is out of range.
    GridError
        If ``series`` is not on the grid of the result.

    Notes
    -----
    With D the degradation of a frame, D0 that without displacement and L a Gaussian blur of ``change_px``, a frame of
    date t is ``D(high) + L(series_t - D0(high))``, then noise and clouds. The idea of joining simulated geometry and
    real change is that of Tarasiewicz et al.; the formula is ours.

    References
    ----------
    T. Tarasiewicz et al. (2022), on semi-simulated data for multi-image super-resolution.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> high = synthetic_cube(size=(64, 64), gsd_m=2.5)
    >>> frames = high.sr.semi_simulate(scale=4, frames=3, noise="sensor")
    >>> dict(frames.sizes)
    {'time': 3, 'band': 4, 'y': 16, 'x': 16}
    >>> series = synthetic_cube(size=(16, 16), times=("2024-04-10", "2024-06-10"))
    >>> frames = series.sr.semi_simulate(high, scale=4)  # or high.sr.semi_simulate(scale=4, series=series)
    >>> bool((frames.time == series.time).all())
    True
    """
    image, series = _image_and_series(cube, high, series)
    opened, factor = open_cube(image, units=units, bands=bands), _checked_scale(scale)
    if opened.data.sizes["time"] != 1:
        raise ParameterError(
            f"high has {opened.data.sizes['time']} dates; expected one image, whose geometry all frames share. Select"
            " a date, as by .isel(time=0)."
        )
    real = None if series is None else _open_series(series, opened, units, bands)
    seed, sensor = _seed(seed), opened.sensor(sensor)
    plan = _FramePlan.draw(opened, real, factor, frames, shift_px, blur_jitter, seed)
    seeing = _Seeing(opened, factor, Optics(sensor, mtf, psf))
    seen = Degradation(tuple(seeing.band(n) for n in opened.spelled(sensor)), plan.frames, _share(min_valid)).checked()
    provenance = _record("semi_simulate", psf)
    many = plan.repeated(_seen_again(opened, factor, sensor))
    blocks = pipeline.resolve_chunks(math.ceil(pipeline.CHUNK / factor) if chunks is None else chunks)
    target = grid.coarsen(opened.geobox, factor)
    values = pipeline.values(many, seen, target[1], chunks=blocks)
    if real is not None:
        still = replace(seen, frames=(Frame(0),))
        base = pipeline.values(opened, still, target[1], chunks=blocks)
        values = values + _change(real, plan.dates, base, target, change_px, blocks)
    models = _noise_models(opened.spelled(sensor), noise, sensor)
    keys = tuple(_key(canonical(name)) for name in opened.spelled(sensor))
    finish = Finish(tuple(models), keys, tuple(f.key for f in plan.frames), _cover(cloud_cover), seed)
    whole = replace(many, data=_on(many.data, values), geobox=target[0])
    values = pipeline.values(whole, finish, grid.coarsen(target[0], 1)[1], chunks=blocks)
    return many.rewrap(values, target[0], {**provenance, "xsr_scale": [1 / factor, 1 / factor]})


def _image_and_series(
    cube: XarrayObject, high: XarrayObject | None, series: XarrayObject | None
) -> tuple[XarrayObject, XarrayObject | None]:
    if high is None:
        return cube, series
    if series is not None:
        raise ParameterError(
            "high= and series= are both given; expected one of them. The cube is the series where high= is given, and"
            " the image where series= is."
        )
    return high, cube


def _open_series(series: XarrayObject, high: Cube, units: str | float | None, bands: BandsLike | None) -> Cube:
    """Open the series with the bands of the image, in its order."""
    found = fitting(bands, series)
    return open_cube(series, units=units, bands=found if isinstance(found, Mapping) else high.bands)


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
    count, seed = frames.data.sizes["time"], _seed(seed)
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
    height, width = pixel_m(frames.geobox)
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


NativeGsd: TypeAlias = Literal["grid", "sensor"] | Mapping[str, float] | None
"""Pixel size at which bands were seen: that of the grid, that of the sensor's table, or by band."""


@dataclass(frozen=True)
class _Seeing:
    """How the bands of a cube are seen at a factor."""

    cube: Cube
    scale: float
    given: Optics

    def band(self, name: str, noise: NoiseModel = NOTHING) -> BandOptics:
        """Find how a band is seen."""
        y, x = ((spread.Stage(f, self.scale),) for f in self.functions(name, self.scale))
        return BandOptics(y, x, noise, _key(canonical(name)))

    def moved(self, name: str, size: int, sizes: Sequence[int], noise: NoiseModel) -> BandOptics:
        """Find how the low side of a pair by the ten-band rule sees a band of ``size`` pixels; see `wald`."""
        finest, coarsest = min(sizes), max(sizes)
        factor = coarsest * self.scale / finest
        if size > finest and factor != round(factor):
            raise ParameterError(
                f"scale={self.scale:g} degrades bands of {size} pixels by {factor:g}; expected a whole number where"
                " bands of several pixel sizes are joined. Choose another scale, or bands of one pixel size."
            )
        chains = []
        for function in self.functions(name, factor, size):
            chains.append((*_averaged(size), *spread.chain(function, factor, finest / size)))
        return BandOptics(chains[0], chains[1], noise, _key(canonical(name)))

    def truth(self, name: str, size: int, coarsest: int) -> BandOptics:
        """Find how the high side of a pair by the ten-band rule sees a band."""
        if size == coarsest:
            return BandOptics(_averaged(size), _averaged(size))
        factor = coarsest / size
        y, x = ((*_averaged(size), spread.Stage(f, factor)) for f in self.functions(name, factor, size))
        return BandOptics(y, x)

    def functions(self, name: str, scale: float, pixel: float = 1.0) -> tuple[spread.Psf, spread.Psf]:
        """Line spread functions along y and x for a factor, in pixels of ``pixel`` pixels of the cube."""
        down, across = resolution(self.cube.geobox)
        return self.given.functions(name, (scale, scale), (down * pixel, across * pixel))


def _averaged(size: int) -> tuple[spread.Stage, ...]:
    """Mean over the pixels of a band that was seen at ``size`` pixels of the grid it lies on."""
    return (spread.Stage(spread.Detector(float(size), 0.0), float(size)),) if size > 1 else ()


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
    metres = pixel_m(cube.geobox)[0] / gsd
    recorded = [size / metres if math.isfinite(size) else None for size in cube.native_gsd]
    if native_gsd == "sensor":
        pairs = zip(cube.spelled(sensor), recorded, strict=True)
        return [_whole(name, size or table.band(name).gsd_m / metres, gsd) for name, size in pairs]
    known = [size or _known_gsd(table, name, metres) for name, size in zip(cube.spelled(sensor), recorded, strict=True)]
    coarse = _without_truth(cube.spelled(sensor), known, gsd)
    if coarse:
        raise ParameterError(
            f"bands {coarse} of {table.name} are coarser than the grid of {gsd:g}: they have no truth there. Pass"
            " native_gsd='sensor' for a pair where all bands have one, native_gsd='grid' to take the pixels as they"
            " are, or select the other bands."
        )
    return [1] * len(cube.bands)


def _without_truth(names: Sequence[str], sizes: Sequence[float | None], gsd: float) -> list[str]:
    """Bands coarser than a grid on which the finest lie in their own pixels; none where no band does."""
    if not any(size is not None and abs(size / gsd - 1) < 0.01 for size in sizes):
        return []
    return [name for name, size in zip(names, sizes, strict=True) if size is not None and size > 1.01 * gsd]


def _known_gsd(table: sensors.Sensor, name: str, metres: float) -> float | None:
    """Pixel size in units of the CRS, of which each has so many metres."""
    try:
        return table.band(name).gsd_m / metres
    except BandError:
        return None


def _whole(name: str, native: float, gsd: float) -> int:
    """Side of a native pixel in pixels of the cube; 1 where the cube is coarser."""
    ratio = native / gsd
    size = max(1, round(ratio))
    if not (math.isfinite(ratio) and ratio > 0) or (ratio > 1 and abs(ratio - size) > 1e-3):
        raise ParameterError(
            f"band {name!r} was seen at {native:g} and lies on a grid of {gsd:g}; expected a whole number of pixels."
            " Resample the cube to a grid that divides it."
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


@dataclass(frozen=True)
class Finish:
    """Block function: add noise, then hide what lies under clouds."""

    noise: tuple[NoiseModel, ...]
    bands: tuple[int, ...]
    dates: tuple[int, ...]
    cover: float
    seed: int
    halo: int = 0
    padding: Padding = "edge"
    rows: Span = field(default=Span(0, 0))
    cols: Span = field(default=Span(0, 0))

    def place(self, dates: Span, rows: Span, cols: Span) -> "Finish":
        """Bind to dates and output pixels; see `xsr.core.types.PlacedFunction`."""
        return replace(self, dates=self.dates[dates.slice], rows=rows, cols=cols)

    def __call__(
        self, window: Stack, rows: NDArray[np.float64], cols: NDArray[np.float64], cell: tuple[float, float]
    ) -> Stack:
        """Evaluate a block; see `xsr.core.types.WindowFunction`."""
        out = window[:, :, : len(self.rows), : len(self.cols)].copy()
        for date, key in enumerate(self.dates):
            hidden = clouds(self.rows, self.cols, cover=self.cover, seed=self.seed, words=(CLOUD_KEY, key))
            for number, (model, band) in enumerate(zip(self.noise, self.bands, strict=True)):
                image = out[date, number]
                noisy = add_noise(image, model, rows=self.rows, cols=self.cols, seed=self.seed, words=(band, key))
                image[...] = np.where(hidden, np.float32(np.nan), noisy)
        return out


@dataclass(frozen=True)
class _FramePlan:
    """What was drawn for the frames of a series."""

    frames: tuple[Frame, ...]
    dates: tuple[int, ...]
    """Numbers of the real dates, empty without a series."""
    times: NDArray[Any]
    gsd: tuple[float, float]
    """Low-resolution pixel along y and x in metres."""

    @classmethod
    def draw(
        cls,
        cube: Cube,
        real: Cube | None,
        scale: float,
        frames: int | None,
        shift_px: Any,
        blur_jitter: float,
        seed: int,
    ) -> "_FramePlan":
        """Draw dates, shifts and blur."""
        rng = np.random.default_rng([17, seed & 0xFFFFFFFFFFFFFFFF])
        available = 5 if real is None else real.data.sizes["time"]
        count = available if frames is None else checks.whole("frames", frames, what="a number of frames")
        if count < 1 or (real is not None and count > available):
            limit = "" if real is None else f" and at most {available}, the dates of series"
            raise ParameterError(f"frames={frames}; expected at least 1{limit}.")
        shifts = _shifts(shift_px, count, rng)
        blur_jitter = checks.within("blur_jitter", blur_jitter, low=0, what="a standard deviation of at least 0")
        blur = np.exp(blur_jitter * np.clip(rng.standard_normal(count), -3, 3))
        chosen = () if real is None else tuple(np.sort(rng.permutation(available)[:count]).tolist())
        times = np.arange(count) if real is None else real.data.isel(time=list(chosen))["time"].values
        keys = [_key(f"frame {number}") for number in range(count)]
        made = tuple(
            Frame(key, (float(dy), float(dx)), float(b)) for key, (dy, dx), b in zip(keys, shifts, blur, strict=True)
        )
        size = pixel_m(cube.geobox)
        return cls(made, chosen, times, (size[0] * scale, size[1] * scale))

    def repeated(self, cube: Cube) -> Cube:
        """Repeat the one date of a cube for every frame, with the coordinates that tell what was drawn."""
        shifts = np.array([frame.shift for frame in self.frames])
        coords = {
            "time": self.times,
            "shift_x_m": ("time", shifts[:, 1] * self.gsd[1]),
            "shift_y_m": ("time", -shifts[:, 0] * self.gsd[0]),
            "blur": ("time", np.array([frame.blur for frame in self.frames])),
        }

        def repeat(obj: Any) -> Any:
            one = obj.isel(time=0, drop=True) if "time" in obj.dims else obj.drop_vars("time", errors="ignore")
            return one.expand_dims(time=len(self.frames)).assign_coords(coords)

        return replace(cube, data=repeat(cube.data), original=repeat(cube.original))


def _shifts(shift_px: Any, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    try:
        given = np.asarray(shift_px, np.float64)
    except (TypeError, ValueError):
        given = np.array(np.nan)
    if given.ndim == 0:
        if not (np.isfinite(given) and given >= 0):
            raise ParameterError(f"shift_px={shift_px}; expected at least 0 low-resolution pixels.")
        return rng.uniform(-1.0, 1.0, (count, 2)) * float(given)
    if given.shape != (count, 2) or not np.isfinite(given).all():
        raise ParameterError(
            f"shift_px of shape {given.shape}; expected one number, or finite displacements (y, x), shape ({count}, 2)."
        )
    return given


def _change(
    real: Cube,
    dates: Sequence[int],
    base: Any,
    target: tuple[Any, grid.Refinement],
    change_px: float,
    chunks: tuple[int, int],
) -> Any:
    """Low frequencies of the difference between real dates and the degraded image, NaN where a date has no data."""
    _check_same_grid(real.geobox, target[0])
    change_px = checks.positive("change_px", change_px, what="a positive width in low-resolution pixels")
    selected = real.data.isel(time=list(dates))
    difference = selected.data - base
    stage = (spread.Stage(spread.Gaussian(float(change_px)), 1.0),)
    smooth = Degradation((BandOptics(stage, stage),) * len(real.bands), (Frame(0),) * len(dates), 1e-3)
    cube = replace(real, data=selected.copy(data=difference))
    field_ = pipeline.values(cube, smooth, grid.coarsen(target[0], 1)[1], chunks=chunks)
    return field_ + selected.data * np.float32(0)  # NaN and infinities of the date become NaN


def _check_same_grid(series: Any, wanted: Any) -> None:
    if series.crs != wanted.crs:
        raise GridError(
            f"series is in {crs_name(series)} and high in {crs_name(wanted)}; expected one CRS. Reproject series."
        )
    height, width = wanted.shape.yx
    first, last = ((~wanted.affine) @ (series.affine @ corner) for corner in ((0, 0), (width, height)))
    off = max(abs(first[0]), abs(first[1]))
    drift = max(abs(last[0] - width), abs(last[1] - height))
    if tuple(series.shape.yx) != (height, width) or max(off, drift) > 1e-3:
        (ours, theirs) = (" x ".join(f"{size:.9g}" for size in resolution(box)) for box in (series, wanted))
        raise GridError(
            f"series has {tuple(series.shape.yx)} pixels of {ours}, its corner {off:.3g} px off; expected"
            f" {(height, width)} pixels of {theirs} from the corner of high. Crop or reproject series."
        )


def _cover(cloud_cover: Any) -> float:
    return checks.within("cloud_cover", cloud_cover, low=0, high=1, what="a share of the image from 0 to 1")


def _on(data: xr.DataArray, values: Any) -> xr.DataArray:
    """Put values on another grid; only sizes and coordinates over time and band count here."""
    coords = {name: coord for name, coord in data.coords.items() if not {"y", "x"} & set(coord.dims)}
    return xr.DataArray(values, dims=("time", "band", "y", "x"), coords=coords)


def _noise_models(names: Sequence[str], noise: Any, sensor: str) -> list[NoiseModel]:
    if isinstance(noise, str) and noise == "sensor":
        noise = SensorNoise()
    if isinstance(noise, SensorNoise):
        table = sensors.get(sensor)
        return [noise.model(table.band(name)) for name in names]
    return [_noise_model(0.0 if noise is None else by_band(noise, name, "noise")) for name in names]


def _noise_model(value: Any) -> NoiseModel:
    if isinstance(value, NoiseModel):
        return value
    if not checks.is_number(value):
        raise ParameterError(
            f"noise={value!r}; expected a standard deviation in reflectance, one by band, 'sensor' or None."
        )
    return NoiseModel(float(value))


def _checked_scale(scale: Any) -> float:
    what = "a finite number of at least 1: degrading coarsens. Use interpolate to refine"
    return checks.within("scale", scale, low=1, what=what)


def _share(min_valid: Any) -> float:
    return checks.within("min_valid", min_valid, low=0, high=1, what="a share of the weight from 0 to 1")


def _seed(seed: Any) -> int:
    return checks.whole("seed", seed, what="a whole number, from which the same draw follows every time")


def _recorded_pair(cube: Cube, sizes: Sequence[int], scale: float, sensor: str) -> tuple[Cube, Cube]:
    """Record the pixels in which both sides of a pair are seen, where they differ or the cube has a record."""
    if len(set(sizes)) == 1 and not any(math.isfinite(size) for size in cube.native_gsd):
        return _seen_as_given(cube, scale, sensor), cube
    pixel, coarsest = pixel_m(cube.geobox)[0], max(sizes)
    factor = coarsest * scale / min(sizes)
    high = cube.with_native_gsd([pixel * coarsest] * len(sizes))
    return cube.with_native_gsd([pixel * size * factor for size in sizes]), high


def _seen_again(cube: Cube, factor: float, sensor: str) -> Cube:
    """Bring the record of the pixels in which bands were seen to a grid ``factor`` times coarser."""
    gsd, metres = resolution(cube.geobox)[0], pixel_m(cube.geobox)[0]
    table = sensors.get(sensor)
    known = [_known_gsd(table, name, metres / gsd) for name in cube.spelled(sensor)]
    if not _without_truth(cube.spelled(sensor), known, gsd):
        cube = _seen_as_given(cube, factor, sensor)
    return cube.with_native_gsd([max(s, metres * factor) if math.isfinite(s) else s for s in cube.native_gsd])


def _seen_as_given(cube: Cube, factor: float, sensor: str) -> Cube:
    """Record the pixels of a grid ``factor`` times coarser for bands without a record of which the table has larger.

    The pixels of the cube are taken as those in which the bands were seen.
    """
    table, least = sensors.get(sensor), pixel_m(cube.geobox)[0] * factor
    known = [_known_gsd(table, name, 1.0) for name in cube.spelled(sensor)]
    found = [least if size is not None and size > 1.01 * least else math.nan for size in known]
    return cube.with_native_gsd([a if math.isfinite(a) else b for a, b in zip(cube.native_gsd, found, strict=True)])


def _key(text: str) -> int:
    return zlib.crc32(text.encode())


def _date_keys(data: xr.DataArray) -> list[int]:
    """Name dates by their time, so that a selection draws the same noise; equal times are told apart by order."""
    times = data["time"].values if "time" in data.coords else np.full(data.sizes["time"], "")
    labels = [str(t.astype("datetime64[ns]") if isinstance(t, np.datetime64) else t) for t in times]
    return [_key(f"{label}#{labels[:n].count(label)}") for n, label in enumerate(labels)]


def _record(operation: str, psf: Any) -> dict[str, Any]:
    kind = psf if isinstance(psf, str) else "given"
    return {"xsr_version": __version__, "xsr_operation": f"{operation}:{kind}"}
