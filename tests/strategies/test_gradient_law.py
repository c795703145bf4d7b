"""The law for gains: against brute force on quadratic losses, and against plain loops."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from clcore.errors import InputError
from clcore.networks import Network, Parameters, ResNet18, block_of, trained_names
from clcore.strategies import Ball, Initialized, Scaled, Strategy
from clcore.strategies.gradient_law import isotropic_gains
from clcore.streams import SCENARIOS, Dataset, Stream, split
from clcore.training import Budget, Outcome, train
from tests.strategies.test_regularized import (
    MOMENTA,
    SEED,
    Double,
    Plain,
    fisher,
    matters,
    three_tasks,
    trained,
)

BLOCKS = ("a", "b", "c")
SHAPES = {"a.weight": (3, 4), "a.bias": (1, 4), "b.weight": (4, 2), "b.mean": (2,), "c.bias": (5,)}
REPLICAS = 6
TRAINED = [n for n in SHAPES if n != "b.mean"]


class Quadratics:
    """A learner of tasks with losses ½ Σ h (θ − m)²: minima m and curvatures h are given.

    The Fisher information that it reports is h over `underestimate`.
    """

    def __init__(
        self,
        minima: list[Parameters],
        curvatures: list[Parameters],
        underestimate: float = 1.0,
        rate: float = 0.1,
    ) -> None:
        self.network = SimpleNamespace(blocks=BLOCKS)
        self.minima, self.curvatures, self.underestimate = minima, curvatures, underestimate
        self.replicas, self.task = REPLICAS, 0
        self.rates = torch.full((REPLICAS,), rate)
        self.parameters = normal(99)
        self.before: Parameters = {}
        self.notes: dict[str, torch.Tensor] = {}

    def arrive(self, task: int) -> None:
        self.task, self.notes = task, {}
        self.before = {n: p.clone() for n, p in self.parameters.items()}

    def of_task(self, task: int, parameters: Parameters, block: str = "") -> torch.Tensor:
        """Return a task's loss, (R,), or what one block has in it."""
        h, m = self.curvatures[task], self.minima[task]
        parts = [
            (h[n] * (parameters[n] - m[n]) ** 2).flatten(1).sum(1) / 2
            for n in TRAINED
            if block in ("", block_of(n))
        ]
        return torch.stack(parts).sum(0)

    def loss(self, parameters: Parameters) -> torch.Tensor:
        return self.of_task(self.task, parameters)

    def gradient(self) -> Parameters:
        h, m = self.curvatures[self.task], self.minima[self.task]
        return {n: h[n] * (self.parameters[n] - m[n]) for n in TRAINED}

    def fisher(self) -> Parameters:
        return {n: h / self.underestimate for n, h in self.curvatures[self.task].items()}

    def move_to(self, target: Parameters, part: float = 1.0) -> None:
        for n in TRAINED:
            self.parameters[n].lerp_(target[n], part)


def normal(seed: int) -> Parameters:
    draws = torch.Generator().manual_seed(seed)
    return {
        n: torch.randn((REPLICAS, *shape), generator=draws, dtype=torch.float64)
        for n, shape in SHAPES.items()
    }


def alike(seed: int, tasks: int, spread: float = 2.0) -> list[Parameters]:
    """Return minima that lie anywhere, but not too far from each other: all gains occur."""
    common = normal(seed)
    own = [normal(seed + 1 + k) for k in range(tasks)]
    return [{n: spread * common[n] + values[n] for n in TRAINED} for values in own]


def positive(seed: int) -> Parameters:
    return {n: values.abs() + 0.1 for n, values in normal(seed).items() if n in TRAINED}


def flat(height: float) -> Parameters:
    return {n: torch.full((REPLICAS, *SHAPES[n]), height, dtype=torch.float64) for n in TRAINED}


