"""A folder of odd pictures, each made for a situation that people meet; also the seeds of the C++ fuzz test.

    python tests/odd_pictures.py FOLDER

The name says what is right: the left half of `__red_left` is red, whatever way it has to be turned; `__error` is refused with a
reason; `__only_python` is red on the left for Python, and refused by C++.
"""

import base64
import io
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pillow_jxl
from PIL import Image

WIDTH, HEIGHT = 64, 48


def odd_pictures():
    """{name: content}."""
    files = {}
    for kind in (jpegs, pngs, webps, bmps, gifs, pnms, tiffs, photographs, others, bombs):
        for name, content in kind().items():
            assert name not in files, name
            files[name] = content
    return files


def write_odd_pictures(folder):
    """Write all into `folder`; returns their paths, sorted."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in odd_pictures().items():
        (folder / name).write_bytes(content)
    return sorted(folder.iterdir())


def pixels():
    """uint8 (48, 64, 3) RGB: red on the left, other colours with detail on the right."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8), (0, 0), 1.5)
    noise[:, : WIDTH // 2] = (200, 30, 20)
    noise[::6, : WIDTH // 2, 1] += 16
    return noise


def encoded(kind, image=None, **options):
    """The content of an image file by Pillow."""
    buffer = io.BytesIO()
    (image or Image.fromarray(pixels())).save(buffer, kind, **options)
    return buffer.getvalue()


def lying(value):
    """The picture as it lies in a file whose EXIF orientation is `value`, so that it is red on the left when turned."""
    return {
        1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1), 6: lambda p: p[:, ::-1].swapaxes(0, 1), 7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
        8: lambda p: p[::-1].swapaxes(0, 1),
    }[value](pixels()).copy()  # fmt: skip


def exif(value, order=">"):
    """EXIF data with one entry, the orientation."""
    start = b"MM" if order == ">" else b"II"
    return start + struct.pack(f"{order}HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, value, 0, 0)


# JPEG

# Colours on every third pixel, by `cjpeg -sample 3x1 -quality 20 -optimize`: no library within reach writes such files.
THIRDS = base64.b85decode(
    b"|JeWA0D}+!C;%J)9snZ%9sn5tC;%e>Apj!)EdVP3C;%`3JOE?>K>$1eHvl&PJOFzDSO8rBNdRO3kpO@InE;jmj{txGi~x!Npa8T0<^aP0pa7}>"
    b"+5oKpiU5oN$N>=m%K+K{?f~@x0s#a80sxx;!2ufqF98?;`T;Be<^cTx0s#2`+W<oWD=jTNH9U4fL3a41jHUSa`1ttv`1ttv`1ttv`1ttv`1ttv"
    b"`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv|G@we2mmkuKm!3W00I#K0}%oL!~hro0RaI40RR91000000000000aR71OLPT9S{Kl00RI60RaF2"
    b"00000000010udo1F+mbx|HJ?o0RaI40RaF2000000000000RU90R{iW038tl00IL50|5X400000000000RjUNF(D!{QUBTi3<CiG0ucid06zej"
    b"0Q3bJa`m3?4NfG>;?0s;+;Nj3-iv>!fG<E(muzn#E5v!eoc-}`RBEgy0IwB%bFK80;#|K?oa-zdfkJQ!@lWZx+~H}&nWt7YxaTi?8rH^~0=!d{"
    b"h90#^UL?&Mv#;ZsEV~`plK`H8_Rn_p+@3AhiE~e}zLzV#4M-+*|Je"
)


def segment(marker, data):
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def behind_start(jpeg, *segments):
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def scans(jpeg):
    """Where the scans of a progressive JPEG begin."""
    return [i for i in range(len(jpeg)) if jpeg[i : i + 2] == b"\xff\xda"]


def jpegs():
    image = Image.fromarray(pixels())
    plain, progressive = encoded("JPEG", quality=90), encoded("JPEG", quality=90, progressive=True)
    grey = Image.fromarray(pixels()[..., 0])
    half, frame = len(plain) * 2 // 3, plain.find(b"\xff\xc0")
    scan = plain.find(b"\xff\xda")
    thumbnail = encoded("JPEG", image.resize((16, 12)))
    end = b"\xff\xd9"
    film = struct.pack(">I", 24) + b"ftypmp42" + bytes(12) + struct.pack(">I", 6000) + b"mdat" + bytes(range(256)) * 24
    zeros = progressive[: len(progressive) * 2 // 3]
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'  # noqa: E501
    flat = encoded("JPEG", Image.new("RGB", (WIDTH, HEIGHT), (200, 30, 20)), optimize=True)
    files = {
        "baseline__red_left.jpg": plain,
        "progressive__red_left.jpg": progressive,
        "optimized__red_left.jpg": encoded("JPEG", optimize=True),
        "quality_100__red_left.jpg": encoded("JPEG", quality=100, subsampling=0),
        "quality_5__red_left.jpg": encoded("JPEG", quality=10),
        "sampling_422__red_left.jpg": encoded("JPEG", subsampling="4:2:2"),
        "restarts__red_left.jpg": encoded("JPEG", quality=90, restart_marker_blocks=2),
        "restarts_progressive__red_left.jpg": encoded("JPEG", restart_marker_blocks=3, progressive=True),
        "sampling_3x1__red_left.jpg": THIRDS,
        "sampling_3x1_no_end__error.jpg": THIRDS[:-2],
        "stored_as_rgb__red_left.jpg": encoded("JPEG", keep_rgb=True),
        "grey__grey.jpg": encoded("JPEG", grey),
        "grey_progressive__grey.jpg": encoded("JPEG", grey, progressive=True),
        "cmyk__red_left.jpg": encoded("JPEG", image.convert("CMYK"), quality=95),
        "cmyk_black_twice__error.jpg": _with_black_twice(encoded("JPEG", image.convert("CMYK"), quality=95)),
        "cmyk_progressive__red_left.jpg": encoded("JPEG", image.convert("CMYK"), progressive=True),
        "flat__red_left.jpg": flat,
        "flat_padded__red_left.jpg": flat[:-2] + b"\xff" * 40 + end,
        "icc_and_comment__red_left.jpg": encoded("JPEG", icc_profile=b"no profile" * 9000, comment=b"c" * 300),
        "fill_bytes__red_left.jpg": behind_start(plain, b"\xff\xff\xff", segment(0xFE, b"x")),
        "two_exif__red_left.jpg": behind_start(
            encoded("JPEG", Image.fromarray(lying(6)), quality=90), *(segment(0xE1, b"Exif\0\0" + exif(v)) for v in (6, 3))
        ),
        "little_endian_exif__red_left.jpg": behind_start(
            encoded("JPEG", Image.fromarray(lying(8))), segment(0xE1, b"Exif\0\0" + exif(8, "<"))
        ),
        "exif_9__red_left.jpg": behind_start(plain, segment(0xE1, b"Exif\0\0" + exif(9))),
        "exif_cut__red_left.jpg": behind_start(plain, segment(0xE1, b"Exif\0\0" + exif(6)[:14])),
        "exif_empty__red_left.jpg": behind_start(plain, segment(0xE1, b"Exif\0\0")),
        "exif_points_outside__red_left.jpg": behind_start(
            plain, segment(0xE1, b"Exif\0\0MM" + struct.pack(">HI", 42, 2**32 - 3) + bytes(9))
        ),
        "xmp_turn__red_left.jpg": behind_start(plain, segment(0xE1, xmp)),
        "thumbnail__red_left.jpg": behind_start(plain, segment(0xE1, b"Exif\0\0" + exif(1) + thumbnail)),
        "motion_photo__red_left.jpg": plain + film,
        "two_pictures__red_left.jpg": plain + thumbnail,
        "text_behind__red_left.jpg": plain + b"trailer" * 900,
        "zeros_behind__red_left.jpg": plain + bytes(5000),
        "padded_with_ff__red_left.jpg": plain[:-2] + b"\xff" * 50 + end,
        "padded_with_zeros__red_left.jpg": plain[:-2] + bytes(90) + end,
        "padded_with_text__red_left.jpg": plain[:-2] + b"camera" * 20 + end,
        "odd_scan_parameters__red_left.jpg": plain[: scan + 11] + b"\0\0\0" + plain[scan + 14 :],
        "no_end__error.jpg": plain[:-2],
        "cut__error.jpg": plain[:half],
        "cut_with_end__error.jpg": plain[:half] + end,
        "cut_behind_header__error.jpg": plain[: scan + 14] + end,
        "cut_in_header__error.jpg": plain[: scan - 30],
        "cut_with_thumbnail_behind__error.jpg": plain[:half] + thumbnail,
        "cut_with_film_behind__error.jpg": plain[:half] + film,
        "cut_thumbnail_within__error.jpg": behind_start(plain, segment(0xE1, b"Exif\0\0" + exif(1) + thumbnail))[:-400],
        "cut_progressive__error.jpg": progressive[: len(progressive) // 2],
        "cut_progressive_with_end__error.jpg": progressive[: len(progressive) // 2] + end,
        "first_scans_only__error.jpg": progressive[: scans(progressive)[3]] + end,
        "all_scans_but_one__error.jpg": progressive[: scans(progressive)[-1]] + end,
        "zero_filled__error.jpg": plain[:half] + bytes(len(plain) - half),
        "zero_filled_with_end__error.jpg": plain[:half] + bytes(len(plain) - half - 2) + end,
        "zero_filled_progressive__error.jpg": zeros + bytes(len(progressive) - len(zeros)),
        "zero_filled_progressive_with_end__error.jpg": zeros + bytes(len(progressive) - len(zeros) - 2) + end,
        "damaged_within__error.jpg": plain[:half] + b"\xff\xd5" + plain[half:],
        "bytes_between_segments__error.jpg": behind_start(plain, b"junk"),
        "lossless__error.jpg": plain.replace(b"\xff\xc0", b"\xff\xc3", 1),
        "hierarchical__error.jpg": plain.replace(b"\xff\xc0", b"\xff\xc5", 1),
        "twelve_bits__error.jpg": plain[: frame + 4] + b"\x0c" + plain[frame + 5 :],
        "jpeg_ls__error.jpg": plain.replace(b"\xff\xc0", b"\xff\xf7", 1),
        "no_height__error.jpg": plain[: frame + 5] + b"\0\0" + plain[frame + 7 :],
        "two_components__error.jpg": plain[: frame + 9] + b"\x02" + plain[frame + 10 :],
        "markers_only__error.jpg": b"\xff\xd8\xff\xd9",
        "start_only__error.jpg": b"\xff\xd8\xff",
        "no_tables__error.jpg": plain[:2] + plain[frame:],
    }
    for value in range(1, 9):
        turned = encoded("JPEG", Image.fromarray(lying(value)), quality=90)
        files[f"turned_{value}__red_left.jpg"] = behind_start(turned, segment(0xE1, b"Exif\0\0" + exif(value)))
    for name, factor in {"411": 0x411111, "440": 0x121111}.items():
        parameters = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
        files[f"sampling_{name}__red_left.jpg"] = cv2.imencode(".jpg", pixels()[..., ::-1], parameters)[1].tobytes()
    return files


# PNG


def _with_black_twice(jpeg):
    """Four inks, of which black says to be sampled twice as often as the others."""
    frame = jpeg.index(b"\xff\xc0")
    return jpeg[: frame + 20] + b"\x22" + jpeg[frame + 21 :]


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(rows, bits, color_type, *extra, behind=(), interlaced=0, compressed=None):
    """rows: the bytes of each row, not filtered."""
    height, width = len(rows), WIDTH
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, interlaced)
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows)) if compressed is None else compressed
    body = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", data), *behind, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def indices(bits):
    """(48, 64) numbers of `bits` bits, the lowest on the left."""
    numbers = np.tile(np.arange(WIDTH, dtype=np.uint16) * 2**bits // WIDTH, (HEIGHT, 1))
    numbers[:, : WIDTH // 2] = 0
    return numbers


def packed(numbers, bits):
    """Rows of numbers of 1, 2, 4, 8 or 16 bits, the high bits first."""
    if bits == 16:
        return numbers.astype(">u2")
    spread = (numbers.astype(np.uint8)[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint8)) & 1
    return np.packbits(spread.reshape(len(numbers), -1), axis=1)


def pngs():
    image = Image.fromarray(pixels())
    plain, deep = encoded("PNG"), (pixels().astype(np.uint16) * 257 + np.arange(WIDTH)[:, None]).clip(0, 65535)
    alpha = np.tile(np.linspace(40, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    alpha[:, : WIDTH // 2] = 255
    rgba = np.dstack([pixels(), alpha])
    grey = np.tile(np.arange(WIDTH, dtype=np.uint8) * 4, (HEIGHT, 1))
    palette = np.array([(200, 30, 20)] + [(7 * i % 256, 40, 99) for i in range(255)], np.uint8)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels()))
    red_deep = (np.array([200, 30, 20], ">u2") * 257 + 3).astype(">u2")
    keyed = np.broadcast_to(red_deep, (HEIGHT, WIDTH, 3)).copy()
    keyed[:, WIDTH // 2 :] = (0x1234, 0x1234, 0x1234)
    keyed[::2, WIDTH // 2 :] = (0x1235, 0x1234, 0x1234)  # equal in 8 bits, not in 16
    rows = pixels()
    files = {
        "plain__red_left.png": plain,
        "interlaced__red_left.png": INTERLACED,
        "alpha__red_left.png": encoded("PNG", Image.fromarray(rgba)),
        "grey__grey.png": encoded("PNG", Image.fromarray(grey)),
        "grey_alpha__grey.png": encoded("PNG", Image.fromarray(np.dstack([grey, alpha]))),
        "sixteen_bits__red_left.png": png([row.astype(">u2").tobytes() for row in deep], 16, 2),
        "sixteen_bits_alpha__red_left.png": png(
            [row.astype(">u2").tobytes() for row in np.dstack([deep, alpha.astype(np.uint16) * 257])], 16, 6
        ),
        "sixteen_bits_grey__grey.png": png([row.astype(">u2").tobytes() for row in deep[..., 0]], 16, 0),
        "sixteen_bits_grey_alpha__grey.png": png(
            [row.astype(">u2").tobytes() for row in np.dstack([deep[..., 0], alpha.astype(np.uint16) * 257])], 16, 4
        ),
        "sixteen_bits_key__red_left.png": png(
            [row.tobytes() for row in keyed], 16, 2, chunk(b"tRNS", bytes.fromhex("123412341234"))
        ),
        "key__red_left.png": png(rows, 8, 2, chunk(b"tRNS", struct.pack(">3H", *map(int, pixels()[3, 40])))),
        "key_of_wrong_length__red_left.png": png(rows, 8, 2, chunk(b"tRNS", b"\0\1")),
        "grey_key_of_wrong_length__grey.png": png(grey, 8, 0, chunk(b"tRNS", b"\0\x50\0")),
        "grey_key__grey.png": png(grey, 8, 0, chunk(b"tRNS", struct.pack(">H", 80))),
        "wide_exif_behind__red_left.png": png(
            [row.tobytes() for row in lying(3)], 8, 2, behind=[chunk(b"eXIf", exif(3))]
        ),
        "exif_short__red_left.png": png(rows, 8, 2, chunk(b"eXIf", b"MM")),
        "exif_not_tiff__red_left.png": png(rows, 8, 2, chunk(b"eXIf", b"hello, this is no TIFF file")),
        "exif_wrong_checksum__red_left.png": png(rows, 8, 2, chunk(b"eXIf", exif(1))[:-4] + b"\0\0\0\0"),
        "text_wrong_checksum__red_left.png": png(rows, 8, 2, chunk(b"tEXt", b"a\0b")[:-4] + b"\0\0\0\0"),
        "damaged_profile__red_left.png": png(rows, 8, 2, chunk(b"iCCP", b"x\0\0no zlib")),
        "text_bomb__red_left.png": png(rows, 8, 2, chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10**6)))),
        "gamma__red_left.png": png(rows, 8, 2, chunk(b"gAMA", struct.pack(">I", 100000))),
        "animated__red_left.png": encoded("PNG", save_all=True, append_images=[image.rotate(180)], duration=40),
        "text_behind__red_left.png": plain + b"trailer" * 50,
        "unknown_critical_chunk__error.png": png(rows, 8, 2, chunk(b"CgBI", b"x" * 4)),
        "palette_behind_pixels__error.png": png(
            indices(8).astype(np.uint8), 8, 3, behind=[chunk(b"PLTE", palette.tobytes())]
        ),
        "unknown_chunk__red_left.png": png(rows, 8, 2, chunk(b"abCd", b"x" * 99)),
        "two_data_chunks__red_left.png": png(rows, 8, 2, chunk(b"IDAT", data[:100]), compressed=data[100:]),
        "more_data_than_rows__red_left.png": png(rows, 8, 2, compressed=zlib.compress(
            b"".join(b"\0" + row.tobytes() for row in [*rows, *rows])
        )),
        "index_outside_palette__red_left.png": png(
            indices(4).astype(np.uint8), 8, 3, chunk(b"PLTE", palette[:4].tobytes())
        ),
        "cut__error.png": plain[: len(plain) // 2],
        "no_end__error.png": plain[:-12],
        "end_cut__error.png": plain[:-2],
        "wrong_checksum__error.png": plain[:-16] + bytes(4) + plain[-12:],
        "header_wrong_checksum__error.png": plain[:29] + bytes(4) + plain[33:],
        "data_cut_within__error.png": png(rows, 8, 2, compressed=data[: len(data) // 2]),
        "data_zero_filled__error.png": png(rows, 8, 2, compressed=data[: len(data) // 2] + bytes(len(data) // 2)),
        "fewer_rows_than_said__error.png": png(rows, 8, 2, compressed=zlib.compress(
            b"".join(b"\0" + row.tobytes() for row in rows[:20])
        )),
        "unknown_filter__error.png": png(rows, 8, 2, compressed=zlib.compress(
            b"".join(b"\x09" + row.tobytes() for row in rows)
        )),
        "no_palette__error.png": png(indices(8), 8, 3),
        "no_data__error.png": b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)) + chunk(b"IEND", b""),
        "no_width__error.png": b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 4, 8, 2, 0, 0, 0)) + chunk(b"IDAT", data) + chunk(b"IEND", b""),
        "three_bits__error.png": png(rows, 3, 2),
        "signature_only__error.png": plain[:8],
    }  # fmt: skip
    for bits in (1, 2, 4, 8):
        colors = chunk(b"PLTE", palette[: 2**bits].tobytes())
        files[f"palette_{bits}__red_left.png"] = png(packed(indices(bits), bits), bits, 3, colors)
        files[f"palette_alpha_{bits}__red_left.png"] = png(
            packed(indices(bits), bits), bits, 3, colors, chunk(b"tRNS", bytes([255, 128, 0, 77][: 2**bits]))
        )
        files[f"grey_{bits}__grey.png"] = png(packed(indices(bits), bits), bits, 0)
        files[f"grey_key_{bits}__grey.png"] = png(packed(indices(bits), bits), bits, 0, chunk(b"tRNS", b"\0\1"))
    for value in (2, 5, 6):
        files[f"turned_{value}__red_left.png"] = encoded("PNG", Image.fromarray(lying(value)), exif=exif(value))
    turned = (lying(6).astype(">u2") * 257).reshape(len(lying(6)), -1)
    header = struct.pack(">IIBBBBB", HEIGHT, WIDTH, 16, 2, 0, 0, 0)
    files["sixteen_bits_turned__red_left.png"] = b"\x89PNG\r\n\x1a\n" + b"".join((
        chunk(b"IHDR", header), chunk(b"eXIf", exif(6)),
        chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in turned))), chunk(b"IEND", b""),
    ))  # fmt: skip
    return files


def _interlaced():
    """Adam7, which Pillow cannot write."""
    data = b""
    for y, x, dy, dx in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)):
        data += b"".join(b"\0" + row.tobytes() for row in pixels()[y::dy, x::dx])
    return png(pixels(), 8, 2, interlaced=1, compressed=zlib.compress(data))


