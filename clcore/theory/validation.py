"""Arrays that the theory accepts; everything else is an `InputError` before any work."""

from typing import Any

import numpy as np
import numpy.typing as npt

from clcore.errors import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Relative; above the rounding errors of a computed covariance.
_ROUNDING = 1e-9


def counts(name: str, values: Any, length: int | None = None) -> IntArray:
    """Return counts of at least 1 as an array; one value stands for `length` equal ones."""
    array = np.asarray(values)
    if length is not None and array.ndim == 0:
        array = np.full(length, array)
    if array.ndim != 1 or array.size == 0 or (length is not None and array.size != length):
        expected = "at least one value" if length is None else f"one value or {length}, one a task"
        raise InputError(f"{name} has shape {np.shape(values)}, but {expected} is expected")
    if array.dtype.kind not in "iu" or array.min() < 1:
        raise InputError(f"{name} = {array.tolist()}, but integers of at least 1 are expected")
    return array.astype(np.int64)


def deviations(name: str, values: Any, tasks: int) -> FloatArray:
    """Return standard deviations of at least 0, one for each task; one value stands for all."""
    array = finite(name, values)
    if array.ndim == 0:
        array = np.full(tasks, array)
    if array.shape != (tasks,):
        raise InputError(
            f"{name} has shape {array.shape}, but one value or {tasks}, one a task, is expected"
        )
    if array.min() < 0:
        raise InputError(
            f"{name} holds {array.min():g}, but it is a standard deviation: give at least 0"
        )
    return array


def finite(name: str, values: npt.ArrayLike) -> FloatArray:
    """Return a copy as finite float64 numbers."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is no array of numbers: {error}") from error
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds NaN or infinity: give finite numbers")
    return array


def shaped(name: str, values: npt.ArrayLike, *shape: int) -> FloatArray:
    """Return finite float64 numbers of this shape."""
    array = finite(name, values)
    if array.shape != shape:
        raise InputError(f"{name} has shape {array.shape}, but {shape} is expected")
    return array


def nonnegative(name: str, values: npt.ArrayLike, *shape: int) -> FloatArray:
    """Return finite float64 numbers of at least 0 of this shape."""
    array = shaped(name, values, *shape)
    if array.size and array.min() < 0:
        raise InputError(f"{name} holds {array.min():g}, but at least 0 is expected")
    return array


def second_moments(name: str, values: npt.ArrayLike) -> FloatArray:
    """Return a copy of one positive semidefinite matrix (P, P), or one a task (K, P, P)."""
    array = finite(name, values)
    if array.ndim not in (2, 3) or array.shape[-1] != array.shape[-2] or array.size == 0:
        raise InputError(
            f"{name} has shape {array.shape}, but a square matrix, or one for each task, is "
            "expected"
        )
    slack = _ROUNDING * np.abs(array).max()
    if (np.abs(array - np.swapaxes(array, -1, -2)) > slack).any():
        raise InputError(f"{name} is not symmetric: check that it holds second moments")
    if np.linalg.eigvalsh(array).min() < -slack:
        raise InputError(f"{name} has a negative eigenvalue, but second moments have none")
    return array


def one_a_task(name: str, matrices: FloatArray, tasks: int, parameters: int) -> FloatArray:
    """Return (P, P) or (K, P, P) matrices as (K, P, P), if that is their shape."""
    if matrices.shape not in {(parameters,) * 2, (tasks, parameters, parameters)}:
        raise InputError(
            f"{name} has shape {matrices.shape}, but for {tasks} tasks with {parameters} "
            f"parameters ({parameters}, {parameters}) or ({tasks}, {parameters}, {parameters}) is "
            "expected"
        )
    return np.broadcast_to(matrices, (tasks, parameters, parameters))


def strengths_by_block(values: npt.ArrayLike, tasks: int, blocks: int) -> FloatArray:
    """Return a (K, B) copy of strengths of at least 0; one, or one row of B, stands for all."""
    array = finite("strengths", values)
    if array.shape not in {(), (blocks,), (tasks, blocks)}:
        raise InputError(
            f"strengths has shape {array.shape}, but one value, {blocks}, one a block, or "
            f"{(tasks, blocks)}, a row for each task, are expected"
        )
    if array.min() < 0:
        raise InputError(f"strengths hold {array.min():g}, but at least 0 is expected")
    return np.broadcast_to(array, (tasks, blocks)).copy()


def freeze(target: object, **arrays: npt.NDArray[Any]) -> None:
    """Set read-only arrays on a frozen dataclass from its own `__init__`."""
    for name, array in arrays.items():
        array.setflags(write=False)
        object.__setattr__(target, name, array)
