"""Which models fit a cube and why the others do not, by their cards alone: no network is loaded."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from xsr.core import sensors
from xsr.core.cube import Cube
from xsr.core.errors import BandError, XsrError
from xsr.core.grid import resolution
from xsr.models import catalogue, registry
from xsr.models.card import ModelCard

Verdict: TypeAlias = Literal["fits", "in part", "doubtful", "no"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class Fit:
    """What a model can do with a cube."""

    model: str
    verdict: Verdict
    text: str
    """The call, the doubt or the reason."""


def fits(cube: Cube) -> list[Fit]:
    """Judge every installed model of images, those that fit first.

    Parameters
    ----------
    cube
        Cube of the contract; its pixels are not computed.

    Returns
    -------
    list of Fit
        One for each model; those that expect the errors of others are left out. A card that cannot be read is a reason.
    """
    found = [one for name in registry.names() if (one := _judged(name, cube)) is not None]
    return sorted(found, key=lambda one: VERDICTS.index(one.verdict))


def _judged(name: str, cube: Cube) -> Fit | None:
    try:
        card = registry.card(name)
    except XsrError as error:
        return Fit(name, "no", str(error))
    if card.reads == "result":
        return None
    reason = _reason(card, cube)
    if reason:
        return Fit(name, "no", reason)
    doubt, part = _doubt(card, cube), _part(card, cube)
    if doubt:
        return Fit(name, "doubtful", f"{doubt}; {part}" if part else doubt)
    return Fit(name, "in part" if part else "fits", part or call(card))


def _reason(card: ModelCard, cube: Cube) -> str:
    """Why a model cannot be used; empty where it can."""
    if cube.is_temperature != (card.units == "K"):
        return _other_quantity(card, cube)
    if card.units == "K":
        count = len(cube.bands)
        return "" if count == 1 else f"for one band of temperature; the cube has {count}: select one"
    if not _takes(card, cube.canonical) and not _part(card, cube):
        return _other_bands(card, cube)
    if card.reads == "detail" and not any(map(_is_coarse, cube.canonical)):
        return "nothing to sharpen: no band of 20 m or 60 m"
    if is_of_series(card) and cube.data.sizes["time"] < 2:
        return "for several dates; the cube has one"
    return ""


def _takes(card: ModelCard, bands: tuple[str, ...]) -> bool:
    try:
        card.channels(bands)
    except BandError:
        return False
    return True


def _part(card: ModelCard, cube: Cube) -> str:
    """Say with which of its bands a cube fits, and which a model does not know; empty where all fit, or none."""
    named = dict(zip(cube.canonical, cube.bands, strict=True))
    known = tuple(name for name in named if name in card.bands)
    if card.units == "K" or len(known) in (0, len(named)) or not _takes(card, known):
        return ""
    return f"with bands={[named[name] for name in known]}; {_other_bands(card, cube)}"


def _other_bands(card: ModelCard, cube: Cube) -> str:
    """Say which bands a model does not know, or lacks."""
    named = dict(zip(cube.canonical, cube.bands, strict=True))
    unknown = [own for name, own in named.items() if name not in card.bands]
    if unknown:
        return f"not trained on {', '.join(unknown)}"
    lacking = [name for name in card.bands if name not in named and name not in card.image.optional]
    return f"needs {', '.join(lacking)}"


def _other_quantity(card: ModelCard, cube: Cube) -> str:
    if cube.is_temperature:
        return "for reflectance"
    guides = set(card.guide.names) - set(card.guide.optional)
    as_guide = guides and guides <= set(cube.canonical)
    return "for temperatures" + ("; this cube can be the guide: lst.sr.guided(cube)" if as_guide else "")


def _is_coarse(band: str) -> bool:
    table = sensors.get("sentinel-2")
    return table.has(band) and table.band(band).gsd_m > 10


def _doubt(card: ModelCard, cube: Cube) -> str:
    """Say what makes a model's detail unreliable; the operation warns of the same."""
    crs = cube.geobox.crs
    if card.units == "K" or crs is None or not crs.projected or "metre" not in crs.units:
        return ""
    size_m = resolution(cube.geobox)[0]
    doubt = card.doubt_of_pixels(size_m)
    if not doubt or card.reads == "each":
        return doubt
    low, high = card.scale_range if card.factor is None else (1, card.factor)
    return f"trained on pixels of {card.gsd_m * low:g} m to {card.gsd_m * high:g} m, not {size_m:g} m: compare it"


def is_of_series(card: ModelCard) -> bool:
    """Whether a model computes target times from several dates."""
    return card.reads == "dates" or catalogue.is_of_kind(card.architecture, "temporal")


def call(card: ModelCard) -> str:
    """Write the call that uses a model, with its scales."""
    low, high = card.scale_range
    span = f"scale {low:g} to {high:g}" if low != high else f"scale {low:g}"
    if card.units == "K":
        return f"cube.sr.guided(guide, model={card.name!r}): {span}"
    if card.reads == "detail":
        return "cube.sr.sharpen(): 20 m and 60 m bands at 10 m"
    if card.factor is not None:
        return f"cube.sr.sisr(model={card.name!r}): scale {card.factor}"
    times = ", t=TIMES" if is_of_series(card) else ""
    return f"cube.sr.liif(scale=2{times}, model={card.name!r}): {span}"
