"""JPEG XL by libjxl through pillow-jxl-plugin, which is asked directly: as a part of Pillow it decodes before it tells the size."""

from typing import NamedTuple

import numpy as np
from pillow_jxl import Decoder

from data.pictures import pixels
from data.pictures.exif import orientation
from data.pictures.formats import UnreadableImage

BARE, IN_BOXES = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
RATIOS = (None, (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1}  # of what the decoder answers with


class Header(NamedTuple):
    width: int
    height: int
    turned: bool  # by the decoder, as its own header says
    exif: bytes


def read_header(content):
    """The Header (ISO/IEC 18181-1, SizeHeader and ImageMetadata). Raises UnreadableImage."""
    codestream, exif = (content[:64], b"") if content.startswith(BARE) else _from_boxes(content)
    if not codestream.startswith(BARE):
        raise UnreadableImage("truncated or damaged (a JPEG XL without its header)")
    bits, at = int.from_bytes(codestream[2:], "little"), 0

    def take(count):
        nonlocal at
        at += count
        return bits >> (at - count) & (1 << count) - 1

    small = take(1)

    def side():
        return 8 * (take(5) + 1) if small else 1 + take((9, 13, 18, 30)[take(2)])

    height, ratio = side(), RATIOS[take(3)]
    width = height * ratio[0] // ratio[1] if ratio else side()
    has_more = not take(1) and take(1)
    return Header(width, height, bool(has_more and take(3)), exif)


def decode(content):
    """uint8 (H, W, 3) RGB, alpha laid over white; or the bytes of a JPEG, where such a file was packed as JPEG XL."""
    is_jpeg, info, data, *_ = Decoder(num_threads=1)(content)
    if is_jpeg:
        return data
    if info.mode not in CHANNELS:
        raise UnreadableImage("JPEG XL of floating point numbers: convert it to one of 8 or 16 bits, or to PNG")
    kind = np.uint16 if info.mode == "I;16" else np.uint8
    values = np.frombuffer(data, kind).reshape(info.height, info.width, CHANNELS[info.mode])
    if info.mode == "I;16":
        values = pixels.eight_bits(values)
    colors = np.repeat(values[..., :1], 3, axis=2) if values.shape[2] < 3 else values[..., :3]
    return pixels.over_white(np.concatenate([colors, values[..., -1:]], axis=2)) if info.mode in ("LA", "RGBA") else colors


def orientation_of(header):
    """What is left to turn: the header's own orientation counts; EXIF where that says nothing, as some programs leave it."""
    return 1 if header.turned else orientation(header.exif)


def _from_boxes(content):
    """(the first bytes of the codestream, EXIF data)."""
    codestream, exif, at = b"", b"", len(IN_BOXES)
    while at + 8 <= len(content):
        size, kind, head = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(content[at + 8 : at + 16], "big"), 16
        end = at + size if size else len(content)
        if kind == b"jxlc" and not codestream:
            codestream = content[at + head : min(end, at + head + 64)]
        elif kind == b"jxlp" and len(codestream) < 64:
            codestream += content[at + head + 4 : min(end, at + head + 68)]
        elif kind == b"Exif":
            exif = content[at + head : end]
            exif = exif if exif.startswith((b"II", b"MM")) else exif[4:]  # some programs leave the number before it out
        if end <= at:
            break
        at = end
    return codestream, exif
