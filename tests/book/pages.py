"""What a page of the built site says and refers to, read with the standard library."""

import gzip
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urldefrag, urlsplit

import yaml

from tools.layout import Layout

LAYOUT = Layout(Path(__file__).parents[2])
CHAPTERS = [
    chapter["file"]
    for part in yaml.safe_load((LAYOUT.root / "_toc.yml").read_text())["parts"]
    for chapter in part["chapters"]
]
PAGES = ["index", *CHAPTERS, "search"]

REFERRING = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src"}
TEXT = {".html", ".css", ".js", ".svg", ".json"}  # GitHub Pages compresses these


class Page(NamedTuple):
    """Anchors, references, equations, and images of one HTML file."""

    anchors: set[str]
    references: list[str]
    equations: int
    images: list[dict[str, str]]


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.page = Page(set(), [], 0, [])

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        self.page.anchors.update(given[name] for name in ("id", "name") if name in given)
        if REFERRING.get(tag) in given:
            self.page.references.append(given[REFERRING[tag]])
        if tag in ("span", "div") and "math" in given.get("class", "").split():
            self.page = self.page._replace(equations=self.page.equations + 1)
        if tag == "img":
            self.page.images.append(given)


def read_page(path: Path) -> Page:
    """Return what the HTML file at `path` holds."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def is_external(reference: str) -> bool:
    """Whether `reference` leaves the site."""
    return bool(urlsplit(reference).scheme or urlsplit(reference).netloc)


def page_files(html: Path) -> list[Path]:
    """Return the site's pages; below `_static` themes leave templates that end in .html."""
    return [path for path in html.rglob("*.html") if "_static" not in path.parts]


def broken(html: Path) -> list[str]:
    """Return every internal reference below `html` whose file or fragment does not exist."""
    pages = {path: read_page(path) for path in page_files(html)}
    found = []
    for path, page in pages.items():
        for reference in page.references:
            if is_external(reference):
                continue
            address, fragment = urldefrag(reference)
            file = unquote(urlsplit(address).path)
            target = (path.parent / file).resolve() if file else path
            if target.is_dir():
                target = target / "index.html"
            anchors = pages[target].anchors if target in pages else set()
            if not target.exists() or (fragment and unquote(fragment) not in anchors):
                found.append(f"{path.name}: {reference}")
    return found


def wire_size(path: Path) -> int:
    """Return the bytes that a server which compresses text sends for the file at `path`."""
    content = path.read_bytes()
    return len(gzip.compress(content, 6)) if path.suffix in TEXT else len(content)


def kind(path: Path) -> str:
    """Return what a file is counted as: engine of the equations, font, or the page's own."""
    if "mathjax" in path.parts:
        return "engine"
    return "fonts" if path.suffix in (".woff", ".woff2", ".ttf") else "own"
