"""How Sphinx builds these pages: ``make docs``. No network is needed, and a warning is an error."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path

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
