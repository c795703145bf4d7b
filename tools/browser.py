"""Find a Chromium for the site test; run as a program, install one if there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REMEDY = (
    "the site test needs Chromium: install it (Debian, Ubuntu: apt-get install chromium) or set "
    "CHROMIUM=/path/to/it"
)


def find_chromium() -> str | None:
    """Return the path of a Chromium: `CHROMIUM`, else one on the PATH, else Playwright's own."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    on_path = next((found for name in NAMES if (found := shutil.which(name))), None)
    return on_path or playwright_chromium()


def playwright_chromium() -> str | None:
    """Return the path of the Chromium that `playwright install` fetched, if it did."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def install() -> None:
    """Install Debian's package where this is allowed, else Playwright's own build."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing Debian's chromium ...", flush=True)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"],
        ):
            subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, check=False)
        if find_chromium():
            return
    print("Installing Playwright's Chromium ...", flush=True)
    command = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)


def main() -> int:
    """Make sure that there is a Chromium; a missing one is left for the site test to report."""
    if os.environ.get("CHROMIUM") or find_chromium():
        return 0
    install()
    if not find_chromium():
        print(REMEDY, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
