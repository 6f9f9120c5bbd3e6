"""Trained networks as files that other programs run: ONNX, TorchScript and ``torch.export``.

A fixed-scale network is written whole: it takes and gives the numbers of the card's ``units``, so that
normalisation and the bicubic base of a residual network are inside. Of a continuous network the encoder is written,
which takes standardised numbers; its decoder is a few matrix products, see `xsr.models.architectures.liif`.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from xsr.core.errors import ModelError, ParameterError
from xsr.core.keys import keys
from xsr.models import foreign, registry
from xsr.models.card import ModelCard, file_sha256, write_card

Format = Literal["onnx", "torchscript", "torch.export"]
Units = Literal["dn10000", "reflectance"]
SUFFIXES: dict[str, str] = {"onnx": ".onnx", "torchscript": ".pt", "torch.export": ".pt2"}
OPSET = 17
"""Operator set of ONNX files; every onnxruntime since 1.12 knows it."""
SMALLEST = 4
"""Sides of images that ``torch.export`` promises to take, pixels."""
BICUBIC_RADIUS = 2
"""Input pixels that the bicubic base reaches."""


def export(
    model: registry.Model,
    folder: str | Path,
    *,
    weights: registry.Model | None = None,
    format: Format = "onnx",
    units: Units = "dn10000",
) -> Path:
    """Write a trained network for other programs.

    Parameters
    ----------
    model
        Trained weights by packaged name or path, or an architecture whose weights ``weights`` names.
    folder
        Where to write; made if need be. Nothing there is replaced.
    weights
        Weight file of the architecture ``model``.
    format
        ``onnx``, ``torchscript`` or ``torch.export``.
    units
        Numbers that a fixed-scale network takes and gives: ``dn10000`` (reflectance times ten thousand, what
        programs that read these cards expect) or ``reflectance``.

    Returns
    -------
    Path
        The network's file. Beside it lies a STAC item (``.json``) and, of a fixed-scale network as ONNX, the card
        (``.yaml``) by which `xsr.sisr` and others run it.

    Raises
    ------
    ModelError
        If there is no such model, or it is foreign already.
    ParameterError
        If the format or the units are unknown, or a file is in the way, of the folder too.
    NotAvailableError
        If onnx is not installed.
    """
    if format not in get_args(Format):
        raise ParameterError(f"format={format!r}; expected one of {', '.join(get_args(Format))}.")
    if units not in get_args(Units):
        raise ParameterError(f"units={units!r}; expected one of {', '.join(get_args(Units))}.")
    card = registry.card(model, weights)
    if foreign.is_foreign(card):
        raise ModelError(f"model {card.name!r} is an ONNX file already; expected weights of a network of xsr.")
    network = registry.load(registry.spec(model, weights))
    module, stated = _whole(network, card, units) if card.factor is not None else _encoder(network, card)
    if Path(folder).exists() and not Path(folder).is_dir():
        raise ParameterError(f"{folder} is no folder; expected one to write to, which is made if need be.")
    path = Path(folder) / f"{stated.name}{SUFFIXES[format]}"
    card_path = path.with_suffix(".yaml") if format == "onnx" and card.factor is not None else None
    _check_free(path, path.with_suffix(".json"), *([] if card_path is None else [card_path]))
    path.parent.mkdir(parents=True, exist_ok=True)
    _WRITERS[format](module, torch.zeros(2, card.inputs, 12, 13), path)
    stated = replace(stated, sha256=file_sha256(path))
    write_card(stated, path)
    if card_path is not None:
        foreign.write(card_path, _foreign_fields(stated, path, units))
    return path


def _check_free(*paths: Path) -> None:
    taken = [str(path) for path in paths if path.exists()]
    if taken:
        raise ParameterError(f"{', '.join(taken)} exists; expected a free name. Choose another folder, or delete it.")


def _whole(network: nn.Module, card: ModelCard, units: str) -> tuple[nn.Module, ModelCard]:
    """Return a fixed-scale network in its units, and what is then true of it."""
    assert card.factor is not None
    count = len(card.bands)
    stated = replace(
        card,
        image=replace(
            card.image,
            mean=(0.0,) * count,
            std=(1.0,) * count,
            units=foreign.CF_UNITS[units],
            fill=card.image.constant,
        ),
        residual=False,
        radius=max(card.radius, BICUBIC_RADIUS) if card.residual else card.radius,
    )
    return Whole(network, card, stated.image.step).eval(), stated


def _encoder(network: nn.Module, card: ModelCard) -> tuple[nn.Module, ModelCard]:
    """Return the encoder of a continuous network, and what is then true of it."""
    encoder = registry.record_of(card).encoder
    if encoder is None:
        raise ModelError(
            f"model {card.name!r} is a {type(network).__name__}, of which no part can be exported; expected a LIIF or"
            " a fixed factor."
        )
    return encoder(network).eval(), replace(
        card, name=f"{card.name}_encoder", summary=f"Encoder of {card.name}: {card.summary}"
    )


def _foreign_fields(card: ModelCard, path: Path, units: str) -> dict[str, Any]:
    assert card.factor is not None
    return {
        "model": path.name,
        "bands": list(card.bands),
        "margin": card.radius * card.factor,
        "factor": card.factor,
        "units": units,
        "gsd_m": card.gsd_m,
        "licence": card.licence,
    }


class Whole(nn.Module):
    """Fixed-scale network with its normalisation and base, from numbers of a unit to numbers of that unit.

    Parameters
    ----------
    network
        Network of standardised numbers.
    card
        Its card.
    unit
        Reflectance of one unit of the numbers outside.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, card: ModelCard, unit: float) -> None:
        super().__init__()
        self.network = network
        factor = card.image.step / unit
        for name, values in (("mean", card.image.mean), ("std", card.image.std)):
            self.register_buffer(name, factor * torch.tensor(values)[:, None, None])
        self.base = Bicubic(card.factor or 1, len(card.bands)) if card.residual else None

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, bands, H, W) to (N, bands, H * factor, W * factor)."""
        detail = self.network((images - self.mean) / self.std) * self.std
        out: Tensor = detail + self.mean if self.base is None else detail + self.base(images)
        return out


class Bicubic(nn.Module):
    """Cubic convolution with Keys' -1/2, as one convolution with a channel for each phase of an output pixel.

    The same as the bicubic base of `xsr.sisr`: images are mirrored beyond their border.

    References
    ----------
    R. G. Keys, IEEE TASSP 29 (1981), doi:10.1109/TASSP.1981.1163711.
    """

    weight: Tensor

    def __init__(self, factor: int, bands: int) -> None:
        super().__init__()
        self.bands = bands
        phases = (torch.arange(factor, dtype=torch.float64) + 0.5) / factor - 0.5
        offsets = torch.arange(-BICUBIC_RADIUS, BICUBIC_RADIUS + 1, dtype=torch.float64)
        taps = keys(offsets - phases[:, None])
        kernels = torch.einsum("ay,bx->abyx", taps, taps).flatten(0, 1)[:, None]
        self.register_buffer("weight", kernels.repeat(bands, 1, 1, 1).float())
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, bands, H, W) to (N, bands, H * factor, W * factor)."""
        mirrored = nn.functional.pad(images, (BICUBIC_RADIUS,) * 4, mode="reflect")
        out: Tensor = self.shuffle(nn.functional.conv2d(mirrored, self.weight, groups=self.bands))
        return out


