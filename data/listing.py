"""What lies in folders of pictures: files that may be pictures, and what systems, network disks and editors left among them."""

import difflib
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError

log = logging.getLogger("run")

# Notes and annotations among pictures.
TEXT_SUFFIXES = {".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html"}
# In small letters; hidden names (.git, .DS_Store, .ipynb_checkpoints, .@__thumb) need no entry.
SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
SYSTEM_FOLDERS = {
    "__macosx", "__pycache__", "@eadir", "@tmp", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "recycler",
    "system volume information", "lost+found",
}  # fmt: skip
MAX_LISTED = 20  # things named in one message
TEXTS = "text files among the pictures"
SYSTEM = "hidden or system files and folders, or links to folders that were seen already,"


@dataclass
class Listing:
    """What was not taken for a picture, or may not be read, below the folders that were walked."""

    left_out: dict[str, tuple[int, str]] = field(default_factory=dict)  # {TEXTS or SYSTEM: how many, the first}
    unreadable: list[tuple[Path, str]] = field(default_factory=list)  # folders, each with the reason

    def walk(self, folder):
        """(place, names) of the files that may be pictures in `folder` and in each folder at any depth below it, links followed.

        Broken links count as files, so that they are reported. Each folder is visited once: a link to one that was seen, or to one
        above `folder`, is left out, since it might never end.
        """
        folder = Path(folder)
        try:
            seen = {_identity(place) for place in (folder, *folder.resolve().parents)}
        except OSError as error:
            self._note_unreadable(error)
            return
        for place, folders, names in os.walk(folder, followlinks=True, onerror=self._note_unreadable):
            folders[:] = [name for name in sorted(folders) if self._is_to_enter(Path(place, name), seen)]
            yield place, [name for name in sorted(names) if self._is_to_take(place, name)]

    def leave_out(self, kind, path):
        """Note something that is no picture, of the kind TEXTS or SYSTEM."""
        count, first = self.left_out.get(kind, (0, os.fspath(path)))
        self.left_out[kind] = count + 1, first

    def _is_to_take(self, place, name):
        kind = SYSTEM if is_system(name, SYSTEM_FILES) else TEXTS if is_text(name) else None
        if kind:
            self.leave_out(kind, os.path.join(place, name))  # a Path would intern each name
        return kind is None

    def _is_to_enter(self, folder, seen):
        if is_system(folder.name, SYSTEM_FOLDERS):
            self.leave_out(SYSTEM, folder)
            return False
        try:
            identity = _identity(folder)
        except OSError as error:
            self._note_unreadable(error)
            return False
        if identity in seen:
            self.leave_out(SYSTEM, folder)
            return False
        seen.add(identity)
        return True

    def _note_unreadable(self, error):
        self.unreadable.append((Path(error.filename), error.strerror))

    def refuse_unreadable(self, root):
        """UserError that names all folders that may not be read, if there are any."""
        if self.unreadable:
            lines = indented(f"{os.fspath(folder)!r}: {reason}" for folder, reason in self.unreadable)
            raise UserError(
                f"{root}: {len(self.unreadable)} folders may not be read:\n{lines}\n"
                "Allow it to this user (chmod -R u+rX, chown), or move them away."
            )

    def tell_left_out(self, root):
        """Log what was left out: how much, and an example."""
        for kind in (TEXTS, SYSTEM):
            if kind in self.left_out:
                count, first = self.left_out[kind]
                log.warning(f"{root}: {count} {kind} are left out (such as {os.fspath(Path(first).relative_to(root))!r})")


def _identity(folder):
    """What is equal for two names of one folder."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def is_system(name, system):
    """Whether `name` is hidden or in `system` (SYSTEM_FILES or SYSTEM_FOLDERS)."""
    return name.startswith(".") or name.lower() in system


def is_text(name):
    return os.path.splitext(name)[1].lower() in TEXT_SUFFIXES


def indented(items):
    """Lines of a message, the first `MAX_LISTED` of them and how many more there are."""
    items = list(items)
    more = [f"... and {len(items) - MAX_LISTED} more"] * (len(items) > MAX_LISTED)
    return "\n".join(f"    {item}" for item in [*items[:MAX_LISTED], *more])


def near(name, others):
    """' (near: NAME)' for a message, where one of `others` is like `name`; else nothing."""
    close = difflib.get_close_matches(name, others, n=1)
    return f" (near: {close[0]})" if close else ""
