"""Small files, written here byte by byte in the original layouts of MNIST, Fashion-MNIST, CIFAR."""

import hashlib
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from clcore.errors import InputError
from clcore.streams import available, datasets, load
from clcore.streams.torchvision_import import torchvision_datasets

Arrays = list[np.ndarray]


def write_mnist(root: Path, folder: str = "MNIST") -> Arrays:
    """Write idx files: 2 zero bytes, type 8 (uint8), dimensions, big-endian sizes, bytes."""
    draws = np.random.default_rng(0)
    arrays: Arrays = []
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 12), ("t10k", 7)):
        images = draws.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images", images), ("labels", labels)):
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            path = raw / f"{part}-{kind}-idx{array.ndim}-ubyte"
            path.write_bytes(header + array.tobytes())
        arrays += [np.asarray(images[:, None]), np.asarray(labels, dtype=np.int64)]
    return arrays


def write_cifar(root: Path, fine: bool) -> tuple[Arrays, dict[str, str]]:
    """Write pickles of rows (red plane, green plane, blue plane); return arrays and MD5s."""
    draws = np.random.default_rng(1)
    folder = root / ("cifar-100-python" if fine else "cifar-10-batches-py")
    folder.mkdir(parents=True)
    key = "fine_labels" if fine else "labels"
    train = ["train"] if fine else [f"data_batch_{i}" for i in range(1, 6)]
    test = ["test"] if fine else ["test_batch"]
    arrays: Arrays = []
    contents: dict[str, dict[str, object]] = {}
    for names, count in ((train, 4), (test, 3)):
        planes, labels = [], []
        for name in names:
            rows = draws.integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8)
            numbers = draws.integers(0, 100 if fine else 10, count).tolist()
            contents[name] = {"data": rows, key: numbers}
            planes.append(rows.reshape(count, 3, 32, 32))
            labels += numbers
        arrays += [np.concatenate(planes), np.array(labels)]
    meta, names_key = ("meta", "fine_label_names") if fine else ("batches.meta", "label_names")
    contents[meta] = {names_key: [str(i) for i in range(100 if fine else 10)]}
    sums = {}
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    return arrays, sums


def checksum(arrays: Arrays) -> str:
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()[:16]


def check(name: str, root: Path, arrays: Arrays) -> None:
    dataset = load(name, root)
    for found, written in zip(dataset[1:5], arrays, strict=True):
        assert isinstance(found, torch.Tensor)
        np.testing.assert_array_equal(found.numpy(), written)
        assert found.dtype == (torch.uint8 if written.ndim == 4 else torch.int64)
    assert dataset.shape == arrays[0].shape[1:]
    assert available(name, root)


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small MNIST and accept it as the original."""
    monkeypatch.setitem(datasets.CHECKSUMS, "mnist", checksum(write_mnist(tmp_path)))
    return tmp_path


def test_mnist_comes_back(mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    check("mnist", mnist, write_mnist(tmp_path_factory.mktemp("same")))


def test_fashion_mnist_comes_back(tmp_path: Path) -> None:
    """As it is: no checksum of the original is known here."""
    check("fashion-mnist", tmp_path, write_mnist(tmp_path, "FashionMNIST"))


@pytest.mark.parametrize("fine", [False, True])
def test_cifar_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fine: bool) -> None:
    arrays, sums = write_cifar(tmp_path, fine)
    name = "cifar100" if fine else "cifar10"
    reader = getattr(torchvision_datasets(), name.upper())
    for part in ("train_list", "test_list"):
        accepted = [[file, sums[file]] for file, _ in getattr(reader, part)]
        monkeypatch.setattr(reader, part, accepted)
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": sums[reader.meta["filename"]]})
    with pytest.raises(InputError, match="checksum"):
        load(name, tmp_path)
    monkeypatch.setitem(datasets.CHECKSUMS, name, checksum(arrays))
    check(name, tmp_path, arrays)


def test_root_from_the_environment(mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLCORE_DATA", str(mnist))
    assert len(load("mnist").train_labels) == 12


def test_changed_pixel_is_corrupt(mnist: Path) -> None:
    path = mnist / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"incomplete or corrupt: checksum \w{16}, expected \w{16}"
    ):
        load("mnist", mnist)
    assert not available("mnist", mnist)


def test_cifar_of_another_sum_is_corrupt(tmp_path: Path) -> None:
    write_cifar(tmp_path, fine=False)
    with pytest.raises(InputError, match="cifar10 is missing, incomplete or corrupt under"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10", "cifar100"])
def test_empty_root_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is missing.*clcore data --download"):
        load(name, tmp_path)


BREAKS: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "cut in the header": lambda path: path.write_bytes(path.read_bytes()[:6]),
    "zeros": lambda path: path.write_bytes(bytes(len(path.read_bytes()))),
    "text": lambda path: path.write_text("<html>404</html>" * 40),
    "of another type": lambda path: path.write_bytes(
        bytes([0, 0, 9]) + path.read_bytes()[3:]  # int8
    ),
}


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize("how", BREAKS)
def test_broken_file(mnist: Path, file: str, how: str) -> None:
    BREAKS[how](mnist / "MNIST" / "raw" / file)
    with pytest.raises(InputError, match=r"mnist .*incomplete or corrupt"):
        load("mnist", mnist)


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize("how", BREAKS)
def test_broken_file_of_fashion_mnist(tmp_path: Path, file: str, how: str) -> None:
    write_mnist(tmp_path, "FashionMNIST")
    BREAKS[how](tmp_path / "FashionMNIST" / "raw" / file)
    with pytest.raises(InputError, match=r"fashion-mnist .*incomplete or corrupt"):
        load("fashion-mnist", tmp_path)


def test_files_of_fashion_mnist_that_do_not_belong_together(tmp_path: Path) -> None:
    write_mnist(tmp_path, "FashionMNIST")
    raw = tmp_path / "FashionMNIST" / "raw"
    (raw / "train-labels-idx1-ubyte").write_bytes((raw / "t10k-labels-idx1-ubyte").read_bytes())
    with pytest.raises(
        InputError, match=r"training labels .* \(7,\), for 12 images.*clcore data --download"
    ):
        load("fashion-mnist", tmp_path)
