"""From the scenes of a manifest to arrays, in each format, and one clear error for each fault of a file."""

import json

import numpy as np
import pytest
import xarray as xr
from odc.geo.xr import xr_reproject
from skimage.io import imsave

from xsr.core.errors import BandError, CubeError, ParameterError
from xsr.testing import synthetic_cube
from xsr.training import scenes, series, thermal
from xsr.training.manifest import read_manifest
from xsr.training.reading import read_scene

BANDS = ("B02", "B03", "B04", "B08")
TIMES = ("2024-06-01", "2024-06-11", "2024-07-01")


@pytest.fixture(scope="module")
def cube():
    """Reflectance (3, 4, 24, 26)."""
    return synthetic_cube(seed=3, size=(24, 26), times=TIMES, bands=BANDS).compute()


@pytest.fixture(scope="module")
def numbers(cube):
    """The same as digital numbers, with a hole."""
    values = np.rint(cube.values * 1e4).astype(np.uint16)
    values[:, :, 4:6, 7] = 0
    return values


def manifest(folder, text="", **keys):
    table = {"place": "here", **keys}
    tables = [key for key, value in table.items() if isinstance(value, str) and value.startswith("{")]
    lines = [f"{key} = {value if key in tables else json.dumps(value)}" for key, value in table.items()]
    (folder / "scenes.toml").write_text("\n".join(["[[scene]]", *lines, text]))
    return read_manifest(folder / "scenes.toml")


def reading(folder, text="", **keys):
    found = manifest(folder, text, **keys)
    return read_scene(found, found.scenes[0])


def written(kind, folder, cube, numbers):
    """Write the images in a format; the keys of the manifest that read them."""
    packed = cube.copy(data=numbers).assign_attrs(units="1")
    bands = list(BANDS)
    if kind == "tif":
        import rioxarray  # noqa: F401  (registers .rio)

        packed.isel(time=0).rio.write_crs(str(cube.odc.crs)).rio.to_raster(folder / "a.tif")
        return {"path": "a.tif", "bands": bands, "units": "dn10000"}
    if kind == "zarr":
        cube.where(numbers > 0).rename("reflectance").sr.to_zarr(folder / "a.zarr")
        return {"path": "a.zarr"}
    if kind == "nc":
        packed.rename("refl").rename(band="channel").drop_vars("channel").to_netcdf(folder / "a.nc")
        return {"path": "a.nc", "variable": "refl", "bands": bands, "units": "dn10000", "nodata": 0}
    if kind == "npy":
        np.save(folder / "a.npy", numbers)
        return {"path": "a.npy", "bands": bands, "scale": 1e-4, "nodata": 0}
    np.savez(folder / "a.npz", other=[1], image=numbers.transpose(0, 2, 3, 1))
    dims = ["time", "y", "x", "band"]
    return {"path": "a.npz", "variable": "image", "dims": dims, "bands": bands, "scale": 1e-4, "nodata": 0}


@pytest.mark.parametrize("kind", ["tif", "zarr", "nc", "npy", "npz"])
def test_each_format_gives_the_same_image(tmp_path, cube, numbers, kind):
    found = reading(tmp_path, **written(kind, tmp_path, cube, numbers)).fine
    count = 1 if kind == "tif" else 3
    assert found.names == BANDS
    assert found.values.dtype == np.float32
    wanted = np.where(numbers == 0, np.nan, cube.values)[:count]
    np.testing.assert_allclose(found.values, wanted, atol=1e-4)
    assert (np.isnan(found.values) == np.isnan(wanted)).all()
    if kind in ("zarr", "nc"):
        assert found.times.tolist() == np.array(TIMES, "datetime64[ns]").tolist()
    if kind in ("tif", "zarr"):
        assert found.box == cube.odc.geobox


