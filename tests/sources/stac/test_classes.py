from datetime import datetime

import dask.array as da
import numpy as np
import pystac
import pytest

from xsr.sources.stac.classes import FMASK, FMASK_BITS, QA, SCL, find_classification


def item(*keys, collection=None):
    made = pystac.Item("one", None, None, datetime(2024, 6, 15), {}, collection=collection)
    for key in keys:
        made.add_asset(key, pystac.Asset(f"/{key}.tif"))
    return made


@pytest.mark.parametrize(
    ("kind", "values", "seen"),
    [
        (SCL, [0, 3, 4, 6, 8, 11], [False, False, True, True, False, True]),
        # clear land, clear water, snow, cloud, shadow, dilated cloud, cirrus, fill: USGS LSDS-1619
        (QA, [21824, 21952, 30048, 22280, 23888, 21826, 54596, 1], [True] * 3 + [False] * 5),
        # null, valid, cloud, shadow, snow, water of Geoscience Australia
        (FMASK, [0, 1, 2, 3, 4, 5], [False, True, False, False, True, True]),
        # HLS: clear, water (bit 5), snow (bit 4), aerosol (bits 6, 7), cloud, adjacent, shadow, fill
        (FMASK_BITS, [0, 32, 16, 192, 2, 4, 8, 255], [True] * 4 + [False] * 4),
    ],
)
def test_each_scheme_knows_which_of_its_values_show_the_surface(kind, values, seen):
    numbers = np.array(values, kind.dtype)
    assert kind.clear(numbers).tolist() == seen
    assert kind.valid(da.from_array(numbers, chunks=2)).compute().tolist() == seen
    assert not kind.clear(np.array([kind.empty], kind.dtype)).any()


@pytest.mark.parametrize("kind", [SCL, QA, FMASK, FMASK_BITS])
def test_what_is_not_there_becomes_the_value_for_nothing(kind):
    numbers = kind.numbers(np.array([np.nan, 4.0], np.float32))
    assert numbers.tolist() == [kind.empty, 4]
    assert numbers.dtype == kind.dtype


@pytest.mark.parametrize(
    ("keys", "collection", "key", "kind"),
    [
        (("B04", "SCL"), None, "SCL", SCL),
        (("B04", "scl_20m", "scl_60m"), None, "scl_20m", SCL),
        (("red", "qa_pixel", "qa_radsat"), None, "qa_pixel", QA),
        (("SR_B4.TIF", "QA_PIXEL.TIF"), None, "QA_PIXEL.TIF", QA),
        (("nbart_red", "oa_fmask"), "ga_ls8c_ard_3", "oa_fmask", FMASK),
        (("B04", "Fmask"), "HLSL30_2.0", "Fmask", FMASK_BITS),
    ],
)
def test_the_classification_of_a_catalogue_is_found_by_its_key(keys, collection, key, kind):
    found = find_classification(item(*keys, collection=collection))
    assert (found.key, found.kind) == (key, kind)
    assert find_classification(item("B04")) is None
