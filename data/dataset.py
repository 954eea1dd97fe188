"""The data set as training sees it: a table of pictures, their classes, and their pixels in a cache.

Every file is read once: the same pass hashes it, checks it, measures it and writes its pixels to the cache. A second run
compares sizes, dates and inodes, and hashes again only the files where they differ.
"""

import hashlib
import logging
import os
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import exclusive, make_folder, read_csv, read_json, sha256, write_csv, write_json, write_text
from common.memory import give_back_freed_memory
from data.cache import COLUMNS, JpegCache, PixelCache, best
from data.contents import is_repeated
from data.corrections import Remaining, correct
from data.decode import MAX_PIXELS, read_file
from data.images import JpegImages
from data.index import changes_between, find, fingerprint, list_root
from data.listing import indented
from data.reading import FACTS, Reading, Squares, in_threads

log = logging.getLogger("run")


@dataclass(frozen=True)
class ImageDataset:
    root: Path
    classes: tuple[str, ...]
    table: pd.DataFrame  # path (relative, POSIX, sorted), label ('' where there are none), and COLUMNS' facts of each file
    fingerprint: str  # of classes, paths, labels and contents; the same on every machine
    images: np.ndarray | JpegImages | Remaining  # uint8 (N, S, S, 3) RGB, a memory map or what is indexed alike
    cache_format: str  # `pixels`, or `jpeg`: what is learnt of these differs slightly

    def __len__(self):
        return len(self.table)

    @cached_property
    def labels(self):
        """int64 (N,) positions in `classes`."""
        return find(self.table["label"], self.classes)

    @property
    def paths(self):
        """Relative POSIX paths, in order."""
        return self.table["path"].tolist()

    @property
    def seen(self):
        """Text that is another when the `images` would be, for what is computed of them."""
        return self.fingerprint + f" {self.cache_format}" * (self.cache_format != "pixels")


def open_dataset(root, folder, size, classes=None, name="train", **how):
    """`open_listed` of the pictures below `root`; errors as `data.index.list_root`, too."""
    return open_listed(list_root(root, name, classes), folder, size, name, **how)


def open_listed(
    listed, folder, size, name="train", *, fit="stretch", shrink_on_load=2, max_pixels=None, verify=False, corrections=None,
    cache_format="auto", threads=None,
):  # fmt: skip
    """The pictures of a `data.index.PictureList`, each resized to `size` x `size` pixels, with index and cache kept in `folder`.

    name: `train`, `validation`, `test` or `unlabelled`, for the files there. fit: see `data.preprocessing.resize_square`;
    shrink_on_load: JPEGs may be decoded at a smaller scale while both sides keep so many times `size`; 0: not. Each way has a
    cache of its own, while the fingerprint, which is of the files, is the same. max_pixels: larger pictures are bad files (None:
    `data.decode.MAX_PIXELS`). verify: hash every file again, whatever its size and dates say. corrections: a table as
    `data.corrections` reads it. It changes what is made of the index, which is of the files. cache_format: `pixels`, `jpeg` or
    `auto`: the last one that pictures of this size had in this folder, whichever their part, else pixels if the disk has room for
    them. threads: that decode JPEGs of the cache (None: all cores).
    Raises UserError that lists all bad files at once, one for pictures that lie in two classes, and one for too small a disk.
    """
    folder, max_pixels, classes = Path(folder), max_pixels or MAX_PIXELS, listed.classes
    index_path = folder / ("index.csv" if name == "train" else f"index_{name}.csv")
    reading = Reading(listed, Squares(size, fit, shrink_on_load), max_pixels)
    stem = folder / "cache" / f"{name}_{reading.squares.suffix}"
    pixels, jpeg = PixelCache(stem, reading), JpegCache(stem, reading, threads or joblib.cpu_count(), verify)
    format_path = folder / f"cache_{reading.squares.suffix}.txt"  # beside the cache: it holds where that is removed
    give_back_freed_memory()  # of the listing, which takes more than its table
    with _alone(index_path):
        last = format_path.read_text() if format_path.is_file() else ""
        caches = {"pixels": [pixels], "jpeg": [jpeg]}.get(last if cache_format == "auto" else cache_format, [pixels, jpeg])
        before = _read_index(index_path)
        known = _recognise(listed, before, name, verify) if before is not None else None
        if known is not None and (known["width"] * known["height"] > max_pixels).any():
            known = None
        cache, images = _open_first(caches, known)
        if images is None:
            cache = best(pixels, jpeg) if len(caches) > 1 else caches[0]
        if cache.name != last and os.access(folder, os.W_OK):
            write_text(format_path, cache.name)
        if images is None:
            known, images = cache.make(folder, known)
            kinds = f", {len(classes)} classes" if classes else ""
            log.info(f"{name}: {len(known)} pictures{kinds}, cached at {size} px in {cache.path}")
        if known is not before:
            _write_index(index_path, listed, known)
    if corrections is not None:
        known, images = correct(known, images, classes, corrections)
    _check_duplicates(listed, known, corrections)
    _tell_what_only_python_reads(listed, known)
    return ImageDataset(listed.root, classes, known, fingerprint(known, classes), images, cache.name)


def _open_first(caches, known):
    """(the first of `caches` that holds the pictures of the table `known`, its images), (None, None) if none does."""
    for cache in caches if known is not None else ():
        if (images := cache.open(known)) is not None:
            return cache, images
    return None, None


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
        table = read_csv(path, texts=("path", "label", "sha256", "only_python"), unsigned=("inode",))
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
    if not any(changes.values()) and (verify or touched):
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

    jobs = zip(in_threads(work, range(len(paths)), "comparing"), known["sha256"], strict=True)
    return [paths[i] for (i, job), before in jobs if job.exception() or job.result() != before]


def _tell_what_only_python_reads(listed, table):
    is_foreign = table["only_python"] != ""
    if is_foreign.any():
        foreign = table[is_foreign]
        example = f"{foreign['path'].iloc[0]!r}, {foreign['only_python'].iloc[0]}"
        log.warning(
            f"{listed.source}: {len(foreign)} pictures are of a format that the C++ program and library cannot read (such as "
            f"{example}). Where those are to answer, convert such pictures to JPEG or PNG."
        )


def _check_duplicates(listed, table, corrections):
    """The same picture under two classes is an error; twice in one class is said, and `assign_folds` keeps such pairs together."""
    repeated = is_repeated(table["sha256"])
    if not repeated.any():  # as often, and any other look at some rows of a table may copy them all
        return
    groups = table[repeated].groupby("sha256")
    copies = groups["path"].agg(list)
    clashes = copies[groups["label"].nunique() > 1]
    if len(clashes):
        lines = indented(" = ".join(map(listed.shown, paths)) for paths in clashes)
        raise UserError(
            f"{listed.source}: {len(clashes)} pictures lie in more than one class:\n{lines}\n"
            f"Keep each in the class it belongs to; copies take the same label, or 'drop', in {corrections or 'data.corrections'}."
        )
    example, labelled = " = ".join(map(repr, copies.iloc[0])), bool(table["label"].iloc[0])
    fold = "; copies share a fold" if labelled else ""
    log.warning(f"{listed.source}: {len(copies)} pictures are there more than once (such as {example}){fold}")
