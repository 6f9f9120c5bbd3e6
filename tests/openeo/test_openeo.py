"""User-defined functions of openEO: their file, run by the local runner of the client, and on windows of a back end."""

import json

import numpy as np
import pytest
import xarray as xr
from models.helpers import lively, write_fixed, write_model, write_optical
from typer.testing import CliRunner

import xsr
from xsr import cli
from xsr.core.errors import CubeError, ParameterError
from xsr.models.architectures.liif import LIIF
from xsr.testing import synthetic_cube

ORDER = 1e-6
"""Reflectance by which sums may differ that libraries take in another order in arrays of another shape."""
CONTEXT = {"crs": "EPSG:32633"}
BANDS = ("B02", "B03", "B04", "B08")
MIXED = (*BANDS, "B05", "B06", "B07", "B8A", "B11", "B12")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return str(write_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    return str(write_fixed(tmp_path_factory.mktemp("fixed")))


def delivered(cube):
    """The cube as a back end gives it: its names, coordinates of single precision, no CRS."""
    plain = cube.drop_vars([name for name in cube.coords if name not in ("time", "band", "x", "y")])
    plain = plain.assign_coords(x=plain.x.astype("f4"), y=plain.y.astype("f4"))
    for one in (plain, plain.x, plain.y):
        one.attrs.clear()
    return plain.rename(time="t", band="bands")


def in_runner(source, cube, context):
    """Run a file in the local runner of the openEO client."""
    openeo = pytest.importorskip("openeo", reason="the openEO client is not installed")
    from openeo.udf import execute_local_udf

    done = execute_local_udf(openeo.UDF(source, context=context), cube)
    (result,) = done.get_datacube_list()
    return result.get_array()


def on_windows(source, cube, context, windows):
    """Result of a back end: two windows of size + 2 * overlap, each run alone, trimmed and joined along x."""
    size, overlap = (windows[name][0]["value"] for name in ("size", "overlap"))
    namespace = {}
    exec(source, namespace)
    parts = [cube.isel(x=slice(left, left + size + 2 * overlap)) for left in (0, size)]
    return xr.concat([trimmed(namespace["apply_datacube"](part, context), size, overlap) for part in parts], "x")


def trimmed(result, size, overlap):
    factor = result.sizes["x"] / (size + 2 * overlap)
    edge, inner = round(overlap * factor), round(size * factor)
    assert result.sizes["x"] == 2 * edge + inner
    return result.isel(y=slice(edge, edge + inner), x=slice(edge, edge + inner))


def inside(fine, windows, factor):
    """The part of a result that `on_windows` computes."""
    size, overlap = (windows[name][0]["value"] for name in ("size", "overlap"))
    first, *last = (round(pixels * factor) for pixels in (overlap, overlap + size, overlap + 2 * size))
    return fine.isel(y=slice(first, last[0]), x=slice(first, last[1]))


def cube_for(windows, bands=BANDS):
    """A cube that two windows cover."""
    size, overlap = (windows[name][0]["value"] for name in ("size", "overlap"))
    return synthetic_cube(size=(size + 2 * overlap, 2 * size + 2 * overlap), bands=bands).astype("f4")


@pytest.mark.parametrize("scale", [2, 3.4])
def test_the_local_runner_gives_what_liif_gives_to_the_bit(scale):
    cube = synthetic_cube(size=(70, 70)).astype("f4")
    result = in_runner(xsr.openeo.udf("liif", scale=scale), delivered(cube), CONTEXT)
    expected = cube.sr.liif(scale=scale)
    assert result.dims == ("t", "bands", "y", "x")
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result.values, expected.values)
    np.testing.assert_allclose(result.x, expected.x, rtol=0, atol=1e-6)
    np.testing.assert_allclose(result.y, expected.y, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "published"), [(2, False), (3.4, False), (3.4, True)])
