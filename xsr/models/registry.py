"""Models by name or path: what there is, its card, and the loaded network, once per process.

A `ModelSpec` (where and which bytes) is what travels in Dask graphs; the network itself never does.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from xsr.core import extensions, sensors
from xsr.core.errors import ModelError, ParameterError, WeightsError
from xsr.core.sheet import Sheet, Shown
from xsr.models import catalogue, claims, foreign, published
from xsr.models.card import SUFFIX, ModelCard, digest, file_sha256, read_card
from xsr.models.record import Architecture
from xsr.models.shown import architecture_sheet

if TYPE_CHECKING:
    from torch import nn

PACKAGED = Path(__file__).parent / "weights"
APART = {"temporal_liif_worldstrat": "CC-BY-NC-4.0"}
"""Weights whose licence keeps them out of the default distribution, and that licence."""
Model: TypeAlias = str | Path
"""Name of packaged weights, or path to a weight file or to the card of a foreign network."""
_loading = Lock()
_folders = [PACKAGED, PACKAGED.with_name("noncommercial")]
"""Folders of weights; a checkout has the second one, a distribution does not."""


@dataclass(frozen=True)
class ModelSpec:
    """Identity of a trained model: enough to find it on any worker and to know that it is the same."""

    name: str
    """Name of packaged weights, or a path to a weight file or a foreign card."""
    sha256: str
    """Hash of the weights."""
    architecture: str = ""
    """Architecture of published weights that come without a card of ours; empty: the card says it."""
    card: str = ""
    """Hash of what the card says that a result depends on; empty: any card is accepted."""
    module: str = ""
    """Module whose import registers the architecture; empty for those of the package."""


@dataclass(frozen=True, repr=False)
class Description(Shown):
    """What there is to know of a model by name."""

    name: str
    summary: str
    kind: str
    """weights, or the kind of the architecture: fixed, continuous, temporal, guided, discriminator."""
    architecture: str
    parameters: int
    """All parameters, trainable and frozen."""
    trainable: int
    tiling: str
    """halo (tiles with a margin of ``radius`` are exact), lattice (patches on a fixed lattice are blended), none."""
    radius: int | None
    """Input pixels that an output pixel depends on, beyond the nearest; None if there is no bound."""
    bands: tuple[str, ...]
    """Bands of trained weights, in the order of the channels; empty for an architecture: any."""
    scale: str
    """Factor, or range of factors."""
    gsd_in_m: float | None
    """Pixel size that weights were made for, metres."""
    gsd_out_m: float | None
    """Pixel size of a fixed-factor model's output, metres."""
    licence: str
    citation: str
    card: ModelCard | None = None
    """Card of trained weights; None for an architecture."""

    def _sheet(self) -> Sheet:
        return architecture_sheet(self) if self.card is None else self.card._sheet()


def register_weights(folder: str | Path) -> None:
    """Make the weights of a folder known by name, behind those of xsr.

    A distribution of weights makes this call in the module that its entry point of the group ``xsr.extensions`` names.

    Parameters
    ----------
    folder
        Folder that holds ``NAME.safetensors`` and ``NAME.json``, the card, for each set of weights.

    Raises
    ------
    ModelError
        If there is no such folder.

    Examples
    --------
    Not run by the tests, since it needs trained weights:

    >>> import xsr
    >>> xsr.models.register_weights("mine")  # doctest: +SKIP
    >>> fine = cube.sr.liif(scale=2, model="my_network")  # doctest: +SKIP
    """
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder; expected one that holds weights (.safetensors) and their cards.")
    if folder not in _folders:
        _folders.append(folder)


def folders() -> tuple[Path, ...]:
    """Folders of weights: those of xsr, then those of other distributions."""
    extensions.load()
    return tuple(_folders)


def names() -> tuple[str, ...]:
    """Names of the installed weights.

    Examples
    --------
    >>> import xsr
    >>> "liif_s2" in xsr.models.names()
    True
    """
    return tuple(sorted({path.stem for folder in folders() for path in folder.glob(f"*{SUFFIX}")}))


