"""Readers of published data sets, on tiny trees of their layout."""

import csv

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from skimage.io import imsave

from xsr.core.errors import ParameterError
from xsr.kernels.degrade import blur_decimate
from xsr.kernels.resample import interpolate_filled
from xsr.training import finer
from xsr.training.layouts import COMMON, L2A, SPOT, align, coarsened, moved, probav, radiometry, sen2venus, worldstrat
from xsr.training.manifest import read_manifest
from xsr.training.scenes import BANDS, COARSE, FINE
from xsr.training.series import read

GAIN, OFFSET = 1.25, -0.02


def texture(bands, size, seed=0):
    """Smooth random fields about 0.2, shape (band, size, size): the sum of some waves."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    image = np.zeros((bands, size, size))
    for _ in range(40):
        wave = rng.uniform(-1, 1, 2) * 12
        field = np.sin(2 * np.pi * (wave[0] * y + wave[1] * x) + rng.uniform(0, 7))
        image += 0.012 * field * rng.uniform(0.5, 1, (bands, 1, 1))
    return (0.2 + image).astype(np.float32)


def displaced(image, down, right):
    """Image whose content lies so many pixels further down and right."""
    padded = np.pad(image, ((0, 0), (8, 8), (8, 8)), mode="reflect")
    rows, cols = (np.arange(n) + 8.0 - shift for n, shift in zip(image.shape[1:], (down, right), strict=True))
    return interpolate_filled(padded, rows, cols, "bicubic")


def low_and_high(bands=4, size=128, scale=2, shift=(0.0, 0.0), seed=0):
    """What a coarser sensor sees of a place, and a finer one, shifted and in another radiometry."""
    truth = texture(bands, size, seed)
    low = blur_decimate(truth, scale=float(scale), mtf=0.3)
    high = (displaced(truth, shift[0] * scale, shift[1] * scale) - np.float32(OFFSET)) / np.float32(GAIN)
    return low, high, truth


# --- alignment ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.6, -0.4), (-1.3, 2.1)])
def test_shift_gain_and_offset_are_found_and_undone(shift):
    low, high, truth = low_and_high(shift=shift)
    pair = align("here", FINE, low[None], high)
    assert pair.shift == pytest.approx(shift, abs=0.06)
    assert pair.quality > 0.95
    assert pair.gain == pytest.approx((GAIN,) * 4, rel=0.02)
    assert pair.offset == pytest.approx((OFFSET,) * 4, abs=0.005)
    error = (pair.high - truth)[:, 16:-16, 16:-16]
    assert np.nanmax(np.abs(error)) < 0.02
    assert np.abs(high - truth).max() > 0.05
    assert np.isnan(pair.high).any() == (max(map(abs, shift)) > 0.1)  # what the shift brings in is not made up
    assert pair.scale == (2.0, 2.0)
    assert pair.clearance == (1.0,)


def test_the_coarser_image_is_left_as_it_was():
    low, high, _ = low_and_high(shift=(0.5, 0.5))
    before = low.copy()
    assert align("here", FINE, low[None], high).low.tobytes() == before.tobytes()


def test_holes_stay_holes_and_spoil_nothing_else():
    low, high, _ = low_and_high(shift=(0.6, -0.4))
    whole = align("here", FINE, low[None], high)
    low, high = low.copy(), high.copy()
    low[:, 3:9, 3:9] = np.nan
    high[:, 100:110, 80:90] = np.nan
    pair = align("here", FINE, low[None], high)
    assert pair.shift == pytest.approx(whole.shift, abs=0.1)
    assert pair.gain == pytest.approx(whole.gain, rel=0.03)
    assert np.isnan(pair.high[:, 102:107, 83:88]).all()
    assert pair.clearance[0] == pytest.approx(1 - 36 / 64**2)


def test_nothing_to_see_is_reported_not_invented():
    flat = np.full((1, 4, 32, 32), 0.2, np.float32)
    pair = align("sea", FINE, flat, np.full((4, 64, 64), 0.1, np.float32))
    assert np.isnan(pair.shift).all()
    assert np.isnan(pair.quality)
    assert np.isnan(pair.gain).all()
    assert np.isnan(pair.high).all()


@pytest.mark.parametrize("high", [(3, 64, 64), (4, 32, 32)])
def test_shapes_that_do_not_fit_are_refused(high):
    with pytest.raises(ParameterError, match=r"here: low .*; expected \(frame, band, y, x\) and a finer"):
        align("here", FINE, np.zeros((1, 4, 32, 32), np.float32), np.zeros(high, np.float32))


def test_coarsened_is_the_sensor_of_the_degradation():
    image = texture(2, 60)
    whole = coarsened(image, (30, 30))
    assert np.abs(whole - blur_decimate(image, scale=2.0, mtf=0.3))[:, 4:-4, 4:-4].max() < 1e-5
    assert coarsened(np.full((1, 47, 53), 0.3, np.float32), (7, 8)) == pytest.approx(np.full((1, 7, 8), 0.3))


def test_moved_by_whole_pixels():
    image = texture(1, 20)
    back = moved(np.roll(image, (3, -2), (1, 2)), 3, -2)
    assert np.array_equal(back[:, 2:-5, 4:-2], image[:, 2:-5, 4:-2])
    assert np.isnan(back[:, -3:]).all()
    assert np.isnan(back[:, :, :2]).all()


def test_radiometry_by_hand():
    rng = np.random.default_rng(0)
    other = rng.random((COMMON * 5, COMMON * 5))
    gain, offset = radiometry((2 * other + 0.5).astype(np.float32), other.astype(np.float32))
    assert (gain, offset) == pytest.approx((2, 0.5), abs=1e-5)
    other[COMMON:] = np.nan  # five cells are left
    assert np.isnan(radiometry(other, other)).all()


# --- SEN2VENµS ---------------------------------------------------------------------------------------------


def write_site(root, *, edge="b5b6b7b8a", patches=2):
    site = root / "ARM"
    site.mkdir(parents=True)
    name = "ARM_14SPE_2018-04-01"
    for gsd, bands, scale in (("10m", "b2b3b4b8", 2), ("20m", edge, 4)):
        pairs = [low_and_high(size=128, scale=scale, shift=(0.4, 0.2), seed=seed)[:2] for seed in range(patches)]
        for kind, index in ((gsd, 0), ("05m", 1)):
            values = np.stack([np.round(pair[index] * 1e4) for pair in pairs]).astype(np.int16)
            if kind == "05m":
                values[0, :, :4, :4] = -10_000
            torch.save(torch.from_numpy(values), site / f"{name}_{kind}_{bands}.pt")
    return site, name


@pytest.mark.parametrize("edge", ["b5b6b7b8a", "b4b5b6b8a"])
def test_sen2venus(tmp_path, edge):
    _, name = write_site(tmp_path, edge=edge)
    pairs = list(sen2venus(tmp_path))
    assert [pair.place for pair in pairs] == [f"ARM/{name}/{i}" for i in (0, 1, 0, 1)]
    assert [pair.bands for pair in pairs] == [FINE, FINE, ("B05", "B06", "B07", "B8A"), ("B05", "B06", "B07", "B8A")]
    assert [pair.scale for pair in pairs] == [(2.0, 2.0)] * 2 + [(4.0, 4.0)] * 2
    for pair in pairs:
        assert pair.unit == "reflectance"
        assert pair.shift == pytest.approx((0.4, 0.2), abs=0.08)
        assert pair.gain == pytest.approx((GAIN,) * 4, rel=0.05)
        assert 0.1 < np.nanmean(pair.high) < 0.3
    assert np.isnan(pairs[0].high[:, :3, :3]).all()


def test_sen2venus_tells_what_is_missing(tmp_path):
    with pytest.raises(ParameterError, match=r"holds no SITE/\*_10m_b2b3b4b8.pt"):
        next(sen2venus(tmp_path))
    site, name = write_site(tmp_path)
    fine = site / f"{name}_05m_b2b3b4b8.pt"
    torch.save(torch.load(fine, weights_only=True)[:1], fine)
    with pytest.raises(ParameterError, match=r"has 2 patches and .* 1; expected as many"):
        next(sen2venus(tmp_path))
    fine.unlink()
    with pytest.raises(ParameterError, match=r"05m_b2b3b4b8\.pt is missing"):
        next(sen2venus(tmp_path))


class Code:
    """An object that a pickle would run code for."""

    def __reduce__(self):
        return print, ("pickled code runs",)


def test_sen2venus_refuses_pickled_code_and_other_tensors(tmp_path, capsys):
    site, name = write_site(tmp_path)
    torch.save(torch.zeros(3), site / f"{name}_10m_b2b3b4b8.pt")
    with pytest.raises(ParameterError, match=r"is no tensor \(patch, 4, y, x\)"):
        next(sen2venus(tmp_path))
    torch.save(Code(), site / f"{name}_10m_b2b3b4b8.pt")
    with pytest.raises(ParameterError, match="holds more than tensors"):
        next(sen2venus(tmp_path))
    assert "pickled code runs" not in capsys.readouterr().out


def test_sen2venus_tells_of_a_damaged_file(tmp_path):
    site, name = write_site(tmp_path)
    path = site / f"{name}_10m_b2b3b4b8.pt"
    for content in (b"", path.read_bytes()[:300]):
        path.write_bytes(content)
        with pytest.raises(ParameterError, match=r"10m_b2b3b4b8\.pt is damaged"):
            next(sen2venus(tmp_path))


# --- WorldStrat --------------------------------------------------------------------------------------------


def write_tiff(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = dict(driver="GTiff", count=len(values), height=values.shape[1], width=values.shape[2], dtype=values.dtype)
    with rasterio.open(path, "w", crs="EPSG:32631", transform=Affine(10, 0, 5e5, 0, -10, 5e6), **profile) as target:
        target.write(values)


DATES = {1: "2020-03-01", 2: "2020-01-15", 3: "2020-04-20"}


def write_worldstrat(root, scene="Landcover-1"):
    """Three dates of 42 pixels, of which the second file is the first date, and an image 6.67 times finer."""
    truth = texture(4, 280)
    seen = blur_decimate(truth, scale=280 / 42, mtf=0.3)
    for number in DATES:
        image = np.zeros((12, 42, 42), np.float32)
        coarse = texture(6, 21, seed=number).repeat(2, axis=1).repeat(2, axis=2)
        for name in BANDS:
            source = coarse[COARSE.index(name)] if name in COARSE else seen[SPOT.index(name)]
            image[L2A.index(name)] = source + 0.01 * number * (name in FINE)
        image[:, :2, :2] = 0
        write_tiff(root / "lr_dataset" / scene / "L2A" / f"{scene}-{number}-L2A_data.tiff", image)
    write_tiff(root / "hr_dataset" / "12bit" / scene / f"{scene}_ps.tiff", np.round(truth * 4000).astype(np.uint16))
    with (root / "metadata.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["", "lowres_date", "highres_date", "cloud_cover", "n"])
        writer.writerows([scene, day, "2020-03-05", 0.0, number] for number, day in DATES.items())


def test_worldstrat(tmp_path):
    write_worldstrat(tmp_path)
    ((series, pair),) = worldstrat(tmp_path)
    assert series.place == "worldstrat/Landcover-1"
    assert [str(time)[:10] for time in series.times] == sorted(DATES.values())
    assert series.image.shape == (3, 10, 42, 42)
    assert series.coarse.shape == (3, 10, 21, 21)
    assert np.isnan(series.image[:, :4, :2, :2]).all()
    expected = texture(6, 21, seed=2)  # the first date is the second file
    assert np.abs(series.coarse[0, 4:, 1:, 1:] - expected[:, 1:, 1:]).max() < 1e-6
    assert pair.place == "Landcover-1"
    assert pair.bands == SPOT
    assert pair.low.shape == (1, 4, 42, 42)
    assert np.array_equal(pair.low[0, 0], series.image[1, BANDS.index("B04")], equal_nan=True)  # nearest to SPOT
    assert pair.scale == pytest.approx((280 / 42,) * 2)
    assert pair.shift == pytest.approx((0, 0), abs=0.1)
    assert pair.gain == pytest.approx((1 / 4000,) * 4, rel=0.05)
    assert np.nanmean(pair.high) == pytest.approx(float(np.nanmean(pair.low)), abs=0.01)


def test_a_layout_in_a_manifest_gives_pairs_and_series(tmp_path):
    write_worldstrat(tmp_path)
    text = '[[scene]]\nplace = "w"\npath = "."\nlayout = "worldstrat"\nuses = ["reference", "series"]\n'
    (tmp_path / "scenes.toml").write_text(text)
    found = read_manifest(tmp_path / "scenes.toml")
    (pair,) = finer.load(found, ("B04", "B08"))
    assert pair.high["fine"].shape == (2, 280, 280)
    (series,) = finer.published_series(found)
    assert series.place == "worldstrat/Landcover-1"
    assert list(read(found)) == []


def test_worldstrat_tells_what_is_missing(tmp_path):
    with pytest.raises(ParameterError, match="holds no lr_dataset/SCENE/L2A"):
        next(worldstrat(tmp_path))
    write_worldstrat(tmp_path)
    folder = tmp_path / "lr_dataset" / "Landcover-1" / "L2A"
    write_tiff(folder / "Landcover-1-9-L2A_data.tiff", np.zeros((12, 4, 4), np.float32))
    with pytest.raises(ParameterError, match=r"knows no date of \['Landcover-1-9-L2A_data.tiff'\]"):
        next(worldstrat(tmp_path))
    (folder / "Landcover-1-9-L2A_data.tiff").unlink()
    write_tiff(folder / "Landcover-1-1-L2A_data.tiff", np.zeros((12, 4, 4), np.uint16))
    with pytest.raises(ParameterError, match="has 12 bands of uint16; expected the twelve of WorldStrat as float"):
        next(worldstrat(tmp_path))
    (tmp_path / "metadata.csv").write_text("scene,n,lowres_date,highres_date\nLandcover-1,first,2020-01-01,\n")
    with pytest.raises(ParameterError, match=r"line 2 of .*metadata\.csv has no n, lowres_date or highres_date"):
        next(worldstrat(tmp_path))
    (tmp_path / "metadata.csv").unlink()
    with pytest.raises(ParameterError, match=r"metadata\.csv is missing"):
        next(worldstrat(tmp_path))


# --- PROBA-V -----------------------------------------------------------------------------------------------


def write_imgset(root, band="NIR", number=594):
    folder = root / "train" / band / f"imgset{number:04}"
    folder.mkdir(parents=True)
    truth = texture(1, 96)[0]
    low = blur_decimate(truth[None], scale=3.0, mtf=0.3)[0]
    for frame in range(3):
        clear = np.full(low.shape, 255, np.uint8)
        clear[: (8, 0, 16)[frame]] = 0
        save(folder / f"LR{frame:03}.png", np.round(low * 16_000 + frame).astype(np.uint16))
        save(folder / f"QM{frame:03}.png", clear)
    save(folder / "HR.png", np.round(truth * 16_000).astype(np.uint16))
    status = np.full(truth.shape, 255, np.uint8)
    status[-5:] = 0
    save(folder / "SM.png", status)
    return folder


def save(path, values):
    imsave(path, values, check_contrast=False)


def test_probav(tmp_path):
    write_imgset(tmp_path)
    (pair,) = probav(tmp_path)
    assert (pair.place, pair.bands, pair.unit) == ("NIR/imgset0594", ("NIR",), "counts")
    assert pair.low.shape == (3, 1, 32, 32)
    assert pair.high.shape == (1, 96, 96)
    assert pair.clearance == (1.0, 0.75, 0.5)  # the clearest frame comes first
    assert np.isnan(pair.low[1, 0, :8]).all()
    assert np.isnan(pair.high[0, -5:]).all()
    assert pair.gain[0] == pytest.approx(1, abs=0.02)
    assert pair.shift == pytest.approx((0, 0), abs=0.06)
    assert 2000 < np.nanmean(pair.low) < 4500


def test_probav_tells_what_is_missing(tmp_path):
    with pytest.raises(ParameterError, match=r"holds no train/RED\|NIR/imgset\*"):
        next(probav(tmp_path))
    folder = write_imgset(tmp_path)
    (folder / "QM001.png").unlink()
    with pytest.raises(ParameterError, match=r"QM001\.png is missing"):
        next(probav(tmp_path))
    for path in folder.glob("LR*"):
        path.unlink()
    with pytest.raises(ParameterError, match=r"holds no LR\*\.png"):
        next(probav(tmp_path))
