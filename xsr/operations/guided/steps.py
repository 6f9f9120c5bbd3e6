"""The steps of the guided operation, each from lazy images to lazy images."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsr.core import graph, grid
from xsr.core.cube import Cube
from xsr.core.errors import GridError, ModelError, ParameterError, XsrWarning
from xsr.kernels.footprint import Axis, Conserving
from xsr.kernels.resample import Interpolation
from xsr.kernels.response import ConservingResponse
from xsr.models.card import ModelCard
from xsr.models.registry import ModelSpec
from xsr.operations.guided import baselines, coregister, networks
from xsr.operations.guided.baselines import Chunks
from xsr.operations.guided.planes import Planes, cut, finite, planes_of

LEAST_OVERLAP = 0.05
"""Least share of a deviation that one correction removes; below, the pixels of the two grids are too alike."""
LEAST_CHUNK = 64
"""Least side of a block on the grid of the temperature, pixels."""
SLACK = 1.5
"""Factor by which a scale may leave the range of training before a warning."""


@dataclass(frozen=True)
class Estimate:
    """What a network or method makes of a temperature and its guide."""

    base: xr.DataArray
    """The temperature, interpolated: what stands where the guide is missing."""
    value: xr.DataArray
    """Kelvin, NaN where the guide is missing."""
    at_limit: xr.DataArray
    """Whether a network's last ReLU cut the value off."""

    def averaged(self, other: "Estimate") -> "Estimate":
        """Take the mean with another estimate; its flags stay."""
        return replace(self, value=(self.value + other.value) / 2)


