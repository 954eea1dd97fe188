"""The data set as training sees it: a table of pictures, their classes, and their pixels in one memory map.

Every file is read once: the same pass hashes it, checks it, measures it and writes its pixels to the cache. A second run
compares sizes, dates and inodes, and hashes again only the files where they differ.
"""

import hashlib
import logging
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

from common.arrays import open_array, write_array
from common.errors import UserError
from common.files import exclusive, make_folder, read_csv, read_json, sha256, write_csv, write_json, write_text
from data.corrections import Remaining, correct
from data.decode import MAX_PIXELS, UnreadableImage, decode_rgb, full_size, only_read_here, read_file
from data.index import STATE, changes_between, fingerprint, gather, list_root
from data.listing import indented
from data.preprocessing import least_sides, resize_square

log = logging.getLogger("run")
FACTS = {"width": np.int64, "height": np.int64, "sha256": "str", "only_python": "str"}  # what reading a file tells
COLUMNS = ["path", "label", "width", "height", *STATE, "sha256", "only_python"]


@dataclass(frozen=True)
class ImageDataset:
    root: Path
    classes: tuple[str, ...]
    table: pd.DataFrame  # path (relative, POSIX, sorted), label ('' where there are none), and COLUMNS' facts of each file
    fingerprint: str  # of classes, paths, labels and contents; the same on every machine
    images: np.ndarray | Remaining  # memory map, uint8 (N, S, S, 3) RGB

    def __len__(self):
        return len(self.table)

    @cached_property
    def labels(self):
        """int64 (N,) positions in `classes`."""
        number = {name: k for k, name in enumerate(self.classes)}
        return self.table["label"].map(number).to_numpy(np.int64)

    @property
    def paths(self):
        """Relative POSIX paths, in order."""
        return self.table["path"].tolist()


class Squares(NamedTuple):
    """How files become pixels of the cache, see `open_dataset`."""

    size: int
    fit: str
    shrink_on_load: int

    @property
    def suffix(self):
        """Of the cache's name: what is made otherwise has another."""
        return f"{self.size}" + "_pad" * (self.fit == "pad") + f"_shrunk{self.shrink_on_load}" * bool(self.shrink_on_load)

    @property
    def at_least(self):
        return least_sides(self.size, self.shrink_on_load)


def open_dataset(root, folder, size, classes=None, name="train", **how):
    """`open_listed` of the pictures below `root`; errors as `data.index.list_root`, too."""
    return open_listed(list_root(root, name, classes), folder, size, name, **how)


def open_listed(
    listed, folder, size, name="train", fit="stretch", shrink_on_load=2, max_pixels=None, verify=False, corrections=None
):
    """The pictures of a `data.index.PictureList`, each resized to `size` x `size` pixels, with index and cache kept in `folder`.

    name: `train`, `validation`, `test` or `unlabelled`, for the files there. fit: see `data.preprocessing.resize_square`;
    shrink_on_load: JPEGs may be decoded at a smaller scale while both sides keep so many times `size`; 0: not. Each way has a
    cache of its own, while the fingerprint, which is of the files, is the same. max_pixels: larger pictures are bad files (None:
    `data.decode.MAX_PIXELS`). verify: hash every file again, whatever its size and dates say. corrections: a table as
    `data.corrections` reads it. It changes what is made of the index, which is of the files.
    Raises UserError that lists all bad files at once, and one for pictures that lie in two classes.
    """
    folder, max_pixels, classes = Path(folder), max_pixels or MAX_PIXELS, listed.classes
    index_path = folder / ("index.csv" if name == "train" else f"index_{name}.csv")
    squares = Squares(size, fit, shrink_on_load)
    cache_path = folder / "cache" / f"{name}_{squares.suffix}.npy"
    with _alone(index_path):
        before = _read_index(index_path)
        known = _recognise(listed, before, name, verify) if before is not None else None
        if known is not None and (known["width"] * known["height"] > max_pixels).any():
            known = None
        images = open_array(cache_path, _mark(known)) if known is not None else None
        if images is None:
            known, images = _decode_all(listed, squares, max_pixels, cache_path, folder)
            kinds = f", {len(classes)} classes" if classes else ""
            log.info(f"{name}: {len(known)} pictures{kinds}, cached at {size} px in {cache_path}")
        if known is not before:
            _write_index(index_path, listed, known)
    if corrections is not None:
        known, images = correct(known, images, classes, corrections)
    _check_duplicates(listed, known, corrections)
    _tell_what_only_python_reads(listed, known)
    return ImageDataset(listed.root, classes, known, fingerprint(known, classes), images)