def test_bands_by_number_and_by_name(tmp_path, cube, numbers):
    keys = written("npy", tmp_path, cube, numbers)
    some = reading(tmp_path, **{**keys, "bands": "{B08 = 4, B02 = 1}"}).fine
    assert some.names == ("B08", "B02")
    whole = reading(tmp_path, **keys).fine
    np.testing.assert_array_equal(some.values, whole.values[:, [3, 0]])
    named = reading(tmp_path, **{**written("zarr", tmp_path, cube, numbers), "bands": ["B04", "B02"]}).fine
    assert named.names == ("B04", "B02")


def test_several_files_are_dates_in_order(tmp_path, cube, numbers):
    for date, values in enumerate(numbers):
        np.save(tmp_path / f"{date}.npy", values)
    keys = {"path": "[0-9].npy", "bands": list(BANDS), "scale": 1e-4, "nodata": 0}
    found = reading(tmp_path, **keys, times=list(TIMES)).fine
    np.testing.assert_array_equal(
        found.values, reading(tmp_path, **written("npy", tmp_path, cube, numbers)).fine.values
    )
    assert str(found.times[2])[:10] == "2024-07-01"
    assert len(reading(tmp_path, **keys, frames=[2, 0]).fine.values) == 2
    with pytest.raises(ParameterError, match="has 3 images and 1 times; expected as many"):
        reading(tmp_path, **keys, times=["2024-06-01"])
    with pytest.raises(ParameterError, match=r"frames = \[3\]; expected numbers from 0 to 2"):
        reading(tmp_path, **keys, frames=[3])


@pytest.mark.parametrize(("begins", "shape"), [([0, 0], (7, 8)), ([1, 0], (6, 8)), ([0, 1], (7, 7)), ([1, 1], (6, 7))])
def test_larger_pixels_may_begin_beside_what_their_file_says(tmp_path, begins, shape):
    row, col = begins
    truth = np.arange(20 * 20).reshape(20, 20).astype(np.uint16) + 1
    np.save(tmp_path / "a.npy", truth[None, None, :14, :16])
    larger = np.zeros((7, 8), np.uint16)
    for i, j in np.ndindex(7, 8):
        y, x = 2 * i - row, 2 * j - col
        larger[i, j] = truth[max(y, 0), max(x, 0)]
    np.save(tmp_path / "b.npy", larger[None, None])
    np.save(tmp_path / "m.npy", larger[None] % 2)
    found = reading(
        tmp_path,
        path="a.npy",
        bands=["B02"],
        scale=1e-3,
        begins=begins,
        coarse='{path = "b.npy", bands = ["B11"]}',
        mask='{path = "m.npy", invalid = [1]}',
    )
    assert found.coarse.values.shape[2:] == found.cloudy.shape[1:] == shape
    assert found.fine.values.shape[2:] == (2 * shape[0], 2 * shape[1])
    np.testing.assert_array_equal(found.coarse.values[0, 0], found.fine.values[0, 0, ::2, ::2])
    np.testing.assert_array_equal(found.cloudy[0], np.rint(1000 * found.coarse.values[0, 0]) % 2 == 1)


def test_scale_offset_and_thermal_constants_by_hand(tmp_path):
    np.save(tmp_path / "a.npy", np.full((1, 2, 2), 28519, np.uint16))
    keys = {"path": "a.npy", "bands": ["lst"], "scale": 3.342e-4, "offset": 0.1}
    found = reading(tmp_path, **keys, planck=[774.8853, 1321.0789]).fine.values
    # L = 9.6311 W m-2 sr-1 um-1; 1321.0789 / ln(774.8853 / 9.6311 + 1)
    np.testing.assert_allclose(found, 300.24, atol=0.01)


def test_a_picture_is_read_as_counts(tmp_path):
    imsave(tmp_path / "a.png", np.full((3, 4, 3), (51, 102, 255), np.uint8), check_contrast=False)
    found = reading(tmp_path, path="a.png", bands=["B04", "B03", "B02"], scale=1 / 255).fine
    assert found.values.shape == (1, 3, 3, 4)
    np.testing.assert_allclose(found.values[0, :, 1, 2], [0.2, 0.4, 1.0], rtol=1e-6)


