"""Measure what each page of the built site asks for: `python -m benchmarks.site_weight [HTML]`.

Text counts compressed, as GitHub Pages sends it; the server here sends it uncompressed, from this
machine to itself, so the time to the first paint is the browser's own work.
"""

import json
import statistics
import sys
from pathlib import Path

from playwright.sync_api import Browser

from tests.book.browsing import SETTLED, chromium, serving
from tests.book.pages import LAYOUT, PAGES, kind, wire_size

RESULT = LAYOUT.root / "results" / "benchmarks" / "site-weight.json"
PAINT = """() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime"""
REPEATS = 3


def measure(browser: Browser, address: str, html: Path, name: str) -> dict[str, int]:
    """Open a page with an empty cache; return requests, bytes by kind, and the median paint."""
    paints: list[float] = []
    urls: set[str] = set()
    for _ in range(REPEATS):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.on("request", lambda one: urls.add(one.url))
        page.goto(f"{address}{name}.html", wait_until="load")
        page.evaluate(SETTLED)
        paints.append(page.evaluate(PAINT))
        context.close()
    asked = {url.partition("?")[0] for url in urls if url.startswith(address)}
    files = [html / url.removeprefix(address) for url in asked]
    sizes = dict.fromkeys(("own", "engine", "fonts"), 0)
    for path in files:
        sizes[kind(path)] += wire_size(path)
    return {"requests": len(files), **sizes, "first_paint_ms": round(statistics.median(paints))}


def main() -> None:
    """Measure every page, print a table and store the figures."""
    html = Path(sys.argv[1]) if len(sys.argv) > 1 else LAYOUT.html
    print(f"{'page':26}{'requests':>9}{'own kB':>9}{'with all kB':>13}{'first paint ms':>16}")
    pages = {}
    with serving(html) as address, chromium() as browser:
        version = browser.version
        for name in PAGES:
            found = pages[name] = measure(browser, address, html, name)
            everything = found["own"] + found["engine"] + found["fonts"]
            print(
                f"{name:26}{found['requests']:9}{found['own'] / 1e3:9.0f}"
                f"{everything / 1e3:13.0f}{found['first_paint_ms']:16}",
                flush=True,
            )
    record = {"chromium": version, "repeats": REPEATS, "pages": pages}
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