def find(model: Model) -> Path:
    """Locate weights by packaged name or by path.

    Raises
    ------
    ModelError
        If there are none. An architecture without weights, and weights that are installed separately, have messages of
        their own.
    """
    path = Path(str(model))
    known = path.suffix in (SUFFIX, *foreign.SUFFIXES)
    for place in (path,) if known else (folder / f"{model}{SUFFIX}" for folder in folders()):
        if place.is_file():
            return place
    if str(model) in APART:
        raise ModelError(
            f"the weights of {str(model)!r} are licensed {APART[str(model)]} (no commercial use) and installed"
            " separately: pip install 'xarray-sr[noncommercial]'."
        )
    if catalogue.find(str(model)) is not None:
        raise ModelError(
            f"{str(model)!r} is an architecture and has no weights of its own; sisr and xsr.models.load take some with"
            f" weights=PATH. Trained models: {', '.join(names())}."
        )
    raise ModelError(
        f"model {str(model)!r} not found; {_suggest(str(model))} A path to a {SUFFIX} file, or to"
        " the card (.yaml) of a foreign network, is accepted too."
    )


def _suggest(name: str) -> str:
    """Close names of weights, or of architectures; else the names of all weights."""
    known = next((known for known in (names(), tuple(catalogue.listed())) if catalogue.close(name, known)), names())
    return catalogue.suggest(name, known)


def card(model: Model, weights: Model | None = None) -> ModelCard:
    """Card of trained weights, by packaged name or by path; or of an architecture with some weights.

    Weights that have no card of ours beside them are taken for published ones; see `xsr.models.published.card`.

    Raises
    ------
    ModelError
        If there are none, or they are weights of another architecture.
    """
    if weights is None:
        path = find(model)
        return foreign.read(path) if path.suffix in foreign.SUFFIXES else read_card(path)
    path = Path(str(weights))
    if not path.with_suffix(".json").is_file():
        return published.card(catalogue.get(str(model)), path)
    found = read_card(path)
    if found.architecture != str(model):
        raise ModelError(f"{path} holds weights of {found.architecture!r}; model={str(model)!r} was requested.")
    return found


def spec(model: Model, weights: Model | None = None) -> ModelSpec:
    """Identity of a model as its card states it.

    Raises
    ------
    ModelError
        If its configuration is none that its architecture can have.
    WeightsError
        If the file is not the one of its card, or the radius in it is smaller than that of the architecture. A worker
        that loads it checks again.
    """
    identity = identify(model, weights)
    _check_radius(identity)
    return identity


def identify(model: Model, weights: Model | None = None) -> ModelSpec:
    """Identity of a model, whatever the radius in its card; see `spec`."""
    stated = card(model, weights)
    path = find(model) if weights is None else Path(weights)
    if path.suffix not in foreign.SUFFIXES:  # the card of a foreign network is made from its file
        _check_bytes(path, stated.sha256)
        claims.check_outline(stated, record_of(stated), path)
    _check_sensor(stated, path)
    module = catalogue.module_of(stated.architecture)
    if weights is not None:
        architecture = "" if path.with_suffix(".json").is_file() else str(model)
        return ModelSpec(str(path.resolve()), stated.sha256, architecture, digest(stated), module)
    name = str(model) if Path(model).suffix not in (SUFFIX, *foreign.SUFFIXES) else str(find(model).resolve())
    return ModelSpec(name, stated.sha256, card=digest(stated), module=module)


def _check_sensor(stated: ModelCard, path: Path) -> None:
    """Refuse a sensor that is not registered here; workers need not know it. Models of each band have none."""
    if stated.reads == "each":
        return
    try:
        sensors.get(stated.sensor)
    except ParameterError as error:
        raise WeightsError(f"the card of {path}: {error}") from error


def record_of(stated: ModelCard, module: str = "") -> Architecture:
    """Record of the architecture that a card names.

    Raises
    ------
    ModelError
        If it is unknown, also after ``module`` was imported.
    """
    if foreign.is_foreign(stated):
        return foreign.RECORD
    catalogue.require(stated.architecture, module)
    return catalogue.get(stated.architecture)


