"""Photographs as large as a phone's, made of small ones, with the noise of a camera."""

import cv2
import numpy as np

from data.decode import read_rgb

SHIFT = 64  # pixels


def write_enlarged(sources, targets, size, noise):
    """The pictures at `sources` as JPEGs of `size` (width, height) pixels at `targets`, which may be the same files.

    noise: standard deviation in grey levels, of one grain that lies elsewhere on each picture. With 12 megapixels, 9 levels make
    files of some two megabytes, 22 of three to four.
    """
    rng = np.random.default_rng(0)
    grain = rng.standard_normal((size[1] + SHIFT, size[0] + SHIFT, 3), np.float32) * noise
    grain = cv2.GaussianBlur(grain, (0, 0), 0.8).round().astype(np.int16)
    for source, target in zip(sources, targets, strict=True):
        bgr = cv2.resize(read_rgb(source)[..., ::-1], size, interpolation=cv2.INTER_CUBIC)
        x, y = rng.integers(SHIFT, size=2)
        bgr = cv2.add(bgr, grain[y : y + size[1], x : x + size[0]], dtype=cv2.CV_8U)
        target.write_bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
