"""Update strategies: who may move when a task arrives, and how far."""

from collections.abc import Callable

from clcore.errors import known
from clcore.strategies.hybrid import Hybrid
from clcore.strategies.paradigms import Frozen, Initialized
from clcore.strategies.strategy import Learner, Strategy, last_modules

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "initialized": Initialized,
    "frozen": Frozen,
    "hybrid": Hybrid,
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
    "STRATEGIES",
    "Frozen",
    "Hybrid",
    "Initialized",
    "Learner",
    "Strategy",
    "last_modules",
    "strategy",
]
