"""Forgetting, transfer and generalization error, read off a history of risks."""

from clcore.errors import InputError
from clcore.theory.validation import FloatArray


def forgetting(risks: FloatArray) -> FloatArray:
    """Return the forgetting of every task at the end of the sequence.

    Task i's risk after the last update less its risk after its own update; negative where
    later tasks improved it, and 0 for the last task.

    Parameters
    ----------
    risks : (K+1, B, K) array
        Blockwise risks before and after every update, expected or simulated.

    Returns
    -------
    (K,) array

    Raises
    ------
    InputError
        If the shape is not (K+1, B, K).
    """
    total = _total(risks)
    lost: FloatArray = total[-1] - total[1:].diagonal()
    return lost


def average_forgetting(risks: FloatArray) -> float:
    """Return the mean forgetting of all tasks but the last, from (K+1, B, K) risks.

    Raises
    ------
    InputError
        If the shape is not (K+1, B, K), or there are fewer than two tasks.
    """
    lost = forgetting(risks)
    if len(lost) < 2:
        raise InputError("one task forgets nothing: average forgetting needs two tasks or more")
    return float(lost[:-1].mean())


def backward_transfer(risks: FloatArray) -> float:
    """Return by how much later tasks lowered the risk on earlier ones, from (K+1, B, K) risks.

    1/(K-1) Σ_{i<K} (risk on i after its own update - risk on i at the end): `average_forgetting`
    with the sign turned, so that more is better, as in Lopez-Paz and Ranzato (2017), who
    define it for accuracies.

    Raises
    ------
    InputError
        If the shape is not (K+1, B, K), or there are fewer than two tasks.
    """
    return -average_forgetting(risks)


def forward_transfer(risks: FloatArray) -> float:
    """Return by how much earlier tasks lowered the risk on later ones, from (K+1, B, K) risks.

    1/(K-1) Σ_{i>1} (risk on i at the start - risk on i just before its own update); positive
    where what came before task i helped. The definition of Lopez-Paz and Ranzato (2017) for
    accuracies, with the sign turned, so that more is better here too.

    Raises
    ------
    InputError
        If the shape is not (K+1, B, K), or there are fewer than two tasks.
    """
    total = _total(risks)
    if total.shape[1] < 2:
        raise InputError("one task has none before it: forward transfer needs two tasks or more")
    return float((total[0] - total[:-1].diagonal())[1:].mean())


def generalization_error(risks: FloatArray) -> float:
    """Return the mean excess risk over all tasks after the last update, from (K+1, B, K) risks.

    Raises
    ------
    InputError
        If the shape is not (K+1, B, K).
    """
    return float(_total(risks)[-1].mean())


def _total(risks: FloatArray) -> FloatArray:
    if risks.ndim != 3 or risks.shape[0] != risks.shape[2] + 1:
        raise InputError(
            f"risks has shape {risks.shape}, but (tasks + 1, blocks, tasks) is expected"
        )
    total: FloatArray = risks.sum(axis=1)
    return total
