"""The job that every contender does, and what each reports of it.

Permuted MNIST: 5 tasks of 60,000 images, MLP 784-256-256-10, SGD with learning rate 0.1, one
epoch a task, evaluation of all tasks seen after each task (150,000 forward passes a replica).
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TASKS, HIDDEN, RATE = 5, 256, 0.1


# Kept alive: the operators vanish with the library object that defines them.
operators: list[object] = []


def let_torchvision_import() -> None:
    """Declare two operators that a torchvision built for CUDA looks up beside a CPU torch.

    The package does this itself (`clcore.streams.torchvision_import`); a peer's environment
    does not have the package.
    """
    import torch

    if not torch.version.cuda:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        operators.append(library)


def root() -> Path:
    """Return the folder of the data sets, the first argument of every contender."""
    return Path(sys.argv[1])


def arguments() -> list[int]:
    """Return the remaining arguments."""
    return [int(a) for a in sys.argv[2:]]


def mnist() -> tuple[NDArray[np.uint8], ...]:
    """Return MNIST's training images and labels, and its test images and labels."""
    folder = root() / "MNIST" / "raw"
    arrays = []
    for part in ("train", "t10k"):
        for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
            data = np.frombuffer((folder / f"{part}-{kind}-ubyte").read_bytes(), np.uint8)[header:]
            arrays.append(data.reshape(-1, 784) if kind.startswith("images") else data)
    return tuple(arrays)


def report(
    job: Callable[[], tuple[int, float]], training: Callable[[], float] | None = None
) -> None:
    """Time a job and print its line.

    Parameters
    ----------
    job : callable
        Returns the training images seen, and the mean final accuracy.
    training : callable, optional
        Returns the seconds of the job that were spent on training steps.
    """
    began = time.perf_counter()
    images, accuracy = job()
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = {"images": images, "seconds": seconds, "accuracy": accuracy, "megabytes": memory}
    if training:
        line["training_seconds"] = training()
    print(json.dumps(line))
