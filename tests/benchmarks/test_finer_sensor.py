import numpy as np
import pytest
from common.finer_sensor import PAN, Pair, dressed, registered, stretched
from odc.geo.geobox import GeoBox

import xsr
from xsr.testing import synthetic_pair


def pair(shift_px=(0.0, 0.0)):
    """Pixels of 10 m and their truth of 5 m in counts, whose grid is displaced by (down, right) pixels."""
    found = synthetic_pair(size=(60, 56), high_gsd_m=5)
    truth = found.high.isel(time=0, drop=True).sr.degrade(scale=1, mtf=0.4)
    down, right = shift_px
    box = truth.odc.geobox.translate_pix(right, down)
    counts = dressed(3000 * truth.values + 500, tuple(truth["band"].values), box)
    return Pair("here", "twice", found.low, 0, "2024-06-02", counts), truth


@pytest.mark.parametrize("shift_px", [(0.0, 0.0), (1.3, -0.8)])
def test_a_reference_is_moved_to_where_its_content_lies_and_brought_to_reflectance(shift_px):
    given, truth = pair(shift_px)
    out = registered(given)
    expected = truth.odc.geobox.affine
    np.testing.assert_allclose([out.box.affine.c, out.box.affine.f], [expected.c, expected.f], atol=0.5)
    np.testing.assert_allclose(out.reference, truth, atol=0.01)
    fits = np.polyfit(given.reference.values[0].ravel(), out.reference.values[0].ravel(), 1)
    np.testing.assert_allclose(np.polyval(fits, given.reference.values[0]), out.reference[0], rtol=1e-4)


def test_another_number_of_pixels_has_the_same_extent():
    box = GeoBox.from_bbox((10.0, 50.0, 10.02, 50.01), "EPSG:4326", shape=(158, 157))
    finer = stretched(box, (263, 527))
    assert finer.shape == (263, 527)
    np.testing.assert_allclose(finer.extent.boundingbox.bbox, box.extent.boundingbox.bbox, rtol=1e-12)


def test_a_panchromatic_band_is_compared_with_the_mean_of_the_visible_ones():
    given, _ = pair()
    image = xsr.interpolate(given.single, like=given.box)
    assert given.shown(image).equals(image)
    pan = Pair("here", "pan", given.low, 0, given.day, dressed(given.reference.values[:1], (PAN,), given.box))
    np.testing.assert_allclose(pan.shown(image)[0], image.sel(band=["B02", "B03", "B04"]).mean("band"), rtol=1e-6)


def test_the_nearest_date_is_known():
    given, _ = pair()
    low = given.low.isel(time=[0, 0, 0]).assign_coords(
        time=np.array(["2024-05-20", "2024-06-01", "2024-06-09"], "M8[ns]")
    )
    known = [Pair("here", "twice", low, date, "2024-06-02", given.reference).nearest for date in range(3)]
    assert known == [False, True, False]
