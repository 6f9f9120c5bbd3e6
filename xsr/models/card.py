"""Model cards: everything a user or a worker must know of a set of weights, as a STAC item beside it."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xsr.core.errors import BandError, WeightsError
from xsr.core.sensors import doubt

SUFFIX = ".safetensors"
ARTIFACTS = {
    ".safetensors": ("PyTorch", "safetensors"),
    ".onnx": ("ONNX", "onnx"),
    ".pt": ("PyTorch", "torch.jit.save"),
    ".pt2": ("PyTorch", "torch.export.save"),
}
"""Framework and kind of artifact of a file, by its suffix."""
FILE_EXTENSION = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
MULTIHASH_SHA256 = "1220"
"""Prefix by which a multihash says that it is a SHA-256 of 32 bytes."""
PLACED = frozenset(
    ("name", "summary", "architecture", "bands", "mean", "std", "sha256", "parameters", "licence", "created")
)
"""Fields of a card that STAC and its extensions have places for."""
TOLD = ("training", "scores", "limits", "citation")
"""Fields that only people read; properties of the item, with the prefix ``xsr:``."""
UNCOMPUTED = frozenset((*TOLD, "summary", "sensor", "parameters", "licence", "created"))
"""Fields that change no number of a result."""
SEQUENCES = frozenset(
    (
        *("bands", "optional", "mean", "std", "scale_range", "mtf", "fill", "limits"),
        *("guide_bands", "guide_mean", "guide_std", "guide_optional"),
    )
)
"""Fields that JSON writes as lists."""
COARSER = ("nearest", "bilinear", "bicubic")
"""Interpolations that a card may ask for; see `ModelCard.coarser`."""


@dataclass(frozen=True)
class ModelCard:
    """Description of trained weights."""

    name: str
    summary: str
    architecture: str
    config: dict[str, Any]
    """Arguments of the architecture."""
    bands: tuple[str, ...]
    """Bands in the order of the network's channels, canonical names."""
    optional: tuple[str, ...]
    """Bands among them that a cube may lack; their channel is then held at the mean."""
    sensor: str
    gsd_m: float
    """Ground sampling distance of the training images' high-resolution side, metres."""
    mean: tuple[float, ...]
    """Reflectance subtracted from each band."""
    std: tuple[float, ...]
    """Reflectance by which each band is divided."""
    scale_range: tuple[float, float]
    """Scales seen in training."""
    mtf: tuple[float, ...]
    """MTF at Nyquist, per band, of the simulated low-resolution sensor."""
    sha256: str
    """Of the weight file."""
    parameters: int
    radius: int
    """Receptive field radius in input pixels."""
    licence: str
    factor: int | None = None
    """The one scale of a fixed-factor network; None for any scale."""
    residual: bool = True
    """Whether the network's answer is added to the bicubic interpolation of its input."""
    unit: float = 1.0
    """Reflectance of one unit of the network's numbers; 1e-4 for digital numbers of ten thousand."""
    fill: tuple[float, ...] = ()
    """Reflectance that stands in for no data far from valid pixels, by band; empty: the mean."""
    coarser: str = "bicubic"
    """Interpolation that brings bands of a coarser pixel to the grid of the others."""
    units: str = "1"
    """Units of the bands: ``1`` for reflectance, ``K`` for temperature."""
    guide_bands: tuple[str, ...] = ()
    """Bands of a guided network's guide in the order of its channels, canonical names; empty: it takes no guide."""
    guide_mean: tuple[float, ...] = ()
    """Reflectance subtracted from each band of the guide."""
    guide_std: tuple[float, ...] = ()
    """Reflectance by which each band of the guide is divided."""
    guide_optional: tuple[str, ...] = ()
    """Bands among ``guide_bands`` that a guide may lack; their channel is then held at the mean."""
    patch: int | None = None
    """Side of the square of output pixels that a network is trained on and must be shown, because every pixel of its
    answer depends on all of it; None for a network of bounded ``radius``."""
    created: str = "1970-01-01"
    """Day on which the weights were made."""
    training: dict[str, Any] = field(default_factory=dict)
    """Data, protocol, steps, minutes, machine."""
    scores: list[dict[str, Any]] = field(default_factory=list)
    """Rows of place, scale and decibels, on places never trained on."""
    limits: tuple[str, ...] = ()
    citation: str = ""

    def channels(self, names: tuple[str, ...], *, naming: str = "Name the bands of the cube.") -> tuple[int, ...]:
        """Channel of each named band.

        Parameters
        ----------
        names
            Canonical names.
        naming
            How to name the bands of the cube, for the message where none is known.

        Raises
        ------
        BandError
            If a band is unknown to the model, or a band the model needs is not among ``names``.
        """
        unknown = [name for name in names if name not in self.bands]
        if unknown:
            known = [name for name in names if name in self.bands]
            remedy = f"Select bands, for example with bands={known}." if known else naming
            doubts = [text for text in map(doubt, unknown) if text]
            raise BandError(
                f"the cube has band(s) {unknown} that model {self.name!r} was not trained on; it knows"
                f" {list(self.bands)}. {' '.join([remedy, *doubts[:2]])}"
            )
        missing = [band for band in self.bands if band not in names and band not in self.optional]
        if missing:
            raise BandError(
                f"model {self.name!r} needs band(s) {missing}; the cube has {list(names)}. Add the missing bands"
                f" (only {list(self.optional)} may be absent), or choose another model."
            )
        return tuple(self.bands.index(name) for name in names)


