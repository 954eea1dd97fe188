"""Files and folders that appear whole or not at all (write beside, fsync, rename), and digests that show that they still are."""

import csv
import errno
import hashlib
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from filelock import FileLock, Timeout
from pandas.api.types import is_numeric_dtype

from common.errors import UserError, os_user_error
from common.temporary import remove, remove_leftovers, temporary_beside

log = logging.getLogger("run")

# Writing


@contextmanager
def atomic_path(path):
    """Yield a temporary path beside `path`; when the block ends well it is flushed to disk and renamed to `path`.

    When the block raises, nothing is left behind and an older `path` stays as it was. A full disk, whatever the block made of it,
    and every other reason why `path` cannot be written become one UserError.
    """
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        with _explained(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)
    finally:
        remove(temporary)


@contextmanager
def staged_folder(final):
    """Yield an empty folder beside `final`; when the block ends well it takes the place of `final`, else it is removed.

    Errors as in `atomic_path`. Other processes that want the same folder wait until this one has done.
    """
    final = Path(final)
    staging, old = temporary_beside(final), final.with_name(f".{final.name}.old")
    if final.exists() and not final.is_dir():
        raise UserError(f"{final}: is a file, but a folder goes there. Move it away, then run the same command again.")
    with exclusive(final):
        try:
            with _explained(final, staging):
                _restore(old, final)  # of a run that was killed between the two renames
                remove_leftovers(final.parent, depth=0)
                staging.mkdir()
                yield staging
                _sync_tree(staging)
                if final.exists():
                    final.rename(old)
                staging.rename(final)
                _sync(final.parent)
        finally:
            with suppress(OSError):
                _restore(old, final)
            remove(staging)


@contextmanager
def exclusive(path):
    """Only one process at a time is in this block for the same `path`; the others wait. The lock ends with its process."""
    path = Path(path)
    make_folder(path.parent)
    lock = FileLock(path.with_name(f".{path.name}.lock"), is_singleton=True)  # one for all: a process may take it twice
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info(f"{path}: another process writes it; waiting for it")
        lock.acquire()
    except OSError as error:
        raise os_user_error(error, path) from error
    try:
        yield
    finally:
        lock.release()


def make_folder(path):
    """Make the folder `path` and those above it where they are missing; UserError if it cannot be."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise os_user_error(error, path) from error


def check_writable(folder):
    """Create `folder` unless it is there, and a file in it for a moment; UserError where that cannot be.

    For scripts that would find out after hours of work.
    """
    make_folder(folder)
    probe = temporary_beside(Path(folder, "probe"))
    try:
        probe.touch()
    except OSError as error:
        raise os_user_error(error, folder) from error
    finally:
        remove(probe)


def write_text(path, text):
    """Write `text` (UTF-8) to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path, value):
    """Write `value` as indented JSON to `path` atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_csv(path, table):
    """Write the DataFrame `table` without its index to `path` atomically; `read_csv` reads back equal texts and floats."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n", quoting=csv_quoting(table))


def csv_quoting(table):
    """How `DataFrame.to_csv` must quote `table`: by itself it leaves a lone carriage return bare, which ends a row."""
    columns = (table[name] for name in table if not is_numeric_dtype(table[name]))
    texts = (column.astype("str").str for column in (table.columns, *columns))
    return csv.QUOTE_NONNUMERIC if any(text.contains("\r", regex=False).any() for text in texts) else csv.QUOTE_MINIMAL


# Reading


