import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from clcore.errors import InputError
from clcore.simulate import simulate_risks
from clcore.theory import (
    LinearTasks,
    Problem,
    Update,
    average_forgetting,
    boundary,
    equidistant,
    expected_risks,
    generalization_error,
    moments,
)

WHOLE, FROZEN = Update((0, 1)), Update((1,))


def plans(tasks: int) -> tuple[list[Update], list[Update]]:
    return [WHOLE] + [FROZEN] * (tasks - 1), [WHOLE] * tasks


def projection_moments(m: int, n: int) -> tuple[sp.Rational, sp.Rational]:
    """α and β of a random projection, from E(tr Π)² = n² and E tr Π² = n."""
    alpha, beta = sp.symbols("alpha beta")
    found = sp.solve(
        [alpha * m**2 + 2 * beta * m - n**2, alpha * m + beta * m * (m + 1) - n], [alpha, beta]
    )
    return found[alpha], found[beta]


def coefficients(m: int, n: int) -> tuple[sp.Rational, sp.Rational]:
    """c and κ of the one-step identity."""
    if m > n:
        return sp.Rational(n, m), sp.Rational(n, m - n - 1)
    return sp.Integer(1), sp.Rational(m, n - m - 1)


@pytest.mark.parametrize(("sizes", "n"), [((30, 20), 12), ((30, 20), 35), ((9, 6), 30)])
@pytest.mark.parametrize("objective", [average_forgetting, generalization_error])
def test_two_tasks_in_closed_form(sizes: tuple, n: int, objective: object) -> None:
    """Boundary theorem (*Frozen or initialized?*), two tasks, with SymPy from the identity."""
    x, y = sp.symbols("x y", positive=True)
    center, apart = (sp.Rational(1, 2), sp.Rational(3)), (x, y)
    noise2 = sp.Rational(1, 4)
    m = sum(sizes)
    c, kappa = coefficients(m, n)
    alpha, beta = projection_moments(m, n) if m > n else (sp.Integer(1), sp.Integer(0))
    # Learning task 1, all blocks: a_i = start - θ_i and d = θ_1 - start, in coordinates.
    to_learn = [r + w / 2 for r, w in zip(center, apart, strict=True)]
    first, second = [], []  # risk on task 1 and on task 2 after it, block by block
    for b, p in enumerate(sizes):
        energy = (alpha + beta) * to_learn[b] + p * beta * sum(to_learn)
        energy += sp.Rational(p, m) * kappa * noise2
        first.append(to_learn[b] + 2 * c * -to_learn[b] + energy)
        second.append(to_learn[b] + 2 * c * -center[b] + energy)
    # Learning task 2 by the identity: trainable part alone, then everything.
    cq, kq = coefficients(sizes[1], n)
    frozen = [
        first[0] + (1 - cq) * first[1] + cq * y + kq * (noise2 + second[0]),
        second[0] + (1 - cq) * second[1] + kq * (noise2 + second[0]),
    ]
    whole = [
        (1 - c) * sum(first) + c * (x + y) + kappa * noise2,
        (1 - c) * sum(second) + kappa * noise2,
    ]
    difference = frozen[0] - whole[0]
    if objective is generalization_error:
        difference = (difference + frozen[1] - whole[1]) / 2
    line = sp.Poly(sp.expand(difference), x, y)
    assert line.total_degree() <= 1
    found = boundary(
        lambda u, q: equidistant(2, sizes, (u, q), (0.5, 3.0), n, 0.5), *plans(2), objective
    )
    expected = [float(line.coeff_monomial(t)) for t in (1, x, y)]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_with_the_shared_part_learned_frozen_forgets_less_when_tasks_are_close() -> None:
    """Corollary "One update, shared part known": noiseless, with equal shared parts."""
    n, p, q = sp.symbols("n p q", positive=True)  # q and p + q both above n + 1
    a, y = sp.symbols("a y", positive=True)
    difference = sp.factor(n / q * (y - a) - n / (p + q) * (y - a))
    assert sp.simplify(difference - n * p * (y - a) / (q * (p + q))) == 0
    # The same by the recursion: start and tasks agree in the shared block.
    own = 3.0
    for distance in (0.5, 2.9, 3.1, 8.0):
        problem = Problem(
            [20, 15], np.array([[[0, 0]] * 2, [[0, distance], [distance, 0]]]), [[0, 0], [own] * 2],
            10,
        )  # fmt: skip
        gap = [
            average_forgetting(expected_risks(problem, [Update(()), update]))
            for update in (FROZEN, WHOLE)
        ]
        assert (gap[0] < gap[1]) == (distance < own)


