"""How the site is built: nox -s docs."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "trajscope"
author = "the trajscope authors"
version = release = version_of("trajscope")
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["_build", "_extra"]
html_theme = "furo"
html_title = f"trajscope {release}"
html_extra_path = ["_extra"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
templates_path: list[str] = []

# Nothing is fetched while the site is built, nor by its pages.
intersphinx_mapping: dict[str, tuple[str, str]] = {}
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

default_role = "code"
autodoc_typehints = "none"  # unions of arrays fill a screen; docstrings name dimensions and units
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
# Summing up attributes of dataclasses here; the members would repeat them.
numpydoc_class_members_toctree = False
