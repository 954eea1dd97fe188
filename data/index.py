"""A folder of class folders -> the list of its pictures, in an order that is the same on every machine."""

import difflib
import hashlib
import logging
import os
from pathlib import Path

import pandas as pd

from common.errors import UserError

log = logging.getLogger("run")

TEXT_SUFFIXES = {
    ".txt",
    ".md",
    ".csv",
    ".tsv",
    ".json",
    ".xml",
    ".yaml",
    ".yml",
    ".html",
}  # notes and annotations among pictures
JUNK = {"thumbs.db", "desktop.ini"}


def list_images(root, classes=None):
    """(classes, table path, label, bytes, mtime_ns) of the files below the class folders of `root`, sorted by path.

    classes: the class folders in the order wanted; None: the folder names, sorted. Hidden files are not looked at; text files are
    left out with a warning; all other files are taken for pictures, and decoding judges them. Raises UserError for
    a missing root, one without class folders, other folders than `classes`, and empty classes.
    """
    root = Path(root)
    classes = _class_folders(root, classes)
    rows, texts = [], []
    for label in classes:
        files = list(_files_below(root / label))
        texts += [file for file in files if _is_text(file)]
        for file in files:
            if not _is_text(file):
                rows.append((file.relative_to(root).as_posix(), label, *_size_and_time(file)))
    if texts:
        log.warning(f"{root}: {len(texts)} text files among the pictures are left out (such as {texts[0].relative_to(root)})")
    table = pd.DataFrame(rows, columns=["path", "label", "bytes", "mtime_ns"])
    empty = [label for label in classes if label not in set(table["label"])]
    if empty:
        raise UserError(
            f"{root}: no pictures in the class folder{'s' * (len(empty) > 1)} {', '.join(empty)}. Add some or remove the folder."
        )
    # Sorting by bytes is the same whatever the machine's language settings.
    return classes, table.sort_values("path", key=lambda column: column.map(os.fsencode), ignore_index=True)


def fingerprint(table, classes):
    """SHA-256 over classes, paths, labels and contents: the same on every machine, another when anything changed."""
    digest = hashlib.sha256("\0".join(classes).encode("utf-8", "surrogateescape"))
    for path, label, content in zip(table["path"], table["label"], table["sha256"], strict=True):
        digest.update(f"\n{path}\0{label}\0{content}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def describe_changes(before, now):
    """'2 added, 1 changed (such as ...)' between two index tables; '' if they list the same files in the same state.

    Files of the same size with another date, such as those of a fresh copy, may hold what they did: only reading tells.
    """
    old, new = (dict(zip(t["path"], zip(t["bytes"], t["mtime_ns"], strict=True), strict=True)) for t in (before, now))
    touched = sorted(path for path in new.keys() & old.keys() if new[path] != old[path])
    changes = {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": [path for path in touched if new[path][0] != old[path][0]],
        "with another date": [path for path in touched if new[path][0] == old[path][0]],
    }
    return ", ".join(f"{len(paths)} {what} (such as {paths[0]!r})" for what, paths in changes.items() if paths)


def _class_folders(root, wanted):
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such folder"
        raise UserError(f"{root}: {what}. data.root must be a folder with one folder of pictures for each class.")
    found = sorted((p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")), key=os.fsencode)
    if not found:
        raise UserError(
            f"{root}: no class folders in it. Put the pictures of each class into a folder of its own: {root}/<class>/*.jpg"
        )
    if wanted is None:
        wanted = tuple(found)
    for name in sorted(set(wanted) ^ set(found)):
        near = difflib.get_close_matches(name, set(wanted) ^ {name} if name in found else found, n=1)
        hint = f" (near: {near[0]})" if near else ""
        if name in found:
            raise UserError(
                f"{root}: the folder '{name}' is not among the classes {', '.join(wanted)}{hint}. "
                "Move it, or add it to data.classes."
            )
        raise UserError(f"{root}: the class '{name}' has no folder{hint}. There are: {', '.join(found)}. Correct data.classes.")
    if len(wanted) < 2:
        raise UserError(f"{root}: only one class ('{wanted[0]}'). A classifier needs at least two class folders.")
    return tuple(wanted)


def picture_files(folder):
    """The files at any depth below `folder` that may be pictures: all visible ones but text files, sorted within each folder."""
    return (file for file in _files_below(folder) if not _is_text(file))


def _is_text(file):
    return file.suffix.lower() in TEXT_SUFFIXES


def _files_below(folder):
    """Visible files at any depth, links to folders followed; broken links count as files, so that they are reported."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith(".") and name.lower() not in JUNK)


def _size_and_time(file):
    try:
        status = file.stat()
    except OSError:  # a broken link: decoding will say so, with all other bad files
        return 0, 0
    return status.st_size, status.st_mtime_ns
