"""Normal numbers: a compiled transform of hashed counters, for vector instructions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from numba import njit
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor

# Compiled at the first call, in a second or two; threads run it side by side. A product and the sum
# that follows may be rounded once.
_compiled = njit(nogil=True, error_model="numpy", fastmath={"contract"})

# Of SplitMix64: the step of its counter, and the factors of its hash.
_STEP, _FIRST, _SECOND = map(
    np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
_ROOT_HALF = np.float32(math.sqrt(0.5)).view(np.int32)
_LOG_2 = np.float32(math.log(2))


def fill_normal(out: Tensor, generator: torch.Generator) -> None:
    """Fill a dense tensor of single precision with independent N(0, 1) numbers.

    On a CPU by the transform of Box and Muller (Ann. Math. Statist. 29, 1958) of the bits of
    SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): 32 for the radius of a pair of numbers, 32
    for its angle. None is beyond ± 6.8. PyTorch's own generator is serial there, and several times
    slower.

    Raises
    ------
    RuntimeError
        If the tensor is neither contiguous nor the transpose of one that is.
    """
    if out.device.type != "cpu":
        out.normal_(generator=generator)
        return
    state = np.uint64(torch.randint(2**63 - 1, (), generator=generator).item())
    # The entries are independent, so they may be filled in the memory's order.
    rows = out if out.is_contiguous() else out.mT
    _fill(rows.view(-1).numpy(), state)


def _series(
    function: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    degree: int,
    low: float,
    high: float,
) -> tuple[np.float32, ...]:
    """Return the coefficients, highest first, of the function's Chebyshev interpolant."""
    found = Chebyshev.interpolate(function, degree, [low, high]).convert(kind=Polynomial)
    return tuple(map(np.float32, found.coef[::-1]))


# ln(1 + x) / x in x, with 1 + x from √½ to √2; sin(πx) / x and cos(πx) in x², up to x = ¼. Until
# their coefficients are rounded, all are off by less than single precision rounds.
_LOGARITHM = _series(lambda x: np.log1p(x) / x, 8, math.sqrt(0.5) - 1, math.sqrt(2) - 1)
_SINE = _series(lambda s: np.sin(np.pi * np.sqrt(s)) / np.sqrt(s), 3, 0, 1 / 16)
_COSINE = _series(lambda s: np.cos(np.pi * np.sqrt(s)), 3, 0, 1 / 16)


@_compiled
def _sum(series: tuple[np.float32, ...], x: np.float32) -> np.float32:
    value = series[0]
    for coefficient in series[1:]:
        value = value * x + coefficient
    return value


@_compiled
def _pair(counter: np.uint64) -> tuple[np.float32, np.float32]:
    """Return the two normal numbers of a counter."""
    bits = (counter ^ (counter >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    bits = bits ^ (bits >> np.uint64(31))

    # In (0, 1], since the logarithm of zero is infinite; as (1 + x) 2^power.
    uniform = np.float32(np.uint32(bits >> np.uint64(32))) * np.float32(2**-32) + np.float32(2**-33)
    pattern = np.float32(uniform).view(np.int32)
    power = np.int32(np.int32(pattern - _ROOT_HALF) >> np.int32(23))
    x = np.int32(pattern - np.int32(power << np.int32(23))).view(np.float32) - np.float32(1)
    radius = np.sqrt(np.float32(-2) * (x * _sum(_LOGARITHM, x) + np.float32(power) * _LOG_2))

    # An angle π · half_turns as quarter turns, and the rest within ± π/4.
    half_turns = np.float32(np.int32(np.uint32(bits))) * np.float32(2**-31)
    quarters = np.floor(np.float32(2) * half_turns + np.float32(0.5))
    rest = half_turns - np.float32(0.5) * quarters
    sine = rest * _sum(_SINE, rest * rest)
    cosine = _sum(_COSINE, rest * rest)
    if np.int32(quarters) & 1:
        sine, cosine = cosine, -sine
    if np.int32(quarters) & 2:
        sine, cosine = -sine, -cosine
    return radius * cosine, radius * sine


@_compiled
def _fill(out: npt.NDArray[np.float32], state: np.uint64) -> None:
    half = (len(out) + 1) // 2
    first, second = out[:half], out[half:]
    for i in range(len(second)):
        first[i], second[i] = _pair(state + np.uint64(i) * _STEP)
    if len(second) < half:
        first[-1] = _pair(state + np.uint64(half - 1) * _STEP)[0]
