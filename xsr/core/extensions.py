"""What installed packages add to xsr: modules that their entry points of the group ``xsr.extensions`` name.

Such a module calls `xsr.register_sensor`, `xsr.register_source` and their like when it is imported. Registries load all
of them before their first lookup, in every process, so that workers know them as well.
"""

import threading
import warnings
from importlib.metadata import EntryPoint, entry_points

from xsr.core.errors import XsrWarning

GROUP = "xsr.extensions"
_lock = threading.RLock()
_loaded: set[str] = set()


def load() -> None:
    """Import the modules that entry points name, once.

    Warns
    -----
    XsrWarning
        If one fails to load; the others are loaded.
    """
    with _lock:  # a module that looks something up while it is imported comes here again, and finds all marked
        if GROUP in _loaded:
            return
        _loaded.add(GROUP)
        try:
            for entry in entry_points(group=GROUP):
                _load(entry)
        except BaseException:  # interrupted, or the warning is an error: the next lookup tries again
            _loaded.discard(GROUP)
            raise


def _load(entry: EntryPoint) -> None:
    try:
        entry.load()
    except (Exception, SystemExit) as error:
        text = f"extension {entry.name!r} ({entry.value}) was not loaded: {error}"
        warnings.warn(f"{text}. Update or remove the package that brings it.", XsrWarning, stacklevel=4)
