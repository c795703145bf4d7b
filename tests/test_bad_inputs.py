"""A table of what goes wrong: each gets its message and exit code, and loses nothing recorded.

Every row of the command line runs in this process on a grid that has one record of two. It says
what is broken, how the command ends, and words of the message: the value, what was expected or
what to do. The records are byte for byte the same afterwards, but for what a row says it adds.
"""

import dataclasses
import errno
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

from clcore import theory
from clcore.__main__ import main
from clcore.errors import InputError
from clcore.results import read_grid, record_path, recorded
from clcore.streams import load
from tests.dying import run_and_die
from tools import book

GRID = """
dataset = "digits"
seeds = [0]
stream = {name = "permuted", fractions = [1.0]}
network = {name = "mlp", hidden = [8]}
strategy = [{name = "frozen"}, {name = "scratch"}]
budget = {epochs = 1, batch = 64, learning_rate = 0.1}
"""
RUN = ("run", "{grid}", "--results", "{records}", "--workers", "1")
REPORT = ("report", "{grid}", "--results", "{records}")
DATA = ("data", "--data", "{data}")


@dataclasses.dataclass
class Place:
    """A folder with a grid, the record of its first run, and an empty folder for data sets."""

    folder: Path
    patch: pytest.MonkeyPatch

    @property
    def grid(self) -> Path:
        return self.folder / "grid.toml"

    @property
    def records(self) -> Path:
        return self.folder / "records"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def record(self) -> Path:
        return record_path(read_grid(self.folder / "whole.toml").reported[0][0], self.records)

    def command(self, arguments: tuple[str, ...]) -> list[str]:
        places = {name: getattr(self, name) for name in ("grid", "records", "data", "folder")}
        return [argument.format(**places) for argument in arguments]

    def content(self) -> dict[str, bytes | None]:
        found = sorted(self.records.rglob("*"))
        return {p.name: p.read_bytes() if p.is_file() else None for p in found}


@pytest.fixture(scope="module")
def recorded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "data").mkdir()
    for name in ("grid", "whole"):
        (folder / f"{name}.toml").write_text(GRID)
    recorded(read_grid(folder / "grid.toml").reported[0][0], folder=folder / "records")
    return folder


@pytest.fixture
def place(recorded_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    shutil.copytree(recorded_once, tmp_path / "place")
    monkeypatch.delenv("CLCORE_DATA", raising=False)
    monkeypatch.delenv("CLCORE_RESULTS", raising=False)
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path / "place", monkeypatch)


Break = Callable[[Place], object]


@dataclasses.dataclass
class Row:
    """What is broken, by whom the command is called, how it ends and what it says."""

    name: str
    command: tuple[str, ...]
    code: int
    words: tuple[str, ...]
    broken: Break = lambda place: None


def nothing(place: Place) -> None:
    """Break nothing: the command itself is wrong."""


def row(name: str, *words: str, command: tuple[str, ...], code: int = 2, broken: Break = nothing):
    return pytest.param(Row(name, command, code, words, broken), id=name)


# ----------------------------------------------------------------------------- command line