def test_windows_of_a_back_end_join_to_the_result_of_the_whole(scale, published, tiny):
    settings = {"scale": scale, "model": "liif_s2" if published else tiny, "precision": "float32", "sharpen": False}
    windows = xsr.openeo.neighborhood("liif", size=35, **settings)
    size, overlap = (windows[name][0]["value"] for name in ("size", "overlap"))
    cube = cube_for(windows)
    cube[0, 1, overlap : overlap + 3, overlap + size - 3 : overlap + size + 2] = np.nan  # across the windows' border
    joined = on_windows(xsr.openeo.udf("liif", size=35, **settings), delivered(cube), CONTEXT, windows)
    expected = inside(xsr.liif(cube, **settings), windows, scale)
    assert np.isnan(expected).any()
    np.testing.assert_allclose(joined.values, expected.values, rtol=0, atol=ORDER)
    np.testing.assert_allclose(joined.x, expected.x, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("operation", "size", "settings", "bands"),
    [
        ("interpolate", 15, {"scale": 3.4, "method": "lanczos3"}, BANDS),
        ("degrade", 20, {"scale": 2}, BANDS),
        ("degrade", 20, {"scale": 2.5, "mtf": {"B02": 0.3, "B03": 0.2, "B04": 0.3, "B08": 0.1}}, BANDS),
        pytest.param("sharpen", 66, {"band_names": list(MIXED)}, MIXED, marks=pytest.mark.slow),
        pytest.param("sisr", 30, {"model": "fixed"}, BANDS, marks=pytest.mark.slow),
    ],
)
def test_other_operations_join_without_a_seam(operation, size, settings, bands, fixed):
    settings = {**settings, "model": fixed} if operation == "sisr" else settings
    windows = xsr.openeo.neighborhood(operation, size=size, **settings)
    cube = cube_for(windows, bands)
    joined = on_windows(xsr.openeo.udf(operation, size=size, **settings), delivered(cube), CONTEXT, windows)
    options = {name: value for name, value in settings.items() if name != "band_names"}
    expected = getattr(xsr, operation)(cube, **options)
    inner = inside(expected, windows, expected.sizes["x"] / cube.sizes["x"])
    np.testing.assert_allclose(joined.values, inner.values, rtol=0, atol=ORDER)


@pytest.mark.parametrize(("scale", "step"), [(2, 1), (1.5, 2), (3.4, 5), (10 / 3, 3), (1 + 1 / 64, 64)])
def test_size_and_overlap_times_the_scale_are_whole(scale, step):
    windows = xsr.openeo.neighborhood("interpolate", scale=scale, size=70)
    for one in windows["size"] + windows["overlap"]:
        assert one["unit"] == "px"
        assert one["value"] % step == 0
        assert abs(one["value"] * scale - round(one["value"] * scale)) < 1e-9
    assert windows["overlap"][0]["value"] <= windows["size"][0]["value"]
    assert windows["size"][0]["value"] >= 70


def test_the_overlap_is_what_a_result_depends_on():
    """A pixel changed just beyond the overlap does not matter, one within it does."""
    windows = xsr.openeo.neighborhood("interpolate", scale=2, method="lanczos3", size=16)
    overlap = windows["overlap"][0]["value"]
    cube = synthetic_cube(size=(48, 48)).astype("f4")
    far, near = cube.copy(), cube.copy()
    far[..., 15 - overlap] += 0.1
    near[..., 15] += 0.1
    whole, beyond, within = (
        one.sr.interpolate(scale=2, method="lanczos3").isel(x=slice(32, 64)) for one in (cube, far, near)
    )
    assert beyond.equals(whole)
    assert not within.equals(whole)


def test_a_size_below_what_is_read_around_it_is_refused():
    with pytest.raises(ParameterError, match=r"size=66; sharpen, .*reads 72 pixels or more.*Give a larger size"):
        xsr.openeo.neighborhood("sharpen", size=66)


def test_numbers_and_names_come_from_the_context():
    cube = synthetic_cube(size=(24, 24)).astype("f4")
    expected = cube.sr.interpolate(scale=2)
    bare = (delivered(cube) * 10_000 + 1000).drop_vars(["x", "y", "bands"])
    stated = {**CONTEXT, "resolution": 10, "band_names": list(BANDS)}
    for packing in ({"units": "dn10000-1000"}, {"scale_factor": 1e-4, "add_offset": -0.1}):
        result = in_runner(xsr.openeo.udf("interpolate", scale=4), bare, {**stated, **packing, "scale": 2})
        np.testing.assert_allclose(result.values, expected.values, rtol=0, atol=1e-6)
        assert "x" not in result.coords
        assert "bands" not in result.coords


