"""One picture file -> RGB pixels as a person would see it. mmcv is kept behind this one file."""

import contextlib
import io
from pathlib import Path

import cv2
import mmcv
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError


class UnreadableImage(ValueError):
    """The file is no complete picture; the message says why."""


def read_rgb(path):
    """uint8 (H, W, 3) RGB of the file at `path`; see `decode_rgb`. Raises UnreadableImage, OSError included."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UnreadableImage(f"cannot be opened ({error.strerror})") from error
    return decode_rgb(content)


def decode_rgb(content):
    """uint8 (H, W, 3) RGB of an encoded picture.

    Turned as its EXIF tag says, alpha laid over white, 16 bits scaled to 8, grey and CMYK converted, animations cut to one frame.
    """
    if not content:
        raise UnreadableImage("empty file (0 bytes)")
    if _is_plain_jpeg(content):
        # What OpenCV cannot decode, mmcv still tries to convert to RGB; the careful way says what is wrong with it.
        with contextlib.suppress(cv2.error):
            return mmcv.imfrombytes(content, flag="color", channel_order="rgb", backend="cv2")
    return _decode_carefully(content)


def _is_plain_jpeg(content):
    """A JPEG with its end-of-image marker: the common case, which OpenCV decodes as it should.

    OpenCV fills up a truncated JPEG without a word, so one without the marker takes the careful way.
    """
    return content[:3] == b"\xff\xd8\xff" and b"\xff\xd9" in content[-4096:] and b"Adobe" not in content[:4096]


def _decode_carefully(content):
    """By Pillow, which notices truncation and knows CMYK, alpha and palettes; 16-bit and other formats by OpenCV."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith(("I", "F")):
                return _decode_deep(content)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError:
        return _decode_deep(content)
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"larger than 179 million pixels: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UnreadableImage(f"truncated or damaged ({error})") from error


def _decode_deep(content):
    """16-bit pictures, and formats that only OpenCV knows, scaled to 8 bits."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise UnreadableImage("not an image")
    if pixels.dtype == np.uint16:
        pixels = (pixels / 257).round().astype(np.uint8)
    elif pixels.dtype != np.uint8:
        raise UnreadableImage(f"pixels of type {pixels.dtype}, only 8 and 16 bits are understood")
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    if pixels.shape[2] == 4:
        alpha = pixels[:, :, 3:].astype(np.float32) / 255
        pixels = (pixels[:, :, :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