MADE = ("run", "{grid}", "--results", "{records}")
COMMAND_LINE = [
    row("no command", "required: COMMAND", "usage: clcore", command=()),
    row("unknown command", "'rnu'", "run", command=("rnu",)),
    row("misspelt option", "--wrokers", "usage: clcore", command=(*MADE, "--wrokers", "3")),
    row("no grid", "required: grid", "usage: clcore run", command=("run",)),
    row("workers in words", "'two'", "int", command=(*MADE, "--workers", "two")),
    row("no workers", "--workers 0", "at least 1", command=(*MADE, "--workers", "0")),
    row("fewer workers", "--workers -1", "at least 1", command=(*MADE, "--workers", "-1")),
    row(
        "workers and a scheduler",
        "--scheduler: not allowed with argument --workers",
        command=(*RUN, "--scheduler", "tcp://127.0.0.1:1"),
    ),
    row("unknown device", "'gpu'", "'cpu', 'cuda'", command=(*RUN, "--device", "gpu")),
    row("device without number", "'cuda:x'", "'cuda:N'", command=(*RUN, "--device", "cuda:x")),
    row("absent GPU", "'cuda:99'", "use ", command=(*RUN, "--device", "cuda:99")),
    row("grid that is not there", "none.toml", "No such file", command=("run", "none.toml")),
    row("folder for a grid", "grid", "Is a directory", command=("report", "{folder}")),
    row(
        "scheduler of another world",
        "'nowhere://x' cannot be reached",
        "tcp://10.0.0.1:8786",
        command=(*MADE, "--scheduler", "nowhere://x"),
    ),
    row(
        "scheduler without Dask",
        "--scheduler needs",
        "pip install 'clcore[distributed]'",
        command=(*MADE, "--scheduler", "tcp://127.0.0.1:1"),
        broken=lambda place: place.patch.setitem(sys.modules, "distributed", None),
    ),
    row(
        "results in a file",
        "grid.toml",
        "give a folder that can be written with --results",
        command=("run", "{grid}", "--results", "{grid}"),
    ),
    row(
        "results below a file",
        "grid.toml/x",
        "give a folder that can be written with --results",
        command=("run", "{grid}", "--results", "{grid}/x"),
    ),
    row("runs without a record", "not recorded: clcore run", command=REPORT, code=1),
    row(
        "ledger that is not there",
        "none.yml",
        "No such file",
        command=("claims", "none.yml"),
    ),
    row(
        "verdicts into a folder",
        "--json",
        "give one in a folder that exists",
        command=("claims", "--json", "{folder}"),
    ),
    row(
        "verdicts to a folder that is not there",
        "nowhere/out.json",
        "give one in a folder that exists",
        command=("claims", "--json", "nowhere/out.json"),
    ),
]

# -------------------------------------------------------------------------------- spec files


def spec(name: str, old: str, new: str, *words: str, command: tuple[str, ...] = RUN):
    def change(place: Place) -> None:
        assert old in GRID
        place.grid.write_text(GRID.replace(old, new))

    return row(name, *words, command=command, broken=change)


def written(content: bytes) -> Break:
    return lambda place: place.grid.write_bytes(content)


