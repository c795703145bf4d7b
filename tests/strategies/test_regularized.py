"""EWC and LwF against plain loops: one replica, autograd, torch.optim.SGD, no stacking.

The loops share with the engine the initial weights and the order of the samples (for the Fisher
information also the chances by which its labels are drawn), nothing else. All is in float64, so
that only the images are rounded.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from clcore.errors import InputError
from clcore.networks import MLP, Parameters
from clcore.seeds import generator
from clcore.strategies import EWC, Initialized, LwF, Strategy
from clcore.streams import SCENARIOS, Dataset, Stream, permuted, split
from clcore.training import Budget, train

SEED = 11
EPOCHS, BATCH, RATE = 3, 8, 2**-3  # the last batches of 30 and of 90 samples have 6 and 2
MOMENTA = [0.0, 0.5]
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6}


class Double(MLP):
    def initialize(self, *given: Any) -> Parameters:
        return {n: p.double() for n, p in super().initialize(*given).items()}

    def forward(self, parameters: Parameters, images: torch.Tensor, *rest: Any) -> Any:
        return super().forward(parameters, images.double(), *rest)

    def add_squared_gradients(self, parameters: Any, images: torch.Tensor, *rest: Any) -> None:
        super().add_squared_gradients(parameters, images.double(), *rest)


@pytest.fixture(scope="module")
def six(learnable: Callable[..., Dataset]) -> Dataset:
    """Return 90 + 30 images of 1 × 4 × 4 pixels in 6 classes."""
    return learnable(1, 4, 90, 6)


def three_tasks(dataset: Dataset, scenario: str) -> Stream:
    if scenario == "domain":
        return permuted(dataset, [1.0, 1.0], seed=SEED)
    return split(dataset, 3, seed=SEED, scenario=scenario)


def trained(stream: Stream, strategy: Strategy, momentum: float) -> tuple[MLP, list[Parameters]]:
    """Return the network, and the parameters of one replica after each task."""
    network, after = Double(16, [12, 10], stream.outputs), []
    finish = strategy.finish

    def keep(learner: Any) -> None:
        finish(learner)
        after.append({n: p[0].clone() for n, p in learner.parameters.items()})

    strategy.finish = keep
    train([stream], network, strategy, [SEED], Budget(EPOCHS, BATCH, RATE, momentum))
    return network, after


class Plain:
    """A plain network on a stream: what the loops share."""

    def __init__(self, stream: Stream, network: MLP, momentum: float) -> None:
        self.stream, self.momentum = stream, momentum
        start = network.initialize([SEED], torch.device("cpu"))
        self.blocks, layers = network.blocks, []
        for block in network.blocks:
            weight, bias = start[f"{block}.weight"][0].T, start[f"{block}.bias"][0, 0]
            layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
            layer.load_state_dict({"weight": weight, "bias": bias})
            layers += [layer, nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])
        self.parameters = list(self.model.parameters())

    def samples(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the training images of a task as it shows them, and their output units."""
        data, task = self.stream.dataset, self.stream.tasks[k]
        pixels = data.train_images.numpy().astype(np.float64)
        shown = ((pixels - pixels.mean()) / pixels.std())[task.train.numpy()].reshape(-1, 16)
        if task.pixels is not None:
            shown = shown[:, task.pixels.numpy()]
        return torch.from_numpy(shown), task.outputs[data.train_labels[task.train]]

    def outputs(self, k: int, seen: int) -> list[int]:
        """Return which outputs may answer for task k once `seen` tasks have arrived."""
        of = {"task": [k], "class": range(seen), "domain": range(3)}[self.stream.scenario]
        units = torch.cat([self.stream.tasks[i].outputs for i in of])
        return sorted(set(units[units >= 0].tolist()))

    def loss(self, logits: torch.Tensor, units: torch.Tensor, k: int, seen: int) -> torch.Tensor:
        """Return the cross entropy of samples of task k among the outputs that may answer."""
        may = self.outputs(k, seen)
        places = torch.tensor([may.index(unit) for unit in units.tolist()])
        return F.cross_entropy(logits[:, may], places)

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters, RATE, self.momentum)

    def batches(self, k: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        images, units = self.samples(k)
        for epoch in range(EPOCHS):
            order = torch.randperm(len(images), generator=generator(SEED, "order", k, epoch))
            for rows in order.split(BATCH):
                yield images[rows], units[rows]

    def agrees(self, ours: Parameters) -> None:
        for block, layer in zip(self.blocks, self.model[::2], strict=True):
            torch.testing.assert_close(ours[f"{block}.weight"].T, layer.weight.data, **CLOSE)
            torch.testing.assert_close(ours[f"{block}.bias"][0], layer.bias.data, **CLOSE)


def matters(stream: Stream, momentum: float, after: Sequence[Parameters]) -> None:
    """See that the last task is trained otherwise than without the strategy."""
    _, without = trained(stream, Initialized(), momentum)
    for n, p in without[-1].items():
        assert (after[-1][n] - p).abs().max() > 3e-4


# ------------------------------------------------------------------------------------ EWC


def fisher(plain: Plain, k: int) -> list[torch.Tensor]:
    """Return the mean of (Σ_y ± √p(y|x) ∂ log p(y|x) / ∂θ)², sample by sample."""
    images, _ = plain.samples(k)
    may = plain.outputs(k, k + 1)
    outputs = len(plain.model(images[0]))
    coins = torch.randint(2, (len(images), outputs), generator=generator(SEED, "fisher", k))
    total = [torch.zeros_like(p) for p in plain.parameters]
    order = torch.randperm(len(images), generator=generator(SEED, "probe", k))
    for row, signs in zip(order.tolist(), 2.0 * coins[:, may] - 1, strict=True):
        logs = plain.model(images[row])[may].log_softmax(0)
        mixed = (signs * logs.detach().exp().sqrt() * logs).sum()
        for sum_, g in zip(total, torch.autograd.grad(mixed, plain.parameters), strict=True):
            sum_ += g**2 / len(images)
    return total


@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ewc(six: Dataset, scenario: str, momentum: float) -> None:
    """Kirkpatrick et al. (2017), equation 3: one quadratic penalty for each earlier task."""
    strength, stream = 20.0, three_tasks(six, scenario)
    network, after = trained(stream, EWC(strength), momentum)
    plain = Plain(stream, network, momentum)
    penalties: list[tuple[list[torch.Tensor], list[torch.Tensor]]] = []
    for k in range(3):
        optimizer = plain.optimizer()
        for images, units in plain.batches(k):
            optimizer.zero_grad()
            loss = plain.loss(plain.model(images), units, k, k + 1)
            for importances, anchors in penalties:
                for p, f, a in zip(plain.parameters, importances, anchors, strict=True):
                    loss = loss + strength / 2 * (f * (p - a) ** 2).sum()
            loss.backward()
            optimizer.step()
        plain.agrees(after[k])
        penalties.append((fisher(plain, k), [p.detach().clone() for p in plain.parameters]))
    matters(stream, momentum, after)


class Stand:
    """A learner that only stands somewhere: 2 replicas, whose Fisher information is given."""

    def __init__(self, draws: torch.Generator) -> None:
        self.parameters = {
            "a.weight": torch.randn(2, 3, 4, generator=draws, dtype=torch.float64),
            "a.bias": torch.randn(2, 1, 4, generator=draws, dtype=torch.float64),
        }
        self.given = {
            n: torch.rand(p.shape, generator=draws, dtype=torch.float64)
            for n, p in self.parameters.items()
        }

    def fisher(self) -> Parameters:
        return {n: f.clone() for n, f in self.given.items()}


@pytest.mark.parametrize("strength", [0.0, 0.3, 1e4])
def test_ewc_adds_the_slope_of_the_penalty(strength: float) -> None:
    draws = torch.Generator().manual_seed(3)
    ewc, earlier, now = EWC(strength), [Stand(draws) for _ in range(3)], Stand(draws)
    started = {n: torch.randn_like(p) for n, p in now.parameters.items()}
    gradient = {n: g.clone() for n, g in started.items()}
    ewc.gradient(now, gradient)
    assert all(gradient[n].equal(g) for n, g in started.items()), "no task is earlier"
    for learner in earlier:
        ewc.finish(learner)
    ewc.gradient(now, gradient)
    for n, p in now.parameters.items():
        at = p.clone().requires_grad_()
        penalty = sum((s.given[n] * (at - s.parameters[n]) ** 2).sum() for s in earlier)
        (slope,) = torch.autograd.grad(strength / 2 * penalty, at)
        torch.testing.assert_close(gradient[n], started[n] + slope, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ewc_of_strength_0_is_initialized_training(six: Dataset, scenario: str) -> None:
    stream = three_tasks(six, scenario)
    (_, one), (_, other) = (trained(stream, s, 0.5) for s in (EWC(0.0), Initialized()))
    assert all(p.equal(other[k][n]) for k in range(3) for n, p in one[k].items())


# ------------------------------------------------------------------------------------ LwF


@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_lwf(six: Dataset, scenario: str, momentum: float) -> None:
    """1/k of the new loss, and 1 − 1/k of T² times the cross entropy to the old answers."""
    temperature, strength, stream = 2.5, 0.8, three_tasks(six, scenario)
    network, after = trained(stream, LwF(temperature, strength), momentum)
    plain = Plain(stream, network, momentum)
    for k in range(3):
        optimizer = plain.optimizer()
        old = Plain(stream, network, momentum).model
        old.load_state_dict(plain.model.state_dict())
        for images, units in plain.batches(k):
            optimizer.zero_grad()
            logits = plain.model(images)
            loss = plain.loss(logits, units, k, k + 1) / (k + 1)
            for i in range(k):  # the answers as each earlier task
                may = plain.outputs(i, k)
                targets = (old(images)[:, may] / temperature).softmax(1).detach()
                kept = F.cross_entropy(logits[:, may] / temperature, targets)
                share = strength * (1 - 1 / (k + 1)) / k
                loss = loss + share * temperature**2 * kept
            loss.backward()
            optimizer.step()
        plain.agrees(after[k])
    matters(stream, momentum, after)


def test_lwf_counts_each_earlier_task_although_some_share_their_outputs(
    learnable: Callable[..., Dataset],
) -> None:
    """Of the first replica, tasks 0 and 1 have the same outputs; beside it, all have their own."""
    streams = [split(learnable(1, 4, 80, 8), 4, seed=s) for s in (0, 1)]
    zero, _, two, three = streams[0].tasks
    streams[0] = streams[0]._replace(tasks=(zero, zero, two, three))
    found = []
    for number in (1, 2):
        strategy, after = LwF(), []
        strategy.after_step = lambda learner, after=after: after.append(
            learner.parameters["head.weight"][0].clone()
        )
        train(streams[:number], Double(16, [8], 8), strategy, [0, 1][:number], Budget(1, 16, 0.1))
        found.append(after[-1])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


# ----------------------------------------------------------------------------------- both


@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("make", [lambda: EWC(20.0), LwF])
def test_first_task_is_initialized_training(
    six: Dataset, make: Callable[[], Strategy], momentum: float
) -> None:
    stream = three_tasks(six, "class")
    (_, one), (_, other) = (trained(stream, s, momentum) for s in (make(), Initialized()))
    for n, p in one[0].items():
        torch.testing.assert_close(p, other[0][n], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_bad_options(value: float) -> None:
    with pytest.raises(InputError, match=f"strength {value} of EWC: it must be finite and at"):
        EWC(value)
    with pytest.raises(InputError, match=f"temperature {value}, strength 1.0 of LwF: both must"):
        LwF(temperature=value)
    with pytest.raises(InputError, match=f"temperature 2.0, strength {value} of LwF: both must"):
        LwF(strength=value)


def test_bad_temperature() -> None:
    with pytest.raises(InputError, match="temperature 0, strength 1"):
        LwF(temperature=0)
