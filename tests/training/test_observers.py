"""Each observer against a judge written here, one replica and one image set at a time."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clcore.errors import InputError
from clcore.networks import MLP, Parameters, ResNet18
from clcore.strategies import Frozen, Strategy
from clcore.streams import Dataset, Stream, permuted, split
from clcore.training import (
    Budget,
    ForwardAccuracy,
    FunctionDrift,
    GradientCosines,
    MagnitudeCurve,
    Moment,
    Observer,
    RelativeDrift,
    Trajectory,
    train,
)

SEEDS = [3, 4, 5]
GAINS = [0.0, 0.3, 1.0, 1.5]
BUDGET = Budget(2, 16, 0.1)  # 70 samples: 5 steps an epoch, 10 a task
TASKS = 3


class Recorder(Observer):
    """Keeps the parameters after each step, counting steps on its own."""

    every = 1

    def __init__(self) -> None:
        self.steps: list[list[Parameters]] = [[] for _ in range(TASKS)]

    def after_step(self, moment: Moment) -> None:
        self.steps[moment.task].append({n: p.clone() for n, p in moment.parameters.items()})


def units_for(stream: Stream, i: int, arrived: int) -> list[int]:
    """Return the units that compete for images of task i when task `arrived` is the last."""
    own = [sorted(set(task.outputs.tolist()) - {-1}) for task in stream.tasks]
    if stream.scenario == "task":
        return own[i]
    seen = own[: arrived + 1] if stream.scenario == "class" else own
    return sorted(set().union(*seen))


def logits(
    parameters: Parameters, r: int, images: torch.Tensor, units: list[int] | slice
) -> torch.Tensor:
    hidden = (images @ parameters["layer1.weight"][r] + parameters["layer1.bias"][r]).relu()
    weight, bias = parameters["head.weight"][r], parameters["head.bias"][r]
    return hidden @ weight[:, units] + bias[:, units]


def shown(stream: Stream, k: int, train_part: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images of a task as its network sees them, and their output units."""
    data, task = stream.dataset, stream.tasks[k]
    images, labels, rows = (
        (data.train_images, data.train_labels, task.train)
        if train_part
        else (data.test_images, data.test_labels, task.test)
    )
    flat = (images[rows].flatten(1).float() - data.mean) / data.deviation
    order = torch.arange(flat.shape[1]) if task.pixels is None else task.pixels
    return flat[:, order], task.outputs[labels[rows]]


def judge(parameters: Parameters, r: int, stream: Stream, i: int, arrived: int) -> float:
    images, labels = shown(stream, i, train_part=False)
    units = units_for(stream, i, arrived)
    answers = torch.tensor(units)[logits(parameters, r, images, units).argmax(1)]
    return (answers == labels).double().mean().item()


def streams_of(dataset: Dataset, kind: str) -> tuple[list[Stream], MLP]:
    if kind == "all outputs":
        streams = [permuted(dataset, [1.0, 0.4], seed=s) for s in SEEDS]
    else:
        scenario = {"own outputs": "task", "seen outputs": "class"}[kind]
        streams = [split(dataset, 2, seed=s, scenario=scenario) for s in SEEDS]
    return streams, MLP(16, [9], 4)


@pytest.fixture(params=["all outputs", "own outputs", "seen outputs"])
def run(request: pytest.FixtureRequest, gray: Dataset, spy: Callable[..., Any]) -> Any:
    """Train under all observers; return what the tests compare."""
    streams, network = streams_of(gray, request.param)
    watch, recorder = spy(), Recorder()
    observers = [
        MagnitudeCurve(GAINS),
        RelativeDrift(),
        FunctionDrift(),
        GradientCosines(),
        ForwardAccuracy(),
        Trajectory(3, 5),
        recorder,
    ]
    outcome = train(streams, network, watch, SEEDS, BUDGET, observers=observers)
    return SimpleNamespace(
        streams=streams,
        network=network,
        watch=watch,
        recorder=recorder,
        outcome=outcome,
        seen=outcome.observed,
        tasks=len(streams[0].tasks),
    )


