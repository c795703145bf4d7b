"""Monte Carlo of the linear model on torch, and its comparison with the closed forms."""

from clcore.simulate.agreement import bonferroni, largest_score, z_scores
from clcore.simulate.change import smallest_change
from clcore.simulate.configurations import Configuration, draw_configuration
from clcore.simulate.monte_carlo import Estimate, Simulation, simulate_risks

__all__ = [
    "Configuration",
    "Estimate",
    "Simulation",
    "bonferroni",
    "draw_configuration",
    "largest_score",
    "simulate_risks",
    "smallest_change",
    "z_scores",
]
