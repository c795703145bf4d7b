"""What `train` refuses, before any work is done."""

from typing import Any

import pytest
import torch

from clcore.errors import InputError
from clcore.networks import MLP, ResNet18
from clcore.strategies import Strategy
from clcore.streams import Dataset, Stream, permuted, split
from clcore.training import Budget, Outcome, train

NAN = float("nan")


class Untouched:
    """A network that must not even be initialized."""

    def initialize(self, *_: Any) -> Any:
        raise AssertionError("work was done before the input was checked")


class UntouchedMLP(Untouched, MLP):
    pass


class UntouchedResNet18(Untouched, ResNet18):
    pass


def attempt(
    streams: list[Stream],
    seeds: list[int],
    budget: Budget | None = None,
    network: Any = None,
    device: str = "cpu",
) -> Outcome:
    return train(
        streams,
        network or UntouchedMLP(64, [8], 10),
        Strategy(),
        seeds,
        budget or Budget(1, 64, 0.1),
        device=device,
    )


@pytest.fixture(scope="module")
def stream(digits: Dataset) -> Stream:
    return permuted(digits, [1.0], seed=0)


@pytest.mark.parametrize("seeds", [[], [0], [0, 1, 2]])
def test_streams_and_seeds(stream: Stream, seeds: list[int]) -> None:
    with pytest.raises(InputError, match=f"2 streams for {len(seeds)} seeds"):
        attempt([stream] * 2, seeds)


def test_nothing_to_train() -> None:
    with pytest.raises(InputError, match="0 streams for 0 seeds"):
        attempt([], [])


def test_negative_seed(stream: Stream) -> None:
    with pytest.raises(InputError, match=r"seeds \[0, -1\]: each must be at least 0"):
        attempt([stream] * 2, [0, -1])


BUDGETS = {
    "momentum 1 is not in": Budget(1, 64, 0.1, 1),
    "momentum -0.1 is not in": Budget(1, 64, 0.1, -0.1),
    "momentum nan is not in": Budget(1, 64, 0.1, NAN),
    "0 epochs and batch 64": Budget(0, 64, 0.1),
    "1 epochs and batch 0": Budget(1, 0, 0.1),
    r"rates \[nan\]: each must be finite and above 0": Budget(1, 64, NAN),
    r"rates \[inf\]": Budget(1, 64, float("inf")),
    r"rates \[0.0\]": Budget(1, 64, 0),
    r"rates \[-0.1\]": Budget(1, 64, [-0.1]),
    "2 learning rates for 1 seeds": Budget(1, 64, [0.1, 0.1]),
    "0 learning rates for 1 seeds": Budget(1, 64, []),
    "unknown optimizer 'Adam': did you mean 'adam'": Budget(1, 64, 0.1, optimizer="Adam"),
    "unknown optimizer 'rprop': choose one of adam, sgd": Budget(1, 64, 0.1, optimizer="rprop"),
    "momentum 0.9 with adam, which has its own": Budget(1, 64, 0.1, 0.9, optimizer="adam"),
}


@pytest.mark.parametrize("message", BUDGETS)
def test_budget(stream: Stream, message: str) -> None:
    with pytest.raises(InputError, match=message):
        attempt([stream], [0], BUDGETS[message])


def test_mixed_streams(digits: Dataset, gray: Dataset, stream: Stream) -> None:
    others = {
        "scenario": stream._replace(scenario="class"),
        "outputs": stream._replace(outputs=11),
        "tasks": permuted(digits, [1.0, 1.0], seed=0),
        "held-out": permuted(digits, [1.0], seed=0, holdout=0.1),
        "classes": permuted(gray, [1.0], seed=0),
        "data set": permuted(digits._replace(checksum="other"), [1.0], seed=0),
    }
    for other in others.values():
        with pytest.raises(InputError, match=r"streams 'permuted' and .* differ in"):
            attempt([stream, other], [0, 1])


WRONG = {  # what digits need: 64 pixels in one channel, and 4 outputs for tasks that share them
    "mlp-65-8-4 with 65 inputs and 4 outputs": lambda: UntouchedMLP(65, [8], 4),
    "mlp-64-8-5 with 64 inputs and 5 outputs": lambda: UntouchedMLP(64, [8], 5),
    "mlp-64-8-3 with 64 inputs and 3 outputs": lambda: UntouchedMLP(64, [8], 3),
    "resnet18-4 with 3 inputs and 4 outputs": lambda: UntouchedResNet18(3, 4, 4),
    "resnet18-4 with 1 inputs and 10 outputs": lambda: UntouchedResNet18(1, 10, 4),
}


@pytest.mark.parametrize("message", WRONG)
def test_network_that_does_not_fit(digits: Dataset, message: str) -> None:
    stream = split(digits, 5, seed=0, scenario="domain")._replace(outputs=4)
    needs = "1 channels" if "resnet" in message else "64 pixels"
    with pytest.raises(
        InputError, match=f"{message} on stream 'split': .* digits needs {needs}, .* 4 outputs"
    ):
        attempt([stream], [0], network=WRONG[message]())


@pytest.mark.parametrize(("scenario", "outputs"), [("task", 10), ("domain", 2), ("class", 10)])
def test_outputs_that_a_scenario_needs(digits: Dataset, scenario: str, outputs: int) -> None:
    stream = split(digits, 5, seed=0, scenario=scenario)
    for wrong in (outputs - 1, outputs + 1):
        with pytest.raises(InputError, match=f"its tasks {outputs} outputs"):
            attempt([stream], [0], network=UntouchedMLP(64, [8], wrong))
    with pytest.raises(AssertionError, match="work was done"):
        attempt([stream], [0], network=UntouchedMLP(64, [8], outputs))


def test_task_without_samples(stream: Stream) -> None:
    for part in ("train", "test"):
        empty = stream.tasks[1]._replace(**{part: torch.arange(0)})
        broken = stream._replace(tasks=(stream.tasks[0], empty))
        with pytest.raises(InputError, match=r"task 1 of stream 'permuted' has"):
            attempt([broken], [0])


def test_device(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="unknown device 'gpu'"):
        attempt([stream], [0], device="gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="'cuda' was asked for"):
        attempt([stream], [0], device="cuda")
