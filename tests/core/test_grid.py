import math

import numpy as np
import pytest
from affine import Affine
from helpers import NORTH, WEST, make_cube, make_geobox
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from xsr.core.blocks import Span
from xsr.core.errors import GridError, ParameterError
from xsr.core.grid import (
    Points,
    Refinement,
    Warp,
    clip_inside,
    coarsen,
    input_window,
    inside,
    project_points,
    refine,
    resolution,
    target_grid,
)
from xsr.operations.interpolate import interpolate

check = settings(max_examples=150)
POSITION_PX = 1e-9
"""Positions are rounded to 2^-30 px, which moves them by at most half of it."""


def grid(geobox, *, scale=None, resolution_m=None, like=None):
    return target_grid(geobox, scale=scale, resolution_m=resolution_m, like=like)


def all_positions(sampling):
    height, width = sampling.shape
    return sampling.query(Span(0, height), Span(0, width)).positions()


# --- the policy of scale= and resolution= ------------------------------------------------------------


def test_301_pixels_at_3_4_give_1023_of_exact_size_from_the_same_corner():
    target, sampling = grid(make_geobox((301, 301)), scale=3.4)
    assert target.shape.yx == sampling.shape == (1023, 1023)
    assert (target.affine.a, target.affine.e) == (10 / 3.4, -10 / 3.4)
    assert (target.affine.c, target.affine.f) == (WEST, NORTH)
    assert target.crs == "EPSG:32633"


@pytest.mark.parametrize(
    ("pixels", "scale", "expected"),
    [(100, 1.1, 110), (10, 0.1 + 2.2, 23), (7, 1.5, 10), (1, 3.4, 3), (3, 1, 3), (5, 1.999999, 9)],
)
def test_a_pixel_exists_only_inside_the_input_and_rounding_costs_none(pixels, scale, expected):
    assert grid(make_geobox((pixels, pixels)), scale=scale)[0].shape.yx == (expected, expected)


@given(height=st.integers(1, 400), width=st.integers(1, 400), scale=st.floats(1, 12))
@check
def test_the_finer_grid_fills_the_input_to_within_one_of_its_pixels(height, width, scale):
    source = make_geobox((height, width))
    target, _ = grid(source, scale=scale)
    have, want = target.boundingbox, source.boundingbox
    size = 10 / scale
    assert (have.left, have.top) == (want.left, want.top)
    assert -1e-4 <= want.right - have.right < size
    assert -1e-4 <= have.bottom - want.bottom < size


@given(size=st.integers(1, 60), scale=st.floats(1, 8))
@check
def test_the_centre_of_output_pixel_j_lies_at_j_plus_half_over_s_minus_half(size, scale):
    rows, cols = all_positions(grid(make_geobox((size, size + 1)), scale=scale)[1])
    np.testing.assert_allclose(rows, (np.arange(rows.size) + 0.5) / scale - 0.5, atol=POSITION_PX, rtol=0)
    np.testing.assert_allclose(cols, (np.arange(cols.size) + 0.5) / scale - 0.5, atol=POSITION_PX, rtol=0)


def test_centres_at_scale_2_and_3_hand_values():
    rows, cols = all_positions(grid(make_geobox((2, 1)), scale=2)[1])
    assert rows.tolist() == [-0.25, 0.25, 0.75, 1.25]
    assert cols.tolist() == [-0.25, 0.25]
    rows, _ = all_positions(grid(make_geobox((1, 1)), scale=3)[1])
    np.testing.assert_allclose(rows, [-1 / 3, 0, 1 / 3], atol=POSITION_PX)


def test_positions_of_a_block_equal_those_of_the_whole():
    _, sampling = grid(make_geobox((50, 50)), scale=3.4)
    rows, cols = all_positions(sampling)
    part = sampling.query(Span(31, 77), Span(100, 101)).positions()
    assert np.array_equal(part[0], rows[31:77])
    assert np.array_equal(part[1], cols[100:101])


