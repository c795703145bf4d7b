import pytest

from clcore.errors import InputError
from clcore.results import Spec, check_begin, parse_grid, read_grid
from clcore.streams import load
from clcore.training import Budget

GRID = {
    "dataset": "digits",
    "seeds": [0, 1],
    "stream": {"name": "permuted", "fractions": [1.0]},
    "network": {"name": "mlp", "hidden": [8]},
    "strategy": [{"name": "initialized"}, {"name": "frozen", "modules": 1}],
    "budget": {"epochs": 1, "batch": 32, "learning_rate": 0.1},
}


SEARCH = {"learning_rate": [0.1, 0.2], "seeds": [7, 8], "holdout": 0.3}


def test_a_grid_is_the_product_of_its_alternatives():
    budgets = [GRID["budget"] | {"learning_rate": rate} for rate in (0.1, 0.2, 0.3)]
    grid = parse_grid(GRID | {"budget": budgets})
    assert grid.searched == ()
    specs = [spec for setting in grid.reported for spec in setting]
    assert len(specs) == 6
    assert len({spec.identity() for spec in specs}) == 6
    assert [s.strategy["name"] for s in specs] == ["initialized"] * 3 + ["frozen"] * 3
    assert [s.budget.learning_rate for s in specs[:3]] == [0.1, 0.2, 0.3]


def test_a_search_gives_every_setting_the_same_rates_on_held_out_images():
    budget = {"epochs": 1, "batch": 32}
    grid = parse_grid(GRID | {"budget": budget, "search": SEARCH})
    assert [len(setting) for setting in grid.reported + grid.searched] == [2, 2, 2, 2]
    for reported, searched in zip(grid.reported, grid.searched, strict=True):
        for rate, one, other in zip([0.1, 0.2], reported, searched, strict=True):
            assert one.budget.learning_rate == other.budget.learning_rate == rate
            assert one.strategy == other.strategy
            assert (one.seeds, one.holdout) == ((0, 1), 0.0)
            assert (other.seeds, other.holdout) == ((7, 8), 0.3)


def first(grid):
    return parse_grid(grid).reported[0][0]


def test_identity_is_stable_and_depends_on_every_part():
    spec = first(GRID)
    assert spec.identity() == "permuted-digits-mlp-initialized-" + spec.identity()[-10:]
    assert spec.identity() == first(GRID).identity()
    changes = [
        {"seeds": [0, 2]},
        {"holdout": 0.5},
        {"stream": {"name": "permuted", "fractions": [0.5]}},
        {"network": {"name": "mlp", "hidden": [9]}},
        {"budget": GRID["budget"] | {"momentum": 0.5}},
    ]
    names = {first(GRID | change).identity() for change in changes}
    assert len(names | {spec.identity()}) == len(changes) + 1


@pytest.mark.parametrize(
    ("part", "whole", "fraction"),
    [
        ("strategy", {"name": "ewc", "strength": 1}, {"name": "ewc", "strength": 1.0}),
        ("strategy", {"strength": 1, "name": "ewc"}, {"name": "ewc", "strength": 1.0}),
        ("budget", {"learning_rate": 1}, {"learning_rate": 1.0}),
        ("budget", {"momentum": 0}, {"momentum": 0.0}),
        ("holdout", 0, 0.0),
    ],
)
def test_a_whole_number_and_its_float_are_one_run(part, whole, fraction):
    def named(value):
        return first(GRID | {part: GRID["budget"] | value if part == "budget" else value})

    assert named(whole).identity() == named(fraction).identity()
    assert named(whole) == named(fraction)


def test_a_spec_builds_what_it_names():
    digits = load("digits")
    spec = parse_grid(GRID | {"stream": {"name": "split", "tasks": 5}}).reported[1][0]
    streams = spec.streams(digits)
    network = spec.build_network(digits, streams[0])
    assert [len(s.tasks) for s in streams] == [5, 5]
    assert (network.inputs, network.outputs, network.blocks) == (64, 10, ("layer1", "head"))
    assert spec.build_strategy().modules == 1
    assert spec.build_strategy() is not spec.build_strategy()


