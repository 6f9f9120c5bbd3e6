import pickle
import re

import numpy as np
import pytest

from xsr.core.blocks import Span
from xsr.core.errors import ParameterError
from xsr.kernels import metrics
from xsr.kernels.fidelity import gaussian_sensor
from xsr.kernels.metrics import ERRORS, METRICS, known_metrics, register_metric
from xsr.kernels.pixels import error_sums
from xsr.kernels.terms import Means, Metric, Pixels, Sheet, Terms


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr(metrics, "_registered", {})


def ratio(pixels):
    return [pixels.image / pixels.reference]


RATIO = Terms(("ratio",), ratio)


def gain(name="gain", terms=RATIO, formula=lambda means: means["ratio"], **more):
    return Metric(name, "1", "mean ratio to the reference", terms, formula, **more)


def block(halo=0, bands=2, seed=3):
    image, reference = np.random.default_rng(seed).random((2, bands, 9 + 2 * halo, 7 + 2 * halo), dtype=np.float32)
    image[0, halo, halo + 1] = np.nan
    return Pixels(Span(0, 9), Span(0, 7), image, reference, halo)


# --- the table ---------------------------------------------------------------------------------------------


def test_every_row_has_its_own_name_and_needs_an_image_to_compare_with():
    assert len(METRICS) == len({metric.long_name for metric in METRICS.values()}) == 15
    for name, metric in METRICS.items():
        assert metric.name == name
        assert {"reference", "low"} & metric.requires


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_every_row_passes_what_is_required_of_a_metric_from_outside(metric):
    metrics._check(metric)


def test_rows_can_be_sent_to_another_process():
    for metric in pickle.loads(pickle.dumps(tuple(METRICS.values()))):
        assert metric.terms == METRICS[metric.name].terms
        assert metric.requires == METRICS[metric.name].requires


def test_metrics_of_the_same_terms_share_their_sums():
    sheet = Sheet((METRICS["mae"], METRICS["psnr"], METRICS["sam"], METRICS["ergas"]), ERRORS, 1.0, 2.0)
    assert list(sheet.columns.values()) == [slice(0, 5), slice(5, 7)]
    assert sheet.width == 7
    assert sheet.requires("data_range")
    assert not sheet.requires("low", "sensor")


def test_the_halo_is_that_of_the_widest_terms():
    sensor = gaussian_sensor(0.3, (2.0, 2.0))
    halos = [Sheet((METRICS[n],), ERRORS, 1.0, 2.0).halo([sensor]) for n in ("mae", "ssim", "uqi", "high_fidelity")]
    assert halos == [0, 5, 4, sensor.halo]
    assert Sheet((METRICS["mae"],), ERRORS, 1.0, 2.0).halo([], least=1) == 1


# --- terms -------------------------------------------------------------------------------------------------


def test_the_fast_sums_of_the_errors_are_those_of_their_maps():
    pixels = block().band(0, None)
    maps = Terms(ERRORS.columns, ERRORS.maps).add_up(pixels)
    np.testing.assert_allclose(ERRORS.add_up(pixels), maps, rtol=1e-12)
    np.testing.assert_allclose(maps, error_sums(pixels.image[None], pixels.reference[None])[0], rtol=1e-12)
    assert maps[0] == 62


def test_means_by_hand():
    means = Means(("a", "b"), np.array([[2.0, 6.0, 8.0], [0.0, 0.0, 0.0]]), 1.0, 2.0)
    assert means["b"][0] == 4
    assert np.isnan(means["a"][1])
    assert means.count.tolist() == [2, 0]
    with pytest.raises(ParameterError, match="reads the column 'c'; its terms have a, b"):
        means["c"]


def test_the_surroundings_have_the_reach_that_was_requested():
    pixels = block(halo=4).band(1, None)
    assert pixels.image.shape == (9, 7)
    assert [x.shape for x in pixels.around(4, 3)] == [(16, 14)] * 2
    assert np.array_equal(pixels.around(1, 2)[0][1:-2, 1:-2], pixels.image)


def test_the_detail_of_the_error_is_the_difference_of_the_details():
    sensor = gaussian_sensor(0.3, (2.0, 2.0))
    pixels = block(halo=sensor.halo).band(1, sensor)
    found = pixels.detail("error")
    assert found.shape == (9, 7)
    np.testing.assert_allclose(found, pixels.detail("image") - pixels.detail("reference"), atol=1e-6)


