import json
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from locking import HOLD, Script, race
from zarr.storage import MemoryStore

from xsr.core.errors import StoreError
from xsr.core.store import lock, lockfile
from xsr.core.store.lock import Owner, check_held, locked
from xsr.core.store.objects import StoreObject
from xsr.core.store.place import Place

ELSEWHERE = "another-boot pid:[1]"
"""A process table that is not that of the tests."""


@pytest.fixture
def place(tmp_path):
    return Place(str(tmp_path / "a.zarr"))


@pytest.fixture
def path(tmp_path):
    """The lock of `place`."""
    return tmp_path / "a.zarr.lock"


@pytest.fixture
def impatient(monkeypatch):
    """Take owners that cannot be looked up to be dead after 40 ms."""
    monkeypatch.setattr(lock, "BEAT_S", 0.01)


@pytest.fixture
def patient(monkeypatch):
    """Wait long for the next beat, which comes soon."""
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    monkeypatch.setattr(lock, "PATIENCE", 400)


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def stale():
    """Owner that was a process of this machine, and is none any more."""
    return replace(Owner.me(), pid=dead_process())


def beat_ends(token):
    """Wait until the thread that renews a lock has ended, since the lock is lost."""
    for thread in threading.enumerate():
        if thread.name == f"lock {token}":
            thread.join(120)
            assert not thread.is_alive()


# --- holding and releasing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit])
def test_the_lock_is_released_after_an_error(place, tmp_path, error):
    with pytest.raises(error), locked(place):
        raise error
    with locked(place), pytest.raises(StoreError, match="is being written by process"), locked(place):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_file_says_who_holds_it(place, path):
    with locked(place) as lease:
        record = json.loads(path.read_text())
    assert (record["host"], record["pid"], record["token"]) == (socket.gethostname(), os.getpid(), lease.token)
    assert Owner(**record).lives()


def test_the_owner_renews_its_lock_and_nothing_else_of_it(place, path, patient):
    with locked(place):
        first = Owner.of(path.read_bytes())
        now = Owner.of(lock._watched(place, lockfile.file_beside(place, ".lock"), path.read_bytes()))
    assert now.beat > first.beat
    assert replace(now, beat=first.beat) == first


def test_folders_that_nothing_was_written_to_are_removed(tmp_path):
    (tmp_path / "kept").mkdir()
    with locked(Place(str(tmp_path / "kept/new/newer/a.zarr"))):
        assert (tmp_path / "kept/new/newer/a.zarr.lock").exists()
    assert [p.name for p in tmp_path.rglob("*")] == ["kept"]
    with locked(Place(str(tmp_path / "new/a.zarr"))):
        (tmp_path / "new/a.zarr").touch()
    assert (tmp_path / "new/a.zarr").exists()


def test_a_store_has_one_lock_by_all_its_names(place, tmp_path):
    Path(place.path).mkdir()
    (tmp_path / "link.zarr").symlink_to(place.path)
    for name in (str(tmp_path / "link.zarr"), f"{place.path}/", os.path.relpath(place.path), f"file://{place.path}"):
        with locked(place), pytest.raises(StoreError, match="is being written by process"), locked(Place(name)):
            pass


