"""Run every benchmark, each in a fresh interpreter, and write what they print to docs/reference/benchmarks.md."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "reference" / "benchmarks.md"
BENCHMARKS = ("import_time.py", "graph_build.py", "degrade.py", "metrics.py", "scaling.py", "throughput.py", "wald.py")


def main() -> None:
    """Run, print and write."""
    sections = []
    for name in BENCHMARKS:
        print(f"--- {name}", flush=True)
        done = subprocess.run([sys.executable, str(HERE / name)], capture_output=True, text=True, check=True)
        print(done.stdout, flush=True)
        sections.append(f"## `benchmarks/{name}`\n\n```text\n{done.stdout.rstrip()}\n```\n")
    PAGE.write_text(
        "# Benchmarks\n\nWritten by `make bench`. Times are of the machine that ran it; ratios are within one run.\n\n"
        + "\n".join(sections),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
