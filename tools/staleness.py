"""Which notebooks have to run again: those whose inputs differ from the ones they ran with."""

import hashlib
import json
import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from tools.layout import Layout

PACKAGES = (
    *("torch", "torchvision", "numpy", "scipy", "numba", "scikit-learn"),
    *("matplotlib", "seaborn", "ipykernel"),
)
Key = dict[str, str]


def digest(files: Iterable[Path], root: Path) -> str:
    """Return a hash of the names, relative to `root`, and contents of `files`."""
    total = hashlib.sha256()
    for file in sorted(files):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"{file.relative_to(root).as_posix()} {content}\n".encode())
    return total.hexdigest()


def data_folder(layout: Layout) -> Path:
    """Return the folder of the data sets, absolute: notebooks run in a folder of their own."""
    return Path(os.environ.get("CLCORE_DATA") or layout.root / "data").expanduser().absolute()


def _listed(folder: Path) -> list[str]:
    """Return what is in a folder and the folders in it: names and sizes, not contents."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return [f"{file.relative_to(folder).as_posix()} {file.stat().st_size}" for file in files]


def shared_inputs(layout: Layout) -> Key:
    """Return hashes of what every notebook depends on, by a name that can be shown."""
    results = (
        file
        for file in layout.root.glob("results/**/*")
        if file.suffix != ".md" and not file.name.startswith(".")  # half-written records
    )
    data = data_folder(layout)
    return {
        "clcore": digest(layout.root.glob("clcore/**/*.py"), layout.root),
        "book": digest(layout.book.glob("*.yml"), layout.book),
        "results": digest((file for file in results if file.is_file()), layout.root),
        "data": " ".join([str(data), *_listed(data)]),
        "packages": " ".join([platform.python_version(), *(version(name) for name in PACKAGES)]),
        "tools": digest([Path(__file__).with_name("notebooks.py")], Path(__file__).parent),
    }


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def current_key(source: Path, parameters: dict[str, str | int], shared: Key) -> Key:
    """Return everything the output of `source` depends on."""
    return {"source": _hash(source), "parameters": json.dumps(parameters, sort_keys=True), **shared}


def key_file(executed: Path) -> Path:
    """Return where the key of an executed notebook is kept."""
    return executed.with_suffix(".key.json")


def executed_key(executed: Path, key: Key, seconds: float) -> str:
    """Return what to keep beside an executed notebook: its key, its hash and what it took."""
    own = {"notebook": _hash(executed), "seconds": f"{seconds:.1f}"}
    return json.dumps(key | own, indent=1)


def kept_key(executed: Path) -> Key:
    """Return what is kept beside an executed notebook; empty if there is nothing whole."""
    try:
        found = json.loads(key_file(executed).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def why_stale(executed: Path, key: Key) -> str:
    """Return what changed since `executed` was made, empty if nothing did."""
    old = kept_key(executed)
    if not executed.exists() or not old:
        return "never executed here"
    if old.get("notebook") != _hash(executed):  # changed by hand, or a run was killed
        return "not as its last execution left it"
    changed = [name for name, value in key.items() if old.get(name) != value]
    return f"changed: {', '.join(changed)}" if changed else ""