def kept_parts(learner: Quadratics, free: Parameters) -> torch.Tensor:
    """Return what part of its free update each block kept, (R, blocks)."""
    found = torch.zeros(REPLICAS, len(BLOCKS), dtype=torch.float64)
    for b, block in enumerate(BLOCKS):
        for n in (n for n in TRAINED if block_of(n) == block):
            parts = (learner.parameters[n] - learner.before[n]) / (free[n] - learner.before[n])
            parts = parts.flatten(1)
            found[:, b] = parts[:, 0]
            # One gain for all of a block.
            expected = found[:, b, None].expand_as(parts)
            torch.testing.assert_close(parts, expected, rtol=1e-6, atol=1e-8)
    return found


def best_parts(learner: Quadratics, free: Parameters) -> torch.Tensor:
    """Return the gain in [0, 1] of each block with the smallest sum of losses, by search."""
    found = torch.zeros(REPLICAS, len(BLOCKS), dtype=torch.float64)
    for b, block in enumerate(BLOCKS):
        for r in range(REPLICAS):

            def total(gain: float, r: int = r, block: str = block) -> float:
                at = {n: torch.lerp(learner.before[n], free[n], gain) for n in TRAINED}
                losses = [learner.of_task(i, at, block)[r] for i in range(learner.task + 1)]
                return float(sum(losses))

            inside = minimize_scalar(total, bounds=(0, 1), method="bounded").x
            found[r, b] = min((0.0, 1.0, inside), key=total)
    return found


# -------------------------------------------------------------------------- the law is best


def test_isotropic_law_is_the_best_gain_of_two_tasks() -> None:
    """Equal curvatures: the gradient where a task arrives tells where its own minimum is."""
    learner = Quadratics(alike(0, 2), [flat(0.7)] * 2)
    strategy, gains = Scaled(), []
    for k in range(2):
        learner.arrive(k)
        assert strategy.begin(learner).all()  # type: ignore[arg-type]
        learner.move_to(learner.minima[k], 1.0 if k else 0.6)  # the first task ends before it
        free = {n: p.clone() for n, p in learner.parameters.items()}
        strategy.finish(learner)  # type: ignore[arg-type]
        if k:
            gains.append(kept_parts(learner, free))
            torch.testing.assert_close(gains[-1], best_parts(learner, free), rtol=0, atol=1e-5)
        else:
            assert all(p.equal(free[n]) for n, p in learner.parameters.items())
    found = torch.cat(gains)
    assert ((found > 0) & (found < 1)).sum() > 3
    assert (found == 1).any(), "too weak: no gain is clipped"
    assert found.unique().numel() > 10, "each block of each replica has its own"


def test_isotropic_law_of_opposed_and_orthogonal_tasks() -> None:
    """Opposed: stay. Orthogonal: half way. Aligned: the whole way. Twice as far: the whole way."""
    own = {n: torch.zeros_like(v) for n, v in flat(1).items()}
    old = {n: torch.zeros_like(v) for n, v in flat(1).items()}
    for n in TRAINED:
        own[n].flatten(1)[:, 0] = 2.0
        old[n].flatten(1)[0, 0] = -3.0
        old[n].flatten(1)[1, 1] = 5.0
        old[n].flatten(1)[2, 0] = 2.0
        old[n].flatten(1)[3, 0] = 9.0
        old[n].flatten(1)[4, 0] = -1.0
    own["a.bias"][5], own["a.weight"][5] = 0, 0  # a block that need not move
    learner = SimpleNamespace(
        gradient=lambda: own,
        network=SimpleNamespace(blocks=BLOCKS),
        task=1,
        rates=torch.ones(REPLICAS),
    )
    gains = isotropic_gains(learner, old)  # type: ignore[arg-type]
    assert gains.tolist() == [[0] * 3, [0.5] * 3, [1] * 3, [1] * 3, [0.25] * 3, [1, 0.5, 0.5]]
    learner.task = 3  # (4 − 2) / (4 · 4): four tasks
    assert isotropic_gains(learner, old)[4].tolist() == [0.125] * 3  # type: ignore[arg-type]


