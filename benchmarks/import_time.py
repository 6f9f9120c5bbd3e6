"""Import time of xsr against that of xarray, which it cannot do without.

Each measurement is a fresh interpreter; the two imports alternate, so that a slow moment of the machine
falls on both. It prints and never judges: a wall clock makes a poor test.
"""

import argparse
import statistics
import subprocess
import sys

TIMER = "import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"


def import_seconds(module: str) -> float:
    """Return the wall time of importing ``module`` in a new interpreter, in seconds."""
    command = [sys.executable, "-c", TIMER.format(module=module)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def alternate(modules: tuple[str, ...], repeats: int) -> dict[str, list[float]]:
    """Time each module ``repeats`` times in the order A B A B; a first round only warms the disk."""
    seconds: dict[str, list[float]] = {module: [] for module in modules}
    for turn in range(repeats + 1):
        for module in modules:
            elapsed = import_seconds(module)
            if turn > 0:
                seconds[module].append(elapsed)
    return seconds


def main() -> None:
    """Print the two medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="interpreters started per module")
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    options = parser.parse_args()
    seconds = alternate(("xarray", "xsr"), 1 if options.small else options.repeats)
    medians = {module: statistics.median(values) for module, values in seconds.items()}
    for module, median in medians.items():
        print(f"import {module:<7} {median:6.3f} s  (median of {len(seconds[module])})")
    print(f"ratio          {medians['xsr'] / medians['xarray']:6.2f}")


if __name__ == "__main__":
    main()
