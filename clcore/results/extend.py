"""Records that grow: seeds that are recorded are not trained again when more are asked for."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from clcore.errors import InputError
from clcore.results.record import as_json, read, results_folder, write
from clcore.results.spec import Spec
from clcore.results.workers import Tick, texts

Part = tuple[Path, tuple[int, ...]]  # a record, and the seeds that it has


def run_and_record(
    specs: Sequence[Spec],
    folder: str | Path | None = None,
    *,
    again: bool = False,
    device: str = "cpu",
    data: str | Path | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    tick: Tick,
) -> None:
    """Run `specs` and record each as soon as it is finished.

    Of a run that differs from recorded ones in its seeds alone, only the seeds that are new are
    trained: replicas do not depend on each other. Its record holds both, and the provenance of
    both as ``parts``; the record of the fewer seeds stays.

    Parameters
    ----------
    again : bool
        Train all seeds, and replace the records that are there.
    device, data, workers, scheduler, tick
        See `texts`.

    Raises
    ------
    InputError
        If a recorded part was made with other data than the new one, which is then recorded by
        itself, so that nothing is lost; otherwise as `texts`.
    WorkersLostError
        As `texts`.
    """
    recorded = {} if again else _recorded(specs, folder)
    lefts, begun = [], {}  # what is left to train → the whole, and the record of the rest
    for spec in specs:
        part, seeds = _part(spec, recorded.get(_kind(spec), []))
        left = changed(spec, seeds=tuple(s for s in spec.seeds if s not in seeds))
        begun[left.identity()] = spec, part
        lefts.append(left)
    running = texts(
        lefts,
        device=device,
        data=None if data is None else str(data),
        workers=workers,
        scheduler=scheduler,
        tick=tick,
    )
    mixed = []
    with closing(running):
        for left, text in running:
            whole, part = begun[left.identity()]
            if part is None:
                write(whole, text, folder, replace=again)
                continue
            old, new = (json.loads(t) for t in (part.read_text(encoding="utf-8"), text))
            if old["provenance"]["data"] != new["provenance"]["data"]:
                mixed.append(f"{part.name} and {write(left, text, folder).name}")
            else:
                write(whole, as_json(_joined(whole, old, new)), folder)
    if mixed:
        raise InputError(
            f"records of other data than those of the further seeds: {'; '.join(mixed)}; all are "
            "kept: run all seeds with --refresh"
        )


def _kind(spec: Spec) -> str:
    return spec.identity().rpartition("-")[0]


def _recorded(specs: Sequence[Spec], folder: str | Path | None) -> dict[str, list[Part]]:
    """Return all records of the kinds of `specs`, each file read once."""
    place = results_folder(folder)
    return {
        kind: [
            (path, tuple(read(path).spec["seeds"])) for path in sorted(place.glob(f"{kind}-*.json"))
        ]
        for kind in {_kind(spec) for spec in specs}
    }


def _part(spec: Spec, recorded: Sequence[Part]) -> Part | tuple[None, tuple[()]]:
    """Return the record of most of a run's seeds, but not of all; no file and no seeds if none."""
    if not isinstance(spec.budget.learning_rate, int | float):
        return None, ()  # a rate for each seed
    parts = [
        (path, seeds)
        for path, seeds in recorded
        if set(seeds) < set(spec.seeds) and changed(spec, seeds=seeds).identity() == path.stem
    ]
    return max(parts, key=lambda part: len(part[1]), default=(None, ()))


def _joined(spec: Spec, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a record of all of a run's seeds, in the order of `spec`."""
    parts = old, new
    where = {seed: (part, i) for part in parts for i, seed in enumerate(part["spec"]["seeds"])}
    order = [where[seed] for seed in spec.seeds]
    made, before = new["provenance"], old["provenance"]
    return new | {
        "spec": new["spec"] | {"seeds": list(spec.seeds)},
        "accuracy": [part["accuracy"][i] for part, i in order],
        "drift": [part["drift"][i] for part, i in order],
        "notes": {name: [part["notes"][name][i] for part, i in order] for name in new["notes"]},
        "divergences": [
            d | {"replica": spec.seeds.index(part["spec"]["seeds"][d["replica"]])}
            for part in parts
            for d in part["divergences"]
        ],
        "provenance": made
        | {key: made[key] + before[key] for key in ("seconds", "images")}
        | {
            key: "+".join(dict.fromkeys(str(p[key]) for p in (before, made)))
            for key in ("code", "commit", "device", "hardware")
        }
        | {"parts": [before, made]},
    }
