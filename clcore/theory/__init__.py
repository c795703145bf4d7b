"""Expected forgetting and generalization of linear models, in closed form, on NumPy and SciPy.

`LinearTasks` holds a task sequence with its ground truths, `Problem` the distances that its
expected risks depend on, `Update` what one task trains and how far it moves.
"""

from clcore.theory.anisotropic import (
    ProximalStep,
    anisotropic_gains,
    anisotropic_risks,
    curved_gains,
    effective_ridge,
    proximal_step,
)
from clcore.theory.boundary import Boundary, boundary, equidistant
from clcore.theory.forgetting import (
    average_forgetting,
    backward_transfer,
    forgetting,
    forward_transfer,
    generalization_error,
)
from clcore.theory.gains import direction_gain, law_plan, optimal_gains
from clcore.theory.long_run import LongRun, long_run
from clcore.theory.magnitude import TrainableOptimum, optimal_trainable
from clcore.theory.planning import BestPlan, best_plan, history_weights
from clcore.theory.problem import LinearTasks, Problem
from clcore.theory.recursion import expected_risks, one_step_forgetting, one_step_risk
from clcore.theory.update import Moments, Update, check_plan, moments

__all__ = [
    "BestPlan",
    "Boundary",
    "LinearTasks",
    "LongRun",
    "Moments",
    "Problem",
    "ProximalStep",
    "TrainableOptimum",
    "Update",
    "anisotropic_gains",
    "anisotropic_risks",
    "average_forgetting",
    "backward_transfer",
    "best_plan",
    "boundary",
    "check_plan",
    "curved_gains",
    "direction_gain",
    "effective_ridge",
    "equidistant",
    "expected_risks",
    "forgetting",
    "forward_transfer",
    "generalization_error",
    "history_weights",
    "law_plan",
    "long_run",
    "moments",
    "one_step_forgetting",
    "one_step_risk",
    "optimal_gains",
    "optimal_trainable",
    "proximal_step",
]
