"""Trains the replicas of a strategy over their streams and measures after each task."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clcore.device import resolve_device
from clcore.errors import InputError
from clcore.measures.drift import drift
from clcore.networks import Network, Parameters, block_of, path, trained_names
from clcore.seeds import generator
from clcore.strategies import Strategy
from clcore.streams import Dataset, Stream, Task, judged_on
from clcore.training.batches import Batch, Samples, View, samples, training_batches
from clcore.training.loss import cross_entropy

EVALUATION_BATCH = 512  # activations of a batch this size stay in the processor's cache
PROBE_SAMPLES = 2048  # enough for a stable direction, little against an epoch


class Budget(NamedTuple):
    """What every strategy gets for a task.

    Attributes
    ----------
    epochs : int
        Passes over a task's training samples.
    batch : int
        Samples a step.
    learning_rate : float or sequence of float
        Of gradient descent; one for all replicas, or one a replica.
    momentum : float
        In [0, 1); the velocity starts at 0 with each task.
    """

    epochs: int
    batch: int
    learning_rate: float | Sequence[float]
    momentum: float = 0.0


class Divergence(NamedTuple):
    """Where a replica's loss stopped being finite: it was stopped there.

    Attributes
    ----------
    replica, task, step : int
        Counted from 0; the step within the task whose loss was not finite (the number of steps,
        if that is the loss after the last one).
    learning_rate : float
        What it was trained with.
    """

    replica: int
    task: int
    step: int
    learning_rate: float

    def __str__(self) -> str:
        """Say what happened and what to do."""
        return (
            f"replica {self.replica} diverged: its loss is not finite at task {self.task}, step "
            f"{self.step}, learning rate {self.learning_rate:g}; it was stopped; lower the rate"
        )


class Outcome(NamedTuple):
    """What R replicas did over T tasks.

    Attributes
    ----------
    accuracy : ndarray
        (R, T, T): [r, k, i] is the accuracy of replica r on task i after task k, in [0, 1]; NaN
        for tasks not seen by then, and from the task on in which a replica diverged.
    drift : ndarray
        (R, T, blocks): Euclidean length of each block's update by each task; the last block is
        the head of that task.
    notes : dict of str to ndarray
        What the strategy recorded: name → (R, T), NaN where it recorded nothing and from the
        task on in which a replica diverged.
    divergences : tuple of Divergence
        Replicas that were stopped.
    images : int
        Training images seen by all replicas together.
    training_seconds, seconds : float
        Wall time of the training steps, and of everything.
    """

    accuracy: NDArray[np.float64]
    drift: NDArray[np.float64]
    notes: dict[str, NDArray[np.float64]]
    divergences: tuple[Divergence, ...]
    images: int
    training_seconds: float
    seconds: float


class _Learner:
    """The replicas and one task: the `Learner` that strategies see."""

    def __init__(
        self,
        network: Network,
        parameters: Parameters,
        seeds: Sequence[int],
        task: int,
        head: int,
        of: Samples,
        view: View,
    ) -> None:
        self.network = network
        self.parameters = parameters
        self.replicas = len(seeds)
        self.task = task
        self.head = head
        self.notes: dict[str, Tensor] = {}
        self._seeds, self._of, self._view = seeds, of, view

    def gradient(self) -> Parameters:
        """Return the gradient of the training loss over at most `PROBE_SAMPLES` samples."""
        device = self._of.rows.device
        size = min(PROBE_SAMPLES, max(self._of.counts))
        chosen = torch.full((self.replicas, size), -1)
        for r, seed in enumerate(self._seeds):
            draws = generator(seed, "probe", self.task)
            picked = torch.randperm(self._of.counts[r], generator=draws)[:size]
            chosen[r, : len(picked)] = picked
        present = (chosen >= 0).to(device)
        positions = chosen.clamp_min(0).to(device)
        rows, labels = (t.gather(1, positions) for t in (self._of.rows, self._of.labels))
        weights = present / present.sum(1, keepdim=True)
        blocks = path(self.network, self.head)
        names = trained_names(self.parameters, blocks)
        total = {n: torch.zeros_like(self.parameters[n]) for n in names}
        everything = torch.ones((self.replicas, len(blocks)), dtype=torch.bool, device=device)
        state = {n: p.clone() for n, p in self.parameters.items() if block_of(n) in blocks}
        for start in range(0, size, EVALUATION_BATCH):
            part = slice(start, start + EVALUATION_BATCH)
            counts = (chosen[:, part] >= 0).sum(1).tolist()
            logits, backward = self.network.forward(
                state, self._view.show(rows[:, part]), self.head, everything, counts
            )
            _, slope = cross_entropy(logits, labels[:, part], weights[:, part])
            backward(slope, total, beta=1.0)
        return total


def train(
    streams: Sequence[Stream],
    network: Network,
    strategy: Strategy,
    seeds: Sequence[int],
    budget: Budget,
    *,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Train one replica a seed, all at once, and judge each after each task.

    A replica's numbers depend on its own stream, seed and learning rate alone, not on who is
    trained beside it.

    Parameters
    ----------
    streams : sequence of Stream
        One a replica, over one data set, with equal numbers of tasks.
    network : Network
        What is trained.
    strategy : Strategy
        A new one: it keeps what it learned of this run's tasks.
    seeds : sequence of int
        One a replica: initialization and order of the samples.
    budget : Budget
        Epochs, batch size and learning rate.
    device : str
        "cpu", "cuda" or "cuda:<number>".
    progress : callable, optional
        Called as `progress(done, tasks)` after each task.

    Raises
    ------
    InputError
        If the arguments do not fit each other, before any training.
    """
    place = resolve_device(device)
    rates = _check(streams, network, seeds, budget)
    began = time.perf_counter()
    dataset = streams[0].dataset.to(place)
    labels = dataset.train_labels
    step_rates = torch.tensor(rates, dtype=torch.float32, device=place)
    parameters = network.initialize(seeds, place)
    tasks = len(streams[0].tasks)
    accuracy = np.full((len(seeds), tasks, tasks), np.nan)
    drifts = np.full((len(seeds), tasks, len(network.body) + 1), np.nan)
    notes: dict[str, NDArray[np.float64]] = {}
    divergences: dict[int, Divergence] = {}
    images, training_seconds = 0, 0.0
    for k in range(tasks):
        head = k if streams[0].heads > 1 else 0
        arrived = [s.tasks[k] for s in streams]
        of = samples([t.train for t in arrived], labels, arrived)
        view = View(dataset.train_images, dataset, arrived, network.flat)
        learner = _Learner(network, parameters, seeds, k, head, of, view)
        trainable = strategy.begin(learner).to(place)
        before = {n: p.clone() for n, p in parameters.items()}
        started = time.perf_counter()
        batches = training_batches(of, view, seeds, k, budget.epochs, budget.batch)
        losses = _descend(
            network, parameters, head, trainable, batches, step_rates, budget.momentum
        )
        bad = ~losses.isfinite().cpu()
        strategy.finish(learner)
        training_seconds += time.perf_counter() - started
        images += budget.epochs * sum(of.counts)
        for r in bad.any(0).nonzero().flatten().tolist():
            step = int(bad[:, r].nonzero()[0])
            divergences.setdefault(r, Divergence(r, k, step, rates[r]))
        alive = np.array([r not in divergences for r in range(len(seeds))])
        for name, values in learner.notes.items():
            kept = notes.setdefault(name, np.full((len(seeds), tasks), np.nan))
            kept[alive, k] = values.cpu().numpy()[alive]
        drifts[alive, k] = drift(before, parameters, path(network, head)).numpy()[alive]
        for i in range(k + 1):
            seen = [s.tasks[i] for s in streams]
            scores = evaluate(network, parameters, dataset, streams, seen, i)
            accuracy[alive, k, i] = scores.numpy()[alive]
        if progress:
            progress(k + 1, tasks)
    return Outcome(
        accuracy,
        drifts,
        notes,
        tuple(divergences[r] for r in sorted(divergences)),
        images,
        training_seconds,
        time.perf_counter() - began,
    )


