import numpy as np
import torch

from clcore.measures import drift, relative_drift
from clcore.networks import ResNet18


def test_by_hand() -> None:
    # Block a moves by (3, 0) and 4: 5 long. Block b stays for replica 0, moves by 2 for 1.
    before = {
        "a.weight": torch.zeros(2, 2),
        "a.bias": torch.zeros(2, 1),
        "b.bias": torch.ones(2, 1),
    }
    after = {
        "a.weight": torch.tensor([[3.0, 0.0], [0.0, 0.0]]),
        "a.bias": torch.tensor([[4.0], [-1.0]]),
        "b.bias": torch.tensor([[1.0], [-1.0]]),
    }
    found = drift(before, after, ("b", "a"))
    assert found.dtype == torch.float64
    assert found.tolist() == [[0.0, 5.0], [2.0, 1.0]]


def test_against_numpy() -> None:
    network = ResNet18(1, 3, width=2)
    before, after = (network.initialize(seeds, torch.device("cpu")) for seeds in ([0, 1], [2, 3]))
    for name in after:
        if name.endswith((".mean", ".variance")):
            after[name] += 100  # running statistics do not count
    blocks = network.blocks
    found = drift(before, after, blocks)
    for r in range(2):
        for i, block in enumerate(blocks):
            moves = [
                (after[n][r].numpy().astype(np.float64) - before[n][r].numpy()).ravel()
                for n in after
                if n.split(".")[0] == block and n.split(".")[-1] not in ("mean", "variance")
            ]
            expected = np.linalg.norm(np.concatenate(moves))
            np.testing.assert_allclose(found[r, i], expected, rtol=1e-12)


def test_tiny_moves_of_large_values_are_not_lost() -> None:
    before = {"a.weight": torch.full((1, 4), 1.0)}
    after = {"a.weight": torch.full((1, 4), 1.0 + 2.0**-23)}  # the next float32
    assert drift(before, after, ("a",)).item() == 2 * 2.0**-23


def test_relative_drift_by_hand() -> None:
    # Block a: (3, 4), 5 long, moves by (0, 10): 2. Block b stood at zero: moved, and stayed.
    before = {
        "a.weight": torch.tensor([[3.0], [3.0]]),
        "a.bias": torch.tensor([[4.0], [4.0]]),
        "a.mean": torch.full((2, 1), 7.0),
        "b.bias": torch.zeros(2, 1),
    }
    after = {
        "a.weight": torch.tensor([[3.0], [3.0]]),
        "a.bias": torch.tensor([[14.0], [4.0]]),
        "a.mean": torch.full((2, 1), 9.0),
        "b.bias": torch.tensor([[1.0], [0.0]]),
    }
    found = relative_drift(before, after, ("a", "b"))
    assert found.dtype == torch.float64
    assert found.tolist() == [[2.0, float("inf")], [0.0, 0.0]]


def test_what_is_measured_stays_as_it_was() -> None:
    for kind in (torch.float32, torch.float64):
        before, after = ({"a.weight": torch.full((2, 3), v, dtype=kind)} for v in (1.0, 3.0))
        assert drift(before, after, ("a",)).tolist() == [[12**0.5]] * 2
        assert (before["a.weight"] == 1).all()
        assert (after["a.weight"] == 3).all()
