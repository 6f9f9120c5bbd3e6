"""Fixtures of the tests of the map."""

import pytest
from helpers import make_cube
from models.helpers import write_model
from view.map.pages import Gate, Page, opened


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Path of a tiny LIIF of four bands."""
    return str(write_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def cube():
    """Three dates of four bands, 24 pixels a side, in chunks."""
    return make_cube((3, 4, 24, 24), chunks={"time": 1, "band": 4, "y": 12, "x": 24})


@pytest.fixture
def page(cube):
    with opened({"cube": cube}) as client:
        yield Page(client)


@pytest.fixture
def gate():
    found = Gate()
    yield found
    found.opened.set()
