"""The names that figures and tables use tell the settings of a grid apart."""

import json
from pathlib import Path

import pytest

from clcore.plots import strategy_name, stream_name
from clcore.results import read_grid

# Those that vary the options of Algorithm 1 have names of their own on their pages.
GRIDS = [
    path
    for path in sorted((Path(__file__).parents[2] / "results").glob("*.toml"))
    if path.stem not in ("hybrid-digits", "threshold-cifar100")
]


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_no_two_strategies_of_a_stream_share_a_name(path):
    specs = [setting[0] for setting in read_grid(path).reported]
    keys = [(strategy_name(s.strategy), json.dumps([s.stream, s.network, s.budget])) for s in specs]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        ({"name": "frozen"}, "frozen, head only"),
        ({"name": "partial", "modules": 7}, "partial, last 7"),
        ({"name": "hybrid", "few": 1, "threshold": 0.1}, "Algorithm 1"),
        ({"name": "hybrid", "few": 1}, "Algorithm 1, few = 1"),
        ({"name": "proximal", "directed": True}, "curvature held"),
        ({"name": "initialized"}, "initialized"),
    ],
)
def test_names_of_strategies(strategy, name):
    assert strategy_name(strategy) == name


@pytest.mark.parametrize(
    ("stream", "name"),
    [
        ({"name": "permuted", "fractions": [0.1, 1.0, 0.1]}, "mixed"),
        ({"name": "permuted", "fractions": [1.0, 1.0]}, "unrelated"),
        ({"name": "permuted", "fractions": [0.1, 0.1]}, "near"),
        ({"name": "permuted", "fractions": [0.0, 0.0]}, "near"),
        ({"name": "permuted", "fractions": []}, "near"),
        ({"name": "permuted", "fractions": [0.2, 0.2]}, "0.2 moved"),
        ({"name": "split", "tasks": 5, "scenario": "class"}, "split without task"),
        ({"name": "correlated", "classes": 4, "shared": [0.5, 0.5]}, "correlated"),
        ({"name": "correlated", "classes": 4, "shared": [0.8, 0.0, 0.8]}, "mixed"),
    ],
)
def test_names_of_streams(stream, name):
    assert stream_name(stream) == name
