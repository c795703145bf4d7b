"""Small books made for the tests."""

from pathlib import Path
from textwrap import dedent

from tools.layout import Layout

HEADER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

"""


def cell(code: str, *tags: str) -> str:
    """Return a code cell."""
    line = f":tags: [{', '.join(tags)}]\n\n" if tags else ""
    return f"```{{code-cell}} python\n{line}{dedent(code).strip()}\n```\n\n"


PARAMETERS = cell('profile = "quick"\ndevice = "cpu"\nseed = 0', "parameters")


def write_notebook(layout: Layout, stem: str, *cells: str, title: str = "A page") -> Path:
    """Write a notebook source and return its path."""
    layout.book.mkdir(parents=True, exist_ok=True)
    source = layout.book / f"{stem}.md"
    source.write_text(f"{HEADER}# {title}\n\n{''.join(cells)}", encoding="utf-8")
    return source