@pytest.mark.parametrize(
    ("change", "context", "message"),
    [
        (lambda cube: cube, {}, r"says nothing of crs.*context=\{'crs': 'EPSG:32633'\}"),
        (lambda cube: cube.drop_vars(["x", "y", "bands"]), None, r"crs, resolution, band_names; .*'resolution': 10"),
        (lambda cube: cube.rename(x="lon"), CONTEXT, r"expected y and x among them"),
    ],
)
def test_what_a_window_does_not_say_is_asked_for_at_once(change, context, message):
    settings = {"operation": "degrade", "scale": 2}
    with pytest.raises(CubeError, match=message):
        xsr.openeo.apply_datacube(change(delivered(synthetic_cube(size=(24, 24)))), context, settings)


@pytest.fixture(scope="module")
def optical(tmp_path_factory):
    """Weights for any optical sensor."""
    config = {"channels": 4, "outputs": 1, "features": 8, "blocks": 1, "hidden": [16, 16]}
    return str(write_optical(lively(LIIF(**config)), config, tmp_path_factory.mktemp("optical")))


@pytest.mark.parametrize(
    ("given", "lacking"), [({}, "mtf= and noise="), ({"mtf": 0.3}, "noise="), ({"noise": 0}, "mtf=")]
)
def test_numbers_that_each_window_would_estimate_have_to_be_given(optical, given, lacking):
    settings = {"operation": "liif", "scale": 2, "model": optical}
    message = rf"without {lacking}; each window .* Give both, in the context"
    with pytest.raises(ParameterError, match=message):
        xsr.openeo.apply_datacube(delivered(synthetic_cube(size=(40, 40))), {**CONTEXT, **given}, settings)
    with pytest.raises(ParameterError, match=message):
        xsr.openeo.neighborhood(**settings, **given)


def test_a_model_of_any_sensor_runs_with_given_numbers(optical):
    settings = {"scale": 2, "model": optical, "mtf": {"B02": 0.3, "B03": 0.2, "B04": 0.3, "B08": 0.25}, "noise": 0.001}
    windows = xsr.openeo.neighborhood("liif", size=64, **settings)
    side = windows["size"][0]["value"] + 2 * windows["overlap"][0]["value"]
    assert windows["overlap"][0]["value"] < 32
    cube = synthetic_cube(size=(side, side)).astype("f4")
    file = xsr.openeo.udf("liif", size=64, scale=2, model=optical)
    context = {**CONTEXT, "mtf": settings["mtf"], "noise": settings["noise"]}
    result = in_runner(file, delivered(cube), context)
    np.testing.assert_allclose(result.values, xsr.liif(cube, **settings).values, rtol=0, atol=ORDER)


@pytest.mark.parametrize(("height", "width"), [(8, 40), (40, 41), (2, 2)])
def test_windows_that_do_not_fit_are_refused(height, width):
    cube = delivered(synthetic_cube(size=(height, width)))
    with pytest.raises(ParameterError, match=r"a window of \d+ × \d+ pixels; .*an overlap of 5 pixels.*multiples of 5"):
        xsr.openeo.apply_datacube(cube, CONTEXT, {"operation": "interpolate", "scale": 3.4})


