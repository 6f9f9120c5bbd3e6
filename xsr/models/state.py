"""Weights from files: our own and published ones, never code."""

import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xsr.core.errors import WeightsError

PICKLED = (".pth", ".pt", ".ckpt", ".tar")
WRAPPERS = ("state_dict", "params_ema", "params", "model", "sd", "network", "net")
"""Keys under which checkpoints keep the tensors among other things."""
PREFIXES = ("module.", "model.", "generator.", "network.")
"""What wrappers of a network put before the names of its tensors."""


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file.

    Parameters
    ----------
    path
        ``.safetensors``, or a PyTorch checkpoint (``.pth``, ``.pt``, ``.ckpt``, ``.tar``) that holds tensors, numbers
        and texts alone.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, or pickles anything else: that could run code.
    """
    if not path.is_file():
        raise WeightsError(f"{path} not found; expected a .safetensors file or a PyTorch checkpoint.")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise WeightsError(f"{path} is not a whole safetensors file ({error}). Fetch it again.") from error
    if path.suffix not in PICKLED:
        raise WeightsError(f"{path} has suffix {path.suffix!r}; expected .safetensors or one of {', '.join(PICKLED)}.")
    try:
        with warnings.catch_warnings():
            # Other protocols of pickle than PyTorch's own are read too, or refused below.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} pickles more than tensors, which could run code when it is opened, or is no checkpoint at all; it"
            " was not opened. Expected a state dict: get one from its author, or convert it to .safetensors where you"
            " trust it."
        ) from error
    except Exception as error:  # of damaged bytes the unpickler raises nearly anything
        raise WeightsError(f"{path} is not a whole PyTorch checkpoint ({error}). Fetch it again.") from error
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """Find the state dict in a checkpoint."""
    while isinstance(content, Mapping) and not all(isinstance(value, Tensor) for value in content.values()):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()) or not content:
        raise WeightsError(
            f"{path} holds no state dict; expected named tensors, at the top or under one of {', '.join(WRAPPERS)}."
        )
    return {str(key): value for key, value in content.items()}


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
        If a tensor is missing, left over or of another shape; the first is named.
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
    network.load_state_dict({key: _as_float(value) for key, value in found.items()})


def _shared(network: nn.Module) -> dict[str, str]:
    """First name of each tensor that has a further one, because parts of the network share it."""
    first: dict[int, str] = {}
    names = {key: first.setdefault(id(value), key) for key, value in network.state_dict(keep_vars=True).items()}
    return {key: name for key, name in names.items() if key != name}


def _as_float(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32) if tensor.is_floating_point() else tensor
