"""What strategies and streams are called in figures and tables."""

from collections.abc import Mapping
from typing import Any

_STRATEGIES = {
    "hybrid": "Algorithm 1",
    "scaled": "law, scaled",
    "ball": "law, ball",
    "lwf": "LwF",
    "agem": "A-GEM",
    "der++": "DER++",
}
_LAST = {1: "head only", 2: "last two", 3: "last three", 4: "last four", 6: "last six"}
_SCENARIOS = {
    "task": "split",
    "domain": "split with shared outputs",
    "class": "split without task",
}


def strategy_name(strategy: Mapping[str, Any], *, searched: bool = True) -> str:
    """Return what a strategy is called, such as ``frozen, head only``.

    Parameters
    ----------
    strategy : mapping
        The strategy's table in a grid or a record: `name` and options.
    searched : bool
        Whether the strength of EWC was searched, or one was fixed for all streams.
    """
    name = str(strategy["name"])
    strength = "tuned" if searched else "fixed"
    if name in ("frozen", "partial"):
        modules = strategy.get("modules", 1)
        return f"{name}, {_LAST.get(modules, f'last {modules}')}"
    if name == "hybrid" and "few" in strategy and "threshold" not in strategy:
        return f"Algorithm 1, few = {strategy['few']}"
    if name == "proximal":
        if "strength" in strategy:
            return f"online EWC, {strength}"
        if "metric" in strategy:
            return "undirected, isotropic"
        return "curvature held" if strategy.get("directed") else "undirected"
    if name == "scaled" and "metric" in strategy:
        return "law, scaled, curved"
    return f"EWC, {strength}" if name == "ewc" else _STRATEGIES.get(name, name)


def stream_name(stream: Mapping[str, Any]) -> str:
    """Return what a stream is called, such as ``near`` for permutations of few pixels.

    Parameters
    ----------
    stream : mapping
        The stream's table in a grid or a record: `name` and options.
    """
    parts = set(stream.get("fractions", stream.get("shared", ())))
    if len(parts) > 1:
        return "mixed"
    if stream["name"] == "permuted":
        moved = max(parts, default=0)
        return "unrelated" if moved == 1 else "near" if moved <= 0.1 else f"{moved:g} moved"
    if stream["name"] == "split":
        return _SCENARIOS[stream.get("scenario", "task")]
    return str(stream["name"])
