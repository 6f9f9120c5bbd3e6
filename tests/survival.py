"""Blocks that fail or kill, and a command that dies while it writes; importable by worker processes."""

import logging
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from xsr.core.store.header import read_header
from xsr.core.store.ledger import DONE, ROW, Ledger
from xsr.core.store.place import Place


@dataclass(frozen=True)
class Fails:
    """Function for `map_blocks` that fails on some blocks for as long as a file exists."""

    flag: str
    blocks: tuple[tuple[int, ...], ...]
    kind: type[Exception] = RuntimeError

    def __call__(self, block: NDArray[Any], block_info: Any = None) -> NDArray[Any]:
        if block_info[0]["chunk-location"] in self.blocks and Path(self.flag).exists():
            raise self.kind("block is broken")
        return block


@dataclass(frozen=True)
class Kills:
    """Function for `map_blocks` that kills its process, once on each of some blocks, or every time."""

    folder: str
    blocks: tuple[tuple[int, ...], ...]
    always: bool = False

    def __call__(self, block: NDArray[Any], block_info: Any = None) -> NDArray[Any]:
        place = block_info[0]["chunk-location"]
        mark = Path(self.folder) / "-".join(map(str, place))
        if place in self.blocks and (self.always or not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return block


def through(cube: xr.DataArray, function: Any) -> xr.DataArray:
    """Send every block of a cube through a function."""
    meta = np.empty((0,) * cube.ndim, np.float32)
    return cube.copy(data=cube.data.map_blocks(function, dtype=np.float32, meta=meta))


def ledger_of(path: Any, name: str = "reflectance") -> NDArray[Any]:
    """Rows of a variable of a store."""
    place = Place(str(path))
    header, _ = read_header(place)
    assert header is not None
    return Ledger.read(place, header.fingerprint, header.blocks).rows[name]


def n_done(path: Any) -> int:
    """Blocks of the reflectance that are done."""
    return int((ledger_of(path)["status"] == DONE).sum())


def forget(path: Any, numbers: Iterable[int], name: str = "*") -> None:
    """Take some rows out of the first page of the ledger of a variable."""
    page = next(Path(path).glob(f"spatial_ref/_xsr/{name}/0"))
    rows = np.frombuffer(page.read_bytes(), ROW).copy()
    rows[list(numbers)] = np.zeros((), ROW)
    page.write_bytes(rows.tobytes())


@contextmanager
def bucket() -> Iterator[dict[str, str]]:
    """Run an S3-compatible server with an empty bucket named ``bucket``; how to reach it."""
    server = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    options = {"endpoint_url": f"http://{host}:{port}", "key": "key", "secret": "secret"}
    s3fs.S3FileSystem(**options).makedirs("bucket", exist_ok=True)  # servers of one process share what they hold
    yield options
    running.stop()


def die_at_write(number: int) -> None:
    """Kill this process as it is about to write so many objects to a local Zarr store."""
    from zarr.storage import LocalStore

    real, count = LocalStore.set, iter(range(1, number))

    async def counting(self: LocalStore, key: str, value: Any) -> None:
        if next(count, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        await real(self, key, value)

    LocalStore.set = counting  # type: ignore[method-assign]


if __name__ == "__main__":
    from xsr.cli import main

    die_at_write(int(sys.argv[1]))
    sys.argv = ["xsr", *sys.argv[2:]]
    main()
