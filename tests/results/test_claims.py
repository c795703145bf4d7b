"""Verdicts on claims: by hand for each kind and verdict, and on the book's own ledger."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import ttest_1samp, ttest_rel

from clcore.__main__ import main
from clcore.errors import InputError
from clcore.results import (
    Spec,
    Verdict,
    as_text,
    holm,
    read_grid,
    read_ledger,
    record_path,
    verdicts,
    write,
)
from clcore.training import Divergence, Outcome

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book" / "claims.yml"

GRID = """
dataset = "digits"
seeds = [0, 1, 2]
network = {name = "mlp", hidden = [8]}
budget = {epochs = 1, batch = 64, learning_rate = 0.1}
[[stream]]
name = "permuted"
fractions = [0.1]
[[stream]]
name = "permuted"
fractions = [1.0]
[[strategy]]
name = "initialized"
[[strategy]]
name = "frozen"
modules = 1
[[strategy]]
name = "frozen"
modules = 2
"""
NEAR, FAR = ({"grid": "g", "name": "permuted", "fractions": [f]} for f in (0.1, 1.0))
ONE, TWO = "frozen (modules 1)", "frozen (modules 2)"
TEST = '''
def test_it():
    """Theorem "All is well"."""
def test_fails():
    """Theorem "All is well"."""
    assert False
def test_of_another_thing():
    """Theorem "Nothing"."""
'''


def comparison(**changes: Any) -> dict[str, Any]:
    """Return a claim on both streams; what is None is left out."""
    table = {
        "id": "c",
        "statement": "Frozen is better.",
        "source": "paper: abstract",
        "measure": "average_accuracy",
        "strategy": {"name": "frozen"},
        "against": [{"name": "initialized"}],
        "direction": "higher",
        "streams": ["near", "far"],
    } | changes
    return {key: value for key, value in table.items() if value is not None}


def theorem(**changes: Any) -> dict[str, Any]:
    return {
        "id": "t",
        "statement": "All is well.",
        "source": "derived here: page#t",
        "page": "page",
        "title": "All is well",
        "tests": ["tests/test_it.py::test_it"],
    } | changes


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Return a folder with a grid, a test and no record."""
    for name, file, text in (("results", "g.toml", GRID), ("tests", "test_it.py", TEST)):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(text)
    (tmp_path / "book").mkdir()
    return tmp_path


def ledger(book: Path, *claims: dict[str, Any], **changes: Any) -> Path:
    content = {
        "smallest": 0.25,
        "grids": {"g": {}},
        "streams": {"near": NEAR, "far": FAR},
        "claims": list(claims),
    }
    path = book / "book" / "claims.yml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def record(
    book: Path, spec: Spec, percent: list[float], forgetting: float | list[float] = 0.0
) -> None:
    """Write a record of two tasks with this Avg.Acc at each seed, and Forgetting, in percent."""
    table = np.full((len(spec.seeds), 2, 2), np.nan)
    table[:, 1] = np.array(percent)[:, None] / 100
    table[:, 0, 0] = table[:, 1, 0] + np.array(forgetting) / 100
    outcome = Outcome(table, np.zeros((len(percent), 2, 2)), {}, {}, (), 0, 0.0, 0.0)
    write(spec, as_text(spec, outcome, "none", "cpu"), book / "results", replace=True)


BASE = [50.0, 51.0, 52.0]
UP, UNSURE, DOWN = [1.0, 1.1, 1.2], [-1.0, 0.0, 1.2], [-1.0, -1.1, -1.2]
SAME, SMALL = [0.0, 0.0, 0.0], [0.1, 0.101, 0.102]


def recorded(book: Path, near: list[list[float]], far: list[list[float]]) -> None:
    """Record initialized training at BASE, and both frozen ones at BASE plus these differences."""
    specs = [setting[0] for setting in read_grid(book / "results" / "g.toml").reported]
    for spec, plus in zip(specs, ([0, 0, 0], *near, [0, 0, 0], *far), strict=True):
        record(book, spec, list(np.add(BASE, plus)))


def verdict(book: Path, **changes: Any) -> Verdict:
    (found,) = verdicts(read_ledger(ledger(book, comparison(**changes))), book / "results")
    return found