def test_a_disk_without_links(place, path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with locked(place) as lease:
        assert Owner.of(path.read_bytes()).token == lease.token
        with pytest.raises(StoreError, match="is being written by process"), locked(place):
            pass
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("path", ["nothing://a.zarr", "a\0.zarr", "/dev/null/a.zarr"])
def test_where_no_lock_can_be_is_said_in_one_error(path):
    with pytest.raises(StoreError, match=r"locking .* failed"), locked(Place(path)):
        pass


def test_a_store_object_has_one_writer_in_its_process():
    one, other = (StoreObject("memory", store=MemoryStore()) for _ in range(2))
    with locked(one) as lease, locked(other):
        lease.check()
        with pytest.raises(StoreError, match=r"memory is being written by process"), locked(one):
            pass
    with pytest.raises(StoreError, match=r"The lock of memory is gone: another took it over and ended; this"):
        lease.check()


def test_the_lock_of_a_store_object_is_taken_over_by_force():
    place = StoreObject("memory", store=MemoryStore())
    with suppress(StoreError), locked(place) as taken, locked(place, force=True) as lease:
        lease.check()
        with pytest.raises(StoreError, match=r"The lock of memory was taken over by process"):
            taken.check()
    with locked(place):
        pass


@pytest.mark.slow
def test_a_forked_process_does_not_release_the_lock(place):
    lines = """
with lock.locked(place):
    child = os.fork()
    if child == 0:
        sys.exit()
    os.waitpid(child, 0)
    say(os.listdir(os.path.dirname(place.path)))
"""
    with Script(Path(place.path), lines) as script:
        assert script.rest() == "['a.zarr.lock']"


@pytest.mark.slow
def test_the_interpreter_ends_while_a_lock_is_held(place):
    with Script(Path(place.path), "held = lock.locked(place)\nheld.__enter__()\nsay('holds')") as script:
        assert script.rest() == "holds"
        assert script.process.returncode == 0


# --- who lives ----------------------------------------------------------------------------------------------


def test_signals_tell_who_lives_where_there_is_no_proc():
    assert lock._takes_signals(os.getpid())
    assert not lock._takes_signals(dead_process())


def test_the_process_table_tells_who_lives():
    me = Owner.me()
    assert me.lives() is True
    assert stale().lives() is False
    assert replace(me, born="0").lives() is False  # its number is used again by another
    assert replace(me, processes=ELSEWHERE).lives() is None
    assert replace(me, processes=None).lives() is None
    assert replace(me, host="elsewhere").lives() is None


def test_a_process_that_waits_to_be_collected_is_dead():
    process = subprocess.Popen([sys.executable, "-c", ""])
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        born = lock._process(process.pid)[1]
        assert replace(Owner.me(), pid=process.pid, born=born).lives() is False
    finally:
        process.wait()


def earlier(path, **changes):
    """Write the lock as earlier versions did."""
    record = {"name": "a.zarr", "host": socket.gethostname(), "pid": os.getpid(), "born": None, "start": "2024"}
    path.write_text(json.dumps(record | changes))


def test_a_lock_of_an_earlier_version(place, path):
    earlier(path, pid=dead_process())
    with locked(place):
        pass
    earlier(path, born=Owner.me().born)
    with pytest.raises(StoreError, match=rf"is being written by process {os.getpid()} on .* since 2024"), locked(place):
        pass
    earlier(path, host="elsewhere", pid=7)
    expected = r"locked by process 7 on elsewhere since 2024.*force=True.*delete .*a\.zarr\.lock"
    with pytest.raises(StoreError, match=expected), locked(place):
        pass
    with locked(place, force=True):
        assert Owner.of(path.read_bytes()).pid == os.getpid()
    assert not path.exists()


UNREADABLE = (b"", b"{", b"[1]", b"\xff\x00", b'{"host": 1, "pid": "x"}', b'{"host": "a", "pid": -1, "token": "t"}')


@pytest.mark.parametrize(
    "content", [*UNREADABLE, *(replace(Owner.me(), **o).content() for o in ({"host": "b"}, {"processes": ELSEWHERE}))]
)
def test_a_lock_that_nobody_renews_is_taken_over(place, path, impatient, caplog, content):
    path.write_bytes(content)
    with locked(place) as lease:
        check_held(place, lease.token)
    (record,) = caplog.records
    assert f"{place.path} is locked by" in record.message
    assert "Waiting 0.04 s for a sign of life" in record.message
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", replace(Owner.me(), host="elsewhere").content()], ids=["empty", "elsewhere"])
def test_a_lock_that_is_renewed_is_respected(place, path, patient, content):
    """An empty one may be that of a writer that has just made it."""
    path.write_bytes(content)
    renewed = replace(Owner.me(), host="elsewhere", pid=7, beat=1).content()
    timer = threading.Timer(0.05, path.write_bytes, [renewed])
    timer.start()
    with pytest.raises(StoreError, match="is being written by process 7 on elsewhere"), locked(place):
        pass
    timer.join()
    assert path.read_bytes() == renewed


def test_a_lock_that_is_released_while_it_is_watched_is_free(place, path, patient):
    path.write_bytes(replace(Owner.me(), host="elsewhere").content())
    timer = threading.Timer(0.05, path.unlink)
    timer.start()
    with locked(place):
        timer.join()


def test_force_does_not_wait(place, path, caplog):
    path.write_bytes(b"")
    with locked(place, force=True):
        pass
    assert caplog.records == []


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_no_lock_is_refused(place, path, kind, impatient):
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    with pytest.raises(StoreError, match=r"locking .* failed: IsADirectory|changes all the time"), locked(place):
        pass
    assert path.is_dir() or path.is_symlink()


# --- a lost lock stops its writer ---------------------------------------------------------------------------


def test_who_was_forced_out_stops_and_does_not_release_the_lock_of_the_other(place, path, impatient):
    one, other = locked(place), locked(place, force=True)
    lease = one.__enter__()
    lease.check()
    check_held(place, lease.token)
    theirs = other.__enter__()
    expected = rf"lock of .*a\.zarr was taken over by process {os.getpid()} on .*this writer stops.*resume=True"
    with pytest.raises(StoreError, match=expected):
        check_held(place, lease.token)
    beat_ends(lease.token)
    with pytest.raises(StoreError, match=expected):
        lease.check()
    with pytest.raises(StoreError, match=expected):
        one.__exit__(None, None, None)
    check_held(place, theirs.token)
    other.__exit__(None, None, None)
    assert list(path.parent.iterdir()) == []


def test_a_check_does_not_wait_for_the_thread_that_renews(place, path):
    """Both may have been stopped, and go on at the same time."""
    held = locked(place)
    lease = held.__enter__()
    path.unlink()
    with pytest.raises(StoreError, match="is gone"):
        lease.check()
    assert lease.loss is None
    with pytest.raises(StoreError, match="is gone"):
        held.__exit__(None, None, None)


def test_who_lost_its_lock_without_a_check_does_not_end_as_if_it_had_not(place):
    other = locked(place, force=True)
    with pytest.raises(StoreError, match="was taken over by process"), locked(place):
        other.__enter__()
    other.__exit__(None, None, None)


def test_a_removed_lock_is_a_lost_one(place, path, impatient):
    held = locked(place)
    lease = held.__enter__()
    path.unlink()
    expected = r"lock of .*a\.zarr is gone: .* deleted .*a\.zarr\.lock; this writer stops"
    with pytest.raises(StoreError, match=expected):
        check_held(place, lease.token)
    beat_ends(lease.token)
    with pytest.raises(StoreError, match=expected):
        lease.check()
    with pytest.raises(StoreError, match=expected):
        held.__exit__(None, None, None)
    assert not path.exists()


def test_a_lost_lock_does_not_hide_an_error(place, path):
    held = locked(place)
    held.__enter__()
    path.unlink()
    assert not held.__exit__(KeyError, KeyError(), None)


def test_a_beat_that_fails_is_tried_again(place, impatient):
    """The disk fails at the first beat; at the second the lock is found to be lost, so that the thread still runs."""

    class Failing(lockfile.LocalFile):
        beats = 0

        def replace(self, old, new):
            Failing.beats += 1
            if Failing.beats == 1:
                raise OSError(5, "Input/output error")
            return False

    lease = lock.Lease(place, "token")
    heart = lock._Heart(Failing(Path(f"{place.path}.lock")), Owner.me(), lease)
    heart.start()
    heart.thread.join(120)
    assert Failing.beats == 2
    with pytest.raises(StoreError, match="is gone"):
        lease.check()


@pytest.mark.slow
def test_a_stopped_writer_that_goes_on_after_a_takeover_stops(place, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    with Script(Path(place.path), HOLD) as owner:
        assert owner.line() == "holds"
        owner.process.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreError, match=f"is being written by process {owner.process.pid}"), locked(place):
            pass
        with locked(place, force=True):
            owner.process.send_signal(signal.SIGCONT)
            assert f"was taken over by process {os.getpid()}" in owner.rest()


# --- races --------------------------------------------------------------------------------------------------


def contend(places):
    """Lock from as many threads as there are places; whoever succeeds keeps the lock until all have tried."""
    barrier = threading.Barrier(len(places))

    def one(place):
        barrier.wait(120)
        try:
            with locked(place):
                barrier.wait(120)
                return True
        except StoreError:
            barrier.wait(120)
            return False

    with ThreadPoolExecutor(len(places)) as pool:
        return sum(pool.map(one, places))


@pytest.mark.parametrize("lost", [True, False])
def test_of_many_that_come_at_once_one_gets_the_lock(place, path, lost):
    gone = stale().content()
    for _ in range(10):
        if lost:
            path.write_bytes(gone)
        assert contend([place] * 8) == 1
        assert list(path.parent.iterdir()) == []


@pytest.mark.slow
def test_of_many_processes_that_take_over_at_once_one_gets_the_lock(tmp_path):
    rounds, racers, gone = 40, 8, stale().content()
    for number in range(rounds):
        (tmp_path / f"a-{number}.zarr.lock").write_bytes(gone)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["xsr.core.store.lock"])
    wins, barrier = processes.Array("i", rounds), processes.Barrier(racers)
    jobs = [processes.Process(target=race, args=(str(tmp_path / "a"), rounds, barrier, wins)) for _ in range(racers)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert list(wins) == [1] * rounds
    assert list(tmp_path.iterdir()) == []


# --- containers ---------------------------------------------------------------------------------------------


@pytest.fixture
def container():
    """Command that gives what follows a process table of its own, with the host's name."""
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run([*command, "true"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no process tables can be made: {done.stderr.strip()}")
    return command


@pytest.mark.slow
@pytest.mark.parametrize("proc", [True, False], ids=["own /proc", "the host's /proc"])
def test_containers_that_share_a_host_name(place, path, container, monkeypatch, proc):
    monkeypatch.setattr(lock, "BEAT_S", 0.1)
    monkeypatch.setattr(lock, "PATIENCE", 40)
    within = container if proc else container[:-1]
    with Script(Path(place.path), HOLD, before=within) as owner:
        assert owner.line() == "holds"
        with Script(Path(place.path), HOLD, before=within) as second:
            assert "Waiting 4 s for a sign of life" in second.line()
            assert "stops:" in (refused := second.rest())
            assert "is being written by process 1 on" in refused
    held = path.read_bytes()
    monkeypatch.setattr(lock, "PATIENCE", 2)
    with Script(Path(place.path), HOLD, before=within) as third:
        assert "Waiting 0.2 s for a sign of life" in third.line()
        assert third.line() == "holds"
        assert Owner.of(path.read_bytes()).token != Owner.of(held).token


# --- what travels -------------------------------------------------------------------------------------------


def test_workers_check_a_lock_by_its_place_and_token(place):
    with locked(place) as lease:
        check_held(*pickle.loads(pickle.dumps((lease.place, lease.token))))


def test_the_record_is_the_whole_owner():
    me = Owner.me()
    assert json.loads(me.content()) == asdict(me)
    assert Owner.of(me.content()) == me
