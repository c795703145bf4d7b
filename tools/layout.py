"""Where things are."""

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Layout:
    """The folders of a book whose top is `root`."""

    root: Path

    @property
    def book(self) -> Path:
        """Pages: notebook sources and plain ones, with `_static`, `_ext` and references."""
        return self.root / "book"

    @property
    def stored(self) -> Path:
        """Executed notebooks that the repository keeps."""
        return self.root / "notebooks"

    @property
    def times(self) -> Path:
        """Seconds that each of them took where `make record` was run."""
        return self.stored / "seconds.json"

    @property
    def build(self) -> Path:
        """Everything made here; safe to remove."""
        return self.root / "_build"

    @property
    def executed(self) -> Path:
        """Notebooks executed on this machine."""
        return self.build / "notebooks"

    @property
    def html(self) -> Path:
        """The built site."""
        return self.build / "html"

    def sources(self) -> list[Path]:
        """Return the notebook sources, sorted: the pages whose header names a kernel."""
        return sorted(page for page in self.book.glob("*.md") if "kernelspec" in header(page))


def header(page: Path) -> dict[str, object]:
    """Return the YAML header of a Markdown page, empty if it has none."""
    text = page.read_text(encoding="utf-8")
    if not text.startswith("---\n"):
        return {}
    found = yaml.safe_load(text[4:].partition("\n---")[0])
    return found if isinstance(found, dict) else {}
