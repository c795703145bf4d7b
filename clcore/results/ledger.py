"""The ledger of claims: what is claimed, by whom, and how it is checked."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from clcore.errors import InputError, known
from clcore.results.checks import check_keys, check_name, check_options
from clcore.results.paper import MEASURES
from clcore.results.record import nearest
from clcore.strategies import STRATEGIES

Table = dict[str, Any]

SOURCES = ("paper", "paper's tables", "reading of the paper", "derived here")
DIRECTIONS = ("higher", "lower")
_COMPARISON = dict.fromkeys(("measure", "strategy", "against", "direction"), True)
# The kinds of check, each named by the key that only it has, with the keys that go with it.
KINDS = {
    "tests": {"page": True, "title": True},
    "theorems": {"condition": False},
    "streams": _COMPARISON,
    "pairs": _COMPARISON,
}


class Place(NamedTuple):
    """Where the records of a grid are.

    Attributes
    ----------
    records : str
        The folder in that of all records; "" for this itself.
    missing : str
        What to say of the grid without records.
    """

    records: str = ""
    missing: str = ""


class Claim(NamedTuple):
    """A claim, and how it is checked.

    Attributes
    ----------
    id : str
        Its name in the ledger; that of a theorem is the theorem's label in the book.
    statement : str
        One sentence.
    source : str
        One of `SOURCES`, then a colon and the place.
    kind : str
        A key of `KINDS`. ``tests``: a theorem, proved on a page of the book, and the tests of it.
        ``theorems``: what follows from theorems of the ledger, under a ``condition`` or none.
        ``streams``: on each stream, a measure of a strategy against that of others. ``pairs``: its
        lead over the others on the first stream of each pair against that on the second.
    check : dict
        What the check says, by key.
    note : str
        Which choices were made; may be empty.
    """

    id: str
    statement: str
    source: str
    kind: str
    check: Table
    note: str


class Ledger(NamedTuple):
    """Claims, and the streams that they are checked on.

    Attributes
    ----------
    smallest : float
        The smallest difference worth naming, in points.
    grids : dict
        Name of a grid file → where its records are.
    streams : dict
        Name → ``grid`` and the stream's table in it; no table if the grid has one stream only.
    claims : tuple of Claim
        In the order of the file.
    root : Path
        Where the paths of tests begin: the folder above that of the file.
    """

    smallest: float
    grids: dict[str, Place]
    streams: dict[str, Table]
    claims: tuple[Claim, ...]
    root: Path


def read_ledger(path: str | Path | None = None) -> Ledger:
    """Read a ledger; by default `book/claims.yml`, here or in the nearest folder above.

    Raises
    ------
    InputError
        If the file cannot be read, a key is missing or unknown, a name (of a source, strategy,
        measure, stream, grid or theorem) is none, or a value cannot be used.
    """
    path = Path(path or nearest("book/claims.yml"))
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise InputError(
            f"ledger {str(path)!r} cannot be read: {error}; give YAML such as book/claims.yml"
        ) from error
    _table("ledger", content)
    check_keys("ledger", content, dict.fromkeys(("smallest", "grids", "streams", "claims"), True))
    smallest = content["smallest"]
    if not isinstance(smallest, int | float) or isinstance(smallest, bool) or not smallest > 0:
        raise InputError(f"smallest {smallest!r}: give a number of points above 0")
    grids = {
        name: Place(**check_options(f"grid {name!r}", _table(f"grid {name!r}", table), Place))
        for name, table in _table("grids", content["grids"]).items()
    }
    for name, table in _table("streams", content["streams"]).items():
        check_name(f"grid of stream {name!r}", _table(f"stream {name!r}", table).get("grid"), grids)
    if not isinstance(content["claims"], list):
        raise InputError(f"claims {content['claims']!r}: give a list of claims")
    claims = tuple(_claim(table, content["streams"]) for table in content["claims"])
    ids = [claim.id for claim in claims]
    for name in ids:
        if ids.count(name) > 1:
            raise InputError(f"claim {name!r} twice: give each an id of its own")
    theorems = {claim.id: 0 for claim in claims if claim.kind == "tests"}
    for claim in claims:
        for name in claim.check.get("theorems", ()):
            check_name(f"theorem of claim {claim.id!r}", name, theorems)
    return Ledger(float(smallest), grids, content["streams"], claims, path.resolve().parent.parent)


def _claim(table: object, streams: Table) -> Claim:
    found = _table("claim", table)
    where = f"claim {found.get('id')!r}"
    kinds = [kind for kind in KINDS if kind in found]
    if len(kinds) != 1:
        raise InputError(f"{where} with {len(kinds)} checks: give one of {', '.join(KINDS)}")
    (kind,) = kinds
    common = dict.fromkeys(("id", "statement", "source"), True) | {"note": False}
    check_keys(where, found, common | {kind: True} | KINDS[kind])
    for key in ("id", "statement", "source", "note", "page", "title", "condition"):
        if not isinstance(found.get(key, ""), str):
            raise InputError(f"{where} with {key} = {found[key]!r}: expected text")
    known(f"source of {where}", found["source"].partition(":")[0], SOURCES)
    items = found[kind]
    if not isinstance(items, list) or not items:
        raise InputError(f"{where} with {kind} = {items!r}: give a list")
    if kind == "pairs" and not all(isinstance(p, list) and len(p) == 2 for p in items):
        raise InputError(f"{where} with pairs = {items!r}: give pairs of streams")
    if kind in ("streams", "pairs"):
        for name in items if kind == "streams" else [name for pair in items for name in pair]:
            check_name(f"stream of {where}", name, streams)
        check_name(f"measure of {where}", found["measure"], MEASURES)
        check_name(f"direction of {where}", found["direction"], dict.fromkeys(DIRECTIONS))
        if not isinstance(found["against"], list) or not found["against"]:
            raise InputError(f"{where} with against = {found['against']!r}: give a list")
        for strategy in (found["strategy"], *found["against"]):
            name = _table(f"strategy of {where}", strategy).get("name")
            check_name(f"strategy of {where}", name, STRATEGIES)
    elif not all(isinstance(item, str) for item in items):
        raise InputError(f"{where} with {kind} = {items!r}: give a list of texts")
    check = {key: value for key, value in found.items() if key not in common}
    return Claim(
        found["id"], found["statement"], found["source"], kind, check, found.get("note", "")
    )


def _table(what: str, value: object) -> Table:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{what} {value!r}: expected a table of names and values")
    return value
