"""What `train` measures on the way: accuracies, drifts, gradients, losses, Fisher information."""

import itertools
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clcore.networks import MLP, Network, Parameters, ResNet18
from clcore.seeds import generator
from clcore.streams import SCENARIOS, Dataset, Stream, permuted, split
from clcore.streams.batches import View
from clcore.training import Budget, Run, train
from tests.training.test_plain_loop import ExactResNet18

SEEDS = [3, 4, 5]
BUDGET = Budget(1, 16, 0.05)
CPU = torch.device("cpu")
TRAINING = import_module("clcore.training.run")


RATES = torch.full((3,), 0.05)


def mlp_logits(parameters: Parameters, r: int, images: torch.Tensor) -> torch.Tensor:
    for block in ("layer1", "head"):
        images = images @ parameters[f"{block}.weight"][r] + parameters[f"{block}.bias"][r]
        images = images.relu() if block == "layer1" else images
    return images


def arrived(streams: list[Stream], network: Network, task: int) -> Run:
    """Return the replicas when a task has arrived."""
    run = Run(streams, network, SEEDS, streams[0].dataset, RATES)
    run.arrive(task)
    return run


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluate in batches of 7, which divides no number of samples here."""
    monkeypatch.setattr(TRAINING, "EVALUATION_BATCH", 7)


def units_for(stream: Stream, k: int, arrived: int) -> list[int]:
    """Return the units that compete for images of task k: two classes a task, in their order."""
    return {
        "task": [2 * k, 2 * k + 1],
        "domain": [0, 1],
        "class": list(range(2 * arrived + 2)),
    }[stream.scenario]


def test_more_replicas_than_fit_into_a_batch(
    gray: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = range(17)
    streams = [split(gray, 2, seed=s) for s in seeds]
    run = Run(streams, MLP(16, [9], streams[0].outputs), seeds, gray, torch.full((17,), 0.05))
    expected = run.accuracy(run.parameters, 0)
    monkeypatch.setattr(TRAINING, "EVALUATION_BATCH", 1)
    assert torch.equal(run.accuracy(run.parameters, 0), expected)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("holdout", [0.0, 0.4])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_evaluate_against_one_image_at_a_time(
    learnable: Callable[..., Dataset], scenario: str, holdout: float
) -> None:
    dataset = learnable(1, 4, 70, 6)
    streams = [split(dataset, 3, seed=s, holdout=holdout, scenario=scenario) for s in SEEDS]
    streams[1] = streams[1]._replace(
        tasks=tuple(t._replace(test=t.test[:5]) for t in streams[1].tasks)
    )
    network: Network = MLP(16, [9], streams[0].outputs)
    parameters = network.initialize(SEEDS, CPU)
    parameters["head.weight"] *= 3
    judged = (
        (dataset.train_images, dataset.train_labels)
        if holdout
        else (dataset.test_images, dataset.test_labels)
    )
    for arriving, k in itertools.product(range(3), range(3)):
        run = arrived(streams, network, arriving)
        found, outputs = run.accuracy(parameters, k), run.outputs(parameters, k)
        assert found.dtype == torch.float64
        for r, stream in enumerate(streams):
            right, task, units = 0, stream.tasks[k], units_for(stream, k, arriving)
            for n, row in enumerate(task.test.tolist()):
                image = (judged[0][row].flatten().float() - dataset.mean) / dataset.deviation
                left = mlp_logits(parameters, r, image)[0, units]
                right += units[int(left.argmax())] == int(task.outputs[judged[1][row]])
                if n < outputs.shape[1]:
                    expected = torch.zeros(stream.outputs)
                    expected[units] = left.softmax(0)
                    torch.testing.assert_close(outputs[r, n], expected, rtol=1e-4, atol=1e-6)
            assert found[r].item() == pytest.approx(right / len(task.test), abs=1e-12)
            assert outputs[r, len(task.test) :].isnan().all()


@pytest.mark.usefixtures("chunks")
def test_evaluation_of_images_with_channels(color: Dataset) -> None:
    streams = [permuted(color, [1.0], seed=s) for s in SEEDS]
    network: Network = ResNet18(3, 4, width=2)
    parameters = network.initialize(SEEDS, CPU)
    tasks = [s.tasks[1] for s in streams]
    found = arrived(streams, network, 1).accuracy(parameters, 1)
    for r, task in enumerate(tasks):
        view = View(color.test_images, color, [(task,)], flat=False)
        one = {n: p[r : r + 1] for n, p in parameters.items()}
        logits, _ = network.forward(one, view.show(task.test[None], 0))
        right = (logits[0].argmax(1) == color.test_labels).double().mean()
        assert found[r].item() == pytest.approx(right.item())


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("special", ["none", "holdout", "noise", "black"])
@pytest.mark.parametrize("name", ["gray", "color"])
def test_evaluation_of_permuted_images(
    name: str, special: str, request: pytest.FixtureRequest
) -> None:
    """Whether all replicas judge the same images in orders of their own, or not."""
    dataset: Dataset = request.getfixturevalue(name)
    streams = [
        permuted(dataset, [1.0], seed=s, holdout=0.3 if special == "holdout" else 0) for s in SEEDS
    ]
    changed = [stream.tasks[1] for stream in streams]
    if special == "noise":
        changed = [task._replace(noise=60.0) for task in changed]
    if special == "black":
        changed[1].pixels[:5] = -1
    streams = [s._replace(tasks=(s.tasks[0], t)) for s, t in zip(streams, changed, strict=True)]
    judged = dataset.train_images if special == "holdout" else dataset.test_images
    labels = dataset.train_labels if special == "holdout" else dataset.test_labels
    network: Network = MLP(dataset.train_images[0].numel(), [9], 4)
    parameters = network.initialize(SEEDS, CPU)
    found = arrived(streams, network, 1).accuracy(parameters, 1)
    for r, task in enumerate(changed):
        view = View(judged, dataset, [(task,)], flat=True, noise_seed=len(judged))
        shown = view.show(task.test[None], 0)[0]
        right = mlp_logits(parameters, r, shown).argmax(1) == labels[task.test]
        assert found[r].item() == pytest.approx(right.double().mean().item(), abs=1e-12)


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
            expected = arrived(streams, network, k).accuracy(watch.after[k], i)
            np.testing.assert_array_equal(outcome.accuracy[:, k, i], expected)
        for b, block in enumerate(network.blocks):
            for r in range(3):
                moved = [
                    (watch.after[k][f"{block}.{part}"][r] - watch.before[k][f"{block}.{part}"][r])
                    for part in ("weight", "bias")
                ]
                length = np.sqrt(sum(m.double().square().sum().item() for m in moved))
                assert outcome.drift[r, k, b] == pytest.approx(length, rel=1e-5)


OPTIMIZERS = {
    "sgd": BUDGET,
    "momentum": BUDGET._replace(momentum=0.9),
    "adam": BUDGET._replace(optimizer="adam"),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("scenario", ["task", "class"])
def test_outputs_that_do_not_compete_stay(
    learnable: Callable[..., Dataset], spy: Callable[..., Any], scenario: str, optimizer: str
) -> None:
    """Those of other tasks in the one scenario, those of tasks to come in the other."""
    dataset = learnable(1, 4, 70, 6)
    streams = [split(dataset, 3, seed=s, scenario=scenario) for s in SEEDS]
    watch = spy()
    outcome = train(streams, MLP(16, [9], 6), watch, SEEDS, OPTIMIZERS[optimizer])
    assert (outcome.drift > 0).all()
    for k in range(3):
        moved = set(units_for(streams[0], k, k))
        for name in ("head.weight", "head.bias"):
            before, after = watch.before[k][name], watch.after[k][name]
            for unit in range(6):
                stays = before[..., unit].equal(after[..., unit])
                assert stays == (unit not in moved)


# ------------------------------------------------------------------ the gradient strategies see


def reference(
    network: Network, parameters: Parameters, stream: Stream, r: int, rows: torch.Tensor
) -> Parameters:
    """Return the gradient of the mean loss over rows of the first task, by autograd."""
    data, task = stream.dataset, stream.tasks[0]
    leaves = {n: p[r].clone().requires_grad_() for n, p in parameters.items()}
    images = (data.train_images[rows].flatten(1).float() - data.mean) / data.deviation
    logits = mlp_logits({n: v[None] for n, v in leaves.items()}, 0, images)
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


@pytest.mark.parametrize("scenario", ["task", "class"])
def test_gradient_concerns_the_outputs_that_compete(
    gray: Dataset, spy: Callable[..., Any], scenario: str
) -> None:
    watch = spy()
    streams = [split(gray, 2, seed=0, scenario=scenario)]
    train(streams, MLP(16, [9], 4), watch, [0], BUDGET)
    for k, gradient in enumerate(watch.gradients):
        assert list(gradient) == ["layer1.weight", "layer1.bias", "head.weight", "head.bias"]
        own = units_for(streams[0], k, k)
        others = [unit for unit in range(4) if unit not in own]
        for name in ("head.weight", "head.bias"):
            assert (gradient[name][..., others] == 0).all()
            assert (gradient[name][..., own] != 0).any(2).all()


def test_gradient_moves_no_running_statistics(color: Dataset, spy: Callable[..., Any]) -> None:
    """`Spy.begin` compares all values before and after it asks for the gradient."""
    watch = spy()
    train([permuted(color, [], seed=0)], ResNet18(3, 4, width=2), watch, [0], BUDGET)
    assert not any(n.endswith((".mean", ".variance")) for n in watch.gradients[0])


# ------------------------------------------------------------------ whatever a learner is asked

COUNTS = [70, 33, 9]
KINDS = ["permuted", *(f"split, {scenario}" for scenario in SCENARIOS)]


def learner(
    learnable: Callable[..., Dataset], kind: str, train: int = 70, sure: float = 5.0
) -> tuple[list[Stream], Run]:
    """Return streams, and their replicas when the second of three tasks has arrived.

    Replicas have different samples, and numbers of samples. They are sure of some answers if
    their head is large.
    """
    dataset = learnable(1, 4, train, 6)
    streams = []
    for seed, count in zip(SEEDS, COUNTS, strict=True):
        if kind == "permuted":
            stream = permuted(dataset, [1.0, 0.5], seed=seed)
        else:
            stream = split(dataset, 3, seed=seed, scenario=kind.partition(", ")[2])
        if train == 70:
            tasks = tuple(t._replace(train=t.train[:count]) for t in stream.tasks)
            stream = stream._replace(tasks=tasks)
        streams.append(stream)
    run = arrived(streams, MLP(16, [9], streams[0].outputs), 1)
    run.parameters["head.weight"] *= sure
    return streams, run


def allowed(stream: Stream, k: int) -> list[int]:
    return list(range(6)) if stream.name == "permuted" else units_for(stream, k, 1)


def shown(stream: Stream, row: int, k: int) -> tuple[torch.Tensor, int]:
    """Return a training image as task k shows it, and its unit."""
    data, task = stream.dataset, stream.tasks[k]
    image = (data.train_images[row].flatten().float() - data.mean) / data.deviation
    image = image if task.pixels is None else image[task.pixels]
    return image, int(task.outputs[data.train_labels[row]])


def probe(stream: Stream, seed: int) -> list[int]:
    """Return the rows that a replica's questions about the second task look at, in order."""
    rows = stream.tasks[1].train
    return rows[torch.randperm(len(rows), generator=generator(seed, "probe", 1))].tolist()