def test_many_samples_forget_less_frozen_up_to_an_edge() -> None:
    """The same corollary, many samples, where frozen training has a slope above 1."""
    noise, n = 0.7, 70
    (_, kappa), (_, kq) = (map(float, coefficients(m, n)) for m in (60, 40))
    assert kq > 1
    edge = (kappa - kq) * noise**2 / (kq - 1)
    for shared, less in ((0.9 * edge, True), (1.1 * edge, False)):
        truths, model = np.zeros((2, 60)), np.zeros(60)
        model[20] = 2.0
        truths[1, [0, 21]] = np.sqrt([shared, 3.0])
        problem = Problem.from_tasks(LinearTasks((20, 40), truths, n, noise, start=model))
        frozen, whole = (
            average_forgetting(expected_risks(problem, [Update(()), update]))
            for update in (FROZEN, WHOLE)
        )
        assert (frozen < whole) is less


@pytest.mark.parametrize("n", [9, 35, 80])
def test_one_update_with_the_shared_part_known(n: int) -> None:
    """Corollary "One update, shared part known": both formulas, and where frozen training wins."""
    sizes, own, noise = (30, 20), 4.0, 0.7
    (c, kappa), (cq, kq) = (map(float, coefficients(m, n)) for m in (50, 20))

    def at(x: float, y: float) -> Problem:
        truths, model = np.zeros((2, 50)), np.zeros(50)
        model[30] = np.sqrt(own)
        truths[1, [0, 31]] = np.sqrt([x, y])
        return Problem.from_tasks(LinearTasks(sizes, truths, n, noise, start=model))

    both = [Update(()), FROZEN], [Update(()), WHOLE]
    old = boundary(at, *both, average_forgetting)
    mean = boundary(at, *both, generalization_error)
    noisy = (kq - kappa) * noise**2
    expected = [noisy - (cq - c) * own, kq - c, cq - c]
    np.testing.assert_allclose(old, expected, rtol=1e-9, atol=1e-12)
    expected = [noisy - (cq - c) * own, kq, 0]
    np.testing.assert_allclose(mean, expected, rtol=1e-9, atol=1e-12)
    if n < 19:
        assert min(old.shared, old.specific) > 0
        assert (old.constant < 0) == (own > noise**2 * 20 * 50 / ((19 - n) * (49 - n)))
        noise = np.sqrt(own * (19 - n) * (49 - n) / (20 * 50))  # at the edge no triangle is left
        assert boundary(at, *both, average_forgetting).constant == pytest.approx(0, abs=1e-12)
    if n > 51:
        edge = noise**2 * 30 / 20 * (n - 1) / (n - 51)
        assert mean.difference(edge, 3.0) == pytest.approx(0, abs=1e-12)
        assert old.constant < 0  # identical tasks are forgotten less under frozen training
        assert kq < 1
        assert old.difference(100.0, 50.0) < 0  # then so are all others
    if n == 35:
        assert (old.constant < 0) == ((kq - kappa) * noise**2 < (1 - n / 50) * own)