def read_json(path):
    """The dict in the JSON file `path`; UserError if it is missing, may not be read or holds anything else."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("no object in braces")
        return value
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file.") from error
    except OSError as error:
        raise os_user_error(error, path, "read") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}). Delete it and run the script that writes it again.") from error


def read_csv(path, texts=(), unsigned=(), columns=None):
    """The DataFrame that `write_csv` wrote; the columns `texts` as text, whatever they look like ('007'), `unsigned` as uint64.

    columns: those alone. Raises UserError if it is missing, may not be read or is no table.
    """
    types = dict.fromkeys(texts, pa.large_string()) | dict.fromkeys(unsigned, pa.uint64())
    how = _how_to_read(types, columns)
    with _told(path):
        try:
            with pa_csv.open_csv(path, **how) as reader:  # a part at a time, and no Python object for each text
                table = reader.read_all()
        except pa.ArrowInvalid:  # such as numbers that are whole in the first part alone
            table = pa_csv.read_csv(path, **how)
        if len(set(table.column_names)) < table.num_columns:
            raise ValueError("two columns have the same name")
        return table.to_pandas(split_blocks=True, self_destruct=True)


def csv_columns(path):
    """The names of the columns of the table at `path`; errors as of `read_csv`."""
    with _told(path), pa_csv.open_csv(path, **_how_to_read({}, None)) as reader:
        return reader.schema.names


def csv_numbers(path, columns):
    """Yield float64 (M, len(columns)) of the rows of the table at `path`, part after part; errors as of `read_csv`.

    Empty cells are NaN.
    """
    with _told(path), pa_csv.open_csv(path, **_how_to_read(dict.fromkeys(columns, pa.float64()), columns)) as reader:
        for part in reader:
            yield np.stack([part[name].to_numpy(zero_copy_only=False) for name in columns], axis=1)


def _how_to_read(types, columns):
    return {
        "read_options": pa_csv.ReadOptions(use_threads=False),
        "parse_options": pa_csv.ParseOptions(newlines_in_values=True),
        "convert_options": pa_csv.ConvertOptions(column_types=types, include_columns=columns),
    }


@contextmanager
def _told(path):
    """Whatever is wrong with the table at `path`, as a UserError."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file.") from error
    except OSError as error:
        raise os_user_error(error, path, "read") from error
    except ValueError as error:
        raise UserError(f"{path}: cannot be read as CSV ({error}). Delete it and run the script that writes it again.") from error


# Digests


def sha256(path):
    """The SHA-256 of a file's content, as hex; UserError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise os_user_error(error, path, "read") from error


def check_digest(path, expected, way_out="Copy or export it again."):
    """UserError unless the file `path` is there with the SHA-256 `expected`."""
    if not Path(path).is_file():
        raise UserError(f"{path}: not there. {way_out}")
    if sha256(path) != expected:
        raise UserError(f"{path}: damaged, or not the file that was written: its SHA-256 is another. {way_out}")


def check_files(folder, files, names=None, way_out="Copy or export it again."):
    """`check_digest` of those files in `folder` that a manifest's `files` ({name: {"sha256": hex}}) lists; `names`: of these only.

    A name that the manifest does not list is refused too.
    """
    for name in files if names is None else names:
        try:
            expected = files[name]["sha256"]
        except (KeyError, TypeError) as error:
            raise UserError(f"{Path(folder, name)}: manifest.json does not say what must be in it. {way_out}") from error
        check_digest(Path(folder, name), expected, way_out)


# Behind them


@contextmanager
def _explained(path, temporary):
    """Turn what the block raises while it writes `temporary` into a UserError if the reason is that it cannot be written."""
    try:
        yield
    except UserError:
        raise
    except UnicodeEncodeError as error:
        text = error.object[max(0, error.start - 40) : error.end + 40]
        raise UserError(f"{path}: cannot be written: {text!r} is not Unicode text. Rename what is called so.") from error
    except Exception as error:
        reason = error if isinstance(error, OSError) and error.errno else _disk_error(path.parent)
        if reason is None:
            raise
        if _is_about(reason.filename, path, temporary):
            raise os_user_error(reason, path) from error
        raise os_user_error(reason, reason.filename, "used") from error


def _is_about(name, path, temporary):
    """Whether an OSError's file name is of what is written, and not of something that the block reads meanwhile."""
    if not isinstance(name, str):
        return True
    return name.startswith(str(temporary)) or Path(name) in (path, *path.parents)


def _disk_error(folder):
    """The OSError that writing a megabyte into `folder` ends in now, or None.

    Libraries tell a full disk in words of their own (`torch.save`: "unexpected pos 576 vs 534").
    """
    probe = temporary_beside(folder / "probe")
    try:
        with open(probe, "wb") as file:
            file.write(bytes(2**20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = None
        return error
    finally:
        remove(probe)
    return None


def _sync(path):
    """Make a file's content, or a rename in a folder (POSIX; other systems have no such call), durable."""
    is_folder = path.is_dir()
    if is_folder and os.name != "posix":
        return
    try:
        descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        # Some network disks cannot do it for folders, and one may be allowed to write into a folder but not to read it.
        if not is_folder or error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):
            raise


def _sync_tree(folder):
    """`_sync` all that is in `folder`, many at a time: disks join such requests (1260 files: 0.2 s, one by one 2.4 s)."""
    paths = [Path(place, name) for place, _, names in os.walk(folder) for name in (*names, ".")]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(_sync, (path for path in paths if not path.is_symlink())))


def _restore(old, final):
    """Put the older folder back if nothing took its place, else remove it."""
    if os.path.lexists(old):
        if os.path.lexists(final):
            remove(old)
        else:
            old.rename(final)