# ------------------------------------------------------------------ verdicts worked by hand


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04, times 4, 3, 2, 1, never falling.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("near", "far", "expected", "because"),
    [
        ([UP, UP], [UP, UP], "supported", f"Holds in 4 of 4: near: {ONE}; near: {TWO}; far: {ONE}"),
        (
            [UP, UP],
            [UNSURE, DOWN],
            "supported in part",
            f"Holds in 2 of 4: near: {ONE}; near: {TWO}",
        ),
        (
            [UNSURE, DOWN],
            [DOWN, DOWN],
            "not supported",
            f"Contradicted in 3 of 4: near: {TWO}; far",
        ),
        ([UNSURE, UNSURE], [UNSURE, UNSURE], "undecided", "Not distinguishable in 4 of 4"),
        (
            [UNSURE, SAME],
            [UNSURE, UNSURE],
            "not supported",
            f"Exactly equal in 1 of 4: near: {TWO}",
        ),
        ([SMALL, UNSURE], [UNSURE, UNSURE], "not supported", f"Too small in 1 of 4: near: {ONE}"),
    ],
)
def test_each_verdict(book: Path, near: Any, far: Any, expected: str, because: str) -> None:
    recorded(book, near, far)
    found = verdict(book)
    assert found.verdict == expected
    assert found.because.startswith(because)
    assert ("Contradicted" in found.because) == (DOWN in near + far)
    assert ("Not distinguishable" in found.because) == (UNSURE in near + far)
    assert not found.missing
    # The other direction turns every effect.
    turned = verdict(book, direction="lower")
    assert [e.difference.mean for e in turned.effects] == pytest.approx(
        [-e.difference.mean for e in found.effects]
    )


def test_effects_are_paired_differences_in_points(book: Path) -> None:
    recorded(book, [UP, UNSURE], [DOWN, UNSURE])
    found = verdict(book)
    assert [(e.where, e.strategy, e.against) for e in found.effects] == [
        (where, strategy, "initialized") for where in ("near", "far") for strategy in (ONE, TWO)
    ]
    tests = [ttest_rel(np.add(BASE, plus), BASE) for plus in (UP, UNSURE, DOWN, UNSURE)]
    for effect, plus, test in zip(found.effects, (UP, UNSURE, DOWN, UNSURE), tests, strict=True):
        low, high = test.confidence_interval(0.95)
        assert effect.difference[:3] == pytest.approx((np.mean(plus), low, high))
    # Of four comparisons the clear ones have the smallest p.
    assert found.effects[0].p == pytest.approx(4 * tests[0].pvalue)
    assert found.effects[1].p == pytest.approx(min(1, 2 * tests[1].pvalue))
    assert [e.outcome for e in found.effects] == [
        "as claimed",
        "not distinguishable",
        "contrary",
        "not distinguishable",
    ]


def test_correction_counts_the_comparisons_of_the_claim(book: Path) -> None:
    edge = [1.0, 1.5, 2.0]  # p = 0.035
    recorded(book, [edge, edge], [edge, edge])
    alone = verdict(book, strategy={"name": "frozen", "modules": 1}, streams=["near"])
    assert (alone.verdict, alone.because) == ("supported", "Holds in 1 of 1: near")
    assert verdict(book).because == "Not distinguishable in 4 of 4"


def test_a_clear_but_tiny_difference_is_not_named(book: Path) -> None:
    tiny = [0.240, 0.241, 0.242]
    recorded(book, [tiny, [0.260, 0.261, 0.262]], [tiny, tiny])
    found = verdict(book)
    assert found.because.startswith(f"Holds in 1 of 4: near: {TWO}. Too small in 3 of 4")
    assert all(e.p < 0.05 and e.difference.low > 0 for e in found.effects)
    assert [e.outcome for e in found.effects] == ["too small", "as claimed"] + ["too small"] * 2


def test_equal_values_are_no_difference_and_constant_ones_are(book: Path) -> None:
    recorded(book, [[0, 0, 0], [2.0, 2.0, 2.0]], [UP, UP])
    same, constant, *_ = verdict(book).effects
    assert (same.p, same.outcome) == (1.0, "equal")
    assert constant.p < 1e-9
    assert constant.outcome == "as claimed"


def test_better_than_both_needs_both(book: Path) -> None:
    recorded(book, [DOWN, UP], [UP, UP])
    both = [{"name": "initialized"}, {"name": "frozen", "modules": 1}]
    found = verdict(book, strategy={"name": "frozen", "modules": 2}, against=both)
    assert found.because == "Holds in 1 of 2: near. Exactly equal in 1 of 2: far"
    assert [e.outcome for e in found.effects] == ["as claimed"] * 3 + ["equal"]


