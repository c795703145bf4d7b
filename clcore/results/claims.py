"""Verdicts on claims, computed from records and from the tests of theorems."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from clcore.errors import InputError
from clcore.measures import Interval, mean_interval
from clcore.results.choose import Setting, settings
from clcore.results.ledger import Claim, Ledger, Table
from clcore.results.paper import MEASURES
from clcore.results.record import results_folder
from clcore.results.spec import read_grid

VERDICTS = ("supported", "supported in part", "undecided", "not supported", "not testable here")
# The outcomes of a comparison, and what a case is said to do by the first that it has.
_FROM_WORST = {
    "contrary": "Contradicted",
    "equal": "Exactly equal",
    "too small": "Too small",
    "not distinguishable": "Not distinguishable",
    "as claimed": "Holds",
    "by construction": "Not counted, since one side cannot forget there",
    "no lead": "Not counted, since there is no lead to change",
}
UNCOUNTED = ("by construction", "no lead")
LEVEL = 0.05


class Effect(NamedTuple):
    """One comparison of a claim.

    Attributes
    ----------
    where : str
        The stream, or the pair of streams.
    strategy, against : str
        What is compared.
    difference : Interval
        In points, positive in the direction that is claimed, paired by the seeds that both have;
        95 %.
    p : float
        Of a two-sided t-test against 0, adjusted by Holm over all comparisons of the claim; 1
        where nothing is tested.
    outcome : str
        *as claimed*, *contrary*, *equal* (at every seed), *too small*, *not distinguishable*, *by
        construction* if one side cannot forget at all, or *no lead* if the strategy does not lead
        on the first stream of a pair.
    rival : int
        Which of the rivals that the claim names `against` is, or is a variant of.
    """

    where: str
    strategy: str
    against: str
    difference: Interval
    p: float
    outcome: str
    rival: int


class Verdict(NamedTuple):
    """What the evidence says of a claim.

    Attributes
    ----------
    claim : Claim
        The claim.
    verdict : str
        One of `VERDICTS`.
    because : str
        The condition, or where it holds and where it does not.
    effects : tuple of Effect
        Empty unless the claim is checked by records.
    missing : tuple of str
        What could not be compared, and why.
    """

    claim: Claim
    verdict: str
    because: str
    effects: tuple[Effect, ...] = ()
    missing: tuple[str, ...] = ()


def verdicts(
    ledger: Ledger, folder: str | Path | None = None, *, run_tests: bool = False
) -> list[Verdict]:
    """Return the verdict on each claim of a ledger.

    A claim on records has cases: a stream (or a pair of streams) and a variant of its strategy.
    A case holds if every comparison in it comes out as claimed: a difference of at least
    `Ledger.smallest` in that direction, with p < 0.05 after Holm's correction over all comparisons
    of the claim. The claim is *supported* if all of its cases hold, *supported in part* if some
    do, *not testable here* if there are records for none. If none holds it is *undecided* where
    nothing can be told apart, and *not supported* where a case is contradicted, equal or too small.
    What forgets exactly nothing at any seed cannot do otherwise (where tasks have outputs of their
    own, nothing that they share trains after the first): comparisons of Forgetting with it are
    shown, but neither tested nor counted; nor is a change from stream to stream of a lead that is
    none on the first (its 95 % interval begins below 0). If nothing is counted of one rival, a case
    can fail by the others; else it is not counted.

    Parameters
    ----------
    folder : path, optional
        Of records and grid files; see `results_folder`.
    run_tests : bool
        Run the tests of the theorems; else only see that each exists and names its theorem.

    Raises
    ------
    InputError
        If a test does not exist or does not name its theorem, a grid cannot be read, or it has no
        such stream or strategy.
    """
    proofs = [claim for claim in ledger.claims if claim.kind == "tests"]
    for claim in proofs:
        for node in claim.check["tests"]:
            _check_test(claim, node, ledger.root)
    nodes = [node for claim in proofs for node in claim.check["tests"]]
    failed = _failed(nodes, ledger.root) if run_tests else frozenset()
    broken = {c.id for c in proofs if not failed.isdisjoint(c.check["tests"])}
    records = _Records(ledger, results_folder(folder))
    found = []
    for claim in ledger.claims:
        if claim.kind in ("tests", "theorems"):
            found.append(
                _proved(claim, sorted((failed | broken).intersection(claim.check[claim.kind])))
            )
        else:
            found.append(_compared(claim, records, ledger.smallest))
    return found


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for being several, by the step-down method of Holm (1979).

    Rejecting where these are below 0.05 leaves the probability of any false rejection below 0.05.
    """
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, (len(p) - rank) * p[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


# ------------------------------------------------------------------------------- theorems


def _proved(claim: Claim, wrong: Sequence[str]) -> Verdict:
    if wrong:
        return Verdict(claim, "not supported", f"fails: {', '.join(wrong)}")
    condition = claim.check.get("condition", "")
    return Verdict(claim, "supported in part" if condition else "supported", condition)


def _check_test(claim: Claim, node: str, root: Path) -> None:
    file, _, name = node.partition("::")
    try:
        module = ast.parse((root / file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError) as error:
        raise InputError(f"test {node!r} of claim {claim.id!r} cannot be read: {error}") from error
    tests = [n for n in module.body if isinstance(n, ast.FunctionDef) and n.name == name]
    if not tests:
        raise InputError(f"test {node!r} of claim {claim.id!r}: no such function in the file")
    words = " ".join(f"{ast.get_docstring(module)} {ast.get_docstring(tests[0])}".split())
    if claim.check["title"].lower() not in words.lower():
        raise InputError(
            f"test {node!r} of claim {claim.id!r}: name the theorem in its docstring, "
            f"{claim.check['title']!r}"
        )


def _failed(nodes: Sequence[str], root: Path) -> frozenset[str]:
    """Return the tests that did not pass: a case of theirs failed, broke or was skipped."""
    if not nodes:  # pytest would run every test there is
        return frozenset()
    options = ["-q", "--tb=no", "--color=no", "-rpfEs", "--no-fold-skipped"]
    command = [sys.executable, "-m", "pytest", *options, *nodes]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    lines = [line.split() for line in ran.stdout.splitlines()]
    named = {
        word: {line[1].partition("[")[0] for line in lines if line[:1] == [word]}
        for word in ("PASSED", "FAILED", "ERROR", "SKIPPED")
    }
    failed = named["FAILED"] | named["ERROR"]
    if ran.returncode not in (0, 1) or (ran.returncode and not failed):
        raise InputError(f"tests of the theorems could not be run:\n{ran.stdout}{ran.stderr}")
    return frozenset(failed | named["SKIPPED"] | (set(nodes) - named["PASSED"]))


# -------------------------------------------------------------------------------- records


class _Records:
    """The settings of the ledger's streams; each grid is read once."""

    def __init__(self, ledger: Ledger, results: Path) -> None:
        self.ledger, self.results = ledger, results
        self.of_grid: dict[str, list[Setting]] = {}

    def absent(self, stream: str) -> str:
        """Return why there is nothing of a stream; empty if there is something."""
        grid = self.ledger.streams[stream]["grid"]
        without = self.ledger.grids[grid].missing
        if not (self.results / f"{grid}.toml").exists():
            return without or f"no grid results/{grid}.toml"
        if all(setting.record is None for setting in self._settings(grid)):
            return without or self.unrecorded(stream)
        return ""

    def unrecorded(self, stream: str) -> str:
        """Say how to make the records of a stream."""
        grid = self.ledger.streams[stream]["grid"]
        place = self.ledger.grids[grid].records
        where = f" --results results/{place}" if place else ""
        return f"no record of results/{grid}.toml yet: `clcore run results/{grid}.toml{where}`"

    def matching(self, stream: str, strategy: Table) -> list[Setting]:
        """Return the settings of a stream whose strategy has all that `strategy` says."""
        table = dict(self.ledger.streams[stream])
        grid = table.pop("grid")
        known = self._settings(grid)
        tables = [s.spec.stream for s in known]
        if table not in tables:
            if table or any(other != tables[0] for other in tables):
                raise InputError(
                    f"stream {stream!r} {table}: give the table of a stream of results/{grid}.toml"
                )
            table = tables[0]
        found = [
            s
            for s in known
            if s.spec.stream == table and strategy.items() <= s.spec.strategy.items()
        ]
        if not found:
            raise InputError(f"strategy {strategy} on {stream!r}: results/{grid}.toml has none")
        return found

    def _settings(self, grid: str) -> list[Setting]:
        if grid not in self.of_grid:
            described = read_grid(self.results / f"{grid}.toml")
            place = self.results / self.ledger.grids[grid].records
            self.of_grid[grid] = settings(described, place)
        return self.of_grid[grid]


def _compared(claim: Claim, records: _Records, smallest: float) -> Verdict:
    found: list[tuple[tuple[str, str, str], int, Interval, str]] = []  # why not to be tested
    missing: list[str] = []
    for item in claim.check[claim.kind]:
        streams = item if claim.kind == "pairs" else [item]
        where = " → ".join(streams)
        reasons = [reason for stream in streams if (reason := records.absent(stream))]
        if reasons:
            missing.append(f"{where}: {'; '.join(dict.fromkeys(reasons))}")
            continue
        # One entry for each variant, with a setting for each stream of the pair.
        rivals: list[list[tuple[Setting, ...]]] = []
        for table in claim.check["against"]:
            rivals.append([])
            for rival in _side(claim, streams, table, records):
                if reason := _unknown(rival, streams, records):
                    missing.append(f"{where}: {reason}")
                else:
                    rivals[-1].append(rival)
        for variant in _side(claim, streams, claim.check["strategy"], records):
            if reason := _unknown(variant, streams, records):
                missing.append(f"{where}: {reason}")
            elif not all(rivals):
                missing.append(f"{where}: {_label(variant)}: nothing to compare it with")
            else:
                for number, rival in ((i, one) for i, known in enumerate(rivals) for one in known):
                    label = where, _label(variant), _label(rival)
                    first, *second = _leads(claim, variant, rival)
                    why = ""
                    if _cannot_forget(claim, variant) or _cannot_forget(claim, rival):
                        why = "by construction"
                    elif second and not mean_interval(first).low > 0:
                        why = "no lead"
                    points = mean_interval(first - second[0] if second else first)
                    found.append((label, number, points, why))
    adjusted = iter(holm([_p(difference) for *_, difference, why in found if not why]))
    effects = []
    for label, number, difference, why in found:
        p = 1.0 if why else next(adjusted)
        outcome = why or _outcome(difference, p, smallest)
        effects.append(Effect(*label, difference, p, outcome, number))
    return _judged(claim, tuple(effects), tuple(dict.fromkeys(missing)))


def _side(
    claim: Claim, streams: Sequence[str], strategy: Table, records: _Records
) -> list[tuple[Setting, ...]]:
    found = [records.matching(stream, strategy) for stream in streams]
    first, *others = found
    variants = [setting.spec.strategy for setting in first]
    for other in others:
        if sorted(map(str, variants)) != sorted(str(setting.spec.strategy) for setting in other):
            raise InputError(
                f"claim {claim.id!r}: {' and '.join(streams)} have other variants of "
                f"{[strategy]}: name the options of one"
            )
        other.sort(key=lambda setting: variants.index(setting.spec.strategy))
    return list(zip(*found, strict=True))


def _unknown(side: Sequence[Setting], streams: Sequence[str], records: _Records) -> str:
    """Return why a side of a comparison has no numbers; empty if it has."""
    reasons = [
        records.unrecorded(stream) if s.record is None else s.missing
        for s, stream in zip(side, streams, strict=True)
    ]
    told = "; ".join(dict.fromkeys(filter(None, reasons)))
    return f"{_label(side)}: {told}" if told else ""


def _label(settings: Sequence[Setting]) -> str:
    """Return what strategies are called, with their options: one name if they are the same."""
    names = []
    for setting in settings:
        name, *options = (f"{k} {v}" for k, v in setting.spec.strategy.items())
        name = name.removeprefix("name ")
        names.append(f"{name} ({', '.join(options)})" if options else name)
    return " → ".join(dict.fromkeys(names))


def _leads(
    claim: Claim, variant: Sequence[Setting], rival: Sequence[Setting]
) -> list[NDArray[np.float64]]:
    """Return for each stream the difference in points, positive as claimed, at each common seed."""
    sides = (*variant, *rival)
    seeds = [s for s in sides[0].spec.seeds if all(s in side.spec.seeds for side in sides)]
    if len(seeds) < 2:
        raise InputError(
            f"claim {claim.id!r}: {_label(variant)} and {_label(rival)} have other seeds: "
            "compare what can be paired by two seeds or more"
        )
    sign = 100 if claim.check["direction"] == "higher" else -100
    return [
        sign * (_measured(claim, one, seeds) - _measured(claim, other, seeds))
        for one, other in zip(variant, rival, strict=True)
    ]


def _measured(claim: Claim, setting: Setting, seeds: Sequence[int]) -> NDArray[np.float64]:
    assert setting.record is not None
    of_seed = dict(zip(setting.spec.seeds, setting.record.accuracy, strict=True))
    return MEASURES[claim.check["measure"]](np.array([of_seed[seed] for seed in seeds]))


def _cannot_forget(claim: Claim, settings: Sequence[Setting]) -> bool:
    return claim.check["measure"] == "forgetting" and not any(
        _measured(claim, setting, setting.spec.seeds).any() for setting in settings
    )


def _p(difference: Interval) -> float:
    """Return the p-value of a two-sided t-test of a mean against 0."""
    if difference.deviation == 0:
        return float(difference.mean == 0)
    score = abs(difference.mean) / (difference.deviation / difference.seeds**0.5)
    return float(2 * student.sf(score, difference.seeds - 1))


def _outcome(difference: Interval, p: float, smallest: float) -> str:
    if difference.mean == 0 == difference.deviation:
        return "equal"
    if p >= LEVEL:
        return "not distinguishable"
    if abs(difference.mean) < smallest:
        return "too small"
    return "as claimed" if difference.mean > 0 else "contrary"


def _judged(claim: Claim, effects: tuple[Effect, ...], missing: tuple[str, ...]) -> Verdict:
    if not effects:
        return Verdict(claim, "not testable here", "; ".join(missing), effects, missing)
    cases: dict[tuple[str, str], list[Effect]] = {}
    for effect in effects:
        cases.setdefault((effect.where, effect.strategy), []).append(effect)
    variants = Counter(where for where, _ in cases)
    parts: dict[str, list[str]] = {outcome: [] for outcome in ("as claimed", *_FROM_WORST)}
    for (where, strategy), case in cases.items():
        outcome = _of_case(case)
        name = where if variants[where] == 1 else f"{where}: {strategy}"
        if outcome == "contrary" and len(case) > 1:
            name += f", by {', '.join(e.against for e in case if e.outcome == outcome)}"
        parts[outcome].append(name)
    count = sum(len(names) for outcome, names in parts.items() if outcome not in UNCOUNTED)
    holds = len(parts["as claimed"])
    because = ". ".join(
        _FROM_WORST[outcome]
        + (f" in {len(names)} of {count}" if outcome not in UNCOUNTED else "")
        + (f": {'; '.join(names)}" if outcome != "not distinguishable" else "")
        for outcome, names in parts.items()
        if names
    )
    if not count:
        verdict = "not testable here"
    elif holds == count:
        verdict = "supported"
    elif holds:
        verdict = "supported in part"
    else:
        unclear = len(parts["not distinguishable"]) == count
        verdict = "undecided" if unclear else "not supported"
    return Verdict(claim, verdict, because, effects, missing)


def _of_case(case: Sequence[Effect]) -> str:
    """Return the outcome of the comparisons of a variant on a stream, taken together."""
    seen = {effect.outcome for effect in case}
    of_rival = [{e.outcome for e in case if e.rival == n} for n in {e.rival for e in case}]
    if seen.isdisjoint(("contrary", "equal", "too small")):
        for outcome in UNCOUNTED:
            if {outcome} in of_rival:
                return outcome
    return next(outcome for outcome in _FROM_WORST if outcome in seen)