@pytest.mark.parametrize(
    ("operation", "settings", "message"),
    [
        ("blur", {}, "operation='blur'; expected one of liif"),
        ("liif", {}, r"needs scale=\.\.\."),
        ("liif", {"scale": 3.14159}, r"expected a ratio of whole numbers.*The nearest is 3\.1"),
        ("liif", {"scale": -2}, "scale=-2"),
        ("liif", {"scale": 2, "unit": "percent"}, r"'unit' given.*did you mean 'units'"),
        ("degrade", {"scale": 2, "noise": 0.1}, "'noise' given"),
        ("interpolate", {"scale": 2, "method": np.array([1])}, "method=.*passes JSON"),
        ("interpolate", {"scale": 2, "units": float("inf")}, "units=inf"),
        ("liif", {"scale": 2, "units": "percent", "scale_factor": 0.1}, "units and scale_factor or add_offset"),
        ("sisr", {}, r"needs model=\.\.\."),
        ("sisr", {"model": "liif_s2"}, "has no factor of its own"),
    ],
)
def test_requests_that_cannot_be_written_are_refused(operation, settings, message):
    with pytest.raises(ParameterError, match=message):
        xsr.openeo.udf(operation, **settings)


def test_the_file_names_what_it_needs_and_no_annotation_is_text():
    openeo_code = pytest.importorskip("openeo.udf.run_code", reason="the openEO client is not installed")
    source = xsr.openeo.udf("liif", scale=3.4, requirements=['xarray-sr>=1; python_version > "3.10"', "torch"])
    expected = ['xarray-sr>=1; python_version > "3.10"', "torch"]
    assert openeo_code.extract_udf_dependencies(source) == expected
    assert "__future__" not in source
    assert "size=px(260), overlap=px(80)" in source
    (plain,) = openeo_code.extract_udf_dependencies(xsr.openeo.udf("interpolate", scale=2))
    assert plain.startswith("xarray-sr")
    with pytest.raises(ParameterError, match="requirements='torch'"):
        xsr.openeo.udf("interpolate", scale=2, requirements="torch")


def metadata_of(step):
    metadata = pytest.importorskip("openeo.metadata", reason="the openEO client is not installed")
    axes = [metadata.SpatialDimension(name=name, extent=[0, 1000], crs=32633, step=step) for name in ("x", "y")]
    return metadata.CubeMetadata([*axes, metadata.BandDimension("bands", [metadata.Band("B02")])])


@pytest.mark.parametrize(("operation", "expected"), [("liif", 10 / 3.4), ("degrade", 34)])
@pytest.mark.parametrize(("step", "context"), [(10, {}), (None, {"resolution": 10})])
def test_metadata_say_the_new_pixel_size(operation, expected, step, context):
    namespace = {}
    exec(xsr.openeo.udf(operation, scale=3.4), namespace)
    result = namespace["apply_metadata"](metadata_of(step), context)
    assert [dim.step for dim in result.spatial_dimensions] == pytest.approx([expected, expected])
    assert [dim.extent for dim in result.spatial_dimensions] == [[0, 1000], [0, 1000]]
    assert result.band_names == ["B02"]


def test_metadata_without_a_pixel_size_need_one_unless_the_grid_stays():
    metadata = metadata_of(None)
    with pytest.raises(ParameterError, match=r"no pixel size along \['x', 'y'\].*'resolution': 10"):
        xsr.openeo.apply_metadata(metadata, None, {"operation": "liif", "scale": 2})
    assert xsr.openeo.apply_metadata(metadata, None, {"operation": "sharpen"}) is metadata


def test_the_command_prints_the_file():
    done = CliRunner().invoke(cli.app, ["openeo-udf", "--model", "liif_s2", "--scale", "3.4", "--units", "dn10000"])
    assert done.exit_code == 0, done.output
    assert done.output == xsr.openeo.udf("liif", model="liif_s2", scale=3.4, units="dn10000")
    plain = CliRunner().invoke(cli.app, ["openeo-udf", "--model", "bicubic", "--scale", "2", "--size", "64"])
    assert plain.output == xsr.openeo.udf("interpolate", method="bicubic", scale=2.0, size=64)
    with pytest.raises(ParameterError, match=r"needs --scale"):
        CliRunner().invoke(cli.app, ["openeo-udf", "--operation", "degrade"], catch_exceptions=False)


def test_settings_are_json_and_can_be_asked_for_again():
    request = xsr.openeo.request.parse("liif", {"scale": 2, "psf": None, "crs": 32633})
    assert json.loads(request.options) == {"scale": 2}
    assert request.of_cube == {"crs": 32633}
