"""Command line of the book: `python -m tools.book {build,record}`."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from clcore.errors import InputError, known
from tools.layout import Layout
from tools.refresh import GOES_ON, recorded_seconds, refresh, seconds_here

ROOT = Path(__file__).resolve().parent.parent
LARGEST_SEED = 999_999_999  # of nine digits: chapters add to it
PROFILES = ("full", "quick")
DEFAULTS: dict[str, str | int] = {"profile": "quick", "device": "cpu", "seed": 0}


def check_parameters(profile: str, device: str, seed: str) -> dict[str, str | int]:
    """Return the parameters that differ from the notebooks' own defaults.

    Raises
    ------
    InputError
        If the profile is unknown, the device unknown or absent, or the seed no whole
        number ≥ 0.
    """
    known("profile", profile, PROFILES)
    if device != DEFAULTS["device"]:
        from clcore.device import resolve_device  # imports torch

        resolve_device(device)
    if not (seed.isascii() and seed.isdigit() and len(seed) <= len(str(LARGEST_SEED))):
        raise InputError(f"seed {seed!r}: expected a whole number from 0 to {LARGEST_SEED}")
    given: dict[str, str | int] = {"profile": profile, "device": device, "seed": int(seed)}
    return {name: value for name, value in given.items() if value != DEFAULTS[name]}


def build_book(layout: Layout, parameters: dict[str, str | int]) -> None:
    """Execute what is stale and build the site from it."""
    refresh(layout, parameters)
    from tools.site import build

    started = time.monotonic()
    built = build(layout, layout.executed, layout.html)
    print(f"Site built in {time.monotonic() - started:.1f} s." if built else "The site is fresh.")
    print(f"Open {layout.html / 'index.html'} in a browser, or run `make serve`.")


def record(layout: Layout) -> None:
    """Execute what is stale and keep the executions in the repository."""
    executed = refresh(layout, {})
    from tools.notebooks import replace

    stems = {source.stem for source in layout.sources()}
    for old in layout.stored.glob("*.ipynb"):
        if old.stem not in stems:
            old.unlink()
            print(f"  {old.name}: removed, it has no source")
    for stem in sorted(stems):
        stored, text = layout.stored / f"{stem}.ipynb", _text(layout.executed / f"{stem}.ipynb")
        changed = not stored.exists() or _text(stored) != text
        if changed:
            replace(stored, text)
        print(f"  {stored.name}: {'updated' if changed else 'unchanged'}")
    kept = recorded_seconds(layout)
    times = {
        stem: kept[stem] if stem in kept and stem not in executed else round(here)
        for stem in sorted(stems)
        if (here := seconds_here(layout, stem)) is not None
    }
    replace(layout.times, json.dumps(times, indent=1) + "\n")


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.book", description=__doc__)
    parser.add_argument("command", choices=["build", "record"])
    parser.add_argument("--profile", default="quick", help="quick (a laptop) or full (recorded)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--seed", default="0", help="a whole number")
    asked = parser.parse_args(arguments)
    layout = Layout(ROOT)
    try:
        parameters = check_parameters(asked.profile, asked.device, asked.seed)
        if asked.command == "build":
            build_book(layout, parameters)
        elif parameters:
            raise InputError(
                "the stored notebooks are the quick profile on the CPU with seed 0: run "
                "`make record` without PROFILE, DEVICE and SEED"
            )
        else:
            record(layout)
    except (InputError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error}: make room, or make the folder writable. {GOES_ON}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"Stopped. {GOES_ON}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
