"""Picture files, each read once, by threads: the same pass hashes it, checks it, measures it and squares it."""

import hashlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import joblib
import numpy as np
from tqdm import tqdm

from common.errors import UserError
from common.files import write_text
from data.decode import UnreadableImage, decode_rgb, full_size, only_read_here, read_file
from data.index import PictureList
from data.listing import indented
from data.preprocessing import least_sides, resize_square

FACTS = {"width": np.int64, "height": np.int64, "sha256": "str", "only_python": "str"}  # what reading a file tells


class Squares(NamedTuple):
    """How files become pixels, see `data.dataset.open_dataset`."""

    size: int
    fit: str
    shrink_on_load: int

    @property
    def suffix(self):
        """Of a cache's name: what is made otherwise has another."""
        return f"{self.size}" + "_pad" * (self.fit == "pad") + f"_shrunk{self.shrink_on_load}" * bool(self.shrink_on_load)

    @property
    def at_least(self):
        return least_sides(self.size, self.shrink_on_load)


@dataclass
class Reading:
    """The files of a list, and what was wrong with those that were read."""

    listed: PictureList
    squares: Squares
    max_pixels: int
    bad: list[tuple[str, str]] = field(default_factory=list)  # path and reason

    def read(self, rows, keep, title="decoding"):
        """Yields, in order, (values of FACTS, what `keep(row, square)` made of the uint8 square) of each good file among `rows`.

        The threads call `keep`. Bad files are added to `bad`.
        """
        paths = self.listed.table["path"].array

        def work(row):
            content = read_file(self.listed.root / paths[row])
            image = decode_rgb(content, self.max_pixels, at_least=self.squares.at_least)
            kept = keep(row, resize_square(image, self.squares.size, self.squares.fit))
            height, width = full_size(content, image)
            return (width, height, hashlib.sha256(content).hexdigest(), only_read_here(content) or ""), kept

        for row, job in in_threads(work, rows, title):
            try:
                yield job.result()
            except UnreadableImage as error:
                self.bad.append((paths[row], str(error)))

    def refuse_bad(self, folder):
        """One UserError that lists all bad files, if there are any; the list is written to `folder` too."""
        if self.bad:
            report, lines = folder / "bad_files.txt", [f"{self.listed.shown(path)}: {reason}" for path, reason in self.bad]
            write_text(report, "".join(f"{line}\n" for line in lines))
            way_out = f"Repair or remove them (all are listed in {report}), then run again."
            raise UserError(f"{self.listed.source}: {len(lines)} files cannot be used:\n{indented(lines)}\n{way_out}")


def in_threads(work, items, title):
    """(item, finished future of `work(item)`) in order, on all cores (OpenCV releases the interpreter lock), few in flight."""
    workers = joblib.cpu_count()  # what affinity and a container leave of the machine
    with ThreadPoolExecutor(workers) as pool:
        pending = deque()
        for item in tqdm(items, desc=title, leave=False, disable=None):
            pending.append((item, pool.submit(work, item)))
            if len(pending) >= 8 * workers:
                yield pending.popleft()
        yield from pending
