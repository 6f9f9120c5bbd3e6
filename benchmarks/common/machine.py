"""The machine that a number was measured on."""

import os
import platform
from pathlib import Path

VECTORS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 and bfloat16", "avx512f": "AVX-512", "avx2": "AVX2"}
"""What processors of one name may differ by, the most first: as the system calls it, and in words."""


def processor() -> str:
    """Name of the processor, and what it multiplies by."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    fields = {key.strip(): value.split() for key, _, value in (line.partition(":") for line in lines)}
    name = " ".join(fields.get("model name", [platform.machine()]))
    vectors = [words for flag, words in VECTORS.items() if flag in fields.get("flags", [])]
    return f"{name} with {vectors[0]}" if vectors else name


def cores() -> str:
    """Name of the processor, and how many cores of it."""
    return f"{os.cpu_count()} cores of {processor()}"
