"""Sphinx's settings for the documentation; ``docs/site/build.py`` calls it."""

from importlib.metadata import version as version_of

project = "Mulligan"
author = "the Mulligan developers"
copyright = author
version = release = version_of("mulligan")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
root_doc = "index"
nitpicky = False  # annotations name types of other packages, which have no pages here

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 5

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}

html_theme = "furo"
html_title = f"Mulligan {release}"
html_show_sourcelink = False
html_copy_source = False
