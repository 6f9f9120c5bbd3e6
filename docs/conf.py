"""Sphinx configuration. The build works offline: no intersphinx, no executed notebooks."""

import subprocess
import sys
from pathlib import Path

import sphinx_autosummary_accessors

import xsr  # registers the accessor that autosummary documents

HERE = Path(__file__).resolve().parent

project = "xsr"
author = "The xsr developers"
project_copyright = "The xsr developers"
release = xsr.__version__
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_autosummary_accessors",
    "sphinx_copybutton",
]
templates_path = [sphinx_autosummary_accessors.templates_path]
exclude_patterns = ["_build", "_scripts"]
suppress_warnings = ["config.cache"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = True
default_role = "py:obj"  # `xsr.liif` in a docstring is a link
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"xsr {release}"
html_static_path = ["_static"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def draw_figures(_app: object) -> None:
    """Draw the figures of the explanations, so that no picture is kept in the repository."""
    (HERE / "_static").mkdir(exist_ok=True)
    for name in ("grid_figure.py", "metrics_figure.py"):
        subprocess.run([sys.executable, str(HERE / "_scripts" / name)], check=True)


def setup(app: object) -> None:
    """Register the hook that draws the figures before the sources are read."""
    app.connect("builder-inited", draw_figures)  # type: ignore[attr-defined]