def read_card(path: Path) -> ModelCard:
    """Read the card beside a weight file.

    Raises
    ------
    WeightsError
        If it is missing, is not a STAC item of the machine learning model extension, or lacks what xsr needs.
    """
    card_path = path.with_suffix(".json")
    if not card_path.is_file():
        raise WeightsError(f"{card_path} not found; weights need their card beside them, as 'xsr train' writes it.")
    try:
        return from_item(json.loads(card_path.read_text(encoding="utf-8")))
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{card_path} is not a model card ({type(error).__name__}: {error}). Expected a STAC item with the"
            " machine learning model extension and the hyperparameters of ModelCard."
        ) from error


def write_card(card: ModelCard, path: Path) -> None:
    """Write the card beside a file with weights, as a STAC item."""
    text = json.dumps(to_item(card, path.name), indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def to_item(card: ModelCard, file: str) -> dict[str, Any]:
    """Card as a STAC item of the machine learning model extension.

    What the extension has a field for goes there; scale, halo, MTF and the rest go under ``mlm:hyperparameters``.

    References
    ----------
    STAC Machine Learning Model extension, version 1.4.0, https://github.com/stac-extensions/mlm.
    """
    import pystac
    from pystac.extensions import mlm
    from pystac.extensions.raster import DataType

    framework, artifact = ARTIFACTS[Path(file).suffix]

    extent = [-1, len(card.bands), -1, -1]
    scaling = [
        mlm.ValueScaling.create(mlm.ValueScalingType.Z_SCORE, mean=mean, stddev=std)
        for mean, std in zip(card.mean, card.std, strict=True)
    ]
    order, float32 = ["batch", "bands", "height", "width"], DataType.FLOAT32
    model_input = mlm.ModelInput.create(
        "images", list(card.bands), mlm.InputStructure.create(extent, order, float32), value_scaling=None
    )
    model_input.properties["value_scaling"] = [scale.to_dict() for scale in scaling]
    task = mlm.TaskType.SUPER_RESOLUTION
    model_output = mlm.ModelOutput.create("images", [task], mlm.ResultStructure.create(extent, order, float32))
    item = pystac.Item(
        id=card.name,
        geometry=None,
        bbox=None,
        datetime=datetime.fromisoformat(card.created).replace(tzinfo=UTC),
        properties={"description": card.summary, "license": card.licence},
        stac_extensions=[FILE_EXTENSION],
    )
    mlm.MLMExtension.ext(item, add_if_missing=True).apply(
        name=card.name,
        architecture=card.architecture,
        tasks=[task],
        input=[model_input],
        output=[model_output],
        framework=framework,
        total_parameters=card.parameters,
        pretrained=True,
        hyperparameters=mlm.Hyperparameters(
            {name: value for name, value in asdict(card).items() if name not in PLACED and name not in TOLD}
        ),
    )
    item.properties.update({f"xsr:{name}": getattr(card, name) for name in TOLD})
    item.add_asset(
        "weights",
        pystac.Asset(
            href=f"./{file}",
            media_type="application/octet-stream",
            roles=["mlm:model", "mlm:weights", "data"],
            extra_fields={"mlm:artifact_type": artifact, "file:checksum": MULTIHASH_SHA256 + card.sha256},
        ),
    )
    # Without links: an item beside its weights belongs to no catalog. JSON has no tuples.
    out: dict[str, Any] = json.loads(json.dumps(item.to_dict(include_self_link=False)))
    return out


def from_item(item: dict[str, Any]) -> ModelCard:
    """Card from the STAC item that `to_item` makes; anything else raises the built-in error of what is missing."""
    properties = item["properties"]
    (model_input,) = properties["mlm:input"]
    scaling = model_input["value_scaling"]
    fields = dict(properties["mlm:hyperparameters"])
    fields |= {name: properties[f"xsr:{name}"] for name in TOLD}
    fields |= {
        "name": properties["mlm:name"],
        "summary": properties["description"],
        "architecture": properties["mlm:architecture"],
        "bands": model_input["bands"],
        "mean": [scale["mean"] for scale in scaling],
        "std": [scale["stddev"] for scale in scaling],
        "sha256": item["assets"]["weights"]["file:checksum"].removeprefix(MULTIHASH_SHA256),
        "parameters": properties["mlm:total_parameters"],
        "licence": properties["license"],
        "created": properties["datetime"][:10],
    }
    fields |= {name: tuple(fields[name]) for name in SEQUENCES & fields.keys()}
    card = ModelCard(**fields)
    _check(card)
    return card


def _check(card: ModelCard) -> None:
    """Refuse values that no model can have: they would fail, or mislead, far from here."""
    count = len(card.bands)
    each, positive = f"{count} finite numbers, one for each band", "a finite number above 0"
    guides = len(card.guide_bands)
    each_guide = f"{guides} finite numbers, one for each band of the guide"
    rules = {
        "name": (_is_file_name(card.name), "a file name"),
        "bands": (0 < count == len(set(card.bands)), "different names, at least one"),
        "optional": (set(card.optional) <= set(card.bands), "some of bands"),
        "mean": (_numbers(card.mean, count), each),
        "std": (_numbers(card.std, count) and min(card.std) > 0, each.replace("numbers", "numbers above 0")),
        "fill": (not card.fill or _numbers(card.fill, count), each.replace(",", ", or none,")),
        "radius": (_whole(card.radius, 0), "a whole number, at least 0"),
        "factor": (card.factor is None or _whole(card.factor, 1), "a whole number, at least 1, or none"),
        "unit": (_numbers((card.unit,), 1) and card.unit > 0, positive),
        "gsd_m": (_numbers((card.gsd_m,), 1) and card.gsd_m > 0, positive),
        "scale_range": (_is_range(card.scale_range), "the lowest and the highest scale"),
        "patch": (card.patch is None or _whole(card.patch, 1), "a whole number, at least 1, or none"),
        "guide_bands": (len(set(card.guide_bands)) == guides, "different names"),
        "guide_optional": (set(card.guide_optional) <= set(card.guide_bands), "some of guide_bands"),
        "guide_mean": (_numbers(card.guide_mean, guides), each_guide),
        "guide_std": (
            _numbers(card.guide_std, guides) and min(card.guide_std, default=1) > 0,
            each_guide.replace("numbers", "numbers above 0"),
        ),
        "coarser": (card.coarser in COARSER, f"one of {', '.join(COARSER)}"),
    }
    for name, (holds, rule) in rules.items():
        if not holds:
            raise ValueError(f"{name} {getattr(card, name)!r}; expected {rule}")


def _is_file_name(text: Any) -> bool:
    return isinstance(text, str) and text not in ("", ".", "..") and not set(text) & set("/\\\0")


def _numbers(values: tuple[Any, ...], count: int) -> bool:
    return len(values) == count and all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values
    )


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_range(values: tuple[Any, ...]) -> bool:
    return _numbers(values, 2) and 0 < values[0] <= values[1]


def digest(card: ModelCard) -> str:
    """Hash of what a card says that a result depends on."""
    fields = {name: value for name, value in asdict(card).items() if name not in UNCOMPUTED}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
