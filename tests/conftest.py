"""Fixtures shared by all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real scenes, named by the environment variable XSR_DATA."""
    folder = os.environ.get("XSR_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("XSR_DATA does not name a folder of real scenes")
    return Path(folder)


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """Client of two worker processes; active for the tests of the module that ask for it."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
        ) as workers,
        distributed.Client(workers, set_as_default=False) as client,
    ):
        yield client
