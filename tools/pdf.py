"""Print the built site as one PDF, with Chromium, and link it there: `python -m tools.pdf`."""

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urldefrag, urlsplit

import pikepdf
from bs4 import BeautifulSoup, Tag
from playwright.sync_api import sync_playwright

from tools.browser import REMEDY, find_chromium
from tools.layout import Layout

ROOT = Path(__file__).resolve().parent.parent
NAME = "book.pdf"
# Chapters without what only a screen can show: controls, and the code that the site folds.
LEFT_OUT = "script, style, .headerlink, details.hide, #explorer"
STYLE = """
  @page { size: A4; margin: 18mm 16mm 20mm; }
  .bd-main .bd-content .bd-article-container { max-width: none; padding: 0; }
  .bd-article-container .bd-article h1 { display: block !important; }  /* else off on paper */
  .bd-article figcaption :is(p, span) { color: black; }
  .chapter, .book-contents { break-before: page; }
  .title-page { padding-block-start: 70mm; text-align: center; }
  .title-page img { width: 30mm; }
  .book-contents ul { list-style: none; padding: 0; }
  .book-contents li { display: flex; justify-content: space-between; gap: 1em; }
  .book-contents li a { color: inherit; text-decoration: none; }
"""
FOOTER = (
    '<div style="width: 100%; font-size: 8px; text-align: center; font-family: sans-serif">'
    '<span class="pageNumber"></span></div>'
)
READY = """async () => {
  await window.MathJax.startup.promise;
  await document.fonts.ready;
  await Promise.all([...document.images].map((one) => one.decode()));
}"""
NUMBER = """(numbers) => document.querySelectorAll("[data-page]").forEach((one) => {
  one.textContent = numbers[one.dataset.page];
})"""


class Entry(NamedTuple):
    """One line of the contents; the heading of a part has no page."""

    title: str
    page: str = ""


def read(path: Path) -> BeautifulSoup:
    """Return the HTML file at `path`."""
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def found(soup: BeautifulSoup | Tag, selector: str) -> Tag:
    """Return the first element that `selector` selects; it has to be there."""
    tag = soup.select_one(selector)
    if tag is None:
        raise RuntimeError(f"the site has no {selector}: `make clean`, then `make book`")
    return tag


def entries(index: BeautifulSoup) -> Iterator[Entry]:
    """Give what the sidebar lists: the start page, the parts and their chapters."""
    for one in index.select("nav.bd-docs-nav p.caption, nav.bd-docs-nav li > a"):
        title = " ".join(one.get_text().split())
        page = Path(urlsplit(str(one.get("href", ""))).path).stem
        yield Entry(title, ("index" if page in ("", "#") else page) if one.name == "a" else "")


def chapter(html: Path, page: str, pages: set[str]) -> Tag:
    """Return the text of a page; its anchors get the page's name, since all share one file."""
    article = copy.copy(found(read(html / f"{page}.html"), "article"))
    for tag in article.select(LEFT_OUT):
        tag.decompose()
    for tag in article.select("[id]"):
        tag["id"] = f"{page}--{tag['id']}"
    for link in article.select("a[href]"):
        address, fragment = urldefrag(str(link["href"]))
        target = address.removesuffix(".html") or page
        if target in pages:
            link["href"] = f"#{target}--{fragment}" if fragment else f"#{target}"
    article["id"], article["class"] = page, "bd-article chapter"
    return article


def contents(lines: list[Entry]) -> str:
    """Return the contents, with a place for each page number."""
    parts = ['<nav class="book-contents"><h1>Contents</h1><ul>']
    for title, page in lines:
        if page:
            parts.append(f'<li><a href="#{page}">{title}</a><span data-page="{page}"></span></li>')
        else:
            parts.append(f"<li><strong>{title}</strong></li>")
    return "".join([*parts, "</ul></nav>"])


def whole_book(html: Path) -> str:
    """Return all chapters of the site as one HTML page."""
    index = read(html / "index.html")
    lines = list(entries(index))
    pages = [line.page for line in lines if line.page]
    name, note = found(index, ".logo__title").get_text(), found(index, ".extra_footer")
    for own in note.select(".whole-book"):
        own.decompose()
    front = (
        f'<div class="title-page"><img src="_static/logo.svg" alt=""/><h1>{name}</h1>'
        f"<p>{note.decode_contents()}</p></div>{contents(lines)}"
    )
    chapters = "".join(str(chapter(html, page, set(pages))) for page in pages)
    found(index, "head").append(BeautifulSoup(f"<style>{STYLE}</style>", "html.parser"))
    for other in index.select('script[src*="explorer"], link[rel="next"], link[rel="prev"]'):
        other.decompose()
    found(index, "title").string = name
    body = found(index, "body")
    body.clear()
    body.append(
        BeautifulSoup(
            '<main class="bd-main"><div class="bd-content"><div class="bd-article-container">'
            f'<article class="bd-article">{front}</article>{chapters}</div></div></main>',
            "html.parser",
        )
    )
    return str(index)


def numbers(printed: Path) -> dict[str, int]:
    """Return the sheet on which each target of a link stands, counted from 1."""
    with pikepdf.open(printed) as pdf:
        place: dict[object, int] = {page.objgen: i for i, page in enumerate(pdf.pages, 1)}
        targets = pdf.Root.Dests.as_dict()
        return {name.lstrip("/"): place[target[0].objgen] for name, target in targets.items()}


def write(html: Path) -> int:
    """Print the site at `html` into its `book.pdf`; return the number of sheets.

    Chromium prints twice: only the first print tells on which sheets the chapters begin.

    Raises
    ------
    RuntimeError
        If there is no Chromium.
    """
    path = find_chromium()
    if path is None:
        raise RuntimeError(f"the PDF is printed with Chromium, as {REMEDY}")
    source, printed = html / "whole-book.html", html / NAME
    source.write_text(whole_book(html), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(600_000)
        page.goto(source.as_uri(), wait_until="load")
        page.evaluate(READY)
        for _ in range(2):
            page.pdf(
                path=printed,
                prefer_css_page_size=True,
                scale=0.8,
                outline=True,
                tagged=True,
                display_header_footer=True,
                header_template="<span></span>",
                footer_template=FOOTER,
            )
            page.evaluate(NUMBER, numbers(printed))
        browser.close()
    source.unlink()
    with pikepdf.open(printed, allow_overwriting_input=True) as pdf:
        pdf.save(object_stream_mode=pikepdf.ObjectStreamMode.generate)  # a third smaller
        return len(pdf.pages)


def link(html: Path) -> None:
    """Link the PDF from the foot of every page, once."""
    mark = '<div class="extra_footer">'
    line = f'<span class="whole-book"><a href="{NAME}">The whole book as a PDF</a>.</span>'
    for file in html.glob("*.html"):
        text = file.read_text(encoding="utf-8")
        if line not in text:
            file.write_text(text.replace(mark, f"{mark}\n  {line}", 1), encoding="utf-8")


def main() -> int:
    """Print the site; return the exit status."""
    html = Layout(ROOT).html
    if not (html / "index.html").exists():
        print("There is no site yet: run `make book` first.", file=sys.stderr)
        return 1
    try:
        sheets = write(html)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    link(html)
    size = (html / NAME).stat().st_size / 1e6
    print(f"{html / NAME}: {sheets} pages, {size:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
