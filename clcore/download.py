"""Data sets fetched into the data root when asked: goes on where it broke off, and verified."""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from clcore.errors import InputError, known
from clcore.streams import READERS, Dataset, available, data_root, load
from clcore.streams.datasets import BY_HAND
from clcore.streams.torchvision_import import torchvision_datasets

# What torchvision calls the data sets that can be fetched.
KINDS = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
_BLOCK = 1 << 16
_NO_NETWORK = (URLError, HTTPException, ConnectionError, TimeoutError)


class Archive(NamedTuple):
    """A file to fetch: where it will lie, its MD5 sum, and where it can be had."""

    path: Path
    md5: str
    urls: list[str]


def download(name: str, root: str | Path | None = None) -> Dataset:
    """Return a data set; fetch it into the data root first unless it is there, whole.

    Addresses and MD5 sums are torchvision's, and so is the unpacking. An archive comes into a
    ``.part`` beside its place, where the next attempt goes on; it is unpacked once its sum is
    right.

    Raises
    ------
    InputError
        If the name is unknown, the data set is one to get by hand, or no source gives a file.
    """
    known("dataset", name, READERS)
    folder = data_root(root)
    torchvision_datasets()  # before torchvision itself: it may have to be told of operators
    with suppress(InputError):
        return load(name, folder)
    if name not in KINDS:
        raise InputError(f"{name} is not here: {BY_HAND[name]}")
    from torchvision.datasets.utils import extract_archive

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be fetching or unpacking the same
        if not available(name, folder):
            for archive in archives(name, folder):
                archive.path.parent.mkdir(parents=True, exist_ok=True)
                fetch(archive)
                extract_archive(archive.path, archive.path.parent)
    return load(name, folder)


def archives(name: str, root: Path) -> list[Archive]:
    """Return the files of a data set, as torchvision names and expects them."""
    kind = getattr(torchvision_datasets(), KINDS[name])
    if name.startswith("cifar"):
        return [Archive(root / kind.filename, kind.tgz_md5, [kind.url])]
    raw = root / KINDS[name] / "raw"
    return [
        Archive(raw / file, md5, [mirror + file for mirror in kind.mirrors])
        for file, md5 in kind.resources
    ]


def fetch(archive: Archive) -> None:
    """Fetch a file, or the rest of it, from the first source that has the right one.

    Raises
    ------
    InputError
        If none has; what came is kept for the next attempt, unless its sum is wrong.
    """
    path = archive.path
    if path.exists() and _md5(path) == archive.md5:
        return
    part = path.with_name(f"{path.name}.part")
    part.touch()
    problems = []
    for url in archive.urls:
        try:
            for block in _rest(url, part):
                with part.open("ab") as file:
                    file.write(block)
        except _NO_NETWORK as error:
            problems.append(f"{url}: {getattr(error, 'reason', error) or type(error).__name__}")
            continue
        found = _md5(part)
        if found == archive.md5:
            part.replace(path)
            return
        part.unlink()
        problems.append(f"{url}: MD5 sum {found}, expected {archive.md5}")
    raise InputError(
        f"{path.name} could not be fetched ({'; '.join(problems)}): check the network and give the "
        f"same command again, which goes on where this broke off; or put the file to {str(path)!r} "
        "by other means"
    )


def _rest(url: str, part: Path) -> Iterator[bytes]:
    """Yield what a file lacks, block by block; empty it first if the source sends all."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "clcore"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=30)
    except HTTPError as error:
        if error.code == 416:  # there is no more: whether it is right, the sum tells
            return
        raise
    with response:
        if response.status != 206:
            part.write_bytes(b"")
            have = 0
        bar = tqdm(
            desc=part.name.removesuffix(".part"),
            total=None if response.length is None else have + response.length,
            initial=have,
            unit="B",
            unit_scale=True,
            disable=None,
        )
        with bar:
            while block := response.read1(_BLOCK):
                yield block
                bar.update(len(block))
        if response.length:  # http.client ends early without a word
            raise ConnectionResetError(f"the connection broke off, {response.length} bytes early")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
