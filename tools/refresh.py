"""Execute the notebooks that are stale, two at a time."""

import heapq
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tqdm import tqdm

from tools.layout import Layout
from tools.staleness import (
    Key,
    current_key,
    data_folder,
    executed_key,
    kept_key,
    key_file,
    shared_inputs,
    why_stale,
)

if TYPE_CHECKING:
    from tools.notebooks import Outcome

WORKERS = 2
GOES_ON = "What was finished is kept: the same command goes on from there."
REMEDY = (
    "The last good executions stay as they were. Mend the named cell, or what it calls (a kernel "
    "that died may have lacked memory), and give the same command: it executes only what failed "
    "and what has changed."
)


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
        execution stays as it was. The message names each failed notebook, cell and error, and
        what to do.
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
    """Execute `stale`, what takes longest first; see `refresh`."""
    from tools.notebooks import execute, replace  # seconds to import, needed only here

    os.environ.update(kernel_environment(layout))
    for folder in (layout.stored, layout.build / "ipython"):
        folder.mkdir(parents=True, exist_ok=True)
    here = {s.source.stem: seconds_here(layout, s.source.stem, s.key) for s in stale}
    there = {} if parameters else recorded_seconds(layout)
    known = {stem: seconds for stem in here if (seconds := here[stem] or there.get(stem))}
    print(
        f"Executing {len(stale)} of {len(layout.sources())} notebooks, "
        f"{estimate(known, len(stale), all(here.values()))} ...",
        flush=True,
    )
    usual = sum(known.values()) / len(known) if known else 1.0
    expected = {stem: known.get(stem, usual) for stem in here}
    failures, done = [], []
    jobs = sorted(stale, key=lambda s: -expected[s.source.stem])
    bar = tqdm(
        total=sum(expected.values()),
        disable=None,  # where nobody watches
        bar_format="{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
    )
    bar.set_postfix_str(f"0 of {len(stale)} notebooks")
    with bar, processes(min(WORKERS, len(stale))) as pool:
        running: dict[Future[Outcome], Stale] = {}
        for one in jobs:
            target = layout.executed / f"{one.source.stem}.ipynb"
            with no_interrupts():
                job = pool.submit(execute, one.source, target, parameters, layout.stored)
            running[job] = one
        for count, job in enumerate(_as_completed(running, bar.refresh), 1):
            one = running[job]
            stem = one.source.stem
            failure, seconds = _ended(job, one.source)
            state = "FAILED after" if failure else "done in"
            bar.update(expected[stem])
            bar.set_postfix_str(f"{count} of {len(stale)} notebooks")
            bar.write(f"  [{count}/{len(stale)}] {stem}: {state} {seconds:.1f} s")
            if failure:
                failures.append(failure)
                continue
            done.append(stem)
            executed = layout.executed / f"{stem}.ipynb"
            replace(key_file(executed), executed_key(executed, one.key, seconds))
    if failures:
        raise RuntimeError("\n\n".join([*failures, REMEDY]))
    return sorted(done)


def _ended(job: "Future[Outcome]", source: Path) -> tuple[str, float]:
    """Return how a notebook failed, empty if it did not, and its seconds."""
    try:
        outcome = job.result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            f"A process that executes notebooks died, perhaps for want of memory. {GOES_ON}"
        ) from error
    except Exception as error:  # a source that is no notebook, a full disk
        return f"{source.name}: {type(error).__name__}: {error}", 0.0
    return outcome.failure, outcome.seconds


# ----------------------------------------------------------------------------- the estimate


def seconds_here(layout: Layout, stem: str, key: Key | None = None) -> float | None:
    """Return what a notebook took here the last time, with the parameters of `key` if given."""
    kept = kept_key(layout.executed / f"{stem}.ipynb")
    if key and kept.get("parameters") != key["parameters"]:
        return None
    try:
        return float(kept["seconds"])
    except (KeyError, TypeError, ValueError):
        return None


def recorded_seconds(layout: Layout) -> dict[str, float]:
    """Return what each notebook took, at its defaults, on the machine that recorded them."""
    if not layout.times.exists():
        return {}
    found: dict[str, float] = json.loads(layout.times.read_text(encoding="utf-8"))
    return found


def estimate(known: dict[str, float], number: int, here: bool) -> str:
    """Return how long notebooks will take together.

    Parameters
    ----------
    known : dict
        Seconds of those that were executed before.
    number : int
        How many there are.
    here : bool
        Whether all of them were executed on this machine.
    """
    if not known:
        return "which nobody has timed with these parameters"
    whole = makespan(known.values(), WORKERS)
    about = f"about {whole / 60:.0f} minutes" if whole >= 90 else f"about {whole:.0f} seconds"
    where = "the last time here" if here else "on the machine that recorded them"
    rest = number - len(known)
    return f"{about} {where}" + (f", and {rest} that nobody has timed" if rest else "")


def makespan(seconds: Iterable[float], workers: int) -> float:
    """Return when the last of jobs ends if each worker takes the longest that is left."""
    ends = [0.0] * workers
    for one in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)


# ------------------------------------------------------------------------------- processes


@contextmanager
def processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Give new processes; at an error or Ctrl-C they end at once, and their kernels with them."""
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise


@contextmanager
def no_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back; a process that starts meanwhile never sees it: `processes` ends it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as_completed(
    running: "Iterable[Future[Outcome]]", tick: Callable[[], object]
) -> "Iterator[Future[Outcome]]":
    """Yield each as it ends; call `tick` every second meanwhile."""
    pending = set(running)
    while pending:
        ended, pending = wait(pending, timeout=1, return_when=FIRST_COMPLETED)
        tick()
        yield from ended


def kernel_environment(layout: Layout) -> dict[str, str]:
    """Return variables that make two runs alike: one thread each, no personal settings."""
    return {
        "CLCORE_DATA": str(data_folder(layout)),
        "CLCORE_RESULTS": str(layout.root / "results"),
        "MPLBACKEND": "",  # as Jupyter chooses: with another one there are no figures
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "IPYTHONDIR": str(layout.build / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
