"""The model of a result: its card, which is an item of the machine learning model extension, as a link."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xsr.core.errors import ModelError

if TYPE_CHECKING:
    import pystac

REL = "mlm:model"
"""Relation of a result to the item of its model."""


def model_link(provenance: Mapping[str, Any]) -> "pystac.Link | None":
    """Link to the card of the model that made a result; None if there was none, or it is not installed here."""
    import pystac

    card = _card_of(provenance)
    if card is None:
        return None
    name = str(provenance["model"])
    return pystac.Link(REL, card.resolve().as_posix(), "application/geo+json", f"model {Path(name).stem}")


def _card_of(provenance: Mapping[str, Any]) -> Path | None:
    """Card of the very weights that a result names."""
    from xsr.models.registry import find

    if not isinstance(provenance.get("model"), str):
        return None
    try:
        card = find(str(provenance["model"])).with_suffix(".json")
    except ModelError:
        return None
    known = card.is_file() and str(provenance.get("weights_sha256", "?")) in card.read_text(encoding="utf-8")
    return card if known else None


def published_card(card: Path) -> dict[str, Any]:
    """Card as an item that lies elsewhere: its weights have the path where they are installed."""
    item: dict[str, Any] = json.loads(card.read_text(encoding="utf-8"))
    for asset in item["assets"].values():
        asset["href"] = (card.parent / asset["href"]).resolve().as_posix()
    return item
