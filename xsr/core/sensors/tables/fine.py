"""Tables of optical sensors with pixels of 0.5 to 6 m: PlanetScope, SPOT, Pleiades, WorldView, GeoEye, IKONOS, NAIP.

No MTF is given: no published value for each band was at hand. `xsr.estimate_mtf` estimates it from an image.
"""

from xsr.core.sensors.records import Band, Sensor
from xsr.core.sensors.tables.edges import by_edges


def _nm(name: str, alias: str, gsd_m: float, low: float, high: float) -> Band:
    """Band from its shortest and longest wavelength in nanometres, with the word that other sensors use for it."""
    return by_edges(name, (alias,), gsd_m, (low / 1000, high / 1000))


_PLANETSCOPE = (
    _nm("coastal_blue", "coastal", 3.0, 431, 452),
    _nm("blue", "B2", 3.0, 465, 515),
    _nm("green_i", "B3", 3.0, 513, 549),
    _nm("green", "B4", 3.0, 547, 583),
    _nm("yellow", "B5", 3.0, 600, 620),
    _nm("red", "B6", 3.0, 650, 680),
    _nm("rededge", "rededge1", 3.0, 697, 713),
    _nm("nir", "B8", 3.0, 845, 885),
)
_SPOT = (
    _nm("blue", "B0", 6.0, 455, 525),
    _nm("green", "B1", 6.0, 530, 590),
    _nm("red", "B2", 6.0, 625, 695),
    _nm("nir", "B3", 6.0, 760, 890),
    _nm("pan", "panchromatic", 1.5, 450, 745),
)
_PLEIADES = (
    _nm("blue", "B0", 2.0, 430, 550),
    _nm("green", "B1", 2.0, 490, 610),
    _nm("red", "B2", 2.0, 600, 720),
    _nm("nir", "B3", 2.0, 750, 950),
    _nm("pan", "panchromatic", 0.5, 480, 830),
)


def _worldview(gsd_m: float, pan_m: float) -> tuple[Band, ...]:
    return (
        _nm("coastal", "B1", gsd_m, 400, 450),
        _nm("blue", "B2", gsd_m, 450, 510),
        _nm("green", "B3", gsd_m, 510, 580),
        _nm("yellow", "B4", gsd_m, 585, 625),
        _nm("red", "B5", gsd_m, 630, 690),
        _nm("rededge", "B6", gsd_m, 705, 745),
        _nm("nir1", "nir", gsd_m, 770, 895),
        _nm("nir2", "B8", gsd_m, 860, 1040),
        _nm("pan", "panchromatic", pan_m, 450, 800),
    )


_GEOEYE = (
    _nm("blue", "B1", 1.65, 450, 510),
    _nm("green", "B2", 1.65, 510, 580),
    _nm("red", "B3", 1.65, 655, 690),
    _nm("nir", "B4", 1.65, 780, 920),
    _nm("pan", "panchromatic", 0.41, 450, 800),
)
_IKONOS = (
    _nm("blue", "B1", 3.28, 445, 516),
    _nm("green", "B2", 3.28, 506, 595),
    _nm("red", "B3", 3.28, 632, 698),
    _nm("nir", "B4", 3.28, 757, 853),
    _nm("pan", "panchromatic", 0.82, 526, 929),
)
_NAIP = (
    _nm("red", "B1", 1.0, 619, 651),
    _nm("green", "B2", 1.0, 525, 585),
    _nm("blue", "B3", 1.0, 435, 495),
    _nm("nir", "B4", 1.0, 808, 882),
)

_SPOT_SOURCE = "Airbus, SPOT 6 and SPOT 7 imagery user guide (2013): band edges, products of 6 m and 1.5 m. No MTF."
_PLEIADES_SOURCE = "Airbus, Pleiades imagery user guide (2012): band edges, products of 2 m and 0.5 m. No MTF."

SENSORS = (
    Sensor("planetscope", _PLANETSCOPE, "Planet, SuperDove (PSB.SD) band edges, product of 3 m. No MTF."),
    Sensor("spot-6", _SPOT, _SPOT_SOURCE),
    Sensor("spot-7", _SPOT, _SPOT_SOURCE),
    Sensor("pleiades-1a", _PLEIADES, _PLEIADES_SOURCE),
    Sensor("pleiades-1b", _PLEIADES, _PLEIADES_SOURCE),
    Sensor(
        "worldview-2",
        _worldview(1.84, 0.46),
        "Maxar, WorldView-2 data sheet: band edges, GSD at nadir. No MTF.",
    ),
    Sensor(
        "worldview-3",
        _worldview(1.24, 0.31),
        "Maxar, WorldView-3 data sheet: band edges of the eight VNIR bands and the panchromatic one, GSD at nadir."
        " No MTF.",
    ),
    Sensor("geoeye-1", _GEOEYE, "Maxar, GeoEye-1 data sheet: band edges, GSD at nadir. No MTF."),
    Sensor("ikonos", _IKONOS, "GeoEye, IKONOS data sheet: band edges, GSD at nadir. No MTF."),
    Sensor(
        "naip",
        _NAIP,
        "Leica ADS40 band edges (red, green, blue, near infrared in the order of the files); flights use several"
        " cameras. GSD 1 m, as specified until 2017; 0.6 m since 2018. No MTF.",
    ),
)
