import math
import pickle

import pytest

from xsr.core import sensors
from xsr.core.errors import BandError, ParameterError, XsrError
from xsr.core.sensors import Band, Sensor, canonical_band, register_sensor, sigma_px
from xsr.core.sensors import registry as records_of


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(records_of, "_SENSORS", dict(records_of._SENSORS))


# Hand values: 2/pi sqrt(-2 ln 0.3) and so on.
@pytest.mark.parametrize(
    ("mtf", "scale", "sigma"),
    [
        (0.3, 2, 0.988),
        (0.1, 2, 1.366),
        (0.2, 3, 1.713),
        (0.4, 4, 1.723),
        (0.7, 8, 2.151),
        (0.304, 10.0, 4.912),
    ],
)
def test_sigma_px_hand_values(mtf, scale, sigma):
    assert sigma_px(mtf, scale) == pytest.approx(sigma, abs=2e-3)


def test_sigma_px_gives_the_mtf_back():
    sigma = sigma_px(0.276, 3.4)
    assert math.exp(-2 * math.pi**2 * sigma**2 / (2 * 3.4) ** 2) == pytest.approx(0.276, rel=1e-12)


@pytest.mark.parametrize("mtf", [0.0, 1.0, -0.1, 1.2, math.nan])
def test_sigma_px_refuses_mtf(mtf):
    with pytest.raises(ParameterError, match="expected a number above 0 and below 1"):
        sigma_px(mtf, 2)


@pytest.mark.parametrize("scale", [0.0, -2.0, math.inf, math.nan])
def test_sigma_px_refuses_scale(scale):
    with pytest.raises(ParameterError, match="expected a positive number"):
        sigma_px(0.3, scale)


@pytest.mark.parametrize("name", ["B02", "b02", "B2", "b2", "blue", "Blue", " BLUE ", "B02_10m"])
def test_aliases_of_blue(name):
    assert canonical_band(name) == "B02"


def test_aliases_belong_to_a_sensor():
    assert canonical_band("blue", "landsat-8") == "B2"
    assert canonical_band("nir", "landsat-9") == "B5"
    assert canonical_band("nir08") == "B8A"
    assert canonical_band("swir16", sensors.get("sentinel-2a")) == "B11"
    assert sensors.get("sentinel-2").resolve("b8a") == "B8A"


def test_unknown_band_names_the_known_ones():
    with pytest.raises(BandError, match=r"sentinel-2 has no band 'B99'; expected one of B01, B02.*B12"):
        canonical_band("B99")


@pytest.mark.parametrize("name", ["sentinel-2d", "S2D", "Sentinel-2D", "SENTINEL_2E", "sentinel-2z"])
def test_unknown_units_get_the_generic_table(name):
    assert sensors.get(name) is sensors.get("sentinel-2")


@pytest.mark.parametrize("name", ["sentinel-2a", "S2A", "Sentinel-2A", "sentinel2a", "SENTINEL 2A"])
def test_spellings(name):
    assert sensors.get(name).name == "sentinel-2a"


def test_unknown_sensor():
    with pytest.raises(ParameterError, match="sensor 'spot-9' is not registered; expected one of ecostress"):
        sensors.get("spot-9")


def test_tables():
    generic, a, b = (sensors.get(name) for name in ("sentinel-2", "sentinel-2a", "sentinel-2b"))
    assert generic.band_names[7:9] == ("B08", "B8A")
    assert [generic.band(x).mtf for x in ("B02", "B03", "B04", "B08")] == [0.304, 0.276, 0.233, 0.222]
    assert [generic.band(x).gsd_m for x in ("B02", "B05", "B01")] == [10.0, 20.0, 60.0]
    assert (a.band("B12").wavelength_nm, b.band("B12").wavelength_nm) == (2202.4, 2185.7)
    assert generic.band("B10").mtf is None
    assert sensors.get("landsat-8").band("pan").gsd_m == 15.0
    for name in sensors.names():
        sensor = sensors.get(name)
        assert sensor.source
        assert all(band.mtf_source for band in sensor.bands if band.mtf is not None)


