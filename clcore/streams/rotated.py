"""Streams of rotated images, from identical to unrelated tasks."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from clcore.errors import InputError
from clcore.seeds import generator
from clcore.streams.datasets import Dataset
from clcore.streams.stream import Stream, Task, judged_rows


def rotated(
    dataset: Dataset,
    angles: Sequence[float],
    *,
    seed: int,
    holdout: float = 0.0,
    spread: float = 0.0,
) -> Stream:
    """Return a domain-incremental stream in which each task shows the images at its own angle.

    Task k turns them counter-clockwise by `angles[k]`, or, where there is a spread, by a random
    angle from there up to `angles[k]` + `spread`. Tasks at one angle are identical, digits at 90°
    apart unrelated: a linear classifier of one task answers the other by chance. (At 180° some
    look like themselves again.) Small and large steps by turns make a mixed stream, of related
    and unrelated tasks.

    Rotated MNIST has angles of 0, 9, …, 81 and a spread of 9 in the code of Lopez-Paz and
    Ranzato (2017), and twenty angles of 0 and a spread of 180 in that of Buzzega et al. (2020).
    As there, an image keeps its size, a pixel shows its nearest neighbour, and what comes from
    outside of the image is black: Pillow's `rotate`, which torchvision's calls for such images.

    Parameters
    ----------
    dataset : Dataset
        All its classes are in every task.
    angles : sequence of float
        In degrees, one for each task.
    seed : int
        Draws the angles where there is a spread.
    holdout : float
        See `judged_rows`.
    spread : float
        ≥ 0, in degrees.

    Raises
    ------
    InputError
        If there is no angle, or an angle or the spread is out of range.
    """
    if len(angles) == 0:
        raise InputError("no angles: give one for each task, in degrees")
    for angle in angles:
        if not math.isfinite(angle):
            raise InputError(f"angle {angle} is not finite: give degrees, such as 45")
    if not 0 <= spread < math.inf:
        raise InputError(f"spread {spread} of the angles: give degrees from 0, such as 180")
    train, test = judged_rows(dataset, seed, holdout)
    outputs = torch.arange(dataset.classes)
    tasks = []
    for k, angle in enumerate(angles):
        draws = generator(seed, "stream", 1, k)
        drawn = angle + spread * torch.rand((), generator=draws, dtype=torch.float64).item()
        tasks.append(Task(train, test, outputs, _turned(dataset.shape, drawn)))
    return Stream("rotated", dataset, tuple(tasks), "domain", dataset.classes, holdout > 0)


def _turned(shape: tuple[int, int, int], angle: float) -> Tensor:
    """Return the order of pixels, −1 for black, that turns images of a shape by `angle` degrees."""
    from PIL import Image

    channels, height, width = shape
    # An image of the numbers of the pixels, from 1: Pillow fills up with 0.
    numbers = np.arange(1, height * width + 1, dtype=np.int32).reshape(height, width)
    turned = np.asarray(Image.fromarray(numbers).rotate(angle)).astype(np.int64).ravel()
    below = torch.arange(channels)[:, None] * height * width  # pixels of the channels before
    found = torch.from_numpy(turned)
    return torch.where(found > 0, found - 1 + below, -1).flatten()
