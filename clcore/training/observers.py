"""What can be watched while replicas train. Observers judge; no strategy may use them.

An observer looks at a run through a `Moment`, after steps or after a task, and returns named
values, (R, …); `train` stacks them over the tasks.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from clcore.errors import InputError
from clcore.measures.drift import drift, relative_drift
from clcore.measures.gradients import cosine, inner, of_blocks
from clcore.networks import Network, Parameters, is_statistic


class Moment(Protocol):
    """The replicas at some point of a run, with what a judge may look at.

    Attributes
    ----------
    network : Network
        The network that the replicas share.
    parameters : Parameters
        Where the replicas stand.
    before : Parameters
        Where they stood when the task arrived.
    initial : Parameters
        Where they were initialized.
    replicas : int
        R.
    task, tasks : int
        The task being trained or just trained, from 0, and how many there are.
    """

    network: Network
    parameters: Parameters
    before: Parameters
    initial: Parameters
    replicas: int
    task: int
    tasks: int

    def accuracy(self, parameters: Parameters, task: int) -> Tensor:
        """Return the accuracy of each replica on the judged images of a task, float64 (R,)."""
        ...

    def outputs(self, parameters: Parameters, task: int) -> Tensor:
        """Return class probabilities on some judged images of a task, (R, n, outputs)."""
        ...

    def gradient(self, *, parameters: Parameters, task: int) -> Parameters:
        """Return the gradient of a task's training loss."""
        ...


Values = dict[str, Tensor]


class Observer:
    """Watches nothing; observers say what they watch. Each run takes new ones."""

    every = 0
    """Steps between two calls of `after_step`, or 0 for never."""

    def after_step(self, moment: Moment) -> None:
        """Look at the replicas in the middle of a task."""

    def after_task(self, moment: Moment) -> Values:
        """Return what was seen of a task: name → (R, …), equal shapes for every task."""
        return {}


class MagnitudeCurve(Observer):
    """The accuracy of every seen task at θ̂ + γ Δ, along γ: how far the update should have gone.

    θ̂ is where the replicas stood when the task arrived, Δ the update that its training made.
    Gives `magnitude_curve`, (R, gains, tasks), in [0, 1], NaN for tasks not seen, and
    `best_gain`, (R,): the gain with the highest mean accuracy over the seen tasks, the smallest
    of equals. It costs evaluations alone, and it looks at images of old tasks: it judges.

    Running statistics move along, but never past their ends: a variance must stay positive.

    Parameters
    ----------
    gains : sequence of float
        Where to judge, at least two, ascending from 0 on; 0 is before the task, 1 after it.

    Raises
    ------
    InputError
        If the gains are fewer, negative, not finite or not ascending.
    """

    def __init__(self, gains: Sequence[float]) -> None:
        found = [float(gain) for gain in gains]
        usable = all(math.isfinite(gain) and gain >= 0 for gain in found)
        if len(found) < 2 or not usable or found != sorted(set(found)):
            raise InputError(f"gains {found}: give at least two, ascending, from 0 on")
        self.gains = tuple(found)

    def after_task(self, moment: Moment) -> Values:
        """Judge along the update."""
        seen = moment.task + 1
        curve = _blank(moment.replicas, len(self.gains), moment.tasks)
        for g, gain in enumerate(self.gains):
            state = _moved(moment.before, moment.parameters, gain)
            for i in range(seen):
                curve[:, g, i] = moment.accuracy(state, i)
        # Equal means must stay equal whatever the order in which their tasks are summed.
        best = curve[:, :, :seen].mean(2).round(decimals=12).argmax(1)
        return {
            "magnitude_curve": curve,
            "best_gain": torch.tensor(self.gains, dtype=torch.float64)[best],
        }


def _moved(before: Parameters, after: Parameters, gain: float) -> Parameters:
    """Return before + gain · (after − before); exact at gains 0 and 1."""
    return {
        n: torch.lerp(before[n], p, min(gain, 1.0) if is_statistic(n) else gain)
        for n, p in after.items()
    }


class RelativeDrift(Observer):
    """How far each block moved, for its size.

    Gives `relative_drift`, (R, blocks): ‖θ̂_k − θ̂_{k−1}‖ / ‖θ̂_{k−1}‖ of each block.
    """

    def after_task(self, moment: Moment) -> Values:
        """Compare with where the replicas stood when the task arrived."""
        blocks = moment.network.blocks
        return {"relative_drift": relative_drift(moment.before, moment.parameters, blocks)}