def create(name: str, **config: Any) -> "nn.Module":
    """Untrained network of an architecture.

    Parameters
    ----------
    name
        Name of the architecture, as `xsr models list` prints it: ``carn_3x3x64g4sw``, ``liif``, ``dctnet``, …
    config
        Settings that differ from those the name stands for, for example ``bands=4``.

    Returns
    -------
    torch.nn.Module
        On the CPU, in training mode.

    Raises
    ------
    ModelError
        If the name is unknown, the network has no such setting, or is not what its record says.

    Examples
    --------
    >>> import torch
    >>> import xsr
    >>> network = xsr.models.create("carn_3x3x64g4sw", bands=4)
    >>> network(torch.zeros(1, 4, 16, 16)).shape
    torch.Size([1, 4, 32, 32])
    """
    return catalogue.get(name).make(**config)


def load(model: "Model | ModelSpec", *, weights: Model | None = None, device: str = "cpu", **config: Any) -> Any:
    """Network with its weights, in evaluation mode.

    Parameters
    ----------
    model
        Trained weights by packaged name or path, or an architecture whose weights ``weights`` names.
    weights
        State dict to put into the architecture ``model``: ``.safetensors``, or a PyTorch checkpoint that holds
        tensors alone. The key names of published checkpoints are understood.
    device
        Torch device.
    config
        Settings of the architecture; only together with ``weights``.

    Returns
    -------
    torch.nn.Module
        Trained weights are read once per process and device, and shared: do not change them. A foreign ONNX network
        is a callable from tensor to tensor.

    Raises
    ------
    ModelError
        If there is no such model.
    WeightsError
        If the file is damaged, is not the one of its card, or does not fit the architecture.

    Examples
    --------
    >>> import xsr
    >>> network = xsr.models.load("liif_s2")
    >>> sum(weights.numel() for weights in network.parameters())
    742282
    """
    if weights is not None:
        if isinstance(model, ModelSpec):
            raise ModelError("weights= goes with the name of an architecture; a ModelSpec has its own.")
        from xsr.models.state import count, fit, read_state

        record = catalogue.get(str(model))
        network = record.make(**config)
        fit(network, read_state(Path(weights), parameters=count(network)), rename=record.rename, source=str(weights))
        return network.to(device).eval().requires_grad_(False)
    if config:
        raise ModelError(f"settings {config} go with an architecture and weights=; trained weights have their own.")
    return loaded(model if isinstance(model, ModelSpec) else spec(model), device).network


@dataclass(frozen=True)
class Loaded:
    """A network with its weights, and the record of its architecture."""

    network: Any
    record: Architecture


def loaded(identity: ModelSpec, device: str) -> Loaded:
    """Network of a spec and its record, if its declared margin is wide enough; see `load`."""
    with _loading:  # threads of one worker wait for the first instead of reading the file again
        version = catalogue.version()
        _check_margin(identity, version)
        return _load(identity, device, version)


def opened(identity: ModelSpec, device: str) -> Loaded:
    """Network of a spec and its record, whatever the margin of its card."""
    with _loading:
        return _load(identity, device, catalogue.version())


def _check_bytes(path: Path, sha256: str) -> None:
    found = file_sha256(path)
    if found != sha256:
        raise WeightsError(
            f"{path} has sha256 {found}; expected {sha256}. The file was changed or damaged: restore it."
        )


@lru_cache(maxsize=8)
def _load(identity: ModelSpec, device: str, version: int) -> Loaded:
    """Load a network; ``version`` of the catalogue is part of the key alone."""
    from xsr.models.state import count, fit, read_state

    path = _path(identity)
    if path.suffix in foreign.SUFFIXES:
        session = foreign.session(path, identity.sha256, device)
        _check_card(foreign.read(path), identity, path)
        return Loaded(session, foreign.RECORD)
    _check_bytes(path, identity.sha256)
    stated = _stated(identity, path)
    _check_card(stated, identity, path)
    record = record_of(stated, identity.module)
    claims.check_outline(stated, record, path)
    network = record.make(**stated.config)
    rename = record.rename if identity.architecture else str
    fit(network, read_state(path, parameters=count(network)), rename=rename, source=str(path))
    network = network.eval().requires_grad_(False)
    claims.check_trial(network, stated, record, path)
    return Loaded(network.to(device), record)


