"""Weights from files: our own and published ones, never code."""

import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xsr.core.errors import WeightsError

PICKLED = (".pth", ".pt", ".ckpt", ".tar")
WRAPPERS = ("state_dict", "params_ema", "params", "model", "sd", "network", "net")
"""Keys under which checkpoints keep the tensors among other things."""
DEEPEST = 8
"""Wrappers in wrappers that are looked into."""
SPARE = 64
"""Bytes of a file for each parameter of its network: sixteen copies in single precision."""
BESIDE = 16 << 20
"""Bytes of a file beside these."""
ZIP = b"PK\x03\x04"
"""First bytes of an archive."""
PREFIXES = ("module.", "model.", "generator.", "network.")
"""What wrappers of a network put before the names of its tensors."""


def count(network: nn.Module) -> int:
    """Count the parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def read_state(path: Path, *, parameters: int | None = None) -> dict[str, Tensor]:
    """Read the tensors of a weight file.

    Parameters
    ----------
    path
        ``.safetensors``, or a PyTorch checkpoint (``.pth``, ``.pt``, ``.ckpt``, ``.tar``) that holds tensors, numbers
        and texts alone.
    parameters
        Parameters of the network that it is for: a file of more than `SPARE` bytes for each, and `BESIDE` more, is
        not opened. None: of any size.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, much larger than the network, or pickles anything else: that could run code.
    """
    if not path.is_file():
        raise WeightsError(f"{path} not found; expected a .safetensors file or a PyTorch checkpoint.")
    size = path.stat().st_size
    if parameters is not None and size > SPARE * parameters + BESIDE:
        raise WeightsError(
            f"{path} has {size} bytes, far more than {parameters} parameters take; expected the weights of the network"
            " alone. Save its state dict by itself."
        )
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix not in PICKLED:
        raise WeightsError(f"{path} has suffix {path.suffix!r}; expected .safetensors or one of {', '.join(PICKLED)}.")
    return _tensors(_read_checkpoint(path), path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except Exception as error:  # of damaged bytes it raises more than its own
        raise WeightsError(f"{path} is not a whole safetensors file ({error}). Fetch it again.") from error


def _read_checkpoint(path: Path) -> Any:
    """Read a checkpoint of PyTorch, if it expands to no more than it is and runs no code."""
    try:
        _check_archive(path)
        with warnings.catch_warnings():
            # Other protocols of pickle than PyTorch's own are read too, or refused below.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} pickles more than tensors, which could run code when it is opened, or is no checkpoint at all; it"
            " was not opened. Expected a state dict: get one from its author, or convert it to .safetensors where you"
            " trust it."
        ) from error
    except Exception as error:  # of damaged bytes the unpickler raises nearly anything
        raise WeightsError(f"{path} is not a whole PyTorch checkpoint ({error}). Fetch it again.") from error


def _check_archive(path: Path) -> None:
    """Refuse an archive that is damaged, or that PyTorch never writes: compressed, larger inside, a tar."""
    with path.open("rb") as stream:
        zipped = stream.read(len(ZIP)) == ZIP
    if not zipped and tarfile.is_tarfile(path):  # which some releases of PyTorch unpickle without a check
        raise WeightsError(f"{path} is a tar archive; expected a checkpoint as torch.save writes it.")
    if not zipped:
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(one.compress_type != zipfile.ZIP_STORED for one in members) or (
        sum(one.file_size for one in members) > path.stat().st_size
    ):
        raise WeightsError(
            f"{path} is an archive that takes more memory than it has bytes; expected one without compression, as"
            " torch.save writes it."
        )
    with zipfile.ZipFile(path) as archive:  # PyTorch itself does not compare checksums
        damaged = archive.testzip()
    if damaged is not None:
        raise WeightsError(
            f"{path} is damaged: {damaged} contradicts its checksum. Fetch it again, or save it anew with checksums"
            " where torch.save left them out."
        )


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """Find the state dict in a checkpoint."""
    for _ in range(DEEPEST):
        if _is_state(content) or not isinstance(content, Mapping):
            break
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
    if not _is_state(content):
        raise WeightsError(
            f"{path} holds no state dict; expected named tensors, at the top or under one of {', '.join(WRAPPERS)}."
        )
    return dict(content)


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    )


def fit(
    network: nn.Module,
    state: Mapping[str, Tensor],
    *,
    rename: Callable[[str], str | None] = str,
    source: str,
    dry: bool = False,
) -> None:
    """Put the tensors of a file into a network, in float32.

    Parameters
    ----------
    network
        Network to fill.
    state
        Tensors by published name; prefixes of wrappers (``module.``) are taken off.
    rename
        Our name of a tensor, None for one that we have no use for.
    source
        Where the tensors come from, for messages.
    dry
        Only compare names and shapes.

    Raises
    ------
    WeightsError
        If a tensor is missing, left over, of another shape, or holds NaN or infinities; the first is named.
    """
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    found = {name: value for key, value in state.items() if (name := rename(key)) is not None}
    wanted = network.state_dict()
    found |= {key: found[name] for key, name in _shared(network).items() if key not in found and name in found}
    for key in sorted(wanted.keys() | found.keys()):
        have, need = (None if key not in tensors else tuple(tensors[key].shape) for tensors in (found, wanted))
        if have != need:
            raise WeightsError(
                f"{source} does not fit {type(network).__name__} as configured: tensor {key!r} has shape {have};"
                f" expected {need}."
            )
    if dry:
        return
    try:
        network.load_state_dict({key: _as_float(key, value, source) for key, value in found.items()})
    except RuntimeError as error:  # a format of numbers that PyTorch cannot convert
        raise WeightsError(f"{source} does not fit {type(network).__name__}: {error}. Fetch it again.") from error


def _shared(network: nn.Module) -> dict[str, str]:
    """First name of each tensor that has a further one, because parts of the network share it."""
    first: dict[int, str] = {}
    names = {key: first.setdefault(id(value), key) for key, value in network.state_dict(keep_vars=True).items()}
    return {key: name for key, name in names.items() if key != name}


def _as_float(name: str, tensor: Tensor, source: str) -> Tensor:
    """Tensor of a file in float32, if it is one of finite numbers; whole numbers stay."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_complex() or tensor.is_quantized:
        raise WeightsError(
            f"{source}: tensor {name!r} is {tensor.layout} {tensor.dtype} on {tensor.device}; expected plain numbers."
        )
    if not tensor.is_floating_point():
        return tensor
    made = tensor.to(torch.float32)
    if not made.isfinite().all():
        raise WeightsError(
            f"{source}: tensor {name!r} holds NaN or infinities; expected finite numbers. Fetch it again."
        )
    return made
