"""Bands of optical sensors: names and aliases, sampling, wavelengths and MTF.

One table answers what a band is called and how sharp it is. Imports the standard library and
:mod:`xsr.core.errors` only. A satellite is never enumerated: an unknown unit of a known family
(``sentinel-2d``) gets the table of the family. The point spread function follows from the MTF, see
:func:`sigma_px`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from xsr.core.errors import BandError, ParameterError

__all__ = [
    "Band",
    "Sensor",
    "SignalToNoise",
    "TemperatureProduct",
    "by_colour",
    "canonical",
    "canonical_band",
    "canonical_names",
    "doubt",
    "get",
    "names",
    "register",
    "sigma_px",
]


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
        >>> round(get("sentinel-2").band("B02").noise.reflectance(), 3)
        0.205
        """
        return math.pi * self.radiance / (self.irradiance * math.cos(math.radians(sun_zenith_deg)))


@dataclass(frozen=True, slots=True)
class Band:
    """One spectral band of a sensor."""

    name: str
    """Canonical name, unique within its sensor (``B02`` for Sentinel-2, ``B2`` for Landsat)."""

    aliases: tuple[str, ...]
    """Other names for the band; compared without regard to case."""

    gsd_m: float
    """Native ground sampling distance in metres."""

    wavelength_nm: float
    """Centre wavelength in nanometres."""

    bandwidth_nm: float
    """Full width at half maximum in nanometres."""

    mtf: float | None
    """Modulation transfer function at the band's own Nyquist frequency, in (0, 1); None if unpublished."""

    mtf_source: str = ""
    """Where ``mtf`` was published; empty where the sensor's ``source`` covers it."""

    noise: SignalToNoise | None = None
    """Signal-to-noise ratio; None if unpublished."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for label, value in (
            ("gsd_m", self.gsd_m),
            ("wavelength_nm", self.wavelength_nm),
            ("bandwidth_nm", self.bandwidth_nm),
        ):
            if not (math.isfinite(value) and value > 0):
                raise ParameterError(
                    f"band {self.name!r} has {label}={value}; expected a positive number. Give it in metres"
                    " (gsd) or nanometres (wavelength, bandwidth)."
                )
        if self.mtf is not None:
            _check_mtf(self.mtf)

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
        >>> round(get("sentinel-2").band("B02").sigma_m(), 2)
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
    """A sensor: its bands, and the name each of them answers to."""

    name: str
    """Name of the sensor in lower case with hyphens, as in STAC (``sentinel-2a``, ``landsat-8``)."""

    bands: tuple[Band, ...]
    """Bands in order of their number."""

    source: str
    """Where the numbers come from, and what is assumed where nothing is published."""

    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the names, so that each belongs to one band."""
        index: dict[str, int] = {}
        for position, band in enumerate(self.bands):
            for label in (band.name, *band.aliases):
                key = label.casefold()
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
        >>> get("sentinel-2").band("blue").gsd_m
        10.0
        """
        position = self._index.get(str(name).strip().casefold())
        if position is None:
            raise BandError(
                f"{self.name} has no band {name!r}; expected one of {', '.join(self.band_names)}, or an alias"
                " of one (such as 'blue'). Rename the band, or name the sensor it belongs to."
            )
        return self.bands[position]

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
        >>> get("landsat-8").resolve("blue")
        'B2'
        """
        return self.band(name).name


def get(name: str) -> Sensor:
    """Find a sensor.

    Parameters
    ----------
    name : str
        Name of the sensor, without regard to case, spaces or underscores; ``"S2A"`` is short for
        ``"sentinel-2a"``. A Sentinel-2 unit without its own table gets the generic one.

    Returns
    -------
    Sensor
        The registered sensor.

    Raises
    ------
    ParameterError
        If no sensor of that name is registered.

    Examples
    --------
    >>> get("S2D").name
    'sentinel-2'
    """
    key = _sensor_key(name)
    if key in _SENSORS:
        return _SENSORS[key]
    if re.fullmatch(r"sentinel-2[a-z]", key):
        return _SENSORS["sentinel-2"]
    raise ParameterError(
        f"sensor {name!r} is not registered; expected one of {', '.join(names())}."
        " Add it with xsr.core.sensors.register()."
    )


