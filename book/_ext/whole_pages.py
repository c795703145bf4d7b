"""Finish the written pages: no inline handlers, only icons that are used, a security policy."""

import base64
import hashlib
import re
from pathlib import Path

from sphinx.application import Sphinx

INLINE = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)
# The policy comes next, before anything that it rules.
FIRST = re.compile(r'<head>(?:\s*<meta charset="utf-8" />)?')
WITHOUT_SCRIPTS = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
# In style, inline is allowed: MathJax, Bokeh, the tables of pandas and the theme need it.
POLICY = (
    "default-src 'self'; script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'"
)
MENDED = (
    # 540 kB that draw every icon of Font Awesome; the theme's style sheet does it with a font.
    (
        re.compile(r'\s*<!-- So that users can add custom icons -->\s*<script src="[^"]*'
                   r'fontawesome\.js[^"]*"></script>'),
        "",
    ),
    # An icon is a letter without a meaning for who hears it.
    (re.compile(r'<(i|span) (class="(?:theme-switch )?fa-?s)'), r'<\1 aria-hidden="true" \2'),
    # Handlers in attributes cannot have a hash: book.js listens in their place.
    (re.compile(r'onclick="(?:window\.)?(print|toggleFullScreen)\(\)"'), r'data-click="\1"'),
    # The address of a notebook is to be saved, not to be shown.
    (re.compile(r'target="_blank"(\s+class="btn btn-sm btn-download-source)'), r"download\1"),
    # Without its script the theme knows no colours.
    (re.compile(r'(<html [^>]*)data-theme="auto"'), r'\1data-theme="light"'),
    # The sidebar, its title with it, is a landmark of its own.
    (
        re.compile(r'(<div id="pst-primary-sidebar")'),
        r'\1 role="region" aria-label="Sidebar"',
    ),
)  # fmt: skip


def policy(text: str) -> str:
    """Return the policy of a page: its own files, and the scripts written into it."""
    digests = [hashlib.sha256(body.encode()).digest() for body in INLINE.findall(text)]
    hashes = dict.fromkeys(f" 'sha256-{base64.b64encode(one).decode()}'" for one in digests)
    return POLICY.format(hashes="".join(hashes))


def finish(text: str) -> str:
    """Return a page as it is to be read."""
    for wrong, right in MENDED:
        text = wrong.sub(right, text)
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy(text)}" />'
    style = f"<noscript><style>\n{WITHOUT_SCRIPTS}</style></noscript>"
    text = text.replace("</head>", f"{style}\n  </head>", 1)
    return FIRST.sub(lambda found: f"{found[0]}\n    {meta}", text, count=1)


def finish_pages(app: Sphinx, error: Exception | None) -> None:
    """Finish every page of the site."""
    if error is None and app.builder.format == "html":
        for path in Path(app.outdir).glob("*.html"):
            path.write_text(finish(path.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("build-finished", finish_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
