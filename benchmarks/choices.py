"""What each choice of execution gains over its alternatives, side by side in one run.

    python benchmarks/choices.py [--seconds 2] [--rounds 3] [--out FILE]

One training step of the MLP of Permuted MNIST (8 replicas, batch 128) and of ResNet-18 (width
20, batch 64), as the package takes it and otherwise. The ways of a choice run in turn, round
after round; what counts are the ratios of their medians. Compiled steps need a C++ compiler and
are left out without one. Needs a machine that does nothing else.
"""

import argparse
import json
import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from throughput import processor
from torch import Tensor

from clcore.networks import MLP, Network, Parameters, ResNet18
from clcore.training import cross_entropy

REPLICAS, BATCH, IMAGES = 8, 128, 60_000
CPU = torch.device("cpu")
Step = Callable[[], object]


class Choice(NamedTuple):
    """One choice: what the package does, and what it could do instead."""

    what: str
    ours: Step
    others: dict[str, Step]


def descend(network: Network, parameters: Parameters, images: Tensor, labels: Tensor) -> Step:
    """Return a step as the package takes it."""
    replicas, size = labels.shape
    trainable = torch.ones((replicas, len(network.blocks)), dtype=torch.bool)
    weights = torch.full((replicas, size), 1 / size)
    downhill = -0.01 * trainable

    def step() -> None:
        logits, backward = network.forward(parameters, images, trainable)
        _, slope = cross_entropy(logits, labels, weights)
        backward(slope, parameters, beta=1.0, scale=downhill)

    return step


def stacked_loss(parameters: Parameters, images: Tensor, labels: Tensor) -> Tensor:
    """Return the summed loss of stacked replicas of the MLP, for autograd."""
    hidden = images
    for block in ("layer1", "layer2"):
        weight, bias = parameters[f"{block}.weight"], parameters[f"{block}.bias"]
        hidden = torch.baddbmm(bias, hidden, weight).relu()
    logits = torch.baddbmm(parameters["head.bias"], hidden, parameters["head.weight"])
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten()) * len(labels)


