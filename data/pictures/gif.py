"""The blocks of GIF before its first frame."""

from data.pictures.formats import UnreadableImage

EXTENSION, FRAME = 0x21, 0x2C


def check_blocks(content):
    """UnreadableImage unless extensions, and nothing else, lie between header and first frame. (Pillow skips what is none.)"""
    flags = content[10]
    position = 13 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
    while content[position] == EXTENSION:
        position += 2
        while content[position]:  # the length of the next part
            position += content[position] + 1
        position += 1
    if content[position] != FRAME:
        raise UnreadableImage("truncated or damaged (something else than a frame behind its header)")
