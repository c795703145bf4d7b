"""What readers may lack or want: a mouse, scripts, paper, notebooks, old addresses."""

import re
import subprocess

import nbformat
import pytest
import yaml

from tests.book.browsing import SETTLED, serving
from tests.book.pages import CHAPTERS, LAYOUT, PAGES, page_files
from tools.site import build

CONFIG = yaml.safe_load((LAYOUT.root / "_config.yml").read_text())
BY_KEYBOARD = "one-update"  # a chapter with folded code, folded proofs, equations and links
FOCUS = """() => {
  const at = document.activeElement;
  if (at === document.body) return null;
  const seen = (one) => {
    const {outlineStyle, outlineWidth, boxShadow} = getComputedStyle(one);
    const ring = outlineStyle !== "none" && parseFloat(outlineWidth) > 0;
    return ring || (boxShadow !== "none" && !/^rgba\\(0, 0, 0, 0\\)/.test(boxShadow));
  };
  at.dataset.visit ??= document.querySelectorAll("[data-visit]").length;
  const box = at.getBoundingClientRect();
  return {
    visit: Number(at.dataset.visit),
    ringed: seen(at),
    shown: box.width > 1 && box.bottom > 0 && box.top < innerHeight,
    text: at.outerHTML.slice(0, 200),
  };
}"""
# What a reader cannot get at: neither shown nor in what opens without a script.
HIDDEN = """(every) => every
  .filter((one) => !one.checkVisibility() && !one.closest("details:not([open])"))
  .map((one) => one.outerHTML.slice(0, 200))"""
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)"')

every_page = pytest.mark.parametrize("page", PAGES)


