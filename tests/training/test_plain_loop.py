"""`train` against a plain PyTorch loop: nn.Module, torch.optim, one replica, no stacking.

The loop shares with the engine the initial weights and the order of the samples, nothing else:
it normalizes in NumPy, indexes batches itself, has a head for each task where tasks have outputs
of their own, cuts off the outputs that were not seen yet where classes arrive one after the
other, and counts right answers itself. (Noisy images alone come from `View`, which has its own
test.)
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clcore.networks import MLP, Network, Parameters, ResNet18
from clcore.seeds import generator
from clcore.strategies import Joint
from clcore.streams import Dataset, Stream, corrupted, judged_on, permuted, rotated, split
from clcore.streams.batches import View
from clcore.streams.torchvision_import import torchvision_datasets
from clcore.training import Budget, train

SEED = 11
Given = Callable[[int, bool], tuple[Tensor, Tensor]]
"""(task, judged) → images and output units."""
Answers = Callable[[Tensor, int, int], Tensor]
"""(images, their task, the last task that arrived) → logits of all units that compete."""


def images_and_units(stream: Stream, k: int, judged: bool) -> tuple[Tensor, Tensor]:
    data, task = stream.dataset, stream.tasks[k]
    floats = data.train_images.numpy().astype(np.float64)
    mean, deviation = floats.mean((0, 2, 3)), floats.std((0, 2, 3))
    tests = judged and not stream.held_out
    pixels, labels = (
        (data.test_images, data.test_labels) if tests else (data.train_images, data.train_labels)
    )
    rows = (task.test if judged else task.train).numpy()
    chosen = pixels.numpy()[rows].reshape(len(rows), -1)
    if task.pixels is not None:
        order = task.pixels.numpy()
        chosen = np.where(order < 0, 0, chosen[:, order])
    shown = (chosen - mean) / deviation  # one channel
    units = task.outputs[labels[rows]]
    if task.noise:
        view = View(pixels, data, [stream.tasks], flat=True, noise_seed=len(pixels))
        return view.show(torch.from_numpy(rows)[None], k)[0], units
    return torch.from_numpy(shown).float(), units


def units_of(stream: Stream) -> list[list[int]]:
    """Return the output units of each head: one head a task, or one for all."""
    if stream.scenario != "task":
        return [list(range(stream.outputs))]
    return [sorted(set(task.outputs.tolist()) - {-1}) for task in stream.tasks]


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(*weight.shape, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight.T)
        layer.bias.copy_(bias)
    return layer


class PlainMLP(nn.Module):
    """One module a layer, and one a head."""

    def __init__(self, start: Parameters, units: list[list[int]]) -> None:
        super().__init__()
        blocks = dict.fromkeys(name.partition(".")[0] for name in start)
        layers = {b: (start[f"{b}.weight"][0], start[f"{b}.bias"][0, 0]) for b in blocks}
        weight, bias = layers.pop("head")
        self.body = nn.ModuleDict({b: linear(*values) for b, values in layers.items()})
        self.heads = nn.ModuleList(linear(weight[:, own], bias[own]) for own in units)

    def forward(self, images: Tensor, head: int) -> Tensor:
        for layer in self.body.values():
            images = F.relu(layer(images))
        logits: Tensor = self.heads[head](images)
        return logits


def optimizer_of(model: nn.Module, budget: Budget) -> torch.optim.Optimizer:
    assert isinstance(budget.learning_rate, float)
    if budget.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=budget.learning_rate)
    return torch.optim.SGD(model.parameters(), lr=budget.learning_rate, momentum=budget.momentum)


def loop(
    model: nn.Module,
    stream: Stream,
    budget: Budget,
    given: Given,
    answers: Answers,
    joint: bool = False,
) -> np.ndarray:
    """Train over the stream; return the accuracy matrix, NaN above the diagonal.

    If joint, each task trains on the samples of all tasks so far, each answered as its own
    task's.
    """
    accuracy = np.full((len(stream.tasks), len(stream.tasks)), np.nan)
    for k in range(len(stream.tasks)):
        tasks = range(k + 1) if joint else [k]
        parts = [given(i, False) for i in tasks]
        images, labels = (torch.cat(one) for one in zip(*parts, strict=True))
        whose = torch.cat([torch.full_like(stream.tasks[i].train, i) for i in tasks])
        optimizer = optimizer_of(model, budget)
        model.train()
        for epoch in range(budget.epochs):
            order = torch.randperm(len(images), generator=generator(SEED, "order", k, epoch))
            for rows in order.split(budget.batch):
                optimizer.zero_grad()
                groups = [(i, rows[whose[rows] == i]) for i in tasks]
                loss = sum(
                    F.cross_entropy(answers(images[own], i, k), labels[own], reduction="sum")
                    for i, own in groups
                    if len(own)
                )
                (loss / len(rows)).backward()
                optimizer.step()
        model.eval()
        for i in range(k + 1):
            images, labels = given(i, True)
            with torch.no_grad():
                found = answers(images, i, k).argmax(1).tolist()
            right = [answer == label for answer, label in zip(found, labels.tolist(), strict=True)]
            accuracy[k, i] = sum(right) / len(right)
    return accuracy


def agree(found: np.ndarray, expected: np.ndarray, judged: int) -> None:
    """Allow one image on the border between two classes to fall otherwise."""
    np.testing.assert_allclose(found, expected, atol=1.01 / judged)
    seen = ~np.isnan(expected)
    assert np.mean(found[seen] != expected[seen]) < 0.3


STREAMS: dict[str, Callable[[Dataset], Stream]] = {
    "permuted": lambda digits: permuted(digits, [1.0, 0.5], seed=SEED),
    "rotated": lambda digits: rotated(digits, [0.0, 30.0, 100.0], seed=SEED),
    "split": lambda digits: split(digits, 5, seed=SEED),
    "held out": lambda digits: split(digits, 5, seed=SEED, holdout=0.2),
    "domain": lambda digits: split(digits, 5, seed=SEED, scenario="domain"),
    "class": lambda digits: split(digits, 5, seed=SEED, scenario="class"),
    "corrupted": lambda digits: corrupted(digits, 5, [0.0, 2.0, 4.0, 8.0, 1.0], seed=SEED),
}
# 1,347 and about 270 samples: partial last batches.
BUDGETS = {
    "sgd": Budget(3, 64, 0.1),
    "momentum": Budget(3, 64, 2**-6, 0.9),
    "adam": Budget(2, 64, 2**-6, optimizer="adam"),
}


class Exact:
    """In float64: steps amplify float32's rounding, those of a fresh ResNet a million times."""

    def initialize(self, *given: Any) -> Parameters:
        return {n: p.double() for n, p in super().initialize(*given).items()}

    def forward(self, parameters: Parameters, images: Tensor, *rest: Any) -> Any:
        return super().forward(parameters, images.double(), *rest)


