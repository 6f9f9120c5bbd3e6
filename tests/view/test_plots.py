"""Pictures: what artists hold, what is computed for them, and how they look."""

import sys
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from helpers import NORTH, WEST, make_cube, make_dataset
from matplotlib.figure import Figure
from pictures import IMAGES, difference, drawn, scores_of

import xsr
from xsr.core.errors import BandError, CubeError, GridError, NotAvailableError, ParameterError, XsrWarning
from xsr.testing import synthetic_cube, synthetic_pair
from xsr.view.plots.places import steepest
from xsr.view.plots.stretch import colours, range_of


@pytest.fixture
def ax():
    return Figure(figsize=(2, 2), dpi=50).subplots()


@pytest.fixture(scope="module")
def pair():
    return synthetic_pair(size=(32, 40))


def reads(cube, counter):
    """Lazy cube that counts the blocks computed of it."""

    def read(block):
        counter.append(block.shape)
        return block

    data = cube.data.map_blocks(read, dtype=cube.dtype, meta=np.empty((0,) * cube.ndim, cube.dtype))
    return cube.copy(data=data)


# --- rgb ---------------------------------------------------------------------------------------------------------


def test_rgb_by_hand(ax):
    values = np.array([[[0.0, 0.1], [0.2, 0.3]], [[0.1, np.nan], [0.1, 0.1]], [[0.2, 0.2], [0.2, np.inf]]], np.float32)
    image = xsr.plot.rgb(make_cube(values), stretch=(0, 0.2), ax=ax)
    expected = [[[255, 128, 0, 255], [255, 0, 128, 0]], [[255, 128, 255, 255], [0, 128, 255, 0]]]
    shown = np.asarray(image.get_array())
    visible = shown[..., 3] > 0
    assert visible.tolist() == [[True, False], [True, False]]
    assert np.array_equal(shown[visible], np.array(expected, np.uint8)[visible])
    assert image.get_clim() == (0, 0.2)
    assert image.get_label() == "B04 B03 B02, 0 to 0.2"
    assert image.get_extent() == [WEST, WEST + 20, NORTH - 20, NORTH]
    assert (ax.get_xlim(), ax.get_ylim()) == ((WEST, WEST + 20), (NORTH - 20, NORTH))
    assert ax.get_aspect() == 1
    assert "EPSG:32633" in ax.get_xlabel()


def test_the_stretch_is_that_of_percentiles_of_all_bands_together(ax):
    cube = make_cube((3, 10, 10))
    image = xsr.plot.rgb(cube, ax=ax)
    assert image.get_clim() == pytest.approx(tuple(np.percentile(cube.values, (2, 98))))
    assert xsr.plot.rgb(cube, percentiles=(0, 100), ax=ax).get_clim() == (cube.values.min(), cube.values.max())


@pytest.mark.parametrize("make", [make_cube, make_dataset])
def test_the_accessor_the_function_and_both_containers_draw_the_same(ax, make):
    cube = make((2, 4, 5, 6), chunks={"y": 2})
    wanted = xsr.plot.rgb(make_cube((2, 4, 5, 6)).isel(time=1), ax=ax).get_array()
    for image in (cube.sr.plot.rgb(time=1, ax=ax), xsr.plot.rgb(cube, time="2024-06-02", ax=ax)):
        assert np.array_equal(image.get_array(), wanted)


def test_rows_run_down_whatever_their_order(ax):
    cube = make_cube((3, 4, 5))
    turned = xsr.plot.rgb(cube.isel(y=slice(None, None, -1)), ax=ax)
    assert np.array_equal(turned.get_array(), xsr.plot.rgb(cube, ax=ax).get_array())
    assert turned.get_extent() == xsr.plot.rgb(cube, ax=ax).get_extent()


def test_a_turned_grid_is_drawn_where_it_lies(ax):
    affine = Affine(6, 8, WEST, 8, -6, NORTH)
    image = xsr.plot.rgb(make_cube((3, 4, 5), affine=affine), ax=ax)
    corner = ax.transData.inverted().transform(image.get_transform().transform((5, 4)))
    assert corner == pytest.approx((WEST + 6 * 5 + 8 * 4, NORTH + 8 * 5 - 6 * 4))


