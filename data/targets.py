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
    part = dataset.table.iloc[rows].reset_index(drop=True)
    columns = {f"p_{name}": probs[:, k] for k, name in enumerate(dataset.classes)}
    return pd.DataFrame({"path": part["path"], "label": part["label"], **columns})


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
    table = pd.concat([_read_table(part) for part in parts]).sort_values("path", key=lambda column: column.map(str.encode))
    notes = {str(read_json(part.with_suffix(".json"))) for part in parts}
    if len(notes) > 1:
        raise UserError(
            f"{path.parent}: the folds were trained on different data sets or with different settings (the .json beside each "
            "oof.csv). Delete the older ones and train them again."
        )
    _write_table(path, table, read_json(parts[0].with_suffix(".json")))
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
    _check_rows(path, table, dataset)
    columns = [f"p_{name}" for name in dataset.classes]
    probs = table.set_index("path").loc[dataset.paths, columns].apply(pd.to_numeric, errors="coerce").to_numpy(np.float32)
    bad = ~(np.isfinite(probs).all(1) & (probs >= 0).all(1) & (np.abs(probs.sum(1) - 1) < 1e-3))
    if bad.any():
        raise UserError(
            f"{path}: {bad.sum()} rows are no probability distribution (first: {dataset.paths[int(np.argmax(bad))]!r}). "
            "Write the table again with e4.py."
        )
    return probs / probs.sum(1, keepdims=True)


def held_out_folds(parts, dataset):
    """int64 (N,): of each image of `dataset`, the number of the table in `parts`, one for each fold's held-out images, that has it.

    Raises UserError when a part is missing, or together they do not cover every image once.
    """
    number_of = {}
    for number, part in enumerate(parts):
        for path in _read_table(part)["path"]:
            if path in number_of:
                raise UserError(f"{part}: the image {path!r} is held out from two folds. Delete them and run e4.py again.")
            number_of[path] = number
    if set(number_of) != set(dataset.paths):
        raise UserError(f"{parts[0]} and those of the other folds: of another data set. Run e4.py on this data.")
    return np.array([number_of[path] for path in dataset.paths], np.int64)


def _check_columns(path, table, dataset):
    found = [column.removeprefix("p_") for column in table.columns if column.startswith("p_")]
    if not {"path", "label"} <= set(table.columns) or sorted(found) != sorted(dataset.classes):
        raise UserError(
            f"{path}: the class list differs: the table has {found}, the data {list(dataset.classes)}. "
            "Use the table made from this data."
        )


def _check_rows(path, table, dataset):
    twice = table["path"][table["path"].duplicated()]
    missing = sorted(set(dataset.paths) - set(table["path"]))
    extra = sorted(set(table["path"]) - set(dataset.paths))
    for rows, what in ((list(twice), "twice in the table"), (missing, "missing from the table"), (extra, "not in the data")):
        if rows:
            raise UserError(
                f"{path}: another data set: {len(rows)} images are {what} (first: {rows[0]!r}). Run e4.py on this data."
            )
    labels = table.set_index("path").loc[dataset.paths, "label"].to_numpy()
    moved = labels != dataset.table["label"].to_numpy()
    if moved.any():
        raise UserError(
            f"{path}: another data set: {moved.sum()} images have another label there "
            f"(first: {dataset.paths[int(np.argmax(moved))]!r}). Run e4.py on this data."
        )
    note = path.with_suffix(".json")
    if note.is_file() and read_json(note).get("fingerprint") != dataset.fingerprint:
        raise UserError(
            f"{path}: the data set's fingerprint differs: pictures changed since the teacher saw them. Run e4.py again."
        )
