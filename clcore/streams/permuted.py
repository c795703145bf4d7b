"""Streams of permuted pixels, from identical to unrelated tasks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from clcore.errors import InputError
from clcore.seeds import generator
from clcore.streams.datasets import Dataset
from clcore.streams.stream import Stream, Task, judged_rows


def permuted(
    dataset: Dataset, fractions: Sequence[float], *, seed: int, holdout: float = 0.0
) -> Stream:
    """Return a domain-incremental stream in which each task reorders the pixels of the one before.

    The first task shows the images as they are. Task k + 1 shows them in the pixel order of
    task k, with a random part of the pixels, `fractions[k]`, shuffled among themselves: 0
    repeats the task, 1 gives an unrelated one. All ones is Permuted MNIST (Goodfellow et al.,
    2013); small and large fractions by turns make a mixed stream, of related and unrelated tasks.

    Parameters
    ----------
    dataset : Dataset
        All its classes are in every task.
    fractions : sequence of float
        In [0, 1], one for each task after the first.
    seed : int
        Draws the pixels.
    holdout : float
        See `judged_rows`.

    Raises
    ------
    InputError
        If a fraction is outside [0, 1].
    """
    for fraction in fractions:
        if not 0 <= fraction <= 1:
            raise InputError(f"fraction {fraction} of permuted pixels is not in [0, 1]")
    train, test = judged_rows(dataset, seed, holdout)
    outputs = torch.arange(dataset.classes)
    pixels = torch.arange(dataset.train_images[0].numel())
    tasks = [Task(train, test, outputs)]
    for k, fraction in enumerate(fractions, start=1):
        pixels = _shuffled(pixels, fraction, generator(seed, "stream", 1, k))
        tasks.append(Task(train, test, outputs, pixels))
    return Stream("permuted", dataset, tuple(tasks), "domain", dataset.classes, holdout > 0)


def _shuffled(pixels: Tensor, fraction: float, draws: torch.Generator) -> Tensor:
    """Return `pixels` with a random part shuffled among themselves."""
    chosen = torch.randperm(len(pixels), generator=draws)[: round(len(pixels) * fraction)]
    moved = pixels.clone()
    moved[chosen] = pixels[chosen[torch.randperm(len(chosen), generator=draws)]]
    return moved
