import numpy as np
import pytest

from xsr.core.sensors import sigma_px
from xsr.kernels import psf
from xsr.kernels.degrade import observe
from xsr.training import level1c, pairs
from xsr.training.pairs import BORDER, Batch, PatchSensor, WaldSampler, augment, cut, fill
from xsr.training.scenes import TrainingScene

MTF = (0.3, 0.25)


def scene(height=96, width=90, place="here", seed=0, weight=1.0):
    rng = np.random.default_rng(seed)
    image = 0.1 + 0.05 * rng.standard_normal((2, height, width))
    return TrainingScene(place, image.astype(np.float32), weight)


def sampler(*scenes, **changes):
    settings = dict(
        mtf=MTF, scale_range=(1.0, 4.0), patch=14, queries=50, batch=5, mtf_jitter=0.08, seed=3, similar=False
    )
    return WaldSampler(scenes=scenes or (scene(),), **{**settings, **changes})


def same(one: Batch, two: Batch):
    names = ("low", "rows", "cols", "base", "target")
    parts = [(*(getattr(batch, n) for n in names), *(batch.sensor or ())) for batch in (one, two)]
    return one.scale == two.scale and [v.tobytes() for v in parts[0]] == [v.tobytes() for v in parts[1]]


@pytest.fixture
def plain(monkeypatch):
    """No flips and gains, so that pixels can be found again."""
    monkeypatch.setattr(pairs, "augment", lambda windows, rng: windows)


@pytest.mark.parametrize("square", [0, 12])
def test_a_draw_is_a_function_of_seed_and_step(square):
    one, two = sampler(square=square), sampler(square=square)
    later = one(7)
    one(1)
    assert same(later, two(7))
    assert not same(later, two(8))
    assert not same(later, sampler(seed=4, square=square)(7))


def test_shapes_and_types():
    for step in range(6):
        batch = sampler()(step)
        assert batch.low.shape == (5, 2, 14, 14)
        assert batch.rows.shape == batch.cols.shape == (5, 50)
        assert batch.base.shape == batch.target.shape == (5, 50, 2)
        assert batch.low.dtype == batch.base.dtype == batch.target.dtype == np.float32
        assert 1.0 <= batch.scale <= 4.0
        assert all(np.isfinite(v).all() for v in (batch.low, batch.base, batch.target))


@pytest.mark.parametrize("size", [(96, 90), (40, 200), (34, 34)])
def test_queries_keep_off_the_border_of_the_patch(size):
    for step in range(10):
        batch = sampler(scene(*size))(step)
        for position in (batch.rows, batch.cols):
            assert position.min() >= BORDER - 1e-9
            assert position.max() <= 14 - 1 - BORDER + 1e-9
    assert np.unique(batch.rows).size > 10


@pytest.mark.parametrize("jitter", [0.0, 0.08])
def test_ramp_of_the_scene_is_the_same_ramp_at_low_resolution(jitter):
    y, x = np.mgrid[:96, :90]
    image = np.stack([0.1 + 1e-3 * y - 2e-3 * x, 0.3 - 2e-3 * y + 5e-4 * x]).astype(np.float32)
    draw = sampler(TrainingScene("ramp", image), scale_range=(1.8, 4.0), mtf_jitter=jitter)
    for step in range(8):
        batch = draw(step)  # flipped, transposed, with a gain and an offset: still a ramp
        assert np.abs(batch.base - batch.target).max() <= 1e-4
        assert batch.target.std() > 1e-3


def test_constant_scene_stays_constant():
    image = np.full((2, 60, 60), 0.2, np.float32)
    batch = sampler(TrainingScene("flat", image))(0)
    assert np.abs(batch.base - batch.target).max() <= 1e-6


def test_nearly_an_identity_at_scale_one_with_a_sharp_sensor():
    y, x = np.mgrid[:96, :90]
    image = 0.2 + 0.05 * np.sin(2 * np.pi * y / 40) * np.cos(2 * np.pi * x / 50)
    smooth = TrainingScene("smooth", np.stack([image, image]).astype(np.float32))
    batch = sampler(smooth, scale_range=(1.0, 1.0), mtf=(0.8, 0.8), mtf_jitter=0.0)(0)
    assert np.abs(batch.base - batch.target).max() <= 4e-3
    coarse = sampler(smooth, scale_range=(4.0, 4.0), mtf=(0.1, 0.1), mtf_jitter=0.0)(0)
    assert np.abs(coarse.base - coarse.target).max() > 8e-3


