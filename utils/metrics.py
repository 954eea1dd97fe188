"""Metrics: pure functions of probabilities (N, K) and labels (N,)."""

import numpy as np

from common.files import atomic_path


def accuracy(probs, labels):
    """Share of rows whose most probable class is the label, 0..1."""
    return float((np.argmax(probs, axis=1) == labels).mean())


def draw_confusion_matrix(path, probs, labels, classes):
    """Write a picture (PNG) of how often each true class (rows) was taken for each class (columns)."""
    # Imported here: slow, and needed once at the end of a run.
    from matplotlib.figure import Figure
    from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

    counts = confusion_matrix(labels, np.argmax(probs, axis=1), labels=range(len(classes)))
    figure = Figure(figsize=(3 + 0.5 * len(classes),) * 2, layout="constrained")
    ConfusionMatrixDisplay(counts, display_labels=classes).plot(ax=figure.subplots(), xticks_rotation=45, colorbar=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
