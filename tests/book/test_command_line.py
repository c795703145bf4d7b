"""The parameters of `make book` are checked before any work."""

import pytest

from clcore.errors import InputError
from tools.book import check_parameters


def test_defaults_are_not_passed_on():
    assert check_parameters("quick", "cpu", "0") == {}
    assert check_parameters("full", "cpu", "3") == {"profile": "full", "seed": 3}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("fulll", "cpu", "0"), "unknown profile 'fulll': did you mean 'full'"),
        (("quick", "gpu", "0"), "unknown device 'gpu'"),
        (("quick", "cpu", "-1"), "seed '-1'"),
        (("quick", "cpu", "one"), "seed 'one'"),
    ],
)
def test_what_cannot_be_used_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        check_parameters(*given)
