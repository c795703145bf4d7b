"""Building the site: refused for any warning, skipped when nothing changed."""

import ast
import os
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import nbformat
import pytest
import yaml

from tests.book.made import PARAMETERS, cell, write_notebook
from tests.book.pages import LAYOUT
from tools.notebooks import execute, read_source, replace, serialize
from tools.site import SiteError, build


def test_an_unchanged_book_is_not_built_again(small_book):
    page = small_book.book / "index.md"
    page.write_text("# Title\n\nText.\n")
    assert build(small_book, small_book.executed, small_book.html)
    assert not build(small_book, small_book.executed, small_book.html)
    page.write_text("# Title\n\nOther text.\n")
    assert build(small_book, small_book.executed, small_book.html)
    assert "Other text." in (small_book.html / "index.html").read_text()


def test_a_warning_fails_every_time_and_keeps_the_old_site(small_book):
    page = small_book.book / "index.md"
    page.write_text("# Title\n\nText.\n")
    build(small_book, small_book.executed, small_book.html)
    page.write_text("# Title\n\n{doc}`nowhere`\n")
    for _ in range(2):
        with pytest.raises(SiteError, match="nowhere"):
            build(small_book, small_book.executed, small_book.html)
    assert "Text." in (small_book.html / "index.html").read_text()


def test_a_page_shows_the_executed_notebook(small_book):
    source = write_notebook(small_book, "index", PARAMETERS, cell("print(40 + 2 + seed)"))
    with pytest.raises(SiteError, match=r"no executed notebook .* index.*make book"):
        build(small_book, small_book.executed, small_book.html)
    execute(source, small_book.executed / "index.ipynb", {}, small_book.root)
    build(small_book, small_book.executed, small_book.html)
    html = (small_book.html / "index.html").read_text()
    assert "<span></span>42\n" in html
    assert "Show code" not in html


def test_reading_time_counts_what_is_read(small_book):
    prose, equation = "word " * 440, "$$\nx\n$$\n\n"  # 2 minutes; a sixth of one
    folded = f":::{{dropdown}} Proof\n{'word ' * 2200}\n:::\n\n"
    (small_book.book / "index.md").write_text("# Title\n")
    page = write_notebook(
        small_book, "page", prose, "\n\n", 6 * equation, folded, cell("x = 1\n" * 900)
    )
    replace(small_book.executed / "page.ipynb", serialize(read_source(page)))
    toc = "format: jb-book\nroot: index\nchapters:\n- file: page\n"
    (small_book.root / "_toc.yml").write_text(toc)
    build(small_book, small_book.executed, small_book.html)
    assert "3 min to read" in (small_book.html / "page.html").read_text()


def test_launch_buttons_name_the_repository_where_it_is_known(small_book, monkeypatch):
    source = write_notebook(small_book, "index", PARAMETERS, cell("seed"))
    execute(source, small_book.executed / "index.ipynb", {}, small_book.root)
    build(small_book, small_book.executed, small_book.html)
    page = small_book.html / "index.html"
    assert not re.search("mybinder|colab", page.read_text())
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/name")
    assert build(small_book, small_book.executed, small_book.html)
    links = re.findall(r'href="(https://(?:mybinder|colab)[^"]*)"', page.read_text())
    assert links == [
        "https://mybinder.org/v2/gh/owner/name/main?urlpath=lab/tree/notebooks/index.ipynb",
        "https://colab.research.google.com/github/owner/name/blob/main/notebooks/index.ipynb",
    ]
    assert LAYOUT.stored.relative_to(LAYOUT.root).as_posix() == "notebooks"
    assert (LAYOUT.stored / "index.ipynb").exists()


def test_binder_installs_what_the_notebooks_import():
    binder = LAYOUT.root / "binder"
    assert os.access(binder / "postBuild", os.X_OK)
    assert (
        (binder / "postBuild")
        .read_text()
        .endswith("pip install --no-cache-dir -e '.[plots]' myst-nb\n")
    )
    environment = yaml.safe_load((binder / "environment.yml").read_text())
    assert "pip" in environment["dependencies"]
    project = tomllib.loads((LAYOUT.root / "pyproject.toml").read_text())["project"]
    required = [*project["dependencies"], *project["optional-dependencies"]["plots"]]
    installed = {re.match(r"[\w-]+", one)[0].lower() for one in required}
    there = installed | {
        "myst-nb",
        "clcore",
        "ipython",
    }  # Jupyter, and IPython with it, is Binder's own
    distributions = packages_distributions()
    for name in imports():
        assert there & {one.lower() for one in distributions[name]}, name


def imports():
    """Return the packages, outside the standard library, that executed cells import."""
    found = set()
    for source in LAYOUT.sources():
        for one in nbformat.read(LAYOUT.stored / f"{source.stem}.ipynb", as_version=4).cells:
            if one.cell_type != "code" or one.execution_count is None:
                continue
            code = "\n".join(line for line in one.source.splitlines() if line[:1] not in "!%")
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.Import):
                    found.update(alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    found.add(str(node.module).partition(".")[0])
    return found - sys.stdlib_module_names
