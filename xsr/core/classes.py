"""Layers of classes: what their names and attributes say they are, and which of their numbers are clouds.

A class is a label. Interpolating it, or scaling it like reflectance, makes numbers that mean nothing, so cubes keep
such layers apart from their bands (see `xsr.core.aside`). Names follow the products themselves; attributes follow the
flags of the CF conventions (section 3.5). What an attribute states wins over what a name suggests.

Sources: Sen2Cor's scene classification: Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD, table of
MSK_SCL; QA_PIXEL: Landsat 8-9 Collection 2 Level 2 Science Product Guide, LSDS-1619, table 5-3; pixel_qa: Landsat 8
Surface Reflectance Code (LaSRC) Product Guide of Collection 1, LSDS-1368, table 7-2; Fmask: HLS Product User Guide 2.0,
table 9; oa_fmask: Geoscience Australia, fmask of the Analysis Ready Data; QA60: Sentinel-2 in the catalogue of Earth
Engine; CLM: MAJA's product format, section on cloud masks.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core.errors import CubeError, ParameterError

WHOLE = -1
"""Mask of all bits: the number itself is the class."""
DEFAULT = ("fill", "defect", "cloud", "shadow", "cirrus")
"""What does not show the surface."""
WORDS = (*DEFAULT, "snow", "water", "dark", "terrain", "adjacent")
"""Words that name classes in every family that has them."""

Rule = tuple[int, int]
"""Bits to look at, and what they must be: ``number & mask == value``."""


@dataclass(frozen=True)
class Family:
    """How the numbers of a layer are read."""

    title: str
    rules: Mapping[str, tuple[Rule, ...]]
    """Rules by word; a pixel belongs to a word if one of its rules holds."""
    bits: bool = False
    """Whether numbers in ``exclude`` are positions of bits, not values."""
    fill: int | None = None
    """Number of a pixel that was not observed."""
    default: tuple[str, ...] = DEFAULT
    """Words that do not show the surface."""

    def select(self, exclude: Sequence[Any]) -> tuple[Rule, ...]:
        """Rules of classes given by number or by word.

        Raises
        ------
        ParameterError
            If a word is unknown in this family.
        """
        found: list[Rule] = []
        for item in exclude:
            if isinstance(item, str):
                found += self._of_word(item)
            else:
                number = int(item)
                found.append((1 << number, 1 << number) if self.bits else (WHOLE, number))
        return tuple(found)

    def _of_word(self, word: str) -> tuple[Rule, ...]:
        key = word.strip().casefold()
        key = key if key in self.rules else key.removesuffix("s")
        if key not in self.rules:
            numbers = "positions of bits" if self.bits else "numbers"
            raise ParameterError(
                f"exclude names {word!r}; {self.title} has {', '.join(self.rules)}. Name one of these, or give the"
                f" {numbers} of the classes."
            )
        return self.rules[key]


def _values(**words: Sequence[int]) -> dict[str, tuple[Rule, ...]]:
    return {word: tuple((WHOLE, number) for number in numbers) for word, numbers in words.items()}


def _bits(**words: Sequence[int]) -> dict[str, tuple[Rule, ...]]:
    return {word: tuple((1 << bit, 1 << bit) for bit in bits) for word, bits in words.items()}


SCL = Family(
    "the scene classification of Sen2Cor",
    _values(fill=[0], defect=[1], dark=[2], shadow=[3], water=[6], cloud=[8, 9], cirrus=[10], snow=[11]),
    fill=0,
)
QA_PIXEL = Family(
    "QA_PIXEL of Landsat Collection 2",
    _bits(fill=[0], cloud=[1, 3], cirrus=[2], shadow=[4], snow=[5], water=[7]),
    bits=True,
    fill=1,
)
PIXEL_QA = Family(
    "pixel_qa of Landsat Collection 1",
    _bits(fill=[0], water=[2], shadow=[3], snow=[4], cloud=[5]) | {"cirrus": ((0b11 << 8, 0b11 << 8),)},
    bits=True,
    fill=1,
)
HLS_FMASK = Family(
    "Fmask of HLS",
    {"fill": ((WHOLE, 255),)} | _bits(cirrus=[0], cloud=[1], adjacent=[2], shadow=[3], snow=[4], water=[5]),
    bits=True,
    fill=255,
    default=(*DEFAULT, "adjacent"),
)
DEA_FMASK = Family(
    "fmask of Geoscience Australia",
    _values(fill=[0], cloud=[2], shadow=[3], snow=[4], water=[5]),
    fill=0,
)
QA60 = Family("QA60 of Earth Engine", _bits(cloud=[10], cirrus=[11]), bits=True)
CLM = Family(
    "a cloud mask CLM",
    {"cloud": tuple((1 << bit, 1 << bit) for bit in range(8))} | _bits(shadow=[5, 6], cirrus=[7]),
    bits=True,
)
"""Of MAJA, whose lowest bit joins clouds and shadows, and of Sentinel Hub (1 cloud, 255 no data): any bit counts."""

FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("scl", "scl_20m", "scene_classification", "s2_scl"), SCL),
    **dict.fromkeys(("qa_pixel",), QA_PIXEL),
    **dict.fromkeys(("pixel_qa",), PIXEL_QA),
    **dict.fromkeys(("oa_fmask", "oa_nbart_fmask"), DEA_FMASK),
    **dict.fromkeys(("qa60",), QA60),
    **dict.fromkeys(("clm", "clm_r1", "clm_r2", "dataclm"), CLM),
}
"""Families by the name of the layer in lower case; ``Fmask`` is looked at apart."""
FMASK = "Fmask"
"""Name of HLS, in this spelling. ``fmask`` is used for several tables of classes, and says nothing by itself."""

NAMES = re.compile(
    r"fmask|valid|scl_60m|classification|bqa|qai|qa\d\d|(.+_)?qa_.+|.+_qa|msk_.+|.*(cloud|snow|water)_?(mask|prob\w*|classi\w*)"
    r"|.*(^|_)(mask|flags?|contiguity)|clp|cld|snw|radsat"
    r"|(.+_)?(land_?cover|lulc|lccs|worldcover)(_(class|classes|map))?",
    re.IGNORECASE,
)
"""Other names of classes, flags, land cover and probabilities of clouds: not bands, and meanings that only attributes
or the user can give."""
QUANTITIES = re.compile(r"st_qa", re.IGNORECASE)
"""Names that look like classes and are physical quantities: the uncertainty of a surface temperature."""
FLAGS = ("flag_values", "flag_masks", "flag_meanings", "flags_definition", "classification:classes")
"""Attributes that only layers of classes have."""
MEANINGS: dict[str, re.Pattern[str]] = {
    "shadow": re.compile(r"shadow"),
    "cirrus": re.compile(r"cirrus"),
    "cloud": re.compile(r"cloud"),
    "fill": re.compile(r"(^|_)(fill|no_?data|no_?observation|nodata)($|_)"),
    "defect": re.compile(r"saturat|defect"),
    "snow": re.compile(r"snow|(^|_)ice($|_)"),
    "water": re.compile(r"water"),
}
"""Words for the meanings of CF attributes; the first that fits."""
NEGATED = re.compile(r"(^|_)(not?|clear|free|low)($|_)")


def holds_classes(name: Hashable, variable: xr.DataArray) -> bool:
    """Whether a layer holds classes, by its name, its type or its attributes, never by its values."""
    if variable.dtype.kind == "b" or not {*FLAGS}.isdisjoint(variable.attrs):
        return True
    return variable.dtype.kind in "iuf" and names_classes(name)


def names_classes(name: Hashable) -> bool:
    """Whether the name of a band is that of a layer of classes."""
    text = str(name)
    if text.casefold() in FAMILIES:
        return True
    return NAMES.fullmatch(text) is not None and QUANTITIES.fullmatch(text) is None


def family_of(name: Hashable, attrs: Mapping[Any, Any]) -> Family | None:
    """How the numbers of a layer are read, by its attributes, else by its name; None where neither says."""
    return _from_attributes(attrs) or (HLS_FMASK if str(name) == FMASK else FAMILIES.get(str(name).casefold()))


def _from_attributes(attrs: Mapping[Any, Any]) -> Family | None:
    """Read the flags of the CF conventions; None unless they describe clouds."""
    meanings = str(attrs.get("flag_meanings", "")).casefold().split()
    masks, values = (_numbers(attrs.get(key), len(meanings)) for key in ("flag_masks", "flag_values"))
    if masks is None and values is None:
        return None
    rules: dict[str, tuple[Rule, ...]] = {}
    pairs = zip(
        meanings,
        masks if masks is not None else [WHOLE] * len(meanings),
        values if values is not None else masks or (),
        strict=True,
    )
    for meaning, mask, value in pairs:
        word = _word(meaning)
        if word is not None:
            rules[word] = (*rules.get(word, ()), (mask, value))
    return Family("its flag_meanings", rules, bits=values is None) if {"cloud", "cirrus"} & set(rules) else None


def _word(meaning: str) -> str | None:
    if MEANINGS["fill"].search(meaning):
        return "fill"
    if NEGATED.search(meaning):
        return None
    return next((word for word, pattern in MEANINGS.items() if pattern.search(meaning)), None)


def _numbers(value: Any, count: int) -> list[int] | None:
    """Numbers of a flag attribute, one a meaning; of text where a file cannot hold several."""
    if value is None or not count:
        return None
    try:
        parts = re.split(r"[\s,]+", re.sub(r"[^\d\s,-]", "", value).strip(" ,")) if isinstance(value, str) else value
        found = [int(part) for part in np.atleast_1d(np.asarray(parts)).tolist()]
    except (TypeError, ValueError):
        return None
    return found if len(found) == count else None


def shown(layer: xr.DataArray, exclude: Sequence[Any] | None, name: Hashable = None) -> xr.DataArray:
    """Whether each pixel of a layer of classes shows the surface; lazy for Dask arrays.

    Parameters
    ----------
    layer
        Classes, of any numbers.
    exclude
        Classes that do not show it, by number (of families of bits: positions of bits) or by word (see `WORDS`); by
        default those of `DEFAULT` that the family has.
    name
        Name of the layer, where it has none of its own.

    Raises
    ------
    CubeError
        If neither attributes nor name say what the classes mean, and they are not given by number.
    """
    name = layer.name if name is None else name
    family = family_of(name, layer.attrs)
    if family is None and (exclude is None or any(isinstance(item, str) for item in exclude)):
        raise CubeError(
            f"nothing says what the numbers of {str(name)!r} mean; expected a name such as SCL or QA_PIXEL, or the"
            " attributes flag_values and flag_meanings. Give the numbers that do not show the surface: exclude=[...]."
        )
    chosen = family or Family(str(name), {})
    rules = chosen.select([word for word in chosen.default if word in chosen.rules] if exclude is None else exclude)
    found: xr.DataArray = xr.apply_ufunc(
        _shows, layer, kwargs={"rules": rules}, dask="parallelized", output_dtypes=[bool]
    )
    return found


def _shows(values: NDArray[Any], *, rules: Sequence[Rule]) -> NDArray[np.bool_]:
    """Whether no rule holds; NaN and infinities do not show the surface."""
    known = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    numbers = np.where(known, values, 0).astype(np.int64)
    hit = ~known
    whole = [value for mask, value in rules if mask == WHOLE]
    if whole:
        hit |= np.isin(numbers, whole)
    for mask, value in rules:
        if mask != WHOLE:
            hit |= (numbers & mask) == value
    return ~hit


def fill_of(name: Hashable, layer: xr.DataArray) -> Any:
    """Find the value of a pixel of a layer that was not observed; None where nothing says it."""
    if layer.dtype.kind == "b":
        return False
    if layer.dtype.kind == "f":
        return np.nan
    stated = [layer.attrs.get(key, layer.encoding.get(key)) for key in ("_FillValue", "nodata", "missing_value")]
    family = family_of(name, layer.attrs)
    numbers = [*stated, None if family is None else family.fill]
    for number in numbers:
        limits = np.iinfo(layer.dtype)
        if isinstance(number, int | float | np.number) and limits.min <= number <= limits.max and number == int(number):
            return layer.dtype.type(number)
    return None
