import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from clcore.errors import InputError
from clcore.streams import Dataset, available, data_root, from_arrays, load, permuted
from clcore.streams.batches import View


def fingerprints(images: torch.Tensor, labels: torch.Tensor) -> list[bytes]:
    pairs = zip(images, labels.tolist(), strict=True)
    return [image.numpy().tobytes() + bytes([label]) for image, label in pairs]


def test_digits_are_those_of_scikit_learn(digits: Dataset) -> None:
    bunch = load_digits()
    original = fingerprints(
        torch.from_numpy(bunch.images.astype(np.uint8)), torch.tensor(bunch.target)
    )
    train = fingerprints(digits.train_images, digits.train_labels)
    test = fingerprints(digits.test_images, digits.test_labels)
    assert sorted(train + test) == sorted(original)
    assert (len(train), len(test), digits.classes) == (1347, 450, 10)
    assert digits.shape == (1, 8, 8)
    assert digits.train_images.dtype == digits.test_images.dtype == torch.uint8
    assert digits.train_labels.dtype == digits.test_labels.dtype == torch.int64
    quarter = np.bincount(bunch.target) / 4
    assert np.abs(digits.test_labels.bincount().numpy() - quarter).max() <= 1


def test_digits_are_split_equally_every_time(digits: Dataset) -> None:
    again = load("digits")
    assert again.checksum == digits.checksum
    assert torch.equal(again.train_images, digits.train_images)


def test_bad_arrays() -> None:
    images, labels = np.ones((3, 1, 2, 2), np.uint8), np.arange(3)
    for wrong in (images / 2, images[:, 0], images[:0], images[..., :0]):
        with pytest.raises(InputError, match=r"training images of x are .*: give uint8"):
            from_arrays("x", wrong, labels[: len(wrong)], images, labels)
    for wrong in (labels[:2], labels / 1, labels - 1, labels[:, None]):
        with pytest.raises(InputError, match=r"test labels of x are .* for 3 images: give one"):
            from_arrays("x", images, labels, images, wrong)
    with pytest.raises(
        InputError, match=r"have shapes \(1, 2, 2\) and \(2, 2, 1\): give images of"
    ):
        from_arrays("x", images, labels, images.reshape(3, 2, 2, 1), labels)


@pytest.mark.parametrize("name", ["digits", "gray", "color"])
def test_normalization(name: str, request: pytest.FixtureRequest) -> None:
    dataset: Dataset = request.getfixturevalue(name)
    floats = dataset.train_images.numpy().astype(np.float64)
    np.testing.assert_allclose(dataset.mean, floats.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(dataset.deviation, floats.std((0, 2, 3)), rtol=1e-6)
    assert dataset.mean.dtype == dataset.deviation.dtype == torch.float32


def test_brightest_grey_level_counts() -> None:
    images = np.array([0, 255], dtype=np.uint8).reshape(2, 1, 1, 1)
    dataset = from_arrays("two", images, np.array([0, 1]), images, np.array([0, 1]))
    assert dataset.mean.item() == dataset.deviation.item() == 127.5


def test_checksum_covers_every_tensor(gray: Dataset) -> None:
    arrays = [t.numpy() for t in gray[1:5]]
    joined = b"".join(array.tobytes() for array in arrays)
    assert gray.checksum == hashlib.sha256(joined).hexdigest()[:16]
    for i in range(4):
        changed = [array.copy() for array in arrays]
        changed[i].flat[-1] ^= 1
        assert from_arrays("changed", *changed).checksum != gray.checksum


def test_classes_count_those_only_tested() -> None:
    images = np.array([0, 9], dtype=np.uint8).reshape(2, 1, 1, 1)
    assert from_arrays("x", images, np.array([0, 1]), images, np.array([4, 0])).classes == 5


def test_to_device_keeps_everything(gray: Dataset) -> None:
    moved = gray.to("cpu")
    assert (moved.name, moved.classes, moved.checksum) == (gray.name, gray.classes, gray.checksum)
    for i in (1, 2, 3, 4, 6, 7):
        torch.testing.assert_close(moved[i], gray[i], rtol=0, atol=0)
    assert gray.to("meta").deviation.is_meta


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("minst", "mnist"),
        ("MNIST", "mnist"),
        ("FashionMNIST", "fashion-mnist"),
        ("CIFAR-10", "cifar10"),
        ("cifar1000", "cifar100"),
        ("CUB_200", "cub200"),
    ],
)
def test_unknown_name_suggests_the_nearest(wrong: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"unknown dataset '{wrong}': did you mean '{meant}'"):
        load(wrong)


def test_unknown_name_like_nothing_lists_all() -> None:
    with pytest.raises(
        InputError,
        match="'qqq': choose one of cifar10, cifar100, cub200, digits, fashion-mnist, mnist",
    ):
        load("qqq")


def test_root_is_argument_then_environment_then_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLCORE_DATA", "~/sets")
    assert data_root("here") == Path("here")
    assert data_root() == Path.home() / "sets"
    monkeypatch.delenv("CLCORE_DATA")
    assert data_root() == Path("data")


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere' for mnist is no folder: set CLCORE_DATA"):
        load("mnist", tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is no folder"):
        load("cifar10", tmp_path / "file")
    assert not available("mnist", tmp_path / "nowhere")
    assert not available("no such name")


def test_digits_need_no_root(tmp_path: Path, digits: Dataset) -> None:
    assert load("digits", tmp_path / "nowhere").checksum == digits.checksum
    assert available("digits", tmp_path / "nowhere")


def test_a_constant_channel_is_shown_as_0() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 2, 4, 4)).astype(np.uint8)
    images[:, 1] = 7
    dataset = from_arrays("half", images, np.arange(6) % 2, images, np.arange(6) % 2)
    tasks = permuted(dataset, [], seed=0).tasks
    shown = View(dataset.train_images, dataset, [tasks], flat=False)
    pixels = shown.show(torch.arange(6)[None], 0)[0]
    assert (pixels[:, 1] == 0).all()
    assert pixels[:, 0].std().item() == pytest.approx(1, abs=0.01)