def _descend(
    network: Network,
    parameters: Parameters,
    head: int,
    trainable: Tensor,
    batches: Iterable[Batch],
    rates: Tensor,
    momentum: float,
) -> Tensor:
    """Train one task in place; return the loss before each step and after the last, (·, R)."""
    names = trained_names(parameters, path(network, head))
    velocity = {n: torch.zeros_like(parameters[n]) for n in names} if momentum else {}
    downhill = -rates[:, None] * trainable
    losses = []
    for images, labels, weights, counts in batches:
        logits, backward = network.forward(parameters, images, head, trainable, counts)
        loss, slope = cross_entropy(logits, labels, weights)
        losses.append(loss)
        if not momentum:
            backward(slope, parameters, beta=1.0, scale=downhill)
            continue
        backward(slope, velocity, beta=momentum)
        moving = rates * weights.any(1)  # a replica that idles must not coast on
        for n in names:
            step = moving.view(-1, *[1] * (parameters[n].dim() - 1))
            parameters[n].sub_(velocity[n] * step)
    # Where the last step led shows in no loss before it.
    logits, _ = network.forward(parameters, images, head)
    losses.append(cross_entropy(logits, labels, weights)[0])
    return torch.stack(losses)


def evaluate(
    network: Network,
    parameters: Parameters,
    dataset: Dataset,
    streams: Sequence[Stream],
    tasks: Sequence[Task],
    number: int,
) -> Tensor:
    """Return the accuracy of each replica on its task, float64 (R,), in [0, 1].

    Parameters
    ----------
    dataset : Dataset
        The streams' data set, on the device of `parameters`.
    tasks : sequence of Task
        One a replica.
    number : int
        Place of the task in the stream.
    """
    images, labels = judged_on(streams[0]._replace(dataset=dataset))
    of = samples([t.test for t in tasks], labels, tasks)
    view = View(images, dataset, tasks, network.flat)
    head = number if streams[0].heads > 1 else 0
    counts = torch.tensor(of.counts, device=labels.device)
    right = torch.zeros(len(tasks), dtype=torch.float64, device=labels.device)
    for part in torch.arange(of.rows.shape[1], device=labels.device).split(EVALUATION_BATCH):
        logits, _ = network.forward(parameters, view.show(of.rows[:, part]), head)
        hits = (logits.argmax(2) == of.labels[:, part]) & (part < counts[:, None])
        right += hits.sum(1)
    return (right / counts).cpu()


