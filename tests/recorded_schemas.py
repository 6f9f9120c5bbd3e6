"""JSON schemas of STAC extensions, for validation without their web site.

The source distributions of pystac's extension packages carry them: their tests replay what the site answered. Run
``python tests/recorded_schemas.py`` once, where PyPI is reached; it downloads five of them and keeps the schemas in the
virtual environment, where `schemas` finds them.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(sys.prefix) / "stac-schemas"
PACKAGES = ("projection==2.0.1", "file==2.1.1", "mlm==1.4.1", "xarray-assets==1.0.1", "eo==1.1.1")
SITE = "https://stac-extensions.github.io/"


def schemas(folder: Path = FOLDER) -> dict[str, Any]:
    """Schemas by their addresses; none where they were not fetched."""
    return {
        f"{SITE}{path.parent.parent.name}/{path.parent.name}/{path.name}": json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*/*/schema.json"))
    }


def fetch(folder: Path = FOLDER) -> None:
    """Download the packages and keep the schemas that their records hold."""
    names = [f"pystac-ext-{one}" for one in PACKAGES]
    with tempfile.TemporaryDirectory() as temporary:
        how = ["--quiet", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--dest", temporary]
        subprocess.run([sys.executable, "-m", "pip", "download", *how, *names], check=True)
        for archive in sorted(Path(temporary).glob("*.tar.gz")):
            for uri, text in recorded(archive).items():
                target = folder / uri.removeprefix(SITE)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")


def recorded(archive: Path) -> dict[str, str]:
    """Schemas by their addresses in the records of one source distribution."""
    found: dict[str, str] = {}
    with tarfile.open(archive) as opened:
        for member in opened.getmembers():
            content = opened.extractfile(member) if "/cassettes/" in member.name and member.isfile() else None
            if content is None:
                continue
            for one in yaml.load(content.read(), yaml.CSafeLoader)["interactions"]:
                uri, status = one["request"]["uri"], one["response"]["status"]["code"]
                if uri.startswith(SITE) and uri.endswith("/schema.json") and status == 200:
                    found[uri] = one["response"]["body"]["string"]
    return found


if __name__ == "__main__":
    fetch()
