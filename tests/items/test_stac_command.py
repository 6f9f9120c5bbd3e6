"""``xsr stac`` and ``xsr run --stac``."""

import json

import pystac
import pytest
from helpers import make_cube
from typer.testing import CliRunner

from xsr import cli


def call(*arguments):
    found = CliRunner().invoke(cli.app, [str(one) for one in arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


@pytest.mark.slow
def test_the_command_describes_what_it_writes_and_what_is_there(tmp_path):
    make_cube((1, 2, 8, 8), times=["2024-06-05"]).sr.to_zarr(tmp_path / "in.zarr", progress=False)
    said = call("run", tmp_path / "in.zarr", tmp_path / "out.zarr", "--scale", 2, "--model", "bicubic", "--stac")
    assert f"described by {tmp_path / 'out.json'}" in said.replace("\n", "")
    item = pystac.Item.from_file(str(tmp_path / "out.json"))
    assert item.properties["xsr:input"] == "in.zarr"
    template = tmp_path / "template.json"
    template.write_text(json.dumps({"collection": "fine"}))
    call("stac", tmp_path / "out.zarr", "--template", template)
    assert pystac.Item.from_file(str(tmp_path / "out.json")).collection_id == "fine"