# Band edges and pixels of the makers' data sheets.
@pytest.mark.parametrize(
    ("name", "sensor", "band", "centre", "width", "gsd_m"),
    [
        ("PlanetScope", "planetscope", "red", 665.0, 30.0, 3.0),
        ("spot6", "spot-6", "nir", 825.0, 130.0, 6.0),
        ("SPOT-7", "spot-7", "pan", 597.5, 295.0, 1.5),
        ("Pleiades", "pleiades-1a", "green", 550.0, 120.0, 2.0),
        ("PHR1B", "pleiades-1b", "pan", 655.0, 350.0, 0.5),
        ("WV2", "worldview-2", "rededge", 725.0, 40.0, 1.84),
        ("WorldView03", "worldview-3", "nir2", 950.0, 180.0, 1.24),
        ("GE01", "geoeye-1", "red", 672.5, 35.0, 1.65),
        ("GeoEye-1", "geoeye-1", "blue", 480.0, 60.0, 1.65),
        ("IKONOS", "ikonos", "nir", 805.0, 96.0, 3.28),
        ("NAIP", "naip", "nir", 845.0, 74.0, 1.0),
    ],
)
def test_fine_sensors(name, sensor, band, centre, width, gsd_m):
    found = sensors.get(name)
    record = found.band(band)
    assert (found.name, record.wavelength_nm, record.bandwidth_nm, record.gsd_m) == (sensor, centre, width, gsd_m)
    assert record.mtf is None
    with pytest.raises(ParameterError, match="has no published MTF"):
        record.sigma_m()


def test_thermal_tables():
    """Pixel sizes of the thermal bands, and their place in the spectrum."""
    thermal = {"landsat-5": 120, "landsat-7": 60, "landsat-8": 100, "modis": 1000, "gk2a-ami": 2000}
    for name, gsd_m in thermal.items():
        band = sensors.get(name).band("thermal")
        assert band.gsd_m == gsd_m
        assert 10_000 < band.wavelength_nm < 11_500
    assert [band.gsd_m for band in sensors.get("ecostress").bands] == [70.0] * 5
    assert {band.gsd_m for band in sensors.get("gk2b-goci2").bands} == {250.0}
    assert sensors.get("landsat-5").band("thermal").wavelength_nm == 11450


@pytest.mark.parametrize(
    ("name", "sensor", "expected"),
    [
        ("B4", "landsat-7", "B08"),
        ("b3", "landsat-5", "B04"),
        ("B6", "landsat-8", "B11"),
        ("B8", "gk2b-goci2", "B04"),
        ("VI008", "gk2a-ami", "B08"),
        ("B1", "modis", "B04"),
        ("B10", "landsat-8", "B10"),
        ("B8", "landsat-8", "B8"),
        ("B6", "landsat-5", "B6"),
        ("elevation", "landsat-8", "elevation"),
        ("nir", "landsat-8", "B08"),
        ("B05", "sentinel-2b", "B05"),
    ],
)
def test_names_by_colour(name, sensor, expected):
    assert sensors.by_colour(name, sensor) == expected


@pytest.mark.parametrize(
    ("product", "number", "kelvin"), [("landsat-c2-st", 44177, 300.0), ("modis-lst", 15000, 300.0)]
)
def test_temperature_products(product, number, kelvin):
    stored = sensors.TEMPERATURE_PRODUCTS[product]
    assert number * stored.scale + stored.offset == pytest.approx(kelvin, abs=0.003)
    assert sensors.get(stored.sensor)
    assert all(product.source for product in sensors.TEMPERATURE_PRODUCTS.values())


def test_sigma_m():
    assert sensors.get("sentinel-2").band("B12").sigma_m() == pytest.approx(11.6, abs=0.05)
    with pytest.raises(ParameterError, match="no published MTF"):
        sensors.get("landsat-8").band("B2").sigma_m()


def camera(*bands, name="camera-1"):
    return Sensor(name, bands or (Band("C1_red", gsd_m=3.0, wavelength_nm=660.0, mtf=0.2, aliases=("red",)),))


def test_a_registered_sensor_is_found_by_name_and_its_bands_by_alias(registry):
    register_sensor(camera())
    assert sensors.get("Camera-1").band("RED").gsd_m == 3.0
    assert "camera-1" in sensors.names()
    assert sensors.knowing(["C1_red"]) == [camera()]
    assert sensors.by_colour("C1_red", "camera-1") == "B04"