SEARCH = "search = {learning_rate = [0.1], seeds = [1], holdout = 0.2}\nbudget = {epochs"
SPECS = [
    row("empty grid", "without dataset", "add what is missing", command=RUN, broken=written(b"")),
    row("no TOML", "cannot be read", "line 1", command=RUN, broken=written(b"dataset: digits")),
    row("no text", "cannot be read", "utf-8", command=RUN, broken=written(b"\xff\xfe\x00")),
    row("cut short", "cannot be read", command=RUN, broken=written(GRID[:100].encode())),
    row("deep", "cannot be read", command=RUN, broken=written(b"a = " + b"[" * 9999)),
    spec("unknown key", "seeds", "sedes", "'sedes'", "did you mean 'seeds'"),
    spec("missing seeds", "seeds = [0]", "", "without seeds", "add what is missing"),
    spec("data set", '"digits"', '"digit"', "'digit'", "did you mean 'digits'"),
    spec("number for a data set", '"digits"', "3", "'3'", "choose one of"),
    spec("stream", "permuted", "permutd", "'permutd'", "did you mean 'permuted'"),
    spec("network", '"mlp"', '"mpl"', "'mpl'", "did you mean 'mlp'"),
    spec("strategy", "frozen", "frozn", "'frozn'", "did you mean 'frozen'"),
    spec("strategy without a name", 'name = "frozen"', "", "add its name, one of"),
    spec("number for a table", '{name = "frozen"}', "3", "strategy 3", "expected a table"),
    spec("one twice", "scratch", "frozen", "frozen-", "twice", "each once"),
    spec("no network", '{name = "mlp", hidden = [8]}', "[]", "no run", "one alternative or more"),
    spec("text for a list", "[8]", '"8"', "hidden = '8'", "expected a list"),
    spec("no units", "[8]", "[0]", "hidden [0]", "at least 1"),
    spec("no layer", "[8]", "[]", "hidden []", "at least one hidden layer"),
    spec("all dropped out", "[8]", "[8], dropout = 1.0", "dropout 1.0", "[0, 1)"),
    spec("unknown option", "hidden", "hiden", "'hiden'", "did you mean 'hidden'"),
    spec("more than all pixels", "[1.0]", "[1.5]", "fraction 1.5", "[0, 1]"),
    spec("no seeds", "seeds = [0]", "seeds = []", "seeds []", "whole numbers from 0 on"),
    spec("a seed twice", "seeds = [0]", "seeds = [0, 0]", "seeds [0, 0]", "different"),
    spec("negative seed", "seeds = [0]", "seeds = [-1]", "seeds [-1]", "from 0 on"),
    spec("broken seed", "seeds = [0]", "seeds = [0.5]", "seeds [0.5]", "whole numbers"),
    spec("seed in words", "seeds = [0]", 'seeds = "zero"', "seeds 'zero'", "give a list"),
    spec("no epochs", "epochs = 1", "epochs = 0", "0 epochs", "at least 1"),
    spec("epochs beyond numbers", "epochs = 1", f"epochs = {'9' * 40}", "epochs = 9", "whole"),
    spec("no batch", "batch = 64", "batch = 0", "batch 0", "at least 1"),
    spec("rate in words", "0.1", '"fast"', "learning_rate = 'fast'", "finite number"),
    spec("infinite rate", "0.1", "inf", "learning_rate = inf", "finite number"),
    spec("negative rate", "0.1", "-0.1", "[-0.1]", "above 0"),
    spec("two rates for a seed", "0.1", "[0.1, 0.2]", "2 learning rates for 1", "one a seed"),
    spec("momentum", "0.1", "0.1, momentum = 1", "momentum 1", "[0, 1)"),
    spec("optimizer", "0.1", '0.1, optimizer = "Adam"', "'Adam'", "did you mean 'adam'"),
    spec("all held out", "seeds", "holdout = 1\nseeds", "holdout 1", "below 1"),
    spec("more tasks than there are", "seeds", "tasks = 3\nseeds", "tasks 3", "of 2", "at most"),
    spec("modules", '"frozen"', '"frozen", modules = 5', "5 trained modules", "choose 0 to 2"),
    spec("classes", 'permuted", fractions = [1.0]', 'split", tasks = 3', "3 tasks", "a divisor"),
    spec("search without seeds", "budget", "search = {holdout = 0.1}\nbudget", "seeds", "add"),
    spec(
        "search without held-out images",
        "budget = {epochs",
        SEARCH.replace("0.2", "0"),
        "holdout 0",
        "give a holdout above 0",
    ),
    spec(
        "search among no rates",
        "budget = {epochs",
        SEARCH.replace("[0.1]", "[]"),
        "learning_rate = []",
        "give a list of values",
    ),
    spec(
        "search for a rate that is given",
        "budget = {epochs",
        SEARCH,
        "learning_rate = 0.1 in [budget]",
        "in one of them",
    ),
    spec(
        "search for a strategy that is not there",
        "budget = {epochs",
        SEARCH.replace("{", "{ewc = {strength = [1.0]}, "),
        "search.ewc",
        "add a strategy of that name",
    ),
]
LEDGER = """
smallest: 0.5
grids: {one: {}}
streams: {some: {grid: one}}
claims:
- {id: a, statement: It is so., source: "paper: p. 1", streams: [some], measure: forgetting,
   strategy: {name: frozen}, against: [{name: joint}], direction: lower}
"""


def ledger(name: str, old: str, new: str, *words: str):
    def change(place: Place) -> None:
        assert old in LEDGER
        (place.folder / "claims.yml").write_text(LEDGER.replace(old, new))

    command = ("claims", "{folder}/claims.yml", "--results", "{records}")
    return row(f"ledger: {name}", *words, command=command, broken=change)


