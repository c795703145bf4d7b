"""From rows of a data set to batches of all replicas, on the device."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from clcore.seeds import generator
from clcore.streams.datasets import Dataset
from clcore.streams.stream import Stream, Task

PADDING = 4  # pixels by which an augmented image may shift, as usual for 32 × 32 images
NOISES = 4096  # patterns that noisy images share


class Batch(NamedTuple):
    """One batch of every replica.

    Attributes
    ----------
    images : Tensor
        float32, normalized, (R, B, pixels) or (R, B, channels, height, width).
    labels : Tensor
        int64, (R, B): output units.
    weights : Tensor
        float32, (R, B): what each sample's loss counts, 1 / (samples of that replica in this
        batch) unless a strategy says otherwise; 0 where a replica has fewer samples than others.
    counts : sequence of int
        Samples of each replica in this batch, R numbers; what lies beyond them is padding.
    rows : Tensor
        int64, (R, B): which training images.
    tasks : Tensor or int
        Whose samples: int64, (R, B), or one task's.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor
    counts: Sequence[int]
    rows: Tensor
    tasks: Tensor | int

    def after(self, other: "Batch") -> "Batch":
        """Return this batch behind another one, which must have no padding."""
        tasks = [
            torch.as_tensor(b.tasks, device=b.rows.device).expand_as(b.rows) for b in (other, self)
        ]
        return Batch(
            torch.cat([other.images, self.images], 1),
            torch.cat([other.labels, self.labels], 1),
            torch.cat([other.weights, self.weights], 1),
            [one + two for one, two in zip(other.counts, self.counts, strict=True)],
            torch.cat([other.rows, self.rows], 1),
            torch.cat(tasks, 1),
        )


class View:
    """How the replicas see the images of their tasks.

    Parameters
    ----------
    images : Tensor
        uint8, (N, channels, height, width): where the rows of the tasks point to.
    dataset : Dataset
        Gives the normalization.
    streams : sequence of tuple of Task
        The tasks of each replica.
    flat : bool
        Whether to return pixels as one axis.
    noise_seed : int
        Of the patterns that noisy images share.
    """

    def __init__(
        self,
        images: Tensor,
        dataset: Dataset,
        streams: Sequence[tuple[Task, ...]],
        flat: bool,
        noise_seed: int = 0,
    ) -> None:
        self.pixels = images.flatten(1)  # (N, pixels)
        self.original = dataset.shape
        number, device = self.pixels.shape[1], images.device
        self.shape = (number,) if flat else dataset.shape
        per_channel = number // len(dataset.mean)
        mean = dataset.mean.repeat_interleave(per_channel).to(device)
        deviation = dataset.deviation.repeat_interleave(per_channel).to(device)
        self.places = torch.arange(number, device=device)
        self.orders: Tensor | None = None
        tasks = [task for stream in streams for task in stream]
        if any(task.pixels is not None for task in tasks):
            unchanged = torch.arange(number)
            orders = torch.stack([unchanged if t.pixels is None else t.pixels for t in tasks])
            self.orders = orders.view(len(streams), -1, number).to(device)  # (R, T, pixels)
        self.black = bool(self.orders is not None and (self.orders < 0).any())
        self.permutations: Tensor | None = None  # where a task does nothing else to the images
        if self.orders is not None and not any(task.noise for task in tasks):
            only = bool((self.orders.sort(2).values == self.places).all())
            self.permutations = self.orders if only else None
        self.noise: Tensor | None = None
        if any(task.noise for task in tasks):
            levels = torch.tensor([[task.noise for task in stream] for stream in streams])
            self.noise = levels[..., None].to(device)  # (R, T, 1)
            draws = torch.Generator().manual_seed(noise_seed)
            self.patterns = torch.randn((NOISES, number), generator=draws).to(device)
        # Grey images are scaled by numbers, not by vectors that say the same for each pixel.
        self.factor: Tensor | float = 1 / float(deviation[0])
        self.shift: Tensor | float = -float(mean[0]) / float(deviation[0])
        self.of_pixels: tuple[Tensor, Tensor] | None = None
        if len(dataset.mean) > 1:
            self.factor, self.shift = 1 / deviation, -mean / deviation
            if self.orders is not None:
                self.of_pixels = self.factor, self.shift

    def show(
        self,
        rows: Tensor,
        tasks: Tensor | int,
        moves: Tensor | None = None,
        *,
        ordered: bool = True,
    ) -> Tensor:
        """Return images as the networks see them.

        Parameters
        ----------
        rows : Tensor
            int64, (R, B).
        tasks : Tensor or int
            As which task each image is shown: int64, (R, B), or one for all.
        moves : Tensor, optional
            int64, (R, B, 3): how to augment each image, see `moved`.
        ordered : bool
            Whether pixels stand in the tasks' orders, not in that of the data set.
        """
        replicas, size = rows.shape
        # index_select copies whole rows and is 15 times faster than indexing; uint8 is
        # reordered, not float32: a quarter of the bytes.
        images = self.pixels.index_select(0, rows.reshape(-1))
        if moves is not None:
            images = moved(images.view(-1, *self.original), moves.reshape(-1, 3))
        images = images.view(replicas, size, -1)
        factor, shift = self.factor, self.shift
        if self.orders is not None and ordered:
            orders = of_tasks(self.orders, tasks)
            # A black pixel is normalized as one of the channel where it is shown.
            order = torch.where(orders < 0, self.places, orders) if self.black else orders
            images = images.gather(2, order.expand(-1, size, -1))
            if self.black:
                images.masked_fill_(orders < 0, 0)
            if self.of_pixels is not None:
                factor, shift = (values[order] for values in self.of_pixels)
        shown = images.to(torch.float32)
        if self.noise is not None:
            noise = self.patterns[rows % NOISES].mul_(of_tasks(self.noise, tasks))
            shown = shown.add_(noise).round_().clamp_(0, 255)
        return shown.mul_(factor).add_(shift).view(replicas, size, *self.shape)


