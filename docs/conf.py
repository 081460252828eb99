"""Configuration of the documentation site. `make docs` builds it into build/docs, without a network."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "st2actions-mistral"
project_copyright = "the st2actions-mistral authors, Apache License 2.0"

version = release = metadata.version("st2actions-mistral")

extensions = [
    "myst_parser",
    "openstackdocstheme",
    "oslo_config.sphinxext",
    "reno.sphinxext",
    "command_help",
    "option_role",
    "sequence",
]
exclude_patterns = ["_ext"]
suppress_warnings = ["myst.strikethrough"]
nitpicky = True

# Headings down to the third level can be linked to as page.md#heading.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
myst_links_external_new_tab = False

templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme = "openstackdocs"
html_theme_options = {
    "analytics_tracking_code": "",
    "display_badge": False,
    "root_title": "st2actions-mistral",
    "sidebar_mode": "toctree",
}
html_copy_source = False
openstackdocs_auto_name = False
openstackdocs_auto_version = False
openstackdocs_pdf_link = False
