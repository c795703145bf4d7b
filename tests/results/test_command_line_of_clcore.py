import json
import os
import re
import subprocess
import sys
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from clcore.__main__ import main
from clcore.results import workers

GRID = """
dataset = "digits"
seeds = [0, 1]
stream = {name = "permuted", fractions = [1.0]}
network = {name = "mlp", hidden = [8]}
budget = {epochs = 1, batch = 64, learning_rate = RATE}
[[strategy]]
name = "initialized"
[[strategy]]
name = "frozen"
"""


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(GRID.replace("RATE", "0.1"))
    return path


@pytest.fixture
def run(grid, tmp_path):
    def run(*options):
        folder = ["--results", str(tmp_path / "records")]
        return main(["run", str(grid), *folder, "--workers", "1", *options])

    return run


@pytest.fixture
def report(grid, tmp_path, capsys):
    def report():
        capsys.readouterr()
        code = main(["report", str(grid), "--results", str(tmp_path / "records")])
        return code, capsys.readouterr().out

    return report


def test_run_report_and_run_again(run, report, capsys):
    code, text = report()
    assert code == 1
    assert "not recorded" in text
    assert run() == 0
    printed = capsys.readouterr()
    assert "report: 2 runs, 0 recorded" in printed.out
    assert "100%" in printed.err
    assert "2.0/2 runs" in printed.err
    assert run() == 0
    again = capsys.readouterr()
    assert "report: 2 runs, 2 recorded" in again.out
    assert again.err == ""
    code, table = report()
    assert code == 0
    assert printed.out.endswith(table)  # the summary of a run is the report
    rows = table.splitlines()
    assert len(rows) == 3
    assert "permuted-digits-mlp-frozen" in rows[2]
    assert "±" in rows[2]


def test_a_report_while_the_search_goes_on(run, report, grid):
    search = "[search]\nlearning_rate = [0.05, 0.1]\nseeds = [7]\nholdout = 0.2\n"
    fixed = ", learning_rate = RATE"
    grid.write_text(GRID.replace(fixed, "").replace("[[strategy]]", search + "[[strategy]]", 1))
    assert run() == 0
    rows = report()[1].splitlines()
    more = "[[strategy]]\nname = 'frozen'\nmodules = 2\n"
    grid.write_text(grid.read_text() + more)
    code, table = report()
    assert code == 1
    assert table.splitlines()[:3] == rows
    assert table.splitlines()[3].startswith("permuted-digits-mlp-frozen ")
    assert "not recorded: clcore run" in table.splitlines()[3]
    assert table.splitlines()[3].endswith("modules 2")


def test_one_seed_has_no_interval(run, report, grid):
    grid.write_text(grid.read_text().replace("[0, 1]", "[0]"))
    assert run() == 0
    assert "±" not in report()[1].splitlines()[1]


def test_a_rate_for_each_seed(run, report, grid):
    grid.write_text(grid.read_text().replace("rate = 0.1", "rate = [0.1, 0.2]"))
    assert run() == 0
    assert "  each " in report()[1]


def test_divergence_has_its_exit_code_and_message(run, report, grid, capsys):
    grid.write_text(GRID.replace("RATE", "1e30"))
    assert run() == 1
    assert "replica 0 diverged" in capsys.readouterr().err
    code, table = report()
    assert code == 0
    assert "replica 0 diverged" in table


def test_bad_input_exits_with_2_before_any_work(run, grid, tmp_path, capsys):
    def refused(*options):
        assert run(*options) == 2
        assert not (tmp_path / "records").exists()
        return capsys.readouterr().err

    assert "unknown device 'gpu'" in refused("--device", "gpu")
    assert "give at least 1" in refused("--workers", "0")
    grid.write_text(grid.read_text() + "modules = 3")  # the last run of two
    assert "3 trained modules" in refused()
    assert main(["run", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err


def test_an_error_amid_a_run_has_its_own_exit_code(run, capsys, monkeypatch):
    def fail(spec, **options):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(workers, "run", fail)
    assert run() == 5
    assert "CUDA out of memory" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "code"), [("run", 4), ("report", 0)])