SPECS += [
    ledger("no YAML", "grids: {", "grids: {{", "claims.yml' cannot be read"),
    ledger("no claims", "claims:", "claim:", "'claim'", "did you mean 'claims'"),
    ledger("smallest", "0.5", "-1", "smallest -1", "above 0"),
    ledger("measure", "forgetting", "forgeting", "'forgeting'", "did you mean 'forgetting'"),
    ledger("direction", "lower", "down", "'down'", "higher, lower"),
    ledger("grid", "grid: one", "grid: two", "'two'", "choose one of one"),
    ledger("strategy", "frozen", "cold", "'cold'", "choose one of"),
]

# ----------------------------------------------------------------------------------- records

AGAIN = "restore it, or delete it and run it again"


def record(
    name: str, change: Callable[[dict[str, Any]], object] | bytes, *words: str, command=REPORT
):
    def damage(place: Place) -> None:
        if isinstance(change, bytes):
            place.record.write_bytes(change)
            return
        content = json.loads(place.record.read_text())
        change(content)
        place.record.write_text(json.dumps(content))

    return row(
        f"{command[0]}: {name}", "record '", "frozen", *words, AGAIN, command=command, broken=damage
    )


def as_a_folder(place: Place) -> None:
    place.record.unlink()
    place.record.mkdir()


def of_another(content: dict[str, Any]) -> None:
    content["spec"]["dataset"] = "mnist"


RECORDS = [
    record("empty", b"", "JSONDecodeError"),
    record("empty", b"", "JSONDecodeError", command=RUN),
    record("half", b'{"format": 1, "spec": {"data', "JSONDecodeError"),
    record("half", b'{"format": 1, "spec": {"data', "JSONDecodeError", command=RUN),
    record("no text", b"\xff\xfe\x00", "utf-8"),
    record("a list", b"[]", "TypeError"),
    record("nested without end", b"[" * 100_000, "RecursionError"),
    record("of another format", lambda c: c.update(format=2), "format 2, expected 1"),
    record("without accuracy", lambda c: c.pop("accuracy"), "'accuracy'"),
    record("accuracy in words", lambda c: c.update(accuracy=[[["good"]]]), "'good'"),
    record("accuracy of nobody", lambda c: c.update(accuracy=[]), "shape (0,) for 1 seeds"),
    record("accuracy above 1", lambda c: c["accuracy"][0][0].__setitem__(0, 98.5), "from 0 to 1"),
    record("drift of another shape", lambda c: c.update(drift=[[1.0]]), "drift", "(1, 2)"),
    record("other seeds", lambda c: c["spec"].update(seeds=[0, 1]), "for 2 seeds"),
    record("of another run", of_another, "another run than its name says"),
    record("of another run", of_another, "another run than its name says", command=RUN),
    record("unknown divergence", lambda c: c.update(divergences=[{"x": 1}]), "'x'"),
    record("provenance", lambda c: c.update(provenance=[]), "provenance is no table"),
    row("report: a folder", "Is a directory", AGAIN, command=REPORT, broken=as_a_folder),
]

# -------------------------------------------------------------------------------- data files


def use(name: str) -> Break:
    return lambda place: place.grid.write_text(GRID.replace("digits", name))


def mnist(file: str, content: bytes) -> Break:
    def write(place: Place) -> None:
        use("mnist")(place)
        raw = place.data / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for part, count in (("train", 4), ("t10k", 2)):
            images = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4) for n in (count, 28, 28))
            (raw / f"{part}-images-idx3-ubyte").write_bytes(images + bytes(count * 784))
            labels = bytes([0, 0, 8, 1]) + count.to_bytes(4) + bytes(count)
            (raw / f"{part}-labels-idx1-ubyte").write_bytes(labels)
        (raw / file).write_bytes(content)

    return write


def cifar(place: Place) -> None:
    use("cifar10")(place)
    folder = place.data / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        (folder / name).write_bytes(b"cos\nabort\n(tR.")  # a pickle that must not be opened


