"""Stratified folds: every class spread evenly, the same for the same data and seed, copies of a picture kept together."""

import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import write_csv
from data.contents import numbered


def assign_folds(table, num_folds, seed):
    """int64 (N,) fold numbers 0..num_folds-1 for an index table (columns label, sha256).

    Raises UserError when a class has fewer different pictures than there are folds.
    """
    content, first = numbered(table["sha256"])
    labels, names = pd.factorize(table["label"][first])
    counts = pd.Series(np.bincount(labels), names)
    small = counts[counts < num_folds]
    if len(small):
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(small.items()))
        raise UserError(
            f"{num_folds} folds need at least {num_folds} different pictures in every class; too few in: {listed}. "
            "Add pictures, or use fewer folds (teacher.num_folds, student.num_folds)."
        )
    from sklearn.model_selection import StratifiedKFold  # a second to import, and a student with data.val_root needs none

    splitter = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    folds = np.empty(len(labels), np.int64)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels)):
        folds[held_out] = fold
    return folds[content]


def write_folds(path, table, folds):
    """Write folds.csv: path, fold."""
    write_csv(path, table[["path"]].assign(fold=folds))
