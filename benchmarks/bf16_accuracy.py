"""Whether ResNet-18 learns as well in bfloat16 as in float32, on Split CIFAR-10.

    python benchmarks/bf16_accuracy.py DATA [--seeds 5] [--images 20000] [--out FILE]

The same seeds in both, five tasks of two classes, one epoch each, over the first training images;
one process of one thread for each core.
"""

import argparse
import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clcore.measures import average_accuracy, forgetting, mean_interval, paired_difference
from clcore.networks import ResNet18
from clcore.strategies import Initialized
from clcore.streams import from_arrays, load, split
from clcore.training import Budget, train

RATE, MOMENTUM, BATCH, JUDGED = 0.02, 0.9, 64, 5000


def part(data: Path, images: int, seed: int, bf16: bool) -> dict[str, float]:
    """Train one replica; return what it reached."""
    torch.set_num_threads(1)
    whole = load("cifar10", data)
    dataset = from_arrays(
        f"cifar10, {images} images",
        whole.train_images[:images].numpy(),
        whole.train_labels[:images].numpy(),
        whole.test_images[:JUDGED].numpy(),
        whole.test_labels[:JUDGED].numpy(),
    )
    outcome = train(
        [split(dataset, 5, seed=seed)],
        ResNet18(3, 10, width=20, bf16=bf16),
        Initialized(),
        [seed],
        Budget(1, BATCH, RATE, MOMENTUM),
    )
    return {
        "accuracy": float(average_accuracy(outcome.accuracy)[0]),
        "forgetting": float(forgetting(outcome.accuracy)[0]),
        "images_per_second": outcome.images / outcome.training_seconds,
    }


def main() -> None:
    """Train in both, print the paired difference, keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    began = time.perf_counter()
    jobs = [(seed, bf16) for seed in range(options.seeds) for bf16 in (False, True)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as pool:
        waiting = [pool.submit(part, options.data, options.images, *job) for job in jobs]
        rows = [one.result() for one in waiting]
    result: dict[str, Any] = {"seeds": options.seeds, "images": options.images}
    result["seconds"] = round(time.perf_counter() - began)
    for name in ("accuracy", "forgetting"):
        scores = {
            kind: np.array([r[name] for r, (_, b) in zip(rows, jobs, strict=True) if b == k])
            for kind, k in (("float32", False), ("bfloat16", True))
        }
        gap = paired_difference(scores["bfloat16"], scores["float32"])
        result[name] = {kind: mean_interval(values)._asdict() for kind, values in scores.items()}
        result[name]["difference"] = gap._asdict()
    for kind, k in (("float32", False), ("bfloat16", True)):
        speeds = [r["images_per_second"] for r, (_, b) in zip(rows, jobs, strict=True) if b == k]
        result[f"images_per_second_{kind}"] = round(float(np.median(speeds)))
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
