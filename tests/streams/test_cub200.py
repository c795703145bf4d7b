"""CUB-200-2011 read from a small made set in its original layout, and from its cache."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from clcore.download import download
from clcore.errors import InputError
from clcore.streams import available, cub200, load

# Number of the image, class, part (1: training), size and mode; nobody promises an order.
IMAGES = [
    (1, 1, "1", (90, 64), "RGB"),
    (4, 2, "0", (150, 150), "RGB"),
    (2, 1, "0", (64, 100), "RGB"),
    (3, 2, "1", (128, 140), "L"),
    (7, 3, "1", (40, 30), "RGB"),
    (6, 3, "0", (64, 64), "RGB"),
    (5, 3, "1", (201, 64), "RGB"),
]
CLASSES = ["001.Albatross", "002.Auklet", "003.Bunting"]
LISTS = ("images", "image_class_labels", "train_test_split")


def picture(number: int) -> Path:
    (found,) = [i for i in IMAGES if i[0] == number]
    name = CLASSES[found[1] - 1]
    return Path("images") / name / f"{name[4:]}_{number:04d}.jpg"


def write(root: Path) -> Path:
    """Write the set; return its folder."""
    folder = root / "CUB_200_2011"
    draws = np.random.default_rng(5)
    lists: dict[str, list[str]] = {name: [] for name in LISTS}
    for number, label, part, (width, height), mode in IMAGES:
        path = folder / picture(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = draws.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        smooth.convert(mode).save(path, quality=95)
        lists["images"].append(f"{number} {picture(number).relative_to('images')}")
        lists["image_class_labels"].append(f"{number} {label}")
        lists["train_test_split"].append(f"{number} {part}")
    lists["image_class_labels"].sort()
    lists["train_test_split"].reverse()
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path)


@pytest.fixture
def cache(folder: Path) -> Path:
    return folder.parent / "CUB_200_2011-64.npz"


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list to which every decoding appends."""
    decoded: list[Path] = []
    decode = cub200._decoded
    monkeypatch.setattr(cub200, "_decoded", lambda path: decoded.append(path) or decode(path))
    return decoded


def test_labels_and_parts_are_those_of_the_lists(folder: Path) -> None:
    dataset = load("cub200", folder.parent)
    assert dataset.shape == (3, 64, 64)
    assert (dataset.name, dataset.classes) == ("cub200", 3)
    assert dataset.train_labels.tolist() == [0, 1, 2, 2]  # images 1, 3, 7, 5
    assert dataset.test_labels.tolist() == [1, 0, 2]  # 4, 2, 6
    assert dataset.train_images.dtype == torch.uint8
    assert available("cub200", folder.parent)


def weights(start: float, side: float, pixels: int) -> np.ndarray:
    """Return what each pixel gives to each of the 64: a triangle over its middle."""
    scale = side / 64
    middles = start + (np.arange(64) + 0.5) * scale
    distance = np.abs(np.arange(pixels) + 0.5 - middles[:, None])
    found = np.maximum(0, 1 - distance / max(1, scale))
    return found / found.sum(1, keepdims=True)


def test_images_are_the_middle_squares_resized(folder: Path) -> None:
    dataset = load("cub200", folder.parent)
    training, judged = iter(dataset.train_images), iter(dataset.test_images)
    for number, _, part, (width, height), mode in IMAGES:
        found = next(training if part == "1" else judged)
        with Image.open(folder / picture(number)) as image:
            assert (image.mode, image.size) == (mode, (width, height))
            channels = np.asarray(image.convert("RGB"), dtype=np.float64).transpose(2, 0, 1)
        side = min(width, height)
        left = weights((width - side) / 2, side, width)
        top = weights((height - side) / 2, side, height)
        expected = top @ channels @ left.T
        assert np.abs(found.numpy() - expected).max() <= 1  # Pillow rounds twice
        assert (mode == "L") == bool((found[0] == found[1]).all())


