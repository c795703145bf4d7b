"""From rows of a data set to batches of all replicas, on the device."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from clcore.seeds import generator
from clcore.streams import Dataset, Task

PADDING = 4  # pixels by which an augmented image may shift, as usual for 32 × 32 images


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
        self.original = dataset.shape
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

    def show(self, rows: Tensor, moves: Tensor | None = None) -> Tensor:
        """Return images as the networks see them.

        Parameters
        ----------
        rows : Tensor
            int64, (R, B).
        moves : Tensor, optional
            int64, (R, B, 3): how to augment each image, see `moved`.
        """
        replicas, size = rows.shape
        # index_select copies whole rows and is 15 times faster than indexing; uint8 is
        # reordered, not float32: a quarter of the bytes.
        images = self.pixels.index_select(0, rows.reshape(-1))
        if moves is not None:
            images = moved(images.view(-1, *self.original), moves.reshape(-1, 3))
        images = images.view(replicas, size, -1)
        if self.orders is not None:
            images = images.gather(2, self.orders.expand(-1, size, -1))
        shown = images.to(torch.float32).mul_(self.factor).add_(self.shift)
        return shown.view(replicas, size, *self.shape)


def moved(images: Tensor, moves: Tensor) -> Tensor:
    """Return images shifted, black coming in at the edges, and mirrored.

    Parameters
    ----------
    images : Tensor
        uint8, (N, channels, height, width).
    moves : Tensor
        int64, (N, 3): rows and columns of the crop's corner in the image padded by `PADDING`,
        0 … 2 · `PADDING`, and 1 to mirror left and right, else 0.
    """
    height, width = images.shape[2:]
    padded = torch.nn.functional.pad(images, (PADDING,) * 4)
    places = torch.arange(width, device=images.device)
    mirrored = torch.where(moves[:, 2:] == 1, width - 1 - places, places)
    rows = moves[:, :1] + torch.arange(height, device=images.device)
    columns = moves[:, 1:2] + mirrored
    number = torch.arange(len(images), device=images.device)[:, None, None]
    # Channels last while indexing, so that one index serves them all.
    found = padded.permute(0, 2, 3, 1)[number, rows[:, :, None], columns[:, None]]
    return found.permute(0, 3, 1, 2).contiguous()


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
    of: Samples,
    view: View,
    seeds: Sequence[int],
    task: int,
    epochs: int,
    size: int,
    *,
    augment: bool = False,
) -> Iterator[Batch]:
    """Yield the batches of one task: each replica in the order that its own seed draws.

    A replica with fewer batches than the others idles at the end, with weight 0. With
    `augment`, every image is shifted by up to `PADDING` pixels each way and mirrored or not,
    by draws of its own replica.
    """
    device = of.rows.device
    for plan in _plan(of, seeds, task, epochs, size, augment):
        present = plan[..., 0] >= 0  # (R, steps, B)
        counts = present.sum(2)
        weights = (present / counts.clamp_min(1)[:, :, None]).to(device)
        positions = plan[..., 0].clamp_min(0).to(device)
        rows, labels = (
            t.gather(1, positions.flatten(1)).view_as(positions) for t in (of.rows, of.labels)
        )
        moves = plan[..., 1:].to(device) if augment else None
        for step, sizes in enumerate(counts.T.tolist()):
            images = view.show(rows[:, step], None if moves is None else moves[:, step])
            yield Batch(images, labels[:, step], weights[:, step], sizes)


def _plan(
    of: Samples, seeds: Sequence[int], task: int, epochs: int, size: int, augment: bool
) -> Iterator[Tensor]:
    """Yield, epoch by epoch, which sample stands where in a batch: int64 (R, steps, B, ·).

    The first entry of the last axis is the position among the replica's samples, −1 for
    none; with `augment` three more say how its image is moved.
    """
    steps = [-(-count // size) for count in of.counts]
    ahead = max(steps)
    done = [0] * len(seeds)  # epochs that each replica has begun
    entries = 4 if augment else 1
    queue = [torch.empty((0, entries), dtype=torch.int64) for _ in seeds]
    for _ in range(epochs):
        block = torch.full((len(seeds), ahead * size, entries), -1)
        for r, seed in enumerate(seeds):
            # A replica with fewer batches an epoch begins its next one early: what it sees
            # depends on its own samples alone.
            while done[r] < epochs and len(queue[r]) < ahead * size:
                epoch = torch.full((steps[r] * size, entries), -1)
                draws = generator(seed, "order", task, done[r])
                epoch[: of.counts[r], 0] = torch.randperm(of.counts[r], generator=draws)
                if augment:
                    draws = generator(seed, "augmentation", task, done[r])
                    corners = torch.randint(2 * PADDING + 1, (len(epoch), 2), generator=draws)
                    mirrors = torch.randint(2, (len(epoch), 1), generator=draws)
                    epoch[:, 1:] = torch.cat([corners, mirrors], 1)
                queue[r] = torch.cat([queue[r], epoch])
                done[r] += 1
            taken = queue[r][: ahead * size]
            block[r, : len(taken)] = taken
            queue[r] = queue[r][ahead * size :]
        if augment:
            block[..., 1:].clamp_(min=0)  # of a replica that idles
        yield block.view(len(seeds), ahead, size, entries)