def _mark(table):
    """Of which files the pixels in a cache are: paths and contents, whatever the labels."""
    return fingerprint(table.assign(label=""), ())


def _alone(index_path):
    """Processes that want the same pictures at once, such as folds given out to a scheduler, wait for the one that decodes them."""
    make_folder(index_path.parent)
    may_write = os.access(index_path.parent, os.W_OK)  # else it holds what another user made, to be read only
    return exclusive(index_path) if may_write else nullcontext()


def shared_contents(train, other):
    """[(path in `train`, path in `other`)] of pictures with the same content in both."""
    shared = train.table[train.table["sha256"].isin(other.table["sha256"])]
    by_content = dict(zip(shared["sha256"], shared["path"], strict=True))
    return [(by_content[c], path) for c, path in zip(other.table["sha256"], other.table["path"], strict=True) if c in by_content]


def _read_index(path):
    """The index table of an earlier run; None if there is none, or it is not what was written."""
    try:
        table = read_csv(path, texts=("path", "label", "sha256", "only_python"))
        if read_json(path.with_suffix(".json")).get("sha256") == sha256(path):
            return table
    except UserError:
        pass
    if path.exists():
        log.warning(f"{path}: damaged, so all pictures are read again")
    return None


def _write_index(path, listed, table):
    write_csv(path, table)
    mark = fingerprint(table, listed.classes)
    record = {"root": str(listed.root), "fingerprint": mark, "classes": list(listed.classes), "sha256": sha256(path)}
    write_json(path.with_suffix(".json"), record)


def _recognise(listed, known, name, verify):
    """The table of `listed` with the facts of `known`, the last run's, if every file holds what it did; else None.

    What differs is said; `known` itself is returned where nothing does.
    """
    table = listed.table
    changes = changes_between(known, table)
    touched = changes.pop("touched")
    if not any(changes.values()):
        changes["changed"] = _changed(listed.root, known if verify else known[known["path"].isin(touched)])
        changed = set(changes["changed"])
        touched = [path for path in touched if path not in changed]
    changes["with another date or inode"] = touched
    said = ", ".join(f"{len(paths)} {what} (such as {paths[0]!r})" for what, paths in changes.items() if paths)
    if any(changes[what] for what in ("added", "removed", "changed")):
        log.info(f"{name}: the pictures differ from those of the last run: {said}")
        return None
    if said:
        log.info(f"{name}: {said}, of the same content as in the last run")
    elif known["label"].equals(table["label"]):
        return known
    return table.merge(known[["path", *FACTS]], on="path", validate="one_to_one")[COLUMNS]


def _changed(root, known):
    """Those of the paths in `known` whose files cannot be read, or have another SHA-256 than there."""
    paths = known["path"].array

    def work(i):
        return hashlib.sha256(read_file(root / paths[i])).hexdigest()

    jobs = zip(_in_threads(work, len(paths), "comparing"), known["sha256"], strict=True)
    return [paths[i] for (i, job), before in jobs if job.exception() or job.result() != before]


