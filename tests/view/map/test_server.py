"""The map on a port: in a notebook, by the command, and where it cannot be."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from helpers import make_cube
from typer.testing import CliRunner

pytest.importorskip("starlette")
pytest.importorskip("js_lib_leaflet")

import xsr
from xsr import cli
from xsr.core.errors import CubeError, ParameterError
from xsr.view.map import page_files
from xsr.view.map.notebook import HUB
from xsr.view.map.server import is_loopback


def read(url):
    with urllib.request.urlopen(url) as reply:
        return reply.read().decode()


def test_a_map_in_a_notebook_is_a_frame_with_the_page():
    cube = make_cube((4, 24, 24))
    with cube.sr.explore(height=500) as shown:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{20,}/", shown.url)
        assert "<title>xsr</title>" in read(shown.url)
        assert f'src="{shown.url}"' in shown._repr_html_()
        assert 'height="500"' in shown._repr_html_()
        assert shown.url in repr(shown)
    with pytest.raises(urllib.error.URLError):
        read(shown.url)


def test_two_maps_have_ports_and_secrets_of_their_own():
    cube = make_cube((4, 24, 24))
    with xsr.explore(cube) as one, xsr.explore(cube) as other:
        (port, secret), (second, _) = (shown.url.split(":")[2].split("/")[:2] for shown in (one, other))
        assert port != second
        with pytest.raises(urllib.error.HTTPError, match="404"):
            read(f"http://127.0.0.1:{second}/{secret}/")


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ParameterError, match=f"127.0.0.1:{port} cannot be served.*another port"):
            make_cube((4, 8, 8)).sr.explore(port=port)
    for port in (-1, 70000, 1.5):
        with pytest.raises(ParameterError, match="port="):
            make_cube((4, 8, 8)).sr.explore(port=port)
    with pytest.raises(ParameterError, match="cannot be served"):
        make_cube((4, 8, 8)).sr.explore(host="no such host")


def test_behind_a_hub_the_frame_leads_through_its_proxy(monkeypatch):
    monkeypatch.setenv(HUB, "/user/ann/")
    with make_cube((4, 8, 8)).sr.explore() as shown:
        port = shown._server.port
        assert shown.url == f"/user/ann/proxy/{port}/{shown._server.secret}/"
        request = urllib.request.Request(shown._server.url, headers={"host": "hub.example"})
        assert "<title>xsr</title>" in read(request)
    with make_cube((4, 8, 8)).sr.explore(proxy='https://hub.example/"><script>') as shown:
        assert "<script>" not in shown._repr_html_()


def test_what_is_wrong_with_the_cube_is_said_at_once():
    cube = make_cube((4, 8, 8))
    with pytest.raises(CubeError):
        cube.drop_vars(["x", "y", "spatial_ref"]).sr.explore()
    with pytest.raises(ParameterError, match="height"):
        cube.sr.explore(height=3)


def test_packages_that_are_missing_are_named(monkeypatch):
    monkeypatch.setattr(page_files, "NEEDED", ("no_such_package", "starlette"))
    with pytest.raises(ParameterError, match=r'no_such_package.*pip install "xarray-sr\[map\]"'):
        make_cube((4, 8, 8)).sr.explore()


def test_hosts_that_only_this_machine_reaches():
    assert [is_loopback(host) for host in ("localhost", "127.8.8.8", "192.168.0.1", "example.com")] == [
        *(True, True, False, False)
    ]


@pytest.mark.slow
def test_the_command_serves_until_interrupted(tmp_path):
    path = tmp_path / "cube.zarr"
    xsr.to_zarr(make_cube((1, 4, 24, 24)).chunk(), path, progress=False)
    command = [sys.executable, "-m", "xsr.cli", "serve", str(path), "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        line = process.stdout.readline()
        assert line.startswith("map of cube.zarr: http://127.0.0.1:")
        assert "<title>xsr</title>" in read(line.split()[-1])
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert "Traceback" not in rest


def test_the_command_says_what_is_wrong(tmp_path):
    result = CliRunner().invoke(cli.app, ["serve", str(tmp_path / "none.zarr")])
    assert result.exit_code != 0
