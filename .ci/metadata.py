"""Build hook for what the page of a distribution shows: the project's address, and the README with absolute links.

The address is that of the repository which builds, as GitHub's runners know it (``GITHUB_REPOSITORY``). Built anywhere
else, a distribution states no address, and the links of its README stay relative.
"""

import os
import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)(\[[^\]]*\])\((?!https?:|#)([^)]+)\)")
"""A relative link or picture of Markdown: the mark of a picture, the text in brackets, the target."""


class MetadataHook(MetadataHookInterface):
    """Set the dynamic fields ``readme`` and ``urls``."""

    def update(self, metadata: dict[str, object]) -> None:
        """Fill in both fields."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        repository = os.environ.get("GITHUB_REPOSITORY")
        address = f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{repository}" if repository else ""
        metadata["urls"] = urls(address) if address else {}
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, address, os.environ.get("GITHUB_SHA", "HEAD")) if address else text,
        }


def urls(address: str) -> dict[str, str]:
    """Project URLs of a repository."""
    return {
        "Source": address,
        "Documentation": f"{address}/blob/HEAD/docs/index.md",
        "Changelog": f"{address}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }


def absolute(text: str, address: str, commit: str) -> str:
    """Text with its relative links led to the files of a commit."""

    def resolve(link: re.Match[str]) -> str:
        picture, label, target = link.groups()
        return f"{picture}{label}({address}/{'raw' if picture else 'blob'}/{commit}/{target})"

    return LINK.sub(resolve, text)
