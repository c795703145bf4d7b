"""Options of strategies that a grid leaves open, and the choice among them."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from clcore.errors import InputError
from clcore.results import Grid, Spec, as_text, chosen, parse_grid, read_grid, records, run, write
from clcore.streams import load
from clcore.training import Outcome

SEARCH = {"learning_rate": [0.1, 0.2], "seeds": [7, 8], "holdout": 0.3}


def grid(strategy: Any, search: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    content = {
        "dataset": "digits",
        "seeds": [0, 1],
        "stream": {"name": "permuted", "fractions": [1.0]},
        "network": {"name": "mlp", "hidden": [8]},
        "strategy": strategy,
        "budget": {"epochs": 1, "batch": 32},
    }
    return content | ({} if search is None else {"search": SEARCH | search}) | more


def choices(setting: tuple[Spec, ...], *options: str) -> list[tuple[Any, ...]]:
    return [
        (*(spec.strategy.get(o) for o in options), spec.budget.learning_rate) for spec in setting
    ]


# ------------------------------------------------------------------------- the candidates


def test_open_options_multiply_the_choices_of_settings_that_leave_them_open() -> None:
    strategies = [
        {"name": "ewc"},
        {"name": "ewc", "strength": 5.0},
        {"name": "initialized"},
        {"name": "proximal"},
    ]
    found = parse_grid(grid(strategies, {"ewc": {"strength": [1.0, 10.0, 100.0]}}))
    assert [len(setting) for setting in found.reported] == [6, 2, 2, 2]
    assert [len(setting) for setting in found.searched] == [6, 2, 2, 2]
    expected = [(s, rate) for s in (1.0, 10.0, 100.0) for rate in (0.1, 0.2)]
    assert choices(found.reported[0], "strength") == expected
    assert choices(found.reported[1], "strength") == [(5.0, 0.1), (5.0, 0.2)]
    assert [s.strategy for s in found.reported[2]] == [{"name": "initialized"}] * 2
    assert [s.strategy for s in found.reported[3]] == [{"name": "proximal"}] * 2


def test_several_open_options_give_their_product() -> None:
    search = {"hybrid": {"few": [1, 2], "threshold": [0.0, 0.3, 0.5]}}
    strategies = [{"name": "hybrid"}, {"name": "hybrid", "few": 2, "metric": "sign"}]
    found = parse_grid(grid(strategies, search))
    expected = [(f, t, r) for f in (1, 2) for t in (0.0, 0.3, 0.5) for r in (0.1, 0.2)]
    assert choices(found.reported[0], "few", "threshold") == expected
    assert choices(found.searched[0], "few", "threshold") == expected
    fixed = [(2, t, "sign", r) for t in (0.0, 0.3, 0.5) for r in (0.1, 0.2)]
    assert choices(found.reported[1], "few", "threshold", "metric") == fixed


def test_a_strategy_may_search_rates_of_its_own_and_so_has_as_many_tries_as_the_others() -> None:
    search = {
        "learning_rate": [0.1, 0.2, 0.3, 0.4],
        "ewc": {"strength": [1.0, 10.0], "learning_rate": [0.2, 0.5]},
        "proximal": {"learning_rate": [0.3]},
    }
    strategies = [{"name": "initialized"}, {"name": "ewc"}, {"name": "proximal"}]
    found = parse_grid(grid(strategies, search))
    assert [len(setting) for setting in found.reported] == [4, 4, 1]
    assert [len(setting) for setting in found.searched] == [4, 4, 1]
    expected = [(s, rate) for s in (1.0, 10.0) for rate in (0.2, 0.5)]
    assert choices(found.searched[1], "strength") == expected
    assert choices(found.reported[2]) == [(0.3,)]
    assert [s.strategy for s in found.reported[2]] == [{"name": "proximal"}]


def test_each_choice_is_judged_on_held_out_images_first() -> None:
    found = parse_grid(grid({"name": "ewc"}, {"ewc": {"strength": [1.0, 10.0]}}))
    for reported, searched in zip(found.reported[0], found.searched[0], strict=True):
        assert reported.strategy == searched.strategy
        assert reported.budget == searched.budget
        assert (reported.seeds, reported.holdout) == ((0, 1), 0.0)
        assert (searched.seeds, searched.holdout) == ((7, 8), 0.3)


def test_every_alternative_of_another_table_has_the_same_choices() -> None:
    streams = [{"name": "permuted", "fractions": [f]} for f in (0.1, 1.0)]
    found = parse_grid(grid({"name": "ewc"}, {"ewc": {"strength": [1.0, 10.0]}}, stream=streams))
    one, other = (choices(setting, "strength") for setting in found.reported)
    assert one == other
    assert len(one) == 4


def test_content_of_a_grid_is_left_as_it_was() -> None:
    content = grid({"name": "ewc"}, {"ewc": {"strength": [1.0, 10.0]}})
    before = json.dumps(content)
    parse_grid(content)
    assert json.dumps(content) == before


def test_file(tmp_path: Any) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(
        """
        dataset = "digits"
        seeds = [0]
        stream = {name = "permuted", fractions = [1.0]}
        network = {name = "mlp", hidden = [8]}
        budget = {epochs = 1, batch = 32}
        [search]
        learning_rate = [0.1]
        seeds = [7]
        holdout = 0.3
        [search.ewc]
        strength = [1.0, 10.0]
        [search."der++"]
        alpha = [0.1, 0.5]
        [[strategy]]
        name = "ewc"
        [[strategy]]
        name = "der++"
        size = 20
        """
    )
    found = read_grid(path)
    assert choices(found.reported[0], "strength") == [(1.0, 0.1), (10.0, 0.1)]
    assert choices(found.reported[1], "size", "alpha") == [(20, 0.1, 0.1), (20, 0.5, 0.1)]


# ---------------------------------------------------------------------- what stays as it was


def test_identity_is_that_of_the_whole_description() -> None:
    """A run is called the same, whether an option was searched or given."""
    found = parse_grid(grid({"name": "ewc"}, {"ewc": {"strength": [1.0, 10.0]}}))
    whole = {
        "budget": {"batch": 32, "epochs": 1, "learning_rate": 0.2},
        "dataset": "digits",
        "holdout": 0.0,
        "network": {"hidden": [8], "name": "mlp"},
        "seeds": [0, 1],
        "strategy": {"name": "ewc", "strength": 10.0},
        "stream": {"fractions": [1.0], "name": "permuted"},
    }
    digest = hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:10]
    assert found.reported[0][3].identity() == f"permuted-digits-mlp-ewc-{digest}"
    budget = {"epochs": 1, "batch": 32, "learning_rate": 0.2}
    given = parse_grid(grid({"name": "ewc", "strength": 10.0}, budget=budget))
    assert given.reported[0][0] == found.reported[0][3]
    assert given.searched == ()


def test_grid_without_options_is_as_before() -> None:
    strategies = [{"name": "initialized"}, {"name": "frozen", "modules": 1}]
    without = parse_grid(grid(strategies, {}))
    ewc = {"ewc": {"strength": [1.0, 2.0]}}
    more = parse_grid(grid([*strategies, {"name": "ewc"}], ewc))
    assert (more.reported[:2], more.searched[:2]) == without
    assert [choices(setting) for setting in without.reported] == [[(0.1,), (0.2,)]] * 2
    assert without.reported[0][0].identity() == "permuted-digits-mlp-initialized-82349b58de"
    assert without.searched[1][1].identity() == "permuted-digits-mlp-frozen-9fd3da4093"


# -------------------------------------------------------------------------------- refused


OPEN = [{"name": "ewc"}, {"name": "hybrid"}]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"ewcc": {"strength": [1.0]}}, "unknown option of search 'ewcc': did you mean 'ewc'"),
        ({"learning_rates": [0.1]}, "'learning_rates': did you mean 'learning_rate'"),
        ({"ewc": {"learning_rate": []}}, r"search.ewc with learning_rate = \[\]: give a list"),
        ({"ewc": {"strength": [1.0], "learning_rate": 0.1}}, "search.ewc with learning_rate"),
        (
            {"ewc": {"strength": [1.0], "learning_rate": [-0.1]}},
            r"rates \[-0.1, .*: each must be finite",
        ),
        ({"ewc": {"strenght": [1.0]}}, "option of search.ewc 'strenght': did you mean 'strength'"),
        ({"hybrid": {"tresholds": [1.0]}}, "of search.hybrid 'tresholds': did you mean 'thresh"),
        ({"ewc": {"name": ["lwf"]}}, "unknown option of search.ewc 'name'"),
        ({"ball": {"gradients": [1.0]}}, "unknown option of search.ball 'gradients'"),
        ({"ewc": {"strength": 1.0}}, "search.ewc with strength = 1.0: give a list of values"),
        ({"ewc": {"strength": []}}, r"search.ewc with strength = \[\]: give a list of values"),
        ({"ewc": {"strength": "10"}}, "search.ewc with strength = '10': give a list of values"),
        ({"ewc": [1.0]}, r"search.ewc \[1.0\]: expected a table, such as \[search.ewc\]"),
        ({"ewc": {"strength": ["1"]}}, "strength = '1': expected a finite number"),
        ({"ewc": {"strength": [1.0, float("nan")]}}, "strength = nan: expected a finite number"),
        ({"ewc": {"strength": [1.0, 1.0]}}, "permuted-digits-mlp-ewc-.* twice"),
        ({"learning_rate": []}, r"search with learning_rate = \[\]: give a list of values"),
        ({"learning_rate": 0.1}, "search with learning_rate = 0.1: give a list of values"),
        ({"holdout": 0}, "search with holdout 0: give a holdout above 0"),
    ],
)
def test_bad_searches(search: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_grid(grid(OPEN, {"ewc": {"strength": [1.0]}} | search))


def test_unknown_options_are_found_although_no_setting_has_the_strategy() -> None:
    with pytest.raises(InputError, match="did you mean 'strength'"):
        parse_grid(grid({"name": "initialized"}, {"ewc": {"strenght": [1.0]}}))
    with pytest.raises(InputError, match="did you mean 'strength'"):
        parse_grid(grid({"name": "ewc", "strength": 1.0}, {"ewc": {"strenght": [1.0]}}))


def test_option_that_a_strategy_needs_is_given_or_searched() -> None:
    with pytest.raises(InputError, match="strategy 'ewc' without strength"):
        parse_grid(grid({"name": "ewc"}, {}))
    with pytest.raises(InputError, match="strategy 'ewc' without strength"):
        parse_grid(grid([{"name": "ewc"}, {"name": "lwf"}], {"lwf": {"strength": [1.0]}}))


def test_options_for_a_strategy_that_no_setting_has() -> None:
    with pytest.raises(InputError, match=r"search.lwf in a grid of ewc, hybrid: add a strategy"):
        parse_grid(grid(OPEN, {"ewc": {"strength": [1.0]}, "lwf": {"strength": [1.0]}}))


# ------------------------------------------------------------------------------ the choice


def record(spec: Spec, folder: Any, accuracy: float) -> None:
    """Write a record of two tasks with this Avg.Acc on the last row, and another before."""
    table = np.full((len(spec.seeds), 2, 2), np.nan)
    table[:, 0, 0], table[:, 1] = 1 - accuracy, accuracy
    table[0, 1] -= 0.01  # the mean over seeds counts
    table[1, 1] += 0.01
    nothing = np.zeros((len(spec.seeds), 2, 2))
    outcome = Outcome(table, nothing, {}, {}, (), 0, 0.0, 0.0)
    write(spec, as_text(spec, outcome, "none", "cpu"), folder)


STRATEGIES = [{"name": "ewc"}, {"name": "ewc", "strength": 5.0}, {"name": "initialized"}]


@pytest.fixture
def two() -> Grid:
    """Return a grid whose first setting has four choices, its others two."""
    return parse_grid(grid(STRATEGIES, {"ewc": {"strength": [1.0, 10.0]}}))


@pytest.mark.parametrize("best", range(4))
def test_best_on_held_out_images_is_chosen(tmp_path: Any, two: Grid, best: int) -> None:
    for setting, winner in zip(two.searched, (best, 1, 0), strict=True):
        for i, spec in enumerate(setting):
            record(spec, tmp_path, 0.8 if i == winner else 0.5 + 0.01 * i)
    assert chosen(two, tmp_path) == [
        two.reported[0][best],
        two.reported[1][1],
        two.reported[2][0],
    ]
    # What is reported is the record on test images, which said nothing to the choice.
    for setting in two.reported:
        for i, spec in enumerate(setting):
            record(spec, tmp_path, 0.9 - 0.1 * i)
    assert [r.name for r in records(two, tmp_path)] == [s.identity() for s in chosen(two, tmp_path)]
    assert chosen(two, tmp_path)[0] == two.reported[0][best]


def test_choice_that_diverged_is_not_taken(tmp_path: Any, two: Grid) -> None:
    for setting in two.searched:
        for i, spec in enumerate(setting):
            record(spec, tmp_path, float("nan") if i in (0, 3) else 0.6 - 0.1 * i)
    assert chosen(two, tmp_path)[0] == two.reported[0][1]


def test_all_choices_diverged(tmp_path: Any, two: Grid) -> None:
    for setting in two.searched:
        for spec in setting:
            record(spec, tmp_path, float("nan"))
    # The other settings go on; of this one the lowest rate will say what becomes of it.
    for found, setting in zip(chosen(two, tmp_path), two.reported, strict=True):
        assert found.budget.learning_rate == min(s.budget.learning_rate for s in setting)


def test_missing_record_of_a_choice(tmp_path: Any, two: Grid) -> None:
    for setting in two.searched:
        for spec in setting[:-1]:
            record(spec, tmp_path, 0.5)
    with pytest.raises(InputError, match=two.searched[0][-1].identity()):
        chosen(two, tmp_path)


# --------------------------------------------------------------------- the first tasks alone


def test_a_search_may_end_after_the_first_tasks() -> None:
    stream = {"name": "permuted", "fractions": [1.0, 1.0, 1.0]}
    found = parse_grid(grid({"name": "initialized"}, {"tasks": 2}, stream=stream))
    reported, searched = found.reported[0][0], found.searched[0][0]
    assert (reported.tasks, searched.tasks) == (0, 2)
    dataset = load("digits")
    whole, first = (s.streams(dataset)[0] for s in (replace(searched, tasks=0), searched))
    assert len(first.tasks) == 2
    assert len(whole.tasks) == 4
    for one, other in zip(first.tasks, whole.tasks, strict=False):
        assert torch.equal(one.train, other.train)
        assert torch.equal(one.test, other.test)
    # Outputs are those of the whole stream: the network that is chosen for is the same.
    assert first.outputs == whole.outputs


def test_the_first_tasks_of_a_run_are_those_of_the_whole_run() -> None:
    stream = {"name": "permuted", "fractions": [1.0, 0.5]}
    content = grid({"name": "proximal"}, stream=stream)
    content["budget"] |= {"learning_rate": 0.1}
    whole = parse_grid(content).reported[0][0]
    first = parse_grid(content | {"tasks": 2}).reported[0][0]
    assert first.identity() != whole.identity()
    np.testing.assert_array_equal(run(first)[0].accuracy, run(whole)[0].accuracy[:, :2, :2])


def test_a_run_of_all_tasks_is_called_as_before_there_was_a_choice() -> None:
    spec = parse_grid(grid({"name": "initialized"}) | {"budget": BUDGET}).reported[0][0]
    content = {
        "dataset": "digits",
        "stream": spec.stream,
        "network": spec.network,
        "strategy": spec.strategy,
        "budget": BUDGET,
        "seeds": [0, 1],
        "holdout": 0.0,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
    assert spec.identity().endswith(digest)


BUDGET = {"epochs": 1, "batch": 32, "learning_rate": 0.1}


@pytest.mark.parametrize("tasks", [-1, 1.0, "2", True, None])
def test_tasks_are_a_whole_number(tasks: Any) -> None:
    with pytest.raises(InputError, match=r"tasks .*give how many to train, or 0 for all"):
        parse_grid(grid({"name": "initialized"}) | {"budget": BUDGET, "tasks": tasks})


def test_more_tasks_than_the_stream_has() -> None:
    spec = parse_grid(grid({"name": "initialized"}) | {"budget": BUDGET, "tasks": 3}).reported[0][0]
    with pytest.raises(InputError, match="tasks 3 of a stream of 2: give at most as many"):
        run(spec)
