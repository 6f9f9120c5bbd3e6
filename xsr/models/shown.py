"""The card of a model for people: what one decides by.

The card beside a file of weights is the whole record. Here a card is a `xsr.models.card.ModelCard`, which shows itself
by this module.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xsr.core.sheet import Section, Sheet

READS = {
    "bands": "the bands of an image",
    "detail": "the bands, and the detail that sharper bands predict",
    "dates": "one date or several",
    "each": "each band, the mean of all, its MTF and its noise",
    "result": "the result of another model, whose errors it expects",
}
SAMPLES = Path(__file__).with_name("weights")
"""Folder of the sample pictures."""
SHARPNESS = {"sensor": "as the sensor would be with such pixels", "ideal": "without the sensor's blur"}


def bands_of(card: Any) -> str:
    """Bands that a model takes, and how many of them may be absent."""
    if card.reads == "each":
        return "any of any optical sensor"
    names = ", ".join(card.bands)
    if not card.image.optional:
        return names
    needed = [name for name in card.bands if name not in card.image.optional]
    return f"{', '.join(needed)} (and any of {len(card.image.optional)} others)" if needed else f"any of {names}"


def scale_of(card: Any) -> str:
    """Factor, or range of factors."""
    low, high = card.scale_range
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def sample_of(card: Any) -> Path:
    """Sample picture of a model, by the hash of the weights that drew it; a file only of packaged ones."""
    return SAMPLES / f"{card.name}.{card.sha256[:12]}.webp"


def card_sheet(card: Any) -> Sheet:
    """Describe trained weights: what they do, bands, scales, training, scores, limits and licence."""
    pixels = (
        "0.3 m to 30 m"
        if card.reads == "each"
        else f"{card.gsd_m:g} m"
        if card.factor is None
        else f"{card.gsd_m:g} m to {card.gsd_m / card.factor:g} m"
    )
    sections = [
        Section("does", card.summary),
        _sample(sample_of(card)),
        Section("bands", bands_of(card)),
        Section("guide", ", ".join(card.guide.names)) if card.guide.names else None,
        Section("reads", READS[card.reads]) if card.reads in READS else None,
        Section("scale", f"{scale_of(card)}; trained for {card.sensor}, pixels of {pixels}"),
        Section("sharpness", SHARPNESS.get(str(card.sharpness), "not known")),
        _training(card.training),
        _scores(card.scores),
        Section("limits", f"{len(card.limits)}", [(one,) for one in card.limits], opened=True) if card.limits else None,
        Section("before", f"bands of larger pixels are sharpened by {card.before}") if card.before else None,
        Section("held", f"within a sensor's response in the mean with {card.held_with}") if card.held_with else None,
        Section("intervals", f"errors expected by {card.intervals}") if card.intervals else None,
        Section("network", f"{card.architecture}, {_count(card.parameters)} parameters, {_reach(card)}"),
        Section("licence", card.licence),
        Section("citation", card.citation) if card.citation else None,
        Section("made", f"{card.created}, sha256 {card.sha256[:12]}…"),
    ]
    return Sheet("xsr model", card.name, tuple(one for one in sections if one is not None))


def architecture_sheet(known: Any) -> Sheet:
    """Describe an architecture without weights."""
    counts = f"{_count(known.parameters)} parameters, {_count(known.trainable)} trainable"
    tiling = known.tiling if known.radius is None else f"{known.tiling}, {known.radius} pixels"
    sections = (
        Section("does", known.summary or known.kind),
        Section("kind", f"{known.kind}, without weights: xsr.models.create({known.name!r})"),
        Section("scale", known.scale),
        Section("network", counts),
        Section("tiling", tiling),
        Section("licence", known.licence),
        Section("citation", known.citation),
    )
    return Sheet("xsr architecture", known.name, tuple(one for one in sections if one.summary))


def _sample(path: Path) -> Section | None:
    if not path.is_file():
        return None
    line = "a test place: input, interpolation, result, truth"
    return Section("sample", line, opened=True, picture=path.read_bytes(), brief=True)


def _reach(card: Any) -> str:
    if card.patch is not None:
        return f"squares of {card.patch} output pixels"
    return f"an output pixel reads {card.radius} pixels around it"


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _training(training: Mapping[str, Any]) -> Section | None:
    if not training:
        return None
    places = training.get("places")
    counts = {"places": len(places) if isinstance(places, list | tuple | dict) else 0, "scenes": training.get("scenes")}
    known = [f"{count} {name}" for name, count in counts.items() if count]
    summary = "; ".join(filter(None, (", ".join(known), _plain(training.get("protocol", "")))))
    return Section("trained on", summary, [(key, _plain(value)) for key, value in training.items()], brief=True)


def _scores(scores: list[dict[str, Any]]) -> Section | None:
    """Table of the scores; numbers of single bands stay in the card."""
    if not scores:
        return None
    heads = list(dict.fromkeys(key for row in scores for key, value in row.items() if not isinstance(value, dict)))
    gains = [row["model_db"] - row["bicubic_db"] for row in scores if {"model_db", "bicubic_db"} <= row.keys()]
    gain = f"; {min(gains):+.1f} to {max(gains):+.1f} dB beside bicubic interpolation" if gains else ""
    rows = [[_plain(row.get(key, "")) for key in heads] for row in scores]
    return Section("scores", f"{len(scores)} rows, of places it did not learn from{gain}", rows, heads, brief=True)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)