def test_what_cannot_forget_is_shown_but_not_counted(book: Path) -> None:
    """Settings in the order of the grid: initialized, ONE and TWO, near and then far."""
    lost = {"initialized": [4.0, 5.0, 6.0], "two": [1.0, 1.1, 1.2], "one": [0.0] * 3}
    grid = read_grid(book / "results" / "g.toml")
    for (spec,) in grid.reported:
        modules = {1: "one", 2: "two"}.get(spec.strategy.get("modules"), "initialized")
        record(book, spec, BASE, forgetting=lost[modules])
    found = verdict(book, measure="forgetting", direction="lower")
    assert found.verdict == "supported"
    assert found.because == (
        f"Holds in 2 of 2: near: {TWO}; far: {TWO}. "
        f"Not counted, since one side cannot forget there: near: {ONE}; far: {ONE}"
    )
    one, two = found.effects[:2]
    assert (one.p, one.outcome) == (1.0, "by construction")
    assert one.difference.mean == pytest.approx(5.0)
    test = ttest_rel(lost["initialized"], lost["two"])
    assert two.p == pytest.approx(2 * test.pvalue)  # of two that are tested, not of four
    alone = {"name": "frozen", "modules": 1}
    found = verdict(book, measure="forgetting", direction="lower", strategy=alone)
    assert found.verdict == "not testable here"
    # A rival that cannot forget makes a strategy neither better than both nor worse.
    both = [{"name": "initialized"}, alone]
    other = {"name": "frozen", "modules": 2}
    found = verdict(book, measure="forgetting", direction="lower", strategy=other, against=both)
    assert found.verdict == "not testable here"
    assert found.because == "Not counted, since one side cannot forget there: near; far"
    # The other rival can contradict alone, and another variant of the same rival is enough.
    found = verdict(book, measure="forgetting", direction="higher", strategy=other, against=both)
    assert found.because == "Contradicted in 2 of 2: near, by initialized; far, by initialized"
    any_ = [{"name": "frozen"}]
    free = {"name": "initialized"}
    found = verdict(book, measure="forgetting", direction="higher", strategy=free, against=any_)
    assert [e.outcome for e in found.effects] == ["by construction", "as claimed"] * 2
    assert found.because == "Holds in 2 of 2: near; far"
    for (spec,) in grid.reported:
        if spec.strategy.get("modules") == 2:
            record(book, spec, BASE, forgetting=lost["initialized"])
    found = verdict(book, measure="forgetting", direction="lower", strategy=other, against=both)
    assert (found.verdict, found.because) == (
        "not supported",
        "Exactly equal in 2 of 2: near; far",
    )
    # In accuracy it counts as any other.
    assert "by construction" not in [e.outcome for e in verdict(book).effects]


def test_a_rival_without_record_is_named_and_the_others_compared(book: Path) -> None:
    recorded(book, [UP, UP], [UP, UP])
    specs = [setting[0] for setting in read_grid(book / "results" / "g.toml").reported]
    near_one, far_initialized = specs[1], specs[3]
    for spec in (near_one, far_initialized):
        record_path(spec, book / "results").unlink()
    both = [{"name": "initialized"}, {"name": "frozen"}]
    found = verdict(book, strategy={"name": "frozen", "modules": 2}, against=both)
    assert {(e.where, e.against) for e in found.effects} == {("near", "initialized"), ("near", TWO)}
    lacks = "no record of results/g.toml yet: `clcore run results/g.toml`"
    assert found.missing == (
        f"near: {ONE}: {lacks}",
        f"far: initialized: {lacks}",
        f"far: {TWO}: nothing to compare it with",
    )


def test_pairs_compare_leads(book: Path) -> None:
    recorded(book, [[5.0, 5.1, 5.3], UP], [UP, [1.0, 1.1, 1.3]])
    found = verdict(book, streams=None, pairs=[["near", "far"]])
    change = np.array([[5.0, 5.1, 5.3], UP]) - [UP, [1.0, 1.1, 1.3]]
    assert found.verdict == "supported in part"
    assert found.because.startswith(f"Holds in 1 of 2: near → far: {ONE}. Not dist")
    test = ttest_1samp(change[0], 0)
    assert found.effects[0].difference.mean == pytest.approx(change[0].mean())
    assert found.effects[0].p == pytest.approx(2 * test.pvalue)


