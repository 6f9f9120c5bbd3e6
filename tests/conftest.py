"""Fixtures shared by all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Numba compiles and machines are shared: how long an example takes says nothing about its correctness.
# In CI the examples are the same every time, so that a failure is about the change; elsewhere they differ.
settings.register_profile(
    "xsr", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("xsr")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real scenes, named by the environment variable XSR_DATA."""
    folder = os.environ.get("XSR_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("XSR_DATA does not name a folder of real scenes")
    return Path(folder)


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """Client of two worker processes; a test makes it the active one with `as_current`."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0
        ) as workers,
        distributed.Client(workers, set_as_default=False) as client,
    ):
        yield client
