"""The book's figures: one style, safe for colour-blind readers, legible in light and dark."""

from clcore.plots.names import strategy_name, stream_name
from clcore.plots.networks import accuracy_matrix, curves, forest
from clcore.plots.style import COLORS, figure, use_style
from clcore.plots.theory import (
    draw_history,
    draw_paired_risks,
    draw_plane,
    draw_simulated,
    draw_terms,
    log_m_axis,
    mark_optimum,
)

__all__ = [
    "COLORS",
    "accuracy_matrix",
    "curves",
    "draw_history",
    "draw_paired_risks",
    "draw_plane",
    "draw_simulated",
    "draw_terms",
    "figure",
    "forest",
    "log_m_axis",
    "mark_optimum",
    "strategy_name",
    "stream_name",
    "use_style",
]
