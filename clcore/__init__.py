"""How far a model should move when a new task arrives.

`clcore` holds the theory and the training primitives of the companion to *Exploring the
Impact of Parameter Update Magnitude on Forgetting and Generalization of Continual Learning*
(He, Bai, Yang, 2026, arXiv:2602.20796). Its layout follows the data:
`streams` → `networks` → `strategies` → `training` → `measures` → `results` → `plots`,
with `theory` (no PyTorch) and `simulate` (its Monte Carlo check) beside them.
"""

from importlib.metadata import version

__version__ = version("clcore")
