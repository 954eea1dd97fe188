"""Arrays in files: room for them is taken beforehand, and a record beside them says what they hold and that they are whole."""

import errno
import logging
import os
import shutil
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import atomic_path, make_folder, read_json, sha256, write_json
from common.temporary import remove_leftovers

log = logging.getLogger("run")


def write_array(path, dtype, shape, fill):
    """Write the array `path` (.npy) and its record; returns it. `fill(array)` fills it and returns its mark (see `open_array`).

    The disk's blocks are taken before anything is written, since writing to a memory map on a full disk kills the process (SIGBUS):
    a full disk is a UserError. What `fill` raises leaves nothing behind.
    """
    if path.parent.is_dir():  # before room is needed, what killed writers took of it
        remove_leftovers(path.parent, depth=0)
    with atomic_path(path) as temporary:
        array = np.lib.format.open_memmap(temporary, "w+", dtype, shape)
        _take_room(temporary, path)
        mark = fill(array)
        array.flush()
        record = {"mark": mark, "bytes": temporary.stat().st_size, "sha256": sha256(temporary)}
    array = np.load(path, mmap_mode="r")
    write_json(_record_of(path), record)
    return array


def open_array(path, mark):
    """The memory map at `path`, read-only, if it was made from `mark` and is what was written; None if it is to be made (again).

    mark: a text that is another when the array would be.
    All of it is read once, at about 1.8 GB a second, and so is in memory for what comes next.
    """
    try:
        record = read_json(_record_of(path))
        known, size, digest = record["mark"], record["bytes"], record["sha256"]
    except (UserError, KeyError):
        return None
    if known != mark or not path.is_file():
        return None
    if path.stat().st_size != size or sha256(path) != digest:
        log.warning(f"{path}: damaged (its SHA-256 is not the one in {_record_of(path).name}), so it is made again")
        return None
    return np.load(path, mmap_mode="r")


class ArrayInParts:
    """An array that takes long to make: its parts are kept in a folder beside `path`, so that whoever is killed goes on.

    shape: of the whole, (N, ...). parts: lists of the numbers of rows that are made together, which cover each row once. mark: as
    for `open_array`. Several processes may make different parts of one array; one of them joins them.
    """

    def __init__(self, path, dtype, shape, parts, mark):
        self.path, self.dtype, self.shape, self.parts, self.mark = path, np.dtype(dtype), shape, parts, mark
        self.folder = path.with_suffix(".parts")

    def missing(self):
        """Numbers of the parts that are still to be made; those of another mark are made again."""
        return [k for k, rows in enumerate(self.parts) if self._part(k, rows) is None]

    def write(self, number, values):
        """Keep `values` (rows of this part, ...)."""

        def fill(array):
            array[:] = values
            return self._mark(number)

        make_folder(self.folder)
        write_array(self._path(number), self.dtype, (len(self.parts[number]), *self.shape[1:]), fill)

    def join(self):
        """Write the whole array, remove its parts and return it. All of them must be there."""

        def fill(array):
            for number, rows in enumerate(self.parts):
                part = self._part(number, rows)
                if part is None:
                    raise UserError(f"{self._path(number)}: is missing or damaged. Run the same command again, which makes it.")
                array[rows] = part
            return self.mark

        array = write_array(self.path, self.dtype, self.shape, fill)
        shutil.rmtree(self.folder, ignore_errors=True)
        return array

    def _part(self, number, rows):
        array = open_array(self._path(number), self._mark(number))
        return array if array is not None and array.shape == (len(rows), *self.shape[1:]) and array.dtype == self.dtype else None

    def _path(self, number):
        return self.folder / f"{number}.npy"

    def _mark(self, number):
        return f"part {number} of {len(self.parts)}, {self.mark}"


def digest_of(array):
    """SHA-256, as hex, of the file that an array of `write_array` or `open_array` lies in, as its record says."""
    return read_json(_record_of(Path(array.filename)))["sha256"]


def _record_of(path):
    return path.with_suffix(".json")


def check_room(path, size):
    """UserError unless there are `size` bytes free on the disk of `path`."""
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise UserError(
            f"{path}: needs {size / 2**20:.0f} MiB, {free / 2**20:.0f} MiB are free on this disk. "
            "Free some space, choose another disk (work_dir=... or data.cache=...) or a smaller image_size."
        )


def _take_room(temporary, path):
    size = temporary.stat().st_size
    check_room(path, size)
    if not hasattr(os, "posix_fallocate"):  # Windows and macOS
        return
    with open(temporary, "rb+") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):  # disks that cannot
                raise
