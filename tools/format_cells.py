"""Lint and format the code cells of the notebook sources, in place."""

import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from tools.layout import Layout
from tools.notebooks import read_source, replace

ROOT = Path(__file__).resolve().parent.parent


def format_source(source: Path) -> bool:
    """Format the code cells of `source` as ruff formats a notebook; return whether any changed."""
    notebook = read_source(source)
    old = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    with tempfile.TemporaryDirectory(prefix="clcore-") as scratch:
        path = Path(scratch, "cells.ipynb")
        nbformat.write(notebook, path)
        for command in (["check", "--fix-only"], ["format"]):
            ruff = [sys.executable, "-m", "ruff", *command, "--quiet", "--config"]
            subprocess.run([*ruff, str(ROOT / "pyproject.toml"), str(path)], check=True)
        formatted = nbformat.read(path, as_version=4)
    new = [cell.source for cell in formatted.cells if cell.cell_type == "code"]
    text, place = source.read_text(encoding="utf-8"), 0
    for before, after in zip(old, new, strict=True):
        start = text.index(before, place)
        text = text[:start] + after + text[start + len(before) :]
        place = start + len(after)
    if new != old:
        replace(source, text)
    return new != old


def main() -> int:
    """Format every source; return the exit status."""
    for source in Layout(ROOT).sources():
        if format_source(source):
            print(f"{source.name}: cells formatted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
