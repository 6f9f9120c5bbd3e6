"""Files of the page: our own, and those of Leaflet, from the package that brings them."""

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from xsr.core.errors import ParameterError

OWN = Path(__file__).parent / "page"
INSTALL = 'The map needs packages that are not installed ({}). Install them: pip install "xarray-sr[map]".'
NEEDED = ("starlette", "uvicorn", "js_lib_leaflet")


def require() -> None:
    """Refuse to begin where a package of the map is missing.

    Raises
    ------
    ParameterError
        With what to install.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ParameterError(INSTALL.format(", ".join(missing)))


def leaflet() -> Path:
    """Folder of Leaflet: its script, its style and its images."""
    return Path(str(files("js_lib_leaflet"))) / "static" / "js_lib_leaflet"
