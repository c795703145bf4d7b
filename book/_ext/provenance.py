"""Say of each figure how it was made: the records it reads, the code, and the command.

The end of each chapter says it for the whole chapter, and every figure's caption links there. Where
a page names a grid (`results/NAME.toml`), the name links to that grid on the page of records. What
a page reads is told from its cells: names of grids and of benchmarks in quotes, with or without an
ending.
"""

import json
import re
from functools import cache
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from clcore.results import code_version, read_ledger, results_folder

GRID = re.compile(r"results/([\w-]+)\.toml")
ANCHOR = "how-this-page-was-made"
RECORDS = "records"  # the page that lists them


@cache
def grids() -> frozenset[str]:
    """Return the names of the grids that have a file."""
    return frozenset(path.stem for path in results_folder().glob("*.toml"))


def grids_read(code: list[str]) -> list[str]:
    """Return the grids that a page's cells read: by their quoted names, or the ledger's."""
    text = "\n".join(code)
    if 'glob("*.toml")' in text:
        return sorted(grids())
    told = read_ledger().grids.keys() if "read_ledger" in text else ()
    return sorted(n for n in grids() if n in told or re.search(rf'"{n}(\.toml)?"', text))


def benchmarks_read(code: list[str]) -> list[str]:
    """Return the measurements by scripts that a page's cells read."""
    text = "\n".join(code)
    if '"benchmarks"' not in text:
        return []
    names = (path.stem for path in (results_folder() / "benchmarks").glob("*.json"))
    return sorted(name for name in names if re.search(rf'"{name}(\.json)?"', text))


def made(app: Sphinx, page: str, notebook: dict[str, object], figures: int) -> str:
    """Return the HTML that says how a chapter was made."""
    cells = notebook["cells"]
    assert isinstance(cells, list)
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names = grids_read(code)
    there = app.builder.get_relative_uri(page, RECORDS)
    links = ", ".join(f'<a href="{there}#grid-{name}">{escape(name)}</a>' for name in names)
    benchmarks = benchmarks_read(code)
    plural = "" if figures == 1 else "s"
    rows = [
        f"Its {figures} figure{plural} and all computed numbers come from the cells of "
        f"<code>book/{page}.md</code>, with code version <code>{code_version()}</code>. "
        "<code>make book</code> executes them again.",
        f'Records that it reads: {links}. <a href="{there}">Records</a> has their code, '
        "environment and command."
        if names
        else "It reads no records of training runs"
        + ("." if benchmarks else ": everything is computed on the page."),
    ]
    if benchmarks:
        rows.append(
            "Measured by scripts, and not again by <code>make book</code>: "
            + ", ".join(f"<code>results/benchmarks/{name}.json</code>" for name in benchmarks)
            + "."
        )
    items = "".join(f"<li>{row}</li>" for row in rows)
    return (
        '<details class="made"><summary>How this page was made</summary>'
        f'<ul id="{ANCHOR}">{items}</ul></details>'  # a link to what is folded unfolds it
    )


def add(app: Sphinx, document: nodes.document, page: str) -> None:
    """Add to a notebook page what `made` says, and the links to it."""
    if app.builder.format != "html":
        return
    for literal in list(document.findall(nodes.literal)) if page != RECORDS else ():
        found = GRID.search(literal.astext())
        if found and found[1] in grids() and not isinstance(literal.parent, nodes.reference):
            uri = f"{app.builder.get_relative_uri(page, RECORDS)}#grid-{found[1]}"
            link = nodes.reference("", "", refuri=uri, internal=True)
            literal.replace_self(link)
            link += literal
    path = Path(app.env.doc2path(page))
    if path.suffix != ".ipynb":
        return
    figures = list(document.findall(nodes.figure))
    for figure in figures:
        for caption in figure.findall(nodes.caption):
            link = nodes.reference(
                "", "How it was made", refuri=f"#{ANCHOR}", internal=True, classes=["made-link"]
            )
            caption += [nodes.Text(" "), link]
    notebook = json.loads(path.read_text(encoding="utf-8"))
    top = next(document.findall(nodes.section))
    top += nodes.raw("", made(app, page, notebook, len(figures)), format="html")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("doctree-resolved", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
