"""Monte Carlo of sequences of updates: the check of the closed forms."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from clcore.device import resolve_device
from clcore.errors import InputError
from clcore.simulate.change import Change, normal_equations, product, smallest_change
from clcore.simulate.features import Features, IndependentFeatures
from clcore.theory import LinearTasks, Update, check_plan
from clcore.theory.validation import FloatArray

# Of a chunk of trials, enough to keep batched kernels busy, and small beside a processor's cache.
_CHUNK_BYTES = {"cpu": 8 << 20, "cuda": 1 << 30}
# Of the generators here, beside those of `clcore.seeds`: a change of that file marks all records.
_SPAWN_KEY = 8
# Length of a refining step, beside the first, up to which single precision is good enough: what is
# left is about its square.
_SETTLED = 1e-5
# The threads of NumPy's kernels.
_BLAS = ThreadpoolController()


class Estimate(NamedTuple):
    """Means over independent trials, and the standard errors of these means."""

    mean: FloatArray
    standard_error: FloatArray


class Simulation(NamedTuple):
    """What a simulation estimates; each entry of a trial is averaged with its own error.

    Attributes
    ----------
    risks : Estimate, (K+1, B, K)
        Block b's share a_b · (Σ_i a)_b of the excess risk on task i after t updates, with a the
        error of the parameters on task i: its squared length if Σ_i = I.
    totals : Estimate, (K+1, K)
        The excess risk itself: the sum over blocks.
    forgetting : Estimate, (K,)
        Risk of each task after the last update less its risk after its own.
    """

    risks: Estimate
    totals: Estimate
    forgetting: Estimate


def simulate_risks(
    tasks: LinearTasks,
    updates: Sequence[Update],
    trials: int = 1000,
    seed: int = 0,
    device: str = "cpu",
    *,
    features: Features | None = None,
    change: Change | None = None,
) -> Simulation:
    """Run a task sequence many times with new data, and average its excess risks.

    Every trial draws all features and labels of every task and makes each update by linear
    algebra, so nothing that the theory proves is used. Features are drawn, and well-conditioned
    updates made, in single precision with a step of refinement. The result is that of double
    precision with labels rounded to a relative 1e-7, far below a standard error. Where an update
    has |m - n| ≤ 3 the variance of the risk is infinite: the standard error then understates the
    error.

    Parameters
    ----------
    tasks : LinearTasks
        K tasks in B blocks.
    updates : sequence of Update, length K
        One update for each task, in order.
    trials : int
        Independent runs, at least 2.
    seed : int
        At least 0. The same gives the same numbers on the same device.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    features : Features, optional
        Distribution of the features, `IndependentFeatures` or `SampledFeatures`; independent
        N(0, 1) entries unless given.
    change : Change, optional
        How an update is made, `Proximal` or `Descent`; `smallest_change` unless given.

    Returns
    -------
    Simulation
        Its risks are in the layout of `clcore.theory.expected_risks`.

    Raises
    ------
    InputError
        If the plan does not fit the tasks, an update has |m - n| ≤ 1 (its mean is
        infinite, so there is nothing to estimate; not if `change` is given), there are fewer
        than 2 trials, the seed is negative, features or change do not fit the tasks, or the
        device is not there.
    """
    check_plan(updates, tasks.sizes, tasks.samples, fits=change is None)
    if trials < 2:
        raise InputError(f"trials = {trials}, but a standard error needs at least 2")
    if seed < 0:
        raise InputError(f"seed = {seed}, but an integer of at least 0 is expected")
    if change is not None:
        change.check(tasks)
    place = resolve_device(device)
    source = IndependentFeatures() if features is None else features
    moments = source.covariances(*tasks.truths.shape)
    covariances = None if moments is None else torch.tensor(moments, device=place)
    chunk = _trials_per_chunk(tasks, place)
    counts = [min(chunk, trials - done) for done in range(0, trials, chunk)]
    # A trial that fills a chunk has kernels large enough to share among threads.
    threads = torch.get_num_threads() if place.type == "cpu" and chunk > 1 else 1
    # Memory is used again: fresh pages cost as much as the draws.
    under_way = 1 if threads == 1 else threads + 1
    numbers = counts[0] * int(tasks.samples.max()) * len(tasks.start)
    memories = torch.empty(under_way, numbers, device=place)

    def run(index: int, count: int) -> Tensor:
        memory = memories[index % under_way]
        entropy = np.random.SeedSequence(seed, spawn_key=(_SPAWN_KEY, index))
        draws = torch.Generator(place).manual_seed(int(entropy.generate_state(1, np.uint64)[0]))
        return _flatten(_run(tasks, updates, count, draws, source, memory, covariances, change))

    mean = scatter = torch.zeros((), dtype=torch.float64, device=place)
    done = 0
    for values in _chunks(run, counts, threads):
        # Chan's update of mean and scatter: sums of squares would cancel where spread is small.
        count = len(values)
        here = values.mean(dim=0)
        shift = here - mean
        scatter = scatter + ((values - here) ** 2).sum(dim=0)
        scatter = scatter + shift**2 * (done * count / (done + count))
        mean = mean + shift * (count / (done + count))
        done += count
    error = (scatter / (trials - 1) / trials).sqrt()
    return _unflatten(mean, error, tasks)


def _chunks(
    run: Callable[[int, int], Tensor], counts: Sequence[int], threads: int
) -> Iterator[Tensor]:
    """Yield the values of each chunk in order; the number of threads changes none of them.

    Kernels on a chunk are too small to share among threads, so each thread runs a chunk, with
    a generator of its own. At most `threads` + 1 chunks are under way.
    """
    if threads == 1:
        yield from map(run, range(len(counts)), counts)
        return
    waiting: deque[Future[Tensor]] = deque()
    torch.set_num_threads(1)
    try:
        with _BLAS.limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
            for index, count in enumerate(counts):
                waiting.append(pool.submit(run, index, count))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        torch.set_num_threads(threads)


def _flatten(risks: Tensor) -> Tensor:
    """Return all that is estimated from (R, K+1, B, K) risks as one (R, values) tensor."""
    totals = risks.sum(dim=2)
    forgetting = totals[:, -1] - totals[:, 1:].diagonal(dim1=1, dim2=2)
    return torch.cat([risks.flatten(1), totals.flatten(1), forgetting], dim=1)


def _unflatten(means: Tensor, errors: Tensor, tasks: LinearTasks) -> Simulation:
    mean, error = means.cpu().numpy(), errors.cpu().numpy()
    count, blocks = len(tasks.samples), len(tasks.sizes)
    shapes = ((count + 1, blocks, count), (count + 1, count), (count,))
    cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    risks, totals, forgetting = (
        Estimate(m.reshape(shape), e.reshape(shape))
        for m, e, shape in zip(np.split(mean, cuts), np.split(error, cuts), shapes, strict=True)
    )
    return Simulation(risks, totals, forgetting)


def _trials_per_chunk(tasks: LinearTasks, device: torch.device) -> int:
    tasks_count, parameters = tasks.truths.shape
    numbers = parameters * (2 * int(tasks.samples.max()) + 2 * tasks_count)
    count: int = max(1, _CHUNK_BYTES[device.type] // (4 * numbers))
    return count


def _run(
    tasks: LinearTasks,
    updates: Sequence[Update],
    trials: int,
    draws: torch.Generator,
    source: Features,
    memory: Tensor,
    covariances: Tensor | None,
    change: Change | None,
) -> Tensor:
    """Return the (R, K+1, B, K) risks of R trials."""
    sizes, device = tasks.sizes.tolist(), draws.device
    truths = torch.tensor(tasks.truths, device=device)  # (K, P)
    theta = torch.tensor(tasks.start, device=device).repeat(trials, 1)  # (R, P)
    blocks = theta.split(sizes, dim=1)  # views, so that moving a block moves theta
    history = [_block_risks(theta, truths, sizes, covariances)]
    for k, update in enumerate(updates):
        if not update.trainable:
            history.append(history[-1])
            continue
        # A sample a column in memory, where Gram matrices and blocks are faster.
        shape = (trials, theta.shape[1], int(tasks.samples[k]))
        features = memory[: math.prod(shape)].view(shape).mT
        source.draw(k, features, draws)
        noise = torch.empty(features.shape[:2], device=device).normal_(generator=draws)
        noise *= float(tasks.noise[k])
        gap = truths[k] - theta
        lengths = [sizes[b] for b in update.trainable]
        if change is None:
            found = _fit(features, gap, noise, update.trainable, sizes)
        else:
            features = features.double()
            owner = torch.tensor(np.repeat(update.trainable, lengths), device=device)
            trained = _columns(features, update.trainable, sizes)
            found = change(trained, _residual(features, gap, noise), k, owner)
        moves = found.split(lengths, dim=1)
        for b, gain, move in zip(update.trainable, update.gains, moves, strict=True):
            blocks[b].add_(move, alpha=gain)
        history.append(_block_risks(theta, truths, sizes, covariances))
    return torch.stack(history, dim=1)


def _fit(
    features: Tensor, gap: Tensor, noise: Tensor, trainable: Sequence[int], sizes: list[int]
) -> Tensor:
    """Return the (R, m) smallest change of the trainable blocks that fits Φ gap + noise.

    In single precision, refined once. The second residual comes from what is left of the gap, in
    double precision, so that its rounding is that of labels with a relative error of 1e-7, and
    none is left of a gap that is closed. Trials that this does not settle are solved in double.
    """
    solve, _, _ = normal_equations(_columns(features, trainable, sizes))
    first = solve(_residual(features, gap, noise))
    left = gap.clone()
    parts = left.split(sizes, dim=1)
    for b, move in zip(trainable, first.split([sizes[b] for b in trainable], dim=1), strict=True):
        parts[b].sub_(move)
    second = solve(_residual(features, left, noise))
    change = first.double() + second
    hard = ~(second.norm(dim=1) <= _SETTLED * first.norm(dim=1))  # NaN too
    if hard.any():
        wide = features[hard].double()
        residual = _residual(wide, gap[hard], noise[hard])
        change[hard] = smallest_change(_columns(wide, trainable, sizes), residual)
    return change


def _residual(features: Tensor, gap: Tensor, noise: Tensor) -> Tensor:
    """Return the (R, n) residuals in the features' precision."""
    return product(gap[:, None].to(features.dtype), features.mT)[:, 0] + noise


def _columns(features: Tensor, trainable: Sequence[int], sizes: list[int]) -> Tensor:
    """Return the (R, n, m) features of the trainable blocks, in their order."""
    if tuple(trainable) == tuple(range(len(sizes))):
        return features
    blocks = features.mT.split(sizes, dim=1)
    return torch.cat([blocks[b] for b in trainable], dim=1).mT


def _block_risks(
    theta: Tensor, truths: Tensor, sizes: list[int], covariances: Tensor | None
) -> Tensor:
    """Return each block's share of the risks of (R, P) parameters on K tasks, (R, B, K)."""
    errors = theta[:, None] - truths  # (R, K, P)
    if covariances is None:
        shares = errors**2
    else:
        shares = errors * torch.einsum("rkp,kpq->rkq", errors, covariances)
    return torch.stack([part.sum(dim=2) for part in shares.split(sizes, dim=2)], dim=1)
