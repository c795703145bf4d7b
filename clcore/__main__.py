"""The command line: `clcore run`, `clcore report`, `clcore claims`, `clcore data`."""

import argparse
import json
import os
import sys
import textwrap
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from clcore.device import check_device_name, resolve_device
from clcore.download import download
from clcore.errors import InputError
from clcore.measures import average_accuracy, forgetting, mean_interval, task_accuracy
from clcore.results import (
    VERDICTS,
    Effect,
    Grid,
    Record,
    Spec,
    Verdict,
    WorkersLostError,
    check_begin,
    check_writable,
    chosen,
    data_version,
    default_workers,
    outdated,
    read_grid,
    read_ledger,
    read_of,
    record_path,
    run_and_record,
    settings,
    verdicts,
)
from clcore.streams import READERS, data_root, load

GOES_ON = "what was finished is recorded, and the same command goes on from there"
EXAMPLES = """examples:
  clcore data                                  which data sets are here
  clcore data --download mnist                 fetch one into the data folder
  clcore run results/mnist.toml                run what is missing of a grid
  clcore run results/mnist.toml --workers 4    the same in 4 processes (default: one a core)
  clcore run results/mnist.toml --device cuda  the same on a GPU
  clcore run results/mnist.toml --scheduler tcp://10.0.0.1:8786
                                               the same on the workers of a Dask cluster
  clcore run results/mnist.toml --refresh      and again what other code or data gave
  clcore report results/mnist.toml             a table of its records
  clcore claims                                verdicts on the claims of book/claims.yml
  clcore claims --run-tests --json claims.json the same, with the tests of the theorems run

A run that is stopped or killed loses only what was not finished: the same command goes on.

exit codes:
    0  done
    1  a run diverged (run), or a record is missing (report)
    2  bad input; nothing was run
    3  worker processes or the scheduler died; what was finished is recorded
    4  a file or the output could not be written, as on a full disk; what was finished is recorded
    5  another error while runs went on, such as too little memory; what was finished is recorded
  130  stopped with Ctrl-C; what was finished is recorded
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="clcore",
        description="Experiments on the magnitude of parameter updates in continual learning.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, action, text in (
        ("run", _run, "run what is missing of a grid and record it"),
        ("report", _report, "print a table of a grid's records"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("grid", type=Path, help="TOML file that describes the runs")
        command.add_argument("--results", type=Path, help="folder of the records")
        command.add_argument("--data", help="folder of the data sets")
        if name == "run":
            command.add_argument("--device", default="cpu", help="cpu, cuda or cuda:<number>")
            where = command.add_mutually_exclusive_group()
            where.add_argument("--workers", type=int, help="processes (default: one a core)")
            where.add_argument("--scheduler", help="address of a Dask scheduler to run on")
            text = "also run again what other code or data gave"
            command.add_argument("--refresh", action="store_true", help=text)
        command.set_defaults(action=action)
    text = "print a verdict on each claim of a ledger, from records and tests"
    command = commands.add_parser("claims", help=text, description=text)
    command.add_argument("ledger", type=Path, nargs="?", help="default: book/claims.yml")
    command.add_argument("--results", type=Path, help="folder of the grids and their records")
    command.add_argument("--json", type=Path, help="file to write the verdicts to")
    text = "run the tests of the theorems"
    command.add_argument("--run-tests", action="store_true", help=text)
    command.set_defaults(action=_claims)
    text = "tell which data sets are here, and what to do for the others"
    command = commands.add_parser("data", help=text, description=text)
    command.add_argument("--data", type=Path, help="folder of the data sets")
    text = "fetch this one, or the rest of it, unless it is here"
    command.add_argument("--download", metavar="NAME", help=text)
    command.set_defaults(action=_data)
    options = parser.parse_args(arguments)
    try:
        code = int(options.action(options))
        sys.stdout.flush()
        return code
    except InputError as error:
        print(f"clcore: {error}", file=sys.stderr)
        return 2
    except WorkersLostError as error:
        print(f"clcore: {error}; {GOES_ON}", file=sys.stderr)
        return 3
    except (MemoryError, RuntimeError) as error:  # PyTorch raises the latter for want of memory
        traceback.print_exc()
        print(f"clcore: {type(error).__name__}; {GOES_ON}", file=sys.stderr)
        return 5
    except BrokenPipeError:  # who read the output has stopped, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if options.action is not _run:
            return 0
        print(f"clcore: nobody reads the output any more; {GOES_ON}", file=sys.stderr)
        return 4
    except OSError as error:
        print(
            f"clcore: {error}: make room, or give a place that can be written; {GOES_ON}",
            file=sys.stderr,
        )
        return 4
    except KeyboardInterrupt:
        print(f"clcore: stopped; {GOES_ON}", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    grid = read_grid(options.grid)
    if options.workers is not None and options.workers < 1:
        raise InputError(f"--workers {options.workers}: give at least 1")
    if options.workers is not None and options.workers > 1 and options.device != "cpu":
        raise InputError("--workers is for the CPU: on a GPU one process runs all replicas")
    if options.scheduler:  # the workers have the device
        check_device_name(options.device)
    else:
        resolve_device(options.device)
    searched = [spec for setting in grid.searched for spec in setting]
    if searched:
        _record_missing(searched, "search", options)
    reported = chosen(grid, options.results)
    diverged = _record_missing(reported, "report", options)
    print()
    _print_table(grid, options)
    return 1 if diverged else 0


def _record_missing(specs: Sequence[Spec], stage: str, options: argparse.Namespace) -> int:
    """Run what has no record; return how many of the stage's runs diverged."""
    missing = [s for s in specs if not record_path(s, options.results).exists()]
    flagged = [s for s in specs if s not in missing and _flag(s, options)]
    print(f"{stage}: {len(specs)} runs, {len(specs) - len(missing)} recorded", flush=True)
    if flagged:
        todo = "run again" if options.refresh else "kept; --refresh runs them again"
        print(f"{stage}: {len(flagged)} records of another code or data version, {todo}")
    wanted = missing + flagged * options.refresh
    _record(wanted, stage, options)
    found = [read_of(spec, options.results) for spec in specs]
    for record in found:
        for divergence in record.divergences:
            print(f"{record.name}: {divergence}", file=sys.stderr)
    return sum(bool(record.divergences) for record in found)


