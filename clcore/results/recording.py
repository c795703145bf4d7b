"""Runs what a spec describes."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch

from clcore.errors import InputError
from clcore.results.record import fix_sources
from clcore.results.spec import Spec
from clcore.streams import load
from clcore.training import Outcome, Run, train
from clcore.training.train import check_optimizer

# A process that has one run after the other reads the data set once.
_dataset = lru_cache(maxsize=1)(load)


def run(
    spec: Spec,
    *,
    device: str = "cpu",
    data: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Outcome, str]:
    """Train what `spec` describes; return the outcome and the checksum of its data.

    Parameters
    ----------
    data : path, optional
        See `streams.data_root`.
    progress : callable, optional
        See `train`.
    """
    fix_sources()
    dataset = _dataset(spec.dataset, data)
    streams = spec.streams(dataset)
    outcome = train(
        streams,
        spec.build_network(dataset, streams[0]),
        spec.build_strategy(),
        spec.seeds,
        spec.budget,
        device=device,
        progress=progress,
    )
    return outcome, dataset.checksum


def check_begin(spec: Spec, data: str | Path | None = None) -> None:
    """Check that a spec fits its data set and itself: its first task arrives, nothing trains.

    Raises
    ------
    InputError
        If the data set is not here, or stream, network, strategy and optimizer do not fit it
        or each other.
    """
    dataset = _dataset(spec.dataset, data)
    streams = spec.streams(dataset)[:1]
    network = spec.build_network(dataset, streams[0])
    begun = Run(streams, network, spec.seeds[:1], dataset, torch.zeros(1))
    begun.arrive(0)
    strategy = spec.build_strategy()
    check_optimizer(strategy, spec.budget)
    strategy.begin(begun)


def data_version(name: str, data: str | Path | None = None) -> str | None:
    """Return the checksum of a data set here; None if it is not here."""
    try:
        return _dataset(name, data).checksum
    except InputError:
        return None
