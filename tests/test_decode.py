"""Any file is a picture as a person sees it, or one UnreadableImage with the reason; `tests/test_formats.py` compares with C++."""

import contextlib
import os
import random
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from data import decode
from data.decode import MAX_PIXELS, UnreadableImage, decode_rgb, only_read_here, read_file, read_rgb
from data.pictures import jxl
from tests.odd_pictures import HEIGHT, WIDTH, encoded, heif, jxl_of_jpeg, lying, odd_pictures, pixels

PICTURES = odd_pictures()


def right_answer(name):
    return name.rpartition(".")[0].rpartition("__")[2]


@pytest.mark.parametrize("name", [name for name in PICTURES if right_answer(name) != "error"])
def test_odd_pictures_are_read(name):
    found = decode_rgb(PICTURES[name])
    assert found.dtype == np.uint8
    assert found.flags["C_CONTIGUOUS"]
    left, right = np.split(found, [found.shape[1] // 2], axis=1)
    if right_answer(name) == "grey":
        assert (found[..., 0] == found[..., 1]).all()
        assert np.ptp(found) > 0
        return
    middle = left[HEIGHT // 4 : HEIGHT // 2, 8:-8].mean((0, 1))
    assert np.abs(middle - (200, 33, 20)).max() < 25
    if "flat" not in name:
        assert np.abs(right.mean((0, 1)) - middle).max() > 40


@pytest.mark.parametrize("name", [name for name in PICTURES if right_answer(name) == "error"])
def test_what_is_no_complete_picture_is_refused_with_one_line(name):
    with pytest.raises(UnreadableImage) as caught:
        decode_rgb(PICTURES[name])
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    assert " object at 0x" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cut_out_of_much__error.heic", "64 x 48 pixels, which in this kind of file take 781254 bytes each"),
        ("filled_up__error.heic", "zeros instead of its data"),
        ("filled_up__error.avif", "zeros instead of its data"),
        ("half__error.heic", "truncated or damaged"),
        ("twelve_bits__error.jpg", "JPEG of 12 bits a value: convert it"),
        ("lossless__error.jpg", "lossless JPEG: convert it"),
        ("cut__error.jxl", "truncated or damaged"),
        ("film__error.mp4", "film or raw photograph"),
        ("web_page__error.jpg", "web page (HTML)"),
        ("text__error.jpg", "not an image (JPEG, PNG, WebP, BMP, TIFF, GIF and PNM are read)"),
        ("empty__error.jpg", "empty file (0 bytes)"),
        ("floats__error.tif", "TIFF of signed or floating point numbers"),
        ("lab__error.tif", "photometric 8"),
        ("all_scans_but_one__error.jpg", "without its last scans"),
        ("cut_with_end__error.jpg", "premature end of data segment"),
        ("wrong_checksum__error.png", "wrong checksum of the chunk IDAT"),
        ("fewer_rows_than_said__error.png", "fewer rows"),
    ],
)
def test_the_reason_says_what_a_file_is_and_what_to_do(name, words):
    with pytest.raises(UnreadableImage) as caught:
        decode_rgb(PICTURES[name])
    assert words in str(caught.value)


@pytest.mark.parametrize("name", [name for name in PICTURES if name.startswith("bomb")])
def test_pixels_are_counted_before_anything_is_decoded(name):
    """Decoding would end in another error: there are none."""
    with pytest.raises(UnreadableImage, match=r"pixels, more than the 200 million that are allowed \(max_pixels\)"):
        decode_rgb(PICTURES[name])


@pytest.mark.parametrize("name", [name for name in PICTURES if right_answer(name) != "error"])
def test_pixels_do_not_depend_on_how_many_rows_are_converted_at_a_time(name, monkeypatch):
    whole = decode_rgb(PICTURES[name])
    monkeypatch.setattr("data.pictures.pixels.ROWS", 7)
    assert np.array_equal(decode_rgb(PICTURES[name]), whole)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif", "heic", "jxl"])
def test_memory_is_counted_before_anything_is_decoded(kind):
    with pytest.raises(
        UnreadableImage, match=r"14000 x 14000 pixels, which .* take (9|11|12|13) bytes each .*, together more than 1\.2 GB"
    ):
        decode_rgb(PICTURES[f"costly__error.{kind}"])


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "bmp", "gif", "ppm", "tif", "avif", "jp2", "heic", "jxl"])
def test_the_limit_of_pixels_is_the_callers(kind):
    content = next(content for name, content in PICTURES.items() if name.endswith(kind) and right_answer(name) != "error")
    assert decode_rgb(content, max_pixels=WIDTH * HEIGHT).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(UnreadableImage, match=f"{WIDTH} x {HEIGHT} pixels, more than the 0.003071 million"):
        decode_rgb(content, max_pixels=WIDTH * HEIGHT - 1)


