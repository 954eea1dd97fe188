"""Soft targets: exact mixing, joined by path, and no foreign table gets through."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from processes import killed_at

from common.errors import UserError
from data.targets import blend_targets, harden, is_of, merge_oof, one_hot, read_oof, smooth, write_oof


@pytest.fixture
def probs(dataset):
    return np.random.default_rng(0).dirichlet(np.ones(len(dataset.classes)), len(dataset)).astype(np.float32)


@pytest.fixture
def table(dataset, probs, tmp_path):
    write_oof(tmp_path / "oof.csv", dataset, np.arange(len(dataset)) % 5, probs)
    return tmp_path / "oof.csv"


def edit(path, change):
    content = change(pd.read_csv(path))
    content.to_csv(path, index=False)
    return path


def test_mixing_is_exact():
    hard, teacher = one_hot(np.array([0, 2]), 3), np.float32([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])
    np.testing.assert_allclose(blend_targets(hard, teacher, 0.2), [[0.9, 0.05, 0.05], [0.02, 0.04, 0.94]], rtol=1e-6)
    np.testing.assert_array_equal(blend_targets(hard, teacher, 0.0), hard)
    np.testing.assert_array_equal(blend_targets(hard, teacher, 1.0), teacher)


def test_smoothed_and_hardened_rows_sum_to_one():
    rows = smooth(one_hot(np.array([1]), 4), 0.1)
    np.testing.assert_allclose(rows, [[0.025, 0.925, 0.025, 0.025]], rtol=1e-6)
    np.testing.assert_array_equal(harden(np.float32([[0.2, 0.5, 0.3]])), [[0, 1, 0]])


def test_written_table_reads_back_in_data_order(dataset, probs, table):
    np.testing.assert_allclose(read_oof(table, dataset), probs, rtol=1e-5)


def test_a_table_that_was_written_over_when_the_run_was_killed_is_not_taken_for_the_new_one(dataset, probs, table):
    fewer = dataclasses.replace(dataset, table=dataset.table.iloc[1:].reset_index(drop=True), fingerprint="fewer")
    for step in itertools.count(1):
        write_oof(table, dataset, np.zeros(len(dataset), int), probs)
        if not killed_at(step, lambda: write_oof(table, fewer, np.zeros(len(fewer), int), probs[1:])):
            break
        if is_of(table, fewer):
            read_oof(table, fewer)
    assert step > 3
    np.testing.assert_allclose(read_oof(table, fewer), probs[1:], rtol=1e-5)


def test_rows_are_joined_by_path_not_by_position(dataset, probs, table):
    edit(table, lambda t: t.sample(frac=1, random_state=0))
    np.testing.assert_allclose(read_oof(table, dataset), probs, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.iloc[1:], "1 images are missing"),
        (lambda t: pd.concat([t, t.iloc[:1].assign(path="denim/other.jpg")]), "1 images are not in the data.*other"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "1 images are there twice"),
        (lambda t: t.assign(p_denim=t["p_denim"].where(t.index > 0)), "1 rows are no probability distribution"),
        (lambda t: t.assign(p_denim=np.inf), "no probability distribution"),
        (lambda t: t.drop(columns="p_denim"), "class list differs"),
        (lambda t: t.drop(columns="path"), "has no column 'path'"),
        (lambda t: t.rename(columns={"p_denim": "p_jeans"}), "class list differs"),
        (lambda t: t.assign(label=np.roll(t["label"], 1)), "have another label"),
    ],
)
def test_foreign_table_is_refused(dataset, table, change, message):
    with pytest.raises(UserError, match=message):
        read_oof(edit(table, change), dataset)


def test_table_of_changed_pictures_is_refused(dataset, table):
    with pytest.raises(UserError, match="fingerprint differs"):
        read_oof(table, dataclasses.replace(dataset, fingerprint="0" * 64))


def test_missing_table_says_what_to_do(dataset, tmp_path):
    with pytest.raises(UserError, match=r"Run e4.py first.*teacher_weight=0"):
        read_oof(tmp_path / "oof.csv", dataset)


def test_folds_merge_to_the_whole_table_and_a_missing_one_is_named(dataset, probs, tmp_path):
    folds = np.arange(len(dataset)) % 3
    parts = [tmp_path / f"{k}.csv" for k in range(3)]
    for k, part in enumerate(parts[:2]):
        write_oof(part, dataset, folds, probs[folds == k], rows=np.flatnonzero(folds == k))
    with pytest.raises(UserError, match=r"2.csv: this fold is not trained yet"):
        merge_oof(parts, tmp_path / "oof.csv", dataset)
    write_oof(parts[2], dataset, folds, probs[folds == 1], rows=np.flatnonzero(folds == 1))
    with pytest.raises(UserError, match=r"2.csv: another data set: .* images are there twice"):
        merge_oof(parts, tmp_path / "oof.csv", dataset)
    assert not (tmp_path / "oof.csv").exists()
    write_oof(parts[2], dataset, folds, probs[folds == 2], rows=np.flatnonzero(folds == 2))
    np.testing.assert_allclose(merge_oof(parts, tmp_path / "oof.csv", dataset), probs, rtol=1e-5)


def test_folds_of_other_settings_are_not_merged(dataset, probs, tmp_path):
    """Two jobs for two folds, started at once with different settings, have both claimed the stage."""
    folds = np.arange(len(dataset)) % 2
    parts = [tmp_path / f"{k}.csv" for k in range(2)]
    for k, part in enumerate(parts):
        write_oof(part, dataset, folds, probs[folds == k], rows=np.flatnonzero(folds == k), settings=f"digest {k}")
    with pytest.raises(UserError, match="trained on different data sets or with different settings"):
        merge_oof(parts, tmp_path / "oof.csv", dataset)
