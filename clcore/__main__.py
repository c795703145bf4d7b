"""The command line: `clcore run`, `clcore report`, `clcore data`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from clcore.device import resolve_device
from clcore.errors import InputError
from clcore.measures import average_accuracy, forgetting, mean_interval, task_accuracy
from clcore.results import Record, Spec, chosen, read, read_grid, record_path, recorded
from clcore.streams import READERS, data_root, load

EXAMPLES = """examples:
  clcore data                                  which data sets are here
  clcore run results/mnist.toml                run what is missing of a grid
  clcore run results/mnist.toml --device cuda  the same on a GPU
  clcore report results/mnist.toml             a table of its records

exit codes: 0 done, 1 a run diverged or a record is missing, 2 bad input
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
        if name == "run":
            command.add_argument("--device", default="cpu", help="cpu, cuda or cuda:<number>")
            command.add_argument("--data", type=Path, help="folder of the data sets")
        command.set_defaults(action=action)
    text = "tell which data sets are here, and what to do for the others"
    command = commands.add_parser("data", help=text, description=text)
    command.add_argument("--data", type=Path, help="folder of the data sets")
    command.set_defaults(action=_data)
    options = parser.parse_args(arguments)
    try:
        return int(options.action(options))
    except InputError as error:
        print(f"clcore: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    grid = read_grid(options.grid)
    resolve_device(options.device)
    searched = [spec for setting in grid.searched for spec in setting]
    if searched:
        _record_missing(searched, "search", options)
    reported = chosen(grid, options.results)
    return 1 if _record_missing(reported, "report", options) else 0


def _record_missing(specs: Sequence[Spec], stage: str, options: argparse.Namespace) -> int:
    """Run what has no record; return how many of the stage's runs diverged."""
    missing = [s for s in specs if not record_path(s, options.results).exists()]
    print(f"{stage}: {len(specs)} runs, {len(specs) - len(missing)} recorded", flush=True)
    for spec in tqdm(missing, desc=stage, unit="run", disable=not missing):
        recorded(spec, folder=options.results, device=options.device, data=options.data)
    found = [read(record_path(spec, options.results)) for spec in specs]
    for record in found:
        for divergence in record.divergences:
            print(f"{record.name}: {divergence}", file=sys.stderr)
    return sum(bool(record.divergences) for record in found)


def _report(options: argparse.Namespace) -> int:
    missing = 0
    print(
        f"{'run':60s}  rate   seeds  Avg.Acc       Task.Acc      Forgetting   "
        "(percent, mean ± 95 % interval)"
    )
    for spec in chosen(read_grid(options.grid), options.results):
        path = record_path(spec, options.results)
        if path.exists():
            print(_row(spec, read(path)))
        else:
            missing += 1
            print(f"{spec.identity():60s}  not recorded: clcore run {options.grid}")
    return 1 if missing else 0


def _row(spec: Spec, record: Record) -> str:
    if record.divergences:
        return f"{record.name:60s}  {record.divergences[0]}"
    if len(spec.seeds) < 2:
        return f"{record.name:60s}  one seed: no interval"
    cells = []
    for measure in (average_accuracy, task_accuracy, forgetting):
        found = mean_interval(100 * measure(record.accuracy))
        cells.append(f"{found.mean:5.2f} ± {found.high - found.mean:<5.2f}")
    rate = f"{spec.budget.learning_rate:<5g}"
    return f"{record.name:60s}  {rate}  {len(spec.seeds):5d}  " + "  ".join(cells)


def _data(options: argparse.Namespace) -> int:
    root = data_root(options.data)
    for name in READERS:
        try:
            found = load(name, root)
            state = f"here, {len(found.train_labels)} training images, checksum {found.checksum}"
        except InputError as error:
            state = f"not usable: {error}"
        print(f"{name:9s} {state}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
