"""Metadata of products and items, damaged in every way: they are opened, or refused by an error of xsr."""

import json
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from catalogs import make_item
from fuzzing import damaged, damaged_json, damaged_json_text, damaged_lines, damaged_xml, examples, refused_or
from hypothesis import given
from hypothesis import strategies as st
from products import write_safe
from sources.test_landsat import LEVEL_2, metadata, write_level_2
from sources.test_theia import write_theia

from xsr.sources.landsat import open_landsat
from xsr.sources.safe import open_safe
from xsr.sources.stac import open_stac
from xsr.sources.theia import open_theia

pytestmark = pytest.mark.chaos

GML = b"""<Mask xmlns:gml="http://www.opengis.net/gml/3.2"><MaskFeature gml:id="OPAQUE.0"><extentOf>
<gml:Polygon><gml:exterior><gml:LinearRing><gml:posList srsDimension="2">
499980 5900040 500100 5900040 500100 5899900 499980 5900040
</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon></extentOf></MaskFeature></Mask>"""
"""Mask of clouds of a Level-1C product before baseline 04.00."""


def pixels(cube):
    """Compute a cube: whatever its metadata say, its pixels are numbers or NaN."""
    cube = cube.compute()
    assert not np.isinf(cube.values).any()
    return cube


@contextmanager
def replaced(path, content):
    """Give a file other content for a while."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small product of each kind, and an item over files."""
    folder = tmp_path_factory.mktemp("products")
    clouded = write_safe(folder / "1c", level="1C", bands=("B02",), side=24)
    (tile,) = clouded.glob("GRANULE/*/MTD_TL.xml")
    tile.write_text('<Tile><MASK_FILENAME type="MSK_CLOUDS">clouds.gml</MASK_FILENAME></Tile>')
    (tile.parent / "QI_DATA").mkdir()
    (tile.parent / "QI_DATA" / "clouds.gml").write_bytes(GML)
    return SimpleNamespace(
        safe=write_safe(folder / "2a", bands=("B02", "B05"), side=24),
        clouded=clouded,
        theia=write_theia(folder, quantification=10000)[0],
        landsat=write_level_2(folder / "landsat"),
        item=make_item(folder, bands=("B02",), stated=-0.1),
        folder=folder,
    )


def test_undamaged_documents_are_accepted(made):
    """Else the tests below would show nothing."""
    for cube in (
        open_safe(made.safe),
        open_safe(made.clouded, verify="structure"),
        open_theia(made.theia),
        open_landsat(made.landsat),
        open_stac(item_of(made, made.item)),
    ):
        assert np.isfinite(pixels(cube)).any()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "verify"), [("MTD_MSIL2A.xml", "structure"), ("manifest.safe", "checksum")])
@examples(50)
@given(data=st.data())
def test_damaged_documents_of_safe_products(made, name, verify, data):
    path = made.safe / name
    content = data.draw(damaged(path.read_bytes()) | damaged_xml(path.read_bytes()))
    with replaced(path, content):
        refused_or(lambda: pixels(open_safe(made.safe, verify=verify)))


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["GRANULE/*/MTD_TL.xml", "GRANULE/*/QI_DATA/clouds.gml"])
@examples(50)
@given(data=st.data())
def test_damaged_masks_of_safe_products(made, pattern, data):
    (path,) = made.clouded.glob(pattern)
    content = data.draw(damaged(path.read_bytes()) | damaged_xml(path.read_bytes()))
    with replaced(path, content):
        refused_or(lambda: pixels(open_safe(made.clouded, verify="structure")))


@pytest.mark.slow
@examples(50)
@given(data=st.data())
def test_damaged_documents_of_maja(made, data):
    (path,) = made.theia.glob("*_MTD_ALL.xml")
    content = data.draw(damaged(path.read_bytes()) | damaged_xml(path.read_bytes()))
    with replaced(path, content):
        refused_or(lambda: pixels(open_theia(made.theia, bands=["B02"])))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["txt", "xml", "json"])
@examples(40)
@given(data=st.data())
def test_damaged_documents_of_landsat(made, form, data):
    (path,) = made.landsat.glob("*_MTL.txt")
    stem = path.name.removesuffix("_MTL.txt")
    names = {"stem": stem, "number": 8, "day": "2019-12-01", "tier": "T1"}
    groups = {group: {k: v.format(**names) for k, v in fields.items()} for group, fields in LEVEL_2.items()}
    text = metadata(form, groups)
    structured = {
        "txt": lambda: damaged_lines(text),
        "xml": lambda: damaged_xml(text.encode()),
        "json": lambda: damaged_json_text(json.loads(text)),
    }
    content = data.draw(structured[form]() | damaged(text.encode()))
    with replaced(path, content):
        refused_or(lambda: pixels(open_landsat(made.landsat)))


def item_of(made, item):
    """Item collection on disk, beside the files of its items."""
    path = made.folder / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    return path


@pytest.mark.slow
@examples(100)
@given(data=st.data())
def test_damaged_items_of_a_catalogue(made, data):
    path = item_of(made, data.draw(damaged_json(made.item)))
    refused_or(lambda: pixels(open_stac(path, bands=["B02"])))
    refused_or(lambda: pixels(open_stac(path)))


@pytest.mark.slow
@examples(50)
@given(data=st.data())
def test_damaged_catalogues(made, data):
    path = item_of(made, made.item)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    refused_or(lambda: pixels(open_stac(path)))