def test_watching_changes_nothing(run: Any) -> None:
    alone = train(run.streams, run.network, Strategy(), SEEDS, BUDGET)
    np.testing.assert_array_equal(alone.accuracy, run.outcome.accuracy)
    np.testing.assert_array_equal(alone.drift, run.outcome.drift)
    assert alone.observed == {}


# ----------------------------------------------------------------------------- magnitude curves


def test_curve_ends_are_rows_of_the_accuracy_matrix(run: Any) -> None:
    curve, accuracy = run.seen["magnitude_curve"], run.outcome.accuracy
    assert curve.shape == (3, run.tasks, len(GAINS), run.tasks)
    for k in range(run.tasks):
        np.testing.assert_array_equal(curve[:, k, GAINS.index(1.0)], accuracy[:, k])
        # A class that arrives is one more that earlier images may be taken for.
        if k and run.streams[0].scenario != "class":
            np.testing.assert_array_equal(curve[:, k, 0, :k], accuracy[:, k - 1, :k])
        assert np.isnan(curve[:, k, :, k + 1 :]).all()


def test_curve_against_the_judge(run: Any) -> None:
    for k in range(run.tasks):
        before, after = run.watch.before[k], run.watch.after[k]
        for g, gain in enumerate(GAINS):
            state = {n: before[n] + gain * (after[n] - before[n]) for n in after}
            for r, stream in enumerate(run.streams):
                expected = [judge(state, r, stream, i, k) for i in range(k + 1)]
                found = run.seen["magnitude_curve"][r, k, g, : k + 1]
                # An answer on the boundary may turn by rounding: at most one image.
                np.testing.assert_allclose(found, expected, atol=1.5 / len(stream.tasks[0].test))


def test_best_gain_by_brute_force(run: Any) -> None:
    for r in range(3):
        for k in range(run.tasks):
            best, top = None, -1.0
            for g, gain in enumerate(GAINS):
                score = sum(run.seen["magnitude_curve"][r, k, g, i] for i in range(k + 1))
                if score > top + 1e-9:
                    best, top = gain, score
            assert run.seen["best_gain"][r, k] == best


def along(table: list[list[float]]) -> Any:
    """Return a moment whose one parameter is the gain (0, 1, 2, …), judged by a table."""
    return SimpleNamespace(
        before={"a.weight": torch.zeros(1, 1)},
        parameters={"a.weight": torch.ones(1, 1)},
        replicas=1,
        task=len(table[0]) - 1,
        tasks=len(table[0]),
        accuracy=lambda state, i: torch.tensor(
            [table[round(state["a.weight"].item())][i]], dtype=torch.float64
        ),
    )


def test_the_smallest_of_equal_gains_is_best() -> None:
    # 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ in floating point.
    assert 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1
    for one, other in (([0.1, 0.2, 0.3], [0.3, 0.2, 0.1]), ([0.3, 0.2, 0.1], [0.1, 0.2, 0.3])):
        found = MagnitudeCurve([0, 1, 2]).after_task(along([[0.0, 0.0, 0.5], one, other]))
        assert found["best_gain"].tolist() == [1.0]


def test_running_statistics_stay_between_their_ends(color: Dataset) -> None:
    network = ResNet18(3, 4, width=2)
    before, after = (network.initialize([s], torch.device("cpu")) for s in (0, 1))
    after = {n: 0.1 * p if n.endswith(".variance") else p for n, p in after.items()}
    states: list[Parameters] = []
    moment: Any = SimpleNamespace(
        before=before,
        parameters=after,
        replicas=1,
        task=0,
        tasks=1,
        accuracy=lambda state, i: states.append(state) or torch.zeros(1, dtype=torch.float64),
    )
    MagnitudeCurve([0.5, 2.0]).after_task(moment)
    name = "stem.conv.variance"
    torch.testing.assert_close(states[0][name], 0.55 * before[name])
    torch.testing.assert_close(states[1][name], after[name])
    torch.testing.assert_close(
        states[1]["stem.conv.weight"], 2 * after["stem.conv.weight"] - before["stem.conv.weight"]
    )


