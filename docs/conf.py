"""Sphinx configuration. The build needs no network and executes the gallery, where an error ends it."""

import os
import shutil
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
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_autosummary_accessors",
    "sphinx_copybutton",
    "sphinx_design",
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

# --- the gallery -----------------------------------------------------------------------------------

nb_execution_mode = "force"  # every page that is read; a cache would outlive changes of xsr
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_output_stderr = "remove-warn"  # a warning in a page is a warning of the build
GALLERY = HERE / "gallery"

# What the kernels are given: the area of the gallery, the commands beside this Python, and the folder of real images.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(GALLERY), os.environ.get("PYTHONPATH"))))
os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
if os.environ.get("XSR_DATA"):
    os.environ["XSR_DATA"] = str(Path(os.environ["XSR_DATA"]).resolve())

# --- the look --------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = f"xsr {release}"
html_static_path = ["_static"]
html_css_files = ["xsr.css"]
html_extra_path = ["versions.json"]
html_sidebars = {"index": []}
html_theme_options = {
    "logo": {"text": "xsr"},
    "navbar_end": ["version-switcher", "theme-switcher"],
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "switcher": {  # beside all versions of a site, or in a build that is served alone
        "json_url": "../versions.json",
        "version_match": "dev" if "dev" in release else release,
    },
    "check_switcher": False,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
html_show_sourcelink = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def draw_figures(_app: object) -> None:
    """Draw the figures of the explanations, so that no picture is kept in the repository."""
    (HERE / "_static").mkdir(exist_ok=True)
    for name in ("grid_figure.py", "home_figure.py", "metrics_figure.py"):
        subprocess.run([sys.executable, str(HERE / "_scripts" / name)], check=True)


def copy_thumbnails(app: object, error: Exception | None) -> None:
    """Give each page of the gallery its first picture as the thumbnail."""
    pages = {f"gallery/{path.stem}" for path in GALLERY.glob("*.md")}
    if error or app.builder.name != "html":  # type: ignore[attr-defined]
        return
    out = Path(app.outdir) / "_images"  # type: ignore[attr-defined]
    for docnames, image in reversed(app.env.images.values()):  # type: ignore[attr-defined]
        for docname in pages & docnames if (out / image).is_file() else ():  # a cell may offer forms that are not used
            shutil.copy(out / image, out / f"{Path(docname).name}.png")


def setup(app: object) -> None:
    """Register the hooks that draw the figures before the sources are read, and the thumbnails after."""
    app.connect("builder-inited", draw_figures)  # type: ignore[attr-defined]
    app.connect("build-finished", copy_thumbnails)  # type: ignore[attr-defined]