def _write_onnx(module: nn.Module, example: Tensor, path: Path) -> None:
    from torch.onnx import (  # type: ignore[attr-defined]
        register_custom_op_symbolic,
        unregister_custom_op_symbolic,
    )

    foreign.import_onnx("writing ONNX")
    axes = {name: {0: "n", 2: f"{name}_height", 3: f"{name}_width"} for name in ("input", "output")}
    with warnings.catch_warnings():
        # The older exporter is the one that needs no further package. It says that it is the older one, and which
        # slices it leaves for the runtime to fold.
        warnings.simplefilter("ignore")
        # torch knows no ONNX for .mT; with four axes it is one transposition.
        register_custom_op_symbolic("aten::mT", lambda graph, x: graph.op("Transpose", x, perm_i=[0, 1, 3, 2]), OPSET)
        try:
            torch.onnx.export(
                module,
                (example,),
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=["input"],
                output_names=["output"],
                dynamic_axes=axes,
            )
        finally:
            unregister_custom_op_symbolic("aten::mT", OPSET)


def _write_torchscript(module: nn.Module, example: Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer releases say that torch.export is the successor, which is here too
        torch.jit.trace(module, example).save(str(path))


def _write_torch_export(module: nn.Module, example: Tensor, path: Path) -> None:
    free = {0: torch.export.Dim("n"), **{axis: torch.export.Dim(f"axis{axis}", min=SMALLEST) for axis in (2, 3)}}
    torch.export.save(torch.export.export(module, (example,), dynamic_shapes=(free,)), str(path))


_WRITERS: dict[str, Callable[[nn.Module, Tensor, Path], None]] = {
    "onnx": _write_onnx,
    "torchscript": _write_torchscript,
    "torch.export": _write_torch_export,
}
