"""Mend what libraries' HTML leaves wrong for assistive technology."""

from sphinx.application import Sphinx

MENDED = (
    # docutils 0.21 makes the entries of a role="list" bibliography no list items.
    (' role="doc-biblioentry"', ' role="listitem"'),
    # pandas heads the column of row names with an empty header cell.
    ("<th></th>", "<td></td>"),
    # So does a Markdown table whose first heading is left out.
    ('<th class="head"><p></p></th>', "<td></td>"),
    # myst-nb hides the visible label "Show code" behind this one.
    ('<summary aria-label="Toggle hidden content">', "<summary>"),
)


def mend(app: Sphinx, page: str, template: str, context: dict[str, object], tree: object) -> None:
    """Mend the body of a page before it goes into the template."""
    body = context.get("body")
    if isinstance(body, str):
        for wrong, right in MENDED:
            body = body.replace(wrong, right)
        context["body"] = body


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("html-page-context", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
