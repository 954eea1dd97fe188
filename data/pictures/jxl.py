"""JPEG XL by libjxl through pillow-jxl-plugin, which is asked directly: as a part of Pillow it decodes before it tells the size."""

import math
from typing import NamedTuple

import numpy as np
from pillow_jxl import Decoder

from data.pictures import pixels
from data.pictures.exif import orientation
from data.pictures.formats import UnreadableImage

BARE, IN_BOXES = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
RATIOS = (None, (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
# How a side may be written, as a multiple of 8 pixels or in pixels: (what is added, number of bits).
SIDES = ((1, 5),), ((1, 9), (1, 13), (1, 18), (1, 30))
PREVIEW_SIDES = ((16, 0), (32, 0), (1, 5), (33, 9)), ((1, 6), (65, 8), (321, 10), (1345, 12))
CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1}  # of what the decoder answers with


class Header(NamedTuple):
    width: int
    height: int
    turned: bool  # by the decoder, as its own header says
    exif: bytes


def read_header(content):
    """The Header (ISO/IEC 18181-1, SizeHeader and ImageMetadata). Raises UnreadableImage, for animations too."""
    codestream, exif = (content[:64], b"") if content.startswith(BARE) else _from_boxes(content)
    if not codestream.startswith(BARE):
        raise UnreadableImage("truncated or damaged (a JPEG XL without its header)")
    bits, at = int.from_bytes(codestream[2:], "little"), 0

    def take(count):
        nonlocal at
        at += count
        return bits >> (at - count) & (1 << count) - 1

    def take_size(in_eights, in_pixels):
        unit, ways = (8, in_eights) if take(1) else (1, in_pixels)

        def side():
            least, count = ways[take(2) if len(ways) > 1 else 0]
            return unit * (least + take(count))

        height, ratio = side(), RATIOS[take(3)]
        return height * ratio[0] // ratio[1] if ratio else side(), height

    width, height = take_size(*SIDES)
    turned = False
    if not take(1) and take(1):
        turned = bool(take(3))
        if take(1):  # the size at which it is to be shown
            take_size(*SIDES)
        if take(1):
            take_size(*PREVIEW_SIDES)
        if take(1):
            raise UnreadableImage("an animated JPEG XL, whose decoder gives the last picture: convert the first one to PNG")
    return Header(width, height, turned, exif)


def decode(content):
    """uint8 (H, W, 3) RGB, alpha laid over white; or the bytes of a JPEG, where such a file was packed as JPEG XL."""
    is_jpeg, info, data, *_ = Decoder(num_threads=1)(content)
    if is_jpeg:
        return data
    if info.mode not in CHANNELS:
        raise UnreadableImage("JPEG XL of floating point numbers: convert it to one of 8 or 16 bits, or to PNG")
    shape = (info.height, info.width, CHANNELS[info.mode])
    is_deep = len(data) == 2 * math.prod(shape)
    values = np.frombuffer(data, np.uint16 if is_deep else np.uint8).reshape(shape)
    if is_deep:
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
