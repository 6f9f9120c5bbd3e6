import numpy as np
import pytest
from affine import Affine
from common.finer_sensor import PAN, Pair, dressed
from common.matched_scores import detail
from common.reference_sharpness import OWN_M, Panchromatic, sharpness
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter

SIDE, STEP = 100, 2
NAMES = ("B04", "B03", "B02", "B08")


@pytest.fixture(scope="module")
def pan():
    noise = np.random.default_rng(0).standard_normal((SIDE * STEP, SIDE * STEP))
    return gaussian_filter(noise, 1.0)


def blurred(pan, width_m):
    """Image at the centres of blocks of 2 x 2 pixels of 3 m; the panchromatic one has a width of its own."""
    soft = gaussian_filter(pan, np.sqrt(width_m**2 - OWN_M**2) / 3)
    return soft.reshape(SIDE, STEP, SIDE, STEP).mean((1, 3))


def given(pan, width_m, gains=(1.0, 1.0, 1.0, 1.0)):
    def box(pixel, side):
        return GeoBox((side, side), Affine(pixel, 0, 600_000, 0, -pixel, 5_000_000), "EPSG:32631")

    image = blurred(pan, width_m)
    bands = dressed(np.stack([gain * image for gain in gains]).astype(np.float32), NAMES, box(6.0, SIDE))
    fine = dressed(pan[None].astype(np.float32), (PAN,), box(3.0, STEP * SIDE))
    low = bands.expand_dims(time=[np.datetime64("2024-06-01", "ns")])
    pair = Pair("here", "SPOT 6 m", low, 0, "2024-06-01", bands)
    return pair, Pair("here", "panchromatic", low, 0, "2024-06-01", fine)


@pytest.mark.parametrize("width_m", [4.0, 5.5])
def test_the_width_of_the_bands_is_found(pan, width_m):
    pair, fine = given(pan, width_m)
    found = sharpness(pair, fine, pair.reference * np.float32(0.5))
    # The mean of 2 x 2 pixels at the centre of a pixel adds (3 m)² / 4.
    assert found.width_m == pytest.approx(np.hypot(width_m, 1.5), abs=0.13)
    assert found.correlation > 0.999
    assert found.mtf == pytest.approx(np.exp(-0.5 * (np.pi * found.width_m / 6) ** 2))


def test_the_error_of_a_sharper_scene_is_a_share_of_that_of_the_base(pan):
    """A base that is half of the reference has half of its detail for error, whatever the gain of a band is."""
    pair, fine = given(pan, 5.5, gains=(1.0, 2.0, 0.5, 1.0))
    found = sharpness(pair, fine, pair.reference * np.float32(0.5))
    below = Panchromatic(pan, 3.0, (SIDE, SIDE))
    soft = below.softened(found.width_m)
    errors = []
    for mtf in (0.23, 0.28, 0.3, 0.22):  # of the bands of Sentinel-2 in the order of NAMES
        sharp = below.softened(6.0 * np.sqrt(-2 * np.log(mtf)) / np.pi)
        difference, truth = (
            detail(pair.reference[:1].copy(data=image[None].astype(np.float32)), 20.0).values[0, 17:-17, 17:-17]
            for image in (sharp - soft, blurred(pan, 5.5))
        )
        errors.append(difference.std() / (0.5 * truth.std()))
    assert found.perfect == pytest.approx(np.mean(errors), rel=0.03)


def test_an_image_as_sharp_as_it_is_is_sampled_at_the_centres(pan):
    found = Panchromatic(pan, 3.0, (SIDE, SIDE)).softened(OWN_M)
    rows, cols = np.mgrid[4:SIDE:7, 4:SIDE:7]
    around = [pan[2 * rows + i, 2 * cols + j] for i in (0, 1) for j in (0, 1)]
    assert np.corrcoef(found[rows, cols].ravel(), np.mean(around, axis=0).ravel())[0, 1] > 0.98
    assert Panchromatic(np.full((8, 8), 3.0), 3.0, (4, 4)).softened(9.0) == pytest.approx(3.0)