def test_what_does_not_lead_has_no_lead_to_lose(book: Path) -> None:
    """A disadvantage that grows is no advantage that fades."""
    recorded(book, [[5.0, 5.1, 5.3], DOWN], [UP, [-5.0, -5.1, -5.3]])
    found = verdict(book, streams=None, pairs=[["near", "far"]])
    assert [e.outcome for e in found.effects] == ["as claimed", "no lead"]
    assert found.because == (
        f"Holds in 1 of 1: near → far: {ONE}. "
        f"Not counted, since there is no lead to change: near → far: {TWO}"
    )
    change = np.subtract([5.0, 5.1, 5.3], UP)
    assert found.effects[0].p == pytest.approx(ttest_1samp(change, 0).pvalue)  # the only one tested
    assert found.effects[1].difference.mean == pytest.approx(np.mean(DOWN) + np.mean([5, 5.1, 5.3]))


def test_each_measure_is_the_paper_s(book: Path) -> None:
    for i, setting in enumerate(read_grid(book / "results" / "g.toml").reported):
        # Seeds differ a little; by hand: Task.Acc is Avg.Acc plus half of the forgetting.
        record(book, setting[0], [50, 51, 52 + i], forgetting=[0, 4, 8][i % 3])
    near = {"streams": ["near"], "strategy": {"name": "frozen", "modules": 2}}
    means = {
        measure: verdict(book, measure=measure, **near).effects[0].difference.mean
        for measure in ("average_accuracy", "task_accuracy", "forgetting")
    }
    assert means == pytest.approx(
        {"average_accuracy": 2 / 3, "task_accuracy": 2 / 3 + 4, "forgetting": 8.0}
    )


# ---------------------------------------------------------------------- what is not there


def test_without_records_it_is_not_testable(book: Path) -> None:
    found = verdict(book)
    assert found.verdict == "not testable here"
    hint = "no record of results/g.toml yet: `clcore run results/g.toml`"
    assert found.missing == (f"near: {hint}", f"far: {hint}")
    file = ledger(book, comparison(), grids={"g": {"missing": "data not at hand"}})
    (found,) = verdicts(read_ledger(file), book / "results")
    assert found.because == "near: data not at hand; far: data not at hand"
    file = ledger(book, comparison(), grids={"g": {"records": "small"}})
    (found,) = verdicts(read_ledger(file), book / "results")
    assert found.missing[0] == f"near: {hint[:-1]} --results results/small`"
    file = ledger(
        book, comparison(), streams={"near": {"grid": "h"}, "far": FAR}, grids={"g": {}, "h": {}}
    )
    (found,) = verdicts(read_ledger(file), book / "results")
    assert found.missing[0] == "near: no grid results/h.toml"


def test_what_is_recorded_counts_and_the_rest_is_named(book: Path) -> None:
    recorded(book, [UP, UP], [UP, UP])
    specs = [setting[0] for setting in read_grid(book / "results" / "g.toml").reported]
    record_path(specs[2], book / "results").unlink()  # near, frozen with 2 modules
    found = verdict(book)
    assert found.because.startswith("Holds in 3 of 3")
    hint = "no record of results/g.toml yet: `clcore run results/g.toml`"
    assert found.missing == (f"near: {TWO}: {hint}",)


def test_diverged_replicas_are_no_number(book: Path) -> None:
    recorded(book, [UP, UP], [UP, UP])
    spec = read_grid(book / "results" / "g.toml").reported[1][0]
    path = record_path(spec, book / "results")
    content = json.loads(path.read_text())
    content["divergences"] = [Divergence(2, 0, 3, 0.1)._asdict()]
    path.write_text(json.dumps(content))
    found = verdict(book)
    assert found.missing == (f"near: {ONE}: 1 of 3 seeds diverged",)


# ------------------------------------------------------------------------------- theorems


def test_theorems_and_what_follows_from_them(book: Path) -> None:
    follows = {"statement": "So.", "source": "paper: abstract", "theorems": ["t"]}
    claims = [follows | {"id": "a"}, follows | {"id": "b", "condition": "if it rains"}, theorem()]
    found = verdicts(read_ledger(ledger(book, *claims)), book / "results")
    assert [(v.verdict, v.because) for v in found] == [
        ("supported", ""),
        ("supported in part", "if it rains"),
        ("supported", ""),
    ]


