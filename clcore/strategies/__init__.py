"""Update strategies: who may move when a task arrives, and how far."""

from collections.abc import Callable

from clcore.errors import known
from clcore.strategies.gradient_law import Ball, Scaled
from clcore.strategies.hybrid import METRICS, Hybrid
from clcore.strategies.paradigms import Frozen, Initialized, Joint, Partial, Scratch
from clcore.strategies.proximal import Proximal
from clcore.strategies.regularized import EWC, LwF
from clcore.strategies.replay import AGEM, DarkReplay, Replay
from clcore.strategies.strategy import Learner, Strategy, last_modules

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "initialized": Initialized,
    "frozen": Frozen,
    "partial": Partial,
    "scratch": Scratch,
    "joint": Joint,
    "ewc": EWC,
    "lwf": LwF,
    "replay": Replay,
    "agem": AGEM,
    "der++": DarkReplay,
    "hybrid": Hybrid,
    "scaled": Scaled,
    "ball": Ball,
    "proximal": Proximal,
}


def strategy(name: str, **options: object) -> Strategy:
    """Return a new strategy by its name in `STRATEGIES`.

    Raises
    ------
    InputError
        If there is no such strategy.
    """
    return STRATEGIES[known("strategy", name, STRATEGIES)](**options)


__all__ = [
    "AGEM",
    "EWC",
    "METRICS",
    "STRATEGIES",
    "Ball",
    "DarkReplay",
    "Frozen",
    "Hybrid",
    "Initialized",
    "Joint",
    "Learner",
    "LwF",
    "Partial",
    "Proximal",
    "Replay",
    "Scaled",
    "Scratch",
    "Strategy",
    "last_modules",
    "strategy",
]
