"""HEIC by libheif through pillow-heif, AVIF by libavif through Pillow: photographs of phones, in ISO boxes.

Both decoders fill up in silence what a file lacks where it was filled up with zeros, so the boxes are looked at first (ISO/IEC
14496-12, 23008-12). They say too which way up a picture is; EXIF does not count there.
"""

import io

import numpy as np
import pillow_heif
from PIL import Image

from data.pictures import pixels
from data.pictures.exif import orientation
from data.pictures.formats import UnreadableImage

CODED = (b"hvc1", b"av01", b"jpeg")  # items with coded pictures; others are put together from them, or notes
ZEROS = bytes(64)  # so many do not end coded data


def decode_heic(content, check_size):
    """uint8 (H, W, 3) RGB, turned, alpha laid over white. check_size: (width, height, bytes a pixel), raises UnreadableImage."""
    _check_items(content)
    image = pillow_heif.open_heif(io.BytesIO(content), convert_hdr_to_8bit=True)
    plain = image.mode == "RGB" and image.info["bit_depth"] == 8
    check_size(*image.size, (6 if plain else 12) * _share(content, image.size))  # measured: 5 with its planes, nothing is copied
    values = np.asarray(image)
    if values.ndim == 2:
        return pixels.three_channels(values)
    if image.mode == "RGBa":
        return pixels.premultiplied_over_white(values)
    return pixels.over_white(values) if values.shape[2] == 4 else values


def decode_avif(content, check_size):
    """(uint8 (H, W, 3) RGB as it lies in the file, EXIF orientation); else as above."""
    _check_items(content)
    with Image.open(io.BytesIO(_without_exif(content)), formats=["AVIF"]) as image:
        check_size(*image.size, 13 * _share(content, image.size))  # measured: 12
        image.load()
        return pixels.of_pillow(image), orientation(image.info.get("exif", b""))


def _without_exif(content):
    """A note must not cost the picture: libavif refuses files of damaged EXIF. Pillow tells of the boxes by EXIF of its own."""
    start, end = _inside(content)
    return content[:start] + content[start:end].replace(b"Exif", b"none") + content[end:]


def _check_items(content):
    """UnreadableImage where the data of a coded picture is not there, or was replaced by zeros up to its end."""
    kinds = _item_kinds(content, *_inside(content, b"iinf"))
    for item, first, last in _item_places(content, *_inside(content, b"iloc")):
        if kinds.get(item) in CODED and last > len(content):
            raise UnreadableImage("truncated or damaged (ends before its pictures do)")
        if kinds.get(item) in CODED and content.endswith(ZEROS, first, last):
            raise UnreadableImage("truncated or damaged (zeros instead of its data)")


def _share(content, size):
    """How many times as large as a picture of that (width, height) is the largest in the file, which it may be cut out of."""
    area = largest = max(1, size[0] * size[1])
    for kind, start, _ in _boxes(content, *_inside(content, b"iprp", b"ipco")):
        if kind == b"ispe":
            largest = max(largest, _number(content, start + 4, 4) * _number(content, start + 8, 4))
    return -(-largest // area) if largest > 2 * area else 1  # sides are filled up to whole blocks


def _inside(content, *path):
    """(start, end) of what is in the box that `path` leads to from the box meta; (0, 0) where there is none."""
    start, end = 0, len(content)
    for name in (b"meta", *path):
        start, end = next(((first, last) for kind, first, last in _boxes(content, start, end) if kind == name), (0, 0))
        start += 4 * (name == b"meta")  # its version
    return (start, end) if start < end else (0, 0)


def _boxes(content, start, end):
    """(kind, start, end) of the boxes there; start and end of what is in them."""
    while start + 8 <= end:
        size, head = _number(content, start, 4), 8
        if size == 1:
            size, head = _number(content, start + 8, 8), 16
        stop = min(start + size, end) if size else end
        if stop < start + head:
            return
        yield content[start + 4 : start + 8], start + head, stop
        start = stop


def _item_kinds(content, start, end):
    """{item: kind} of the box iinf."""
    if start == end:
        return {}
    kinds, first = {}, start + (6 if content[start] == 0 else 8)
    for _, entry, _ in _boxes(content, first, end):
        width = 4 if content[entry] >= 3 else 2
        kinds[_number(content, entry + 4, width)] = content[entry + 6 + width : entry + 10 + width]
    return kinds


def _item_places(content, start, end):
    """(item, start, end) of the parts of each item's data in the file, from the box iloc."""
    if start == end:
        return
    version, at = content[start], start + 4

    def take(width):
        nonlocal at
        at += width
        return _number(content, at - width, width)

    sizes = take(2)
    of_offset, of_length, of_base, of_index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    for _ in range(take(4 if version == 2 else 2)):
        item = take(4 if version == 2 else 2)
        method = take(2) & 15 if version else 0
        take(2)
        base = take(of_base)
        extents = take(2)
        if extents > 1 and not of_offset + of_length:
            raise UnreadableImage("truncated or damaged (several parts in one place)")
        for _ in range(extents):
            take(of_index if version else 0)
            first = base + take(of_offset)
            length = take(of_length)
            if at > end:
                raise UnreadableImage("truncated or damaged (a box without its end)")
            if method == 0:
                yield item, first, first + length if length else len(content)


def _number(content, at, width):
    return int.from_bytes(content[at : at + width], "big")
