"""Plots of the report: matplotlib's SVG, its text left as text, in the colour of the page around it."""

import io
import re
import warnings

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK = "#010203"  # stands for the page's own colour of text, light or dark
COLOURS = ("#3b82f6", "#f97316", "#10b981", "#a855f7", "#ef4444", "#14b8a6", "#eab308", "#ec4899")  # seen on white and on black
MAX_POINTS = 1_000  # of a curve that has one for each picture
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "report", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "text.parse_math": False, "legend.frameon": False, "axes.grid": True, "grid.color": INK, "grid.alpha": 0.15,
}  # fmt: skip


def curve(histories, column, title, xlabel):
    """{name: table of epochs} -> SVG of one of its columns; the student's is drawn strongest."""

    def draw(figure):
        plot = figure.subplots()
        for i, (name, table) in enumerate(histories.items()):
            if column in table:
                plot.plot(
                    table["epoch"], table[column], color=COLOURS[i % len(COLOURS)], label=name,
                    linewidth=1 if name.startswith("fold") else 2, marker="o" if len(table) == 1 else None,
                )  # fmt: skip
        plot.set(title=title, xlabel=xlabel)
        plot.xaxis.set_major_locator(MaxNLocator(integer=True))
        plot.legend(fontsize=8)

    return _svg(draw, (4, 3.2))


def precision_recall(points, xlabel, ylabel):
    """[(name, recall (P,), precision (P,))] -> SVG."""

    def draw(figure):
        plot = figure.subplots()
        for i, (name, recall, precision) in enumerate(points):
            plot.plot(
                recall, precision, color=COLOURS[i % len(COLOURS)], linestyle=("-", "--", ":")[i // len(COLOURS) % 3], label=name
            )
        plot.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1.02), ylim=(0, 1.02))
        _legend(plot, [name for name, _, _ in points], loc="center left", bbox_to_anchor=(1, 0.5))

    return _svg(draw, (6.4, 4))


def reliability(before, after, names, xlabel, ylabel):
    """Two lists of (mean confidence, share right, share of the pictures) -> SVG: accuracy against confidence."""

    def draw(figure):
        plot = figure.subplots()
        plot.plot([0, 1], [0, 1], color=INK, linewidth=0.8, alpha=0.5)
        for i, (bins, name) in enumerate(zip((before, after), names, strict=True)):
            confidence, right, share = zip(*bins, strict=True)
            plot.plot(confidence, right, color=COLOURS[1 - i], label=name, linewidth=1.5)
            plot.scatter(confidence, right, s=[10 + 300 * part for part in share], color=COLOURS[1 - i], alpha=0.7)
        plot.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1.02), ylim=(0, 1.05))
        plot.legend()

    return _svg(draw, (4.8, 4))


def selective(answered, right, xlabel, ylabel):
    """Accuracy of those answered against the share answered (P,) -> SVG."""

    def draw(figure):
        plot = figure.subplots()
        plot.plot(answered, right, color=COLOURS[0], linewidth=2)
        plot.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1.02))

    return _svg(draw, (4.8, 4))


def speed(points, xlabel, ylabel):
    """[(name, milliseconds, accuracy)] -> SVG: accuracy against time, with names."""

    def draw(figure):
        plot = figure.subplots()
        for i, (name, ms, accuracy) in enumerate(points):
            plot.scatter([ms], [accuracy], color=COLOURS[i % len(COLOURS)], s=50, label=name)
        plot.set(xlabel=xlabel, ylabel=ylabel)
        plot.set_xlim(left=0)
        plot.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))

    return _svg(draw, (6.4, 3.6))


def _legend(plot, names, **where):
    """Of all that was drawn; by itself matplotlib leaves out names that begin with an underscore."""
    plot.legend(plot.get_lines() or plot.collections, names, fontsize=8, **where)


def _svg(draw, size):
    """What `draw` draws on a figure of that size in inches, as an <svg> element for the middle of a page."""
    # Its text is drawn by the browser, so what matplotlib's fonts lack does not matter.
    with rc_context(STYLE), warnings.catch_warnings(action="ignore"):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1).replace(INK, "currentColor")