def test_degrees_have_one_scale_on_the_ground(ax):
    xsr.plot.rgb(make_cube((3, 4, 5), crs="EPSG:4326", affine=Affine(1e-4, 0, 5, 0, -1e-4, 60)), ax=ax)
    assert ax.get_aspect() == pytest.approx(2, rel=0.01)  # 1 / cos(60°)
    assert ax.get_ylabel() == "latitude [degree]"


def test_only_the_date_is_computed_and_a_large_image_is_reduced(ax):
    counter: list[tuple[int, ...]] = []
    cube = reads(make_cube((5, 4, 128, 96), chunks={"time": 1, "y": 64}), counter)
    image = xsr.plot.rgb(cube, time=3, pixels=24, ax=ax)
    assert counter == [(1, 4, 64, 96)] * 2
    assert image.get_array().shape == (32, 24, 4)


def test_a_reduced_pixel_is_the_mean_of_the_valid_ones(ax):
    values = np.full((3, 5, 8), np.nan, np.float32)
    values[:, :4, :4] = np.arange(16).reshape(4, 4) / 100
    values[:, 4, 4] = 0.5
    image = xsr.plot.rgb(make_cube(values), pixels=1, stretch=(0, 0.55), ax=ax)
    assert image.get_array()[..., 0].tolist() == [[35, 0], [0, 232]]  # 0.075 and 0.5
    assert image.get_array()[..., 3].tolist() == [[255, 0], [0, 255]]
    assert image.get_extent() == [WEST, WEST + 80, NORTH - 80, NORTH]  # whole blocks


def test_axes_say_how_many_pixels_are_drawn():
    small, large = (Figure(figsize=(side, side), dpi=50).add_axes((0, 0, 1, 1)) for side in (1, 4))
    cube = make_cube((3, 200, 200))
    assert xsr.plot.rgb(cube, ax=small).get_array().shape == (50, 50, 4)
    assert xsr.plot.rgb(cube, ax=large).get_array().shape == (200, 200, 4)


def test_without_a_date_the_first_or_the_clearest_is_drawn(ax):
    cube = make_cube((3, 3, 4, 5))
    xsr.plot.rgb(cube, ax=ax)
    assert ax.get_title() == "2024-06-01, one of 3 dates"
    xsr.plot.rgb(cube.assign_coords({"eo:cloud_cover": ("time", [30.0, np.nan, 2.0])}), ax=ax)
    assert ax.get_title() == "2024-06-03, one of 3 dates"


def test_thousands_of_dates_are_not_read(ax):
    counter: list[tuple[int, ...]] = []
    days = np.datetime64("2015-01-01", "ns") + np.arange(5000) * np.timedelta64(1, "D")
    cube = make_cube((1, 3, 2, 2)).isel(time=[0] * 5000).assign_coords(time=days).chunk(time=1)
    xsr.plot.rgb(reads(cube, counter), time="2020-02-29", ax=ax)
    assert ax.get_title() == "2020-02-29, one of 5000 dates"
    assert counter == [(1, 3, 2, 2)]


def test_one_band_is_grey_and_one_pixel_is_a_picture(ax):
    image = xsr.plot.rgb(make_cube(np.array([[0.3]], np.float32)), ax=ax)
    assert image.get_array().tolist() == [[[128, 128, 128, 255]]]
    image = xsr.plot.rgb(make_cube((10, 4, 4)), bands="nir", ax=ax)
    assert image.get_label().startswith("B08,")
    assert (np.ptp(image.get_array()[..., :3], axis=-1) == 0).all()


def test_the_estimate_of_quantiles_is_drawn(ax):
    cube = make_cube((3, 4, 5))
    quantiles = xr.concat([cube - 1, cube, cube + 1], xr.IndexVariable("quantile", [0.05, 0.5, 0.95]))
    assert np.array_equal(xsr.plot.rgb(quantiles, ax=ax).get_array(), xsr.plot.rgb(cube, ax=ax).get_array())
    with pytest.raises(CubeError, match=r"expected 0\.5 among them"):
        xsr.plot.rgb(quantiles.isel(quantile=[0, 2]), ax=ax)


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_a_date_without_pixels_is_an_empty_picture_and_a_warning(ax):
    cube = make_cube((2, 3, 4, 5))
    cube[0] = np.nan
    with pytest.warns(XsrWarning, match=r"no valid pixel of .* on 2024-06-01: the picture is empty.* time="):
        image = xsr.plot.rgb(cube, ax=ax)
    assert not image.get_array()[..., 3].any()
    assert ax.get_title() == "2024-06-01, one of 2 dates, no valid pixel"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bands": ("B08", "B05")}, BandError, "expected three, for red, green and blue, or one"),
        ({"bands": "B99"}, BandError, r"bands \['B99'\] requested"),
        ({"time": "2024-07-01"}, ParameterError, "is none of 2 dates; the nearest is 2024-06-02"),
        ({"time": "2024-06"}, ParameterError, "is the date of 2 images"),
        ({"time": 2}, ParameterError, "the cube has 2 dates"),
        ({"time": "summer"}, ParameterError, "expected a date such as"),
        ({"stretch": (1, 0)}, ParameterError, "two ascending numbers"),
        ({"stretch": 1}, ParameterError, "two ascending numbers"),
        ({"percentiles": (2, 102)}, ParameterError, "from 0 to 100"),
        ({"pixels": 0}, ParameterError, "a number of pixels a side"),
    ],
)
def test_bad_arguments_of_rgb(ax, options, error, message):
    with pytest.raises(error, match=message):
        xsr.plot.rgb(make_cube((2, 10, 4, 5)), ax=ax, **options)


