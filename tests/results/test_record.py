import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import clcore
from clcore.errors import InputError
from clcore.results import (
    as_text,
    chosen,
    code_version,
    outdated,
    parse_grid,
    read,
    record_path,
    recorded,
    records,
    run,
    settings,
    write,
)
from clcore.results import record as record_module

GRID = {
    "dataset": "digits",
    "seeds": [0, 1],
    "stream": {"name": "permuted", "fractions": [1.0]},
    "network": {"name": "mlp", "hidden": [8]},
    "strategy": {"name": "hybrid"},
    "budget": {"epochs": 1, "batch": 64, "learning_rate": 0.1},
}


def first(grid):
    return parse_grid(grid).reported[0][0]


def test_what_is_read_is_what_was_measured(tmp_path):
    spec = first(GRID)
    outcome, checksum = run(spec)
    record = read(write(spec, as_text(spec, outcome, checksum, "cpu"), tmp_path))
    np.testing.assert_array_equal(record.accuracy, outcome.accuracy)
    np.testing.assert_allclose(record.drift, outcome.drift, atol=1e-6)
    np.testing.assert_allclose(record.notes["similarity"], outcome.notes["similarity"], atol=1e-6)
    assert record.spec["strategy"] == {"name": "hybrid"}
    assert record.provenance["data"] == checksum
    assert {"code", "commit", "versions", "hardware", "seconds"} <= record.provenance.keys()
    assert [p.name for p in tmp_path.iterdir()] == [f"{spec.identity()}.json"]


