"""What a file is, by its first bytes: the formats that are read, and names for those that are not."""

import re

READ = "JPEG, PNG, WebP, BMP, TIFF, GIF and PNM"  # by Python and C++ alike; Python reads ONLY_PYTHON besides
PNM = re.compile(rb"P[1-6][ \t-\r]")
STARTS = (
    ("JPEG", (b"\xff\xd8\xff",)),
    ("PNG", (b"\x89PNG\r\n\x1a\n",)),
    ("GIF", (b"GIF87a", b"GIF89a")),
    ("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("BMP", (b"BM",)),
    ("JPEG 2000", (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
    ("JPEG XL", (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")),
)
ONLY_PYTHON = ("HEIC", "AVIF", "JPEG XL", "JPEG 2000")

# Files that are often found among pictures: their name and the way out.
OTHERS = (
    ("Photoshop file", (b"8BPS",)),
    ("icon", (b"\0\0\1\0",)),
    ("OpenEXR picture", (b"\x76\x2f\x31\x01",)),
    ("PDF document", (b"%PDF",)),
    ("PostScript file", (b"%!PS",)),
    ("SVG drawing", (b"<svg", b"<?xml")),
)
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class UnreadableImage(ValueError):
    """The file is no complete picture; the message says why."""


def format_of(content):
    """The name of a format that is read. Raises UnreadableImage for all others, by their name if it is known."""
    if not content:
        raise UnreadableImage("empty file (0 bytes)")
    for name, starts in STARTS:
        if content.startswith(starts):
            return name
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    if PNM.match(content):
        return "PNM"
    if content[4:8] == b"ftyp":
        return _in_boxes(content[8:12], content[16:64])
    for name, starts in OTHERS:
        if content.startswith(starts):
            raise UnreadableImage(f"{name}: convert it to JPEG or PNG")
    if content[:64].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise UnreadableImage("web page (HTML), perhaps of a failed download: fetch the picture again")
    raise UnreadableImage(f"not an image ({READ} are read)")


def only_read_here(content):
    """The name of the format if Python reads it but the C++ program and library refuse it, else None."""
    try:
        name = format_of(content)
    except UnreadableImage:
        return None
    return name if name in ONLY_PYTHON else None


def _in_boxes(brand, others):
    """ISO base media files: HEIC, AVIF, films. others: brands that the file is compatible with."""
    if brand in (b"avif", b"avis") or (brand in (b"mif1", b"msf1") and b"avif" in others):
        return "AVIF"
    if brand in HEIC_BRANDS:
        return "HEIC"
    raise UnreadableImage("film or raw photograph (MP4 and its relatives): convert it to JPEG")
