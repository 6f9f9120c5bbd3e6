"""Progress bars where nobody looks at a notebook: what is drawn, when, and by whom."""

import sys
import threading

import numpy as np
import pytest
from dask.utils import key_split

import xsr
from xsr.core import progress
from xsr.core.graph import task_of
from xsr.operations.super_resolve.sharpness import Resharpened
from xsr.testing import synthetic_cube


@pytest.fixture
def watched(monkeypatch):
    """An interpreter whose user waits for every eager computation."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
    monkeypatch.delenv(progress.VARIABLE, raising=False)


def enlarge():
    return synthetic_cube(size=(64, 64)).sr.interpolate(scale=2, chunks=32)


def test_a_bar_leaves_its_last_line(capsys):
    with progress.bar("counting", 3, shown=True) as advance:
        for _ in range(3):
            advance()
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("counting")
    assert "3/3" in last


def test_a_bar_that_is_not_shown_prints_nothing(capsys):
    assert list(progress.counted("abc", "counting", shown=False)) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


def test_words_are_not_markup(capsys):
    list(progress.counted("a", "[red]x[/red]", shown=True))
    assert "[red]x[/red]" in capsys.readouterr().out


def test_a_bar_inside_a_bar_is_part_of_it(capsys):
    for _ in progress.counted("ab", "outer", shown=True):
        list(progress.counted("cd", "inner", shown=True))
    out = capsys.readouterr().out
    assert "outer" in out
    assert "inner" not in out
    list(progress.counted("cd", "after", shown=True))
    assert "after" in capsys.readouterr().out


def test_an_error_leaves_the_line_that_was_reached(capsys):
    def fail_at_the_second():
        for number in progress.counted([1, 0, 2], "counting", shown=True):
            _ = 1 / number

    with pytest.raises(ZeroDivisionError):
        fail_at_the_second()
    assert "1/3" in capsys.readouterr().out
    list(progress.counted("a", "after", shown=True))
    assert "after" in capsys.readouterr().out


@pytest.mark.usefixtures("watched")
def test_an_eager_call_shows_how_far_it_is_in_an_interpreter(capsys):
    enlarge()
    out = capsys.readouterr().out
    assert "interpolation" in out
    assert "16/16" in out
    series = synthetic_cube(size=(64, 64), times=["2024-06-01", "2024-06-11", "2024-06-21"])
    xsr.evaluate(series, series + 0.01, metrics=["rmse"])
    out = capsys.readouterr().out
    assert "evaluate" in out
    assert "3/3" in out


def test_a_script_shows_none(capsys, monkeypatch):
    monkeypatch.delattr(sys, "ps1", raising=False)
    monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
    enlarge()
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("watched")
def test_other_threads_and_those_who_want_none_show_none(capsys, monkeypatch):
    thread = threading.Thread(target=enlarge)
    thread.start()
    thread.join()
    monkeypatch.setenv(progress.VARIABLE, "0")
    enlarge()
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("watched")
def test_what_is_done_at_once_shows_none(capsys, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE_S", 3600.0)
    enlarge()
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("watched")
def test_progress_changes_no_number():
    shown = enlarge()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(progress.VARIABLE, "0")
        np.testing.assert_array_equal(shown, enlarge())


def words(cube):
    """Words under which the dashboard of Dask counts the tasks of a lazy cube."""
    return {key_split(key if isinstance(key, str) else key[0]) for key in cube.__dask_graph__()}


def test_the_dashboard_counts_tasks_under_words_of_the_verbs():
    cube = synthetic_cube(size=(64, 64)).chunk(y=32)
    assert words(cube.sr.interpolate(scale=2)) >= {"interpolation", "check_values"}
    assert "degrade" in words(cube.sr.degrade(scale=2))
    assert "evaluate" in words(cube.sr.evaluate(cube))
    assert "match_psf" in words(cube.sr.match_psf(sigma_m=5.0))
    assert not [one for one in words(cube.sr.degrade(scale=2)) if one.startswith("xsr")]


def test_a_wrapped_function_is_counted_as_what_it_wraps():
    class Named:
        task = "liif"

    assert task_of(Resharpened(Named(), (1.0,))) == "liif"
