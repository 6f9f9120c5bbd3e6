"""Quantiles at target times: what is expected depends on how far the nearest clear date is."""

from dataclasses import replace

import dask
import numpy as np
import pytest
import torch
from models.helpers import write_temporal
from safetensors.torch import save_file

from xsr.core.errors import ModelError
from xsr.core.target_times import TargetTime
from xsr.kernels import spread
from xsr.kernels.temporal import DaysAway
from xsr.models import registry
from xsr.models.architectures.error_size import Spread
from xsr.models.card import file_sha256, read_card, write_card
from xsr.operations.super_resolve.continuous import liif
from xsr.operations.super_resolve.points import sample
from xsr.testing import assert_lazy, synthetic_cube

SIZE, FEATURES = 0.1, spread.COUNT + 1
"""Expected error on a clear date, in standard deviations of a band; features of a pixel at a target time."""
T = ("2024-05-01", "2024-05-05")


def write_errors(folder, path, *, features=FEATURES):
    """Write a model by which the expected error is `SIZE` times one more than the days to the nearest clear date."""
    card = read_card(path)
    bands = len(card.bands)
    network = Spread(channels=features * bands, bands=bands, width=2)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.zero_()
        network.first.weight[0, features - 2] = 1
        network.second.weight[0, 0] = network.last.weight[0, 0] = 1
        network.last.bias.fill_(float(np.log(SIZE)))
    errors = folder / f"{path.stem}_intervals.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, errors)
    shares = [0.0, 0.5, 1.0]
    row = {
        "scale": [1.0, 6.0],
        "share": shares,
        "ratio": [[[2 * share for share in shares]] * 2] * bands,
        "expected": [[1e-6, 1.0]] * bands,
        "least": [[-50.0] * (features - 1)] * bands,
        "greatest": [[50.0] * (features - 1)] * bands,
    }
    stated = replace(
        card,
        name=errors.stem,
        architecture="error_size",
        config={"channels": features * bands, "bands": bands, "width": 2},
        reads="result",
        factor=1,
        residual=False,
        sha256=file_sha256(errors),
        parameters=sum(tensor.numel() for tensor in network.parameters()),
        radius=0,
        calibration=[row],
    )
    write_card(stated, errors)
    write_card(replace(card, sharpness="ideal", intervals=errors.stem), path)


@pytest.fixture
def model(tmp_path, monkeypatch):
    path = write_temporal(tmp_path)
    write_errors(tmp_path, path)
    monkeypatch.setattr(registry, "folders", lambda: (tmp_path,))
    return path


@pytest.fixture(scope="module")
def cube():
    """Three dates; the left half of the second, 2024-05-01, lies under clouds."""
    dates = ("2024-04-21", "2024-05-01", "2024-05-07")
    made = synthetic_cube(size=(24, 44), times=dates).drop_vars(["shift_y_m", "shift_x_m"])
    made[1, :, :, :22] = np.nan
    return made


def half_width(made):
    return (made.sel(quantile=0.75) - made.sel(quantile=0.5)).values


def test_intervals_say_how_far_the_nearest_clear_date_is(cube, model):
    """On the 1st the right half is clear, the left 6 days from the 7th; on the 5th both are two days from it."""
    found = liif(cube, scale=2, t=T, model=model, quantiles=(0.25, 0.5, 0.75))
    std = np.array(registry.card(model).image.std)[:, None, None]
    assert found.dims == ("quantile", "time", "band", "y", "x")
    expected = np.empty((2, 1, 48, 88))
    expected[0, ..., :44], expected[0, ..., 44:], expected[1] = 7, 1, 3
    np.testing.assert_allclose(half_width(found), (SIZE * std * expected), rtol=2e-3, atol=2e-7)
    plain = liif(cube, scale=2, t=T, model=model)
    np.testing.assert_allclose(found.sel(quantile=0.5).values, plain.values, atol=1e-6)
    np.testing.assert_array_equal(found["n_valid"], plain["n_valid"])
    assert found.attrs["xsr_intervals"] == "timely_intervals"


