"""What can be watched while replicas train. Observers judge; no strategy may use them.

An observer looks at a run through a `Moment`, after steps or after a task, and returns named
values, (R, …); `train` stacks them over the tasks.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from clcore.errors import InputError
from clcore.measures.drift import drift
from clcore.measures.gradients import cosine
from clcore.networks import Network, Parameters, block_of, path


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
    replicas : int
        R.
    task, tasks : int
        The task being trained or just trained, from 0, and how many there are.
    """

    network: Network
    parameters: Parameters
    before: Parameters
    replicas: int
    task: int
    tasks: int

    @property
    def head(self) -> int:
        """The head of the task."""
        ...

    def accuracy(self, parameters: Parameters, task: int) -> Tensor:
        """Return the accuracy of each replica on the judged images of a task, float64 (R,)."""
        ...

    def outputs(self, parameters: Parameters, task: int) -> Tensor:
        """Return class probabilities on some judged images of a task, (R, n, outputs)."""
        ...

    def gradient(self, parameters: Parameters, task: int) -> Parameters:
        """Return the gradient of a task's training loss."""
        ...


Values = dict[str, Tensor]


class Observer:
    """Watches nothing; observers say what they watch."""

    every = 0
    """Steps between two calls of `after_step`; 0: never."""

    def after_step(self, moment: Moment) -> None:
        """Look at the replicas in the middle of a task."""

    def after_task(self, moment: Moment) -> Values:
        """Return what was seen of a task: name → (R, …), equal shapes for every task."""
        return {}


class MagnitudeCurve(Observer):
    """The accuracy of every seen task at θ̂ + γ Δ, along γ: how far the update should have gone.

    Gives `magnitude_curve`, (R, gains, tasks), NaN for tasks not seen, and `best_gain`, (R,): the
    gain with the highest mean accuracy over the seen tasks, the smallest of equals. It costs
    evaluations alone, and it looks at images of old tasks.

    Parameters
    ----------
    gains : sequence of float
        Where to judge, ascending; 0 is before the task, 1 is after it.
    """

    def __init__(self, gains: Sequence[float]) -> None:
        if len(gains) < 2 or list(gains) != sorted(set(gains)):
            raise InputError(f"gains {list(gains)}: give at least two, ascending")
        self.gains = tuple(gains)

    def after_task(self, moment: Moment) -> Values:
        """Judge along the update."""
        seen = moment.task + 1
        curve = torch.full((moment.replicas, len(self.gains), moment.tasks), torch.nan).double()
        for g, gain in enumerate(self.gains):
            state = {n: torch.lerp(moment.before[n], p, gain) for n, p in moment.parameters.items()}
            for i in range(seen):
                curve[:, g, i] = moment.accuracy(state, i)
        best = curve[:, :, :seen].mean(2).argmax(1)
        return {"magnitude_curve": curve, "best_gain": torch.tensor(self.gains)[best].double()}


class FunctionDrift(Observer):
    """How far the outputs on each seen task moved by a task's update.

    Gives `function_drift`, (R, tasks): the mean total variation distance, in [0, 1], between the
    class probabilities before and after the update; NaN for tasks not seen before.
    """

    def after_task(self, moment: Moment) -> Values:
        """Compare the outputs on the judged images of the earlier tasks."""
        moved = torch.full((moment.replicas, moment.tasks), torch.nan).double()
        for i in range(moment.task):
            change = moment.outputs(moment.parameters, i) - moment.outputs(moment.before, i)
            moved[:, i] = change.abs().sum(2).mean(1).cpu() / 2
        return {"function_drift": moved}


class GradientCosines(Observer):
    """The angles between the gradients of all seen tasks, where the model stands after each.

    Gives `gradient_cosines`, (R, blocks of the body, tasks, tasks), NaN for tasks not seen.
    """

    def after_task(self, moment: Moment) -> Values:
        """Take the gradient of every seen task at the current parameters."""
        body, seen = moment.network.body, moment.task + 1
        found = [moment.gradient(moment.parameters, i) for i in range(seen)]
        cosines = torch.full(
            (moment.replicas, len(body), moment.tasks, moment.tasks), torch.nan
        ).double()
        for b, block in enumerate(body):
            parts = [{n: g for n, g in one.items() if block_of(n) == block} for one in found]
            for i in range(seen):
                for j in range(seen):
                    cosines[:, b, i, j] = cosine(parts[i], parts[j]).cpu()
        return {"gradient_cosines": cosines}


class Trajectory(Observer):
    """What happens within a task: the length of the update so far, and the accuracies.

    Gives `update_norm`, (R, points, blocks): distance of each block of the path from where it
    stood when the task arrived; and `worst_accuracy`, (R, tasks): the lowest accuracy on each
    earlier task at any point, whose gap to the accuracy afterwards is the stability gap (De
    Lange et al., 2023); NaN for tasks not seen before.

    Parameters
    ----------
    every : int
        Steps between two points.
    points : int
        How many points to keep of a task, the first ones; a shorter task leaves NaN.
    """

    def __init__(self, every: int, points: int) -> None:
        if every < 1 or points < 1:
            raise InputError(f"every {every} steps, {points} points: both must be at least 1")
        self.every, self.points = every, points
        self._norms: list[Tensor] = []
        self._worst: Tensor | None = None

    def after_step(self, moment: Moment) -> None:
        """Measure the update so far, and judge the earlier tasks."""
        if len(self._norms) < self.points:
            blocks = path(moment.network, moment.head)
            self._norms.append(drift(moment.before, moment.parameters, blocks))
        if moment.task:
            scores = [moment.accuracy(moment.parameters, i) for i in range(moment.task)]
            now = torch.stack(scores, 1)
            self._worst = now if self._worst is None else torch.minimum(self._worst, now)

    def after_task(self, moment: Moment) -> Values:
        """Return the points of the task, and begin anew."""
        self.after_step(moment)
        replicas, blocks = self._norms[0].shape
        norms = torch.full((replicas, self.points, blocks), torch.nan).double()
        norms[:, : len(self._norms)] = torch.stack(self._norms, 1)
        worst = torch.full((replicas, moment.tasks), torch.nan).double()
        if self._worst is not None:
            worst[:, : moment.task] = self._worst
        self._norms, self._worst = [], None
        return {"update_norm": norms, "worst_accuracy": worst}
