"""Records that grow: seeds that are recorded are not trained again when more are asked for."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from clcore.errors import InputError
from clcore.results.record import Record, as_json, read, read_of, record_path, results_folder, write
from clcore.results.recording import data_version
from clcore.results.spec import Spec
from clcore.results.workers import Tick, texts

Part = tuple[Path, tuple[int, ...], str]  # a record, the seeds that it has, and its data


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
    device : str
        `cpu`, `cuda` or `cuda:N`.
    data : path, optional
        The folder of the data sets, see `streams.data_root`.
    workers : int
        Processes on this machine; 1 is this process.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers run instead.
    tick : callable
        Called now and then with the number of finished runs, begun ones in part.

    Raises
    ------
    InputError
        If a recorded part was made with other data than those here: nothing is run then. If only
        the workers have the data, the new seeds are recorded by themselves, so that nothing is
        lost. Also if a run's input cannot be used, or the scheduler cannot be reached.
    WorkersLostError
        If workers died and nobody took over.
    """
    parts = {} if again else _parts(specs, folder)
    begun: dict[str, list[tuple[Spec, Path | None]]] = {}
    lefts = {}  # what is left to train, each once; `begun`: the wholes that need it, and their rest
    for spec in specs:
        part = _most(spec, parts.get(_kind(spec), []))
        here = data_version(spec.dataset, data) if part and not scheduler else None
        if part and here not in (None, part[2]):
            raise InputError(
                f"record {part[0].name} is of other data ({part[2]}) than those here ({here}): run "
                "all seeds with --refresh"
            )
        had = part[1] if part else ()
        left = changed(spec, seeds=tuple(s for s in spec.seeds if s not in had))
        lefts[left.identity()] = left
        begun.setdefault(left.identity(), []).append((spec, part[0] if part else None))
    running = texts(
        list(lefts.values()),
        device=device,
        data=None if data is None else str(data),
        workers=workers,
        scheduler=scheduler,
        tick=tick,
    )
    mixed = []
    with closing(running):
        for left, text in running:
            for whole, rest in begun[left.identity()]:
                if rest is None:
                    write(whole, text, folder, replace=again)
                    continue
                old, new = (json.loads(t) for t in (rest.read_text(encoding="utf-8"), text))
                if old["provenance"]["data"] != new["provenance"]["data"]:
                    mixed.append(f"{rest.name} and {write(left, text, folder).name}")
                else:
                    write(whole, as_json(_joined(whole, old, new)), folder)
    if mixed:
        raise InputError(
            f"records of other data than those of the further seeds: {'; '.join(mixed)}; all are "
            "kept: run all seeds with --refresh"
        )


def recorded(
    spec: Spec,
    *,
    folder: str | Path | None = None,
    device: str = "cpu",
    data: str | Path | None = None,
) -> Record:
    """Return the record of a run; train and write it first if there is none."""
    if not record_path(spec, folder).exists():
        run_and_record([spec], folder, device=device, data=data, tick=lambda done: None)
    return read_of(spec, folder)


def _kind(spec: Spec) -> str:
    return spec.identity().rpartition("-")[0]


def _parts(specs: Sequence[Spec], folder: str | Path | None) -> dict[str, list[Part]]:
    """Return all records of the kinds of `specs`, each file read once."""
    place = results_folder(folder)
    found: dict[str, list[Part]] = {}
    for kind in {_kind(spec) for spec in specs}:
        for path in sorted(place.glob(f"{kind}-*.json")):
            record = read(path)
            part = path, tuple(record.spec["seeds"]), str(record.provenance.get("data"))
            found.setdefault(kind, []).append(part)
    return found


def _most(spec: Spec, parts: Sequence[Part]) -> Part | None:
    """Return the record of most of a run's seeds, but not of all."""
    if not isinstance(spec.budget.learning_rate, int | float):
        return None  # a rate for each seed
    fitting = [
        (path, seeds, data)
        for path, seeds, data in parts
        if set(seeds) < set(spec.seeds) and changed(spec, seeds=seeds).identity() == path.stem
    ]
    return max(fitting, key=lambda part: len(part[1]), default=None)


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
        "notes": {
            name: _note(name, order) for name in dict.fromkeys([*old["notes"], *new["notes"]])
        },
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


def _note(name: str, order: Sequence[tuple[dict[str, Any], int]]) -> list[Any]:
    """Return a note of each seed; nulls where a part has none, whose seeds diverged before it."""
    like = next(part["notes"][name][0] for part, _ in order if name in part["notes"])
    return [part["notes"][name][i] if name in part["notes"] else _blank(like) for part, i in order]


def _blank(row: Any) -> Any:
    return [_blank(item) for item in row] if isinstance(row, list) else None
