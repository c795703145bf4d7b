"""Replay, A-GEM and DER++ against plain loops, see `test_regularized`.

What the loops share with the engine beyond the weights and the order of the samples: which of the
samples that a memory was shown (the first, the second, …) each draw gave.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F

import clcore.strategies.replay
from clcore.errors import InputError
from clcore.measures.gradients import inner
from clcore.networks import Parameters
from clcore.seeds import generator
from clcore.strategies import AGEM, DarkReplay, Initialized, Replay, Strategy
from clcore.strategies.memory import Memory
from clcore.streams import SCENARIOS, Dataset, Stream
from clcore.training import Batch
from tests.strategies.test_regularized import (
    BATCH,
    MOMENTA,
    Plain,
    matters,
    three_tasks,
    trained,
)

Draws = list[list[int]]


@pytest.fixture(scope="module")
def six(learnable: Callable[..., Dataset]) -> Dataset:
    return learnable(1, 4, 90, 6)


class Spied(Memory):
    """Notes which samples it gives, by when it was shown them: 0, 1, …"""

    noted: Draws

    def add(self, batch: Batch, draws: Any, **values: torch.Tensor) -> None:
        before = int(self.shown.sum())  # of the only replica
        when = before + torch.arange(batch.rows.shape[1])[None]
        super().add(batch, draws, when=when, **values)

    def sample(self, number: int, draws: Any) -> dict[str, torch.Tensor]:
        found = super().sample(number, draws)
        if found:
            self.noted.append(found.pop("when")[0].tolist())
        return found


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Draws:
    """Return the draws of the memories of strategies made from now on, in their order."""
    Spied.noted = []
    monkeypatch.setattr(clcore.strategies.replay, "Memory", Spied)
    return Spied.noted


class Seen(NamedTuple):
    """One sample that a memory was shown."""

    image: torch.Tensor
    unit: torch.Tensor
    task: int
    logits: torch.Tensor  # when it was shown


def mean_loss(plain: Plain, samples: Sequence[Seen], now: int) -> torch.Tensor:
    """Return the mean loss of samples of any task, at task `now`, and count each on its own."""
    logits = plain.model(torch.stack([s.image for s in samples]))
    each = [
        plain.loss(own[None], s.unit[None], s.task, now + 1)
        for own, s in zip(logits, samples, strict=True)
    ]
    return torch.stack(each).mean()


def shown(plain: Plain, images: torch.Tensor, units: torch.Tensor, k: int) -> list[Seen]:
    logits = plain.model(images).detach()
    return [Seen(*sample[:2], k, sample[2]) for sample in zip(images, units, logits, strict=True)]


@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_replay(six: Dataset, scenario: str, momentum: float, drawn: Draws) -> None:
    """The mean over batch and memory together; a smaller batch counts as a whole one."""
    stream = three_tasks(six, scenario)
    network, after = trained(stream, Replay(20), momentum)
    draws, plain, seen = iter(drawn), Plain(stream, network, momentum), []
    for k in range(3):
        optimizer = plain.optimizer()
        for images, units in plain.batches(k):
            new = shown(plain, images, units, k)
            optimizer.zero_grad()
            if not seen:
                loss = mean_loss(plain, new, k)
            elif len(new) == BATCH:
                loss = mean_loss(plain, new + [seen[i] for i in next(draws)], k)
            else:
                old = [seen[i] for i in next(draws)]
                loss = (mean_loss(plain, new, k) + mean_loss(plain, old, k)) / 2
            loss.backward()
            optimizer.step()
            seen += new
        plain.agrees(after[k])
    assert next(draws, None) is None
    assert {len(d) for d in drawn} == {BATCH}
    assert {seen[i].task for i in drawn[-1]} == {0, 1, 2}, "too weak: not all tasks are remembered"
    matters(stream, momentum, after)


@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_der(six: Dataset, scenario: str, momentum: float, drawn: Draws) -> None:
    """Buzzega et al. (2020), algorithm 2, whose distances are over outputs that had competed."""
    alpha, beta, stream = 0.7, 0.4, three_tasks(six, scenario)
    network, after = trained(stream, DarkReplay(20, alpha, beta), momentum)
    draws, plain, seen = iter(drawn), Plain(stream, network, momentum), []
    for k in range(3):
        optimizer = plain.optimizer()
        for images, units in plain.batches(k):
            new = shown(plain, images, units, k)
            optimizer.zero_grad()
            loss = mean_loss(plain, new, k)
            if seen:
                both = [seen[i] for i in next(draws)]
                distances = []
                for s in both[:BATCH]:
                    may = plain.outputs(s.task, s.task + 1)
                    distances.append(F.mse_loss(plain.model(s.image)[may], s.logits[may]))
                loss = loss + alpha * torch.stack(distances).mean()
                loss = loss + beta * mean_loss(plain, both[BATCH:], k)
            loss.backward()
            optimizer.step()
            seen += new
        plain.agrees(after[k])
    assert next(draws, None) is None
    assert {len(d) for d in drawn} == {2 * BATCH}
    assert {seen[i].task for i in drawn[-1]} == {0, 1, 2}, "too weak: not all tasks are remembered"
    matters(stream, momentum, after)


@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_agem(six: Dataset, scenario: str, momentum: float, drawn: Draws) -> None:
    """Chaudhry et al. (2019), equations 10 and 11: project where the gradients conflict."""
    stream = three_tasks(six, scenario)
    network, after = trained(stream, AGEM(8, sample=9), momentum)
    draws, plain, seen, conflicts = iter(drawn), Plain(stream, network, momentum), [], []
    for k in range(3):
        optimizer, current = plain.optimizer(), []
        for images, units in plain.batches(k):
            new = shown(plain, images, units, k)
            slopes = torch.autograd.grad(mean_loss(plain, new, k), plain.parameters)
            g = torch.cat([s.flatten() for s in slopes])
            if seen:
                given = [[of[i] for i in next(draws)] for of in seen]
                assert [len(of) for of in given] == {1: [9], 2: [5, 5]}[k]
                loss = torch.stack([mean_loss(plain, of, k) for of in given]).mean()
                slopes = torch.autograd.grad(loss, plain.parameters)
                r = torch.cat([s.flatten() for s in slopes])
                conflicts.append(bool(g @ r < 0))
                if g @ r < 0:
                    g = g - (g @ r) / (r @ r) * r
            sizes = [p.numel() for p in plain.parameters]
            for p, part in zip(plain.parameters, g.split(sizes), strict=True):
                p.grad = part.view_as(p)
            optimizer.step()
            current += new
        plain.agrees(after[k])
        seen.append(current)
    assert next(draws, None) is None
    assert any(conflicts), "too weak: nothing was projected"
    # New classes always conflict with old ones that they compete with.
    assert scenario == "class" or not all(conflicts), "too weak: all was projected"
    matters(stream, momentum, after)


# ---------------------------------------------------------------------- what A-GEM takes away


class Stand:
    """A learner whose gradient on remembered samples is given."""

    def __init__(self, reference: Parameters) -> None:
        self.reference, self.replicas = reference, len(reference["a.bias"])
        self.rates = torch.ones(self.replicas)
        self.draws = [generator(seed, "strategy", 1) for seed in range(self.replicas)]

    def recall(self, rows: Any, labels: Any, tasks: Any, weights: torch.Tensor) -> Batch:
        torch.testing.assert_close(weights.sum(1), torch.ones(self.replicas))
        return Batch(torch.zeros(*rows.shape, 1), labels, weights, [], rows, tasks)

    def gradient(self, batch: Batch) -> Parameters:
        return self.reference


def projected(gradient: Parameters, reference: Parameters) -> Parameters:
    """Return what A-GEM makes of a gradient on the second task."""
    strategy, learner = AGEM(4, sample=3), Stand(reference)
    rows = torch.zeros((learner.replicas, 2), dtype=torch.int64)
    ones = torch.ones(rows.shape)
    batch = Batch(ones, rows, ones, [2] * learner.replicas, rows, 0)
    assert strategy.mix(learner, batch) is batch
    strategy.finish(learner)
    found = {n: g.clone() for n, g in gradient.items()}
    strategy.gradient(learner, found)
    return found


def test_agem_takes_away_the_conflict_alone() -> None:
    """50 replicas: after it ⟨g', r⟩ ≥ 0; without conflict, g' = g to the bit."""
    draws = torch.Generator().manual_seed(1)
    gradient, reference = (
        {
            "a.weight": torch.randn(50, 3, 4, generator=draws, dtype=torch.float64),
            "a.bias": torch.randn(50, 1, 4, generator=draws, dtype=torch.float64),
        }
        for _ in range(2)
    )
    for values in reference.values():
        values[0] = 0  # a reference of length zero says nothing
    before = inner(gradient, reference)
    conflict = before < 0
    assert 10 < conflict.sum() < 40
    found = projected(gradient, reference)
    for n, g in gradient.items():
        assert found[n][~conflict].equal(g[~conflict])
    after = inner(found, reference)
    assert (after >= -1e-12).all()
    assert (after[conflict].abs() < 1e-12).all()
    # What is left is the nearest such gradient: what was taken away is along r.
    taken = {n: gradient[n] - found[n] for n in gradient}
    lengths = (inner(taken, taken) * inner(reference, reference)).sqrt()
    torch.testing.assert_close(inner(taken, reference)[conflict], -lengths[conflict])


# ------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_der_without_weights_is_initialized_training(
    six: Dataset,
    scenario: str,
    momentum: float,
) -> None:
    same(three_tasks(six, scenario), DarkReplay(20, 0.0, 0.0), momentum, tasks=3)


@pytest.mark.parametrize("momentum", MOMENTA)
def test_agem_trains_the_first_task_as_initialized_training(
    six: Dataset,
    momentum: float,
) -> None:
    same(three_tasks(six, "class"), AGEM(20), momentum, tasks=1)


def same(stream: Stream, strategy: Strategy, momentum: float, tasks: int) -> None:
    (_, one), (_, other) = (trained(stream, s, momentum) for s in (strategy, Initialized()))
    for k in range(tasks):
        for n, p in one[k].items():
            torch.testing.assert_close(p, other[k][n], rtol=1e-9, atol=1e-12)


# --------------------------------------------------------------------------------- bad options


@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_bad_weights(value: float) -> None:
    with pytest.raises(InputError, match=f"alpha {value}, beta 0.5: both must be finite and at"):
        DarkReplay(5, alpha=value)
    with pytest.raises(InputError, match=f"alpha 1.0, beta {value}: both must be finite and at"):
        DarkReplay(5, beta=value)


@pytest.mark.parametrize("size", [0, -1])
@pytest.mark.parametrize("make", [Replay, AGEM, DarkReplay])
def test_bad_sizes(make: Any, size: int) -> None:
    with pytest.raises(InputError, match=f"memory of {size} samples: keep at least 1"):
        make(size)
    with pytest.raises(InputError, match=f"{size} remembered samples a step: draw at least 1"):
        AGEM(5, sample=size)
    assert AGEM(5, sample=1).sample == 1
