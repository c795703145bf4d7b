"""The training loss and its slope."""

import torch
from torch import Tensor

OUT = -1e9  # logit of an output that does not compete; minus infinity would make padding NaN


def masked(logits: Tensor, competing: Tensor | None) -> Tensor:
    """Return the logits, (R, B, outputs), without those outputs that do not compete.

    Parameters
    ----------
    competing : Tensor or None
        bool, (R, B or 1, outputs); None: all compete.
    """
    return logits if competing is None else logits.masked_fill(~competing, OUT)


def cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor, competing: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the weighted cross entropy of each replica, and its derivative by the logits.

    Parameters
    ----------
    logits : Tensor
        (R, B, outputs).
    labels : Tensor
        int64, (R, B).
    weights : Tensor
        float32, (R, B).
    competing : Tensor, optional
        Which outputs the softmax runs over, see `masked`.

    Returns
    -------
    loss : Tensor
        (R,), in nats.
    slope : Tensor
        (R, B, outputs): weights · (softmax − one-hot); 0 where an output does not compete.
    """
    logs = torch.log_softmax(masked(logits, competing), 2)
    chosen = labels[..., None]
    loss = -(logs.gather(2, chosen)[..., 0] * weights).sum(1)
    slope = logs.exp_()
    slope.scatter_add_(2, chosen, slope.new_full((1, 1, 1), -1.0).expand_as(chosen))
    return loss, slope.mul_(weights[..., None])
