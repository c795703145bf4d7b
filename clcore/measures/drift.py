"""How far parameters moved."""

import torch
from torch import Tensor

from clcore.networks import Parameters, trained_names


def drift(before: Parameters, after: Parameters, blocks: tuple[str, ...]) -> Tensor:
    """Return the Euclidean length of each block's update, float64 (R, blocks).

    Parameters
    ----------
    before, after : Parameters
        Stacked, (R, …); running statistics do not count.
    blocks : tuple of str
        Which blocks, in this order.
    """
    squares = []
    for block in blocks:
        names = trained_names(after, (block,))
        moved = [after[n].to(torch.float64, copy=True).sub_(before[n]).flatten(1) for n in names]
        squares.append(torch.cat(moved, 1).square_().sum(1))
    return torch.stack(squares, 1).sqrt().cpu()


def relative_drift(before: Parameters, after: Parameters, blocks: tuple[str, ...]) -> Tensor:
    """Return ‖after − before‖ / ‖before‖ of each block, float64 (R, blocks).

    A block that stood at zero and moved has an infinite relative drift; one that stayed there, 0.

    Parameters
    ----------
    before, after : Parameters
        Stacked, (R, …); running statistics do not count.
    blocks : tuple of str
        Which blocks, in this order.
    """
    moved = drift(before, after, blocks)
    origin = {n: torch.zeros_like(p) for n, p in before.items()}
    return torch.where(moved == 0, 0.0, moved / drift(origin, before, blocks))