def loss_of(
    leaves: Parameters, stream: Stream, image: torch.Tensor, unit: int, k: int
) -> torch.Tensor:
    """Return the loss of one image for one replica, whose parameters have no replica axis."""
    units = allowed(stream, k)
    left = mlp_logits({n: v[None] for n, v in leaves.items()}, 0, image)[:, units]
    return F.cross_entropy(left, torch.tensor([units.index(unit)]))


def leaves_of(run: Run, r: int) -> Parameters:
    return {n: p[r].clone().requires_grad_() for n, p in run.parameters.items()}


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("kind", KINDS)
def test_loss_against_one_image_at_a_time(learnable: Callable[..., Dataset], kind: str) -> None:
    streams, run = learner(learnable, kind)
    elsewhere = {n: 0.5 * p for n, p in run.parameters.items()}
    for parameters in (run.parameters, elsewhere):
        found = run.loss(parameters)
        assert found.dtype == torch.float64
        for r, stream in enumerate(streams):
            own = {n: p[r] for n, p in parameters.items()}
            rows = stream.tasks[1].train.tolist()
            each = [loss_of(own, stream, *shown(stream, row, 1), 1).item() for row in rows]
            assert found[r].item() == pytest.approx(np.mean(each), rel=1e-5)


@pytest.mark.usefixtures("chunks")
def test_loss_rises_along_the_gradient(color: Dataset) -> None:
    """Both normalize by the batch: d loss(θ + t g) / dt = |g|², and statistics stay."""
    streams = []
    for seed, count in zip(SEEDS, COUNTS, strict=True):
        tasks = permuted(color, [], seed=seed).tasks
        cut = tuple(t._replace(train=t.train[:count]) for t in tasks)
        streams.append(permuted(color, [], seed=seed)._replace(tasks=cut))
    run = arrived(streams, ExactResNet18(3, 4, width=2), 0)
    before = {n: p.clone() for n, p in run.parameters.items()}
    g = run.gradient()
    step = 1e-7
    there, back = (
        run.loss(run.parameters | {n: run.parameters[n] + sign * step * v for n, v in g.items()})
        for sign in (1, -1)
    )
    square = torch.stack([v.flatten(1).square().sum(1) for v in g.values()]).sum(0)
    torch.testing.assert_close((there - back) / (2 * step), square, rtol=1e-4, atol=0)
    assert all(before[n].equal(p) for n, p in run.parameters.items())