def test_a_cube_without_the_visible_bands_says_what_to_do(ax):
    with pytest.raises(BandError, match=r"needs the bands B04, B03, B02.*has \['B08', 'B11'\].*bands='B08'"):
        xsr.plot.rgb(make_cube((2, 4, 4), bands=["B08", "B11"]), ax=ax)
    with pytest.raises(CubeError, match="got int"):
        xsr.plot.rgb(3, ax=ax)
    with pytest.raises(ParameterError, match="no dimension 'time'"):
        xsr.plot.rgb(make_cube((3, 4, 4)), time=0, ax=ax)


def test_without_matplotlib_one_error_says_what_to_install(monkeypatch):
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(NotAvailableError, match=r"pip install 'xarray-sr\[viz\]'"):
        make_cube((3, 4, 4)).sr.plot.rgb()


def test_colours_and_ranges_by_hand():
    assert range_of([np.array([np.nan]), np.array([0.0, 1.0, np.nan, np.inf])], (0, 50)) == (0, 0.5)
    assert range_of([np.full(4, 0.4)], (2, 98)) == pytest.approx((0.2, 0.6))
    assert range_of([np.array([np.nan])], (2, 98)) is None
    assert colours(np.full((1, 1, 1), np.nan), None).tolist() == [[[0, 0, 0, 0]]]


# --- compare -----------------------------------------------------------------------------------------------------


def test_panels_share_their_stretch_and_show_the_same_places(pair):
    axes = Figure().subplots(1, 3)
    bicubic = pair.low.sr.interpolate(scale=4)
    place = (WEST + 100, 5_649_900)
    images = pair.low.sr.plot.compare(bicubic, pair.high, axes=axes, insets=[place], inset_side=8)
    assert [image.axes for image in images] == list(axes)
    assert len({image.get_clim() for image in images}) == 1
    boxes = [ax.child_axes[0].get_images()[0].get_extent() for ax in axes]
    assert boxes == [[WEST + 60, WEST + 140, 5_649_860, 5_649_940]] * 3
    shapes = [ax.child_axes[0].get_images()[0].get_array().shape for ax in axes]
    assert shapes == [(8, 8, 4), (32, 32, 4), (32, 32, 4)]


def test_compare_makes_a_figure_with_a_row_for_every_detail(pair):
    import matplotlib.pyplot as plt

    images = xsr.plot.compare(pair.low, pair.high, insets=2, inset_side=8, titles=["a $x$", "b"])
    figure = images[0].axes.figure
    assert len(figure.axes) == 6
    assert images[0].axes.get_title() == r"a \$x\$"
    plt.close(figure)


def test_only_what_is_shown_is_computed(pair):
    counter: list[tuple[int, ...]] = []
    low = pair.low.isel(time=[0, 0, 0]).assign_coords(
        time=np.array(["2024-01-01", "2024-02-01", "2024-03-01"], "M8[ns]")
    )
    high = reads(pair.high.isel(time=[0, 0, 0]).assign_coords(time=low.time).chunk(time=1), counter)
    xsr.plot.compare(low, high, time="2024-02-01", inset_side=8, axes=Figure().subplots(1, 2))
    assert len(counter) == 1  # one date, overview and detail together


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"titles": ["a"]}, ParameterError, "for 2 cubes; expected one for each"),
        ({"insets": 9}, ParameterError, "expected at most 4"),
        ({"insets": (1, 2)}, ParameterError, "such as"),
        ({"insets": [(0, 0)]}, GridError, "lies outside the cube"),
        ({"inset_side": -1}, ParameterError, "pixels of the first cube"),
    ],
)
def test_bad_arguments_of_compare(pair, options, error, message):
    with pytest.raises(error, match=message):
        xsr.plot.compare(pair.low, pair.high, axes=Figure().subplots(1, 2), **options)