def _record(specs: Sequence[Spec], stage: str, options: argparse.Namespace) -> None:
    """Run `specs` and record each as soon as it is finished."""
    for spec in specs:
        # The data may be where the workers are, and not here: then they check.
        if not options.scheduler or data_version(spec.dataset, options.data):
            check_begin(spec, options.data)
    if specs:
        check_writable(options.results)
    bar = tqdm(
        total=len(specs),
        desc=stage,
        disable=not specs,
        mininterval=0.1 if sys.stderr.isatty() else 30,  # seconds; a log keeps every line
        bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.1f}/{total} runs, {elapsed}<{remaining}",
    )
    with bar:
        run_and_record(
            specs,
            options.results,
            again=options.refresh,
            device=options.device,
            data=options.data,
            workers=options.workers or default_workers(options.device, len(specs)),
            scheduler=options.scheduler if specs else None,
            tick=lambda done: bar.update(done - bar.n),
        )


def _flag(spec: Spec, options: argparse.Namespace) -> str:
    """Return in what the record of a run is outdated; empty if in nothing."""
    record = read_of(spec, options.results)
    return outdated(record, data_version(spec.dataset, options.data))


def _report(options: argparse.Namespace) -> int:
    return 1 if _print_table(read_grid(options.grid), options) else 0


