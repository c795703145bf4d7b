"""A replica that runs away is reported, is stopped, and leaves the others alone."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clcore.networks import MLP, Network, Parameters, ResNet18
from clcore.strategies import Hybrid, Learner, Strategy, last_modules
from clcore.streams import Dataset, Stream, permuted, split
from clcore.training import Budget, Divergence, Moment, Observer, Outcome, train

SEEDS = [3, 4, 5]
HUGE = 1e30
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "adam": {"optimizer": "adam"},
}


def run(
    dataset: Dataset,
    rates: list[float],
    strategy: Strategy | None = None,
    network: Network | None = None,
    observers: Sequence[Observer] = (),
    **budget: Any,
) -> Outcome:
    streams = [permuted(dataset, [1.0, 0.5], seed=s) for s in SEEDS]
    options = {"epochs": 2, "batch": 16, **budget}
    return train(
        streams,
        network or MLP(16, [9], 4),
        strategy or Strategy(),
        SEEDS,
        Budget(learning_rate=rates, **options),
        observers=observers,
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_of_three(gray: Dataset, spy: Callable[..., Any], optimizer: str) -> None:
    calmly, wildly = spy(), spy()
    calm = run(gray, [0.05, 0.05, 0.02], calmly, **OPTIMIZERS[optimizer])
    wild = run(gray, [0.05, HUGE, 0.02], wildly, **OPTIMIZERS[optimizer])
    # The first step's loss is still that of the initial weights.
    assert wild.divergences == (Divergence(replica=1, task=0, step=1, learning_rate=HUGE),)
    assert np.isnan(wild.accuracy[1]).all()
    assert np.isnan(wild.drift[1]).all()
    for r in (0, 2):
        np.testing.assert_array_equal(wild.accuracy[r], calm.accuracy[r])
        np.testing.assert_array_equal(wild.drift[r], calm.drift[r])
        for name, values in calmly.after[-1].items():
            assert values[r].equal(wildly.after[-1][name][r])


def test_message() -> None:
    text = str(Divergence(1, 0, 7, 12.5))
    for part in ("replica 1", "±10,000", "task 0", "step 7", "learning rate 12.5", "lower"):
        assert part in text


class Later(Strategy):
    """Replica 0 waits for the second task."""

    def begin(self, learner: Learner) -> Tensor:
        counts = torch.tensor([0 if learner.task == 0 else 2, 2, 2])
        return last_modules(learner, counts)


def test_what_came_before_stays_known(gray: Dataset) -> None:
    outcome = run(gray, [HUGE, 0.05, 0.05], Later())
    assert outcome.divergences == (Divergence(0, 1, 1, HUGE),)
    assert np.isfinite(outcome.accuracy[0, 0, 0])
    assert (outcome.drift[0, 0] == 0).all()
    assert np.isnan(outcome.accuracy[0, 1:]).all()
    assert np.isnan(outcome.drift[0, 1:]).all()


def test_last_step_of_a_task(gray: Dataset) -> None:
    """One step a task: no later loss of that task would show where it led."""
    outcome = run(gray, [0.05, HUGE, 0.05], epochs=1, batch=70)
    assert outcome.divergences == (Divergence(1, 0, 1, HUGE),)
    assert np.isnan(outcome.accuracy[1]).all()


def test_every_replica(gray: Dataset) -> None:
    outcome = run(gray, [HUGE] * 3)
    assert [d.replica for d in outcome.divergences] == [0, 1, 2]
    assert np.isnan(outcome.accuracy).all()


def test_notes_of_a_diverged_replica_are_unknown(gray: Dataset, spy: Callable[..., Any]) -> None:
    outcome = run(gray, [0.05, HUGE, 0.05], Hybrid())
    for note in outcome.notes.values():
        assert np.isnan(note[1]).all()
        assert np.isfinite(note[[0, 2]][:, 1:]).all()


# ------------------------------------------------------------------ it is stopped

# 70 samples in batches of 16: 5 steps an epoch, 20 a task. Replicas are looked at every 4 steps.
LONG = {"epochs": 4}


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clcore.training.descent.LOOK", 4)


class Counting(MLP):
    """Keeps the counts of the batches that it is trained on."""

    def __init__(self, *sizes: Any) -> None:
        super().__init__(*sizes)
        self.trained: list[list[int]] = []

    def forward(
        self, parameters: Parameters, images: Tensor, trainable: Any = None, *rest: Any
    ) -> Any:
        if trainable is not None:
            self.trained.append(list(rest[0]))
        return super().forward(parameters, images, trainable, *rest)


class Steps(Observer):
    """Keeps where the replicas stand after each step: task → name → (steps, R, …)."""

    every = 1

    def __init__(self) -> None:
        self.kept: list[list[Parameters]] = [[] for _ in range(3)]

    def after_step(self, moment: Moment) -> None:
        self.kept[moment.task].append({n: p.clone() for n, p in moment.parameters.items()})

    def path(self, task: int) -> Parameters:
        kept = self.kept[task]
        return {n: torch.stack([at[n] for at in kept]) for n in kept[0]}


class Pushed(Strategy):
    """Moves every replica whatever its gradient is, and makes one of them explode."""

    def __init__(self, task: int = -1, step: int = -1) -> None:
        self.explodes = (task, step)
        self.step = 0

    def begin(self, learner: Learner) -> Tensor:
        self.step = 0
        return super().begin(learner)

    def gradient(self, learner: Learner, gradient: Parameters) -> None:
        for g in gradient.values():
            g.add_(0.01)

    def after_step(self, learner: Learner) -> None:
        for p in learner.parameters.values():
            p.add_(1e-3)
            if (learner.task, self.step) == self.explodes:
                p[1] *= HUGE
        self.step += 1


@pytest.mark.usefixtures("look")
@pytest.mark.parametrize("strategy", [Strategy, Pushed])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_is_put_back_and_never_moves_again(
    gray: Dataset, strategy: Callable[[], Strategy], optimizer: str
) -> None:
    network, steps = Counting(16, [9], 4), Steps()
    rates = [0.05, HUGE, 0.02]
    outcome = run(gray, rates, strategy(), network, [steps], **LONG, **OPTIMIZERS[optimizer])
    start = network.initialize(SEEDS, torch.device("cpu"))
    for name, values in start.items():
        first = steps.path(0)[name][:, 1]
        assert len(first) == 20
        assert not any(at.equal(values[1]) for at in first[:3])
        assert all(at.equal(values[1]) for at in first[3:])
        for task in (1, 2):
            path = steps.path(task)[name]
            assert all(at.equal(values[1]) for at in path[:, 1])
            for r in (0, 2):
                assert not path[0, r].equal(path[-1, r])
    assert [counts[1] for counts in network.trained] == [16] * 4 + [0] * 56
    assert [counts[0] for counts in network.trained] == [16, 16, 16, 16, 6] * 12
    # The others see 70 images an epoch, it sees its first four batches.
    assert outcome.images == 2 * 3 * 4 * 70 + 4 * 16
    assert [d.replica for d in outcome.divergences] == [1]


@pytest.mark.usefixtures("look")
@pytest.mark.parametrize("step", [0, 2, 3, 4, 9, 18, 19])
def test_it_is_put_back_to_where_it_stood_when_the_task_arrived(gray: Dataset, step: int) -> None:
    """It explodes in some step of the second task, the last one too."""
    steps = Steps()
    outcome = run(gray, [0.05] * 3, Pushed(1, step), None, [steps], **LONG)
    # The loss after a step shows in the next; who looks right after it sees the parameters.
    seen_at_once = (step + 1) % 4 == 0
    assert outcome.divergences == (Divergence(1, 1, step + (not seen_at_once), 0.05),)
    assert np.isfinite(outcome.accuracy[1, 0, 0])
    assert np.isnan(outcome.accuracy[1, 1:]).all()
    for name, path in steps.path(2).items():
        stood = steps.path(0)[name][-1, 1]
        assert all(at.equal(stood) for at in path[:, 1])
    looked = -(-(step + 1) // 4) * 4  # who looks next stops it
    batches = [16, 16, 16, 16, 6] * 4
    assert outcome.images == 2 * 3 * 280 + 280 + sum(batches[:looked])


class RunsAway(Strategy):
    """Replica 1's biases of outputs that do not compete begin at 1, and grow at each step."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def begin(self, learner: Learner) -> Tensor:
        if learner.task == 1:
            learner.parameters["head.bias"][1, 0, silent(learner)] = 1.0
        return super().begin(learner)

    def after_step(self, learner: Learner) -> None:
        if learner.task == 1:
            learner.parameters["head.bias"][1, 0, silent(learner)] *= self.factor


