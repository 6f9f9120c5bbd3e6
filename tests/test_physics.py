"""One physics of observing: whoever degrades an image does so by the weights of one module, and they are exact.

What a sampler does is measured on what it returns: of waves at the Nyquist frequency, of squares that are degraded
again. Centroids are those of the weights that it hands to the sums, since pairs are single precision.
"""

import ast
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from xsr.core.sensors import get
from xsr.kernels import degrade
from xsr.kernels.decimate import decimate
from xsr.training import layouts, pairs, scenes, scores, series, thermal, thermal_synthetic
from xsr.training.fixed import FixedSampler
from xsr.training.pairs import WaldSampler, even
from xsr.training.scenes import FINE, TrainingScene, nested
from xsr.training.scores import TestPlace
from xsr.training.series import Series, SeriesSampler

SCALES = (1.0, 1.02, 1.25, 2.0, 3.4)
MTF = (0.343, 0.21, 0.3, 0.25)
PATCH = 108
"""Low-resolution pixels: a period of 50 at scale 1.02, and as many again on both sides that the border may change."""
ROOT = Path(__file__).parents[1] / "xsr"


def waves(width: int, scale: float, count: int = 2) -> NDArray[np.float32]:
    """Cosine and sine at the Nyquist frequency of pixels of ``scale``, along x; shape (count, width, width)."""
    angle = np.pi / scale * np.arange(width)
    lines = np.resize(np.stack([np.cos(angle), np.sin(angle)]), (count, width))
    return np.broadcast_to(lines[:, None].astype(np.float32), (count, width, width)).copy()


def response(cosine: NDArray[np.float32], sine: NDArray[np.float32], scale: float) -> float:
    """Real part of the response, mean over the phases of a grid, of low-resolution lines of both waves."""
    centre = (np.arange(cosine.size) + 0.5) * scale - 0.5
    real = np.cos(np.pi / scale * centre) * cosine + np.sin(np.pi / scale * centre) * sine
    period = Fraction(scale).limit_denominator(64).denominator
    first = (cosine.size - 50) // 2
    count = 50 // period * period
    return float(real[first : first + count].mean(dtype=np.float64))


def rest(mtf: float, scale: float, similar: bool) -> float:
    """Response of a sensor with pixels of ``scale``, less that of one with the image's, if pairs are self-similar."""
    return mtf ** (1 - 1 / scale**2) if similar else mtf


