"""What the map shows: cubes with their tiles, and what the page must know of them."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from xsr.core.errors import ParameterError
from xsr.core.platforms import sensor_of, stated
from xsr.core.types import XarrayObject

if TYPE_CHECKING:
    from xsr.view.tiles import Tiles

DEEPEST = 22
"""Zoom beyond which no map has tiles."""
PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class View:
    """How tiles are drawn: what the address of a tile says."""

    t: np.datetime64 | None = None
    bands: tuple[str, ...] | None = None
    stretch: tuple[float, float] | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> "View":
        """Read the query of an address.

        Raises
        ------
        ParameterError
            If the time or the stretch cannot be read.
        """
        bands = tuple(name for name in query.get("bands", "").split(",") if name)
        return cls(moment(query.get("t")), bands or None, _stretch(query.get("stretch")))


@dataclass
class Shown:
    """A cube on the map; its tiles are prepared when they are first requested."""

    title: str
    cube: XarrayObject
    model: str | None = None
    made: bool = False
    """Whether it is a result, which is shown as it is at first."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def tiles(self) -> "Tiles":
        """Tiles of the cube."""
        with self._lock:
            return self._tiles

    @cached_property
    def _tiles(self) -> "Tiles":
        from xsr.view.tiles import Tiles

        return Tiles(self.cube) if self.model is None else Tiles(self.cube, model=self.model)

    def png(self, z: int, x: int, y: int, *, layer: str, view: View, cancelled: Callable[[], bool]) -> bytes:
        """Tile as PNG; see `xsr.view.tiles.Tiles.png`."""
        return self.tiles.png(
            z, x, y, t=view.t, layer=layer, bands=view.bands, stretch=view.stretch, cancelled=cancelled
        )

    def describe(self) -> dict[str, Any]:
        """Say what the page must know."""
        tiles = self.tiles
        times = np.sort(np.asarray([] if tiles.dates is None else tiles.dates, "datetime64[ns]"))
        return {
            "title": self.title,
            "made": self.made,
            "layers": list(tiles.layers),
            "unavailable": dict(tiles.unavailable),
            "bounds": [float(value) for value in tiles.bounds],
            "dates": [str(time) for time in times],
            "milliseconds": times.astype("datetime64[ms]").astype(int).tolist(),
            "bands": list(tiles.bands),
            "rgb": list(tiles.rgb),
            "wavelengths": wavelengths(self.cube, tiles.bands),
            "stretch": list(tiles.stretch),
            "native_zoom": tiles.native_zoom,
            "max_zoom": tiles.max_zoom,
            "attribution": attribution(self.cube),
        }


def wavelengths(cube: XarrayObject, bands: Sequence[str]) -> dict[str, float]:
    """Centre wavelengths (nm) of those bands whose sensor has them."""
    sensor = sensor_of(bands, stated(cube))
    return {name: sensor.band(name).wavelength_nm for name in bands if sensor.has(name)}


def attribution(cube: XarrayObject) -> str:
    """Whose data a cube holds, as its attributes or its sensors say; empty where neither does."""
    for key in ("attribution", "credits", "credit"):
        if isinstance(cube.attrs.get(key), str):
            return str(cube.attrs[key])
    sensors = stated(cube)
    if any(sensor.name.startswith("sentinel") for sensor in sensors):
        return f"Contains modified Copernicus Sentinel data {_years(cube)}".strip()
    return "Landsat data: U.S. Geological Survey" if any(one.name.startswith("landsat") for one in sensors) else ""


def _years(cube: XarrayObject) -> str:
    if "time" not in cube.coords:
        return ""
    years = np.unique(cube["time"].values.astype("datetime64[Y]"))
    return str(years[0]) if len(years) == 1 else f"{years[0]}–{years[-1]}"


def moment(text: str | None) -> np.datetime64 | None:
    """Read a time, UTC; None if there is none.

    Raises
    ------
    ParameterError
        If it is none.
    """
    if not text:
        return None
    try:
        found = np.datetime64(text.removesuffix("Z"), "ns")
    except ValueError as error:
        raise ParameterError(f"t={text!r}; expected a time such as 2024-06-15T10:30:00.") from error
    if np.isnat(found):
        raise ParameterError(f"t={text!r}; expected a time such as 2024-06-15T10:30:00.")
    return found


def number(name: str, text: str | None) -> float:
    """Read a finite number.

    Raises
    ------
    ParameterError
        If it is none.
    """
    try:
        value = float(text or "")
    except ValueError as error:
        raise ParameterError(f"{name}={text!r}; expected a number.") from error
    if not np.isfinite(value):
        raise ParameterError(f"{name}={text!r}; expected a finite number.")
    return value


def _stretch(text: str | None) -> tuple[float, float] | None:
    if not text:
        return None
    ends = text.split(",")
    if len(ends) != 2:
        raise ParameterError(f"stretch={text!r}; expected two numbers, black and white: 0,0.3.")
    low, high = (number("stretch", end) for end in ends)
    if not low < high:
        raise ParameterError(f"stretch={text!r}; expected black below white.")
    return low, high


def plain(value: Any) -> Any:
    """Bring a result to the types that JSON has; numbers that are not finite become None.

    Examples
    --------
    >>> plain({"B02": np.float32(0.5), "t": np.datetime64("2024-06-15"), "no data": np.nan})
    {'B02': 0.5, 't': '2024-06-15', 'no data': None}
    """
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray):
        return [plain(one) for one in value]
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, PLAIN):
        return value
    return [plain(one) for one in value] if isinstance(value, Sequence) else str(value)
