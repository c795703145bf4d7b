"""`train` against a plain PyTorch loop: nn.Module, torch.optim.SGD, one replica, no stacking.

The loop shares with the engine the initial weights and the order of the samples, nothing else:
it normalizes in NumPy, indexes batches itself, and counts right answers itself.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from clcore.networks import MLP, Network, Parameters, ResNet18
from clcore.seeds import generator
from clcore.streams import Dataset, Stream, Task, permuted, split
from clcore.streams.torchvision_import import torchvision_datasets
from clcore.training import Budget, View, train

SEED = 11


def images_and_labels(
    stream: Stream, task: Task, judged: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    data = stream.dataset
    floats = data.train_images.numpy().astype(np.float64)
    mean, deviation = floats.mean((0, 2, 3)), floats.std((0, 2, 3))
    tests = judged and not stream.held_out
    pixels, labels = (
        (data.test_images, data.test_labels) if tests else (data.train_images, data.train_labels)
    )
    rows = (task.test if judged else task.train).numpy()
    chosen = pixels.numpy()[rows]
    shown = (chosen - mean[:, None, None]) / deviation[:, None, None]
    if task.pixels is not None:
        shown = shown.reshape(len(rows), -1)[:, task.pixels.numpy()].reshape(shown.shape)
    return torch.from_numpy(shown).float().flatten(1), task.outputs[labels[rows]]


class PlainMLP(nn.Module):
    def __init__(self, start: Parameters) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        for name in start:
            if name.endswith(".weight"):
                block, weight = name.partition(".")[0], start[name][0].T
                layer = nn.Linear(weight.shape[1], weight.shape[0])
                with torch.no_grad():
                    layer.weight.copy_(weight)
                    layer.bias.copy_(start[f"{block}.bias"][0, 0])
                self.layers[block] = layer

    def forward(self, images: torch.Tensor, head: int) -> torch.Tensor:
        for block, layer in self.layers.items():
            if not block.startswith("head"):
                images = F.relu(layer(images))
        logits: torch.Tensor = self.layers[f"head{head}"](images)
        return logits


def loop(
    model: nn.Module,
    stream: Stream,
    budget: Budget,
    given: Callable[[Task, bool], tuple[torch.Tensor, torch.Tensor]],
    shown: Callable[[torch.Tensor, int], torch.Tensor],
) -> np.ndarray:
    """Train over the stream; return the accuracy matrix, NaN above the diagonal."""
    accuracy = np.full((len(stream.tasks), len(stream.tasks)), np.nan)
    for k, task in enumerate(stream.tasks):
        images, labels = given(task, False)
        assert isinstance(budget.learning_rate, float)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=budget.learning_rate, momentum=budget.momentum
        )
        model.train()
        for epoch in range(budget.epochs):
            order = torch.randperm(len(images), generator=generator(SEED, "order", k, epoch))
            for rows in order.split(budget.batch):
                optimizer.zero_grad()
                F.cross_entropy(shown(images[rows], k), labels[rows]).backward()
                optimizer.step()
        model.eval()
        for i, seen in enumerate(stream.tasks[: k + 1]):
            images, labels = given(seen, True)
            with torch.no_grad():
                answers = shown(images, i).argmax(1).tolist()
            right = [
                answer == label for answer, label in zip(answers, labels.tolist(), strict=True)
            ]
            accuracy[k, i] = sum(right) / len(right)
    return accuracy


def agree(found: np.ndarray, expected: np.ndarray, judged: int) -> None:
    """Allow one image on the border between two classes to fall otherwise."""
    np.testing.assert_allclose(found, expected, atol=1.01 / judged)
    seen = ~np.isnan(expected)
    assert np.mean(found[seen] != expected[seen]) < 0.3


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("kind", ["permuted", "split", "held out"])
def test_mlp(digits: Dataset, kind: str, momentum: float, spy: Callable[..., Any]) -> None:
    stream = {
        "permuted": lambda: permuted(digits, [1.0, 0.5], seed=SEED),
        "split": lambda: split(digits, 5, seed=SEED),
        "held out": lambda: split(digits, 5, seed=SEED, holdout=0.2),
    }[kind]()
    network: Network = MLP(64, [20, 15], stream.outputs, stream.heads)
    budget = Budget(
        2, 64, 0.4 * (1 - momentum), momentum
    )  # 1,347 and about 270 samples: partial last batches
    model = PlainMLP(network.initialize([SEED], torch.device("cpu")))
    expected = loop(
        model,
        stream,
        budget,
        lambda task, judged: images_and_labels(stream, task, judged),
        lambda images, task: model(images, task if stream.heads > 1 else 0),
    )
    watch = spy()
    outcome = train([stream], network, watch, [SEED], budget)
    agree(outcome.accuracy[0], expected, min(len(t.test) for t in stream.tasks))
    assert expected.diagonal().max() > 0.8, "nothing was learned: the test would be weak"
    for block, layer in model.layers.items():
        assert isinstance(layer, nn.Linear)
        ours = watch.after[-1]
        torch.testing.assert_close(
            ours[f"{block}.weight"][0].T, layer.weight.detach(), rtol=1e-3, atol=2e-5
        )
        torch.testing.assert_close(
            ours[f"{block}.bias"][0, 0], layer.bias.detach(), rtol=1e-3, atol=2e-5
        )


class Double(ResNet18):
    """In float64: steps of a freshly drawn ResNet amplify float32's rounding a million times."""

    def initialize(self, *given: Any) -> Parameters:
        return {n: p.double() for n, p in super().initialize(*given).items()}

    def forward(self, parameters: Parameters, images: torch.Tensor, *rest: Any) -> Any:
        return super().forward(parameters, images.double(), *rest)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_resnet(
    learnable: Callable[..., Dataset], momentum: float, spy: Callable[..., Any]
) -> None:
    """Batch normalization sees partial batches (24 = 16 + 8) as they are.

    Rate and weights are powers of 2, and images come from `View` (which has its own test), so
    that nothing is rounded before the network.
    """
    torchvision_datasets()
    from torchvision.models import resnet18

    stream = permuted(learnable(3, 8, 24), [], seed=SEED)
    network: Network = Double(3, 4)
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
        model.fc.weight.copy_(start["head0.weight"][0])
        model.fc.bias.copy_(start["head0.bias"][0])
    budget = Budget(2, 16, 2**-6, momentum)

    def given(task: Task, judged: bool) -> tuple[torch.Tensor, torch.Tensor]:
        data = stream.dataset
        images, labels, rows = (
            (data.test_images, data.test_labels, task.test)
            if judged
            else (data.train_images, data.train_labels, task.train)
        )
        shown = View(images, data, [task], flat=False).show(rows[None])[0]
        return shown.double(), task.outputs[labels[rows]]

    expected = loop(model, stream, budget, given, lambda images, task: model(images))
    watch = spy()
    outcome = train([stream], network, watch, [SEED], budget)
    agree(outcome.accuracy[0], expected, 30)
    ours = watch.after[-1]
    pairs = [(ours[f"{n}.weight"], c.weight) for c, _, n in layers]
    pairs += [(ours[f"{n}.mean"], b.running_mean) for _, b, n in layers]
    pairs += [(ours[f"{n}.variance"], b.running_var) for _, b, n in layers]
    pairs += [(ours["head0.weight"], model.fc.weight)]
    for found, wanted in pairs:
        error = (found[0] - wanted.detach()).norm() / wanted.detach().norm()
        assert error < 1e-8
