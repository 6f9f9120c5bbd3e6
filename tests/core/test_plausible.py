import numpy as np
import pytest

from xsr.core.plausible import SAMPLE, Reflectance, thinned

BANDS = ("B02", "B08")


def block(values, shape=(1, 2, 20, 20)):
    return np.full(shape, values, np.float32)


def test_what_surfaces_clouds_and_glint_reflect_is_not_odd():
    values = np.linspace(-0.3, 3.0, 800, dtype=np.float32).reshape(1, 2, 20, 20)
    assert Reflectance(BANDS)(values) is None
    assert Reflectance(BANDS)(block(np.nan)) is None
    assert Reflectance(BANDS)(block(np.inf)) is None


@pytest.mark.parametrize(
    ("value", "way_out"),
    [
        (9938.35, "values up to 9938.35 .*units='dn10000', or units='dn10000-1000'"),
        (42.5, "values up to 42.5 .*percent, pass units='percent'"),
        (298.0, r"values up to 298 .*kelvin, set the attribute units='K'"),
        (-9999.0, r"values down to -9999 .*make it NaN: cube.where\(cube != -9999\)"),
    ],
)
def test_what_is_none_is_named_with_its_way_out(value, way_out):
    import re

    text = Reflectance(BANDS)(block(value))
    assert text is not None
    assert re.search(way_out, text)
    assert "units='reflectance'" in text


def test_the_bands_concerned_are_named():
    values = block(0.2)
    values[:, 1] = 1200
    assert Reflectance(BANDS)(values).startswith("bands ['B08'] hold values up to 1200")
    assert Reflectance(BANDS)(values[:, 1:]).startswith("the cube holds values up to 1200")


def test_a_few_hot_pixels_are_no_matter_of_units():
    values = block(0.2)
    values[0, 0, 0, :3] = 65.0  # 3 of 400: less than a hundredth
    assert Reflectance(BANDS)(values) is None
    values[0, 0, 0, :4] = 65.0
    assert Reflectance(BANDS)(values) is not None
    tiny = block(0.2, (1, 2, 4, 4))
    tiny[0, 0, 0, :2] = 65.0
    assert Reflectance(BANDS)(tiny) is None


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 1, 5), (1, 4, 3000, 3000), (2000, 10, 8, 8), (1, 1, 10**6, 1)])
def test_only_a_sample_is_looked_at(shape):
    source = np.broadcast_to(np.float32(1), shape)
    sample = thinned(source)
    assert 1 <= sample.size <= max(2 * SAMPLE, shape[0] * shape[1])
    assert np.shares_memory(sample, source)
    assert sample.shape[1] == shape[1]
