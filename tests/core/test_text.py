import pytest

from xsr.core.text import brief, printable


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, "5"),
        ("B02\x1b[31m", r"'B02\x1b[31m'"),
        ("a" * 200, "'" + "a" * 37 + "..." + "a" * 38 + "'"),
        ([1, 2, 3, 4, 5], "[1, 2, 3, 4, ...]"),
        ({"a": {"b": {"c": 1}}}, "{'a': {'b': {...}}}"),
        pytest.param(10**5000, "a number of 16610 bits", id="long"),
    ],
)
def test_any_value_fits_on_a_line(value, expected):
    assert brief(value) == expected
    assert printable(brief(value)) == brief(value)


def test_a_list_of_itself_ends():
    loop = []
    loop.append(loop)
    assert brief(loop) == "[[[...]]]"
