"""Normal numbers: their distribution, and the compiled transform against double precision."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from clcore.simulate.normal import _STEP, _fill, _pair, fill_normal
from clcore.theory.validation import FloatArray

# The first outputs of SplitMix64 from the state 1234567, as Vigna's code in C prints them.
STATE = np.uint64(1234567)
PUBLISHED = (
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
)


def _hashed(counters: np.typing.NDArray[np.uint64]) -> np.typing.NDArray[np.uint64]:
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        counters = (counters ^ (counters >> np.uint64(shift))) * np.uint64(factor)
    return counters ^ (counters >> np.uint64(31))


def _transformed(bits: np.typing.NDArray[np.uint64]) -> tuple[FloatArray, FloatArray]:
    """Return the radii, and the pairs of normal numbers, in double precision."""
    uniform = ((bits >> np.uint64(32)).astype(float) + 0.5) * 2.0**-32
    angle = 2 * np.pi * (bits & np.uint64(2**32 - 1)).astype(float) * 2.0**-32
    radius = np.sqrt(-2 * np.log(uniform))
    return radius, radius * np.stack([np.cos(angle), np.sin(angle)])


def test_numbers_are_normal_and_independent() -> None:
    """Moments one to four and six, the whole distribution, pairs from the same random bits."""
    drawn = torch.empty(3, 3, 33_335)  # an odd number of entries
    fill_normal(drawn.mT, torch.Generator().manual_seed(0))
    z = drawn.double().numpy().ravel()
    assert kstest(z, "norm").pvalue > 1e-3
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10_170)):
        assert abs((z**power).mean() - moment) < 4.5 * np.sqrt(variance / len(z))
    for lag in (1, 2, 33_335, (len(z) + 1) // 2):
        for a, b in ((z[:-lag], z[lag:]), (z[:-lag] ** 2, z[lag:] ** 2)):
            assert abs(np.corrcoef(a, b)[0, 1]) < 4.5 / np.sqrt(len(a))


def test_bits_are_those_of_splitmix64() -> None:
    with np.errstate(over="ignore"):
        counters = STATE + np.arange(1, 6, dtype=np.uint64) * _STEP
        assert _hashed(counters).tolist() == list(PUBLISHED)
        found = np.empty(10, np.float32)
        _fill(found, STATE + _STEP)
    _, expected = _transformed(np.array(PUBLISHED, np.uint64))
    np.testing.assert_allclose(found.reshape(2, 5), expected, rtol=1e-5)


def test_transform_is_that_of_double_precision() -> None:
    """A relative error ε of the uniform number is one of ε in r²/2, so of ε/r in r."""
    pairs = 1_000_000
    found = np.empty(2 * pairs, np.float32)
    _fill(found, STATE)
    counters = STATE + np.arange(pairs, dtype=np.uint64) * _STEP
    radius, expected = _transformed(_hashed(counters))
    error = np.abs(found.reshape(2, pairs) - expected)
    assert (error < 2.0**-22 * (radius + 1 / radius)).all()


@pytest.mark.parametrize("size", [0, 1, 2, 7])
def test_any_number_of_entries_is_filled(size: int) -> None:
    """Cosines first; the last pair of an odd number gives its cosine alone."""
    found = np.full(size + 2, np.nan, np.float32)
    _fill(found[1:-1], STATE)
    pairs = (size + 1) // 2
    _, expected = _transformed(_hashed(STATE + np.arange(pairs, dtype=np.uint64) * _STEP))
    np.testing.assert_allclose(found[1:-1], expected.ravel()[:size], rtol=1e-5)
    assert np.isnan(found[[0, -1]]).all()


def test_the_ends_of_the_uniform_numbers() -> None:
    """The least gives the largest radius; one, whose logarithm is zero, gives zero."""
    found = np.empty(2, np.float32)
    _fill(found, np.uint64(0))  # is hashed to 0: an angle of 0 too
    np.testing.assert_allclose(found, [np.sqrt(66 * np.log(2)), 0], rtol=1e-6)
    _fill(found, _counter(2**64 - 1))
    assert (found == 0).all()


def _counter(bits: int) -> np.uint64:
    """Return the counter that is hashed to these bits."""
    for shift, factor in ((31, 1), (27, 0x94D049BB133111EB), (30, 0xBF58476D1CE4E5B9)):
        bits = bits * pow(factor, -1, 2**64) % 2**64
        found = bits
        for _ in range(64 // shift):
            found = bits ^ (found >> shift)
        bits = found
    return np.uint64(bits)


def test_memory_of_others_is_not_written() -> None:
    whole = torch.full((4, 6), torch.nan)
    fill_normal(whole[1:3], torch.Generator().manual_seed(0))
    assert whole.isnan().sum() == 12
    with pytest.raises(RuntimeError, match="view"):
        fill_normal(whole[:, :3], torch.Generator().manual_seed(0))


def test_compiled_as_written() -> None:
    """The compiled transform is that of its source, read by Python."""
    found = np.empty(200, np.float32)
    _fill(found, STATE)
    with np.errstate(over="ignore"):
        plain = [_pair.py_func(STATE + np.uint64(i) * _STEP) for i in range(100)]
    np.testing.assert_allclose(found.reshape(2, 100), np.transpose(plain), rtol=1e-5, atol=1e-7)


def test_same_seed_same_numbers() -> None:
    first, again, other = (torch.empty(1001) for _ in range(3))
    for out, seed in ((first, 3), (again, 3), (other, 4)):
        fill_normal(out, torch.Generator().manual_seed(seed))
    assert torch.equal(first, again)
    assert not (first == other).any()
