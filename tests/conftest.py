"""Fixtures shared by all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from warm import Python

from xsr.training.manifest import Manifest, read_manifest

# Numba compiles and machines are shared: how long an example takes says nothing about its correctness.
# In CI the examples are the same every time, so that a failure is about the change; elsewhere they differ.
settings.register_profile(
    "xsr",
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
# `make coverage`, which takes long in any case, tries more.
settings.register_profile("thorough", settings.get_profile("xsr"), max_examples=30)
# `make chaos` searches for what nobody has found yet.
settings.register_profile("chaos", settings.get_profile("xsr"), derandomize=False, max_examples=1000, print_blob=True)
profile = "chaos" if os.environ.get("XSR_CHAOS") else "thorough" if os.environ.get("XSR_THOROUGH") else "xsr"
settings.load_profile(profile)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--device`` and ``--update-references``."""
    parser.addoption("--device", default="cpu", help="Torch device for the tests of inference: cpu, cuda or cuda:N.")
    parser.addoption("--update-references", action="store_true", help="Write anew what tests of displays compare with.")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """Torch device named by ``--device``."""
    import torch

    name = str(request.config.getoption("--device"))
    if name.startswith("cuda") and not torch.cuda.is_available():
        pytest.skip(f"--device {name}: there is no CUDA device here")
    return name


@pytest.fixture(scope="session", autouse=True)
def float32() -> Iterator[None]:
    """Let ``precision="auto"`` mean float32 on every machine; tests of bfloat16 ask for it."""
    from xsr.models import precision

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "native_bfloat16", lambda: False)
        yield


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let PyTorch use one thread, here and in new processes: it orders sums by their number, which schedulers set."""
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def python() -> Iterator[Python]:
    """Runs commands of ``python``, each in a process of its own, without the seconds that imports take."""
    found = Python()
    yield found
    found.close()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real scenes, named by the environment variable XSR_DATA."""
    folder = os.environ.get("XSR_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("XSR_DATA does not name a folder of real scenes")
    return Path(folder)


@pytest.fixture(scope="session")
def manifest(data_dir: Path) -> Manifest:
    """Scenes of that folder, as the benchmarks use them."""
    return read_manifest(Path(__file__).parents[1] / "benchmarks" / "data.toml", root=data_dir)


@pytest.fixture(scope="session")
def cluster() -> Iterator[object]:
    """Client of two worker processes; it takes work only inside ``with cluster.as_current()``."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0
        ) as workers,
        distributed.Client(workers, set_as_default=False) as client,
    ):
        yield client
