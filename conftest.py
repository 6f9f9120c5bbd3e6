"""Examples in docstrings and in the documentation may write files and register things: neither outlives them."""

from copy import copy
from importlib import import_module

import pytest

REGISTRIES = {
    "xsr.core.sensors.registry": "_SENSORS",
    "xsr.kernels.metrics": "_registered",
    "xsr.models.catalogue": "_registered",
    "xsr.sources.registry": "_SOURCES",
}
"""Where what users register is kept."""


@pytest.fixture(autouse=True)
def nothing_outlives_an_example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a doctest in a temporary folder, with registries of its own."""
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(request.getfixturevalue("tmp_path"))
        for module, name in REGISTRIES.items():
            registry = import_module(module)
            monkeypatch.setattr(registry, name, copy(getattr(registry, name)))