class FunctionDrift(Observer):
    """How far the outputs on each earlier task moved by a task's update.

    Gives `function_drift`, (R, tasks): the mean over judged images of the total variation
    distance ½ Σ_c |p_c − q_c|, in [0, 1], between the class probabilities before and after the
    update; NaN for tasks not seen before.
    """

    def after_task(self, moment: Moment) -> Values:
        """Compare the outputs on the judged images of the earlier tasks."""
        moved = _blank(moment.replicas, moment.tasks)
        for i in range(moment.task):
            change = moment.outputs(moment.parameters, i) - moment.outputs(moment.before, i)
            moved[:, i] = change.double().abs().sum(2).nanmean(1).cpu() / 2
        return {"function_drift": moved}


class GradientCosines(Observer):
    """The angles between the gradients of all seen tasks, at the point where a task arrives.

    All gradients, that of the arriving task among them, are of training losses at θ̂_{k−1}: what
    the law for the best gain compares. Where tasks answer with outputs of their own, the head's
    gradients are orthogonal. Gives `gradient_cosines`, (R, blocks, tasks, tasks), in
    [−1, 1], and `gradient_norms`, (R, blocks, tasks); NaN for tasks not seen.
    """

    def after_task(self, moment: Moment) -> Values:
        """Take the gradient of every seen task at the parameters before the update."""
        blocks, seen = moment.network.blocks, moment.task + 1
        found = [moment.gradient(parameters=moment.before, task=i) for i in range(seen)]
        cosines = _blank(moment.replicas, len(blocks), moment.tasks, moment.tasks)
        norms = _blank(moment.replicas, len(blocks), moment.tasks)
        for i in range(seen):
            norms[:, :, i] = of_blocks(inner, found[i], found[i], blocks).sqrt().cpu()
            for j in range(i + 1):
                product = of_blocks(cosine, found[i], found[j], blocks).cpu()
                cosines[:, :, i, j] = cosines[:, :, j, i] = product
        return {"gradient_cosines": cosines, "gradient_norms": norms}


class ForwardAccuracy(Observer):
    """What is already known of a task before it is trained: the two sides of forward transfer.

    Gives `arrival_accuracy`, (R,): the accuracy on the task just before its training, a[k−1, k];
    and `initial_accuracy`, (R,): that of the network as it was initialized. Outputs of the task's
    own are untrained in both.
    """

    def after_task(self, moment: Moment) -> Values:
        """Judge the task where the replicas stood before it, and where they began."""
        return {
            "arrival_accuracy": moment.accuracy(moment.before, moment.task),
            "initial_accuracy": moment.accuracy(moment.initial, moment.task),
        }


class Trajectory(Observer):
    """What happens within a task: the length of the update so far, and the accuracies.

    Gives `update_norm`, (R, points, blocks): distance of each block from where it
    stood when the task arrived; and `accuracy_within`, (R, points, tasks): the accuracy on each
    seen task, the one in training among them; NaN for tasks not seen. Point p is after step
    (p + 1) · `every`. `measures.stability_gap` and `worst_case_accuracy` summarize it.

    Parameters
    ----------
    every : int
        Steps between two points.
    points : int
        How many points to keep of a task, the first ones; a shorter task leaves NaN.

    Raises
    ------
    InputError
        If one of them is below 1.
    """

    def __init__(self, every: int, points: int) -> None:
        if every < 1 or points < 1:
            raise InputError(f"every {every} steps, {points} points: both must be at least 1")
        self.every, self.points = every, points
        self._norms: list[Tensor] = []
        self._scores: list[Tensor] = []

    def after_step(self, moment: Moment) -> None:
        """Measure the update so far, and judge the seen tasks."""
        if len(self._norms) == self.points:
            return
        self._norms.append(drift(moment.before, moment.parameters, moment.network.blocks))
        scores = [moment.accuracy(moment.parameters, i) for i in range(moment.task + 1)]
        self._scores.append(torch.stack(scores, 1))

    def after_task(self, moment: Moment) -> Values:
        """Return the points of the task, and begin anew."""
        norms = _blank(moment.replicas, self.points, len(moment.network.blocks))
        scores = _blank(moment.replicas, self.points, moment.tasks)
        for p, (lengths, judged) in enumerate(zip(self._norms, self._scores, strict=True)):
            norms[:, p] = lengths
            scores[:, p, : moment.task + 1] = judged
        self._norms, self._scores = [], []
        return {"update_norm": norms, "accuracy_within": scores}


def _blank(*shape: int) -> Tensor:
    return torch.full(shape, torch.nan, dtype=torch.float64)