@dataclass(frozen=True)
class Steps:
    """A temperature image, the grid of the result, and the chunks of both."""

    low: Planes
    geobox: GeoBox
    chunks: Chunks
    low_chunks: Chunks

    @classmethod
    def plan(cls, target: Cube, geobox: GeoBox, sizes: tuple[int, int]) -> "Steps":
        """Plan the steps towards a grid in chunks of some size (y, x); those of the temperature cover as much."""
        cell = grid.between(target.geobox, geobox).cell
        coarse = tuple(max(LEAST_CHUNK, math.ceil(size * share)) for size, share in zip(sizes, cell, strict=True))
        return cls(
            planes_of(target),
            geobox,
            target.block_sizes(geobox.shape.yx, sizes),
            target.towards(geobox).block_sizes(target.geobox.shape.yx, coarse),
        )

    @property
    def cell(self) -> tuple[float, float]:
        """Size of a pixel of the result in pixels of the temperature, (y, x)."""
        return grid.between(self.low.geobox, self.geobox).cell

    def interpolated(self, method: str) -> xr.DataArray:
        """Temperature on the grid of the result."""
        return self.low.to(self.geobox, Interpolation(method), self.chunks)

    def measure(self, guide: Planes) -> NDArray[np.float64]:
        """Displacement of the guide in pixels of the temperature, down and right, (time, 2); computed now.

        Raises
        ------
        ParameterError
            If guide and temperature have different CRSs.
        """
        if not guide.geobox.crs == self.low.geobox.crs == self.geobox.crs:
            raise ParameterError(
                "coregister=True with a guide or a result in another CRS; expected that of the cube. Reproject the"
                " cube first, or leave it out."
            )
        coarse = guide.onto(self.low.geobox, self.low_chunks)
        return np.asarray(graph.together(coregister.measure(self.low, coarse))[0])

    def bring(self, guide: Planes, shifts: NDArray[np.float64] | None) -> Planes:
        """Guide on the grid of the result, each date displaced back by its shift where that is known."""
        if shifts is None:
            return cut(guide, self.geobox).onto(self.geobox, self.chunks)
        unknown: NDArray[np.bool_] = np.isnan(shifts[:, 0])
        if unknown.any():
            warnings.warn(
                f"the guide of {unknown.sum()} of {len(shifts)} date(s) has too little texture to be registered to the"
                " cube; it is not moved.",
                XsrWarning,
                stacklevel=4,
            )
        moved = []
        for number, (down, right) in enumerate(np.where(unknown[:, None], 0.0, shifts).tolist()):
            one = Planes(guide.data.isel(time=[number]), guide.geobox)
            place = coregister.displaced(self.geobox, self.low.geobox, down, right)
            moved.append(one.onto(place, self.chunks).data)
        return Planes(xr.concat(moved, dim="time"), self.geobox)

    def by_method(self, method: str, guide: Planes | None) -> Estimate:
        """Sharpen without a network, by a guide on the grid of the result where the method reads one."""
        base = self.interpolated("bilinear" if method == "bilinear" else "bicubic")
        value = base
        both = self.low_chunks, self.chunks
        if guide is not None:
            sharpen = baselines.guided_filter if method == "guided_filter" else baselines.tsharp
            value = sharpen(self.low, guide, base, self.geobox, both)
        return Estimate(base, value, xr.zeros_like(base, bool))

    def by_network(
        self,
        card: ModelCard,
        spec: ModelSpec,
        device: str,
        bands: Sequence[str],
        guide: Planes | None,
        limits: tuple[float, float] | None,
    ) -> Estimate:
        """Sharpen by a network, in the range of each date, and by a guide on the grid of the result if it reads one."""
        self._warn_of_scale(card)
        factor = self._factor(card)
        function = networks.GuidedNetwork(
            spec,
            device,
            networks.lattice_of(card, factor or 1),
            card.guide,
            card.guide.select(bands),
            card.residual,
            networks.clips(card),
            factor,
            max(2, round(1 / max(self.cell))),
        )
        base, near = self.interpolated("bicubic"), self.interpolated("nearest")
        low, high, varies = networks.ranges(self.low.data, limits)
        layers = [((image - low) / (high - low)).astype(np.float32) for image in (base, near)]
        known = xr.ones_like(base, bool)
        if guide is not None:
            layers.append(guide.data)
            known = finite(guide.data).all("band").expand_dims("band", axis=1)
        made = Planes(xr.concat(layers, dim="band"), self.geobox).to(self.geobox, function, self.chunks)
        kelvin = (made.isel(band=[0]) * (high - low) + low).astype(np.float32)
        at_limit = made.isel(band=[1]) > 0
        return Estimate(base, kelvin.where(known).where(varies, base), at_limit & known & varies)

    def _factor(self, card: ModelCard) -> int | None:
        """Output pixels in one of the temperature for a network that reads it, None for others.

        Raises
        ------
        ModelError
            If the grids do not nest by a whole factor, or by one that the network does not know.
        """
        if not networks.reads_low(card):
            return None
        sampling = grid.between(self.low.geobox, self.geobox)
        factors = np.array([1 / size for size in sampling.cell])
        whole = round(float(factors[0]))
        corner = np.array(sampling.origin if isinstance(sampling, grid.Refinement) else math.nan)
        if not (np.allclose(factors, whole, atol=1e-6) and np.allclose(corner, np.rint(corner), atol=1e-6)):
            raise ModelError(
                f"model {card.name!r} reads the pixels of the cube themselves; expected a result of a whole factor with"
                " the corner at one of theirs. Use scale=, or another model."
            )
        if card.factor not in (None, whole):
            raise ModelError(f"model {card.name!r} has the factor {card.factor}; the result has {whole}.")
        return whole

    def _warn_of_scale(self, card: ModelCard) -> None:
        scale = 1 / max(self.cell)
        low, high = card.scale_range
        if not low / SLACK <= scale <= high * SLACK:
            warnings.warn(
                f"a factor of {scale:.3g} is far from those model {card.name!r} was trained for ({low:g} to {high:g})."
                " Compare with method='tsharp'.",
                XsrWarning,
                stacklevel=5,
            )

    def complete(self, estimate: Estimate) -> tuple[xr.DataArray, xr.DataArray]:
        """Put the interpolation where the guide is missing, and say how each value was made (uint8)."""
        missing = finite(estimate.base) & ~finite(estimate.value)
        flag = missing * np.uint8(networks.MISSING) + (estimate.at_limit & ~missing) * np.uint8(networks.AT_LIMIT)
        return estimate.value.where(~missing, estimate.base), flag.astype(np.uint8)

    def holding(self, power: int, mtf: float | None) -> Conserving:
        """Make the function that holds the means over the pixels of the temperature, or within a sensor's response.

        Raises
        ------
        GridError
            If the axes of the grids are not parallel, or their pixels are too alike.
        """
        sampling = grid.between(self.low.geobox, self.geobox)
        if not isinstance(sampling, grid.Refinement):
            raise GridError(
                "conserve= needs a result in the CRS of the cube, its axes parallel; the means over its pixels cannot"
                " be held exactly on another grid. Pass conserve=None, or name a grid by scale= or resolution=."
            )
        places = zip(sampling.cell, sampling.origin, sampling.shape, self.low.geobox.shape.yx, strict=True)
        rows, cols = (Axis(*place) for place in places)
        function = Conserving(rows, cols, power) if mtf is None else ConservingResponse(rows, cols, power, mtf=mtf)
        if function.overlap < LEAST_OVERLAP:
            raise GridError(
                f"conserve= with pixels {1 / max(sampling.cell):.3g} times finer that do not nest in those of the cube;"
                " expected a factor of at least 1.5, or a whole one and the same corner. Pass conserve=None."
            )
        return function

    def hold(self, result: xr.DataArray, function: Conserving) -> xr.DataArray:
        """Hold the means of a result; see `holding`."""
        both = xr.concat([result, self.interpolated("nearest")], dim="band")
        return Planes(both, self.geobox).to(self.geobox, function, self.chunks).isel(band=[0])
