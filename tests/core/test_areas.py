"""Areas from GeoJSON files, with geopandas and without."""

import json
import sys

import pytest

from xsr.core.areas import resolve_area
from xsr.core.errors import ParameterError

SQUARE = {"type": "Polygon", "coordinates": [[[4.0, 50.0], [4.5, 50.0], [4.5, 50.25], [4.0, 50.25], [4.0, 50.0]]]}
CONTENTS = {
    "geometry": SQUARE,
    "feature": {"type": "Feature", "properties": {}, "geometry": SQUARE},
    "collection": {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": {}, "geometry": SQUARE}],
    },
}


def written(folder, content, name="area.geojson"):
    path = folder / name
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def without_geopandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "geopandas", None)


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.usefixtures("without_geopandas")
def test_a_geojson_file_needs_no_geopandas(tmp_path, kind):
    area = resolve_area(None, written(tmp_path, CONTENTS[kind]))
    assert tuple(area.boundingbox) == (4.0, 50.0, 4.5, 50.25)
    assert area.crs == "EPSG:4326"


@pytest.mark.parametrize("kind", CONTENTS)
def test_geopandas_reads_the_same_area(tmp_path, kind):
    pytest.importorskip("geopandas")
    assert tuple(resolve_area(None, written(tmp_path, CONTENTS[kind])).boundingbox) == (4.0, 50.0, 4.5, 50.25)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (SQUARE, "area.shp"),
        ({**SQUARE, "crs": {"type": "name", "properties": {"name": "EPSG:32631"}}}, "area.geojson"),
        ([SQUARE], "area.json"),
    ],
    ids=["other format", "own CRS", "no object"],
)
@pytest.mark.usefixtures("without_geopandas")
def test_other_files_say_what_to_install(tmp_path, content, name):
    with pytest.raises(ParameterError, match=r"xarray-sr\[vector\]"):
        resolve_area(None, written(tmp_path, content, name))


@pytest.mark.usefixtures("without_geopandas")
def test_a_file_that_is_no_geojson_says_so(tmp_path):
    with pytest.raises(ParameterError, match="no GeoJSON"):
        resolve_area(None, written(tmp_path, {"type": "Polygon"}))
