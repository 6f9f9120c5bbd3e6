"""`sharpen`: sharp bands unchanged, chunks, no data, the physics, mixed grids, trees, and bad input."""

import re

import numpy as np
import pytest
import torch
import xarray as xr
from affine import Affine
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from models.helpers import lively
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from safetensors.torch import save_file

from xsr.core.blocks import Span
from xsr.core.errors import BandError, CubeError, GridError, ModelError, ParameterError
from xsr.kernels.degrade import observe, sensor_band
from xsr.models.architectures.sharpener import Sharpener
from xsr.models.card import file_sha256, from_fields, write_card
from xsr.testing import assert_lazy

NETWORK = ("B02", "B04", "B05", "B11")
BANDS = (*NETWORK, "B01", "B09")
GSD = {"B02": 10, "B04": 10, "B05": 20, "B11": 20, "B01": 60, "B09": 60}
MTF = {"B05": 0.3, "B11": 0.2, "B01": 0.3, "B09": 0.26}
WEST, NORTH = 600_000.0, 5_700_000.0


def write_sharpener(folder, *, zero=False):
    """Write a tiny sharpener and its card; ``zero`` leaves regression and back-projection alone."""
    config = {"channels": 6, "bands": 4, "features": 8, "blocks": 1}
    network = lively(Sharpener(**config))
    if zero:
        torch.nn.init.zeros_(network.trunk[-1].weight)
        torch.nn.init.zeros_(network.trunk[-1].bias)
    path = folder / "sharpener.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    card = from_fields(
        name="sharpener",
        summary="A tiny random network that sharpens bands.",
        architecture="sharpener",
        config=config,
        bands=NETWORK,
        optional=NETWORK,
        sensor="sentinel-2",
        gsd_m=10.0,
        mean=(0.05, 0.09, 0.1, 0.2),
        std=(0.03, 0.07, 0.05, 0.08),
        scale_range=(1.0, 1.0),
        factor=1,
        mtf=(0.25, 0.25, MTF["B05"], MTF["B11"]),
        sha256=file_sha256(path),
        parameters=sum(p.numel() for p in network.parameters()),
        radius=network.radius,
        licence="CC0-1.0",
        sharpness="sensor",
        reads="detail",
    )
    write_card(card, path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_sharpener(tmp_path_factory.mktemp("lively"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_sharpener(tmp_path_factory.mktemp("zero"), zero=True)


def truth(height, width, bands=BANDS, seed=0):
    """Bands that are mixtures of two fields of a power-law spectrum, the sharp ones."""
    rng, side = np.random.default_rng(seed), 256
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    spectrum = np.where(frequency > 0, np.maximum(frequency, 1e-9) ** -1.3, 0)
    fields = np.fft.irfft2(spectrum * np.fft.rfft2(rng.standard_normal((2, side, side))), s=(side, side))
    first, second = 0.2 + 0.04 * (fields / fields.std(axis=(1, 2), keepdims=True))[:, :height, :width]
    mixed = {"B02": first, "B04": second, "B05": 0.4 * first + 0.5 * second, "B11": 0.7 * second + 0.05}
    mixed |= {"B01": 0.9 * first + 0.01, "B09": 0.3 * first + 0.3 * second}
    return np.stack([mixed[band] for band in bands]).astype(np.float32)


def seen(image, band, start=(0, 0), *, own=False):
    """A band as the sensor observes it in its own pixels; interpolated to the grid unless ``own``."""
    side = GSD[band] // 10
    optics = sensor_band(MTF[band], 1.0, own=side, source_mtf=MTF[band])
    optics, scale = (optics.own, side) if own else (optics, 1)
    rows, cols = (Span(first // scale, (first + n) // scale) for first, n in zip(start, image.shape, strict=True))
    return observe(image[None], optics, rows=rows, cols=cols, origin=start)[0]


def make_cube(height=48, width=48, bands=BANDS, *, row=0, col=0, dates=1, native=True):
    """Cube on the grid of 10 m whose first pixel is (row, col) of the lattice of larger ones."""
    fine = [truth(height, width, bands, seed) for seed in range(dates)]
    low = [[a if GSD[b] == 10 else seen(a, b, (row, col)) for a, b in zip(one, bands, strict=True)] for one in fine]
    box = GeoBox((height, width), Affine(10, 0, WEST + 10 * col, 0, -10, NORTH - 10 * row), "EPSG:32631")
    coords = {
        "band": list(bands),
        "time": np.datetime64("2024-06-01", "ns") + 5 * np.arange(dates) * np.timedelta64(1, "D"),
    }
    coords |= dict(xr_coords(box))
    if native:
        coords["native_gsd"] = ("band", [float(GSD[band]) for band in bands])
    return xr.DataArray(np.float32(low), coords=coords, dims=("time", "band", "y", "x")), np.stack(fine)


def test_sharp_bands_are_the_same_bits_and_the_record_says_what_was_done(model):
    cube, _ = make_cube(dates=2)
    fine = cube.sr.sharpen(model=model)
    assert fine.sel(band=["B02", "B04"]).values.tobytes() == cube.sel(band=["B02", "B04"]).values.tobytes()
    assert fine.attrs["xsr_sharpened"] == ["B05", "B11", "B01", "B09"]
    assert fine.attrs["xsr_operation"] == "sharpen"
    assert fine.native_gsd.values.tolist() == [pytest.approx(10, rel=1e-3)] * 6
    assert fine.dims == cube.dims
    assert (np.abs(fine - cube).sel(band="B05") > 0).all()


def test_mixtures_of_sharp_bands_are_found_again(plain):
    cube, fine = make_cube(144, 144)
    made = cube.sr.sharpen(model=plain).values
    inner = (..., slice(40, -40), slice(40, -40))
    for number, band in enumerate(BANDS):
        before, after = (np.sqrt(((v[0, number] - fine[0, number])[inner] ** 2).mean()) for v in (cube.values, made))
        assert after <= (0.1 if GSD[band] == 20 else 0.35) * before


def test_observed_again_bands_are_what_was_given(plain):
    cube, _ = make_cube(96, 96)
    made = cube.sr.sharpen(model=plain)
    for band in ("B05", "B11"):
        again = seen(made.sel(band=band).values[0], band, own=True)
        given = seen(truth(96, 96, (band,))[0], band, own=True)
        assert np.sqrt(((again - given)[8:-8, 8:-8] ** 2).mean()) < 1e-3


@examples(6)
@given(
    st.integers(30, 70),
    st.integers(30, 70),
    st.integers(9, 40),
    st.integers(9, 40),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_chunks_make_no_difference(model, height, width, down, across, row, col):
    cube, _ = make_cube(height, width, row=row, col=col)
    whole = cube.sr.sharpen(model=model, precision="float32")
    chunked = cube.chunk(y=17, x=23).assign_coords(native_gsd=cube.native_gsd)  # labels are read
    with assert_lazy(chunked):
        parts = chunked.sr.sharpen(model=model, precision="float32", chunks=(down, across))
    assert parts.chunks is not None
    np.testing.assert_allclose(parts.compute(), whole, rtol=0, atol=2e-6)


def test_the_lattice_of_own_pixels_follows_from_the_coordinates(plain):
    errors = []
    for row, col in ((0, 0), (3, 4)):
        cube, fine = make_cube(120, 120, row=row, col=col)
        made = cube.sr.sharpen(model=plain)
        errors.append(np.abs(made.values - fine)[..., 40:-40, 40:-40].mean(axis=(0, 2, 3)))
        moved = cube.assign_coords(x=cube.x + 10)
        wrong = np.abs(moved.sr.sharpen(model=plain).values - fine)[..., 40:-40, 40:-40].mean(axis=(0, 2, 3))
        assert (wrong[2:4] > 3 * errors[-1][2:4]).all()
    assert np.allclose(errors[0][2:4], errors[1][2:4], rtol=0.5)


def test_no_data_stays_where_it_is_band_by_band(model):
    cube, _ = make_cube(60, 60)
    cube.values[0, 0, 10:20, 10:20] = np.nan
    cube.values[0, 2, 30:34, 30:34] = np.inf
    cube.values[0, 4, :, :6] = np.nan
    fine = cube.sr.sharpen(model=model)
    np.testing.assert_array_equal(np.isnan(fine), ~np.isfinite(cube))
    assert np.isnan((cube * np.nan).sr.sharpen(model=model)).all()


def test_a_band_that_repeats_its_pixels_is_interpolated_first(plain):
    cube, fine = make_cube(120, 120, NETWORK)
    repeated = cube.copy(deep=True)
    for number, band in enumerate(NETWORK):
        if GSD[band] == 20:
            repeated.values[0, number] = seen(fine[0, number], band, own=True).repeat(2, 0).repeat(2, 1)
    made, wanted = repeated.sr.sharpen(model=plain), cube.sr.sharpen(model=plain)
    np.testing.assert_allclose(made.values[..., 30:-30, 30:-30], wanted.values[..., 30:-30, 30:-30], rtol=0, atol=1e-5)


def mixed(height=48, width=48, bands=BANDS, dates=1):
    """Dataset of the same bands on grids of their own."""
    cube, fine = make_cube(height, width, bands, dates=dates)
    variables, coords = {}, {"time": cube.time.values, "spatial_ref": cube.spatial_ref}
    for number, band in enumerate(bands):
        side = GSD[band] // 10
        suffix = "" if side == 1 else f"_{10 * side}m"
        own = [one[number] if side == 1 else seen(one[number], band, own=True) for one in fine]
        variables[band] = (("time", f"y{suffix}", f"x{suffix}"), np.float32(own))
        for dim, start, step in (("y", NORTH, -10 * side), ("x", WEST, 10 * side)):
            count = variables[band][1].shape[1 if dim == "y" else 2]
            coords[f"{dim}{suffix}"] = start + step * (np.arange(count) + 0.5)
    return xr.Dataset(variables, coords=coords), cube


def test_a_dataset_of_several_grids_gives_the_same(model):
    several, cube = mixed(dates=2)
    made = several.sr.sharpen(model=model, precision="float32")
    wanted = cube.sr.sharpen(model=model, precision="float32")
    assert dict(made.sizes) == {"time": 2, "y": 48, "x": 48}
    for band in BANDS:
        inner = (..., slice(20, -20), slice(20, -20))
        np.testing.assert_allclose(made[band].values[inner], wanted.sel(band=band).values[inner], rtol=0, atol=2e-3)
    chunked = several.chunk(y=20, x=20, y_20m=10, x_20m=10)
    with assert_lazy(chunked):
        lazy = chunked.sr.sharpen(model=model, precision="float32")
    assert lazy.chunks
    xr.testing.assert_allclose(lazy.compute(), made, rtol=0, atol=2e-6)


def as_tree(several):
    """Groups of one pixel size each, with dims y and x."""
    groups = {}
    for suffix in ("", "_20m", "_60m"):
        names = [name for name, one in several.data_vars.items() if one.dims[-1] == f"x{suffix}"]
        own = several[names].rename({f"y{suffix}": "y", f"x{suffix}": "x"} if suffix else {})
        groups[f"/r{suffix.strip('_') or '10m'}"] = own
    return xr.DataTree.from_dict(groups)


def test_the_groups_of_a_tree_are_sharpened_together(model):
    several, _ = mixed(dates=2)
    tree = as_tree(several)
    made = tree.sr.sharpen(model=model, precision="float32")
    xr.testing.assert_equal(made, several.sr.sharpen(model=model, precision="float32"))
    lazy = as_tree(several.chunk())
    with assert_lazy(*lazy["r20m"].data_vars.values()):
        lazy.sr.sharpen(model=model)
    ten = tree["r10m"]
    assert set(ten.sr.interpolate(scale=2).data_vars) == {"B02", "B04"}
    with pytest.raises(BandError, match="the bands are of one kind"):
        ten.sr.sharpen(model=model)


def test_trees_that_hold_no_one_cube_are_refused(model):
    several, _ = mixed(dates=2)
    tree = as_tree(several)
    with pytest.raises(CubeError, match=r"3 groups with images \(/r10m, /r20m, /r60m\).*node tree\['/r10m'\]"):
        tree.sr.liif(scale=2)
    with pytest.raises(CubeError, match=r"0 groups with images"):
        xr.DataTree().sr.sharpen()
    twice = xr.DataTree.from_dict({"/a": tree["r10m"].to_dataset(), "/b": tree["r10m"].to_dataset()})
    with pytest.raises(CubeError, match=r"'B02' lies in the groups /a and /b of the tree"):
        twice.sr.sharpen()
    dates = xr.DataTree.from_dict({"/a": tree["r10m"].to_dataset(), "/b": tree["r20m"].to_dataset().isel(time=[0])})
    with pytest.raises(CubeError, match=r"the groups /a, /b of the tree do not fit: .*the same dates"):
        dates.sr.sharpen()
    moved = tree["r20m"].to_dataset().odc.assign_crs(32634)
    with pytest.raises(CubeError, match=r"lie in .* and EPSG:32634; expected one CRS"):
        xr.DataTree.from_dict({"/a": tree["r10m"].to_dataset(), "/b": moved}).sr.sharpen()
    nameless = xr.DataTree(xr.Dataset({"one": tree["r10m"]["B02"], "two": tree["r10m"]["B04"]}))
    with pytest.raises(BandError, match="one"):
        nameless.sr.sharpen()


def test_grids_that_do_not_nest_are_refused_with_the_difference(model):
    several, _ = mixed(bands=NETWORK)
    moved = several.assign_coords(x_20m=several.x_20m + 4)
    with pytest.raises(
        GridError, match=re.escape("begin at (0, 0.4) of them; expected whole numbers, they are off by up to 0.4")
    ):
        moved.sr.sharpen(model=model)
    other = several.assign_coords(y_20m=NORTH - 25 * (np.arange(several.sizes["y_20m"]) + 0.5))
    with pytest.raises(GridError, match=re.escape("measure 2 by 2.5")):
        other.sr.sharpen(model=model)


def test_finer_pixels_come_from_liif(model):
    cube, _ = make_cube(32, 32, NETWORK)
    fine = cube.sr.sharpen(model=model, to=5)
    assert dict(fine.sizes) == {"time": 1, "band": 4, "y": 64, "x": 64}
    assert fine.attrs["xsr_operation"] == "liif"
    for to, message in ((20, "to=20; the sharpest bands have pixels of 10"), (-1, "to=-1"), ("5", "to='5'")):
        with pytest.raises(ParameterError, match=message):
            cube.sr.sharpen(model=model, to=to)


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        (("B02", "B04"), "none is larger than the grid's"),
        (("B05", "B11"), "none is as sharp as the grid"),
        (("B01",), "none is as sharp as the grid"),
    ],
)
def test_bands_of_one_kind_are_refused(model, bands, message):
    cube, _ = make_cube(bands=bands)
    with pytest.raises(BandError, match=message):
        cube.sr.sharpen(model=model)


def test_what_else_cannot_be_sharpened_is_refused(model, tmp_path):
    cube, _ = make_cube()
    odd = cube.assign_coords(native_gsd=("band", [10.0, 10, 30, 20, 60, 60]))
    with pytest.raises(BandError, match="'B05' has pixels of 30 m on a grid of 10 m"):
        odd.sr.sharpen(model=model)
    unknown = cube.drop_vars("native_gsd", errors="ignore").assign_coords(band=[*cube["band"].values[:-1], "thermal"])
    with pytest.raises(BandError, match="'thermal' is none of sentinel-2, and nothing says how large its pixels are"):
        unknown.sr.sharpen(model=model)
    with pytest.raises(ModelError, match="for other uses; expected one that sharpens bands"):
        cube.sr.sharpen(model="liif_s2")
    with pytest.raises(ModelError, match="sharpens bands on their grid; use sharpen"):
        cube.sr.sisr(model=model)
    with pytest.raises(CubeError):
        cube.isel(y=slice(0, 0)).sr.sharpen(model=model)


def test_a_real_product_keeps_its_sharp_bands(model):
    cube, _ = make_cube(40, 40, NETWORK)
    packed = (cube * 10_000).round().astype("uint16").assign_attrs(scale_factor=1e-4, add_offset=0.0)
    fine = packed.sr.sharpen(model=model)
    wanted = packed.sel(band="B02").values.astype(np.float32) * np.float32(1e-4)
    np.testing.assert_array_equal(fine.sel(band="B02"), wanted)


def test_sixty_metre_bands_need_no_twenty_metre_ones(plain):
    cube, fine = make_cube(144, 144, ("B02", "B04", "B01"))
    made = cube.sr.sharpen(model=plain)
    errors = [np.abs((v[0, 2] - fine[0, 2])[40:-40, 40:-40]).mean() for v in (cube.values, made.values)]
    assert errors[1] < 0.3 * errors[0]


def test_quantiles_need_a_model_of_errors_and_the_grid_of_the_sharpest(model):
    cube, _ = make_cube(48, 48, NETWORK)
    with pytest.raises(ModelError, match="the errors of model 'sharpener' were never measured"):
        cube.sr.sharpen(model=model, quantiles=0.9)
    with pytest.raises(ParameterError, match="quantiles with to=5"):
        cube.sr.sharpen(model=model, quantiles=0.9, to=5)
    with pytest.raises(ParameterError, match="quantiles=2; expected"):
        cube.sr.sharpen(model=model, quantiles=2)