@given(scale=st.floats(1, 8), shift=st.integers(-60, 60))
@check
def test_positions_move_by_whole_pixels_without_rounding(scale, shift):
    rows, _ = all_positions(grid(make_geobox((40, 1)), scale=scale)[1])
    assert np.array_equal((rows + shift) - shift, rows)


def test_resolution_is_a_size_in_units_of_the_crs():
    target, sampling = grid(make_geobox((30, 20)), resolution_m=2.5)
    assert target.shape.yx == (120, 80)
    assert target.affine.a == -target.affine.e == 2.5
    assert sampling.cell == (0.25, 0.25)


def test_resolution_makes_square_pixels_of_oblong_ones():
    oblong = make_geobox((10, 10), affine=Affine(20, 0, WEST, 0, -10, NORTH))
    target, sampling = grid(oblong, resolution_m=5)
    assert target.shape.yx == (20, 40)
    assert sampling.cell == (0.5, 0.25)
    assert target.boundingbox == oblong.boundingbox


def test_a_rotated_grid_is_refined_along_its_own_axes():
    turned = Affine.translation(WEST, NORTH) @ Affine.rotation(30) @ Affine.scale(10, -20)
    source = make_geobox((8, 6), affine=turned)
    target, sampling = grid(source, scale=2.5)
    assert resolution(source) == pytest.approx((20, 10))
    assert resolution(target) == pytest.approx((8, 4))
    assert target.shape.yx == (20, 15)
    rows, cols = all_positions(sampling)
    for j, i in ((0, 0), (19, 14), (7, 3)):
        expected = ~turned @ (target.affine @ (i + 0.5, j + 0.5))
        assert (cols[i] + 0.5, rows[j] + 0.5) == pytest.approx(expected, abs=1e-6)


def test_refine_refuses_a_scale_that_leaves_no_pixel():
    with pytest.raises(GridError, match=r"leaves 0 x 4 pixels; expected at least one"):
        refine(make_geobox((1, 5)), (0.5, 0.9))


# --- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({}, "nothing given; expected exactly one of scale="),
        ({"scale": 2, "resolution_m": 5}, "scale and resolution given"),
        ({"scale": 2, "like": make_geobox((4, 4), gsd=5)}, "scale and like given"),
    ],
)
def test_exactly_one_target_must_be_given(given_, message):
    with pytest.raises(ParameterError, match=message):
        grid(make_geobox((4, 4)), **given_)


@pytest.mark.parametrize("value", [0, -2, math.nan, math.inf, True, "2", (2, 2)])
@pytest.mark.parametrize("name", ["scale", "resolution_m"])
def test_a_target_must_be_a_positive_finite_number(name, value):
    with pytest.raises(ParameterError, match=rf"{name.removesuffix('_m')}=.*; expected a positive, finite number"):
        grid(make_geobox((4, 4)), **{name: value})


@pytest.mark.parametrize(("crs", "gsd", "unit"), [("EPSG:4326", 1e-4, "degrees"), ("EPSG:32633", 10.0, "metres")])
def test_a_resolution_that_is_coarser_says_its_unit(crs, gsd, unit):
    box = GeoBox((4, 4), Affine(gsd, 0, 10, 0, -gsd, 50), crs)
    with pytest.raises(ParameterError, match=rf"resolution=20 is in the {unit} of the cube's CRS, as its pixels of"):
        grid(box, resolution_m=20)


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2)])
def test_a_target_may_be_any_kind_of_number(value):
    assert grid(make_geobox((4, 4)), scale=value)[0].shape.yx == (8, 8)


@pytest.mark.parametrize("coarse", [{"scale": 0.5}, {"resolution_m": 11}, {"like": make_geobox((4, 4), gsd=20)}])
def test_a_coarser_target_is_refused(coarse):
    with pytest.raises(ParameterError, match=r"this operation\s+refines"):
        grid(make_geobox((8, 8)), **coarse)


