"""CUB-200-2011 (Wah et al., 2011) from its original folder; decoded once, then cached."""

import hashlib
import os
import platform
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np

SIDE = 64  # pixels
HOW_TO_GET = (
    "get CUB_200_2011.tgz from https://data.caltech.edu/records/65de6-vp158 (there is no automatic "
    "download) and unpack it in the data root, so that CUB_200_2011/images.txt lies there"
)


def read(root: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return training images and labels, test images and labels.

    The photographs become RGB, 64 × 64: of each the largest square in its middle, so that birds
    keep their proportions, resized by Pillow's bilinear filter, which averages over what it
    shrinks. The 11,788 of them take half a minute or more the first time; then
    ``CUB_200_2011-64.npz`` beside the folder has them, and is made anew when it is not whole, or
    when images or Pillow's version have changed.

    Parameters
    ----------
    root : Path
        Holds the folder ``CUB_200_2011`` with ``images.txt``, ``image_class_labels.txt``,
        ``train_test_split.txt`` and ``images/<class>/<file>.jpg``.

    Raises
    ------
    OSError, ValueError
        If files are missing, do not fit together or cannot be read.
    """
    folder = root / "CUB_200_2011"
    files = _column(folder / "images.txt")
    classes = _column(folder / "image_class_labels.txt")
    parts = _column(folder / "train_test_split.txt")
    for name, column in (("image_class_labels", classes), ("train_test_split", parts)):
        if odd := sorted(files.keys() ^ column.keys()):
            raise ValueError(f"image {odd[0]} is not both in images.txt and in {name}.txt")
    labels = np.array([int(classes[i]) for i in files]) - 1
    known = np.unique(labels)
    if not np.array_equal(known, np.arange(len(known))):
        raise ValueError("the classes in image_class_labels.txt are not 1, 2, 3 and so on")
    if set(parts.values()) != {"0", "1"}:
        raise ValueError("train_test_split.txt has not just 1 (training) and 0 (test), and both")
    images = _images(root, [folder / "images" / file for file in files.values()])
    train = np.array([parts[i] == "1" for i in files])
    return images[train], labels[train], images[~train], labels[~train]


def _column(path: Path) -> dict[int, str]:
    """Return what a list says of each image, by the image's number."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    if any(len(line) != 2 for line in lines):
        raise ValueError(f"a line of {path} is not a number and a value")
    found = {int(number): value for number, value in lines}
    if len(found) < len(lines):
        raise ValueError(f"{path} has an image twice")
    return found


def _images(root: Path, paths: list[Path]) -> np.ndarray:
    """Return the images, uint8 (N, 3, SIDE, SIDE), out of the cache if they are the same still."""
    import PIL

    digest = hashlib.sha256(PIL.__version__.encode())
    for path in paths:
        state = path.stat()
        digest.update(f"{path.relative_to(root)} {state.st_size} {state.st_mtime_ns}\n".encode())
    key = digest.hexdigest()
    cache = root / f"CUB_200_2011-{SIDE}.npz"
    images = _cached(cache, key, len(paths))
    if images is None:
        images = np.stack([_decoded(path) for path in paths])
        _write(cache, key, images)
    return images


def _decoded(path: Path) -> np.ndarray:
    """Return one image, uint8 (3, SIDE, SIDE)."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            square = ImageOps.fit(image.convert("RGB"), (SIDE, SIDE), Image.Resampling.BILINEAR)
    except Exception as error:  # Pillow's decoders raise errors of many types
        raise ValueError(f"{path} is no readable image: {error}") from error
    return np.asarray(square).transpose(2, 0, 1)


def _cached(cache: Path, key: str, number: int) -> np.ndarray | None:
    """Return the images of the cache; None unless it is whole and has this key."""
    try:
        with cache.open("rb") as file, np.load(file, allow_pickle=False) as content:
            if content["key"] != key:
                return None
            images: np.ndarray = content["images"]  # zip's checksum is verified here
    except Exception:  # broken files lead numpy and zipfile to errors of many types
        return None
    fits = images.dtype == np.uint8 and images.shape == (number, 3, SIDE, SIDE)
    return images if fits else None


def _write(cache: Path, key: str, images: np.ndarray) -> None:
    """Write the cache; a kill at any moment leaves the whole cache or none."""
    partial = cache.with_name(f".{cache.name}.{platform.node()}.{os.getpid()}.part")
    try:
        for left in cache.parent.glob(f".{cache.name}.*.part"):  # by a process that was killed
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > 3600:
                    left.unlink()
        with partial.open("wb") as file:
            np.savez(file, key=key, images=images)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(cache)
    except OSError as error:
        warnings.warn(
            f"{cache} cannot be written ({error}): the images of cub200 are decoded each time anew",
            stacklevel=2,
        )
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