def test_pictures_above_the_limit_of_pillow_are_read():
    """Its own guard, at 89 and 179 million pixels, gave way to ours."""
    wide = Image.new("1", (MAX_PIXELS // 1000, 1))
    assert decode_rgb(encoded("PNG", wide)).shape == (1, MAX_PIXELS // 1000, 3)
    assert Image.MAX_IMAGE_PIXELS is None


def test_formats_that_only_python_reads_are_named():
    for name, content in PICTURES.items():
        read_elsewhere = right_answer(name) in ("red_left", "grey")
        if right_answer(name) == "only_python":
            assert only_read_here(content) in ("HEIC", "AVIF", "JPEG XL", "JPEG 2000")
        elif read_elsewhere:
            assert only_read_here(content) is None
    assert only_read_here(b"I am no picture") is None


@pytest.mark.parametrize(
    "error", [RuntimeError("a\nb"), cv2.error("x"), OSError("y"), KeyError("z"), MemoryError(), AssertionError()]
)
def test_whatever_a_decoder_raises_is_one_error(monkeypatch, error):
    def load(self):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(UnreadableImage) as caught:
        decode_rgb(PICTURES["plain__red_left.png"])
    assert "\n" not in str(caught.value)


def test_what_was_cut_and_filled_with_zeros_is_refused_between_restart_markers_too():
    """Where the decoder tells first of bytes before the end, and of the marker that is missing only then."""
    content = encoded("JPEG", quality=90, restart_marker_blocks=1)
    start = content.index(b"\xff\xda") + 20
    for cut in range(start, len(content) - 40, 7):
        filled = content[:cut] + bytes(len(content) - cut - 2) + b"\xff\xd9"
        with pytest.raises(UnreadableImage, match="truncated or damaged"):
            decode_rgb(filled)


def test_mutated_files_are_pictures_or_one_error():
    random_numbers = random.Random(3)
    names = [name for name in PICTURES if right_answer(name) != "error"]
    for _ in range(1500):
        content = bytearray(PICTURES[random_numbers.choice(names)])
        for _ in range(random_numbers.randint(1, 4)):
            at = random_numbers.randrange(min(len(content), random_numbers.choice((100, 10**6))))
            content[at] = random_numbers.choice((0, 255, random_numbers.randrange(256)))
        with contextlib.suppress(UnreadableImage):
            assert decode_rgb(bytes(content), max_pixels=10**6).dtype == np.uint8


def test_a_jpeg_has_the_pixels_that_opencv_sees():
    for quality in (60, 100):
        content = encoded("JPEG", quality=quality)
        np.testing.assert_array_equal(decode_rgb(content), cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB))


LOSSLESS = [
    "plain__red_left.png", "interlaced__red_left.png", "lossless__red_left.webp", "plain__red_left.bmp", "strips__red_left.tif",
    "planar__red_left.tif", "bigtiff__red_left.tif", "p6__red_left.ppm",
]  # fmt: skip


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_keep_every_value(name):
    np.testing.assert_array_equal(decode_rgb(PICTURES[name]), pixels())


@pytest.mark.parametrize("name", [name for name in PICTURES if name.startswith("turned_") and name.endswith((".tif", ".png"))])
def test_turned_pictures_are_exactly_the_upright_one(name):
    np.testing.assert_array_equal(decode_rgb(PICTURES[name]), pixels())


def test_lying_pictures_differ():
    """Or no test of turning could fail."""
    upright = pixels()
    assert all(not np.array_equal(lying(value)[:HEIGHT, :HEIGHT], upright[:HEIGHT, :HEIGHT]) for value in range(2, 9))


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_sixteen_bits_are_rounded_not_cut(kind):
    deep = np.array([[[0, 128, 129], [257 * 100 + 128, 257 * 100 + 129, 65535]]], np.uint16)
    content = cv2.imencode(f".{kind}", deep[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode_rgb(content), [[[0, 0, 1], [100, 101, 255]]])


def test_alpha_lies_over_white():
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 51]]], np.uint8)
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(
            decode_rgb(encoded(kind, Image.fromarray(rgba))), [[[10, 20, 30], [255, 255, 255], [204, 224, 244]]]
        )


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "link", "/dev/null"):
        with pytest.raises(UnreadableImage, match="not a regular file"):
            read_rgb(path)
    with pytest.raises(UnreadableImage, match=r"not a regular file|cannot be opened"):
        read_rgb(tmp_path)
    (tmp_path / "broken").symlink_to("nowhere")
    for path in (tmp_path / "broken", tmp_path / "missing", "a\0b"):
        with pytest.raises(UnreadableImage, match="cannot be opened"):
            read_file(path)


def test_nothing_is_said_of_broken_notes(recwarn, capfd):
    for name in ("exif_cut__red_left.jpg", "exif_short__red_left.png", "unknown_tags__red_left.tif", "sixteen_bits__red_left.tif"):
        decode_rgb(PICTURES[name])
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["heic", "avif", "jxl"])
def test_a_photograph_of_a_phone_that_is_cut_anywhere_is_refused(kind):
    whole = next(content for name, content in PICTURES.items() if name.endswith(f"__only_python.{kind}"))
    for length in range(1, len(whole), 7):
        with pytest.raises(UnreadableImage):
            decode_rgb(whole[:length])