def of_wald(scale: float, *, similar: bool = False) -> Iterator[tuple[float, float]]:
    """Responses of the bands of a patch, and what they should be."""
    size = even(PATCH * scale)  # as large as a window, so that it begins at the corner
    image = waves(size, scale)
    for mtf in MTF:
        draw = WaldSampler(
            (TrainingScene("waves", image),), (mtf, mtf), (scale, scale), PATCH, 1, 1, 0.0, 0, similar=similar
        )
        cosine, sine = draw(0).low[0][:, PATCH // 2]
        yield response(cosine, sine, scale), rest(mtf, scale, similar)


def of_wald_in_own_pixels(scale: float, *, similar: bool = False) -> Iterator[tuple[float, float]]:
    """Responses of what the low-fidelity term does, at the grid's pixel and at twice that."""
    for twice, step in ((False, scale), (True, 2 * scale)):
        settings = dict(square=int(step * 112), coarser=(twice,), level=0.0, similar=similar)
        size = even(2 * PATCH * scale)
        scene = TrainingScene("waves", waves(size, scale, 1))
        draw = WaldSampler((scene,), (0.25,), (scale, scale), 2 * PATCH, 1, 1, 0.0, 0, **settings)
        batch = draw(0)
        assert batch.sensor is not None
        matrix = batch.sensor[1][0, 0].astype(np.float64)
        known = np.flatnonzero(matrix.any(axis=1))
        first = round(float((batch.cols[0][0] + 0.5) * scale - 0.5))  # fine pixel at which the square begins
        angle = np.pi / step * (np.arange(matrix.shape[1]) + first)
        centre = (known + 0.5) * step - 0.5
        real = np.cos(np.pi / step * centre) * (matrix[known] @ np.cos(angle))
        real += np.sin(np.pi / step * centre) * (matrix[known] @ np.sin(angle))
        period = Fraction(step).limit_denominator(64).denominator
        yield float(real[: known.size // period * period].mean()), rest(0.25, step, similar)


def of_series(scale: float, *, similar: bool = False) -> Iterator[tuple[float, float]]:
    """Responses of every date of a series."""
    size, times = even(PATCH * scale), np.arange(5) * np.timedelta64(5, "D") + np.datetime64("2024-06-01", "ns")
    stack = np.repeat(waves(size, scale)[None], 5, axis=0)
    wald = WaldSampler((), (0.3, 0.3), (scale, scale), PATCH, 1, 1, 0.0, 0, similar=similar)
    batch = SeriesSampler((Series("waves", times, stack, None),), wald, (3, 3))(0)
    for date in batch.low[0]:
        yield response(date[0, PATCH // 2], date[1, PATCH // 2], scale), rest(0.3, scale, similar)


def of_fixed(scale: float, *, similar: bool = False) -> Iterator[tuple[float, float]]:
    """Responses of pairs on the grid."""
    factor = round(scale)
    if factor != scale:
        pytest.skip("fixed factors are whole")
    scene = TrainingScene("waves", waves(even(PATCH * factor), factor))
    wald = WaldSampler((scene,), (0.21, 0.21), (scale, scale), PATCH, 1, 1, 0.0, 0, similar=similar)
    cosine, sine = FixedSampler(wald, factor)(0).low[0][:, PATCH // 2]
    yield response(cosine, sine, factor), rest(0.21, factor, similar)


def of_finer_images(scale: float) -> Iterator[tuple[float, float]]:
    """Responses by which an image of a finer sensor is compared with that of a coarser one."""
    low = layouts.coarsened(waves(round(100 * scale), scale), (100, 100))
    yield response(low[0, 50], low[1, 50], scale), layouts.MTF


def of_temperatures(scale: float) -> Iterator[tuple[float, float]]:
    """Responses of a thermal sensor."""
    size = int(PATCH * scale)
    cosine, sine = (thermal.observe(one, scale, 0.2)[PATCH // 2] for one in waves(size, scale))  # type: ignore[arg-type]
    yield response(cosine, sine, scale), 0.2


def of_scores(scale: float, *, similar: bool = False) -> Iterator[tuple[float, float]]:
    """Responses by which models are scored."""
    size = even(PATCH * scale)
    for name in FINE:
        place = TestPlace("waves", (name,), waves(size, scale)[:, None])
        cosine, sine = scores.degraded(place, scale, "self-similar" if similar else "published")[:, 0, PATCH // 2]
        yield response(cosine, sine, scale), rest(float(get("sentinel-2").band(name).mtf or 0), scale, similar)


def of_interpolated_bands(scale: float) -> Iterator[tuple[float, float]]:
    """Draw patches of which one band comes from pixels twice as large, in an image of either pixel."""
    size = even(PATCH * scale)
    for coarse in (None, np.zeros((2, size // 2, size // 2), np.float32)):
        scene = TrainingScene("waves", waves(size, scale), coarse=coarse)
        WaldSampler(
            (scene,), (0.3, 0.2), (scale, scale), PATCH, 1, 1, 0.0, 0, coarser=(False, True), level=0.0, similar=False
        )(0)
        yield 0.0, 0.0


PAIRS: dict[str, Callable[..., Iterator[tuple[float, float]]]] = {
    "wald": of_wald,
    "wald in own pixels": of_wald_in_own_pixels,
    "series": of_series,
    "fixed factors": of_fixed,
    "scores": of_scores,
}
"""Pairs of either kind."""
MEASURED = {**PAIRS, "finer images": of_finer_images, "temperatures": of_temperatures}


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No flips, gains and clouds, so that waves stay what they are."""
    monkeypatch.setattr(pairs, "augment", lambda windows, rng: list(windows))
    monkeypatch.setattr(series, "augment", lambda windows, rng, dates, turn: list(windows))


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", MEASURED)
def test_a_wave_at_nyquist_is_damped_to_the_mtf(name: str, scale: float) -> None:
    for found, wanted in MEASURED[name](scale):
        assert found == pytest.approx(wanted, abs=1e-6)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("scale", [2.0, 3.0, 3.4])
@pytest.mark.parametrize("name", PAIRS)
def test_a_wave_is_damped_by_the_rest_in_self_similar_pairs(name: str, scale: float) -> None:
    for found, wanted in PAIRS[name](scale, similar=True):
        assert found == pytest.approx(wanted, abs=1e-5)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("draw", [*MEASURED.values(), of_interpolated_bands], ids=lambda draw: draw.__name__)
def test_weights_of_every_sampler_have_their_centroid_at_the_centre(
    draw: Callable[[float], object], scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[float] = []

    def recorded(images, rows, cols, **options):  # type: ignore[no-untyped-def]
        for taps in (rows, cols):
            pixel = taps.start[:, None] + np.arange(taps.weight.shape[1])
            centroid = (taps.each * pixel).sum(axis=1) / taps.each.sum(axis=1)
            errors.append(float(min(from_centres(centroid, step) for step in (scale, scale / 2))))
        return decimate(images, rows, cols, **options)

    monkeypatch.setattr(degrade, "decimate", recorded)
    assert list(draw(scale))  # type: ignore[call-overload]
    assert errors
    assert max(errors) <= 1e-12


def from_centres(place: NDArray[np.float64], step: float) -> float:
    """Distance of places from the centres of pixels of ``step``, the first of which begins at a whole pixel."""
    corner = place - step * (np.arange(place.size) + 0.5) + 0.5
    return float(np.abs(corner - np.round(corner[0])).max())


def test_half_way_between_pixels_nothing_has_the_mtf() -> None:
    """Why a patch begins at a whole pixel, and proof that the measure notices."""
    band, span = degrade.sensor_band(0.3, 1.0), degrade.whole(PATCH, 1.0)
    for shift, error in ((0.25, 0.05), (0.5, 0.2)):
        observed = degrade.observe(waves(PATCH, 1.0), band, rows=span, cols=span, shift=(0.0, shift))[:, PATCH // 2]
        assert abs(response(observed[0], observed[1], 1.0) - 0.3) >= error


def test_images_of_20_m_are_as_sharp_as_the_sensor() -> None:
    fine = waves(4 * PATCH, 2.0)
    for name in FINE:
        image = np.zeros((4, *fine.shape[1:]), np.float32)
        lines = []
        for wave in fine:
            image[FINE.index(name)] = wave
            made = scenes.at_20m(nested("waves", image, FINE, np.zeros((6, 2 * PATCH, 2 * PATCH), np.float32)))
            assert made is not None
            lines.append(made.image[FINE.index(name), PATCH])
        mtf = float(get("sentinel-2").band(name).mtf or 0)
        assert response(lines[0], lines[1], 2.0) == pytest.approx(mtf**0.75, abs=1e-6)


@pytest.mark.parametrize("mtf", [0.1, 0.3, 0.6])
def test_synthetic_scenes_are_blurred_by_the_mtf_at_their_own_pixel(mtf: float) -> None:
    cosine, sine = thermal_synthetic.blur(waves(PATCH, 1.0), mtf)[:, PATCH // 2]
    assert response(cosine, sine, 1.0) == pytest.approx(mtf, abs=1e-6)


# --- who makes weights -------------------------------------------------------------------------------------

OTHERS = {
    "kernels/similarity.py",  # window of the structural similarity index, by its definition
    "kernels/brisque.py",  # window of the quality index, by its definition
    "kernels/registration.py",  # smooths before it takes gradients
    "models/architectures/injection.py",  # parts of networks
    "models/architectures/local_linear.py",
    "models/architectures/discriminators.py",
    "training/thermal_pairs.py",  # what is smooth of the difference of two sensors
    "testing/instrument.py",  # truth, which must share no code with what it judges
    "testing/seasons.py",  # a season, in days
}
"""Gaussians that are no response of a sensor."""


def makes_a_gaussian(tree: ast.AST) -> bool:
    """Whether code calls a Gaussian filter, the normal distribution, or the exponential of a negative square."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name.startswith(("gaussian_filter", "gaussian_blur")) or name in ("ndtr", "erf", "norm_cdf"):
            return True
        if name == "exp" and node.args and negative_square(node.args[0]):
            return True
    return False


def negative_square(node: ast.AST) -> bool:
    """Whether an expression holds both a minus sign and a square."""
    parts = list(ast.walk(node))
    minus = any(isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.USub) for part in parts)
    powers = [part for part in parts if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Pow)]
    return minus and any(isinstance(part.right, ast.Constant) and part.right.value == 2 for part in powers)


def test_weights_of_a_response_are_made_in_one_module() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if makes_a_gaussian(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == {"kernels/psf.py"} | OTHERS


@pytest.mark.parametrize(
    "line",
    [
        "np.exp(-0.5 * (x / sigma) ** 2)",
        "gaussian_filter(image, 2)",
        "special.ndtr(x)",
        "math.exp(-((x / s) ** 2) / 2)",
    ],
)
def test_a_second_maker_would_be_found(line: str) -> None:
    assert makes_a_gaussian(ast.parse(line))
    assert not makes_a_gaussian(ast.parse("np.exp(-x * y)"))
