import pytest
import torch
from models.helpers import lively_carn

from xsr.core.errors import ModelError, WeightsError
from xsr.models import published, registry
from xsr.models.card import file_sha256


@pytest.mark.parametrize("bands", [10, 4])
@pytest.mark.parametrize("factor", [2, 4])
def test_bands_and_factor_are_read_off_the_tensors(tmp_path, bands, factor):
    path = tmp_path / "some.pth"
    torch.save(lively_carn(bands=bands, factor=factor).state_dict(), path)
    card = registry.card("carn_1x1x4g2", path)
    assert card.bands == published.SENTINEL2.names[:bands]
    assert (card.factor, card.scale_range) == (factor, (factor, factor))
    assert card.image.mean == (0.0478, 0.0765, 0.0893, 0.2622, 0.1253, 0.2182, 0.2524, 0.2815, 0.2472, 0.1665)[:bands]
    assert card.image.std == (0.0289, 0.0400, 0.0679, 0.0811, 0.0615, 0.0645, 0.0772, 0.0820, 0.1196, 0.1160)[:bands]
    assert (card.residual, card.radius, card.gsd_m, card.sha256) == (False, 5, 10.0, file_sha256(path))


@pytest.mark.parametrize("factor", [2, 4])
def test_dense_blocks(tmp_path, factor):
    network = registry.create("esrgan_1x8x4", bands=4, factor=factor)
    torch.save(network.state_dict(), tmp_path / "some.pth")
    card = registry.card("esrgan_1x8x4", tmp_path / "some.pth")
    assert (card.factor, len(card.bands), card.radius) == (factor, 4, 19)
    assert card.parameters == sum(p.numel() for p in network.parameters())


def test_weights_are_loaded_by_the_spec_that_travels(tmp_path):
    wanted = lively_carn(bands=10)
    torch.save({f"module.{key}": value for key, value in wanted.state_dict().items()}, tmp_path / "some.pth")
    spec = registry.spec("carn_1x1x4g2", tmp_path / "some.pth")
    assert (spec.architecture, spec.sha256) == ("carn_1x1x4g2", file_sha256(tmp_path / "some.pth"))
    image = torch.randn(1, 10, 7, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(registry.load(spec)(image), wanted(image))


def test_no_known_number_of_bands(tmp_path):
    torch.save(lively_carn(bands=3).state_dict(), tmp_path / "some.pth")
    with pytest.raises(WeightsError, match=r"some\.pth does not fit CARN.*'input_conv\.weight'.*3.*expected.*10"):
        registry.card("carn_1x1x4g2", tmp_path / "some.pth")


@pytest.mark.parametrize("name", ["liif", "srcnn", "dctnet"])
def test_other_architectures_need_a_card(tmp_path, name):
    torch.save({"w": torch.zeros(2)}, tmp_path / "some.pth")
    with pytest.raises(ModelError, match=rf"no card beside it, and '{name}' is none of.*expected a card"):
        registry.card(name, tmp_path / "some.pth")
