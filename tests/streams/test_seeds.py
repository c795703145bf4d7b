import pytest
import torch

from clcore.errors import InputError
from clcore.seeds import PURPOSES, generator


def draw(seed: int, purpose: str, *keys: int) -> tuple[float, ...]:
    return tuple(torch.rand(4, generator=generator(seed, purpose, *keys)).tolist())


def test_equal_arguments_draw_equally_whatever_was_drawn_before() -> None:
    first = draw(3, "order", 1, 2)
    torch.rand(100)
    draw(3, "stream", 1, 2)
    assert draw(3, "order", 1, 2) == first


def test_every_coordinate_counts() -> None:
    keys = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1), (2, 3), (0, 0, 0), (0, 0, 0, 0)]
    seeds = [0, 1, 2, 2**32, 2**32 + 1]  # the last two would wrap in 32 bits
    draws = {draw(s, p, *k) for s in seeds for p in PURPOSES for k in keys}
    assert len(draws) == len(seeds) * len(PURPOSES) * len(keys)


def test_seeds_are_uncorrelated() -> None:
    rows = torch.stack([torch.rand(4000, generator=generator(s, "order")) for s in range(6)])
    correlations = torch.corrcoef(rows) - torch.eye(6)
    assert correlations.abs().max() < 0.08  # 5 deviations of 4,000 independent draws


def test_global_generator_is_untouched() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    draw(0, "probe")
    assert torch.equal(torch.rand(3), expected)


def test_negative_seed() -> None:
    with pytest.raises(InputError, match="seed -1 is negative"):
        generator(-1, "stream")