@pytest.mark.parametrize(
    "gains", [[], [1.0], [1.0, 0.0], [0.0, 0.0, 1.0], [-0.1, 1.0], [0.0, float("nan")]]
)
def test_bad_gains(gains: list[float]) -> None:
    with pytest.raises(InputError, match="give at least two, ascending, from 0 on"):
        MagnitudeCurve(gains)


# ------------------------------------------------------------------------------------- drifts


def test_relative_drift_against_numpy(run: Any) -> None:
    for k in range(run.tasks):
        before, after = run.watch.before[k], run.watch.after[k]
        for b, block in enumerate(run.network.blocks):
            for r in range(3):
                one, other = (
                    np.concatenate([p[f"{block}.{w}"][r].ravel() for w in ("weight", "bias")])
                    for p in (before, after)
                )
                expected = np.linalg.norm(other - one) / np.linalg.norm(one)
                assert run.seen["relative_drift"][r, k, b] == pytest.approx(expected, rel=1e-5)


def test_function_drift_against_the_judge(run: Any) -> None:
    found = run.seen["function_drift"]
    assert found.shape == (3, run.tasks, run.tasks)
    for k in range(run.tasks):
        assert np.isnan(found[:, k, k:]).all()
        for i in range(k):
            for r, stream in enumerate(run.streams):
                images, _ = shown(stream, i, train_part=False)
                units = units_for(stream, i, k)
                old, new = (
                    logits(state, r, images, units).softmax(1).double().numpy()
                    for state in (run.watch.before[k], run.watch.after[k])
                )
                expected = np.mean(
                    [0.5 * np.abs(q - p).sum() for p, q in zip(old, new, strict=True)]
                )
                assert found[r, k, i] == pytest.approx(expected, abs=1e-6)
    assert np.nanmin(found) > 1e-3


def test_function_drift_by_hand() -> None:
    # ½(|0.9 − 0.5| + |0.1 − 0.5|) = 0.4 and ½(1 + 1) = 1: 0.7 in the mean.
    answers = {
        "before": torch.tensor([[[0.9, 0.1], [1.0, 0.0]]]),
        "after": torch.tensor([[[0.5, 0.5], [0.0, 1.0]]]),
    }
    moment: Any = SimpleNamespace(
        before="before",
        parameters="after",
        replicas=1,
        task=1,
        tasks=2,
        outputs=lambda state, i: answers[state],
    )
    found = FunctionDrift().after_task(moment)["function_drift"]
    assert found[0, 0].item() == pytest.approx(0.7)


def test_a_frozen_body_leaves_old_outputs_alone(gray: Dataset) -> None:
    streams, network = streams_of(gray, "own outputs")
    outcome = train(streams, network, Frozen(1), SEEDS, BUDGET, observers=[FunctionDrift()])
    assert (outcome.observed["function_drift"][:, 1, 0] == 0).all()


# ---------------------------------------------------------------------------------- gradients


def test_gradients_against_autograd(run: Any) -> None:
    cosines, norms = run.seen["gradient_cosines"], run.seen["gradient_norms"]
    assert cosines.shape == (3, run.tasks, 2, run.tasks, run.tasks)
    assert norms.shape == (3, run.tasks, 2, run.tasks)
    for k in range(run.tasks):
        for r, stream in enumerate(run.streams):
            expected = [slopes(run.watch.before[k], r, stream, i, k) for i in range(k + 1)]
            for b, block in enumerate(("layer1", "head")):
                for i in range(k + 1):
                    one = expected[i][block]
                    assert norms[r, k, b, i] == pytest.approx(np.linalg.norm(one), rel=1e-4)
                    for j in range(k + 1):
                        other = expected[j][block]
                        angle = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
                        assert cosines[r, k, b, i, j] == pytest.approx(angle, abs=1e-4)
        assert np.isnan(cosines[:, k, :, k + 1 :]).all()
        assert np.isnan(cosines[:, k, :, :, k + 1 :]).all()
        assert np.isnan(norms[:, k, :, k + 1 :]).all()
    if run.streams[0].scenario == "task":
        assert (cosines[:, 1, 1, 0, 1] == 0).all()  # outputs of their own: nothing in common


