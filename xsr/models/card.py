"""Model cards: everything a user or a worker must know of a set of weights, as one JSON file beside it."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xsr.core.errors import BandError, WeightsError

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class ModelCard:
    """Description of trained weights; the JSON file holds the same fields."""

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
    training: dict[str, Any] = field(default_factory=dict)
    """Data, protocol, steps, minutes, machine."""
    scores: list[dict[str, Any]] = field(default_factory=list)
    """Rows of place, scale and decibels, on places never trained on."""
    limits: tuple[str, ...] = ()
    citation: str = ""

    def channels(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """Channel of each named band (canonical names).

        Raises
        ------
        BandError
            If a band is unknown to the model, or a band the model needs is not among ``names``.
        """
        unknown = [name for name in names if name not in self.bands]
        if unknown:
            known = [name for name in names if name in self.bands]
            remedy = (
                f"Select bands, for example with bands={known}."
                if known
                else ("Name the bands of the cube: .assign_coords(band=[...]).")
            )
            raise BandError(
                f"the cube has band(s) {unknown} that model {self.name!r} was not trained on; it knows"
                f" {list(self.bands)}. {remedy}"
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
        If it is missing or does not hold the fields of `ModelCard`.
    """
    card_path = path.with_suffix(".json")
    if not card_path.is_file():
        raise WeightsError(f"{card_path} not found; weights need their card beside them, as 'xsr train' writes it.")
    try:
        fields = json.loads(card_path.read_text(encoding="utf-8"))
        for name in ("bands", "optional", "mean", "std", "scale_range", "mtf", "limits"):
            fields[name] = tuple(fields[name])
        return ModelCard(**fields)
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{card_path} is not a model card: {error}. Expected the fields of ModelCard.") from error


def write_card(card: ModelCard, path: Path) -> None:
    """Write the card beside a weight file."""
    path.with_suffix(".json").write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")


def file_sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