def test_a_record_is_reused_and_never_overwritten(tmp_path, monkeypatch):
    spec = first(GRID)
    before = recorded(spec, folder=tmp_path)
    monkeypatch.setattr("clcore.results.recording.train", None)  # training again would fail
    assert recorded(spec, folder=tmp_path).provenance == before.provenance
    write(spec, "another", tmp_path)
    assert recorded(spec, folder=tmp_path).provenance == before.provenance
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_an_old_record_stays_until_the_new_one_is_whole(tmp_path, monkeypatch, step):
    spec = first(GRID)
    path = write(spec, "old", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(step, lambda *_: 1 / 0)  # the disk is full
        with pytest.raises(ZeroDivisionError):
            write(spec, "new", tmp_path, replace=True)
    assert path.read_text() == "old"
    write(spec, "new", tmp_path, replace=True)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_links_will_do(tmp_path, monkeypatch):
    def refuse(self, target):
        raise PermissionError("no links here")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    for text in ("first", "second"):
        assert write(first(GRID), text, tmp_path).read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_killed_writers_left_is_removed(tmp_path):
    path = record_path(first(GRID), tmp_path)
    old, young = (tmp_path / f".{path.name}.{number}.part" for number in (1, 2))
    for left in (old, young):
        left.touch()
    os.utime(old, (0, 0))
    write(first(GRID), "whole", tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([path, young])


def test_records_of_other_code_or_data_are_told(tmp_path):
    record = recorded(first(GRID), folder=tmp_path)
    data = record.provenance["data"]
    assert outdated(record, data) == outdated(record, None) == ""
    assert outdated(record, "0123") == f"data {data} (here 0123)"
    other = record._replace(provenance=record.provenance | {"code": "4567"})
    assert outdated(other, data) == f"code 4567 (here {code_version()})"


def test_version_is_that_of_the_sources_that_decide_numbers(tmp_path, monkeypatch):
    copy = tmp_path / "clcore"
    shutil.copytree(Path(clcore.__file__).parent, copy, ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr("clcore.results.record.__file__", str(copy / "results" / "record.py"))

    def version():
        code_version.cache_clear()
        return code_version()

    try:
        first_version = version()
        for name in ("theory/gains.py", "results/record.py", "plots/style.py"):
            (copy / name).write_text("# other")
            assert version() == first_version
        seen = {first_version}
        for name in ("seeds.py", "results/spec.py", "training/run.py", "streams/split.py"):
            (copy / name).write_text("# other")
            seen.add(version())
        assert len(seen) == 5
    finally:
        code_version.cache_clear()


def test_diverged_replicas_are_recorded(tmp_path):
    spec = first(GRID | {"budget": GRID["budget"] | {"learning_rate": 1e30}})
    record = recorded(spec, folder=tmp_path)
    assert [d.replica for d in record.divergences] == [0, 1]
    assert np.isnan(record.accuracy).all()
    json.loads((tmp_path / f"{spec.identity()}.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "null",
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"accuracy"', '"acuracy"'),
        lambda text: text.replace('"seeds": [0, 1]', '"seeds": [0]'),
        lambda text: text.replace("null", '"x"', 1),
        lambda text: json.dumps(json.loads(text) | {"provenance": []}),
    ],
)
def test_damaged_records_are_named(tmp_path, damage):
    spec = first(GRID)
    recorded(spec, folder=tmp_path)
    path = tmp_path / f"{spec.identity()}.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=f"{path.name}.*cannot be read"):
        read(path)


def test_a_kill_leaves_a_whole_record_or_none(tmp_path):
    # The child writes one record after the other; it dies while it writes the fourth.
    script = (
        "import sys; from pathlib import Path\n"
        "from clcore.results import as_text, parse_grid, run, write\n"
        "import json, os, signal; grid = json.loads(sys.argv[1])\n"
        "outcome, checksum = run(parse_grid(grid).reported[0][0]);\n"
        "for seed in range(4):\n"
        "    if seed == 3: os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    spec = parse_grid(grid | {'seeds': [seed, seed + 1]}).reported[0][0]\n"
        "    write(spec, as_text(spec, outcome, checksum, 'cpu'), Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", script, json.dumps(GRID), str(tmp_path)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    written = list(tmp_path.glob("*.json"))
    assert len(written) == 3
    for path in written:
        assert read(path).accuracy.shape == (2, 2, 2)
    assert len(list(tmp_path.glob(".*.part"))) == 1


def test_the_rate_is_chosen_on_held_out_images(tmp_path):
    search = {"learning_rate": [1e-5, 0.3, 1e30], "seeds": [7, 8], "holdout": 0.3}
    budget = {"epochs": 1, "batch": 64}
    grid = parse_grid(GRID | {"budget": budget, "search": search})
    with pytest.raises(InputError, match="no record"):
        chosen(grid, tmp_path)
    for spec in grid.searched[0]:
        recorded(spec, folder=tmp_path)
    # 1e-5 learns nothing and 1e30 diverges.
    assert chosen(grid, tmp_path) == [grid.reported[0][1]]
    with pytest.raises(InputError, match="no record"):
        records(grid, tmp_path)
    expected = recorded(grid.reported[0][1], folder=tmp_path)
    (found,) = records(grid, tmp_path)
    assert found.name == expected.name
    diverging = parse_grid(GRID | {"budget": budget, "search": search | {"learning_rate": [1e30]}})
    assert chosen(diverging, tmp_path) == [diverging.reported[0][0]]


def test_options_are_chosen_on_held_out_images(tmp_path):
    """With no module trained, the second task stays unknown."""
    search = {
        "learning_rate": [0.3],
        "seeds": [7, 8],
        "holdout": 0.3,
        "partial": {"modules": [0, 2]},
    }
    budget = {"epochs": 1, "batch": 64}
    strategies = [{"name": "partial"}, {"name": "frozen"}]
    grid = parse_grid(GRID | {"budget": budget, "search": search, "strategy": strategies})
    for spec in (spec for setting in grid.searched for spec in setting):
        recorded(spec, folder=tmp_path)
    found = chosen(grid, tmp_path)
    assert found == [grid.reported[0][1], grid.reported[1][0]]
    assert found[0].strategy == {"name": "partial", "modules": 2}
    assert [setting.tuned for setting in settings(grid, tmp_path)] == [True, False]


def test_without_a_search_every_run_is_reported(tmp_path):
    assert chosen(parse_grid(GRID), tmp_path) == [first(GRID)]


def test_the_commit_is_that_of_the_package_and_no_other_project(tmp_path, monkeypatch):
    """Installed into a folder below another project's, the package has no commit of its own."""
    commit = record_module._commit.__wrapped__
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(tmp_path)]
    (tmp_path / "record.py").write_text("")
    subprocess.run([*git, "init", "-q"], check=True)
    monkeypatch.setattr(record_module, "__file__", str(tmp_path / "record.py"))
    assert commit() is None
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "a"], check=True)
    assert commit()
