"""What tiles are made with: a memory that computes once, and turns that go to the newest."""

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import pytest
from odc.geo.geobox import GeoBox

from xsr.core.errors import GridError
from xsr.view.tiles import mercator
from xsr.view.tiles.memory import OVERHEAD, Memory, parse_bytes
from xsr.view.tiles.slots import Slots
from xsr.view.tiles.source import halve


def test_the_least_recently_used_goes_first():
    memory, made = Memory(3 * (OVERHEAD + 10)), []

    def get(key):
        return memory.get(key, lambda: made.append(key) or bytes(10))

    for key in (1, 2, 3, 1, 4, 1, 2):
        get(key)
    assert made == [1, 2, 3, 4, 2]
    assert memory.nbytes == 3 * (OVERHEAD + 10)


def test_what_is_larger_than_the_memory_is_made_but_not_kept():
    memory = Memory(1000)
    assert memory.get("large", lambda: np.zeros(1000)).shape == (1000,)
    assert memory.nbytes == 0


def test_while_one_makes_a_value_others_wait():
    memory, begun, go, made = Memory(1000), threading.Event(), threading.Event(), []

    def slow():
        made.append("slow")
        begun.set()
        assert go.wait(30)
        return b"slow"

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(memory.get, "key", slow)
        assert begun.wait(30)
        others = [pool.submit(memory.get, "key", lambda: made.append("other") or b"other") for _ in range(2)]
        assert memory.get("else", lambda: b"else") == b"else"  # which holds nobody up
        go.set()
        assert [one.result(30) for one in (first, *others)] == [b"slow"] * 3
    assert made == ["slow"]


def test_after_one_fails_the_next_makes_the_value():
    memory, begun, go = Memory(1000), threading.Event(), threading.Event()

    def fails():
        begun.set()
        assert go.wait(30)
        raise CancelledError

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(memory.get, "key", fails)
        assert begun.wait(30)
        second = pool.submit(memory.get, "key", lambda: b"made")
        go.set()
        assert second.result(30) == b"made"
        with pytest.raises(CancelledError):
            first.result(30)


def test_the_newest_goes_first_and_the_unwanted_not_at_all():
    slots, order, given_up, arrived = Slots(1), [], set(), threading.Semaphore(0)

    class Line(list):
        def append(self, one):
            super().append(one)
            arrived.release()

    slots._waiting = Line()

    def take(number):
        with slots.one(lambda: number in given_up):
            order.append(number)

    with ThreadPoolExecutor(4) as pool:
        with slots.one():
            jobs = []
            for number in range(4):
                jobs.append(pool.submit(take, number))
                assert arrived.acquire(timeout=30)
            given_up.add(2)
        assert [isinstance(job.exception(30), CancelledError) for job in jobs] == [False, False, True, False]
    assert order == [3, 1, 0]


def test_sizes_as_people_write_them():
    assert [parse_bytes(one) for one in ("256MB", "1 GB", 5_000_000)] == [256_000_000, 1_000_000_000, 5_000_000]


def test_the_grid_of_the_whole_world():
    box = mercator.tile_grid(0, 0, 0, size=256)
    assert box.shape == (256, 256)
    np.testing.assert_allclose(box.boundingbox, [-20037508.342789, -20037508.342789, 20037508.342789, 20037508.342789])
    north_west = mercator.tile_grid(1, 0, 0, size=256).boundingbox
    np.testing.assert_allclose(north_west, [-20037508.342789, 0, 0, 20037508.342789], atol=1e-6)


def test_a_place_lies_in_its_tile():
    for lon, lat, z in [(4.05, 50.74, 15), (-179.9, -60, 3), (180, 85.05, 22), (0, 0, 0)]:
        x, y, row, col = mercator.tile_of(lon, lat, z, size=256)
        box = mercator.tile_grid(z, x, y, size=256)[row : row + 1, col : col + 1].geographic_extent.boundingbox
        assert box.left - 1e-7 <= lon <= box.right + 1e-7
        assert box.bottom - 1e-7 <= lat <= box.top + 1e-7


def test_zooms_of_a_pixel():
    ten = GeoBox.from_bbox((500_000, 5_000_000, 500_640, 5_000_640), "EPSG:32631", resolution=10)
    units = mercator.native_units(ten)
    assert units == pytest.approx(10 / np.cos(np.radians(45.15)), rel=3e-3)
    assert mercator.first_zoom(units, size=256) == 14  # 9.55 m at the equator; 13 has 19.1 m
    assert mercator.first_zoom(0.0001, size=256) == 22


def test_cubes_at_the_poles_are_refused():
    pole = GeoBox.from_bbox((-1000, -1000, 1000, 1000), "EPSG:3413", resolution=100)
    with pytest.raises(GridError, match="Web Mercator ends"):
        mercator.native_units(pole)


def test_halving_leaves_out_what_is_not_valid():
    image = np.array([[[1, 3, np.nan, np.nan], [5, np.nan, np.nan, np.nan]]], np.float32)
    np.testing.assert_array_equal(halve(image), [[[3, np.nan]]])
