"""Table of architectures in the reference, counted on the networks themselves.

Prints the table; ``--write`` puts it into ``docs/reference/models.md``, so that no number there is typed by hand. A
test says when it is out of date.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from xsr.models import catalogue, registry

PAGE = Path(__file__).parents[1] / "reference" / "models.md"
BEGIN, END = "<!-- architectures: written by docs/_scripts/architectures.py -->", "<!-- end of architectures -->"


def markdown(names: Iterable[str] | None = None) -> str:
    """Return the table, one row an architecture; all that are listed by default."""
    lines = [
        "| architecture | kind | trainable | total | radius | tiling | what it is |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    for name in catalogue.listed() if names is None else names:
        known = registry.describe(name)
        trainable, total = (f"{number:,}".replace(",", " ") for number in (known.trainable, known.parameters))
        radius = "–" if known.radius is None else known.radius
        what = f"{known.summary}. {known.citation}".rstrip(". ")
        lines.append(f"| `{name}` | {known.kind} | {trainable} | {total} | {radius} | {known.tiling} | {what} |")
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Replace what stands between the markers of a file."""
    content = path.read_text(encoding="utf-8")
    if content.count(BEGIN) != 1 or content.count(END) != 1:
        sys.exit(f"{path} must hold {BEGIN!r} and {END!r} once each")
    before, rest = content.split(BEGIN)
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def main() -> None:
    """Print the table, or write it with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="update the documentation")
    parser.add_argument("--small", action="store_true", help="the first architecture alone, printed")
    options = parser.parse_args()
    if options.small:
        print(markdown(list(catalogue.listed())[:1]))
    elif options.write:
        write(PAGE, markdown())
        print(f"wrote {PAGE}")
    else:
        print(markdown())


if __name__ == "__main__":
    main()
