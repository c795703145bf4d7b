"""Whatever a spec file or a record holds, it is used or refused with an `InputError`."""

import copy
import json
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clcore.errors import InputError
from clcore.results import Grid, Record, as_text, parse_grid, read, run

GRID = {
    "dataset": "digits",
    "seeds": [0, 1],
    "stream": {"name": "permuted", "fractions": [1.0]},
    "network": {"name": "mlp", "hidden": [8]},
    "strategy": [
        {"name": "hybrid", "metric": "cosine", "taken": "end"},
        {"name": "frozen", "modules": 1},
        {"name": "ewc"},
    ],
    "budget": {"epochs": 1, "batch": 64, "momentum": 0.5, "optimizer": "sgd"},
    "search": {
        "learning_rate": [0.1, 0.2],
        "seeds": [7, 8],
        "holdout": 0.3,
        "ewc": {"strength": [0.5, 1.0]},
    },
}
WORDS = st.sampled_from(["digits", "name", "few", "metric", "mlp", "permuted", "nan", "1.5"])
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 1, -1, 10**400, 2**63, True, 1e308])
VALUES = st.recursive(
    st.none() | NUMBERS | WORDS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(), inner, max_size=3)
    ),
    max_leaves=6,
)
MANY = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def places(content, at=()):
    """Return the path to everything within nested dicts and lists."""
    keys = content if isinstance(content, dict) else range(len(content))
    found = []
    for key in keys:
        found.append((*at, key))
        if isinstance(content[key], dict | list):
            found += places(content[key], (*at, key))
    return found


def changed(content, place, value):
    content = copy.deepcopy(content)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return content


def grid_or_input_error(content):
    try:
        grid = parse_grid(content)
    except InputError:
        return
    assert isinstance(grid, Grid)
    for spec in (spec for setting in grid.reported + grid.searched for spec in setting):
        assert spec.identity()
        with suppress(InputError):
            spec.build_strategy()


@MANY
@given(place=st.sampled_from(places(GRID)), value=VALUES)
def test_grids_with_one_arbitrary_value(place, value):
    grid_or_input_error(changed(GRID, place, value))


@MANY
@given(st.dictionaries(st.sampled_from(list(GRID)) | WORDS, VALUES))
def test_arbitrary_grids(content):
    grid_or_input_error(content)


SPEC = parse_grid(GRID).reported[0][0]
RECORD = json.loads(as_text(SPEC, *run(SPEC), "cpu"))


def record_or_input_error(text, folder):
    path = folder / "record.json"
    path.write_text(text)
    with suppress(InputError):
        assert isinstance(read(path), Record)


@MANY
@given(place=st.sampled_from(places(RECORD)), value=VALUES)
def test_records_with_one_arbitrary_value(place, value, tmp_path: Path):
    record_or_input_error(json.dumps(changed(RECORD, place, value)), tmp_path)


@MANY
@given(value=VALUES, cut=st.integers(0, 400))
def test_arbitrary_and_cut_records(value, cut, tmp_path: Path):
    record_or_input_error(json.dumps(value), tmp_path)
    record_or_input_error(json.dumps(RECORD)[:cut], tmp_path)
    record_or_input_error("[" * 100000, tmp_path)
