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
