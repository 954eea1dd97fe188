"""Files that appear whole or not at all: write beside, fsync, rename."""

import errno
import hashlib
import json
import os
from contextlib import contextmanager
from pathlib import Path

from common.errors import UserError


@contextmanager
def atomic_path(path):
    """Yield a temporary path beside `path`; when the block ends well it is flushed to disk and renamed to `path`.

    When the block raises, nothing is left behind and an older `path` stays as it was. A full disk becomes a UserError.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _as_user_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text):
    """Write `text` (UTF-8) to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path, value):
    """Write `value` as indented JSON to `path` atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_csv(path, table):
    """Write the DataFrame `table` without its index to `path` atomically; floats keep enough digits to read back equal."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")


def read_json(path):
    """The value in the JSON file `path`; UserError if it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file.") from error
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}). Delete it and run the script that writes it again.") from error


def sha256(path):
    """The SHA-256 of a file's content, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder):
    """Make the rename itself durable (POSIX; other systems have no such call)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _as_user_error(error, path):
    if error.errno == errno.ENOSPC:
        return UserError(
            f"{path}: no space left on the disk. Free some space or write elsewhere (--cfg-options work_dir=...), "
            "then run the same command again."
        )
    return UserError(f"{path}: cannot be written: {error.strerror or error}. Check that the folder exists and may be written to.")
