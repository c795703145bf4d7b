import numpy as np
import pytest
import torch

from clcore.measures import cosine, inner

SHAPES = {"a.weight": (3, 4, 2), "a.bias": (3, 2), "b.bias": (3, 1)}


def draw(seed: int) -> dict[str, torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return {n: torch.randn(shape, generator=draws) for n, shape in SHAPES.items()}


def flat(of: dict[str, torch.Tensor], replica: int) -> np.ndarray:
    return np.concatenate([v[replica].numpy().astype(np.float64).ravel() for v in of.values()])


def test_against_numpy() -> None:
    first, second = draw(0), draw(1)
    for r in range(3):
        one, other = flat(first, r), flat(second, r)
        assert inner(first, second)[r].item() == pytest.approx(one @ other, rel=1e-12)
        expected = one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
        assert cosine(first, second)[r].item() == pytest.approx(expected, rel=1e-12)


def test_known_angles() -> None:
    # (1, 1) against (1, 0), (1, −1), (2, 2), (−3, −3): 1/√2, 0, 1, −1.
    first = {"a.x": torch.ones(4, 2)}
    second = {"a.x": torch.tensor([[1.0, 0], [1, -1], [2, 2], [-3, -3]])}
    expected = torch.tensor([0.5**0.5, 0, 1, -1], dtype=torch.float64)
    torch.testing.assert_close(cosine(first, second), expected, rtol=1e-15, atol=1e-15)


def test_never_outside_minus_one_to_one() -> None:
    draws = torch.Generator().manual_seed(0)
    vectors = torch.randn(5000, 3, generator=draws)
    factors = torch.rand(5000, 1, generator=draws) * torch.tensor([1.0, -1.0]).repeat(2500)[:, None]
    found = cosine({"a.x": vectors.double()}, {"a.x": vectors.double() * factors})
    assert found.abs().max() <= 1
    assert found.abs().min() > 1 - 1e-12


def test_scale_does_not_matter() -> None:
    first, second = draw(0), draw(1)
    tiny = {n: v.double() * 1e-18 for n, v in first.items()}
    huge = {n: v.double() * 1e18 for n, v in second.items()}
    torch.testing.assert_close(cosine(tiny, huge), cosine(first, second), rtol=1e-12, atol=0)
    torch.testing.assert_close(cosine(tiny, tiny), torch.ones(3, dtype=torch.float64))


def test_zero_gradient_has_cosine_0() -> None:
    first, second = draw(0), draw(1)
    for value in first.values():
        value[1] = 0
    found = cosine(first, second)
    assert found[1] == 0
    assert found[0] != 0
    assert cosine(first, first)[1] == 0


def test_gradient_of_a_diverged_replica_has_no_direction() -> None:
    first, second = draw(0), draw(1)
    first["a.bias"][2] = float("nan")
    found = cosine(first, second)
    assert found.isnan().tolist() == [False, False, True]
