"""Directions of gradients."""

from collections.abc import Callable

import torch
from torch import Tensor

from clcore.networks import Parameters, block_of


def inner(first: Parameters, second: Parameters) -> Tensor:
    """Return the inner product of two gradients for each replica, float64 (R,)."""
    products = [(first[n].double() * second[n].double()).flatten(1).sum(1) for n in first]
    return torch.stack(products).sum(0)


def cosine(first: Parameters, second: Parameters) -> Tensor:
    """Return the cosine between two gradients for each replica, float64 (R,), in [−1, 1].

    A gradient of length zero has cosine 0 with everything; one that is not finite, NaN.

    Parameters
    ----------
    first, second : Parameters
        Same names; values stacked, (R, …).
    """
    lengths = (inner(first, first) * inner(second, second)).sqrt()
    cosines = (inner(first, second) / lengths).clamp(-1, 1)  # rounding may exceed 1
    return torch.where(lengths == 0, 0.0, cosines)


def sign_agreement(first: Parameters, second: Parameters) -> Tensor:
    """Return the cosine between the signs of two gradients, float64 (R,), in [−1, 1].

    If no entry is 0, it is the share of entries with equal signs less that of the others: blind
    to the size of entries. Zero and not finite gradients are as in `cosine`.
    """
    return cosine(_signs(first), _signs(second))


def _signs(gradient: Parameters) -> Parameters:
    return {n: torch.where(g.isfinite(), g.sign(), torch.nan) for n, g in gradient.items()}


def of_blocks(
    measure: Callable[[Parameters, Parameters], Tensor],
    first: Parameters,
    second: Parameters,
    blocks: tuple[str, ...],
) -> Tensor:
    """Return a measure of two gradients block by block, float64 (R, blocks)."""
    parts = [
        [{n: g for n, g in one.items() if block_of(n) == block} for one in (first, second)]
        for block in blocks
    ]
    return torch.stack([measure(one, other) for one, other in parts], 1)
