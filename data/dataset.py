"""The data set as training sees it: a table of pictures, their classes, and their pixels in one memory map.

Every file is read once: the same pass hashes it, checks it, measures it and writes its pixels to the cache. A second run
compares sizes and times only.
"""

import hashlib
import logging
import os
import shutil
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from common.errors import UserError
from common.files import atomic_path, write_csv, write_json, write_text
from data.decode import UnreadableImage, decode_rgb
from data.index import describe_changes, fingerprint, list_images

log = logging.getLogger("run")
PADDING = 128  # grey beside pictures that keep their proportions: next to 0 once pixels are normalised
MAX_LISTED = 20  # bad files named in the message itself; all of them are in bad_files.txt


@dataclass(frozen=True)
class ImageDataset:
    root: Path
    classes: tuple[str, ...]
    table: pd.DataFrame  # path (relative, POSIX, sorted), label, width, height, bytes, mtime_ns, sha256
    fingerprint: str  # of classes, paths, labels and contents; the same on every machine
    images: np.ndarray  # memory map, uint8 (N, S, S, 3) RGB

    def __len__(self):
        return len(self.table)

    @property
    def labels(self):
        """int64 (N,) positions in `classes`."""
        number = {name: k for k, name in enumerate(self.classes)}
        return self.table["label"].map(number).to_numpy(np.int64)

    @property
    def paths(self):
        """Relative POSIX paths, in order."""
        return self.table["path"].tolist()


def open_dataset(root, folder, size, classes=None, name="train", fit="stretch"):
    """The pictures below `root`, each resized to `size` x `size` pixels, with index and cache kept in `folder`.

    fit: see `resize_square`; each has a cache of its own, while the fingerprint, which is of the files, is the same.
    Raises UserError for anything wrong with the root or the classes, and one that lists all bad files at once.
    """
    root, folder = Path(root), Path(folder)
    classes, table = list_images(root, classes)
    index_path = folder / ("index.csv" if name == "train" else f"index_{name}.csv")
    cache_path = folder / "cache" / (f"{name}_{size}.npy" if fit == "stretch" else f"{name}_{size}_{fit}.npy")
    known = _read_index(index_path)
    changes = describe_changes(known, table) if known is not None else ""
    if known is not None and changes:
        log.info(f"{name}: the pictures differ from those of the last run: {changes}")
    if known is not None and not changes and list(known["label"]) == list(table["label"]):
        mark = fingerprint(known, classes)
        images = _open_cache(cache_path, mark)
        if images is not None:
            return ImageDataset(root, classes, known, mark, images)
    table = _decode_all(root, table, size, fit, cache_path, folder)
    _check_duplicates(root, table)
    mark = fingerprint(table, classes)
    write_csv(index_path, table)
    write_json(index_path.with_suffix(".json"), {"root": str(root), "fingerprint": mark, "classes": list(classes)})
    write_text(cache_path.with_suffix(".fingerprint"), mark)
    log.info(f"{name}: {len(table)} pictures, {len(classes)} classes, cached at {size} px in {cache_path}")
    return ImageDataset(root, classes, table, mark, np.load(cache_path, mmap_mode="r"))


def shared_contents(train, other):
    """[(path in `train`, path in `other`)] of pictures with the same content in both."""
    by_content = dict(zip(train.table["sha256"], train.table["path"], strict=True))
    return [(by_content[c], path) for c, path in zip(other.table["sha256"], other.table["path"], strict=True) if c in by_content]


