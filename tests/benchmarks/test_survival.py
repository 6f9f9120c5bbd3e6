"""The trials of survival notice what they are there to notice."""

import random

import pytest
from common import faults, trials
from common.trials import Case, Lost, Work

import xsr


def write_two(folder):
    """Write two files, with a kill before the second."""
    faults.watch(folder, faults.once(2, faults.kill))
    (folder / "one").write_text("1")
    (folder / "two").write_text("2")


def test_a_kill_comes_before_the_change(tmp_path):
    ending = faults.forked(lambda: write_two(tmp_path))
    assert ending.killed
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_what_a_process_raises_is_known_to_be_of_xsr_or_not():
    def refuse():
        raise xsr.core.errors.StoreError("full")

    assert faults.forked(refuse).known
    assert not faults.forked(lambda: 1 / 0).known
    assert faults.forked(lambda: 5).value == 5


@pytest.fixture
def case(tmp_path):
    work = Work("to_zarr", "plain", tmp_path)
    work.write(work.whole)
    work.expected = trials.state(work.whole)
    made = Case(work, tmp_path / "trial", random.Random(1))
    made.folder.mkdir()
    made.copy_whole()
    return made


@pytest.mark.slow
def test_a_changed_pixel_and_a_changed_attribute_are_losses(case):
    case.check_equal("untouched")
    root = case.path / "zarr.json"
    text = root.read_text()
    root.write_text(text.replace("scene 1", "scene 2").replace('"units":"1"', '"units":"2"'))
    root.write_text(root.read_text().replace('"units": "1"', '"units": "2"'))
    with pytest.raises(Lost, match="attributes"):
        case.check_equal("edited")
    root.write_text(text)
    max((case.path / "reflectance" / "c").rglob("0")).unlink()
    with pytest.raises(Lost, match="values of reflectance"):
        case.check_equal("a block is lost")


@pytest.mark.slow
def test_damage_without_a_remedy_is_a_loss(case):
    """Another store lies there: neither going on nor repairing gives what was written."""
    faults.remove(case.path)
    xsr.to_zarr(trials.cube(shift=1.0), case.path, progress=False)
    with pytest.raises(Lost, match="no remedy helps: StoreError"):
        case.check_mended()