def test_a_reader_who_stops_ends_a_run_in_words_and_a_report_in_silence(
    grid, tmp_path, command, code
):
    line = [sys.executable, "-m", "clcore", command, str(grid), "--results", str(tmp_path / "r")]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(line, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.returncode == code
    assert ("nobody reads the output" in done.stderr) == (command == "run")


def test_an_unreachable_scheduler_is_said_in_a_line(grid, tmp_path, capsys, monkeypatch):
    command = ["run", str(grid), "--results", str(tmp_path / "records"), "--scheduler"]
    assert main([*command, "nowhere://x"]) == 2
    assert "scheduler 'nowhere://x' cannot be reached" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main([*command, "tcp://127.0.0.1:1"]) == 2
    assert "pip install 'clcore[distributed]'" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["code", "data"])
def test_records_of_another_version_are_flagged_and_run_again_on_request(
    run, report, tmp_path, capsys, what
):
    assert run() == 0
    new, *_ = sorted((tmp_path / "records").iterdir())
    text = new.read_text()
    there = json.loads(text)["provenance"][what]
    old = text.replace(there, "0123456789abcdef").replace("[0.", "[0.0")  # other numbers, too
    new.write_text(old)
    _, table = report()
    assert [line.endswith("*") for line in table.splitlines()].count(True) == 1
    assert f"* of another version: {what} 0123456789abcdef (here {there})" in table
    assert run() == 0
    assert "1 records of another code or data version, kept" in capsys.readouterr().out
    assert new.read_text() == old
    assert run("--refresh") == 0
    fresh, was = json.loads(new.read_text()), json.loads(text)
    assert fresh.pop("provenance")[what] == was.pop("provenance")[what]
    assert fresh == was
    assert "*" not in report()[1]


ROOT = Path(__file__).parents[2]
FOR_A_GPU = sorted(
    {
        " ".join(found.split())
        for file in [*ROOT.glob("book/*.md"), *ROOT.glob("results/*.toml"), ROOT / "README.md"]
        for found in re.findall(r"clcore run (results/\S+ --device cuda[^`]*)`", file.read_text())
    }
)


@pytest.mark.parametrize("command", FOR_A_GPU)
def test_commands_for_a_gpu_ask_for_nothing_else(command, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(ROOT)
    assert main(["run", *command.split()]) == 2
    assert "finds no GPU here" in capsys.readouterr().err


def test_the_workers_of_a_scheduler_have_the_device(grid, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    command = ["run", str(grid), "--results", str(tmp_path / "out"), "--device", "cuda"]
    assert main(command) == 2
    assert "finds no GPU here" in capsys.readouterr().err
    assert main([*command, "--scheduler", "nowhere://x"]) == 2
    assert "'nowhere://x' cannot be reached" in capsys.readouterr().err
    assert main([*command[:-1], "gpu", "--scheduler", "nowhere://x"]) == 2
    assert "unknown device 'gpu'" in capsys.readouterr().err


def test_what_is_finished_is_recorded_before_another_run_s_failure(monkeypatch):
    """All runs end together, one of them in an error: the others' records are handed on first."""

    @contextmanager
    def crew(count, jobs):
        def submit(job):
            future = Future()
            if job[0] == 0:
                future.set_exception(RuntimeError("lost"))
            else:
                future.set_result(f"text {job[0]}")
            return future

        yield workers.Crew(submit, [0.0] * jobs)

    monkeypatch.setattr(workers, "_processes", crew)
    specs = [f"spec {number}" for number in range(40)]
    found = []
    with pytest.raises(RuntimeError, match="lost"):
        found.extend(workers.texts(specs, workers=2, tick=lambda done: None))
    assert sorted(found) == sorted((f"spec {n}", f"text {n}") for n in range(1, 40))


def test_data_says_what_is_here_and_what_to_do(tmp_path, capsys):
    assert main(["data", "--data", str(tmp_path)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split(maxsplit=1)[0] == "digits"
    assert "here, 1347 training images" in rows[0]
    assert "clcore data --download mnist" in rows[1]


def test_help_has_examples_and_exit_codes():
    command = [sys.executable, "-m", "clcore", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "clcore run results/mnist.toml --device cuda" in text
    assert "130  stopped with Ctrl-C" in text
