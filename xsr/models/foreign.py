"""Foreign networks: ONNX files with the small YAML card that the Evoland project publishes beside them.

A card names the file (``model``), the bands in order (``bands``), the factor (``factor``) and the margin in output
pixels that a tile must be cut by (``margin``). Cards of this format take and give digital numbers of ten thousand;
``units: reflectance`` says otherwise. ``licence`` and ``gsd_m`` (size of an input pixel in metres, 10) may be given.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xsr.core.errors import ModelError, NotAvailableError, WeightsError, XsrError
from xsr.core.sensors import canonical
from xsr.core.text import brief
from xsr.models import plain_yaml, published, schema
from xsr.models.card import ModelCard, file_sha256
from xsr.models.channels import Channels
from xsr.models.record import Architecture

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "onnx"
"""Architecture in the card of a foreign network."""
SUFFIXES = (".yaml", ".yml")
CF_UNITS = {"dn10000": "0.0001", "reflectance": "1"}
"""CF units of the network's numbers, by the card's ``units``."""
TYPICAL = dict(zip(published.SENTINEL2.names, published.SENTINEL2.mean, strict=True))
"""Reflectance that stands in for no data, by band; the networks' own normalisation is unknown."""
DEFAULT_FILL = 0.1
"""Likewise, for other bands."""
LONGEST_MESSAGE = 500
"""Characters of a message of onnxruntime."""
INSTALL = "install it with: pip install 'xarray-sr[onnx]'."
LARGEST_CARD = 1 << 16
"""Bytes of a card."""
WIDEST_MARGIN = 4096
"""Output pixels."""
REQUIRED = ("model", "bands", "factor", "margin")
FIELDS = {
    "model": schema.text(schema.LONGEST_NAME, least=1),
    "bands": schema.listing(schema.NAME, least=1),
    "factor": schema.integral(1, schema.LARGEST_FACTOR),
    "margin": schema.integral(0, WIDEST_MARGIN),
    "units": schema.one_of(*CF_UNITS),
    "gsd_m": schema.SPREAD,
    "licence": schema.text(schema.LONGEST_NAME),
    "license": schema.text(schema.LONGEST_NAME),
}
"""What each field of a card may hold; others are for other programs."""


def read(path: Path) -> ModelCard:
    """Read the card of a foreign network.

    Raises
    ------
    WeightsError
        If it lacks a field, a value makes no sense, or the ONNX file is not there, not whole, or reads files elsewhere.
    NotAvailableError
        If onnx is not installed.
    """
    fields = _fields(path)
    factor, file, bands = int(fields["factor"]), _file(path, fields), _bands(fields)
    graph = read_graph(file)
    return ModelCard(
        name=path.stem,
        summary=f"Foreign network {file.name}",
        architecture=NAME,
        config={"file": str(fields["model"])},
        image=Channels(
            bands,
            mean=(0.0,) * len(bands),
            std=(1.0,) * len(bands),
            units=CF_UNITS[fields.get("units", "dn10000")],
            fill=tuple(TYPICAL.get(band, DEFAULT_FILL) for band in bands),
        ),
        sensor="sentinel-2",
        gsd_m=float(fields.get("gsd_m", 10.0)),
        scale_range=(float(factor), float(factor)),
        mtf=(),
        sha256=_sha256(graph, file),
        parameters=sum(prod(tensor.dims) for tensor in graph.graph.initializer),
        radius=-(-int(fields["margin"]) // factor),
        licence=str(fields.get("licence", fields.get("license", "unknown"))),
        factor=factor,
        residual=False,
    )


def write(path: Path, fields: dict[str, Any]) -> None:
    """Write the card of a network that other programs may run too; see `read`."""
    import yaml

    path.write_text(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True), encoding="utf-8")
    _fields(path)


