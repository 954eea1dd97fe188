"""Figures of matplotlib: written whole or not at all, in fonts that have the characters of their texts."""

import logging
import warnings

from common.files import atomic_path

log = logging.getLogger("run")
DEFAULT = "DejaVu Sans"  # comes with matplotlib; has Latin, Greek, Cyrillic, Arabic and Hebrew letters, but no East Asian ones


def save_figure(figure, path, dpi=100):
    """Write the figure to `path` as PNG."""
    # Without matplotlib's warnings of each character that no font has: `families_for` tells of them all in a line.
    with atomic_path(path) as temporary, warnings.catch_warnings(action="ignore"):
        figure.savefig(temporary, format="png", dpi=dpi)


def families_for(text):
    """Names of font families which together have the characters of `text`, for matplotlib to fall back from one to the next.

    Asks the machine for its fonts only where matplotlib's own does not do. What no font has is told in a line, and will be boxes.
    """
    from matplotlib import font_manager  # slow to import, and needed once at the end of a run

    families = [DEFAULT]
    missing = {ord(character) for character in text if character.isprintable()}
    missing -= _drawable(font_manager.findfont(DEFAULT), missing)
    for path in sorted(font_manager.findSystemFonts(), key=_preference) if missing else ():
        found = _drawable(path, missing)
        if found:
            font_manager.fontManager.addfont(path)
            families.append(font_manager.FontProperties(fname=path).get_name())
            missing -= found
        if not missing:
            break
    if missing:
        examples = "".join(map(chr, sorted(missing)[:10]))
        log.warning(
            f"warning: no font here has {len(missing)} of the characters in the picture ({examples}), they are drawn as boxes. "
            "Install one, such as Noto Sans CJK (Debian: apt-get install fonts-noto-cjk)."
        )
    return families


def _preference(path):
    """Regular faces of sans-serif families first: they read best, and are what matplotlib's own looks like."""
    name = str(path).lower()
    return "regular" not in name, "sans" not in name, name


def _drawable(path, characters):
    """Those of `characters` (code points) that the font file has; none where matplotlib cannot draw with it (coloured bitmaps)."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(str(path))
        found = {character for character in characters if font.get_char_index(character)}
        if found:
            font.load_char(min(found))
        return found
    except (OSError, RuntimeError):
        return set()