def single_loss(parameters: Parameters, images: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of one replica of the MLP, for `vmap`."""
    hidden = images
    for block in ("layer1", "layer2"):
        hidden = (hidden @ parameters[f"{block}.weight"] + parameters[f"{block}.bias"]).relu()
    logits = hidden @ parameters["head.weight"] + parameters["head.bias"]
    return F.cross_entropy(logits, labels)


def autograd(parameters: Parameters, loss: Callable[[Parameters], Tensor]) -> Step:
    """Return a step whose gradients autograd finds."""
    leaves = {n: p.clone().requires_grad_() for n, p in parameters.items()}

    def step() -> None:
        found = torch.autograd.grad(loss(leaves), list(leaves.values()))
        with torch.no_grad():
            for leaf, gradient in zip(leaves.values(), found, strict=True):
                leaf.sub_(gradient, alpha=0.01)

    return step


def mapped(parameters: Parameters, images: Tensor, labels: Tensor) -> Step:
    """Return a step of the MLP by `vmap` over the gradient of one replica."""
    gradients = torch.func.vmap(torch.func.grad(single_loss))

    def step() -> None:
        for n, gradient in gradients(parameters, images, labels).items():
            parameters[n].sub_(gradient, alpha=0.01)

    return step


def perceptrons(compiler: bool) -> list[Choice]:
    """Return the choices that concern the MLP and its batches."""
    network = MLP(784, [256, 256], 10)
    images = torch.randn(REPLICAS, BATCH, 784)
    labels = torch.randint(10, (REPLICAS, BATCH))

    def fresh() -> Parameters:
        return network.initialize(range(REPLICAS), CPU)

    alone = [
        descend(network, network.initialize([r], CPU), images[r : r + 1], labels[r : r + 1])
        for r in range(REPLICAS)
    ]
    with_autograd = {
        "stacked, autograd": autograd(fresh(), lambda p: stacked_loss(p, images, labels)),
        "vmap over the gradient of one": mapped(fresh(), images, labels),
    }
    if compiler:
        compiled = torch.compile(stacked_loss)
        with_autograd["stacked, autograd, compiled"] = autograd(
            fresh(), lambda p: compiled(p, images, labels)
        )
    half = MLP(784, [256, 256], 10, bf16=True)
    stored = torch.randint(256, (IMAGES, 784), dtype=torch.uint8)
    floats = stored.float()
    rows = torch.randint(IMAGES, (REPLICAS, BATCH))
    orders = torch.stack([torch.randperm(784) for _ in range(REPLICAS)])[:, None]
    spread = orders.expand(-1, BATCH, -1)
    return [
        Choice(
            "MLP: replicas stacked in one batched product",
            descend(network, fresh(), images, labels),
            {"one after the other": lambda: [step() for step in alone]},
        ),
        Choice(
            "MLP: backward pass written out, added straight into the parameters",
            descend(network, fresh(), images, labels),
            with_autograd,
        ),
        Choice(
            "MLP: float32 products by default",
            descend(network, fresh(), images, labels),
            {"bfloat16 products": descend(half, fresh(), images, labels)},
        ),
        Choice(
            "batches: whole rows picked by index_select",
            lambda: stored.index_select(0, rows.flatten()),
            {"indexing": lambda: stored[rows]},
        ),
        Choice(
            "batches: pixels reordered as uint8, then made float32",
            lambda: (
                stored.index_select(0, rows.flatten())
                .view(REPLICAS, BATCH, -1)
                .gather(2, spread)
                .float()
            ),
            {
                "float32 all the way": lambda: (
                    floats.index_select(0, rows.flatten()).view(REPLICAS, BATCH, -1)
                ).gather(2, spread)
            },
        ),
    ]


def residual(compiler: bool) -> list[Choice]:
    """Return the choices that concern ResNet-18."""
    images, labels = torch.randn(2, 64, 3, 32, 32), torch.randint(10, (2, 64))
    plain, half = ResNet18(3, 10, width=20), ResNet18(3, 10, width=20, bf16=True)

    def own(network: ResNet18, replicas: int = 1) -> Step:
        parameters = network.initialize(range(replicas), CPU)
        return descend(network, parameters, images[:replicas], labels[:replicas])

    def loss(values: Parameters, shown: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(plain._logits(values, shown, set(plain.blocks)), wanted)

    def cast(values: Parameters, shown: Tensor, wanted: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return loss(values, shown, wanted)

    def by_hand(
        of: Callable[..., Tensor], order: torch.memory_format = torch.channels_last
    ) -> Step:
        whole = plain.initialize([0], CPU)
        values = {n: p[0] for n, p in whole.items()}
        if order == torch.contiguous_format:
            values = {n: p.contiguous() for n, p in values.items()}
        fixed = {n: v for n, v in values.items() if n.endswith((".mean", ".variance"))}
        trained = {n: v for n, v in values.items() if n not in fixed}
        shown = images[0].contiguous(memory_format=order)
        return autograd(trained, lambda leaves: of(leaves | fixed, shown, labels[0]))

    def over_replicas() -> Step:
        # Running statistics cannot be updated inside vmap: each batch's own are used.
        whole = plain.initialize(range(2), CPU)
        trained = {n: p for n, p in whole.items() if not n.endswith((".mean", ".variance"))}
        blank = {n: None for n in whole if n not in trained}

        def one(values: Parameters, shown: Tensor, wanted: Tensor) -> Tensor:
            return loss({**values, **blank}, shown, wanted)  # type: ignore[dict-item]

        gradients = torch.func.vmap(torch.func.grad(one))

        def step() -> None:
            for n, gradient in gradients(trained, images, labels).items():
                trained[n].sub_(gradient, alpha=0.01)

        return step

    alone = [own(plain), own(plain)]
    choices = [
        Choice(
            "ResNet-18: kernels and images with their channels last",
            by_hand(loss),
            {"channels first": by_hand(loss, torch.contiguous_format)},
        ),
        Choice(
            "ResNet-18 in bfloat16: channels last",
            by_hand(cast),
            {"channels first": by_hand(cast, torch.contiguous_format)},
        ),
        Choice(
            "ResNet-18: float32 by default",
            own(plain),
            {"bfloat16": own(half)},
        ),
        Choice(
            "ResNet-18: two replicas side by side, a thread each",
            own(plain, replicas=2),
            {
                "one after the other": lambda: [step() for step in alone],
                "vmap over replicas": over_replicas(),
            },
        ),
    ]
    if compiler:
        compiled = torch.compile(loss)
        choices.append(
            Choice(
                "ResNet-18: steps as they are",
                own(plain),
                {"compiled": by_hand(compiled), "same code, not compiled": by_hand(loss)},
            )
        )
    return choices


def duration(step: Step, seconds: float) -> float:
    """Return the seconds that a step takes, over some seconds."""
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds or not done:
        step()
        done += 1
    return spent / done


def main() -> None:
    """Measure, print the gains, keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    compiler = bool(shutil.which("g++"))
    found = {}
    for choice in perceptrons(compiler) + residual(compiler):
        ways = {"ours": choice.ours, **choice.others}
        for step in ways.values():
            step()  # compiled ones compile
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, step in ways.items():
                times[name].append(duration(step, options.seconds))
        usual = {name: statistics.median(spent) for name, spent in times.items()}
        found[choice.what] = {
            name: {
                "gain": round(usual[name] / usual["ours"], 2),
                "milliseconds": round(1000 * usual[name], 2),
            }
            for name in ways
        }
        print(choice.what)
        for name, row in found[choice.what].items():
            print(f"  {name:32s} {row['milliseconds']:9.2f} ms, {row['gain']:5.2f} x the time")
    if options.out:
        result = {
            "processor": processor(),
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "choices": found,
        }
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
