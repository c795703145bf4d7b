"""Checks of what a spec file says, against the signatures of what it describes."""

import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union, get_args, get_origin, get_type_hints

from clcore.errors import InputError, known


def check_options(
    what: str, table: Mapping[str, Any], maker: Callable[..., Any], given: Sequence[str] = ()
) -> dict[str, Any]:
    """Check that `table` holds the arguments of `maker`: all that it needs, of the right types.

    Parameters
    ----------
    what : str
        What the table describes, for messages.
    maker : callable
        A function or class with type hints.
    given : sequence of str
        Its arguments that come from elsewhere.

    Returns
    -------
    dict
        The table, a whole number as a float where one is expected: 1 and 1.0 are one run. Lists
        stay as they are: records are named by them.

    Raises
    ------
    InputError
        If a key is unknown or missing, or a value is of another type than its argument.
    """
    parameters = inspect.signature(maker).parameters
    needed = {n: p.default is p.empty for n, p in parameters.items() if n not in given}
    check_keys(what, table, needed)
    hints = get_type_hints(maker)  # of a class: its fields, which dataclasses take as arguments
    for key, value in table.items():
        if not _is_a(value, hints[key]):
            raise InputError(f"{what} with {key} = {value!r}: expected {_text(hints[key])}")
    return {key: _as(value, hints[key]) for key, value in table.items()}


def check_keys(what: str, table: Mapping[str, Any], options: Mapping[str, bool]) -> None:
    """Check that a table has the keys that are needed (True in `options`), and no unknown one.

    Raises
    ------
    InputError
        If it does not.
    """
    for key in table:
        known(f"option of {what}", key, options)
    missing = [name for name, needed in options.items() if needed and name not in table]
    if missing:
        raise InputError(f"{what} without {', '.join(missing)}: add what is missing")


def check_name(kind: str, name: object, choices: Mapping[str, Any]) -> str:
    """Return `name` if it is one of `choices`.

    Raises
    ------
    InputError
        If it is none, or no text.
    """
    return known(kind, name if isinstance(name, str) else repr(name), choices)


def _is_a(value: object, hint: Any) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        return any(_is_a(value, part) for part in get_args(hint))
    if get_origin(hint) in (list, Sequence):
        (item,) = get_args(hint)
        return isinstance(value, list | tuple) and all(_is_a(v, item) for v in value)
    if hint is float:
        return _is_a(value, int) or (isinstance(value, float) and math.isfinite(value))
    if hint is int:  # within what a float and a tensor can hold
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(hint, type) and isinstance(value, hint)


def _as(value: Any, hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return _as(value, next(part for part in get_args(hint) if _is_a(value, part)))
    return float(value) if hint is float else value


def _text(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_text(p) for p in get_args(hint) if p is not type(None))
    if get_origin(hint) in (list, Sequence):
        return f"a list, each {_text(get_args(hint)[0])}"
    names = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}
    return names.get(hint, "what no file can give: leave it out")