def names() -> tuple[str, ...]:
    """Names of all registered sensors.

    Returns
    -------
    tuple of str
        Names in alphabetical order.
    """
    return tuple(sorted(_SENSORS))


def register(sensor: Sensor, *, overwrite: bool = False) -> None:
    """Add a sensor, so that its name can be used wherever xsr asks for one.

    Parameters
    ----------
    sensor : Sensor
        The sensor to add.
    overwrite : bool, default False
        Replace a sensor of the same name.

    Raises
    ------
    ParameterError
        If the name is taken and ``overwrite`` is False.
    """
    key = _sensor_key(sensor.name)
    if key in _SENSORS and not overwrite:
        raise ParameterError(
            f"sensor {sensor.name!r} is registered already; expected a new name."
            " Choose another, or pass overwrite=True to replace it."
        )
    _SENSORS[key] = sensor


def canonical_band(name: str, sensor: str | Sensor = "sentinel-2") -> str:
    """Canonical name of a band of a sensor.

    Parameters
    ----------
    name : str
        Canonical name or alias, without regard to case.
    sensor : str or Sensor, default "sentinel-2"
        The sensor, or its name.

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
    >>> canonical_band("b2"), canonical_band("nir"), canonical_band("nir", "landsat-9")
    ('B02', 'B08', 'B5')
    """
    found = sensor if isinstance(sensor, Sensor) else get(sensor)
    return found.resolve(name)


def canonical(name: str) -> str:
    """Canonical name of a Sentinel-2 band, or the name itself where the alias table does not know it."""
    try:
        return canonical_band(name)
    except BandError:
        return name


def canonical_names(labels: Sequence[str], hints: Sequence[str] = ()) -> tuple[str, ...]:
    """Canonical Sentinel-2 names of the bands of one cube, each read beside the others.

    Some words depend on the product: ``swir_2`` is B11 where Digital Earth Australia delivers Sentinel-2 (beside
    ``swir_3``), and like B12 elsewhere (beside ``swir_1``); FORCE calls B8A ``NIR`` (beside ``BROADNIR``).

    Parameters
    ----------
    labels : sequence of str
        Names of the bands.
    hints : sequence of str, optional
        A second name for each, such as the common name of STAC, that counts where the first is not known and it is.

    Returns
    -------
    tuple of str
        Canonical names, or the label itself where it is not known or could be two bands.

    Examples
    --------
    >>> canonical_names(["nbart_blue", "nbart_nir_1", "nbart_swir_2"])
    ('B02', 'B08', 'B11')
    >>> canonical_names(["nbart_blue", "nbart_nir", "nbart_swir_2"])  # Landsat
    ('B02', 'B08', 'B12')
    """
    read = _read_together(labels)
    counts = Counter(read)
    repeated = [counts[name] > 1 and _band_of(label) != label for label, name in zip(labels, read, strict=True)]
    found = [label if again else name for label, name, again in zip(labels, read, repeated, strict=True)]  # dates
    second = [canonical(_band_of(hint)) for hint in hints]
    for place, hint in enumerate(second):
        if hint in _S2_BANDS and second.count(hint) == 1 and hint not in found and found[place] not in _S2_BANDS:
            found[place] = hint
    return tuple(found)


def _read_together(labels: Sequence[str]) -> list[str]:
    """Canonical names of bands, of which each is read beside the words with the same prefix."""
    parts = [_split(label) for label in labels]
    beside = {prefix: frozenset(word for start, word in parts if start == prefix) for prefix in dict(parts)}
    return [
        _in_context(label, word, beside[prefix], prefixed=bool(prefix))
        for label, (prefix, word) in zip(labels, parts, strict=True)
    ]