def _decode_all(listed, squares, max_pixels, cache_path, folder):
    """(the table of `listed` with FACTS added, pixels), these at `cache_path` too. All bad files end in one UserError."""
    table = complete = listed.table

    def fill(pixels):
        nonlocal complete
        bad = []
        facts = gather(_read_pictures(listed.root, table["path"].array, pixels, squares, max_pixels, bad), FACTS)
        if bad:
            raise _bad_files_error(listed, folder, bad)
        complete = pd.concat([table, facts], axis=1)[COLUMNS]
        return _mark(complete)

    images = write_array(cache_path, np.uint8, (len(table), squares.size, squares.size, 3), fill)
    return complete, images


def _read_pictures(root, paths, pixels, squares, max_pixels, bad):
    """Fill `pixels` (N, S, S, 3); yields the values of FACTS of each file, or adds (path, reason) to `bad`."""

    def work(i):
        content = read_file(root / paths[i])
        image = decode_rgb(content, max_pixels, at_least=squares.at_least)
        pixels[i] = resize_square(image, squares.size, squares.fit)
        height, width = full_size(content, image)
        return width, height, hashlib.sha256(content).hexdigest(), only_read_here(content) or ""

    for i, job in _in_threads(work, len(paths), "decoding"):
        try:
            yield job.result()
        except UnreadableImage as error:
            bad.append((paths[i], str(error)))


def _tell_what_only_python_reads(listed, table):
    foreign = table[table["only_python"] != ""]
    if len(foreign):
        example = f"{foreign['path'].iloc[0]!r}, {foreign['only_python'].iloc[0]}"
        log.warning(
            f"{listed.source}: {len(foreign)} pictures are of a format that the C++ program and library cannot read (such as "
            f"{example}). Where those are to answer, convert such pictures to JPEG or PNG."
        )


def _in_threads(work, num, title):
    """(i, finished future) for i in 0..num-1 in order, on all cores (OpenCV releases the interpreter lock), few in flight."""
    workers = joblib.cpu_count()  # what affinity and a container leave of the machine
    with ThreadPoolExecutor(workers) as pool:
        pending, numbers = deque(), iter(tqdm(range(num), desc=title, leave=False, disable=None))
        for i in numbers:
            pending.append((i, pool.submit(work, i)))
            if len(pending) >= 8 * workers:
                yield pending.popleft()
        yield from pending


def _bad_files_error(listed, folder, bad):
    report, lines = folder / "bad_files.txt", [f"{listed.shown(path)}: {reason}" for path, reason in bad]
    write_text(report, "".join(f"{line}\n" for line in lines))
    way_out = f"Repair or remove them (all are listed in {report}), then run again."
    return UserError(f"{listed.source}: {len(bad)} files cannot be used:\n{indented(lines)}\n{way_out}")


def _check_duplicates(listed, table, corrections):
    """The same picture under two classes is an error; twice in one class is said, and `assign_folds` keeps such pairs together."""
    groups = table[is_repeated(table["sha256"])].groupby("sha256")
    copies = groups["path"].agg(list)
    clashes = copies[groups["label"].nunique() > 1]
    if len(clashes):
        lines = indented(" = ".join(map(listed.shown, paths)) for paths in clashes)
        raise UserError(
            f"{listed.source}: {len(clashes)} pictures lie in more than one class:\n{lines}\n"
            f"Keep each in the class it belongs to; copies take the same label, or 'drop', in {corrections or 'data.corrections'}."
        )
    if len(copies):
        example, labelled = " = ".join(map(repr, copies.iloc[0])), bool(table["label"].iloc[0])
        fold = "; copies share a fold" if labelled else ""
        log.warning(f"{listed.source}: {len(copies)} pictures are there more than once (such as {example}){fold}")


def is_repeated(contents):
    """bool (N,): which texts of the Series `contents` are there more than once."""
    hashes = np.fromiter(map(hash, contents), np.int64, len(contents))  # a tenth of the memory that comparing texts takes
    repeated = pd.Series(hashes).duplicated(keep=False).to_numpy(copy=True)
    repeated[repeated] = contents[repeated].duplicated(keep=False)
    return repeated
