"""JPEG by libjpeg-turbo through simplejpeg, which tells of damage where OpenCV and Pillow fill up in silence."""

import re
from typing import NamedTuple

import mmcv
import numpy as np
import simplejpeg

from data.pictures import pixels
from data.pictures.formats import UnreadableImage

OTHER_PROCESSES = {0xC3: "lossless", 0xCB: "lossless", 0xF7: "lossless (JPEG-LS)"}  # the rest of SOF5 to SOF15 is hierarchical
PROGRESSIVE = (0xC2, 0xCA)
MAX_SCANS = 500  # of a progressive picture: more are made to keep a decoder busy
PADDING = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
ODD_SAMPLING = "Could not determine subsampling"
ODD_SCAN = "Invalid SOS parameters for sequential JPEG"
USUAL_SAMPLING = ((1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (1, 4))  # of brightness, where that of colour is (1, 1)
MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in coded data: neither a stuffed 0xff nor a restart


class Header(NamedTuple):
    """What stands before the pixels."""

    process: int  # the marker of the frame: 0xc0 baseline, 0xc2 progressive, ...
    height: int
    width: int
    sampling: tuple[tuple[int, int], ...]  # of each component, horizontally and vertically
    exif: bytes
    scan: int  # where the first start-of-scan marker lies

    @property
    def components(self):
        return len(self.sampling)


def read_header(content):
    """The Header of a JPEG. Raises UnreadableImage for what is no JPEG of 8 bits a value, by name where it has one."""
    position, frame, exif = 2, None, b""
    while True:
        if content[position : position + 1] != b"\xff":
            raise _damaged("no start of scan" if position >= len(content) else "bytes between its segments")
        marker = content[position + 1] if position + 1 < len(content) else 0xFF
        if marker == 0xFF:  # a fill byte, or the end
            position += 1
            continue
        length = int.from_bytes(content[position + 2 : position + 4], "big")
        if marker == 0xDA and frame:
            return Header(*frame, exif, position)
        if length < 2 or position + 2 + length > len(content):
            raise _damaged("cut within its header")
        segment = content[position + 4 : position + 2 + length]
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            frame = _frame(marker, segment)
        elif marker == 0xE1 and not exif and segment.startswith(b"Exif\0\0"):
            exif = segment
        elif marker in (0xD9, 0xDA):
            raise _damaged("no frame before its scan")
        position += 2 + length


def eighths(header, at_least):
    """The k, 1..8, for which `decode` answers with k/8 of the size: the least that leaves both sides `at_least` pixels.

    8 where at_least is None, and of files with rare sampling, which not every decoder can read at a smaller size.
    """
    usual = header.components == 1 or (header.sampling[0] in USUAL_SAMPLING and header.sampling[1:3] == ((1, 1), (1, 1)))
    if at_least is None or not usual:
        return 8
    shorter = min(header.width, header.height)
    return next((k for k in range(1, 8) if _scaled(shorter, k) >= at_least), 8)


def decode(content, header, at_least=None):
    """uint8 (H, W, 3) RGB, not turned. Raises UnreadableImage unless the picture is complete, see `data.decode`.

    at_least: the picture may be made smaller on the way, to `eighths` of its sides (rounded up), which is several times as fast.
    """
    if header.process in PROGRESSIVE:
        _check_scans(content, header)
    least = _least_sides(header, at_least)
    try:
        return _decode(content, header, least)
    except ValueError as error:
        reason = str(error)
    if ODD_SAMPLING in reason and header.components == 3:
        return _decode_leniently(content, header)
    usual = _with_usual_scan(content, header)
    if ODD_SCAN in reason and usual != content:  # some cameras write nonsense there, which has no meaning in these files
        return decode(usual, header, at_least)
    padding = PADDING.search(reason)
    if not padding or _zeros_before_end(content, header) > int(padding[1]) + 16:
        raise _damaged("zeros instead of its data" if padding else reason)
    try:  # some cameras fill files up before the end marker; but what was told first need not be all
        return _decode(_without_padding(content, header, int(padding[1])), header, least)
    except ValueError as error:
        raise _damaged(str(error)) from error


def _scaled(side, k):
    return -(-side * k // 8)


def _least_sides(header, at_least):
    """simplejpeg's arguments for the size that `eighths` wants."""
    k = eighths(header, at_least)
    return {} if k == 8 else {"min_height": _scaled(header.height, k), "min_width": _scaled(header.width, k)}


def _decode(content, header, least):
    if header.components != 4:
        return simplejpeg.decode_jpeg(content, "RGB", **least)
    # Adobe's way, the only one in use: ink is stored inverted.
    return pixels.of_light(simplejpeg.decode_jpeg(content, "CMYK", **least))


def _decode_leniently(content, header):
    """By OpenCV, what simplejpeg does not know: colours that lie other than 1, 2 or 4 pixels apart. Only the end is looked for."""
    if content.find(b"\xff\xd9", header.scan) < 0:
        raise _damaged("no end marker")
    bgr = mmcv.imfrombytes(content, flag="color_ignore_orientation", backend="cv2")
    if bgr is None:
        raise _damaged("OpenCV cannot decode it")
    return np.ascontiguousarray(bgr[..., ::-1])


def _frame(marker, segment):
    """(process, height, width, sampling) of a start-of-frame segment."""
    if len(segment) < 6:
        raise _damaged("cut within its header")
    bits, height, width = segment[0], int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
    if marker not in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA):
        raise UnreadableImage(f"{OTHER_PROCESSES.get(marker, 'hierarchical')} JPEG: convert it to a usual JPEG or PNG")
    if bits != 8:
        raise UnreadableImage(f"JPEG of {bits} bits a value: convert it to one of 8 bits, or to PNG")
    sampling = tuple((value >> 4, value & 15) for value in segment[7 : 6 + 3 * segment[5] : 3])
    if len(sampling) != segment[5]:
        raise _damaged("cut within its header")
    return marker, height, width, sampling


def _check_scans(content, header):
    """A progressive picture is complete when its scans brought all bits of all 64 coefficients of each component."""
    missing, position = np.full((256, 64), -1), header.scan  # the lowest bit that came, -1: none yet
    components = set()
    for _ in range(MAX_SCANS):
        end = position + 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        count = content[position + 4] if position + 4 < len(content) else 0
        names = content[position + 5 : position + 5 + 2 * count : 2]
        spectrum = content[position + 5 + 2 * count : position + 8 + 2 * count]
        if len(spectrum) < 3:
            raise _damaged("cut within its header")
        components.update(names)
        missing[list(names), spectrum[0] : spectrum[1] + 1] = spectrum[2] & 15
        position = _next_scan(content, end)
        if position is None:
            if len(components) < header.components or missing[sorted(components)].any():
                raise _damaged("a progressive JPEG without its last scans")
            return
    raise UnreadableImage(f"progressive JPEG of more than {MAX_SCANS} scans")


def _next_scan(content, position):
    """Where the next start-of-scan marker lies, behind the coded data at `position` and tables; None at the end."""
    while found := MARKER.search(content, position):
        marker = content[found.start() + 1]
        if marker in (0xDA, 0xD9):
            return found.start() if marker == 0xDA else None
        position = found.start() + 2 + int.from_bytes(content[found.start() + 2 : found.start() + 4], "big")
    return None


def _with_usual_scan(content, header):
    """`content` with the three bytes at the end of its first scan's header as the standard wants them in sequential JPEG."""
    end = header.scan + 2 + int.from_bytes(content[header.scan + 2 : header.scan + 4], "big")
    return content[: end - 3] + b"\0\x3f\0" + content[end:]


def _zeros_before_end(content, header):
    """How many zeros lie before the end marker (which coded data cannot hold)."""
    data = content[header.scan : content.find(b"\xff\xd9", header.scan)]
    return len(data) - len(data.rstrip(b"\0"))


def _without_padding(content, header, number):
    """Without so many bytes before the end marker."""
    end = content.find(b"\xff\xd9", header.scan)
    return content[: end - number] + content[end:]


def _damaged(reason):
    return UnreadableImage(f"truncated or damaged ({reason})")
