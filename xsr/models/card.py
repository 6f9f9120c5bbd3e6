"""Model cards: everything that a user or a worker must know of a set of weights, as a STAC item beside it."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xsr.core.errors import BandError, WeightsError
from xsr.core.sensors import doubt
from xsr.core.sheet import Sheet, Shown
from xsr.core.text import brief
from xsr.models import schema
from xsr.models.channels import NO_CHANNELS, Channels
from xsr.models.shown import card_sheet

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
METADATA = ("training", "scores", "limits", "citation")
"""Fields for readers alone; properties of the item, with the prefix ``xsr:``."""
UNCOMPUTED = frozenset(
    (*METADATA, "summary", "sensor", "parameters", "licence", "created", "sharpness", "intervals", "before")
)
"""Fields that change no number of a result."""
SEQUENCES = frozenset(
    (
        *("bands", "optional", "mean", "std", "scale_range", "mtf", "fill", "limits"),
        *("guide_bands", "guide_mean", "guide_std", "guide_optional"),
    )
)
"""Fields that JSON writes as lists."""
SHARPNESS = ("sensor", "ideal")
"""What a card may say of the sharpness of a result; see `ModelCard.sharpness`."""
READS = ("bands", "detail", "dates", "result", "each")
"""What a card may say that its network reads; see `ModelCard.reads`."""
COARSER = ("nearest", "bilinear", "bicubic")
"""Interpolations that a card may name; see `ModelCard.coarser`."""
HELD_WITH = ("guided_filter",)
"""Methods that a card may name; see `ModelCard.held_with`."""
ANY_M = 0.3, 30.0
"""Pixel sizes in metres of a model that reads each band by itself."""
SLACK = 1.5
"""Factor by which pixels may leave the range of training before a warning."""
LARGEST_CARD = 1 << 20
"""Bytes of a card."""
ITEM = "a STAC item with the machine learning model extension and the hyperparameters of ModelCard"
PLACES = {
    "name": ("properties", "mlm:name"),
    "summary": ("properties", "description"),
    "architecture": ("properties", "mlm:architecture"),
    "images": ("properties", "mlm:input"),
    "parameters": ("properties", "mlm:total_parameters"),
    "licence": ("properties", "license"),
    "created": ("properties", "datetime"),
    "sha256": ("assets", "weights", "file:checksum"),
    **{name: ("properties", f"xsr:{name}") for name in METADATA},
}
"""Where an item has what is not among its hyperparameters."""
FIELDS = {
    "name": schema.FILE_NAME,
    "summary": schema.text(schema.LONGEST_TEXT),
    "architecture": schema.NAME,
    "config": schema.SETTINGS,
    "bands": schema.listing(schema.NAME, least=1),
    "mean": schema.listing(schema.LEVEL),
    "std": schema.listing(schema.SPREAD),
    "optional": schema.listing(schema.NAME),
    "fill": schema.listing(schema.LEVEL),
    "unit": schema.SPREAD,
    "units": schema.one_of("1", "K"),
    "sensor": schema.NAME,
    "gsd_m": schema.SPREAD,
    "scale_range": schema.listing(schema.SCALE, least=2, most=2),
    "mtf": schema.listing(schema.inside(0, 1)),
    "sha256": schema.SHA256,
    "parameters": schema.whole(1, schema.MOST_PARAMETERS),
    "radius": schema.whole(0, schema.WIDEST_RADIUS),
    "licence": schema.text(schema.LONGEST_NAME),
    "factor": schema.whole(1, schema.LARGEST_FACTOR).or_none(),
    "residual": schema.FLAG,
    "coarser": schema.one_of(*COARSER),
    "sharpness": schema.one_of(*SHARPNESS).or_none(),
    "reads": schema.one_of(*READS),
    "guide_bands": schema.listing(schema.NAME),
    "guide_mean": schema.listing(schema.LEVEL),
    "guide_std": schema.listing(schema.SPREAD),
    "guide_optional": schema.listing(schema.NAME),
    "patch": schema.whole(1, schema.LARGEST_PATCH).or_none(),
    "intervals": schema.NAME.or_none(),
    "before": schema.NAME.or_none(),
    "held_with": schema.one_of(*HELD_WITH).or_none(),
    "calibration": schema.listing(schema.OBJECT, most=schema.MOST_ROWS),
    "created": schema.DAY,
    "training": schema.OBJECT,
    "scores": schema.listing(schema.OBJECT, most=schema.MOST_ROWS),
    "limits": schema.listing(schema.text(schema.LONGEST_TEXT)),
    "citation": schema.text(schema.LONGEST_TEXT),
}
"""What each field of a card may hold."""
LATER = frozenset(
    (
        *("fill", "unit", "units", "factor", "residual", "coarser", "sharpness", "reads", "patch"),
        *("intervals", "calibration", "before", "held_with"),
        *("guide_bands", "guide_mean", "guide_std", "guide_optional"),
    )
)
"""Fields that cards of earlier versions lack."""


@dataclass(frozen=True, repr=False)
class ModelCard(Shown):
    """Description of trained weights."""

    name: str
    summary: str
    architecture: str
    config: dict[str, Any]
    """Arguments of the architecture."""
    image: Channels
    """Bands of the image and their standardisation."""
    sensor: str
    gsd_m: float
    """Ground sampling distance of the training images' high-resolution side, metres."""
    scale_range: tuple[float, float]
    """Scales of training."""
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
    """Whether the network's output is added to the bicubic interpolation of its input."""
    coarser: str = "bicubic"
    """Interpolation that brings bands of a coarser pixel to the grid of the others."""
    sharpness: str | None = None
    """Of the result: ``sensor``, as ``mtf`` at the Nyquist frequency of its own pixels; ``ideal``, without blur; None
    where it is not known."""
    reads: str = "bands"
    """What the network reads: ``bands`` of an image; with the ``detail`` that `xsr.kernels.injection` adds to those of
    larger pixels; what `xsr.kernels.evidence` lists of one date or several (``dates``), whose estimate takes the place
    of bicubic interpolation; what `xsr.kernels.spread` lists of a ``result``, whose error it expects; or what
    `xsr.kernels.planes` lists of ``each`` band, whatever its name."""
    guide: Channels = NO_CHANNELS
    """Bands of a guided network's guide; without any it takes no guide."""
    patch: int | None = None
    """Side of the square of output pixels that a network is trained on and must be given, because every pixel of its
    output depends on all of it; None for a network of bounded ``radius``."""
    intervals: str | None = None
    """Name of the model that expects the errors of this one's results."""
    before: str | None = None
    """Name of the model that sharpens bands of larger pixels before this one reads them; None where it reads them as
    they are."""
    held_with: str | None = None
    """Method of `xsr.guided` whose result is averaged with that of a guided network before their mean is held within
    the response of a sensor; None where the network's is held alone."""
    calibration: list[dict[str, Any]] = field(default_factory=list)
    """Of a model of errors, for each range of scales: quantiles of the error over what it expects; see
    `xsr.training.intervals`."""
    created: str = "1970-01-01"
    """Day on which the weights were made."""
    training: dict[str, Any] = field(default_factory=dict)
    """Data, protocol, steps, minutes, machine."""
    scores: list[dict[str, Any]] = field(default_factory=list)
    """Rows of place, scale and decibels, on places never trained on."""
    limits: tuple[str, ...] = ()
    citation: str = ""

    def _sheet(self) -> Sheet:
        return card_sheet(self)

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands in the order of the network's channels, canonical names."""
        return self.image.names

    @property
    def inputs(self) -> int:
        """Channels that the network reads."""
        return len(self.bands) if self.reads == "bands" else int(self.config["channels"])

    @property
    def units(self) -> str:
        """Units of the network's bands; see `xsr.models.channels.Channels`."""
        return self.image.units

    def doubt_of_pixels(self, size_m: float) -> str:
        """Say that pixels are far from those of the low-resolution images in training; empty where they are not.

        Parameters
        ----------
        size_m
            Pixel size of the cube in metres.
        """
        if self.reads == "each":
            inside = ANY_M[0] / SLACK <= size_m <= ANY_M[1] * SLACK
            return (
                "" if inside else f"the cube's pixels measure {size_m:g} m; {self.name!r} knows {ANY_M[0]} m to 30 m."
            )
        low, high = self.scale_range if self.factor is None else (1, self.factor)
        if self.gsd_m * low / SLACK <= size_m <= self.gsd_m * high * SLACK:
            return ""
        return (
            f"the cube's pixels measure {size_m:g} m; model {self.name!r} was trained on pixels of {self.gsd_m:g} m"
            f" times {low:g} to {high:g}. Its detail is unreliable here: compare with interpolate."
        )

    def channels(self, names: tuple[str, ...], *, naming: str = "Name the bands of the cube.") -> tuple[int, ...]:
        """Channel of each named band.

        Parameters
        ----------
        names
            Canonical names; any of a model that reads each band by itself.
        naming
            How to name the bands of the cube, for the message where none is known.

        Raises
        ------
        BandError
            If a band is unknown to the model, or a band the model needs is not among ``names``.
        """
        if self.reads == "each":
            return (0,) * len(names)
        unknown = [name for name in names if name not in self.bands]
        if unknown:
            known = [name for name in names if name in self.bands]
            remedy = f"Select bands, for example with bands={known}." if known else naming
            doubts = [text for text in map(doubt, unknown) if text]
            raise BandError(
                f"the cube has band(s) {unknown} that model {self.name!r} was not trained on; it knows"
                f" {list(self.bands)}. {' '.join([remedy, *doubts[:2]])}"
            )
        missing = [band for band in self.bands if band not in names and band not in self.image.optional]
        if missing:
            raise BandError(
                f"model {self.name!r} needs band(s) {missing}; the cube has {list(names)}. Add the missing bands"
                f" (only {list(self.image.optional)} may be absent), or choose another model."
            )
        return self.image.select(names)


