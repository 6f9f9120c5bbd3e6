"""Number formats of inference: which one ``auto`` means here. Imports no PyTorch."""

import sys
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from xsr.core.errors import ParameterError

Exact: TypeAlias = Literal["float32", "bfloat16"]
Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]
FLAGS = frozenset(("avx512_bf16", "amx_bf16"))
"""What processors call the instructions that multiply bfloat16 and add in float32."""


def check_precision(precision: str) -> None:
    """Check how a precision is spelt.

    Raises
    ------
    ParameterError
        Unless it is auto, float32 or bfloat16.
    """
    if precision not in get_args(Precision):
        raise ParameterError(f"precision={precision!r}; expected one of {', '.join(get_args(Precision))}.")


def resolve_precision(precision: str, *, residual: bool, device: str) -> Exact:
    """Resolve ``auto`` to bfloat16 where that is fast and safe, else float32.

    Parameters
    ----------
    precision
        auto, float32 or bfloat16.
    residual
        Whether the network's output is a correction that is added to an image in float32: eight bits are enough for
        a correction, not for the image itself.
    device
        A CUDA device has bfloat16; otherwise the processor of this machine decides.

    Raises
    ------
    ParameterError
        If the precision is unknown.
    """
    check_precision(precision)
    if precision == "auto":
        return "bfloat16" if residual and (device.startswith("cuda") or native_bfloat16()) else "float32"
    return "bfloat16" if precision == "bfloat16" else "float32"


@cache
def native_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor multiplies bfloat16 by itself; False where that is not known."""
    if not sys.platform.startswith("linux") or not cpuinfo.is_file():
        return False
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return not FLAGS.isdisjoint(flags)
