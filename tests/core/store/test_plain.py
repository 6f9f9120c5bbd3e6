import datetime
import warnings
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from affine import Affine
from helpers import make_cube, make_dataset

from xsr.core.errors import StoreError, XsrWarning
from xsr.core.store.plain import NotPlainError, as_json, plain
from xsr.operations.interpolate import interpolate
from xsr.operations.store import to_zarr


class Spec:
    pass


def scalar(value):
    held = np.empty((), object)
    held[()] = value
    return xr.Variable((), held)


def said(job):
    """Warnings of ours while something is done."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        job()
    return [str(warning.message) for warning in caught if warning.category is XsrWarning]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        (None, None),
        (True, True),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([1, 2]), [1, 2]),
        (np.array(["2024-06-01"], "datetime64[D]"), ["2024-06-01"]),
        (np.datetime64("2024-06-01"), "2024-06-01"),
        (datetime.datetime(2024, 6, 1, 10), "2024-06-01T10:00:00"),
        (Affine(10, 0, 1, 0, -10, 2), [10, 0, 1, 0, -10, 2]),
        (Path("a/b"), "a/b"),
        ((1, (2.5, None)), [1, [2.5, None]]),
        ({"a": np.float32(0.5), "b": (np.int8(1),)}, {"a": 0.5, "b": [1]}),
    ],
)
def test_what_json_can_say_is_kept(value, expected):
    assert as_json(value) == expected
    assert type(as_json(value)) is type(expected)


@pytest.mark.parametrize("value", [Spec(), 1j, {1, 2}, b"x", [Spec()], {"a": Spec()}, {1: "a"}, lambda: 0])
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises(NotPlainError):
        as_json(value)


@pytest.mark.slow
def test_what_cannot_be_stored_is_left_out_and_each_is_named(tmp_path):
    cube = make_cube((2, 6, 8)).assign_attrs(spec_of_me=Spec(), author="me", size=(1, 2))
    cube = cube.assign_coords({"odd": scalar(Spec()), "raster:bands": scalar({"scale": 1e-4}), "gain": scalar([1, 2])})
    cube["band"].attrs["maker"] = Spec()
    (message,) = said(lambda: to_zarr(interpolate(cube, scale=2), tmp_path / "a.zarr", progress=False))
    for part in ("attribute 'spec_of_me' (Spec)", "coordinate 'odd' (Spec)", "attribute 'maker' of 'band' (Spec)"):
        assert part in message
    stored = xr.open_zarr(tmp_path / "a.zarr")
    assert stored.attrs["author"] == "me"
    assert stored.attrs["size"] == [1, 2]
    assert stored["raster:bands"].item() == '{"scale": 0.0001}'
    assert stored["gain"].item() == "[1, 2]"
    assert not {"odd", "spec_of_me"} & {*stored.coords, *stored.attrs}


def test_objects_along_dimensions_become_text_and_text_stays(tmp_path):
    held = np.array([{"scale": 1}, None, "as it was"], object)
    cube = make_cube((3, 6, 8)).assign_coords(bands=("band", held), name=("band", np.array(["a", None, "c"], object)))
    to_zarr(cube, tmp_path / "a.zarr", progress=False)
    stored = xr.open_zarr(tmp_path / "a.zarr")
    assert stored["bands"].values.tolist() == ['{"scale": 1}', "", "as it was"]
    assert stored["name"].values.tolist() == ["a", "", "c"]


def test_variables_beside_the_bands_are_treated_alike(tmp_path):
    dataset = make_dataset((2, 6, 8)).assign(about=scalar({"a": 1}), lost=scalar(Spec()))
    (message,) = said(lambda: to_zarr(dataset, tmp_path / "a.zarr", progress=False))
    assert message.startswith("Zarr cannot hold 'lost' (Spec): left out")
    assert xr.open_zarr(tmp_path / "a.zarr")["about"].item() == '{"a": 1}'


def test_the_input_is_left_alone_and_nothing_is_computed():
    lazy = da.from_array(np.zeros(3), chunks=1)
    dataset = xr.Dataset(
        {"v": ("x", lazy)}, coords={"o": scalar({"a": 1})}, attrs={"t": (1, 2), "a": Affine.identity()}
    )
    out = plain(dataset)
    assert dataset.attrs == {"t": (1, 2), "a": Affine.identity()}
    assert dataset["o"].item() == {"a": 1}
    assert out["v"].data is lazy
    assert out.attrs == {"t": [1, 2], "a": [1, 0, 0, 0, 1, 0]}


def test_a_plain_cube_passes_in_silence_and_can_be_resumed(tmp_path):
    cube = interpolate(make_cube((2, 6, 8)).assign_coords(o=scalar({"a": 1})), scale=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", XsrWarning)
        to_zarr(cube, tmp_path / "a.zarr", progress=False)
        assert to_zarr(cube, tmp_path / "a.zarr", resume=True, progress=False).computed == 0


def test_the_levels_of_a_multi_index_are_stored(tmp_path):
    pairs = pd.MultiIndex.from_tuples([("S2A", "B02"), ("S2A", "B03")], names=("platform", "name"))
    cube = make_cube((2, 6, 8)).assign_coords(xr.Coordinates.from_pandas_multiindex(pairs, "band"))
    to_zarr(cube, tmp_path / "a.zarr", progress=False)
    stored = xr.open_zarr(tmp_path / "a.zarr")
    assert stored["platform"].values.tolist() == ["S2A", "S2A"]
    assert stored["name"].values.tolist() == ["B02", "B03"]


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="this machine has no longer double")
def test_a_type_that_zarr_does_not_know_is_named_and_no_blocks_are_promised(tmp_path):
    cube = make_cube((2, 6, 8)).assign_coords(gain=("band", np.ones(2, np.longdouble)))
    with pytest.raises(StoreError, match=r"'gain' of type float128 cannot be written.*No block was written") as error:
        to_zarr(cube, tmp_path / "a.zarr", progress=False)
    assert "safe" not in str(error.value)
    to_zarr(cube.drop_vars("gain"), tmp_path / "a.zarr", progress=False)