def test_cache_gives_the_same_and_decodes_nothing(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = count_decoded(monkeypatch)
    first = load("cub200", folder.parent)
    assert len(decoded) == len(IMAGES)
    assert cache.exists()
    second = load("cub200", folder.parent)
    assert len(decoded) == len(IMAGES)
    assert second.checksum == first.checksum
    assert sorted(p.name for p in folder.parent.iterdir()) == [folder.name, cache.name]


def test_cache_is_no_pickle(folder: Path, cache: Path) -> None:
    load("cub200", folder.parent)
    with np.load(cache, allow_pickle=False) as content:
        assert content["images"].shape == (7, 3, 64, 64)
        assert content["images"].dtype == np.uint8
        assert content["key"].dtype.kind == "U"


def replace_image(folder: Path, cache: Path) -> None:
    Image.new("RGB", (80, 80), "red").save(folder / picture(2))


def touch_image(folder: Path, cache: Path) -> None:
    os.utime(folder / picture(2), (1, 1))


def drop_image(folder: Path, cache: Path) -> None:
    for name in LISTS:
        path = folder / f"{name}.txt"
        lines = path.read_text().splitlines(True)
        path.write_text("".join(line for line in lines if not line.startswith("5 ")))


def rename_image(folder: Path, cache: Path) -> None:
    path = folder / "images.txt"
    renamed = (folder / picture(2)).with_name("renamed.jpg")
    (folder / picture(2)).rename(renamed)
    path.write_text(path.read_text().replace(picture(2).name, renamed.name))


def cut_short(folder: Path, cache: Path) -> None:
    cache.write_bytes(cache.read_bytes()[:-100])


def empty(folder: Path, cache: Path) -> None:
    cache.write_bytes(b"")


def text(folder: Path, cache: Path) -> None:
    cache.write_text("not a zip file")


def array_alone(folder: Path, cache: Path) -> None:
    with cache.open("wb") as file:
        np.save(file, np.zeros(3))


class Unpickled:
    """What must not be unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("unpickled",)


def pickled(folder: Path, cache: Path) -> None:
    with np.load(cache) as content:
        entries = dict(content)
    np.savez(cache, key=entries["key"], images=np.array([Unpickled()], dtype=object))


def of_another_shape(folder: Path, cache: Path) -> None:
    with np.load(cache) as content:
        entries = dict(content)
    np.savez(cache, key=entries["key"], images=entries["images"][1:])


def of_another_kind(folder: Path, cache: Path) -> None:
    with np.load(cache) as content:
        entries = dict(content)
    np.savez(cache, key=entries["key"], images=entries["images"].astype(np.float32))


def without_key(folder: Path, cache: Path) -> None:
    with np.load(cache) as content:
        entries = dict(content)
    np.savez(cache, images=entries["images"])


def of_another_pillow(folder: Path, cache: Path) -> None:
    with np.load(cache) as content:
        entries = dict(content)
    np.savez(cache, key=np.array("0" * 64), images=entries["images"])


@pytest.mark.parametrize(
    "change",
    [
        replace_image,
        touch_image,
        drop_image,
        rename_image,
        cut_short,
        empty,
        text,
        array_alone,
        pickled,
        of_another_shape,
        of_another_kind,
        without_key,
        of_another_pillow,
    ],
)
def test_cache_that_does_not_fit_is_made_anew(
    folder: Path,
    cache: Path,
    change: Callable[[Path, Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load("cub200", folder.parent)
    change(folder, cache)
    decoded = count_decoded(monkeypatch)
    found = load("cub200", folder.parent)
    assert len(decoded) == len(found.train_labels) + len(found.test_labels) >= 6
    cache.unlink()
    assert load("cub200", folder.parent).checksum == found.checksum
    decoded.clear()
    load("cub200", folder.parent)
    assert not decoded


def test_other_version_of_pillow_makes_the_cache_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("cub200", folder.parent)
    monkeypatch.setattr("PIL.__version__", "0.1")
    decoded = count_decoded(monkeypatch)
    load("cub200", folder.parent)
    assert len(decoded) == len(IMAGES)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache of two images, 24 kB."""
    path = tmp_path_factory.mktemp("cache") / "cache.npz"
    images = np.random.default_rng(2).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8)
    cub200._write(path, "the key", images)
    return path


@settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_changed_byte_passes(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    """The cache is refused, or the byte was one that means nothing."""
    content = bytearray(whole.read_bytes())
    with zipfile.ZipFile(whole) as archive:
        starts = [info.header_offset for info in archive.infolist()]
    near = st.sampled_from([*starts, len(content) - 200]).flatmap(
        lambda start: st.integers(start, min(start + 250, len(content) - 1))
    )  # the headers, where a change is worst
    place = data.draw(st.integers(0, len(content) - 1) | near)
    content[place] ^= data.draw(st.integers(1, 255))
    changed = tmp_path / "changed.npz"
    changed.write_bytes(content)
    found = cub200._cached(changed, "the key", 2)
    expected = cub200._cached(whole, "the key", 2)
    assert expected is not None
    assert found is None or np.array_equal(found, expected)


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from clcore.streams import cub200, load
if sys.argv[2] == "writing":
    def save(file, **arrays):
        file.write(b"PK half a file")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    np.savez = save
else:
    Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
load("cub200", sys.argv[1])
"""


@pytest.mark.parametrize("when", ["writing", "between writing and renaming"])
def test_kill_leaves_no_cache_and_the_next_load_makes_one(
    folder: Path, cache: Path, when: str
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder.parent), when], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = folder.parent.glob(".*.part")
    assert not cache.exists()
    checksum = load("cub200", folder.parent).checksum
    assert cache.exists()
    assert load("cub200", folder.parent).checksum == checksum
    assert left.exists()  # it could be that of a process which writes at this moment
    os.utime(left, (time.time() - 4000,) * 2)
    cache.unlink()
    load("cub200", folder.parent)
    assert not left.exists()


def checksum_of(root: Path) -> str:
    return load("cub200", root).checksum


def test_processes_at_once_all_load_the_same(folder: Path, cache: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.map(checksum_of, [folder.parent] * 9, chunksize=1)
    assert set(found) == {load("cub200", folder.parent).checksum}
    assert sorted(p.name for p in folder.parent.iterdir()) == [folder.name, cache.name]


def test_place_that_cannot_be_written_costs_only_the_cache(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load("cub200", folder.parent).checksum
    cache.unlink()

    opened = Path.open

    def refuse(path: Path, mode: str = "r", *rest: object, **options: object) -> object:
        if "w" in mode:
            raise OSError(30, "Read-only file system")
        return opened(path, mode, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.warns(UserWarning, match=r"-64.npz cannot be written .*Read-only"):
            assert load("cub200", folder.parent).checksum == expected
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    # One that is there is read all the same.
    load("cub200", folder.parent)
    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(Path, "open", refuse)
        assert load("cub200", folder.parent).checksum == expected


def test_full_disk_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(file: BinaryIO, **arrays: np.ndarray) -> None:
        file.write(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", save)
    with pytest.warns(UserWarning, match=r"-64.npz cannot be written .*No space left"):
        assert load("cub200", folder.parent).classes == 3
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


HOW = r"get CUB_200_2011.tgz from https://data.caltech.edu\S+ \(there is no automatic download\)"


def test_missing_set_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"cub200 is missing.*images\.txt.*{HOW}.*data root"):
        load("cub200", tmp_path)
    with pytest.raises(InputError, match=HOW):
        load("cub200", tmp_path / "nowhere")
    assert not available("cub200", tmp_path)
    assert not list(tmp_path.iterdir())


def test_download_of_what_is_here_loads_it(folder: Path) -> None:
    assert download("cub200", folder.parent).classes == 3


@pytest.mark.parametrize("name", LISTS)
def test_missing_list(folder: Path, name: str) -> None:
    (folder / f"{name}.txt").unlink()
    with pytest.raises(InputError, match=rf"No such file or directory.*{name}\.txt.*{HOW}"):
        load("cub200", folder.parent)


def test_missing_image(folder: Path) -> None:
    load("cub200", folder.parent)  # a cache does not hide it
    (folder / picture(4)).unlink()
    with pytest.raises(InputError, match=rf"No such file or directory.*Auklet_0004\.jpg.*{HOW}"):
        load("cub200", folder.parent)


@pytest.mark.parametrize(
    "content", [b"", b"<html>404</html>", b"\xff\xd8\xff\xe0 and no more", None]
)
def test_image_that_cannot_be_decoded(folder: Path, cache: Path, content: bytes | None) -> None:
    path = folder / picture(4)
    path.write_bytes(path.read_bytes()[:-500] if content is None else content)
    with pytest.raises(InputError, match=rf"Auklet_0004\.jpg is no readable image: .*{HOW}"):
        load("cub200", folder.parent)
    assert not cache.exists()


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("images", "6 003", "8 003", "image 6 is not both in images.txt and in image_class_labels"),
        ("train_test_split", "6 0\n", "", "image 6 is not both in images.txt and in train_test"),
        ("images", "6 003", "5 003", "images.txt has an image twice"),
        ("images", "6 003", "six 003", "invalid literal for int"),
        ("image_class_labels", "6 3", "6", "a line of .*labels.txt is not a number and a value"),
        ("image_class_labels", "6 3", "6 3 3", "a line of .*labels.txt is not a number and a"),
        ("image_class_labels", "6 3", "6 5", "are not 1, 2, 3 and so on"),
        ("image_class_labels", "6 3", "6 0", "are not 1, 2, 3 and so on"),
        ("image_class_labels", "6 3", "6 " + "9" * 30, "are not 1, 2, 3 and so on"),
        ("image_class_labels", "6 3", "6 x", "invalid literal for int"),
        ("train_test_split", "6 0", "6 2", "has not just 1 .training. and 0 .test."),
        ("train_test_split", " 0", " 1", "has not just 1 .training. and 0 .test., and both"),
    ],
)
def test_lists_that_do_not_fit(folder: Path, name: str, old: str, new: str, message: str) -> None:
    path = folder / f"{name}.txt"
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
    with pytest.raises(InputError, match=rf"cub200 is missing, incomplete or corrupt.*{message}"):
        load("cub200", folder.parent)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00"])
@pytest.mark.parametrize("name", LISTS)
def test_list_that_is_none(folder: Path, name: str, content: bytes) -> None:
    (folder / f"{name}.txt").write_bytes(content)
    with pytest.raises(InputError, match="cub200 is missing, incomplete or corrupt"):
        load("cub200", folder.parent)


def test_all_lists_empty(folder: Path) -> None:
    for name in LISTS:
        (folder / f"{name}.txt").write_text("")
    with pytest.raises(InputError, match="cub200 is missing, incomplete or corrupt"):
        load("cub200", folder.parent)
