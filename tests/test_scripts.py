"""Every script beside the library runs as a reader would run it, on little input, and leaves the repository alone."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted(
    {*(ROOT / "examples").glob("*.py")} - {ROOT / "examples" / "on_slurm.py"}
)  # runs among the recipes of clusters
SCRIPTS = sorted([*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "docs" / "_scripts").glob("*.py")])
SAYS = {
    "any_time.py": "clear dates behind each pixel",
    "judge_a_model.py": "resolution in metres",
    "on_a_cluster.py": "checksum it was written with: True",
    "own_metric.py": "correlation, flat to steep",
    "own_network.py": "unsharp: error of 0.0",
    "own_sensor.py": "C1_red    MTF 0.15, contrast left 0.150",
    "own_training.py": "sharpened by the new weights",
    "own_source.py": "opened {'band': 4",
}
OPTIONS = {"own_training.py": ("--small",)}
"""What shortens an example that computes long."""
FIGURES = {
    "grid_figure.py": "grid.png",
    "home_figure.py": "home.png",
    "metrics_figure.py": "metrics.png",
    "synthetic_gallery.py": "synthetic.png",
}
"""Scripts that print nothing, and what they draw."""

pytestmark = pytest.mark.slow


def run(python, script, folder, *options):
    """Run a script in a folder of its own; what it prints."""
    environment = dict(os.environ)
    if "XSR_DATA" in environment:
        environment["XSR_DATA"] = str(Path(environment["XSR_DATA"]).resolve())
    done = python(script, *options, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def written():
    """Size and time of every file that a script could write into by mistake."""
    folders = ("benchmarks", "docs", "examples", "xsr/models/weights", "xsr/models/noncommercial")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    states = {path: path.stat() for path in [*files, ROOT / "README.md"] if path.is_file()}
    return {path: (state.st_size, state.st_mtime_ns) for path, state in states.items()}


def test_no_example_is_forgotten():
    assert {path.name for path in EXAMPLES} == set(SAYS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs(path, tmp_path, python):
    before = written()
    assert SAYS[path.name] in run(python, path, tmp_path, *OPTIONS.get(path.name, ()))
    assert written() == before


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_runs_on_little_input(path, tmp_path, python):
    """Each takes ``--small``, with which it writes into the working directory alone."""
    before = written()
    says = run(python, path, tmp_path, "--small")
    assert written() == before
    if says.startswith("XSR_DATA is not set"):
        pytest.skip(says.strip())
    if path.name in FIGURES:
        assert (tmp_path / FIGURES[path.name]).stat().st_size > 10_000
    else:
        assert any(character.isdigit() for character in says)
