"""Expected forgetting and generalization of linear models, in closed form, on NumPy alone.

`LinearTasks` holds a task sequence with its ground truths, `Problem` the distances that its
expected risks depend on, `Update` what one task trains and how far it moves.
"""

from clcore.theory.forgetting import average_forgetting, forgetting, generalization_error
from clcore.theory.magnitude import TrainableOptimum, optimal_trainable
from clcore.theory.problem import LinearTasks, Problem
from clcore.theory.recursion import expected_risks, one_step_forgetting, one_step_risk
from clcore.theory.update import Moments, Update, check_plan, moments

__all__ = [
    "LinearTasks",
    "Moments",
    "Problem",
    "TrainableOptimum",
    "Update",
    "average_forgetting",
    "check_plan",
    "expected_risks",
    "forgetting",
    "generalization_error",
    "moments",
    "one_step_forgetting",
    "one_step_risk",
    "optimal_trainable",
]
