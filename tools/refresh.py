"""Execute the notebooks that are stale, two at a time."""

import json
import multiprocessing
import os
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from tools.layout import Layout
from tools.staleness import Key, current_key, data_folder, key_file, shared_inputs, why_stale

WORKERS = 2


class Stale(NamedTuple):
    """A notebook to execute, and the key it will have then."""

    source: Path
    key: Key


def refresh(layout: Layout, parameters: dict[str, str | int]) -> list[str]:
    """Bring every executed notebook up to date; return the stems of those executed.

    Raises
    ------
    RuntimeError
        If a notebook fails; the others are finished first, and the failed one's last good
        execution stays as it was. The message names each failed notebook, cell and error.
    """
    shared = shared_inputs(layout)
    stale: list[Stale] = []
    for source in layout.sources():
        key = current_key(source, parameters, shared)
        reason = why_stale(layout.executed / f"{source.stem}.ipynb", key)
        print(f"  {source.stem}: {reason or 'fresh'}")
        if reason:
            stale.append(Stale(source, key))
    if not stale:
        print("All notebooks are fresh; nothing to execute.")
        return []
    return execute_all(layout, stale, parameters)


def execute_all(layout: Layout, stale: list[Stale], parameters: dict[str, str | int]) -> list[str]:
    """Execute `stale`; see `refresh`."""
    from tools.notebooks import Outcome, execute, replace  # seconds to import, needed only here

    os.environ.update(kernel_environment(layout))
    for folder in (layout.stored, layout.build / "ipython"):
        folder.mkdir(parents=True, exist_ok=True)
    print(f"Executing {len(stale)} of {len(layout.sources())} notebooks ...", flush=True)
    failures, done = [], []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(WORKERS, len(stale)), mp_context=context) as pool:
        running: dict[Future[Outcome], Stale] = {}
        for one in stale:
            target = layout.executed / f"{one.source.stem}.ipynb"
            job = pool.submit(execute, one.source, target, parameters, layout.stored)
            running[job] = one
        for count, job in enumerate(as_completed(running), 1):
            one, outcome = running[job], job.result()
            state = "FAILED after" if outcome.failure else "done in"
            print(
                f"  [{count}/{len(stale)}] {outcome.stem}: {state} {outcome.seconds:.1f} s",
                flush=True,
            )
            if outcome.failure:
                failures.append(outcome.failure)
                continue
            done.append(outcome.stem)
            replace(
                key_file(layout.executed / f"{outcome.stem}.ipynb"), json.dumps(one.key, indent=1)
            )
    if failures:
        raise RuntimeError("\n\n".join(failures))
    return sorted(done)


def kernel_environment(layout: Layout) -> dict[str, str]:
    """Return variables that make two runs alike: one thread each, no personal settings."""
    return {
        "CLCORE_DATA": str(data_folder(layout)),
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "IPYTHONDIR": str(layout.build / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
