"""The one exception for input that cannot be used."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Input that cannot be used; the message names the value, what was expected and the fix."""


def known(kind: str, value: str, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`; else say which choice was probably meant.

    Raises
    ------
    InputError
        If `value` is not among `choices`.
    """
    names = sorted(choices)
    if value in names:
        return value
    near = get_close_matches(value.lower(), names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(f"unknown {kind} {value!r}: {hint}choose one of {', '.join(names)}")