def _in_context(label: str, word: str, others: frozenset[str], *, prefixed: bool) -> str:
    """Canonical name of a band among others; the label itself where it is not known or could be two bands."""
    if word == "swir_2":
        australian = bool(others & (_DEA_ALONE if prefixed else {"nir_1", "swir_3"}))
        elsewhere = bool(others & {"swir_1", "nir"})
        if australian != elsewhere:
            return "B11" if australian else "B12"
        return label if prefixed or australian else canonical(word)
    if word == "swir_3":
        return "B12" if prefixed or others & {"swir_2", "nir_1"} else label
    if word == "nir" and "broadnir" in others:
        return "B8A"
    known = canonical(label) != label or label in _S2_BANDS or canonical(word) == word
    return canonical(label) if known else canonical(word)


def _split(label: str) -> tuple[str, str]:
    """Prefix of Digital Earth Australia, and the rest in lower case."""
    match = re.fullmatch(rf"({'|'.join(_DEA_PREFIXES)})_(.+)", label.strip(), re.IGNORECASE)
    return ("", _band_of(label).strip().casefold()) if match is None else (match[1].casefold(), match[2].casefold())


def _band_of(label: str) -> str:
    """Name of the band in GDAL's descriptions and names of files; the label itself where it is neither."""
    found = (pattern.fullmatch(label.strip()) for pattern in _LONG_NAMES)
    return next((match[1] for match in found if match is not None), label)


def doubt(label: str) -> str:
    """Say what is known of a band name that means no Sentinel-2 band by itself; empty if nothing is.

    Examples
    --------
    >>> doubt("blu"), doubt("quality")
    ("Did you mean B02 ('blue') by 'blu'?", '')
    """
    word = _split(label)[1]
    if word == "swir_2":
        return f"{label!r} is B11 of Sentinel-2 and like B12 of Landsat at Digital Earth Australia."
    if re.fullmatch(r"(sr|st)_(b\d+|qa\w*)", word):
        return f"{label!r} is a name of Landsat, whose numbers mean other bands from satellite to satellite."
    if canonical(label) in _S2_BANDS:
        return ""
    digits = re.sub(r"\D", "", word)
    table = get("sentinel-2")
    words = {key: band.name for band in table.bands for key in (band.name, *band.aliases)}
    same = [key for key in words if re.sub(r"\D", "", key) == digits]  # another number is another band
    near = difflib.get_close_matches(word, [key.casefold() for key in same], n=1, cutoff=0.75)
    found = next((key for key in same if near and key.casefold() == near[0]), None)
    return "" if found is None else f"Did you mean {words[found]} ({found!r}) by {label!r}?"


def by_colour(name: str, sensor: str | Sensor) -> str:
    """Canonical Sentinel-2 name of the band that another sensor's band resembles, or the name itself.

    Parameters
    ----------
    name : str
        Canonical name or alias of a band of ``sensor``, or any other name.
    sensor : str or Sensor
        The sensor that numbers its bands in its own way.

    Examples
    --------
    The near infrared is the fifth band of Landsat 8, and the eighth of Sentinel-2:

    >>> by_colour("B5", "landsat-8"), by_colour("B5", "sentinel-2"), by_colour("red", "landsat-8")
    ('B08', 'B05', 'B04')
    """
    found = sensor if isinstance(sensor, Sensor) else get(sensor)
    if found.name.startswith("sentinel-2"):
        return canonical(name)
    try:
        words = [alias for alias in found.band(name).aliases if not re.fullmatch(r"(\w+_)?[Bb]\d+\w?", alias)]
    except BandError:
        return canonical(name)
    return next((canonical(word) for word in words if canonical(word) != word), name)


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
    The Gaussian of width :math:`\sigma` has :math:`MTF(\nu) = \exp(-2 \pi^2 \sigma^2 \nu^2)`. Asking for
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