def test_bands_of_an_unknown_sensor_are_left_out_of_the_terms_that_need_it():
    sensor = gaussian_sensor(0.3, (2.0, 2.0))
    views = METRICS["high_fidelity"].terms.views(block(), [None, sensor])
    assert [bands for bands, _ in views] == [slice(1, 2)]
    assert len(ERRORS.views(block(), [])) == 2
    ((bands, pixels),) = METRICS["sam"].terms.views(block(), [])
    assert (bands, pixels.image.shape) == (slice(0, 2), (2, 9, 7))


# --- metrics from outside ----------------------------------------------------------------------------------


def test_a_registered_metric_is_known_and_none_of_the_library():
    register_metric(gain())
    register_metric(gain())  # the same again
    assert list(known_metrics()) == [*METRICS, "gain"]
    doubled = gain(formula=lambda means: 2 * means["ratio"])
    with pytest.raises(ParameterError, match=r"'gain' exists already.*overwrite=True"):
        register_metric(doubled)
    register_metric(doubled, overwrite=True)
    assert known_metrics()["gain"].formula(Means(("ratio",), np.array([1.0, 3.0]), 1.0, 1.0)) == 6


@pytest.mark.parametrize("name", ["mae", "ergas"])
def test_metrics_of_the_library_cannot_be_replaced(name):
    with pytest.raises(ParameterError, match=rf"^metric '{name}' exists already; expected a new name\. Choose another"):
        register_metric(gain(name), overwrite=True)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (gain("count"), "cannot have the name 'count'; expected letters"),
        (gain("two words"), "cannot have the name 'two words'"),
        (gain(""), "cannot have the name ''"),
        (gain(formula=None), "metric 'gain' has no formula but None; expected a function"),
        (gain(terms=Terms(("a",), None)), "has no function of the pixels but None"),
        (
            gain(terms=Terms(("a", "b"), ratio)),
            r"names 2 columns \(a, b\), and its terms are 1; expected",
        ),
        (gain(terms=Terms((), lambda pixels: [])), r"names 0 columns \(\), and its terms are 0"),
        (gain(terms=Terms(("ratio",), lambda p: [p.image.mean()])), r"shapes \[\(\)\] for pixels of shape \(4, 6\)"),
        (gain(terms=Terms(("ratio",), ratio, spectrum=True)), r"shapes \[\(2, 4, 6\)\]"),
        (
            gain(terms=Terms(("ratio",), ratio, sums=lambda p: np.ones(3))),
            r"sums= .* shape \(3,\); expected \(2,\)",
        ),
        (gain(terms=Terms(("ratio",), lambda p: [p.around(2, 1)[0]])), r"and 0 are there; .* Give them reach=\(2, 1\)"),
        (gain(terms=Terms(("ratio",), ratio, needs={"low"})), "do not state to need; expected 'reference' among"),
        (gain(terms=Terms(("ratio",), lambda p: [p.detail("image")])), "expected 'sensor' among their needs="),
        (gain(formula=lambda means: means["q"]), "reads the column 'q'; its terms have ratio"),
        (gain(formula=lambda means: means["ratio"].mean(axis=0)), r"shape \(3,\) of means .* expected \(2, 3\)"),
        (gain(over_bands=True), r"expected \(3,\)\. over_bands= says whether"),
        (
            gain(terms=Terms(("a",), ratio, spectrum=True, needs={"low", "sensor"})),
            "spectrum=True and needs",
        ),
        (gain(needs={"luck"}), r"needs \['luck'\]; expected some of reference, low"),
    ],
)
def test_a_metric_that_cannot_be_computed_is_refused_when_it_is_registered(metric, message):
    with pytest.raises(ParameterError, match=message) as found:
        register_metric(metric)
    assert "\n" not in str(found.value)
    assert "gain" not in known_metrics()


@pytest.mark.slow
def test_terms_of_low_resolution_pixels_have_their_shape():
    low = Terms(("error",), lambda pixels: [pixels.degraded() - pixels.low], needs={"low", "sensor"})
    register_metric(gain(terms=low, formula=lambda means: means["error"]))
    wrong = Terms(("error",), lambda pixels: [pixels.image], needs={"low"})
    with pytest.raises(ParameterError, match=re.escape("shapes [(4, 6)] for pixels of shape (2, 3)")):
        register_metric(gain("other", terms=wrong, formula=lambda means: means["error"]))
