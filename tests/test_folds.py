"""Folds: every class spread evenly, the same whatever the order of the listing."""

import numpy as np

from data.folds import assign_folds


def test_folds_are_stratified_and_cover_everything_once(dataset):
    folds = assign_folds(dataset.table, 4, seed=42)
    assert set(folds) == {0, 1, 2, 3}
    for label in dataset.classes:
        counts = np.bincount(folds[dataset.table["label"] == label], minlength=4)
        assert counts.max() - counts.min() <= 1


def test_same_seed_same_folds_and_another_seed_others(dataset):
    first = assign_folds(dataset.table, 4, seed=42)
    assert np.array_equal(first, assign_folds(dataset.table, 4, seed=42))
    assert not np.array_equal(first, assign_folds(dataset.table, 4, seed=43))