def _check_mtf(mtf: float) -> None:
    """Refuse an MTF outside (0, 1)."""
    if not 0.0 < mtf < 1.0:
        raise ParameterError(
            f"mtf={mtf}; expected a number above 0 and below 1. Give the modulation at the Nyquist"
            " frequency of the band, typically 0.15 to 0.4."
        )


def _sensor_key(name: str) -> str:
    """Spell a sensor name as the registry does: ``S2A``, ``Sentinel_2A`` and ``sentinel2a`` agree."""
    key = re.sub(r"[\s_]+", "-", str(name).strip().casefold())
    key = re.sub(r"^(?:sentinel-?|s)2(?=-?[a-z]?$)-?", "sentinel-2", key)
    return re.sub(r"^landsat-?(?=\d)", "landsat-", key)


_SET_A = "CNES sensorsio, Sentinel2.MTF (Sentinel-2A and -2B)"
_SET_B = "demonstration code of SupReME and S2Sharp, MTF by band"

# Canonical name: aliases, GSD (m), MTF at Nyquist, source of the MTF.
_S2_BANDS: dict[str, tuple[tuple[str, ...], float, float | None, str]] = {
    "B01": (("B1", "coastal", "coastal_aerosol"), 60.0, 0.32, _SET_B),
    "B02": (("B2", "blue"), 10.0, 0.304, _SET_A),
    "B03": (("B3", "green"), 10.0, 0.276, _SET_A),
    "B04": (("B4", "red"), 10.0, 0.233, _SET_A),
    "B05": (("B5", "rededge1", "red_edge_1", "rededge071"), 20.0, 0.343, _SET_A),
    "B06": (("B6", "rededge2", "red_edge_2", "rededge075"), 20.0, 0.336, _SET_A),
    "B07": (("B7", "rededge3", "red_edge_3", "rededge078"), 20.0, 0.338, _SET_A),
    "B08": (("B8", "nir"), 10.0, 0.222, _SET_A),
    "B8A": (("B08A", "nir08", "narrow_nir"), 20.0, 0.325, _SET_A),
    "B09": (("B9", "nir09", "water_vapour", "water_vapor"), 60.0, 0.39, _SET_A),
    "B10": (("cirrus",), 60.0, None, ""),
    "B11": (("swir16", "swir1", "swir_1"), 20.0, 0.21, _SET_A),
    "B12": (("swir22", "swir2", "swir_2"), 20.0, 0.19, _SET_A),
}

# Canonical name: its words in products of Digital Earth Australia (ga_s2am_ard_3 and its predecessors), written there
# with the prefix nbart_ or nbar_. Its swir_2 is not that of Landsat, which the same organisation delivers likewise.
_DEA_BANDS: dict[str, tuple[str, ...]] = {
    "B01": ("coastal_aerosol",),
    "B02": ("blue",),
    "B03": ("green",),
    "B04": ("red",),
    "B05": ("red_edge_1",),
    "B06": ("red_edge_2",),
    "B07": ("red_edge_3",),
    "B08": ("nir_1", "common_nir"),
    "B8A": ("nir_2",),
    "B11": ("swir_2", "common_swir_1"),
    "B12": ("swir_3", "common_swir_2"),
}
_DEA_PREFIXES = ("nbart", "nbar")
_DEA_ALONE = frozenset(("nir_1", "nir_2", "swir_3", "red_edge_1", "red_edge_2", "red_edge_3"))
"""Words of its Sentinel-2 that its Landsat does not have."""

