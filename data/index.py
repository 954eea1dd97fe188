"""Pictures listed before any is read, in an order that is the same on every machine; those of a folder of class folders."""

import hashlib
import logging
import os
import shlex
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from common.errors import UserError
from data.listing import SYSTEM, SYSTEM_FILES, SYSTEM_FOLDERS, Listing, indented, is_system, is_text, near

log = logging.getLogger("run")

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}  # how people call them, in small letters
MODEL_SUFFIXES = {".pth", ".pt", ".ckpt", ".h5", ".keras", ".onnx", ".safetensors", ".pkl", ".pdparams"}
STATE = ["bytes", "mtime_ns", "ctime_ns", "inode"]  # what tells whether a file is still the one that was read
TYPES = {"path": "str", "label": "str", **dict.fromkeys(STATE, np.int64), "inode": np.uint64}
ROWS = 5_000  # whose Python objects, a kilobyte each, are in memory at a time
KEYS = {"train": "data.root", "validation": "data.val_root", "test": "data.test_root", "unlabelled": "data.unlabelled"}
WITHOUT_IT = "With none to spare for that, leave {} out: a fold of data.root is then held out."


@dataclass(frozen=True)
class PictureList:
    """Pictures with their labels: of class folders, of a folder without classes, or of a table."""

    root: Path  # below which the paths of `table` lie, but for absolute ones
    classes: tuple[str, ...]
    table: pd.DataFrame  # path, label ('' where there are none) and STATE, sorted by path as bytes
    source: Path  # what lists them, for messages: `root`, or a table
    rows: np.ndarray | None = None  # int64 (N,), the row of each in the table that lists them

    def shown(self, path):
        """A picture in a message."""
        return repr(path) if self.rows is None else f"row {self._row_of[path]}: {path!r}"

    @cached_property
    def _row_of(self):
        return dict(zip(self.table["path"], self.rows, strict=True))  # made for messages alone: it takes memory


def list_root(root, name="train", classes=None):
    """The `PictureList` of the part `name` (see KEYS) that lies in a folder of its own; errors as of the two functions below."""
    root = Path(root)
    if name == "unlabelled":
        return PictureList(root, (), list_unlabelled(root), root)
    return PictureList(root, *list_images(root, classes, KEYS[name]), root)


def list_images(root, classes=None, key="data.root"):
    """(classes, table path, label, bytes, mtime_ns, ctime_ns, inode) of the files in the class folders of `root`, sorted by path.

    classes: the class folders in the order wanted; None: the folder names, sorted. key: the option that named `root`. Hidden and
    system files and folders and text files are left out, which is said; all other files are taken for pictures, and decoding judges
    them. Raises UserError for a missing root, one without class folders, one that holds the parts of a data set, other folders
    than `classes`, empty classes (but of data.test_root, where it is said), folders that may not be read and names that cannot be
    written down.
    """
    root, listing, odd = Path(root), Listing(), []
    found = check_class_folders(root, classes, key, listing)
    classes = tuple(found if classes is None else classes)
    labels = classes if key != KEYS["test"] else found
    table = sorted_table(row for label in labels for row in _rows(listing, root, label, odd))
    listing.refuse_unreadable(root)
    _refuse_odd_names(root, odd)
    listing.tell_left_out(root)
    _refuse_empty_classes(root, classes, table, key)
    return classes, table


def check_class_folders(root, classes=None, key="data.root", listing=None):
    """The names of the class folders in `root`, sorted; errors as of `list_images`, as far as names tell, without a look into them.

    listing: the `Listing` that is to know what was left out.
    """
    root, listing = Path(root), listing or Listing()
    _refuse_odd_names(root, [os.fspath(root)])
    found = _class_folders(root, listing, key)
    _refuse_parts(root, classes, key)
    _refuse_odd_class_names(root, found)
    _refuse_other_classes(root, tuple(found if classes is None else classes), found, key)
    return found


def find_parts(root, classes=None):
    """{part: folder} for a `root` that holds parts of a data set (see PARTS), each with folders in it; {} for other folders.

    classes: names that mean a class. Raises UserError where two folders are the same part.
    """
    try:
        found = _class_folders(Path(root), Listing(), KEYS["train"])
    except UserError:  # told when its pictures are listed
        return {}
    names = [name for name in found if name not in (classes or ())]
    pairs = [(PARTS[name.lower()], name) for name in names if name.lower() in PARTS and _has_folders(Path(root, name))]
    parts = dict(pairs)
    if len(parts) < len(pairs):
        listed = ", ".join(name for _, name in pairs)
        raise UserError(f"{root}: two folders mean the same part of the data set ({listed}). Move or rename one of them.")
    is_class = len(parts) == 1 and len(names) > 1  # only called like one
    return {} if is_class else {part: Path(root, name) for part, name in parts.items()}


def sorted_table(rows):
    """(path, label, *STATE) of each picture as a table, by path as bytes: the same whatever the machine's language settings."""
    return gather(rows, TYPES).sort_values("path", ignore_index=True)  # code points have the order of their UTF-8