def _fields(path: Path) -> dict[str, Any]:
    """Fields of a card, checked."""
    size = path.stat().st_size
    if size > LARGEST_CARD:
        raise WeightsError(f"{path} has {size} bytes; expected the card of a network, of at most {LARGEST_CARD}.")
    try:
        fields = plain_yaml.load(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path} is not YAML ({error}). Expected the fields {', '.join(REQUIRED)}.") from error
    try:
        found = dict(fields) if isinstance(fields, dict) else {}
        schema.check_fields(found, FIELDS, required=REQUIRED)
        known = _bands(found)
        if len(set(known)) < len(known):
            raise schema.refuse("bands", found["bands"], "a band for each channel, none more than once")
    except ValueError as error:
        raise WeightsError(f"{path} is not the card of a network: {error}. Correct the card.") from error
    return found


def _file(path: Path, fields: dict[str, Any]) -> Path:
    """File of the network that a card names, which lies in the folder of the card."""
    _require_inside(path.parent, fields["model"], f"the card {path}")
    file: Path = path.parent / fields["model"]
    if not file.is_file():
        raise WeightsError(f"{path} names the network {fields['model']!r}, which is not at {file}. Put it there.")
    return file


def _require_inside(folder: Path, name: str, source: str) -> None:
    """Refuse the name of a file that is not in a folder: whoever wrote it does not say what else is read here."""
    given = Path(name)
    apart = given.is_absolute() or ".." in given.parts or "\0" in name
    if apart or not Path(realpath(folder / given)).is_relative_to(realpath(folder)):
        raise WeightsError(
            f"{source} names the file {brief(name)}; expected one in {folder}, by a relative path without '..'"
            " or links that lead elsewhere. Put it there."
        )


def _external(graph: Any, file: Path) -> list[str]:
    """Names of the further files that numbers of tensors lie in; refused outside the folder of the network."""
    found = set()
    for tensor in _tensors(graph):
        for entry in tensor.external_data:
            if entry.key == "location":
                _require_inside(file.parent, entry.value, f"tensor {brief(tensor.name)} of {file}")
                found.add(entry.value)
    return sorted(found)


def _sha256(graph: Any, file: Path) -> str:
    """Hash an ONNX file; where tensors lie in further files, the hashes of all."""
    own, names = file_sha256(file), _external(graph, file)
    others = {name: file_sha256(file.parent / name) for name in names if (file.parent / name).is_file()}
    return hashlib.sha256(repr((own, others)).encode()).hexdigest() if names else own


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor of a graph, those of nodes, functions and inner graphs too."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in value if isinstance(value, Sequence) else (value,):
            if field.message_type.name == "TensorProto":
                yield part
            else:
                yield from _tensors(part)


def _bands(fields: dict[str, Any]) -> tuple[str, ...]:
    return tuple(canonical(band) for band in fields["bands"])


