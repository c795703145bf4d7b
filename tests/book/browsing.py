"""A folder served to a headless Chromium."""

from contextlib import contextmanager
from threading import Thread

from playwright.sync_api import sync_playwright

from tools.browser import REMEDY, find_chromium
from tools.serve import make_server

FLAGS = [  # a root user's Chromium needs the first; the others keep it from calling home
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# A colour on its way to another is no colour to judge: what moves has to end first.
SETTLED = """async () => {
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  if (typeof explorer !== "undefined") await explorer.ready;
  const ending = document.getAnimations().filter(
    (one) => one.effect.getComputedTiming().endTime < Infinity);
  await Promise.allSettled(ending.map((one) => one.finished));
}"""


@contextmanager
def serving(folder):
    """Serve `folder`; give the address."""
    server = make_server(folder)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def chromium():
    """Start a Chromium; where there is none, fail and say what to do."""
    path = find_chromium()
    assert path, REMEDY
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()
