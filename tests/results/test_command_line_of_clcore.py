import subprocess
import sys

import pytest

from clcore.__main__ import main

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


def test_run_report_and_run_again(grid, tmp_path, capsys):
    folder = ["--results", str(tmp_path / "records")]
    assert main(["report", str(grid), *folder]) == 1
    assert "not recorded" in capsys.readouterr().out
    assert main(["run", str(grid), *folder]) == 0
    assert "report: 2 runs, 0 recorded" in capsys.readouterr().out
    assert main(["run", str(grid), *folder]) == 0
    assert "report: 2 runs, 2 recorded" in capsys.readouterr().out
    assert main(["report", str(grid), *folder]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3
    assert "permuted-digits-mlp-frozen" in rows[2]
    assert "±" in rows[2]


def test_divergence_has_its_exit_code_and_message(grid, tmp_path, capsys):
    grid.write_text(GRID.replace("RATE", "1e30"))
    assert main(["run", str(grid), "--results", str(tmp_path)]) == 1
    assert "replica 0 diverged" in "".join(capsys.readouterr())
    assert main(["report", str(grid), "--results", str(tmp_path)]) == 0
    assert "replica 0 diverged" in capsys.readouterr().out


def test_bad_input_exits_with_2_before_any_work(grid, tmp_path, capsys):
    assert main(["run", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err
    assert main(["run", str(grid), "--device", "gpu", "--results", str(tmp_path / "r")]) == 2
    assert "unknown device 'gpu'" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_data_says_what_is_here_and_what_to_do(tmp_path, capsys):
    assert main(["data", "--data", str(tmp_path)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("digits    here, 1347 training images")
    assert "download=True" in rows[1]


def test_help_has_examples():
    command = [sys.executable, "-m", "clcore", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "clcore run results/mnist.toml --device cuda" in text
