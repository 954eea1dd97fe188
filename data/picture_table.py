"""A table of pictures, a row each with path, label and perhaps the part it belongs to -> the `PictureList` of each part.

All that is wrong with its rows is told at once, by the rows' numbers.
"""

import difflib
import logging
import os
import re
import stat
import unicodedata
from itertools import takewhile
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import write_text
from data.index import PARTS, STATE, TYPES, PictureList, find, gather, is_class_name, state_of
from data.listing import indented, near
from data.tables import read_table

log = logging.getLogger("run")
COLUMNS = {"path": "path", "label": "label", "split": "split"}  # as they are called where `data.columns` says nothing else
FEW_ROWS = 2  # a class of so few, called nearly as another one, is taken for a slip of the pen
ALIKE = 0.8  # of 1, as difflib counts
MANY = 1000  # different labels that, with fewer than two rows each, are no classes


def list_table(file, root, classes=None, columns=None, splits=None, report=None):
    """{part: PictureList} of `train`, `validation` and `test`, as far as the table `file` (CSV or Parquet) has rows of them.

    root: where relative paths begin. classes: in the order wanted, and labels may be their numbers, from 0; None: the labels of
    train, sorted. columns: {path, label, split: the column's name}. Without a column for the split all rows are train. splits:
    {part: what the table calls it}, beside the usual names. report: file for the list of all faults. Raises UserError for a table
    that cannot be read, one that names all faults of its rows, and one for classes without rows.
    """
    file, root = Path(file), Path(os.path.abspath(root))
    table = _read(file, columns or {})
    table["path"] = gather(((_below(root, path),) for path in table["path"]), {"path": "str"})["path"]
    table["part"] = _parts(table["split"], splits or {}) if "split" in table else "train"
    if classes is not None:
        table["label"] = _named(table["label"], classes)
    _refuse_other_column(file, table["label"], classes or ())
    states, lost = _states(root, table)
    faults = [*_faults_of_paths(table, lost), *_faults_of_parts(table), *_faults_of_labels(table, classes)]
    _refuse(file, faults, report, _where_they_are(file, root, table, lost))
    if not (table["part"] == "train").any():
        raise UserError(f"{file}: no rows of train. Is it called otherwise there? data.splits=dict(train=...)")
    classes = tuple(sorted(set(table["label"][table["part"] == "train"])) if classes is None else classes)
    table = table.assign(**states)
    lists = {}
    for part, rows in table.groupby("part"):
        listed = rows.sort_values("path", ignore_index=True)
        lists[part] = PictureList(root, classes, listed[list(TYPES)], file, listed["row"].to_numpy())
    _check_classes(file, classes, lists)
    return lists


def _read(file, columns):
    """The columns path, label, row and, where there is one, split."""
    way_out = "Say which are meant: data.columns=dict(path=..., label=..., split=...)."
    optional = () if "split" in columns else ("split",)
    table = read_table(file, {**COLUMNS, **columns}, "data.table", way_out, optional)
    if not len(table):
        raise UserError(f"{file}: no rows in it. Each is a picture: its path and its label.")
    return table


def _parts(splits, names):
    """train, validation, test for what the table says; other texts stay, as they are written there."""
    ours = {**PARTS, **{word.strip().lower(): PARTS[name] for name, word in names.items()}}
    return splits.map(lambda word: ours.get(word.strip().lower(), word))


def _below(root, path):
    """A path as index.csv has it: POSIX, relative where it is below `root`, else absolute; '' stays."""
    if not path:
        return ""
    whole = os.path.normpath(os.path.join(root, path))  # pathlib takes 200 bytes more for each
    inside = os.path.relpath(whole, root) if whole.startswith(os.path.join(root, "")) else whole
    return inside.replace(os.sep, "/")


# Faults, as (number of the row, what is wrong)


def _states(root, table):
    """({column of STATE: its array (N,)}, {path: why it is no file})."""
    states, lost = {name: np.zeros(len(table), TYPES[name]) for name in STATE}, {}
    for i, path in enumerate(table["path"]):
        file = os.path.join(root, path)
        reason = _no_file(file) if path else ""
        if reason:
            lost[path] = reason
        elif path:
            for name, value in zip(STATE, state_of(file), strict=True):
                states[name][i] = value
    return states, lost


def _no_file(file):
    try:
        mode = os.stat(file).st_mode
    except FileNotFoundError:
        return "no such file"
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        return f"cannot be opened ({getattr(error, 'strerror', None) or error})"
    return "" if stat.S_ISREG(mode) else "is a folder" if stat.S_ISDIR(mode) else "not a regular file"


def _faults_of_paths(table, lost):
    first = find(table["path"], table["path"])
    for i, (row, path) in enumerate(zip(table["row"], table["path"], strict=True)):
        if not path:
            yield row, "no path"
        elif first[i] != i:
            yield row, f"{path!r} is there twice, in row {table['row'].iloc[first[i]]} too"
        elif path in lost:
            yield row, f"{path!r}: {lost[path]}"


def _faults_of_parts(table):
    for row, part in zip(table["row"], table["part"], strict=True):
        if not part.strip():
            yield row, "no part (train, val or test)"
        elif part not in PARTS.values():
            yield row, f"the part {part!r} is none of train, val and test (another word for one? data.splits=dict(val={part!r}))"


