"""The replicas in the middle of a run."""

from collections.abc import Sequence

import torch
from torch import Tensor

from clcore.networks import Network, Parameters, block_of, path, trained_names
from clcore.seeds import generator
from clcore.streams import Dataset, Stream, judged_on
from clcore.training.batches import Samples, View, samples
from clcore.training.loss import cross_entropy

EVALUATION_BATCH = 512  # activations of a batch this size stay in the processor's cache
PROBE_SAMPLES = 2048  # enough for a stable direction, little against an epoch


class Run:
    """The replicas, and their data: the `Learner` of strategies, the `Moment` of observers.

    Parameters
    ----------
    streams : sequence of Stream
        One a replica.
    network : Network
        What is trained.
    seeds : sequence of int
        One a replica.
    dataset : Dataset
        The streams' data set, on the device to train on.
    """

    def __init__(
        self, streams: Sequence[Stream], network: Network, seeds: Sequence[int], dataset: Dataset
    ) -> None:
        self.network = network
        self.replicas = len(seeds)
        self.tasks = len(streams[0].tasks)
        self.parameters = network.initialize(seeds, dataset.train_labels.device)
        self.before: Parameters = {}
        self.task = 0
        self.notes: dict[str, Tensor] = {}
        self._streams, self._seeds, self._dataset = streams, seeds, dataset

    def arrive(self, task: int) -> None:
        """Turn to the next task."""
        self.task, self.notes = task, {}
        self.before = {n: p.clone() for n, p in self.parameters.items()}

    @property
    def head(self) -> int:
        """The head that answers for the task."""
        return self._head(self.task)

    def _head(self, task: int) -> int:
        return task if self._streams[0].heads > 1 else 0

    def draws(self) -> list[torch.Generator]:
        """Return generators for what the network draws while it trains the task."""
        return [generator(seed, "dropout", self.task) for seed in self._seeds]

    def training(self, task: int) -> tuple[Samples, View]:
        """Return the training samples of a task, and how the replicas see them."""
        tasks = [s.tasks[task] for s in self._streams]
        of = samples([t.train for t in tasks], self._dataset.train_labels, tasks)
        return of, View(self._dataset.train_images, self._dataset, tasks, self.network.flat)

    def gradient(self, parameters: Parameters | None = None, task: int | None = None) -> Parameters:
        """Return the gradient of a training loss over at most `PROBE_SAMPLES` samples.

        Parameters
        ----------
        parameters : Parameters, optional
            Where; by default where the replicas stand.
        task : int, optional
            Whose loss; by default that of the task being trained.
        """
        at = self.parameters if parameters is None else parameters
        number = self.task if task is None else task
        of, view = self.training(number)
        device = of.rows.device
        size = min(PROBE_SAMPLES, max(of.counts))
        chosen = torch.full((self.replicas, size), -1)
        for r, seed in enumerate(self._seeds):
            draws = generator(seed, "probe", number)
            picked = torch.randperm(of.counts[r], generator=draws)[:size]
            chosen[r, : len(picked)] = picked
        present = (chosen >= 0).to(device)
        positions = chosen.clamp_min(0).to(device)
        rows, labels = (t.gather(1, positions) for t in (of.rows, of.labels))
        weights = present / present.sum(1, keepdim=True)
        head = self._head(number)
        blocks = path(self.network, head)
        total = {n: torch.zeros_like(at[n]) for n in trained_names(at, blocks)}
        everything = torch.ones((self.replicas, len(blocks)), dtype=torch.bool)
        state = {n: p.clone() for n, p in at.items() if block_of(n) in blocks}
        for start in range(0, size, EVALUATION_BATCH):
            part = slice(start, start + EVALUATION_BATCH)
            counts = (chosen[:, part] >= 0).sum(1).tolist()
            shown = view.show(rows[:, part])
            logits, backward = self.network.forward(state, shown, head, everything, counts)
            _, slope = cross_entropy(logits, labels[:, part], weights[:, part])
            backward(slope, total, beta=1.0)
        return total

    def accuracy(self, parameters: Parameters, task: int) -> Tensor:
        """Return the accuracy of each replica on a task, float64 (R,), in [0, 1]."""
        of, view = self._judged(task)
        counts = torch.tensor(of.counts, device=of.rows.device)
        right = torch.zeros(self.replicas, dtype=torch.float64, device=of.rows.device)
        for part in torch.arange(max(of.counts), device=counts.device).split(EVALUATION_BATCH):
            logits, _ = self.network.forward(
                parameters, view.show(of.rows[:, part]), self._head(task)
            )
            hits = (logits.argmax(2) == of.labels[:, part]) & (part < counts[:, None])
            right += hits.sum(1)
        return (right / counts).cpu()

    def outputs(self, parameters: Parameters, task: int) -> Tensor:
        """Return class probabilities on the first judged images of a task, (R, n, outputs).

        NaN where a replica has fewer images than others.
        """
        of, view = self._judged(task)
        rows = of.rows[:, :EVALUATION_BATCH]
        logits, _ = self.network.forward(parameters, view.show(rows), self._head(task))
        places = torch.arange(rows.shape[1], device=rows.device)
        counts = torch.tensor(of.counts, device=rows.device)
        return logits.softmax(2).masked_fill((places >= counts[:, None])[..., None], torch.nan)

    def _judged(self, task: int) -> tuple[Samples, View]:
        images, labels = judged_on(self._streams[0]._replace(dataset=self._dataset))
        tasks = [s.tasks[task] for s in self._streams]
        of = samples([t.test for t in tasks], labels, tasks)
        return of, View(images, self._dataset, tasks, self.network.flat)
