"""Put a line under the title of every notebook page: how long it takes to read, and its notebook.

Reading time is an estimate by a fixed rule: the words of the prose at `WORDS_A_MINUTE`, and
besides them `FIGURE` minutes for each figure, `EQUATION` for each displayed equation. Prose is
all running text, with headings, captions and tables; a formula in a line counts as one word.
Code, printed output and what is folded away (proofs, long tables) are left out, since most
readers leave them out.
"""

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

WORDS_A_MINUTE = 220
FIGURE = 1 / 3
EQUATION = 1 / 6
UNREAD = (nodes.literal_block, nodes.raw, nodes.Invisible)
FOLDED = {"sd-dropdown", "dropdown"}  # of sphinx-design, of sphinx-togglebutton


def is_folded(node: nodes.Node) -> bool:
    """Tell whether a reader sees the node only after unfolding it."""
    return isinstance(node, nodes.Element) and not FOLDED.isdisjoint(node.get("classes", ()))


def minutes(node: nodes.Node) -> float:
    """Return the estimated time to read a node."""
    if isinstance(node, UNREAD) or is_folded(node):
        return 0
    if isinstance(node, nodes.math_block):
        return EQUATION
    if isinstance(node, nodes.math):
        return 1 / WORDS_A_MINUTE
    if isinstance(node, nodes.Text):
        return len(node.split()) / WORDS_A_MINUTE
    own = FIGURE if isinstance(node, nodes.image) else 0
    return own + sum(minutes(child) for child in node.children)


def add_line(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Put the line under the title of a page that was a notebook; the start page has its own."""
    file = app.env.doc2path(page, base=False)
    title = next(doctree.findall(nodes.title), None)
    if not file.endswith(".ipynb") or page == app.config.root_doc or title is None:
        return
    time = f"{max(1, round(minutes(doctree)))} min to read · "
    download = addnodes.download_reference(
        "", "", nodes.Text("Download as notebook"), refuri=f"_sources/{file}"
    )
    line = nodes.paragraph("", "", nodes.Text(time), download, classes=["chapter-line"])
    title.parent.insert(title.parent.index(title) + 1, line)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("doctree-resolved", add_line)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
