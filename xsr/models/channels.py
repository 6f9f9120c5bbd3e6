"""The channels of a network: which bands they are, and how reflectance or kelvin become its numbers and come back.

``network = (value / step - mean) / std``, with ``step`` the value of one unit of the numbers that ``mean`` and ``std``
are in: 1 for reflectance and kelvin, 0.0001 for reflectance times ten thousand.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Channels:
    """Bands in the order of a network's channels, and their standardisation.

    Examples
    --------
    >>> import numpy as np
    >>> channels = Channels(("B03", "B04"), mean=(0.08, 0.09), std=(0.04, 0.07), optional=("B04",))
    >>> channels.select(["B04"])
    (1,)
    >>> channels.standardise(np.full((1, 1, 1), 0.16, np.float32), (1,)).ravel().round(6).tolist()
    [0.0, 1.0]
    """

    names: tuple[str, ...] = ()
    """Canonical names."""
    mean: tuple[float, ...] = ()
    """Subtracted from each band, in ``units``."""
    std: tuple[float, ...] = ()
    """Divides each band, in ``units``."""
    optional: tuple[str, ...] = ()
    """Bands that an image may lack; their channel is then held at the mean."""
    units: str = "1"
    """Units of ``mean`` and ``std`` as CF writes them: ``1`` for reflectance, ``0.0001`` for reflectance times ten
    thousand, ``K`` for temperature."""
    fill: tuple[float, ...] = ()
    """Reflectance or kelvin that stands in for no data far from valid pixels, by band; empty: the mean."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def step(self) -> float:
        """Reflectance or kelvin of one of ``units``."""
        return 1.0 if self.units == "K" else float(self.units)

    @property
    def constant(self) -> tuple[float, ...]:
        """Reflectance or kelvin of each channel that stands in for no data."""
        return self.fill or tuple(self.step * mean for mean in self.mean)

    def select(self, names: Sequence[str]) -> tuple[int, ...]:
        """Channel of each named band."""
        return tuple(self.names.index(name) for name in names)

    def fields(self, prefix: str = "") -> dict[str, tuple[Any, ...]]:
        """Give bands and standardisation one by one, as files name them."""
        named = {"bands": self.names, "optional": self.optional, "mean": self.mean, "std": self.std}
        return {f"{prefix}{name}": values for name, values in named.items()}

    def only(self, names: Sequence[str]) -> "Channels":
        """Record of some of the bands, in the order given."""
        picks = self.select(names)
        lists = (self.mean, self.std, self.fill)
        mean, std, fill = (tuple(values[i] for i in picks) if values else () for values in lists)
        optional = tuple(name for name in self.optional if name in names)
        return replace(self, names=tuple(names), mean=mean, std=std, fill=fill, optional=optional)

    def statistics(self, picks: Sequence[int] | None = None) -> tuple[Image, Image]:
        """Mean and standard deviation of some channels, all by default, shape (channel, 1, 1)."""
        chosen = list(range(len(self)) if picks is None else picks)
        mean, std = (np.array(values, np.float32)[chosen, None, None] for values in (self.mean, self.std))
        return mean, std

    def standardise(self, values: Image, picks: Sequence[int]) -> Image:
        """Turn bands into the numbers of the network.

        Parameters
        ----------
        values
            Reflectance or kelvin, shape (..., band, h, w).
        picks
            Channel of each band.

        Returns
        -------
        ndarray
            Shape (..., channel, h, w); zero, the mean, in channels without a band.
        """
        mean, std = self.statistics(picks)
        out = np.zeros((*values.shape[:-3], len(self), *values.shape[-2:]), np.float32)
        out[..., list(picks), :, :] = (values / np.float32(self.step) - mean) / std
        return out

    def restore(self, values: Image, picks: Sequence[int], base: Image | None = None) -> Image:
        """Turn numbers of the network into reflectance or kelvin, in place: new memory costs more than the arithmetic.

        Parameters
        ----------
        values
            Numbers of some channels, shape (..., band, h, w).
        picks
            Channel of each band.
        base
            What a network that makes a correction is added to, in reflectance or kelvin; None adds the mean.
        """
        mean, std = self.statistics(picks)
        values *= std
        if base is None:
            values += mean
        values *= np.float32(self.step)
        if base is not None:
            values += base
        return values


NO_CHANNELS = Channels()
