"""Monte Carlo of the linear model on torch, and its comparison with the closed forms."""

from clcore.simulate.agreement import bonferroni, largest_score, z_scores
from clcore.simulate.change import Change, Descent, Proximal, proximal_change, smallest_change
from clcore.simulate.configurations import draw_configuration
from clcore.simulate.features import (
    Features,
    IndependentFeatures,
    SampledFeatures,
    relu_features,
)
from clcore.simulate.monte_carlo import Estimate, Simulation, simulate_risks

__all__ = [
    "Change",
    "Descent",
    "Estimate",
    "Features",
    "IndependentFeatures",
    "Proximal",
    "SampledFeatures",
    "Simulation",
    "bonferroni",
    "draw_configuration",
    "largest_score",
    "proximal_change",
    "relu_features",
    "simulate_risks",
    "smallest_change",
    "z_scores",
]
