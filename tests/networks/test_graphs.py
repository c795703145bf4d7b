"""CUDA graphs against the passes that they stand for, on a machine with an NVIDIA GPU."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from clcore.networks import Parameters, ResNet18, trained_names
from clcore.networks.graphs import Graphs
from clcore.strategies import EWC, LwF, Partial, Replay, Strategy
from clcore.streams import Dataset, split
from clcore.training import Budget, Outcome, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")

SEEDS = [3, 4, 5]
STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "initialized": lambda: Partial(modules=10),
    "frozen": lambda: Partial(modules=3),
    "ewc": lambda: EWC(strength=1.0),
    "lwf": LwF,
    "replay": lambda: Replay(size=20),
}


@pytest.fixture(scope="module")
def images(learnable: Callable[..., Dataset]) -> Dataset:
    """Return 400 + 30 images of 3 × 16 × 16 pixels in 4 classes."""
    return learnable(3, 16, 400)


def run(
    dataset: Dataset,
    strategy: Strategy,
    seeds: list[int],
    momentum: float = 0.0,
) -> Outcome:
    network = ResNet18(3, 4, width=8, bf16=True)
    streams = [split(dataset, seed=seed, tasks=2) for seed in seeds]
    budget = Budget(2, 16, 0.05, momentum)
    return train(streams, network, strategy, seeds, budget, device="cuda")


def check_equal(one: Outcome, other: Outcome) -> None:
    assert np.isfinite(one.drift).all()
    np.testing.assert_array_equal(one.drift, other.drift)
    np.testing.assert_array_equal(one.accuracy, other.accuracy)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", STRATEGIES)
def test_graphs_change_no_number(
    images: Dataset, name: str, momentum: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit by bit: the kernels are the same ones, launched otherwise."""
    replayed = run(images, STRATEGIES[name](), SEEDS, momentum=momentum)
    monkeypatch.setattr(Graphs, "of", lambda *_: None)
    check_equal(replayed, run(images, STRATEGIES[name](), SEEDS, momentum=momentum))


def test_alone_as_among_others(images: Dataset) -> None:
    together = run(images, Partial(modules=10), SEEDS)
    for r, seed in enumerate(SEEDS):
        alone = run(images, Partial(modules=10), [seed])
        np.testing.assert_allclose(together.drift[r], alone.drift[0], rtol=1e-12)
        np.testing.assert_array_equal(together.accuracy[r], alone.accuracy[0])


def test_again_is_the_same(images: Dataset) -> None:
    check_equal(*(run(images, Partial(modules=10), SEEDS) for _ in range(2)))


def test_one_step_is_that_of_the_cpu() -> None:
    """A replayed step in float32 against the CPU's in float64, after other steps elsewhere."""
    network = ResNet18(3, 4, width=8)
    draws = torch.Generator().manual_seed(0)
    pictures = torch.randn((12, 2, 6, 3, 16, 16), generator=draws)
    slopes = torch.randn((12, 2, 6, 4), generator=draws)
    trainable = torch.tensor([[True] * 10, [False] * 6 + [True] * 4])
    counts = [6, 4]

    def steps(device: str, dtype: torch.dtype) -> list[Parameters]:
        values = {
            n: p.to(dtype) for n, p in network.initialize([1, 2], torch.device("cpu")).items()
        }
        parameters = {n: p.to(device) for n, p in values.items()}
        out = {
            n: torch.zeros_like(parameters[n]) for n in trained_names(parameters, network.blocks)
        }
        found = []
        for image, slope in zip(pictures, slopes, strict=True):
            for n, value in values.items():
                parameters[n].copy_(value)
            _, backward = network.forward(parameters, image.to(device, dtype), trainable, counts)
            backward(slope.to(device, dtype), out)
            found.append({n: g.cpu().double().clone() for n, g in out.items()})
        return found

    torch.backends.cudnn.allow_tf32 = False
    for ours, theirs in zip(steps("cuda", torch.float32), steps("cpu", torch.float64), strict=True):
        for n, expected in theirs.items():
            assert (ours[n] - expected).norm() <= 1e-4 * expected.norm(), n
