"""One look for every figure."""

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

# Okabe and Ito's palette: distinguishable with every common colour vision deficiency. A thing
# keeps its colour through the whole book.
COLORS = {
    "initialized": "#0072B2",
    "frozen": "#D55E00",
    "frozen, head only": "#D55E00",
    "frozen, last two": "#E69F00",
    "frozen, last three": "#E69F00",
    "hybrid": "#009E73",
    "Algorithm 1": "#CC79A7",
    "replay": "#CC79A7",
    "law, scaled": "#56B4E9",
    "curvature held": "#009E73",
    "online EWC, tuned": "#000000",
    "optimal": "#CC79A7",
    "theory": "#000000",
    "simulation": "#E69F00",
    "other": "#56B4E9",
    "muted": "#777777",
}


def use_style() -> None:
    """Set the book's style for all figures made from here on.

    Figures are SVG with a white ground: the site inverts them in dark mode, keeping hues, and
    they stay legible where no style sheet of ours applies. A fixed salt and no date make
    equal figures equal bytes.
    """
    sns.set_theme(style="ticks", palette=list(dict.fromkeys(COLORS.values()))[:4])
    mpl.rcParams.update(
        {
            "figure.figsize": (7.2, 3.8),
            "figure.constrained_layout.use": True,
            "axes.grid": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 11,
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.7,
            "legend.frameon": False,
            "legend.fontsize": 10,
            "lines.linewidth": 2.0,
            "svg.hashsalt": "clcore",
        }
    )
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return  # a script or a test: there is no notebook whose format could be set
    from IPython.core.getipython import get_ipython

    if get_ipython() is not None:
        set_matplotlib_formats("svg", metadata={"Date": None})


def figure(columns: int = 1, height: float = 3.8, **options: Any) -> tuple[Figure, Any]:
    """Return a figure as wide as the text column, and its axes.

    Parameters
    ----------
    columns : int
        Panels side by side.
    height : float
        Height in inches.
    **options
        Passed to `matplotlib.pyplot.subplots`.
    """
    width = 7.2 if columns == 1 else 9.6
    return plt.subplots(1, columns, figsize=(width, height), **options)