def gather(rows, types):
    """A DataFrame of the columns `types` ({name: dtype}) from an iterable of rows, which may be many."""
    rows, parts = iter(rows), []
    while not parts or len(parts[-1]) == ROWS:
        parts.append(pd.DataFrame(list(islice(rows, ROWS)), columns=list(types)).astype(types))
    return pd.concat(parts, ignore_index=True)


def find(texts, among):
    """int64: where in `among` each of `texts` is, -1: nowhere. pandas would make Python objects of all of them."""
    places = pc.index_in(pa.array(texts, pa.large_string()), pa.array(among, pa.large_string()))
    return places.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)


def list_unlabelled(root):
    """The table of `list_images` for pictures at any depth below `root`, whose folders mean nothing: all labels are ''.

    Raises UserError for a missing root, one without pictures, folders that may not be read and names that cannot be written down.
    """
    root, listing, odd = Path(root), Listing(), []
    if not root.is_dir():
        raise UserError(
            f"{root}: {'is a file' if root.exists() else 'no such folder'}. data.unlabelled must be a folder of pictures."
        )
    table = sorted_table(_rows(listing, root, "", odd))
    listing.refuse_unreadable(root)
    if table.empty and not odd:
        raise UserError(f"{root}: no pictures in it. With none to add, leave data.unlabelled out.")
    _refuse_odd_names(root, [os.fspath(root), *odd])
    listing.tell_left_out(root)
    return table


def _rows(listing, root, label, odd):
    """(path, label, *STATE) of each file below `root`/`label`; paths that are not UTF-8 are added to the list `odd` instead."""
    for place, names in listing.walk(root / label):
        inside = Path(place).relative_to(root).as_posix()
        for name in names:
            path = name if inside == "." else f"{inside}/{name}"
            if _is_utf8(path):
                yield path, label, *state_of(os.path.join(place, name))
            else:
                odd.append(path)


def picture_files(folder):
    """Names of the files at any depth below `folder` that may be pictures, as `list_images` takes them, sorted as C++ sorts paths.

    Raises UserError, which names them all, if folders may not be read.
    """
    listing = Listing()
    files = [os.path.join(place, name) for place, names in listing.walk(folder) for name in names]
    listing.refuse_unreadable(folder)
    return sorted(files, key=lambda file: os.fsencode(file).replace(os.fsencode(os.sep), b"\0"))


def fingerprint(table, classes):
    """SHA-256 over classes, paths, labels and contents: the same on every machine, another when anything changed."""
    digest = hashlib.sha256("\0".join(classes).encode())
    for path, label, content in zip(table["path"], table["label"], table["sha256"], strict=True):
        digest.update(f"\n{path}\0{label}\0{content}".encode())
    return digest.hexdigest()


def changes_between(before, now):
    """{'added': paths, 'removed': ..., 'changed': ..., 'touched': ...} between two index tables, as far as sizes and dates tell.

    touched: of the same size, but with another date or inode, such as those of a fresh copy or two that were exchanged: they may
    hold what they did, and only reading them tells.
    """
    if all(before[key].equals(now[key]) for key in ("path", *STATE)):  # as nearly always, and it takes no memory
        return {"added": [], "removed": [], "changed": [], "touched": []}
    places = find(now["path"], before["path"])
    known = places >= 0
    places, common = places[known], now["path"][known]
    differ = {key: before[key].to_numpy()[places] != now[key].to_numpy()[known] for key in STATE}
    changed = differ["bytes"]
    return {
        "added": now["path"][~known].tolist(),
        "removed": before["path"][np.isin(np.arange(len(before)), places, invert=True)].tolist(),
        "changed": common[changed].tolist(),
        "touched": common[np.any([*differ.values()], axis=0) & ~changed].tolist(),
    }


# Class folders


def _class_folders(root, listing, key):
    """The names of the folders in `root` that may be classes, sorted by bytes. Hidden and system ones are added to `listing`."""
    wanted = f"{key} must be a folder with one folder of pictures for each class."
    try:
        with os.scandir(root) as entries:
            is_folder = {entry.name: entry.is_dir() for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name))}
    except NotADirectoryError as error:
        raise UserError(f"{root}: is a file, or lies below one. {wanted}") from error
    except FileNotFoundError as error:
        raise UserError(f"{root}: no such folder. {wanted}") from error
    except OSError as error:
        raise UserError(
            f"{root}: this folder may not be read ({error.strerror}). Allow it to this user (chmod -R u+rX, chown). {wanted}"
        ) from error
    for name in is_folder:
        if is_folder[name] and is_system(name, SYSTEM_FOLDERS):
            listing.leave_out(SYSTEM, root / name)
    found = [name for name in is_folder if is_folder[name] and not is_system(name, SYSTEM_FOLDERS)]
    if not found:
        raise UserError(
            f"{root}: no class folders in it. Put the pictures of each class into a folder of its own: {root}/<class>/*.jpg"
        )
    strays = [name for name in is_folder if not is_folder[name] and not is_system(name, SYSTEM_FILES) and not is_text(name)]
    if strays:
        log.warning(f"{root}: {len(strays)} files beside the class folders are of no class and left out (such as {strays[0]!r})")
    return found