def positions(batch, index):
    """High-resolution pixels of the queries of one patch, where the window starts at 0."""
    found = []
    for position in (batch.rows[index], batch.cols[index]):
        pixel = (position + 0.5) * batch.scale - 0.5
        assert np.abs(pixel - pixel.round()).max() < 1e-9  # patches begin at whole pixels
        found.append(pixel.round().astype(int))
    return found


@pytest.mark.parametrize("scale", [2.0, 3.4])
def test_targets_are_pixels_of_the_scene_and_low_is_its_blurred_image(plain, scale):
    extent = pairs.even(14 * scale)  # as large as a window, so that every window starts at the corner
    here = scene(extent, extent)
    batch = sampler(here, scale_range=(scale, scale), mtf_jitter=0.0)(0)
    for index in range(5):
        row, col = positions(batch, index)
        assert np.array_equal(batch.target[index], here.image[:, row, col].T)
        for band, mtf in enumerate(MTF):
            sigma = sigma_px(mtf, scale)
            for i, j in ((4, 7), (6, 5)):  # far enough from the border not to see its reflection
                weight = [
                    np.exp(-0.5 * ((np.arange(extent) - ((at + 0.5) * scale - 0.5)) / sigma) ** 2) for at in (i, j)
                ]
                wanted = weight[0] @ here.image[band].astype(float) @ weight[1] / weight[0].sum() / weight[1].sum()
                # The kernel of the sampler ends at four sigma.
                assert batch.low[index, band, i, j] == pytest.approx(wanted, abs=2e-5)


def test_target_is_nothing_where_the_scene_has_nothing(plain):
    here = scene(28, 28)
    hole = np.random.default_rng(1).random(here.image.shape) < 0.2
    here.image[hole] = np.nan
    batch = sampler(here, scale_range=(2.0, 2.0), queries=200)(0)
    assert np.isfinite(batch.low).all()
    assert np.isfinite(batch.base).all()
    for index in range(5):
        row, col = positions(batch, index)
        assert np.array_equal(np.isnan(batch.target[index]), hole[:, row, col].T)
    assert 0.1 < np.isnan(batch.target).mean() < 0.3


# --- squares -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "scale", "side"), [((96, 90), 4.0, 12), ((96, 90), 2.0, 10), ((40, 34), 2.7, 12)])
def test_squares_keep_off_the_border_of_the_patch_and_are_no_larger(size, scale, side):
    for step in range(10):
        batch = sampler(scene(*size), scale_range=(scale, scale), square=12)(step)
        rows, cols = (v.reshape(5, side, side) for v in (batch.rows, batch.cols))
        assert np.allclose(np.diff(rows, axis=1), 1 / scale)
        assert np.allclose(np.diff(cols, axis=2), 1 / scale)
        assert np.ptp(rows, axis=2).max() == np.ptp(cols, axis=1).max() == 0
        for position in (rows, cols):
            assert position.min() >= BORDER - 1e-9
            assert position.max() <= 14 - 1 - BORDER + 1e-9
        assert batch.target.shape == (5, side * side, 2)
        assert [v.shape for v in batch.sensor] == [(5, 2, 14, side)] * 2
    assert sampler()(0).sensor is None


@pytest.mark.parametrize("scale", [1.3, 2.0, 3.4])
def test_the_truth_on_a_square_degraded_again_is_the_patch(scale):
    batch = sampler(scale_range=(scale, scale), patch=22, square=48)(0)
    side = batch.sensor[0].shape[-1]
    truth = batch.target.swapaxes(1, 2).reshape(5, 2, side, side)
    rows, cols = batch.sensor
    inside = rows.any(-1)[..., :, None] & cols.any(-1)[..., None, :]
    assert inside[..., :4, :].sum() == inside[..., -4:, :].sum() == 0  # the square keeps off the border
    assert inside.sum(axis=(2, 3)).min() >= 36
    again = rows @ truth @ cols.swapaxes(-1, -2)
    np.testing.assert_allclose(again[inside], batch.low[inside], rtol=0, atol=1e-6)
    assert np.abs(rows.sum(-1)[rows.any(-1)] - 1).max() < 1e-6


def patch_sensor(scale, coarser, mtf=MTF):
    return PatchSensor(scale, np.array(mtf), coarser, np.zeros(2))


