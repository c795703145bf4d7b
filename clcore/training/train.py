"""Trains the replicas of a strategy over their streams and measures after each task."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clcore.device import resolve_device
from clcore.errors import InputError, known
from clcore.measures.drift import drift
from clcore.networks import Network
from clcore.strategies import Strategy
from clcore.streams import Stream
from clcore.streams.batches import training_batches
from clcore.training.descent import BOUND, Rule, adam, descend, sgd
from clcore.training.observers import Observer
from clcore.training.run import Run


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
        In [0, 1); the velocity starts at 0 with each task. Adam has its own, and takes none.
    augment : bool
        Whether training images are shifted at random, by up to 4 pixels each way, where black
        comes in, and half of them mirrored.
    optimizer : {"sgd", "adam"}
        Gradient descent, or Adam with its usual constants, begun anew with each task.
    """

    epochs: int
    batch: int
    learning_rate: float | Sequence[float]
    momentum: float = 0.0
    augment: bool = False
    optimizer: str = "sgd"


class Divergence(NamedTuple):
    """Where a replica ran away: it was stopped there.

    Attributes
    ----------
    replica, task, step : int
        Counted from 0; the step within the task whose loss was not finite (the number of steps,
        if that is the loss after the last one). If a parameter alone was beyond ±10,000: the
        last step before the look that found it. There is a look after every 50 steps, and one
        after the last, where it is the number of steps.
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
            f"replica {self.replica} diverged: its loss is not finite, or a parameter is beyond "
            f"±{BOUND:,.0f}, at task {self.task}, step {self.step}, learning rate "
            f"{self.learning_rate:g}; it was stopped; lower the rate"
        )


class Outcome(NamedTuple):
    """What R replicas did over T tasks.

    Attributes
    ----------
    accuracy : ndarray
        (R, T, T): [r, k, i] is the accuracy of replica r on task i after task k, in [0, 1]; NaN
        for tasks not seen by then, and from the task on in which a replica diverged.
    drift : ndarray
        (R, T, blocks): Euclidean length of each block's update by each task.
    notes : dict of str to ndarray
        What the strategy recorded: name → (R, T), NaN where it recorded nothing and from the
        task on in which a replica diverged.
    observed : dict of str to ndarray
        What the observers saw: name → (R, T, …), NaN where a replica had diverged.
    divergences : tuple of Divergence
        Replicas that were stopped, since their loss was not finite or a parameter beyond ±10,000.
    images : int
        Training images seen by all replicas together.
    training_seconds, seconds : float
        Wall time of the training steps, and of everything.
    """

    accuracy: NDArray[np.float64]
    drift: NDArray[np.float64]
    notes: dict[str, NDArray[np.float64]]
    observed: dict[str, NDArray[np.float64]]
    divergences: tuple[Divergence, ...]
    images: int
    training_seconds: float
    seconds: float


def train(
    streams: Sequence[Stream],
    network: Network,
    strategy: Strategy,
    seeds: Sequence[int],
    budget: Budget,
    *,
    device: str = "cpu",
    deterministic: bool = False,
    observers: Sequence[Observer] = (),
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
    deterministic : bool
        Have torch use deterministic GPU kernels alone, from now on in this process, so that a
        rerun is bit-equal; on a CPU reruns always are.
    observers : sequence of Observer
        What else to measure; it never changes what is trained.
    progress : callable, optional
        Called as `progress(done, tasks)` after each task.

    Raises
    ------
    InputError
        If the arguments do not fit each other, before any training.
    """
    place = resolve_device(device)
    if place.type == "cuda":
        if place.index is not None:
            torch.cuda.set_device(place)  # CUDA graphs record what runs on the current GPU
        torch.backends.cudnn.allow_tf32 = False  # float32 means float32: bf16 is asked for
        torch.backends.cudnn.deterministic = True  # the same seed gives the same numbers
        if deterministic:
            torch.use_deterministic_algorithms(True)
    rates = _check(streams, network, seeds, budget)
    check_optimizer(strategy, budget)
    began = time.perf_counter()
    run = Run(
        streams,
        network,
        seeds,
        streams[0].dataset.to(place),
        torch.tensor(rates, dtype=torch.float32),
        budget.augment,
    )
    tasks = run.tasks
    accuracy = np.full((len(seeds), tasks, tasks), np.nan)
    drifts = np.full((len(seeds), tasks, len(network.blocks)), np.nan)
    notes: dict[str, NDArray[np.float64]] = {}
    observed: dict[str, NDArray[np.float64]] = {}
    divergences: dict[int, Divergence] = {}
    images, training_seconds = 0, 0.0
    for k in range(tasks):
        run.arrive(k)
        started = time.perf_counter()
        # On the CPU, since it is read at every step: a GPU would have to be waited for.
        trainable = strategy.begin(run).cpu()
        of, view = run.training(strategy.tasks(run))
        batches = training_batches(
            of, view, seeds, k, budget.epochs, budget.batch, augment=budget.augment
        )
        rule: Rule | None = None
        if budget.optimizer == "adam":
            rule = adam(run.rates)
        elif budget.momentum:
            rule = sgd(run.rates, budget.momentum)
        losses, seen = descend(
            run,
            strategy,
            trainable,
            list(divergences),
            batches,
            budget.epochs * -(-max(of.counts) // budget.batch),
            rule,
            observers,
        )
        bad = ~losses.isfinite().cpu()
        strategy.finish(run)
        training_seconds += time.perf_counter() - started
        images += seen
        for r in bad.any(0).nonzero().flatten().tolist():
            step = int(bad[:, r].nonzero()[0])
            divergences.setdefault(r, Divergence(r, k, step, rates[r]))
        alive = np.array([r not in divergences for r in range(len(seeds))])
        for name, values in run.notes.items():
            _keep(notes, name, values, k, tasks, alive)
        moved = drift(run.before, run.parameters, network.blocks)
        drifts[alive, k] = moved.numpy()[alive]
        for i in range(k + 1):
            accuracy[alive, k, i] = run.accuracy(run.parameters, i).numpy()[alive]
        for observer in observers:
            for name, values in observer.after_task(run).items():
                _keep(observed, name, values, k, tasks, alive)
        if progress:
            progress(k + 1, tasks)
        if not alive.any():
            break
    return Outcome(
        accuracy,
        drifts,
        notes,
        observed,
        tuple(divergences[r] for r in sorted(divergences)),
        images,
        training_seconds,
        time.perf_counter() - began,
    )


def _keep(
    table: dict[str, NDArray[np.float64]],
    name: str,
    values: Tensor,
    task: int,
    tasks: int,
    alive: NDArray[np.bool_],
) -> None:
    """Put the values of a task, (R, …), into their table, (R, T, …), NaN where there are none."""
    found = values.cpu().numpy()
    blank = np.full((len(found), tasks, *found.shape[1:]), np.nan)
    table.setdefault(name, blank)[alive, task] = found[alive]


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
            and (stream.scenario, stream.outputs) == (first.scenario, first.outputs)
            and stream.held_out == first.held_out
        )
        if not same:
            raise InputError(
                f"streams {first.name!r} and {stream.name!r} differ in data set, tasks, outputs or "
                "held-out part: replicas that train together must agree in these"
            )
    for k, task in ((k, task) for stream in streams for k, task in enumerate(stream.tasks)):
        if not len(task.train) or not len(task.test):
            raise InputError(
                f"task {k} of stream {first.name!r} has {len(task.train)} samples to train on and "
                f"{len(task.test)} to judge on: each must be at least 1; change the held-out part"
            )
    channels, *_ = first.dataset.shape
    inputs = first.dataset.train_images[0].numel() if network.flat else channels
    if (network.inputs, network.outputs) != (inputs, first.outputs):
        raise InputError(
            f"{network.name} with {network.inputs} inputs and {network.outputs} outputs on stream "
            f"{first.name!r}: its data set {first.dataset.name} needs {inputs} "
            f"{'pixels' if network.flat else 'channels'}, its tasks {first.outputs} outputs"
        )
    return check_budget(budget, len(seeds))


