"""The notebooks' execution: what runs again, what is kept, and that equal runs are equal."""

import json

import nbformat
import pytest

from tests.book.made import PARAMETERS, cell, write_notebook
from tools.layout import Layout
from tools.notebooks import execute
from tools.refresh import refresh
from tools.staleness import current_key, key_file, shared_inputs, why_stale

DRAWING = cell(
    """
    import matplotlib.pyplot as plt
    import numpy as np
    from clcore import plots

    plots.use_style()
    draws = np.random.default_rng(seed).normal(size=20)
    plots.figure()[1].plot(draws)
    plt.show()
    """
)
# The pause makes the kernel send two pieces of one stream, as a slow cell's output may come.
PRINTING = cell(
    """
    import time

    print(f"{draws.mean():.6f}", flush=True)
    time.sleep(0.5)
    print("second line")
    """
)
TIMING = cell("print(time.perf_counter_ns())", "nbval-ignore-output")


def texts(notebook):
    return [out.text for one in notebook.cells if one.cell_type == "code" for out in one.outputs]


def test_two_executions_are_equal_but_for_timings(tmp_path):
    layout = Layout(tmp_path)
    source = write_notebook(layout, "page", PARAMETERS, DRAWING, PRINTING, TIMING)
    runs = []
    for name in ("first.ipynb", "second.ipynb"):
        assert execute(source, tmp_path / name, {}, tmp_path).failure == ""
        runs.append(nbformat.read(tmp_path / name, as_version=4))
    assert "image/svg+xml" in runs[0].cells[2].outputs[0].data
    assert len(runs[0].cells[3].outputs) == 1
    timings = [run.cells[-1].outputs.pop().text for run in runs]
    assert timings[0] != timings[1]
    assert nbformat.writes(runs[0]) == nbformat.writes(runs[1])


def test_only_what_is_stale_runs(tmp_path, monkeypatch):
    monkeypatch.delenv("CLCORE_DATA", raising=False)
    layout = Layout(tmp_path)
    for stem in ("one", "two"):
        write_notebook(layout, stem, PARAMETERS, cell("print(seed)"))
    assert refresh(layout, {}) == ["one", "two"]
    assert refresh(layout, {}) == []
    write_notebook(layout, "two", PARAMETERS, cell("print(seed + 1)"))
    assert refresh(layout, {}) == ["two"]
    assert refresh(layout, {"seed": 7}) == ["one", "two"]
    executed = nbformat.read(layout.executed / "two.ipynb", as_version=4)
    assert texts(executed) == ["8\n"]


@pytest.mark.parametrize(
    "changed", ["clcore/theory.py", "results/run.json", "data/set.bin", "book/paper.yml"]
)
def test_what_notebooks_read_makes_them_stale(tmp_path, monkeypatch, changed):
    monkeypatch.delenv("CLCORE_DATA", raising=False)
    layout = Layout(tmp_path)
    source = write_notebook(layout, "page", PARAMETERS)
    before = current_key(source, {}, shared_inputs(layout))
    (tmp_path / changed).parent.mkdir(exist_ok=True)
    (tmp_path / changed).write_text("1")
    after = current_key(source, {}, shared_inputs(layout))
    executed = layout.executed / "page.ipynb"
    executed.parent.mkdir(parents=True)
    executed.touch()
    key_file(executed).write_text(json.dumps(before))
    assert why_stale(executed, before) == ""
    assert why_stale(executed, after) == f"changed: {changed.split('/')[0]}"


def test_a_failing_cell_is_named_and_the_old_execution_stays(tmp_path):
    layout = Layout(tmp_path)
    write_notebook(layout, "good", PARAMETERS, cell("print(1)"))
    write_notebook(layout, "page", PARAMETERS, cell("print(1)"))
    refresh(layout, {})
    old = (layout.executed / "page.ipynb").read_bytes()
    write_notebook(layout, "good", PARAMETERS, cell("print(2)"))
    source = write_notebook(
        layout, "page", PARAMETERS, cell("print(2)"), cell("raise ValueError('no such thing')")
    )
    with pytest.raises(RuntimeError) as failed:
        refresh(layout, {})
    line = source.read_text().splitlines().index("raise ValueError('no such thing')") + 1
    last = str(failed.value).splitlines()[-1]
    assert last == f"page.md:{line}, code cell 3: ValueError: no such thing"
    assert "\x1b" not in str(failed.value)
    assert (layout.executed / "page.ipynb").read_bytes() == old
    assert texts(nbformat.read(layout.executed / "good.ipynb", as_version=4)) == ["2\n"]
    write_notebook(layout, "page", PARAMETERS, cell("print(3)"))
    assert refresh(layout, {}) == ["page"]


def test_leaving_early_is_no_success(tmp_path):
    source = write_notebook(Layout(tmp_path), "page", cell("raise SystemExit"), cell("print(1)"))
    outcome = execute(source, tmp_path / "page.ipynb", {}, tmp_path)
    assert "stopped before page-2" in outcome.failure
    assert not (tmp_path / "page.ipynb").exists()


def test_a_notebook_gets_the_parameters_it_declares(tmp_path):
    source = write_notebook(
        Layout(tmp_path), "page", cell("seed = 0", "parameters"), cell("print(seed)")
    )
    given = {"seed": 5, "profile": "full"}
    assert execute(source, tmp_path / "page.ipynb", given, tmp_path).failure == ""
    notebook = nbformat.read(tmp_path / "page.ipynb", as_version=4)
    assert [one.id for one in notebook.cells] == [
        "page-0",
        "page-1",
        "page-injected-parameters",
        "page-2",
    ]
    assert "profile" not in notebook.cells[2].source
    assert texts(notebook) == ["5\n"]
