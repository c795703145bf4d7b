"""The reference page of the book shows what the package offers."""

import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import clcore

PAGE = Path(__file__).parent.parent / "book" / "reference.md"
SHOWN = re.findall(r"automodule:: (\S+)", PAGE.read_text(encoding="utf-8"))


def test_each_part_of_the_package_is_shown_once() -> None:
    parts = [f"clcore.{module.name}" for module in iter_modules(clcore.__path__)]
    assert sorted(SHOWN) == sorted(name for name in parts if not name.endswith("__main__"))


def test_all_that_is_shown_has_a_docstring() -> None:
    """What has none would be left out without a warning."""
    for name in SHOWN:
        module = import_module(name)
        for offered in getattr(module, "__all__", []):
            value = getattr(module, offered)
            if callable(value):
                assert value.__doc__, f"{name}.{offered}"
