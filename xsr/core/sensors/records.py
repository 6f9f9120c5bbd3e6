"""Records of a sensor: its bands, with their names, sampling, wavelengths, MTF and noise.

Imports the standard library and :mod:`xsr.core.errors` only. The point spread function follows from the MTF, see
:func:`sigma_px`.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field

from xsr.core.errors import BandError, ParameterError


@dataclass(frozen=True, slots=True)
class SignalToNoise:
    """Signal-to-noise ratio of a band at a reference radiance."""

    ratio: float
    """Signal over the standard deviation of the noise at the reference."""

    radiance: float
    """Reference radiance at the top of the atmosphere in W/m2/sr/um."""

    irradiance: float
    """Solar irradiance in the band at 1 astronomical unit in W/m2/um."""

    source: str = ""
    """Where the numbers were published."""

    def reflectance(self, sun_zenith_deg: float = 0.0) -> float:
        """Top-of-atmosphere reflectance of the reference radiance, ``pi L / (E cos z)``.

        Examples
        --------
        >>> round(SignalToNoise(154.0, 128.0, 1959.75).reflectance(), 3)
        0.205
        """
        return math.pi * self.radiance / (self.irradiance * math.cos(math.radians(sun_zenith_deg)))


@dataclass(frozen=True, slots=True)
class Band:
    """One spectral band of a sensor.

    Raises
    ------
    ParameterError
        If a size or wavelength is not positive, or the MTF is not in (0, 1).

    Examples
    --------
    >>> Band("PS_Red", gsd_m=3.0, wavelength_nm=665.0, mtf=0.25, aliases=("red",)).mtf
    0.25
    """

    name: str
    """Canonical name, unique within its sensor (``B02`` for Sentinel-2, ``B2`` for Landsat)."""

    _: KW_ONLY

    gsd_m: float
    """Native ground sampling distance in metres."""

    wavelength_nm: float
    """Centre wavelength in nanometres."""

    bandwidth_nm: float | None = None
    """Full width at half maximum in nanometres; None if unpublished."""

    mtf: float | None = None
    """Modulation transfer function at the band's own Nyquist frequency, in (0, 1); None if unpublished."""

    aliases: tuple[str, ...] = ()
    """Other names for the band; compared without regard to case."""

    mtf_source: str = ""
    """Where ``mtf`` was published; empty where the sensor's ``source`` covers it."""

    noise: SignalToNoise | None = None
    """Signal-to-noise ratio; None if unpublished."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        sizes = {"gsd_m": self.gsd_m, "wavelength_nm": self.wavelength_nm, "bandwidth_nm": self.bandwidth_nm}
        for label, value in sizes.items():
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ParameterError(
                    f"band {self.name!r} has {label}={value}; expected a positive number. Give it in metres"
                    " (gsd) or nanometres (wavelength, bandwidth)."
                )
        if self.mtf is not None:
            _check_mtf(self.mtf, f"band {self.name!r} has ")
        object.__setattr__(self, "aliases", tuple(self.aliases))

    def sigma_m(self) -> float:
        """Compute the width of the Gaussian PSF of the band's own detector.

        Returns
        -------
        float
            Standard deviation in metres, ``gsd_m / pi * sqrt(-2 ln mtf)``.

        Raises
        ------
        ParameterError
            If the MTF of the band is unknown.

        Examples
        --------
        >>> round(Band("B02", gsd_m=10.0, wavelength_nm=490.0, mtf=0.304).sigma_m(), 2)
        4.91
        """
        if self.mtf is None:
            raise ParameterError(
                f"band {self.name!r} has no published MTF; expected a value in (0, 1)."
                " Give the MTF yourself, or register a sensor that has it."
            )
        return sigma_px(self.mtf, self.gsd_m)


@dataclass(frozen=True, slots=True)
class Sensor:
    """A sensor: its bands, and the names of each of them.

    Raises
    ------
    BandError
        If a name belongs to two bands.

    Examples
    --------
    >>> red = Band("C1_red", gsd_m=3.0, wavelength_nm=660.0, mtf=0.2, aliases=("red",))
    >>> Sensor("camera-1", bands=(red,), source="Data sheet of the maker.").band_names
    ('C1_red',)
    """

    name: str
    """Name of the sensor in lower case with hyphens, as in STAC (``sentinel-2a``, ``landsat-8``)."""

    bands: tuple[Band, ...]
    """Bands in order of their number."""

    source: str = ""
    """Where the numbers come from, and what is assumed where nothing is published."""

    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the names, so that each belongs to one band."""
        object.__setattr__(self, "bands", tuple(self.bands))
        index: dict[str, int] = {}
        for position, band in enumerate(self.bands):
            for label in (band.name, *band.aliases):
                key = _key(label)
                if index.setdefault(key, position) != position:
                    raise BandError(
                        f"sensor {self.name!r} gives the name {label!r} to bands"
                        f" {self.bands[index[key]].name} and {band.name}; expected one band per name."
                        " Remove the alias from one of them."
                    )
        object.__setattr__(self, "_index", index)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Canonical names of all bands, in order."""
        return tuple(band.name for band in self.bands)

    def band(self, name: str) -> Band:
        """Find a band by its canonical name or any alias, without regard to case.

        Parameters
        ----------
        name : str
            Name of the band, such as ``"B02"``, ``"b02"``, ``"B2"`` or ``"blue"``.

        Returns
        -------
        Band
            The band.

        Raises
        ------
        BandError
            If the sensor has no such band.

        Examples
        --------
        >>> camera = Sensor("camera-1", (Band("C1", gsd_m=3.0, wavelength_nm=490.0, aliases=("blue",)),))
        >>> camera.band("Blue").gsd_m
        3.0
        """
        position = self._index.get(_key(name))
        if position is None:
            raise BandError(
                f"{self.name} has no band {name!r}; expected one of {', '.join(self.band_names)}, or an alias"
                " of one (such as 'blue'). Rename the band, or name the sensor it belongs to."
            )
        return self.bands[position]

    def has(self, name: str) -> bool:
        """Whether the sensor has a band of that canonical name or alias."""
        return _key(name) in self._index

    def resolve(self, name: str) -> str:
        """Canonical name of a band.

        Parameters
        ----------
        name : str
            Canonical name or alias, without regard to case.

        Returns
        -------
        str
            Canonical name.

        Raises
        ------
        BandError
            If the sensor has no such band.

        Examples
        --------
        >>> Sensor("camera-1", (Band("C1", gsd_m=3.0, wavelength_nm=490.0, aliases=("blue",)),)).resolve("blue")
        'C1'
        """
        return self.band(name).name


def sigma_px(mtf: float, scale: float) -> float:
    r"""Width of the Gaussian PSF that has a given MTF at the low-resolution Nyquist frequency.

    Parameters
    ----------
    mtf : float
        Modulation at the Nyquist frequency of the low-resolution grid, in (0, 1).
    scale : float
        Low-resolution pixel size in the unit of the result: the scale factor for high-resolution
        pixels, the GSD in metres for metres. Positive.

    Returns
    -------
    float
        Standard deviation in high-resolution pixels (or in the unit of ``scale``).

    Raises
    ------
    ParameterError
        If ``mtf`` or ``scale`` is out of range.

    Notes
    -----
    The Gaussian of width :math:`\sigma` has :math:`MTF(\nu) = \exp(-2 \pi^2 \sigma^2 \nu^2)`. Requiring
    :math:`m` at :math:`\nu = 1 / (2 s)` gives :math:`\sigma = (s / \pi) \sqrt{-2 \ln m}`.

    Examples
    --------
    >>> round(sigma_px(0.3, 2), 3)
    0.988
    """
    _check_mtf(mtf)
    if not (math.isfinite(scale) and scale > 0):
        raise ParameterError(
            f"scale={scale}; expected a positive number. Give the linear factor between the two grids."
        )
    return scale / math.pi * math.sqrt(-2.0 * math.log(mtf))


def _key(name: str) -> str:
    return str(name).strip().casefold()


def _check_mtf(mtf: float, whose: str = "") -> None:
    """Refuse an MTF outside (0, 1)."""
    if not 0.0 < mtf < 1.0:
        raise ParameterError(
            f"{whose}mtf={mtf}; expected a number above 0 and below 1. Give the modulation at the Nyquist"
            " frequency of the band, typically 0.15 to 0.4."
        )
