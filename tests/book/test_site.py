"""The site, built from the stored notebooks, as a reader's browser gets it."""

import re
from functools import cache
from html import unescape
from importlib.resources import files
from typing import NamedTuple

import pytest
import yaml

from clcore.results import read_ledger
from tests.book.browsing import SETTLED, serving
from tests.book.pages import (
    CHAPTERS,
    LAYOUT,
    PAGES,
    broken,
    is_external,
    kind,
    page_files,
    read_page,
    wire_size,
)

PARTS = yaml.safe_load((LAYOUT.root / "_toc.yml").read_text())["parts"]
NUMBERED = [one["file"] for part in PARTS if part.get("numbered") for one in part["chapters"]]
NOTEBOOKS = [source.stem for source in LAYOUT.sources() if source.stem != "index"]
VIEWS = {"light": (1280, 900), "dark": (1280, 900), "phone": (375, 800)}
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
SEEN = """() => ({
  theme: document.documentElement.dataset.theme,
  equations: document.querySelectorAll("article mjx-container").length,
  broken_equations: document.querySelectorAll("mjx-merror, [data-mjx-error]").length,
  raw: document.querySelector("article")?.innerText.match(/\\\\[([].{0,60}/g) ?? [],
  unloaded: [...document.images].filter((i) => !(i.complete && i.naturalWidth)).map((i) => i.src),
  picture: document.querySelector("article :is(figure, .sliders)")?.getBoundingClientRect().top,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
})"""
# What is folded opens first. What MathJax draws is hidden from whoever cannot see it: it keeps its
# place, empty. Contrast takes most of axe's time, so it is judged once for all elements, on
# whichever page, that are alike in kind, colour, size and all that lies behind them.
OPEN = """(judged) => {
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  document.getAnimations()
    .filter((one) => one.effect.getComputedTiming().endTime < Infinity)
    .forEach((one) => one.finish());
  const drawn = [...document.querySelectorAll("mjx-math[aria-hidden='true']:not(:has(mjx-utext))")]
    .map((one) => [one, one.getBoundingClientRect()]);
  for (const [one, box] of drawn) {
    one.style.cssText = `display: inline-block; width: ${box.width}px; height: ${box.height}px`;
    one.replaceChildren();
  }
  const looks = new Map([[null, ""]]), known = new Set(judged);
  for (const one of document.querySelectorAll("*")) {
    const style = getComputedStyle(one);
    const behind = looks.get(one.parentElement) +
      (/, 0\\)$/.test(style.backgroundColor) && style.backgroundImage === "none" &&
        style.opacity === "1" && style.position === "static" ? ""
        : [style.backgroundColor, style.backgroundImage, style.opacity, style.position]);
    looks.set(one, behind);
    const look = [one.tagName, one.getAttribute("class"), style.color, style.fontSize,
      style.fontWeight, style.textShadow, behind].join();
    const said = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!said || !one.checkVisibility({ visibilityProperty: true })) continue;
    one.toggleAttribute("data-alike", known.has(look));
    known.add(look);
  }
  return [...known];
}"""
# Other colours come with the next picture, and some of them little by little.
PICTURE = "() => new Promise((seen) => requestAnimationFrame(() => requestAnimationFrame(seen)))"
# Every rule of WCAG 2.2 AA and axe's best practices, at every impact; in the dark those that look
# at colours and images (the logo is another), since all else is as in the light.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RULES_IN_THE_DARK = {
    "type": "rule",
    "values": ["color-contrast", "link-in-text-block", "image-alt", "image-redundant-alt"],
}
# Without preload axe does not itself ask for style sheets, under addresses that it gets wrong.
FINDINGS = """async (rules) => {
  axe.configure({ rules: [{ id: "color-contrast", selector: ":not([data-alike])" }] });
  return (await axe.run({
    preload: false,
    resultTypes: ["violations"],
    runOnly: rules,
  })).violations
  .map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 200)).join(" | ")}`);
}"""


class Visit(NamedTuple):
    """What happened when a page was opened."""

    requests: list[str]
    errors: list[str]
    seen: dict
    findings: list[str]