@given(
    st.integers(2, 6),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(2, 40),
    st.floats(0, 3),
    st.floats(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_many_samples_leave_two_numbers(
    tasks: int, p: int, q: int, more: int, noise: float, center: float
) -> None:
    """Theorem "Frozen against initialized with many samples"."""
    n = p + q + more
    kq = q / (n - q - 1)
    for objective, slope in (
        (average_forgetting, kq / (tasks - 1) - 1),
        (generalization_error, kq),
    ):
        line = boundary(
            lambda x, y: equidistant(tasks, (p, q), (x, y), (center, 1.0), n, noise),
            *plans(tasks),
            objective,
        )
        tiny = 1e-9 * (1 + noise**2 * n)
        np.testing.assert_allclose(line, (0, slope, 0), rtol=1e-9, atol=tiny)


@pytest.mark.parametrize("n", [9, 35, 80])
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_identical_tasks_in_the_long_run(n: int, noise: float) -> None:
    """Proposition "Identical tasks, one after another": both limits, and who wins."""
    sizes, tasks = (30, 20), 400
    (c, kappa), (cq, kq) = (map(float, coefficients(m, n)) for m in (50, 20))
    problem = equidistant(tasks, sizes, (0, 0), (0, 4), n, noise)
    frozen, whole = (expected_risks(problem, plan) for plan in plans(tasks))
    leak = frozen[1, 0, 0]
    reached = [generalization_error(risks) for risks in (frozen, whole)]
    limits = [leak + (noise**2 + leak) * kq / cq, noise**2 * kappa / c]
    np.testing.assert_allclose(reached, limits, rtol=1e-9, atol=1e-12)
    if n < 49:
        m, start = 50, 4.0
        beta = n * (m - n) / (m * (m - 1) * (m + 2))
        assert leak >= sizes[0] * beta * start * (1 - 1e-12)
    if n < 19 or (n < 49 and noise == 0):
        assert reached[1] < reached[0]


@given(
    st.integers(2, 5),
    st.sampled_from([((20, 12), 8), ((20, 12), 16), ((6, 5), 20)]),
    st.lists(st.floats(0, 20), min_size=4, max_size=4),
    st.floats(0, 2),
    st.sampled_from([average_forgetting, generalization_error]),
)
@settings(max_examples=60, deadline=None)
def test_the_difference_is_a_plane(
    tasks: int, shape: tuple, squares: list, noise: float, objective: object
) -> None:
    """Boundary theorem for K tasks: the plane is the difference at any distances."""
    sizes, n = shape
    *center, x, y = squares

    def at(u: float, q: float) -> Problem:
        return equidistant(tasks, sizes, (u, q), center, n, noise)

    line = boundary(at, *plans(tasks), objective)
    one, other = (objective(expected_risks(at(x, y), plan)) for plan in plans(tasks))
    scale = 1 + abs(one) + abs(other) + sum(np.abs(line))
    assert abs(line.difference(x, y) - (one - other)) < 1e-9 * scale


@pytest.mark.parametrize("tasks", [2, 4])
@pytest.mark.parametrize("noise", [0.0, 0.7])
@pytest.mark.parametrize("n", [12, 35])
def test_which_side_small_distances_lie_on(tasks: int, noise: float, n: int) -> None:
    """For generalization the frozen one, if what is shared is known and was never touched.

    It is the other one if the first task trained all: the shared block then holds errors
    that only initialized training removes.
    """

    def at(u: float, q: float) -> Problem:
        return equidistant(tasks, (40, 20), (u, q), (0.0, 4.0), n, noise)

    untouched = boundary(at, [FROZEN] * tasks, [WHOLE] * tasks, generalization_error)
    assert untouched.constant < 0 < untouched.shared
    if tasks == 4:
        assert boundary(at, *plans(tasks), generalization_error).constant > 0


def test_on_the_line_the_simulated_plans_are_equally_good() -> None:
    """Boundary theorem against simulation, both objectives, two tasks, both regimes."""
    sizes, n, noise, center, y = (24, 16), 28, 0.5, (0.0, 4.0), 1.0
    both = [FROZEN] * 2, [WHOLE] * 2
    for objective in (generalization_error, average_forgetting):
        line = boundary(
            lambda u, q: equidistant(2, sizes, (u, q), center, n, noise), *both, objective
        )
        x = -(line.constant + line.specific * y) / line.shared
        assert x > 0.1
        tasks = corners(sizes, (x, y), center, 2, n, noise)
        gap = variance = 0.0
        for sign, plan in zip((1, -1), both, strict=True):
            found = simulate_risks(tasks, plan, 6000, seed=5 + sign)
            if objective is average_forgetting:
                gap += sign * found.forgetting.mean[0]
                variance += found.forgetting.standard_error[0] ** 2
            else:
                gap += sign * found.totals.mean[-1].mean()
                # Of a mean of two: no more than the mean of their standard errors.
                variance += found.totals.standard_error[-1].mean() ** 2
        assert abs(gap) < 4 * np.sqrt(variance)


def corners(
    sizes: tuple, apart: tuple, center: tuple, tasks: int, n: int, noise: float
) -> LinearTasks:
    """The simplex of `equidistant`, in coordinates: the last one of a block leads to its center."""
    blocks = []
    for p, square, common in zip(sizes, apart, center, strict=True):
        truths = np.zeros((tasks, p))
        truths[:, :tasks] = np.sqrt(square / 2) * np.eye(tasks)
        truths[:, -1] = np.sqrt(common)
        blocks.append(truths)
    return LinearTasks(sizes, np.hstack(blocks), n, noise)


def test_equidistant_tasks_are_corners_of_a_simplex() -> None:
    made = equidistant(4, (9, 7), (2.0, 0.0), (1.5, 3.0), 20, 0.3)
    points = Problem.from_tasks(corners((9, 7), (2.0, 0.0), (1.5, 3.0), 4, 20, 0.3))
    np.testing.assert_allclose(made.distances, points.distances, atol=1e-12)
    np.testing.assert_allclose(made.initial, points.initial, atol=1e-12)


def test_equidistant_tasks_stand_for_random_ones() -> None:
    """The mean of the risks over random tasks, in fewer dimensions than there are tasks."""
    rng = np.random.default_rng(0)
    sizes, tasks, apart, center = (2, 3), 5, np.array([2.0, 0.5]), np.array([1.0, 4.0])
    plan = [Update((0, 1), (0.5, 1.0))] * tasks
    spread = np.repeat(np.sqrt(apart / 2 / sizes), sizes)
    middle = np.repeat(np.sqrt(center / sizes), sizes)
    histories = np.array(
        [
            expected_risks(
                Problem.from_tasks(
                    LinearTasks(sizes, middle + spread * rng.normal(size=(tasks, 5)), 12, 0.4)
                ),
                plan,
            )
            for _ in range(2000)
        ]
    )
    expected = expected_risks(equidistant(tasks, sizes, apart, center, 12, 0.4), plan)
    error = histories.std(axis=0, ddof=1) / np.sqrt(len(histories))
    assert (np.abs(histories.mean(axis=0) - expected) < 4.5 * error + 1e-9).all()


def test_what_is_not_affine_is_refused() -> None:
    def at(u: float, q: float) -> Problem:
        return equidistant(2, (6, 5), (u, q), (1, 1), 30, 0.1)

    with pytest.raises(InputError, match="affine"):
        boundary(lambda u, q: at(u**2, q), *plans(2), average_forgetting)
    with pytest.raises(InputError, match="affine"):
        boundary(at, *plans(2), lambda risks: float(np.sqrt(risks[-1].sum())))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tasks": 0}, "tasks = 0"),
        ({"apart": (1, -1)}, "apart holds -1"),
        ({"center": (1,)}, "center has shape"),
        ({"samples": 0}, "samples"),
    ],
)
def test_equidistant_refuses(changed: dict, message: str) -> None:
    arguments = {"tasks": 2, "sizes": (4, 3), "apart": (1, 1), "center": (1, 1), "samples": 20}
    with pytest.raises(InputError, match=message):
        equidistant(**arguments | changed)


def test_projection_moments_agree_with_the_package() -> None:
    """Fourth moments of the recursion, from two traces alone."""
    for m, n in ((50, 12), (7, 3)):
        alpha, beta = projection_moments(m, n)
        assert moments(m, n).own == pytest.approx(float(alpha + beta), rel=1e-12)
        assert moments(m, n).spread == pytest.approx(float(beta), rel=1e-12)
