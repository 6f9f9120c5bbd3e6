"""Models by name or path: what there is, its card, and the loaded network, once per process.

A `ModelSpec` (where and which bytes) is what travels in Dask graphs; the network itself never does.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from xsr.core.errors import ModelError, ParameterError, WeightsError
from xsr.models.card import SUFFIX, ModelCard, file_sha256, read_card

if TYPE_CHECKING:
    from torch import nn

PACKAGED = Path(__file__).parent / "weights"
ARCHITECTURES = ("liif",)
_loading = Lock()


@dataclass(frozen=True)
class ModelSpec:
    """Identity of a trained model: enough to find it on any worker and to know that it is the same."""

    name: str
    """Name of packaged weights, or a path to a weight file."""
    sha256: str
    """Hash of the weight file."""


def names() -> tuple[str, ...]:
    """Names of the packaged weights."""
    return tuple(sorted(path.stem for path in PACKAGED.glob(f"*{SUFFIX}")))


def find(model: str | Path) -> Path:
    """Locate weights by packaged name or by path.

    Raises
    ------
    ModelError
        If there are none.
    """
    path = Path(str(model))
    if path.suffix != SUFFIX:
        path = PACKAGED / f"{model}{SUFFIX}"
    if not path.is_file():
        raise ModelError(
            f"model {str(model)!r} not found; expected one of {', '.join(names())}, or a path to a {SUFFIX} file."
        )
    return path


def describe(model: str | Path) -> ModelCard:
    """Card of a model, by packaged name or by path to its weights."""
    return read_card(find(model))


def spec(model: str | Path) -> ModelSpec:
    """Identity of a model as its card states it; the bytes are checked when a worker loads them."""
    name = str(find(model).resolve()) if Path(model).suffix == SUFFIX else str(model)
    return ModelSpec(name, describe(model).sha256)


def create(architecture: str, **config: Any) -> "nn.Module":
    """Untrained network of an architecture.

    Raises
    ------
    ModelError
        If the architecture is unknown.
    """
    if architecture == "liif":
        from xsr.models.architectures.liif import LIIF

        return LIIF(**config)
    raise ModelError(f"architecture {architecture!r} is unknown; expected one of {', '.join(ARCHITECTURES)}.")


def load(identity: ModelSpec, device: str = "cpu") -> "nn.Module":
    """Network with its weights, in evaluation mode; read once per process and device.

    Raises
    ------
    WeightsError
        If the file's hash is not the one of ``identity``, or its tensors do not fit the architecture.
    """
    with _loading:  # threads of one worker wait for the first instead of reading the file again
        return _load(identity, device)


@lru_cache(maxsize=8)
def _load(identity: ModelSpec, device: str) -> "nn.Module":
    import torch
    from safetensors.torch import load_file

    path = find(identity.name)
    found = file_sha256(path)
    if found != identity.sha256:
        raise WeightsError(
            f"{path} has sha256 {found}; expected {identity.sha256}. The file was changed or damaged: restore it."
        )
    card = read_card(path)
    network = create(card.architecture, **card.config)
    state = {key: value.to(torch.float32) for key, value in load_file(path).items()}
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    wrong = [k for k in sorted(wanted.keys() | state.keys()) if wanted.get(k) != _shape(state.get(k))]
    if wrong:
        key = wrong[0]
        raise WeightsError(
            f"{path} does not fit {card.architecture} {card.config}: tensor {key!r} has shape {_shape(state.get(key))};"
            f" expected {wanted.get(key)}."
        )
    network.load_state_dict(state)
    return network.to(device).eval().requires_grad_(False)


def _shape(tensor: Any) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)


def check_device(device: str) -> None:
    """Check how a device is spelt; whether it exists is for the worker to know.

    Raises
    ------
    ParameterError
        Unless it is auto, cpu, cuda or cuda:N.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ParameterError(f"device={device!r}; expected auto, cpu, cuda or cuda:N.")


def resolve_device(device: str) -> str:
    """Resolve ``auto`` to ``cuda`` where there is one, else ``cpu``.

    Raises
    ------
    ParameterError
        If the device does not exist here.
    """
    import torch

    check_device(device)
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ParameterError(f"device={device!r} cannot be used here ({error}); expected auto, cpu or cuda.") from error
    return device
