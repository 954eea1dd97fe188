"""Metrics: pure functions of probabilities (N, K) and labels (N,)."""

import numpy as np


def accuracy(probs, labels):
    """Share of rows whose most probable class is the label, 0..1."""
    return float((np.argmax(probs, axis=1) == labels).mean())


def confusion_matrix(probs, labels):
    """(K, K) counts: row = true class, column = predicted class."""
    num_classes = probs.shape[1]
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (labels, np.argmax(probs, axis=1)), 1)
    return counts
