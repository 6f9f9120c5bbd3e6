"""Tables of sensors that guide or are guided at coarse pixels: MODIS, AMI, GOCI-II and ECOSTRESS."""

from xsr.core.sensors.records import Band, Sensor
from xsr.core.sensors.tables.edges import by_edges

MODIS = Sensor(
    "modis",
    (
        by_edges("B1", ("B01", "red"), 250.0, (0.62, 0.67)),
        by_edges("B2", ("B02", "nir", "nir08"), 250.0, (0.841, 0.876)),
        by_edges("B3", ("B03", "blue"), 500.0, (0.459, 0.479)),
        by_edges("B4", ("B04", "green"), 500.0, (0.545, 0.565)),
        by_edges("B5", ("B05",), 500.0, (1.23, 1.25)),
        by_edges("B6", ("B06", "swir16", "swir1", "swir_1"), 500.0, (1.628, 1.652)),
        by_edges("B7", ("B07", "swir22", "swir2", "swir_2"), 500.0, (2.105, 2.155)),
        by_edges("B31", ("lwir11", "thermal"), 1000.0, (10.78, 11.28)),
        by_edges("B32", ("lwir12",), 1000.0, (11.77, 12.27)),
    ),
    "NASA MODIS band edges; bands 1 to 7, 31 and 32 of 36. MTF: none.",
)

AMI = Sensor(
    "gk2a-ami",
    (
        by_edges("VI004", ("blue",), 1000.0, (0.45, 0.49)),
        by_edges("VI005", ("green",), 1000.0, (0.495, 0.523)),
        by_edges("VI006", ("red",), 500.0, (0.599, 0.679)),
        by_edges("VI008", ("nir", "nir08"), 1000.0, (0.846, 0.88)),
        by_edges("NR013", ("cirrus",), 2000.0, (1.363, 1.377)),
        by_edges("NR016", ("swir16", "swir1", "swir_1"), 2000.0, (1.59, 1.63)),
        by_edges("SW038", (), 2000.0, (3.74, 3.92)),
        by_edges("WV063", (), 2000.0, (5.79, 6.63)),
        by_edges("WV069", (), 2000.0, (6.74, 7.14)),
        by_edges("WV073", (), 2000.0, (7.24, 7.42)),
        by_edges("IR087", (), 2000.0, (8.415, 8.765)),
        by_edges("IR096", (), 2000.0, (9.43, 9.81)),
        by_edges("IR105", ("thermal",), 2000.0, (10.115, 10.585)),
        by_edges("IR112", ("lwir11",), 2000.0, (10.9, 11.56)),
        by_edges("IR123", ("lwir12",), 2000.0, (11.805, 12.915)),
        by_edges("IR133", (), 2000.0, (13.005, 13.575)),
    ),
    "Channel table of AMI on GEO-KOMPSAT-2A (eoPortal, Geo-Kompsat-2). MTF: none.",
)

GOCI2 = Sensor(
    "gk2b-goci2",
    (
        Band("B1", gsd_m=250.0, wavelength_nm=380.0, bandwidth_nm=20.0),
        Band("B2", gsd_m=250.0, wavelength_nm=412.0, bandwidth_nm=20.0),
        Band("B3", gsd_m=250.0, wavelength_nm=443.0, bandwidth_nm=20.0, aliases=("coastal", "coastal_aerosol")),
        Band("B4", gsd_m=250.0, wavelength_nm=490.0, bandwidth_nm=20.0, aliases=("blue",)),
        Band("B5", gsd_m=250.0, wavelength_nm=510.0, bandwidth_nm=20.0),
        Band("B6", gsd_m=250.0, wavelength_nm=555.0, bandwidth_nm=20.0, aliases=("green",)),
        Band("B7", gsd_m=250.0, wavelength_nm=620.0, bandwidth_nm=20.0),
        Band("B8", gsd_m=250.0, wavelength_nm=660.0, bandwidth_nm=20.0, aliases=("red",)),
        Band("B9", gsd_m=250.0, wavelength_nm=680.0, bandwidth_nm=10.0),
        Band("B10", gsd_m=250.0, wavelength_nm=709.0, bandwidth_nm=10.0, aliases=("rededge1", "red_edge_1")),
        Band("B11", gsd_m=250.0, wavelength_nm=745.0, bandwidth_nm=20.0),
        Band("B12", gsd_m=250.0, wavelength_nm=865.0, bandwidth_nm=40.0, aliases=("nir", "nir08")),
    ),
    "Band table of GOCI-II on GEO-KOMPSAT-2B, Korea Ocean Satellite Center (nosc.go.kr), without the panchromatic band."
    " MTF: none.",
)

ECOSTRESS = Sensor(
    "ecostress",
    (
        Band("B1", gsd_m=70.0, wavelength_nm=8290.0, bandwidth_nm=354.0),
        Band("B2", gsd_m=70.0, wavelength_nm=8780.0, bandwidth_nm=310.0),
        Band("B3", gsd_m=70.0, wavelength_nm=9200.0, bandwidth_nm=396.0),
        Band("B4", gsd_m=70.0, wavelength_nm=10490.0, bandwidth_nm=410.0),
        Band("B5", gsd_m=70.0, wavelength_nm=12090.0, bandwidth_nm=611.0),
    ),
    "Nominal centres of the five thermal bands of ECOSTRESS; bandwidths of the instrument's description, not checked"
    " against its spectral responses. MTF: none.",
)

SENSORS = (MODIS, AMI, GOCI2, ECOSTRESS)