def check_optimizer(strategy: Strategy, budget: Budget) -> None:
    """Check that a strategy makes sense with a budget's optimizer.

    Raises
    ------
    InputError
        If it does not.
    """
    if budget.optimizer not in strategy.optimizers:
        raise InputError(
            f"optimizer {budget.optimizer!r} with {type(strategy).__name__}, which makes sense "
            f"with {' or '.join(strategy.optimizers)} alone: choose that"
        )


def check_budget(budget: Budget, replicas: int) -> list[float]:
    """Return each replica's learning rate.

    Raises
    ------
    InputError
        If a value is out of range, or there is not one learning rate a replica.
    """
    if budget.epochs < 1 or budget.batch < 1:
        raise InputError(
            f"budget of {budget.epochs} epochs and batch {budget.batch}: each must be at least 1"
        )
    if not 0 <= budget.momentum < 1:
        raise InputError(f"momentum {budget.momentum} is not in [0, 1)")
    known("optimizer", budget.optimizer, ("sgd", "adam"))
    if budget.optimizer == "adam" and budget.momentum:
        raise InputError(f"momentum {budget.momentum} with adam, which has its own: leave it out")
    given = budget.learning_rate
    rates = [float(given)] * replicas if isinstance(given, int | float) else list(given)
    if len(rates) != replicas:
        raise InputError(f"{len(rates)} learning rates for {replicas} seeds: pass one a seed")
    if not all(np.isfinite(rate) and rate > 0 for rate in rates):
        raise InputError(f"learning rates {rates}: each must be finite and above 0")
    return rates
