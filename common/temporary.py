"""Names for files and folders that are being written, and the removal of those whose writer was killed."""

import contextlib
import functools
import hashlib
import logging
import os
import platform
import re
import secrets
import shutil
import time
from pathlib import Path

log = logging.getLogger("run")
DAY = 24 * 3600
NAME = re.compile(r"\.tmp-(?P<machine>[\w.]+)-(?P<pid>\d+)-[0-9a-f]{8}(\.\w+)?")


def temporary_beside(path):
    """A hidden name in the folder of `path` that no other process uses, on this machine or another; its suffix stays.

    It is short whatever the length of the final name, and says who writes it: `.tmp-<machine>-<process>-<random>.<suffix>`.
    """
    suffix = path.suffix if re.fullmatch(r"\.\w{1,16}", path.suffix) else ""
    return path.with_name(f".tmp-{_machine()}-{os.getpid()}-{secrets.token_hex(4)}{suffix}")


def remove_leftovers(folder, depth=None):
    """Remove below `folder` (links are not followed) what writers that no longer live have left; returns how many things.

    A writer of this machine is gone when its process is; one elsewhere (another host or container on a shared disk) when nothing
    was written for a day. depth: how many levels of folders to enter, None for all.
    """
    folder, count = Path(folder), 0
    for place, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            count += _is_leftover(Path(place, name)) and remove(Path(place, name))
        level = len(Path(place).parts) - len(folder.parts)
        folders[:] = [name for name in folders if not NAME.fullmatch(name)] if depth is None or level < depth else []
    if count:
        log.info(f"{folder}: removed {count} unfinished files or folders of runs that were killed")
    return count


def remove(path):
    """Remove a file, a link or a folder with all that is in it, as far as that is possible; True if it is gone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    return not os.path.lexists(path)


def _is_leftover(path):
    writer = NAME.fullmatch(path.name)
    if not writer:
        return False
    if writer["machine"] == _machine() and not _is_alive(int(writer["pid"])):
        return True
    with contextlib.suppress(OSError):
        return time.time() - path.lstat().st_mtime > DAY
    return False


def _is_alive(pid):
    if os.name != "posix":  # where sending "no signal" would end the process
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


@functools.cache
def _machine():
    """The host's name and eight digits; equal for two processes only if each can see whether the other lives.

    Containers may share a host's name, and equal process numbers in them mean different processes: so the digits are of the boot
    and of the namespace of process numbers too, where the system tells them.
    """
    facts = [platform.node()]
    with contextlib.suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with contextlib.suppress(OSError):
        facts.append(os.readlink("/proc/self/ns/pid"))
    digits = hashlib.sha256("\0".join(facts).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9.]", "_", platform.node())[:40] + "." + digits