def cub(place: Place) -> Path:
    """Write a CUB-200 of three photographs."""
    use("cub200")(place)
    place.grid.write_text(place.grid.read_text().replace('{name = "frozen"}, ', ""))
    folder = place.data / "CUB_200_2011"
    (folder / "images").mkdir(parents=True)
    for i in (1, 2, 3):
        draws = np.random.default_rng(i).integers(0, 256, (70, 70, 3), dtype=np.uint8)
        Image.fromarray(draws).save(folder / "images" / f"{i}.jpg")
    (folder / "images.txt").write_text("1 1.jpg\n2 2.jpg\n3 3.jpg\n")
    (folder / "image_class_labels.txt").write_text("1 1\n2 2\n3 1\n")
    (folder / "train_test_split.txt").write_text("1 1\n2 1\n3 0\n")
    return folder


def broken_cub(file: str, content: str | None) -> Break:
    def write(place: Place) -> None:
        path = cub(place) / file
        path.unlink() if content is None else path.write_text(content)

    return write


def data(name: str, *words: str, broken: Break):
    return row(name, *words, command=(*RUN, "--data", "{data}"), broken=broken)


def no_network(*_: object, **__: object) -> None:
    raise URLError("[Errno -3] Temporary failure in name resolution")


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def refuse(owner: object, step: str, number: int) -> Break:
    """Make a step of writing fail with the system's error `number`."""

    def fail(*_: object, **__: object) -> None:
        raise error(number)

    return lambda place: place.patch.setattr(owner, step, fail)


ON_HAND = ("mnist is missing, incomplete or corrupt", "download")
TO_GET = ("cub200 is missing, incomplete or corrupt", "get CUB_200_2011.tgz from https://")
DATA_FILES = [
    row(
        "no data folder",
        "'nowhere' for mnist is no folder",
        "set CLCORE_DATA",
        command=(*RUN, "--data", "nowhere"),
        broken=use("mnist"),
    ),
    row(
        "file for a data folder",
        "grid.toml' for mnist is no folder",
        "set CLCORE_DATA",
        command=(*RUN, "--data", "{grid}"),
        broken=use("mnist"),
    ),
    data("no MNIST", *ON_HAND, broken=use("mnist")),
    data("no Fashion-MNIST", "fashion-mnist is missing", "download", broken=use("fashion-mnist")),
    data("no CIFAR-100", "cifar100 is missing", "download", broken=use("cifar100")),
    data("MNIST empty", *ON_HAND, broken=mnist("train-images-idx3-ubyte", b"")),
    data("MNIST a page", *ON_HAND, broken=mnist("t10k-labels-idx1-ubyte", b"<html>404</html>")),
    data("MNIST cut", *ON_HAND, broken=mnist("train-images-idx3-ubyte", bytes([0, 0, 8, 3, 0]))),
    data(
        "MNIST of other images",
        "mnist under",
        "corrupt: checksum",
        "expected 1e35582d42a90940",
        broken=mnist("train-labels-idx1-ubyte", bytes([0, 0, 8, 1, 0, 0, 0, 4, 0, 1, 2, 3])),
    ),
    data("CIFAR-10 with code in it", "cifar10 is missing, incomplete or corrupt", broken=cifar),
    data("no CUB-200", *TO_GET, broken=use("cub200")),
    data("no list", "images.txt", *TO_GET, broken=broken_cub("images.txt", None)),
    data("no photograph", "2.jpg", *TO_GET, broken=broken_cub("images/2.jpg", None)),
    data("no image", "no readable image", *TO_GET, broken=broken_cub("images/2.jpg", "<html>")),
    data(
        "labels with a gap",
        "are not 1, 2, 3 and so on",
        *TO_GET,
        broken=broken_cub("image_class_labels.txt", "1 1\n2 3\n3 1\n"),
    ),
    data(
        "labels of other images",
        "image 3",
        *TO_GET,
        broken=broken_cub("image_class_labels.txt", "1 1\n2 2\n4 1\n"),
    ),
    data(
        "nothing to test on",
        "train_test_split.txt",
        *TO_GET,
        broken=broken_cub("train_test_split.txt", "1 1\n2 1\n3 1\n"),
    ),
    row(
        "download of a misspelt name",
        "'nmist'",
        "did you mean 'mnist'",
        command=(*DATA, "--download", "nmist"),
    ),
    row(
        "download of what is got by hand",
        "cub200",
        "get CUB_200_2011.tgz from https://",
        "unpack it in the data root",
        command=(*DATA, "--download", "cub200"),
    ),
    row(
        "download without a network",
        "train-images-idx3-ubyte.gz could not be fetched",
        "Temporary failure in name resolution",
        "check the network and give the same command again",
        command=(*DATA, "--download", "mnist"),
        broken=lambda place: place.patch.setattr("clcore.download.urlopen", no_network),
    ),
    row(
        "download on a full disk",
        "No space",
        "make room",
        command=(*DATA, "--download", "mnist"),
        code=4,
        broken=refuse(Path, "mkdir", errno.ENOSPC),
    ),
    row(
        "data that is not here is told",
        "not usable",
        "mnist is missing",
        command=DATA,
        code=0,
        broken=use("mnist"),
    ),
]

