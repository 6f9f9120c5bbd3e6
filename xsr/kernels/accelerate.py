"""The one place for numba settings.

``nogil`` lets Dask threads run kernels side by side; ``cache`` keeps compiled code between processes;
``fastmath`` stays off because NaN is no data here and must be honoured; kernels that only add up may reorder their
sums, which lets the compiler add several numbers at once. Kernels are never ``parallel``: the
parallelism belongs to Dask, and nested thread pools fight.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Compile a kernel with the settings of this library."""
    compile_lazily: Any = numba.njit(nogil=True, cache=True, fastmath=False)
    compiled: F = compile_lazily(function)
    return compiled


def jit_sums(function: F) -> F:
    """Compile a kernel whose sums may be reordered; their last bits then depend on the processor."""
    compile_lazily: Any = numba.njit(nogil=True, cache=True, fastmath={"reassoc"})
    compiled: F = compile_lazily(function)
    return compiled
