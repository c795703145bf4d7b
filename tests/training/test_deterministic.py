from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from clcore.networks import MLP, Network, ResNet18
from clcore.strategies import Hybrid
from clcore.streams import Dataset, permuted
from clcore.training import Budget, train

SEEDS = [3, 4]


def test_a_deterministic_rerun_is_bit_equal(color: Dataset) -> None:
    before = torch.are_deterministic_algorithms_enabled()
    networks: list[Network] = [MLP(color.train_images[0].numel(), [9], 4, dropout=0.2)]
    networks.append(ResNet18(3, 4, width=2))
    for network in networks:
        first, second = (
            train(
                [permuted(color, [1.0], seed=s) for s in SEEDS],
                network,
                Hybrid(),
                SEEDS,
                Budget(2, 16, 0.05, momentum=0.5, augment=True),
                deterministic=True,
            )
            for _ in range(2)
        )
        np.testing.assert_array_equal(first.accuracy, second.accuracy)
        np.testing.assert_array_equal(first.drift, second.drift)
        np.testing.assert_array_equal(first.notes["similarity"], second.notes["similarity"])
    # A CPU needs no other kernels, so torch's own switch stays as it was.
    assert torch.are_deterministic_algorithms_enabled() == before


@pytest.mark.parametrize(
    "network",
    [MLP(192, [256, 128], 4), ResNet18(3, 4, width=4)],
    ids=["mlp", "resnet"],
)
def test_the_number_of_threads_changes_rounding_alone(
    color: Dataset, spy: Callable[..., Any], network: Network
) -> None:
    """Sums in another order: 1e-4 of a parameter after 20 steps, no more."""
    streams = [permuted(color, [1.0], seed=s) for s in SEEDS]
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            watch = spy(Hybrid())
            outcome = train(streams, network, watch, SEEDS, Budget(2, 16, 0.05, momentum=0.5))
            found.append((outcome, watch.after[-1]))
    finally:
        torch.set_num_threads(before)
    (one, parameters), *others = found
    for outcome, moved in others:
        np.testing.assert_allclose(outcome.drift, one.drift, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(outcome.accuracy, one.accuracy, atol=1e-12)
        for name, value in parameters.items():
            torch.testing.assert_close(moved[name], value, rtol=1e-4, atol=1e-5, msg=name)
