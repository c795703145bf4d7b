import numpy as np
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
