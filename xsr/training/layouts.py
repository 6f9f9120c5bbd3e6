"""Readers of published training data, by the layout of their folders: SEN2VENµS, WorldStrat and PROBA-V.

The data themselves are not part of the package, and each has a licence of its own; SPOT pixels of WorldStrat are for
non-commercial use, and so is what is trained on them.

A finer sensor observes the same place a little shifted and in another radiometry. `align` takes both back, and the pair
says by how much: the shift from the correlation of gradients, gain and offset of each band from what both sensors
resolve. Without that a network learns the difference of two sensors instead of detail.

References
----------
J. Michel, J. Vinasco-Salinas, J. Inglada, O. Hagolle, "SEN2VENµS, a Dataset for the Training of Sentinel-2
Super-Resolution Algorithms", Data 7 (2022), doi:10.3390/data7070096.
J. Cornebise, I. Oršolić, F. Kalaitzis, "Open High-Resolution Satellite Imagery: The WorldStrat Dataset", NeurIPS 2022.
M. Märtens, D. Izzo, A. Krzic, D. Cox, "Super-resolution of PROBA-V images using convolutional neural networks",
Astrodynamics 3 (2019), doi:10.1007/s42064-019-0059-8.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
from numpy.typing import NDArray

from xsr.core.blocks import Span
from xsr.core.errors import ParameterError
from xsr.kernels import psf
from xsr.kernels.degrade import BandOptics, observe
from xsr.kernels.registration import find_shift
from xsr.kernels.resample import interpolation_taps, resample_strict
from xsr.training.scenes import BANDS, FINE, Image, nested, repetition
from xsr.training.series import Series

RED_EDGE = ("B05", "B06", "B07", "B8A")
"""Bands of 20 m that VENµS has too."""
MAJA_NODATA = -10_000
"""No data in SEN2VENµS."""
L2A = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
"""Bands of a Sentinel-2 file of WorldStrat, in order."""
SPOT = ("B04", "B03", "B02", "B08")
"""Bands of Sentinel-2 like those of a SPOT file of WorldStrat, in order."""
MTF = 0.3
"""Response at Nyquist of the sensor by which a finer image is compared with a coarser one."""
COMMON = 4
"""Low-resolution pixels of a cell in which radiometries are compared: both sensors resolve it, whatever their MTF."""
LEAST_CELLS = 16
"""Fewest cells from which gain and offset of a band are estimated."""


@dataclass(frozen=True)
class Pair:
    """Images of a place and a finer one of another sensor, of the same extent and bands; NaN = no data."""

    place: str
    bands: tuple[str, ...]
    low: Image
    """Shape (frame, band, y, x)."""
    high: Image
    """Shape (band, Y, X), registered to the first frame, and in its radiometry."""
    unit: str
    """Of the numbers: reflectance, or counts."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Displacement (down, right) of the finer image that was undone, in low-resolution pixels; NaN if none was found,
    and then nothing was undone."""
    quality: float = float("nan")
    """Correlation of the gradients of both images at that shift."""
    gain: tuple[float, ...] = ()
    """Factor by which each band of the finer image was multiplied, NaN where there was too little texture."""
    offset: tuple[float, ...] = ()
    """What was then added."""

    @property
    def scale(self) -> tuple[float, float]:
        """Low over high pixel size along y and x."""
        return self.high.shape[1] / self.low.shape[2], self.high.shape[2] / self.low.shape[3]

    @property
    def clearance(self) -> tuple[float, ...]:
        """Share of valid pixels of each frame."""
        return tuple(float(np.isfinite(frame).mean()) for frame in self.low)


def align(place: str, bands: Sequence[str], low: Image, high: Image, *, unit: str = "reflectance") -> Pair:
    """Register a finer image to a coarser one of the same extent, and bring it to its radiometry.

    Parameters
    ----------
    place, bands
        Name of the place and of the bands.
    low
        Shape (frame, band, y, x), NaN = no data; the first frame is the reference.
    high
        Shape (band, Y, X), NaN = no data, in units of its own.
    unit
        Of ``low``.

    Returns
    -------
    Pair
        With the shift, gains and offsets that were found. Pixels that the shift brings in from outside are NaN.

    Raises
    ------
    ParameterError
        If the numbers of bands differ, or ``high`` is not finer.
    """
    if not len(bands) == low.shape[1] == len(high) or min(np.array(high.shape[1:]) / low.shape[2:]) <= 1:
        raise ParameterError(
            f"{place}: low {low.shape}, high {high.shape}, bands {list(bands)}; expected (frame, band, y, x) and a"
            " finer (band, Y, X) of as many bands. Check the files."
        )
    reference = low[0]
    degraded = coarsened(high, low.shape[2:])
    down, right, quality = find_shift(reference.mean(axis=0), degraded.mean(axis=0))
    if np.isfinite(quality):
        scale = np.array(high.shape[1:]) / low.shape[2:]
        high = moved(high, down * scale[0], right * scale[1])
        degraded = coarsened(high, low.shape[2:])
    fits = [radiometry(ours, theirs) for ours, theirs in zip(reference, degraded, strict=True)]
    gain, offset = (np.array(values, np.float32) for values in zip(*fits, strict=True))
    known = np.isfinite(gain)[:, None, None]
    matched = np.where(known, high * gain[:, None, None] + offset[:, None, None], np.float32(np.nan))
    numbers = (tuple(float(v) for v in values) for values in (gain, offset))
    return Pair(place, tuple(bands), low, matched, unit, (down, right), quality, *numbers)


def coarsened(image: Image, shape: Sequence[int]) -> Image:
    """Image (band, Y, X) as a sensor with pixels so large that ``shape`` (y, x) of them fill it would observe it."""
    y, x = (psf.chain(psf.gaussian(MTF, n / m), n / m) for n, m in zip(image.shape[1:], shape, strict=True))
    return observe(image, BandOptics(y, x), rows=Span(0, shape[0]), cols=Span(0, shape[1]), min_valid=1.0)


def moved(image: Image, down: float, right: float) -> Image:
    """Image (band, y, x) whose content was displaced so far, back in its place; bicubic, NaN where it is unknown."""
    margin = 3 + int(max(abs(down), abs(right)))
    padded = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), constant_values=np.nan)
    taps = [
        interpolation_taps(np.arange(n) + shift + margin, "bicubic")
        for n, shift in zip(image.shape[1:], (down, right), strict=True)
    ]
    return resample_strict(padded, *taps)


def radiometry(reference: Image, other: Image) -> tuple[float, float]:
    """Gain and offset by which a band (y, x) comes nearest to that of a reference, in the mean of cells."""
    height, width = (n // COMMON * COMMON for n in reference.shape)
    cells = [
        band[:height, :width].reshape(height // COMMON, COMMON, width // COMMON, COMMON).mean(axis=(1, 3)).ravel()
        for band in (reference.astype(np.float64), other.astype(np.float64))
    ]
    known = np.isfinite(cells[0]) & np.isfinite(cells[1])
    ours, theirs = (values[known] for values in cells)
    if known.sum() < LEAST_CELLS or np.ptp(theirs) == 0:
        return float("nan"), float("nan")
    gain = np.cov(theirs, ours)[0, 1] / theirs.var(ddof=1)
    return float(gain), float(ours.mean() - gain * theirs.mean())


def sen2venus(root: Path) -> Iterator[Pair]:
    """Read SEN2VENµS: a folder for each site, in it tensors (patch, band, y, x) of int16, reflectance times 10 000.

    A patch makes two pairs: B02 B03 B04 B08 from 10 m to 5 m, and B05 B06 B07 B8A from 20 m to 5 m. The files of
    the latter are called ``b5b6b7b8a``, or ``b4b5b6b8a`` as in the first edition, whatever they hold being the same.

    Raises
    ------
    ParameterError
        If there are no such files, one has no counterpart of 5 m, or their numbers of patches differ.
    """
    kinds = (("10m", "b2b3b4b8", FINE), ("20m", "b5b6b7b8a", RED_EDGE), ("20m", "b4b5b6b8a", RED_EDGE))
    files = [(path, kind) for kind in kinds for path in sorted(root.glob(f"*/*_{kind[0]}_{kind[1]}.pt"))]
    if not files:
        raise ParameterError(f"{root} holds no SITE/*_10m_b2b3b4b8.pt; expected the folder of the sites of SEN2VENµS.")
    for path, (gsd, _, bands) in files:
        fine = path.with_name(path.name.replace(f"_{gsd}_", "_05m_"))
        low, high = _tensor(path), _tensor(fine)
        if len(low) != len(high):
            raise ParameterError(f"{path} has {len(low)} patches and {fine} {len(high)}; expected as many. Fetch anew.")
        name = path.name.split(f"_{gsd}_")[0]
        for number, (ours, theirs) in enumerate(zip(low, high, strict=True)):
            yield align(f"{path.parent.name}/{name}/{number}", bands, ours[None], theirs)


def _tensor(path: Path) -> Image:
    """Tensor of a file of SEN2VENµS as reflectance; pickled code is refused."""
    import torch

    if not path.is_file():
        raise ParameterError(f"{path} is missing; expected the counterpart of a Sentinel-2 file. Fetch it anew.")
    try:
        values = torch.load(path, weights_only=True)
    except UnpicklingError as error:
        raise ParameterError(f"{path} holds more than tensors; expected a file of SEN2VENµS. Fetch it anew.") from error
    except (EOFError, RuntimeError) as error:
        raise ParameterError(f"{path} is damaged ({error}); expected a file of SEN2VENµS. Fetch it anew.") from error
    if not isinstance(values, torch.Tensor) or values.ndim != 4 or values.shape[1] != 4:
        raise ParameterError(f"{path} is no tensor (patch, 4, y, x); expected one of SEN2VENµS.")
    numbers = values.numpy()
    return np.where(numbers == MAJA_NODATA, np.float32(np.nan), numbers.astype(np.float32) * np.float32(1e-4))


def worldstrat(root: Path) -> Iterator[tuple[Series, Pair]]:
    """Read WorldStrat: dates of Sentinel-2 L2A, and a pansharpened SPOT image of 1.5 m in 12 bits.

    Files are ``lr_dataset/SCENE/L2A/SCENE-N-L2A_data.tiff`` (reflectance of twelve bands) and
    ``hr_dataset/12bit/SCENE/SCENE_ps.tiff`` (counts), dates are in ``metadata.csv``: scenes in its first column, and
    ``n``, ``lowres_date`` and ``highres_date``. The pair is of the date nearest to that of SPOT.

    Raises
    ------
    ParameterError
        If there are no scenes, or the metadata say nothing of a file.
    """
    folders = sorted(path for path in (root / "lr_dataset").glob("*/L2A") if path.is_dir())
    if not folders:
        raise ParameterError(f"{root} holds no lr_dataset/SCENE/L2A; expected the folder of WorldStrat.")
    dates = _worldstrat_dates(root / "metadata.csv")
    for folder in folders:
        scene = folder.parent.name
        files = {path: _revisit(path, scene) for path in sorted(folder.glob(f"{scene}-*-L2A_data.tiff"))}
        unknown = [path.name for path, number in files.items() if (scene, number) not in dates]
        if unknown or not files:
            raise ParameterError(f"{root / 'metadata.csv'} knows no date of {unknown or folder}; fetch it anew.")
        order = sorted(files, key=lambda path: dates[scene, files[path]][0])
        images = [_l2a(path) for path in order]
        times = np.array([dates[scene, files[path]][0] for path in order])
        spot = dates[scene, files[order[0]]][1]
        nearest = int(np.argmin(np.abs(times - spot)))
        index = [BANDS.index(name) for name in SPOT]
        high = _geotiff(root / "hr_dataset" / "12bit" / scene / f"{scene}_ps.tiff").astype(np.float32)
        high[:, (high == 0).all(axis=0)] = np.nan
        yield _series(scene, times, images), align(scene, SPOT, images[nearest][None, index], high)


def _worldstrat_dates(path: Path) -> dict[tuple[str, int], tuple[np.datetime64, np.datetime64]]:
    """Date of Sentinel-2 and of SPOT, by scene and revisit."""
    if not path.is_file():
        raise ParameterError(f"{path} is missing; expected the dates of WorldStrat. Fetch it from its archive.")
    found = {}
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        for row in reader:
            scene = row[(reader.fieldnames or [""])[0]]
            try:
                low, high = (np.datetime64(row[name][:10], "ns") for name in ("lowres_date", "highres_date"))
                found[scene, int(float(row["n"]))] = (low, high)
            except (KeyError, TypeError, ValueError) as error:
                raise ParameterError(
                    f"line {reader.line_num} of {path} has no n, lowres_date or highres_date that can be read"
                    f" ({error!r}). Fetch it anew."
                ) from error
    return found


def _revisit(path: Path, scene: str) -> int:
    """Revisit that a file of WorldStrat is of."""
    return int(path.name.removeprefix(f"{scene}-").removesuffix("-L2A_data.tiff"))


def _l2a(path: Path) -> Image:
    """Reflectance of the ten `BANDS` of a Sentinel-2 file of WorldStrat; NaN where all are zero."""
    values = _geotiff(path)
    if len(values) != len(L2A) or values.dtype.kind != "f":
        raise ParameterError(
            f"{path} has {len(values)} bands of {values.dtype}; expected the twelve of WorldStrat as float reflectance."
            " Fetch it anew."
        )
    image = values[[L2A.index(name) for name in BANDS]].astype(np.float32)
    image[:, (image == 0).all(axis=0)] = np.nan
    return image


def _series(scene: str, times: NDArray[np.datetime64], images: Sequence[Image]) -> Series:
    """Series of which the 20 m bands, repeated on the 10 m grid, are on a grid of their own again."""
    offset = repetition(images[0], BANDS)
    scenes = [nested(scene, image, BANDS, offset=offset) for image in images]
    coarse = np.stack([one.coarse for one in scenes if one.coarse is not None])
    return Series(f"worldstrat/{scene}", times, np.stack([one.image for one in scenes]), coarse)


def _geotiff(path: Path) -> NDArray[np.generic]:
    import rasterio

    if not path.is_file():
        raise ParameterError(f"{path} is missing; expected a file of WorldStrat. Fetch it anew.")
    with rasterio.open(path, driver="GTiff") as source:
        values: NDArray[np.generic] = source.read()
    return values


def probav(root: Path, *, bands: Sequence[str] = ("RED", "NIR")) -> Iterator[Pair]:
    """Read the training part of PROBA-V: images of 300 m of one band and place, and one of 100 m.

    Files are ``train/BAND/imgsetNNNN/{LRnnn,QMnnn}.png`` (counts of 14 bits, and where they are clear) and
    ``HR.png`` with ``SM.png``. The clearest frame comes first, and the finer image is registered to it.

    Raises
    ------
    ParameterError
        If there are no such folders, or an image lacks its mask.
    """
    folders = [path for band in bands for path in sorted((root / "train" / band).glob("imgset*"))]
    if not folders:
        raise ParameterError(f"{root} holds no train/{'|'.join(bands)}/imgset*; expected the folder of PROBA-V.")
    for folder in folders:
        frames = [_masked(path, path.with_name(f"QM{path.name[2:]}")) for path in sorted(folder.glob("LR*.png"))]
        if not frames:
            raise ParameterError(f"{folder} holds no LR*.png; fetch it anew.")
        frames.sort(key=lambda frame: -float(np.isfinite(frame).mean()))
        high = _masked(folder / "HR.png", folder / "SM.png")
        place = f"{folder.parent.name}/{folder.name}"
        yield align(place, (folder.parent.name,), np.stack(frames)[:, None], high[None], unit="counts")


def _masked(path: Path, mask: Path) -> Image:
    """Image of a PNG file (y, x), NaN where its mask is zero."""
    from skimage.io import imread

    for file in (path, mask):
        if not file.is_file():
            raise ParameterError(f"{file} is missing; expected an image and its mask. Fetch the folder anew.")
    return np.where(imread(mask) > 0, imread(path).astype(np.float32), np.float32(np.nan))
