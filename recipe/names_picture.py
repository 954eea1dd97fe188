"""Class names as a picture, names.png, from which libji.so writes on output pictures (deploy/cpp/src/names.cpp): it needs no font.

Cells of one height, one below the other: a name for each class, "unknown", then " 0 %" to " 100 %". Red says how much of a pixel
belongs to a letter, green to a letter or its rim.
"""

from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from recipe.predictor import UNKNOWN
from utils.runlog import log

CELL, LETTERS, RIM = 48, 32, 3  # pixels: height of a cell, size of its letters, width of their rim
WIDEST = 1000  # pixels; longer names are cut
PIXELS = 100_000_000  # of the picture, half of what libji.so reads
OWN_FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")  # Latin, Cyrillic, Greek, Arabic and more


def names_picture(classes):
    """The picture. A name that no font here can write is replaced by the class's number, which is told."""
    unwritable = [name for name in classes if font_for(name) is None]
    if unwritable:
        log.warning(
            f"no font here can write {len(unwritable)} class names ({', '.join(unwritable[:3])}): output pictures show the numbers "
            "of these classes. Install a font that can, such as Debian's fonts-noto-cjk, and make the submission again."
        )
    names = [name if font_for(name) else str(number) for number, name in enumerate(classes)]
    texts = [*names, UNKNOWN, *(f" {percent} %" for percent in range(101))]
    widest = min(WIDEST, PIXELS // (CELL * len(texts)))
    cells = [_cell(text, widest) for text in texts]
    picture = Image.new("RGB", (max(cell.width for cell in cells), CELL * len(cells)))
    for i, cell in enumerate(cells):
        picture.paste(cell, (0, CELL * i))
    return picture


def font_for(text):
    """Path of the first font that has all characters of `text`; None without one."""
    needed = set(map(ord, text))
    return next((path for path in _fonts() if needed <= _characters(path)), None)


@cache
def _fonts():
    return [OWN_FONT, *sorted(findSystemFonts(), key=lambda path: ("Regular" not in path, path))]


@cache
def _characters(path):
    try:
        font = FT2Font(path)
        return set(font.get_charmap()) if font.scalable else set()
    except (OSError, RuntimeError):  # damaged, or of a kind that FreeType does not know
        return set()


def _cell(text, widest):
    font = ImageFont.truetype(font_for(text), LETTERS)
    text = _shortened(text, font, widest - 2 * RIM)
    red, green = (Image.new("L", (round(font.getlength(text)) + 2 * RIM, CELL)) for _ in range(2))
    for channel, width in ((red, 0), (green, RIM)):
        ImageDraw.Draw(channel).text((RIM, CELL // 2), text, fill=255, font=font, anchor="lm", stroke_width=width)
    return Image.merge("RGB", (red, green, Image.new("L", red.size)))


def _shortened(text, font, widest):
    """As much of it as goes into `widest` pixels, three dots included."""
    if font.getlength(text) <= widest:
        return text
    while text and font.getlength(text + "...") > widest:
        text = text[:-1]
    return text + "..."