def save_masked(folder, numbers):
    """Images, and classes in which the second date is cloud and the third has a cloudy corner."""
    classes = np.full((3, 24, 26), 4, np.uint8)
    classes[1], classes[2, :2, :2] = 9, 9
    np.save(folder / "a.npy", numbers)
    np.save(folder / "scl.npy", classes)
    return {"path": "a.npy", "bands": list(BANDS), "scale": 1e-4, "times": list(TIMES)}


def test_clouds_leave_out_images_and_hide_pixels_of_series(tmp_path, numbers):
    keys = save_masked(tmp_path, numbers)
    mask = '{path = "scl.npy", dims = ["time", "y", "x"], grow = 1}'
    found = reading(tmp_path, **keys, mask=mask)
    assert len(found.clear().fine.values) == 2
    assert len(reading(tmp_path, **keys, mask=mask, clear=0.999).clear().fine.values) == 1
    (one,) = series.read(manifest(tmp_path, **keys, mask=mask))
    hidden = np.isnan(one.image[:, :4]).all(axis=1)
    assert hidden[1].all()
    assert hidden[2].sum() == 9  # two by two pixels, grown by one
    np.save(tmp_path / "scl.npy", np.zeros((3, 20, 26)))
    with pytest.raises(CubeError, match=r"has \(24, 26\) pixels, its mask \(20, 26\); expected as many, half or twice"):
        list(series.read(manifest(tmp_path, **keys, mask=mask)))
    np.save(tmp_path / "scl.npy", np.zeros((1, 24, 26)))
    with pytest.raises(CubeError, match="has 3 images, and 1 of the coarse bands or the mask"):
        reading(tmp_path, **keys, mask=mask)


def test_without_a_mask_clear_counts_pixels_with_data(tmp_path, cube, numbers):
    gaps = numbers.copy()
    gaps[1, :, :12] = 0
    np.save(tmp_path / "a.npy", gaps)
    keys = {"path": "a.npy", "bands": list(BANDS), "scale": 1e-4, "nodata": 0}
    assert len(reading(tmp_path, **keys).clear().fine.values) == 3
    assert len(reading(tmp_path, **keys, clear=0.9).clear().fine.values) == 2


def test_bands_of_native_pixels_twice_as_large_come_on_a_grid_of_their_own(tmp_path):
    values = np.random.default_rng(0).uniform(0.1, 0.3, (2, 8, 8)).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    keys = {"path": "a.npy", "bands": ["B02", "B11"]}
    (scene,) = scenes.images(reading(tmp_path, **keys))
    swir = scenes.BANDS.index("B11")
    assert np.isnan(scene.image[swir]).all()
    np.testing.assert_allclose(scene.coarse[swir], values[1].reshape(4, 2, 4, 2).mean(axis=(1, 3)), rtol=1e-6)
    (plain,) = scenes.images(reading(tmp_path, **keys, gsd_m=20))
    assert plain.coarse is None
    (own,) = scenes.images(reading(tmp_path, **keys, native_m="{B11 = 10}"))
    assert own.coarse is None
    with pytest.raises(ParameterError, match="B11 has native pixels of 60 m on a grid of 10 m"):
        list(scenes.images(reading(tmp_path, **keys, native_m="{B11 = 60}")))


def test_corrections_of_a_raw_image(tmp_path):
    texture = np.random.default_rng(1).uniform(500, 1500, (64, 64))
    shifted = np.stack([texture, np.roll(texture, (2, -3), (0, 1))])[None]
    np.save(tmp_path / "a.npy", shifted)
    keys = {"path": "a.npy", "bands": ["B03", "B02"], "scale": 1e-4}
    (scene,) = scenes.images(reading(tmp_path, **keys, align_to="B03", mean=0.12, separate_places=True))
    assert scene.place == "here/0"
    assert scene.image.shape[1:] == (58, 58)
    np.testing.assert_allclose(scene.image[0], scene.image[1], rtol=1e-5)
    assert np.nanmean(scene.image) == pytest.approx(0.12)
    with pytest.raises(BandError, match=r"align_to 'B08'; expected one of B03, B02"):
        list(scenes.images(reading(tmp_path, **keys, align_to="B08")))