def test_target_times_are_lazy_and_no_chunk_changes_them(cube, model):
    whole = liif(cube, scale=2, t=T, model=model, quantiles=(0.25, 0.5, 0.75))
    lazy = cube.chunk(y=10, x=16)
    with assert_lazy(lazy):
        found = liif(lazy, scale=2, t=T, model=model, quantiles=(0.25, 0.5, 0.75), chunks=(20, 37))
    assert dask.is_dask_collection(found.data)
    np.testing.assert_allclose(found.values, whole.values, atol=3e-6)


def test_a_part_of_the_grid_and_points_have_the_quantiles_of_the_whole(cube, model):
    from xsr.core.cube import open_cube

    whole = liif(cube, scale=2, t=T, model=model, quantiles=(0.25, 0.5, 0.75))
    box = open_cube(whole.isel(quantile=0)).geobox[10:40, 20:80]
    found = liif(cube, like=box, t=T, model=model, quantiles=(0.25, 0.5, 0.75))
    part = whole.isel(y=slice(10, 40), x=slice(20, 80))
    np.testing.assert_allclose(found.values, part.values, atol=1e-6)
    at = {"x": part.x.values[[3, 50, 7]], "y": part.y.values[[2, 9, 20]]}
    points = sample(cube, **at, scale=2, t=T, model=model, quantiles=(0.25, 0.5, 0.75))
    expected = part.values[..., [2, 9, 20], [3, 50, 7]]
    np.testing.assert_allclose(points.values, expected, atol=1e-6)


def test_no_target_time_no_quantiles_of_such_a_model(cube, tmp_path, monkeypatch):
    """Errors of dates by themselves say nothing of target times."""
    path = write_temporal(tmp_path)
    write_errors(tmp_path, path, features=spread.COUNT)
    monkeypatch.setattr(registry, "folders", lambda: (tmp_path,))
    with pytest.raises(
        ModelError, match=r"quantiles with t=\.\.\.; the errors of model 'timely' were measured date by"
    ):
        liif(cube, scale=2, t=T, model=path, quantiles=0.9)


def test_a_model_whose_errors_in_time_were_not_measured_is_refused(cube, tmp_path):
    with pytest.raises(ModelError, match="the errors of model 'timely' were never measured"):
        liif(cube, scale=2, t=T, model=write_temporal(tmp_path), quantiles=0.9)


def test_days_to_the_nearest_clear_date_by_hand():
    window = np.ones((3, 2, 1, 3), np.float32)
    window[1, 0, 0, 0] = np.nan  # one band is enough to hide a date
    window[:, 0, 0, 2] = np.nan
    target = TargetTime(10.0, 10.0, (0, 1, 2), (4.0, 9.0, 13.0), (4.0, 9.0, 13.0))
    found = DaysAway((target,))(window, np.zeros(1), np.arange(3.0), (1.0, 1.0))
    np.testing.assert_array_equal(found, np.array([3, 1, np.nan], np.float32).reshape(1, 1, 1, 3))


def test_days_are_a_feature_before_the_scale():
    size = 2 * spread.MARGIN + 1
    fine = np.random.default_rng(0).random((size, size), np.float32)
    days = np.full((size, size), 9, np.float32)
    plain, timed = spread.features(fine, fine, 2.0), spread.features(fine, fine, 2.0, days=days)
    np.testing.assert_array_equal(timed[: spread.COUNT - 1], plain[:-1])
    assert timed[-2, 0, 0] == pytest.approx(np.log(10))
    assert timed[-1, 0, 0] == plain[-1, 0, 0]


def test_packaged_intervals_widen_with_the_days(cube):
    """The left half of the first date is 6 days from a clear date, the right half is clear."""
    found = liif(cube, scale=2, t=T[0], quantiles=(0.25, 0.5, 0.75))
    errors = registry.card("temporal_liif_s2_intervals")
    assert errors.training["of_sha256"] == registry.card("temporal_liif_s2").sha256
    assert not set(errors.training["places"]) & set(errors.training["calibration places"])
    width = half_width(found)
    assert np.median(width[..., 8:36]) > 1.2 * np.median(width[..., 52:80])