def test_tests_are_run_on_request(book: Path) -> None:
    fails = "tests/test_it.py::test_fails"
    follows = {"id": "a", "statement": "So.", "source": "paper: abstract", "theorems": ["u"]}
    claims = [theorem(), theorem(id="u", tests=[theorem()["tests"][0], fails]), follows]
    read = read_ledger(ledger(book, *claims))
    assert [v.verdict for v in verdicts(read)] == ["supported"] * 3
    found = verdicts(read, run_tests=True)
    assert [(v.verdict, v.because) for v in found] == [
        ("supported", ""),
        ("not supported", f"fails: {fails}"),
        ("not supported", "fails: u"),
    ]


@pytest.mark.parametrize(
    "test",
    [
        f"@pytest.mark.skip{TEST}",
        "@pytest.mark.parametrize('x', [1, pytest.param(2, marks=pytest.mark.skip)])"
        + TEST.replace("test_it()", "test_it(x)"),
    ],
    ids=["whole", "a case of it"],
)
def test_a_skipped_test_proves_nothing(
    book: Path, monkeypatch: pytest.MonkeyPatch, test: str
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    (book / "tests" / "test_it.py").write_text(f"import pytest\n{test}")
    found = verdicts(read_ledger(ledger(book, theorem())), run_tests=True)
    assert [v.verdict for v in found] == ["not supported"]


def test_without_theorems_no_test_is_run(book: Path) -> None:
    (book / "tests" / "test_it.py").write_text("1 / 0")
    assert verdicts(read_ledger(ledger(book, comparison())), book / "results", run_tests=True)


def test_tests_that_cannot_run_are_no_verdict(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "false")  # as a Python without pytest: it exits with 1
    with pytest.raises(InputError, match="could not be run"):
        verdicts(read_ledger(ledger(book, theorem())), run_tests=True)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("tests/test_no.py::test_it", "cannot be read"),
        ("tests/test_it.py::test_no", "no such function"),
        ("tests/test_it.py", "no such function"),
        ("tests/test_it.py::test_of_another_thing", "name the theorem in its docstring"),
    ],
)
def test_tests_that_are_none(book: Path, node: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        verdicts(read_ledger(ledger(book, theorem(tests=[node]))))


# ------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"streems": ["near"]}, "option of claim 'c' 'streems': did you mean 'streams'"),
        ({"streams": None}, "claim 'c' with 0 checks"),
        ({"pairs": [["near", "far"]]}, "claim 'c' with 2 checks"),
        ({"statement": None}, "claim 'c' without statement"),
        ({"statement": 3}, "claim 'c' with statement = 3: expected text"),
        ({"source": "hearsay: a friend"}, "unknown source of claim 'c' 'hearsay'"),
        ({"measure": "accuracy"}, "unknown measure of claim 'c' 'accuracy'"),
        ({"measure": ["forgetting"]}, "unknown measure of claim 'c'"),
        ({"direction": "up"}, "unknown direction of claim 'c' 'up'"),
        ({"streams": ["nearby"]}, "unknown stream of claim 'c' 'nearby': did you mean 'near'"),
        ({"streams": []}, r"claim 'c' with streams = \[\]: give a list"),
        ({"streams": None, "pairs": [["near"]]}, "give pairs of streams"),
        ({"strategy": {"name": "frosen"}}, "strategy of claim 'c' 'frosen': did you mean 'frozen'"),
        ({"strategy": "frozen"}, "strategy of claim 'c' 'frozen': expected a table"),
        ({"against": []}, r"claim 'c' with against = \[\]"),
        ({"against": [{}]}, "unknown strategy of claim 'c'"),
    ],
)
def test_bad_claims(book: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_ledger(ledger(book, comparison(**change)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"smallest": 0}, "smallest 0: give a number of points above 0"),
        ({"smallest": float("nan")}, "smallest nan"),
        ({"smallest": True}, "smallest True"),
        ({"grids": ["g"]}, r"grids \['g'\]: expected a table"),
        ({"grids": {"g": {"record": "x"}}}, "option of grid 'g' 'record': did you mean 'records'"),
        ({"grids": {"g": {"records": 3}}}, "grid 'g' with records = 3: expected text"),
        ({"grids": {}}, "unknown grid of stream"),
        ({"streams": {"near": {"name": "permuted"}}}, "unknown grid of stream 'near' 'None'"),
        ({"claims": {}}, "give a list of claims"),
        ({"claims": ["x"]}, "claim 'x': expected a table"),
        ({"claims": [comparison(), comparison()]}, "claim 'c' twice"),
        ({"claims": [theorem(tests=[3])]}, "give a list of texts"),
        (
            {"claims": [{"id": "a", "statement": "", "source": "paper: x", "theorems": ["t"]}]},
            "unknown theorem of claim 'a' 't'",
        ),
        ({"more": 1}, "unknown option of ledger 'more'"),
    ],
)
def test_bad_ledgers(book: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_ledger(ledger(book, comparison(), **changes))


@pytest.mark.parametrize("text", ["", "- a", "a: [", "\x00", "3: 4"])
def test_files_that_are_no_ledger(tmp_path: Path, text: str) -> None:
    (tmp_path / "claims.yml").write_text(text)
    with pytest.raises(InputError):
        read_ledger(tmp_path / "claims.yml")


def test_what_a_grid_does_not_have(book: Path) -> None:
    recorded(book, [UP, UP], [UP, UP])
    with pytest.raises(InputError, match=r"'hybrid'.*results/g.toml has none"):
        verdict(book, strategy={"name": "hybrid"})
    with pytest.raises(InputError, match=r"'modules': 3.*has none"):
        verdict(book, strategy={"name": "frozen", "modules": 3})
    for stream in ({"grid": "g"}, NEAR | {"fractions": [0.5]}):
        file = ledger(book, comparison(), streams={"near": stream, "far": FAR})
        with pytest.raises(InputError, match=r"give the table of a stream of results/g.toml"):
            verdicts(read_ledger(file), book / "results")
    other = GRID.replace("seeds = [0, 1, 2]", "seeds = [3, 4, 5]")
    (book / "results" / "other.toml").write_text(other)
    for setting in read_grid(book / "results" / "other.toml").reported:
        record(book, setting[0], BASE)
    file = ledger(
        book,
        comparison(streams=None, pairs=[["near", "far"]]),
        streams={"near": NEAR, "far": FAR | {"grid": "other"}},
        grids={"g": {}, "other": {}},
    )
    with pytest.raises(InputError, match="have other seeds: compare what can be paired by two"):
        verdicts(read_ledger(file), book / "results")


def test_streams_with_other_seeds_are_paired_by_those_in_common(book: Path) -> None:
    recorded(book, [UP, UP], [UP, UP])
    other = GRID.replace("seeds = [0, 1, 2]", "seeds = [2, 0, 7]")
    (book / "results" / "other.toml").write_text(other)
    for (spec,) in read_grid(book / "results" / "other.toml").reported:
        frozen = spec.strategy["name"] == "frozen"
        record(book, spec, list(np.add(BASE, [0.5, 0.2, 9.0] if frozen else 0.0)))
    file = ledger(
        book,
        comparison(streams=None, pairs=[["near", "far"]]),
        streams={"near": NEAR, "far": FAR | {"grid": "other"}},
        grids={"g": {}, "other": {}},
    )
    (found,) = verdicts(read_ledger(file), book / "results")
    for effect in found.effects:
        # UP at seeds 0 and 2, less 0.2 at seed 0 and 0.5 at seed 2.
        assert effect.difference.seeds == 2
        assert effect.difference.mean == pytest.approx((1.0 - 0.2 + 1.2 - 0.5) / 2)


def test_the_only_stream_of_a_grid_needs_no_table(book: Path) -> None:
    single = GRID.replace('[[stream]]\nname = "permuted"\nfractions = [1.0]\n', "")
    (book / "results" / "g.toml").write_text(single)
    for setting, plus in zip(
        read_grid(book / "results" / "g.toml").reported, ([0] * 3, UP, UP), strict=True
    ):
        record(book, setting[0], list(np.add(BASE, plus)))
    file = ledger(book, comparison(streams=["it"]), streams={"it": {"grid": "g"}})
    (found,) = verdicts(read_ledger(file), book / "results")
    assert found.verdict == "supported"


# ---------------------------------------------------------------------------- the command


def test_command(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(book, [UP, UP], [UNSURE, DOWN])
    file = str(ledger(book, comparison(), theorem()))
    out = book / "out.json"
    code = main(["claims", file, "--results", str(book / "results"), "--json", str(out)])
    printed = capsys.readouterr().out
    assert code == 0
    assert "supported in part  c " in printed
    assert printed.rstrip().endswith(
        "1 supported, 1 supported in part, 0 undecided, 0 not supported, 0 not testable here"
    )
    found = json.loads(out.read_text())
    assert [row["verdict"] for row in found] == ["supported in part", "supported"]
    assert found[0]["effects"][0]["difference"]["mean"] == pytest.approx(1.1)
    # The default file is beside the folder of the results.
    assert main(["claims", "--results", str(book / "results")]) == 0
    assert main(["claims", str(book / "no.yml")]) == 2
    assert "no.yml' cannot be read" in capsys.readouterr().err


# ----------------------------------------------------------------------- the book's ledger


def statements() -> dict[str, tuple[str, str]]:
    """Return label → (page, title) of each statement that the book proves."""
    pattern = re.compile(
        r"^[`:]{3,}\{prf:(?:theorem|proposition|corollary|lemma)\} (.+)\n:label: (\S+)$", re.M
    )
    return {
        label: (page.stem, title)
        for page in sorted((ROOT / "book").glob("*.md"))
        for title, label in pattern.findall(page.read_text(encoding="utf-8"))
    }


def test_every_theorem_of_the_book_is_in_the_ledger_and_the_other_way_round() -> None:
    listed = {
        claim.id: (claim.check["page"], claim.check["title"])
        for claim in read_ledger(BOOK).claims
        if claim.kind == "tests"
    }
    assert len(listed) > 25
    assert listed == statements()
    for claim in read_ledger(BOOK).claims:
        if claim.kind == "tests":
            assert claim.source == f"derived here: {claim.check['page']}#{claim.id}"


def test_no_statement_with_a_proof_escapes_the_pattern() -> None:
    """Neither an unlabelled one nor one written otherwise."""
    texts = [page.read_text(encoding="utf-8") for page in (ROOT / "book").glob("*.md")]
    kinds = r"\{prf:(?:theorem|proposition|corollary|lemma|conjecture|property)\}"
    assert sum(len(re.findall(rf"^[`:]+{kinds}", text, re.M)) for text in texts) == len(
        statements()
    )


def test_the_book_s_ledger_is_computed_with_every_verdict_explained() -> None:
    """Every named test exists and names its theorem, or this raises."""
    found = verdicts(read_ledger(BOOK), ROOT / "results")
    assert len(found) > 60
    for one in found:
        proved = one.claim.kind in ("tests", "theorems") and one.verdict == "supported"
        assert proved or one.because
        assert (one.verdict == "not testable here") == (
            one.claim.kind in ("streams", "pairs") and not one.effects
        )


def test_a_contrary_record_flips_a_verdict(tmp_path: Path) -> None:
    """The records of one stream copied, and frozen training's made worse."""
    content = yaml.safe_load(BOOK.read_text())
    claim = next(c for c in content["claims"] if c["id"] == "correlated-elsewhere")
    claim |= {"streams": ["correlated MNIST"]}
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "claims.yml").write_text(yaml.safe_dump(content | {"claims": [claim]}))
    results = tmp_path / "results"
    results.mkdir()
    shutil.copy(ROOT / "results" / "strategies-mnist.toml", results)
    frozen = []
    for reported, searched in zip(*read_grid(results / "strategies-mnist.toml"), strict=True):
        if reported[0].stream["name"] == "correlated":
            for spec in (*reported, *searched):
                if record_path(spec, ROOT / "results").exists():
                    shutil.copy(record_path(spec, ROOT / "results"), results)
            frozen += reported if reported[0].strategy["name"] == "frozen" else []

    def now() -> Verdict:
        (found,) = verdicts(read_ledger(tmp_path / "book" / "claims.yml"), results)
        return found

    assert now().verdict == "supported"
    for spec in frozen:
        path = record_path(spec, results)
        if path.exists():
            planted = json.loads(path.read_text())
            for matrix in planted["accuracy"]:
                matrix[-1] = [value - 0.2 for value in matrix[-1]]
            path.write_text(json.dumps(planted))
    assert now().verdict == "not supported"
    assert now().because.startswith("Contradicted in 2 of 2")
    assert now().effects[0].difference.mean < -10
