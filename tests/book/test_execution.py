"""The notebooks' execution: what runs again, what is kept, and that equal runs are equal."""

import io
import json
import os
import sys
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import nbformat
import pytest

from tests.book.made import PARAMETERS, cell, write_notebook
from tools import refresh as refreshing
from tools.book import main, record
from tools.layout import Layout
from tools.notebooks import execute
from tools.refresh import estimate, makespan, refresh
from tools.staleness import current_key, executed_key, key_file, shared_inputs, why_stale


@pytest.fixture(autouse=True)
def environment():
    """Take back the variables that an execution sets for its kernels."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


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
    "changed",
    ["clcore/theory.py", "results/run.json", "data/set.bin", "data/raw/x", "book/paper.yml"],
)
def test_what_notebooks_read_makes_them_stale(tmp_path, monkeypatch, changed):
    monkeypatch.delenv("CLCORE_DATA", raising=False)
    layout = Layout(tmp_path)
    source = write_notebook(layout, "page", PARAMETERS)
    before = current_key(source, {}, shared_inputs(layout))
    (tmp_path / changed).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / changed).write_text("1")
    after = current_key(source, {}, shared_inputs(layout))
    executed = layout.executed / "page.ipynb"
    executed.parent.mkdir(parents=True)
    executed.touch()
    key_file(executed).write_text(executed_key(executed, before, 1.0))
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
    *_, named, blank, remedy = str(failed.value).splitlines()
    assert named == f"page.md:{line}, code cell 3: ValueError: no such thing"
    assert not blank
    assert "Mend the named cell" in remedy
    assert "the same command: it executes only what failed" in remedy
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


# -------------------------------------------------------- the estimate and the progress bar


def test_time_together_is_that_of_the_longest_first_on_two_workers():
    assert makespan([4, 3, 2], 2) == 5  # 4 and then nothing; 3 and then 2
    assert makespan([10, 1, 1], 2) == 10
    assert makespan([], 2) == 0


def test_estimates_say_whose_times_they_are():
    assert estimate({"a": 30.0, "b": 20.0}, 2, True) == "about 30 seconds the last time here"
    recorded = estimate({"a": 300.0, "b": 200.0}, 3, False)
    assert recorded == (
        "about 5 minutes on the machine that recorded them, and 1 that nobody has timed"
    )
    assert estimate({}, 1, False) == "which nobody has timed with these parameters"


class Terminal(io.StringIO):
    """Somebody who watches."""

    def isatty(self):
        return True


def test_an_estimate_comes_first_and_a_bar_runs(tmp_path, capsys, monkeypatch):
    layout = Layout(tmp_path)
    for stem in ("one", "two"):
        write_notebook(layout, stem, PARAMETERS, cell("print(seed)"))
    layout.stored.mkdir()
    layout.times.write_text('{"one": 70, "two": 50}')
    watched = Terminal()
    monkeypatch.setattr(sys, "stderr", watched)
    refresh(layout, {})
    before, _, after = capsys.readouterr().out.partition(
        "Executing 2 of 2 notebooks, about 70 seconds on the machine that recorded them ...\n"
    )
    assert "done in" in after
    assert "done in" not in before
    assert "0 of 2 notebooks" in watched.getvalue()
    assert "100%" in watched.getvalue()
    assert "2 of 2 notebooks" in watched.getvalue()
    write_notebook(layout, "one", PARAMETERS, cell("print(seed + 1)"))
    refresh(layout, {})
    assert "1 of 2 notebooks, about " in (said := capsys.readouterr().out)
    assert "seconds the last time here" in said


def test_record_keeps_the_times_of_what_it_executed(tmp_path):
    layout = Layout(tmp_path)
    for stem in ("one", "two"):
        write_notebook(layout, stem, PARAMETERS, cell("print(seed)"))
    layout.stored.mkdir()
    layout.times.write_text('{"gone": 70}')
    record(layout)
    first = json.loads(layout.times.read_text())
    assert first.keys() == {"one", "two"}
    assert all(type(seconds) is int for seconds in first.values())
    layout.times.write_text('{"one": 1000, "two": 1000}')
    write_notebook(layout, "two", PARAMETERS, cell("print(seed + 1)"))
    record(layout)
    again = json.loads(layout.times.read_text())
    assert again["one"] == 1000
    assert again["two"] < 1000


# --------------------------------------------------------------------- what is broken or ends


@pytest.mark.parametrize("content", ["", "[]", '{"source": ', "\0"])
def test_a_corrupt_key_is_as_none(tmp_path, content):
    executed = tmp_path / "page.ipynb"
    executed.write_text("{}")
    key_file(executed).write_text(executed_key(executed, {"source": "1"}, 1.0))
    assert why_stale(executed, {"source": "1"}) == ""
    key_file(executed).write_text(content)
    assert why_stale(executed, {"source": "1"}) == "never executed here"


def test_a_notebook_that_is_not_of_its_key_is_stale(tmp_path):
    """It was damaged, or a kill came between the notebook and its key."""
    executed = tmp_path / "page.ipynb"
    executed.write_text("{}")
    key_file(executed).write_text(executed_key(executed, {"source": "1"}, 1.0))
    executed.write_text("{")
    assert why_stale(executed, {"source": "1"}) == "not as its last execution left it"


class Pool:
    """Gives one outcome for every notebook."""

    def __init__(self, *_, **__): ...

    def __enter__(self):
        return self

    def __exit__(self, *_): ...

    def shutdown(self, **_): ...

    def submit(self, *_):
        job = Future()
        job.set_exception(self.error)
        return job


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(28, "No space left on device"), 1, ["page.md: OSError", "No space", "Mend the"]),
        (ValueError("no notebook"), 1, ["page.md: ValueError: no notebook", "Mend the"]),
        (BrokenProcessPool("terminated"), 1, ["want of memory", "the same command goes on"]),
        (KeyboardInterrupt(), 130, ["Stopped.", "the same command goes on"]),
    ],
)
def test_whatever_ends_an_execution_is_said_in_words(
    tmp_path, monkeypatch, capsys, error, code, words
):
    layout = Layout(tmp_path)
    write_notebook(layout, "page", PARAMETERS)
    monkeypatch.setattr("tools.book.ROOT", tmp_path)
    monkeypatch.setattr(refreshing, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(Pool, "error", error, raising=False)
    assert main(["build"]) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said
    for word in words:
        assert word in said
    assert not (layout.executed / "page.ipynb").exists()


def test_a_disk_that_is_full_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tools.book.ROOT", tmp_path)
    write_notebook(Layout(tmp_path), "page", PARAMETERS)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.mkdir", fail)
    assert main(["build"]) == 1
    assert "No space left on device: make room" in capsys.readouterr().err