def test_a_coarser_band_is_observed_in_its_own_pixels():
    fine, twice = sampler(patch=14).operators(patch_sensor(2.0, (False, True)), 3, 48)
    own = sampler(patch=7).operators(patch_sensor(4.0, (False, False)), 3, 48)[1]
    assert np.array_equal(twice[:7], own)
    assert not twice[7:].any()
    assert 2 * twice.any(-1).sum() < fine.any(-1).sum()


def test_scenes_of_a_place_share_its_weight():
    one, two, three = scene(50, 50, "a"), scene(50, 50, "a"), scene(50, 50, "b", weight=3.0)
    probability = sampler(one, two, three)._probability()
    # a: 2 * 2500 / sqrt(5000), b: 3 * 2500 / sqrt(2500)
    wanted = np.array([1 / np.sqrt(2), 1 / np.sqrt(2), 3.0])
    assert probability == pytest.approx(wanted / wanted.sum())


def test_augment_turns_the_image_and_changes_gains():
    image = np.arange(2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4)
    image[0, 1, 2] = np.nan
    seen = set()
    for seed in range(40):
        (out,) = augment([image], np.random.default_rng(seed))
        assert out.shape == image.shape
        assert out.dtype == np.float32
        assert out.flags.c_contiguous
        where = tuple(int(n) for n in np.argwhere(np.isnan(out))[0])
        assert np.isnan(out).sum() == 1
        assert where[0] == 0
        seen.add(where[1:])
        ordered = np.sort(out[1].ravel())  # a gain and an offset: differences stay equal
        assert np.allclose(np.diff(ordered), np.diff(ordered)[0], rtol=1e-4)
    assert seen == {(1, 2), (1, 1), (2, 2), (2, 1)}  # flips and transposes of (1, 2) in a 4 x 4 image


def test_augment_treats_nested_windows_and_dates_alike():
    fine = np.random.default_rng(0).random((6, 8, 8), dtype=np.float32)  # three dates of two bands
    coarse = fine.reshape(6, 4, 2, 4, 2).mean(axis=(2, 4))
    for seed in range(20):
        one, twice = augment([fine, coarse], np.random.default_rng(seed), dates=3)
        np.testing.assert_allclose(one.reshape(6, 4, 2, 4, 2).mean(axis=(2, 4)), twice, atol=1e-6)
    (same_day,) = augment([np.tile(fine[:2], (3, 1, 1))], np.random.default_rng(1), dates=3)
    assert np.array_equal(same_day[:2], same_day[2:4])
    assert np.array_equal(same_day[:2], same_day[4:])


# --- windows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [(0, 0), (4, 6), (10, 2)])
def test_nested_windows_stay_nested_beyond_the_border(start):
    fine = np.random.default_rng(0).random((1, 16, 12), dtype=np.float32)
    coarse = fine.reshape(1, 8, 2, 6, 2).mean(axis=(2, 4))
    window, twice = cut(fine, start, 10, 6, 1), cut(coarse, start, 10, 6, 2)
    assert window.shape == (1, 22, 22)
    np.testing.assert_allclose(window.reshape(1, 11, 2, 11, 2).mean(axis=(2, 4)), twice, atol=1e-7)
    padded = np.pad(fine, ((0, 0), (32, 32), (32, 32)), mode="symmetric")
    wanted = padded[:, 26 + start[0] : 48 + start[0], 26 + start[1] : 48 + start[1]]
    assert np.array_equal(window, wanted)


def test_fill_leaves_missing_bands_missing():
    window = np.random.default_rng(0).random((3, 9, 9), dtype=np.float32)
    window[0] = np.nan
    window[1, 2:8, 2:8] = np.nan
    out = fill(window)
    assert np.isnan(out[0]).all()
    assert np.isfinite(out[1:]).all()
    assert np.array_equal(out[2], window[2])
    assert np.array_equal(out[1][np.isfinite(window[1])], window[1][np.isfinite(window[1])])


