"""What `train` measures on the way: accuracies, drifts, gradients."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clcore.networks import MLP, Network, Parameters, ResNet18, path
from clcore.seeds import generator
from clcore.strategies import Strategy
from clcore.streams import Dataset, Stream, permuted, split
from clcore.training import Budget, Run, View, train

SEEDS = [3, 4, 5]
BUDGET = Budget(1, 16, 0.05)
CPU = torch.device("cpu")
TRAINING = import_module("clcore.training.run")


def mlp_logits(parameters: Parameters, r: int, images: torch.Tensor, head: int) -> torch.Tensor:
    for block in ("layer1", f"head{head}"):
        images = images @ parameters[f"{block}.weight"][r] + parameters[f"{block}.bias"][r]
        images = images.relu() if block == "layer1" else images
    return images


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluate in batches of 7, which divides no number of samples here."""
    monkeypatch.setattr(TRAINING, "EVALUATION_BATCH", 7)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("holdout", [0.0, 0.4])
def test_evaluate_against_one_image_at_a_time(
    learnable: Callable[..., Dataset], holdout: float
) -> None:
    dataset = learnable(1, 4)
    streams = [split(dataset, 2, seed=s, holdout=holdout) for s in SEEDS]
    streams[1] = streams[1]._replace(
        tasks=tuple(t._replace(test=t.test[:5]) for t in streams[1].tasks)
    )
    network: Network = MLP(16, [9], 2, heads=2)
    parameters = network.initialize(SEEDS, CPU)
    tasks = [s.tasks[1] for s in streams]
    found = Run(streams, network, SEEDS, dataset).accuracy(parameters, 1)
    for r, task in enumerate(tasks):
        judged = (dataset.train_images, dataset.train_labels) if holdout else (
            dataset.test_images, dataset.test_labels
        )  # fmt: skip
        right = 0
        for row in task.test.tolist():
            image = (judged[0][row].flatten().float() - dataset.mean) / dataset.deviation
            answer = int(mlp_logits(parameters, r, image, 1).argmax())
            right += answer == int(task.outputs[judged[1][row]])
        assert found[r].item() == pytest.approx(right / len(task.test), abs=1e-12)
    assert found.dtype == torch.float64


@pytest.mark.usefixtures("chunks")
def test_evaluation_of_images_with_channels(color: Dataset) -> None:
    streams = [permuted(color, [1.0], seed=s) for s in SEEDS]
    network: Network = ResNet18(3, 4, width=2)
    parameters = network.initialize(SEEDS, CPU)
    tasks = [s.tasks[1] for s in streams]
    found = Run(streams, network, SEEDS, color).accuracy(parameters, 1)
    for r, task in enumerate(tasks):
        view = View(color.test_images, color, [task], flat=False)
        one = {n: p[r : r + 1] for n, p in parameters.items()}
        logits, _ = network.forward(one, view.show(task.test[None]), 0)
        right = (logits[0].argmax(1) == color.test_labels).double().mean()
        assert found[r].item() == pytest.approx(right.item())


def test_outcome(gray: Dataset, spy: Callable[..., Any]) -> None:
    streams = [permuted(gray, [1.0, 0.5], seed=s) for s in SEEDS]
    network: Network = MLP(16, [9], 4)
    calls: list[tuple[int, int]] = []
    watch = spy()
    outcome = train(
        streams, network, watch, SEEDS, BUDGET, progress=lambda *done: calls.append(done)
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert outcome.images == 3 * 3 * 70
    assert outcome.divergences == ()
    assert outcome.notes == {}
    assert 0 < outcome.training_seconds <= outcome.seconds
    assert outcome.accuracy.shape == (3, 3, 3)
    known = np.tri(3, dtype=bool)
    assert np.isnan(outcome.accuracy[:, ~known]).all()
    for k in range(3):
        for i in range(k + 1):
            expected = Run(streams, network, SEEDS, gray).accuracy(watch.after[k], i)
            np.testing.assert_array_equal(outcome.accuracy[:, k, i], expected)
        for b, block in enumerate(path(network, 0)):
            for r in range(3):
                moved = [
                    (watch.after[k][f"{block}.{part}"][r] - watch.before[k][f"{block}.{part}"][r])
                    for part in ("weight", "bias")
                ]
                length = np.sqrt(sum(m.double().square().sum().item() for m in moved))
                assert outcome.drift[r, k, b] == pytest.approx(length, rel=1e-5)


def test_drift_of_the_last_block_is_that_of_the_head_of_the_task(gray: Dataset) -> None:
    streams = [split(gray, 2, seed=0)]
    outcome = train(streams, MLP(16, [9], 2, heads=2), Strategy(), [0], BUDGET)
    assert (outcome.drift > 0).all()


# ------------------------------------------------------------------ the gradient strategies see


def reference(
    network: Network, parameters: Parameters, stream: Stream, r: int, rows: torch.Tensor
) -> Parameters:
    """Return the gradient of the mean loss over rows of the first task, by autograd."""
    data, task = stream.dataset, stream.tasks[0]
    leaves = {n: p[r].clone().requires_grad_() for n, p in parameters.items()}
    images = (data.train_images[rows].flatten(1).float() - data.mean) / data.deviation
    logits = mlp_logits({n: v[None] for n, v in leaves.items()}, 0, images, 0)
    loss = F.cross_entropy(logits, task.outputs[data.train_labels[rows]])
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("limit", [2048, 20])
def test_gradient_against_autograd(
    gray: Dataset,
    uneven: Callable[..., list[Stream]],
    spy: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
) -> None:
    """Of all samples, or of those that the replica's own generator draws."""
    monkeypatch.setattr(TRAINING, "PROBE_SAMPLES", limit)
    counts = [70, 33, 9]
    streams = uneven(gray, SEEDS, counts)
    network: Network = MLP(16, [9], 4)
    watch = spy()
    train(streams, network, watch, SEEDS, BUDGET)
    for r, seed in enumerate(SEEDS):
        order = torch.randperm(counts[r], generator=generator(seed, "probe", 0))[:limit]
        rows = streams[r].tasks[0].train[order]
        expected = reference(network, watch.before[0], streams[r], r, rows)
        assert watch.gradients[0].keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(watch.gradients[0][name][r], value, rtol=1e-4, atol=1e-6)


def test_gradient_concerns_the_head_of_the_task(gray: Dataset, spy: Callable[..., Any]) -> None:
    watch = spy()
    train([split(gray, 2, seed=0)], MLP(16, [9], 2, heads=2), watch, [0], BUDGET)
    names = [{n.partition(".")[0] for n in g} for g in watch.gradients]
    assert names == [{"layer1", "head0"}, {"layer1", "head1"}]


def test_gradient_moves_no_running_statistics(color: Dataset, spy: Callable[..., Any]) -> None:
    """`Spy.begin` compares all values before and after it asks for the gradient."""
    watch = spy()
    train([permuted(color, [], seed=0)], ResNet18(3, 4, width=2), watch, [0], BUDGET)
    assert not any(n.endswith((".mean", ".variance")) for n in watch.gradients[0])
