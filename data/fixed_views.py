"""A few fixed views of every picture, so that what a teacher says of a view can be stored and joined to it again.

A view is a part of the picture, as `random_zoom` cuts it, mirrored or not; some are blended with such a part of another one. All of
it follows from (seed, path, number) alone: no pixels are kept, and the parts are the same share of a picture whatever size it is
cached at, for the teacher and for the student.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data.crops import ASPECT, MIN_AREA, cut_out, jitter_boxes, zoom_boxes

CUT = 5  # numbers in 0..1 that a cut takes: four of a zoom, and whether it is mirrored
DRAWS = 2 * CUT + 3  # for each view: its own cut, the other one's, whether it is blended, the share, and with whom


@dataclass(frozen=True)
class FixedViews:
    """`count` views of each of the pictures `paths`. View `number` of picture `row` has the index `row * count + number`."""

    paths: tuple[str, ...]
    count: int
    seed: int
    blended: float = 0.0  # share of the views that are blended with another picture's, by MixUp's uniform share
    groups: np.ndarray | None = None  # int (N,): pictures are blended within their group alone; None: with any

    def __len__(self):
        return len(self.paths) * self.count

    def choose(self, rows, rng):
        """Indices (B,) of one view each of the pictures number `rows`, drawn by `rng`."""
        return np.asarray(rows) * self.count + rng.integers(self.count, size=len(rows))

    def pictures(self, indices):
        """Each (B,): numbers of the pictures, of the ones blended in, and the first one's share, float32, 1 where it is alone."""
        return self._pictures(np.asarray(indices) // self.count, self._draws(indices))

    def cut(self, images, indices, size, jitter=0.0, rng=None):
        """Pixels uint8 (B, size, size, 3) of these views; images: what `images[row]` are the squares (R, R, 3) of.

        jitter: by which share of its sides each part is moved and resized at most, as `rng` draws it. It is nearly the same view,
        so what is said of it holds, but no pixels come twice.
        """
        draws = self._draws(indices)
        rows, others, share = self._pictures(np.asarray(indices) // self.count, draws)
        how = {"size": size, "jitter": jitter, "rng": rng}
        pixels, blended = _cut(images, rows, draws[:CUT], **how), share < 1
        if blended.any():
            second = _cut(images, others[blended], draws[CUT : 2 * CUT, blended], **how)
            weight = share[blended, None, None, None]
            pixels[blended] = np.rint(weight * pixels[blended] + (1 - weight) * second).astype(np.uint8)
        return pixels

    def describe(self):
        """What makes these views what they are, in words, for the record of what is stored of them."""
        groups = hashlib.sha256(np.asarray(self.groups, np.int64).tobytes()).hexdigest() if self.groups is not None else "none"
        zoom = f"{MIN_AREA:g} to 1 of the area, up to {ASPECT:g} times as wide as high"
        return f"{self.count} views, seed {self.seed}, {zoom}, {self.blended:g} blended, groups {groups}"

    def _pictures(self, rows, draws):
        blended, share, pick = draws[2 * CUT :]
        share = np.where(blended < self.blended, share, 1).astype(np.float32)
        others = np.array([self._among(row)[int(p * len(self._among(row)))] for row, p in zip(rows, pick, strict=True)], np.int64)
        return rows, np.where(share < 1, others, rows), share

    def _among(self, row):
        """Numbers of the pictures that picture `row` may be blended with."""
        return self._members[self.groups[row] if self.groups is not None else None]

    @cached_property
    def _members(self):
        if self.groups is None:
            return {None: np.arange(len(self.paths))}
        return {group: np.flatnonzero(self.groups == group) for group in np.unique(self.groups)}

    def _draws(self, indices):
        """Numbers in 0..1, (DRAWS, B), from a hash: the same on every machine, and no state to keep."""
        texts = (f"{self.seed} {i % self.count} {self.paths[i // self.count]}" for i in map(int, indices))
        digests = b"".join(hashlib.sha512(text.encode()).digest()[: 4 * DRAWS] for text in texts)
        return np.frombuffer(digests, "<u4").reshape(-1, DRAWS).T / 2.0**32


def _cut(images, rows, draws, size, jitter, rng):
    boxes = zoom_boxes(draws[:4], images.shape[1])
    if jitter:
        boxes = jitter_boxes(boxes, images.shape[1], rng.uniform(-jitter, jitter, (4, len(rows))))
    pixels = cut_out(images, rows, boxes, size)
    mirrored = draws[4] < 0.5
    pixels[mirrored] = pixels[mirrored, :, ::-1]
    return pixels