def silent(learner: Learner) -> Tensor:
    assert learner.competing is not None
    return ~learner.competing[1, learner.task]


@pytest.mark.usefixtures("look")
@pytest.mark.parametrize(
    ("factor", "steps", "step"),
    [
        *((10.0, 20, 7), (-10.0, 20, 7), (2.0, 20, 15), (1.7, 20, 19), (float("nan"), 20, 3)),
        *((1.7, 18, 18), (1.7, 17, None), (1.0, 20, None), (1.5, 20, None)),
    ],
)
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_what_the_loss_of_the_task_does_not_see(
    learnable: Callable[..., Dataset],
    spy: Callable[..., Any],
    momentum: float,
    factor: float,
    steps: int,
    step: int | None,
) -> None:
    """Tasks compete for their own outputs alone: others are in no loss, whatever they become.

    The bias is multiplied after each step: 10^5, 2^14 and 1.7^18 are the first beyond the bound,
    1.5^20 stays within it. Looks come after every fourth step, and after the last.
    """
    dataset = learnable(1, 4, 70, 6)
    streams = [split(dataset, 3, seed=s, scenario="task") for s in SEEDS]
    streams = [
        s._replace(tasks=tuple(t._replace(train=t.train[:16]) for t in s.tasks)) for s in streams
    ]
    watches = spy(RunsAway(factor)), spy(RunsAway(1.0))
    budget = Budget(steps, 16, 0.05, momentum)
    outcome, calm = (train(streams, MLP(16, [9], 6), watch, SEEDS, budget) for watch in watches)
    assert outcome.divergences == (() if step is None else (Divergence(1, 1, step, 0.05),))
    assert np.isfinite(outcome.accuracy[1, 0, 0])
    seen = np.isfinite(outcome.accuracy[1, 1, :2])
    assert seen.all() if step is None else not seen.any()
    if step is not None:
        for name, values in watches[0].after[1].items():
            assert values[1].equal(watches[0].after[0][name][1])
    np.testing.assert_array_equal(outcome.accuracy[[0, 2]], calm.accuracy[[0, 2]])
    np.testing.assert_array_equal(outcome.drift[[0, 2]], calm.drift[[0, 2]])


