"""Processes of Python that start at once, since they are forks of one that has imported what takes seconds to import.

The module is both sides: `Python` starts it as a process that imports and computes nothing, so that it uses no thread,
and that forks for every command it is told of. The fork runs the command as ``python`` would.
"""

import atexit
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from types import ModuleType

MODULES = (
    *("dask.array", "numba", "odc.geo.xr", "pystac", "rasterio", "rioxarray", "scipy.interpolate", "scipy.signal"),
    *("scipy.stats", "sklearn.ensemble", "torch", "torch._dynamo", "typer", "xarray", "zarr"),
    *("xsr.accessor", "xsr.cli", "xsr.operations.super_resolve", "xsr.sources.fetch", "xsr.testing"),
    *("xsr.training.run", "xsr.training.recipes"),
)
"""What is imported before; what is not installed is left to the command."""
LONGEST_S = 600
"""After how many seconds a command is ended."""


class Python:
    """A process that forks."""

    def __init__(self) -> None:
        command = [sys.executable, __file__]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(
        self, *arguments: object, cwd: object = None, env: dict[str, str] | None = None, umask: int = 0o022
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``python`` with such arguments, and wait for its end: a script, ``-c`` or ``-m``, after ``-W`` or not."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        texts = [str(argument) for argument in arguments]
        with tempfile.TemporaryDirectory() as folder:
            streams = [f"{folder}/stdout", f"{folder}/stderr"]
            order = [texts, str(cwd or os.getcwd()), dict(os.environ if env is None else env), umask, streams]
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
            status = int(self.process.stdout.readline())
            return subprocess.CompletedProcess(texts, status, *(Path(one).read_text("utf-8") for one in streams))

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def serve() -> None:
    """Import, then fork for every line on standard input, and write how the fork ended."""
    for name in MODULES:
        with suppress(ImportError):
            importlib.import_module(name)
    for line in sys.stdin:
        process = os.fork()
        if not process:
            os._exit(run(*json.loads(line)))
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])}\n")
        sys.stdout.flush()


def run(arguments: list[str], folder: str, environment: dict[str, str], umask: int, streams: list[str]) -> int:
    """Be the process of a command; its exit status."""
    signal.alarm(LONGEST_S)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.umask(umask)
    os.environ.clear()
    os.environ.update(environment)
    status = ended(arguments)
    threading._shutdown()  # type: ignore[attr-defined]  # as at the end of every process
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def ended(arguments: list[str]) -> int:
    """Run a command to its end; its exit status."""
    try:
        start(arguments)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def start(arguments: list[str]) -> None:
    """Run what arguments of ``python`` name."""
    while arguments[0] == "-W":
        warnings.simplefilter(arguments[1])  # type: ignore[arg-type]
        arguments = arguments[2:]
    what, *rest = arguments
    sys.path[:1] = [str(Path(what).parent) if what not in ("-c", "-m") else "", *path_of_environment()]
    if what == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    elif what == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [what, *rest]
        runpy.run_path(what, run_name="__main__")


def path_of_environment() -> list[str]:
    """Folders of PYTHONPATH."""
    return [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]


if __name__ == "__main__":
    serve()
