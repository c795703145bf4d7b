"""The book as one PDF: every page of the site in it, in order, and linked from the site."""

import re

import pikepdf
import pytest

from tests.book.pages import broken, read_page
from tools import pdf
from tools.site import build

CONTENTS = """format: jb-book
root: index
parts:
  - caption: Part
    chapters: [{file: one}, {file: two}]
"""


@pytest.fixture
def html(small_book):
    """Return the site of a book with two chapters that refer to each other."""
    (small_book.root / "_toc.yml").write_text(CONTENTS)
    (small_book.book / "index.md").write_text("# Start\n\nSee {doc}`one`.\n")
    (small_book.book / "one.md").write_text(
        "# First\n\n## Same\n\n$$x^2$$ (eq)\n\n```{dropdown} Proof\nWhy.\n```\nSee {ref}`there`.\n"
    )
    (small_book.book / "two.md").write_text("# Second\n\n(there)=\n## Same\n\nSee {eq}`eq`.\n")
    build(small_book, small_book.executed, small_book.html)
    return small_book.html


def test_the_pdf_holds_every_chapter_and_is_linked_once(html):
    assert pdf.NAME not in (html / "one.html").read_text()
    for _ in range(2):
        sheets = pdf.write(html)
        pdf.link(html)
    with pikepdf.open(html / pdf.NAME) as printed, printed.open_outline() as outline:
        titles = [str(item.title) for item in outline.root]
        assert len(printed.pages) == sheets == 5  # title, contents, three chapters
        links = [
            one.Dest for page in printed.pages for one in page.get("/Annots", []) if "/Dest" in one
        ]
        assert len(links) >= 6
    assert titles[1:] == ["Contents", "Start", "First", "Second"]
    assert pdf.numbers(html / pdf.NAME).items() >= {("index", 3), ("one", 4), ("two", 5)}
    for name in ("index", "one", "two", "search"):
        text = (html / f"{name}.html").read_text()
        assert text.count(f'href="{pdf.NAME}"') == 1
    assert not (html / "whole-book.html").exists()
    assert broken(html) == []


def test_links_between_chapters_stay_in_the_book(html):
    text = pdf.whole_book(html)
    whole = html / "whole-book.html"
    whole.write_text(text)
    page = read_page(whole)
    targets = [one.removeprefix("#") for one in page.references if one.startswith("#")]
    assert {"one", "two--there", "one--equation-eq"} <= set(targets) <= page.anchors
    assert not [one for one in page.references if re.match(r"(index|one|two)\.html", one)]