class ExactMLP(Exact, MLP):
    pass


class ExactResNet18(Exact, ResNet18):
    pass


def shown(stream: Stream, k: int, judged: bool) -> tuple[Tensor, Tensor]:
    """Return exactly what the engine shows, and output units."""
    data, task = stream.dataset, stream.tasks[k]
    images, labels = judged_on(stream) if judged else (data.train_images, data.train_labels)
    rows = task.test if judged else task.train
    view = View(images, data, [stream.tasks], flat=True, noise_seed=len(images))
    return view.show(rows[None], k)[0].double(), task.outputs[labels[rows]]


def compare(
    stream: Stream, network: Network, budget: Budget, watch: Any, given: Given, joint: bool
) -> None:
    units = units_of(stream)
    model = PlainMLP(network.initialize([SEED], torch.device("cpu")), units)

    def labelled(k: int, judged: bool) -> tuple[Tensor, Tensor]:
        images, found = given(k, judged)
        own = units[k] if len(units) > 1 else units[0]
        return images, torch.tensor([own.index(unit) for unit in found.tolist()])

    def answers(images: Tensor, k: int, arrived: int) -> Tensor:
        logits: Tensor = model(images, k if len(units) > 1 else 0)
        if stream.scenario != "class":
            return logits
        return logits[:, : max(int(t.outputs.max()) for t in stream.tasks[: arrived + 1]) + 1]

    expected = loop(model, stream, budget, labelled, answers, joint)
    outcome = train([stream], network, watch, [SEED], budget)
    agree(outcome.accuracy[0], expected, min(len(t.test) for t in stream.tasks))
    assert expected.diagonal().max() > 0.8, "nothing was learned: the test would be weak"
    ours = watch.after[-1]
    pairs = [(f"{block}", slice(None), layer) for block, layer in model.body.items()]
    pairs += [("head", own, layer) for own, layer in zip(units, model.heads, strict=True)]
    for block, columns, layer in pairs:
        for found, wanted in (
            (ours[f"{block}.weight"][0][:, columns].T, layer.weight),
            (ours[f"{block}.bias"][0, 0][columns], layer.bias),
        ):
            torch.testing.assert_close(found, wanted.detach(), rtol=1e-3, atol=2e-5)
    assert sorted(unit for own in units for unit in own) == list(range(stream.outputs))


