"""The training loss and its slope."""

import torch
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted cross entropy of each replica, and its derivative by the logits.

    Parameters
    ----------
    logits : Tensor
        (R, B, outputs).
    labels : Tensor
        int64, (R, B).
    weights : Tensor
        float32, (R, B).

    Returns
    -------
    loss : Tensor
        (R,), in nats.
    slope : Tensor
        (R, B, outputs): weights · (softmax − one-hot).
    """
    logs = torch.log_softmax(logits, 2)
    chosen = labels[..., None]
    loss = -(logs.gather(2, chosen)[..., 0] * weights).sum(1)
    slope = logs.exp_()
    slope.scatter_add_(2, chosen, slope.new_full((1, 1, 1), -1.0).expand_as(chosen))
    return loss, slope.mul_(weights[..., None])
