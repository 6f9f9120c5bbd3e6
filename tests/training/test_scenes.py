import numpy as np
import pytest

from xsr.core import sensors
from xsr.core.errors import ParameterError
from xsr.core.sensors import sigma_px
from xsr.training import reading, scenes
from xsr.training.scenes import BANDS, COARSE, FINE, TrainingScene, arrange, at_20m, nested, repetition


def random(bands, height, width, seed=0):
    return np.random.default_rng(seed).random((bands, height, width), dtype=np.float32)


def test_arrange_puts_bands_in_their_places():
    values = random(2, 3, 4)
    image = arrange(values, ("B8A", "B02"), (3, 4))
    assert image.shape == (10, 3, 4)
    assert np.array_equal(image[BANDS.index("B8A")], values[0])
    assert np.array_equal(image[0], values[1])
    assert np.isfinite(image).sum() == 24


# --- nested grids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_repetition_is_found_and_undone(offset):
    top, left = offset
    true = random(6, 12, 12, seed=3)
    repeated = true.repeat(2, axis=1).repeat(2, axis=2)[:, 2 - top :, 2 - left :][:, :20, :18]
    values = np.concatenate([random(4, *repeated.shape[1:]), repeated])
    assert repetition(values, BANDS) == offset
    scene = nested("there", values, BANDS)
    height, width = ((20 - top) // 2, (18 - left) // 2)
    assert scene.image.shape == (10, 2 * height, 2 * width)
    assert np.array_equal(scene.image[:4], values[:4, top : top + 2 * height, left : left + 2 * width])
    assert np.isnan(scene.image[4:]).all()
    np.testing.assert_allclose(scene.coarse[4:], true[:, 1 : 1 + height, 1 : 1 + width], atol=1e-7)
    assert np.isnan(scene.coarse[:4]).all()


def test_what_was_interpolated_is_averaged_from_the_first_pixel():
    values = random(10, 8, 9)
    assert repetition(values, BANDS) == (0, 0)
    assert repetition(values[:4], FINE) == (0, 0)
    scene = nested("there", values, BANDS)
    assert scene.coarse[5, 1, 2] == pytest.approx(values[5, 2:4, 4:6].mean())
    moved = nested("there", values, BANDS, offset=(1, 1))
    assert moved.coarse[5, 1, 2] == pytest.approx(values[5, 3:5, 5:7].mean())
    assert moved.image.shape == (10, 6, 8)


def test_a_coarse_image_is_taken_as_it_is():
    fine, twice = random(4, 9, 8), random(6, 5, 4, seed=1)
    scene = nested("there", fine, FINE, twice, weight=0.5)
    assert scene.image.shape == (10, 8, 8)
    assert np.array_equal(scene.coarse[4:], twice[:, :4])
    assert scene.weight == 0.5


def test_no_data_in_one_pixel_of_four_is_no_data():
    values = random(10, 8, 8)
    values[:, 3, 2] = np.nan
    hole = np.isnan(nested("there", values, BANDS).coarse[4:])
    assert hole.any(axis=0).sum() == 1
    assert hole[:, 1, 1].all()


# --- scenes of 20 m ----------------------------------------------------------------------------------------


def test_at_20m_keeps_the_coarse_bands_and_blurs_the_others_as_if_the_pixel_were_larger():
    size = 60
    fine, twice = random(4, 2 * size, 2 * size), random(6, size, size, seed=1)
    scene = nested("there", fine, FINE, twice, weight=0.3)
    made = at_20m(scene)
    assert made.place == "there at 20 m"
    assert (made.weight, made.coarse) == (0.3, None)
    assert np.array_equal(made.image[4:], twice)
    for band, name in enumerate(FINE):
        mtf = sensors.get("sentinel-2").band(name).mtf
        # A Gaussian on top of the sensor's: MTF at the new Nyquist over MTF there of the 10 m pixel, mtf ** (1 / 4).
        frequency = 0.25  # cycles per 10 m pixel
        sigma = np.sqrt(-2 * np.log(mtf / mtf**0.25)) / (2 * np.pi * frequency)
        for i, j in ((20, 31), (44, 9)):
            weight = [np.exp(-0.5 * ((np.arange(2 * size) - (2 * at + 0.5)) / sigma) ** 2) for at in (i, j)]
            wanted = weight[0] @ fine[band].astype(float) @ weight[1] / weight[0].sum() / weight[1].sum()
            assert made.image[band, i, j] == pytest.approx(wanted, abs=2e-4)  # the kernel ends at four sigma


def test_a_wave_at_the_new_nyquist_frequency_is_damped_to_the_mtf():
    """The 10 m image of a wave is already damped by the sensor; both together make the MTF of a 20 m sensor."""
    x = np.arange(128)
    fine = np.broadcast_to(np.cos(np.pi * (x - 0.5) / 2), (4, 128, 128)).astype(np.float32)  # four pixels of 10 m
    made = at_20m(nested("there", fine, FINE, np.zeros((6, 64, 64), np.float32)))
    for band, name in enumerate(FINE):
        mtf = sensors.get("sentinel-2").band(name).mtf
        seen = np.abs(made.image[band, 20:40, 20:40]).mean()
        damped = np.exp(-2 * (np.pi * 0.25 * sigma_px(mtf, 1)) ** 2)  # by the sensor of 10 m
        assert seen * damped == pytest.approx(mtf, rel=0.02)


def test_at_20m_hides_what_was_hidden_and_leaves_missing_bands_missing():
    fine, twice = random(2, 120, 120), random(6, 60, 60, seed=1)
    fine[:, 31, 40] = np.nan
    twice[2, 5, 6] = np.nan
    made = at_20m(nested("there", fine, ("B03", "B08"), twice))
    missing = np.isnan(made.image)
    assert missing[[0, 2]].all()
    assert missing[[1, 3]].sum(axis=(1, 2)).tolist() == [1, 1]
    assert missing[1, 15, 20]
    assert missing[4:].sum() == 1
    assert np.nanmax(made.image[[1, 3]]) < 1


def test_small_scenes_and_scenes_without_20m_bands_make_none():
    assert at_20m(TrainingScene("there", random(10, 200, 200))) is None
    small = nested("there", random(4, 94, 200), FINE, random(6, 47, 100))
    assert at_20m(small) is None
    assert at_20m(nested("there", random(4, 96, 200), FINE, random(6, 48, 100))) is not None


# --- loading -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_synthetic_scenes_know_every_band_and_differ():
    one, two = scenes.load(None, synthetic=2)
    assert one.place == two.place == "synthetic"
    assert one.image.shape == (10, 256, 256)
    assert np.isfinite(one.image).all()
    assert one.coarse is None
    assert not np.array_equal(one.image, two.image)


@pytest.mark.slow
def test_places_of_the_train_split_are_whole_and_no_other_is_read(manifest, monkeypatch):
    judges = {path for one in manifest.scenes if one.split != "train" for path in manifest.paths(one, one.place)}
    paths, real = [], reading.opening.open
    monkeypatch.setattr(reading.opening, "open", lambda path, **options: paths.append(path) or real(path, **options))
    found = scenes.load(manifest)
    assert paths
    assert not judges & set(paths)
    names = {scene.place.removesuffix(" at 20 m").split("/")[0] for scene in found}
    assert names == {
        *("worldstrat", "belgium_31UDS", "belgium_monthly", "madagascar", "aberystwyth"),
        *("T33UUB", "ukis", "patagonia", "l1b", "global", "bigearthnet", "Bahia", "New Zealand", "Virginia"),
    }
    kept = {one.place for one in manifest.scenes if one.split != "train"}
    assert not kept & {scene.place.removesuffix(" at 20 m") for scene in found}
    assert len([scene for scene in found if "worldstrat" in scene.place]) > 20
    for scene in found:
        assert scene.image.dtype == np.float32
        assert scene.image.shape[0] == 10
        known = scene.image[np.isfinite(scene.image).any(axis=(1, 2))]
        assert np.isfinite(known).mean() > 0.5
        assert 0.005 < np.nanmedian(known) < 0.6, scene.place
        if scene.coarse is None:
            continue
        assert scene.coarse.shape == (10, *(size // 2 for size in scene.image.shape[1:]))
        both = np.isfinite(scene.image).any(axis=(1, 2)) & np.isfinite(scene.coarse).any(axis=(1, 2))
        assert not both.any()
    assert any(np.isfinite(s.image[BANDS.index(COARSE[0])]).any() for s in found)


def test_nothing_to_train_on():
    with pytest.raises(ParameterError, match="no training scenes"):
        scenes.load(None)


def test_without_carn_the_scene_that_judges_it_is_trained_on(manifest):
    places = [
        {one.place for one in manifest.select("image", recipe=name)} for name in ("liif_s2", "carn_3x3x64g4sw_s2")
    ]
    assert places[0] - places[1] == {"T33UUB"}
