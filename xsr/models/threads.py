"""How many threads PyTorch uses on a CPU, for one thread of this process at a time.

PyTorch's number belongs to a thread, but setting it also sets the default of threads that are yet to come: here a
thread of its own puts that back at once.

Threads of PyTorch wait actively for their next turn, and take time from others meanwhile. Where some of the work is
not PyTorch's, all of it is shared out here instead.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from threading import Lock, Thread, local

import torch

_setting = Lock()
_here = local()


def use(number: int) -> None:
    """Let PyTorch use so many threads in the calling thread from now on."""
    with _setting:
        before = torch.get_num_threads()
        torch.set_num_threads(number)
        elsewhere = Thread(target=torch.set_num_threads, args=(before,))
        elsewhere.start()
        elsewhere.join()


@contextmanager
def threads(most: int | None) -> Iterator[None]:
    """Let PyTorch use at most so many threads inside, in this thread alone; None leaves it as many as it has."""
    if most is None:
        yield
        return
    before = torch.get_num_threads()
    use(min(before, most))
    try:
        yield
    finally:
        with _setting:
            torch.set_num_threads(before)


@contextmanager
def pooled() -> Iterator[None]:
    """Have `share` spread work over as many threads as PyTorch would use here, and PyTorch itself use one inside."""
    count = torch.get_num_threads()
    if count == 1:
        yield
        return
    with threads(1):
        _here.count = count
        try:
            yield
        finally:
            _here.count = 1


def sharing() -> int:
    """Return over how many threads `share` spreads work."""
    count: int = getattr(_here, "count", 1)
    return count


def share(work: Callable[[slice], None], length: int) -> None:
    """Do work on so many rows, or whatever can be done apart, in parts that follow each other."""
    count = min(sharing(), length)
    if count <= 1:
        work(slice(0, length))
        return
    parts = [slice(length * i // count, length * (i + 1) // count) for i in range(count)]
    for _ in _pool(os.getpid()).map(partial(_inside, work, torch.is_inference_mode_enabled()), parts):
        pass


def _inside(work: Callable[[slice], None], inference: bool, part: slice) -> None:
    with torch.inference_mode(inference), torch.no_grad():
        work(part)


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads of this process, in each of which PyTorch uses one alone."""
    return ThreadPoolExecutor(os.cpu_count(), "xsr", partial(use, 1))
