"""TIFF by Pillow, and by OpenCV where Pillow halves 16 bits; behind a directory of our own, so that both see what we mean.

The new directory holds only the tags that make pixels. It turns nothing, calls the fourth band what it is, and parts
planes of 16 bits, which neither library reads: each is a grey picture of its own.
"""

import io
import struct
from typing import NamedTuple

import mmcv
import numpy as np
from PIL import Image

from data.pictures import pixels
from data.pictures.formats import UnreadableImage

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 273, 274, 277, 278, 279, 284
FAX3, FAX4, PREDICTOR, COLOR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 292, 293, 317, 320, 322, 323, 324, 325
EXTRA, FORMAT, JPEG_TABLES, YCBCR, YCBCR_SUBSAMPLING, YCBCR_POSITION, BLACK_WHITE = 338, 339, 347, 529, 530, 531, 532
PIXEL_TAGS = {
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR,
    FAX3, FAX4, PREDICTOR, COLOR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, EXTRA, FORMAT, JPEG_TABLES, YCBCR,
    YCBCR_SUBSAMPLING, YCBCR_POSITION, BLACK_WHITE,
}  # fmt: skip
TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 7: "B", 16: "Q"}  # BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8
SHORT, LONG, LONG8 = 3, 4, 16

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, INKS, YCBCR_COLORS = 0, 1, 2, 3, 5, 6
# Kind of picture: (samples a pixel, bits a sample) that are read.
KINDS = {
    WHITE_IS_ZERO: {(1, 1), (1, 2), (1, 4), (1, 8), (1, 16)},
    BLACK_IS_ZERO: {(1, 1), (1, 2), (1, 4), (1, 8), (1, 16), (2, 8)},
    RGB: {(3, 8), (4, 8), (3, 16), (4, 16)},
    PALETTE: {(1, 1), (1, 2), (1, 4), (1, 8)},
    INKS: {(4, 8)},
    YCBCR_COLORS: {(3, 8)},
}
COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946, 34925, 50000}  # none, fax, LZW, JPEG, Deflate, PackBits, LZMA, Zstandard
PREMULTIPLIED, ALPHA = 1, 2  # of EXTRA; anything else is a band that is not looked at


