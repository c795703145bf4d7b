"""Validation by re-execution compares: it passes what is right and fails a planted number."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tools.layout import Layout

ROOT = Path(__file__).parents[2]


def validate(notebook, folder):
    """Run nbval on `notebook` as `make test` does; return its exit status and output."""
    path = folder / "copy.ipynb"
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-q"]
    command += ["--nbval", "--nbval-current-env", "--rootdir", str(ROOT), "-c"]
    command += [str(ROOT / "pyproject.toml"), "--nbval-sanitize-with"]
    command += [str(ROOT / "tests/book/sanitize.cfg"), str(path)]
    records = {"CLCORE_RESULTS": str(ROOT / "results")}  # the copy does not lie beside them
    ran = subprocess.run(
        command, cwd=ROOT, env=os.environ | records, capture_output=True, text=True, check=False
    )
    return ran.returncode, ran.stdout + ran.stderr


def numbers():
    """Yield (notebook, cell index, output text key) of every compared number, early ones first."""
    for path in sorted(Layout(ROOT).stored.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for index, cell in enumerate(notebook.cells):
            if "nbval-ignore-output" in cell.metadata.get("tags", []):
                continue
            for output in cell.get("outputs", []):
                holder = output if output.output_type == "stream" else output.get("data", {})
                for key in ("text", "text/markdown", "text/html"):
                    if re.search(r"\d", holder.get(key, "")):
                        yield index, path, holder, key, notebook


@pytest.fixture(scope="module")
def planted():
    """Return a stored notebook, cut after its first compared number, and how to falsify it."""
    found = min(numbers(), key=lambda one: one[:2], default=None)
    assert found, "no stored notebook has a number that validation compares: run `make record`"
    index, _, holder, key, notebook = found
    notebook.cells = notebook.cells[: index + 1]
    return notebook, holder, key


def test_the_right_number_passes_and_a_wrong_one_fails(planted, tmp_path):
    notebook, holder, key = planted
    status, said = validate(notebook, tmp_path)
    assert status == 0, said
    holder[key] = re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), holder[key], count=1)
    status, said = validate(notebook, tmp_path)
    assert status == 1
    assert "1 failed" in said
    assert "Cell outputs differ" in said


def test_of_a_drawing_only_its_presence_is_compared(tmp_path):
    code = "import matplotlib.pyplot as plt\nfrom clcore import plots\nplots.use_style()\n"
    cell = nbformat.v4.new_code_cell(f"{code}plots.figure()\nplt.show()", execution_count=1)
    drawn = nbformat.v4.new_notebook(cells=[cell])
    assert validate(drawn, tmp_path)[0] == 1
    svg = '<?xml version="1.0"?>\n<svg><path d="another drawing"/></svg>\n'
    data = {"image/svg+xml": svg, "text/plain": "<Figure size 720x380 with 1 Axes>"}
    cell.outputs = [nbformat.v4.new_output("display_data", data)]
    status, said = validate(drawn, tmp_path)
    assert status == 0, said
