"""What the tests in a browser share."""

import fcntl
import shutil

import pytest

from tests.book.browsing import chromium, serving
from tests.book.pages import LAYOUT
from tools.layout import Layout
from tools.site import REPOSITORY, build


@pytest.fixture(scope="module")
def browser():
    """Return a headless Chromium."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def html():
    """Return the site built from the stored notebooks, by whichever test process comes first."""
    folder = LAYOUT.build / "test-site" / "html"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv(REPOSITORY, raising=False)
            build(LAYOUT, LAYOUT.stored, folder)
    return folder


@pytest.fixture(scope="module")
def site(html):
    """Serve the site; return its address."""
    with serving(html) as found:
        yield found


@pytest.fixture
def small_book(tmp_path, monkeypatch):
    """Return a book of one page with this book's configuration."""
    monkeypatch.delenv(REPOSITORY, raising=False)
    made = Layout(tmp_path)
    for name in ("_ext", "_static"):
        shutil.copytree(LAYOUT.book / name, made.book / name)
    shutil.copy(LAYOUT.book / "references.bib", made.book)
    shutil.copy(LAYOUT.root / "_config.yml", tmp_path)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    return made
