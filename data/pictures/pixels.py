"""From what decoders give to uint8 (H, W, 3) RGB, in whole numbers, so that C++ gets the same bytes."""

import numpy as np


def eight_bits(values):
    """uint16 -> uint8, 65535 -> 255, rounded."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def over_white(rgba):
    """uint8 (H, W, 4) -> (H, W, 3), laid over white."""
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def of_cmyk(ink):
    """uint8 (H, W, 4) of inks, 255 for all of it -> (H, W, 3)."""
    light = 255 - ink.astype(np.uint16)
    return ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)


def three_channels(grey):
    """(H, W) -> (H, W, 3), continuous."""
    return np.repeat(grey[..., None], 3, axis=2)


def of_pillow(image):
    """A loaded Pillow image -> uint8 (H, W, 3)."""
    if image.mode == "CMYK":
        return of_cmyk(np.asarray(image))
    if image.mode.startswith("I"):
        return three_channels(eight_bits(np.asarray(image)))
    if image.mode == "La":  # Pillow knows no way from here to RGBA
        image = image.convert("LA")
    if image.mode in ("RGBA", "RGBa", "LA", "PA") or "transparency" in image.info:
        return over_white(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("RGB"))
