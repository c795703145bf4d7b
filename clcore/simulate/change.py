"""The smallest change that fits: the one step that every update is made of."""

import torch
from torch import Tensor


def smallest_change(features: Tensor, residual: Tensor) -> Tensor:
    """Return the smallest change of the parameters that fits the residual, for every trial.

    Where it cannot be fitted (m < n), the least-squares change. Gradient descent on the
    squared error from zero converges to the same.

    Parameters
    ----------
    features : (R, n, m) tensor
        Full-rank features of R trials, a sample a row.
    residual : (R, n) tensor
        What the changed parameters are to explain.

    Returns
    -------
    (R, m) tensor
    """
    samples, parameters = features.shape[-2:]
    target = residual[..., None]
    # Normal equations of the smaller side: about ten times faster than a batched lstsq, and
    # accurate enough, since Gaussian features away from m = n are well conditioned.
    if parameters > samples:
        factor = torch.linalg.cholesky(features @ features.mT)
        change = features.mT @ torch.cholesky_solve(target, factor)
    else:
        factor = torch.linalg.cholesky(features.mT @ features)
        change = torch.cholesky_solve(features.mT @ target, factor)
    return change[..., 0]
