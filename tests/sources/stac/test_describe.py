from datetime import UTC, datetime, timedelta, timezone

import pystac
import pytest

from xsr.core.errors import ParameterError, ProductError
from xsr.sources.stac.describe import (
    acquisition,
    baseline,
    datastrip_of,
    level_of,
    mgrs_tile,
    number_of,
    platform_of,
    sensor_of,
    stated_crs,
    tile_crs,
    time_of,
)

TIME = datetime(2024, 6, 15, 11, 6, 21, tzinfo=UTC)
NAME = "S2B_MSIL2A_20190629T212529_N0212_R043_T06VVN_20201006T080531"


def item(identity="one", collection=None, **properties):
    return pystac.Item(identity, None, None, TIME, properties, collection=collection)


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (item(platform="sentinel-2d"), "sentinel-2"),
        (item(platform="S2A"), "sentinel-2"),
        (item(constellation="Sentinel 2"), "sentinel-2"),
        (item(collection="sentinel-2-l2a"), "sentinel-2"),
        (item("S2C_MSIL2A_20240615T110621_N0511_R023_T29UNU_20240615T180000"), "sentinel-2"),
        (item(platform="LANDSAT_8"), "landsat-8"),
        (item(**{"eo:platform": "Landsat9"}), "landsat-9"),
        (item("LE07_L2SP_021030_20100109_02_T1"), "landsat-7"),
        (item("LT04_L2SP_002026_19830110_20200918_02_T1"), "landsat-4"),
        (item("HLS.L30.T10TES.2021123T185612.v2.0"), "landsat-8"),
        (item(collection="HLSS30_2.0"), "sentinel-2"),
    ],
)
def test_the_sensor_is_found_by_platform_constellation_collection_or_name(made, name):
    assert sensor_of(made).name == name


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (item(platform="cubesat-7"), "item one: sensor 'cubesat-7' is not registered"),
        (item(platform="landsat-5,landsat-7"), "joins several satellites"),
        (item("LM05_L1TP_001004_19850411_20200908_02_T2", platform="landsat-5"), "Multispectral Scanner"),
        (item(platform="landsat-4", instruments=["MSS"]), "Multispectral Scanner"),
    ],
)
def test_items_of_no_usable_sensor_are_refused(made, message):
    with pytest.raises(ParameterError, match=message):
        sensor_of(made)


@pytest.mark.parametrize(
    ("made", "tile"),
    [
        (item(**{"s2:mgrs_tile": "31UFS"}), "31UFS"),
        (item(**{"grid:code": "MGRS-1WCR"}), "01WCR"),
        (item(NAME), "06VVN"),
        (item("S2A_28QCH_20200714_0_L2A"), "28QCH"),
        (item("HLS.S30.T10TES.2021123T185612.v2.0"), "10TES"),
        (item("LC08_L2SP_028030_20200114_02_T1"), None),
        (item("one"), None),
    ],
)
def test_the_tile_is_found_in_properties_or_names(made, tile):
    assert mgrs_tile(made) == tile


@pytest.mark.parametrize(("tile", "epsg"), [("31UFS", 32631), ("01CCV", 32701), ("22HBD", 32722), ("33NTA", 32633)])
def test_the_tile_gives_the_zone_and_the_hemisphere(tile, epsg):
    assert tile_crs(item(platform="sentinel-2a", **{"s2:mgrs_tile": tile})).epsg == epsg
    assert tile_crs(item(platform="landsat-8", **{"s2:mgrs_tile": tile})) is None
    assert tile_crs(item(platform="sentinel-2a")) is None


def test_the_datatake_names_the_acquisition_whatever_the_baseline():
    first = item(platform="sentinel-2b", **{"s2:datatake_id": "GS2B_20190629T212529_012081_N02.12"})
    again = item(platform="Sentinel-2B", **{"s2:datatake_id": "GS2B_20190629T212529_012081_N05.00"})
    assert acquisition(first) == acquisition(again) == ("sentinel-2b", "GS2B_20190629T212529_012081")
    assert acquisition(item(NAME, platform="sentinel-2b")) == ("sentinel-2b", "20190629T212529")
    assert acquisition(item(platform="LANDSAT_8")) == ("landsat-8", "2024-06-15T11:06:21")
    assert baseline(item(NAME)) == "02.12"
    strip = "S2C_OPER_MSI_L2A_DS_2CPS_20260316T174811_S20260316T142939_N05.12"
    assert datastrip_of(item(**{"eopf:datastrip_id": strip})) == "20260316T142939"


def test_a_crs_that_cannot_be_read_is_named():
    made = item(**{"proj:code": "EPSG:0"})
    made.add_asset("B04", pystac.Asset("/B04.tif"))
    with pytest.raises(ProductError, match=r"item one: proj:code='EPSG:0' is no CRS"):
        stated_crs(made, "B04")
    made.assets["B04"].extra_fields["proj:code"] = "EPSG:32629"
    assert stated_crs(made, "B04")[1] == "proj:code of the asset 'B04'"


def test_an_item_without_time_is_named():
    made = item()
    made.datetime = None
    with pytest.raises(ProductError, match="item one has no time"):
        time_of(made)


def test_times_of_other_zones_become_utc():
    made = item()
    made.datetime = datetime(2024, 6, 15, 11, 6, 21, tzinfo=timezone(timedelta(hours=2)))
    assert str(time_of(made)) == "2024-06-15T09:06:21.000000000"


@pytest.mark.parametrize(
    ("made", "level"),
    [
        (item(**{"processing:level": "L1C"}), "1C"),
        (item(**{"processing:level": "Level-2A"}), "2A"),
        (item(**{"s2:product_type": "S2MSI1C"}), "1C"),
        (item(NAME), "2A"),
        (item("S2A_28QCH_20200714_0_L1C"), "1C"),
        (item(collection="sentinel-2-c1-l2a"), "2A"),
        (item("HLS.S30.T10TES.2021123T185612.v2.0"), ""),
        (item("S2A_L1CH"), ""),
    ],
)
def test_the_level_is_found_in_properties_names_or_collection(made, level):
    assert level_of(made) == level


def test_a_platform_that_is_not_stated_is_that_of_the_product():
    assert platform_of(item("HLS.L30.T10TES.2021123T185612.v2.0")) == "landsat-8"
    assert platform_of(item("LE07_L2SP_021030_20100109_02_T1")) == "landsat-7"
    assert platform_of(item("LE07_L2SP_021030_20100109_02_T1", platform="LANDSAT_7")) == "landsat-7"
    assert platform_of(item("one")) == ""


@pytest.mark.parametrize(("value", "number"), [("0.0001", 1e-4), (2, 2.0), (None, None), ("", None)])
def test_a_number_may_be_text(value, number):
    assert number_of(item(), "scale", value) == number


def test_what_is_no_number_is_named():
    with pytest.raises(ProductError, match=r"item one: scale is 'abc'; expected a number\."):
        number_of(item(), "scale", "abc")