def test_isotropic_law_takes_gradients_where_each_task_ended() -> None:
    learner = Quadratics(alike(5, 4), [flat(0.7)] * 4)
    strategy = Scaled()
    stored: list[Parameters] = []
    for k in range(4):
        learner.arrive(k)
        strategy.begin(learner)  # type: ignore[arg-type]
        own = learner.gradient()
        learner.move_to(learner.minima[k], 0.6)
        free = {n: p.clone() for n, p in learner.parameters.items()}
        strategy.finish(learner)  # type: ignore[arg-type]
        if k:
            gains = kept_parts(learner, free)
            for b, block in enumerate(BLOCKS):
                for r in range(REPLICAS):
                    parts = [
                        np.concatenate([g[n][r].ravel() for n in g if block_of(n) == block])
                        for g in (*stored, own)
                    ]
                    expected = sum(g @ parts[-1] for g in parts) / len(parts)
                    expected = np.clip(expected / (parts[-1] @ parts[-1]), 0, 1)
                    assert gains[r, b].item() == pytest.approx(expected, abs=1e-6)
        stored.append(learner.gradient())


def test_curvature_form_is_the_best_gain_of_any_number_of_tasks() -> None:
    """Theorem "The gain of an update under quadratic losses" (*The hybrid strategy*)."""
    learner = Quadratics(alike(10, 4, 4.0), [positive(20 + k) for k in range(4)])
    strategy, gains = Scaled(metric="fisher"), []
    for k in range(4):
        learner.arrive(k)
        assert strategy.begin(learner).all()  # type: ignore[arg-type]
        learner.move_to(learner.minima[k], 1.0 if k else 0.2)
        free = {n: p.clone() for n, p in learner.parameters.items()}
        strategy.finish(learner)  # type: ignore[arg-type]
        if k:
            gains.append(kept_parts(learner, free))
            torch.testing.assert_close(gains[-1], best_parts(learner, free), rtol=0, atol=1e-5)
    found = torch.cat(gains)
    assert ((found > 0) & (found < 1)).sum() > 10
    assert (found == 1).sum() > 1, "too weak: no gain is clipped"
    assert found.unique().numel() > 20


def test_curvature_form_clips_at_0() -> None:
    """What the old task loses at any step is more than the new one gains, to first order."""
    minima = [flat(0.0), flat(1.0)]
    learner = Quadratics(minima, [flat(100.0), flat(1.0)])
    strategy = Scaled(metric="fisher")
    learner.parameters.update(flat(4.0))
    for k in range(2):
        learner.arrive(k)
        strategy.begin(learner)  # type: ignore[arg-type]
        learner.move_to(flat(0.5 if k == 0 else 1.0))
        strategy.finish(learner)  # type: ignore[arg-type]
    assert all(p.equal(flat(0.5)[n]) for n, p in learner.parameters.items() if n in TRAINED)


@pytest.mark.parametrize("metric", ["identity", "fisher"])
def test_blocks_that_do_not_move_and_curvatures_of_0_do_no_harm(metric: str) -> None:
    """A block at its minimum stays, without NaN; so does a replica that was stopped."""
    curvatures = [positive(k) for k in range(3)]
    for of in curvatures:
        of["c.bias"][2] = 0
    learner = Quadratics(alike(3, 3), curvatures)
    strategy = Scaled(metric=metric)
    for k in range(3):
        learner.arrive(k)
        strategy.begin(learner)  # type: ignore[arg-type]
        learner.move_to(learner.minima[k])
        for n in ("a.weight", "a.bias"):
            learner.parameters[n][:] = learner.before[n]
        for n in TRAINED:
            learner.parameters[n][1] = learner.before[n][1]
        strategy.finish(learner)  # type: ignore[arg-type]
        assert all(p.isfinite().all() for p in learner.parameters.values())
        assert all(learner.parameters[n].equal(learner.before[n]) for n in ("a.weight", "a.bias"))
        assert all(learner.parameters[n][1].equal(learner.before[n][1]) for n in TRAINED)


# --------------------------------------------------------------------------- given gains


