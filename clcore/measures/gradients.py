"""Directions of gradients."""

import torch
from torch import Tensor

from clcore.networks import Parameters


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