# --------------------------------------------------------- a full disk, a folder for reading


def small_files(place: Place) -> None:
    """Let the system itself refuse files above 300 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))


ROOM = ("make room", "what was finished is recorded")
PLACE = ("cannot be written", "give a folder that can be written with --results", "make room")
MACHINE = [
    row(
        "full before",
        "No space",
        *PLACE,
        command=RUN,
        broken=refuse(tempfile, "TemporaryFile", errno.ENOSPC),
    ),
    row(
        "full at the record",
        "No space",
        *ROOM,
        command=RUN,
        code=4,
        broken=refuse(os, "fsync", errno.ENOSPC),
    ),
    row(
        "over quota",
        "quota exceeded",
        *ROOM,
        command=RUN,
        code=4,
        broken=refuse(os, "fsync", errno.EDQUOT),
    ),
    row(
        "disk broken",
        "Input/output error",
        *ROOM,
        command=RUN,
        code=4,
        broken=refuse(os, "fsync", errno.EIO),
    ),
    row(
        "full at a refresh",
        "No space",
        *ROOM,
        command=(*RUN, "--refresh"),
        code=4,
        broken=refuse(os, "fsync", errno.ENOSPC),
    ),
    row("file too large", "File too large", *ROOM, command=RUN, code=4, broken=small_files),
    row(
        "full at the verdicts",
        "No space",
        "make room",
        command=("claims", "{folder}/claims.yml", "--results", "{records}", "--json", "/dev/full"),
        code=4,
        broken=lambda place: (place.folder / "claims.yml").write_text(LEDGER),
    ),
    row(
        "read-only records",
        "Permission denied",
        *PLACE,
        command=RUN,
        broken=refuse(tempfile, "TemporaryFile", errno.EACCES),
    ),
    row(
        "read-only disk",
        "Read-only file system",
        *PLACE,
        command=RUN,
        broken=refuse(Path, "mkdir", errno.EROFS),
    ),
    row(
        "read-only folder",
        "Permission denied",
        *PLACE,
        command=RUN,
        broken=lambda place: place.records.chmod(0o500),
    ),
    row(
        "unreadable record",
        "Permission denied",
        AGAIN,
        command=REPORT,
        broken=lambda place: place.record.chmod(0),
    ),
]
ONLY_OTHERS = {"read-only folder", "unreadable record"}  # root may do anything


@pytest.mark.parametrize("case", [*COMMAND_LINE, *SPECS, *RECORDS, *DATA_FILES, *MACHINE])
def test_the_command_line_says_what_is_wrong_and_loses_nothing(
    case: Row, place: Place, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    if case.name in ONLY_OTHERS and os.geteuid() == 0:
        pytest.skip("root may write and read everything")
    if "/dev/full" in case.command and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    request.addfinalizer(lambda: place.records.chmod(0o700))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    case.broken(place)
    if case.name not in ONLY_OTHERS:
        before = place.content()
    try:
        code = main(place.command(case.command))
    except SystemExit as stopped:  # of argparse
        code = int(str(stopped.code))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        place.patch.undo()
    said = capsys.readouterr()
    text = said.err if case.code > 1 else said.out + said.err
    assert code == case.code, said
    assert "Traceback" not in said.err + said.out
    for word in case.words:
        assert word in text, said
    place.records.chmod(0o700)
    if case.name in ONLY_OTHERS:
        place.record.chmod(0o600)
        assert list(place.content()) == [place.record.name]
    else:
        assert place.content() == before


def test_there_are_enough_rows_and_no_two_alike() -> None:
    tables = (COMMAND_LINE, SPECS, RECORDS, DATA_FILES, MACHINE)
    names = [param.id for table in tables for param in table]
    assert sorted(set(names)) == sorted(names)
    assert len(names) >= 60


def test_one_task_has_no_forgetting_to_report(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.grid.write_text(GRID.replace("seeds", "tasks = 1\nseeds"))
    assert main(place.command(RUN)) == 0
    assert "frozen" in capsys.readouterr().out


def test_a_reader_who_stops_reading_is_no_error(place: Place) -> None:
    command = [sys.executable, "-m", "clcore", *place.command(REPORT)]
    root = Path(__file__).parents[1]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


# --------------------------------------------------------------------------- killed processes


@pytest.mark.parametrize(
    ("step", "options"),
    [
        ("write", ()),
        ("link", ()),
        ("remove", ()),
        ("write", ("--refresh",)),
        ("rename", ("--refresh",)),
    ],
)
def test_a_command_killed_while_it_writes_loses_nothing(
    step: str, options: tuple[str, ...], place: Place
) -> None:
    """It dies with the record in a partial file, or with the record and the partial file both."""
    if options:  # make a record that --refresh replaces
        text = place.record.read_text()
        code = json.loads(text)["provenance"]["code"]
        place.record.write_text(text.replace(code, "0123456789abcdef"))
    before = place.content()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.dying"])
    command = place.command((*RUN, *options))
    process = context.Process(target=run_and_die, args=(step, command))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    after = place.content()
    assert before.items() <= after.items()
    (part,) = after.keys() - before.keys() - {p for p in after if p.endswith(".json")}
    assert part.endswith(".part")
    assert main(command) == 0
    whole = [p for p in place.content() if p.endswith(".json")]
    assert len(whole) == 2
    assert main(place.command(REPORT)) == 0


# ------------------------------------------------------------------------------------ caches


def npz(place: Place) -> Path:
    cub(place)
    load("cub200", place.data)
    return place.data / "CUB_200_2011-64.npz"


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 and no more", None], ids=str)
def test_a_corrupt_cache_of_images_is_made_anew(content: bytes | None, place: Place) -> None:
    cache = npz(place)
    expected, whole = load("cub200", place.data).checksum, cache.read_bytes()
    cache.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert load("cub200", place.data).checksum == expected
    assert cache.stat().st_size == len(whole)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_cache_that_cannot_be_written_is_done_without(number: int, place: Place) -> None:
    cub(place)
    with place.patch.context() as patch:
        patch.setattr(np, "savez", lambda *_, **__: (_ for _ in ()).throw(error(number)))
        with pytest.warns(UserWarning, match=rf"npz cannot be written .*{os.strerror(number)}"):
            first = load("cub200", place.data).checksum
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load("cub200", place.data).checksum == first


# ------------------------------------------------------------------------ notebook parameters


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["bild"], 2, ["'bild'", "build"]),
        (["build", "--profile", "fulll"], 1, ["'fulll'", "did you mean 'full'"]),
        (["build", "--profile", ""], 1, ["profile ''", "choose one of full, quick"]),
        (["build", "--device", "gpu"], 1, ["'gpu'", "choose 'cpu'"]),
        (["build", "--device", "cuda:99"], 1, ["'cuda:99'", "use "]),
        (["build", "--seed=-1"], 1, ["seed '-1'", "a whole number from 0"]),
        (["build", "--seed", "1.5"], 1, ["seed '1.5'", "a whole number from 0"]),
        (["build", "--seed", "one"], 1, ["seed 'one'", "a whole number from 0"]),
        (["build", "--seed", ""], 1, ["seed ''", "a whole number from 0"]),
        (["build", "--seed", "٣"], 1, ["seed '٣'", "a whole number from 0"]),
        (["build", "--seed", "9" * 5000], 1, ["seed '9", "a whole number from 0 to 999999999"]),
        (["record", "--seed", "1"], 1, ["`make record` without PROFILE, DEVICE and SEED"]),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else None,
)
def test_parameters_of_the_notebooks(
    arguments: list[str],
    code: int,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(book, "refresh", lambda *_: pytest.fail("notebooks were executed"))
    try:
        found = book.main(arguments)
    except SystemExit as stopped:
        found = int(str(stopped.code))
    text = capsys.readouterr().err
    assert found == code
    assert "Traceback" not in text
    for word in words:
        assert word in text


# ------------------------------------------------------------------------------------- theory

TWO = theory.Problem([4], np.zeros((1, 2, 2)), np.ones((1, 2)), 10)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: theory.moments(10, 10), "m = 10 .* n = 10 .* infinite .*: choose m < 9 or m > 11"),
        (lambda: theory.moments(-1, 10), "-1 trainable .* at least 0"),
        (lambda: theory.Update([0, 0]), r"\[0, 0\]|\(0, 0\).* names a block twice: name each once"),
        (lambda: theory.Update([-1]), "-1.* block indices of at least 0"),
        (lambda: theory.Update([0], 1.5), r"gains = \(1.5,\).* in \[0, 1\]"),
        (lambda: theory.Update([0, 1], [1.0]), "1 gains for 2 .* give one gain for all"),
        (lambda: theory.LinearTasks([2], [[1.0]], 5), r"shape \(1, 1\).* check sizes or the rows"),
        (lambda: theory.LinearTasks([2], [[1.0, np.nan]], 5), "truths holds NaN.* give finite"),
        (lambda: theory.LinearTasks([0], [[]], 5), r"sizes = \[0\].* at least 1"),
        (lambda: theory.LinearTasks([1], [[1.0]], 0), "samples = .*0.* at least 1"),
        (lambda: theory.LinearTasks([1], [[1.0]], 5, -1.0), "noise holds -1.* give at least 0"),
        (lambda: theory.LinearTasks([1], "x", 5), "truths is no array of numbers"),
        (
            lambda: theory.Problem([4], np.ones((1, 2, 2)), np.ones((1, 2)), 10),
            r"distances\[b, k, k\] must be 0",
        ),
        (
            lambda: theory.Problem([4], [[[0, 100], [100, 0]]], np.ones((1, 2)), 10),
            "no points have these distances.* check that both arrays hold squared",
        ),
        (lambda: theory.expected_risks(TWO, [theory.Update()]), "1 updates for 2 tasks: give one"),
        (lambda: theory.expected_risks(TWO, [theory.Update([7])] * 2), "trains block 7.* 0 to 0"),
        (lambda: theory.average_forgetting(np.ones((2, 1, 1))), "one task.*needs two tasks"),
        (lambda: theory.long_run(2, 9, -1.0, 0.0), "distance = -1.* at least 0"),
        (lambda: theory.long_run(2, 9, 1.0, 0.0, gain=2.0), r"gain = 2.* in \(0, 1\]"),
        (lambda: theory.direction_gain([1.0], 1.0, [2.0]), r"cosines = \[2.0\].* in \[-1, 1\]"),
        (lambda: theory.direction_gain([1.0], 0.0, [0.5]), "new_length = 0.* above 0"),
        (lambda: theory.one_step_risk(2, 9, np.inf, 1.0, 0.0), "error = inf.* finite"),
    ],
)
def test_arguments_of_the_theory(call: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()