def test_loss_keeps_nothing_for_a_backward_pass(color: Dataset) -> None:
    """Of one replica, which runs in this thread, where the hooks are."""
    run = Run([permuted(color, [], seed=0)], ResNet18(3, 4, width=2), [0], color, RATES[:1])
    run.arrive(0)
    graphs = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: graphs.append(1) or t, lambda t: t):
        run.loss(run.parameters)
        assert not graphs
        run.gradient()
    assert graphs


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_recalled_samples_against_autograd(
    learnable: Callable[..., Dataset], kind: str
) -> None:
    """Samples of two tasks, whose losses count differently."""
    streams, run = learner(learnable, kind)
    draws = torch.Generator().manual_seed(0)
    tasks = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 0]])
    weights = torch.rand((3, 4), generator=draws)
    rows, units = torch.zeros_like(tasks), torch.zeros_like(tasks)
    for r, n in itertools.product(range(3), range(4)):
        own = streams[r].tasks[int(tasks[r, n])].train
        rows[r, n] = own[int(torch.randint(len(own), (), generator=draws))]
        units[r, n] = shown(streams[r], int(rows[r, n]), int(tasks[r, n]))[1]
    batch = run.recall(rows, units, tasks, weights)
    assert list(batch.counts) == [4, 4, 4]
    before = {n: p.clone() for n, p in run.parameters.items()}
    found, answers = run.gradient(batch), run.logits(run.parameters, batch)
    assert all(before[n].equal(p) for n, p in run.parameters.items())
    for r, stream in enumerate(streams):
        leaves = leaves_of(run, r)
        losses = []
        for n in range(4):
            k = int(tasks[r, n])
            image, unit = shown(stream, int(rows[r, n]), k)
            torch.testing.assert_close(batch.images[r, n], image, rtol=1e-5, atol=1e-5)
            plain = mlp_logits(run.parameters, r, image)[0]
            torch.testing.assert_close(answers[r, n], plain, rtol=1e-4, atol=1e-5)
            losses.append(weights[r, n] * loss_of(leaves, stream, image, unit, k))
        expected = torch.autograd.grad(torch.stack(losses).sum(), list(leaves.values()))
        for name, value in zip(leaves, expected, strict=True):
            torch.testing.assert_close(found[name][r], value, rtol=1e-4, atol=1e-5)


