"""A notebook as a kernel runs and saves it: cards, and the last line of every progress bar."""

import json
import re
import sys

import pytest
from catalogs import make_item, write_items

CELLS = {
    "setup": "import xsr\nfrom xsr.core import progress\nfrom xsr.testing import synthetic_cube\n"
    "progress.PATIENCE_S = 0\ncube = synthetic_cube(size=(64, 64))\nlazy = cube.chunk(y=32)",
    "card": "cube.sr",
    "eager": "fine = cube.sr.interpolate(scale=2, chunks=32)",
    "silent": "import os\nos.environ['XSR_PROGRESS'] = '0'\nfine = cube.sr.interpolate(scale=2, chunks=32)",
    "to_zarr": "report = lazy.sr.to_zarr('fine.zarr')\nreport",
    "to_cog": "report = lazy.sr.to_cog('fine.tif')",
    "fetch": "report = xsr.fetch('down.zarr', 'items.json', bands=['B02'])",
    "quiet": "report = lazy.sr.to_zarr('quiet.zarr', progress=False)",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Outputs of every cell of a notebook that was run, saved and read again."""
    nbclient, nbformat = (pytest.importorskip(name) for name in ("nbclient", "nbformat"))
    pytest.importorskip("ipykernel")
    folder = tmp_path_factory.mktemp("notebook")
    write_items(folder / "items.json", [make_item(folder, day=f"2024-06-{day}") for day in (15, 20, 25)])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in CELLS.values()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        patch.setenv("IPYTHONDIR", str(folder))
        spec = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]}
        kernels = folder / "kernels" / "here"
        kernels.mkdir(parents=True)
        (kernels / "kernel.json").write_text(json.dumps({**spec, "display_name": "here"}))
        patch.setenv("JUPYTER_PATH", str(folder))
        client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="here", resources={})
        client.resources["metadata"] = {"path": str(folder)}
        client.execute()
    nbformat.write(notebook, folder / "saved.ipynb")
    saved = nbformat.read(folder / "saved.ipynb", as_version=4)
    return dict(zip(CELLS, (cell.outputs for cell in saved.cells), strict=True))


def texts(found):
    """Plain texts of outputs, without the codes of colours."""
    return [re.sub(r"\x1b\[[\d;]*m", "", one.data["text/plain"]) for one in found if "data" in one]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("eager", "interpolation"),
        ("to_zarr", "writing blocks"),
        ("to_cog", "writing strips"),
        ("fetch", "fetching dates"),
    ],
)
def test_the_last_line_of_a_bar_is_in_the_saved_notebook(outputs, cell, line):
    first = texts(outputs[cell])[0]
    count = {"eager": 16, "to_zarr": 2, "to_cog": 2, "fetch": 3}[cell]
    assert line in first
    assert f"{count}/{count}" in first
    assert re.search(r"\d:\d\d:\d\d\s*$", first)
    html = outputs[cell][0].data["text/html"]
    assert f"{count}/{count}" in html
    assert not [one for one in outputs[cell] if "application/vnd.jupyter.widget-view+json" in one.get("data", {})]


@pytest.mark.slow
def test_no_bar_is_shown_where_none_is_wanted(outputs):
    assert outputs["quiet"] == []
    assert outputs["silent"] == []
    assert outputs["setup"] == []


@pytest.mark.slow
def test_objects_show_themselves_in_the_notebook(outputs):
    (card,) = outputs["card"]
    assert card.data["text/plain"].startswith("<xsr cube> reflectance")
    assert "xr-section-summary" in card.data["text/html"]
    assert any(one.startswith("<xsr store>") for one in texts(outputs["to_zarr"]))