def _refuse_parts(root, classes, key):
    """Refuse a root whose folders are the parts of a data set, with the options that name them."""
    parts = find_parts(root, classes)
    if not parts:
        return
    order = {"data.root": ("train", "validation", "test"), "data.test_root": ("test", "validation", "train")}
    folders = [parts[part] for part in order.get(key, ("validation", "test", "train")) if part in parts]
    options = zip(("data.root", "data.val_root") if key == "data.root" else (key,), folders, strict=False)
    raise UserError(
        f"{root}: holds the parts of a data set ({', '.join(folder.name for folder in folders)}), each with folders in it, not the "
        f"folders of classes. Name the parts: {' '.join(shlex.quote(f'{option}={folder}') for option, folder in options)}\n"
        "If they are classes nevertheless, list all classes in data.classes."
    )


def _has_folders(folder):
    try:
        return any(Path(folder, name).is_dir() and not is_system(name, SYSTEM_FOLDERS) for name in os.listdir(folder))
    except OSError:  # told later, with all others that may not be read
        return False


def _refuse_other_classes(root, wanted, found, key):
    extra, missing = [name for name in found if name not in wanted], [name for name in wanted if name not in found]
    lines = [f"the folder '{name}' is not among the classes{near(name, wanted)}" for name in extra]
    lines += [f"the class '{name}' has no folder{near(name, found)}" for name in missing if key != KEYS["test"] or extra]
    if lines and key == "data.root":
        way_out = f"There are: {', '.join(found)}. Rename or move folders, or correct data.classes."
    elif key == KEYS["test"]:
        way_out = f"{key} must have pictures of the classes of data.root alone."
    elif lines:
        way_out = f"{key} must have pictures of every class of data.root, and of no other. {WITHOUT_IT.format(key)}"
    if lines:
        raise UserError(f"{root}: its folders are not the classes {', '.join(wanted)}:\n{indented(lines)}\n{way_out}")
    if len(wanted) < 2:
        raise UserError(f"{root}: only one class ('{wanted[0]}'). A classifier needs at least two class folders.")


def _refuse_empty_classes(root, classes, table, key):
    suffixes = {label: {os.path.splitext(path)[1].lower() for path in paths} for label, paths in table.groupby("label")["path"]}
    empty = [label for label in classes if label not in suffixes]
    if key == KEYS["test"] and not suffixes:
        raise UserError(f"{root}: no pictures in any of its class folders. Add some, or leave {key} out.")
    if empty and key == KEYS["test"]:
        log.warning(f"{root}: no pictures of the classes {', '.join(empty)}")
    elif empty:
        way_out = "Add some or remove the folder." if key == "data.root" else f"Add some. {WITHOUT_IT.format(key)}"
        raise UserError(f"{root}: no pictures in the class folder{'s' * (len(empty) > 1)} {', '.join(empty)}. {way_out}")
    models = [label for label in suffixes if suffixes[label] <= MODEL_SUFFIXES]
    if models:
        raise UserError(f"{root}: checkpoints of models, no pictures, in {', '.join(models)}. Move what is no class elsewhere.")


# Names


def _refuse_odd_class_names(root, names):
    """Refuse names that cannot stand in labels.txt, UTF-8 with a class a line."""
    odd = [name for name in names if not is_class_name(name)]
    if odd:
        raise UserError(
            f"{root}: {len(odd)} class folders have line breaks, control characters or bytes that are not UTF-8 in their names, or "
            f"nothing but blanks:\n{indented(map(repr, odd))}\nRename them: class names stand in labels.txt, one a line."
        )


def is_class_name(name):
    """Whether it may stand in a list with a name a line: more than blanks, no line breaks, control characters or odd bytes."""
    breaking = ("Cc", "Cs", "Zl", "Zp")  # control characters and line breaks, bytes that are not UTF-8, U+2028, U+2029
    return bool(name.strip()) and not any(unicodedata.category(letter) in breaking for letter in name)


def _refuse_odd_names(root, paths):
    odd = [path for path in paths if not _is_utf8(path)]
    if odd:
        raise UserError(
            f"{os.fspath(root)!r}: {len(odd)} names are not UTF-8, perhaps from a zip file of another system:\n"
            f"{indented(map(repr, odd))}\nRename them, for instance all at once: convmv -r -f gbk -t utf8 --notest FOLDER"
        )


def _is_utf8(text):
    """Whether Python did not have to stand in for bytes of a name (surrogateescape)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def state_of(file):
    """The values of STATE."""
    try:
        status = os.stat(file)
    except OSError:  # a broken link: decoding will say so, with all other bad files
        return 0, 0, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino % 2**64  # of 128 bits on some Windows disks