INTERLACED = _interlaced()


# WebP


def webp_chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def webps():
    image = Image.fromarray(pixels())
    other = Image.fromarray(np.ascontiguousarray(pixels()[:, ::-1]))
    lossless = encoded("WEBP", lossless=True)
    lossy = encoded("WEBP", quality=80)
    alpha = image.copy()
    alpha.putalpha(Image.fromarray(np.tile(np.r_[np.full(32, 255), np.linspace(0, 255, 32)].astype(np.uint8), (HEIGHT, 1))))
    moving = encoded("WEBP", save_all=True, append_images=[other, image], duration=50, quality=90)
    with_notes = encoded("WEBP", Image.fromarray(lying(6)), exif=exif(6), lossless=True)
    return {
        "lossy__red_left.webp": lossy,
        "lossless__red_left.webp": lossless,
        "alpha_lossless__red_left.webp": encoded("WEBP", alpha, lossless=True, exact=True),
        "alpha_lossy__red_left.webp": encoded("WEBP", alpha, quality=85),
        "animated__red_left.webp": moving,
        "animated_alpha__red_left.webp": encoded("WEBP", alpha, save_all=True, append_images=[other], lossless=True),
        "turned__red_left.webp": with_notes,
        "exif_with_head__red_left.webp": encoded("WEBP", Image.fromarray(lying(3)), exif=b"Exif\0\0" + exif(3), lossless=True),
        "exif_short__red_left.webp": encoded("WEBP", exif=b"MM", lossless=True),
        "exif_not_tiff__red_left.webp": encoded("WEBP", exif=b"hello, no TIFF", lossless=True),
        "text_behind__red_left.webp": lossless + b"trailer" * 9,
        "cut__error.webp": lossy[: len(lossy) // 2],
        "cut_lossless__error.webp": lossless[: len(lossless) // 2],
        "cut_animated__error.webp": moving[: len(moving) // 3],
        "shorter_than_said__error.webp": lossless[:-2],
        "cut_data__error.webp": b"RIFF" + struct.pack("<I", 4 + 8 + 400) + b"WEBP" + webp_chunk(b"VP8L", lossless[20:420]),
        "head_only__error.webp": lossless[:12],
        "no_chunk__error.webp": b"RIFF" + struct.pack("<I", 4) + b"WEBP",
    }


# BMP


def bmp(width, height, bits, body, palette=b"", compression=0, masks=b"", header=40, colors=0):
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(body), 2835, 2835, colors, 0)
    info += masks.ljust(header - 40, b"\0") if header > 40 else masks
    offset = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + info + palette + body


def padded_rows(rows, turned=True):
    rows = [bytes(row) + b"\0" * (-len(bytes(row)) % 4) for row in rows]
    return b"".join(rows[::-1] if turned else rows)


def bmps():
    bgr = np.ascontiguousarray(pixels()[..., ::-1])
    bgra = np.dstack([bgr, np.full((HEIGHT, WIDTH), 255, np.uint8)])
    bgra[:, 40:, 3] = np.arange(24) * 10
    rgb = pixels().astype(np.uint16)
    five = (rgb[..., 0] >> 3) << 10 | (rgb[..., 1] >> 3) << 5 | rgb[..., 2] >> 3
    six = (rgb[..., 0] >> 3) << 11 | (rgb[..., 1] >> 2) << 5 | rgb[..., 2] >> 3
    palette = b"".join(bytes((20, 30 + 0 * i, 200, 0)) if i == 0 else bytes((99, 40, 7 * i % 256, 0)) for i in range(256))
    masks = {
        "alpha": struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        "none": struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0),
    }
    row8 = indices(8).astype(np.uint8)[::-1]
    rle8 = b"".join(bytes((32, 0)) + bytes((0, 32)) + row[32:].tobytes() + b"\0\0" for row in row8) + b"\0\1"
    rle4 = (
        b"".join(bytes((64, 0x00)) + b"\0\0" if y % 2 else bytes((32, 0x00, 32, 0x12)) + b"\0\0" for y in range(HEIGHT)) + b"\0\1"
    )
    core = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24)
    plain = bmp(WIDTH, HEIGHT, 24, padded_rows(bgr))
    odd_width = bmp(WIDTH - 1, HEIGHT, 24, padded_rows(np.ascontiguousarray(bgr[:, :-1])))
    files = {
        "plain__red_left.bmp": plain,
        "odd_width__red_left.bmp": odd_width,
        "from_the_top__red_left.bmp": bmp(WIDTH, -HEIGHT, 24, padded_rows(bgr, turned=False)),
        "thirty_two__red_left.bmp": bmp(WIDTH, HEIGHT, 32, padded_rows(bgra)),
        "alpha__red_left.bmp": bmp(WIDTH, HEIGHT, 32, padded_rows(bgra), compression=3, masks=masks["alpha"], header=108),
        "alpha_v5__red_left.bmp": bmp(WIDTH, HEIGHT, 32, padded_rows(bgra), compression=3, masks=masks["alpha"], header=124),
        "masks__red_left.bmp": bmp(WIDTH, HEIGHT, 32, padded_rows(bgra), compression=3, masks=masks["none"][:12]),
        "sixteen_555__red_left.bmp": bmp(WIDTH, HEIGHT, 16, padded_rows(five.astype("<u2"))),
        "sixteen_565__red_left.bmp": bmp(
            WIDTH, HEIGHT, 16, padded_rows(six.astype("<u2")), compression=3, masks=struct.pack("<3I", 0xF800, 0x7E0, 0x1F)
        ),
        "rle8__red_left.bmp": bmp(WIDTH, HEIGHT, 8, rle8, palette, compression=1),
        "rle4__red_left.bmp": bmp(WIDTH, HEIGHT, 4, rle4, palette[:64], compression=2),
        "os2__red_left.bmp": b"BM" + struct.pack("<IHHI", 26 + len(padded_rows(bgr)), 0, 0, 26) + core + padded_rows(bgr),
        "text_behind__red_left.bmp": plain + b"trailer" * 20,
        "few_colors__red_left.bmp": bmp(WIDTH, HEIGHT, 8, padded_rows(indices(4).astype(np.uint8)), palette[:64], colors=16),
        "index_outside_palette__red_left.bmp": bmp(
            WIDTH, HEIGHT, 8, padded_rows(indices(8).astype(np.uint8)), palette[:64], colors=16
        ),
        "black_and_white_of_8_bits__grey.bmp": bmp(
            WIDTH, HEIGHT, 8, padded_rows(indices(1).astype(np.uint8)), b"\0\0\0\0\xff\xff\xff\0", colors=2
        ),
        "last_row_not_filled_up__red_left.bmp": odd_width[:-3],
        "cut__error.bmp": plain[: len(plain) // 2],
        "cut_a_little__error.bmp": plain[:-1],
        "rle8_cut__error.bmp": bmp(WIDTH, HEIGHT, 8, rle8[: len(rle8) // 2], palette, compression=1),
        "odd_masks__error.bmp": bmp(
            WIDTH, HEIGHT, 32, padded_rows(bgra), compression=3, masks=struct.pack("<3I", 0x3FF00000, 0xFFC00, 0x3FF)
        ),
        "unknown_compression__error.bmp": bmp(WIDTH, HEIGHT, 24, padded_rows(bgr), compression=9),
        "jpeg_within__error.bmp": bmp(WIDTH, HEIGHT, 24, encoded("JPEG"), compression=4),
        "unknown_header__error.bmp": plain[:14] + struct.pack("<I", 77) + plain[18:],
        "seven_bits__error.bmp": bmp(WIDTH, HEIGHT, 7, padded_rows(bgr)),
        "header_only__error.bmp": plain[:54],
        "two_letters__error.bmp": b"BM",
        "no_width__error.bmp": bmp(0, HEIGHT, 24, padded_rows(bgr)),
        "negative_width__error.bmp": bmp(-WIDTH, HEIGHT, 24, padded_rows(bgr)),
    }  # fmt: skip
    for bits in (1, 4, 8):
        body = padded_rows(packed(indices(bits), bits))
        files[f"palette_{bits}__red_left.bmp"] = bmp(WIDTH, HEIGHT, bits, body, palette[: 4 * 2**bits])
    return files


# GIF


def gifs():
    image, other = Image.fromarray(pixels()), Image.fromarray(np.ascontiguousarray(pixels()[:, ::-1]))
    plain = encoded("GIF", image)
    moving = encoded("GIF", image, save_all=True, append_images=[other, image], duration=50)
    palette = bytes((200, 30, 20, 10, 20, 30, 90, 200, 90, 255, 255, 255))
    numbers = indices(2).astype(np.uint8)

    def gif(screen, place, numbers, palette=palette, local=b"", control=b"", interlaced=0, body=None):
        flags = 0x80 | len(palette) // 8 if palette else 0
        frame_flags = (0x80 | 1 if local else 0) | interlaced
        head = b"GIF89a" + struct.pack("<HHBBB", *screen, flags, 0, 0) + palette
        frame = b"," + struct.pack("<HHHHB", *place, numbers.shape[1], numbers.shape[0], frame_flags) + local
        return head + control + frame + (lzw(numbers) if body is None else body) + b";"

    size = (WIDTH, HEIGHT)
    transparent = b"!\xf9\x04\x01\0\0\x02\0"
    order = [y for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(start, HEIGHT, step)]
    data = lzw(numbers)
    return {
        "plain__red_left.gif": plain,
        "version_87__red_left.gif": b"GIF87a" + plain[6:],
        "animated__red_left.gif": moving,
        "four_colors__red_left.gif": gif(size, (0, 0), numbers),
        "interlaced__red_left.gif": gif(size, (0, 0), numbers[order], interlaced=0x40),
        "transparent__red_left.gif": gif(size, (0, 0), numbers, control=transparent),
        "frame_within_screen__red_left.gif": gif((WIDTH + 6, HEIGHT + 9), (5, 4), numbers),
        "frame_within_clear_screen__red_left.gif": gif((WIDTH + 6, HEIGHT + 2), (1, 2), numbers, control=transparent),
        "frame_beyond_screen__red_left.gif": gif((20, 10), (0, 0), numbers),
        "local_palette__red_left.gif": gif(size, (0, 0), numbers, palette=b"", local=palette),
        "no_palette__grey.gif": gif(size, (0, 0), numbers, palette=b""),
        "index_outside_palette__red_left.gif": gif(size, (0, 0), numbers, palette=palette[:6]),
        "comment__red_left.gif": gif(size, (0, 0), numbers, control=b"!\xfe\x05hello\0" + transparent),
        "text_behind__red_left.gif": plain + b"trailer" * 20,
        "no_trailer__red_left.gif": plain[:-1],
        "cut_behind_first_frame__red_left.gif": moving[: len(moving) - 300],
        "cut__error.gif": plain[: len(plain) // 2],
        "data_ends_early__error.gif": gif(size, (0, 0), numbers, body=data[: len(data) // 2] + b"\0"),
        "fewer_rows_than_said__error.gif": gif(size, (0, 0), numbers, body=lzw(numbers[:20])),
        "junk_before_frame__error.gif": gif(size, (0, 0), numbers, control=b"junk"),
        "no_frame__error.gif": gif(size, (0, 0), numbers)[:25] + b";",
        "header_only__error.gif": plain[:13],
        "odd_code_size__error.gif": gif(size, (0, 0), numbers, body=b"\x0d" + data[1:]),
    }


def lzw(numbers):
    """The image data of a GIF with numbers below 4, in codes that never grow: each clears the table after two numbers."""
    bits, codes = 3, []
    for i in range(0, numbers.size, 2):
        codes += [4, *numbers.ravel()[i : i + 2]]
    codes.append(5)
    stream = sum(int(code) << (bits * place) for place, code in enumerate(codes)).to_bytes((len(codes) * bits + 7) // 8, "little")
    blocks = [stream[i : i + 255] for i in range(0, len(stream), 255)]
    return b"\x02" + b"".join(bytes((len(block),)) + block for block in blocks) + b"\0"


# PNM


def pnms():
    rgb, size = pixels(), b"%d %d\n" % (WIDTH, HEIGHT)
    grey, bits = rgb[..., 0], (rgb[..., 0] > 90).astype(np.uint8)
    deep = rgb.astype(">u2") * 257

    def words(values):
        return " ".join(map(str, values.ravel())).encode().replace(b" 200 ", b"\n200\t") + b"\n"

    plain = b"P6\n" + size + b"255\n" + rgb.tobytes()
    return {
        "p1__grey.pbm": b"P1\n# a comment\n" + size + "".join(map(str, bits.ravel())).encode(),
        "p1_blanks__grey.pbm": b"P1\n" + size + words(bits),
        "p2__grey.pgm": b"P2\n" + size + b"255\n" + words(grey),
        "p3__red_left.ppm": b"P3\n" + size + b"255\n" + words(rgb),
        "p3_comment_within__red_left.ppm": b"P3\n" + size + b"255\n" + words(rgb[:3]) + b"# half\n" + words(rgb[3:]),
        "p3_of_100__red_left.ppm": b"P3\n" + size + b"100\n" + words(rgb * 100.0 // 255).replace(b".0", b""),
        "p4__grey.pbm": b"P4\n" + size + np.packbits(bits, axis=1).tobytes(),
        "p5__grey.pgm": b"P5\n" + size + b"255\n" + grey.tobytes(),
        "p5_of_100__grey.pgm": b"P5\n" + size + b"100\n" + (grey // 3).tobytes(),
        "p5_deep__grey.pgm": b"P5\n" + size + b"65535\n" + deep[..., 0].tobytes(),
        "p5_of_1000__grey.pgm": b"P5\n" + size + b"1000\n" + (grey * 3.9).astype(">u2").tobytes(),
        "p2_of_1000__grey.pgm": b"P2\n" + size + b"1000\n" + words((grey * 3.9).astype(int)),
        "p6__red_left.ppm": plain,
        "p6_of_100__red_left.ppm": b"P6\n" + size + b"100\n" + (rgb * 100.0 / 255).astype(np.uint8).tobytes(),
        "p6_deep__red_left.ppm": b"P6\n" + size + b"65535\n" + deep.tobytes(),
        "p6_of_1000__red_left.ppm": b"P6\n" + size + b"1000\n" + (rgb * 3.9).astype(">u2").tobytes(),
        "p6_values_too_large__red_left.ppm": b"P6\n" + size + b"235\n" + rgb.tobytes(),
        "comments__red_left.ppm": b"P6 # one\n# two\n%d # three\n%d\n#four\n255\n" % (WIDTH, HEIGHT) + rgb.tobytes(),
        "text_behind__red_left.ppm": plain + b"trailer",
        "cut__error.ppm": plain[: len(plain) // 2],
        "cut_a_little__error.ppm": plain[:-1],
        "p3_cut__error.ppm": b"P3\n" + size + b"255\n" + words(rgb)[:-40],
        "p1_cut__error.pbm": b"P1\n" + size + words(bits)[:-40],
        "p4_cut__error.pbm": b"P4\n" + size + np.packbits(bits, axis=1).tobytes()[:-1],
        "p3_too_large__error.ppm": b"P3\n" + size + b"100\n" + words(rgb),
        "p2_no_number__error.pgm": b"P2\n" + size + b"255\nx" + words(grey),
        "p1_no_bit__error.pbm": b"P1\n" + size + b"2" + words(bits),
        "no_width__error.ppm": b"P6\n0 4\n255\n" + rgb.tobytes(),
        "maximum_0__error.ppm": b"P6\n" + size + b"0\n" + rgb.tobytes(),
        "maximum_70000__error.ppm": b"P6\n" + size + b"70000\n" + rgb.tobytes(),
        "size_no_number__error.ppm": b"P6\nwide 4\n255\n" + rgb.tobytes(),
        "header_only__error.ppm": b"P6\n64",
        "floats__error.pfm": b"PF\n" + size + b"-1.0\n" + rgb.astype(np.float32).tobytes(),
        "any__error.pam": b"P7\nWIDTH 64\nHEIGHT 48\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + rgb.tobytes(),
    }


# TIFF


def tiff(values, *, photometric=2, bits=8, order="<", planar=False, tile=0, rows=0, deflate=False, predictor=False, big=False,
         extra=None, tags=None, fill=1):  # fmt: skip
    """values: (H, W, S) samples, in strips of `rows` rows or tiles of `tile` pixels. tags: {number: (type, values)}, others."""
    height, width, samples = values.shape
    planes = [values[..., s : s + 1] for s in range(samples)] if planar else [values]
    parts = []
    for plane in planes:
        if tile:
            blocks = [_tile(plane, y, x, tile) for y in range(0, height, tile) for x in range(0, width, tile)]
        else:
            step = rows or height
            blocks = [plane[y : y + step] for y in range(0, height, step)]
        parts += [_tiff_bytes(block, bits, order, predictor) for block in blocks]
    if fill == 2:
        parts = [bytes(int(f"{byte:08b}"[::-1], 2) for byte in part) for part in parts]
    if deflate:
        parts = [zlib.compress(part) for part in parts]
    head = 16 if big else 8
    starts = np.cumsum([head, *map(len, parts)])[:-1].tolist()
    entries = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * samples), 259: (3, [8 if deflate else 1]), 262: (3, [photometric]),
        266: (3, [fill]), 277: (3, [samples]), 284: (3, [2 if planar else 1]),
        (324 if tile else 273): (4, starts), (325 if tile else 279): (4, [len(part) for part in parts]),
    }  # fmt: skip
    entries |= {322: (3, [tile]), 323: (3, [tile])} if tile else {278: (4, [rows or height])}
    entries |= {317: (3, [2])} if predictor else {}
    entries |= {338: (3, [extra])} if extra is not None else {}
    return _tiff_file(b"".join(parts), entries | (tags or {}), order, big)


def _tile(plane, y, x, size):
    block = np.zeros((size, size, plane.shape[2]), plane.dtype)
    piece = plane[y : y + size, x : x + size]
    block[: piece.shape[0], : piece.shape[1]] = piece
    return block


def _tiff_bytes(block, bits, order, predictor):
    if predictor:
        block = block.copy()
        block[:, 1:] -= block[:, :-1].copy()
    if bits == 16:
        return block.astype(f"{order}u2").tobytes()
    if bits == 32:
        return block.astype(f"{order}f4").tobytes()
    return packed(block.reshape(len(block), -1), bits).tobytes()


def _tiff_file(data, entries, order, big):
    """A TIFF file with `data` behind its head and one directory at the end."""
    codes = {1: "B", 3: "H", 4: "I", 16: "Q"}
    number, count, step, inline = ("Q", "Q", 20, 8) if big else ("I", "H", 12, 4)
    head = 16 if big else 8
    data += b"\0" * (len(data) % 2)
    start = head + len(data)
    behind, directory = b"", struct.pack(order + count, len(entries))
    for tag, (kind, values) in sorted(entries.items()):
        value = struct.pack(f"{order}{len(values)}{codes[kind]}", *values)
        directory += struct.pack(f"{order}HH{number}", tag, kind, len(values))
        if len(value) > inline:
            place = start + struct.calcsize(order + count) + step * len(entries) + inline + len(behind)
            behind += value
            value = struct.pack(order + number, place)
        directory += value.ljust(inline, b"\0")
    first = (b"II" if order == "<" else b"MM") + (
        struct.pack(f"{order}HHHQ", 43, 8, 0, start) if big else struct.pack(f"{order}HI", 42, start)
    )
    return first + data + directory + bytes(inline) + behind


def tiffs():
    rgb = pixels()
    deep = (rgb.astype(np.uint16) * 257 + 3).clip(0, 65535)
    grey, deep_grey = rgb[..., :1], deep[..., :1]
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:, 40:] = (np.arange(24) * 10)[:, None]
    rgba, deep_rgba = np.dstack([rgb, alpha]), np.dstack([deep, alpha.astype(np.uint16) * 257])
    premultiplied = (rgba * (np.dstack([alpha] * 3 + [np.full_like(alpha, 255)]) / 255)).astype(np.uint8)
    inks = 255 - np.dstack([rgb, np.full_like(alpha, 245)])
    deep_premultiplied = premultiplied.astype(np.uint16) * 257
    palette = np.zeros((3, 256), np.uint16)
    palette[:, 0] = np.array((200, 30, 20)) * 257
    palette[:, 1:] = np.arange(255) * 200 + np.array([[3], [500], [900]])
    files = {
        "plain__red_left.tif": tiff(rgb),
        "big_endian__red_left.tif": tiff(rgb, order=">"),
        "strips__red_left.tif": tiff(rgb, rows=7),
        "tiles__red_left.tif": tiff(rgb, tile=32),
        "deflate_predictor__red_left.tif": tiff(rgb, deflate=True, predictor=True, rows=10),
        "planar__red_left.tif": tiff(rgb, planar=True),
        "planar_tiles__red_left.tif": tiff(rgb, planar=True, tile=16),
        "planar_deflate__red_left.tif": tiff(rgb, planar=True, deflate=True, rows=11),
        "bigtiff__red_left.tif": tiff(rgb, big=True, rows=9),
        "bigtiff_big_endian__red_left.tif": tiff(rgb, big=True, order=">"),
        "alpha__red_left.tif": tiff(rgba, extra=2),
        "alpha_planar__red_left.tif": tiff(rgba, extra=2, planar=True),
        "alpha_premultiplied__red_left.tif": tiff(premultiplied, extra=1),
        "alpha_premultiplied_tiles__red_left.tif": tiff(premultiplied, extra=1, tile=16, deflate=True),
        "fourth_band__red_left.tif": tiff(rgba, extra=0),
        "fourth_band_without_flag__red_left.tif": tiff(rgba),
        "fourth_band_planar__red_left.tif": tiff(rgba, planar=True, extra=0),
        "sixteen_bits__red_left.tif": tiff(deep, bits=16),
        "sixteen_bits_big_endian__red_left.tif": tiff(deep, bits=16, order=">"),
        "sixteen_bits_tiles__red_left.tif": tiff(deep, bits=16, tile=16),
        "sixteen_bits_predictor__red_left.tif": tiff(deep, bits=16, deflate=True, predictor=True, rows=5),
        "sixteen_bits_planar__red_left.tif": tiff(deep, bits=16, planar=True, rows=13),
        "sixteen_bits_planar_big_endian__red_left.tif": tiff(deep, bits=16, planar=True, order=">"),
        "sixteen_bits_planar_tiles__red_left.tif": tiff(deep, bits=16, planar=True, tile=32, deflate=True, predictor=True),
        "sixteen_bits_planar_alpha__red_left.tif": tiff(deep_rgba, bits=16, planar=True, extra=2),
        "sixteen_bits_alpha__red_left.tif": tiff(deep_rgba, bits=16, extra=2),
        "sixteen_bits_premultiplied__red_left.tif": tiff(deep_premultiplied, bits=16, extra=1),
        "sixteen_bits_fourth_band__red_left.tif": tiff(deep_rgba, bits=16),
        "sixteen_bits_bigtiff__red_left.tif": tiff(deep, bits=16, big=True),
        "sixteen_bits_turned__red_left.tif": tiff(lying(6).astype(np.uint16) * 257, bits=16, tags={274: (3, [6])}),
        "sixteen_bits_grey__grey.tif": tiff(deep_grey, bits=16, photometric=1),
        "sixteen_bits_grey_big_endian__grey.tif": tiff(deep_grey, bits=16, photometric=1, order=">"),
        "sixteen_bits_white_is_zero__grey.tif": tiff(deep_grey, bits=16, photometric=0),
        "sixteen_bits_white_is_zero_big_endian__grey.tif": tiff(deep_grey, bits=16, photometric=0, order=">"),
        "grey__grey.tif": tiff(grey, photometric=1),
        "white_is_zero__grey.tif": tiff(grey, photometric=0),
        "grey_alpha__grey.tif": tiff(np.dstack([grey, alpha]), photometric=1, extra=2),
        "grey_premultiplied__grey.tif": tiff(np.dstack([np.minimum(grey, alpha), alpha]), photometric=1, extra=1),
        "grey_second_band__grey.tif": tiff(np.dstack([grey, alpha]), photometric=1, extra=0),
        "cmyk__red_left.tif": tiff(inks, photometric=5),
        "cmyk_planar__red_left.tif": tiff(inks, photometric=5, planar=True),
        "two_pages__red_left.tif": encoded("TIFF", save_all=True, append_images=[Image.new("RGB", (30, 40))]),
        "lzw__red_left.tif": encoded("TIFF", compression="tiff_lzw"),
        "packbits__red_left.tif": encoded("TIFF", compression="packbits"),
        "jpeg_within__red_left.tif": encoded("TIFF", compression="jpeg", quality=90),
        "jpeg_grey_within__grey.tif": encoded("TIFF", Image.fromarray(rgb[..., 0]), compression="jpeg"),
        "ycbcr_jpeg_within__red_left.tif": encoded("TIFF", Image.fromarray(rgb).convert("YCbCr"), compression="jpeg"),
        "ycbcr__red_left.tif": tiff(
            np.asarray(Image.fromarray(rgb).convert("YCbCr")), photometric=6, tags={530: (3, [1, 1])}
        ),
        "fax4__grey.tif": encoded("TIFF", Image.fromarray(rgb[..., 0] > 90), compression="group4"),
        "fax3__grey.tif": encoded("TIFF", Image.fromarray(rgb[..., 0] > 90), compression="group3"),
        "fill_order__grey.tif": tiff(indices(1)[..., None], bits=1, photometric=1, fill=2),
        "unknown_tags__red_left.tif": tiff(rgb, tags={700: (1, list(b"<xmp/>")), 34665: (4, [2**31]), 65000: (3, [7])}),
        "turned_9__red_left.tif": tiff(rgb, tags={274: (3, [9])}),
        "text_behind__red_left.tif": tiff(rgb) + b"trailer" * 9,
        "floats__error.tif": tiff(rgb.astype(np.float32), bits=32, tags={339: (3, [3] * 3)}),
        "signed__error.tif": tiff(rgb, tags={339: (3, [2] * 3)}),
        "thirty_two_bits__error.tif": tiff(grey.astype(np.float32), bits=32, photometric=1),
        "lab__error.tif": tiff(rgb, photometric=8),
        "five_bands__error.tif": tiff(np.dstack([rgba, alpha]), tags={338: (3, [0, 0])}),
        "cut__error.tif": _tiff_file(b"abc", {256: (4, [WIDTH])}, "<", False),
        "strip_larger_than_said__red_left.tif": tiff(rgb).replace(struct.pack("<I", rgb.size), struct.pack("<I", 10**6), 1),
        "strip_outside__error.tif": tiff(rgb, tags={273: (4, [10**6])}),
        "deflate_damaged__error.tif": tiff(rgb, deflate=True).replace(zlib.compress(rgb.tobytes())[50:90], bytes(40)),
        "deflate_cut__error.tif": _shorter_strip(tiff(rgb, deflate=True)),
        "strip_missing__error.tif": tiff(rgb, rows=24, tags={273: (4, [8]), 279: (4, [rgb.size // 2])}),
        "unknown_compression__error.tif": tiff(rgb, tags={259: (3, [777])}),
        "old_jpeg__error.tif": tiff(rgb, tags={259: (3, [6])}),
        "no_directory__error.tif": b"II*\0" + struct.pack("<I", 10**6),
        "head_only__error.tif": b"II*\0",
    }  # fmt: skip
    for bits in (1, 2, 4, 8):
        numbers = indices(bits)[..., None].astype(np.uint8)
        colors = {320: (3, palette[:, : 2**bits].ravel().tolist())}
        files[f"palette_{bits}__red_left.tif"] = tiff(numbers, bits=bits, photometric=3, tags=colors)
        files[f"grey_{bits}__grey.tif"] = tiff(numbers, bits=bits, photometric=1)
        files[f"white_is_zero_{bits}__grey.tif"] = tiff(numbers, bits=bits, photometric=0, order=">")
    for value in range(2, 9):
        files[f"turned_{value}__red_left.tif"] = tiff(lying(value), tags={274: (3, [value])})
    return files


def _shorter_strip(content):
    """The last third of the only strip of a TIFF overwritten with what no decoder can go on from."""
    start = content.rfind(b"\x01\x00\x03", 0, 40)
    assert start < 40
    end = len(content) * 2 // 3
    return content[: end - 200] + b"\xff" * 200 + content[end:]


# What phones write, which is read by Python only

TURNED_JXL = (  # that its own header turns, as EXIF orientation 6 does
    "/woPigVyAgAUSABUBMF0EQCACpVRxg1ezvV8+aHDYtrGdYa22rawhDHxjIOFALSGYUC8U2NIUQDgu4c6/v3/IODHk8dj9bYJMLjAbhB03DGuDYAqxUs6S1U4"
    "8AJud8zzyOTkuyg6AmpMY45k3aAfX2HI9uHdC3iqrICiKIBvVyRvt8gPtAug1MV0jd8IBO4MkrrjoFMhX9e1LXPb3WbXQJ6uC0pdgQgnADV5GWMmgF1vwKUM"
    "sTD0fjyTK2DaIfDDzb94vaNHJFgIaKzha+OV3aQ+IoFyAsTRIk5dc65nlR+ggOsn6szDo2QUpChQx8ibVXdKdJLjpHxG4fuvX+KrRUT7Q7wPt1VtcXAH/Urw"
    "fBcYtdDbIypnAunqHs7I5puQiQE="
)


def photographs():
    avif, heic, jxl = encoded("AVIF"), heif(pixels()), encoded("JXL", lossless=True)
    boxed = encoded("JXL", Image.fromarray(lying(6)), lossless=True, exif=exif(6))
    deep = heif(pixels().astype(np.uint16) * 257, mode="RGB;16")
    noted = encoded("AVIF", exif=b"Exif\0\0II*\0" + exif(1)[4:])
    jpeg = behind_start(encoded("JPEG", Image.fromarray(lying(6))), segment(0xE1, b"Exif\0\0" + exif(6)))
    files = {
        "avif__only_python.avif": avif,
        "avif_as_heif__only_python.avif": avif.replace(b"ftypavif", b"ftypmif1"),
        "damaged_exif__only_python.avif": noted.replace(b"Exif\0\0II*\0", b"Exif\0\0????"),
        "cut__error.avif": avif[:-60],
        "filled_up__error.avif": filled_up(avif),
        "heic__only_python.heic": heic,
        "heic_of_no_suffix__only_python.jpg": heic,
        "ten_bits__only_python.heic": deep,
        "with_alpha__only_python.heic": heif(np.dstack([pixels(), np.full((HEIGHT, WIDTH), 255, np.uint8)]), mode="RGBA"),
        "cut__error.heic": heic[:-60],
        "half__error.heic": heic[: len(heic) // 2],
        "filled_up__error.heic": filled_up(heic),
        "jxl__only_python.jxl": jxl,
        "lossy__only_python.jxl": encoded("JXL", quality=80),
        "in_boxes__only_python.jxl": encoded("JXL", lossless=True, use_container=True),
        "turned_by_itself__only_python.jxl": base64.b64decode(TURNED_JXL),
        "turned_by_exif__only_python.jxl": boxed,
        "of_jpeg__only_python.jxl": jxl_of_jpeg(jpeg),
        "cut__error.jxl": jxl[:-60],
        "cut_in_boxes__error.jxl": boxed[:-60],
        "filled_up__error.jxl": filled_up(jxl),
        "header_alone__error.jxl": jxl[:8],
        "zeros__error.jxl": b"\xff\x0a" + bytes(99),
        "boxes_of_zeros__error.jxl": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99),
        "bomb__error.heic": _box_that_claims(heif(np.zeros((64, 64, 3), np.uint8)), 20000),
        "bomb__error.avif": _box_that_claims(avif, 16000),
        "bomb__error.jxl": _jxl_that_claims(40000),
        "costly__error.heic": _box_that_claims(heif(np.zeros((64, 64, 3), np.uint16), mode="RGB;16"), 14000),
        "cut_out_of_much__error.heic": _box_that_claims(heic, 20000),
        "costly__error.jxl": _jxl_that_claims(14000),
    }
    for value in range(2, 9):
        files[f"turned_{value}__only_python.avif"] = encoded("AVIF", Image.fromarray(lying(value)), exif=exif(value))
        files[f"turned_{value}__only_python.heic"] = heif(lying(value), exif=exif(value))
    return files


def heif(values, mode="RGB", **options):
    height, width = values.shape[:2]
    buffer = io.BytesIO()
    picture = pillow_heif.from_bytes(mode=mode, size=(width, height), data=np.ascontiguousarray(values).tobytes())
    picture.save(buffer, quality=90, **options)
    return buffer.getvalue()


def jxl_of_jpeg(jpeg):
    """A JPEG as JPEG XL, from which the same bytes come out again."""
    encode = pillow_jxl.Encoder(mode="RGB", lossless=True, quality=100, use_container=True, num_threads=1)
    return encode(jpeg, WIDTH, HEIGHT, jpeg_encode=True)


def filled_up(content):
    """The last fifth is zeros."""
    end = len(content) * 4 // 5
    return content[:end] + bytes(len(content) - end)


def _box_that_claims(content, side):
    """With another size in its box ispe."""
    at = content.index(b"ispe") + 8
    return content[:at] + struct.pack(">II", side, side) + content[at + 8 :]


def _jxl_that_claims(side):
    bits = (2 << 1) | (side - 1) << 3 | 1 << 21  # not small, 18 bits of height, as wide as high
    return b"\xff\x0a" + bits.to_bytes(4, "little") + bytes(99)


# What is no picture, or one that is read by Python only, or not at all


def others():
    def boxes(brand):
        return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1" + brand + bytes(500)

    return {
        "jpeg2000__only_python.jp2": encoded("JPEG2000"),
        "jpeg2000_bare__only_python.j2k": encoded("JPEG2000", no_jp2=True),
        "avif_damaged__error.avif": boxes(b"avif"),
        "damaged__error.heic": boxes(b"heic"),
        "heif__error.heif": boxes(b"mif1"),
        "film__error.mp4": boxes(b"isom"),
        "raw__error.cr3": boxes(b"crx "),
        "photoshop__error.psd": b"8BPS\0\x01" + bytes(99),
        "icon__error.ico": encoded("ICO", sizes=[(32, 32)]),
        "document__error.pdf": encoded("PDF"),
        "drawing__error.svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "drawing_xml__error.svg": b"<?xml version='1.0'?><svg/>",
        "postscript__error.eps": encoded("EPS"),
        "exr__error.exr": b"\x76\x2f\x31\x01" + bytes(99),
        "web_page__error.jpg": b"\n<!DOCTYPE html><html><body>404 not found</body></html>",
        "tga__error.tga": encoded("TGA"),
        "pcx__error.pcx": encoded("PCX"),
        "sgi__error.rgb": encoded("SGI"),
        "text__error.jpg": b"I am no picture",
        "empty__error.jpg": b"",
        "one_byte__error.jpg": b"\xff",
        "zeros__error.jpg": bytes(5000),
    }


def bombs():
    """Small files that claim to be more than 200 million pixels, or fewer in a kind of file that costs more than 1.2 GB."""
    side, costly = 40000, 14000
    gif = encoded("GIF")
    black = chunk(b"IDAT", zlib.compress(bytes(2**20))) + chunk(b"IEND", b"")
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    costly_head = struct.pack(">IIBBBBB", costly, costly, 16, 6, 0, 0, 1)
    size, costly_size = ({256: (4, [length]), 257: (4, [length])} for length in (side, costly))
    return {
        "bomb__error.jpg": _jpeg_that_claims(side, encoded("JPEG"), b"\xff\xc0"),
        "bomb__error.png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + black,
        "bomb__error.bmp": bmp(side, side, 1, bytes(1000), bytes(8)),
        "bomb__error.gif": gif[:6] + struct.pack("<HH", side, side) + gif[10:],
        "bomb__error.ppm": b"P6\n%d %d\n255\n" % (side, side) + bytes(1000),
        "bomb__error.tif": tiff(np.zeros((1, 1, 1), np.uint8), photometric=1, tags=size),
        "bomb__error.webp": _webp_that_claims(2**14 + 1),
        "costly__error.jpg": _jpeg_that_claims(costly, encoded("JPEG", progressive=True), b"\xff\xc2"),
        "costly__error.png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", costly_head) + black,
        "costly__error.tif": tiff(np.zeros((1, 1, 4), np.uint16), bits=16, tags=costly_size),
        "costly__error.webp": _webp_that_claims(costly),
    }


def _jpeg_that_claims(side, jpeg, frame_marker):
    frame = jpeg.find(frame_marker)
    return jpeg[: frame + 5] + struct.pack(">HH", side, side) + jpeg[frame + 9 :]


def _webp_that_claims(side):
    canvas = bytes(4) + 2 * (side - 1).to_bytes(3, "little")
    body = b"WEBP" + webp_chunk(b"VP8X", canvas) + encoded("WEBP", lossless=True)[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


if __name__ == "__main__":
    print(f"{len(write_odd_pictures(sys.argv[1]))} files in {sys.argv[1]}")
