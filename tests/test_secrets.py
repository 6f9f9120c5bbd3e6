"""A secret planted in an address, a signature, storage options or the environment is found in nothing that xsr says."""

import logging
import sys
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from catalogs import make_item, serving, write_items
from models.helpers import make_cube

import xsr
from xsr.cli import main
from xsr.operations.scorecard import compute_scores

SECRET = "Zq3-planted-Zq3"


@dataclass
class Said:
    """All that is said and written in a test."""

    folder: Path
    texts: list[str] = field(default_factory=list)

    def __call__(self, function, *args, **options):
        """Call a function, and keep its result, warnings, or printed traceback."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                result = function(*args, **options)
            except (Exception, SystemExit):
                self.texts.append(traceback.format_exc())
                result = None
        self.texts += [str(one.message) for one in caught]
        html = getattr(result, "_repr_html_", str)()
        self.texts += [repr(result), html, str(getattr(result, "attrs", "")), str(getattr(result, "encoding", ""))]
        return result

    def places(self):
        """Where the secret is: number of a text, or name of a file."""
        written = [path for path in self.folder.rglob("*") if path.is_file()]
        found = [path.name for path in written if SECRET.encode() in path.read_bytes()]
        return found + [text for text in self.texts if SECRET in text]


@pytest.fixture
def said(tmp_path, caplog, capfd):
    """What is said; when the test is over, the secret must be in none of it."""
    caplog.set_level(logging.DEBUG, logger="xsr")
    (tmp_path / "out").mkdir()
    said = Said(tmp_path / "out")
    yield said
    said.texts += [*capfd.readouterr(), *(record.getMessage() for record in caplog.records if "xsr" in record.name)]
    assert said.texts
    assert not said.places()


def run(*arguments):
    """Run the command in this process."""
    before, sys.argv = sys.argv, ["xsr", *map(str, arguments)]
    try:
        main()
    finally:
        sys.argv = before


def test_a_planted_secret_is_found_where_it_is_not_hidden(tmp_path):
    """The counter-test: else the others would show nothing."""
    said = Said(tmp_path)
    (tmp_path / "file").write_text(f"a {SECRET}")
    said(lambda: 1 / int(f"0x{SECRET}"))
    assert len(said.places()) == 2


@pytest.mark.slow
def test_signed_addresses_of_assets(tmp_path, said):
    items = [make_item(tmp_path, day=day, bands=("B02",)) for day in ("2024-06-15", "2024-06-20")]
    (tmp_path / "expired.tif").write_text("<html>403 expired</html>" + "x" * 500)
    items[1]["assets"]["B02"]["href"] = "expired.tif"
    path = write_items(tmp_path / "items.json", items)
    with serving(tmp_path, items) as api:

        def sign(address):
            return (
                f"{api.url.replace('://', f'://me:{SECRET}@')}files/{Path(address).relative_to(tmp_path)}?sig={SECRET}"
            )

        said(xsr.open_stac, path, bands=["B02"], patch_url=sign)
        cube = said(xsr.open_stac, path, bands=["B02"], patch_url=sign, errors="drop")
        assert cube.attrs["dropped_dates"]
        assert said(xsr.to_zarr, cube.sr.interpolate(scale=2), said.folder / "a.zarr", progress=False).blocks
        fetching = {"bands": ["B02"], "patch_url": sign, "errors": "drop", "progress": False}
        assert said(xsr.fetch, said.folder / "b.zarr", path, **fetching).dates == 1


@pytest.mark.slow
def test_passwords_in_addresses(tmp_path, said):
    items = [make_item(tmp_path, bands=("B02",))]
    xsr.to_zarr(make_cube(12, 12), tmp_path / "in.zarr", progress=False)
    with serving(tmp_path, items) as api:
        base = api.url.replace("://", f"://me:{SECRET}@")
        cube = said(xsr.open_stac, url=base, bands=["B02"])
        assert said(xsr.to_zarr, cube, said.folder / "a.zarr", progress=False).blocks
        said(xsr.open_stac, url=f"{base}nothing")
        said(xsr.open_stac, items=f"{base}files/nothing.json?sig={SECRET}")
        cube = said(xsr.open, f"{base}files/in.zarr")
        assert said(xsr.to_zarr, cube.sr.interpolate(scale=2), said.folder / "b.zarr", progress=False).blocks
        assert said(xsr.verify, said.folder / "b.zarr").ok
        said(run, "run", f"{base}files/in.zarr", said.folder / "c.zarr", "--scale", "2", "--model", "bicubic")
        assert xsr.verify(said.folder / "c.zarr").ok
        for name in ("nothing.zarr", "nothing.tif", "nothing.nc", "nothing.jp2", "served.json"):
            said(xsr.open, f"{base}files/{name}?sig={SECRET}")
            said(run, "info", f"{base}files/{name}?token={SECRET}")
        said(xsr.to_zarr, make_cube(4, 4), f"{base}files/out.zarr", progress=False)


OPTIONS = [
    {"key": "k", "secret": SECRET},
    {"key": SECRET, "secret": "s", "token": SECRET},
    {"key": "k", "secret": "s", "client_kwargs": {"aws_session_token": SECRET}},
    {"nonsense": {"password": SECRET}},
]


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
def test_storage_options_and_the_environment(said, options, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("CDSE_TOKEN", SECRET)
    given = {
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 1}, "connect_timeout": 1},
        **options,
    }
    said(xsr.to_zarr, make_cube(4, 4), "s3://bucket/a.zarr", storage_options=given, progress=False)
    said(xsr.verify, "s3://bucket/a.zarr", storage_options=given)


@pytest.mark.parametrize("errors", ["raise", "quarantine"])
def test_errors_of_blocks(said, errors):
    """A reader of signed addresses fails in the middle of a run."""

    def fail(block):
        raise OSError(f"'/vsicurl/https://host/B02.tif?sig={SECRET}', band 1: IReadBlock failed")

    cube = make_cube(8, 8).chunk(y=4, x=4)
    broken = cube.copy(data=cube.data.map_blocks(fail, dtype=cube.dtype, meta=cube.data._meta))
    said(xsr.to_zarr, broken, said.folder / "a.zarr", progress=False, errors=errors)
    said(compute_scores, {"scores": xsr.evaluate(broken, cube)})
    assert any("B02.tif" in text for text in said.texts), "all but the secret is said"
