"""PNG by Pillow, of 16 bits by OpenCV; only the chunks that make pixels reach them, so that no note can cost a picture."""

import io
import zlib
from typing import NamedTuple

import mmcv
import numpy as np
from PIL import Image

from data.pictures import pixels
from data.pictures.formats import UnreadableImage

CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOR, PALETTE, GREY_ALPHA, COLOR_ALPHA = 0, 2, 3, 4, 6  # for the first two, tRNS names one colour that is transparent
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))  # y, x, steps of both


class Header(NamedTuple):
    width: int
    height: int
    bits: int
    color_type: int
    interlaced: bool

    @property
    def bytes_per_pixel(self):
        """Of memory, while it is decoded: interlaced rows come several times, and OpenCV keeps values of 16 bits."""
        channels = {GREY: 1, COLOR: 3, GREY_ALPHA: 2}.get(self.color_type, 4)
        if self.bits == 16:
            return 3 + 2 * channels
        return 3 + channels if self.interlaced else 3

    @property
    def bytes(self):
        """How many bytes its data has when decompressed: each row of each pass begins with its filter."""
        bits = self.bits * {GREY: 1, COLOR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOR_ALPHA: 4}.get(self.color_type, 1)
        passes = ADAM7 if self.interlaced else ((0, 0, 1, 1),)
        sizes = ((-(-(self.height - y) // dy), -(-(self.width - x) // dx)) for y, x, dy, dx in passes)
        return sum(rows * (1 + (columns * bits + 7) // 8) for rows, columns in sizes if rows > 0 and columns > 0)


def read_chunks(content):
    """{name: data} of all chunks up to IEND, data of the same name joined. Raises UnreadableImage if there is no IEND."""
    chunks, position = {}, len(SIGNATURE)
    while b"IEND" not in chunks:
        length = int.from_bytes(content[position : position + 4], "big")
        if position + 12 + length > len(content):
            raise UnreadableImage("truncated or damaged (a PNG without its end)")
        name, data = content[position + 4 : position + 8], content[position + 8 : position + 8 + length]
        checksum = int.from_bytes(content[position + 8 + length : position + 12 + length], "big")
        if not name.isalpha():  # of ASCII, as bytes have it
            raise UnreadableImage("truncated or damaged (something else than a chunk)")
        if name[:1].isupper() and name not in CRITICAL:
            raise UnreadableImage(f"truncated or damaged (unknown chunk {name.decode()})")
        if name in (*CRITICAL, b"tRNS") and zlib.crc32(name + data) != checksum:
            raise UnreadableImage(f"truncated or damaged (wrong checksum of the chunk {name.decode()})")
        chunks.setdefault(name, []).append(data)
        position += 12 + length
    order = list(chunks)
    if b"PLTE" in chunks and b"IDAT" in chunks and order.index(b"PLTE") > order.index(b"IDAT"):
        raise UnreadableImage("truncated or damaged (a palette behind the pixels)")
    return {name: b"".join(parts) for name, parts in chunks.items()}


def read_header(chunks):
    """The Header. Raises UnreadableImage."""
    data = chunks.get(b"IHDR", b"")
    if len(data) != 13:
        raise UnreadableImage("truncated or damaged (a PNG without its header)")
    if data[9] == PALETTE and b"PLTE" not in chunks:
        raise UnreadableImage("truncated or damaged (a PNG without its palette)")
    return Header(int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big"), data[8], data[9], data[12] == 1)


def decode(chunks, header):
    """uint8 (H, W, 3) RGB, alpha laid over white."""
    file = SIGNATURE + b"".join(_chunk(name, chunks[name]) for name in _needed(header) if name in chunks)
    with Image.open(io.BytesIO(file), formats=["PNG"]) as image:
        image.load()  # notices truncation, which OpenCV does not
        if header.bits < 16:
            values = eight_bits = pixels.of_pillow(image)
    del image  # four bytes a pixel
    if header.bits == 16:
        values, eight_bits = _sixteen_bits(file)
    if (eight_bits[-2:] == eight_bits[-2:, :1]).all(axis=(1, 2)).any() and not _has_all_rows(chunks[b"IDAT"], header.bytes):
        raise UnreadableImage("truncated or damaged (fewer rows than its header says)")
    return _without_key(values, eight_bits, chunks, header)


def _needed(header):
    """The names of the chunks that make pixels; a single transparent colour is for `_without_key`, as Pillow thinks in 8 bits."""
    single = header.color_type in (GREY, COLOR)
    return (b"IHDR", b"PLTE", b"IDAT", b"IEND") if single else (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def _has_all_rows(data, expected):
    """Are there as many bytes as all rows need? Pillow leaves the missing ones as they were, all of one colour."""
    decompressor, count = zlib.decompressobj(), 0
    while data and count < expected and not decompressor.eof:
        count += len(decompressor.decompress(data, 2**20))
        data = decompressor.unconsumed_tail
    return count >= expected


def _chunk(name, data):
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def _sixteen_bits(file):
    """The values, RGB or grey without alpha, and the picture in 8 bits over white."""
    values = mmcv.imfrombytes(file, flag="unchanged", backend="cv2")
    if values.ndim == 2:
        return values, pixels.three_channels(pixels.eight_bits(values))
    if values.shape[2] == 4:
        return values, pixels.deep_over_white(values)[..., ::-1]
    return values[..., ::-1], pixels.eight_bits(values[..., ::-1])


def _without_key(values, picture, chunks, header):
    """`picture` with white where `values` are the one colour that tRNS calls transparent."""
    data = chunks.get(b"tRNS", b"")
    if len(data) != {GREY: 2, COLOR: 6}.get(header.color_type):
        return picture
    key = np.frombuffer(data, ">u2").astype(np.int64)
    if header.bits < 8:
        key = key * 255 // (2**header.bits - 1)  # as Pillow spreads the values
    same = values == key
    picture[same if same.ndim == 2 else same.all(axis=-1)] = 255
    return picture
