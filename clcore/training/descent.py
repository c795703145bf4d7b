"""The steps of one task."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from clcore.networks import Parameters, aligned, block_of, trained_names
from clcore.networks.loss import cross_entropy
from clcore.strategies import Strategy
from clcore.streams.batches import Batch
from clcore.training.observers import Observer
from clcore.training.run import Run

LOOK = 50  # steps between two looks for replicas that diverged: a GPU must be waited for
BOUND = 1e4  # of a parameter; of recorded updates that learned, the longest of a block was 255

Rule = Callable[[Parameters, Parameters], None]
"""`rule(parameters, gradient)` moves the parameters in place."""


def sgd(rates: Tensor, momentum: float) -> Rule:
    """Return gradient descent with (heavy-ball) momentum, as `torch.optim.SGD` does it."""
    velocity: Parameters = {}

    def move(parameters: Parameters, gradient: Parameters) -> None:
        for n, g in gradient.items():
            step = g
            if momentum:
                past = velocity.get(n)
                step = g.clone() if past is None else past.mul_(momentum).add_(g)
                velocity[n] = step
            parameters[n].addcmul_(step, aligned(rates, g), value=-1)

    return move


def adam(rates: Tensor) -> Rule:
    """Return Adam (Kingma and Ba, 2015), as `torch.optim.Adam` does it."""
    betas, eps = (0.9, 0.999), 1e-8
    means: Parameters = {}
    squares: Parameters = {}
    steps = 0

    def move(parameters: Parameters, gradient: Parameters) -> None:
        nonlocal steps
        steps += 1
        for n, g in gradient.items():
            if n not in means:
                means[n], squares[n] = torch.zeros_like(g), torch.zeros_like(g)
            mean = means[n].lerp_(g, 1 - betas[0])
            square = squares[n].mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
            length = (square / (1 - betas[1] ** steps)).sqrt_().add_(eps)
            step = torch.div(mean, length, out=length)
            parameters[n].addcmul_(step, aligned(rates / (1 - betas[0] ** steps), g), value=-1)

    return move


def descend(
    run: Run,
    strategy: Strategy,
    trainable: Tensor,
    stopped: Sequence[int],
    batches: Iterable[Batch],
    steps: int,
    rule: Rule | None,
    observers: Sequence[Observer],
) -> tuple[Tensor, int]:
    """Train one task in place.

    Parameters
    ----------
    trainable : Tensor
        bool, (R, blocks), on the CPU.
    stopped : sequence of int
        Replicas that do not train any more.
    batches : iterable of Batch
        Of the task.
    steps : int
        How many these are.
    rule : Rule or None
        How a gradient moves the parameters; None: plain descent, which needs no stored gradient.

    Returns
    -------
    losses : Tensor
        (steps + 1, R): the loss before each step and after the last. A replica whose loss is
        not finite, or with a parameter beyond ±`BOUND`, goes back to where it stood when the task
        arrived, and stops. Where its loss was finite, the last before that look is made infinite.
    images : int
        Training images seen.
    """
    network, parameters = run.network, run.parameters
    hooked = type(strategy).gradient is not Strategy.gradient
    direct = rule is None and not hooked
    names = trained_names(parameters, network.blocks)
    gradient = {} if direct else {n: torch.zeros_like(parameters[n]) for n in names}
    move = rule or sgd(run.rates, 0.0)
    held: Parameters = {}  # what a strategy does to the gradient must not move what is frozen
    if hooked:
        frozen = ~trainable.to(run.rates.device)
        for n, g in gradient.items():
            held[n] = aligned(frozen[:, network.blocks.index(block_of(n))], g)
    downhill = -run.rates[:, None] * trainable.to(run.rates.device)
    draws = run.dropout_draws()
    idle = set(stopped)
    # One table: small tensors that stay would lie between the large ones that come and go, and
    # keep the gaps from being used again.
    losses = torch.empty((steps + 1, run.replicas), device=run.rates.device)
    images = judged = 0
    for step, batch in enumerate(batches, start=1):
        if len(idle) == run.replicas:
            break
        images += sum(count for r, count in enumerate(batch.counts) if r not in idle)
        # Who stopped, or has no samples left while others have, must not move.
        who = sorted(idle | {r for r, count in enumerate(batch.counts) if not count})
        still = torch.tensor(who, device=run.rates.device)
        kept = {n: p[still].clone() for n, p in parameters.items()} if who else {}
        batch = strategy.mix(run, batch)
        counts = [0 if r in idle else count for r, count in enumerate(batch.counts)]
        logits, backward = network.forward(parameters, batch.images, trainable, counts, draws)
        loss, slope = cross_entropy(
            logits, batch.labels, batch.weights, run.competing_for(batch.tasks)
        )
        losses[judged] = loss
        judged += 1
        strategy.slope(run, batch, logits, slope)
        if direct:
            backward(slope, parameters, beta=1.0, scale=downhill)
        else:
            backward(slope, gradient)
            strategy.gradient(run, gradient)
            for n, still_blocks in held.items():
                gradient[n].masked_fill_(still_blocks, 0.0)
            move(parameters, gradient)
        strategy.after_step(run)
        for n, values in kept.items():
            parameters[n][still] = values
        if step % LOOK == 0:
            _stop(run, idle, losses[judged - LOOK : judged])
        for observer in observers:
            if observer.every and step % observer.every == 0:
                observer.after_step(run)
    # Where the last step led shows in no loss before it.
    if len(idle) < run.replicas:
        logits, _ = network.forward(parameters, batch.images)
        compete = run.competing_for(batch.tasks)
        losses[judged] = cross_entropy(logits, batch.labels, batch.weights, compete)[0]
        judged += 1
        _stop(run, idle, losses[:judged])
    return losses[:judged], images


def _stop(run: Run, idle: set[int], losses: Tensor) -> None:
    """Put back, and stop, each replica that diverged."""
    # The outputs of earlier tasks can run away unseen by the loss of this one.
    for n in trained_names(run.parameters, run.network.blocks):
        largest = torch.linalg.vector_norm(run.parameters[n].flatten(1), torch.inf, 1)
        losses[-1].masked_fill_(~(largest <= BOUND), torch.inf)  # NaN is beyond the bound, too
    bad = ~losses.isfinite().all(0)
    for r in bad.nonzero().flatten().tolist():
        if r not in idle:
            idle.add(r)
            for n, p in run.parameters.items():
                p[r] = run.before[n][r]
