import os
import subprocess
import sys

import pytest

from xsr.core.errors import StoreError
from xsr.core.store.lock import _takes_signals, locked
from xsr.core.store.place import Place


def test_signals_tell_who_lives_where_there_is_no_proc():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert _takes_signals(os.getpid())
    assert not _takes_signals(process.pid)


def test_the_lock_is_released_after_an_error(tmp_path):
    place = Place(str(tmp_path / "a.zarr"))
    with pytest.raises(KeyError), locked(place):
        raise KeyError
    with locked(place), pytest.raises(StoreError, match="is being written by process"), locked(place):
        pass
    assert list(tmp_path.iterdir()) == []


def test_who_was_forced_out_does_not_release_the_lock_of_the_other(tmp_path):
    place = Place(str(tmp_path / "a.zarr"))
    with locked(place):
        other = locked(place, force=True)
        other.__enter__()
        held = (tmp_path / "a.zarr.lock").read_text()
    assert (tmp_path / "a.zarr.lock").read_text() == held
    other.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []
