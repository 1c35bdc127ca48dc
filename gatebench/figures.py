"""The style of pictures: colour-blind-safe (Okabe and Ito's colours), readable in print, a unit on every axis."""

from typing import BinaryIO

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

GATED, RIVAL, LINE = "#0072B2", "#D55E00", "#000000"
CLAIMED, EXECUTED, REALISED = "#E69F00", "#56B4E9", "#0072B2"
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3,
         "savefig.dpi": 200, "text.parse_math": False}  # fmt: skip
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = ("o", "s", "^", "D", "v")


def save(figure: Figure, stream: BinaryIO, kind: str = "png", comment: str | None = None) -> None:
    """As PNG or SVG, without the name of the software and the date, so that the same numbers give the same file.

    The comment stands in a PNG as it is, and is not seen. The figure is drawn once; its own `savefig` draws twice.
    """
    with matplotlib.rc_context({"svg.hashsalt": "gatebench"}):
        if kind == "png":
            figure.set_dpi(STYLE["savefig.dpi"])
            FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None, "Comment": comment})
        elif kind == "svg":
            FigureCanvasSVG(figure).print_svg(stream, metadata={"Creator": None, "Date": None})
        else:
            raise ValueError(f"pictures are png or svg, not {kind}")


def single_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A picture of one panel; sizes in inches. Drawn in the style where it is called within `matplotlib.rc_context(STYLE)`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def legend_above(axes: Axes, columns: int = 1) -> None:
    """Where it covers no data."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, borderaxespad=0, ncols=columns)
