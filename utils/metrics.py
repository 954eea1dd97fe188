"""Metrics: pure functions of probabilities (N, K) and labels (N,), and a picture of them."""

import numpy as np
import pandas as pd

from utils.figures import families_for, save_figure

MAX_SIDE = 16  # inches: of the picture of any number of classes
MAX_NUMBERED = 40  # classes whose cells have room for a number
MAX_NAMED = 120  # names that fit beside each other; of more classes every second, third, ... one has its name
MAX_NAME = 30  # characters of a name


def accuracy(probs, labels):
    """Share of rows whose most probable class is the label, 0..1."""
    return float((np.argmax(probs, axis=1) == labels).mean())


def agreement(probs, others):
    """Share of rows with the same most probable class in both (N, K), 0..1."""
    return accuracy(probs, np.argmax(others, axis=1))


def kl_divergence(probs, others):
    """KL(probs || others) in nats, both (N, K), the mean over the rows; what is less probable than 1e-7 counts as that."""
    logs = [np.log(np.clip(values.astype(np.float64), 1e-7, 1)) for values in (probs, others)]
    return float((probs * (logs[0] - logs[1])).sum(1).mean())


def contest_score(accuracy, fps, weight=0.7, target=162.5):
    """The contest's score: accuracy counts `weight`, the rest speed, up to `target` pictures a second (what its entry reached)."""
    return weight * accuracy + (1 - weight) * np.minimum(1, fps / target)


def interval_of_difference(right, others_right):
    """(difference, low, high): how much more accurate the first is, and the 95 % interval of that, paired over the pictures.

    bool by (seed, path) each; a picture counts once, by its mean over the seeds that both have. So the interval says what other
    pictures would do to the difference, not other seeds. NaN where they were not asked about the same pictures.
    """
    from scipy.stats import sem, t  # half a second to import

    pairs = pd.concat([right, others_right], axis=1, join="inner").astype(float)
    seeds, others = (set(values.index.get_level_values("seed")) for values in (right, others_right))
    if any(len(pairs) != values.index.isin(seeds & others, "seed").sum() for values in (right, others_right)) or len(pairs) < 2:
        return np.nan, np.nan, np.nan
    by_picture = (pairs.iloc[:, 0] - pairs.iloc[:, 1]).groupby("path").mean()
    half = t.ppf(0.975, len(by_picture) - 1) * sem(by_picture)
    return by_picture.mean(), by_picture.mean() - half, by_picture.mean() + half


def confusion_matrix(probs, labels, num_classes):
    """int64 (K, K): how often each true class (row) was taken for each class (column)."""
    pairs = np.asarray(labels) * num_classes + np.argmax(probs, axis=1)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def draw_confusion_matrix(path, probs, labels, classes):
    """Write a picture (PNG) of how often each true class (rows) was taken for each class (columns)."""
    save_figure(confusion_figure(confusion_matrix(probs, labels, len(classes)), classes), path)


def confusion_figure(counts, classes):
    """The matplotlib figure of `counts` (K, K): colours are shares of a row; counts and all names where they fit.

    Its size and the number of its texts are bounded, since both cost time and memory with the square of K otherwise.
    """
    from matplotlib.figure import Figure  # slow to import, and needed once at the end of a run

    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(min(MAX_SIDE, 3 + 0.5 * len(classes)),) * 2, layout="constrained")
    plot = figure.subplots()
    plot.imshow(shares, vmin=0, vmax=1)
    plot.set(xlabel="predicted", ylabel="true")
    _write_names(plot, classes)
    if len(classes) <= MAX_NUMBERED:
        for (row, column), count in np.ndenumerate(counts):
            color = "black" if shares[row, column] > 0.5 else "white"
            plot.text(column, row, str(count), color=color, ha="center", va="center", fontsize=_font_size(len(classes)))
    return figure


def _write_names(plot, classes):
    """The names of the classes as they are, not as matplotlib's mathematics, beside their rows and below their columns."""
    places = np.arange(0, len(classes), -(-len(classes) // MAX_NAMED))
    names = [name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…" for name in (classes[place] for place in places)]
    style = {"parse_math": False, "fontfamily": families_for("".join(names)), "fontsize": _font_size(len(places))}
    plot.set_yticks(places, names, **style)
    plot.set_xticks(places, names, rotation=90, **style)


def _font_size(num):
    """Points: of texts of which `num` stand beside each other in the picture."""
    return float(np.clip(400 / num, 5, 10))
