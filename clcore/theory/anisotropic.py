"""Expected risks of proximal updates on features of any covariance, asymptotically.

Task k has features of covariance Σ_k, and its excess risk is ℓ_k(θ) = (θ − θ_k)ᵀ Σ_k (θ − θ_k). An
update moves the trainable parameters by γ ∘ Δ, where Δ minimizes, with r the residual on n samples,

    (1/n) ‖r − Φᵀ Δ‖² + Δᵀ Λ Δ,        Λ diagonal: a strength λ for each parameter.

λ → 0 in all is the smallest change that fits, λ → ∞ freezes: strengths lie between the two. What is
said of Δ here are deterministic equivalents: they hold as n and P grow with n/P fixed, with a
relative error of order 1/P. They are exact as n → ∞ and as λ → ∞.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import lsq_linear

from clcore.errors import InputError
from clcore.theory.problem import LinearTasks
from clcore.theory.update import Update, check_plan
from clcore.theory.validation import (
    FloatArray,
    finite,
    one_a_task,
    second_moments,
    strengths_by_block,
)

# Relative; eigenvalues below are rounding errors of zero.
_ROUNDING = 1e-12


class ProximalStep(NamedTuple):
    """The first two moments of one proximal update Δ, for many parameters and samples.

    With d = θ_k − θ̂ what is to be learned, ``E Δ ≈ response @ d``; it leaves the risk
    ℓ = (d − E Δ)ᵀ Σ_k (d − E Δ) on the new task, and ``Cov Δ ≈ (σ_k² + ℓ) * spread``. Both hold
    within fixed linear and quadratic forms of Δ.

    Attributes
    ----------
    strengths : (P,) array
        Effective strengths κΛ: on infinitely many samples they would give ``E Δ``. At least the
        strengths asked for; infinite for frozen parameters.
    response : (P, P) array
        (Σ_TT + κΛ)⁻¹ Σ_T in the rows of the trainable set T, zero in the others.
    spread : (P, P) array
        (Σ_TT + κΛ)⁻¹ Σ_TT (Σ_TT + κΛ)⁻¹ / (n − df₂) between trainable parameters, zero elsewhere.
    """

    strengths: FloatArray
    response: FloatArray
    spread: FloatArray


def effective_ridge(eigenvalues: npt.ArrayLike, samples: int, ridge: float = 0.0) -> float:
    """Return κ, the ridge on infinitely many samples that shrinks as `ridge` does on n in the mean.

    κ is the largest solution of ``ridge = κ (1 − df₁(κ) / n)`` with df₁(κ) = Σ_j s_j / (s_j + κ).
    Source: Dobriban & Wager, "High-Dimensional Asymptotics of Prediction", Annals of Statistics
    46 (2018); in this form Bach, "High-Dimensional Analysis of Double Descent for Linear Regression
    with Random Projections", SIAM Journal on Mathematics of Data Science 6 (2024).

    Parameters
    ----------
    eigenvalues : array_like, shape (m,)
        Of the covariance of the features, each at least 0.
    samples : int
        n, at least 1.
    ridge : float
        λ of (1/n) ‖r − Φᵀ Δ‖² + λ ‖Δ‖², at least 0. At 0, the smallest change that fits: κ is 0
        if fewer than n eigenvalues are positive, and positive if more are.

    Raises
    ------
    InputError
        If a value is out of range, or without a ridge exactly n eigenvalues are positive (the
        double-descent peak, where the expected risk is infinite).
    """
    values = finite("eigenvalues", eigenvalues)
    if values.ndim != 1 or values.min(initial=0.0) < 0:
        raise InputError("eigenvalues must be one row of numbers of at least 0")
    if samples < 1:
        raise InputError(f"samples = {samples}, but at least 1 is expected")
    if not (np.isfinite(ridge) and ridge >= 0):
        raise InputError(f"ridge = {ridge}, but a finite number, at least 0, is expected")
    values = values[values > _ROUNDING * values.max(initial=0.0)]
    if ridge == 0 and len(values) <= samples:
        if len(values) == samples:
            raise InputError(
                f"{samples} positive eigenvalues on as many samples: without a ridge the expected "
                "risk is infinite (the double-descent peak): give a ridge or other samples"
            )
        return 0.0
    # κ (1 − df₁ / n) − λ is convex and at most 0 at 0: Newton from above falls onto its last root.
    kappa = ridge + float(values.sum()) / samples
    while True:
        kept = values / (values + kappa)
        excess = kappa * (1 - kept.sum() / samples) - ridge
        step = float(excess / (1 - (kept**2).sum() / samples))
        kappa -= step
        if step <= _ROUNDING * kappa:
            return kappa


def proximal_step(
    covariance: npt.ArrayLike, samples: int, strengths: npt.ArrayLike
) -> ProximalStep:
    """Return the deterministic equivalents of one proximal update.

    Source: the first- and second-order equivalents of ridge regression (Dobriban & Wager 2018;
    Hastie et al. 2022; Bach 2024, see `effective_ridge`), after the change of variables
    Δ = Λ^(−1/2) E; what the frozen part cannot explain acts as label noise, as far as it is not
    correlated with trainable features.

    Parameters
    ----------
    covariance : array_like, shape (P, P)
        Σ_k, symmetric and positive semidefinite.
    samples : int
        n, at least 1.
    strengths : array_like, shape (P,)
        λ of each parameter, ∞ where it is frozen. Those of trainable parameters are all
        positive or all zero.

    Raises
    ------
    InputError
        If a shape or value is not as described, or at the double-descent peak (`effective_ridge`).
    """
    moment = second_moments("covariance", covariance)
    wanted = np.asarray(strengths, dtype=np.float64)
    if moment.shape != wanted.shape * 2 or not (wanted >= 0).all():
        raise InputError(
            f"covariance has shape {moment.shape} and strengths {wanted.shape}, but (P, P) and "
            "(P,) with numbers of at least 0 are expected"
        )
    free = np.isfinite(wanted)
    if (wanted[free] == 0).any() and (wanted[free] > 0).any():
        raise InputError(
            "some trainable parameters have strength 0 and others do not: give all of them "
            "positive strengths, or none"
        )
    fits = not wanted[free].any()
    weights = np.ones(int(free.sum())) if fits else wanted[free]
    inner = moment[np.ix_(free, free)]
    scaled = inner / np.sqrt(np.outer(weights, weights))
    values = np.linalg.eigvalsh(scaled).clip(0.0)
    kappa = effective_ridge(values, samples, 0.0 if fits else 1.0)
    inverse = (
        np.linalg.inv(inner + np.diag(kappa * weights))
        if kappa
        else np.linalg.pinv(inner, rcond=_ROUNDING, hermitian=True)
    )
    pulled = inverse @ inner
    degrees = float((pulled * pulled.T).sum())  # df₂
    effective = np.full(len(moment), np.inf)
    effective[free] = kappa * weights
    response, spread = np.zeros_like(moment), np.zeros_like(moment)
    response[free] = inverse @ moment[free]
    spread[np.ix_(free, free)] = pulled @ inverse / (samples - degrees)
    return ProximalStep(effective, response, spread)


def anisotropic_risks(
    tasks: LinearTasks,
    updates: Sequence[Update],
    covariances: npt.ArrayLike,
    strengths: npt.ArrayLike = 0.0,
) -> FloatArray:
    """Return the expected excess risk on every task after every update, block by block.

    A recursion of mean and covariance of the parameters, O(P³) per update, on the equivalents
    of `proximal_step`: asymptotic in P and n, where `expected_risks` is exact but isotropic.

    Parameters
    ----------
    tasks : LinearTasks
        K tasks in B blocks; their features have `covariances` in place of the identity.
    updates : sequence of Update, length K
        One update for each task, in order.
    covariances : array_like, shape (P, P) or (K, P, P)
        Σ_k of every task, or one for all; symmetric and positive semidefinite.
    strengths : array_like, shape (), (B,) or (K, B)
        λ of trainable blocks, all positive in one update or all zero.

    Returns
    -------
    (K+1, B, K) array
        ``risks[t, b, i]`` is block b's share a_b · (Σ_i a)_b of the risk on task i after t updates,
        a = θ̂ − θ_i. Shares add up to the risk; one may be negative if Σ_i couples blocks.

    Raises
    ------
    InputError
        If the arguments do not fit each other, or an update lies at the double-descent peak.
    """
    moments, _, states = _walked(tasks, updates, covariances, strengths)
    return np.stack([_risks(tasks, moments, state) for state in states])


def anisotropic_gains(
    tasks: LinearTasks,
    updates: Sequence[Update],
    covariances: npt.ArrayLike,
    strengths: npt.ArrayLike = 0.0,
    weights: npt.ArrayLike | None = None,
) -> FloatArray:
    """Return the gains of the last update that minimize a weighted sum of expected risks.

    The gradient-direction law with curvature, in expectation: `curved_gains` on the inner
    products of the equivalents. Asymptotic as `anisotropic_risks`, which has the parameters, the
    errors raised, and the risk that is minimized.

    Parameters
    ----------
    tasks, updates, covariances, strengths
        As in `anisotropic_risks`; the gains of the last update are ignored.
    weights : array_like, shape (K,), optional
        Weight of each task's risk, at least 0; equal unless given.

    Returns
    -------
    (T,) array
        A gain in [0, 1] for each trainable block of the last update, in its order.
    """
    moments, steps, states = _walked(tasks, updates, covariances, strengths)
    last, blocks = len(updates) - 1, list(updates[-1].trainable)
    step, state = steps[last], states[last]
    learn = tasks.truths[last] - state.mean
    energy = step.response @ (np.outer(learn, learn) + state.scatter) @ step.response.T
    energy += _noise(tasks, last, moments[last], step, state) * step.spread  # E Δ Δᵀ
    slopes, curvatures = [], []
    for moment, truth in zip(moments, tasks.truths, strict=True):
        # E Δ (θ̂ − θ_i)ᵀ
        joint = step.response @ (np.outer(learn, state.mean - truth) - state.scatter)
        slopes.append(_by_block(tasks, 2 * (joint * moment).sum(axis=1))[blocks])
        forms = _by_block(tasks, _by_block(tasks, moment * energy).T)
        curvatures.append(forms[np.ix_(blocks, blocks)])
    return curved_gains(slopes, curvatures, np.ones(last + 1) if weights is None else weights)


def curved_gains(
    slopes: npt.ArrayLike, curvatures: npt.ArrayLike, weights: npt.ArrayLike
) -> FloatArray:
    """Return the gains in [0, 1] that minimize a weighted sum of quadratic risks along Δ.

    Block b moves by γ_b Δ_b, and task i's risk by Σ_b γ_b s_ib + Σ_bc γ_b C_ibc γ_c: exact for a
    quadratic risk, whatever Δ is. If curvature couples no blocks, γ_b = −Σ_i w_i s_ib /
    (2 Σ_i w_i C_ibb), clipped to [0, 1]; with Σ = I this is the law of the isotropic theory.
    Along a direction without any curvature the slope is taken to be 0, as it is for every risk that
    is bounded below.

    Parameters
    ----------
    slopes : array_like, shape (K, B)
        s_ib = ⟨g_i, Δ⟩_b, with g_i = ∇ℓ_i before the update; or its expectation.
    curvatures : array_like, shape (K, B, B)
        C_ibc = Δ_bᵀ Σ_i Δ_c, where 2 Σ_i is the Hessian of ℓ_i; or its expectation.
    weights : array_like, shape (K,)
        Weight of each task, at least 0 and not all zero.

    Raises
    ------
    InputError
        If shapes do not fit, a weight is negative or all are zero, or a curvature is negative.
    """
    slope, curvature = finite("slopes", slopes), finite("curvatures", curvatures)
    weight = finite("weights", weights)
    if slope.ndim != 2 or curvature.shape != (*slope.shape, slope.shape[1]):
        raise InputError(
            f"slopes has shape {slope.shape} and curvatures {curvature.shape}, but (tasks, "
            "blocks) and (tasks, blocks, blocks) are expected"
        )
    if weight.shape != slope.shape[:1] or weight.min(initial=0.0) < 0 or not weight.any():
        raise InputError(
            f"weights = {weight.tolist()}, but {len(slope)} numbers of at least 0, not all zero, "
            "are expected, one a task"
        )
    values, vectors = np.linalg.eigh(np.tensordot(weight, curvature, axes=1))
    small = _ROUNDING * np.abs(values).max(initial=0.0)
    if values.min(initial=0.0) < -small:
        raise InputError("curvatures are negative along some direction: the risks have no minimum")
    kept = values > small
    root = np.sqrt(values[kept])[:, None] * vectors[:, kept].T
    target = -(vectors[:, kept].T @ (weight @ slope)) / (2 * np.sqrt(values[kept]))
    if not kept.any():
        return np.zeros(slope.shape[1])
    found: FloatArray = lsq_linear(root, target, bounds=(0, 1), method="bvls", tol=_ROUNDING).x
    return found


class _State(NamedTuple):
    """Mean and covariance of the parameters, over data."""

    mean: FloatArray  # (P,)
    scatter: FloatArray  # (P, P)


def _walked(
    tasks: LinearTasks,
    updates: Sequence[Update],
    covariances: npt.ArrayLike,
    strengths: npt.ArrayLike,
) -> tuple[FloatArray, list[ProximalStep], list[_State]]:
    """Return the (K, P, P) covariances, the K steps, and the K + 1 states before and after them."""
    count, parameters = tasks.truths.shape
    wanted = strengths_by_block(strengths, count, len(tasks.sizes))
    check_plan(updates, tasks.sizes, tasks.samples, fits=False)
    moments = one_a_task(
        "covariances", second_moments("covariances", covariances), count, parameters
    )
    steps: list[ProximalStep] = []
    states = [_State(tasks.start, np.zeros_like(moments[0]))]
    for k, update in enumerate(updates):
        blocks, state = list(update.trainable), states[-1]
        held, gains = np.full(len(tasks.sizes), np.inf), np.zeros(len(tasks.sizes))
        held[blocks], gains[blocks] = wanted[k, blocks], update.gains
        step = proximal_step(moments[k], int(tasks.samples[k]), np.repeat(held, tasks.sizes))
        gain = np.repeat(gains, tasks.sizes)
        move = gain[:, None] * step.response
        keep = np.eye(len(gain)) - move
        noise = _noise(tasks, k, moments[k], step, state)
        mean = state.mean + move @ (tasks.truths[k] - state.mean)
        scatter = keep @ state.scatter @ keep.T + noise * np.outer(gain, gain) * step.spread
        steps.append(step)
        states.append(_State(mean, scatter))
    return moments, steps, states


def _noise(
    tasks: LinearTasks, k: int, moment: FloatArray, step: ProximalStep, state: _State
) -> float:
    """Return σ_k² plus the expected risk on task k that the mean of a whole update leaves."""
    learn = tasks.truths[k] - state.mean
    left = np.eye(len(learn)) - step.response
    rest = left.T @ moment @ left
    return float(tasks.noise[k] ** 2 + learn @ rest @ learn + (rest * state.scatter).sum())


def _risks(tasks: LinearTasks, moments: FloatArray, state: _State) -> FloatArray:
    """Return the (B, K) shares of the expected risks."""
    errors = state.mean - tasks.truths  # (K, P)
    shares = errors * (moments @ errors[:, :, None])[..., 0]
    shares = shares + (moments * state.scatter).sum(axis=2)
    return _by_block(tasks, shares.T)


def _by_block(tasks: LinearTasks, values: FloatArray) -> FloatArray:
    """Return sums of (P, ...) values over the parameters of each block, (B, ...)."""
    summed: FloatArray = np.add.reduceat(values, np.cumsum(tasks.sizes) - tasks.sizes, axis=0)
    return summed
