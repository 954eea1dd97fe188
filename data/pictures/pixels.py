"""From what decoders give to uint8 (H, W, 3) RGB, in whole numbers, so that C++ gets the same bytes.

Some rows at a time: in between, values take up to four times the memory that they have before and after.
"""

import functools

import numpy as np

ROWS = 64


def in_strips(function):
    """`function`, from rows to as many rows, for any number of them."""

    @functools.wraps(function)
    def of_all_rows(values):
        first = function(values[:ROWS])
        if len(values) <= ROWS:
            return first
        result = np.empty((len(values), *first.shape[1:]), first.dtype)
        for top in range(0, len(values), ROWS):
            result[top : top + ROWS] = function(values[top : top + ROWS])
        return result

    return of_all_rows


@in_strips
def eight_bits(values):
    """uint16 -> uint8, 65535 -> 255, rounded."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


@in_strips
def over_white(rgba):
    """uint8 (H, W, 4) -> (H, W, 3), laid over white."""
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


@in_strips
def premultiplied_over_white(values):
    """uint8 (H, W, 4) whose colours were multiplied by their alpha -> (H, W, 3), laid over white."""
    return (values[..., :3] + np.minimum(255 - values[..., 3:], 255 - values[..., :3])).astype(np.uint8)


@in_strips
def deep_over_white(values):
    """uint16 (H, W, 4) -> uint8 (H, W, 3), laid over white, its colours in the same order."""
    return over_white(eight_bits(values))


@in_strips
def of_light(light):
    """uint8 (H, W, 4) of the light that each ink leaves, as JPEG stores it -> (H, W, 3)."""
    light = light.astype(np.uint16)
    return ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)


@in_strips
def of_cmyk(ink):
    """uint8 (H, W, 4) of inks, 255 for all of it -> (H, W, 3)."""
    return of_light(255 - ink)


@in_strips
def undo_premultiplied(values):
    """uint8 (H, W, 4) whose colours were multiplied by their alpha -> as they were before, rounded down."""
    colors, alpha = values[..., :3], np.maximum(values[..., 3:], 1).astype(np.uint32)
    return np.concatenate([np.minimum(colors * np.uint32(255) // alpha, 255).astype(np.uint8), values[..., 3:]], axis=-1)


def three_channels(grey):
    """(H, W) -> (H, W, 3), continuous."""
    return np.repeat(grey[..., None], 3, axis=2)


def of_pillow(image):
    """A loaded Pillow image -> uint8 (H, W, 3)."""
    result = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, ROWS):
        result[top : top + ROWS] = _of_pillow(image.crop((0, top, image.width, min(top + ROWS, image.height))))
    return result


def _of_pillow(image):
    if image.mode == "CMYK":
        return of_cmyk(np.asarray(image))
    if image.mode.startswith("I"):
        return three_channels(eight_bits(np.asarray(image)))
    if image.mode == "La":  # Pillow knows no way from here to RGBA
        image = image.convert("LA")
    if image.mode in ("RGBA", "RGBa", "LA", "PA") or "transparency" in image.info:
        return over_white(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("RGB"))