def _stated(identity: ModelSpec, path: Path) -> ModelCard:
    """Card of a spec; that of published weights is made from the file."""
    if path.suffix in foreign.SUFFIXES:
        return foreign.read(path)
    return published.card(catalogue.get(identity.architecture), path) if identity.architecture else read_card(path)


@lru_cache(maxsize=64)
def _check_margin(identity: ModelSpec, version: int) -> None:
    """Refuse a margin that is too narrow, by measurement where the package does not know the architecture."""
    _check_radius(identity)
    path = _path(identity)
    if not identity.module and path.suffix not in foreign.SUFFIXES:
        return
    found = _load(identity, "cpu", version)
    if isinstance(found.network, foreign.OnnxNetwork) and found.network.size is not None:  # it is not tiled
        return
    if found.record.tiling == "halo" and found.record.kind in claims.MEASURED:
        claims.check_reach(found.network, _stated(identity, path), found.record, path)


def _check_radius(identity: ModelSpec) -> None:
    """Refuse a radius below that of the architecture; a foreign network has none, published weights have its own."""
    path = _path(identity)
    if path.suffix not in foreign.SUFFIXES and not identity.architecture:
        stated = read_card(path)
        claims.check_radius(stated, record_of(stated, identity.module), path)


def _path(identity: ModelSpec) -> Path:
    """Weight file or foreign card of a spec."""
    return Path(identity.name) if identity.architecture else find(identity.name)


def _check_card(stated: ModelCard, identity: ModelSpec, path: Path) -> None:
    """Refuse a card that says something else than the one a graph was made with."""
    if identity.card and digest(stated) != identity.card:
        raise WeightsError(
            f"the card of {path} was changed after the cube was built; expected it unchanged. Build the cube again."
        )


def describe(name: Model) -> Description:
    """Facts of trained weights (by name or path) or of an architecture (by name).

    Raises
    ------
    ModelError
        If there is neither.

    Examples
    --------
    >>> import xsr
    >>> facts = xsr.models.describe("liif_s2")
    >>> facts.architecture, facts.scale, facts.licence
    ('liif', '1-6', 'CC-BY-4.0')
    """
    if str(name) not in (*names(), *APART) and Path(str(name)).suffix not in (SUFFIX, *foreign.SUFFIXES):
        return _describe_architecture(str(name))
    stated = card(name)
    low, high = stated.scale_range
    return Description(
        name=stated.name,
        summary=stated.summary,
        kind="weights",
        architecture=stated.architecture,
        parameters=stated.parameters,
        trainable=stated.parameters,
        tiling="halo" if stated.patch is None else "lattice",
        radius=stated.radius if stated.patch is None else None,
        bands=stated.bands,
        scale=f"{stated.factor}" if stated.factor else f"{low:g}-{high:g}",
        gsd_in_m=stated.gsd_m,
        gsd_out_m=stated.gsd_m / stated.factor if stated.factor else None,
        licence=stated.licence,
        citation=stated.citation,
        card=stated,
    )


def _describe_architecture(name: str) -> Description:
    import torch

    try:
        record = catalogue.get(name)
    except ModelError:
        known = [*names(), *catalogue.listed()]
        raise ModelError(f"model {name!r} not found; {catalogue.suggest(name, known)}") from None
    # Shapes without memory; spectral normalisation computes as soon as it is made, and needs numbers.
    with torch.device("cpu" if record.kind == "discriminator" else "meta"):
        network = record.make()
    factor = getattr(network, "factor", None)
    return Description(
        name=name,
        summary=record.summary,
        kind=record.kind,
        architecture=name,
        parameters=sum(p.numel() for p in network.parameters()),
        trainable=sum(p.numel() for p in network.parameters() if p.requires_grad),
        tiling=record.tiling,
        radius=cast(int, network.radius) if record.tiling == "halo" else None,
        bands=(),
        scale="any" if factor is None else f"{factor}",
        gsd_in_m=None,
        gsd_out_m=None,
        licence="Apache-2.0",
        citation=record.citation,
    )


def check_device(device: object) -> None:
    """Check how a device is spelt; whether it exists is for the worker to know.

    Raises
    ------
    ParameterError
        Unless it is auto, cpu, cuda or cuda:N.
    """
    if not (isinstance(device, str) and re.fullmatch(r"auto|cpu|cuda(:\d+)?", device)):
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
