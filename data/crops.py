"""How the network's square is cut from the cached pictures: (N, S, S, 3) uint8 -> (B, size, size, 3) uint8.

Of pixels only the bytes that are cut out are read from disk.
"""

import cv2
import numpy as np

from data.images import each

MIN_AREA, ASPECT = 0.3, 4 / 3  # of what a random zoom shows: least share of the area, greatest width for the height


def center_crop(images, rows, size, rng=None):
    """The middle `size` x `size` pixels of the pictures number `rows`."""
    offset = np.full(len(rows), _room(images, size) // 2)
    return _squares(images, rows, offset, offset, size)


def random_crop(images, rows, size, rng):
    """`size` x `size` pixels from a random place, another one for each picture."""
    tops, lefts = rng.integers(_room(images, size) + 1, size=(2, len(rows)))
    return _squares(images, rows, tops, lefts, size)


def random_zoom(images, rows, size, rng, min_area=MIN_AREA, aspect=ASPECT):
    """A random part, `min_area`..1 of the area and 1/`aspect`..`aspect` wide for its height, resized to `size` x `size` pixels.

    The field's RandomResizedCrop (Szegedy et al. 2015, arXiv:1409.4842). OpenCV takes some hundredths of a millisecond for each
    picture, on a CPU a tenth of what sampling the batch as a tensor takes.
    """
    return cut_out(images, rows, zoom_boxes(rng.random((4, len(rows))), images.shape[1], min_area, aspect), size)


def zoom_boxes(draws, full, min_area=MIN_AREA, aspect=ASPECT):
    """int (N, 4), top, left, height and width in squares of `full` pixels, of N numbers in 0..1 for each: `draws` (4, N)."""
    area, ratio = min_area + (1 - min_area) * draws[0], aspect ** (draws[1] - 0.5)
    sides = np.stack([np.sqrt(area) / ratio, np.sqrt(area) * ratio]).clip(max=1) * full
    lengths = sides.round().astype(int).clip(1, full)
    return np.concatenate([((full - lengths) * draws[2:]).round().astype(int), lengths]).T


def jitter_boxes(boxes, full, shares):
    """`boxes` (N, 4) of `zoom_boxes`, their sides changed and moved by these `shares` (4, N) of them, inside the square still."""
    places, lengths = boxes[:, :2], boxes[:, 2:]
    changed = (lengths * (1 + shares[:2].T)).round().astype(int).clip(1, full)
    moved = (places + (lengths - changed) / 2 + lengths * shares[2:].T).round().astype(int)
    return np.concatenate([moved.clip(0, full - changed), changed], axis=1)


def cut_out(images, rows, boxes, size):
    """The part `boxes[i]` of each picture `images[rows[i]]`, averaged over what shrinks: uint8 (B, size, size, 3)."""
    cut = np.empty((len(rows), size, size, 3), np.uint8)
    for i, (image, (y, x, h, w)) in enumerate(zip(each(images, rows), boxes, strict=True)):
        interpolation = cv2.INTER_AREA if size < min(h, w) else cv2.INTER_LINEAR
        cv2.resize(image[y : y + h, x : x + w], (size, size), dst=cut[i], interpolation=interpolation)
    return cut


def _room(images, size):
    room = images.shape[1] - size
    if room < 0:
        raise ValueError(f"crop of {size} pixels from pictures of {images.shape[1]}")
    return room


def _squares(images, rows, tops, lefts, size):
    return np.stack([image[y : y + size, x : x + size] for image, y, x in zip(each(images, rows), tops, lefts, strict=True)])


CROPS = {"center": center_crop, "random": random_crop, "zoom": random_zoom}
