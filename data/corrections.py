"""Corrections of labels: a table path,label beside the pictures, as the report saves it or a person writes it.

A label is another class than the folder's, or `drop` for a picture that is to be left out. No file is moved or removed.
"""

import logging
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from common.errors import UserError
from data.images import JpegImages, each
from data.listing import indented, near
from data.tables import read_table

log = logging.getLogger("run")
DROP = "drop"


def correct(table, images, classes, file):
    """(table, images) with what `file` says: labels changed, pictures left out; how many rows did what is said.

    table: with path and label of each picture, in the order of `images` (N, S, S, 3). Raises UserError, which names them all, for
    rows about unknown pictures or classes, for two rows that contradict each other, and for a class that nothing is left of.
    """
    if DROP in classes:
        raise UserError(
            f"data.corrections: a class is called {DROP!r}, which there means to leave a picture out. Rename its folder."
        )
    _refuse(file, _faults(_read(file), table, classes))
    wanted = read_corrections(file)
    labels = table["label"].where(~table["path"].isin(wanted), table["path"].map(wanted))
    dropped = labels == DROP
    moved = int(((labels != table["label"]) & ~dropped).sum())
    idle = len(wanted) - moved - int(dropped.sum())
    log.info(
        f"{file}: {moved} labels changed, {int(dropped.sum())} pictures left out"
        + (f", {idle} rows say what the folder says" if idle else "")
    )
    empty = [name for name in classes if not (labels == name).any()]
    if empty:
        raise UserError(f"{file}: leaves no pictures in the class{'es' * (len(empty) > 1)} {', '.join(empty)}. Keep some of each.")
    corrected = table.assign(label=labels)[~dropped].reset_index(drop=True)
    return corrected, Remaining(images, np.flatnonzero(~dropped)) if dropped.any() else images


@dataclass(frozen=True)
class Remaining:
    """The pictures number `rows` of `images` (N, S, S, 3): indexed by a number, several or a slice, and copied only then."""

    images: np.ndarray | JpegImages
    rows: np.ndarray  # int64 (M,)

    def __getitem__(self, which):
        return self.images[self.rows[which]]

    def each(self, which):
        """See `data.images.each`."""
        return each(self.images, self.rows[which])

    def __len__(self):
        return len(self.rows)

    @property
    def shape(self):
        return (len(self), *self.images.shape[1:])


def read_corrections(file):
    """{path: label} of a file of corrections whose rows do not contradict each other."""
    table = _read(file)
    return dict(zip(table["path"], table["label"], strict=True))


def _read(file):
    """The columns path, label and row of what a person, a spreadsheet or the report wrote, without empty and repeated rows."""
    way_out = "The first line must be `path,label`, with a comma."
    table = read_table(file, {"path": "path", "label": "label"}, "data.corrections", way_out)
    return table.drop_duplicates(["path", "label"])


def _faults(corrections, table, classes):
    """What is wrong, a text for each row."""
    paths, seen = set(table["path"]), {}
    elsewhere = {PurePosixPath(path).name: path for path in table["path"]}
    for path, label, row in corrections.itertuples(index=False, name=None):
        where = f"row {row}: {path!r}"
        if path not in paths:
            named_so = elsewhere.get(PurePosixPath(path).name)
            yield f"{where} is none of the training pictures" + (f" (of that name: {named_so!r})" if named_so else "")
        elif path in seen:
            yield f"{where} is {label!r} here and {seen[path]!r} in another row"
        seen[path] = label
        if label != DROP and label not in classes:
            yield f"{where} has the label {label!r}, which is no class{near(label, classes)}"


def _refuse(file, faults):
    faults = list(faults)
    if faults:
        raise UserError(
            f"{file}: {len(faults)} rows make no sense:\n{indented(faults)}\n"
            f"Paths are as in index.csv, labels a class or {DROP!r}. Correct them, or leave data.corrections out."
        )