def test_like_in_another_crs_is_refused_where_coarser():
    degrees = GeoBox((4, 4), Affine(0.01, 0, 16.47, 0, -0.01, 52.34), "EPSG:4326")
    with pytest.raises(ParameterError, match="expected at most 1"):
        grid(make_geobox((50, 50)), like=degrees)


@pytest.mark.parametrize("corner", [(WEST + 80, NORTH), (WEST - 40, NORTH), (WEST, NORTH + 40), (WEST, NORTH - 80)])
def test_like_that_only_touches_the_cube_is_refused(corner):
    beside = make_geobox((8, 8), affine=Affine(5, 0, corner[0], 0, -5, corner[1]))
    ours = rf"the cube \(x {WEST:.0f} to {WEST + 80:.0f}, y {NORTH - 80:.0f} to {NORTH:.0f} in EPSG:32633\)\. Check"
    with pytest.raises(GridError, match=rf"like= \(x \d+ to .* in EPSG:32633\) does not overlap {ours}"):
        grid(make_cube((1, 8, 8)).odc.geobox, like=beside)


def test_like_without_a_crs_is_refused():
    with pytest.raises(GridError, match=r"like= has no CRS"):
        grid(make_geobox((8, 8)), like=GeoBox((8, 8), make_geobox((8, 8)).affine, None))


# --- like= ---------------------------------------------------------------------------------------------


def test_like_in_the_same_crs_is_a_refinement_with_an_offset():
    like = make_geobox((6, 5), affine=Affine(4, 0, WEST + 13, 0, -5, NORTH - 27))
    target, sampling = grid(make_geobox((8, 8)), like=like)
    assert target is like
    assert sampling == Refinement((6, 5), (0.5, 0.4), (2.7, 1.3))
    rows, cols = all_positions(sampling)
    np.testing.assert_allclose(rows, (27 + 5 * (np.arange(6) + 0.5)) / 10 - 0.5, atol=POSITION_PX)
    np.testing.assert_allclose(cols, (13 + 4 * (np.arange(5) + 0.5)) / 10 - 0.5, atol=POSITION_PX)


@pytest.mark.parametrize(
    "affine",
    [
        Affine(5, 0, WEST, 0, 5, NORTH - 40),
        Affine.translation(WEST + 20, NORTH - 5) @ Affine.rotation(10) @ Affine.scale(5, -5),
    ],
    ids=["ascending", "rotated"],
)
def test_like_that_is_not_parallel_is_a_warp(affine):
    like = make_geobox((6, 6), affine=affine)
    source = make_geobox((8, 8))
    _, sampling = grid(source, like=like)
    assert isinstance(sampling, Warp)
    assert sampling.cell == pytest.approx((0.5, 0.5))
    rows, cols = all_positions(sampling)
    expected = ~source.affine @ (affine @ (4.5, 2.5))
    assert (cols[2, 4] + 0.5, rows[2, 4] + 0.5) == pytest.approx(expected, abs=1e-6)


def test_warp_positions_equal_those_of_pyproj():
    source = make_geobox((60, 60))
    like = GeoBox((40, 30), Affine(1.2e-4, 0, 16.472, 0, -0.8e-4, 52.341), "EPSG:4326")
    _, sampling = grid(source, like=like)
    rows, cols = all_positions(sampling)
    assert rows.shape == cols.shape == (40, 30)
    to_utm = Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True)
    for j, i in ((0, 0), (39, 29), (11, 23)):
        east, north = to_utm.transform(16.472 + 1.2e-4 * (i + 0.5), 52.341 - 0.8e-4 * (j + 0.5))
        assert rows[j, i] == pytest.approx((NORTH - north) / 10 - 0.5, abs=1e-6)
        assert cols[j, i] == pytest.approx((east - WEST) / 10 - 0.5, abs=1e-6)


def test_warp_positions_of_a_block_equal_those_of_the_whole_bit_for_bit():
    like = GeoBox((40, 30), Affine(1.2e-4, 0, 16.472, 0, -0.8e-4, 52.341), "EPSG:4326")
    _, sampling = grid(make_geobox((60, 60)), like=like)
    for whole, part in zip(all_positions(sampling), sampling.query(Span(7, 19), Span(5, 6)).positions(), strict=True):
        assert np.array_equal(part, whole[7:19, 5:6])