@pytest.mark.parametrize(("scenario", "outputs"), [("task", 10), ("domain", 2), ("class", 10)])
@pytest.mark.parametrize(
    ("network", "inputs"),
    [({"name": "mlp", "hidden": [8]}, 64), ({"name": "resnet18", "width": 2}, 1)],
)
def test_the_network_has_the_outputs_that_a_scenario_needs(scenario, outputs, network, inputs):
    stream = {"name": "split", "tasks": 5, "scenario": scenario}
    spec = first(GRID | {"stream": stream, "network": network})
    digits = load("digits")
    streams = spec.streams(digits)
    assert streams[0].scenario == scenario
    built = spec.build_network(digits, streams[0])
    assert (built.inputs, built.outputs) == (inputs, outputs)
    check_begin(spec)


OPEN = [{"name": "ewc"}, {"name": "ewc", "strength": 5.0}, {"name": "initialized"}]


def test_a_search_gives_a_strategy_the_options_it_leaves_open():
    search = SEARCH | {"ewc": {"strength": [0.5, 2.0, 3.0]}}
    budget = {"epochs": 1, "batch": 32}
    grid = parse_grid(GRID | {"strategy": OPEN, "budget": budget, "search": search})
    for settings, seeds, holdout in (
        (grid.reported, (0, 1), 0.0),
        (grid.searched, (7, 8), 0.3),
    ):
        assert [len(setting) for setting in settings] == [6, 2, 2]
        found = [(s.strategy["strength"], s.budget.learning_rate) for s in settings[0]]
        assert found == [(s, rate) for s in (0.5, 2.0, 3.0) for rate in (0.1, 0.2)]
        assert {s.strategy["strength"] for s in settings[1]} == {5.0}
        assert all(s.strategy == {"name": "initialized"} for s in settings[2])
        assert all((s.seeds, s.holdout) == (seeds, holdout) for one in settings for s in one)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "minst"}, "unknown dataset 'minst': did you mean 'mnist'"),
        ({"stream": {"name": "premuted"}}, "did you mean 'permuted'"),
        ({"stream": {"fractions": [1.0]}}, "add its name"),
        ({"stream": {"name": "permuted"}}, "without fractions"),
        ({"stream": {"name": "permuted", "fraction": [1]}}, "did you mean 'fractions'"),
        ({"stream": {"name": "permuted", "fractions": [1], "seed": 3}}, "unknown option"),
        ({"stream": "permuted"}, "expected a table"),
        ({"network": {"name": "mpl"}}, "did you mean 'mlp'"),
        ({"network": {"name": "mlp"}}, "without hidden"),
        ({"strategy": {"name": "freezing"}}, "unknown strategy"),
        ({"strategy": {"name": "frozen", "module": 1}}, "did you mean 'modules'"),
        ({"budget": {"epoch": 1}}, "did you mean 'epochs'"),
        ({"budget": {"epochs": 1, "batch": 1}}, "without learning_rate"),
        ({"seeds": [0, 0]}, "different whole numbers"),
        ({"seeds": []}, "different whole numbers"),
        ({"seeds": [-1]}, "different whole numbers"),
        ({"seeds": [0.5]}, "different whole numbers"),
        ({"seeds": 3}, "different whole numbers"),
        ({"sedes": [1]}, "did you mean 'seeds'"),
        ({"search": {"seeds": [1], "holdout": 0.1}}, "search without learning_rate"),
        ({"search": {"seeds": [1], "learning_rate": [1], "holdout": 0}}, "a holdout above 0"),
        ({"seeds": [True]}, "different whole numbers"),
        ({"holdout": 1.0}, "from 0 to below 1"),
        ({"holdout": "0.1"}, "from 0 to below 1"),
        ({"stream": {"name": "permuted", "fractions": 1}}, "expected a list, each a finite"),
        ({"stream": {"name": "split", "tasks": 2.5}}, "tasks = 2.5: expected a whole number"),
        ({"network": {"name": "mlp", "hidden": [True]}}, "each a whole number"),
        ({"strategy": {"name": "hybrid", "few": "1"}}, "few = '1': expected a whole number"),
        ({"strategy": {"name": "hybrid", "metric": 3}}, "metric = 3: expected text or "),
        ({"strategy": {"name": ["hybrid"]}}, "unknown strategy"),
        ({"strategy": []}, "describes no run"),
        ({"strategy": [{"name": "frozen"}, {"name": "frozen"}]}, "frozen-.* twice"),
        ({"budget": GRID["budget"] | {"learning_rate": "0.1"}}, "learning_rate = '0.1'"),
        ({"budget": GRID["budget"] | {"learning_rate": float("nan")}}, "a finite number"),
        ({"budget": GRID["budget"] | {"learning_rate": 10**400}}, "a finite number"),
        ({"budget": GRID["budget"] | {"learning_rate": -1}}, "finite and above 0"),
        ({"budget": GRID["budget"] | {"learning_rate": [0.1]}}, "for 2 seeds"),
        ({"budget": GRID["budget"] | {"epochs": 0}}, "each must be at least 1"),
        ({"budget": GRID["budget"] | {"batch": 0}}, "each must be at least 1"),
        ({"budget": GRID["budget"] | {"momentum": 1.0}}, r"not in \[0, 1\)"),
        ({"budget": GRID["budget"] | {"optimizer": "adma"}}, "did you mean 'adam'"),
        ({"budget": GRID["budget"] | {"optimizer": "adam", "momentum": 0.5}}, "with adam"),
        ({"search": 3}, "expected a table"),
        ({"search": {"seeds": [1], "learning_rate": [], "holdout": 0.1}}, "give a list"),
        ({"search": {"seeds": [1], "learning_rate": 1, "holdout": 0.1}}, "give a list"),
        ({"search": SEARCH | {"ewk": {"strength": [1.0]}}}, "did you mean 'ewc'"),
        ({"search": SEARCH | {"ewc": [1.0]}}, "expected a table"),
        ({"search": SEARCH | {"ewc": {"strength": 1.0}}}, "search.ewc with strength = 1.0: give"),
        ({"search": SEARCH | {"ewc": {"strength": []}}}, "search.ewc with strength"),
        ({"search": SEARCH | {"frozen": {"module": [1]}}}, "did you mean 'modules'"),
    ],
)
def test_bad_grids_say_what_is_wrong(change, message):
    with pytest.raises(InputError, match=message):
        parse_grid(GRID | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stream": {"name": "permuted", "fractions": [1.5]}}, "fraction 1.5"),
        ({"stream": {"name": "split", "tasks": 3}}, "choose a divisor"),
        ({"network": {"name": "mlp", "hidden": []}}, "at least one hidden layer"),
        ({"strategy": {"name": "frozen", "modules": 3}}, "3 trained modules"),
        ({"strategy": {"name": "hybrid", "metric": "cosin"}}, "did you mean 'cosine'"),
        ({"strategy": {"name": "hybrid", "taken": "start"}}, "unknown moment"),
        ({"strategy": {"name": "ewc", "strength": -1.0}}, "strength -1.0"),
        ({"stream": {"name": "split", "tasks": 5, "scenario": "tasks"}}, "did you mean 'task'"),
        ({"holdout": 1e-9}, "holdout"),
        (
            {"strategy": {"name": "proximal"}, "budget": GRID["budget"] | {"optimizer": "adam"}},
            "optimizer 'adam' with Proximal, which makes sense with sgd alone: choose that",
        ),
    ],
)
def test_what_does_not_fit_is_found_before_training(change, message):
    spec = first(GRID | change)
    with pytest.raises(InputError, match=message):
        check_begin(spec)


def test_missing_keys_are_named():
    with pytest.raises(InputError, match="grid without dataset"):
        parse_grid({})


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "broken.toml").write_text("seeds = [")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for name in ("none.toml", "broken.toml", "binary.toml"):
        with pytest.raises(InputError, match=name):
            read_grid(tmp_path / name)


def test_the_repository_s_grids_can_be_read(pytestconfig):
    grids = sorted((pytestconfig.rootpath / "results").glob("*.toml"))
    assert grids
    for grid in grids:
        assert all(isinstance(s, Spec) for setting in read_grid(grid).reported for s in setting)


def test_budget_of_a_spec_is_typed():
    assert first(GRID).budget == Budget(1, 32, 0.1)
