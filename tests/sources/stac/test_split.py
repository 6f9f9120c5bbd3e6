"""Parts of one tile, and processings of them."""

import numpy as np
import pytest
import rasterio
from catalogs import make_item, write_items
from products import truth, warned

from xsr.sources.stac import open_stac

BANDS = ["B02", "B04"]
DATATAKE = "GS2D_20240615T110621_038058_N05.11"


def part(folder, name, *, north, second, generated="2024-06-15T18:00:00Z", strip=True, rows=None):
    """Item of which one half of the rows holds pixels."""
    stated = {"s2:datatake_id": DATATAKE}
    if strip:
        stated["s2:datastrip_id"] = f"S2D_OPER_MSI_L2A_DS_2DPS_{name.upper()}_S20240615T1106{second:02d}_N05.11"
    item = make_item(folder / name, suffix=f"_{name}", generated=generated, **stated)
    for asset in item["assets"].values():
        file = folder / name / asset["href"]
        asset["href"] = str(file)
        with rasterio.open(file) as opened:
            values, profile = opened.read(1), {**opened.profile, "driver": "GTiff"}
        kept = rows or (slice(0, len(values) // 2) if north else slice(len(values) // 2, None))
        blank = np.zeros_like(values)
        blank[kept] = values[kept]
        with rasterio.open(file, "w", **profile) as opened:
            opened.write(blank[None])
    return item


@pytest.mark.slow
def test_two_datastrips_of_a_tile_are_joined_whatever_their_order(tmp_path):
    north = part(tmp_path, "n", north=True, second=18)
    south = part(tmp_path, "s", north=False, second=48)
    for items in ([north, south], [south, north]):
        cube = open_stac(write_items(tmp_path / "items.json", items), bands=BANDS)
        assert cube.sizes["time"] == 1
        np.testing.assert_allclose(cube.sel(band="B04")[0], truth("B04", 10), atol=1e-6)
        assert (cube.scl != 0).all()
        assert "dropped_duplicates" not in cube.attrs


def test_each_half_keeps_its_latest_processing(tmp_path):
    old = [part(tmp_path, "n1", north=True, second=18), part(tmp_path, "s1", north=False, second=48)]
    new = [
        part(tmp_path, "n2", north=True, second=18, generated="2025-01-01T00:00:00Z"),
        part(tmp_path, "s2", north=False, second=48, generated="2025-01-01T00:00:00Z"),
    ]
    with warned("found more than once; dropped .*_n1_L2A .kept .*_n2_L2A.; .*_s1_L2A .kept .*_s2_L2A."):
        cube = open_stac(write_items(tmp_path / "items.json", [*old, *new]), bands=BANDS)
    assert cube.product_id.values.tolist() == [f"{new[0]['id']} {new[1]['id']}"]
    np.testing.assert_allclose(cube.sel(band="B04")[0], truth("B04", 10), atol=1e-6)


@pytest.mark.parametrize("apart", [True, False])
def test_without_a_datastrip_the_footprints_tell_parts_from_processings(tmp_path, apart):
    north = part(tmp_path, "n", north=True, second=18, strip=False)
    south = part(tmp_path, "s", north=False, second=48, strip=False, generated="2024-06-15T18:40:00Z")
    west, low, east, high = north["bbox"]
    middle = (low + high) / 2
    if apart:
        for item, (bottom, top) in ((north, (middle, high)), (south, (low, middle))):
            ring = [[west, bottom], [east, bottom], [east, top], [west, top], [west, bottom]]
            item["geometry"] = {"type": "Polygon", "coordinates": [ring]}
        cube = open_stac(write_items(tmp_path / "items.json", [north, south]), bands=BANDS)
    else:
        with warned("found more than once"):
            cube = open_stac(write_items(tmp_path / "items.json", [north, south]), bands=BANDS)
    assert float(np.isnan(cube).mean()) == (0.0 if apart else 0.5)


def test_where_both_parts_have_a_pixel_the_latest_processing_counts(tmp_path):
    first = part(tmp_path, "n", north=True, second=18, rows=slice(None))
    later = part(tmp_path, "s", north=False, second=48, rows=slice(None), generated="2024-06-15T18:40:00Z")
    with rasterio.open(later["assets"]["B04"]["href"], "r+") as opened:
        opened.write(np.full((1, 96, 96), 4321, np.uint16))
    for items in ([first, later], [later, first]):
        cube = open_stac(write_items(tmp_path / "items.json", items), bands=["B04"])
        np.testing.assert_allclose(cube, 0.3321, atol=1e-6)


def test_the_folder_of_the_granule_names_the_datastrip_too(tmp_path):
    from pystac import Item

    from xsr.sources.stac.describe import datastrip_of

    item = make_item(tmp_path, bands=("B04",))
    assert datastrip_of(Item.from_dict(item)) == ""
    item["assets"]["B04"]["href"] = "https://a/x.SAFE/GRANULE/L2A_T29UNU_A038058_20240615T110618/IMG_DATA/R10m/B04.tif"
    assert datastrip_of(Item.from_dict(item)) == "20240615T110618"


def test_a_processing_without_datastrip_replaces_the_part_whose_footprint_it_shares(tmp_path):
    named = part(tmp_path, "n", north=True, second=18, rows=slice(None))
    plain = part(tmp_path, "p", north=True, second=18, rows=slice(None), strip=False, generated="2025-01-01T00:00:00Z")
    with warned(rf"dropped {named['id']} \(kept {plain['id']}\)"):
        cube = open_stac(write_items(tmp_path / "items.json", [named, plain]), bands=["B04"])
    assert cube.product_id.values.tolist() == [plain["id"]]
