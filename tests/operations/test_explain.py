"""`explain`: complete, equal to differences of the whole result, on the right date and band, and local."""

import threading

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from models.helpers import make_cube, write_fixed, write_model, write_temporal
from operations.test_dates import BANDS as READ
from operations.test_dates import write_reading
from scipy.ndimage import gaussian_filter

import xsr
from xsr.core.errors import BandError, CubeError, ModelError, ParameterError, XsrError
from xsr.models.card import file_sha256

DATES = ("2024-06-01", "2024-06-06", "2024-06-11")
WINDOW = 3
DELTA = 0.005
"""Half of the part of the path over which the whole result is differentiated."""
KINDS = ("liif", "fixed", "residual", "temporal", "reading", "reading dates")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    reading = write_reading(folder)
    return {
        "liif": write_model(folder),
        "fixed": write_fixed(folder),
        "residual": write_fixed(folder, name="added", residual=True),
        "temporal": write_temporal(folder),
        "reading": reading,
        "reading dates": reading,
        "zero": write_model(folder, name="zero", zero=True),
        "zero temporal": write_temporal(tmp_path_factory.mktemp("zero"), zero=True),
        "zero reading dates": write_reading(tmp_path_factory.mktemp("zero"), zero=True),
    }


def case(models, kind, *, size=(18, 17)):
    """Cube, and what `liif` or `sisr` and `explain` take, of a kind of model."""
    bands = {"bands": READ} if "reading" in kind else {}
    several = kind.endswith(("temporal", "dates"))
    cube = make_cube(*size, dates=3 if several else 1, **bands)
    options = {"model": models[kind]}
    if kind not in ("fixed", "residual"):
        options["scale"] = 2.5
    if several:
        options["t"] = "2024-06-07"
    if kind.endswith("dates"):
        options["fill"] = False
        cube = cube.assign_coords(shift_x_m=("time", [0.0, 3.0, -4.0]), shift_y_m=("time", [0.0, -2.0, 1.0]))
    return cube, options


def place(cube, row, col):
    """Map coordinates of the centre of a pixel."""
    return {"x": float(cube.x[col]), "y": float(cube.y[row])}


def detail(cube, options, row, col):
    """Detail around a pixel, from the result of the whole cube."""
    whole = xsr.liif if "scale" in options else xsr.sisr
    fine = whole(cube, precision="float32", **options)
    reach = WINDOW // 2
    i, j = (int(np.floor((at + 0.5) * options.get("scale", 2))) for at in (row, col))
    values = fine.values[0].astype(np.float64)
    down = (values[:, i - reach + 1 : i + reach + 2] - values[:, i - reach - 1 : i + reach])[
        ..., j - reach : j + reach + 1
    ]
    right = values[:, i - reach : i + reach + 1]
    right = right[..., j - reach + 1 : j + reach + 2] - right[..., j - reach - 1 : j + reach]
    return float(np.hypot(down / 2, right / 2).sum())


def blurred(cube, place_on_path):
    sigma = 1.2 * (1 - place_on_path)
    if sigma == 0:
        return cube.values
    return gaussian_filter(cube.values.astype(np.float64), sigma, mode="mirror", axes=(2, 3), radius=5)


