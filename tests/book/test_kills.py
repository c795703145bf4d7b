"""A `make book` that is killed at any moment: given again, it makes the same book."""

from pathlib import Path

import pytest

from tests.book.killing import Book, copy_slowly, kill_again_and_again
from tools import site


def test_kills_at_random_moments_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("CLCORE_DATA", str(tmp_path / "data"))
    killed, cycles = kill_again_and_again(Book(tmp_path, True), kills=12, cycles=1, longest=2.5)
    assert killed >= 12
    print(f"{killed} kills, {cycles} whole builds, all as if undisturbed")


@pytest.mark.parametrize("step", ["rename", "write_text", "unlink"])
def test_a_site_made_halfway_is_never_taken_for_whole(tmp_path, monkeypatch, step):
    """Not even when the pages go back to what they were at the last whole site."""
    monkeypatch.setattr(site.subprocess, "run", copy_slowly)
    layout = Book(tmp_path, True).layout
    layout.executed.mkdir(parents=True)
    for version in ("first", "second"):
        for stem in ("index", "other"):
            (layout.executed / f"{stem}.ipynb").write_text(version)
        if version == "first":
            assert site.build(layout, layout.executed, layout.html)
    whole = getattr(Path, step)

    def die(path, *given, **options):
        if path.name in ("html", "html.key"):
            raise KeyboardInterrupt
        return whole(path, *given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, step, die)
        with pytest.raises(KeyboardInterrupt):
            site.build(layout, layout.executed, layout.html)
    for stem in ("index", "other"):
        (layout.executed / f"{stem}.ipynb").write_text("first")
    site.build(layout, layout.executed, layout.html)
    assert (layout.html / "index.html").read_text() == "first"