def _print_table(grid: Grid, options: argparse.Namespace) -> int:
    """Print a row for each setting; return how many have no record."""
    print(
        f"{'run':60s}  rate   seeds  Avg.Acc       Task.Acc      Forgetting   "
        "(percent, mean ± 95 % interval)  options"
    )
    again = f"{options.grid}{f' --results {options.results}' if options.results else ''}"
    missing = 0
    flags = {}
    for spec, record, _ in settings(grid, options.results):
        if record is None:  # perhaps its rate is not chosen yet, so that it has no whole name
            missing += 1
            name = spec.identity().rpartition("-")[0]
            row, flag = f"{name:60s}  not recorded: clcore run {again}", ""
        else:
            row, flag = _row(spec, record), _flag(spec, options)
            flags[spec.identity()] = flag
        told = ", ".join(f"{k} {v}" for k, v in spec.strategy.items() if k != "name")
        print(f"{row}  {'*' if flag else ' '}  {told}".rstrip())
    for differs in sorted(set(filter(None, flags.values()))):
        print(f"* of another version: {differs}; clcore run --refresh {again}")
    return missing


def _row(spec: Spec, record: Record) -> str:
    if record.divergences:
        return f"{record.name:60s}  {record.divergences[0]}"
    cells = []
    for measure in (average_accuracy, task_accuracy, forgetting):
        if measure is forgetting and record.accuracy.shape[1] < 2:
            continue  # one task forgets nothing
        values = 100 * measure(record.accuracy)
        if len(spec.seeds) < 2:
            cells.append(f"{values[0]:5.2f}        ")
        else:
            found = mean_interval(values)
            cells.append(f"{found.mean:5.2f} ± {found.high - found.mean:<5.2f}")
    given = spec.budget.learning_rate
    rate = f"{given:<5g}" if isinstance(given, int | float) else "each "
    return f"{record.name:60s}  {rate}  {len(spec.seeds):5d}  " + "  ".join(cells)


def _claims(options: argparse.Namespace) -> int:
    if options.json and (options.json.is_dir() or not options.json.parent.is_dir()):
        raise InputError(
            f"--json {str(options.json)!r} is no place for a file: give one in a folder that exists"
        )
    found = verdicts(read_ledger(options.ledger), options.results, run_tests=options.run_tests)
    for verdict in found:
        print(f"{verdict.verdict:18s} {verdict.claim.id:28s} {_effects(verdict.effects)}".rstrip())
        print(textwrap.indent(textwrap.fill(verdict.claim.statement, 96), "    "))
        if verdict.because:
            print(textwrap.indent(textwrap.fill(verdict.because, 96), "      "))
        if verdict.effects and verdict.missing:
            print(textwrap.indent(textwrap.fill("; ".join(verdict.missing), 96), "      "))
    counts = Counter(verdict.verdict for verdict in found)
    print("\n" + ", ".join(f"{counts[name]} {name}" for name in VERDICTS))
    if options.json:
        text = json.dumps([_as_table(verdict) for verdict in found], indent=1, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


def _as_table(verdict: Verdict) -> dict[str, object]:
    effects = [e._asdict() | {"difference": e.difference._asdict()} for e in verdict.effects]
    claim = {key: getattr(verdict.claim, key) for key in ("id", "statement", "source", "note")}
    rest = {key: value for key, value in verdict._asdict().items() if key != "claim"}
    return claim | rest | {"effects": effects}


def _effects(effects: Sequence[Effect]) -> str:
    """Return the effect, or the weakest and the strongest, in points with their intervals."""
    ordered = sorted((e.difference for e in effects), key=lambda d: d.mean)
    ends = [f"{d.mean:+.2f} [{d.low:+.2f}, {d.high:+.2f}]" for d in ordered]
    return ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[-1]} ({len(ends)})" if ends else ""


def _data(options: argparse.Namespace) -> int:
    root = data_root(options.data)
    if options.download:
        download(options.download, root)
    for name in [options.download] if options.download else READERS:
        try:
            found = load(name, options.data)
            state = f"here, {len(found.train_labels)} training images, checksum {found.checksum}"
        except InputError as error:
            state = f"not usable: {error}"
        print(f"{name:14s} {state}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
