"""The paper's figures and records beside them: the chapters of the part *Experiments*."""

from pathlib import Path

import numpy as np
import pytest

from clcore.errors import InputError
from clcore.results import BESIDE, Setting, beside, parse_grid, read_paper, recorded, settings
from clcore.results.record import Record
from clcore.training import Divergence

PAPER = read_paper()
GRID = {
    "dataset": "digits",
    "seeds": [0, 1, 2],
    "stream": {"name": "permuted", "fractions": [1.0]},
    "network": {"name": "mlp", "hidden": [8]},
    "strategy": [{"name": "initialized"}, {"name": "frozen"}, {"name": "ewc", "strength": 1.0}],
    "budget": {"epochs": 1, "batch": 64, "learning_rate": 0.1},
}
# Three seeds, two tasks: Avg.Acc 60, 70, 80; Task.Acc 80, 90, 90; forgetting 40, 40, 20.
ACCURACY = np.array([[[0.8, 0], [0.4, 0.8]], [[1, 0], [0.6, 0.8]], [[0.9, 0], [0.7, 0.9]]])


def specs():
    return [spec for setting in parse_grid(GRID).reported for spec in setting]


def made(spec, divergences=()):
    record = Record(spec.identity(), {}, ACCURACY, ACCURACY[..., 0], {}, tuple(divergences), {})
    return Setting(spec, record, tuned=False)


def row(rows, strategy, measure):
    """Return a row as a table from column to cell."""
    tables = [dict(zip(BESIDE, cells, strict=True)) for cells in rows]
    (found,) = [t for t in tables if (t["strategy"], t["measure"]) == (strategy, measure)]
    return found


def test_the_paper_s_figures_agree_with_what_its_text_says_of_them():
    """Adaptive less initialized on the correlated and corrupted streams; means where it is best."""
    stated = {"correlated-cifar100": (6.43, -2.42), "corrupted-cub200": (4.09, -0.45)}
    for name, (accuracy, forgetting) in stated.items():
        figures = PAPER[name].figures
        for measure, gain in (("average_accuracy", accuracy), ("forgetting", forgetting)):
            difference = figures["adaptive", measure].mean - figures["initialized", measure].mean
            assert difference == pytest.approx(gain)
    for benchmark in PAPER.values():
        accuracies = {s: f.mean for (s, m), f in benchmark.figures.items() if "average" in m}
        assert max(accuracies, key=accuracies.get) == "adaptive"


def test_a_record_beside_the_paper():
    benchmark = PAPER["split-cifar100"]
    rows = beside(benchmark, [made(spec) for spec in specs()])
    found = row(rows, "initialized", "average accuracy")
    half = 4.302652729911275 * 10 / 3**0.5  # Student's t with 2 degrees of freedom, two-sided 95 %
    numbers = {"here": 70, "95 % low": 70 - half, "95 % high": 70 + half, "std": 10}
    assert {k: found[k] for k in numbers} == pytest.approx(numbers)
    assert found["seeds"] == "3"
    assert (found["paper"], found["paper's std"]) == (42.27, 0.09)
    assert found["difference"] == pytest.approx(70 - 42.27)
    found = row(rows, "frozen", "task accuracy")
    assert (found["paper"], found["paper's std"]) == (57.37, None)
    assert row(rows, "frozen", "forgetting")["here"] == pytest.approx(100 / 3)
    own = row(rows, "ewc", "forgetting")
    assert (own["paper"], own["paper's std"], own["difference"]) == (None, None, None)
    assert own["here"] == pytest.approx(100 / 3)


def test_what_nobody_tried_has_a_row():
    rows = beside(PAPER["split-cifar100"], [made(spec) for spec in specs()])
    missing = row(rows, "adaptive", "forgetting")
    assert list(missing.values())[2:] == ["no record yet", *[None] * 4, 24.15, 0.27, None]
    rows = beside(PAPER["split-cub200"], [])
    assert {cells[2] for cells in rows} == {"data not at hand"}
    assert len(rows) == 9


def test_a_missing_record_and_diverged_seeds_are_told():
    first, second, _ = specs()
    diverged = [Divergence(1, 0, 3, 0.1), Divergence(1, 1, 4, 0.1)]
    rows = beside(
        PAPER["split-cifar10"], [Setting(first, None, tuned=False), made(second, diverged)]
    )
    for name, missing in (("initialized", "no record yet"), ("frozen", "1 of 3 seeds diverged")):
        found = row(rows, name, "forgetting")
        assert [found[k] for k in ("here", "seeds", "difference")] == [missing, None, None]
        assert found["paper"] is not None


def test_two_settings_of_one_strategy_keep_their_names():
    grid = GRID | {"strategy": [{"name": "frozen", "modules": m} for m in (1, 2)]}
    grid["strategy"].append({"name": "hybrid"})
    tried = [
        Setting(spec, None, tuned=False)
        for setting in parse_grid(grid).reported
        for spec in setting
    ]
    rows = beside(PAPER["split-cifar10"], tried, lambda s: f"{s['name']}, {s.get('modules')}")
    assert row(rows, "hybrid, None", "forgetting")["paper"] == 19.51
    assert row(rows, "frozen, 1", "forgetting")["paper"] == 21.10
    assert row(rows, "frozen, 2", "forgetting")["paper"] == 21.10


def test_a_file_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"paper\.yml"):
        read_paper()


def test_a_notebook_finds_the_file_in_the_folder_beside_its_own(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2] / "notebooks")
    assert read_paper() == PAPER


def test_settings_of_a_grid_that_is_recorded_in_part(tmp_path):
    """Nothing recorded; the search whole for one of two; that one reported, too."""
    search = {"learning_rate": [0.01, 0.1], "seeds": [1000], "holdout": 0.2}
    plain = GRID | {"strategy": [{"name": "initialized"}, {"name": "frozen"}], "search": search}
    grid = parse_grid(plain | {"budget": {"epochs": 1, "batch": 64}})
    assert [s.record for s in settings(grid, tmp_path)] == [None, None]
    for spec in grid.searched[1]:
        recorded(spec, folder=tmp_path)
    one, other = settings(grid, tmp_path)
    assert (one.record, other.record) == (None, None)
    assert other.spec in grid.reported[1]
    assert other.spec.budget.learning_rate == 0.1  # of the two the better, after one epoch
    recorded(other.spec, folder=tmp_path)
    one, again = settings(grid, tmp_path)
    assert (one.record, again.spec) == (None, other.spec)
    assert again.record.name == other.spec.identity()
