"""Pictures of the kinds that visitors of a page have, in formats that every browser reads."""

import io

import cv2
import numpy as np
from PIL import Image, ImageCms

from data.textiles import draw_fabric

ORIENTATION = 0x0112


def write_pictures(folder):
    """Write them into the new `folder`; returns their paths."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    draw = lambda name, size: draw_fabric(name, rng, size=size)  # noqa: E731
    image = Image.fromarray(draw("tartan", 160)[:120])
    image.save(folder / "photo.jpg", quality=90)
    image.save(folder / "colour_profile.jpg", quality=95, icc_profile=_red_is_green())
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    image.convert("L").save(folder / "grey.jpg", quality=90)
    image.save(folder / "lossless.webp", lossless=True)
    image.save(folder / "picture.bmp")
    Image.fromarray(draw("leopard", 90)).save(folder / "picture.gif")
    Image.fromarray(draw("floral", 90)).quantize(60).save(folder / "palette.png")
    Image.fromarray(draw("denim", 1300)[:1000]).save(folder / "large.png")  # the page copies it in several strips
    for value in range(2, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = value
        Image.fromarray(draw("stripes", 120)[:70]).save(folder / f"turned_{value}.jpg", quality=92, exif=exif)
    alpha = np.linspace(0, 255, 100).astype(np.uint8)[None].repeat(100, axis=0)
    Image.fromarray(np.dstack([draw("polka_dots", 100), alpha])).save(folder / "alpha.png")
    deep = draw("houndstooth", 100).astype(np.uint16) * 257
    cv2.imwrite(str(folder / "sixteen_bits.png"), deep[..., ::-1])
    cv2.imwrite(str(folder / "sixteen_bits_grey.png"), deep[..., 0])
    for height, width in ((1, 1), (1, 300), (300, 1), (3, 200), (50, 104), (104, 104), (208, 312), (17, 23)):
        Image.fromarray(draw("leopard", 320)[:height, :width]).save(folder / f"size_{height}x{width}.png")
    return sorted(folder.iterdir())


def _red_is_green():
    """A colour profile whose red is green: whoever looks at it sees another picture."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    places = {profile[i : i + 4].decode(): i for i in range(132, 132 + 12 * profile[131], 12)}
    red, green = places["rXYZ"] + 4, places["gXYZ"] + 4
    profile[red : red + 8], profile[green : green + 8] = profile[green : green + 8], profile[red : red + 8]
    return bytes(profile)


def encoded_huge(width=12_000, height=9_000):
    """A PNG of more pixels than the page takes, in some kilobytes."""
    buffer = io.BytesIO()
    Image.new("1", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()