def test_warp_cell_is_the_pixel_size_in_input_pixels():
    source = make_geobox((60, 60), gsd=20)
    like = GeoBox((8, 8), Affine(10, 0, 500_000, 0, -10, 5_810_000), "EPSG:32634")
    centre = source.extent.centroid.to_crs("EPSG:32634").coords[0]
    like = GeoBox((8, 8), Affine(10, 0, centre[0] - 40, 0, -10, centre[1] + 40), "EPSG:32634")
    assert Warp(source, like).cell == pytest.approx((0.5, 0.5), rel=2e-3)  # the scale of UTM varies by 0.1 %


GEOS = GeoBox(
    (40, 40),
    Affine(280e3, 0, -5.6e6, 0, -280e3, 5.6e6),
    "+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84 +units=m +no_defs",
)
"""The Earth's disc from a geostationary orbit: its corners look past the Earth."""


def test_positions_past_the_earth_are_undefined_but_bounds_hold_the_disc():
    world = GeoBox((60, 120), Affine(3, 0, -180, 0, -3, 90), "EPSG:4326")
    query = Warp(world, GEOS).query(Span(0, 40), Span(0, 40))
    rows, cols = query.positions()
    disc = np.isfinite(rows) & np.isfinite(cols)
    assert not disc[0].any()
    assert 0.7 < disc.mean() < 0.8
    assert query.bounds() == ((rows[disc].min(), rows[disc].max()), (cols[disc].min(), cols[disc].max()))


def test_points_are_answered_as_one_row():
    geobox = make_geobox((8, 8))
    rows, cols = project_points(geobox, np.array([WEST + 5, WEST + 79]), np.array([NORTH - 5, NORTH - 21]))
    assert rows.tolist() == pytest.approx([0, 1.6])
    assert cols.tolist() == pytest.approx([0, 7.4])
    points = Points(rows, cols, (0.5, 0.5))
    assert points.shape == (1, 2)
    query = points.query(Span(0, 1), Span(1, 2))
    assert query.positions()[0].tolist() == [[rows[1]]]
    assert query.bounds() == ((rows[1], rows[1]), (cols[1], cols[1]))


# --- windows -------------------------------------------------------------------------------------------


def test_input_window_hand_value():
    _, sampling = grid(make_geobox((20, 20)), scale=2)
    window = input_window(sampling.query(Span(8, 12), Span(0, 2)), (20, 20), 3)
    # Rows 8..11 lie at 3.75 .. 5.25: pixels 3 to 6 surround them. Columns lie at -0.25 and 0.25: pixels -1 to 1.
    assert (window.rows, window.cols) == (Span(0, 10), Span(-4, 5))


@pytest.mark.slow
@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    cell=st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)),
    origin=st.tuples(st.floats(-40, 40), st.floats(-40, 40)),
    halo=st.integers(0, 5),
    data=st.data(),
)
@check
def test_input_window_covers_all_positions_inside_and_the_halo(shape, cell, origin, halo, data):
    sampling = Refinement((50, 50), cell, origin)
    rows, cols = (Span(s := data.draw(st.integers(0, 49)), data.draw(st.integers(s + 1, 50))) for _ in range(2))
    query = sampling.query(rows, cols)
    window = input_window(query, shape, halo)
    y, x = query.positions()
    y, x = y[inside(y, shape[0])], x[inside(x, shape[1])]
    if window is None:
        assert not (y.size and x.size)
        return
    for position, span, size in ((y, window.rows, shape[0]), (x, window.cols, shape[1])):
        assert -1 - halo <= span.start
        assert span.stop <= size + 1 + halo
        if position.size:
            assert span.start <= math.floor(position.min()) - halo
            assert math.floor(position.max()) + 1 + halo < span.stop