class After:
    """Keeps where the replicas stand after each task."""

    def __init__(self, decides: Strategy) -> None:
        self.states: list[Parameters] = []
        finish = decides.finish

        def keep(learner: Any) -> None:
            finish(learner)
            self.states.append({n: p.clone() for n, p in learner.parameters.items()})

        decides.finish = keep  # type: ignore[method-assign]


class DoubleResNet(ResNet18):
    def initialize(self, *given: Any) -> Parameters:
        return {n: p.double() for n, p in super().initialize(*given).items()}

    def forward(self, parameters: Parameters, images: torch.Tensor, *rest: Any) -> Any:
        return super().forward(parameters, images.double(), *rest)

    def add_squared_gradients(self, parameters: Any, images: torch.Tensor, *rest: Any) -> None:
        super().add_squared_gradients(parameters, images.double(), *rest)


def mlp() -> Network:
    return Double(192, [12, 10], 6)


def resnet() -> Network:
    return DoubleResNet(3, 6, width=2)


NETWORKS = [mlp, resnet]
SEEDS = [3, 4, 5]
COUNTS = [20, 11, 3]  # samples a task: one replica never fills a batch, and idles for long
RATES = [0.0625, 0.03125, 0.125]


@pytest.fixture(scope="module")
def colored(learnable: Callable[..., Dataset]) -> Dataset:
    """Return 90 + 30 images of 3 × 8 × 8 pixels in 6 classes."""
    return learnable(3, 8, 90, 6)


@pytest.fixture(scope="module")
def six(learnable: Callable[..., Dataset]) -> Dataset:
    """Return 90 + 30 images of 1 × 4 × 4 pixels in 6 classes."""
    return learnable(1, 4, 90, 6)


def uneven(dataset: Dataset) -> list[Stream]:
    """Return streams whose replica r trains on `COUNTS`[r] samples of each of three tasks."""
    found = []
    for seed, count in zip(SEEDS, COUNTS, strict=True):
        stream = split(dataset, 3, seed=seed, scenario="class")
        tasks = tuple(task._replace(train=task.train[:count]) for task in stream.tasks)
        found.append(stream._replace(tasks=tasks))
    return found


def run(
    dataset: Dataset,
    make: Callable[[], Network],
    decides: Strategy,
    which: tuple[int, ...] = (0, 1, 2),
    momentum: float = 0.5,
    epochs: int = 1,
) -> tuple[Outcome, list[Parameters]]:
    """Train some of the replicas; return also where they stood after each task."""
    streams, after = uneven(dataset), After(decides)
    budget = Budget(epochs, 8, [RATES[r] for r in which], momentum, augment=True)
    seeds = [SEEDS[r] for r in which]
    outcome = train([streams[r] for r in which], make(), decides, seeds, budget)
    assert not outcome.divergences
    return outcome, after.states


def equal(one: Parameters, other: Parameters) -> bool:
    return all(p.equal(other[n]) for n, p in one.items())


@pytest.mark.parametrize("make", NETWORKS)
def test_whole_gain_is_initialized_training(colored: Dataset, make: Any) -> None:
    (_, one), (_, other) = (run(colored, make, s) for s in (Scaled(1.0), Initialized()))
    assert all(equal(o, t) for o, t in zip(one, other, strict=True))


@pytest.mark.parametrize("make", NETWORKS)
def test_gain_0_stays_where_the_first_task_ended(colored: Dataset, make: Any) -> None:
    """Running statistics stay as well."""
    (_, one), (_, other) = (run(colored, make, s) for s in (Scaled(0.0), Initialized()))
    assert equal(one[0], other[0])
    assert equal(one[1], one[0])
    assert equal(one[2], one[0])
    assert not equal(other[1], other[0])


@pytest.mark.parametrize("make", NETWORKS)
def test_given_gain_is_that_part_of_the_free_update(colored: Dataset, make: Any) -> None:
    (_, one), (_, other) = (run(colored, make, s) for s in (Scaled(0.25), Initialized()))
    for n, p in one[1].items():
        expected = other[0][n] + 0.25 * (other[1][n] - other[0][n])
        torch.testing.assert_close(p, expected, rtol=1e-5, atol=1e-7)


