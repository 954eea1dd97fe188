"""Where the squares of a picture list are kept: as pixels, in one memory map; or as JPEGs, in a few large files.

Both are made by one pass over the files (`data.reading.Reading`), and opened without it after a look at their SHA-256.
"""

import hashlib
import logging
import os
import re
import shutil
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from common.arrays import check_room, open_array, write_array
from common.errors import UserError
from common.files import atomic_path, make_folder, read_json, write_json
from common.temporary import remove_leftovers
from data.decode import read_file
from data.images import QUALITY, JpegImages, encode
from data.index import STATE, fingerprint, gather
from data.reading import FACTS, in_threads

log = logging.getLogger("run")
COLUMNS = ["path", "label", "width", "height", *STATE, "sha256", "only_python"]
CONTENT = ["path", "sha256"]
PICTURES = 10_000  # in one file of JPEGs at most
FILE = 2**31  # bytes of the pixels of the pictures in one file, which as JPEGs are some times smaller
SAMPLE = 64  # pictures at most that tell how large all will be as JPEGs
FILLED = 0.9  # share of the free space that `auto` gives to pixels: a run needs some besides


class PixelCache:
    """The file `<stem>.npy`, and a record of which pictures it is."""

    name = "pixels"

    def __init__(self, stem, reading):
        self.path, self.reading = Path(f"{stem}.npy"), reading
        self.shape = (len(reading.listed.table), reading.squares.size, reading.squares.size, 3)
        self.num_bytes = int(np.prod(self.shape, dtype=np.int64))

    def open(self, known):
        """The memory map uint8 (N, S, S, 3) of the pictures in the table `known`, None where it is to be made."""
        return open_array(self.path, _mark(known))

    def make(self, folder, known=None):
        """(the list's table with FACTS, images). `folder`: where bad files, which raise a UserError, are listed."""
        table = complete = self.reading.listed.table

        def fill(pixels):
            nonlocal complete
            facts = gather((found for found, _ in self.reading.read(range(len(table)), pixels.__setitem__)), FACTS)
            self.reading.refuse_bad(folder)
            complete = _with_facts(table, facts)
            return _mark(complete)

        if self.free() < self.num_bytes <= self.free() + self._replaced():
            self.path.unlink()  # there is no room for both
        images = write_array(self.path, np.uint8, self.shape, fill)
        return complete, images

    def fits(self):
        return self.num_bytes <= FILLED * (self.free() + self._replaced())

    def free(self):
        """Bytes on the disk, after what killed writers took of it is given back."""
        make_folder(self.path.parent)
        remove_leftovers(self.path.parent, depth=0)
        return shutil.disk_usage(self.path.parent).free

    def _replaced(self):
        """Bytes of the pixels of other pictures that it takes the place of."""
        return self.path.stat().st_size if self.path.is_file() else 0


