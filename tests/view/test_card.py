"""The card of a cube: what it says, that it computes nothing, and that no object makes it fail."""

import subprocess
import sys
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask.callbacks import Callback
from view.shown import SCRIPT, assert_as_before, make_series, no_cubes, stable

import xsr
from xsr.accessor import SuperResolution, Verb
from xsr.models import catalogue, registry
from xsr.view import fit
from xsr.view.card import cube_card
from xsr.view.pixels import FEW
from xsr.view.verbs import first_lines


class Counting(Callback):
    """Counts the tasks that a local scheduler computes."""

    def __init__(self):
        super().__init__()
        self.tasks = 0

    def _pretask(self, key, dsk, state):
        self.tasks += 1


class Tags(HTMLParser):
    """Names of the elements, and of the attributes, of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = set(), set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def line(cube, title):
    """Line of a section of the card, with what follows it."""
    lines = repr(cube.sr).splitlines()
    return next(one.partition(":")[2].strip() for one in lines if one.startswith(f"{title}:"))


VERBS = {name: xsr.api.HOMES[name] for name in ("liif", "to_zarr")}


@pytest.fixture
def two_models(monkeypatch):
    """Two models installed, whatever is."""
    monkeypatch.setattr(fit.registry, "names", lambda: ("jiif_lst", "liif_s2"))


def test_text_and_html_are_as_before(request, two_models):
    sheet = cube_card(make_series(), VERBS)
    assert_as_before(sheet.text(), "cube.txt", request)
    assert_as_before(stable(sheet.html()), "cube.html", request)


def test_a_problem_is_as_before(request):
    cube = make_series().rename(SCRIPT).assign_coords(band=[SCRIPT, "B03", "B04", "B08"])
    sheet = cube_card((cube.fillna(0) * 1e4).astype("uint16").drop_attrs(), VERBS)
    assert_as_before(sheet.text(), "problem.txt", request)
    assert_as_before(stable(sheet.html()), "problem.html", request)


def test_numbers_that_are_known_are_stated():
    cube = make_series()
    assert line(cube, "size").startswith("time 5 × band 4 × y 16 × x 16; float32")
    assert line(cube, "grid") == "EPSG:32631, pixels of 10 m"
    assert line(cube, "dates") == "5: 2024-06-01T00:00 to 2024-06-21T00:00, every 5 days (median)"
    assert line(cube, "bands") == "4 recognised: B02, B03, B04, B08"
    assert line(cube, "no data") == "12.5 % of the numbers"


def test_a_lazy_cube_is_not_computed():
    cube = make_series().chunk(time=1, x=8)
    scl = xr.zeros_like(cube.isel(band=0, drop=True)).astype("uint8")
    with Counting() as count:
        text = repr(cube.assign_coords(SCL=scl).sr) + repr(cube.to_dataset("band").sr) + cube.sr._repr_html_()
    assert count.tasks == 0
    assert "not computed (lazy); float(cube.isnull().mean()) computes it" in text
    assert "not computed (lazy); layer SCL" in text
    with Counting() as count:
        float(cube.isnull().mean())
    assert count.tasks > 0


def test_a_file_is_not_read(tmp_path):
    make_series().to_netcdf(tmp_path / "cube.nc")
    with xr.open_dataarray(tmp_path / "cube.nc") as cube:
        assert line(cube, "no data").startswith("not read from the file")
        assert not cube.variable._in_memory


def test_pixels_of_a_large_cube_are_not_counted():
    cube = make_series()
    large = cube.drop_vars("x").isel(x=np.zeros(FEW // 256, int))
    large = large.assign_coords(x=600_005.0 + 10 * np.arange(large.sizes["x"]))
    assert line(large, "no data").startswith("not counted (large)")


@pytest.mark.parametrize("kind", no_cubes())
def test_what_is_no_cube_has_a_card_that_says_what_is_wrong(kind):
    obj, words = no_cubes()[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text, html = " ".join(repr(obj.sr).split()), obj.sr._repr_html_()
    assert words in text.partition("problem:")[2]
    assert ".sr.liif" in text
    assert "xsr-alert" in html


def test_a_problem_is_the_error_of_every_operation():
    obj, _ = no_cubes()["unknown units"]
    with pytest.raises(ValueError, match="without a scale") as raised:
        obj.sr.interpolate(scale=2)
    assert str(raised.value) in " ".join(repr(obj.sr).split())


def test_odd_numbers_are_pointed_out():
    cube = make_series()
    assert "units='percent'" in line((cube * 100).assign_attrs(units="percent"), "units")
    assert "Every pixel is no data" in line(cube.where(False), "attention")
    gone = cube.where(cube.time > cube.time[1])
    assert line(gone, "no data").endswith("2 of 5 dates have no pixel")
    assert "attention" not in repr(cube.sr)


def test_units_say_what_decided_them():
    cube = make_series()
    packed = (cube.fillna(0) * 1e4).astype("uint16").assign_attrs(scale_factor=1e-4, add_offset=-0.1)
    assert line(packed, "units").startswith("reflectance = number × 0.0001 -0.1, by the scale and offset of the uint16")
    assert line(cube.assign_attrs(units="K"), "units") == "temperature in K, by the attribute units"
    assert line(cube, "units") == "reflectance: float32 without stated units count as such"


def test_shares_of_clouds_come_from_layers_of_classes():
    cube = make_series()
    classes = np.full((16, 16), 4, np.uint8)
    classes[:4], classes[4:6], classes[6:8] = 9, 3, 0  # clouds, shadows, not observed
    assert line(cube.assign_coords(SCL=(("y", "x"), classes)), "clouds") == "37.5 % by SCL"
    assert line(cube, "clouds").startswith("not known")


def test_texts_of_files_are_escaped():
    cube = make_series().rename(SCRIPT).assign_coords(band=[SCRIPT, "B03", "B04", "B08"])
    cube = cube.assign_attrs(units=SCRIPT, xsr_operation=SCRIPT, xsr_model="\x1b[31m<img src=x onerror=alert(1)>")
    html, tags = cube.sr._repr_html_(), Tags()
    tags.feed(html)
    assert SCRIPT not in html
    assert tags.tags <= {*("div", "style", "pre", "ul", "li", "input", "label", "table", "thead", "tbody")} | {
        *("tr", "th", "td")
    }
    assert tags.attributes <= {"class", "style", "id", "for", "type", "disabled", "checked"}
    assert "\x1b" not in repr(cube.sr)
    assert "1 not: <script>" in repr(cube.sr)


def test_secrets_are_not_shown():
    cube = make_series().assign_attrs(xsr_input="https://me:hunter22@example.com/cube.zarr?sig=abcdefgh")
    assert "hunter22" not in repr(cube.sr) + cube.sr._repr_html_()
    assert "example.com/cube.zarr" in cube.sr._repr_html_()


def test_thousands_of_dates_are_a_line():
    days = pd.date_range("2000-01-01", periods=5000)
    cube = make_series(size=2).isel(time=[0] * 5000).assign_coords(time=days)
    assert line(cube, "dates") == "5000: 2000-01-01T00:00 to 2013-09-08T00:00, every 1 days (median)"
    assert len(cube.sr._repr_html_()) < 60_000


@pytest.mark.slow
def test_models_are_judged_as_the_operations_do():
    cube = make_series()
    found = {one.model: one for one in fit.fits(xsr_cube(cube))}
    assert found["liif_s2"].verdict == "fits"
    assert found["jiif_lst"].text.startswith("for temperatures")
    far = cube.assign_coords(x=cube.x * 30, y=cube.y * 30).drop_vars("spatial_ref").odc.assign_crs("EPSG:32631")
    assert {one.model: one.verdict for one in fit.fits(xsr_cube(far))}["liif_s2"] == "doubtful"
    with pytest.warns(xsr.core.errors.XsrWarning, match="Its detail is unreliable here"):
        far.sr.liif(scale=2)
    other = cube.assign_coords(band=["B02", "B03", "B04", "thermal"])
    judged = {one.model: one for one in fit.fits(xsr_cube(other))}["liif_s2"]
    assert judged.verdict == "in part"
    assert judged.text == "with bands=['B02', 'B03', 'B04']; not trained on thermal"
    other.sr.liif(scale=2, bands=["B02", "B03", "B04"])
    with pytest.raises(xsr.core.errors.BandError, match="thermal"):
        other.sr.liif(scale=2)
    one = {one.model: one.text for one in fit.fits(xsr_cube(cube.isel(time=[0])))}
    assert one["temporal_liif_s2"] == "for several dates; the cube has one"


def xsr_cube(obj):
    from xsr.core.cube import open_cube

    return open_cube(obj)


def test_a_grid_in_degrees_states_metres_on_the_ground():
    degrees = make_series().drop_vars(["spatial_ref", "x", "y"])
    degrees = degrees.assign_coords(x=5 + 1e-4 * np.arange(16), y=60 - 1e-4 * np.arange(16))
    degrees.x.attrs["standard_name"], degrees.y.attrs["standard_name"] = "longitude", "latitude"
    degrees = degrees.odc.assign_crs("EPSG:4326")
    assert line(degrees, "grid") == "EPSG:4326, pixels of 0.0001 degrees"
    assert "5.58" in degrees.sr._repr_html_()


def test_calls_that_the_card_names_are_those_of_the_operations():
    from xsr.operations.verbs import verb_of

    for name in registry.names():
        card = registry.card(name)
        if card.reads == "result" or card.units == "K" or card.reads == "detail":
            continue
        assert f"cube.sr.{verb_of(name)}(" in fit.call(card)


def test_architectures_of_series_are_those_of_the_catalogue():
    for name, record in catalogue.listed().items():
        assert catalogue.is_of_kind(name, "temporal") == (record.kind == "temporal")


def test_every_verb_has_the_first_line_of_its_docstring():
    verbs = [name for name, value in vars(SuperResolution).items() if isinstance(value, Verb)]
    lines = first_lines({name: xsr.api.HOMES[name] for name in verbs})
    for name in verbs:
        assert lines[name] == getattr(xsr, name).__doc__.partition("\n")[0].replace("`", "")
    assert first_lines({"nothing": "xsr.nowhere"}) == {"nothing": ""}


def test_a_tree_says_what_it_holds():
    bands = make_series().isel(time=0, drop=True).to_dataset("band")
    one = xr.DataTree.from_dict({"/measurements/r10m": bands})
    text = repr(one.sr)
    assert "4 recognised" in text
    assert "/measurements/r10m  " in text
    assert "0 groups with images" in repr(xr.DataTree().sr)
    assert "xsr tree" in xr.DataTree().sr._repr_html_()


def test_a_section_that_fails_leaves_the_others(monkeypatch):
    monkeypatch.setattr(fit.registry, "names", lambda: 1 / 0)
    text = repr(make_series().sr)
    assert "models:       cannot be described: ZeroDivisionError" in text
    assert ".sr.liif" in text


def test_a_broken_card_is_a_reason(monkeypatch, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"")
    (tmp_path / "broken.json").write_text("{}")
    monkeypatch.setattr(registry, "_folders", [*registry._folders, tmp_path])
    found = {one.model: one for one in fit.fits(xsr_cube(make_series()))}
    assert found["broken"].verdict == "no"
    assert "is not a model card" in found["broken"].text
    assert "is not a model card" in xsr.models._repr_html_()


@pytest.mark.slow
def test_a_card_loads_no_network_and_no_operation():
    code = (
        "import sys, numpy as np, xarray as xr, xsr\n"
        "cube = xr.DataArray(np.ones((2, 2)), dims=('y', 'x'), coords={'y': [15., 5.], 'x': [5., 15.]})\n"
        "import odc.geo.xr\n"
        "repr(cube.odc.assign_crs('EPSG:32631').sr), repr(xsr.models)\n"
        "names = ('torch', 'numba', 'matplotlib', 'distributed', 'xsr.operations.super_resolve')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def make_scores(**changes):
    """Scores of two dates and two bands, of which one value is missing."""
    numbers = xr.DataArray(
        [[0.01, 0.02], [0.03, np.nan]],
        dims=("time", "band"),
        coords={"time": pd.to_datetime(["2024-01-01", "2024-01-06"]), "band": ["B02", "B03"]},
        attrs={"units": "reflectance", "long_name": "root mean square error"},
    )
    counts = xr.full_like(numbers, 7, int).assign_attrs(units="1", long_name="valid pixels")
    attrs = {"xsr_operation": "evaluate", "border_px": 4, **changes}
    return xr.Dataset({"rmse": numbers, "sam": numbers.mean("band"), "count": counts}, attrs=attrs)


def cells(sheet, title):
    """Rows of a table in text."""
    (section,) = (one for one in sheet.sections if one.title == title)
    return {row[0]: row[1:] for row in section.rows}


def test_scores_are_shown_by_their_means_over_dates():
    scores = make_scores()
    assert line(scores, "of") == "2 dates, 2 bands, border of 4 px left out"
    found = cells(cube_card(scores, VERBS), "by band")
    assert found["rmse"] == ("0.02", "0.02", "reflectance", "root mean square error")
    assert found["sam"][:2] == ("0.0225", "")
    assert found["count"] == ("14", "14", "1", "valid pixels")
    assert "<xsr scores> evaluate" in repr(scores.sr)
    assert "root mean square error" in scores.sr._repr_html_()


def test_scores_of_strata_are_listed_by_them():
    scores = make_scores(xsr_operation="strata").expand_dims(stratum=[0, 1, 2])
    found = cells(cube_card(scores, VERBS), "by stratum")
    assert found["rmse"][:3] == ("0.02", "0.02", "0.02")
    assert "3 strata" in line(scores, "of")
    assert ".sr.plot.strata()" in repr(scores.sr)
    assert "by stratum" not in repr(xr.concat([scores] * 9, "stratum").sr)


def test_lazy_scores_are_not_computed():
    with Counting() as counted:
        assert "lazy; scores.compute()" in repr(make_scores().chunk(time=1).sr)
    assert counted.tasks == 0


def test_scores_without_a_single_value_are_shown():
    empty = make_scores().where(False)
    assert cells(cube_card(empty, VERBS), "by band")["rmse"][:2] == ("–", "–")
    assert "<xsr scores>" in repr(make_scores().isel(time=0, band=0, drop=True).sr)
    assert "<xsr scores>" in repr(make_scores()[[]].sr)


def test_scores_of_many_bands_are_shown_by_their_mean():
    many = xr.concat([make_scores().drop_vars("sam")] * 6, "band").assign_coords(band=[f"b{n}" for n in range(12)])
    assert cells(cube_card(many, VERBS), "by band")["rmse"][0] == "0.02"
    assert len(cells(cube_card(many, VERBS), "by band")["rmse"]) == 3
