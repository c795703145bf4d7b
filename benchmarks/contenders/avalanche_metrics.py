"""Avalanche's stream metrics of accuracy matrices: JSON on standard input, JSON out.

Its own plugins aggregate; evaluations are replayed to them as batches whose share of right
answers is the accuracy in question.
"""

import json
import sys
from types import SimpleNamespace

import torch


def declare_operators() -> list[torch.library.Library]:
    """Declare what torchvision looks up, where its compiled part does not fit this torch."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        fragment = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            fragment.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return [fragment]
    return []


kept = declare_operators()  # the operators vanish with the object
for name in [n for n in sys.modules if n.startswith("torchvision")] if kept else []:
    del sys.modules[name]

from avalanche.evaluation.metrics import StreamBWT, StreamForgetting  # noqa: E402
from avalanche.evaluation.metrics.forward_transfer import StreamForwardTransfer  # noqa: E402

IMAGES = 1000


def moment(task: int, accuracy: float = 0.0) -> SimpleNamespace:
    """Return what a plugin sees of a task, answered with some accuracy."""
    right = round(accuracy * IMAGES)
    labels = torch.zeros(IMAGES, dtype=torch.int64)
    answers = torch.zeros(IMAGES, 2)
    answers[:right, 0] = 1
    answers[right:, 1] = 1
    experience = SimpleNamespace(current_experience=task)
    return SimpleNamespace(experience=experience, mb_y=labels, mb_output=answers, eval_every=0)


def evaluate(metric: object, accuracies: list[float]) -> float:
    """Replay one evaluation of all tasks; return what the metric says after it."""
    metric.before_eval(moment(0))
    for task, accuracy in enumerate(accuracies):
        now = moment(task, accuracy)
        metric.before_eval_exp(now)
        metric.after_eval_iteration(now)
        metric.after_eval_exp(now)
    metric.after_eval(moment(0))
    return metric.result()


def replay(metric: object, rows: list[list[float]], initial: list[float] | None) -> float:
    """Replay a run; return the metric after the last task."""
    metric._package_result = lambda strategy: None  # for loggers, which there are none of
    if initial is not None:
        evaluate(metric, initial)
    for task, row in enumerate(rows):
        metric.before_training_exp(moment(task))
        found = evaluate(metric, row)
    return found


print(
    json.dumps(
        [
            {
                "forgetting": replay(StreamForgetting(), case["accuracy"], None),
                "backward transfer": replay(StreamBWT(), case["accuracy"], None),
                "forward transfer": replay(
                    StreamForwardTransfer(), case["accuracy"], case["initial"]
                ),
            }
            for case in json.load(sys.stdin)
        ]
    )
)