class Header(NamedTuple):
    order: str  # of bytes, as `struct` writes it
    tags: dict  # {number: (type, count, bytes)} of PIXEL_TAGS and ORIENTATION

    def numbers(self, tag, *default):
        """The values of a tag, whole numbers."""
        if tag not in self.tags:
            return default
        kind, count, data = self.tags[tag]
        return struct.unpack(f"{self.order}{count * len(TYPES[kind])}{TYPES[kind][0]}", data)

    width = property(lambda self: self.numbers(WIDTH, 0)[0])
    height = property(lambda self: self.numbers(HEIGHT, 0)[0])
    photometric = property(lambda self: self.numbers(PHOTOMETRIC, WHITE_IS_ZERO)[0])
    compression = property(lambda self: self.numbers(COMPRESSION, 1)[0])
    samples = property(lambda self: self.numbers(SAMPLES, 1)[0])
    bits = property(lambda self: max(self.numbers(BITS, 1)))
    extra = property(lambda self: self.numbers(EXTRA, 0)[0])
    planar = property(lambda self: self.samples > 1 and self.numbers(PLANAR, 1)[0] == 2)

    @property
    def orientation(self):
        value = self.numbers(ORIENTATION, 1)[0]
        return value if 1 <= value <= 8 else 1

    @property
    def bytes_per_pixel(self):
        """Of memory, while it is decoded: all samples may lie in one strip."""
        put_together = self.photometric == YCBCR_COLORS and self.compression != 7  # by libtiff, into four bytes
        return 3 + self.samples * -(-self.bits // 8) + 4 * put_together

    @property
    def has_alpha(self):
        return self.samples in (2, 4) and self.photometric != INKS and self.extra in (PREMULTIPLIED, ALPHA)

    @property
    def has_all_parts(self):
        """Are there as many strips or tiles as the picture needs?"""
        across = self.numbers(TILE_WIDTH, self.width)[0]
        down = self.numbers(TILE_HEIGHT, *self.numbers(ROWS_PER_STRIP, self.height))[0]
        parts = len(self.numbers(TILE_OFFSETS, *self.numbers(STRIP_OFFSETS)))
        planes = self.samples if self.planar else 1
        return across > 0 and down > 0 and parts >= -(-self.width // across) * -(-self.height // down) * planes


def read_header(content):
    """The Header of a file's first picture. Raises UnreadableImage for kinds that are not read, struct.error for damaged files."""
    order = "<" if content[:2] == b"II" else ">"
    header = Header(order, _read_directory(content, order))
    if set(header.numbers(FORMAT, 1)) != {1}:
        raise UnreadableImage("TIFF of signed or floating point numbers: convert it to one of 8 or 16 bits, or to PNG")
    one_size = len(set(header.numbers(BITS, 1))) == 1
    if not one_size or (header.samples, header.bits) not in KINDS.get(header.photometric, ()):
        raise UnreadableImage(
            f"TIFF of {header.samples} bands of {header.bits} bits (photometric {header.photometric}) is not understood: "
            "convert it to PNG"
        )
    if header.compression not in COMPRESSIONS:
        raise UnreadableImage(f"TIFF with compression {header.compression} is not understood: convert it to PNG")
    return header


def decode(content, header):
    """uint8 (H, W, 3) RGB, not turned, alpha laid over white."""
    if not header.has_all_parts:
        raise UnreadableImage("truncated or damaged (fewer rows than its header says)")
    if header.bits < 16:
        return _eight_bits(content, header)
    if header.samples == 1:
        grey = _plane(content, header, 0)
        return pixels.three_channels(pixels.eight_bits(65535 - grey if header.photometric == WHITE_IS_ZERO else grey))
    if header.planar:
        values = np.dstack([_plane(content, header, number) for number in range(header.samples)])
    else:
        extra = (SHORT, (header.extra if header.has_alpha else 0,)) if header.samples == 4 else None
        file = _rewritten(content, header, {EXTRA: extra})
        with Image.open(io.BytesIO(file), formats=["TIFF"]) as image:
            image.load()  # notices damage, which OpenCV does not
        values = mmcv.imfrombytes(file, flag="unchanged", backend="cv2")
    values = pixels.eight_bits(values)
    if not header.planar:
        values = values[..., [2, 1, 0, 3][: header.samples]]
    if header.has_alpha and header.extra == PREMULTIPLIED:
        values = pixels.undo_premultiplied(values)
    return pixels.over_white(values) if header.has_alpha else np.ascontiguousarray(values[..., :3])


def _eight_bits(content, header):
    if header.samples not in (2, 4) or header.photometric == INKS:
        changes = {EXTRA: None}
    elif header.has_alpha or not header.planar:
        changes = {EXTRA: (SHORT, (header.extra if header.has_alpha else 0,))}
    else:
        changes = _planes(header, 0, header.samples - 1)
    with Image.open(io.BytesIO(_rewritten(content, header, changes)), formats=["TIFF"]) as image:
        image.load()
        return pixels.of_pillow(image)


def _plane(content, header, number):
    """uint16 (H, W) of one band that lies in strips or tiles of its own."""
    changes = _planes(header, number, number + 1) | {PHOTOMETRIC: (SHORT, (BLACK_IS_ZERO,)), PLANAR: (SHORT, (1,))}
    with Image.open(io.BytesIO(_rewritten(content, header, changes)), formats=["TIFF"]) as image:
        image.load()
        return np.asarray(image).astype(np.uint16)


def _planes(header, first, last):
    """The changes that leave the planes first..last-1."""
    count = last - first
    changes = {SAMPLES: (SHORT, (count,)), BITS: (SHORT, (header.bits,) * count), FORMAT: None, EXTRA: None}
    for tag in (STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES):
        if tag in header.tags:
            values = header.numbers(tag)
            parts = len(values) // header.samples
            changes[tag] = (LONG, values[first * parts : last * parts])
    return changes


def _rewritten(content, header, changes):
    """The file with a directory of the tags that make pixels at its end. changes: {tag: (type, values); None leaves it out}."""
    order, tags = header.order, {tag: entry for tag, entry in header.tags.items() if tag in PIXEL_TAGS}
    for tag, change in changes.items():
        tags.pop(tag, None)
        if change:
            kind, values = change
            tags[tag] = (kind, len(values), struct.pack(f"{order}{len(values)}{TYPES[kind]}", *values))
    start = len(content) + len(content) % 2
    directory, data_start, data = struct.pack(f"{order}H", len(tags)), start + 6 + 12 * len(tags), b""
    for tag, (kind, count, value) in sorted(tags.items()):
        if kind == LONG8:
            kind, value = LONG, struct.pack(f"{order}{count}I", *struct.unpack(f"{order}{count}Q", value))
        directory += struct.pack(f"{order}HHI", tag, kind, count)
        if len(value) <= 4:
            directory += value.ljust(4, b"\0")
        else:
            directory += struct.pack(f"{order}I", data_start + len(data))
            data += value + b"\0" * (len(value) % 2)
    head = content[:2] + struct.pack(f"{order}HI", 42, start)
    return b"".join((head, content[8:], b"\0" * (len(content) % 2), directory, bytes(4), data))


def _read_directory(content, order):
    """{tag: (type, count, bytes)} of the first directory, those tags that matter."""
    big = content[2:4] in (b"+\0", b"\0+")
    number, count, step, inline = ("Q", "Q", 20, 8) if big else ("I", "H", 12, 4)
    (start,) = struct.unpack_from(order + number, content, 8 if big else 4)
    (entries,) = struct.unpack_from(order + count, content, start)
    tags, start = {}, start + struct.calcsize(count)
    for i in range(min(entries, 65535)):
        tag, kind, length = struct.unpack_from(f"{order}HH{number}", content, start + step * i)
        if tag not in PIXEL_TAGS | {ORIENTATION} or kind not in TYPES or tag in tags:
            continue
        size = length * struct.calcsize("<" + TYPES[kind])
        at = start + step * (i + 1) - inline
        if size > inline:
            (at,) = struct.unpack_from(order + number, content, at)
        if at + size > len(content):
            raise UnreadableImage("truncated or damaged (a TIFF whose directory points behind its end)")
        tags[tag] = (kind, length, content[at : at + size])
    return tags