@pytest.mark.slow
@pytest.mark.parametrize("resampled", [0.0, 1.0])
@pytest.mark.parametrize("nest", [False, True])
def test_every_weight_lies_inside_its_window(monkeypatch, nest, resampled):
    """Beyond it a window would be mirrored where the scene goes on."""
    count = 0

    def checked(images, band, *, rows, cols, origin, shift, **options):
        nonlocal count
        axes = zip((rows, cols), (band.y, band.x), origin, images.shape[1:], shift, strict=True)
        for span, stages, first, size, by in axes:
            assert psf.sample_chain(span.start, len(span), stages, shift=by).moved(-first).matrix(size)[1].all()
        count += 1
        return observe(images, band, rows=rows, cols=cols, origin=origin, shift=shift, **options)

    monkeypatch.setattr(level1c, "observe", checked)
    for mtf in ((0.05, 0.2), (0.3, 0.25), (0.8, 0.7)):
        for edge in (1.0, 1.0001, 2.5, 4.0):
            here = twofold() if nest else scene(40, 90)
            draw = sampler(here, mtf=mtf, scale_range=(edge, edge), coarser=(False, True), level=0.2)
            for step in range(8):
                draw(step)
    assert count > 500


# --- bands whose native pixel is twice as large ------------------------------------------------------------


def keys(distance):
    d = np.abs(distance)
    return np.where(d <= 1, 1.5 * d**3 - 2.5 * d**2 + 1, np.where(d < 2, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2, 0))