def _check(
    streams: Sequence[Stream], network: Network, seeds: Sequence[int], budget: Budget
) -> list[float]:
    """Check that the arguments of `train` fit each other; return each replica's rate."""
    if not seeds or len(streams) != len(seeds):
        raise InputError(f"{len(streams)} streams for {len(seeds)} seeds: pass one stream a seed")
    if any(seed < 0 for seed in seeds):
        raise InputError(f"seeds {list(seeds)}: each must be at least 0")
    first = streams[0]
    for stream in streams:
        same = (
            stream.dataset.checksum == first.dataset.checksum
            and len(stream.tasks) == len(first.tasks)
            and (stream.heads, stream.outputs) == (first.heads, first.outputs)
            and stream.held_out == first.held_out
        )
        if not same:
            raise InputError(
                f"streams {first.name!r} and {stream.name!r} differ in data set, tasks, heads or "
                "held-out part: replicas that train together must agree in these"
            )
    for k, task in ((k, task) for stream in streams for k, task in enumerate(stream.tasks)):
        if not len(task.train) or not len(task.test):
            raise InputError(
                f"task {k} of stream {first.name!r} has {len(task.train)} samples to train on and "
                f"{len(task.test)} to judge on: each must be at least 1; change the held-out part"
            )
    if network.heads < first.heads:
        raise InputError(
            f"stream {first.name!r} needs {first.heads} heads, {network.name} has "
            f"{network.heads}: make the network with heads={first.heads}"
        )
    if budget.epochs < 1 or budget.batch < 1:
        raise InputError(
            f"budget of {budget.epochs} epochs and batch {budget.batch}: each must be at least 1"
        )
    if not 0 <= budget.momentum < 1:
        raise InputError(f"momentum {budget.momentum} is not in [0, 1)")
    given = budget.learning_rate
    rates = [float(given)] * len(seeds) if isinstance(given, int | float) else list(given)
    if len(rates) != len(seeds):
        raise InputError(f"{len(rates)} learning rates for {len(seeds)} seeds: pass one a seed")
    if not all(np.isfinite(rate) and rate > 0 for rate in rates):
        raise InputError(f"learning rates {rates}: each must be finite and above 0")
    return rates