# Canonical name: further words. ULTRABLUE and BROADNIR: FORCE; NIR_Broad and NIR_Narrow: HLS (User Guide 2.0, S30);
# nir_1 and nir_2: Digital Earth Australia and Africa without prefix.
_S2_WORDS: dict[str, tuple[str, ...]] = {
    "B01": ("ultrablue",),
    "B08": ("nir_1", "nir_broad", "broad_nir", "broadnir"),
    "B8A": ("nir_2", "nir_narrow"),
}
_LONG_NAMES = (
    re.compile(r"(B\w{1,2}), central wavelength \d+ nm"),  # GDAL's driver of Sentinel-2
    # Files of SAFE, and what toBands of Earth Engine makes of them.
    re.compile(r"(?:\w+_)?T\d{2}[A-Z]{3}(?:_\d{8}T\d{6})?_(B\w{1,2})(?:_\d{2}m)?"),
)
"""Descriptions and names of files that hold the name of a Sentinel-2 band."""

_SNR_SOURCE = (
    "Ratio and reference radiance: requirements of the ESA Sentinel-2 User Handbook and User Guide (spatial resolution"
    " tables, Lref and SNR at Lref), which the satellites exceed. Solar irradiance: metadata of the Level-1C product"
    " S2B_MSIL1C_20200614T104629_N0209_R051_T31UDS."
)

# Signal-to-noise ratio at the reference radiance, that radiance (W/m2/sr/um) and the solar irradiance (W/m2/um).
_S2_NOISE: dict[str, tuple[float, float, float]] = {
    "B01": (129.0, 129.0, 1874.30),
    "B02": (154.0, 128.0, 1959.75),
    "B03": (168.0, 128.0, 1824.93),
    "B04": (142.0, 108.0, 1512.79),
    "B05": (117.0, 74.5, 1425.78),
    "B06": (89.0, 68.0, 1291.13),
    "B07": (105.0, 67.0, 1175.57),
    "B08": (174.0, 103.0, 1041.28),
    "B8A": (72.0, 52.5, 953.93),
    "B09": (114.0, 9.0, 817.58),
    "B10": (50.0, 6.0, 365.41),
    "B11": (100.0, 4.0, 247.08),
    "B12": (100.0, 1.5, 87.75),
}

# Centre wavelength and bandwidth (nm) by band, in the order of _S2_BANDS.
_S2_NOMINAL = (
    (443.0, 20.0),
    (490.0, 65.0),
    (560.0, 35.0),
    (665.0, 30.0),
    (705.0, 15.0),
    (740.0, 15.0),
    (783.0, 20.0),
    (842.0, 115.0),
    (865.0, 20.0),
    (945.0, 20.0),
    (1375.0, 30.0),
    (1610.0, 90.0),
    (2190.0, 180.0),
)
_S2A_MEASURED = (
    (442.7, 21.0),
    (492.4, 66.0),
    (559.8, 36.0),
    (664.6, 31.0),
    (704.1, 15.0),
    (740.5, 15.0),
    (782.8, 20.0),
    (832.8, 106.0),
    (864.7, 21.0),
    (945.1, 20.0),
    (1373.5, 31.0),
    (1613.7, 91.0),
    (2202.4, 175.0),
)
_S2B_MEASURED = (
    (442.2, 21.0),
    (492.1, 66.0),
    (559.0, 36.0),
    (664.9, 31.0),
    (703.8, 16.0),
    (739.1, 15.0),
    (779.7, 20.0),
    (832.9, 106.0),
    (864.0, 22.0),
    (943.2, 21.0),
    (1376.9, 30.0),
    (1610.4, 94.0),
    (2185.7, 185.0),
)

_MTF_NOTE = f"MTF: {_SET_A}, where it has the band; B01: {_SET_B}; B10: none published."
_SRF = "ESA Sentinel-2 spectral responses, COPE-GSEG-EOPG-TN-15-0007"