@pytest.fixture(scope="module")
def visit(site, browser):
    """Return a function that opens a page in a view, each once."""
    judged = []
    opened = cache(lambda page, size: open_page(browser, site, page, size, judged))
    return lambda page, view: opened(page, VIEWS[view])[view]


def open_page(browser, address, name, size, judged):
    """Open one page with a browser that knows nothing yet, in all views of one size.

    What looks like something in `judged` is not judged for its contrast; what is, joins it.
    """
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    page, requests, errors, visits = context.new_page(), [], [], {}
    page.on("request", lambda request: requests.append(request.url))
    page.on("requestfailed", lambda request: errors.append(f"failed: {request.url}"))
    page.on("response", lambda reply: reply.ok or errors.append(f"{reply.status}: {reply.url}"))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda said: said.type in ("error", "warning") and errors.append(said.text),
    )
    page.goto(f"{address}{name}.html", wait_until="load")
    page.evaluate(AXE)
    for view in (view for view in VIEWS if VIEWS[view] == size):
        page.emulate_media(color_scheme="dark" if view == "dark" else "light")
        page.evaluate(PICTURE)
        page.evaluate(SETTLED)
        seen = page.evaluate(SEEN)
        judged[:] = page.evaluate(OPEN, judged)
        findings = page.evaluate(FINDINGS, RULES_IN_THE_DARK if view == "dark" else RULES)
        visits[view] = Visit([*requests], [*errors], seen, findings)
    context.close()
    return visits


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


@every_page
def test_a_page_is_light(visit, html, site, page):
    sizes = {"own": 0, "engine": 0, "fonts": 0}
    for url in {url.partition("?")[0] for url in visit(page, "light").requests}:
        if url.startswith(site):
            file = html / url.removeprefix(site)
            sizes[kind(file)] += wire_size(file)
    allowed = 1_000_000 if page == "explorer" else 500_000  # it draws with Bokeh
    assert 0 < sizes["own"] <= allowed
    assert sum(sizes.values()) <= 1_500_000


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


@pytest.mark.parametrize(
    ("words", "chapter"),
    [
        ("gradient", ""),
        ("inverse Wishart", "one-update"),  # the name of a lemma
        ("affine functions", "freeze-or-train"),  # in a theorem
        ("Schur complement", "one-update"),  # in a folded proof
        ("equilateral triangle", "magnitude-curves"),  # in a folded proof
    ],
)
def test_search_finds_a_chapter_by_its_words(browser, site, words, chapter):
    page = browser.new_page()
    page.goto(f"{site}search.html?q={words}", wait_until="load")
    page.locator("#search-results li a").first.wait_for(timeout=10_000)
    found = [link.get_attribute("href") for link in page.locator("#search-results li a").all()]
    assert found[0].startswith(tuple(CHAPTERS))
    assert [address for address in found if address.startswith(chapter)]
    page.close()


def article(html, page):
    """Return the HTML of a page's own text."""
    text = (html / f"{page}.html").read_text(encoding="utf-8")
    return text[text.index("<article") : text.index("</article>")]


