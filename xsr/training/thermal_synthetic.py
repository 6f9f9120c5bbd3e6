"""Synthetic land in the optical and the thermal, in which the link between the two differs from scene to scene.

The relation of a guide to temperature depends on place, season and hour: by day in summer vegetation is cool and dry
soil hot, in winter a lake is warm and a wood no cooler than a field, at night much of it is reversed. A network that
learns one such link is wrong elsewhere. Here the link is drawn anew for each scene, so that all a network can learn is
to find it: in the low-resolution temperature and the guide together.

A scene begins with its land cover, as fractions and reflectance: a mosaic of parcels, woods, settlements, water and
roads, or a real optical image. Its temperature is a sum of two parts of unit variance,
``sqrt(share) * linked + sqrt(1 - share) * hidden``. The linked part follows vegetation fraction, moisture, brightness,
water and a random function of the reflectances; the hidden part is weather, relief, irrigation of single parcels and
waste heat. Both sensors then add their blur, their shift and their noise.

References
----------
T. N. Carlson, "An overview of the 'triangle method' for estimating surface evapotranspiration and soil moisture from
satellite imagery", Sensors 7 (2007), doi:10.3390/s7081612.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.kernels import degrade, psf
from xsr.kernels.degrade import sensor_band
from xsr.models.published import SENTINEL2

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
GUIDE = SENTINEL2.only(("B04", "B08", "B11"))
"""Red, near infrared and short-wave infrared at 1.6 micrometres."""
GUIDE_BANDS = GUIDE.names
DAY_SHARE = 0.7
"""Share of scenes with the temperatures of a summer's day; in the others every sign is free."""
CLOUD_SHARE = 0.08
"""Share of scenes with a cloud that no mask has caught."""


@dataclass(frozen=True)
class Land:
    """Land cover of a scene."""

    reflectance: Image
    """Of `GUIDE_BANDS`, shape (3, y, x)."""
    parcels: Labels
    """Number of the parcel of each pixel, shape (y, x)."""
    light: Image
    """Illumination of the slope relative to flat ground, shape (y, x); 1 throughout where relief is unknown."""


def draw_scene(rng: np.random.Generator, side: int, optical: Image | None = None) -> tuple[Image, Image]:
    """Draw a scene.

    Parameters
    ----------
    rng
        Source of every choice.
    side
        Pixels along a side.
    optical
        Reflectance of `GUIDE_BANDS`, shape (3, side, side), finite; None draws a mosaic.

    Returns
    -------
    kelvin : ndarray
        Temperature as a thermal sensor of this pixel observes it, shape (side, side), without noise.
    guide : ndarray
        Reflectance as an optical sensor observes it, shape (3, side, side), with noise and haze.
    """
    land = mosaic(rng, side) if optical is None else Land(optical, strata(rng, optical), np.ones_like(optical[0]))
    share = rng.uniform(0.15, 1.0)
    field = np.sqrt(share) * unit(linked(rng, land)) + np.sqrt(1 - share) * unit(hidden(rng, land))
    kelvin = rng.uniform(265, 315) + np.exp(rng.uniform(np.log(0.8), np.log(8.0))) * unit(field)
    guide = land.reflectance
    if optical is None:
        guide = blur(guide, rng.uniform(0.2, 0.6))
    if rng.random() < CLOUD_SHARE:
        kelvin, guide = cloud(rng, kelvin, guide)
    observed = blur(kelvin[None].astype(np.float32), rng.uniform(0.1, 0.5), shift=rng.normal(0, 0.25, 2))
    return observed[0], observe(rng, guide)


def unit(image: NDArray[np.floating]) -> Floats:
    """Bring an image to mean 0 and variance 1; a constant one to 0."""
    values = np.asarray(image, np.float64)
    deviation = values.std()
    return np.asarray((values - values.mean()) / (deviation if deviation > 1e-9 else 1.0), np.float64)


