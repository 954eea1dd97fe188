"""Which way up a picture is: the EXIF orientation, the same few bytes as in deploy/cpp/src/exif.cpp.

EXIF alone decides: in JPEG the first `Exif` segment before the pixels, in PNG the chunk eXIf, in WebP the chunk EXIF, in TIFF
the file's own directory; other formats have none. XMP and other notes are not looked at. What is missing, cut or nonsense counts
as upright: it never costs a picture its pixels.
"""

import cv2

ORIENTATION = 0x0112


def orientation(tiff):
    """1..8 from EXIF data, which is a small TIFF file; 1 (upright) where it says nothing or nonsense."""
    tiff = tiff.removeprefix(b"Exif\0\0")
    order = {b"II": "little", b"MM": "big"}.get(bytes(tiff[:2]))
    if order is None:
        return 1

    def number(offset, size):
        value = tiff[offset : offset + size]
        return int.from_bytes(value, order) if len(value) == size else 0

    directory = number(4, 4)
    for entry in range(directory + 2, directory + 2 + 12 * number(directory, 2), 12):
        if number(entry, 2) == ORIENTATION:
            value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1


def turn(pixels, value):
    """Turn and mirror (H, W, 3) so that a picture with this EXIF orientation stands upright."""
    if value >= 5:  # lies on its side
        pixels = cv2.transpose(pixels)
    # What is left to mirror: 1 horizontally, 0 vertically, -1 both.
    mirror = {2: 1, 6: 1, 3: -1, 7: -1, 4: 0, 8: 0}
    return cv2.flip(pixels, mirror[value]) if value in mirror else pixels
