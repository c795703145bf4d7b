"""Runs what a spec describes."""

from collections.abc import Callable
from pathlib import Path

from clcore.results.record import Record, read, record_path, write
from clcore.results.spec import Spec
from clcore.streams import load
from clcore.training import Outcome, train


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
    dataset = load(spec.dataset, data)
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


def recorded(
    spec: Spec,
    *,
    folder: str | Path | None = None,
    device: str = "cpu",
    data: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Record:
    """Return the record of a run; train and write it first if there is none."""
    path = record_path(spec, folder)
    if not path.exists():
        outcome, checksum = run(spec, device=device, data=data, progress=progress)
        write(spec, outcome, checksum, device, folder)
    return read(path)