class Blinks(Strategy):
    """Has the loss of replica 1 not finite in the second step of the first task alone."""

    def __init__(self) -> None:
        self.step = 0
        self.sound: Parameters = {}

    def after_step(self, learner: Learner) -> None:
        if self.step == 0:
            self.sound = {n: p[1].clone() for n, p in learner.parameters.items()}
        if self.step < 2:
            for n, p in learner.parameters.items():
                p[1] = torch.nan if self.step == 0 else self.sound[n]
        self.step += 1


@pytest.mark.usefixtures("look")
def test_one_loss_that_is_not_finite_is_enough(gray: Dataset) -> None:
    network, steps = MLP(16, [9], 4), Steps()
    outcome = run(gray, [0.05] * 3, Blinks(), network, [steps], **LONG)
    assert outcome.divergences == (Divergence(1, 0, 1, 0.05),)
    for name, start in network.initialize(SEEDS, torch.device("cpu")).items():
        path = steps.path(0)[name][:, 1]
        assert path[1:3].isfinite().all()
        assert not path[1].equal(start[1])
        assert all(at.equal(start[1]) for at in path[3:])


@pytest.mark.usefixtures("look")
def test_running_statistics_are_put_back_too(gray: Dataset) -> None:
    network, steps = ResNet18(1, 4, width=2), Steps()
    run(gray, [0.01, HUGE, 0.01], None, network, [steps], **LONG)
    start = network.initialize(SEEDS, torch.device("cpu"))
    assert any(not path[2, 1].isfinite().all() for path in steps.path(0).values())
    for task, first in ((0, 3), (1, 0), (2, 0)):
        for name, path in steps.path(task).items():
            assert all(at.equal(start[name][1]) for at in path[first:, 1])
            assert path[:, [0, 2]].isfinite().all()


