"""Image data sets as plain tensors: no loader, no transform objects."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from clcore.errors import InputError, known
from clcore.streams import cub200
from clcore.streams.torchvision_import import torchvision_datasets


class Dataset(NamedTuple):
    """Images and labels of one data set, all on one device.

    Attributes
    ----------
    name : str
        As `load` knows it.
    train_images, test_images : Tensor
        uint8, (N, channels, height, width).
    train_labels, test_labels : Tensor
        int64, (N,), values 0 … `classes` − 1.
    classes : int
        Number of classes.
    mean, deviation : Tensor
        float32, (channels,): of the training images, in units of one grey level. Networks see
        (image − mean) / deviation.
    checksum : str
        SHA-256 of the tensors, the first 16 hexadecimal digits.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: int
    mean: Tensor
    deviation: Tensor
    checksum: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def to(self, device: torch.device | str) -> "Dataset":
        """Return the data set with its tensors on `device`."""
        moved = [v.to(device) if isinstance(v, Tensor) else v for v in self]
        return Dataset._make(moved)


Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _digits(root: Path) -> Arrays:
    """Return scikit-learn's 1,797 digits, 8 × 8 pixels; a stratified quarter is the test set."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)[:, None]
    train, test = train_test_split(
        np.arange(len(images)), test_size=0.25, stratify=bunch.target, random_state=0
    )
    return images[train], bunch.target[train], images[test], bunch.target[test]


def _torchvision(kind: str) -> Callable[[Path], Arrays]:
    def read(root: Path) -> Arrays:
        parts = []
        for train in (True, False):
            part = getattr(torchvision_datasets(), kind)(root, train=train)
            images = np.asarray(part.data)
            images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
            parts += [images, np.asarray(part.targets)]
        return parts[0], parts[1], parts[2], parts[3]

    return read


# What torchvision calls the data sets that it can fetch.
KINDS = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
READERS: dict[str, Callable[[Path], Arrays]] = {
    "digits": _digits,
    **{name: _torchvision(kind) for name, kind in KINDS.items()},
    "cub200": cub200.read,
}
# Of the original files. torchvision verifies CIFAR's files when it reads them, but not MNIST's.
# None is known here of Fashion-MNIST; that of CUB-200-2011 depends on the version of Pillow.
CHECKSUMS = {
    "mnist": "1e35582d42a90940",
    "cifar10": "9048fcbac9c08a64",
    "cifar100": "283e80e15e3841cc",
}

# Data sets that torchvision does not fetch, and how to get them.
BY_HAND = {"cub200": cub200.HOW_TO_GET}

# What the readers raise over files that are missing, cut short or overwritten.
_BROKEN = (AssertionError, EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError)


def data_root(root: str | Path | None = None) -> Path:
    """Return the folder of the data sets: `root`, else `CLCORE_DATA`, else `data`."""
    return Path(root or os.environ.get("CLCORE_DATA") or "data").expanduser()


def available(name: str, root: str | Path | None = None) -> bool:
    """Tell whether `load` finds the data set complete without a download."""
    try:
        load(name, root)
    except InputError:
        return False
    return True


def load(name: str, root: str | Path | None = None) -> Dataset:
    """Read a data set into memory.

    Parameters
    ----------
    name : {"digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "cub200"}
        `digits` comes with scikit-learn; `cub200` is read in its original layout, see
        `cub200.read`; the others are read in torchvision's layout.
    root : path, optional
        Folder of the data sets; by default the environment variable `CLCORE_DATA`, else `data`.

    Returns
    -------
    Dataset
        On the CPU.

    Raises
    ------
    InputError
        If the name is unknown, or the files are missing, incomplete or corrupt.
    """
    reader = READERS[known("dataset", name, READERS)]
    folder = data_root(root)
    get = f"fetch it with `clcore data --download {name}{f' --data {root}' if root else ''}`"
    if name != "digits" and not folder.is_dir():
        raise InputError(
            f"data root {str(folder)!r} for {name} is no folder: set CLCORE_DATA to the folder "
            f"that holds the data sets, or {BY_HAND.get(name, get)}"
        )
    repair = BY_HAND.get(name, f"{get} (delete its folder first if a damaged copy is there)")
    try:
        dataset = from_arrays(name, *reader(folder))
    except _BROKEN as error:
        raise InputError(
            f"{name} is missing, incomplete or corrupt under {str(folder)!r} "
            f"({type(error).__name__}: {error}); {repair}"
        ) from error
    expected = CHECKSUMS.get(name, dataset.checksum)
    if dataset.checksum != expected:
        raise InputError(
            f"{name} under {str(folder)!r} is incomplete or corrupt: checksum {dataset.checksum}, "
            f"expected {expected}; {repair}"
        )
    return dataset


def from_arrays(
    name: str,
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
) -> Dataset:
    """Make a data set of arrays.

    Parameters
    ----------
    name : str
        For reports.
    train_images, test_images : array
        uint8, (N, channels, height, width).
    train_labels, test_labels : array
        Integers from 0, (N,).

    Raises
    ------
    InputError
        If an array is of another kind or shape, or images and labels differ in number.
    """
    for part, images, labels in (
        ("training", train_images, train_labels),
        ("test", test_images, test_labels),
    ):
        if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
            raise InputError(
                f"{part} images of {name} are {images.dtype} {images.shape}: give uint8 "
                "(N, channels, height, width), none of them 0"
            )
        if labels.dtype.kind not in "iu" or labels.shape != (len(images),) or labels.min() < 0:
            raise InputError(
                f"{part} labels of {name} are {labels.dtype} {labels.shape}, "
                f"for {len(images)} images: give one integer from 0 an image"
            )
    if train_images.shape[1:] != test_images.shape[1:]:
        raise InputError(
            f"training and test images of {name} have shapes {train_images.shape[1:]} and "
            f"{test_images.shape[1:]}: give images of one shape"
        )
    digest = hashlib.sha256()
    tensors: list[Tensor] = []
    for array, kind in (
        (train_images, np.uint8),
        (train_labels, np.int64),
        (test_images, np.uint8),
        (test_labels, np.int64),
    ):
        whole = np.ascontiguousarray(array, dtype=kind)
        digest.update(whole.data)
        tensors.append(torch.from_numpy(whole))
    # Mean and deviation from grey-level counts: exact, and without a float copy of the images.
    # (bincount makes an int64 copy, so it gets the images in pieces.)
    levels = np.arange(256.0)
    pieces = np.array_split(tensors[0].numpy(), 64)
    counts = [
        np.sum([np.bincount(piece[:, c].ravel(), minlength=256) for piece in pieces], axis=0)
        for c in range(tensors[0].shape[1])
    ]
    mean = np.array([c @ levels / c.sum() for c in counts])
    deviation = np.array(
        [np.sqrt(c @ levels**2 / c.sum() - m**2) for c, m in zip(counts, mean, strict=True)]
    )
    deviation[deviation == 0] = 1.0  # a constant channel becomes 0
    return Dataset(
        name,
        tensors[0],
        tensors[1],
        tensors[2],
        tensors[3],
        classes=int(max(train_labels.max(), test_labels.max())) + 1,
        mean=torch.from_numpy(mean).float(),
        deviation=torch.from_numpy(deviation).float(),
        checksum=digest.hexdigest()[:16],
    )
