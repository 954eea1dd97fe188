"""Soft targets: hard labels, smoothing and the teacher's out-of-fold (OOF) predictions, all as (N, K) rows that sum to 1."""

from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import read_csv, read_json, write_csv, write_json


def one_hot(labels, num_classes):
    """int (N,) -> float32 (N, K)."""
    return np.eye(num_classes, dtype=np.float32)[labels]


def smooth(target_probs, smoothing):
    """Move the share `smoothing` of every row to the uniform distribution (Szegedy et al. 2016, arXiv:1512.00567)."""
    return (1 - smoothing) * target_probs + smoothing / target_probs.shape[1]


def blend_targets(hard_targets, teacher_probs, weight):
    """(1 - weight) * hard + weight * teacher, all (N, K): the recipe's 2:8 mixing at weight 0.2."""
    return ((1 - weight) * hard_targets + weight * teacher_probs).astype(np.float32)


def harden(probs):
    """(N, K) distributions -> one-hot rows at their arg-max."""
    return one_hot(probs.argmax(1), probs.shape[1])


def write_oof(path, dataset, folds, probs, rows=None, **made_with):
    """Write a table path, label, fold, p_<class>... and beside it, as .json, the classes, the data's fingerprint and `made_with`.

    folds: int (N,) for the whole data set. rows: the images that `probs` (len(rows), K) belongs to; None: all of them.
    """
    rows = np.arange(len(dataset)) if rows is None else rows
    table = _answers(dataset, rows, probs)
    table.insert(2, "fold", folds[rows])
    _write_table(path, table, {"fingerprint": dataset.fingerprint, "classes": list(dataset.classes), **made_with})


def write_answers(path, dataset, rows, probs):
    """Write a table path, label, p_<class>...: what a model says of the images number `rows`, probabilities (len(rows), K)."""
    write_csv(path, _answers(dataset, rows, probs))


def _answers(dataset, rows, probs):
    part = dataset.table[["path", "label"]].iloc[rows].reset_index(drop=True)
    columns = {f"p_{name}": probs[:, k] for k, name in enumerate(dataset.classes)}
    return part.assign(**columns)


def _write_table(path, table, note):
    """`table` with its note beside it. A kill in between leaves no table, never one with the note of another."""
    path.unlink(missing_ok=True)
    write_json(path.with_suffix(".json"), note)
    write_csv(path, table)


def merge_oof(parts, path, dataset):
    """Join the tables `parts`, one for each fold, into the OOF table at `path`; returns its (N, K) probabilities.

    Raises UserError when a part is missing, and when together they do not cover every image exactly once.
    """
    missing = [str(part) for part in parts if not part.is_file()]
    if missing:
        raise UserError(
            f"{missing[0]}: this fold is not trained yet ({len(missing)} of {len(parts)} are missing).\n"
            "Run e4.py without --merge, or with --fold."
        )
    table = pd.concat([_read_table(part) for part in parts], ignore_index=True).sort_values("path")
    notes = {str(read_json(part.with_suffix(".json"))) for part in parts}
    if len(notes) > 1:
        raise UserError(
            f"{path.parent}: the folds were trained on different data sets or with different settings (the .json beside each "
            "oof.csv). Delete the older ones and train them again."
        )
    _write_table(path, table, read_json(parts[0].with_suffix(".json")))
    del table  # what comes next takes as much memory
    return read_oof(path, dataset)


def is_of(path, dataset):
    """Is there a table at `path`, written for just these pictures?"""
    note = Path(path).with_suffix(".json")
    return Path(path).is_file() and note.is_file() and read_json(note).get("fingerprint") == dataset.fingerprint


def _read_table(path):
    return read_csv(path, texts=("path", "label"))


def read_oof(path, dataset):
    """The teacher's distributions float32 (N, K) for the images of `dataset`, joined on path.

    Raises UserError when the table is of other classes or images, has missing, extra or repeated rows, or a
    row that is no distribution. A table that came without its oof.json is judged by its paths and labels.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"{path}: no OOF table. Run e4.py first, give student.oof=FILE, or train without one: student.teacher_weight=0."
        )
    table = _read_table(path)
    _check_columns(path, table, dataset)
    rows, probs = _find_rows(path, table, dataset), np.empty((len(dataset), len(dataset.classes)), np.float32)
    for k, name in enumerate(dataset.classes):
        probs[:, k] = pd.to_numeric(table[f"p_{name}"], errors="coerce").to_numpy()[rows]
    bad = ~(np.isfinite(probs).all(1) & (probs >= 0).all(1) & (np.abs(probs.sum(1) - 1) < 1e-3))
    if bad.any():
        first = dataset.table["path"].iloc[int(np.argmax(bad))]
        raise UserError(
            f"{path}: {bad.sum()} rows are no probability distribution (first: {first!r}). Write the table again with e4.py."
        )
    return probs / probs.sum(1, keepdims=True)


def held_out_folds(parts, dataset):
    """int64 (N,): of each image of `dataset`, the number of the table in `parts`, one for each fold's held-out images, that has it.

    Raises UserError when a part is missing, or together they do not cover every image once.
    """
    tables = [_read_table(part)[["path"]].assign(number=number) for number, part in enumerate(parts)]
    table = pd.concat(tables, ignore_index=True)
    again = table[table["path"].duplicated()]
    if len(again):
        path, number = again.iloc[0]
        raise UserError(f"{parts[number]}: the image {path!r} is held out from two folds. Delete them and run e4.py again.")
    rows = pd.Index(table["path"]).get_indexer(dataset.table["path"])
    if len(table) != len(dataset) or (rows < 0).any():
        raise UserError(f"{parts[0]} and those of the other folds: of another data set. Run e4.py on this data.")
    return table["number"].to_numpy(np.int64)[rows]


def _check_columns(path, table, dataset):
    found = [column.removeprefix("p_") for column in table.columns if column.startswith("p_")]
    if not {"path", "label"} <= set(table.columns) or sorted(found) != sorted(dataset.classes):
        raise UserError(
            f"{path}: the class list differs: the table has {found}, the data {list(dataset.classes)}. "
            "Use the table made from this data."
        )


def _find_rows(path, table, dataset):
    """int64 (N,): the row of `table` for each image of `dataset`; UserError unless each has one of its own, with its label."""
    there, wanted = table["path"], dataset.table["path"]

    def refuse(images, what):
        if len(images):
            raise UserError(
                f"{path}: another data set: {len(images)} images {what} (first: {images.min()!r}). Run e4.py on this data."
            )

    refuse(there[there.duplicated()], "are twice in the table")
    rows = pd.Index(there).get_indexer(wanted)
    refuse(wanted[rows < 0], "are missing from the table")
    refuse(there[np.isin(np.arange(len(there)), rows, invert=True)], "are not in the data")
    refuse(wanted[table["label"].array[rows] != dataset.table["label"].array], "have another label there")
    note = path.with_suffix(".json")
    if note.is_file() and read_json(note).get("fingerprint") != dataset.fingerprint:
        raise UserError(
            f"{path}: the data set's fingerprint differs: pictures changed since the teacher saw them. Run e4.py again."
        )
    return rows
