"""Tables of Landsat: OLI and TIRS (8 and 9), ETM+ (7), TM (4 and 5)."""

from dataclasses import replace

from xsr.core.sensors.records import Band, Sensor
from xsr.core.sensors.tables.edges import by_edges
from xsr.core.sensors.tables.sentinel2 import DEA_PREFIXES


def _spelled(band: Band) -> Band:
    """Band with its names in Collection 2 of the USGS, and at Digital Earth Australia (ga_ls8c_ard_3)."""
    levels = ("SR", "ST") if {"thermal", "tirs2"} & set(band.aliases) else ("SR",)
    products = (f"{level}_{band.name}" for level in levels)
    australian = (f"{prefix}_{word}" for prefix in DEA_PREFIXES for word in band.aliases)
    return replace(band, aliases=(*band.aliases, *products, *australian))


_OLI_TIRS = (
    Band("B1", gsd_m=30.0, wavelength_nm=442.96, bandwidth_nm=15.98, aliases=("B01", "coastal", "coastal_aerosol")),
    Band("B2", gsd_m=30.0, wavelength_nm=482.04, bandwidth_nm=60.04, aliases=("B02", "blue")),
    Band("B3", gsd_m=30.0, wavelength_nm=561.41, bandwidth_nm=57.33, aliases=("B03", "green")),
    Band("B4", gsd_m=30.0, wavelength_nm=654.59, bandwidth_nm=37.47, aliases=("B04", "red")),
    Band("B5", gsd_m=30.0, wavelength_nm=864.67, bandwidth_nm=28.25, aliases=("B05", "nir", "nir08")),
    Band("B6", gsd_m=30.0, wavelength_nm=1608.86, bandwidth_nm=84.72, aliases=("B06", "swir16", "swir1", "swir_1")),
    Band("B7", gsd_m=30.0, wavelength_nm=2200.73, bandwidth_nm=186.66, aliases=("B07", "swir22", "swir2", "swir_2")),
    Band("B8", gsd_m=15.0, wavelength_nm=589.5, bandwidth_nm=172.4, aliases=("B08", "pan", "panchromatic")),
    Band("B9", gsd_m=30.0, wavelength_nm=1373.43, bandwidth_nm=20.39, aliases=("B09", "cirrus")),
    Band("B10", gsd_m=100.0, wavelength_nm=10895.0, bandwidth_nm=590.0, aliases=("lwir11", "lwir", "tirs1", "thermal")),
    Band("B11", gsd_m=100.0, wavelength_nm=12005.0, bandwidth_nm=1010.0, aliases=("lwir12", "tirs2")),
)
_TM = (
    by_edges("B1", ("B01", "blue"), 30.0, (0.45, 0.52)),
    by_edges("B2", ("B02", "green"), 30.0, (0.52, 0.6)),
    by_edges("B3", ("B03", "red"), 30.0, (0.63, 0.69)),
    by_edges("B4", ("B04", "nir", "nir08"), 30.0, (0.76, 0.9)),
    by_edges("B5", ("B05", "swir16", "swir1", "swir_1"), 30.0, (1.55, 1.75)),
    by_edges("B6", ("B06", "lwir", "thermal"), 120.0, (10.4, 12.5)),
    by_edges("B7", ("B07", "swir22", "swir2", "swir_2"), 30.0, (2.08, 2.35)),
)
_ETM = (
    *_TM[:5],
    by_edges("B6", ("B06", "lwir", "thermal", "B6_VCID_1", "B6_VCID_2"), 60.0, (10.4, 12.5)),
    _TM[6],
    by_edges("B8", ("B08", "pan", "panchromatic"), 15.0, (0.52, 0.9)),
)

_OLI = "B1 to B9: Barsi et al. 2014, doi:10.3390/rs61010232 (OLI relative spectral response)"
_TIRS = "B10, B11: USGS band edges, centre taken half-way"
_TM_SOURCE = "TM: USGS band edges, centres taken half-way. MTF: none."
_ETM_SOURCE = "ETM+: USGS band edges of TM and of the panchromatic band, centres half-way. MTF: none."

SENSORS = (
    Sensor("landsat-8", tuple(map(_spelled, _OLI_TIRS)), f"{_OLI}; {_TIRS}. MTF: none."),
    Sensor(
        "landsat-9",
        tuple(map(_spelled, _OLI_TIRS)),
        f"{_OLI}, assumed for OLI-2; {_TIRS}, assumed for TIRS-2. MTF: none.",
    ),
    Sensor("landsat-4", tuple(map(_spelled, _TM)), _TM_SOURCE),
    Sensor("landsat-5", tuple(map(_spelled, _TM)), _TM_SOURCE),
    Sensor("landsat-7", tuple(map(_spelled, _ETM)), _ETM_SOURCE),
)
