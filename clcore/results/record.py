"""Records: what a run gave, kept in one small readable file."""

import hashlib
import json
import os
import platform
import re
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clcore.errors import InputError
from clcore.results.spec import Spec
from clcore.training import Budget, Divergence, Outcome

FORMAT = 1

# What reading raises over content that is no record.
_BROKEN = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError),
    *(OverflowError, RecursionError),
)


class Record(NamedTuple):
    """A run as it was recorded.

    Attributes
    ----------
    name : str
        The run's identity; its file is `<name>.json`.
    spec : dict
        The run's description.
    accuracy, drift, notes, divergences
        As in `Outcome`.
    provenance : dict
        Versions, hardware, code, commit and data of the run, and its seconds.
    """

    name: str
    spec: dict[str, Any]
    accuracy: NDArray[np.float64]
    drift: NDArray[np.float64]
    notes: dict[str, NDArray[np.float64]]
    divergences: tuple[Divergence, ...]
    provenance: dict[str, Any]


def results_folder(folder: str | Path | None = None) -> Path:
    """Return where records are: `folder`, else `CLCORE_RESULTS`, else the nearest `results`.

    The nearest is looked for here and in the folders above.
    """
    given = folder or os.environ.get("CLCORE_RESULTS")
    return Path(given).expanduser() if given else nearest("results")


def nearest(name: str) -> Path:
    """Return what has a name here or in the nearest folder above; here if there is none."""
    here = Path.cwd()
    return next((p / name for p in (here, *here.parents) if (p / name).exists()), here / name)


def record_path(spec: Spec, folder: str | Path | None = None) -> Path:
    """Return where the record of a run is, or will be."""
    return results_folder(folder) / f"{spec.identity()}.json"


def check_writable(folder: str | Path | None = None) -> None:
    """Check that records can be written to a folder, before hours go into what would be lost.

    Raises
    ------
    InputError
        If they cannot.
    """
    place = results_folder(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"0")
    except OSError as error:
        raise InputError(
            f"records cannot be written to {str(place)!r} ({error}): give a folder that can be "
            "written with --results or CLCORE_RESULTS, or make room"
        ) from error


def as_text(spec: Spec, outcome: Outcome, data: str, device: str) -> str:
    """Return the content of a record, with the provenance of the machine that this runs on.

    Parameters
    ----------
    data : str
        Checksum of the data set.
    device : str
        Where it ran.
    """
    content = {
        "format": FORMAT,
        "spec": _plain(spec),
        "accuracy": _listed(outcome.accuracy),
        "drift": _listed(np.round(outcome.drift, 6)),
        "notes": {k: _listed(np.round(v, 6)) for k, v in outcome.notes.items()},
        "divergences": [d._asdict() for d in outcome.divergences],
        "provenance": {
            "seconds": round(outcome.seconds, 2),
            "images": outcome.images,
            "device": device,
            "hardware": _hardware(device),
            "code": code_version(),
            "commit": _commit(),
            "data": data,
            "versions": {
                name: platform.python_version() if name == "python" else version(name)
                for name in ("clcore", "python", "torch", "numpy")
            },
        },
    }
    return as_json(content)


def as_json(content: dict[str, Any]) -> str:
    """Return the content of a record as text, each innermost list on one line."""

    def on_one_line(row: re.Match[str]) -> str:  # no string has a line end in JSON
        return re.sub(r"\n *", "", re.sub(r",\n *", ", ", row[0]))

    return re.sub(r"\[[^][{}]*\]", on_one_line, json.dumps(content, indent=2)) + "\n"