def test_cubes_that_cannot_be_compared(pair):
    with pytest.raises(GridError, match="expected one CRS"):
        xsr.plot.compare(pair.low, make_cube((3, 4, 4)), axes=Figure().subplots(1, 2))
    with pytest.raises(ParameterError, match="1 axes for 2 cubes"):
        xsr.plot.compare(pair.low, pair.high, axes=[Figure().subplots()])
    with pytest.raises(CubeError, match="got NoneType"):
        xsr.plot.compare(pair.low, None, axes=Figure().subplots(1, 2))


def test_the_steepest_whole_windows_are_found():
    picture = np.zeros((1, 20, 30))
    picture[0, 10, 20] = 1
    picture[0, 4, 5] = 3
    assert steepest(picture, 3, 1)[0] == pytest.approx((5, 4), abs=2)
    picture[0, 4, 5] = np.nan
    assert steepest(picture, 3, 1)[0] == pytest.approx((20, 10), abs=2)
    assert len(steepest(np.full((1, 2, 2), np.nan), 5, 3)) == 1


# --- scores and series -------------------------------------------------------------------------------------------


def test_strata_are_drawn_as_they_are_scored(ax, pair):
    scores, others = scores_of(pair, "strata")
    lines = scores.sr.plot.strata(metric="mae", beside={"nearest": others}, ax=ax)
    assert [line.get_label() for line in lines[3:5]] == ["B08", "B02, nearest"]
    assert np.array_equal(lines[1].get_ydata(), scores.mae.isel(time=0, band=1).values)
    assert ax.get_ylabel() == "mae [reflectance]"


def test_several_dates_are_drawn_by_their_median_or_one_of_them(ax, pair):
    scores, _ = scores_of(pair, "strata")
    times = np.array(["2024-01-01", "2024-01-02", "2024-01-03"], "M8[ns]")
    many = xr.concat([scores.isel(time=0).assign_coords(time=t) + k for k, t in enumerate(times)], "time")
    many.attrs = scores.attrs
    many.rmse.attrs = scores.rmse.attrs
    (line,) = xsr.plot.strata(many, bands=["B03"], ax=ax)
    assert ax.get_title() == "median of 3 dates"
    assert line.get_ydata() == pytest.approx(scores.rmse.sel(band="B03").isel(time=0).values + 1)
    (line,) = xsr.plot.strata(many, bands=["B03"], time="2024-01-03", ax=ax)
    assert ax.get_title() == "2024-01-03"
    assert line.get_ydata() == pytest.approx(scores.rmse.sel(band="B03").isel(time=0).values + 2)


def test_a_spectrum_marks_nyquist_and_resolution(ax, pair):
    scores, _ = scores_of(pair, "spectrum")
    lines = xsr.plot.spectrum(scores, low_m=10, bands=["B02"], ax=ax)
    resolution = float(scores.resolution_m.sel(band="B02").item())
    assert lines[0].get_label() == f"B02: {resolution:.3g} m"
    assert {text.get_text() for text in ax.texts} == {"Nyquist, 10 m pixels", "Nyquist, 2.5 m pixels"}
    places = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1 or line.get_linestyle() == ":"]
    assert sorted(places) == pytest.approx(sorted([1 / resolution, 0.05, 0.2]))


def test_calibration_is_drawn_as_it_is_scored(pair):
    scores, _ = scores_of(pair, "calibration")
    axes = Figure().subplots(1, 2)
    lines = xsr.plot.calibration(scores, axes=axes)
    assert len(lines) == 8
    assert np.array_equal(lines[2].get_ydata(), scores.coverage.isel(time=0, band=2).values)
    assert np.array_equal(lines[6].get_ydata(), scores.width.isel(time=0, band=2).values)
    with pytest.raises(ParameterError, match="expected two"):
        xsr.plot.calibration(scores, axes=[axes[0]])


