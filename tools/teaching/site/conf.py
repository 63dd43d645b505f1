"""Sphinx's configuration of the site. The pages are written by ``tools.teaching.site``."""

from docutils import nodes

from tools.teaching.deck import formula

project = "Mini-GPT"
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # else scripts from a public server
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["toc.empty_glob", "mystnb.unknown_mime_type"]

default_role = "code"  # docstrings say `name` and ``name``
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature has them
autodoc_default_options = {"members": True, "show-inheritance": True}

html_theme = "furo"
html_title = "Mini-GPT"
html_favicon = "static/icon.svg"
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_domain_indices = False
html_copy_source = False
html_show_sphinx = False
html_permalinks_icon = "#"
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"


def mathml(display):
    """Formulas as MathML in the page: no script has to run for them."""

    def visit(translator, node):
        translator.body.append(formula(node.astext(), display))
        raise nodes.SkipNode

    return visit, None


def setup(app):
    app.add_html_math_renderer("mathml", mathml("inline"), mathml("block"))
    return {"parallel_read_safe": True}
