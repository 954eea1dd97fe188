"""Small pictures inside the page: as people know them, in their own proportions, from the pixel cache."""

import base64

import cv2
import numpy as np

LONGEST = 128  # pixels of a side
QUALITY = 80  # of the JPEG


def shown(dataset, row, fit):
    """uint8 RGB (H, W, 3): a picture of the cache in its own proportions again, its longer side that of the cache's square.

    fit: how it was made square, see `data.preprocessing.resize_square`.
    """
    square = np.asarray(dataset.images[row])
    size, longer = len(square), max(dataset.table["width"].iloc[row], dataset.table["height"].iloc[row])
    width, height = (max(1, round(size * dataset.table[side].iloc[row] / longer)) for side in ("width", "height"))
    if fit == "stretch":
        return cv2.resize(square, (width, height), interpolation=cv2.INTER_AREA)
    top, left = (size - height) // 2, (size - width) // 2
    return square[top : top + height, left : left + width]


def data_uri(pixels, longest=LONGEST):
    """uint8 RGB (H, W, 3) -> the address of a JPEG of it inside a page, its longer side `longest` pixels at most."""
    height, width = pixels.shape[:2]
    scale = min(1, longest / max(height, width))
    small = cv2.resize(pixels, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)
    _, content = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode()
