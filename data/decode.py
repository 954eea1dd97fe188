"""One picture file -> RGB pixels as a person would see it; deploy/cpp/src/picture.cpp does the same.

Formats: JPEG (baseline, progressive, arithmetic; grey, colour, CMYK), PNG, WebP, BMP, TIFF, GIF and PNM, up to 16 bits a value;
animations and files of several pages give their first picture. Python reads HEIC, AVIF, JPEG XL and JPEG 2000 besides
(`only_read_here`), with more than 8 bits a value scaled to 8; animated JPEG XL is refused.

A picture is complete when its file brings the data of every pixel of that first picture, and its decoder has nothing to complain
about on the way. So truncated files are refused, and those that were cut or filled up with zeros and still end as they should:

- JPEG: all warnings of libjpeg count (coded data that ends early, bad codes, no end marker), but for bytes between the last coded
  data and the end marker, which some cameras write; where those are zeros that began before the coded data was over, the file was
  filled up. A progressive one needs the last bit of each coefficient. What stands behind the end marker (the film of a motion
  photograph, other pictures) does not matter. Of files with rare sampling, such as 3x1, Python wants no more than the end marker.
- PNG: all chunks up to IEND; only those that make pixels are looked at, and their checksums must be right.
- HEIC, AVIF: the data of all coded pictures, which does not end in zeros. JPEG XL: the whole codestream.
- WebP: the whole container. BMP, TIFF, PNM: all rows or tiles. GIF: the first frame. What is behind them does not matter.

Limits: only PNG has checksums. Data that was changed into other valid data is another picture to every decoder, such as zeros
within BMP, PNM or uncompressed TIFF, lossy WebP, HEIC and AVIF (but at their end), or zeros in a JPEG that happen to be codes for
the right number of pixels.
"""

import io
import os
import stat
import warnings
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from data.pictures import gif, heif, jpeg, jxl, pixels, png, tiff, webp
from data.pictures.exif import orientation, turn
from data.pictures.formats import UnreadableImage, format_of, only_read_here

__all__ = ["MAX_PIXELS", "UnreadableImage", "decode_rgb", "full_size", "only_read_here", "read_file", "read_rgb"]

MAX_PIXELS = 200_000_000  # 600 MB; the same in C++, as is
MAX_MEMORY = 1_200_000_000  # bytes of a picture while a decoder is at work
Image.MAX_IMAGE_PIXELS = None  # ours is judged before anything is decoded
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong with a file stands in the exception
warnings.filterwarnings("ignore", module=r"PIL\.")  # about notes in files, such as damaged EXIF, that we do not read


def read_rgb(path, max_pixels=MAX_PIXELS, at_least=None):
    """uint8 (H, W, 3) RGB of the file at `path`; see `decode_rgb`. Raises UnreadableImage, for files that cannot be read too."""
    return decode_rgb(read_file(path), max_pixels, at_least)