def _faults_of_labels(table, classes):
    sizes = table["label"].value_counts().to_dict()
    in_training = set(table["label"][table["part"] == "train"])
    respelt = _respelt(sizes) if classes is None else {}
    faults = {}  # label: what is wrong with it
    for label in sizes:
        if not label.strip():
            faults[label] = "no label"
        elif not is_class_name(label):
            faults[label] = f"the label {label!r} has line breaks or control characters in it"
        elif classes is not None and label not in classes:
            numbers = f" and no number from 0 to {len(classes) - 1}" if label.isdecimal() else ""
            faults[label] = f"the label {label!r} is none of data.classes{numbers}{near(label, classes)}"
        elif label in respelt:
            other = respelt[label]
            faults[label] = f"the label {label!r} ({sizes[label]} rows) is like {other!r} ({sizes[other]} rows)"
        elif classes is None and in_training and label not in in_training:
            faults[label] = f"the label {label!r} is in no row of train{near(label, in_training)}"
    return [(row, faults[label]) for row, label in zip(table["row"], table["label"], strict=True) if label in faults]


def _refuse(file, faults, report, hint):
    if not faults:
        return
    alike = {}  # text: rows
    for row, text in sorted(faults):
        alike.setdefault(text, []).append(row)
    where = ""
    if report is not None:
        write_text(report, "".join(f"row {', '.join(map(str, rows))}: {text}\n" for text, rows in alike.items()))
        where = f" (all are listed in {report})"
    lines = [f"row {', '.join(map(str, rows[:5]))}{f' and {len(rows) - 5} more' * (len(rows) > 5)}: {text}"
             for text, rows in alike.items()]  # fmt: skip
    if any(" is like " in line for line in lines):
        hint += " Labels that are alike and right nevertheless: list all classes in data.classes."
    rows = len({row for row, _ in faults})
    raise UserError(f"{file}: {rows} rows cannot be used:\n{indented(lines)}\nCorrect them{where}, then run again.{hint}")


def _where_they_are(file, root, table, lost):
    """Where relative paths that were not found below `root` lie instead, if all of them do."""
    relative = [path for path in lost if not os.path.isabs(path)]
    if relative and all(os.path.isfile(file.parent / path) for path in relative):
        return f" The files lie beside the table: data.root={file.parent}"
    return f" Relative paths begin at data.root, {root}." if relative else ""


# Labels


def _refuse_other_column(file, labels, classes):
    """Such as one of captions or of file names."""
    unknown = set(labels) - {*classes}
    if len(unknown) > MANY and 2 * len(unknown) > len(labels):
        raise UserError(
            f"{file}: {len(unknown)} different labels in {len(labels)} rows, such as {min(unknown)!r}. Is that the column of the "
            "classes? If not, say which is: data.columns=dict(label=...)."
        )


def _named(labels, classes):
    """`labels` with the names of classes for their numbers, where all are numbers that are not names themselves."""
    given = {label for label in labels if label.strip()}
    if given & {*classes} or not all(label.strip().isdecimal() for label in given):
        return labels
    named = {label: classes[int(label)] for label in given if int(label) < len(classes)}
    return labels.map(lambda label: named.get(label, label))


def _respelt(sizes):
    """{label: the one that it is taken for}: written with other blanks or capitals, or nearly the same and in very few rows.

    Others that are nearly the same, and in much fewer rows, are told.
    """
    by_frequency = sorted(filter(is_class_name, sizes), key=lambda label: (-sizes[label], label))
    usual, respelt = {}, {}  # usual: {simplified: label}
    for label in by_frequency:
        simple, few = _simplified(label), sizes[label] <= FEW_ROWS
        if simple in usual:
            respelt[label] = usual[simple]
            continue
        least = sizes[label] * (4 if few else 20)
        larger = takewhile(lambda other, least=least: sizes[usual[other]] >= least, usual)
        nearest = usual.get(_first_alike(simple, larger))
        if nearest and few:
            respelt[label] = nearest
        elif nearest:
            log.warning(
                f"the label {label!r} ({sizes[label]} rows) is like {nearest!r} ({sizes[nearest]} rows). Are they two classes?"
            )
        usual[simple] = label
    return respelt


def _first_alike(name, others):
    """The first that a slip of the pen makes `name` of, or None; names that differ by their numbers are not alike."""
    matcher, letters, without_numbers = difflib.SequenceMatcher(None, b=name), sorted(name), re.sub(r"\d+", "", name)
    for other in others:
        matcher.set_seq1(other)
        if matcher.real_quick_ratio() < ALIKE or matcher.quick_ratio() < ALIKE:  # upper bounds
            continue
        is_alike = sorted(other) == letters or matcher.ratio() >= ALIKE
        if is_alike and re.sub(r"\d+", "", other) != without_numbers:
            return other
    return None


def _simplified(label):
    """Without capitals, and what parts words."""
    plain = unicodedata.normalize("NFKC", label).casefold().strip()
    return re.sub(r"(?<=[^\W\d_])[\s_-]+(?=[^\W\d_])", "", plain)


def _check_classes(file, classes, lists):
    """Each part has pictures of all classes; in test some may be missing, which is told."""
    if len(classes) < 2:
        raise UserError(f"{file}: only one class ({classes[0]!r}). A classifier needs at least two.")
    for part, listed in lists.items():
        there = set(listed.table["label"])
        missing = [name for name in classes if name not in there]
        if missing and part == "test":
            log.warning(f"{file}: no rows of test are of the classes {', '.join(missing)}")
        elif missing:
            raise UserError(f"{file}: no rows of {part} are of the classes {', '.join(missing)}. Add some of each.")
