"""Where one plan overtakes another, in the plane of squared task distances."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clcore.errors import InputError
from clcore.theory.problem import Problem
from clcore.theory.recursion import expected_risks
from clcore.theory.update import Update
from clcore.theory.validation import FloatArray, counts, nonnegative

# Relative; above the rounding errors of a recursion, below any curvature that could be seen.
_ROUNDING = 1e-9
_UNITS = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
_PROBE = (2.0, 3.0)


class Boundary(NamedTuple):
    """The line on which two plans are equally good, and the difference off it.

    With x the squared distance of the tasks in the shared block and y that in the
    task-specific block, the first plan's objective less the second's is
    ``constant + shared * x + specific * y``: negative where the first plan is better.
    """

    constant: float
    shared: float
    specific: float

    def difference(self, shared: npt.ArrayLike, specific: npt.ArrayLike) -> FloatArray:
        """Return the first plan's objective less the second's at squared distances."""
        x, y = np.asarray(shared), np.asarray(specific)
        return np.asarray(self.constant + self.shared * x + self.specific * y)


def boundary(
    problem_at: Callable[[float, float], Problem],
    first: Sequence[Update],
    second: Sequence[Update],
    objective: Callable[[FloatArray], float],
) -> Boundary:
    """Return the exact line between two plans in the plane of squared task distances.

    Expected risks are affine in the squared distances between the tasks and from the start to
    the tasks. So, if `problem_at` makes both affine in x and y, as `equidistant` does, the
    difference of two fixed plans is affine too, and three evaluations of the recursion give its
    coefficients. The learning of every task is included, and both regimes are covered.
    Source: the companion's boundary theorem (*Frozen or initialized?*).

    Parameters
    ----------
    problem_at : callable
        ``problem_at(x, y)`` is the problem at squared distance x of the tasks in the shared
        and y in the task-specific block; called at (0, 0), (1, 0), (0, 1) and (2, 3).
    first, second : sequence of Update
        The plans, for example frozen and initialized training.
    objective : callable
        What counts, less is better: `average_forgetting`, `generalization_error` or any other
        linear function of the (K+1, B, K) risks.

    Raises
    ------
    InputError
        If the difference is not affine, because the objective is not linear or
        the distances that `problem_at` gives are not affine in x and y; or if a plan
        does not fit the problem.
    """

    def difference(x: float, y: float) -> float:
        problem = problem_at(x, y)
        one, other = (objective(expected_risks(problem, plan)) for plan in (first, second))
        sizes.append(abs(one) + abs(other))
        return one - other

    sizes: list[float] = []
    constant, right, up = (difference(*unit) for unit in _UNITS)
    line = Boundary(constant, right - constant, up - constant)
    probed, expected = difference(*_PROBE), float(line.difference(*_PROBE))
    if abs(probed - expected) > _ROUNDING * max(sizes):
        raise InputError(
            f"at squared distances {_PROBE} the plans differ by {probed:g}, but on a plane through "
            f"the differences at {_UNITS} by {expected:g}: problem_at must give squared distances "
            "that are affine in x and y, and objective be linear in the risks"
        )
    return line


def equidistant(
    tasks: int,
    sizes: Sequence[int],
    apart: npt.ArrayLike,
    center: npt.ArrayLike,
    samples: int | Sequence[int],
    noise: float | Sequence[float] = 0.0,
) -> Problem:
    """Return a problem whose tasks all have the same squared distance in each block.

    In block b the ground truths are corners of a simplex: a common center plus orthogonal
    vectors of squared length ``apart[b] / 2``. The start is at squared distance
    ``center[b]`` from the center, at right angles to them, so that its squared distance
    to every task is ``center[b] + apart[b] / 2``. Growing distances thus move each task away
    from the start as well as from the others. The expected risks are also those of
    independent random tasks around the center with that expected squared distance,
    which needs no room for K orthogonal vectors.

    Parameters
    ----------
    tasks : int
        K, at least 1.
    sizes : sequence of int, shape (B,)
        Number of parameters in each block.
    apart : array_like, shape (B,)
        Squared distance of any two tasks in each block, at least 0.
    center : array_like, shape (B,)
        Squared distance from the start to the center in each block, at least 0; zero where
        what the tasks share is known from the start.
    samples : int or sequence of int, shape (K,)
        Training samples of each task.
    noise : float or sequence of float, shape (K,)
        Standard deviation of the label noise of each task.

    Raises
    ------
    InputError
        If a shape or a value is not as described.
    """
    if tasks < 1:
        raise InputError(f"tasks = {tasks}, but at least 1 is expected")
    blocks = len(counts("sizes", sizes))
    distance, common = nonnegative("apart", apart, blocks), nonnegative("center", center, blocks)
    return Problem(
        sizes,
        distances=distance[:, None, None] * (1 - np.eye(tasks)),
        initial=np.repeat((common + distance / 2)[:, None], tasks, axis=1),
        samples=samples,
        noise=noise,
    )
