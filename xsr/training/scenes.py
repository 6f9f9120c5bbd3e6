"""Training scenes: real images of the train split and synthetic ones, as plain arrays.

The folder layout is the one described beside the data; `load` reads the places of the train split only, so that a
recipe cannot touch a test place by accident. Every scene is reflectance with NaN where there is no data.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xsr.core.errors import ParameterError

Image = NDArray[np.float32]
BANDS = ("B02", "B03", "B04", "B08")
CLEAR_SHARE = 0.98
"""Least share of clear pixels for a date to be used."""
CLOUDY_CLASSES = (0, 1, 3, 8, 9, 10)
"""Scene classes that disqualify: no data, saturated, cloud shadow, cloud (medium, high), cirrus."""


@dataclass(frozen=True)
class TrainingScene:
    """One image to draw patches from."""

    place: str
    """Name of the place; scenes of one place share it."""
    image: Image
    """Reflectance, shape (band, y, x), NaN = no data."""
    weight: float = 1.0
    """Relative weight of the place when scenes are drawn, shared by its scenes."""


def to_reflectance(dn: NDArray[np.generic], scale: float = 1e-4, nodata: float | None = 0) -> Image:
    """Decode digital numbers; ``nodata`` becomes NaN."""
    values = dn.astype(np.float32) * np.float32(scale)
    if nodata is not None:
        values[dn == nodata] = np.nan
    return values


def _worldstrat(root: Path) -> Iterator[TrainingScene]:
    import xarray as xr

    for path in sorted((root / "worldstrat_s2_spot").glob("*.nc")):
        with xr.open_dataset(path, mask_and_scale=False) as data:
            dn = data["s2_l2a"].sel(band=list(BANDS)).values
            cloudy = np.isin(data["scl"].values, CLOUDY_CLASSES).mean(axis=(1, 2))
        for image in dn[cloudy <= 1 - CLEAR_SHARE]:
            yield TrainingScene(f"worldstrat/{path.stem}", to_reflectance(image))


def _series_31uds(root: Path) -> Iterator[TrainingScene]:
    import xarray as xr

    folder = root / "s2_ts_belgium_31UDS"
    with xr.open_dataset(folder / "s2_20m.nc", mask_and_scale=False) as coarse:
        cloudy = np.isin(coarse["SCL"].values, CLOUDY_CLASSES).mean(axis=(1, 2))
    with xr.open_dataset(folder / "s2_10m.nc", mask_and_scale=False) as fine:
        dn = np.stack([fine[band].values for band in BANDS], axis=1)
    for image in dn[cloudy <= 1 - CLEAR_SHARE]:
        yield TrainingScene("belgium_31UDS", to_reflectance(image))


def _monthly_belgium(root: Path) -> Iterator[TrainingScene]:
    import xarray as xr

    for path in sorted((root / "s2_monthly_belgium").glob("*.nc")):
        with xr.open_dataset(path, mask_and_scale=False) as data:
            dn = data["refl"].sel(band=list(BANDS)).values
        for image in dn:
            if (image > 0).mean() > CLEAR_SHARE:
                yield TrainingScene("belgium_monthly", to_reflectance(image))


def _geotiff(path: Path, place: str, *, scale: float, names: tuple[str, ...]) -> TrainingScene:
    import rasterio

    with rasterio.open(path) as source:
        index = [source.descriptions.index(name) + 1 for name in names]
        return TrainingScene(place, to_reflectance(source.read(index), scale, source.nodata))


def _madagascar(root: Path) -> Iterator[TrainingScene]:
    for path in sorted((root / "s2_theia_madagascar_38KPE").glob("*.tif")):
        if "20170213" not in path.name:  # cloudy
            yield _geotiff(path, "madagascar", scale=1e-4, names=("B2", "B3", "B4", "B8"))


def _aberystwyth(root: Path) -> Iterator[TrainingScene]:
    path = root / "s2_aberystwyth_10m" / "s2_20210527_aber.tif"
    yield _geotiff(path, "aberystwyth", scale=1e-3, names=BANDS)


def _t33uub(root: Path) -> Iterator[TrainingScene]:
    import xarray as xr

    path = root / "s2_l1c_dsen2" / "S2A_MSIL1C_20170527_T33UUB.nc"
    with xr.open_dataset(path, mask_and_scale=False) as data:
        yield TrainingScene("T33UUB", to_reflectance(data["im10"].values))


def _ukis(root: Path) -> Iterator[TrainingScene]:
    with np.load(root / "s2_ukis_csmask" / "s2_toa_6band_u16.npz") as archive:
        yield TrainingScene("ukis", to_reflectance(archive["refl"][:4]), weight=0.3)


def _patagonia(root: Path) -> Iterator[TrainingScene]:
    with np.load(root / "s2_xrspatial" / "s2_6band.npz") as archive:
        yield TrainingScene("patagonia", to_reflectance(archive["dn"][:4]), weight=0.3)


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
        yield TrainingScene(f"l1b/{number}", inner * np.float32(0.12 / inner.mean()))


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
        except FileNotFoundError as error:
            raise ParameterError(f"{root} lacks training images: {error}. Set XSR_DATA, or choose places.") from error
    if synthetic:
        scenes += _synthetic(synthetic)
    if not scenes:
        raise ParameterError("no training scenes; give a folder of images or synthetic > 0.")
    return scenes