# Canonical name: aliases, GSD (m), centre (nm), bandwidth (nm).
_OLI = "B1 to B9: Barsi et al. 2014, doi:10.3390/rs61010232 (OLI relative spectral response)"
_TIRS = "B10, B11: USGS band edges, centre taken half-way"
_LANDSAT_BANDS: dict[str, tuple[tuple[str, ...], float, float, float]] = {
    "B1": (("B01", "coastal", "coastal_aerosol"), 30.0, 442.96, 15.98),
    "B2": (("B02", "blue"), 30.0, 482.04, 60.04),
    "B3": (("B03", "green"), 30.0, 561.41, 57.33),
    "B4": (("B04", "red"), 30.0, 654.59, 37.47),
    "B5": (("B05", "nir", "nir08"), 30.0, 864.67, 28.25),
    "B6": (("B06", "swir16", "swir1", "swir_1"), 30.0, 1608.86, 84.72),
    "B7": (("B07", "swir22", "swir2", "swir_2"), 30.0, 2200.73, 186.66),
    "B8": (("B08", "pan", "panchromatic"), 15.0, 589.50, 172.40),
    "B9": (("B09", "cirrus"), 30.0, 1373.43, 20.39),
    "B10": (("lwir11", "lwir", "tirs1", "thermal"), 100.0, 10895.0, 590.0),
    "B11": (("lwir12", "tirs2"), 100.0, 12005.0, 1010.0),
}


def _sentinel2(name: str, spectral: Iterable[tuple[float, float]], source: str) -> Sensor:
    """Sentinel-2 table with the given centre wavelengths and bandwidths."""
    bands = tuple(
        Band(
            name=band,
            aliases=(*aliases, *_spellings(band)),
            gsd_m=gsd_m,
            wavelength_nm=centre,
            bandwidth_nm=width,
            mtf=mtf,
            mtf_source=mtf_source,
            noise=SignalToNoise(*_S2_NOISE[band], source=_SNR_SOURCE),
        )
        for (band, (aliases, gsd_m, mtf, mtf_source)), (centre, width) in zip(_S2_BANDS.items(), spectral, strict=True)
    )
    return Sensor(name=name, bands=bands, source=f"{source} {_MTF_NOTE}")


def _spellings(band: str) -> tuple[str, ...]:
    """Names of a Sentinel-2 band in products; ``TOC-`` is Terrascope's, in openEO, too."""
    sizes = tuple(f"{band}_{gsd}m" for gsd in (10, 20, 60))
    words = (*_DEA_BANDS.get(band, ()), f"band{band[1:]}", band)
    return (
        *sizes,
        *(f"TOC-{name}" for name in (band, *sizes)),
        f"S2_{band}",
        *(f"{prefix}_{word}" for prefix in _DEA_PREFIXES for word in words),
        *_S2_WORDS.get(band, ()),
    )


def _landsat(name: str, source: str) -> Sensor:
    """Landsat OLI and TIRS table."""
    bands = tuple(
        Band(band, (*aliases, *_landsat_spellings(band, aliases)), gsd_m, centre, width, None)
        for band, (aliases, gsd_m, centre, width) in _LANDSAT_BANDS.items()
    )
    return Sensor(name=name, bands=bands, source=source)


def _landsat_spellings(band: str, words: Sequence[str]) -> tuple[str, ...]:
    """Names of a Landsat band in Collection 2 of the USGS, and at Digital Earth Australia (ga_ls8c_ard_3)."""
    levels = ("SR", "ST") if {"thermal", "tirs2"} & set(words) else ("SR",)
    return (*(f"{level}_{band}" for level in levels), *(f"{p}_{word}" for p in _DEA_PREFIXES for word in words))


def _by_edges(name: str, source: str, bands: dict[str, tuple[tuple[str, ...], float, float, float]]) -> Sensor:
    """Table of a sensor from the edges of its bands: aliases, GSD (m), shortest and longest wavelength (um)."""
    more = _landsat_spellings if name.startswith("landsat") else lambda band, words: ()
    table = tuple(
        Band(
            band, (*words, *more(band, words)), gsd_m, round(500 * (low + high), 3), round(1000 * (high - low), 3), None
        )
        for band, (words, gsd_m, low, high) in bands.items()
    )
    return Sensor(name, table, f"{source} MTF: none.")