def test_temperature_with_its_guide(tmp_path):
    np.save(tmp_path / "t.npy", np.full((1, 6, 6), 15000, np.uint16))
    np.save(tmp_path / "g.npy", np.full((2, 6, 6), 2000, np.uint16))
    keys = {"path": "t.npy", "bands": ["lst"], "scale": 0.01, "offset": 150.0, "average": 3}
    guide = '[scene.guide]\npath = "g.npy"\nscale = 1e-4\nbands = {}\n'
    (scene,) = thermal.load_thermal(manifest(tmp_path, guide.format('["B04", "B08"]'), **keys))
    assert scene.kelvin.tolist() == [[300, 300], [300, 300]]
    np.testing.assert_allclose(scene.guide[:2], 0.2)
    assert np.isnan(scene.guide[2]).all()
    with pytest.raises(BandError, match="the guide lacks B08"):
        thermal.load_thermal(manifest(tmp_path, guide.format('["B04", "B11"]'), **keys))
    np.save(tmp_path / "g.npy", np.full((2, 5, 6), 2000, np.uint16))
    with pytest.raises(CubeError, match="expected one grid"):
        thermal.load_thermal(manifest(tmp_path, guide.format('["B04", "B08"]'), **keys))


# --- faults -----------------------------------------------------------------------------------------------


FAULTS = [
    ({"bands": ["B02", "B03"]}, BandError, "has 4 bands; expected the 2 of bands"),
    ({"bands": "{B02 = 7}"}, BandError, "has 4 bands; 7 is none of them"),
    ({"bands": ["B02", "B03", "B04", "B99"]}, BandError, "has the band B99; recipes train on B02"),
    ({"scale": 1.0}, CubeError, r"scene 'here': .*values up to .*units='dn10000'.* in the manifest"),
    ({"nodata": None, "scale": None}, CubeError, "scene 'here': .*In the manifest: units = .dn10000"),
    ({"dims": ["time", "y", "x"]}, CubeError, r"has the dimensions .*; expected .*Name them with dims"),
    ({"bands": ["lst", "B03", "B04", "B08"]}, CubeError, "the median is .*; expected kelvin"),
]


@pytest.mark.parametrize(("change", "kind", "message"), FAULTS, ids=[fault[2][:30] for fault in FAULTS])
def test_each_fault_of_a_file_is_one_clear_error(tmp_path, cube, numbers, change, kind, message):
    keys = {**written("npy", tmp_path, cube, numbers), **change, "uses": ["image"]}
    keys = {key: value for key, value in keys.items() if value is not None}
    with pytest.raises(kind, match=message):
        scenes.load(manifest(tmp_path, **keys))


def test_an_image_smaller_than_a_patch(tmp_path, cube, numbers):
    keys = written("npy", tmp_path, cube, numbers)
    with pytest.raises(ParameterError, match=r"'here' has 24 x 26 pixels; expected 32 along each side, as a patch"):
        scenes.load(manifest(tmp_path, **keys), least=32)


def test_an_image_without_data(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 24, 24), np.uint16))
    with pytest.raises(CubeError, match=r"'here' is no data throughout.*Correct nodata"):
        reading(tmp_path, path="a.npy", bands=list(BANDS), scale=1e-4, nodata=0)


def test_a_variable_that_is_not_there_and_a_damaged_file(tmp_path, cube, numbers):
    keys = written("nc", tmp_path, cube, numbers)
    with pytest.raises(ParameterError, match=r"variable 'rho' is not in .*expected one of refl"):
        reading(tmp_path, **{**keys, "variable": "rho"})
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(CubeError, match=r"a\.npy cannot be read"):
        reading(tmp_path, path="a.npy", bands=list(BANDS))


