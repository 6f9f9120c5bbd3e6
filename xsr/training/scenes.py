"""Training scenes: real images of the train split and synthetic ones, as plain arrays.

The folder layout is the one described beside the data; `load` reads the places of the train split only, so that a
recipe cannot touch a test place by accident. Every scene is reflectance with NaN where there is no data, all ten
bands of 10 m and 20 m in the order of `BANDS`; a band that a place lacks is NaN throughout.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xsr.core import sensors
from xsr.core.blocks import Span
from xsr.core.errors import ParameterError
from xsr.kernels.degrade import observe, sensor_band
from xsr.kernels.resample import fill_nodata
from xsr.sources.masks import SCL_INVALID

Image = NDArray[np.float32]
FINE = ("B02", "B03", "B04", "B08")
"""Bands of 10 m."""
COARSE = ("B05", "B06", "B07", "B8A", "B11", "B12")
"""Bands of 20 m."""
BANDS = FINE + COARSE
CLEAR_SHARE = 0.98
"""Least share of clear pixels for a date to be used."""
LEAST = 48
"""Least side, in pixels, of a scene made by `at_20m`."""


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
    *,
    weight: float = 1.0,
    offset: tuple[int, int] | None = None,
) -> TrainingScene:
    """Make a scene of which the 20 m bands come on a grid of 20 m.

    ``coarse`` holds the bands `COARSE`. Without it the 20 m bands in ``values``, which somebody has brought to the
    10 m grid, are averaged over two by two pixels from the row and column ``offset`` on; by default from where they
    are plainly repeated, so that the repetition is undone.
    """
    top, left = offset or ((0, 0) if coarse is not None else repetition(values, names))
    height, width = (size // 2 * 2 for size in (values.shape[1] - top, values.shape[2] - left))
    cut = arrange(values[:, top : top + height, left : left + width], names, (height, width))
    half = (height // 2, width // 2)
    if coarse is None:
        twice = cut[len(FINE) :].reshape(len(COARSE), half[0], 2, half[1], 2).mean(axis=(2, 4))
    else:
        twice = coarse[:, : half[0], : half[1]]
    cut[len(FINE) :] = np.nan
    return TrainingScene(place, cut, weight, arrange(twice, COARSE, half))


def repetition(values: Image, names: Sequence[str]) -> tuple[int, int]:
    """Rows and columns, each 0 or 1, before the first pair of equal pixels in the 20 m bands of a 10 m grid."""
    bands = [image for name, image in zip(names, values, strict=True) if name in COARSE]
    if not bands:
        return 0, 0
    equal_y, equal_x = (np.diff(np.stack(bands), axis=axis) == 0 for axis in (1, 2))
    return (
        int(equal_y[:, 1::2].mean() > equal_y[:, ::2].mean() + 0.2),
        int(equal_x[:, :, 1::2].mean() > equal_x[:, :, ::2].mean() + 0.2),
    )


def at_20m(scene: TrainingScene) -> TrainingScene | None:
    """Scene of 20 m pixels in which the truth of all bands is known; None if it is too small or lacks 20 m bands.

    The 10 m bands are blurred so that their MTF at the new Nyquist frequency is the sensor's at the old one.
    """
    if scene.coarse is None or min(scene.coarse.shape[1:]) < LEAST:
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
        seen = observe(filled, sensor_band(mtf, 2.0, source_mtf=mtf), rows=rows, cols=cols)[0]
        known = np.isfinite(scene.image[band]).reshape(image.shape[1], 2, image.shape[2], 2).all(axis=(1, 3))
        image[band] = np.where(known, seen, np.nan)
    return TrainingScene(f"{scene.place} at 20 m", image, scene.weight)


def to_reflectance(dn: NDArray[np.generic], scale: float = 1e-4, nodata: float | None = 0) -> Image:
    """Decode digital numbers; ``nodata`` becomes NaN."""
    values = dn.astype(np.float32) * np.float32(scale)
    if nodata is not None:
        values[dn == nodata] = np.nan
    return values


VALIDATION = (
    "Landcover-1864782",
    "Landcover-771547",
    "Landcover-8732",
    "UNHCR-CODs026832",
    "UNHCR-NERs009697",
)
"""WorldStrat scenes kept for validation."""


def _worldstrat(root: Path) -> Iterator[TrainingScene]:
    import xarray as xr

    for path in sorted((root / "worldstrat_s2_spot").glob("*.nc")):
        if path.stem in VALIDATION:
            continue
        with xr.open_dataset(path, mask_and_scale=False) as data:
            dn = data["s2_l2a"].sel(band=list(BANDS)).values
            cloudy = np.isin(data["scl"].values, SCL_INVALID).mean(axis=(1, 2))
        for image in dn[cloudy <= 1 - CLEAR_SHARE]:
            yield nested(f"worldstrat/{path.stem}", to_reflectance(image), BANDS)


def _series_31uds(root: Path) -> Iterator[TrainingScene]:
    import xarray as xr

    folder = root / "s2_ts_belgium_31UDS"
    with xr.open_dataset(folder / "s2_20m.nc", mask_and_scale=False) as coarse:
        clear = np.isin(coarse["SCL"].values, SCL_INVALID).mean(axis=(1, 2)) <= 1 - CLEAR_SHARE
        dn_20m = np.stack([coarse[band].values for band in COARSE], axis=1)
    with xr.open_dataset(folder / "s2_10m.nc", mask_and_scale=False) as fine:
        dn = np.stack([fine[band].values for band in FINE], axis=1)
    for image, twice in zip(dn[clear], dn_20m[clear], strict=True):
        yield nested("belgium_31UDS", to_reflectance(image), FINE, to_reflectance(twice))


def _monthly_belgium(root: Path) -> Iterator[TrainingScene]:
    import xarray as xr

    for path in sorted((root / "s2_monthly_belgium").glob("*.nc")):
        with xr.open_dataset(path, mask_and_scale=False) as data:
            names = [str(name) for name in data["band"].values]
            dn = data["refl"].transpose("time", "band", "y", "x").values
        for image in dn:
            if (image > 0).mean() > CLEAR_SHARE:
                yield nested("belgium_monthly", to_reflectance(image), names)


def _geotiff(path: Path, place: str, *, scale: float, names: tuple[str, ...]) -> TrainingScene:
    import rasterio

    with rasterio.open(path) as source:
        index = [source.descriptions.index(name) + 1 for name in names]
        return nested(place, to_reflectance(source.read(index), scale, source.nodata), BANDS)


def _madagascar(root: Path) -> Iterator[TrainingScene]:
    for path in sorted((root / "s2_theia_madagascar_38KPE").glob("*.tif")):
        if "20170213" not in path.name:  # cloudy
            yield _geotiff(path, "madagascar", scale=1e-4, names=tuple(name.replace("B0", "B") for name in BANDS))


def _aberystwyth(root: Path) -> Iterator[TrainingScene]:
    path = root / "s2_aberystwyth_10m" / "s2_20210527_aber.tif"
    yield _geotiff(path, "aberystwyth", scale=1e-3, names=BANDS)


def _t33uub(root: Path) -> Iterator[TrainingScene]:
    import xarray as xr

    path = root / "s2_l1c_dsen2" / "S2A_MSIL1C_20170527_T33UUB.nc"
    with xr.open_dataset(path, mask_and_scale=False) as data:
        # The file does not say its order; red comes first, as in the products' own metadata.
        names = ("B04", "B03", "B02", "B08")
        yield nested("T33UUB", to_reflectance(data["im10"].values), names, to_reflectance(data["im20"].values))


SIX = ("B02", "B03", "B04", "B08", "B11", "B12")
"""Bands of the places that come as blue, green, red, near and shortwave infrared."""


def _ukis(root: Path) -> Iterator[TrainingScene]:
    with np.load(root / "s2_ukis_csmask" / "s2_toa_6band_u16.npz") as archive:
        yield nested("ukis", to_reflectance(archive["refl"]), SIX, weight=0.3)


def _patagonia(root: Path) -> Iterator[TrainingScene]:
    with np.load(root / "s2_xrspatial" / "s2_6band.npz") as archive:
        image = to_reflectance(archive["dn"])  # pixels of 20 m
        yield TrainingScene("patagonia", arrange(image, SIX, image.shape[1:]), weight=0.3)


def _l1b(root: Path) -> Iterator[TrainingScene]:
    """Sensor geometry: bands are shifted against one another by design, so align to the blue band by whole pixels."""
    import xarray as xr
    from skimage.registration import phase_cross_correlation

    with xr.open_dataset(root / "s2_l1b_l1bsr" / "l1b_bgrn_10x4x352x352.nc", mask_and_scale=False) as data:
        patches = data["dn"].values.astype(np.float32)
    for number, patch in enumerate(patches):
        shifts = [phase_cross_correlation(patch[1], band)[0].astype(int) for band in patch]
        border = int(np.abs(shifts).max())
        if border > 24:  # no common texture between the bands: the correlation peak means nothing
            continue
        aligned = np.stack([np.roll(band, shift, (0, 1)) for band, shift in zip(patch, shifts, strict=True)])
        inner = aligned[:, border : 352 - border, border : 352 - border]
        # Uncalibrated counts: bring the mean of each patch to a plausible reflectance of 0.12.
        values = inner * np.float32(0.12 / inner.mean())
        yield TrainingScene(f"l1b/{number}", arrange(values, FINE, values.shape[1:]))


def _synthetic(count: int) -> Iterator[TrainingScene]:
    from xsr.testing import synthetic_cube

    days = ("2024-02-10", "2024-04-20", "2024-06-15", "2024-08-05", "2024-10-01")
    for seed in range(count):
        cube = synthetic_cube(seed=seed, size=(256, 256), times=(days[seed % len(days)],), bands=BANDS)
        yield TrainingScene("synthetic", np.asarray(cube.values[0], np.float32), weight=2.0)


PLACES: dict[str, Callable[[Path], Iterator[TrainingScene]]] = {
    "worldstrat": _worldstrat,
    "31UDS": _series_31uds,
    "monthly": _monthly_belgium,
    "madagascar": _madagascar,
    "aberystwyth": _aberystwyth,
    "T33UUB": _t33uub,
    "ukis": _ukis,
    "patagonia": _patagonia,
    "l1b": _l1b,
}
"""Readers of the train split."""


def load(root: Path | None, *, places: tuple[str, ...] = tuple(PLACES), synthetic: int = 0) -> list[TrainingScene]:
    """Load training scenes.

    Parameters
    ----------
    root
        Folder of the real images; None uses synthetic scenes only.
    places
        Keys of `PLACES` to read.
    synthetic
        Number of synthetic scenes to render.

    Raises
    ------
    ParameterError
        If nothing is left to train on, or the folder does not exist.
    """
    scenes: list[TrainingScene] = []
    if root is not None:
        if not root.is_dir():
            raise ParameterError(f"{root} is not a folder; expected the folder of training images. Set XSR_DATA.")
        try:
            scenes += [scene for place in places for scene in PLACES[place](root)]
            scenes += [scene for scene in map(at_20m, tuple(scenes)) if scene is not None]
        except FileNotFoundError as error:
            raise ParameterError(f"{root} lacks training images: {error}. Set XSR_DATA, or choose places.") from error
    if synthetic:
        scenes += _synthetic(synthetic)
    if not scenes:
        raise ParameterError("no training scenes; give a folder of images or synthetic > 0.")
    return scenes
