"""A few fixed views of every picture, so that what a teacher says of a view can be stored and joined to it again.

A view is a part of the picture, as `random_zoom` cuts it, mirrored or not. It follows from (seed, path, number) alone: no pixels
are kept, and the part is the same share of the picture whatever size it is cached at, for the teacher and for the student.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from data.crops import ASPECT, MIN_AREA, cut_out, zoom_boxes

LIMIT = 2.0**32


@dataclass(frozen=True)
class FixedViews:
    """`count` views of each of the pictures `paths`. View `number` of picture `row` has the index `row * count + number`."""

    paths: tuple[str, ...]
    count: int
    seed: int

    def __len__(self):
        return len(self.paths) * self.count

    def choose(self, rows, rng):
        """Indices (B,) of one view each of the pictures number `rows`, drawn by `rng`."""
        return np.asarray(rows) * self.count + rng.integers(self.count, size=len(rows))

    def cut(self, images, indices, size):
        """Pixels uint8 (B, size, size, 3) of these views; images: what `images[row]` are the squares (R, R, 3) of."""
        draws = self._draws(indices)
        boxes = zoom_boxes(draws[:4], images.shape[1])
        cut = cut_out(images, np.asarray(indices) // self.count, boxes, size)
        mirrored = draws[4] < 0.5
        cut[mirrored] = cut[mirrored, :, ::-1]
        return cut

    def describe(self):
        """What makes these views what they are, in words, for the record of what is stored of them."""
        return f"{self.count} views, seed {self.seed}, {MIN_AREA:g} to 1 of the area, up to {ASPECT:g} times as wide as high"

    def _draws(self, indices):
        """Five numbers in 0..1 for each view, (5, B), from a hash: the same on every machine, and no state to keep."""
        texts = (f"{self.seed} {i % self.count} {self.paths[i // self.count]}" for i in map(int, indices))
        digests = b"".join(hashlib.sha256(text.encode()).digest()[:20] for text in texts)
        return np.frombuffer(digests, "<u4").reshape(-1, 5).T / LIMIT
