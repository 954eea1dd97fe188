"""The one exception that is meant for the person at the keyboard, and what the system's own errors mean to that person."""

import errno
import os
from pathlib import Path


class UserError(Exception):
    """Something the user can mend: the message says what is wrong, where, and the way out. Scripts print no stack trace."""


FULL = (
    "no space left on the disk. Free some space or write elsewhere (--cfg-options work_dir=...), then run the same command again."
)
REASONS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL.replace("no space left on the disk", "no space left on the disk for this user (quota)"),
    errno.EFBIG: "larger than the disk or a limit of this user (ulimit -f) allows. Choose another disk, or raise the limit.",
    errno.EACCES: "permission denied. Allow it to this user (chmod, chown), or choose another place.",
    errno.EPERM: "not permitted. Allow it to this user (chmod, chown), or choose another place.",
    errno.EROFS: "the disk is read-only. Choose another place.",
    errno.ENAMETOOLONG: "the name is too long (most disks take 255 bytes). Choose a shorter one.",
    errno.EISDIR: "a folder of this name is in the way. Move it away, or choose another name.",
    errno.ENOENT: "no such file or folder. Check the spelling.",
    errno.ELOOP: "links that lead in a circle. Remove one of them.",
    errno.EIO: "the disk reports an error (input/output error). Check the disk, or choose another one.",
}


def os_user_error(error, path, doing="written"):
    """The UserError for the OSError `error` that came while `path` was to be `doing` ('written', 'read')."""
    blocker = _no_folder(Path(path)) if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ENOENT) else None
    if blocker:
        what = "is a link that leads nowhere" if blocker.is_symlink() else "is a file"
        reason = f"{blocker} {what}, but a folder is needed there. Move it away, or choose another place."
    else:
        reason = REASONS.get(error.errno, f"{error.strerror or error}. Check that the folder exists and may be {doing}.")
    return UserError(f"{os.fspath(path)}: cannot be {doing}: {reason}")


def _no_folder(path):
    """What stands in the place of a folder in `path`, from the top, or None."""
    for place in [*reversed(path.parents), path]:
        if os.path.lexists(place) and not os.path.isdir(place):
            return place
    return None
