"""Real items of many catalogues, small files standing where their own would be."""

import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine

from xsr.core.errors import HarmonisationError, ParameterError, ProductError
from xsr.sources.stac import open_stac

CLEAR = {"SCL": (4, "uint8"), "QA_PIXEL": (21824, "uint16"), "FMASK": (1, "uint8")}
S2 = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
OLI, TM = ["B1", "B2", "B3", "B4", "B5", "B6", "B7"], ["B1", "B2", "B3", "B4", "B5", "B7"]
SR, ST = 15000 * 2.75e-5 - 0.2, 15000 * 0.00341802 + 149


class Stand:
    """Function for `patch_url=` that writes a file of 15000 where an asset would be."""

    def __init__(self, item, folder):
        self.item, self.folder = item, folder

    def __call__(self, href):
        name = href.rsplit("/", 1)[-1]
        path = self.folder / f"{abs(hash(href))}_{name}"
        if not path.exists():
            self.write(path, href, name.upper())
        return str(path)

    def write(self, path, href, name):
        asset = next(one for one in self.item.assets.values() if (one.get_absolute_href() or one.href) == href)
        known = {**self.item.properties, **asset.extra_fields}
        numbers = known.get("proj:transform") or [30, 0, 500000, 0, -30, 5000000]
        n = max(2, round(1920 / numbers[0]))
        value, dtype = next((CLEAR[word] for word in CLEAR if word in name), (15000, "uint16"))
        form = {"driver": "GTiff", "count": 1, "height": n, "width": n, "dtype": dtype}
        place = {"crs": known.get("proj:code", "EPSG:32610"), "transform": Affine(*numbers[:6])}
        with rasterio.open(path, "w", **form, **place) as file:
            file.write(np.full((1, n, n), value, dtype))


def load(data_dir, name):
    folder = "stac_items" if (data_dir / "stac_items" / f"{name}.json").exists() else "stac_items_2"
    path = data_dir / folder / f"{name}.json"
    return path, pystac.read_file(str(path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bands", "value", "mask"),
    [
        ("LC08_L2SP_028030_20200114_20200824_02_T1_SR", OLI, SR, "qa_pixel"),
        ("LC08_L2SR_081119_20200101_20200823_02_T2", OLI, SR, "qa_pixel"),
        ("LE07_L2SP_044033_20210329_20210424_02_T1_SR", TM, SR, "qa_pixel"),
        ("S2A_28QCH_20200714_0_L2A", S2, 1.5, "scl"),
        ("ga_ls8c_ard_3-1-0_088080_2020-05-25_final.stac-item", [*OLI, "B8"], 1.5, "fmask"),
        ("landsat__LC08_L2SP_047027_20201204_02_T1", OLI, SR, "qa_pixel"),
        ("landsat__LC08_L2SP_047027_20201204_20210313_02_T1_ST_stac", ["B10"], ST, "qa_pixel"),
        ("landsat__LC09_L2SP_010065_20220129_02_T1", OLI, SR, "qa_pixel"),
        ("landsat__LE07_L2SP_021030_20100109_02_T1", TM, SR, "qa_pixel"),
        ("landsat__LT04_L2SP_002026_19830110_02_T1", TM, SR, "qa_pixel"),
        ("mapchete-eo__S2A_33UWP_20220405_0_L2A", S2, 1.5, "scl"),
        ("mapchete-eo__S2A_OPER_MSI_L2A_TL_2APS_20230602T025701_A041483_T01WCR", S2, 1.4, "scl"),
    ],
)
def test_a_real_item_opens(data_dir, tmp_path, name, bands, value, mask):
    path, item = load(data_dir, name)
    cube = open_stac(path, patch_url=Stand(item, tmp_path))
    assert cube.band.values.tolist() == bands
    assert cube.odc.crs == item.properties.get("proj:code", "EPSG:32610")
    assert mask in cube.coords
    inside = cube.where(cube.valid).compute()
    assert np.isfinite(inside).any()
    np.testing.assert_allclose(inside.values[np.isfinite(inside.values)], value, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("lidar_dem", ParameterError, "item lidar_id: sensor 'Aircraft' is not registered"),
        ("only_crs_proj", ParameterError, r"joins several satellites \(landsat-5,landsat-7,landsat-8\)"),
        ("landsat__LM02_L1GS_001004_19750411_02_T2", ParameterError, "Multispectral Scanner .* radiance"),
        (
            "mapchete-eo__S2B_33TWM_20230820_0_L2A",
            HarmonisationError,
            r"raster:bands gives an offset of -1000, earthsearch:boa_offset_applied gives 0",
        ),
        ("titiler-eopf__collection", ParameterError, "links to no items"),
        ("sentinel-2-l2a.collection", ParameterError, "links to no items"),
    ],
)
def test_a_real_item_is_refused_for_the_reason_that_is_true(data_dir, tmp_path, name, error, message):
    path, item = load(data_dir, name)
    with pytest.raises(error, match=message):
        open_stac(path, patch_url=Stand(item, tmp_path))


def test_the_contradictory_item_opens_with_the_advice_of_its_refusal(data_dir, tmp_path):
    path, item = load(data_dir, "mapchete-eo__S2B_33TWM_20230820_0_L2A")
    cube = open_stac(path, patch_url=Stand(item, tmp_path), offset={item.id: 0}, bands=["red"])
    np.testing.assert_allclose(cube, 1.5, rtol=1e-6)


def test_the_template_of_a_catalogue_is_named(data_dir):
    path, _ = load(data_dir, "titiler-eopf__S2C_MSIL2A_20260316T142941_N0512_T26WME")
    with pytest.raises(ProductError, match=r"the address '\{\{ store_url \}\}/.* patch_url= .* xsr\.open_eopf"):
        open_stac(path)
    with pytest.raises(ProductError, match=r"is a Zarr store \(/data/a\.zarr/measurements"):
        open_stac(path, patch_url=lambda href: href.replace("{{ store_url }}", "/data/a.zarr"))
