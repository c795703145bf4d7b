"""The replicas in the middle of a run."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from clcore.networks import MLP, Network, Parameters, is_statistic, trained_names
from clcore.networks.loss import cross_entropy, masked
from clcore.networks.network import Backward
from clcore.seeds import generator
from clcore.streams import Dataset, Stream, competing, judged_on
from clcore.streams.batches import Batch, Samples, View, drawn_moves, of_tasks, samples

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
    rates : Tensor
        float32, (R,): the learning rate of each replica.
    augment : bool
        Whether training images are moved at random.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        network: Network,
        seeds: Sequence[int],
        dataset: Dataset,
        rates: Tensor,
        augment: bool = False,
    ) -> None:
        device = dataset.train_labels.device
        self.network = network
        self.replicas = len(seeds)
        self.tasks = len(streams[0].tasks)
        self.rates = rates.to(device)
        self.parameters = network.initialize(seeds, device)
        self.initial = {n: p.clone() for n, p in self.parameters.items()}
        self.before: Parameters = {}
        self.task = 0
        self.competing: Tensor | None = None
        self.draws: list[torch.Generator] = []
        self.notes: dict[str, Tensor] = {}
        self._statistics: Parameters = {}
        self._streams, self._seeds, self._dataset, self._augment = streams, seeds, dataset, augment
        images, self._labels = judged_on(streams[0]._replace(dataset=dataset))
        tasks = [s.tasks for s in streams]
        trained, judged = len(dataset.train_images), len(images)
        judged += judged == trained  # images that are held out have noise of their own, too
        self._trained = View(dataset.train_images, dataset, tasks, network.flat, trained)
        self._judged = View(images, dataset, tasks, network.flat, judged)

    def arrive(self, task: int) -> None:
        """Turn to the next task."""
        self.task, self.notes = task, {}
        self.before = {n: p.clone() for n, p in self.parameters.items()}
        self.draws = [generator(seed, "strategy", task) for seed in self._seeds]
        if self._streams[0].scenario != "domain":
            table = torch.stack([competing(s, task + 1) for s in self._streams])
            self.competing = table.to(self._labels.device)

    def dropout_draws(self) -> list[torch.Generator]:
        """Return generators for what the network draws while it trains the task."""
        return [generator(seed, "dropout", self.task) for seed in self._seeds]

    def training(self, tasks: Sequence[int]) -> tuple[Samples, View]:
        """Return the training samples of some tasks, and how the replicas see them."""
        return samples(self._streams, tasks, self._dataset.train_labels), self._trained

    def competing_for(self, tasks: Tensor | int) -> Tensor | None:
        """Return which outputs compete for samples of `tasks`, bool (R, B or 1, outputs)."""
        return None if self.competing is None else of_tasks(self.competing, tasks)

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the logits, (R, B, outputs), of a batch at some parameters."""
        return self.network.forward(parameters, batch.images)[0]

    def recall(self, rows: Tensor, labels: Tensor, tasks: Tensor, weights: Tensor) -> Batch:
        """Return earlier training samples, each (R, B), as a batch."""
        counts = [rows.shape[1]] * self.replicas
        moves = None
        if self._augment:
            moves = torch.stack([drawn_moves(rows.shape[1], g) for g in self.draws]).to(rows.device)
        images = self._trained.show(rows, tasks, moves)
        return Batch(images, labels, weights, counts, rows, tasks)

    def gradient(
        self,
        batch: Batch | None = None,
        *,
        parameters: Parameters | None = None,
        task: int | None = None,
    ) -> Parameters:
        """Return the gradient of a training loss.

        Parameters
        ----------
        batch : Batch, optional
            Of what; by default at most `PROBE_SAMPLES` samples of a task.
        parameters : Parameters, optional
            Where; by default where the replicas stand.
        task : int, optional
            Whose loss, if no batch is given; by default that of the task being trained.
        """
        at = self.parameters if parameters is None else parameters
        total = {n: torch.zeros_like(at[n]) for n in trained_names(at, self.network.blocks)}
        parts = self._probe(task) if batch is None else [batch]
        for _, slope, backward in self._trained_on(parts, at):
            backward(slope, total, beta=1.0)
        return total

    def loss(self, parameters: Parameters) -> Tensor:
        """Return the task's training loss at some parameters, float64 (R,), in nats.

        It is the mean over at most `PROBE_SAMPLES` samples, always the same, and what `gradient`
        is the slope of: batches are normalized by their own statistics, as if all blocks trained.
        """
        total = torch.zeros(self.replicas, dtype=torch.float64, device=self.rates.device)
        with torch.no_grad():
            for loss, _, _ in self._trained_on(self._probe(), parameters):
                total += loss
        return total

    def _trained_on(
        self, parts: Iterable[Batch], parameters: Parameters
    ) -> Iterator[tuple[Tensor, Tensor, Backward]]:
        """Yield loss, slope and backward pass of each batch, as if all blocks trained on it."""
        everything = torch.ones((self.replicas, len(self.network.blocks)), dtype=torch.bool)
        # Running statistics change: these are copies, in one place for the sake of CUDA graphs.
        for n in filter(is_statistic, parameters):
            self._statistics.setdefault(n, torch.empty_like(parameters[n])).copy_(parameters[n])
        state = parameters | self._statistics
        for part in parts:
            logits, backward = self.network.forward(state, part.images, everything, part.counts)
            compete = self.competing_for(part.tasks)
            yield *cross_entropy(logits, part.labels, part.weights, compete), backward

    def fisher(self) -> Parameters:
        """Return the diagonal of the Fisher information, a mean over at most `PROBE_SAMPLES`.

        E (∂ log p(y|x) / ∂θ)², with images x of the task's training data and labels y as the
        model answers. Where a network is sure, a drawn label is hardly ever one of the rare ones
        that the information comes from. So all labels y count at once, each slope times √p(y|x)
        and a random sign: the square of the sum has the same mean (that of a product of two
        signs is 0), and one backward pass does for any number of labels.
        """
        at = self.parameters
        total = {n: torch.zeros_like(at[n]) for n in trained_names(at, self.network.blocks)}
        draws = [generator(seed, "fisher", self.task) for seed in self._seeds]
        for part in self._probe():
            compete = self.competing_for(part.tasks)

            def slopes(
                logits: Tensor, part: Batch = part, compete: Tensor | None = compete
            ) -> Tensor:
                chances = masked(logits, compete).softmax(2)
                coins = [torch.randint(2, logits.shape[1:], generator=g) for g in draws]
                signs = torch.stack(coins).to(logits).mul_(2).sub_(1)
                signed = signs * chances.sqrt()
                slope = chances * signed.sum(2, keepdim=True) - signed
                return slope * part.weights.sqrt()[..., None]

            self.network.add_squared_gradients(at, part.images, slopes, total)
        return total

    def _probe(self, task: int | None = None) -> Iterator[Batch]:
        """Yield at most `PROBE_SAMPLES` training samples of a task in parts, always the same.

        Their weights are one over the number of all of them.
        """
        number = self.task if task is None else task
        of, view = self.training((number,))
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
        for start in range(0, size, EVALUATION_BATCH):
            part = slice(start, start + EVALUATION_BATCH)
            counts = (chosen[:, part] >= 0).sum(1).tolist()
            images = view.show(rows[:, part], number)
            yield Batch(images, labels[:, part], weights[:, part], counts, rows[:, part], number)

    def accuracy(self, parameters: Parameters, task: int) -> Tensor:
        """Return the accuracy of each replica on a task, float64 (R,), in [0, 1]."""
        of = self._judged_samples(task)
        compete = self.competing_for(task)
        counts = torch.tensor(of.counts, device=of.rows.device)
        right = torch.zeros(self.replicas, dtype=torch.float64, device=of.rows.device)
        rows, orders, ordered = of.rows, self._judged.permutations, True
        if orders is not None and isinstance(self.network, MLP) and (rows == rows[0]).all():
            # One reordering of the weights in place of all images, which the replicas then share.
            rows, ordered = rows[:1], False
            parameters = self.network.reordered(parameters, orders[:, task])
        # Activations of many replicas would take more memory than all of training does.
        size = max(1, EVALUATION_BATCH * 16 // max(self.replicas, 16))
        for part in torch.arange(max(of.counts), device=counts.device).split(size):
            images = self._judged.show(rows[:, part], task, ordered=ordered)
            logits, _ = self.network.forward(parameters, images)
            answers = masked(logits, compete).argmax(2)
            hits = (answers == of.labels[:, part]) & (part < counts[:, None])
            right += hits.sum(1)
        return (right / counts).cpu()

    def outputs(self, parameters: Parameters, task: int) -> Tensor:
        """Return class probabilities on the first judged images of a task, (R, n, outputs).

        NaN where a replica has fewer images than others.
        """
        of = self._judged_samples(task)
        rows = of.rows[:, :EVALUATION_BATCH]
        logits, _ = self.network.forward(parameters, self._judged.show(rows, task))
        places = torch.arange(rows.shape[1], device=rows.device)
        counts = torch.tensor(of.counts, device=rows.device)
        chances = masked(logits, self.competing_for(task)).softmax(2)
        return chances.masked_fill((places >= counts[:, None])[..., None], torch.nan)

    def _judged_samples(self, task: int) -> Samples:
        return samples(self._streams, (task,), self._labels, judged=True)
