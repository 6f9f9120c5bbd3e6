import numpy as np
import pytest

from xsr.core import checks
from xsr.core.errors import ParameterError


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_of_any_kind(value):
    found = checks.whole("border", value, least=3)
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize("value", [3.0, np.float64(3), "3", None, True, np.bool_(True), [3], np.array([3]), 2, 1j])
def test_what_is_no_whole_number(value):
    with pytest.raises(ParameterError, match=r"border=.*; expected a number of pixels >= 3\. Give an int, such as 3"):
        checks.whole("border", value, least=3, what="a number of pixels")


def test_any_sign_without_a_limit():
    assert checks.whole("seed", -5) == -5


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.array(0.5)])
def test_numbers_of_any_kind(value):
    assert checks.within("share", value, low=0, high=1, what="a share") == 0.5
    assert checks.positive("size", value) == 0.5


@pytest.mark.parametrize("value", ["1", None, True, [1.0], np.array([1.0]), np.nan, np.inf, 1j, -0.1, -1, 10**400])
def test_what_is_no_number_in_range(value):
    with pytest.raises(ParameterError, match=r"share=.*; expected a share\."):
        checks.within("share", value, low=0, what="a share")
    with pytest.raises(ParameterError, match=r"size=.*; expected a positive, finite number\."):
        checks.positive("size", value)


def test_the_ends_of_a_range():
    assert [checks.within("share", value, low=0, high=1, what="a share") for value in (0, 1)] == [0.0, 1.0]
    with pytest.raises(ParameterError):
        checks.within("share", 1.1, low=0, high=1, what="a share")
    with pytest.raises(ParameterError):
        checks.positive("size", 0)


@pytest.mark.parametrize("values", [(0, 0.5), [0, np.float32(0.5)], np.array([0, 0.5]), iter((0, 0.5))])
def test_several_numbers(values):
    assert checks.several("edges", values) == (0.0, 0.5)


@pytest.mark.parametrize("values", [5, None, "0,1", (0, "1"), (0, None), np.array(5.0), np.eye(2)])
def test_what_is_not_several_numbers(values):
    with pytest.raises(ParameterError, match=r"edges=[\s\S]*; expected several numbers\. Give a tuple"):
        checks.several("edges", values)


@pytest.mark.parametrize("values", ["B02", ["B02"], np.array(["B02"]), {"B02": 1}])
def test_names(values):
    assert checks.names("bands", values) == ("B02",)


@pytest.mark.parametrize("values", [3, None, 2.5, np.array("B02")])
def test_what_is_no_name(values):
    with pytest.raises(ParameterError, match=r"bands=.*; expected a name or several"):
        checks.names("bands", values)


def test_choice_among_names():
    lacking = {"mae": "", "psnr": "data_range=", "ssim": ""}
    assert checks.choose("metrics", None, lacking) == ("mae", "ssim")
    assert checks.choose("metrics", "ssim", lacking) == ("ssim",)
    assert checks.choose("metrics", ["ssim", "mae", "ssim"], lacking) == ("ssim", "mae")
    for given, message in (
        ("psnr", "metric 'psnr' needs data_range=, which is not given"),
        (["lpips", "mae"], r"metrics \['lpips'\]; expected some of mae, psnr, ssim"),
        ([], "metrics none; expected some of"),
        (3, "metrics=3; expected a name or several"),
    ):
        with pytest.raises(ParameterError, match=message):
            checks.choose("metrics", given, lacking)