@pytest.mark.parametrize("name", ["strata", "spectrum", "calibration"])
def test_scores_are_drawn_by_their_own_plot_alone(name, pair):
    plot = getattr(xsr.plot, name)
    with pytest.raises(CubeError, match=rf"expected the Dataset of xsr\.{name}\(fine, reference\)"):
        plot(pair.low)
    other, _ = scores_of(pair, "strata" if name == "spectrum" else "spectrum")
    with pytest.raises(CubeError, match=r"got (strata|spectrum)"):
        plot(other)
    own, _ = scores_of(pair, name)
    with pytest.raises(BandError, match=r"\['B99'\] requested"):
        plot(own, bands="B99")


def test_a_metric_that_is_not_there(ax, pair):
    scores, _ = scores_of(pair, "strata")
    with pytest.raises(ParameterError, match=r"'ssim' is not there by band.*'rmse'"):
        xsr.plot.strata(scores, metric="ssim", ax=ax)


def test_a_series_with_its_interval(ax):
    times = ["2024-03-01", "2024-01-01", "2024-02-01"]
    cube = make_cube((3, 2, 4, 5), times=times)
    cube[2, 0, 1, 2] = np.nan
    quantiles = xr.concat([cube - 0.1, cube, cube + 0.2], xr.IndexVariable("quantile", [0.05, 0.5, 0.95]))
    line, ribbon = xsr.plot.series(quantiles, x=WEST + 25, y=NORTH - 15, bands="B02", ax=ax)
    assert line.get_xdata().astype("M8[D]").tolist() == np.array(["2024-01-01", "2024-03-01"], "M8[D]").tolist()
    assert line.get_ydata() == pytest.approx(cube.values[[1, 0], 0, 1, 2])
    heights = ribbon.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((min(line.get_ydata()) - 0.1, max(line.get_ydata()) + 0.2))
    assert ribbon.get_label() == "B02, 90% interval"
    assert "2 of 3 dates" in ax.get_title()


def test_a_series_reads_the_block_of_its_pixel_and_takes_degrees(ax):
    counter: list[tuple[int, ...]] = []
    cube = reads(make_cube((2, 2, 8, 8), chunks={"y": 4, "x": 4}), counter)
    x, y = 15.0, 52.3
    with pytest.raises(GridError, match="lies outside the cube"):
        xsr.plot.series(cube, x=x, y=y, crs="EPSG:4326", ax=ax)
    lines = cube.sr.plot.series(x=WEST + 79.9, y=NORTH - 0.1, ax=ax)
    assert counter == [(2, 2, 4, 4)]
    assert lines[1].get_ydata() == pytest.approx(make_cube((2, 2, 8, 8)).values[:, 1, 0, 7])
    lower = cube.odc.geobox.geographic_extent.centroid.coords[0]
    assert xsr.plot.series(cube, x=lower[0], y=lower[1], crs="EPSG:4326", ax=ax)


@pytest.mark.parametrize(
    ("options", "message"), [({"x": "a", "y": 0}, "x='a'"), ({"x": 0, "y": np.nan}, "y=nan; expected a number")]
)
def test_bad_places_of_a_series(ax, options, message):
    with pytest.raises(ParameterError, match=message):
        xsr.plot.series(make_cube((2, 2, 4, 4)), ax=ax, **options)


def test_a_series_needs_dates_and_an_estimate(ax):
    place = {"x": WEST + 1, "y": NORTH - 1, "ax": ax}
    with pytest.raises(CubeError, match="the cube has no dates"):
        xsr.plot.series(make_cube((2, 4, 4)), **place)
    quantiles = make_cube((2, 2, 4, 4)).expand_dims(quantile=[0.1, 0.9])
    with pytest.raises(CubeError, match=r"expected 0\.5 among them"):
        xsr.plot.series(quantiles, **place)


# --- how they look -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGES)
def test_pictures_look_as_before(name):
    reference = Path(__file__).parent / "images" / f"{name}.png"
    with dask.config.set(scheduler="sync"):
        assert difference(drawn(name), reference) < 12
    assert reference.stat().st_size < 40_000


@pytest.mark.slow
def test_another_picture_is_told_from_the_reference():
    reference = Path(__file__).parent / "images" / "strata.png"
    assert difference(drawn("spectrum"), reference) > 12


def test_drawing_on_given_axes_leaves_pyplot_without_figures(ax):
    import matplotlib.pyplot as plt

    xsr.plot.rgb(synthetic_cube(size=(8, 8)), ax=ax)
    assert plt.get_fignums() == []