def resize_square(pixels, size, fit="stretch"):
    """uint8 (H, W, 3) -> (size, size, 3), the whole picture.

    fit: `stretch` gives up its proportions, `pad` keeps them and fills the shorter side up with grey, alike on both sides.
    """
    longer = max(pixels.shape[:2])
    interpolation = cv2.INTER_AREA if size < longer else cv2.INTER_LINEAR
    if fit == "stretch":
        return cv2.resize(pixels, (size, size), interpolation=interpolation)
    height, width = (max(1, (2 * side * size + longer) // (2 * longer)) for side in pixels.shape[:2])  # rounded, as in C++
    top, left = (size - height) // 2, (size - width) // 2
    square = np.full((size, size, 3), PADDING, np.uint8)
    square[top : top + height, left : left + width] = cv2.resize(pixels, (width, height), interpolation=interpolation)
    return square


def _read_index(path):
    """The index table of an earlier run, or None."""
    try:
        return pd.read_csv(path, dtype={"path": str, "label": str, "sha256": str}, keep_default_na=False, na_values={})
    except (FileNotFoundError, ValueError):
        return None


def _open_cache(path, mark):
    """The memory map at `path` if it holds the pictures with the fingerprint `mark`, else None."""
    note = path.with_suffix(".fingerprint")
    if path.is_file() and note.is_file() and note.read_text() == mark:
        return np.load(path, mmap_mode="r")
    return None


def _decode_all(root, table, size, fit, cache_path, folder):
    """`table` with width, height and sha256 added; the pixels go to `cache_path`. All bad files end in one UserError."""
    _check_disk_space(cache_path, len(table) * size * size * 3)
    cache_path.with_suffix(".fingerprint").unlink(missing_ok=True)
    facts, bad = [None] * len(table), []
    with atomic_path(cache_path) as temporary:
        pixels = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(table), size, size, 3))

        def work(i):
            content = (root / table["path"][i]).read_bytes()
            image = decode_rgb(content)
            pixels[i] = resize_square(image, size, fit)
            return image.shape[1], image.shape[0], hashlib.sha256(content).hexdigest()

        for i, job in _in_threads(work, len(table)):
            try:
                facts[i] = job.result()
            except UnreadableImage as error:
                bad.append((table["path"][i], str(error)))
            except OSError as error:
                bad.append((table["path"][i], f"cannot be opened ({error.strerror or error})"))
        pixels.flush()
        if bad:
            raise _bad_files_error(root, folder, bad)
    width, height, digests = zip(*facts, strict=True)
    return table.assign(width=width, height=height, sha256=digests)[
        ["path", "label", "width", "height", "bytes", "mtime_ns", "sha256"]
    ]


def _in_threads(work, num):
    """(i, finished future) for i in 0..num-1 in order, on all cores (OpenCV releases the interpreter lock), few in flight."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        pending, numbers = deque(), iter(tqdm(range(num), desc="decoding", leave=False, disable=None))
        for i in numbers:
            pending.append((i, pool.submit(work, i)))
            if len(pending) >= 8 * workers:
                yield pending.popleft()
        yield from pending


def _bad_files_error(root, folder, bad):
    report = folder / "bad_files.txt"
    write_text(report, "".join(f"{path!r}: {reason}\n" for path, reason in bad))
    lines = "\n".join(f"    {path!r}: {reason}" for path, reason in bad[:MAX_LISTED])
    more = f"\n    ... and {len(bad) - MAX_LISTED} more" if len(bad) > MAX_LISTED else ""
    return UserError(
        f"{root}: {len(bad)} files cannot be used:\n{lines}{more}\n"
        f"Repair or remove them (all are listed in {report}), then run again."
    )


def _check_disk_space(path, needed):
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise UserError(
            f"{path.parent}: the pixel cache needs {needed / 2**20:.0f} MiB, {free / 2**20:.0f} MiB are free. "
            "Free some space, choose another disk (work_dir=...) or a smaller image_size."
        )


def _check_duplicates(root, table):
    """The same picture under two classes is an error; twice in one class is said, and `assign_folds` keeps such pairs together."""
    groups = [group for _, group in table.groupby("sha256") if len(group) > 1]
    clashes = [group for group in groups if group["label"].nunique() > 1]
    if clashes:
        lines = "\n".join("    " + " = ".join(map(repr, group["path"])) for group in clashes[:MAX_LISTED])
        raise UserError(
            f"{root}: {len(clashes)} pictures lie in more than one class:\n{lines}\nKeep each in the class it belongs to."
        )
    if groups:
        example = " = ".join(map(repr, groups[0]["path"]))
        log.warning(f"{root}: {len(groups)} pictures are there more than once (such as {example}); copies share a fold")
