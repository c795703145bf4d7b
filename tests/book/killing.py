"""Builds of a small book that are killed, with all their processes, at any moment."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.book.made import PARAMETERS, cell, write_notebook
from tools import site
from tools.book import build_book
from tools.layout import Layout

ROOT = Path(__file__).parents[2]


def copy_slowly(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
    """Stand in for Jupyter Book, which takes seconds: a site of one file a page."""
    work = Path(command[command.index("--path-output") + 1])
    html = work / "_build" / "html"
    html.mkdir(parents=True)
    for page in sorted((work / "book").glob("*.ipynb")):
        (html / f"{page.stem}.html").write_text(page.read_text())
        time.sleep(0.1)
    return subprocess.CompletedProcess(command, 0, "", "")


def build_alone(root: Path, quickly: bool) -> None:
    """Build the book in a group of processes of its own, without a word."""
    os.setsid()
    for stream in (1, 2):
        os.dup2(os.open(root / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    if quickly:
        site.subprocess.run = copy_slowly
    build_book(Layout(root), {})


class Book:
    """A book of two notebooks, and which of two versions of one of them stands in it."""

    def __init__(self, root: Path, quickly: bool) -> None:
        self.layout, self.quickly = Layout(root), quickly
        shutil.copytree(ROOT / "book" / "_ext", self.layout.book / "_ext")
        shutil.copytree(ROOT / "book" / "_static", self.layout.book / "_static")
        shutil.copy(ROOT / "book" / "references.bib", self.layout.book)
        shutil.copy(ROOT / "_config.yml", root)
        (root / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters:\n- file: other\n")
        write_notebook(self.layout, "other", PARAMETERS, cell("print(seed)"))
        self.write(0)

    def write(self, version: int) -> None:
        write_notebook(self.layout, "index", PARAMETERS, cell(f"print({version} + seed)"))

    @contextmanager
    def building(self) -> Iterator[multiprocessing.process.BaseProcess]:
        context = multiprocessing.get_context("forkserver")  # imports once, not for each kill
        context.set_forkserver_preload(["tests.book.killing", "tools.notebooks"])
        process = context.Process(target=build_alone, args=(self.layout.root, self.quickly))
        process.start()
        yield process
        process.join()

    def build(self) -> dict[str, bytes]:
        """Build undisturbed; return what is there then."""
        with self.building() as process:
            pass
        assert process.exitcode == 0, (self.layout.root / "log").read_text()
        return self.made()

    def made(self) -> dict[str, bytes]:
        """Return executed notebooks, their keys without the seconds, and the site."""
        layout = self.layout
        found = {}
        for path in [*layout.executed.glob("*.ipynb"), *layout.executed.glob("*.json")]:
            found[path.name] = path.read_bytes()
            if path.suffix == ".json":
                content = {k: v for k, v in json.loads(path.read_text()).items() if k != "seconds"}
                found[path.name] = json.dumps(content).encode()
        files = [path for path in layout.html.rglob("*") if path.is_file()]
        return found | {str(p.relative_to(layout.html)): p.read_bytes() for p in files}

    def kill(self, after: float) -> bool:
        """Kill a build and all its processes; return False if it was done before."""
        with self.building() as process:
            process.join(after)
            running = process.is_alive()
            if running:
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:  # it has no group of its own yet
                    process.kill()
        assert running or process.exitcode == 0, (self.layout.root / "log").read_text()
        return running


def kill_again_and_again(book: Book, kills: int, cycles: int, longest: float) -> tuple[int, int]:
    """Kill builds at random moments until there were so many kills and whole cycles.

    In a cycle one notebook has its other version, and builds are killed until one gets through;
    what it leaves has to be what an undisturbed build leaves. Now and then the notebook gets its
    first version back amid a cycle.

    Returns
    -------
    kills, cycles : int
        How many there were.
    """
    draws = random.Random(0)
    expected = []
    for version in (1, 0):
        book.write(version)
        expected.insert(0, book.build())
    done = killed = version = 0
    while killed < kills or done < cycles:
        version = 1 - version
        book.write(version)
        while book.kill(draws.uniform(0, longest)):
            killed += 1
            if draws.random() < 0.1:
                version = 1 - version
                book.write(version)
            if killed >= kills and done >= cycles:
                book.build()
                break
        done += 1
        assert book.made() == expected[version]
    return killed, done
