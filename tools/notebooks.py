"""Execute a notebook source and write it so that equal runs are equal bytes."""

import os
import re
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any, NamedTuple

import jupytext
import nbformat
import papermill
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

# The kernel reports its interpreter's version here; readers of the notebook need only these.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}
RUN_METADATA = ("papermill", "execution")
INJECTED = "injected-parameters"
COLORS = re.compile(r"\x1b\[[0-9;]*m")

Parameters = dict[str, str | int]


class Outcome(NamedTuple):
    """How the execution of one notebook ended; `failure` is empty if it succeeded."""

    stem: str
    seconds: float
    failure: str


def read_source(source: Path) -> NotebookNode:
    """Return the notebook of a MyST source, with cell ids that depend on their place alone."""
    notebook: NotebookNode = jupytext.read(source, fmt="md:myst")
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.stem}-{index}"[-64:]
    return notebook


def declared(notebook: NotebookNode) -> set[str]:
    """Return the names that the cell tagged `parameters` assigns; empty if there is none."""
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            lines = cell.source.splitlines()
            return {line.partition("=")[0].strip() for line in lines if "=" in line}
    return set()


def execute(source: Path, target: Path, given: Parameters, folder: Path) -> Outcome:
    """Execute `source` in `folder` and write `target`; on failure leave `target` as it was.

    Parameters
    ----------
    source : Path
        MyST notebook.
    target : Path
        Executed notebook, replaced at once when the last cell has run.
    given : dict
        Parameters; those that the notebook does not declare are left out.
    folder : Path
        Working directory of the kernel.
    """
    started = time.monotonic()
    notebook = read_source(source)
    passed = {name: value for name, value in given.items() if name in declared(notebook)}
    failure = ""
    with tempfile.TemporaryDirectory(prefix="clcore-") as scratch:
        plain, ran = Path(scratch, "source.ipynb"), Path(scratch, "executed.ipynb")
        nbformat.write(notebook, plain)
        try:
            papermill.execute_notebook(
                plain,
                ran,
                passed,
                kernel_name="python3",
                cwd=folder,
                progress_bar=False,
                extra_arguments=["--IPKernelApp.log_level=50"],
            )
        except PapermillExecutionError as error:
            failure = describe(error, source)
        except Exception as error:  # a dead kernel, a full disk: whatever ends a run is reported
            failure = f"{source.name}: {type(error).__name__}: {error}"
        else:
            finished = normalize(nbformat.read(ran, as_version=4), source.stem)
            failure = unfinished(finished, source)
            if not failure:
                replace(target, serialize(finished))
    return Outcome(source.stem, time.monotonic() - started, failure)


def describe(error: PapermillExecutionError, source: Path) -> str:
    """Return the cell's traceback, then one line naming notebook, line, cell and error."""
    code, text = error.source.strip(), source.read_text(encoding="utf-8")
    line = f":{text[: text.find(code)].count(chr(10)) + 1}" if code and code in text else ""
    trace = COLORS.sub("", "\n".join(error.traceback))
    return (
        f"{textwrap.indent(trace, '    ')}\n"
        f"{source.name}{line}, code cell {error.exec_count}: {error.ename}: {error.evalue}"
    )


def unfinished(notebook: NotebookNode, source: Path) -> str:
    """Return a message if a cell was not run: papermill takes `exit()` for a success."""
    skipped = [
        cell.id
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None
    ]
    return f"{source.name}: stopped before {skipped[0]} without an error" if skipped else ""


def normalize(notebook: NotebookNode, stem: str) -> NotebookNode:
    """Remove what two equal runs would not share: times, versions, random ids, stream chunks."""
    notebook.metadata = nbformat.from_dict(METADATA)
    shift = 0
    for index, cell in enumerate(notebook.cells):
        for key in RUN_METADATA:
            cell.metadata.pop(key, None)
        tags = cell.metadata.get("tags", [])
        if INJECTED in tags:
            cell["id"], shift = f"{stem}-{INJECTED}"[-64:], 1
            cell.metadata["tags"] = [INJECTED, "hide-input"]
        else:
            cell["id"] = f"{stem}-{index - shift}"[-64:]
            if not tags:
                cell.metadata.pop("tags", None)
        if cell.cell_type == "code":
            cell["outputs"] = merge_streams(cell.outputs)
    return notebook


def merge_streams(outputs: list[Any]) -> list[Any]:
    """Join neighbouring pieces of one stream: where a kernel cuts them is a matter of timing."""
    merged: list[Any] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and output.output_type == "stream" and last.get("name") == output.get("name"):
            last["text"] += output["text"]
        else:
            merged.append(output)
    return merged


def serialize(notebook: NotebookNode) -> str:
    """Return the notebook as text, validated."""
    nbformat.validate(notebook)
    return str(nbformat.writes(notebook, indent=1)).rstrip("\n") + "\n"


def replace(target: Path, text: str) -> None:
    """Write `text` to `target` in one step, so that no half file is ever seen."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(target)