@pytest.mark.parametrize(("kind", "tolerance"), [("heic", 1), ("jxl", 0)])
def test_more_than_eight_bits_are_scaled(kind, tolerance):
    """Ten bits in HEIC; sixteen, grey, in JPEG XL."""
    ramp = np.tile(np.linspace(0, 65535, WIDTH).astype(np.uint16), (HEIGHT, 1))
    if kind == "heic":
        content = heif(np.dstack([ramp] * 3), mode="RGB;16", chroma=444)
    else:
        content = encoded("JXL", Image.fromarray(ramp), lossless=True)
    expected = np.dstack([(ramp.astype(np.uint32) + 128) // 257] * 3)
    assert np.abs(decode_rgb(content).astype(int) - expected).max() <= tolerance


def test_alpha_of_photographs_lies_over_white():
    clear = np.dstack([pixels(), np.zeros((HEIGHT, WIDTH), np.uint8)])
    for content in (heif(clear, mode="RGBA"), *(encoded(kind, Image.fromarray(clear)) for kind in ("AVIF", "JXL"))):
        assert (decode_rgb(content) > 250).all()


def test_a_jpeg_within_jpeg_xl_has_its_own_pixels():
    jpeg = encoded("JPEG", quality=80)
    assert np.array_equal(decode_rgb(jxl_of_jpeg(jpeg)), decode_rgb(jpeg))


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (256, 256), (300, 200), (1200, 1000), (1999, 3), (640, 360), (9, 700)])
def test_sizes_of_jpeg_xl_are_read_from_its_header(size):
    header = jxl.read_header(encoded("JXL", Image.new("RGB", size)))
    assert (header.width, header.height) == size


@pytest.mark.parametrize("behind_size", ["0 0", "1 1 11111 111 0", "1 0 01 {18} 000 00 {9} 1 1 11 {9} 000 00", "0 1 0 11 {12} 111"])
def test_animated_jpeg_xl_is_refused_whatever_its_header_has_before_it_says_so(behind_size):
    """A size for showing and a preview. 8 x 8 pixels, more follows, not turned."""
    for animated in "01":
        bits = f"1 00000 100 0 1 000 {behind_size} {animated}".format(*("1" * count for count in range(19))).replace(" ", "")
        content = b"\xff\x0a" + int(bits[::-1], 2).to_bytes(20, "little")
        with pytest.raises(UnreadableImage, match="an animated JPEG XL") if animated == "1" else contextlib.nullcontext():
            assert jxl.read_header(content)[:3] == (8, 8, False)


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA"])
def test_jpeg_xl_may_be_of_sixteen_bits_in_every_mode(mode, monkeypatch):
    values = np.full((2, 3, len(mode)), 257 * 60, np.uint16)
    values[..., 3 if mode == "RGBA" else 1 :] = 65535 if "A" in mode else 257 * 60
    info = SimpleNamespace(mode=mode, width=3, height=2)
    monkeypatch.setattr(jxl, "Decoder", lambda **options: lambda content: (False, info, values.tobytes()))
    assert (jxl.decode(b"") == 60).all()


def test_premultiplied_alpha_lies_over_white():
    half = np.full((HEIGHT, WIDTH, 4), (100, 0, 50, 128), np.uint8)
    assert np.abs(decode_rgb(heif(half, mode="RGBa")).astype(int) - (227, 127, 177)).max() <= 3


def test_parts_of_no_width_in_a_photograph_end_in_no_time():
    """Once 6 KB of them were gone through 65 million times."""
    whole = heif(pixels())
    at, count = whole.index(b"iloc"), 1000
    for sizes in (b"\0\0", b"\1\0"):
        places = (b"\0\1" + bytes(2) + b"\xff\xff") * count
        box = b"iloc" + bytes(4) + sizes + count.to_bytes(2, "big") + places
        old = int.from_bytes(whole[at - 4 : at], "big")
        meta = whole.index(b"meta") - 4
        grown = int.from_bytes(whole[meta : meta + 4], "big") + len(box) + 4 - old
        crafted = whole[:meta] + grown.to_bytes(4, "big") + whole[meta + 4 : at - 4] + (len(box) + 4).to_bytes(4, "big") + box
        with pytest.raises(UnreadableImage, match="several parts in one place" if sizes == b"\0\0" else "a box without its end"):
            decode_rgb(crafted + whole[at - 4 + old :])


def test_every_format_has_a_reader():
    assert set(decode.READERS) == {"JPEG", "PNG", "WebP", "BMP", "TIFF", "GIF", "PNM", "HEIC", "AVIF", "JPEG XL", "JPEG 2000"}