def test_recalled_images_are_moved_as_the_replica_draws(color: Dataset) -> None:
    streams = [permuted(color, [1.0], seed=s) for s in SEEDS]
    network = ResNet18(3, 4, width=2)
    rows, ones = torch.tensor([[5, 6, 5, 7]] * 3), torch.ones(3, 4)
    tasks = torch.tensor([[0, 1, 0, 0]] * 3)
    found = []
    for augment in (False, True, True):
        run = Run(streams, network, SEEDS, color, RATES, augment)
        run.arrive(1)
        found.append([run.recall(rows, rows, tasks, ones).images for _ in range(2)])
    (still, also_still), (moved, later), (again, _) = found
    assert still.equal(also_still)
    assert moved.equal(again)
    for images in (still, later):
        assert not moved.equal(images)
    assert still[0, 0].equal(still[0, 2])
    assert not moved[0, 0].equal(moved[0, 2])
    assert not moved[0, 0].equal(moved[1, 0])


# ------------------------------------------------------------------ Fisher information


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("kind", KINDS)
def test_fisher_against_one_image_at_a_time(learnable: Callable[..., Dataset], kind: str) -> None:
    """With the signs that the replica's generator draws, drawn again here."""
    streams, run = learner(learnable, kind)
    found = run.fisher()
    for r, (stream, seed) in enumerate(zip(streams, SEEDS, strict=True)):
        draws = generator(seed, "fisher", 1)
        rows, units = probe(stream, seed), allowed(stream, 1)
        expected = {n: torch.zeros_like(p[r]) for n, p in run.parameters.items()}
        for part in torch.tensor(rows).split(TRAINING.EVALUATION_BATCH):
            coins = torch.randint(2, (len(part), stream.outputs), generator=draws)
            for row, signs in zip(part.tolist(), 2 * coins - 1, strict=True):
                image, _ = shown(stream, row, 1)
                leaves = leaves_of(run, r)
                chances = mlp_logits(run.parameters, r, image)[0, units].softmax(0)
                mixed = sum(
                    signs[unit] * chances[place].sqrt() * loss_of(leaves, stream, image, unit, 1)
                    for place, unit in enumerate(units)
                )
                slopes = torch.autograd.grad(mixed, list(leaves.values()))
                for n, g in zip(leaves, slopes, strict=True):
                    expected[n] += g**2 / len(rows)
        for name, value in expected.items():
            torch.testing.assert_close(found[name][r], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_fisher_of_the_head_against_its_closed_form(
    learnable: Callable[..., Dataset], kind: str
) -> None:
    """The head is a softmax regression on the hidden units h: its Fisher information is

    E h_i² p_j (1 − p_j) for the weight from i to j, and E p_j (1 − p_j) for the bias of j, over
    the images. Drawn signs leave a deviation, which all sign patterns together tell.
    """
    streams, run = learner(learnable, kind, train=2000, sure=2.0)
    found, largest, compared = run.fisher(), 0.0, 0
    for r, stream in enumerate(streams):
        units = allowed(stream, 1)
        rows = stream.tasks[1].train.tolist()
        images = torch.stack([shown(stream, row, 1)[0] for row in rows])
        weight, bias = (run.parameters[f"layer1.{part}"][r] for part in ("weight", "bias"))
        hidden = (images @ weight + bias).relu().double()
        hidden = torch.cat([hidden, torch.ones(len(rows), 1)], 1) ** 2  # the bias's input is 1
        p = mlp_logits(run.parameters, r, images)[:, units].double().softmax(1)
        signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=len(units))), dtype=p.dtype)
        roots = signs[:, None] * p.sqrt()  # (patterns, images, outputs)
        squares = (roots - p * roots.sum(2, keepdim=True)) ** 2
        torch.testing.assert_close(squares.mean(0), p * (1 - p))
        expected = hidden.T @ (p * (1 - p)) / len(rows)
        deviation = ((hidden**2).T @ squares.var(0, correction=0)).sqrt() / len(rows)
        ours = torch.cat([found["head.weight"][r], found["head.bias"][r]]).double()
        others = [unit for unit in range(stream.outputs) if unit not in units]
        assert (ours[:, others] == 0).all()
        alive = expected > 1e-6  # a hidden unit may never answer
        # Where the signs leave no deviation, rounding does.
        scores = ((ours[:, units] - expected) / (deviation + 1e-5 * expected))[alive]
        assert (deviation / expected)[alive].median() < 0.15, "too few images to tell"
        largest, compared = max(largest, scores.abs().max().item()), compared + len(scores)
    assert compared > 50
    assert largest < 5


