"""The directive `figure-index`: all numbered figures of the book, chapter by chapter."""

import re
from collections.abc import Iterator

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

SENTENCE_END = re.compile(r"[.?!](?=\s|$)")


class FigureList(nodes.General, nodes.Element):
    """Where the list will stand: it can be made only when all pages have been read."""


class FigureIndex(SphinxDirective):
    """Mark the place of the list."""

    def run(self) -> list[nodes.Node]:
        """Return the mark."""
        return [FigureList()]


def pages(env: BuildEnvironment, page: str) -> Iterator[str]:
    """Yield a page and those below it, in the order of the table of contents."""
    yield page
    for below in env.toctree_includes.get(page, []):
        yield from pages(env, below)


def first_sentence(caption: nodes.caption) -> list[nodes.Node]:
    """Return copies of a caption's nodes up to the end of its first sentence."""
    kept: list[nodes.Node] = []
    for child in caption.children:
        end = SENTENCE_END.search(child) if isinstance(child, nodes.Text) else None
        if end:
            return [*kept, nodes.Text(child[: end.end()])]
        kept.append(child.deepcopy())
    return kept


class FillFigureList(SphinxPostTransform):
    """Fill the list; before references are resolved, so that those in captions will be, too."""

    default_priority = 5

    def run(self, **kwargs: object) -> None:
        """Replace each mark by one section for each page that has figures."""
        for mark in list(self.document.findall(FigureList)):
            listed = (self.section(page) for page in pages(self.env, self.config.root_doc))
            mark.replace_self([section for section in listed if section])

    def section(self, page: str) -> nodes.section | None:
        """Return a heading and a list of the numbered figures of one page, if it has any."""
        numbers = self.env.toc_fignumbers.get(page, {}).get("figure", {})
        items = {}
        for figure in self.env.get_doctree(page).findall(nodes.figure):
            name = next((name for name in figure["ids"] if name in numbers), None)
            caption = next(figure.findall(nodes.caption), None)
            if name and caption is not None:
                number = ".".join(str(part) for part in numbers[name])
                address = self.app.builder.get_relative_uri(self.env.docname, page) + f"#{name}"
                link = nodes.reference(
                    "", "", nodes.Text(f"Figure {number}"), refuri=address, internal=True
                )
                text = nodes.paragraph("", "", link, nodes.Text(": "), *first_sentence(caption))
                for reference in text.findall(addnodes.pending_xref):
                    reference["refdoc"] = self.env.docname
                items[name] = nodes.list_item("", text)
        if not items:
            return None
        title = nodes.title("", "", *(part.deepcopy() for part in self.env.titles[page].children))
        return nodes.section(
            "", title, nodes.bullet_list("", *items.values()), ids=[f"figures-{page}"]
        )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.add_node(FigureList)
    app.add_directive("figure-index", FigureIndex)
    app.add_post_transform(FillFigureList)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
