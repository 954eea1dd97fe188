"""Folds: every class spread evenly, the same whatever the order of the listing."""

import numpy as np
from sklearn.model_selection import StratifiedKFold

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


def test_copies_share_a_fold_and_folds_are_those_of_the_first_of_each(dataset):
    """As scikit-learn gives them for the table without copies."""
    table = dataset.table.copy()
    table.loc[[3, 5], "sha256"] = table["sha256"][1]  # of the same class
    distinct = table.drop_duplicates("sha256")
    splits = StratifiedKFold(4, shuffle=True, random_state=1).split(distinct, distinct["label"])
    expected = {content: fold for fold, (_, rows) in enumerate(splits) for content in distinct["sha256"].iloc[rows]}
    assert assign_folds(table, 4, seed=1).tolist() == [expected[content] for content in table["sha256"]]