def test_input_window_is_none_beyond_the_cube():
    sampling = Refinement((20, 20), (0.5, 0.5), (-10.0, 0.0))
    assert input_window(sampling.query(Span(0, 10), Span(0, 10)), (8, 8), 4) is None
    assert input_window(sampling.query(Span(0, 22), Span(0, 10)), (8, 8), 4) is not None


def test_inside_includes_the_border_and_no_more():
    position = np.array([-0.6, -0.5, 0.0, 3.5, 3.6, np.inf, np.nan])
    assert inside(position, 4).tolist() == [False, True, True, True, False, False, False]


def test_clip_inside_keeps_every_query_within_its_window():
    position = np.array([-np.inf, -3.0, 0.3, 2.75, 3.5, 99.0, np.inf, np.nan])
    moved = clip_inside(position, 4, Span(-3, 7), 2)
    np.testing.assert_allclose(moved, [2.5, 2.5, 3.3, 5.75, 6.5, 6.5, 6.5, 2.5], atol=POSITION_PX)
    assert moved.max() < 6.5  # 3.5 is the border of pixel 3, not of a pixel 4
    undefined = clip_inside(np.array([5.2, np.inf, np.nan]), 100, Span(3, 9), 2)
    assert undefined.min() >= 2
    assert undefined.max() < 9 - 3 - 1 - 2


def test_a_cube_and_its_geobox_name_the_same_target():
    cube = make_cube((2, 6, 6))
    assert grid(cube.odc.geobox, scale=2)[0] == grid(make_geobox((6, 6)), scale=2)[0]


def test_scales_just_below_one_are_refused():
    with pytest.raises(ParameterError, match="expected at most 1"):
        target_grid(make_geobox((100, 100)), scale=0.995, resolution_m=None, like=None)


@pytest.mark.parametrize("scale", [1e7, 10**400])
def test_scales_beyond_reason_are_refused_at_once(scale):
    with pytest.raises(ParameterError, match=r"blocks|chunks|finite"):
        interpolate(make_cube((1, 500, 500)).chunk(), scale=scale)


@pytest.mark.parametrize(("pixels", "scale", "expected"), [(301, 3.4, 88), (30, 3, 10), (29, 3, 9), (10, 1, 10)])
def test_a_coarser_grid_has_the_pixels_that_lie_inside(pixels, scale, expected):
    box, sampling = coarsen(make_geobox((pixels, pixels)), scale)
    assert box.shape == sampling.shape == (expected, expected)
    assert sampling.cell == (scale, scale)
    np.testing.assert_allclose(tuple(box.affine)[:6], (10 * scale, 0, WEST, 0, -10 * scale, NORTH))


def test_centres_of_a_coarser_grid_hand_values():
    _, sampling = coarsen(make_geobox((12, 12)), 3)
    assert sampling.query(Span(0, 4), Span(2, 4)).positions()[0].tolist() == [1, 4, 7, 10]
    _, sampling = coarsen(make_geobox((12, 12)), 2, shape=(3, 2))
    assert sampling.shape == (3, 2)
    assert sampling.query(Span(0, 3), Span(0, 2)).positions()[0].tolist() == [0.5, 2.5, 4.5]


def test_coarsening_then_refining_returns_the_grid():
    box = make_geobox((34, 51))
    back = refine(coarsen(box, 3.4)[0], (3.4, 3.4))
    assert back.shape == box.shape
    np.testing.assert_allclose(tuple(back.affine), tuple(box.affine), rtol=1e-12)


@pytest.mark.parametrize("scale", [0.5, 0, -1, math.nan, math.inf])
def test_coarsen_refuses_what_refines(scale):
    with pytest.raises(ParameterError, match="expected a finite number of at least 1"):
        coarsen(make_geobox((8, 8)), scale)


def test_coarsen_refuses_a_scale_that_leaves_no_pixel():
    with pytest.raises(GridError, match="scale 9 leaves 0 x 1 pixels of 8 x 9"):
        coarsen(make_geobox((8, 9)), 9)
