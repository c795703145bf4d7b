"""From rows of a data set to batches of all replicas, on the device."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from clcore.seeds import generator
from clcore.streams import Dataset, Task


class Batch(NamedTuple):
    """One batch of every replica.

    Attributes
    ----------
    images : Tensor
        float32, normalized, (R, B, pixels) or (R, B, channels, height, width).
    labels : Tensor
        int64, (R, B): output units.
    weights : Tensor
        float32, (R, B): 1 / (samples of that replica in this batch); 0 where a replica has
        fewer samples than the others.
    counts : sequence of int
        Samples of each replica in this batch, R numbers; what lies beyond them is padding.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor
    counts: Sequence[int]


class View:
    """How the replicas see the images of one task: each in its own order of pixels.

    Parameters
    ----------
    images : Tensor
        uint8, (N, channels, height, width): where the rows of the tasks point to.
    dataset : Dataset
        Gives the normalization.
    tasks : sequence of Task
        One a replica.
    flat : bool
        Whether to return pixels as one axis.
    """

    def __init__(self, images: Tensor, dataset: Dataset, tasks: Sequence[Task], flat: bool) -> None:
        self.pixels = images.flatten(1)  # (N, pixels)
        self.shape = (self.pixels.shape[1],) if flat else dataset.shape
        per_channel = self.pixels.shape[1] // len(dataset.mean)
        mean = dataset.mean.repeat_interleave(per_channel).to(images.device)
        deviation = dataset.deviation.repeat_interleave(per_channel).to(images.device)
        self.orders: Tensor | None = None
        if any(task.pixels is not None for task in tasks):
            unchanged = torch.arange(self.pixels.shape[1])
            orders = [unchanged if task.pixels is None else task.pixels for task in tasks]
            self.orders = torch.stack(orders)[:, None].to(images.device)  # (R, 1, pixels)
        # Grey images are scaled by numbers, not by vectors that say the same for each pixel.
        self.factor: Tensor | float = 1 / float(deviation[0])
        self.shift: Tensor | float = -float(mean[0]) / float(deviation[0])
        if len(dataset.mean) > 1:
            shown = slice(None) if self.orders is None else self.orders
            self.factor, self.shift = (1 / deviation)[shown], (-mean / deviation)[shown]

    def show(self, rows: Tensor) -> Tensor:
        """Return the images of `rows`, int64 (R, B), as the networks see them."""
        replicas, size = rows.shape
        # index_select copies whole rows and is 15 times faster than indexing; uint8 is
        # reordered, not float32: a quarter of the bytes.
        images = self.pixels.index_select(0, rows.reshape(-1)).view(replicas, size, -1)
        if self.orders is not None:
            images = images.gather(2, self.orders.expand(-1, size, -1))
        shown = images.to(torch.float32).mul_(self.factor).add_(self.shift)
        return shown.view(replicas, size, *self.shape)


class Samples(NamedTuple):
    """The training or test samples of one task, for all replicas; short ones padded.

    Attributes
    ----------
    rows, labels : Tensor
        int64, (R, n).
    counts : tuple of int
        Samples of each replica; what lies beyond them is padding.
    """

    rows: Tensor
    labels: Tensor
    counts: tuple[int, ...]


def samples(rows: Sequence[Tensor], labels: Tensor, tasks: Sequence[Task]) -> Samples:
    """Collect the samples of one task.

    Parameters
    ----------
    rows : sequence of Tensor
        Rows of the data set, one tensor a replica.
    labels : Tensor
        The data set's labels.
    tasks : sequence of Task
        Give the output unit of each class.
    """
    counts = tuple(len(r) for r in rows)
    padded = torch.zeros((2, len(rows), max(counts)), dtype=torch.int64)
    for r, (chosen, task) in enumerate(zip(rows, tasks, strict=True)):
        padded[0, r, : counts[r]] = chosen
        padded[1, r, : counts[r]] = task.outputs[labels.cpu()[chosen]]
    found = padded.to(labels.device)
    return Samples(found[0], found[1], counts)


def training_batches(
    of: Samples, view: View, seeds: Sequence[int], task: int, epochs: int, size: int
) -> Iterator[Batch]:
    """Yield the batches of one task: each replica in the order that its own seed draws.

    A replica with fewer batches than the others idles at the end, with weight 0.
    """
    for rows, labels, weights, counts in _plan(of, seeds, task, epochs, size):
        yield Batch(view.show(rows), labels, weights, counts)


def _plan(
    of: Samples, seeds: Sequence[int], task: int, epochs: int, size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor, Sequence[int]]]:
    """Yield rows, labels, weights and counts of each batch, epoch by epoch."""
    device = of.rows.device
    steps = [-(-count // size) for count in of.counts]
    done = [0] * len(seeds)  # epochs that each replica has begun
    queue = [torch.empty(0, dtype=torch.int64) for _ in seeds]
    for _ in range(epochs):
        ahead = max(steps)
        # A replica with fewer batches an epoch begins its next one early: what it sees
        # depends on its own samples alone.
        for r, seed in enumerate(seeds):
            while done[r] < epochs and len(queue[r]) < ahead * size:
                order = torch.randperm(
                    of.counts[r], generator=generator(seed, "order", task, done[r])
                )
                blank = torch.full((steps[r] * size - of.counts[r],), -1)
                queue[r] = torch.cat([queue[r], order, blank])
                done[r] += 1
        block = torch.full((len(seeds), ahead * size), -1)
        for r in range(len(seeds)):
            taken = queue[r][: ahead * size]
            block[r, : len(taken)] = taken
            queue[r] = queue[r][ahead * size :]
        present = (block >= 0).view(len(seeds), ahead, size)
        counts = present.sum(2)
        weights = (present / counts.clamp_min(1)[:, :, None]).to(device)
        block = block.to(device)
        positions = block.clamp_min(0)
        rows = of.rows.gather(1, positions).view(len(seeds), ahead, size)
        labels = of.labels.gather(1, positions).view(len(seeds), ahead, size)
        for step, sizes in enumerate(counts.T.tolist()):
            yield rows[:, step], labels[:, step], weights[:, step], sizes
