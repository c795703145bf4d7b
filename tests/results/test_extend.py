"""Records that grow by seeds, against records of all seeds at once."""

import json

import numpy as np
import pytest

from clcore.errors import InputError
from clcore.results import extend, parse_grid, read, record_path, run_and_record
from clcore.results import workers as crew

GRID = {
    "dataset": "digits",
    "seeds": [0, 1],
    "stream": {"name": "permuted", "fractions": [1.0]},
    "network": {"name": "mlp", "hidden": [8], "dropout": 0.2},
    "strategy": {"name": "hybrid"},
    "budget": {"epochs": 1, "batch": 64, "learning_rate": 0.1},
}


def spec(seeds, **changes):
    return parse_grid(GRID | {"seeds": seeds} | changes).reported[0][0]


@pytest.fixture
def go(tmp_path, monkeypatch):
    """Return what records runs in a folder, and the seeds that each of its runs trained."""
    trained = []
    real = crew.run

    def spy(spec, **options):
        trained.append(spec.seeds)
        return real(spec, **options)

    monkeypatch.setattr(crew, "run", spy)

    def go(*specs, **options):
        run_and_record(specs, tmp_path, tick=lambda done: None, **options)
        return [read(record_path(spec, tmp_path)) for spec in specs]

    return go, trained


def test_only_new_seeds_are_trained_and_the_record_is_that_of_all(go, tmp_path):
    go, trained = go
    (old,) = go(spec([3, 0]))
    before = record_path(spec([3, 0]), tmp_path).read_text()
    (grown,) = go(spec([0, 5, 3, 1]))
    assert trained == [(3, 0), (5, 1)]
    (again,) = go(spec([0, 5, 3, 1]), again=True)
    assert trained[2] == (0, 5, 3, 1)
    np.testing.assert_allclose(grown.accuracy, again.accuracy, atol=2 / 360)
    np.testing.assert_allclose(grown.drift, again.drift, rtol=1e-3)
    assert grown.notes.keys() == again.notes.keys()
    for name in grown.notes:
        np.testing.assert_allclose(grown.notes[name], again.notes[name], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(grown.accuracy[[2, 0]], old.accuracy)
    assert grown.spec == again.spec
    assert grown.provenance["images"] == again.provenance["images"]
    assert [p["images"] for p in grown.provenance["parts"]] == [again.provenance["images"] / 2] * 2
    assert record_path(spec([3, 0]), tmp_path).read_text() == before


def test_the_largest_part_counts_and_other_runs_do_not(go):
    go, trained = go
    go(spec([0]), spec([0, 1]), spec([2, 3, 4, 9]))
    go(spec([0, 1, 2, 3], strategy={"name": "initialized"}))
    assert trained[-1] == (0, 1, 2, 3)
    go(spec([0, 1, 2, 3], budget=GRID["budget"] | {"learning_rate": 0.2}))
    assert trained[-1] == (0, 1, 2, 3)
    go(spec([0, 1, 2, 3]))
    assert trained[-1] == (2, 3)


def test_a_rate_for_each_seed_is_not_extended(go):
    go, trained = go
    go(spec([0, 1], budget=GRID["budget"] | {"learning_rate": [0.1, 0.2]}))
    go(spec([0, 1, 2], budget=GRID["budget"] | {"learning_rate": [0.1, 0.2, 0.3]}))
    assert trained[-1] == (0, 1, 2)


def test_divergences_keep_their_seed(go):
    go, _ = go
    wild = GRID["budget"] | {"learning_rate": 1e30}
    go(spec([4, 2], budget=wild))
    (grown,) = go(spec([2, 7, 4], budget=wild))
    (again,) = go(spec([2, 7, 4], budget=wild), again=True)
    assert sorted(d.replica for d in grown.divergences) == [0, 1, 2]
    assert sorted(grown.divergences) == sorted(again.divergences)
    assert np.isnan(grown.accuracy).any()


def test_parts_of_other_code_are_named(go, tmp_path):
    go, _ = go
    go(spec([0]))
    path = record_path(spec([0]), tmp_path)
    path.write_text(path.read_text().replace(read(path).provenance["code"], "0ld"))
    (grown,) = go(spec([0, 1]))
    here = grown.provenance["parts"][1]["code"]
    assert grown.provenance["code"] == f"0ld+{here}"


def of_other_data(spec, folder):
    path = record_path(spec, folder)
    content = json.loads(path.read_text())
    content["provenance"]["data"] = "other"
    path.write_text(json.dumps(content))
    return path


def test_a_note_that_one_part_has_alone_is_empty_for_the_other(go, tmp_path):
    """As where all seeds of a part diverged in the first task, after which nothing is noted."""
    go, _ = go
    (old,) = go(spec([2]))
    path = record_path(spec([2]), tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"notes": {}}))
    (grown,) = go(spec([1, 2]))
    assert grown.notes.keys() == old.notes.keys()
    for note in grown.notes.values():
        assert np.isnan(note[1]).all()
        assert np.isfinite(note[0, 1:]).all()


def test_two_runs_that_need_the_same_seeds_are_both_recorded(go):
    go, trained = go
    go(spec([0]))
    both, one = go(spec([0, 1]), spec([1]))
    assert trained == [(0,), (1,)]
    np.testing.assert_array_equal(both.accuracy[1], one.accuracy[0])


def test_other_data_are_refused_before_anything_trains(go, tmp_path):
    go, trained = go
    go(spec([0]))
    of_other_data(spec([0]), tmp_path)
    with pytest.raises(InputError, match=r"other data \(other\).*run all seeds with --refresh"):
        go(spec([0, 1]))
    assert trained == [(0,)]


def test_other_data_of_workers_are_not_joined_and_nothing_is_lost(go, tmp_path, monkeypatch):
    go, trained = go
    go(spec([0]))
    path = of_other_data(spec([0]), tmp_path)
    monkeypatch.setattr(extend, "data_version", lambda *_: None)  # the data are not here
    other = spec([0, 1], strategy={"name": "initialized"})
    with pytest.raises(InputError, match="all are kept: run all seeds with --refresh"):
        go(spec([0, 1]), other)
    assert not record_path(spec([0, 1]), tmp_path).exists()
    for kept in (path, record_path(spec([1]), tmp_path), record_path(other, tmp_path)):
        read(kept)
    go(spec([0, 1]), again=True)
    assert trained[-1] == (0, 1)