@pytest.mark.parametrize("optimizer", BUDGETS)
@pytest.mark.parametrize("kind", STREAMS)
def test_mlp(digits: Dataset, kind: str, optimizer: str, spy: Callable[..., Any]) -> None:
    """Adam divides by gradients that are almost 0, which amplifies rounding: in float64."""
    stream = STREAMS[kind](digits)
    exact = optimizer == "adam"
    network: Network = (ExactMLP if exact else MLP)(64, [20, 15], stream.outputs)
    given = shown if exact else images_and_units
    compare(
        stream,
        network,
        BUDGETS[optimizer],
        spy(),
        lambda k, judged: given(stream, k, judged),
        joint=False,
    )


@pytest.mark.parametrize("optimizer", BUDGETS)
@pytest.mark.parametrize("kind", STREAMS)
def test_joint(digits: Dataset, kind: str, optimizer: str, spy: Callable[..., Any]) -> None:
    """Batches mix samples of all tasks so far, each answered with its own task's outputs.

    Tasks are cut to full batches, and images come from `View`, so that nothing is rounded before
    the network.
    """
    stream = STREAMS[kind](digits)
    tasks = tuple(t._replace(train=t.train[: len(t.train) // 64 * 64]) for t in stream.tasks)
    stream = stream._replace(tasks=tasks)
    network: Network = ExactMLP(64, [20, 15], stream.outputs)
    compare(
        stream,
        network,
        BUDGETS[optimizer],
        spy(Joint()),
        lambda k, judged: shown(stream, k, judged),
        joint=True,
    )


@pytest.mark.parametrize(
    "budget",
    [Budget(2, 16, 2**-6), Budget(2, 16, 2**-6, 0.9), Budget(2, 16, 2**-8, optimizer="adam")],
)
def test_resnet(learnable: Callable[..., Dataset], budget: Budget, spy: Callable[..., Any]) -> None:
    """Batch normalization sees partial batches (24 = 16 + 8) as they are.

    Rate and weights are powers of 2, and images come from `View` (which has its own test), so
    that nothing is rounded before the network.
    """
    torchvision_datasets()
    from torchvision.models import resnet18

    stream = permuted(learnable(3, 8, 24), [], seed=SEED)
    network: Network = ExactResNet18(3, 4)
    start = network.initialize([SEED], torch.device("cpu"))
    model: Any = resnet18(num_classes=4).double()
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False).double()
    model.maxpool = nn.Identity()
    layers = [(model.conv1, model.bn1, "stem.conv")]
    blocks = [
        b for stage in (model.layer1, model.layer2, model.layer3, model.layer4) for b in stage
    ]
    for i, block in enumerate(blocks, start=1):
        layers += [(block.conv1, block.bn1, f"residual{i}.conv1")]
        layers += [(block.conv2, block.bn2, f"residual{i}.conv2")]
        if block.downsample is not None:
            layers += [(*block.downsample, f"residual{i}.shortcut")]
    with torch.no_grad():
        for convolution, _, name in layers:
            convolution.weight.copy_(start[f"{name}.weight"][0])
        model.fc.weight.copy_(start["head.weight"][0])
        model.fc.bias.copy_(start["head.bias"][0])

    def given(k: int, judged: bool) -> tuple[Tensor, Tensor]:
        images, labels = shown(stream, k, judged)
        return images.view(-1, 3, 8, 8), labels

    expected = loop(model, stream, budget, given, lambda images, k, arrived: model(images))
    watch = spy()
    outcome = train([stream], network, watch, [SEED], budget)
    agree(outcome.accuracy[0], expected, 30)
    ours = watch.after[-1]
    pairs = [(ours[f"{n}.weight"], c.weight) for c, _, n in layers]
    pairs += [(ours[f"{n}.mean"], b.running_mean) for _, b, n in layers]
    pairs += [(ours[f"{n}.variance"], b.running_var) for _, b, n in layers]
    pairs += [(ours["head.weight"], model.fc.weight)]
    for found, wanted in pairs:
        error = (found[0] - wanted.detach()).norm() / wanted.detach().norm()
        assert error < 1e-8