def import_onnx(needed_for: str) -> Any:
    """Import onnx.

    Raises
    ------
    NotAvailableError
        If it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise NotAvailableError(f"{needed_for} needs onnx; {INSTALL}") from error
    return onnx


def read_graph(file: Path) -> Any:
    """Parse an ONNX file.

    Raises
    ------
    NotAvailableError
        If onnx is not installed.
    WeightsError
        If the file is not whole.
    """
    onnx = import_onnx(f"reading {file}")
    try:
        # Tensors that lie in files of their own are the runtime's business, and may be missing.
        return onnx.load(str(file), load_external_data=False)
    except Exception as error:  # of damaged bytes protobuf raises more than its own
        raise WeightsError(f"{file} is not a whole ONNX file ({error}). Fetch it again.") from error


@contextmanager
def _runtime_errors(doing: str) -> Iterator[None]:
    """Turn what onnxruntime raises into one error, but for memory that is used up.

    It has a class of its own for each failure, none public, and cannot even say every one as text.
    """
    from xsr.models.memory import out_of_memory

    try:
        yield
    except (XsrError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and out_of_memory(error):
            raise
        text = " ".join(str(error).split())[:LONGEST_MESSAGE]
        raise WeightsError(f"onnxruntime cannot {doing}: {text}") from error


class OnnxNetwork:
    """A network that onnxruntime evaluates, from tensor (N, bands, h, w) to tensor, float32."""

    def __init__(self, file: Path, bands: int, factor: int, device: str) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise NotAvailableError(f"{file} needs onnxruntime; {INSTALL}") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # Dask brings the threads
        options.log_severity_level = 4  # what is wrong is raised
        providers = ["CPUExecutionProvider"]
        if device.startswith("cuda"):
            providers.insert(0, "CUDAExecutionProvider")
        with _runtime_errors(f"open {file}"):
            self._session = onnxruntime.InferenceSession(str(file), options, providers=providers)
            shape = self._check(file, bands)
        self.size: tuple[int | None, int | None] | None = None
        """Fixed size (h, w) of the input, where the network has one; None for a side that is free."""
        if isinstance(shape[2], int) or isinstance(shape[3], int):
            self.size = (
                shape[2] if isinstance(shape[2], int) else None,
                shape[3] if isinstance(shape[3], int) else None,
            )
        self.file, self.factor = file, factor

    def _check(self, file: Path, bands: int) -> list[Any]:
        """Return the shape of the input, if the network takes and gives what this class promises."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
            stated = ", ".join(f"{i.type} {i.name!r} of shape {i.shape}" for i in inputs)
            raise WeightsError(f"{file} takes {stated}; expected one input of float32, shape (n, band, y, x).")
        if len(outputs) != 1 or outputs[0].type != "tensor(float)":
            stated = ", ".join(f"{o.type} {o.name!r}" for o in outputs)
            raise WeightsError(f"{file} gives {stated}; expected one output of float32, shape (n, band, y, x).")
        self._name: str = inputs[0].name
        shape: list[Any] = inputs[0].shape
        if isinstance(shape[1], int) and shape[1] != bands:
            raise WeightsError(f"{file} takes {shape[1]} bands; its card names {bands}. Correct the card.")
        return shape

    def check_any_size(self) -> None:
        """Refuse a network of one input size, which could not be tiled exactly.

        Raises
        ------
        WeightsError
            If height and width are not free.
        """
        if self.size is not None:
            height, width = ("any" if side is None else side for side in self.size)
            raise WeightsError(
                f"{self.file} takes images of {height} x {width} pixels alone; expected free height and width. Export"
                " it again with dynamic axes."
            )

    def __call__(self, images: "Tensor") -> "Tensor":
        """Evaluate; shapes that do not agree with bands and factor are refused."""
        import torch

        with _runtime_errors(f"evaluate {self.file}"):
            (out,) = self._session.run(None, {self._name: images.cpu().numpy()})
        if out.ndim != 4 or out.shape[1] != images.shape[1]:
            raise WeightsError(
                f"{self.file} made {out.shape[1] if out.ndim == 4 else out.shape} bands of {images.shape[1]}; expected"
                " as many, in the same order."
            )
        height, width = (n * self.factor for n in images.shape[2:])
        if out.shape[2:] != (height, width):
            raise WeightsError(
                f"{self.file} made {out.shape[2:]} of {tuple(images.shape[2:])} pixels; its card says factor"
                f" {self.factor}, {height, width}. Correct the card."
            )
        return torch.from_numpy(out)


def session(path: Path, sha256: str, device: str) -> OnnxNetwork:
    """Open the network of a card, if its bytes are those of ``sha256``."""
    fields = _fields(path)
    file = _file(path, fields)
    found = _sha256(read_graph(file), file)
    if found != sha256:
        raise WeightsError(
            f"{file} has sha256 {found}, with the files that it names; expected {sha256}. One was changed or damaged:"
            " restore it."
        )
    return OnnxNetwork(file, len(fields["bands"]), int(fields["factor"]), device)


def opset(file: Path) -> int | None:
    """Version of the standard operators that an ONNX file needs; None if it does not say."""
    opsets = read_graph(file).opset_import
    return max((int(entry.version) for entry in opsets if entry.domain in ("", "ai.onnx")), default=None)


def is_foreign(card: ModelCard) -> bool:
    """Whether a card is that of a foreign network."""
    return card.architecture == NAME


def _build(**config: Any) -> "nn.Module":
    raise ModelError("an ONNX file is a trained network; expected the name of an architecture that xsr can make.")


RECORD = Architecture(name=NAME, kind="fixed", build=_build, summary="Foreign network")
"""Record of foreign networks, which no name makes: evaluated as they are."""