def twofold(height=96, width=90, seed=0):
    """Scene of which the second band is known on the nested grid of larger pixels alone."""
    rng = np.random.default_rng(seed)
    image = 0.1 + 0.05 * rng.standard_normal((2, height, width))
    image[1] = np.nan
    coarse = np.full((2, height // 2, width // 2), np.nan)
    coarse[1] = 0.1 + 0.05 * rng.standard_normal((height // 2, width // 2))
    return TrainingScene("nested", image.astype(np.float32), coarse=coarse.astype(np.float32))


def imitate(image, ratio, scale, shift, patch, mtf):
    """A band as seen by a pixel of ``2 * scale``, brought to the grid of ``scale`` by bicubic interpolation.

    Everything is written in fine pixels; ``ratio`` is the size of a pixel of ``image`` in them.
    """
    extent = image.shape[0]
    centre_of = (np.arange(extent) + 0.5) * ratio - 0.5
    sigma = sigma_px(mtf, 2 * scale)
    out = image.astype(float)
    for axis in (0, 1):
        larger = np.arange(-2, patch // 2 + 2)  # pixels of 2 * scale, two of them beyond the patch
        at = (larger + 0.5) * 2 * scale - 0.5 + shift
        blur = np.exp(-0.5 * ((centre_of - at[:, None]) / sigma) ** 2)
        blur /= blur.sum(axis=1, keepdims=True)
        position = (np.arange(patch) + 0.5) / 2 - 0.5
        cubic = keys(position[:, None] - larger)
        out = np.moveaxis(np.tensordot(cubic @ blur, out, axes=(1, axis)), 0, axis)
    return out


@pytest.mark.parametrize("nest", [False, True])
@pytest.mark.parametrize("scale", [2.0, 3.3])
def test_a_coarser_band_is_seen_by_a_larger_pixel_and_interpolated(plain, scale, nest):
    extent = pairs.even(14 * scale)  # as large as a window, so that every window starts at the corner
    here = twofold(extent, extent) if nest else scene(extent, extent)
    draw = sampler(here, scale_range=(scale, scale), mtf_jitter=0.0, coarser=(False, True), level=0.0, batch=3)
    batch = draw(0)
    source, ratio = (here.coarse[1], 2) if nest else (here.image[1], 1)
    for index in range(3):
        row, col = positions(batch, index)
        # Mirrored about its edge as far as the pixels reach.
        wide = np.pad(source, 40, mode="symmetric")
        shift = 40 * ratio
        wanted = imitate(wide, ratio, scale, shift, 14, MTF[1])
        np.testing.assert_allclose(batch.low[index, 1], wanted, rtol=0, atol=5e-5)  # the kernel ends at four sigma
        assert np.array_equal(batch.target[index][:, 0], here.image[0, row, col])
        if nest:
            assert np.isnan(batch.target[index][:, 1]).all()
        else:
            assert np.array_equal(batch.target[index][:, 1], here.image[1, row, col])


def test_some_batches_have_every_band_at_the_pixel_of_the_grid():
    for level, wanted in ((0.0, 0.0), (1.0, 1.0), (0.25, 0.25)):
        draw = sampler(twofold(), coarser=(False, True), level=level, batch=1, queries=2)
        # On the grid of 10 m nobody knows the band: it is missing there, and there alone.
        missing = [bool(np.isnan(draw(step).low[:, 1]).all()) for step in range(60)]
        assert np.mean(missing) == pytest.approx(wanted, abs=0.15)
        assert np.isfinite(draw(3).low[:, 0]).all()


def test_a_band_that_a_scene_lacks_is_nan_in_all_it_gives():
    lacking = scene()
    lacking.image[1] = np.nan
    for coarser in ((), (False, True)):
        batch = sampler(lacking, coarser=coarser, level=0.0)(0)
        for part in (batch.low[:, 1], batch.base[..., 1], batch.target[..., 1]):
            assert np.isnan(part).all()
        assert np.isfinite(batch.low[:, 0]).all()
        assert np.isfinite(batch.base[..., 0]).all()


# --- noise -------------------------------------------------------------------------------------------------


def test_half_the_batches_are_noisy_by_up_to_twice_as_much():
    flat = TrainingScene("flat", np.full((2, 60, 60), 0.2, np.float32))
    draw = sampler(flat, noise=(0.01, 0.03), scale_range=(1.5, 1.5))
    levels = np.array([draw(step).low.std(axis=(2, 3)).mean(axis=0) for step in range(80)])
    noisy = levels[:, 0] > 1e-5
    assert 0.3 < noisy.mean() < 0.7
    assert np.abs(levels[~noisy]).max() < 1e-6
    assert levels[noisy][:, 0].max() < 0.021
    assert levels[noisy][:, 0].mean() == pytest.approx(0.01, rel=0.35)
    assert (levels[noisy][:, 1] / levels[noisy][:, 0]).mean() == pytest.approx(3, rel=0.1)
    noise = draw(int(np.flatnonzero(noisy)[0])).low
    assert abs(np.corrcoef(noise[0, 0].ravel(), noise[0, 1].ravel())[0, 1]) < 0.3
    assert same(draw(5), sampler(flat, noise=(0.01, 0.03), scale_range=(1.5, 1.5))(5))


def test_noise_is_not_in_the_target():
    flat = TrainingScene("flat", np.full((2, 60, 60), 0.2, np.float32))
    draw = sampler(flat, noise=(0.02, 0.02))
    for step in range(10):
        assert np.ptp(draw(step).target, axis=1).max() < 1e-6


# --- self-similar pairs, softened scenes --------------------------------------------------------------------


def test_a_self_similar_pair_is_blurred_by_what_the_fine_image_lacks(plain):
    """The low-resolution patch is the fine image under the effective blur, which is narrower than the whole one."""
    for similar, blur in ((True, psf.effective(0.25, 2.0, 0.25)), (False, psf.gaussian(0.25, 2.0))):
        sensor = PatchSensor(2.0, np.array([0.25]), (False,), np.array([0.0]), similar)
        (stage,) = sensor.band(0).y
        assert stage.psf == blur
    sharp, soft = (
        sampler(similar=similar, mtf_jitter=0.0, scale_range=(2.0, 2.0))(4).low.std() for similar in (True, False)
    )
    assert sharp > 1.1 * soft


@pytest.mark.parametrize("own", [1, 2])
def test_a_self_similar_pair_exists_at_every_scale(own):
    sensor = PatchSensor(1.0 + 1e-6, np.array([0.25]), (own == 2,), np.array([0.0]), True)
    sensor.band(0).check()
    assert PatchSensor(1.0 + 1e-6, np.array([0.25, 0.3]), (False,) * 2, np.zeros(2), True).repeated(3).similar


def test_a_softened_scene_has_the_response_of_its_sensor_once_more():
    wave = np.tile((-1.0) ** np.arange(40), (40, 1)).astype(np.float32)  # one cycle in two pixels
    image = np.stack([wave, wave])
    image[1, 3, 5] = np.nan
    out = pairs.softened(image, MTF, 1.0)
    inner = np.s_[:, 12:-12, 12:-12]
    for band, mtf in enumerate(MTF):
        np.testing.assert_allclose(out[band][12:-12, 12:-12], mtf * image[band][12:-12, 12:-12], atol=1e-4)
    half = pairs.softened(image, MTF, 0.5)[inner]
    np.testing.assert_allclose(half[0], MTF[0] ** 0.25 * image[inner][0], atol=1e-4)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(image))


def test_scenes_are_softened_only_where_a_recipe_says_so():
    assert same(sampler()(3), sampler(soften=0.0)(3))
    assert not same(sampler()(3), sampler(soften=1.0)(3))
    assert np.isfinite(sampler(soften=1.0)(3).low).all()
