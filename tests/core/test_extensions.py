import importlib.util
import sys
import textwrap
import types
from importlib.metadata import EntryPoint

import pytest

from xsr.core import extensions, sensors
from xsr.core.errors import XsrWarning
from xsr.core.sensors import registry


@pytest.fixture
def installed(monkeypatch):
    """Pretend that packages with entry points are installed, and that nothing was loaded yet."""
    monkeypatch.setattr(registry, "_SENSORS", dict(registry._SENSORS))
    monkeypatch.setattr(extensions, "_loaded", set())

    def install(**modules):
        entries = [EntryPoint(name, name, extensions.GROUP) for name in modules]
        monkeypatch.setattr(extensions, "entry_points", lambda group: entries if group == extensions.GROUP else [])
        for name, text in modules.items():
            monkeypatch.setitem(sys.modules, name, None) if text is None else _write(monkeypatch, name, text)

    return install


def _write(monkeypatch, name, text):
    class Finder:
        @staticmethod
        def find_spec(wanted, path=None, target=None):
            return importlib.util.spec_from_loader(name, Loader) if wanted == name else None

    class Loader:
        @staticmethod
        def create_module(spec):
            return types.ModuleType(name)

        @staticmethod
        def exec_module(module):
            exec(textwrap.dedent(text), vars(module))

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    monkeypatch.delitem(sys.modules, name, raising=False)


SENSOR = """
from xsr.core.sensors import Band, Sensor, get, register_sensor

assert get("sentinel-2")  # a lookup while extensions are loaded
register_sensor(Sensor("camera-9", [Band("C9", gsd_m=3.0, wavelength_nm=660.0)]))
"""


def test_the_sensors_of_installed_packages_are_known_at_the_first_lookup(installed):
    installed(camera_extension=SENSOR)
    assert sensors.get("camera-9").band("C9").gsd_m == 3.0
    assert "camera-9" in sensors.names()


def test_an_extension_that_fails_is_named_and_the_others_are_loaded(installed):
    installed(broken_extension="raise RuntimeError('no licence')", camera_extension=SENSOR)
    with pytest.warns(XsrWarning, match=r"extension 'broken_extension' \(\w+\) was not loaded: no licence"):
        assert "camera-9" in sensors.names()


def test_an_extension_that_leaves_python_is_named_too(installed):
    installed(leaving_extension="raise SystemExit('no display')", camera_extension=SENSOR)
    with pytest.warns(XsrWarning, match=r"extension 'leaving_extension' \(\w+\) was not loaded: no display"):
        assert "camera-9" in sensors.names()


def test_extensions_whose_loading_was_interrupted_are_loaded_by_the_next_lookup(installed):
    installed(interrupted_extension="raise KeyboardInterrupt", camera_extension=SENSOR)
    with pytest.raises(KeyboardInterrupt):
        sensors.names()
    installed(camera_extension=SENSOR)
    assert "camera-9" in sensors.names()
