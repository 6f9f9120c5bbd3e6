"""Tiles of Web Mercator over a cube: each is computed when it is requested."""

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsr.core import checks
from xsr.core.blocks import Span
from xsr.core.cube import open_cube
from xsr.core.errors import ParameterError, XsrError
from xsr.core.names import BandsLike
from xsr.core.types import XarrayObject
from xsr.models.precision import Precision
from xsr.operations.super_resolve.sharpness import Sharpness
from xsr.view.tiles import mercator, moments, picture
from xsr.view.tiles.evaluation import Image
from xsr.view.tiles.layers import LAYERS, Layers, Settings
from xsr.view.tiles.memory import Memory, parse_bytes
from xsr.view.tiles.slots import Cancelled, Slots

PICTURES = 0.25
"""Share of the memory that holds encoded tiles."""
FINEST = 4
"""Pixels of the cube over those of the finest zoom that shows more."""
MIDDLE = 1024
"""Pixels along a side of the middle of a cube from which its stretch is found."""
LOOKED_AT = 7
"""Dates from which it is found."""


class Tiles:
    """Tiles of Web Mercator over a cube, each computed when it is looked at.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x), lazy or not.
    model, bands, units, device, precision, psf
        As of `xsr.liif`. A model that does not compute times between dates leaves those to the default one.
    memory
        Bytes, or a text such as "256MB": of encoded tiles, values of tiles and pixels that were read. The least
        recently used go first.
    size
        Pixels along a side of a tile.
    threads
        Tiles that are computed side by side; one for each core by default.

    Raises
    ------
    CubeError, GridError, BandError
        If the cube breaks the contract, or lies beyond Web Mercator.
    ParameterError
        If an argument is out of range.

    Examples
    --------
    >>> from xsr.testing import synthetic_cube
    >>> tiles = Tiles(synthetic_cube(size=(64, 64)), threads=1)
    >>> tiles.native_zoom, tiles.max_zoom, tiles.rgb
    (14, 16, ('B04', 'B03', 'B02'))
    >>> z, x, y = tiles.over(15)[0]
    >>> tiles.png(z, x, y, layer="bicubic")[1:4]
    b'PNG'
    """

    def __init__(
        self,
        cube: XarrayObject,
        *,
        model: str | Path | None = None,
        bands: BandsLike | None = None,
        units: str | float | None = None,
        device: str = "auto",
        precision: Precision = "auto",
        psf: Sharpness | None = None,
        memory: str | int = "256MB",
        size: int = 256,
        threads: int | None = None,
    ) -> None:
        self.size = checks.whole("size", size, least=16)
        limit = parse_bytes(memory)
        self.threads = (os.cpu_count() or 1) if threads is None else checks.whole("threads", threads, least=1)
        self._slots = Slots(self.threads)
        self._arrays: Memory[Any] = Memory(int(limit * (1 - PICTURES)))
        self._pictures: Memory[bytes] = Memory(int(limit * PICTURES))
        self._cube = open_cube(cube, units=units, bands=bands)
        settings = Settings(model, bands, units, device, precision, psf)
        self._layers = Layers(cube, self._cube, settings, self._arrays)
        self.bands: tuple[str, ...] = self._cube.bands
        self.rgb = picture.colours(self.bands, self._cube.canonical)
        self._units = mercator.native_units(self._cube.geobox)
        self.bounds = mercator.bounds_of(self._cube.geobox)
        self.native_zoom = mercator.first_zoom(self._units, size=self.size)
        self.max_zoom = mercator.first_zoom(self._units / FINEST, size=self.size)

    @property
    def dates(self) -> NDArray[np.datetime64] | None:
        """Times of the acquisitions, in the order of the cube; None if it has none."""
        return self._cube.dates

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return self._arrays.nbytes + self._pictures.nbytes

    @cached_property
    def unavailable(self) -> dict[str, str]:
        """Layers that cannot be computed from this cube, and why."""
        return {
            layer: reason
            for layer, check in (("liif", lambda: self._layers.single), ("spread", self._layers.refuse_spread))
            if (reason := _reason(check))
        }

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers that can be computed."""
        return tuple(layer for layer in LAYERS if layer not in self.unavailable)

    @cached_property
    def stretch(self) -> tuple[float, float]:
        """Values that become black and white in `rgb`: percentiles in the middle of the cube."""
        return self.stretch_of(self.rgb)

    def stretch_of(self, bands: Sequence[str]) -> tuple[float, float]:
        """Values that become black and white in some bands together, see `stretch`."""
        picks = self._picks(bands)
        low, high = self._arrays.get(("stretch", picks), lambda: np.array(self._percentiles(picks)))
        return float(low), float(high)

    def _percentiles(self, picks: tuple[int, ...]) -> tuple[float, float]:
        """Stretch of some bands over a few dates."""
        source = self._layers.source
        count = self._cube.data.sizes["time"]
        level = max(0, int(np.ceil(np.log2(min(MIDDLE, max(source.shape)) / self.size))))
        shape = source.level_grid(level).shape.yx
        side = MIDDLE // 2**level
        rows, cols = (Span(max(0, (n - side) // 2), min(n, (n + side) // 2)) for n in shape)
        dates = np.unique(np.linspace(0, count - 1, min(count, LOOKED_AT)).round().astype(int))
        images = [source.average(int(date), level, rows, cols)[list(picks)] for date in dates]
        return picture.percentiles(np.stack(images))

    # --- tiles --------------------------------------------------------------------------------------------------------

    def grid(self, z: int, x: int, y: int) -> GeoBox:
        """Grid of a tile, in Web Mercator."""
        return mercator.tile_grid(z, x, y, size=self.size)

    def over(self, z: int) -> list[tuple[int, int, int]]:
        """Tiles (z, x, y) of a zoom that the bounds of the cube touch."""
        mercator.check_tile(z, 0, 0)
        west, south, east, north = self.bounds
        left, top, *_ = mercator.tile_of(west, north, z, size=self.size)
        right, bottom, *_ = mercator.tile_of(east, south, z, size=self.size)
        return [(z, x, y) for y in range(top, bottom + 1) for x in range(left, right + 1)]

    def values(
        self,
        z: int,
        x: int,
        y: int,
        *,
        t: Any = None,
        layer: str = "liif",
        bands: Sequence[str] | None = None,
        cancelled: Cancelled | None = None,
    ) -> xr.DataArray | None:
        """Pixels of a tile.

        Parameters
        ----------
        z, x, y
            Zoom, column and row.
        t
            An acquisition, or any time between the first and the last; a day alone means an acquisition of that day
            where there is one. The latest acquisition by default.
        layer
            ``liif``: result of the network; ``bicubic``: interpolation; ``input``: the pixels themselves;
            ``spread``: width of the interval that holds nine tenths of the likely values, where the errors of the model
            were measured. At zooms coarser than the cube the first three are means of the pixels, and there is no
            spread.
        bands
            Bands to return; all by default.
        cancelled
            Called before the computation begins.

        Returns
        -------
        DataArray or None
            Reflectance (band, y, x), NaN = no data; None where the cube does not reach into the tile.

        Raises
        ------
        ParameterError, BandError
            If there is no such tile, layer, time or band.
        concurrent.futures.CancelledError
            If it is no longer wanted when its turn comes.
        """
        box = self.grid(z, x, y)
        picks = self._picks(self.bands if bands is None else bands)
        image = self._image(z, x, y, self._moment(t), self._layer(layer), cancelled)
        if image is None:
            return None
        return xr.DataArray(
            image[list(picks)],
            dims=("band", "y", "x"),
            coords={"band": [self.bands[pick] for pick in picks], **xr_coords(box)},
            name="reflectance",
            attrs={"layer": layer},
        )

    def png(
        self,
        z: int,
        x: int,
        y: int,
        *,
        t: Any = None,
        layer: str = "liif",
        bands: Sequence[str] | None = None,
        stretch: Sequence[float] | None = None,
        cancelled: Cancelled | None = None,
    ) -> bytes:
        """Picture of a tile, a PNG with transparency where there is no data.

        Parameters
        ----------
        z, x, y, t, layer, cancelled
            As of `values`.
        bands
            One or three, as grey or as red, green and blue; `rgb` by default. Of a spread their mean is shown, as grey.
        stretch
            Values that become black and white; `stretch_of` the bands by default, for a spread from 0 to a quarter of
            that range.
        """
        z, x, y = mercator.check_tile(z, x, y)
        moment, layer = self._moment(t), self._layer(layer)
        names = self.rgb if bands is None else tuple(bands)
        picks = self._picks(names)
        if len(picks) not in (1, 3):
            raise ParameterError(f"bands={list(names)}; expected one or three, as grey or as red, green and blue.")
        limits = None if stretch is None else picture.checked_stretch(stretch)

        def draw() -> bytes:
            image = self._image(z, x, y, moment, layer, cancelled)
            if image is None:
                return picture.transparent(self.size)
            low, high = self.stretch_of(names) if limits is None else limits
            if layer != "spread":
                return picture.encode(image[list(picks)], (low, high))
            shown = (0.0, (high - low) / 4) if limits is None else limits
            return picture.encode(image[list(picks)].mean(axis=0, keepdims=True), shown)

        return self._pictures.get((z, x, y, moment, layer, picks, limits), draw)

    def _image(
        self, z: int, x: int, y: int, moment: moments.Moment, layer: str, cancelled: Cancelled | None
    ) -> Image | None:
        """All bands of a tile, from memory or computed."""

        def compute() -> Image | None:
            with self._slots.one(cancelled):
                return self._compute(z, self.grid(z, x, y), moment, layer)

        found: Image | None = self._arrays.get(("tile", z, x, y, moment, layer), compute)
        return found

    def _compute(self, z: int, box: GeoBox, moment: moments.Moment, layer: str) -> Image | None:
        west, south, east, north = box.geographic_extent.boundingbox
        if east < self.bounds[0] or west > self.bounds[2] or north < self.bounds[1] or south > self.bounds[3]:
            return None
        if z < self.native_zoom:
            if layer == "spread":
                return None
            image = self._layers.average(box, moment, self._units)
        else:
            image = getattr(self._layers, layer)(box, moment)
        return image if np.isfinite(image).any() else None

    # --- places -------------------------------------------------------------------------------------------------------

    def point(self, lon: float, lat: float, *, t: Any = None) -> dict[str, Any]:
        """Values at a place.

        Parameters
        ----------
        lon, lat
            Degrees.
        t
            As of `values`.

        Returns
        -------
        dict
            ``lon`` and ``lat``; ``input`` and, where a model fits, ``liif``: each a dict from band to value, None where
            there is no data.
        """
        x, y, row, col = self._place(lon, lat)
        moment, box = self._moment(t), self.grid(self.max_zoom, x, y)[row : row + 1, col : col + 1]
        found = {}
        for layer in ("input", "liif"):
            if layer in self.unavailable:
                continue
            with self._slots.one():
                image = getattr(self._layers, layer)(box, moment)
            found[layer] = self._plain(image[:, 0, 0])
        return {"lon": float(lon), "lat": float(lat), **found}

    def series(self, lon: float, lat: float) -> dict[str, Any]:
        """Values of the input at a place, date by date.

        Returns
        -------
        dict
            ``dates``: ISO texts in order of time; ``bands``: from band to a list of values, None where there is no
            data.

        Raises
        ------
        CubeError
            If the cube has no dates.
        """
        x, y, row, col = self._place(lon, lat)
        times, box = self._cube.times, self.grid(self.max_zoom, x, y)[row : row + 1, col : col + 1]
        order = np.argsort(times, kind="stable")
        with self._slots.one():
            values = [self._layers.input(box, moments.Moment(int(date)))[:, 0, 0] for date in order]
        rows = [self._plain(one) for one in values]
        dates = [str(one) for one in times[order].astype("datetime64[s]")]
        return {"dates": dates, "bands": {name: [row[name] for row in rows] for name in self.bands}}

    def _place(self, lon: Any, lat: Any) -> tuple[int, int, int, int]:
        checks.within("lon", lon, low=-180, high=180, what="degrees from -180 to 180")
        checks.within("lat", lat, low=-mercator.LAT, high=mercator.LAT, what="degrees within 85.05 of the equator")
        return mercator.tile_of(float(lon), float(lat), self.max_zoom, size=self.size)

    def _plain(self, values: NDArray[np.float32]) -> dict[str, float | None]:
        numbers = (float(one) if np.isfinite(one) else None for one in values)
        return dict(zip(self.bands, numbers, strict=True))

    # --- arguments ----------------------------------------------------------------------------------------------------

    def _picks(self, bands: Sequence[str]) -> tuple[int, ...]:
        """Numbers of some bands."""
        return tuple(self.bands.index(name) for name in self._cube.select(bands).bands)

    def _moment(self, t: Any) -> moments.Moment:
        return moments.resolve(t, self._cube)

    def _layer(self, layer: Any) -> str:
        if layer not in LAYERS:
            raise ParameterError(f"layer={layer!r}; expected one of {', '.join(LAYERS)}.")
        return str(layer)


def _reason(check: Callable[[], object]) -> str:
    """Why something is refused; nothing where it is not."""
    try:
        check()
    except XsrError as error:
        return str(error)
    return ""
