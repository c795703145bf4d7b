"""Making the environment: a Python too old, what is installed already, what is missing."""

import ast
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tools import environment
from tools.environment import SetUpError, check_current, fingerprint, install, is_ready

ROOT = Path(__file__).parents[2]


def test_a_python_too_old_gets_one_line(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 8, 18, "final", 0))
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / "tools" / "set_up.py"), run_name="__main__")
    message = str(stopped.value.code)
    assert "Python 3.8 is too old" in message
    assert "3.11" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["__init__.py", "set_up.py"])
def test_what_an_old_python_reads_parses_there(name):
    tree = ast.parse((ROOT / "tools" / name).read_text(), feature_version=(3, 4))
    assert not any(isinstance(node, ast.JoinedStr | ast.AnnAssign) for node in ast.walk(tree))


def test_an_installed_environment_is_not_installed_again(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    assert not is_ready(tmp_path, "book", "now")
    (tmp_path / "clcore-test.stamp").write_text("now")
    assert is_ready(tmp_path, "test", "now")
    assert is_ready(tmp_path, "book", "now"), "the extra `test` holds the extra `book`"
    assert not is_ready(tmp_path, "book", "later"), "pyproject.toml has changed"


def test_changed_dependencies_change_the_fingerprint(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    before = fingerprint(tmp_path)
    with (tmp_path / "pyproject.toml").open("a") as file:
        file.write("# more\n")
    assert fingerprint(tmp_path) != before


def test_a_copied_checkout_is_installed_anew(tmp_path):
    """Its environment leads to the original's code."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text("a")
    assert fingerprint(tmp_path / "one") != fingerprint(tmp_path / "other")


def test_a_failed_installation_says_so_and_leaves_no_stamp(tmp_path, monkeypatch):
    real = subprocess.run

    def fail_pip(command, **options):
        if "pip" in command:
            return subprocess.CompletedProcess(command, 1)
        return real([*command[:3], "--without-pip", command[3]], **options)

    monkeypatch.setattr(environment.subprocess, "run", fail_pip)
    with pytest.raises(SetUpError, match="pip could not install"):
        install(ROOT, tmp_path / "venv", "book")
    assert not list((tmp_path / "venv").glob("*.stamp"))


def steps_of(monkeypatch, tmp_path, constraints):
    """Return the arguments of each call of pip that an installation makes."""
    calls = []

    def note(command, **_):
        calls.append(command)
        return subprocess.CompletedProcess(command, 0)

    for name in ("python", "pip"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).touch()
    monkeypatch.setattr(environment.subprocess, "run", note)
    install(ROOT, tmp_path, "book", constraints)
    *steps, compiling = calls
    assert all(call[1:6] == ["-m", "pip", "install", "--quiet", "--no-compile"] for call in steps)
    assert compiling[1:3] == ["-m", "compileall"]
    return [call[6:] for call in steps]


def test_with_constraints_every_package_has_a_hash_and_the_project_comes_alone(
    tmp_path, monkeypatch
):
    pins = ROOT / "constraints.txt"
    assert steps_of(monkeypatch, tmp_path, pins) == [
        ["--require-hashes", "--requirement", str(pins)],
        ["--no-deps", "--no-build-isolation", "--editable", "."],
    ]
    assert is_ready(tmp_path, "book", fingerprint(ROOT, pins))
    assert not is_ready(tmp_path, "book", fingerprint(ROOT)), "asked for the newest packages"
    assert steps_of(monkeypatch, tmp_path, None) == [["--editable", ".[book]"]]
    assert is_ready(tmp_path, "book", fingerprint(ROOT))


def test_an_environment_whose_making_was_killed_is_made_again(tmp_path, monkeypatch):
    """`venv` makes the interpreter first and pip last."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    calls = []
    monkeypatch.setattr(
        environment.subprocess,
        "run",
        lambda command, **_: calls.append(command) or subprocess.CompletedProcess(command, 0),
    )
    install(ROOT, tmp_path, "book")
    assert calls[0][1:] == ["-m", "venv", str(tmp_path)]


def test_constraints_that_are_not_there_are_said(monkeypatch, capsys):
    assert environment.main(["book", ".venv", "constrants.txt"]) == 1
    said = capsys.readouterr().err
    assert "constrants.txt" in said
    assert "give constraints.txt" in said


def test_a_current_environment_without_the_packages_is_refused(monkeypatch):
    check_current("test")
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetUpError, match=r"lacks clcore.*pip install -e"):
        check_current("book")


# A running kernel: it has every package but this one, and pip installs into a folder on its path.
KERNEL = """
import subprocess, sys
packages, here, *arguments = sys.argv[1:]
sys.path += [here, packages]
try:
    import clcore
    raise SystemExit("clcore is here already")
except ModuleNotFoundError:
    pass
subprocess.run([sys.executable, "-m", "pip", "install", "--target", here, *arguments], check=True)
import clcore
assert clcore.__file__.startswith(here)
"""


def test_colab_imports_the_package_without_a_restart(tmp_path):
    """An editable installation is seen only by an interpreter that starts after it."""
    page = (ROOT / "book" / "run-it-yourself.md").read_text(encoding="utf-8")
    (arguments,) = re.findall(r'^    %pip install (.*) "\./book\[plots\]" myst-nb$', page, re.M)
    shutil.copytree(ROOT / "clcore", tmp_path / "book" / "clcore")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "book")
    (tmp_path / "here").mkdir()
    packages = sysconfig.get_path("purelib")
    offline = ["--no-deps", "--no-build-isolation", *arguments.split(), "./book"]
    command = [sys.executable, "-I", "-S", "-c", KERNEL, packages, str(tmp_path / "here"), *offline]
    subprocess.run(command, cwd=tmp_path, check=True)
