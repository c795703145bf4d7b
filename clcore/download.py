"""Data sets fetched into the data root when asked: goes on where it broke off, and verified."""

import fcntl
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from clcore.errors import InputError
from clcore.streams import Dataset, available, data_root, load
from clcore.streams.datasets import KINDS
from clcore.streams.torchvision_import import torchvision_datasets

_BLOCK = 1 << 16
_NO_NETWORK = (URLError, HTTPException, ConnectionError, TimeoutError)


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
    folder = data_root(root)
    if name not in KINDS:
        return load(name, folder)  # or hear how to get it
    with suppress(InputError):
        return load(name, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be fetching or unpacking the same
        if not available(name, folder):
            for path, md5, urls in archives(name, folder):
                path.parent.mkdir(parents=True, exist_ok=True)
                fetch(path, md5, urls)
                torchvision_datasets().utils.extract_archive(path, path.parent)
    return load(name, folder)


def archives(name: str, root: Path) -> list[tuple[Path, str, list[str]]]:
    """Return where each file of a data set will lie, its MD5 sum, and where it can be had."""
    kind = getattr(torchvision_datasets(), KINDS[name])
    if name.startswith("cifar"):
        return [(root / kind.filename, kind.tgz_md5, [kind.url])]
    raw = root / KINDS[name] / "raw"
    return [(raw / file, md5, [m + file for m in kind.mirrors]) for file, md5 in kind.resources]


def fetch(path: Path, md5: str, urls: Sequence[str]) -> None:
    """Fetch a file, or the rest of it, from the first source that has the right one.

    Raises
    ------
    InputError
        If none has; what came is kept for the next attempt, unless its sum is wrong.
    """
    tools = torchvision_datasets().utils
    if tools.check_integrity(path, md5):
        return
    part = path.with_name(f"{path.name}.part")
    problems = []
    for url in urls:
        try:
            _fetch_rest(url, part)
        except _NO_NETWORK as error:
            problems.append(f"{url}: {getattr(error, 'reason', error) or type(error).__name__}")
            continue
        found = tools.calculate_md5(part)
        if found == md5:
            part.replace(path)
            return
        part.unlink()
        problems.append(f"{url}: MD5 sum {found}, expected {md5}")
    raise InputError(
        f"{path.name} could not be fetched ({'; '.join(problems)}): check the network and give the "
        f"same command again, which goes on where this broke off; or put the file to {str(path)!r} "
        "by other means"
    )


def _fetch_rest(url: str, part: Path) -> None:
    """Append what a file lacks; empty it first if the source sends all."""
    part.touch()
    have = part.stat().st_size
    headers = {"User-Agent": "clcore"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=30)
    except HTTPError as error:
        if error.code == 416:  # there is no more: whether it is right, the sum tells
            return
        raise
    with response, part.open("ab" if response.status == 206 else "wb") as file:
        have = file.tell()
        bar = tqdm(
            desc=part.name.removesuffix(".part"),
            total=None if response.length is None else have + response.length,
            initial=have,
            unit="B",
            unit_scale=True,
            disable=None,
        )
        with bar:
            while block := _block(response):
                file.write(block)
                file.flush()
                bar.update(len(block))
        if response.length:  # http.client ends early without a word
            raise ConnectionResetError(f"the connection broke off, {response.length} bytes early")


def _block(response: HTTPResponse) -> bytes:
    """Return the next bytes; an error is then the network's, not that of a full disk."""
    try:
        return response.read1(_BLOCK)
    except OSError as error:
        raise ConnectionResetError(str(error)) from error
