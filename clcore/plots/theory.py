"""Figures of the theory chapters; each draws on axes that it is given."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from clcore.plots.style import COLORS
from clcore.simulate import Estimate, Simulation
from clcore.theory.validation import FloatArray

# Error bars show two standard errors: about 95 % of them should reach the theory.
_BARS = 2.0


def draw_plane(
    ax: Axes, truths: FloatArray, start: FloatArray, clouds: Mapping[str, FloatArray]
) -> None:
    """Draw a plane of one shared and one task-specific parameter, and where updates end in it.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    truths : (2, 2) array
        Ground truths of the old and the new task; columns are u and q.
    start : (2,) array
        The parameters that have learned the old task.
    clouds : mapping of name to (R, 2) array
        End points of R repetitions of each way to update; names are keys of `COLORS`.
    """
    reach = np.vstack([truths, start, *clouds.values()])
    middle, half = (reach.max(0) + reach.min(0)) / 2, 0.6 * np.ptp(reach, axis=0).max()
    u, q = (np.linspace(c - half, c + half, 200) for c in middle)
    risk = (u - truths[0, 0]) ** 2 + (q[:, None] - truths[0, 1]) ** 2
    rings = ax.contour(
        u,
        q,
        risk,
        levels=[0.25, 1, 2.25, 4, 6.25, 9, 12.25],
        colors=COLORS["muted"],
        linewidths=0.8,
    )
    ax.clabel(rings, fmt="%g", fontsize=8)
    for name, ends in clouds.items():
        ax.scatter(ends[:, 0], ends[:, 1], s=7, color=COLORS[name], alpha=0.35, linewidths=0)
        ax.annotate(
            "",
            tuple(ends.mean(axis=0)),
            tuple(start),
            arrowprops={"arrowstyle": "-|>", "color": COLORS[name], "lw": 2.2, "shrinkB": 0},
        )
    for point, text, marker, shift in (
        (truths[0], "old task", "*", (-9, 8)),
        (truths[1], "new task", "*", (14, 16)),
        (start, "model before", "o", (9, -12)),
    ):
        ax.plot(*point, marker, color="black", markersize=11 if marker == "*" else 7)
        ax.annotate(
            text,
            tuple(point),
            xytext=shift,
            textcoords="offset points",
            ha="right" if shift[0] < 0 else "left",
            fontsize=10,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1},
        )
    ax.set(xlabel="shared parameter u", ylabel="task-specific parameter q", aspect="equal")
    ax.set(xlim=u[[0, -1]], ylim=q[[0, -1]])
    ax.grid(visible=False)


def draw_paired_risks(ax: Axes, risks: Mapping[str, tuple[float, float]]) -> None:
    """Draw the risks on the old and on the new task side by side for each way to update.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    risks : mapping of name to (old, new)
        Mean excess risks; a name's first word is a key of `COLORS`, else it is drawn muted.
    """
    place = np.arange(len(risks))
    tones = [COLORS.get(name.split()[0], COLORS["muted"]) for name in risks]
    old, new = np.array(list(risks.values())).T
    ax.barh(place - 0.19, old, 0.36, color=tones, edgecolor=tones, label="on the old task")
    ax.barh(place + 0.19, new, 0.36, color="white", edgecolor=tones, linewidth=1.6)
    pad = 0.02 * max(old.max(), new.max())
    for y, value, text in (
        *((y - 0.19, v, "old") for y, v in zip(place, old, strict=True)),
        *((y + 0.19, v, "new") for y, v in zip(place, new, strict=True)),
    ):
        ax.text(value + pad, y, text, va="center", fontsize=9)
    ax.set_yticks(place, list(risks))
    ax.invert_yaxis()
    ax.set(xlabel="mean excess risk")
    ax.margins(x=0.12)
    ax.grid(visible=False, axis="y")


def draw_terms(
    ax: Axes, names: Sequence[str], terms: Mapping[str, FloatArray], simulated: Estimate
) -> None:
    """Draw forgetting as the sum of its terms, one bar each, with the simulated sum beside it.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    names : sequence of str, length N
        The updates compared.
    terms : mapping of str to (N,) array
        Each term's contribution, negative ones included.
    simulated : Estimate, (N,)
        Simulated forgetting.
    """
    place = np.arange(len(names), dtype=float)
    width = 0.17
    shades = (COLORS["other"], COLORS["muted"], COLORS["optimal"])
    for j, ((label, values), shade) in enumerate(zip(terms.items(), shades, strict=True)):
        ax.bar(place + (j - 1.5) * width, values, width, color=shade, label=label)
    total = np.sum(list(terms.values()), axis=0)
    ax.bar(place + 1.5 * width, total, width, color=COLORS["theory"], label="sum: forgetting")
    draw_simulated(ax, place + 1.5 * width, simulated, label="simulated (± 2 s.e.)")
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set_xticks(place, list(names))
    ax.set(ylabel="change of the old task's risk")
    ax.grid(visible=False, axis="x")


def draw_history(
    ax: Axes, expected: FloatArray, simulated: Simulation, tasks: Sequence[int], color: str
) -> None:
    """Draw the risk on some tasks after every update, theory as lines, simulation as points.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    expected : (K+1, B, K) array
        Expected blockwise risks.
    simulated : Simulation
        The same by simulation.
    tasks : sequence of int
        Up to four tasks to show, counted from 0; labels count from 1.
    color : str
        One color for all: the way to train has it, tasks differ by their lines.
    """
    updates = np.arange(len(expected), dtype=float)
    for task, line, marker in zip(tasks, ("-", "--", ":", "-."), "os^D", strict=False):
        ax.plot(updates, expected[:, :, task].sum(axis=1), line, color=color)
        estimate = Estimate(
            simulated.totals.mean[:, task], simulated.totals.standard_error[:, task]
        )
        draw_simulated(ax, updates, estimate, color=color, marker=marker)
        # What the legend needs: line and marker of a task in no one's color.
        ax.plot([], [], line, marker=marker, color=COLORS["muted"], label=f"task {task + 1}")
    ax.set(xlabel="tasks learned", xticks=updates)


def draw_simulated(
    ax: Axes,
    x: Sequence[float] | FloatArray,
    estimate: Estimate,
    color: str = COLORS["simulation"],
    label: str | None = None,
    marker: str = "o",
) -> ErrorbarContainer:
    """Draw simulated means as points with bars of two standard errors.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    x : (N,) array
        Where the points stand.
    estimate : Estimate, (N,)
        Means and standard errors.
    color : str
        Color of the points.
    label : str, optional
        For the legend.
    marker : str
        Shape of the points.
    """
    return ax.errorbar(
        x,
        estimate.mean,
        yerr=_BARS * estimate.standard_error,
        fmt=marker,
        markersize=5,
        color=color,
        markeredgecolor="white",
        markeredgewidth=0.6,
        elinewidth=1.4,
        capsize=2.5,
        zorder=5,
        label=label,
    )


def mark_optimum(ax: Axes, m: float, forgetting: float, text: str, color: str) -> None:
    """Mark a minimum of a forgetting curve, with its name below it."""
    ax.plot([m], [forgetting], "D", color=color, markersize=9, zorder=4)
    ax.annotate(
        text,
        (m, forgetting),
        xytext=(0, -16),
        textcoords="offset points",
        ha="center",
        fontsize=10,
    )


def log_m_axis(ax: Axes, ticks: Sequence[int]) -> None:
    """Make x the logarithmic axis of trainable parameters, labeled at `ticks`, with a line at 0."""
    ax.axhline(0, color="black", linewidth=0.8, zorder=1)
    ax.set(xscale="log", xlabel="trainable parameters m")
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