def slopes(
    parameters: Parameters, r: int, stream: Stream, i: int, arrived: int
) -> dict[str, np.ndarray]:
    """Return the gradient of a task's mean training loss, a vector a block, by autograd."""
    images, labels = shown(stream, i, train_part=True)
    units = units_for(stream, i, arrived)
    leaves = {n: p[[r]].clone().requires_grad_() for n, p in parameters.items()}
    answers = logits(leaves, 0, images, units)
    F.cross_entropy(answers, torch.tensor([units.index(u) for u in labels.tolist()])).backward()
    return {
        block: np.concatenate([leaves[f"{block}.{w}"].grad.ravel() for w in ("weight", "bias")])
        for block in ("layer1", "head")
    }


# ------------------------------------------------------------------------------ before a task


def test_forward_accuracy_against_the_judge(run: Any) -> None:
    for r, stream in enumerate(run.streams):
        for k in range(run.tasks):
            arrival = judge(run.watch.before[k], r, stream, k, k)
            initial = judge(run.watch.before[0], r, stream, k, k)
            assert run.seen["arrival_accuracy"][r, k] == pytest.approx(arrival, abs=1e-12)
            assert run.seen["initial_accuracy"][r, k] == pytest.approx(initial, abs=1e-12)


def test_forward_accuracy_begins_anew_with_each_run(gray: Dataset) -> None:
    observer = ForwardAccuracy()
    streams, network = streams_of(gray, "all outputs")
    for seeds in ([7, 8, 9], SEEDS):
        outcome = train(streams, network, Strategy(), seeds, BUDGET, observers=[observer])
    fresh = train(streams, network, Strategy(), SEEDS, BUDGET, observers=[ForwardAccuracy()])
    for name, values in fresh.observed.items():
        np.testing.assert_array_equal(outcome.observed[name], values)


# -------------------------------------------------------------------------------- trajectories


def test_trajectory_against_recorded_steps(run: Any) -> None:
    norms, scores = run.seen["update_norm"], run.seen["accuracy_within"]
    blocks = len(run.network.blocks)
    assert norms.shape == (3, run.tasks, 5, blocks)
    assert scores.shape == (3, run.tasks, 5, run.tasks)
    for k in range(run.tasks):
        points = run.recorder.steps[k][2::3]  # after steps 3, 6, 9
        # Tasks of two of the four classes have half the samples: 6 steps, 2 points.
        assert len(points) == (2 if run.tasks == 2 else 3)
        assert np.isnan(norms[:, k, len(points) :]).all()
        assert np.isnan(scores[:, k, len(points) :]).all()
        assert np.isnan(scores[:, k, :, k + 1 :]).all()
        for p, state in enumerate(points):
            for r, stream in enumerate(run.streams):
                for i in range(k + 1):
                    assert scores[r, k, p, i] == pytest.approx(judge(state, r, stream, i, k))
                for b, block in enumerate(run.network.blocks):
                    moves = [
                        (state[f"{block}.{w}"][r] - run.watch.before[k][f"{block}.{w}"][r]).ravel()
                        for w in ("weight", "bias")
                    ]
                    expected = np.linalg.norm(np.concatenate(moves))
                    assert norms[r, k, p, b] == pytest.approx(expected, rel=1e-5)


def test_trajectory_against_a_run_cut_short(gray: Dataset) -> None:
    """After five steps a run of two epochs stands where a run of one epoch ends."""
    streams, network = streams_of(gray, "all outputs")
    whole = train(streams, network, Strategy(), SEEDS, BUDGET, observers=[Trajectory(5, 1)])
    short = train(streams, network, Strategy(), SEEDS, BUDGET._replace(epochs=1))
    np.testing.assert_array_equal(
        whole.observed["accuracy_within"][:, 0, 0, 0], short.accuracy[:, 0, 0]
    )
    np.testing.assert_allclose(whole.observed["update_norm"][:, 0, 0], short.drift[:, 0], rtol=1e-9)


