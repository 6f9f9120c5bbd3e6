"""The machine that a number was measured on."""

import os
import platform
from pathlib import Path


def processor() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    named = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return named[0].split(":")[1].strip() if named else platform.machine()


def cores() -> str:
    """Name of the processor, and how many cores of it."""
    return f"{os.cpu_count()} cores of {processor()}"
