"""Training images per second on a GPU: a plain PyTorch loop, this package, and it without graphs.

    python benchmarks/gpu.py [--device cuda] [--images 8000] [--out FILE]

Two tasks of random images, seen once; speed does not depend on what they show. The time is that of
training, with the recording of the CUDA graphs, and without evaluation. Needs a GPU that does
nothing else; about a minute.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from contenders.small_resnet import small_resnet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from clcore.networks import MLP, Network, ResNet18
from clcore.networks.graphs import Graphs
from clcore.results.record import _hardware
from clcore.strategies import Initialized
from clcore.streams import Dataset, from_arrays, split
from clcore.training import Budget, train

CLASSES, BATCH, RATE, HIDDEN = 20, {"resnet": 16, "mlp": 128}, 0.01, 256


def made(images: int, shape: tuple[int, ...]) -> Dataset:
    """Return random images of as many classes as two tasks have."""
    draws = np.random.default_rng(0)
    parts: list[np.ndarray] = []
    for count in (images, 2 * CLASSES):
        parts += [draws.integers(0, 256, (count, *shape), np.uint8), np.arange(count) % CLASSES]
    return from_arrays("random", *parts)


def mlp(inputs: int) -> nn.Module:
    """Return the multilayer perceptron of the CPU's benchmark."""
    sizes = [inputs, HIDDEN, HIDDEN, CLASSES]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def plain(model: nn.Module, dataset: Dataset, batch: int, device: str, bf16: bool) -> float:
    """Return images per second of a loop over tensors that are on the device already."""
    place = torch.device(device)
    data = dataset.to(place)
    form = torch.channels_last if data.train_images.shape[1] == 3 else torch.contiguous_format
    model = model.to(place).to(memory_format=form)
    images = (data.train_images.float() / 127.5 - 1).contiguous(memory_format=form)
    optimizer = torch.optim.SGD(model.parameters(), RATE)

    def epoch(count: int) -> None:
        for rows in torch.randperm(count, device=place).split(batch):
            optimizer.zero_grad()
            with torch.autocast(place.type, torch.bfloat16, enabled=bf16):
                outputs = model(images[rows])
            F.cross_entropy(outputs, data.train_labels[rows]).backward()
            optimizer.step()
        float(outputs.detach().sum())  # waits for the device

    epoch(min(10 * batch, len(images)))
    began = time.perf_counter()
    epoch(len(images))
    return len(images) / (time.perf_counter() - began)


def ours(network: Network, dataset: Dataset, batch: int, replicas: int, device: str) -> float:
    """Return images per second of all replicas together."""
    seeds = range(replicas)
    streams = [split(dataset, 2, seed=seed) for seed in seeds]
    done = train(streams, network, Initialized(), seeds, Budget(1, batch, RATE), device=device)
    return done.images / done.training_seconds


def main() -> None:
    """Measure, print a line each, keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows: dict[str, dict[str, float]] = {}
    color, grey = made(options.images, (3, 32, 32)), made(4 * options.images, (1, 28, 28))

    def note(network: str, who: str, work: Callable[[], float]) -> None:
        rows.setdefault(network, {})[who] = round(work())
        print(f"{network}: {who}: {rows[network][who]:,} images/s", flush=True)

    def contenders(
        name: str, model: nn.Module, network: Callable[[], Network], replicas: list[int]
    ) -> None:
        flat = network().flat
        dataset, batch = (grey, BATCH["mlp"]) if flat else (color, BATCH["resnet"])
        go = options.device
        ours(network(), dataset, batch, 1, go)  # libraries start
        note(name, "plain loop", lambda: plain(model, dataset, batch, go, not flat))
        if not flat:
            with patch.object(Graphs, "of", lambda *_: None):
                note(name, "1 replica, no graphs", lambda: ours(network(), dataset, batch, 1, go))
        for number in replicas:
            what = f"{number} replica{'s' if number > 1 else ''}"
            note(name, what, partial(ours, network(), dataset, batch, number, go))

    for width in (64, 20):
        contenders(
            f"ResNet-18 of width {width}, batches of {BATCH['resnet']}, bfloat16",
            small_resnet(width, CLASSES),
            partial(ResNet18, 3, CLASSES, width, bf16=True),
            [1, 5, 10],
        )
    contenders(
        f"MLP, batches of {BATCH['mlp']}, float32",
        mlp(784),
        partial(MLP, 784, [HIDDEN, HIDDEN], CLASSES),
        [1, 8, 64],
    )
    result: dict[str, Any] = {"rows": rows, "images": options.images, "torch": torch.__version__}
    with FlopCounterMode(display=False) as counter:
        small_resnet(64, CLASSES)(torch.zeros(1, 3, 32, 32))
    result |= {"hardware": _hardware(options.device)}
    result |= {"flop_per_image": 3 * counter.get_total_flops()}  # width 64, backward as well
    if options.device != "cpu":
        a = torch.randn(8192, 8192, device=options.device, dtype=torch.bfloat16)
        a @ a
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(20):
            a @ a
        torch.cuda.synchronize()
        result["peak_gflops"] = round(20 * 2 * 8192**3 / (time.perf_counter() - began) / 1e9)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