def write(
    spec: Spec, text: str, folder: str | Path | None = None, *, replace: bool = False
) -> Path:
    """Write the record of a run; a kill at any moment leaves the whole record or none.

    A record that is there is kept, unless `replace`: of two processes that ran the same, the
    first to finish counts. With `replace`, the old record stays until the new one is whole.

    Parameters
    ----------
    text : str
        See `as_text`.
    """
    path = record_path(spec, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*.part"):  # by a process that was killed
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > 3600:
                left.unlink()
    partial = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            partial.replace(path)
        else:
            _rename_new(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _rename_new(partial: Path, path: Path) -> None:
    """Rename unless there is a `path`: a link, unlike a rename, fails then."""
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        return
    except OSError:  # a file system without links; two who meet here wrote the same numbers
        if not path.exists():
            partial.replace(path)


def outdated(record: Record, data: str | None) -> str:
    """Return in what a record's code or data differ from those here; empty if in nothing.

    Parameters
    ----------
    data : str or None
        Checksum of the data set here; None where it is not here to be compared.
    """
    here = {"code": code_version(), "data": data}
    there = record.provenance
    return ", ".join(
        f"{what} {there.get(what)} (here {value})"
        for what, value in here.items()
        if value is not None and there.get(what) != value
    )


def read(path: str | Path) -> Record:
    """Read a record.

    Raises
    ------
    InputError
        If the file is no whole record of this format.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, expected {FORMAT}")
        accuracy, drift = (np.array(content[k], dtype=np.float64) for k in ("accuracy", "drift"))
        if not isinstance(content["provenance"], dict):
            raise TypeError("provenance is no table")
        if not isinstance(content["divergences"], list):
            raise TypeError("divergences are no list")
        replicas = len(content["spec"]["seeds"])
        if accuracy.ndim != 3 or accuracy.shape != (replicas, *accuracy.shape[1:2] * 2):
            raise ValueError(f"accuracy of shape {accuracy.shape} for {replicas} seeds")
        if ((accuracy < 0) | (accuracy > 1)).any():
            raise ValueError("accuracy has a number that is no fraction from 0 to 1")
        notes = {k: np.array(v, dtype=np.float64) for k, v in content["notes"].items()}
        if drift.ndim != 3 or any(
            v.shape[:2] != accuracy.shape[:2] for v in (drift, *notes.values())
        ):
            raise ValueError(f"drift or notes are not of {accuracy.shape[:2]} seeds and tasks")
        return Record(
            Path(path).stem,
            content["spec"],
            accuracy,
            drift,
            notes,
            tuple(Divergence(**d) for d in content["divergences"]),
            content["provenance"],
        )
    except _BROKEN as error:
        raise InputError(
            f"record {str(path)!r} cannot be read ({type(error).__name__}: {error}): restore it, "
            "or delete it and run it again"
        ) from error


def read_of(spec: Spec, folder: str | Path | None = None) -> Record:
    """Read the record of a run.

    Raises
    ------
    InputError
        If the file is no whole record of this format, or that of another run.
    """
    path = record_path(spec, folder)
    if not path.exists():
        raise InputError(f"no record {str(path)!r}: run its grid with `clcore run`")
    record = read(path)
    described = json.loads(json.dumps(_plain(spec)))
    try:  # a record made before there was an option has it at its default
        there = {"holdout": 0.0, "tasks": 0, **record.spec}
        there["budget"] = Budget._field_defaults | there["budget"]
    except (KeyError, TypeError):
        there = {}
    if there != described:
        raise InputError(
            f"record {str(path)!r} is of another run than its name says: restore it, or delete it "
            "and run it again"
        )
    return record


def _plain(spec: Spec) -> dict[str, Any]:
    return asdict(spec) | {"budget": spec.budget._asdict()}


def fix_sources() -> None:
    """Read code version and commit now: what is edited while a run trains did not make it."""
    code_version()
    _commit()


@cache
def code_version() -> str:
    """Return a hash of the sources that decide a run's numbers."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for name in ("seeds.py", "results/spec.py"):
        digest.update((root / name).read_bytes())
    for folder in ("measures", "networks", "strategies", "streams", "training"):
        for path in sorted((root / folder).glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _commit() -> str | None:
    """Return the commit of the sources, marked if they differ from it; None outside of git."""
    here = Path(__file__)

    def git(*command: str) -> str:
        whole = ["git", "-C", str(here.parent), *command]
        done = subprocess.run(whole, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # else it is another project's
        return git("describe", "--always", "--dirty")
    except (OSError, subprocess.SubprocessError):
        return None


def _hardware(device: str) -> str:
    """Return the name of the processor or the GPU."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} CPUs"


def _listed(values: NDArray[np.float64]) -> Any:
    """Return an array as lists, with None for NaN, which JSON does not know."""
    return np.ma.masked_invalid(values).tolist()
