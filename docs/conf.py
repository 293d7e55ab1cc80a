"""The documentation site: `make docs` builds it; warnings are errors."""

from __future__ import annotations

import sys
from pathlib import Path

import gammasky

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "gammasky"
author = "The gammasky authors"
copyright = "the gammasky authors, MIT licence"
release = version = gammasky.__version__

extensions = [
    "generated_reference",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_ext", "calibration/page.md"]  # the last is filled in by make_calibration.py
nitpicky = False

html_theme = "furo"
html_title = f"gammasky {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["reference/generated/extra"]
html_copy_source = False
html_show_sphinx = False
templates_path: list[str] = []

# --- pages in Markdown, which read the same on a forge
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # pages that scripts write may go from the first level to the third

# --- notebooks: run when they have changed, an error ends the build
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "notebooks")
nb_execution_in_temp = True
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_render_markdown_format = "gfm"
nb_output_stderr = "remove"  # warnings of other packages; an error ends the build all the same

# --- the Python interface, from docstrings
default_role = "code"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# --- copied commands and code go without prompts
copybutton_prompt_text = r">>> |\.\.\. |\$ |In \[\d*\]: "
copybutton_prompt_is_regexp = True
