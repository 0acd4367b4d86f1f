"""How Sphinx builds these pages: ``make docs``. No network is needed, and a warning is an error."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))  # for _docstrings and _links, beside this file

project = "trio_signalr"
copyright = "the trio_signalr contributors"
release = installed("trio-signalr")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "_docstrings",
    "_links",
]
exclude_patterns = ["_build"]
nitpicky = True  # a name that leads nowhere is a warning

# Pages

myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 3  # [text](page.md#a-heading), as on GitHub
myst_links_external_new_tab = False
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

# The reference

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_class_signature = "mixed"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

# The site

html_theme = "furo"
html_title = "trio_signalr"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"

# Pages that other changes bring along: in the contents as soon as they are there.

COMING = {"command-line", "logging", "tracing"}


def leave_out_what_is_not_there(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Keep the contents free of pages that do not exist; called with the text of each page."""
    here = Path(__file__).parent
    missing = {name for name in COMING if not (here / f"{name}.md").exists()}
    source[0] = "".join(line for line in source[0].splitlines(keepends=True) if line.strip() not in missing)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", leave_out_what_is_not_there)
