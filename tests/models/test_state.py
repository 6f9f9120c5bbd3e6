import copy
import pickle
import random
import tarfile
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from models.helpers import FIXED, lively, lively_carn, write_fixed

from xsr.core.errors import ModelError, WeightsError
from xsr.models import registry
from xsr.models.architectures.carn import CARN
from xsr.models.architectures.liif import LIIF
from xsr.models.state import fit, read_state


def same(network, other):
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in network.state_dict().items())


class Payload:
    """Unpickled, it writes a file: what a hostile checkpoint would do."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (exec, (f"open({str(self.target)!r}, 'w').close()",))


@pytest.mark.parametrize("way", ["torch", "pickle"])
def test_code_in_a_checkpoint_does_not_run(tmp_path, way):
    path, witness = tmp_path / "evil.pth", tmp_path / "witness"
    content = {"state_dict": {"w": torch.zeros(2)}, "extra": Payload(witness)}
    if way == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError, match=r"evil\.pth .*could run code.*Expected a state dict"):
        read_state(path)
    assert not witness.exists()
    pickle.loads(pickle.dumps(Payload(witness)))  # the payload does work where pickles are trusted
    assert witness.exists()


def test_truncated_files(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(WeightsError, match=r"not a whole safetensors file.*Fetch it again"):
        read_state(path)
    path = tmp_path / "a.pth"
    torch.save({"w": torch.zeros(100)}, path)
    assert zipfile.is_zipfile(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(WeightsError, match=r"not a whole PyTorch checkpoint.*Fetch it again"):
        read_state(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_bytes_are_damaged_files(tmp_path, zipped):
    """Whatever the unpickler stumbles over, the error is ours."""
    path, rng = tmp_path / "a.pth", random.Random(0)
    torch.save({"w": torch.zeros(100), "b": torch.ones(3)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(3):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        try:
            read_state(path)
        except WeightsError:
            refused += 1
    assert refused > 50


def test_page_of_a_server_is_no_checkpoint(tmp_path):
    (tmp_path / "a.pth").write_text("<html>not found</html>")
    with pytest.raises(WeightsError, match=r"a\.pth .*or is no checkpoint at all"):
        read_state(tmp_path / "a.pth")


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(WeightsError, match=r"gone\.pth not found; expected a \.safetensors file"):
        read_state(tmp_path / "gone.pth")
    (tmp_path / "a.h5").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"suffix '\.h5'; expected \.safetensors or one of \.pth"):
        read_state(tmp_path / "a.h5")
    torch.save({"epoch": 3, "loss": [1.0]}, tmp_path / "log.pth")
    with pytest.raises(WeightsError, match="holds no state dict; expected named tensors, at the top or under one of"):
        read_state(tmp_path / "log.pth")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"params": state, "iteration": torch.tensor(7)},
        lambda state: {"params_ema": state},
        lambda state: {"model": {"name": "liif", "args": {"depth": 3}, "sd": state}, "epoch": 1000},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"model.generator.{key}": value for key, value in state.items()}},
    ],
    ids=["bare", "state_dict", "tensor beside", "params_ema", "liif", "module", "model.generator"],
)
def test_wrappers_and_prefixes_are_taken_off(tmp_path, wrap):
    path, wanted = tmp_path / "a.pth", lively(LIIF(4, 4, 8, 1, (16, 16)))
    torch.save(wrap(wanted.state_dict()), path)
    network = LIIF(4, 4, 8, 1, (16, 16))
    fit(network, read_state(path), source=str(path))
    assert same(network, wanted)


def test_published_checkpoint_of_liif_with_its_unused_shifts(tmp_path):
    config = {"channels": 3, "outputs": 3, "features": 8, "blocks": 1, "hidden": (16, 16)}
    wanted = lively(LIIF(**config))
    state = {**wanted.state_dict(), "encoder.sub_mean.weight": torch.eye(3)[..., None, None]}
    torch.save({"model": {"name": "liif", "sd": state}, "optimizer": None}, tmp_path / "a.pth")
    assert same(registry.load("liif", weights=tmp_path / "a.pth", **config), wanted)
    with pytest.raises(ModelError, match=r"settings .* go with an architecture and weights="):
        registry.load("liif_s2", blocks=3)
    with pytest.raises(ModelError, match="a ModelSpec has its own"):
        registry.load(registry.spec("liif_s2"), weights=tmp_path / "a.pth")


def test_repeated_tensors_of_shared_blocks(tmp_path):
    config = {**FIXED, "blocks": 3, "shared": True}
    wanted = lively_carn(1, **config)
    state = wanted.state_dict()
    assert len(state) > len(list(wanted.parameters()))  # the shared ones are named once for each block
    torch.save(state, tmp_path / "a.pth")
    assert same(registry.load("carn_1x3x4g2sw", weights=tmp_path / "a.pth", bands=4), wanted)


@pytest.mark.parametrize("change", ["shape", "missing", "extra"])
def test_the_tensor_that_does_not_fit_is_named(change):
    network, key = CARN(**FIXED), "output_conv2.bias"
    state = dict(network.state_dict())
    if change == "shape":
        state[key], told = torch.zeros(5), r"\(5,\); expected \(4,\)"
    elif change == "missing":
        told = r"None; expected \(4,\)"
        del state[key]
    else:
        key, told = "tail.weight", r"\(2, 3\); expected None"
        state[key] = torch.zeros(2, 3)
    with pytest.raises(WeightsError, match=rf"here does not fit CARN as configured: tensor '{key}' has shape {told}"):
        fit(network, state, source="here")


def test_dry_fit_changes_nothing():
    network, other = lively_carn(0), lively_carn(1)
    fit(network, other.state_dict(), source="here", dry=True)
    assert same(network, lively_carn(0))
    fit(network, {key: value.double() for key, value in other.state_dict().items()}, source="here")
    assert same(network, other)
    assert next(network.parameters()).dtype == torch.float32


def test_weights_with_a_card_of_another_architecture(tmp_path):
    path = write_fixed(tmp_path)
    assert registry.card("carn_1x1x4g2", path).name == "small"
    with pytest.raises(ModelError, match=r"small\.safetensors holds weights of 'carn_1x1x4g2'; model='liif'"):
        registry.card("liif", path)


def test_checkpoints_that_hold_themselves_end_at_once(tmp_path):
    loop = {"state_dict": {}}
    loop["state_dict"]["state_dict"] = loop
    torch.save(loop, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_state(tmp_path / "a.pth")


@pytest.mark.parametrize("names", [[1, 2], [("a", "b")], [None]])
def test_names_of_tensors_are_text(tmp_path, names):
    torch.save({name: torch.zeros(2) for name in names}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="holds no state dict; expected named tensors"):
        read_state(tmp_path / "a.pth")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_that_unfold_are_refused_before_they_do(tmp_path, compression):
    torch.save({"w": torch.zeros(1000)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as whole, zipfile.ZipFile(tmp_path / "b.pth", "w", compression) as packed:
        for member in whole.infolist():
            packed.writestr(member.filename, whole.read(member))
    with pytest.raises(WeightsError, match=r"b\.pth is an archive that takes more memory than it has bytes"):
        read_state(tmp_path / "b.pth")


def test_a_flipped_bit_of_a_tensor_in_a_checkpoint_is_refused(tmp_path):
    """PyTorch reads it without a word."""
    torch.save({"w": torch.arange(1000.0)}, tmp_path / "a.pth")
    content = bytearray((tmp_path / "a.pth").read_bytes())
    content[content.index(np.float32(500.0).tobytes() + np.float32(501.0).tobytes())] ^= 1
    (tmp_path / "a.pth").write_bytes(content)
    assert torch.load(tmp_path / "a.pth", weights_only=True)["w"][500] != 500
    with pytest.raises(WeightsError, match=r"a\.pth is damaged: a/data/0 contradicts its checksum. Fetch it again"):
        read_state(tmp_path / "a.pth")


def test_members_that_share_their_bytes_are_refused(tmp_path):
    """A directory may name the same bytes many times."""
    torch.save({"w": torch.zeros(10_000)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth", "a") as archive:
        member = next(one for one in archive.infolist() if one.filename.endswith("data/0"))
        for number in range(10):
            again = copy.copy(member)
            again.filename = f"a/data/{number + 1}"
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
        archive._didModify = True
    with pytest.raises(WeightsError, match="is an archive that takes more memory than it has bytes"):
        read_state(tmp_path / "a.pth")


def test_tar_archives_are_not_opened(tmp_path):
    (tmp_path / "storages").write_bytes(b"")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "storages", "storages")
    with pytest.raises(WeightsError, match=r"a\.tar is a tar archive; expected a checkpoint as torch\.save writes it"):
        read_state(tmp_path / "a.tar")


def test_a_file_far_larger_than_its_network_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("xsr.models.state.BESIDE", 1000)
    torch.save({"w": torch.zeros(1000)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"has \d+ bytes, far more than 10 parameters take"):
        read_state(tmp_path / "a.pth", parameters=10)
    assert read_state(tmp_path / "a.pth", parameters=1000)["w"].shape == (1000,)
    torch.save({"w": torch.zeros(50_000)}, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match="far more than"):
        registry.load("carn_1x1x1g1", weights=tmp_path / "b.pth", bands=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_numbers_that_are_none_are_refused(tmp_path, value):
    network = CARN(**FIXED)
    state = {key: tensor.double() for key, tensor in network.state_dict().items()}
    state["output_conv2.bias"][1] = value
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"tensor 'output_conv2\.bias' holds NaN or infinities"):
        fit(network, read_state(tmp_path / "a.pth"), source="a.pth")


@pytest.mark.parametrize("kind", [lambda t: t.to_sparse(), lambda t: t.to(torch.complex64), lambda t: t.to("meta")])
def test_tensors_that_are_no_plain_numbers_are_refused(kind):
    network = CARN(**FIXED)
    state = {**network.state_dict(), "output_conv2.bias": kind(torch.ones(4))}
    with pytest.raises(WeightsError, match=r"tensor 'output_conv2\.bias' is .*; expected plain numbers"):
        fit(network, state, source="a.pth")


def test_flipped_bits_of_safetensors_give_one_of_our_errors(tmp_path):
    path, rng = tmp_path / "a.safetensors", random.Random(0)
    safetensors.torch.save_file({"w": torch.zeros(10), "b": torch.ones(3)}, path)
    whole = path.read_bytes()
    refused = 0
    for _ in range(300):
        content = bytearray(whole)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            read_state(path)
        except WeightsError:
            refused += 1
    assert refused > 100