_TM: dict[str, tuple[tuple[str, ...], float, float, float]] = {
    "B1": (("B01", "blue"), 30.0, 0.45, 0.52),
    "B2": (("B02", "green"), 30.0, 0.52, 0.60),
    "B3": (("B03", "red"), 30.0, 0.63, 0.69),
    "B4": (("B04", "nir", "nir08"), 30.0, 0.76, 0.90),
    "B5": (("B05", "swir16", "swir1", "swir_1"), 30.0, 1.55, 1.75),
    "B6": (("B06", "lwir", "thermal"), 120.0, 10.40, 12.50),
    "B7": (("B07", "swir22", "swir2", "swir_2"), 30.0, 2.08, 2.35),
}
_ETM: dict[str, tuple[tuple[str, ...], float, float, float]] = {
    **_TM,
    "B6": (("B06", "lwir", "thermal", "B6_VCID_1", "B6_VCID_2"), 60.0, 10.40, 12.50),
    "B8": (("B08", "pan", "panchromatic"), 15.0, 0.52, 0.90),
}
_MODIS: dict[str, tuple[tuple[str, ...], float, float, float]] = {
    "B1": (("B01", "red"), 250.0, 0.620, 0.670),
    "B2": (("B02", "nir", "nir08"), 250.0, 0.841, 0.876),
    "B3": (("B03", "blue"), 500.0, 0.459, 0.479),
    "B4": (("B04", "green"), 500.0, 0.545, 0.565),
    "B5": (("B05",), 500.0, 1.230, 1.250),
    "B6": (("B06", "swir16", "swir1", "swir_1"), 500.0, 1.628, 1.652),
    "B7": (("B07", "swir22", "swir2", "swir_2"), 500.0, 2.105, 2.155),
    "B31": (("lwir11", "thermal"), 1000.0, 10.780, 11.280),
    "B32": (("lwir12",), 1000.0, 11.770, 12.270),
}
_AMI: dict[str, tuple[tuple[str, ...], float, float, float]] = {
    "VI004": (("blue",), 1000.0, 0.450, 0.490),
    "VI005": (("green",), 1000.0, 0.495, 0.523),
    "VI006": (("red",), 500.0, 0.599, 0.679),
    "VI008": (("nir", "nir08"), 1000.0, 0.846, 0.880),
    "NR013": (("cirrus",), 2000.0, 1.363, 1.377),
    "NR016": (("swir16", "swir1", "swir_1"), 2000.0, 1.590, 1.630),
    "SW038": ((), 2000.0, 3.740, 3.920),
    "WV063": ((), 2000.0, 5.790, 6.630),
    "WV069": ((), 2000.0, 6.740, 7.140),
    "WV073": ((), 2000.0, 7.240, 7.420),
    "IR087": ((), 2000.0, 8.415, 8.765),
    "IR096": ((), 2000.0, 9.430, 9.810),
    "IR105": (("thermal",), 2000.0, 10.115, 10.585),
    "IR112": (("lwir11",), 2000.0, 10.900, 11.560),
    "IR123": (("lwir12",), 2000.0, 11.805, 12.915),
    "IR133": ((), 2000.0, 13.005, 13.575),
}
# Name: aliases, centre (nm), bandwidth (nm); all of 250 m.
_GOCI2: dict[str, tuple[tuple[str, ...], float, float]] = {
    "B1": ((), 380.0, 20.0),
    "B2": ((), 412.0, 20.0),
    "B3": (("coastal", "coastal_aerosol"), 443.0, 20.0),
    "B4": (("blue",), 490.0, 20.0),
    "B5": ((), 510.0, 20.0),
    "B6": (("green",), 555.0, 20.0),
    "B7": ((), 620.0, 20.0),
    "B8": (("red",), 660.0, 20.0),
    "B9": ((), 680.0, 10.0),
    "B10": (("rededge1", "red_edge_1"), 709.0, 10.0),
    "B11": ((), 745.0, 20.0),
    "B12": (("nir", "nir08"), 865.0, 40.0),
}
# Name: centre (nm), bandwidth (nm); all of 70 m.
_ECOSTRESS = {
    "B1": (8290.0, 354.0),
    "B2": (8780.0, 310.0),
    "B3": (9200.0, 396.0),
    "B4": (10490.0, 410.0),
    "B5": (12090.0, 611.0),
}


