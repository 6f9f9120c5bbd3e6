"""Training scenes: real images of a manifest and synthetic ones, as plain arrays.

`load` reads scenes of the train split only, so that a recipe cannot touch a test place by accident. Every scene is
reflectance with NaN where there is no data, all ten bands of 10 m and 20 m in the order of `BANDS`; a band that a place
lacks is NaN throughout.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from xsr.core import sensors
from xsr.core.blocks import Span
from xsr.core.errors import BandError, ParameterError
from xsr.kernels.degrade import observe, sensor_band
from xsr.kernels.resample import fill_nodata
from xsr.training.manifest import Manifest, Scene
from xsr.training.reading import Reading, read_scene

Image = NDArray[np.float32]
Say: TypeAlias = Callable[[str], None]
"""Receives a line of progress."""
FINE = ("B02", "B03", "B04", "B08")
"""Bands of 10 m."""
COARSE = ("B05", "B06", "B07", "B8A", "B11", "B12")
"""Bands of 20 m."""
BANDS = FINE + COARSE
MOST_SHIFTED = 24
"""Pixels beyond which the shift between two bands means nothing: they have no common texture."""
LEAST = 48
"""Least side, in pixels, of a scene made by `at_20m`."""


def quiet(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class TrainingScene:
    """One image to draw patches from."""

    place: str
    """Name of the place; scenes of one place share it."""
    image: Image
    """Reflectance, shape (band, y, x), NaN = no data."""
    weight: float = 1.0
    """Relative weight of the place when scenes are drawn, shared by its scenes."""
    coarse: Image | None = None
    """Bands on the nested grid of pixels twice as large, shape (band, y / 2, x / 2), NaN where ``image`` has them."""


def arrange(values: Image, names: Sequence[str], shape: tuple[int, int]) -> Image:
    """Place bands, shape (n, y, x), into an image of all `BANDS`; the others are NaN."""
    image = np.full((len(BANDS), *shape), np.nan, np.float32)
    for name, band in zip(names, values, strict=True):
        image[BANDS.index(name)] = band
    return image


def nested(
    place: str,
    values: Image,
    names: Sequence[str],
    coarse: Image | None = None,
    coarse_names: Sequence[str] = COARSE,
    *,
    weight: float = 1.0,
    offset: tuple[int, int] | None = None,
) -> TrainingScene:
    """Make a scene of which the bands ``coarse_names`` come on a grid of pixels twice as large.

    ``coarse`` holds them. Without it those in ``values``, which were brought to the finer grid, are averaged
    over two by two pixels from the row and column ``offset`` on; by default from where they are plainly repeated, so
    that the repetition is undone.
    """
    top, left = offset or ((0, 0) if coarse is not None else repetition(values, names, coarse_names))
    height, width = (size // 2 * 2 for size in (values.shape[1] - top, values.shape[2] - left))
    cut = arrange(values[:, top : top + height, left : left + width], names, (height, width))
    half = (height // 2, width // 2)
    index = [BANDS.index(name) for name in coarse_names]
    if coarse is None:
        twice = cut[index].reshape(len(index), half[0], 2, half[1], 2).mean(axis=(2, 4))
    else:
        twice = coarse[:, : half[0], : half[1]]
    cut[index] = np.nan
    return TrainingScene(place, cut, weight, arrange(twice, coarse_names, half))


def repetition(values: Image, names: Sequence[str], coarse_names: Sequence[str] = COARSE) -> tuple[int, int]:
    """Rows and columns, each 0 or 1, before the first pair of equal pixels in the coarser bands of a finer grid."""
    bands = [image for name, image in zip(names, values, strict=True) if name in coarse_names]
    if not bands:
        return 0, 0
    equal_y, equal_x = (np.diff(np.stack(bands), axis=axis) == 0 for axis in (1, 2))
    return (
        int(equal_y[:, 1::2].mean() > equal_y[:, ::2].mean() + 0.2),
        int(equal_x[:, :, 1::2].mean() > equal_x[:, :, ::2].mean() + 0.2),
    )


def at_20m(scene: TrainingScene, least: int = LEAST) -> TrainingScene | None:
    """Scene of 20 m pixels in which the truth of all bands is known; None if it is too small or lacks 20 m bands.

    The 10 m bands are blurred so that their MTF at the new Nyquist frequency is the sensor's at the old one.
    """
    if scene.coarse is None or min(scene.coarse.shape[1:]) < least:
        return None
    table = sensors.get("sentinel-2")
    image = scene.coarse.copy()
    rows, cols = (Span(0, size) for size in image.shape[1:])
    for name in FINE:
        band, mtf = BANDS.index(name), table.band(name).mtf
        assert mtf is not None
        if not np.isfinite(scene.image[band]).any():
            continue
        filled = fill_nodata(scene.image[[band]], passes=4, constant=float(np.nanmean(scene.image[band])))
        observed = observe(filled, sensor_band(mtf, 2.0, source_mtf=mtf), rows=rows, cols=cols)[0]
        known = np.isfinite(scene.image[band]).reshape(image.shape[1], 2, image.shape[2], 2).all(axis=(1, 3))
        image[band] = np.where(known, observed, np.nan)
    return TrainingScene(f"{scene.place} at 20 m", image, scene.weight)


def load(
    manifest: Manifest | None, *, recipe: str = "", synthetic: int = 0, least: int = 1, say: Say = quiet
) -> list[TrainingScene]:
    """Make the training scenes of a recipe: those of the manifest, the same at 20 m, and synthetic ones.

    Parameters
    ----------
    manifest
        Real images; None uses synthetic scenes alone.
    recipe
        Name of the recipe, which scenes may leave out.
    synthetic
        Number of synthetic scenes to render.
    least
        Least side of an image in pixels.
    say
        Receives a line for each scene.

    Raises
    ------
    ParameterError
        If nothing is left to train on, or an image is too small.
    XsrError
        If a file is not what the manifest says.
    """
    found = [] if manifest is None else manifest.select("image", recipe=recipe)
    scenes: list[TrainingScene] = []
    for number, one in enumerate(found, 1):
        assert manifest is not None
        say(f"scene {number} of {len(found)}: {one.place}")
        scenes += images(read_scene(manifest, one).clear())
    for scene in scenes:
        check_size(scene.place, scene.image.shape[1:], least)
    scenes += [scene for scene in map(at_20m, tuple(scenes)) if scene is not None]
    scenes += _synthetic(synthetic, say)
    if not scenes:
        raise ParameterError("no training scenes; give a manifest with images, or more than 0 synthetic scenes.")
    return scenes


def check_size(place: str, shape: Sequence[int], least: int) -> None:
    """Refuse an image smaller than a patch.

    Raises
    ------
    ParameterError
        With both sizes.
    """
    if min(shape) < least:
        raise ParameterError(
            f"scene {place!r} has {' x '.join(map(str, shape))} pixels; expected {least} along each side, as a patch"
            " of the recipe has. Take a larger image, or leave it out."
        )


def images(reading: Reading) -> Iterator[TrainingScene]:
    """Training scenes of what was read, one for each image; bands of 20 m on a grid of their own."""
    scene, fine, coarse = reading.scene, reading.fine, reading.coarse
    check_bands(scene.place, fine.names + (() if coarse is None else coarse.names))
    twice = coarser_names(scene, fine.names)
    for number, values in enumerate(fine.values):
        place = f"{scene.place}/{number}" if scene.separate_places else scene.place
        image = corrected(scene, fine.names, values)
        if image is None:
            continue
        if coarse is not None:
            yield nested(place, image, fine.names, coarse.values[number], coarse.names, weight=scene.weight)
        elif twice:
            yield nested(place, image, fine.names, None, twice, weight=scene.weight)
        else:
            yield TrainingScene(place, arrange(image, fine.names, image.shape[1:]), scene.weight)


def check_bands(place: str, names: Sequence[str]) -> None:
    """Refuse a band that no recipe knows.

    Raises
    ------
    BandError
        With the bands that recipes know.
    """
    unknown = [name for name in names if name not in BANDS]
    if unknown:
        raise BandError(
            f"scene {place!r} has the band {unknown[0]}; recipes train on {', '.join(BANDS)}. Leave it out of bands."
        )


def coarser_names(scene: Scene, names: Sequence[str]) -> tuple[str, ...]:
    """Bands whose native pixel is twice the grid's: the manifest's, else that of Sentinel-2's bands of these names.

    Raises
    ------
    ParameterError
        If a native pixel is larger still.
    """
    table = sensors.get("sentinel-2")
    sizes = {name: scene.native_m.get(name, table.band(name).gsd_m) for name in names}
    larger = [name for name, size in sizes.items() if size > 2 * scene.gsd_m]
    if larger:
        raise ParameterError(
            f"scene {scene.place!r}: {larger[0]} has native pixels of {sizes[larger[0]]:g} m on a grid of"
            f" {scene.gsd_m:g} m; expected at most twice the grid's. Correct native_m or gsd_m, or leave the band out."
        )
    return tuple(name for name, size in sizes.items() if size == 2 * scene.gsd_m)


def corrected(scene: Scene, names: Sequence[str], image: Image) -> Image | None:
    """Image (band, y, x) aligned and calibrated as the manifest says; None if its bands have no common texture."""
    if scene.align_to:
        if scene.align_to not in names:
            raise BandError(f"scene {scene.place!r}: align_to {scene.align_to!r}; expected one of {', '.join(names)}.")
        aligned = _aligned(image, names.index(scene.align_to))
        if aligned is None:
            return None
        image = aligned
    return image if scene.mean is None else image * np.float32(scene.mean / np.nanmean(image))


def _aligned(image: Image, reference: int) -> Image | None:
    """Shift bands (band, y, x) by whole pixels onto one of them, the border left out; None if a shift means nothing."""
    from skimage.registration import phase_cross_correlation

    shifts = [phase_cross_correlation(image[reference], band)[0].astype(int) for band in image]
    border = int(np.abs(shifts).max())
    if border > MOST_SHIFTED:
        return None
    moved = np.stack([np.roll(band, shift, (0, 1)) for band, shift in zip(image, shifts, strict=True)])
    height, width = image.shape[1:]
    return moved[:, border : height - border, border : width - border]


def _synthetic(count: int, say: Say) -> Iterator[TrainingScene]:
    from xsr.testing import synthetic_cube

    days = ("2024-02-10", "2024-04-20", "2024-06-15", "2024-08-05", "2024-10-01")
    for seed in range(count):
        if seed % 10 == 0:
            say(f"synthetic scene {seed + 1} of {count}")
        cube = synthetic_cube(seed=seed, size=(256, 256), times=(days[seed % len(days)],), bands=BANDS)
        yield TrainingScene("synthetic", np.asarray(cube.values[0], np.float32), weight=2.0)
