"""Serve the built site to this machine alone: `python -m tools.serve`."""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tools.layout import Layout

ROOT = Path(__file__).resolve().parent.parent
PORT = 8000


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def make_server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of `folder` on the loopback interface; port 0 takes any free one."""
    return ThreadingHTTPServer(("127.0.0.1", port), partial(QuietHandler, directory=str(folder)))


def main() -> int:
    """Serve until interrupted; return the exit status."""
    html = Layout(ROOT).html
    if not (html / "index.html").exists():
        print("There is no site yet: run `make book` first.", file=sys.stderr)
        return 1
    try:
        server = make_server(html, PORT)
    except OSError:  # the usual port is taken
        server = make_server(html)
    print(f"http://127.0.0.1:{server.server_port} (Ctrl-C stops it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
