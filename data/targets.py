"""Soft targets: hard labels, smoothing and the teacher's out-of-fold (OOF) predictions, all as (N, K) rows that sum to 1."""

from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import csv_columns, csv_numbers, read_csv, read_json, write_csv, write_json
from data.index import find


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
    table = _answers(dataset, rows, probs)
    table.insert(2, "fold", folds if rows is None else folds[rows])
    path.unlink(missing_ok=True)  # a kill in between leaves no table, never one with the note of another
    write_json(path.with_suffix(".json"), {"fingerprint": dataset.fingerprint, "classes": list(dataset.classes), **made_with})
    write_csv(path, table)


def write_answers(path, dataset, rows, probs):
    """Write a table path, label, p_<class>...: what a model says of the images number `rows`, probabilities (len(rows), K)."""
    write_csv(path, _answers(dataset, rows, probs))


def _answers(dataset, rows, probs):
    part = dataset.table[["path", "label"]]
    if rows is not None:  # else they need not be copied
        part = part.iloc[rows].reset_index(drop=True)
    columns = {f"p_{name}": probs[:, k] for k, name in enumerate(dataset.classes)}
    return part.assign(**columns)


def merge_oof(parts, path, dataset):
    """Join the tables `parts`, of fold 0, 1, ..., into the OOF table at `path`; returns its (N, K) probabilities.

    Raises UserError, and writes nothing, when a part is missing, and when together they do not cover every image exactly once.
    """
    missing = [str(part) for part in parts if not part.is_file()]
    if missing:
        raise UserError(
            f"{missing[0]}: this fold is not trained yet ({len(missing)} of {len(parts)} are missing).\n"
            "Run e4.py without --merge, or with --fold."
        )
    notes = {str(read_json(part.with_suffix(".json"))) for part in parts}
    if len(notes) > 1:
        raise UserError(
            f"{path.parent}: the folds were trained on different data sets or with different settings (the .json beside each "
            "oof.csv). Delete the older ones and train them again."
        )
    probs, folds = _joined(parts, path, dataset)
    write_oof(path, dataset, folds, probs, **read_json(parts[0].with_suffix(".json")))
    return _distributions(path, dataset, probs)


def is_of(path, dataset):
    """Is there a table at `path`, written for just these pictures?"""
    note = Path(path).with_suffix(".json")
    return Path(path).is_file() and note.is_file() and read_json(note).get("fingerprint") == dataset.fingerprint


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
    return _distributions(path, dataset, _joined([path], path, dataset)[0])


def held_out_folds(parts, dataset):
    """int64 (N,): of each image of `dataset`, the number of the table in `parts`, of fold 0, 1, ..., that has it.

    Raises UserError when a part is missing, or together they do not cover every image once.
    """
    folds = np.empty(len(dataset), np.int64)
    for number, _, rows in _parts_of(parts[0].parent.parent, parts, dataset):
        folds[rows] = number
    return folds


def _joined(parts, path, dataset):
    """(float32 (N, K), int64 (N,)): what the tables `parts` say of each image, and the number of the part that has it.

    path: that of all of it, for messages.
    """
    probs, numbers = np.empty((len(dataset), len(dataset.classes)), np.float32), np.empty(len(dataset), np.int64)
    for number, table, rows in _parts_of(path, parts, dataset):
        other = table["label"].array != dataset.table["label"].array[rows]
        _refuse(parts[number], table["path"][other], "have another label there")
        numbers[rows] = number
        start = 0
        for values in csv_numbers(parts[number], [f"p_{name}" for name in dataset.classes]):
            probs[rows[start : start + len(values)]] = values
            start += len(values)
        note = parts[number].with_suffix(".json")
        if note.is_file() and read_json(note).get("fingerprint") != dataset.fingerprint:
            raise UserError(
                f"{parts[number]}: the data set's fingerprint differs: pictures changed since the teacher saw them. "
                "Run e4.py again."
            )
    return probs, numbers


def _parts_of(path, parts, dataset):
    """Yield (number, its paths and labels, rows) of each of the tables `parts`; rows: int64, the image of each of the table's.

    UserError unless together they have every image of `dataset` once.
    """
    seen = np.zeros(len(dataset), bool)
    for number, part in enumerate(parts):
        _check_columns(part, csv_columns(part), dataset)
        table = read_csv(part, texts=("path", "label"), columns=["path", "label"])
        rows = find(table["path"], dataset.table["path"])
        _refuse(part, table["path"][rows < 0], "are not in the data")
        is_copy = find(table["path"], table["path"]) != np.arange(len(table))
        _refuse(part, table["path"][seen[rows] | is_copy], "are there twice")
        seen[rows] = True
        yield number, table, rows
    _refuse(path, dataset.table["path"][~seen], "are missing")


def _refuse(path, images, what):
    if len(images):
        raise UserError(f"{path}: another data set: {len(images)} images {what} (first: {images.min()!r}). Run e4.py on this data.")


def _check_columns(path, columns, dataset):
    for name in ("path", "label"):
        if name not in columns:
            raise UserError(f"{path}: has no column '{name}'. Use the table as e4.py wrote it.")
    found = [column.removeprefix("p_") for column in columns if column.startswith("p_")]
    if sorted(found) != sorted(dataset.classes):
        raise UserError(
            f"{path}: the class list differs: the table has {found}, the data {list(dataset.classes)}. "
            "Use the table made from this data."
        )


def _distributions(path, dataset, probs):
    """`probs` with rows that sum to 1, in place; UserError where one is no distribution."""
    sums = probs.sum(1)
    bad = ~((np.abs(sums - 1) < 1e-3) & (probs >= 0).all(1))  # of NaN and infinity no comparison holds
    if bad.any():
        first = dataset.table["path"].iloc[int(np.argmax(bad))]
        raise UserError(
            f"{path}: {bad.sum()} rows are no probability distribution (first: {first!r}). Write the table again with e4.py."
        )
    probs /= sums[:, None]
    return probs
