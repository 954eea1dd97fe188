"""How the network's square is cut from the cached pictures: (N, S, S, 3) uint8 -> (B, size, size, 3) uint8.

Only the bytes that are cut out are read from disk.
"""

import cv2
import numpy as np


def center_crop(images, rows, size, rng=None):
    """The middle `size` x `size` pixels of the pictures number `rows`."""
    offset = np.full(len(rows), _room(images, size) // 2)
    return _windows(images, size)[rows, offset, offset]


def random_crop(images, rows, size, rng):
    """`size` x `size` pixels from a random place, another one for each picture."""
    tops, lefts = rng.integers(_room(images, size) + 1, size=(2, len(rows)))
    return _windows(images, size)[rows, tops, lefts]


def random_zoom(images, rows, size, rng, min_area=0.3, aspect=4 / 3):
    """A random part, `min_area`..1 of the area and 1/`aspect`..`aspect` wide for its height, resized to `size` x `size` pixels.

    The field's RandomResizedCrop (Szegedy et al. 2015, arXiv:1409.4842). OpenCV takes some hundredths of a millisecond for each
    picture, on a CPU a tenth of what sampling the batch as a tensor takes.
    """
    num, full = len(rows), images.shape[1]
    area = rng.uniform(min_area, 1, num)
    ratio = np.exp(rng.uniform(-np.log(aspect), np.log(aspect), num) / 2)
    sides = np.stack([np.sqrt(area) / ratio, np.sqrt(area) * ratio]).clip(max=1) * full
    heights, widths = sides.round().astype(int).clip(1, full)
    tops, lefts = ((full - np.stack([heights, widths])) * rng.random((2, num))).round().astype(int)
    cut = np.empty((num, size, size, 3), np.uint8)
    for i, (row, y, x, h, w) in enumerate(zip(rows, tops, lefts, heights, widths, strict=True)):
        shrinks = size < min(h, w)
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        cv2.resize(images[row, y : y + h, x : x + w], (size, size), dst=cut[i], interpolation=interpolation)
    return cut


def _room(images, size):
    room = images.shape[1] - size
    if room < 0:
        raise ValueError(f"crop of {size} pixels from pictures of {images.shape[1]}")
    return room


def _windows(images, size):
    """View (N, room + 1, room + 1, size, size, 3) of all places to cut from."""
    return np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)


CROPS = {"center": center_crop, "random": random_crop, "zoom": random_zoom}