def plain(text):
    """Return HTML without its tags."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", text))).strip()


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_every_notebook_tells_its_reading_time_and_can_be_had(html, page):
    line = re.search(r'</h1>\s*<p class="chapter-line">(.*?)</p>', article(html, page), re.DOTALL)
    assert re.match(r"[1-9]\d* min to read", plain(line[1]))
    assert f'href="_sources/{page}.ipynb"' in line[1]


@pytest.mark.parametrize("page", NUMBERED)
def test_every_chapter_has_a_question_and_says_in_short_what_it_finds(html, page):
    before, box, after = article(html, page).partition('<div class="in-short admonition">')
    assert box, "no box: :::{admonition} In short, with :class: in-short"
    assert "?" in plain(before)
    assert "<figure" not in before
    said = plain(after.partition("</div>")[0]).removeprefix("In short")
    assert 2 <= len(re.findall(r"[.?](?= |$)", said)) <= 3
    assert not re.search(r"\d", said), "a number in prose would have to be computed"
    assert "What to take away" in after


@pytest.mark.parametrize("page", NUMBERED)
def test_the_first_picture_of_a_chapter_begins_on_its_first_screen(visit, page):
    assert visit(page, "light").seen["picture"] < VIEWS["light"][1]


def test_a_chapter_has_neighbours_and_code_to_copy(browser, site):
    page = browser.new_page()
    page.goto(f"{site}one-update.html", wait_until="load")
    links = page.locator(".prev-next-footer a")
    assert [link.get_attribute("href") for link in links.all()] == [
        "forgetting-is-drift.html",
        "how-many-parameters.html",
    ]
    page.locator("details.hide summary").first.click()
    assert page.locator("details[open] button.copybtn").first.is_visible()
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_start_page_says_it_all_on_one_screen(browser, site, scheme):
    page = browser.new_page(viewport={"width": 1366, "height": 768}, color_scheme=scheme)
    page.goto(f"{site}index.html", wait_until="load")
    page.evaluate(SETTLED)
    seen = ["article h1", "article figure img", "article p:has(a[href='scorecard.html']) >> nth=0"]
    seen += [f".start-buttons a:has-text('{name}')" for name in ("Read", "Run it", "Cite")]
    for one in seen:
        box = page.locator(one).bounding_box()
        assert box["y"] + box["height"] <= 768, one
    page.close()


def test_the_index_of_figures_has_all_of_them_in_order(html):
    listed = re.findall(
        r'<li><p><a class="reference internal" href="([^"]+)">Figure', article(html, "figures")
    )
    figures = [
        f"{page}.html#{name}"
        for page in ["index", *CHAPTERS]
        for name, body in re.findall(
            r'<figure[^>]* id="([^"]+)">(.*?)</figure>', article(html, page), re.DOTALL
        )
        if "caption-number" in body
    ]
    assert len(figures) > 50
    assert listed == figures


PREVIEWS = {
    "a theorem of another page": ("how-many-parameters", "one-update.html#thm-one", "One-step"),
    "an equation, on a page without one": ("permuted-mnist", "protocol.html#equation", "(17.1)"),
    "a figure": ("one-update", "#fig-peak", "Figure 2.1"),
    "a word": ("protocol", "notation.html#term-seed", "initial weights"),
    "a source": ("one-update", "references.html#", "Belkin"),
}


@pytest.mark.parametrize("kind", PREVIEWS)
def test_a_link_shows_where_it_leads(browser, site, kind):
    name, target, text = PREVIEWS[kind]
    page = browser.new_page()
    page.set_default_timeout(15_000)
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{site}{name}.html", wait_until="load")
    page.evaluate(SETTLED)
    link, box = page.locator(f"article a[href^='{target}']:visible").first, page.locator(".preview")
    link.hover()
    box.get_by_text(text).first.wait_for()
    page.wait_for_function(
        """() => [...document.querySelectorAll(".preview .math")]
          .every((one) => one.querySelector("mjx-container"))"""
    )
    assert page.locator(".preview mjx-merror").count() == 0
    page.evaluate(AXE)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(PICTURE)
        page.evaluate(SETTLED)
        assert page.evaluate(FINDINGS.replace("axe.run(", "axe.run('.preview', "), RULES) == []
    page.keyboard.press("Escape")
    box.wait_for(state="hidden")
    assert [url for url in asked if not url.startswith((site, "data:"))] == []
    assert errors == []
    page.close()


def test_a_preview_can_be_reached_and_left(browser, site):
    page = browser.new_page()
    page.goto(f"{site}one-update.html", wait_until="load")
    page.evaluate(SETTLED)
    link, box = page.locator("article a[href='#fig-peak']:visible").first, page.locator(".preview")
    link.hover()
    box.wait_for()
    box.hover()
    page.wait_for_timeout(600)  # longer than the pointer may be on its way
    assert box.is_visible()
    page.locator("article h1").hover()
    box.wait_for(state="hidden")
    page.keyboard.press("Tab")  # from now on focus is the keyboard's
    link.focus()
    box.wait_for()
    page.keyboard.press("Escape")
    box.wait_for(state="hidden")
    assert link.evaluate("(one) => one === document.activeElement")
    page.keyboard.press("Tab")
    assert not link.evaluate("(one) => one === document.activeElement")
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
        "<!doctype html><html lang='en'><title>t</title>"
        "<style>.night #dark { color: #222; background: #111 }"
        ".night #fades { color: #fff; background: #000; transition: color 1s }</style>"
        "<script>matchMedia('(prefers-color-scheme: dark)').onchange = () =>"
        " document.body.classList.add('night')</script>"  # as the theme does, with the next picture
        "<main><article><p id='dark'>dark</p><p id='fades'>fades</p>"
        r"<p>\(raw\)</p><img src='missing.png'><img src='http://127.0.0.1:9/x.png' alt='x'>"
        "<script>nothing()</script><div style='width: 3000px'>wide</div>"
        "<p style='color: #eee'></p><p style='color: #eee' hidden>gone</p>"
        "<p style='color: #eee'>pale</p><p>seen</p>"
        "<div style='background: #333'><p>black</p></div>"
        "</article></main>"
    )
    with serving(tmp_path) as address:
        bad = open_page(browser, address, "bad", VIEWS["phone"], [])["phone"]
        dark = open_page(browser, address, "bad", VIEWS["dark"], [])["dark"]
    assert any("127.0.0.1:9/" in url for url in bad.requests)
    assert any("nothing is not defined" in text for text in bad.errors)
    assert len(bad.seen["unloaded"]) == 2
    assert bad.seen["raw"]
    assert bad.seen["overflow"] > 0
    assert any(text.startswith("image-alt") for text in bad.findings)
    low = "".join(text for text in bad.findings if text.startswith("color-contrast"))
    words = ("seen", "pale", "black", "dark")
    assert [word in low for word in words] == [False, True, True, False]
    low = "".join(dark.findings)
    assert [f'id="{name}"' in low for name in ("dark", "fades")] == [True, False]


def test_every_figure_says_how_it_was_made(html):
    notebooks = {page.stem for page in LAYOUT.sources()}
    for path in page_files(html):
        text = path.read_text(encoding="utf-8")
        links = text.count('href="#how-this-page-was-made"')
        assert links == (text.count("<figcaption>") if path.stem in notebooks else 0), path.name
        assert text.count('id="how-this-page-was-made"') == (path.stem in notebooks), path.name


WIDTHS = {
    f"{stream}{width}"
    for stream in ("cifar100", "cifar100-20", "correlated-cifar100", "corrupted-cifar100")
    for width in ("", "-width64")
}


@pytest.mark.parametrize(
    ("page", "read"),
    [
        (
            "split-cifar",
            {"cifar10", *(f"{of}cifar100" for of in ("", "arrival-", "epochs-", "threshold-"))},
        ),
        ("paper-width", WIDTHS),
        ("one-update", set()),
        ("theory-meets-networks", {"rates-digits", "mnist"} | WIDTHS),
        ("scorecard", set(read_ledger(LAYOUT.root / "book" / "claims.yml").grids)),
        ("protocol", {path.stem for path in LAYOUT.root.glob("results/*.toml")}),
    ],
)
def test_a_page_names_the_grids_that_it_reads(html, page, read):
    text = (html / f"{page}.html").read_text(encoding="utf-8")
    said = text.partition('id="how-this-page-was-made"')[2].partition("</ul>")[0]
    assert set(re.findall(r'records\.html#grid-([\w-]+)"', said)) == read
    assert ("reads no records" in said) == (not read)


def test_a_page_names_the_measurements_that_it_reads(html):
    """A file of every script whose figures *How fast is it?* shows."""
    text = (html / "how-fast.html").read_text(encoding="utf-8")
    said = text.partition('id="how-this-page-was-made"')[2].partition("</ul>")[0]
    assert "results/benchmarks/throughput_amx.json" in said
    assert "results/benchmarks/published.json" not in said
    assert "everything is computed on the page" not in said