def test_a_series_without_the_band_by_which_clear_pixels_are_known(tmp_path, numbers):
    np.save(tmp_path / "a.npy", numbers)
    bands = "{B03 = 2, B04 = 3}"
    found = manifest(tmp_path, path="a.npy", bands=bands, scale=1e-4, times=list(TIMES))
    with pytest.raises(BandError, match="lacks B02, by which clear pixels are known"):
        series.load(found, synthetic=0)


def test_a_variable_for_each_band(tmp_path, cube):
    data = xr.Dataset({band: cube.sel(band=band, drop=True).isel(time=0, drop=True) for band in BANDS})
    for variable in data.data_vars.values():
        variable.attrs.pop("grid_mapping", None)
    data.odc.assign_crs(cube.odc.crs).to_netcdf(tmp_path / "a.nc")
    found = reading(tmp_path, path="a.nc").fine
    assert found.names == BANDS
    np.testing.assert_allclose(found.values[0], cube.values[0], rtol=1e-6)


# --- resampled by nearest neighbour ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def native():
    """Reflectance (3, 4, 96, 96) on the sensor's own pixels."""
    return synthetic_cube(seed=3, size=(96, 96), times=TIMES, bands=BANDS).compute()


@pytest.fixture
def degrees(native, tmp_path):
    """The same, put on a grid of degrees, with a mask; the keys that read it."""
    box = native.odc.geobox.to_crs("EPSG:4326", resolution=8.7e-5)
    turned = xr_reproject(native, box, resampling="nearest", dst_nodata=np.nan)
    cloudy = (turned.isel(band=0, drop=True) > float(turned.isel(band=0).median())).astype(np.uint8)
    names = {"latitude": "y", "longitude": "x"}
    data = xr.Dataset({"image": turned, "clouds": cloudy}).drop_vars("spatial_ref").rename(names)
    for variable in data.variables.values():
        variable.attrs, variable.encoding = {}, {}
    data.to_netcdf(tmp_path / "degrees.nc")
    mask = '{ path = "degrees.nc", variable = "clouds", invalid = [1] }'
    return {"path": "degrees.nc", "variable": "image", "bands": list(BANDS), "units": "reflectance", "mask": mask}


def test_a_resampled_image_and_its_mask_are_put_back(native, degrees, tmp_path):
    found = reading(tmp_path, resampled="EPSG:4326", clear=0.0, **degrees)
    assert found.fine.box is not None
    assert found.fine.box.crs == native.odc.geobox.crs
    xs, ys = (found.fine.box.coordinates[axis].values for axis in ("x", "y"))
    image = xr.DataArray(found.fine.values, coords={"y": ys, "x": xs}, dims=("time", "band", "y", "x"))
    inner = image.reindex(y=native.y[8:-8], x=native.x[8:-8])
    wanted = native[..., 8:-8, 8:-8].values
    same = inner.values == wanted
    assert same.mean() > 0.97  # a nearest neighbour leaves some pixels out
    assert np.isnan(inner.values[~same]).all()
    assert found.cloudy is not None
    cloudy = xr.DataArray(found.cloudy, coords={"y": ys, "x": xs}, dims=("time", "y", "x")).reindex(
        y=inner.y, x=inner.x
    )
    bright = inner.isel(band=0) > float(inner.isel(band=0).median())
    assert (cloudy == bright).mean() > 0.95


def test_what_cannot_be_put_back_is_an_error_of_its_scene(native, degrees, tmp_path):
    with pytest.raises(CubeError, match=r"scene 'here'.*not resampled by nearest neighbour|scene 'here'"):
        reading(tmp_path, resampled="EPSG:32631", **degrees)
    np.save(tmp_path / "plain.npy", native.values[0])
    with pytest.raises(CubeError, match="scene 'here' is resampled; expected coordinates x and y"):
        reading(tmp_path, path="plain.npy", bands=list(BANDS), units="reflectance", resampled="EPSG:4326")
