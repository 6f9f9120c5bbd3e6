import numpy as np
import pytest

from xsr.core.sensors import sigma_px
from xsr.training import pairs
from xsr.training.pairs import BORDER, Batch, WaldSampler, augment
from xsr.training.scenes import TrainingScene

MTF = (0.3, 0.25)


def scene(height=96, width=90, place="here", seed=0, weight=1.0):
    rng = np.random.default_rng(seed)
    image = 0.1 + 0.05 * rng.standard_normal((2, height, width))
    return TrainingScene(place, image.astype(np.float32), weight)


def sampler(*scenes, **changes):
    settings = dict(mtf=MTF, scale_range=(1.0, 4.0), patch=14, queries=50, batch=5, mtf_jitter=0.08, seed=3)
    return WaldSampler(scenes=scenes or (scene(),), **{**settings, **changes})


def same(one: Batch, two: Batch):
    names = ("low", "rows", "cols", "base", "target")
    return one.scale == two.scale and all(getattr(one, n).tobytes() == getattr(two, n).tobytes() for n in names)


@pytest.fixture
def plain(monkeypatch):
    """No flips and gains, so that pixels can be found again."""
    monkeypatch.setattr(pairs, "augment", lambda window, rng: window)


def test_a_draw_is_a_function_of_seed_and_step():
    one, two = sampler(), sampler()
    later = one(7)
    one(1)
    assert same(later, two(7))
    assert not same(later, two(8))
    assert not same(later, sampler(seed=4)(7))


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
    """High-resolution pixels of the queries of one patch, and the phase of the patch, where the window starts at 0."""
    found = []
    for position in (batch.rows[index], batch.cols[index]):
        unshifted = (position + 0.5) * batch.scale - 0.5
        pixel = np.ceil(unshifted - 1e-9).astype(int)
        phase = pixel - unshifted
        assert np.ptp(phase) < 1e-9
        found.append((pixel, float(phase[0])))
    return found


@pytest.mark.parametrize("scale", [2.0, 3.4])
def test_targets_are_pixels_of_the_scene_and_low_is_its_blurred_image(plain, scale):
    extent = int(np.ceil(14 * scale)) + 1  # as large as a window, so that every window starts at the corner
    here = scene(extent, extent)
    batch = sampler(here, scale_range=(scale, scale), mtf_jitter=0.0)(0)
    for index in range(5):
        (row, phase_y), (col, phase_x) = positions(batch, index)
        assert np.array_equal(batch.target[index], here.image[:, row, col].T)
        for band, mtf in enumerate(MTF):
            sigma = sigma_px(mtf, scale)
            for i, j in ((4, 7), (6, 5)):  # far enough from the border not to see its reflection
                weight = [
                    np.exp(-0.5 * ((np.arange(extent) - ((at + 0.5) * scale - 0.5 + phase)) / sigma) ** 2)
                    for at, phase in ((i, phase_y), (j, phase_x))
                ]
                wanted = weight[0] @ here.image[band].astype(float) @ weight[1] / weight[0].sum() / weight[1].sum()
                # The kernel of the sampler ends at four sigma.
                assert batch.low[index, band, i, j] == pytest.approx(wanted, abs=2e-5)


def test_phases_are_sub_pixel_and_vary(plain):
    extent = 29
    batch = sampler(scene(extent, extent), scale_range=(2.0, 2.0))(0)
    phases = np.array([[phase for _, phase in positions(batch, i)] for i in range(5)])
    assert ((phases >= 0) & (phases < 1)).all()
    assert np.unique(phases.round(6)).size == 10


def test_target_is_nothing_where_the_scene_has_nothing(plain):
    here = scene(29, 29)
    hole = np.random.default_rng(1).random(here.image.shape) < 0.2
    here.image[hole] = np.nan
    batch = sampler(here, scale_range=(2.0, 2.0), queries=200)(0)
    assert np.isfinite(batch.low).all()
    assert np.isfinite(batch.base).all()
    for index in range(5):
        (row, _), (col, _) = positions(batch, index)
        assert np.array_equal(np.isnan(batch.target[index]), hole[:, row, col].T)
    assert 0.1 < np.isnan(batch.target).mean() < 0.3


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
        out = augment(image, np.random.default_rng(seed))
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
