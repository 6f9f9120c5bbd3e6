"""Classifications that come with an item: which asset it is, and which of its values show the surface."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xsr.sources import masks
from xsr.sources.stac.describe import HLS

if TYPE_CHECKING:
    import pystac

QA_PIXEL = (0, 1, 2, 3, 4)
"""Bits of Landsat Collection 2 that hide the surface: fill, dilated cloud, cirrus, cloud, cloud shadow."""
HLS_FMASK = (1, 2, 3)
"""Bits of HLS version 2 that hide the surface: cloud, adjacent to cloud or shadow, cloud shadow."""
FMASK_CLEAR = (1, 4, 5)
"""Classes of Geoscience Australia's Fmask that show the surface: valid, snow, water."""


@dataclass(frozen=True)
class Kind:
    """A scheme of classes."""

    name: str
    """Name of the coordinate that holds it."""
    pattern: str
    """Expression for the key of its asset."""
    dtype: str
    empty: int
    """Value that means that nothing is known."""
    clear: Callable[[NDArray[Any]], NDArray[np.bool_]]
    """Whether values show the surface."""

    def valid(self, values: Any) -> Any:
        """Whether pixels show the surface; lazy for Dask arrays."""
        return values.map_blocks(self.clear, dtype=bool)

    def numbers(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """Whole numbers of classes that were read as floating point; NaN is `empty`."""
        return np.where(np.isnan(values), self.empty, values).astype(self.dtype)


@dataclass(frozen=True)
class Classification:
    """The classification of an item."""

    key: str
    """Key of its asset."""
    kind: Kind


def _without(bits: tuple[int, ...], fill: int | None = None) -> Callable[[NDArray[Any]], NDArray[np.bool_]]:
    hidden = sum(1 << bit for bit in bits)

    def clear(values: NDArray[Any]) -> NDArray[np.bool_]:
        visible: NDArray[np.bool_] = (values & hidden) == 0
        return visible if fill is None else visible & (values != fill)

    return clear


def _fmask_clear(values: NDArray[Any]) -> NDArray[np.bool_]:
    return np.isin(values, FMASK_CLEAR)


SCL = Kind("scl", r"scl(_20m)?", "uint8", 0, masks.valid_scl)
QA = Kind("qa_pixel", r"qa_pixel(\.tif)?", "uint16", 1, _without(QA_PIXEL))
FMASK = Kind("fmask", r"(oa_)?fmask", "uint8", 0, _fmask_clear)
FMASK_BITS = Kind("fmask", r"fmask", "uint8", 255, _without(HLS_FMASK, 255))


def find_classification(item: "pystac.Item") -> Classification | None:
    """Find the classification of an item; None if it has none that is known."""
    harmonised = HLS.search(item.collection_id or "") or HLS.search(item.id)
    for kind in (FMASK_BITS,) if harmonised else (SCL, QA, FMASK):
        for key in item.assets:
            if re.fullmatch(kind.pattern, key, re.IGNORECASE):
                return Classification(key, kind)
    return None
