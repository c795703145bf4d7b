"""Build the site from executed notebooks with Jupyter Book, without a single warning."""

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import yaml

from tools.layout import Layout
from tools.staleness import digest

BUILDERS = ("jupyter-book", "sphinx", "sphinx-book-theme", "myst-nb", "sphinx-proof", "bokeh")
# Set by GitHub Actions to OWNER/NAME, so that the sources need not know where they are kept.
REPOSITORY = "GITHUB_REPOSITORY"


class SiteError(RuntimeError):
    """The site was not built; the message holds what Sphinx said."""


def inputs_key(layout: Layout, notebooks: Path) -> str:
    """Return a hash of everything the site is made from."""
    pages = [
        file
        for file in layout.book.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    ]
    package = layout.root / "clcore"  # its docstrings are the reference page
    own = [layout.root / "_config.yml", layout.root / "_toc.yml", Path(__file__)]
    parts = [
        digest(pages, layout.book),
        digest(notebooks.glob("*.ipynb"), notebooks),
        digest(package.rglob("*.py"), package),
        *(hashlib.sha256(file.read_bytes()).hexdigest() for file in own),
        *(version(name) for name in BUILDERS),
        os.environ.get(REPOSITORY, ""),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def configuration(layout: Layout) -> str:
    """Return the book's configuration, with launch buttons where the repository is known."""
    config = yaml.safe_load((layout.root / "_config.yml").read_text(encoding="utf-8"))
    if repository := os.environ.get(REPOSITORY):
        config["repository"] = {
            "url": f"https://github.com/{repository}",
            "branch": "main",
            "path_to_book": layout.stored.name,
        }
        config["launch_buttons"] = {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        }
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def stage(layout: Layout, notebooks: Path, folder: Path) -> None:
    """Fill `folder` with the pages, each notebook source replaced by its execution.

    Raises
    ------
    SiteError
        If a source has no executed notebook.
    """
    sources = layout.sources()
    missing = [page.stem for page in sources if not (notebooks / f"{page.stem}.ipynb").exists()]
    if missing:
        raise SiteError(
            f"no executed notebook in {notebooks.name}/ for {', '.join(missing)}: run "
            f"`make {'record' if notebooks == layout.stored else 'book'}`"
        )
    names = [page.name for page in sources]
    shutil.copytree(layout.book, folder, ignore=shutil.ignore_patterns("__pycache__", *names))
    for page in sources:
        shutil.copyfile(notebooks / f"{page.stem}.ipynb", folder / f"{page.stem}.ipynb")


def build(layout: Layout, notebooks: Path, html: Path) -> bool:
    """Build the site from `notebooks` into `html`; return False if it was up to date.

    Always from scratch: a page that Sphinx has cached does not repeat its warnings, and pages
    that no longer exist would stay. `html` is replaced only by a site that built.

    Raises
    ------
    SiteError
        If there is any warning or error.
    """
    key, stamp = inputs_key(layout, notebooks), html.with_suffix(".key")
    if html.is_dir() and stamp.exists() and stamp.read_text() == key:
        return False
    work = html.with_suffix(".work")
    shutil.rmtree(work, ignore_errors=True)
    stage(layout, notebooks, work / "book")
    config = work / "_config.yml"
    config.write_text(configuration(layout), encoding="utf-8")
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
    command += [str(work / "book")]
    command += ["-W", "-n", "--keep-going", "-q", "--config", str(config)]
    command += ["--toc", str(layout.root / "_toc.yml"), "--path-output", str(work)]
    environment = {**os.environ, "NO_COLOR": "1"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SiteError(f"Jupyter Book did not accept the pages:\n{ran.stderr}{ran.stdout}")
    built = work / "_build" / "html"
    stamp.unlink(missing_ok=True)  # first: it must never stand beside another or half a site
    shutil.rmtree(html, ignore_errors=True)
    built.rename(html)
    stamp.write_text(key)
    shutil.rmtree(work)
    return True