class Begun(Strategy):
    """Keeps which tasks arrived, and which were finished."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.finished: list[int] = []

    def begin(self, learner: Learner) -> Tensor:
        self.begun.append(learner.task)
        return super().begin(learner)

    def finish(self, learner: Learner) -> None:
        self.finished.append(learner.task)


@pytest.mark.usefixtures("look")
def test_a_run_ends_when_all_have_diverged(gray: Dataset) -> None:
    network, strategy = Counting(16, [9], 4), Begun()
    outcome = run(gray, [HUGE] * 3, strategy, network, **LONG)
    assert len(network.trained) == 4
    assert outcome.images == 3 * 4 * 16
    assert strategy.begun == strategy.finished == [0]
    assert [(d.replica, d.task, d.step) for d in outcome.divergences] == [
        (r, 0, 1) for r in range(3)
    ]
    assert outcome.accuracy.shape == (3, 3, 3)
    assert np.isnan(outcome.accuracy).all()


@pytest.mark.usefixtures("look")
def test_a_run_ends_when_the_last_one_has_diverged(gray: Dataset) -> None:
    """Two at once, the third in a later task."""
    network, strategy = Counting(16, [9], 4), Pushed(1, 5)
    outcome = run(gray, [HUGE, 0.05, HUGE], strategy, network, **LONG)
    assert len(network.trained) == 20 + 8
    assert [(d.replica, d.task, d.step) for d in outcome.divergences] == [
        (0, 0, 1),
        (1, 1, 6),
        (2, 0, 1),
    ]
    assert outcome.images == 2 * 64 + 280 + (70 + 3 * 16)


def test_it_is_looked_for_every_fifty_steps(gray: Dataset) -> None:
    network = Counting(16, [9], 4)
    outcome = run(gray, [HUGE] * 3, None, network, epochs=2, batch=2)
    assert len(network.trained) == 50
    # 70 samples in batches of 2: each of the steps has a full one.
    assert outcome.images == 3 * 50 * 2


# ------------------------------------------------------------------ replicas that idle


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("strategy", [Strategy, Pushed])
@pytest.mark.parametrize("kind", ["mlp", "resnet"])
def test_a_replica_without_samples_left_waits_as_it_is(
    color: Dataset,
    uneven: Callable[..., list[Stream]],
    kind: str,
    strategy: Callable[[], Strategy],
    optimizer: str,
) -> None:
    """Replica 1 has 3 steps an epoch, replica 2 has one: of 10 steps they take 6 and 2."""
    streams, steps = uneven(color, SEEDS, [70, 34, 9]), Steps()
    network: Network = MLP(192, [9], 4) if kind == "mlp" else ResNet18(3, 4, width=2)
    budget = Budget(2, 16, 0.02, **OPTIMIZERS[optimizer])
    outcome = train(streams, network, strategy(), SEEDS, budget, observers=[steps])
    assert outcome.images == 2 * 3 * (70 + 34 + 9)
    for task in range(3):
        for path in steps.path(task).values():
            assert len(path) == 10
            for r, last in enumerate([10, 6, 2]):
                for s in range(1, 10):
                    assert path[s - 1, r].equal(path[s, r]) == (s >= last)