@dataclass(frozen=True, slots=True)
class TemperatureProduct:
    """How a product of surface temperature stores kelvin: ``number * scale + offset``; the number 0 is no data."""

    scale: float
    offset: float
    sensor: str
    """Sensor that sees it."""
    gsd_m: float
    """Pixel size in metres of the product, which may be finer than the sensor's."""
    source: str


TEMPERATURE_PRODUCTS = {
    "landsat-c2-st": TemperatureProduct(
        0.00341802,
        149.0,
        "landsat-8",
        30.0,
        "USGS Landsat Collection 2 Level-2 surface temperature (ST_B10 of Landsat 8 and 9, ST_B6 of 4, 5 and 7), whose"
        " 30 m pixels are resampled from the 100 m, 120 m or 60 m of the sensor",
    ),
    "modis-lst": TemperatureProduct(
        0.02, 0.0, "modis", 1000.0, "NASA MOD11, MYD11 and MYD21 land surface temperature (LST_1KM, LST_Day_1km)"
    ),
    "ecostress-lst": TemperatureProduct(
        0.02, 0.0, "ecostress", 70.0, "NASA ECO2LSTE version 1, ECO_L2_LSTE version 2, land surface temperature"
    ),
}
"""Stored numbers of temperature products, by name."""

_SENSORS: dict[str, Sensor] = {
    sensor.name: sensor
    for sensor in (
        _sentinel2(
            "sentinel-2",
            _S2_NOMINAL,
            "Wavelengths: nominal design values of the ESA Sentinel-2 User Handbook.",
        ),
        _sentinel2("sentinel-2a", _S2A_MEASURED, f"Wavelengths: {_SRF}, Sentinel-2A."),
        _sentinel2("sentinel-2b", _S2B_MEASURED, f"Wavelengths: {_SRF}, Sentinel-2B."),
        _sentinel2(
            "sentinel-2c",
            _S2_NOMINAL,
            "Wavelengths: nominal Sentinel-2 design values, assumed; the MTF is that of its predecessors.",
        ),
        _landsat("landsat-8", f"{_OLI}; {_TIRS}. MTF: none."),
        _landsat("landsat-9", f"{_OLI}, assumed for OLI-2; {_TIRS}, assumed for TIRS-2. MTF: none."),
        _by_edges("landsat-4", "TM: USGS band edges, centres taken half-way.", _TM),
        _by_edges("landsat-5", "TM: USGS band edges, centres taken half-way.", _TM),
        _by_edges("landsat-7", "ETM+: USGS band edges of TM and of the panchromatic band, centres half-way.", _ETM),
        _by_edges("modis", "NASA MODIS band edges; bands 1 to 7, 31 and 32 of 36.", _MODIS),
        _by_edges("gk2a-ami", "Channel table of AMI on GEO-KOMPSAT-2A (eoPortal, Geo-Kompsat-2).", _AMI),
        Sensor(
            "gk2b-goci2",
            tuple(Band(name, words, 250.0, centre, width, None) for name, (words, centre, width) in _GOCI2.items()),
            "Band table of GOCI-II on GEO-KOMPSAT-2B, Korea Ocean Satellite Center (nosc.go.kr), without the"
            " panchromatic band. MTF: none.",
        ),
        Sensor(
            "ecostress",
            tuple(Band(name, (), 70.0, *numbers, None) for name, numbers in _ECOSTRESS.items()),
            "Nominal centres of the five thermal bands of ECOSTRESS; bandwidths of the instrument's description, not"
            " checked against its spectral responses. MTF: none.",
        ),
    )
}