def by_differences(cube, options, group, steps, at):
    """Attribution of the pixels of a group: by how much it changes the detail of the whole result along the path."""
    slopes = []
    for middle in (np.arange(steps) + 0.5) / steps:
        sides = []
        for end in (middle - DELTA, middle + DELTA):
            values = blurred(cube, middle).copy()
            values[group] = blurred(cube, end)[group]
            sides.append(detail(cube.copy(data=values.astype(np.float32)), options, *at))
        slopes.append((sides[1] - sides[0]) / (2 * DELTA))
    return float(np.mean(slopes))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_complete(models, kind):
    cube, options = case(models, kind)
    steps = {"steps": 16} if kind == "reading dates" else {}
    found = xsr.explain(cube, window=WINDOW, **steps, **place(cube, 9, 8), **options)
    whole, start = (found.attrs[name] for name in ("xsr_detail", "xsr_detail_blurred"))
    assert whole == pytest.approx(detail(cube, options, 9, 8), rel=1e-5)
    flat = cube.copy(data=blurred(cube, 0.0).astype(np.float32))
    assert start == pytest.approx(detail(flat, options, 9, 8), rel=1e-4)
    assert abs(whole - start) > 0.05 * whole
    assert float(found.attribution.sum()) == pytest.approx(whole - start, rel=0.01)
    assert found.attrs["xsr_completeness_error"] < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_dates_and_bands_are_those_of_differences_of_the_whole_result(models, kind):
    """Near the border, where the cube is mirrored."""
    cube, options = case(models, kind)
    at, steps = (4, 13), 10 if kind == "reading dates" else 20
    found = xsr.explain(cube, window=WINDOW, steps=steps, **place(cube, *at), **options)
    sums = found.attribution.sum(("y", "x")).values
    several = len(sums) > 1
    bound = 0.02 * np.abs(sums).sum()
    for date, band in [(len(sums) // 2, 2), (0, 0)][: 1 if several else 2]:
        assert abs(sums[date, band] - by_differences(cube, options, (date, band), steps, at)) < bound


@pytest.mark.parametrize("kind", ["liif", "fixed", "residual", "temporal"])
def test_pixels_are_those_of_differences_of_the_whole_result(models, kind):
    cube, options = case(models, kind)
    at, steps = (4, 13), 20
    found = xsr.explain(cube, window=WINDOW, steps=steps, **place(cube, *at), **options)
    assert found.sizes["y"] <= 18
    assert found.sizes["x"] <= 17
    size = float(np.abs(found.attribution).sum())
    for rows, cols in [(slice(3, 5), slice(12, 14)), (slice(0, 4), slice(14, 17))]:
        box = cube[:, :, rows, cols]
        mine = float(found.attribution.sel(y=box.y, x=box.x).sum())
        group = (slice(None), slice(None), rows, cols)
        assert abs(mine - by_differences(cube, options, group, steps, at)) < 0.02 * size


def test_a_network_that_adds_nothing_leaves_interpolation_of_each_band(models):
    cube, options = case(models, "zero", size=(40, 40))
    found = xsr.explain(cube, window=WINDOW, bands="b04", **place(cube, 20, 21), **options)
    assert found.share.sel(band="B04").item() == 1
    assert not found.attribution.sel(band=["B02", "B03", "B08"]).any()
    used = np.argwhere((found.attribution.sel(band="B04")[0] != 0).values)
    rows, cols = found.y.values[used[:, 0]], found.x.values[used[:, 1]]
    # Queries reach one pixel from the place, bicubic interpolation two more.
    assert np.abs(rows - float(cube.y[20])).max() <= 30
    assert np.abs(cols - float(cube.x[21])).max() <= 30
    assert found.diffusion_index.sel(band="B04").item() < 10
    assert np.isnan(found.diffusion_index.sel(band="B02").item())


@pytest.mark.parametrize(("kind", "known"), [("zero temporal", 0), ("zero temporal", 2), ("zero reading dates", 2)])
def test_detail_that_one_band_of_one_date_has_comes_from_there(models, kind, known):
    """All others have a two-hundredth of their texture, which is detail too; the target time is that date."""
    cube, options = case(models, kind, size=(24, 24))
    mean = cube.mean(("y", "x"))
    weak = mean + 0.005 * (cube - mean)
    weak[known, 1] = cube[known, 1]
    found = xsr.explain(weak, window=WINDOW, steps=10, **place(cube, 12, 12), **{**options, "t": DATES[known]})
    assert found.share.values[known, 1] >= 0.9


def test_the_networks_of_the_package_find_the_date_and_the_band():
    cube = xsr.testing.synthetic_cube(size=(48, 48), times=DATES)
    mean = cube.mean(("y", "x"))
    flat = (mean + 0.02 * (cube - mean)).astype(np.float32)
    flat[2, 2] = cube[2, 2]
    options = {"scale": 2, "window": 5, **place(cube, 24, 24)}
    timed = xsr.explain(flat, t=DATES[2], steps=16, **options)
    assert timed.share.values[2, 2] >= 0.9
    assert timed.attrs["xsr_completeness_error"] < 0.01
    alone = xsr.explain(flat.isel(time=[2]), **options)
    assert alone.share.values[0, 2] >= 0.9
    assert alone.attrs["xsr_completeness_error"] < 0.01


def test_the_result_lies_on_the_pixels_of_the_cube_and_says_how_it_was_made(models):
    cube, options = case(models, "temporal", size=(60, 50))
    found = xsr.explain(cube, window=WINDOW, steps=4, **place(cube, 30, 20), **options)
    assert found.attribution.dims == ("time", "band", "y", "x")
    assert found.share.dims == found.diffusion_index.dims == ("time", "band")
    part = cube.sel(y=found.y, x=found.x)
    assert part.shape == found.attribution.shape
    assert np.array_equal(found.time, cube.time)
    assert found.odc.geobox == part.odc.geobox
    assert float(found.share.sum()) == pytest.approx(1)
    size = np.abs(found.attribution).sum(("y", "x"))
    xr.testing.assert_allclose(found.share, size / size.sum(), rtol=1e-5)
    attrs = found.attrs
    assert (attrs["xsr_operation"], attrs["xsr_model"], attrs["xsr_window"], attrs["xsr_steps"]) == (
        *("explain", "timely", WINDOW, 4),
    )
    assert attrs["xsr_weights_sha256"] == file_sha256(options["model"])
    assert attrs["xsr_scale"] == [2.5, 2.5]


def test_a_lazy_cube_gives_the_same_and_reads_only_the_chunks_of_the_window(models):
    cube, options = case(models, "liif", size=(200, 180))
    wanted = xsr.explain(cube, window=WINDOW, steps=3, **place(cube, 100, 40), **options)
    read, lock = set(), threading.Lock()

    def note(block, block_info=None):
        if block_info:
            with lock:
                read.add(tuple(block_info[0]["chunk-location"]))
        return block

    data = da.from_array(cube.values, chunks=(1, 4, 10, 10)).map_blocks(note, dtype=cube.dtype, meta=np.empty(0, "f4"))
    found = xsr.explain(cube.copy(data=data), window=WINDOW, steps=3, **place(cube, 100, 40), **options)
    xr.testing.assert_identical(found, wanted)
    rows, cols = ({int(n) // 10 for n in cube.indexes[dim].get_indexer(found[dim])} for dim in ("y", "x"))
    assert read == {(0, 0, row, col) for row in rows for col in cols}
    assert len(read) < 40


def test_containers_and_rows_of_either_order_give_the_same(models):
    cube, options = case(models, "liif", size=(30, 30))
    at = place(cube, 14, 13) | {"window": WINDOW, "steps": 3}
    wanted = cube.sr.explain(**at, **options)
    as_dataset = cube.to_dataset("band").sr.explain(**at, **options)
    turned = cube.isel(y=slice(None, None, -1)).sr.explain(**at, **options)
    for other in (as_dataset, turned):
        assert np.array_equal(other.attribution, wanted.attribution)
        assert np.array_equal(other.y, wanted.y)


def test_a_place_may_be_given_in_degrees(models):
    cube, options = case(models, "liif", size=(30, 30))
    point = place(cube, 14, 13)
    from pyproj import Transformer

    lon, lat = Transformer.from_crs(cube.odc.geobox.crs, 4326, always_xy=True).transform(point["x"], point["y"])
    options |= {"window": WINDOW, "steps": 3}
    there = xsr.explain(cube, x=lon, y=lat, crs=4326, **options)
    xr.testing.assert_identical(there, xsr.explain(cube, **point, **options))


@pytest.mark.parametrize("kind", ["liif", "temporal", "reading dates"])
def test_no_data_beside_the_patch_are_no_obstacle(models, kind):
    cube, options = case(models, kind, size=(30, 30))
    cube.values[-1, :, 10:12, 16:20] = np.nan
    found = xsr.explain(cube, window=WINDOW, steps=8, **place(cube, 14, 12), **options)
    assert np.isfinite(found.attribution).all()
    assert found.attrs["xsr_completeness_error"] < 0.05


def test_no_data_at_the_place_are_refused(models):
    cube, options = case(models, "liif")
    cube.values[0, 1, 8, 8] = np.nan
    with pytest.raises(CubeError, match="no data in the window around the place"):
        xsr.explain(cube, window=WINDOW, **place(cube, 8, 8), **options)
    found = xsr.explain(cube, window=WINDOW, steps=2, bands=["B02"], **place(cube, 8, 8), **options)
    assert np.isfinite(found.attribution).all()


def test_a_flat_cube_has_no_attribution(models):
    cube, options = case(models, "zero")
    found = xsr.explain(xr.full_like(cube, 0.25), window=WINDOW, steps=2, **place(cube, 8, 8), **options)
    assert not found.attribution.any()
    assert np.isnan(found.share).all()


BAD = {
    "outside": ({"x": 0.0}, ParameterError, "lies outside the cube, which covers x 600000 to 600170"),
    "not finite": ({"y": np.nan}, ParameterError, "y=nan; expected one map coordinate"),
    "two places": ({"x": [1.0, 2.0]}, ParameterError, "expected one map coordinate"),
    "even": ({"window": 4}, ParameterError, "window=4; expected an odd number of output pixels, such as 5"),
    "no number": ({"window": 3.5}, ParameterError, "window=3.5; expected a whole number"),
    "large": ({"window": 45}, ParameterError, "needs 47 pixels each way; the result has 45 x 42"),
    "border": (
        {"window": 31, "x": 600_010.0},
        ParameterError,
        "lies 2 output pixels from the border; window=31 needs 16",
    ),
    "one step": ({"steps": 1}, ParameterError, "steps=1; expected a whole number >= 2"),
    "no scale": ({"scale": None}, ParameterError, "no scale is given, and model 'tiny' has any"),
    "coarser": ({"scale": 0.5}, XsrError, "expected at most 1: this operation refines"),
    "band": ({"bands": ["B11"]}, BandError, "B11"),
    "device": ({"device": "tpu"}, ParameterError, "device"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(models, name):
    change, error, message = BAD[name]
    cube, options = case(models, "liif")
    with pytest.raises(error, match=message):
        xsr.explain(cube, **{**place(cube, 8, 8), "window": WINDOW, **options, **change})


def test_models_and_dates_that_do_not_fit_are_refused(models):
    cube, options = case(models, "temporal")
    at = place(cube, 8, 8) | {"window": WINDOW}
    with pytest.raises(ParameterError, match="t= names 2 times; expected one"):
        xsr.explain(cube, **at, **{**options, "t": list(DATES[:2])})
    with pytest.raises(CubeError, match="t= with a cube of one date"):
        xsr.explain(cube.isel(time=[0]), **at, **{**options, "t": DATES[0]})
    with pytest.raises(CubeError, match="the cube has 3 dates; expected one, or t="):
        xsr.explain(cube, scale=2, model=models["liif"], **at)
    with pytest.raises(CubeError, match="the cube has 3 dates"):
        xsr.explain(cube, model=models["fixed"], **at)
    with pytest.raises(ModelError, match="computes each date by itself; leave t out"):
        xsr.explain(cube, model=models["fixed"], t=DATES[0], **at)
    with pytest.raises(ParameterError, match="has the factor 2 alone"):
        xsr.explain(cube.isel(time=[0]), model=models["fixed"], scale=3, **at)
    with pytest.raises(ModelError, match="sharpens bands on their grid"):
        xsr.explain(cube.isel(time=[0]), model="sharpen_s2", **at)
    with pytest.raises(ModelError, match="expected a continuous one"):
        xsr.explain(cube.isel(time=[0]), model="jiif_lst", scale=2, **at)
