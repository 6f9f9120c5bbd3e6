"""Run every benchmark, each in a fresh interpreter, and write what they print to docs/reference/benchmarks.md.

Names run some of them, whose sections are written anew. ``--large`` runs only what takes too long for that; what it
prints is kept beside this file and goes into the page, now and whenever it is written again.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "reference" / "benchmarks.md"
BENCHMARKS = (
    "import_time.py",
    "graph_build.py",
    "degrade.py",
    "metrics.py",
    "scaling.py",
    "throughput.py",
    "precision.py",
    "temporal_cost.py",
    "training_step.py",
    "networks.py",
    "pipeline.py",
    "wald.py",
)
LARGE = ("pipeline.py", "--large")
KEPT = HERE / "large.txt"


def output(name: str, *options: str) -> str:
    """Run a benchmark and print what it prints."""
    print("---", name, *options, flush=True)
    done = subprocess.run([sys.executable, str(HERE / name), *options], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    print(done.stdout, flush=True)
    return done.stdout


def section(name: str, *options: str) -> str:
    """Run a benchmark; the section of the page."""
    return body(output(name, *options), name, *options)


def body(text: str, *words: str) -> str:
    """Section of what a benchmark printed."""
    return title(*words) + f"```text\n{text.rstrip()}\n```\n"


def put(name: str, text: str) -> None:
    """Write what one benchmark printed, in the place of its section or before that of the next one."""
    page = PAGE.read_text(encoding="utf-8")
    after = [*((one,) for one in BENCHMARKS[BENCHMARKS.index(name) + 1 :]), LARGE]
    end = min((page.index(title(*words)) for words in after if title(*words) in page), default=len(page))
    start = page.index(title(name)) if title(name) in page else end
    PAGE.write_text(page[:start] + body(text, name) + "\n" + page[end:], encoding="utf-8")


def title(*words: str) -> str:
    """Heading of a section."""
    return f"## `benchmarks/{' '.join(words)}`\n\n"


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(BENCHMARKS)}")
    parser.add_argument("--large", action="store_true", help="run what takes long, and nothing else")
    parser.add_argument("--small", action="store_true", help="the first benchmark on a small input; nothing is written")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; expected some of {', '.join(BENCHMARKS)}")
    if options.small:
        section(BENCHMARKS[0], "--small")
        return
    if options.large:
        KEPT.write_text(section(*LARGE), encoding="utf-8")
        before = PAGE.read_text(encoding="utf-8").partition(title(*LARGE))[0].rstrip()
        PAGE.write_text(f"{before}\n\n{KEPT.read_text(encoding='utf-8')}", encoding="utf-8")
        return
    if options.names:
        for name in options.names:
            put(name, output(name))
        return
    sections = [section(name) for name in BENCHMARKS]
    if KEPT.is_file():
        sections.append(KEPT.read_text(encoding="utf-8"))
    PAGE.write_text(
        "# Benchmarks\n\nWritten by `make bench`. Times are of the machine that ran it; ratios are within one run.\n\n"
        + "\n".join(sections),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