def test_a_name_that_is_taken_is_refused_unless_it_shall_be_replaced(registry):
    register_sensor(camera())
    register_sensor(camera())  # the same again, as by a cell of a notebook
    sharper = camera(Band("C1_red", gsd_m=2.0, wavelength_nm=660.0))
    with pytest.raises(ParameterError, match="sensor 'camera-1' is registered already; expected a new name"):
        register_sensor(sharper)
    with pytest.raises(ParameterError, match="sensor 'S2A' is registered already"):
        register_sensor(camera(name="S2A"))
    register_sensor(sharper, overwrite=True)
    assert sensors.get("camera-1") == sharper


def test_what_is_no_sensor_is_refused(registry):
    with pytest.raises(ParameterError, match="'camera-1' is no sensor with bands; expected one"):
        register_sensor("camera-1")


def test_a_word_for_another_part_of_the_spectrum_is_refused(registry):
    """Red of Sentinel-2 ends at 680 nm; a band at 842 nm of 115 nm begins at 784 nm."""
    infrared = camera(Band("C1", gsd_m=3.0, wavelength_nm=842.0, bandwidth_nm=115.0, aliases=("Red",)))
    with pytest.raises(
        BandError,
        match=r"band 'C1' of camera-1 at 842 nm has the name 'Red', which is B04 of sentinel-2 at 665 nm; expected the"
        r" same part of the spectrum. Remove the name.",
    ):
        register_sensor(infrared)
    assert "camera-1" not in sensors.names()


def test_bands_that_touch_share_a_word_and_bands_apart_do_not(registry):
    """Green of Sentinel-2 is 560 nm wide 35 nm: a band of 20 nm touches it up to a distance of 27.5 nm."""
    register_sensor(camera(Band("C1", gsd_m=3.0, wavelength_nm=587.5, bandwidth_nm=20.0, aliases=("green",))))
    apart = Band("C1", gsd_m=3.0, wavelength_nm=630.0, bandwidth_nm=20.0, aliases=("green",))
    with pytest.raises(BandError, match="the name 'green'"):
        register_sensor(camera(apart, name="camera-2"))


def test_numbers_of_bands_differ_from_sensor_to_sensor(registry):
    register_sensor(camera(Band("B5", gsd_m=3.0, wavelength_nm=560.0, aliases=("B05", "green"))))
    assert sensors.get("camera-1").resolve("green") == "B5"


def test_the_tables_keep_the_rule_for_words():
    for name in sensors.names():
        others = [sensors.get(other) for other in sensors.names() if other != name]
        for band in sensors.get(name).bands:
            records_of._check_aliases(band, sensors.get(name), others)


def test_a_name_belongs_to_one_band():
    bands = [Band(name, gsd_m=3.0, wavelength_nm=w, aliases=[x]) for name, w, x in (("R", 660, "x"), ("G", 560, "X"))]
    with pytest.raises(BandError, match="gives the name 'X' to bands R and G"):
        Sensor("camera-1", bands)


def test_band_checks_its_numbers():
    with pytest.raises(ParameterError, match="gsd_m=0"):
        Band("R", gsd_m=0, wavelength_nm=660.0)
    with pytest.raises(ParameterError, match="bandwidth_nm=-1"):
        Band("R", gsd_m=3.0, wavelength_nm=660.0, bandwidth_nm=-1)
    assert issubclass(BandError, XsrError)
    assert issubclass(BandError, ValueError)


@pytest.mark.parametrize("mtf", [0.0, 1.0, 2, -0.3, math.nan])
def test_an_mtf_outside_of_0_and_1_is_refused_with_its_band(mtf):
    with pytest.raises(ParameterError, match=r"band 'R' has mtf=\S+; expected a number above 0 and below 1"):
        Band("R", gsd_m=3.0, wavelength_nm=660.0, mtf=mtf)


def test_pickle():
    sensor = sensors.get("sentinel-2a")
    assert pickle.loads(pickle.dumps(sensor)) == sensor


def test_signal_to_noise_ratio_of_sentinel_2():
    """ESA Sentinel-2 User Guide, spatial resolution tables: 128 W/m2/sr/um and 154 for B02."""
    noise = sensors.get("sentinel-2b").band("B02").noise
    assert (noise.ratio, noise.radiance) == (154.0, 128.0)
    assert noise.reflectance() == pytest.approx(math.pi * 128 / 1959.75)
    assert noise.reflectance(60.0) == pytest.approx(2 * noise.reflectance())
    assert all(band.noise.source for band in sensors.get("sentinel-2").bands)
    assert all(band.noise is None for band in sensors.get("landsat-8").bands)
