"""The images that the benchmarks use: ``benchmarks/data.toml``, of the folder named by XSR_DATA."""

import os
from pathlib import Path

from xsr.core.errors import ParameterError
from xsr.training.manifest import Manifest, read_manifest

MANIFEST = Path(__file__).parents[1] / "data.toml"


def data_folder() -> Path | None:
    """Folder of real images named by the environment variable ``XSR_DATA``, if it is set.

    Raises
    ------
    ParameterError
        If there is no such folder.
    """
    value = os.environ.get("XSR_DATA")
    if value and not Path(value).is_dir():
        raise ParameterError(f"XSR_DATA={value} is not a folder; expected the folder of real images, or unset it.")
    return Path(value) if value else None


def manifest() -> Manifest | None:
    """Scenes of that folder; None where it is not set."""
    return None if data_folder() is None else read_manifest(MANIFEST)
