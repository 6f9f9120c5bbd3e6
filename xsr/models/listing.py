"""The table of the installed models, which the package shows of itself."""

from xsr.core.errors import XsrError
from xsr.core.sheet import Section, Sheet
from xsr.models import registry
from xsr.models.shown import scale_of

HEADS = ("model", "bands", "scale", "pixel", "licence", "what it does")
FEW = 3
"""Most bands that the table names."""


def models_table() -> Sheet:
    """Installed models, one a row; no network is loaded. A card that cannot be read is a row that says why."""
    rows = []
    for name in registry.names():
        try:
            card = registry.card(name)
        except XsrError as error:
            rows.append((name, "", "", "", "", str(error)))
        else:
            bands = ", ".join(card.bands) if len(card.bands) <= FEW else f"{len(card.bands)} bands"
            rows.append((name, bands, scale_of(card), f"{card.gsd_m:g} m", card.licence, card.summary))
    more = "xsr.models.describe(NAME) shows one; 'xsr models list' prints networks without weights, too"
    return Sheet("xsr.models", f"{len(rows)} installed", (Section("models", more, rows, HEADS, opened=True),))
