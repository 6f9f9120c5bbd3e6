"""Table of Sentinel-2 (MSI): one entry for the family, and the measured wavelengths of its satellites."""

from collections.abc import Iterable

from xsr.core.sensors.records import Band, Sensor, SignalToNoise

_SET_A = "CNES sensorsio, Sentinel2.MTF (Sentinel-2A and -2B)"
_SET_B = "demonstration code of SupReME and S2Sharp, MTF by band"

# Canonical name: aliases, GSD (m), MTF at Nyquist, source of the MTF.
BANDS: dict[str, tuple[tuple[str, ...], float, float | None, str]] = {
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
DEA_PREFIXES = ("nbart", "nbar")
DEA_ALONE = frozenset(("nir_1", "nir_2", "swir_3", "red_edge_1", "red_edge_2", "red_edge_3"))
"""Words of its Sentinel-2 that its Landsat does not have."""

# Canonical name: further words. ULTRABLUE and BROADNIR: FORCE; NIR_Broad and NIR_Narrow: HLS (User Guide 2.0, S30);
# nir_1 and nir_2: Digital Earth Australia and Africa without prefix.
_S2_WORDS: dict[str, tuple[str, ...]] = {
    "B01": ("ultrablue",),
    "B08": ("nir_1", "nir_broad", "broad_nir", "broadnir"),
    "B8A": ("nir_2", "nir_narrow"),
}

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

# Centre wavelength and bandwidth (nm) by band, in the order of BANDS.
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
        for (band, (aliases, gsd_m, mtf, mtf_source)), (centre, width) in zip(BANDS.items(), spectral, strict=True)
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
        *(f"{prefix}_{word}" for prefix in DEA_PREFIXES for word in words),
        *_S2_WORDS.get(band, ()),
    )


SENSORS = (
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
)
