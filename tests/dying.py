"""What the tests start in a process of its own, and kill or let die."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from clcore.__main__ import main
from clcore.download import download
from clcore.streams.torchvision_import import torchvision_datasets

STEPS = {
    "write": (os, "fsync"),
    "link": (Path, "hardlink_to"),
    "rename": (Path, "replace"),
    "remove": (Path, "unlink"),
}


def run_and_die(step: str, arguments: Sequence[str]) -> None:
    """Run the command line, and die where it would do `step` with a record's partial file."""
    owner, name = STEPS[step]
    whole = getattr(owner, name)

    def fatal(*given: object, **options: object) -> object:
        if owner is os or any(isinstance(p, Path) and p.name.endswith(".part") for p in given):
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*given, **options)

    setattr(owner, name, fatal)
    main(arguments)


def fetch_mnist(mirrors: list[str], resources: list[tuple[str, str]], root: Path) -> None:
    """Fetch MNIST's files of these sums from other places."""
    kind = torchvision_datasets().MNIST
    kind.mirrors, kind.resources = mirrors, resources
    download("mnist", root)
