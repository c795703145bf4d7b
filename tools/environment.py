"""The virtual environment in `.venv`, installed once and again when `pyproject.toml` changes."""

import hashlib
import importlib.util
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
EXTRAS = ("book", "test")  # each holds what stands before it


class SetUpError(Exception):
    """The environment cannot be made; the message says what to do."""


def fingerprint(root: Path, constraints: Path | None = None) -> str:
    """Return what an environment depends on: where the project is, its dependencies, the pins."""
    files = [root / "pyproject.toml", *([constraints] if constraints else [])]
    parts = [str(root).encode(), *(file.read_bytes() for file in files)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def is_ready(venv: Path, extra: str, print_of: str) -> bool:
    """Whether `venv` holds `extra`, or a larger extra, as of the fingerprint `print_of`."""
    if not (venv / "bin" / "python").exists():
        return False
    larger = EXTRAS[EXTRAS.index(extra) :]
    stamps = [venv / f"clcore-{name}.stamp" for name in larger]
    return any(stamp.exists() and stamp.read_text() == print_of for stamp in stamps)


def install(root: Path, venv: Path, extra: str, constraints: Path | None = None) -> None:
    """Make `venv` if there is none and install the project with `extra` into it.

    Parameters
    ----------
    constraints : Path, optional
        Versions and hashes of all packages, as `constraints.txt`: these are installed, all of
        them, and nothing else. (pip verifies hashes of what it fetches only if everything has
        one, which a project that is installed from its folder has not: it comes second, alone.)

    Raises
    ------
    SetUpError
        If the environment cannot be created or pip fails.
    """
    python = venv / "bin" / "python"
    if not (python.exists() and python.with_name("pip").exists()):
        made = subprocess.run(
            [sys.executable, "-m", "venv", str(venv)], capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise SetUpError(
                f"{sys.executable} cannot make a virtual environment. On Debian or Ubuntu: "
                f"apt-get install python3-venv.\n{made.stdout}{made.stderr}"
            )
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-compile"]
    steps = [[*pip, "--editable", f".[{extra}]"]]
    if constraints:
        steps = [
            [*pip, "--require-hashes", "--requirement", str(constraints)],
            [*pip, "--no-deps", "--no-build-isolation", "--editable", "."],
        ]
    for command in steps:
        if subprocess.run(command, cwd=root, check=False).returncode:
            raise SetUpError(
                "pip could not install the packages (its own message is above). If the network "
                f"failed, run the same command again; to start over, remove {venv.name}."
            )
    # pip would compile on one core. What cannot be compiled are some packages' tests of just that.
    compile_all = [str(python), "-m", "compileall", "-qq", "-j", "0", str(venv / "lib")]
    subprocess.run(compile_all, check=False)
    (venv / f"clcore-{extra}.stamp").write_text(fingerprint(root, constraints))


def check_current(extra: str) -> None:
    """Check that the Python that runs this has the project and its book tools.

    Raises
    ------
    SetUpError
        If a package is missing.
    """
    needed = ["clcore", "jupyter_book", "papermill"] + (["pytest"] if extra == "test" else [])
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise SetUpError(
            f"the current environment ({sys.prefix}) lacks {', '.join(missing)}: "
            f"python -m pip install -e '.[{extra}]'"
        )


def main(arguments: Sequence[str]) -> int:
    """Make the environment ready; return the exit status.

    Parameters
    ----------
    arguments : sequence of str
        The extra; `current` to use the current environment; a file of constraints, if any.
    """
    extra = arguments[0]
    constraints = ROOT / arguments[2] if len(arguments) > 2 else None
    try:
        if "current" in arguments[1:]:
            check_current(extra)
        elif constraints and not constraints.is_file():
            raise SetUpError(f"CONSTRAINTS={arguments[2]}: no such file; give constraints.txt")
        elif not is_ready(VENV, extra, fingerprint(ROOT, constraints)):
            print(f"Installing the environment into {VENV.name} (minutes, the first time) ...")
            started = time.monotonic()
            install(ROOT, VENV, extra, constraints)
            print(f"Environment ready after {time.monotonic() - started:.0f} s.")
    except SetUpError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