@pytest.fixture
def opened(browser, site):
    """Return a function that opens a page of the site in a new tab, with the context's options."""
    contexts = []

    def open_page(name, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{site}{name}.html", wait_until="load")
        if options.get("java_script_enabled", True):
            page.evaluate(SETTLED)
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_tab_goes_through_a_chapter_visibly_and_out_of_it(opened):
    page = opened(BY_KEYBOARD, reduced_motion="reduce")
    visited = []
    for _ in range(500):
        page.keyboard.press("Tab")
        page.evaluate(SETTLED)
        at = page.evaluate(FOCUS)
        if at is None:
            break
        visited.append(at)
    else:
        pytest.fail(f"the focus never leaves the page; it is on {at['text']}")
    assert [at["visit"] for at in visited] == list(range(len(visited)))
    assert "Skip to main content" in visited[0]["text"]
    assert [at["text"] for at in visited if not at["ringed"]] == []
    assert [at["text"] for at in visited if not at["shown"]] == []
    reached = "".join(at["text"] for at in visited)
    for part in ("search-button", "theme-switch-button", "<summary", "right-next"):
        assert part in reached


def test_the_skip_link_leads_to_the_text(opened):
    page = opened(BY_KEYBOARD)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


@pytest.mark.parametrize("folded", ["div.cell details.hide", "details.sd-dropdown"])
def test_what_is_folded_opens_and_closes_by_enter(opened, folded):
    page = opened(BY_KEYBOARD)
    details = page.locator(folded).first
    details.locator("summary").focus()
    for expected in (True, False):
        page.keyboard.press("Enter")
        assert details.evaluate("(one) => one.open") is expected


@pytest.mark.parametrize("width", [1280, 375])
def test_search_opens_is_used_and_closes_by_keyboard(opened, width):
    page = opened(BY_KEYBOARD, viewport={"width": width, "height": 800})
    dialog = page.locator("#pst-search-dialog")
    page.keyboard.press("Control+k")
    dialog.wait_for(state="visible")
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.keyboard.press("Control+k")
    page.keyboard.type("gradient")
    page.keyboard.press("Enter")
    page.locator("#search-results li a").first.wait_for()


def test_the_menu_of_a_phone_opens_and_closes_by_keyboard(opened):
    page = opened(BY_KEYBOARD, viewport={"width": 375, "height": 800})
    page.locator(".primary-toggle").focus()
    page.keyboard.press("Enter")
    menu = page.locator("#pst-primary-sidebar-modal")
    menu.locator(f'a[href="{CHAPTERS[0]}.html"]').wait_for(state="visible")
    page.keyboard.press("Escape")
    menu.wait_for(state="hidden")


@every_page
def test_without_scripts_a_page_is_readable(opened, page):
    plain = opened(page, viewport={"width": 375, "height": 800}, java_script_enabled=False)
    assert plain.locator("nav.bd-docs-nav a:visible").count() == 1 + len(CHAPTERS)
    assert plain.locator("article :is(h1, h2, h3, p, li, td, img)").evaluate_all(HIDDEN) == []
    for tex in plain.locator("article .math").all_text_contents():
        assert re.search(r"\\[(\[]", tex)


def test_every_page_has_a_strict_policy(html):
    for path in page_files(html):
        found = POLICY.search(path.read_text(encoding="utf-8"))
        assert found, path.name
        rules = dict(rule.split(" ", 1) for rule in found[1].split("; "))
        assert rules["default-src"] == "'self'"
        scripts = rules["script-src"].split()
        assert scripts[0] == "'self'"
        assert all(one.startswith("'sha256-") for one in scripts[1:])
        assert rules["style-src"] == "'self' 'unsafe-inline'"
        assert rules["img-src"] == "'self' data:"


@pytest.mark.parametrize(
    "bad",
    [
        "<script>document.title = 'hacked'</script>",
        "<p onclick='1'>x</p><script src='data:text/javascript,document.title=`hacked`'></script>",
        "<img src='http://127.0.0.1:9/x.png' onerror='document.title=`hacked`' alt='x'>",
    ],
)
def test_the_policy_stops_what_is_not_the_book_s(tmp_path, html, browser, bad):
    text = (html / "references.html").read_text(encoding="utf-8")
    (tmp_path / "bad.html").write_text(text.replace("</article>", f"{bad}</article>"))
    page, said = browser.new_page(), []
    page.on("console", lambda one: said.append(one.text))
    with serving(tmp_path) as address:
        page.goto(f"{address}bad.html", wait_until="load")
    assert page.title() != "hacked"
    assert any("Content Security Policy" in text for text in said)
    page.close()


def test_a_chapter_is_downloaded_as_its_executed_notebook(html, opened):
    for source in LAYOUT.sources():
        copy = html / "_sources" / f"{source.stem}.ipynb"
        assert nbformat.reads(copy.read_text(), 4) == nbformat.read(
            LAYOUT.stored / copy.name, as_version=4
        )
    page = opened(BY_KEYBOARD)
    page.locator(".dropdown-download-buttons > button").click()
    with page.expect_download() as download:
        page.locator(".btn-download-source-button").click()
    assert download.value.suggested_filename == f"{BY_KEYBOARD}.ipynb"


def test_the_site_of_an_unknown_repository_has_no_launch_buttons(html):
    for path in page_files(html):
        assert not re.search("mybinder|colab.research", path.read_text(encoding="utf-8"))


def test_paper_shows_proofs_and_neither_code_nor_controls(opened):
    page = opened(BY_KEYBOARD, color_scheme="dark")
    page.emulate_media(media="print")
    proof = page.locator("details.sd-dropdown").first
    assert proof.evaluate("(one) => one.open") is False
    assert proof.locator(".sd-summary-content").bounding_box()["height"] > 100
    for hidden in ("details.hide", ".bd-sidebar-primary", ".bd-header-article", ".headerlink"):
        assert not page.locator(hidden).first.is_visible(), hidden
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def removed_pages():
    """Return the names of pages that this repository once had, as far as its history is here."""
    command = ["git", "log", "--diff-filter=D", "--no-renames", "--format=", "--name-only", "--"]
    ran = subprocess.run(
        [*command, "book"], cwd=LAYOUT.root, capture_output=True, text=True, check=True
    )
    gone = re.findall(r"^book/([^/]+)\.(?:md|ipynb)$", ran.stdout, re.MULTILINE)
    return {name for name in gone if not (LAYOUT.book / f"{name}.md").exists()}


def test_every_page_that_is_gone_has_a_redirect(html):
    redirects = CONFIG["sphinx"]["config"]["redirects"]
    assert removed_pages() <= set(redirects)
    for target in redirects.values():
        assert (html / target.partition("#")[0]).exists()


def test_an_old_address_leads_to_the_new_one(small_book, browser):
    (small_book.book / "index.md").write_text("# Title\n\n(part)=\n## Part\n")
    config = small_book.root / "_config.yml"
    config.write_text(config.read_text().replace("redirects: {}", "redirects: {old: index.html}"))
    build(small_book, small_book.executed, small_book.html)
    with serving(small_book.html) as address:
        page, refused = browser.new_page(), []
        page.on("console", lambda one: refused.append(one.text) if one.type == "error" else None)
        page.goto(f"{address}old.html#part")
        page.wait_for_url(f"{address}index.html#part")
        assert refused == []
        page.close()
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{address}old.html")
        page.wait_for_url(f"{address}index.html")
        context.close()