def read_card(path: str | Path) -> ModelCard:
    """Read the card beside a weight file.

    Raises
    ------
    WeightsError
        If it is missing, is not a STAC item of the machine learning model extension, lacks what xsr needs, or holds a
        value that no model can have.
    """
    path = Path(path)
    card_path = path.with_suffix(".json")
    if not card_path.is_file():
        raise WeightsError(f"{card_path} not found; weights need their card beside them, as 'xsr train' writes it.")
    size = card_path.stat().st_size
    if size > LARGEST_CARD:
        raise WeightsError(f"{card_path} has {size} bytes; expected a model card, of at most {LARGEST_CARD}.")
    try:
        return from_item(json.loads(card_path.read_text(encoding="utf-8")))
    except RecursionError as error:
        raise WeightsError(f"{card_path} is not a model card: it is nested too deeply; expected {ITEM}.") from error
    except ValueError as error:
        raise WeightsError(f"{card_path} is not a model card: {error}. Expected {ITEM}.") from error


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
        for mean, std in zip(card.image.mean, card.image.std, strict=True)
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
            {name: value for name, value in fields_of(card).items() if name not in PLACED and name not in METADATA}
        ),
    )
    item.properties.update({f"xsr:{name}": getattr(card, name) for name in METADATA})
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


def from_item(item: object) -> ModelCard:
    """Card from the STAC item that `to_item` makes.

    Raises
    ------
    ValueError
        If a field is missing, unknown, or holds what no model can have; the first is named.
    """
    fields = _stated(item)
    unknown = sorted(fields.keys() - FIELDS.keys())
    if unknown:
        raise ValueError(f"its hyperparameters hold {brief(unknown)}, which xsr does not know")
    schema.check_fields(fields, FIELDS, required=[name for name in FIELDS if name not in LATER])
    unit, units = fields.get("unit", 1.0), fields.get("units", "1")
    if units == "K" and unit != 1:
        raise ValueError(f"units {units!r} with unit {unit!r}; expected units '1', or 'K' with a unit of 1")
    card = from_fields(**fields | {name: tuple(fields[name]) for name in SEQUENCES & fields.keys()})
    _check(card)
    return card