def test_trajectory_keeps_the_first_points_of_each_task(gray: Dataset) -> None:
    streams, network = streams_of(gray, "all outputs")
    few, many = (
        train(streams, network, Strategy(), SEEDS, BUDGET, observers=[Trajectory(2, points)])
        for points in (2, 5)
    )
    for name in ("update_norm", "accuracy_within"):
        np.testing.assert_array_equal(few.observed[name], many.observed[name][:, :, :2])


def test_a_task_without_a_point(gray: Dataset) -> None:
    streams, network = streams_of(gray, "all outputs")
    outcome = train(streams, network, Strategy(), SEEDS, BUDGET, observers=[Trajectory(99, 2)])
    assert np.isnan(outcome.observed["update_norm"]).all()
    assert outcome.observed["accuracy_within"].shape == (3, 3, 2, 3)


@pytest.mark.parametrize(("every", "points"), [(0, 1), (1, 0), (-2, 3)])
def test_bad_trajectory(every: int, points: int) -> None:
    with pytest.raises(InputError, match=f"every {every} steps, {points} points"):
        Trajectory(every, points)


# ---------------------------------------------------------------------------- diverged, uneven


def test_a_diverged_replica_has_no_measures(gray: Dataset) -> None:
    streams, network = streams_of(gray, "all outputs")
    budget = BUDGET._replace(learning_rate=[0.1, 1e30, 0.1])
    observers = [
        MagnitudeCurve(GAINS),
        RelativeDrift(),
        FunctionDrift(),
        GradientCosines(),
        ForwardAccuracy(),
        Trajectory(3, 3),
    ]
    outcome = train(streams, network, Strategy(), SEEDS, budget, observers=observers)
    assert [d.replica for d in outcome.divergences] == [1]
    assert len(outcome.observed) == 10
    for values in outcome.observed.values():
        assert np.isnan(values[1]).all()
        assert np.isfinite(values[[0, 2]]).any()


def test_replicas_with_fewer_images(
    gray: Dataset, uneven: Callable[..., list[Stream]], spy: Callable[..., Any]
) -> None:
    streams = uneven(gray, SEEDS, [70, 33, 9])
    watch = spy()
    observers = [FunctionDrift(), MagnitudeCurve(GAINS)]
    outcome = train(streams, MLP(16, [9], 4), watch, SEEDS, BUDGET, observers=observers)
    np.testing.assert_array_equal(
        outcome.observed["magnitude_curve"][:, 2, 2], outcome.accuracy[:, 2]
    )
    for r, stream in enumerate(streams):
        images, _ = shown(stream, 0, train_part=False)
        old, new = (
            logits(state, r, images, slice(None)).softmax(1)
            for state in (watch.before[2], watch.after[2])
        )
        expected = 0.5 * (new - old).abs().sum(1).mean().item()
        assert outcome.observed["function_drift"][r, 2, 0] == pytest.approx(expected, abs=1e-6)


def test_the_probe_of_gradients_is_the_replicas_own(gray: Dataset) -> None:
    """A replica's angles are the same alone and among others."""
    streams, network = streams_of(gray, "all outputs")
    together = train(streams, network, Strategy(), SEEDS, BUDGET, observers=[GradientCosines()])
    alone = train(
        streams[1:2], network, Strategy(), SEEDS[1:2], BUDGET, observers=[GradientCosines()]
    )
    for name, values in alone.observed.items():
        np.testing.assert_allclose(together.observed[name][1:2], values, atol=1e-4)


def test_a_network_with_running_statistics(color: Dataset) -> None:
    streams = [permuted(color, [1.0], seed=s) for s in SEEDS]
    observers = [MagnitudeCurve([0.0, 0.5, 1.0]), RelativeDrift(), GradientCosines()]
    outcome = train(
        streams, ResNet18(3, 4, width=2), Strategy(), SEEDS, BUDGET, observers=observers
    )
    curve, accuracy = outcome.observed["magnitude_curve"], outcome.accuracy
    np.testing.assert_array_equal(curve[:, 1, 2], accuracy[:, 1])
    np.testing.assert_array_equal(curve[:, 1, 0, 0], accuracy[:, 0, 0])
    assert np.isfinite(outcome.observed["relative_drift"]).all()
    assert np.isfinite(outcome.observed["gradient_cosines"][:, 1]).all()
