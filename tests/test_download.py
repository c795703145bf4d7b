"""Fetching a data set from a server on this machine that breaks off, lies or is not there."""

import errno
import gzip
import hashlib
import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from clcore.__main__ import main
from clcore.download import archives, download
from clcore.errors import InputError
from clcore.streams import datasets
from clcore.streams.torchvision_import import torchvision_datasets
from tests.dying import fetch_mnist
from tests.streams.test_torchvision_layout import checksum, write_mnist

FIRST = "train-images-idx3-ubyte.gz"


class Server(ThreadingHTTPServer):
    """Has some files; tells what was asked for and can be told to misbehave."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked = files, list[tuple[str, str | None]]()
        self.break_at: int | None = None
        self.stall = False
        self.ranges = True
        self.go_on = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        name, wanted = self.path.strip("/"), self.headers["Range"]
        self.server.asked.append((name, wanted))
        content = self.server.files.get(name)
        if content is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if wanted and self.server.ranges:
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            content = content[start:]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: self.server.break_at])
        if self.server.stall:
            self.wfile.flush()
            self.server.go_on.wait()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve a small MNIST, accepted as the original."""
    arrays = write_mnist(tmp_path / "original")
    monkeypatch.setitem(datasets.CHECKSUMS, "mnist", checksum(arrays))
    files = {
        f"{path.name}.gz": gzip.compress(path.read_bytes())
        for path in (tmp_path / "original" / "MNIST" / "raw").iterdir()
    }
    running = Server(files)
    kind = torchvision_datasets().MNIST
    sums = [(name, hashlib.md5(files[name]).hexdigest()) for name, _ in kind.resources]
    monkeypatch.setattr(kind, "resources", sums)
    monkeypatch.setattr(kind, "mirrors", [f"http://127.0.0.1:{running.server_port}/"])
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.go_on.set()
    running.shutdown()
    running.server_close()
    thread.join()


def test_what_is_fetched_is_the_original(server: Server, tmp_path: Path, capsys) -> None:
    root = tmp_path / "data"
    assert main(["data", "--data", str(root), "--download", "mnist"]) == 0
    assert "mnist          here, 12 training images" in capsys.readouterr().out
    assert sorted(name for name, _ in server.asked) == sorted(server.files)
    server.asked.clear()
    download("mnist", root)
    assert not server.asked, "what is here is not fetched again"
    assert not list(root.rglob("*.part"))


def test_a_broken_connection_goes_on_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.break_at = 1000
    with pytest.raises(InputError, match=rf"{FIRST} could not .*broke off.*same command again"):
        download("mnist", tmp_path / "data")
    assert server.asked == [(FIRST, None)]
    (part,) = (tmp_path / "data").rglob("*.part")
    assert part.read_bytes() == server.files[FIRST][:1000]
    server.break_at = None
    assert len(download("mnist", tmp_path / "data").train_labels) == 12
    assert server.asked[1] == (FIRST, "bytes=1000-")


def test_a_server_that_only_sends_all_is_understood(server: Server, tmp_path: Path) -> None:
    server.break_at, server.ranges = 1000, False
    with pytest.raises(InputError):
        download("mnist", tmp_path / "data")
    server.break_at = None
    assert len(download("mnist", tmp_path / "data").train_labels) == 12


def test_two_at_once_fetch_each_file_once(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "data"
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: download("mnist", root), range(2)))
    assert [len(dataset.train_labels) for dataset in found] == [12, 12]
    assert sorted(name for name, _ in server.asked) == sorted(server.files)


def test_a_whole_part_is_only_verified(server: Server, tmp_path: Path) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / f"{FIRST}.part").write_bytes(server.files[FIRST])
    assert len(download("mnist", tmp_path / "data").train_labels) == 12


def test_another_content_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    right = server.files[FIRST]
    server.files[FIRST] = b"<html>Please log in</html>"
    with pytest.raises(InputError, match=r"MD5 sum \w{32}, expected \w{32}"):
        download("mnist", tmp_path / "data")
    left = [p.name for p in (tmp_path / "data").rglob("*") if p.is_file()]
    assert left == [".mnist.lock"]
    server.files[FIRST] = right
    assert len(download("mnist", tmp_path / "data").train_labels) == 12


def test_the_next_mirror_is_tried(server: Server, tmp_path: Path, monkeypatch) -> None:
    kind = torchvision_datasets().MNIST
    monkeypatch.setattr(kind, "mirrors", [kind.mirrors[0] + "nothing/", *kind.mirrors])
    assert len(download("mnist", tmp_path / "data").train_labels) == 12


def test_without_a_network_it_is_said(server: Server, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(torchvision_datasets().MNIST, "mirrors", ["http://127.0.0.1:1/"])
    assert main(["data", "--data", str(tmp_path / "data"), "--download", "mnist"]) == 2
    said = capsys.readouterr().err
    assert "Connection refused" in said
    assert "check the network" in said
    assert "Traceback" not in said


def test_a_network_that_goes_away_amid_a_file_is_no_full_disk(
    server: Server, tmp_path: Path, monkeypatch, capsys
) -> None:
    def lost(*_: object) -> bytes:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    with monkeypatch.context() as patch:
        patch.setattr(HTTPResponse, "read1", lost)
        assert main(["data", "--data", str(tmp_path / "data"), "--download", "mnist"]) == 2
    said = capsys.readouterr().err
    assert "No route to host" in said
    assert "check the network" in said
    assert len(download("mnist", tmp_path / "data").train_labels) == 12


def test_a_kill_amid_the_fetching_loses_nothing(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "data"
    server.break_at, server.stall = 1000, True
    kind = torchvision_datasets().MNIST
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.dying"])
    process = context.Process(target=fetch_mnist, args=(kind.mirrors, kind.resources, root))
    process.start()
    while sum(part.stat().st_size for part in root.rglob("*.part")) < 1000:
        assert process.is_alive()
        time.sleep(0.05)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    server.go_on.set()
    server.break_at, server.stall = None, False
    assert len(download("mnist", root).train_labels) == 12
    assert (FIRST, "bytes=1000-") in server.asked
    assert not list(root.rglob("*.part"))


def test_a_kill_amid_the_unpacking_loses_nothing(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "data"
    download("mnist", root)
    server.asked.clear()
    (root / "MNIST" / "raw" / FIRST).with_suffix("").write_bytes(b"half")
    assert len(download("mnist", root).train_labels) == 12
    assert not server.asked, "the archives are there"


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10", "cifar100"])
def test_addresses_and_sums_are_those_of_torchvision(name: str, tmp_path: Path) -> None:
    """A change of torchvision shows here, without a network."""
    for path, md5, urls in archives(name, tmp_path):
        assert urls
        assert all(url.startswith("http") and url.endswith(path.name) for url in urls)
        assert len(md5) == 32


def test_digits_are_always_here(tmp_path: Path) -> None:
    assert download("digits", tmp_path).classes == 10