class JpegCache:
    """The folder `<stem>.jpeg`: files with as many JPEGs each, and beside each a record of which pictures they are.

    Whoever is killed goes on behind the last whole file; where pictures changed, the files that hold them are made again.
    """

    name = "jpeg"

    def __init__(self, stem, reading, threads=1, verify=False):
        """threads: that decode, see `JpegImages`. verify: hash the pictures of a file again, whatever their sizes and dates say."""
        self.path, self.reading, self.threads, self.verify = Path(f"{stem}.jpeg"), reading, threads, verify
        self.table, step = reading.listed.table, max(1, min(PICTURES, FILE // (3 * reading.squares.size**2)))
        self.rows = [range(i, min(i + step, len(self.table))) for i in range(0, len(self.table), step)]  # of each file

    def open(self, known):
        """`JpegImages` of the pictures in the table `known`, None where some are to be made."""
        files = []
        for number in range(len(self.rows)):
            if (file := self._whole(number, known, CONTENT)) is None:
                return None
            files.append(file)
        self._keep_state(files, known)
        return self._images(files)

    def make(self, folder, known=None):
        """As `PixelCache.make`. known: the whole table, where it is known and the JPEGs alone are missing or damaged."""
        make_folder(self.path)
        remove_leftovers(self.path, depth=0)
        table, columns = (self.table, ["path", *STATE]) if known is None else (known, CONTENT)
        files = [self._whole(number, table, columns) for number in range(len(self.rows))]
        if self.verify and known is None:
            files = [file and self._is_unchanged(file[0]) and file for file in files]
        there = sum(len(file[0]) for file in files if file)
        if there:
            log.info(f"{self.path}: goes on with the {there} pictures that are there of {len(self.table)}")
        if there < len(self.table):
            replaced = sum(self._size(number) for number, file in enumerate(files) if not file)
            check_room(self.path, int((len(self.table) - there) * self._mean_length) - replaced)
        files = [file or self._write(number) for number, file in enumerate(files)]
        self.reading.refuse_bad(folder)
        self._remove_others()
        if known is None:
            known = pd.concat([noted for noted, _ in files], ignore_index=True)
            known = known.assign(label=self.table["label"].to_numpy())[COLUMNS]
        self._keep_state(files, known)
        return known, self._images(files)

    @property
    def num_bytes(self):
        """About how many it takes."""
        return int(len(self.table) * self._mean_length)

    @cached_property
    def _mean_length(self):
        """In bytes, of some pictures."""
        rows = np.linspace(0, len(self.table) - 1, min(SAMPLE, 1 + len(self.table) // 16)).astype(int)
        lengths = [len(jpeg) for _, jpeg in replace(self.reading, bad=[]).read(rows, _encoded, "measuring")]
        return np.mean(lengths) if lengths else 0.0

    def _write(self, number):
        """Write a file and its record; returns what `_whole` does, None where there are bad pictures among it."""
        path, rows = self._file(number), self.rows[number]
        self._record_file(number).unlink(missing_ok=True)
        digest, lengths, facts = hashlib.sha256(), [], []
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            for found, jpeg in self.reading.read(rows, _encoded, f"decoding, file {number + 1} of {len(self.rows)}"):
                file.write(jpeg)
                digest.update(jpeg)
                lengths.append(len(jpeg))
                facts.append(found)
        if len(facts) < len(rows):
            return None
        noted = _with_facts(self.table.iloc[rows], gather(facts, FACTS)).drop(columns="label").assign(length=lengths)
        self._note(number, noted, digest.hexdigest())
        return noted, _mapped(path)

    def _note(self, number, noted, digest):
        write_json(self._record_file(number), {"quality": QUALITY, "sha256": digest, "pictures": noted.to_dict("list")})

    def _whole(self, number, table, columns):
        """(the table noted of a file, its bytes), if its pictures are those of `table` in these columns, and it is undamaged."""
        record, path = self._record(number, table, columns), self._file(number)
        if record is None or not path.is_file():
            return None
        noted, digest = record
        if self._size(number) == noted["length"].sum() and hashlib.sha256(content := _mapped(path)).hexdigest() == digest:
            return noted, content
        log.warning(f"{path}: damaged (its SHA-256 is not the one in {self._record_file(number).name}), so it is made again")
        return None

    def _record(self, number, table, columns):
        """(the table noted of a file, its SHA-256), if its pictures are those of `table` in these columns."""
        try:
            record, wanted = read_json(self._record_file(number)), table.iloc[self.rows[number]]
            types = {name: self.table[name].dtype for name in STATE} | {"length": np.int64}  # inodes are unsigned
            noted = pd.DataFrame(record["pictures"]).astype(types)
            same = all(noted[name].tolist() == wanted[name].tolist() for name in columns) and record["quality"] == QUALITY
            small = (noted["width"] * noted["height"]).max() <= self.reading.max_pixels
            return (noted, record["sha256"]) if same and small else None
        except (UserError, KeyError, TypeError, ValueError):
            return None

    def _keep_state(self, files, known):
        """Where the dates or inodes of the same pictures are other ones by now, note them, for when some pictures change."""
        for number, (noted, content) in enumerate(files):
            now = known.iloc[self.rows[number]][STATE].reset_index(drop=True)
            if not noted[STATE].equals(now.astype(noted[STATE].dtypes)) and os.access(self.path, os.W_OK):
                self._note(number, noted.assign(**now), hashlib.sha256(content).hexdigest())

    def _is_unchanged(self, noted):
        """Have the pictures the content that is noted?"""
        root = self.reading.listed.root
        jobs = in_threads(lambda path: hashlib.sha256(read_file(root / path)).hexdigest(), noted["path"].array, "comparing")
        return all(not job.exception() and job.result() == was for (_, job), was in zip(jobs, noted["sha256"], strict=True))

    def _images(self, files):
        paths = [self._file(number) for number in range(len(files))]
        lengths = [noted["length"].to_numpy() for noted, _ in files]
        return JpegImages(paths, [content for _, content in files], lengths, self.reading.squares.size, self.threads)

    def _remove_others(self):
        """What a longer list left."""
        ours = {path for number in range(len(self.rows)) for path in (self._file(number), self._record_file(number))}
        for path in set(self.path.iterdir()) - ours:
            if re.fullmatch(r"\d+\.(jpegs|json)", path.name):
                path.unlink()

    def _size(self, number):
        return self._file(number).stat().st_size if self._file(number).is_file() else 0

    def _file(self, number):
        return self.path / f"{number}.jpegs"

    def _record_file(self, number):
        return self._file(number).with_suffix(".json")


def best(pixels, jpeg):
    """The cache that is to be made: JPEGs where pixels have no room, which is said. Pixels of other pictures make room for them."""
    if pixels.fits():
        return pixels
    as_pixels, free, as_jpegs = (f"{size / 2**30:.1f} GiB" for size in (pixels.num_bytes, pixels.free(), jpeg.num_bytes))
    log.info(
        f"{jpeg.path}: pictures are kept as JPEGs, about {as_jpegs}; their pixels would take {as_pixels}, and {free} are free, of "
        "which the run needs some (data.cache_format)"
    )
    pixels.path.unlink(missing_ok=True)
    return jpeg


def _encoded(_, square):
    return encode(square)


def _mapped(path):
    """uint8 (bytes,)."""
    return np.asarray(np.memmap(path, np.uint8, "r"))


def _with_facts(table, facts):
    return pd.concat([table.reset_index(drop=True), facts], axis=1)[COLUMNS]


def _mark(table):
    """Of which files the pixels are: paths and contents, whatever the labels."""
    return fingerprint(table.assign(label=""), ())