def _stated(item: object) -> dict[str, Any]:
    """Fields of a card by name, wherever the item has them."""
    fields = {name: _at(item, *path) for name, path in PLACES.items()}
    images, checksum, moment = fields.pop("images"), fields["sha256"], fields["created"]
    if not (isinstance(images, list) and len(images) == 1):
        raise schema.refuse("mlm:input", images, "a list of one input")
    scaling = _at(images[0], "value_scaling")
    if not isinstance(scaling, list):
        raise schema.refuse("value_scaling", scaling, "a list")
    settings = _at(item, "properties", "mlm:hyperparameters")
    if not isinstance(settings, dict):
        raise schema.refuse("mlm:hyperparameters", settings, "an object")
    return {
        **settings,
        **fields,
        "bands": _at(images[0], "bands"),
        "mean": [_at(scale, "mean") for scale in scaling],
        "std": [_at(scale, "stddev") for scale in scaling],
        "sha256": checksum.removeprefix(MULTIHASH_SHA256) if isinstance(checksum, str) else checksum,
        "created": moment[:10] if isinstance(moment, str) else moment,
    }


def _at(item: object, *path: str) -> Any:
    """Value at a path of nested objects."""
    for depth, name in enumerate(path, 1):
        if not isinstance(item, dict) or name not in item:
            raise ValueError(f"{'.'.join(path[:depth])} is missing")
        item = item[name]
    return item


