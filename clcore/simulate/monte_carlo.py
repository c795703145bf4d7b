"""Monte Carlo of sequences of updates: the check of the closed forms."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from clcore.device import resolve_device
from clcore.errors import InputError
from clcore.simulate.change import smallest_change
from clcore.theory import LinearTasks, Update, check_plan
from clcore.theory.validation import FloatArray

# Of a chunk of trials, enough to keep batched kernels busy, and small beside a processor's cache.
_CHUNK_BYTES = {"cpu": 4 << 20, "cuda": 1 << 30}


class Estimate(NamedTuple):
    """Means over independent trials, and the standard errors of these means."""

    mean: FloatArray
    standard_error: FloatArray


class Simulation(NamedTuple):
    """What a simulation estimates; each entry of a trial is averaged with its own error.

    Attributes
    ----------
    risks : Estimate, (K+1, B, K)
        Block b's part of the excess risk on task i after t updates.
    totals : Estimate, (K+1, K)
        The excess risk itself: the sum over blocks.
    forgetting : Estimate, (K,)
        Risk of each task after the last update less its risk after its own.
    trials : int
        Independent runs of the whole sequence.
    """

    risks: Estimate
    totals: Estimate
    forgetting: Estimate
    trials: int


def simulate_risks(
    tasks: LinearTasks,
    updates: Sequence[Update],
    trials: int = 1000,
    seed: int = 0,
    device: str = "cpu",
) -> Simulation:
    """Run a task sequence many times with new data, and average its excess risks.

    Every trial draws all features and labels of every task and makes each update by linear
    algebra, so nothing that the theory proves is used. Where an update has |m - n| ≤ 3 the
    variance of the risk is infinite: the standard error then understates the error.

    Parameters
    ----------
    tasks : LinearTasks
        K tasks in B blocks.
    updates : sequence of Update, length K
        One update for each task, in order.
    trials : int
        Independent runs, at least 2.
    seed : int
        The same seed gives the same numbers on the same device.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Returns
    -------
    Simulation
        Its risks are in the layout of `clcore.theory.expected_risks`.

    Raises
    ------
    InputError
        If the plan does not fit the tasks, an update has |m - n| ≤ 1 (its mean is
        infinite, so there is nothing to estimate), there are fewer than 2 trials, or the
        device is not there.
    """
    check_plan(updates, tasks.sizes, tasks.samples)
    if trials < 2:
        raise InputError(f"trials = {trials}, but a standard error needs at least 2")
    place = resolve_device(device)
    generator = torch.Generator(place).manual_seed(int(seed))
    chunk = _trials_per_chunk(tasks, place)
    mean = scatter = torch.zeros((), dtype=torch.float64, device=place)
    done = 0
    while done < trials:
        count = min(chunk, trials - done)
        values = _flatten(_run(tasks, updates, count, generator))
        # Chan's update of mean and scatter: sums of squares would cancel where spread is small.
        here = values.mean(dim=0)
        shift = here - mean
        scatter = scatter + ((values - here) ** 2).sum(dim=0)
        scatter = scatter + shift**2 * (done * count / (done + count))
        mean = mean + shift * (count / (done + count))
        done += count
    error = (scatter / (trials - 1) / trials).sqrt()
    return _unflatten(mean.cpu().numpy(), error.cpu().numpy(), tasks, trials)


def _flatten(risks: Tensor) -> Tensor:
    """Return all that is estimated from (R, K+1, B, K) risks as one (R, values) tensor."""
    totals = risks.sum(dim=2)
    forgetting = totals[:, -1] - totals[:, 1:].diagonal(dim1=1, dim2=2)
    return torch.cat([risks.flatten(1), totals.flatten(1), forgetting], dim=1)


def _unflatten(mean: FloatArray, error: FloatArray, tasks: LinearTasks, trials: int) -> Simulation:
    count, blocks = len(tasks.samples), len(tasks.sizes)
    shapes = ((count + 1, blocks, count), (count + 1, count), (count,))
    cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    risks, totals, forgetting = (
        Estimate(m.reshape(shape), e.reshape(shape))
        for m, e, shape in zip(np.split(mean, cuts), np.split(error, cuts), shapes, strict=True)
    )
    return Simulation(risks, totals, forgetting, trials)


def _trials_per_chunk(tasks: LinearTasks, device: torch.device) -> int:
    tasks_count, parameters = tasks.truths.shape
    numbers = parameters * (2 * int(tasks.samples.max()) + 2 * tasks_count)
    count: int = max(1, _CHUNK_BYTES[device.type] // (8 * numbers))
    return count


def _run(
    tasks: LinearTasks, updates: Sequence[Update], trials: int, generator: torch.Generator
) -> Tensor:
    """Return the (R, K+1, B, K) risks of R trials."""
    device = generator.device
    sizes = tasks.sizes.tolist()
    truths = torch.tensor(tasks.truths, device=device)  # (K, P)
    theta = torch.tensor(tasks.start, device=device).repeat(trials, 1)  # (R, P)
    blocks = theta.split(sizes, dim=1)  # views, so that moving a block moves theta
    history = [_block_risks(theta, truths, sizes)]
    for k, update in enumerate(updates):
        if not update.trainable:
            history.append(history[-1])
            continue
        samples = int(tasks.samples[k])
        features = _normal((trials, samples, theta.shape[1]), generator)
        residual = (features @ (truths[k] - theta)[..., None])[..., 0]
        residual += tasks.noise[k] * _normal((trials, samples), generator)
        columns = features.split(sizes, dim=2)
        change = smallest_change(torch.cat([columns[b] for b in update.trainable], 2), residual)
        moves = change.split([sizes[b] for b in update.trainable], dim=1)
        for b, gain, move in zip(update.trainable, update.gains, moves, strict=True):
            blocks[b].add_(move, alpha=gain)
        history.append(_block_risks(theta, truths, sizes))
    return torch.stack(history, dim=1)


def _block_risks(theta: Tensor, truths: Tensor, sizes: list[int]) -> Tensor:
    """Return the (R, B, K) squared block distances of (R, P) parameters to (K, P) truths."""
    squares = (theta[:, None] - truths) ** 2  # (R, K, P)
    return torch.stack([part.sum(dim=2) for part in squares.split(sizes, dim=2)], dim=1)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    # Single-precision normals cost a tenth of double ones on a CPU, and their grid of 1e-7 is
    # far below any standard error; all that is computed from them is double.
    draw = torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32)
    return draw.double()
