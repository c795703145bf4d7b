"""Fit the docstrings of the package to the reference page."""

import re
from typing import Any

from sphinx.application import Sphinx

LITERAL = re.compile(r"(``.*?``)")


def is_field(app: Sphinx, what: str, name: str, member: object, skip: bool, options: Any) -> bool:
    """Leave out the fields of tuples: their class describes them already."""
    return skip or type(member).__name__ == "_tuplegetter"


def keep_bars(
    app: Sphinx, what: str, name: str, member: object, options: Any, lines: list[str]
) -> None:
    """Keep |x| an absolute value: reStructuredText would look for a text to put in its place."""
    for i, line in enumerate(lines):
        parts = LITERAL.split(line)
        lines[i] = "".join(p if p.startswith("``") else p.replace("|", r"\|") for p in parts)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("autodoc-skip-member", is_field)
    app.connect("autodoc-process-docstring", keep_bars)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
