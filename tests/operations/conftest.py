import pytest
from models.helpers import write_model


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Weights of a tiny random network."""
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def zero_model(tmp_path_factory):
    """Weights of a tiny network that adds nothing to the bicubic base."""
    return write_model(tmp_path_factory.mktemp("zero"), name="zero", zero=True)


@pytest.fixture(scope="session")
def client():
    """Client of a cluster of two processes; it takes work only inside ``with client.as_current()``."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as found,
    ):
        yield found
