import numpy as np

from xsr.kernels.planes import levels, mean_of_bands, moments, planes


def test_planes_by_hand():
    bands = np.stack([np.full((2, 3), 1.0), np.full((2, 3), -2.0)]).astype(np.float32)
    made = planes(bands, np.array([0.375, np.nan]), np.array([0.1, np.nan]))
    assert made.shape == (2, 4, 2, 3)
    assert made[:, :, 0, 0].round(6).tolist() == [[1.0, -0.5, 1.0, 1.0], [-2.0, -0.5, -0.25, -1.0]]
    assert (made == made[:, :, :1, :1]).all()


def test_what_a_plane_cannot_say_is_said_as_the_nearest():
    made = planes(np.zeros((2, 1, 1), np.float32), np.array([0.9, 0.001]), np.array([5.0, 0.0]))
    assert made[:, 2:, 0, 0].round(6).tolist() == [[3.25, 2.0], [-2.25, -1.0]]


def test_the_mean_is_the_same_in_any_order_to_the_last_bit():
    rng = np.random.default_rng(0)
    bands = (rng.standard_normal((9, 40, 40)) * 10.0 ** rng.integers(-6, 6, (9, 1, 1))).astype(np.float32)
    mean = mean_of_bands(bands)
    for _ in range(5):
        np.testing.assert_array_equal(mean_of_bands(bands[rng.permutation(9)]), mean)
    np.testing.assert_allclose(mean, bands.astype(np.float64).mean(axis=0), rtol=1e-5)


def test_levels_are_medians_of_windows_with_data():
    means = np.array([[1.0, np.nan], [2.0, np.nan], [90.0, np.nan], [np.nan, np.nan]])
    mean, std = levels(means, np.array([[4.0, np.nan], [9.0, np.nan], [16.0, np.nan], [np.nan, np.nan]]))
    assert (mean.tolist(), std.tolist()) == ([2.0, 0.0], [3.0, 0.0])


def test_moments_of_what_is_known():
    assert moments(np.array([[1.0, np.nan], [3.0, np.inf]])) == (2.0, 1.0)
    assert np.isnan(moments(np.full((2, 2), np.nan))).all()
