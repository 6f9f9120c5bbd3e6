import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsr.core.blocks import Span
from xsr.core.errors import ParameterError
from xsr.kernels import noise
from xsr.kernels.noise import NoiseModel

ALL = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("words", "expected"),
    # Known answers of Random123 1.14, file kat_vectors, philox4x32-10.
    [
        ((0, 0, 0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ALL,) * 6, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ],
)
def test_the_generator_gives_the_published_answers(words, expected):
    assert tuple(int(v) for v in noise._philox(*(np.uint32(w) for w in words))) == expected


@pytest.mark.slow
def test_numbers_are_standard_normal_and_independent():
    z = noise.normals(Span(0, 700), Span(0, 701), seed=11, words=(3, 4)).astype(np.float64)
    assert abs(z.mean()) < 5 / math.sqrt(z.size)
    assert z.std() == pytest.approx(1, abs=5e-3)
    assert (z**4).mean() == pytest.approx(3, abs=0.06)
    for a, b in ((z[:, 1:], z[:, :-1]), (z[1:], z[:-1])):
        assert abs((a * b).mean()) < 5 / math.sqrt(a.size)
    assert np.histogram(z, [-9, -1, 0, 1, 9])[0] / z.size == pytest.approx([0.1587, 0.3413, 0.3413, 0.1587], abs=4e-3)


@given(top=st.integers(0, 40), left=st.integers(0, 40), height=st.integers(1, 20), width=st.integers(1, 20))
def test_a_window_draws_what_the_whole_draws(top, left, height, width):
    whole = noise.normals(Span(0, 60), Span(0, 60), seed=-5, words=(1, 2))
    part = noise.normals(Span(top, top + height), Span(left, left + width), seed=-5, words=(1, 2))
    assert np.array_equal(part, whole[top : top + height, left : left + width])


@pytest.mark.parametrize("other", [{"seed": 1}, {"seed": 1 << 40}, {"words": (1, 3)}, {"words": (2, 2)}])
def test_every_word_counts(other):
    asked = {"seed": 0, "words": (1, 2)}
    a, b = (noise.normals(Span(0, 200), Span(0, 200), **kw).ravel() for kw in (asked, asked | other))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03


def test_noise_from_an_snr_has_it_at_the_reference():
    model = NoiseModel.from_snr(150.0, 0.2, read_share=0.25)
    image = np.full((600, 600), 0.2, np.float32)
    noisy = noise.add_noise(image, model, rows=Span(0, 600), cols=Span(0, 600), seed=1, words=(0, 0))
    assert 0.2 / (noisy - image).std() == pytest.approx(150, rel=0.01)
    assert model.sigma(np.zeros((1, 1), np.float32))[0, 0] == pytest.approx(math.sqrt(0.25) * 0.2 / 150)
    # the part that depends on the signal grows with its root
    strong = model.sigma(np.full((1, 1), 0.8, np.float32))[0, 0] ** 2
    assert strong == pytest.approx((0.25 + 0.75 * 4) * (0.2 / 150) ** 2, rel=1e-6)


def test_no_data_stays_and_negative_signals_have_the_read_noise():
    image = np.array([[np.nan, -0.1]], np.float32)
    model = NoiseModel(0.01, 0.1)
    noisy = noise.add_noise(image, model, rows=Span(0, 1), cols=Span(0, 2), seed=0, words=(0, 0))
    assert np.isnan(noisy[0, 0])
    assert model.sigma(image)[0, 1] == pytest.approx(0.01)


def test_no_noise_changes_nothing():
    image = np.ones((3, 3), np.float32)
    assert noise.add_noise(image, NoiseModel(0), rows=Span(0, 3), cols=Span(0, 3), seed=0, words=(0, 0)) is image


@pytest.mark.parametrize("cover", [0.1, 0.4])
def test_clouds_cover_the_share_asked_for(cover):
    covers = [noise.clouds(Span(0, 256), Span(0, 256), cover=cover, seed=s, words=(0, 0)).mean() for s in range(80)]
    assert np.mean(covers) == pytest.approx(cover, abs=4 * np.std(covers) / math.sqrt(80))


@pytest.mark.parametrize("cover", [0, 1])
def test_no_clouds_and_nothing_else(cover):
    assert (noise.clouds(Span(0, 9), Span(0, 9), cover=cover, seed=0, words=(0, 0)) == bool(cover)).all()


def test_clouds_of_a_window_are_those_of_the_whole():
    whole = noise.clouds(Span(0, 150), Span(0, 150), cover=0.4, seed=3, words=(5, 6))
    part = noise.clouds(Span(31, 90), Span(47, 140), cover=0.4, seed=3, words=(5, 6))
    assert np.array_equal(part, whole[31:90, 47:140])


def test_clouds_hang_together():
    mask = noise.clouds(Span(0, 256), Span(0, 256), cover=0.4, seed=2, words=(0, 0))
    assert (mask[:, 1:] == mask[:, :-1]).mean() > 0.95


@pytest.mark.parametrize("bad", [{"read": -1.0}, {"read": math.nan}, {"read": 0.0, "shot": -1.0}])
def test_noise_out_of_range_is_refused(bad):
    with pytest.raises(ParameterError, match="expected a finite number of at least 0"):
        NoiseModel(**bad)


def test_shares_out_of_range_are_refused():
    with pytest.raises(ParameterError, match=r"read_share=1\.5; expected a share"):
        NoiseModel.from_snr(100, 0.1, read_share=1.5)
    with pytest.raises(ParameterError, match=r"cloud_cover=1\.5; expected a share"):
        noise.clouds(Span(0, 2), Span(0, 2), cover=1.5, seed=0, words=(0, 0))
