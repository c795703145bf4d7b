"""Training steps of ResNet-18 width 20, 3 × 32 × 32, batch 64.

    resnet.py DATA OURS PROCESSES REPLICAS

OURS 0 is a plain float32 PyTorch loop (torchvision's ResNet-18 with a stem for small images), 1
our own in float32, 2 in bfloat16. Each process trains REPLICAS, the plain loop one. The images are
random: speed does not depend on them.
"""

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

import torch
import torch.nn.functional as F
from job import arguments, report
from small_resnet import small_resnet

from clcore.networks import ResNet18
from clcore.training import cross_entropy

kind, processes, replicas = arguments()
WIDTH, BATCH, SECONDS = 20, 64, 15.0


def part(number: int) -> int:
    if processes > 1:
        torch.set_num_threads(1)
    torch.manual_seed(number)
    images = torch.randn(replicas, BATCH, 3, 32, 32)
    labels = torch.randint(10, (replicas, BATCH))
    if kind == 0:
        model = small_resnet(WIDTH, 10)
        optimizer = torch.optim.SGD(model.parameters(), 0.01)

        def step() -> None:
            optimizer.zero_grad()
            F.cross_entropy(model(images[0]), labels[0]).backward()
            optimizer.step()
    else:
        network = ResNet18(3, 10, width=WIDTH, bf16=kind == 2)
        parameters = network.initialize(range(number, number + replicas), torch.device("cpu"))
        trainable = torch.ones((replicas, 10), dtype=torch.bool)
        weights = torch.full((replicas, BATCH), 1 / BATCH)

        def step() -> None:
            logits, backward = network.forward(parameters, images, trainable)
            _, slope = cross_entropy(logits, labels, weights)
            backward(slope, parameters, beta=1.0, scale=-0.01 * trainable)

    step()
    seen, until = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        step()
        seen += replicas * BATCH
    return seen


def job() -> tuple[int, float]:
    done = [part(0)] if processes == 1 else list(pool.map(part, range(processes)))
    return sum(done), float("nan")


if __name__ == "__main__":
    if processes == 1:
        report(job)
    else:
        os.environ["OMP_NUM_THREADS"] = "1"
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
            list(pool.map(abs, range(processes * 4)))
            report(job)