# ------------------------------------------------------------------------- plain loops


def layers(plain: Plain) -> list[list[torch.Tensor]]:
    return [list(layer.parameters()) for layer in plain.model[::2]]


def gradient(plain: Plain, k: int) -> list[list[torch.Tensor]]:
    """Return the gradient of task k's mean loss over all its samples, layer by layer."""
    images, units = plain.samples(k)
    loss = plain.loss(plain.model(images), units, k, k + 1)
    found = iter(torch.autograd.grad(loss, plain.parameters))
    return [[next(found) for _ in of] for of in layers(plain)]


def product(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    return sum(float((a * b).sum()) for a, b in zip(one, other, strict=True))


def by_layer(plain: Plain, values: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    found = iter(values)
    return [[next(found) for _ in of] for of in layers(plain)]


def law(stored: list[list[list[torch.Tensor]]], own: list[list[torch.Tensor]]) -> list[float]:
    """Return the isotropic gain of each layer."""
    gains = []
    for b, g in enumerate(own):
        total = sum(product(of[b], g) for of in stored) + product(g, g)
        gains.append(float(np.clip(total / ((len(stored) + 1) * product(g, g)), 0, 1)))
    return gains


def steps(plain: Plain, k: int) -> Iterator[None]:
    """Train the task; give way after each step."""
    optimizer = plain.optimizer()
    for images, units in plain.batches(k):
        optimizer.zero_grad()
        plain.loss(plain.model(images), units, k, k + 1).backward()
        optimizer.step()
        yield


def moves(plain: Plain, start: list[list[torch.Tensor]]) -> list[list[torch.Tensor]]:
    """Return how far each layer is from its start."""
    return [
        [p.detach() - s for p, s in zip(of, began, strict=True)]
        for of, began in zip(layers(plain), start, strict=True)
    ]


def put(plain: Plain, b: int, start: list[torch.Tensor], move: list[torch.Tensor]) -> None:
    for p, s, m in zip(layers(plain)[b], start, move, strict=True):
        p.data = s + m


@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("metric", ["identity", "fisher"])
def test_scaled_against_a_plain_loop(
    six: Dataset, metric: str, scenario: str, momentum: float
) -> None:
    stream = three_tasks(six, scenario)
    network, after = trained(stream, Scaled(metric=metric), momentum)
    plain = Plain(stream, network, momentum)
    stored: list[list[list[torch.Tensor]]] = []
    curvatures: list[list[list[torch.Tensor]]] = []
    seen = []
    for k in range(3):
        start = [[p.detach().clone() for p in of] for of in layers(plain)]
        own = gradient(plain, k)
        for _ in steps(plain, k):
            pass
        move = moves(plain, start)
        if k and metric == "identity":
            seen += law(stored, own)
        elif k:
            now = by_layer(plain, fisher(plain, k))
            for b, m in enumerate(move):
                new = product([f * d for f, d in zip(now[b], m, strict=True)], m)
                old = sum(
                    product([f * d for f, d in zip(of[b], m, strict=True)], m) for of in curvatures
                )
                top = new - sum(product(g[b], m) for g in stored)
                seen.append(float(np.clip(top / (new + old), 0, 1)))
        if k:
            for b, gain in enumerate(seen[-3:]):
                put(plain, b, start[b], [gain * m for m in move[b]])
        plain.agrees(after[k])
        if metric == "fisher":  # the earlier gradients, carried to where the replicas stand now
            move = moves(plain, start)
            for g, f in zip(stored, curvatures, strict=True):
                for b, m in enumerate(move):
                    g[b] = [x + y * z for x, y, z in zip(g[b], f[b], m, strict=True)]
            curvatures.append(by_layer(plain, fisher(plain, k)))
        stored.append(gradient(plain, k))
    # With outputs of their own, the tasks clip every gain of the curvature form to 1.
    if metric == "identity" or scenario != "task":
        assert sum(0 < gain < 1 for gain in seen) > 1, "too weak: all gains are clipped"
        matters(stream, momentum, after)


@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("gain", [None, 0.3])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ball_against_a_plain_loop(
    six: Dataset, scenario: str, gain: float | None, momentum: float
) -> None:
    stream = three_tasks(six, scenario)
    network, after = trained(stream, Ball(gain), momentum)
    plain = Plain(stream, network, momentum)
    stored: list[list[list[torch.Tensor]]] = []
    first: list[float] = []
    projected, possible = 0, 0
    for k in range(3):
        start = [[p.detach().clone() for p in of] for of in layers(plain)]
        gains = [gain] * 3 if gain else law(stored, gradient(plain, k))
        for _ in steps(plain, k):
            for b, move in enumerate(moves(plain, start)):
                length, possible = product(move, move) ** 0.5, possible + bool(k)
                if k and length > gains[b] * first[b]:
                    projected += 1
                    put(plain, b, start[b], [gains[b] * first[b] / length * m for m in move])
        plain.agrees(after[k])
        if not k:
            first = [product(m, m) ** 0.5 for m in moves(plain, start)]
        stored.append(gradient(plain, k))
    assert 0 < projected < possible, "too weak: always, or never projected"
    matters(stream, momentum, after)


# ---------------------------------------------------------------------------------- balls


def lengths(before: Parameters, after: Parameters, blocks: tuple[str, ...]) -> np.ndarray:
    """Return the length of each block's move, (R, blocks)."""
    found = np.zeros((len(next(iter(after.values()))), len(blocks)))
    for b, block in enumerate(blocks):
        for r in range(len(found)):
            moves = [(after[n][r] - before[n][r]).double() for n in trained_names(after, (block,))]
            found[r, b] = float(sum((m**2).sum() for m in moves)) ** 0.5
    return found


class Watched(Ball):
    """Notes how far every block is from where the task began, after every step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.steps: dict[int, list[np.ndarray]] = {}
        self.statistics_kept = True

    def after_step(self, learner: Any) -> None:
        was = {n: p.clone() for n, p in learner.parameters.items()}
        super().after_step(learner)
        for n in was.keys() - set(trained_names(was, learner.network.blocks)):
            self.statistics_kept &= bool(was[n].equal(learner.parameters[n]))
        found = lengths(learner.before, learner.parameters, learner.network.blocks)
        self.steps.setdefault(learner.task, []).append(found)


@pytest.mark.parametrize("make", NETWORKS)
def test_every_block_stays_in_its_ball_at_every_step(colored: Dataset, make: Any) -> None:
    ball = Watched(0.25)
    outcome, _ = run(colored, make, ball, epochs=2)
    radii = 0.25 * outcome.drift[:, 0]  # (R, blocks)
    assert (radii > 0).all()
    assert ball.statistics_kept
    for k in (1, 2):
        far = np.stack(ball.steps[k]) / radii
        assert far.max() <= 1 + 1e-5
        assert (far > 1 - 1e-5).any()
        assert (outcome.drift[:, k] <= radii * (1 + 1e-5)).all()
    assert np.unique(radii).size == radii.size


@pytest.mark.parametrize("make", NETWORKS)
def test_huge_ball_is_initialized_training(colored: Dataset, make: Any) -> None:
    (_, one), (_, other) = (run(colored, make, s) for s in (Ball(1e6), Initialized()))
    assert all(equal(o, t) for o, t in zip(one, other, strict=True))


def test_radius_0_holds_a_block_where_it_is() -> None:
    """In one block the law's gain is 0; another has no length to compare with."""
    learner = Quadratics([flat(1.0), flat(-0.2)], [flat(1.0)] * 2)
    learner.parameters.update(flat(0.0))
    ball = Ball()
    for k in range(2):
        learner.arrive(k)
        ball.begin(learner)  # type: ignore[arg-type]
        learner.move_to(learner.minima[k], 1.0 if k else 0.3)
        if k == 0:
            learner.parameters["a.weight"][:] = 1.5  # past the minimum: both tasks pull back
            learner.parameters["a.bias"][:] = 1.5
            learner.parameters["c.bias"][:] = 0.0
        ball.after_step(learner)  # type: ignore[arg-type]
        ball.finish(learner)  # type: ignore[arg-type]
    kept = {n: (learner.parameters[n] - learner.before[n]).abs().max() for n in TRAINED}
    # Block a moved by 1.5; its gradients are 0.5 and 1.7, those of block b −0.7 and 0.5.
    assert kept["a.weight"].item() == pytest.approx(1.5 * (0.5 + 1.7) / (2 * 1.7), rel=1e-6)
    assert kept["b.weight"] == 0
    assert kept["c.bias"] == 0
    assert all(p.isfinite().all() for p in learner.parameters.values())


# ---------------------------------------------------------------------- alone, and again

VARIANTS: dict[str, Callable[[], Strategy]] = {
    "scaled": Scaled,
    "scaled, fisher": lambda: Scaled(metric="fisher"),
    "ball": Ball,
    "ball, 0.3": lambda: Ball(0.3),
}


def alone_or_among_others(dataset: Dataset, make: Any, strategy: Callable[[], Strategy]) -> None:
    together, theirs = run(dataset, make, strategy())
    for r in range(3):
        alone, ours = run(dataset, make, strategy(), (r,))
        for k in range(3):
            for n, p in ours[k].items():
                torch.testing.assert_close(p[0], theirs[k][n][r], rtol=1e-9, atol=1e-9)
        assert alone.notes.keys() == together.notes.keys()
        for n, values in alone.notes.items():
            assert values[0] == pytest.approx(together.notes[n][r], rel=1e-6, nan_ok=True)


def again(dataset: Dataset, make: Any, strategy: Callable[[], Strategy]) -> None:
    (one, ours), (other, theirs) = (run(dataset, make, strategy()) for _ in range(2))
    assert all(equal(o, t) for o, t in zip(ours, theirs, strict=True))
    assert (one.drift == other.drift).all()
    np.testing.assert_array_equal(one.accuracy, other.accuracy)
    for n, values in one.notes.items():
        np.testing.assert_array_equal(values, other.notes[n])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("name", VARIANTS)
def test_alone_or_among_others(colored: Dataset, make: Any, name: str) -> None:
    alone_or_among_others(colored, make, VARIANTS[name])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("name", VARIANTS)
def test_rerun_is_bit_equal(colored: Dataset, make: Any, name: str) -> None:
    again(colored, make, VARIANTS[name])


def test_divergence_of_one_replica_leaves_the_others(six: Dataset) -> None:
    streams = [three_tasks(six, "class")] * 2
    for strategy in VARIANTS.values():
        found = []
        for rates in ([0.125, 1e30], [0.125]):
            decides = strategy()
            after = After(decides)
            budget = Budget(1, 8, rates)
            number = len(rates)
            outcome = train(
                streams[:number], Double(16, [12], 6), decides, [SEED, 4][:number], budget
            )
            assert [d.replica for d in outcome.divergences] == [1][: number - 1]
            found.append(after.states[-1])
        for n, p in found[0].items():
            torch.testing.assert_close(p[0], found[1][n][0], rtol=1e-9, atol=1e-9)


# --------------------------------------------------------------------------- bad options


@pytest.mark.parametrize("value", [-0.1, 1.1, float("inf"), float("nan")])
def test_bad_gain(value: float) -> None:
    with pytest.raises(InputError, match=rf"gain {value} is not in \[0, 1\]"):
        Scaled(value)


def test_bad_metric() -> None:
    with pytest.raises(InputError, match="unknown metric 'fischer': did you mean 'fisher'"):
        Scaled(metric="fischer")


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_bad_radius(value: float) -> None:
    with pytest.raises(InputError, match=f"gain {value} of a ball: it must be finite and above 0"):
        Ball(value)