def fractal(rng: np.random.Generator, side: int, exponent: float) -> Floats:
    """Random surface of unit variance whose amplitudes fall with frequency to the power ``-exponent``."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) * frequency**-exponent
    return unit(np.fft.irfft2(spectrum, s=(side, side)))


def parcels(rng: np.random.Generator, side: int) -> Labels:
    """Fields between lines of one direction, of lengths of their own, bent a little."""
    angle, width = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(3), np.log(30)))
    y, x = np.mgrid[:side, :side] - side / 2
    bend = rng.uniform(0, 0.6) * width
    across = np.cos(angle) * x + np.sin(angle) * y + bend * fractal(rng, side, 3.0)
    along = np.cos(angle) * y - np.sin(angle) * x + bend * fractal(rng, side, 3.0)
    cuts = np.cumsum(width * rng.uniform(0.4, 1.6, int(3 * side / width) + 3))
    column = np.searchsorted(cuts, across - across.min())
    length, start = width * rng.uniform(0.5, 3.0, cuts.size + 1), rng.uniform(0, 2 * side, cuts.size + 1)
    row = np.floor((along - along.min() + start[column]) / length[column])
    _, number = np.unique(column * 10_000 + row, return_inverse=True)
    return np.asarray(number, np.int64).reshape(side, side)


def strata(rng: np.random.Generator, optical: Image) -> Labels:
    """Regions of like colour: the cells of a random grid in the space of the reflectances."""
    total = np.zeros(optical.shape[1:], np.int64)
    for band in rng.standard_normal((2, 3)):
        value = unit(np.tensordot(band, optical, axes=1))
        total = total * 8 + np.searchsorted(np.sort(rng.normal(0, 1.2, 4)), value)
    _, number = np.unique(total, return_inverse=True)
    return np.asarray(number, np.int64).reshape(total.shape)


def mosaic(rng: np.random.Generator, side: int) -> Land:
    """Draw a mosaic of parcels, woods, settlements, water and roads on hilly ground."""
    fields = parcels(rng, side)
    kinds = rng.integers(0, 9, fields.max() + 1)[fields]
    cover = np.clip(rng.beta(0.7, 0.7, 9)[kinds] + 0.08 * fractal(rng, side, 1.0), 0, 1)
    soil = np.clip(rng.uniform(0.07, 0.3, 9)[kinds] * np.exp(0.1 * fractal(rng, side, 1.2)), 0.03, 0.45)
    wet = np.clip(rng.beta(1, 2, 9)[kinds] + 0.1 * fractal(rng, side, 1.5), 0, 1)
    leaf = rng.uniform((0.02, 0.25, 0.10), (0.05, 0.48, 0.24))
    bare = np.stack([soil, 1.3 * soil, 1.6 * soil * (1 - 0.6 * wet)])
    out = bare * (1 - cover) + leaf[:, None, None] * cover
    number = fields.copy()
    town = fractal(rng, side, 1.8) > rng.normal(1.6, 0.7)
    blocks = parcels(rng, side) + number.max() + 1
    roof = rng.uniform((0.06, 0.09, 0.09), (0.26, 0.32, 0.34), (blocks.max() + 1, 3))
    paint(out, number, town, roof[blocks].transpose(2, 0, 1), blocks)
    wood = fractal(rng, side, 1.6) > rng.normal(1.0, 0.8)
    tree = leaf * rng.uniform(0.55, 0.95) * np.exp(0.1 * fractal(rng, side, 0.8))[..., None]
    paint(out, number, wood, tree.transpose(2, 0, 1), number.max() + 1)
    course, lake = fractal(rng, side, 2.2), fractal(rng, side, 2.2)
    water = (np.abs(course - rng.normal(0, 0.7)) < rng.uniform(0, 0.05)) & (rng.random() < 0.4)
    water |= (lake > rng.uniform(1.2, 2.5)) & (rng.random() < 0.4)
    paint(out, number, water, rng.uniform((0.01, 0.005, 0.002), (0.08, 0.05, 0.02))[:, None, None], number.max() + 1)
    road = np.abs(fractal(rng, side, 3.0) - rng.normal(0, 0.5)) < rng.uniform(0.005, 0.03)
    paint(out, number, road & (rng.random() < 0.6), rng.uniform(0.08, 0.2, (3, 1, 1)), number.max() + 1)
    slope = np.gradient(fractal(rng, side, rng.uniform(1.6, 2.4)))
    sun = rng.uniform(0, 2 * np.pi)
    tilt = unit(np.cos(sun) * slope[0] + np.sin(sun) * slope[1]) * max(rng.normal(0, 0.15), 0)
    light = np.clip(1 + tilt, 0.3, 1.7)
    return Land((out * light).astype(np.float32), number, light.astype(np.float32))


def paint(out: Floats, number: Labels, where: NDArray[np.bool_], colour: Floats, label: Labels | int) -> None:
    """Paint over an image (3, y, x) and its labels, in place."""
    out[...] = np.where(where, colour, out)
    number[...] = np.where(where, label, number)


def linked(rng: np.random.Generator, land: Land) -> Floats:
    """Temperature that follows from what the guide shows, without units."""
    red, nir, swir = np.clip(land.reflectance.astype(np.float64), 1e-3, 1)
    vegetation = np.clip((nir - red) / (nir + red), 0, 0.9)
    dry = np.clip(1 + (swir - nir) / (swir + nir), 0, 2)
    bright = unit(np.log(red + nir + swir))
    water = ((nir < 0.07) & (swir < 0.05)).astype(np.float64)
    day = rng.random() < DAY_SHARE
    weight = rng.normal((-1.2, 0.8, 0.0), 0.6) if day else rng.normal(0, 1, 3)
    out = weight[0] * unit(vegetation) + weight[1] * unit(dry) + weight[2] * bright
    out += rng.normal(0, 0.5) * unit(vegetation) * unit(dry)
    out += rng.uniform(0, 1.2) * unit(random_function(rng, np.stack([vegetation, dry, bright])))
    out += rng.normal(0.8 if day else 0.0, 0.6) * unit(land.light)
    lake = out.mean() + rng.normal(-1.5 if day else 0.0, 1.5) * max(out.std(), 0.3)
    return np.asarray(np.where(water > 0, lake, out), np.float64)


def random_function(rng: np.random.Generator, features: Floats, width: int = 6) -> Floats:
    """Smooth random function of three features (3, y, x): a network of one hidden layer."""
    inputs = np.stack([unit(one) for one in features])
    inner = np.tanh(np.tensordot(rng.normal(0, 1.2, (width, 3)), inputs, axes=1) + rng.normal(0, 1, (width, 1, 1)))
    return np.asarray(np.tensordot(rng.standard_normal(width), inner, axes=1), np.float64)


def hidden(rng: np.random.Generator, land: Land) -> Floats:
    """Temperature of which the guide shows nothing but, in places, the outline; without units."""
    side = land.parcels.shape[0]
    weather = rng.uniform(0, 1.5) * fractal(rng, side, rng.uniform(1.8, 3.0))
    ground = rng.uniform(0, 1.0) * fractal(rng, side, rng.uniform(0.9, 1.6))
    single = rng.normal(0, 1, land.parcels.max() + 1)[land.parcels]
    return np.asarray(weather + ground + rng.uniform(0, 1.2) * single, np.float64)


def cloud(rng: np.random.Generator, kelvin: Floats, guide: Image) -> tuple[Floats, Image]:
    """Put a cloud, cold and bright, and its shadow over a scene."""
    shape = fractal(rng, kelvin.shape[0], 1.8)
    thick = np.clip((shape - rng.uniform(1.5, 2.3)) / rng.uniform(0.1, 0.6), 0, 1)
    shade = np.roll(thick, rng.integers(-12, 13, 2), (0, 1)) * (1 - thick)
    kelvin = kelvin - rng.uniform(3, 15) * thick - rng.uniform(0, 4) * shade
    guide = guide * (1 - rng.uniform(0.3, 0.7) * shade).astype(np.float32)
    return kelvin, (guide * (1 - thick) + rng.uniform(0.3, 0.7) * thick).astype(np.float32)


def blur(images: Image, mtf: float, *, shift: tuple[float, float] | Floats = (0.0, 0.0)) -> Image:
    """Blur images (n, y, x) by a Gaussian of a given MTF at their own Nyquist frequency, and displace them.

    Parameters
    ----------
    images
        Stack; borders are mirrored.
    mtf
        In (0, 1).
    shift
        Pixels by which the content moves towards greater rows and columns, at most two; bicubic, as one product is
        brought to the grid of another.
    """
    band = sensor_band(float(mtf), 1.0)
    if np.any(shift):
        interpolation = psf.Stage(psf.Cubic(), 1.0)
        band = replace(band, y=(*band.y, interpolation), x=(*band.x, interpolation))
    rows, cols = (Span(0, size) for size in images.shape[1:])
    down, right = (float(by) for by in np.clip(shift, -2, 2))
    return degrade.observe(images, band, rows=rows, cols=cols, shift=(down, right))


def observe(rng: np.random.Generator, reflectance: Image) -> Image:
    """Reflectance with the haze, the calibration and the noise of a sensor, alike over the scene."""
    haze = np.sort(rng.uniform(0, 0.04, 3))[::-1, None, None] * (rng.random() < 0.5)
    gain = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.05, (3, 1, 1)))
    noise = rng.uniform(0, 0.008) * rng.standard_normal(reflectance.shape)
    return np.asarray(reflectance * gain + haze + noise, np.float32)
