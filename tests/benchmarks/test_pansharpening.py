"""Classical ways to sharpen bands: exact where they must be, and no worse than interpolation where they can be."""

import numpy as np
import pytest
from common.pansharpening import METHODS, Pair, khan, observed, qnr

from xsr.kernels.degrade import sensor_band

OPTICS = sensor_band(0.3, 1.0, own=2, source_mtf=0.3)


def field(seed, side=96):
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    spectrum = np.where(frequency > 0, np.maximum(frequency, 1e-9) ** -1.3, 0)
    noise = np.fft.irfft2(spectrum * np.fft.rfft2(rng.standard_normal((2, side, side))), s=(side, side))
    return 0.3 + 0.05 * noise / noise.std()


def pair(truth, sharp):
    low = observed(truth[None], OPTICS, truth.shape)
    own = observed(truth[None], OPTICS.own, (truth.shape[0] // 2, truth.shape[1] // 2))
    return Pair(sharp, low, own, [OPTICS], 2)


def test_a_mixture_of_sharp_bands_is_found_again():
    sharp = field(0)
    truth = 0.6 * sharp[0] + 0.3 * sharp[1]
    one = pair(truth, sharp)
    inner = (slice(8, -8), slice(8, -8))
    base = np.abs(one.low[0] - truth)[inner].mean()
    most = {"GSA": 1e-3, "MTF-GLP-HPM": 0.05, "ATPRK": 1e-3, "low rank": 0.95, "bicubic": 1.01}
    for name, method in METHODS.items():
        assert np.abs(method(one)[0] - truth)[inner].mean() < most[name] * base, name


def test_indices_without_a_truth_prefer_the_truth():
    sharp = field(2)
    truth = np.stack([0.6 * sharp[0] + 0.3 * sharp[1], 0.2 * sharp[0] + 0.7 * sharp[1]])
    parts = [pair(band, sharp) for band in truth]
    one = Pair(sharp, *(np.concatenate([getattr(p, n) for p in parts]) for n in ("low", "own")), [OPTICS, OPTICS], 2)
    for index in (qnr, khan):
        assert index(one, one.low) < index(one, truth) <= 1
    assert khan(one, truth) == pytest.approx(1, abs=0.1)
