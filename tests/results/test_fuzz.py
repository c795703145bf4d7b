"""Whatever a spec file or a record holds, it is used or refused with an `InputError`.

What is used is equal to what the file says, read in another way, and no file is changed.
"""

import copy
import itertools
import json
import tomllib
from contextlib import suppress
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clcore.errors import InputError
from clcore.results import Grid, Record, as_text, parse_grid, read, read_grid, run

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
AXES = ("stream", "network", "strategy", "budget")
TEXT = """
dataset = "digits"
seeds = [0, 1]
stream = {name = "permuted", fractions = [1.0]}
network = {name = "mlp", hidden = [8]}
strategy = [{name = "hybrid", metric = "cosine"}, {name = "frozen", modules = 1}]
budget = {epochs = 1, batch = 64, momentum = 0.5}
[search]
learning_rate = [0.1, 0.2]
seeds = [7]
holdout = 0.3
"""
# A cut, what replaces what was cut, and where: what editors, disks and transfers do to a file.
EDITS = st.tuples(
    st.integers(0, 400),
    st.integers(0, 20),
    st.sampled_from([b"", b"0", b"-", b'"', b"[", b"]\n", b"#", b"\n", b"\x00", b"\xff", b"1e999"])
    | st.binary(max_size=4),
)
VALUES = st.recursive(
    st.none() | NUMBERS | WORDS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(), inner, max_size=3)
    ),
    max_leaves=6,
)
MANY = settings(
    max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)


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
    grid = None
    with suppress(InputError):
        grid = parse_grid(content)
    if grid is not None:
        check_grid(grid, content)


def check_grid(grid, content):
    """Compare with the product of the alternatives, formed here."""
    assert isinstance(grid, Grid)
    axes = [content[k] if isinstance(content[k], list) else [content[k]] for k in AXES]
    settings_of_it = list(itertools.product(*axes))
    assert len(grid.reported) == len(settings_of_it)
    for setting, (stream, network, strategy, budget) in zip(
        grid.reported, settings_of_it, strict=True
    ):
        for spec in setting:
            assert (spec.dataset, list(spec.seeds)) == (content["dataset"], content["seeds"])
            assert (spec.stream, spec.network) == (stream, network)
            assert strategy.items() <= spec.strategy.items()
            assert budget.items() <= spec.budget._asdict().items()
            again = parse_grid(described(spec)).reported
            assert again == ((spec,),)
            assert again[0][0].identity() == spec.identity()
    for spec in (spec for setting in grid.reported + grid.searched for spec in setting):
        with suppress(InputError):
            spec.build_strategy()


def described(spec):
    """Return a grid of one run."""
    budget = spec.budget._asdict()
    parts = {k: getattr(spec, k) for k in ("dataset", "stream", "network", "strategy")}
    return parts | {
        "budget": budget,
        "seeds": list(spec.seeds),
        "holdout": spec.holdout,
        "tasks": spec.tasks,
    }


@MANY
@given(place=st.sampled_from(places(GRID)), value=VALUES)
def test_grids_with_one_arbitrary_value(place, value):
    grid_or_input_error(changed(GRID, place, value))


@MANY
@given(st.dictionaries(st.sampled_from(list(GRID)) | WORDS, VALUES))
def test_arbitrary_grids(content):
    grid_or_input_error(content)


def edited(content, edits):
    for place, cut, instead in edits:
        content = content[:place] + instead + content[place + cut :]
    return content


@MANY
@given(edits=st.lists(EDITS, min_size=1, max_size=3))
def test_files_of_grids_with_edited_bytes(edits, tmp_path: Path):
    path = tmp_path / "grid.toml"
    content = edited(TEXT.encode(), edits)
    path.write_bytes(content)
    grid = None
    with suppress(InputError):
        grid = read_grid(path)
    if grid is not None:
        check_grid(grid, tomllib.loads(content.decode()))
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


SPEC = parse_grid(GRID).reported[0][0]
RECORD = json.loads(as_text(SPEC, *run(SPEC), "cpu"))


def record_or_input_error(text, folder):
    path = folder / "record.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = path.read_bytes()
    record = None
    with suppress(InputError):
        record = read(path)
    if record is not None:
        assert isinstance(record, Record)
        content = json.loads(before)
        for name in ("spec", "provenance"):  # as text, where NaN is like NaN
            assert json.dumps(getattr(record, name)) == json.dumps(content[name])
        for name in ("accuracy", "drift"):
            expected = np.array(content[name], dtype=float)
            np.testing.assert_array_equal(getattr(record, name), expected)
        assert record.notes.keys() == content["notes"].keys()
        found = [d._asdict() for d in record.divergences]
        assert json.dumps(found, sort_keys=True) == json.dumps(
            content["divergences"], sort_keys=True
        )
    assert path.read_bytes() == before
    assert list(folder.iterdir()) == [path]


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


@MANY
@given(edits=st.lists(EDITS, min_size=1, max_size=3))
def test_files_of_records_with_edited_bytes(edits, tmp_path: Path):
    record_or_input_error(edited(json.dumps(RECORD).encode(), edits), tmp_path)
