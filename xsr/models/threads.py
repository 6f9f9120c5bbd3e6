"""How many threads PyTorch uses on a CPU, for one thread of this process at a time.

PyTorch's number belongs to a thread, but setting it also sets the default of threads that are yet to come: here a
thread of its own puts that back at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, Thread

import torch

_setting = Lock()


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
