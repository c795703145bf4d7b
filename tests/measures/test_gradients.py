import numpy as np
import pytest
import torch

from clcore.measures import cosine, inner, of_blocks, sign_agreement

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


def test_signs_against_numpy() -> None:
    """The share of entries that agree less that of the others, whatever their sizes."""
    first, second = draw(0), draw(1)
    found = sign_agreement(first, second)
    for r in range(3):
        agree = np.sign(flat(first, r)) == np.sign(flat(second, r))
        assert found[r].item() == pytest.approx(agree.mean() - (~agree).mean(), rel=1e-12)
    assert len(set(found.tolist())) > 1
    sizes = {n: torch.rand_like(v) + 1e-9 for n, v in first.items()}
    scaled = {n: v * sizes[n] for n, v in first.items()}
    assert sign_agreement(scaled, second).equal(found)


def test_known_signs() -> None:
    first = {"a.x": torch.tensor([[1.0, -2, 3, -4]]).repeat(5, 1)}
    second = {
        "a.x": torch.tensor(
            [[9.0, -8, 7, -6], [-1, 1, -1, 1], [1, 1, 1, 1], [5, 0, 0, 0], [0, 0, 0, 0]]
        )
    }
    # Where entries are 0, it is the cosine between the signs still: 1 / √(4 · 1).
    torch.testing.assert_close(
        sign_agreement(first, second), torch.tensor([1, -1, 0, 0.5, 0], dtype=torch.float64)
    )


def test_signs_of_a_diverged_replica_agree_with_none() -> None:
    first, second = draw(0), draw(1)
    first["a.bias"][1, 0] = float("inf")
    first["a.bias"][2, 0] = float("nan")
    assert sign_agreement(first, second).isnan().tolist() == [False, True, True]


@pytest.mark.parametrize("measure", [inner, cosine, sign_agreement])
def test_block_by_block(measure) -> None:
    """In the order that is asked for, whatever the order of the names."""
    first, second = draw(0), draw(1)
    first["ab.weight"], second["ab.weight"] = draw(2)["a.weight"], draw(3)["a.weight"]
    found = of_blocks(measure, first, dict(reversed(second.items())), ("b", "ab", "a"))
    assert found.shape == (3, 3)
    assert found.dtype == torch.float64
    for b, names in enumerate((["b.bias"], ["ab.weight"], ["a.weight", "a.bias"])):
        expected = measure({n: first[n] for n in names}, {n: second[n] for n in names})
        torch.testing.assert_close(found[:, b], expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        of_blocks(inner, first, second, ("b", "ab", "a")).sum(1), inner(first, second)
    )
