"""Squared pictures, uint8 (N, S, S, 3) RGB: as an array, a memory map, or JPEGs that are decoded when they are asked for."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from common.errors import UserError

QUALITY = 95  # with chroma as fine as the rest (4:4:4)


def each(images, rows):
    """The pictures number `rows` of `images`, one after the other: arrays give a view of each, others decode several at once."""
    return images.each(rows) if hasattr(images, "each") else (images[row] for row in rows)


class JpegImages:
    """Indexed by a number, several or a slice, as a memory map uint8 (N, S, S, 3) is; `threads` decode what several numbers name.

    paths, contents: of files, uint8 (bytes,), with as many JPEGs each, but for the last, one after the other. lengths: for each
    file those of its JPEGs, in bytes.
    """

    def __init__(self, paths, contents, lengths, size, threads):
        self.paths, self.contents = paths, contents
        self.offsets = [np.cumsum([0, *some]) for some in lengths]
        self.shape = (sum(map(len, lengths)), size, size, 3)
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, which):
        if isinstance(which, slice):
            which = range(len(self))[which]
        elif np.ndim(which) == 0:
            return self._decode(range(len(self))[which])
        pictures = [*self.each(which)]
        return np.stack(pictures) if pictures else np.empty((0, *self.shape[1:]), np.uint8)

    def each(self, rows):
        """See `each`; a picture that is asked for several times is decoded once, and those of all `rows` are in memory together."""
        rows = np.asarray(rows)
        rows, places = np.unique(np.arange(len(self))[rows if rows.size else rows.astype(int)], return_inverse=True)
        pictures = [*(self.pool.map if self.pool else map)(self._decode, rows)]
        return (pictures[place] for place in places)

    def _decode(self, row):
        number, place = divmod(int(row), len(self.offsets[0]) - 1)
        start, end = self.offsets[number][place : place + 2]
        pixels = decode(self.contents[number][start:end])
        if pixels is None or pixels.shape != self.shape[1:]:
            raise UserError(f"{self.paths[number]}: changed since the start. Run the same command again, which repairs it.")
        return pixels


def encode(square):
    """The JPEG, uint8 (bytes,), of a picture, uint8 (S, S, 3) RGB."""
    how = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", cv2.cvtColor(square, cv2.COLOR_RGB2BGR), how)[1]


def decode(jpeg):
    """uint8 (S, S, 3) RGB of what `encode` made; None of anything else."""
    return cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB)