def read_file(path):
    """The bytes of a regular file; pipes and devices, which may have no end, are not even opened. Raises UnreadableImage."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UnreadableImage("not a regular file")
        return Path(path).read_bytes()
    except UnreadableImage:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise UnreadableImage(f"cannot be opened ({getattr(error, 'strerror', None) or error})") from error


def decode_rgb(content, max_pixels=MAX_PIXELS, at_least=None):
    """uint8 (H, W, 3) RGB of an encoded picture.

    Turned as its EXIF tag says (`data.pictures.exif`), alpha laid over white, 16 bits scaled to 8, grey and CMYK converted; colour
    profiles are not looked at. Raises UnreadableImage, and nothing else, for what is no complete picture (see above) or has more
    than `max_pixels` pixels.

    at_least: the sides that a JPEG must keep, in pixels; it is decoded at the least of libjpeg's scales, k/8, that leaves them so
    long (from 8 on). The same on every machine and in C++; other formats, and None, give the picture in its own size.
    """
    name = format_of(content)
    try:
        return np.ascontiguousarray(turn(*READERS[name](content, max_pixels, at_least)))
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"truncated or damaged (what stands behind its first bytes is no {name})") from error
    except MemoryError as error:
        raise UnreadableImage("larger than the memory that is free") from error
    except Exception as error:  # decoders raise whatever they like: struct.error, cv2.error, RuntimeError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImage(f"truncated or damaged ({reason})") from error


def full_size(content, pixels):
    """(height, width) that the picture `pixels` has in its own size, when `decode_rgb` may have made it smaller."""
    if format_of(content) != "JPEG":
        return pixels.shape[:2]
    header = jpeg.read_header(content)
    return (header.width, header.height) if orientation(header.exif) >= 5 else (header.height, header.width)


# One reader for each format: (content, max_pixels, at_least) -> (uint8 RGB pixels as they lie in the file, EXIF orientation).


def _read_jpeg(content, max_pixels, at_least):
    header = jpeg.read_header(content)
    coefficients = 2 * header.components if header.process in jpeg.PROGRESSIVE else 0  # bytes a pixel that libjpeg keeps
    _check_size(header.width, header.height, 3 + coefficients, max_pixels=max_pixels)
    return jpeg.decode(content, header, at_least), orientation(header.exif)


def _read_png(content, max_pixels, _):
    chunks = png.read_chunks(content)
    header = png.read_header(chunks)
    _check_size(header.width, header.height, header.bytes_per_pixel, max_pixels=max_pixels)
    return png.decode(chunks, header), orientation(chunks.get(b"eXIf", b""))


def _read_webp(content, max_pixels, _):
    # Before Pillow opens the file, which makes room for the picture; libwebp may hold it twice, four bytes a pixel.
    _check_size(*webp.read_size(content), 11, max_pixels=max_pixels)
    return _by_pillow(content, "WEBP", max_pixels), orientation(webp.exif(content))


def _read_tiff(content, max_pixels, _):
    header = tiff.read_header(content)
    _check_size(header.width, header.height, header.bytes_per_pixel, max_pixels=max_pixels)
    return tiff.decode(content, header), header.orientation


def _read_heic(content, max_pixels, _):
    return heif.decode_heic(content, partial(_check_size, max_pixels=max_pixels)), 1


def _read_avif(content, max_pixels, _):
    return heif.decode_avif(content, partial(_check_size, max_pixels=max_pixels))


def _read_jxl(content, max_pixels, _):
    header = jxl.read_header(content)
    _check_size(header.width, header.height, 13, max_pixels=max_pixels)  # measured: 10
    found = jxl.decode(content)
    if isinstance(found, bytes):
        return _read_jpeg(found, max_pixels, None)
    return found, jxl.orientation_of(header)


def _read_gif(content, max_pixels, _):
    gif.check_blocks(content)
    return _by_pillow(content, "GIF", max_pixels), 1


def _read_bmp(content, max_pixels, _):
    header_size, bits, colors = content[14:15], content[28:29], content[46:50]
    if header_size != b"\x0c" and bits in (b"\4", b"\x08") and colors == b"\2\0\0\0":
        # Pillow takes a palette of black and white for 1 bit a pixel; a third colour helps.
        content = content[:46] + b"\3\0\0\0" + content[50:]
    return _by_pillow(content, "BMP", max_pixels), 1


def _reader(pillow_name):
    return lambda content, max_pixels, _: (_by_pillow(content, pillow_name, max_pixels), 1)


def _by_pillow(content, name, max_pixels):
    """The first frame."""
    with Image.open(io.BytesIO(content), formats=[name]) as image:
        _check_size(*image.size, max_pixels=max_pixels)
        image.load()
        return pixels.of_pillow(image)


def _check_size(width, height, bytes_per_pixel=3, *, max_pixels):
    """bytes_per_pixel: of memory, those of the picture with what its decoder keeps until it has seen the last one."""
    if width * height == 0:
        raise UnreadableImage("truncated or damaged (no pixels)")
    if width * height > max_pixels:
        raise UnreadableImage(
            f"{width} x {height} pixels, more than the {max_pixels / 1e6:g} million that are allowed (max_pixels)"
        )
    if width * height * bytes_per_pixel > MAX_MEMORY:
        raise UnreadableImage(
            f"{width} x {height} pixels, which in this kind of file take {bytes_per_pixel} bytes each while they are decoded, "
            "together more than 1.2 GB: convert it to a plain JPEG or PNG"
        )


READERS = {
    "JPEG": _read_jpeg,
    "PNG": _read_png,
    "WebP": _read_webp,
    "TIFF": _read_tiff,
    "BMP": _read_bmp,
    "GIF": _read_gif,
    "PNM": _reader("PPM"),
    "HEIC": _read_heic,
    "AVIF": _read_avif,
    "JPEG XL": _read_jxl,
    "JPEG 2000": _reader("JPEG2000"),
}
