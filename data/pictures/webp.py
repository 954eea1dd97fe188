"""The container of WebP: how large the picture is, and its EXIF chunk."""

from data.pictures.formats import UnreadableImage


def read_size(content):
    """(width, height) from the first chunk. Raises UnreadableImage."""
    kind, data = content[12:16], content[20:30]
    if kind == b"VP8X" and len(data) == 10:
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if kind == b"VP8L" and len(data) >= 5:
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(data) == 10:
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    raise UnreadableImage("truncated or damaged (a WebP without its header)")


def exif(content):
    """The data of the EXIF chunk (name, length, data, padding to an even length), b"" if there is none."""
    position = 12
    while position + 8 <= len(content):
        length = int.from_bytes(content[position + 4 : position + 8], "little")
        if content[position : position + 4] == b"EXIF":
            return content[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
    return b""
