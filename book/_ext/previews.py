"""Load MathJax also where a page has no formula itself, but a preview may bring one.

The previews themselves are made in the browser, by `_static/book.js`.
"""

from docutils import nodes
from sphinx.application import Sphinx


def needs_math(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Count a page with a link into another page among those that have equations."""
    if any("#" in link.get("refuri", "") for link in doctree.findall(nodes.reference)):
        app.env.get_domain("math").data["has_equations"][page] = True


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("doctree-resolved", needs_math)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