def test_fisher_belongs_to_the_replica(learnable: Callable[..., Dataset]) -> None:
    streams, run = learner(learnable, "split, class")
    found = run.fisher()
    for r, (stream, seed) in enumerate(zip(streams, SEEDS, strict=True)):
        alone = Run([stream], run.network, [seed], stream.dataset, RATES[:1])
        alone.arrive(1)
        alone.parameters["head.weight"] *= 5
        for name, value in alone.fisher().items():
            torch.testing.assert_close(found[name][r], value[0], rtol=1e-4, atol=1e-6)


def test_fisher_of_a_network_with_running_statistics(color: Dataset) -> None:
    """It looks as evaluation does, and statistics stay."""
    streams = [permuted(color, [], seed=s) for s in SEEDS]
    run = arrived(streams, ResNet18(3, 4, width=2), 0)
    before = {n: p.clone() for n, p in run.parameters.items()}
    found = run.fisher()
    assert all(before[n].equal(p) for n, p in run.parameters.items())
    assert not any(n.endswith((".mean", ".variance")) for n in found)
    assert all((value >= 0).all() for value in found.values())
    # The bias of the head: p_j (1 − p_j), as drawn labels give it for 70 images.
    p = run.outputs(run.parameters, 0).double()
    assert found["head.bias"].double().sum(1).allclose((p * (1 - p)).sum(2).mean(1), rtol=0.3)