def of_tasks(table: Tensor, tasks: Tensor | int) -> Tensor:
    """Return the entries, (R, B or 1, ·), of a table (R, T, ·) for tasks (R, B), or for one."""
    if isinstance(tasks, int):
        return table[:, tasks, None]
    return table[torch.arange(len(table), device=table.device)[:, None], tasks]


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


def drawn_moves(number: int, draws: torch.Generator) -> Tensor:
    """Return how to move so many images at random, int64 (number, 3): see `moved`."""
    corners = torch.randint(2 * PADDING + 1, (number, 2), generator=draws)
    mirrors = torch.randint(2, (number, 1), generator=draws)
    return torch.cat([corners, mirrors], 1)


class Samples(NamedTuple):
    """The training or test samples of one task or several, for all replicas; short ones padded.

    Attributes
    ----------
    rows, labels : Tensor
        int64, (R, n).
    tasks : Tensor or int
        Whose samples: int64, (R, n), or one task's.
    counts : tuple of int
        Samples of each replica; what lies beyond them is padding.
    """

    rows: Tensor
    labels: Tensor
    tasks: Tensor | int
    counts: tuple[int, ...]


def samples(
    streams: Sequence[Stream], tasks: Sequence[int], labels: Tensor, *, judged: bool = False
) -> Samples:
    """Collect the samples of some tasks.

    Parameters
    ----------
    streams : sequence of Stream
        One a replica.
    tasks : sequence of int
        Whose samples, at least one task's.
    labels : Tensor
        The labels that the rows point to.
    judged : bool
        Whether to collect what the tasks are judged on, not what they train on.
    """
    of_replica = []
    on_cpu = labels.cpu()
    for stream in streams:
        parts = []
        for k in tasks:
            task = stream.tasks[k]
            rows = task.test if judged else task.train
            units = task.outputs[on_cpu[rows]]
            parts.append(torch.stack([rows, units, torch.full_like(rows, k)]))
        of_replica.append(torch.cat(parts, 1))  # (3, n)
    counts = tuple(found.shape[1] for found in of_replica)
    padded = torch.zeros((3, len(streams), max(counts)), dtype=torch.int64)
    for r, found in enumerate(of_replica):
        padded[:, r, : counts[r]] = found
    rows, units, whose = padded.to(labels.device)
    return Samples(rows, units, whose if len(tasks) > 1 else tasks[0], counts)


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

        def picked(values: Tensor, at: Tensor = positions) -> Tensor:
            return values.gather(1, at.flatten(1)).view_as(at)

        rows, labels = picked(of.rows), picked(of.labels)
        tasks = of.tasks if isinstance(of.tasks, int) else picked(of.tasks)
        moves = plan[..., 1:].to(device) if augment else None
        for step, sizes in enumerate(counts.T.tolist()):
            whose = tasks if isinstance(tasks, int) else tasks[:, step]
            images = view.show(rows[:, step], whose, None if moves is None else moves[:, step])
            yield Batch(images, labels[:, step], weights[:, step], sizes, rows[:, step], whose)


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
                    epoch[:, 1:] = drawn_moves(len(epoch), draws)
                queue[r] = torch.cat([queue[r], epoch])
                done[r] += 1
            taken = queue[r][: ahead * size]
            block[r, : len(taken)] = taken
            queue[r] = queue[r][ahead * size :]
        if augment:
            block[..., 1:].clamp_(min=0)  # of a replica that idles
        yield block.view(len(seeds), ahead, size, entries)