def fields_of(card: ModelCard) -> dict[str, Any]:
    """Fields of a card as its JSON names them: those of its channels one by one."""
    units = {"unit": card.image.step, "units": "K" if card.units == "K" else "1"}
    parts: dict[str, dict[str, Any]] = {
        "image": card.image.fields() | {"fill": card.image.fill} | units,
        "guide": card.guide.fields("guide_"),
    }
    found: dict[str, Any] = {}
    for name, value in asdict(card).items():
        found |= parts.get(name, {name: value})
    return found


def from_fields(**fields: Any) -> ModelCard:
    """Card from the fields that `fields_of` names; see there and `ModelCard`.

    Raises
    ------
    TypeError
        If a field is missing or unknown.
    """
    unit, units = fields.pop("unit", 1.0), fields.pop("units", "1")
    image = Channels(
        fields.pop("bands"),
        fields.pop("mean"),
        fields.pop("std"),
        fields.pop("optional"),
        units if units == "K" or unit == 1 else repr(unit),
        fields.pop("fill", ()),
    )
    guide = Channels(*(fields.pop(f"guide_{name}", ()) for name in ("bands", "mean", "std", "optional")))
    return ModelCard(image=image, guide=guide, **fields)


def _check(card: ModelCard) -> None:
    """Refuse values that do not agree with one another."""
    count = len(card.bands)
    low, high = card.scale_range
    rules = {
        "bands": (len(set(card.bands)) == count, "different names"),
        **_statistics_rules(card.image, "", "one for each band"),
        "fill": (len(card.image.fill) in (0, count), f"{count} numbers, one for each band, or none"),
        "mtf": (len(card.mtf) in (0, count), f"{count} numbers, one for each band, or none"),
        "scale_range": (low <= high, "the lowest and the highest scale"),
        "guide_bands": (len(set(card.guide.names)) == len(card.guide.names), "different names"),
        **_statistics_rules(card.guide, "guide_", "one for each band of the guide"),
    }
    for name, (holds, expected) in rules.items():
        if not holds:
            raise schema.refuse(name, fields_of(card)[name], expected)


def _statistics_rules(channels: Channels, prefix: str, each: str) -> dict[str, tuple[bool, str]]:
    """Rules of the standardisation of an image or its guide, by field."""
    count = len(channels.names)
    return {
        f"{prefix}optional": (set(channels.optional) <= set(channels.names), f"some of {prefix}bands"),
        f"{prefix}mean": (len(channels.mean) == count, f"{count} numbers, {each}"),
        f"{prefix}std": (len(channels.std) == count, f"{count} numbers, {each}"),
    }


def digest(card: ModelCard) -> str:
    """Hash of what a card says that a result depends on."""
    fields = {name: value for name, value in fields_of(card).items() if name not in UNCOMPUTED}
    for name, earlier in (("reads", "bands"), ("calibration", []), ("held_with", None)):  # as before there was a choice
        if fields[name] == earlier:
            del fields[name]
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
