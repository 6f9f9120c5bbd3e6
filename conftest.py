"""Examples in docstrings and in the documentation may write files and register things: neither outlives them."""

import pytest


@pytest.fixture(autouse=True)
def folder_of_the_example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a doctest in a temporary folder."""
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(request.getfixturevalue("tmp_path"))


@pytest.fixture(autouse=True)
def registries_of_the_example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the sensors and sources that a doctest registers."""
    if isinstance(request.node, pytest.DoctestItem):
        from xsr.core.sensors import registry as sensors
        from xsr.sources import registry as sources

        monkeypatch.setattr(sensors, "_SENSORS", dict(sensors._SENSORS))
        monkeypatch.setattr(sources, "_SOURCES", dict(sources._SOURCES))
