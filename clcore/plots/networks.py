"""Figures of the experiments with networks."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from clcore.measures import Interval, mean_interval
from clcore.plots.style import COLORS


def accuracy_matrix(axes: Axes, accuracy: ArrayLike, title: str = "") -> None:
    """Draw the mean accuracy matrix over replicas.

    Parameters
    ----------
    accuracy : array_like
        (R, T, T), in [0, 1]; NaN where not judged.
    title : str
        Title of the panel.
    """
    mean = 100 * np.mean(np.asarray(accuracy), axis=0)
    axes.imshow(np.ma.masked_invalid(mean), vmin=0, vmax=100, cmap="cividis")
    for k, row in enumerate(mean):
        for i, value in enumerate(row):
            if np.isfinite(value):
                color = "black" if value > 55 else "white"
                axes.text(i, k, f"{value:.0f}", ha="center", va="center", color=color, fontsize=9)
    numbers = range(len(mean))
    axes.set_xticks(numbers, [str(i + 1) for i in numbers])
    axes.set_yticks(numbers, [str(i + 1) for i in numbers])
    axes.set(xlabel="accuracy on task", ylabel="after task", title=title)
    axes.grid(False)


def curves(
    axes: Axes, x: ArrayLike, values: Mapping[str, ArrayLike], *, scale: float = 1.0
) -> None:
    """Draw a mean and its 95 % interval over seeds along x, one curve a strategy.

    Parameters
    ----------
    x : array_like
        (points,).
    values : mapping of str to array_like
        Name of a strategy → (points, seeds).
    scale : float
        Multiplies the values: 100 for percent.
    """
    for i, (name, points) in enumerate(values.items()):
        found = [mean_interval(scale * np.asarray(point))[:3] for point in np.asarray(points)]
        mean, low, high = np.transpose(found)
        color = COLORS.get(name, COLORS["other"])
        axes.plot(x, mean, marker="osD^v"[i % 5], color=color, label=name)
        axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    axes.legend()


def forest(axes: Axes, rows: Sequence[tuple[str, Interval]], color: str = COLORS["theory"]) -> None:
    """Draw intervals below each other, with a line at zero: which differences are real.

    Parameters
    ----------
    rows : sequence of (label, Interval)
        From top to bottom.
    color : str
        Of the marks.
    """
    places = np.arange(len(rows))[::-1]
    for place, (_, found) in zip(places, rows, strict=True):
        axes.plot([found.low, found.high], [place, place], color=color, solid_capstyle="round")
        axes.plot(found.mean, place, "o", color=color)
    axes.axvline(0, color=COLORS["muted"], linewidth=1)
    axes.set_yticks(places, [label for label, _ in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)
