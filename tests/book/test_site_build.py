"""Building the site: refused for any warning, skipped when nothing changed."""

import shutil
from pathlib import Path

import pytest

from tests.book.made import PARAMETERS, cell, write_notebook
from tools.layout import Layout
from tools.notebooks import execute, read_source, replace, serialize
from tools.site import SiteError, build

ROOT = Path(__file__).parents[2]


@pytest.fixture
def layout(tmp_path):
    """Return a book of one page with this book's configuration."""
    made = Layout(tmp_path)
    shutil.copytree(ROOT / "book" / "_ext", made.book / "_ext")
    shutil.copytree(ROOT / "book" / "_static", made.book / "_static")
    shutil.copy(ROOT / "book" / "references.bib", made.book)
    shutil.copy(ROOT / "_config.yml", tmp_path)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    return made


def test_an_unchanged_book_is_not_built_again(layout):
    page = layout.book / "index.md"
    page.write_text("# Title\n\nText.\n")
    assert build(layout, layout.executed, layout.html)
    assert not build(layout, layout.executed, layout.html)
    page.write_text("# Title\n\nOther text.\n")
    assert build(layout, layout.executed, layout.html)
    assert "Other text." in (layout.html / "index.html").read_text()


def test_a_warning_fails_every_time_and_keeps_the_old_site(layout):
    page = layout.book / "index.md"
    page.write_text("# Title\n\nText.\n")
    build(layout, layout.executed, layout.html)
    page.write_text("# Title\n\n{doc}`nowhere`\n")
    for _ in range(2):
        with pytest.raises(SiteError, match="nowhere"):
            build(layout, layout.executed, layout.html)
    assert "Text." in (layout.html / "index.html").read_text()


def test_a_page_shows_the_executed_notebook(layout):
    source = write_notebook(layout, "index", PARAMETERS, cell("print(40 + 2 + seed)"))
    with pytest.raises(SiteError, match=r"no executed notebook .* index.*make book"):
        build(layout, layout.executed, layout.html)
    execute(source, layout.executed / "index.ipynb", {}, layout.root)
    build(layout, layout.executed, layout.html)
    html = (layout.html / "index.html").read_text()
    assert "<span></span>42\n" in html
    assert "Show code" not in html


def test_reading_time_counts_what_is_read(layout):
    prose, equation = "word " * 440, "$$\nx\n$$\n\n"  # 2 minutes; a sixth of one
    folded = f":::{{dropdown}} Proof\n{'word ' * 2200}\n:::\n\n"
    (layout.book / "index.md").write_text("# Title\n")
    page = write_notebook(
        layout, "page", prose, "\n\n", 6 * equation, folded, cell("x = 1\n" * 900)
    )
    replace(layout.executed / "page.ipynb", serialize(read_source(page)))
    toc = "format: jb-book\nroot: index\nchapters:\n- file: page\n"
    (layout.root / "_toc.yml").write_text(toc)
    build(layout, layout.executed, layout.html)
    assert "3 min to read" in (layout.html / "page.html").read_text()
