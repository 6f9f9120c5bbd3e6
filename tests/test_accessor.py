import inspect

import numpy as np
import pytest
import xarray as xr
from models.helpers import make_cube, write_model

import xsr
from xsr.accessor import SuperResolution
from xsr.testing import assert_same_grid

METHODS = tuple(name for name in vars(SuperResolution) if not name.startswith("_"))
TWINS = tuple(name for name in METHODS if name != "semi_simulate")  # it serves the image and the series alike


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def test_methods_are_the_functions_of_the_package():
    judging = {"brisque", "evaluate", "opensr", "spectrum", "strata"}
    assert set(METHODS) >= {"degrade", "interpolate", "liif", "sample", "semi_simulate", "to_zarr", "wald", *judging}
    assert set(METHODS) <= set(xsr.__all__)


@pytest.mark.parametrize("name", TWINS)
def test_signature_is_that_of_the_function(name):
    method = list(inspect.signature(getattr(SuperResolution, name)).parameters.values())[1:]
    function = list(inspect.signature(getattr(xsr, name)).parameters.values())[1:]
    assert [(p.name, p.kind, p.default) for p in method] == [(p.name, p.kind, p.default) for p in function]


@pytest.mark.parametrize("name", TWINS)
def test_every_argument_is_passed_on(name, monkeypatch):
    told = []
    # Where the method finds the function: in its module, or in the package that offers it.
    monkeypatch.setattr(f"{xsr._LAZY[name]}.{name}", lambda *args, **kwargs: told.append((args, kwargs)))
    parameters = list(inspect.signature(getattr(SuperResolution, name)).parameters.values())[1:]
    marks = {p.name: object() for p in parameters}
    leading = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    cube = make_cube(4, 4)
    getattr(cube.sr, name)(*(marks[n] for n in leading), **{n: m for n, m in marks.items() if n not in leading})
    ((args, kwargs),) = told
    assert args[0] is cube
    assert dict(zip(leading, args[1:], strict=True)) | kwargs == marks


@pytest.mark.slow
@pytest.mark.parametrize("container", ["DataArray", "Dataset"])
def test_accessor_equals_the_function(model, tmp_path, container):
    cube = make_cube(9, 8, chunks=5)
    cube = cube if container == "DataArray" else cube.to_dataset("band")
    x, y = [600_012.0, 600_055.0], [5_699_977.0, 5_699_960.0]
    xr.testing.assert_identical(cube.sr.interpolate(scale=3.4), xsr.interpolate(cube, scale=3.4))
    xr.testing.assert_identical(cube.sr.liif(scale=3.4, model=model), xsr.liif(cube, scale=3.4, model=model))
    xr.testing.assert_identical(cube.sr.sample(x=x, y=y, model=model), xsr.sample(cube, x=x, y=y, model=model))
    one = cube.sr.to_zarr(tmp_path / "a.zarr", progress=False)
    two = xsr.to_zarr(cube, tmp_path / "b.zarr", progress=False)
    assert (one.blocks, one.valid, one.clipped) == (two.blocks, two.valid, two.clipped)
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "a.zarr"), xr.open_zarr(tmp_path / "b.zarr"))


def test_accessor_keeps_no_state(model):
    cube = make_cube(8, 8)
    before = cube.copy(deep=True)
    accessor = cube.sr
    assert list(vars(accessor)) == ["_obj"]
    first = accessor.liif(scale=2.0, model=model)
    accessor.interpolate(scale=3.0)
    second = accessor.liif(scale=2.0, model=model)
    assert list(vars(accessor)) == ["_obj"]
    xr.testing.assert_identical(first, second)
    xr.testing.assert_identical(cube, before)


def test_results_have_the_accessor_again(model):
    fine = make_cube(6, 6).sr.liif(scale=2.0, model=model).sr.interpolate(scale=1.7)
    assert fine.shape == (1, 4, 20, 20)
    assert_same_grid(fine, fine.sel(band="B02"))
    assert np.isfinite(fine.values).all()


def test_names_of_the_package():
    assert dir(xsr) == sorted(xsr.__all__)
    with pytest.raises(AttributeError, match="no attribute 'sharpen'"):
        _ = xsr.sharpen


def test_semi_simulate_starts_from_the_image_or_from_the_series():
    high = make_cube(16, 16)
    series = xr.concat([xsr.degrade(high, scale=2)] * 3, dim="time", join="exact")
    series = series.assign_coords(time=np.array(["2024-01-01", "2024-02-01", "2024-03-01"], "datetime64[ns]"))
    from_series = series.sr.semi_simulate(high, scale=2, seed=4)
    xr.testing.assert_identical(from_series, high.sr.semi_simulate(scale=2, series=series, seed=4))
    assert from_series.sizes["time"] == 3
    assert high.sr.semi_simulate(scale=2, frames=2).sizes["time"] == 2
