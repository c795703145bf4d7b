"""The site, built from the stored notebooks, as a reader's browser gets it."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

import pytest

from tests.book.browsing import SETTLED, serving
from tests.book.pages import CHAPTERS, PAGES, broken, is_external, page_files, read_page

VIEWS = {"light": (1280, 900), "dark": (1280, 900), "phone": (375, 800)}
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
SEEN = """() => ({
  theme: document.documentElement.dataset.theme,
  equations: document.querySelectorAll("article mjx-container").length,
  broken_equations: document.querySelectorAll("mjx-merror, [data-mjx-error]").length,
  raw: document.querySelector("article")?.innerText.match(/\\\\[([].{0,60}/g) ?? [],
  unloaded: [...document.images].filter((i) => !(i.complete && i.naturalWidth)).map((i) => i.src),
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
})"""
# Every rule of WCAG 2.2 AA and axe's best practices, at every impact; what is folded opens first.
# Without preload axe does not itself ask for style sheets, under addresses that it gets wrong.
OPEN = """() => {
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  document.getAnimations()
    .filter((one) => one.effect.getComputedTiming().endTime < Infinity)
    .forEach((one) => one.finish());
}"""
FINDINGS = """async () => (await axe.run({
    preload: false,
    resultTypes: ["violations"],
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  })).violations
  .map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 200)).join(" | ")}`)"""


class Visit(NamedTuple):
    """What happened when a page was opened."""

    requests: list[str]
    errors: list[str]
    seen: dict
    findings: list[str]


@pytest.fixture(scope="module")
def visit(site, browser):
    """Return a function that opens a page in a view, each once."""
    return cache(lambda page, view: open_page(browser, site, page, view))


def open_page(browser, address, name, view):
    """Open one page as a reader in `view` would, with a browser that knows nothing yet."""
    width, height = VIEWS[view]
    context = browser.new_context(
        color_scheme="dark" if view == "dark" else "light",
        viewport={"width": width, "height": height},
    )
    page, requests, errors = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("requestfailed", lambda request: errors.append(f"failed: {request.url}"))
    page.on("response", lambda reply: reply.ok or errors.append(f"{reply.status}: {reply.url}"))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda said: said.type in ("error", "warning") and errors.append(said.text),
    )
    page.goto(f"{address}{name}.html", wait_until="load")
    page.evaluate(SETTLED)
    seen = page.evaluate(SEEN)
    page.evaluate(OPEN)
    page.evaluate(AXE)
    findings = page.evaluate(FINDINGS)
    context.close()
    return Visit(requests, errors, seen, findings)


every_page = pytest.mark.parametrize("page", PAGES)
every_view = pytest.mark.parametrize("view", VIEWS)


def test_every_page_is_visited(html):
    assert {path.relative_to(html).with_suffix("").as_posix() for path in page_files(html)} == {
        *PAGES
    }


@every_view
@every_page
def test_no_request_leaves_the_site(visit, site, page, view):
    asked = visit(page, view).requests
    assert asked
    assert [url for url in asked if not url.startswith((site, "data:"))] == []


@every_view
@every_page
def test_no_errors(visit, page, view):
    assert visit(page, view).errors == []


@every_page
def test_every_equation_is_rendered(visit, html, page):
    seen = visit(page, "light").seen
    assert seen["equations"] == read_page(html / f"{page}.html").equations
    assert seen["broken_equations"] == 0
    assert seen["raw"] == []


@every_view
@every_page
def test_every_image_is_loaded(visit, page, view):
    assert visit(page, view).seen["unloaded"] == []


@every_page
def test_every_image_has_alternative_text(html, page):
    images = read_page(html / f"{page}.html").images
    assert [image for image in images if not image.get("alt", "").strip()] == []


@every_view
@every_page
def test_no_accessibility_finding(visit, page, view):
    assert visit(page, view).findings == []


@every_page
def test_no_page_is_wider_than_a_phone(visit, page):
    assert visit(page, "phone").seen["overflow"] <= 0


@every_page
def test_the_reader_s_preference_for_dark_is_met(visit, page):
    assert visit(page, "dark").seen["theme"] == "dark"
    assert visit(page, "light").seen["theme"] == "light"


def test_internal_links_and_fragments_resolve(html):
    assert broken(html) == []


def test_pages_load_nothing_from_elsewhere(html):
    for path in page_files(html):
        page = read_page(path)
        sources = [image["src"] for image in page.images]
        assert [source for source in sources if is_external(source)] == [], path.name


def test_only_the_explorer_loads_bokeh(html):
    pages = {path.stem: path.read_text(encoding="utf-8") for path in page_files(html)}
    assert [name for name, text in pages.items() if "bokeh" in text] == ["explorer"]


def test_search_finds_a_chapter(browser, site):
    page = browser.new_page()
    page.goto(f"{site}search.html?q=gradient", wait_until="load")
    found = page.locator("#search-results li a").first
    found.wait_for(timeout=10_000)
    assert found.get_attribute("href").startswith(tuple(CHAPTERS))
    page.close()


@pytest.mark.parametrize(
    "body",
    [
        '<a href="nowhere.html">x</a>',
        '<a href="#nothing">x</a>',
        '<img src="missing.svg" alt="x">',
    ],
)
def test_the_link_check_finds_what_is_broken(tmp_path, body):
    (tmp_path / "index.html").write_text(f'<p id="here">{body}<a href="#here">y</a></p>')
    assert len(broken(tmp_path)) == 1


def test_the_browser_checks_find_what_is_wrong(tmp_path, browser):
    (tmp_path / "bad.html").write_text(
        "<!doctype html><html lang='en'><title>t</title><main><article>"
        r"<p>\(raw\)</p><img src='missing.png'><img src='http://127.0.0.1:9/x.png' alt='x'>"
        "<script>nothing()</script><div style='width: 3000px'>wide</div></article></main>"
    )
    with serving(tmp_path) as address:
        bad = open_page(browser, address, "bad", "phone")
    assert any("127.0.0.1:9/" in url for url in bad.requests)
    assert any("nothing is not defined" in text for text in bad.errors)
    assert len(bad.seen["unloaded"]) == 2
    assert bad.seen["raw"]
    assert bad.seen["overflow"] > 0
    assert any(text.startswith("image-alt") for text in bad.findings)
