"""JPEGs are decoded at the least of libjpeg's scales that is still large enough; the rule goes with the network."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from data.dataset import open_dataset
from data.decode import UnreadableImage, decode_rgb, full_size
from data.pictures import jpeg
from data.preprocessing import Preprocessing, resize_square
from data.textiles import draw_fabric
from tests.odd_pictures import THIRDS, encoded

SIZE = (301, 403)  # no multiples of 8
FABRIC = Image.fromarray(draw_fabric("tartan", np.random.default_rng(3), 403)[:, :301])
AT_LEAST = (8, 38, 39, 75, 76, 128, 150, 192, 224, 256, 300, 301, 302)
KINDS = {
    **{f"4:{sampling}": {"subsampling": f"4:{sampling}"} for sampling in ("4:4", "2:2", "2:0")},
    "progressive": {"progressive": True},
    "grey": {"mode": "L"},
    "cmyk": {"mode": "CMYK"},
}


def encode(mode="RGB", **options):
    return encoded("JPEG", FABRIC.convert(mode), quality=90, **options)


def least_scale(at_least):
    """The rule in other words than the code's."""
    return min((k for k in range(1, 9) if min(np.ceil(side * k / 8) for side in SIZE) >= at_least), default=8)


@pytest.mark.parametrize(("kind", "at_least"), itertools.product(KINDS, AT_LEAST))
def test_the_scale_is_the_least_that_leaves_both_sides_long_enough(kind, at_least):
    content = encode(**KINDS[kind])
    k = least_scale(at_least)
    found = decode_rgb(content, at_least=at_least)
    assert found.shape == (np.ceil(SIZE[1] * k / 8), np.ceil(SIZE[0] * k / 8), 3)
    assert full_size(content, found) == SIZE[::-1]
    if k == 8:
        np.testing.assert_array_equal(found, decode_rgb(content))


@pytest.mark.parametrize(("kind", "k"), itertools.product((kind for kind in KINDS if kind != "cmyk"), (1, 2, 4)))
def test_the_pixels_are_those_of_libjpeg(kind, k):
    """Which Pillow has of its own, with the scales that are powers of two."""
    content = encode(**KINDS[kind])
    with Image.open(io.BytesIO(content)) as image:
        image.draft(None, tuple(side * k // 8 for side in SIZE))
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode_rgb(content, at_least=min(expected.shape[:2])), expected)


def test_a_smaller_picture_looks_like_the_whole_one():
    whole, small = decode_rgb(encode()), decode_rgb(encode(), at_least=64)
    assert small.shape[0] < whole.shape[0] / 3
    assert np.abs(resize_square(whole, 64).astype(int) - resize_square(small, 64)).mean() < 4


def test_a_picture_on_its_side_has_its_own_size():
    turned = Image.Exif()
    turned[0x0112] = 6
    content = encode(exif=turned)
    found = decode_rgb(content, at_least=64)
    assert found.shape[1] > found.shape[0]
    assert full_size(content, found) == SIZE


def test_other_formats_come_in_their_own_size():
    content = encoded("PNG", FABRIC)
    assert decode_rgb(content, at_least=64).shape == (*SIZE[::-1], 3) == (*full_size(content, decode_rgb(content)), 3)


def test_rare_sampling_comes_in_its_own_size():
    np.testing.assert_array_equal(decode_rgb(THIRDS, at_least=8), decode_rgb(THIRDS))
    assert jpeg.read_header(THIRDS).sampling[0] == (3, 1)


@pytest.mark.parametrize("kind", ["4:2:0", "progressive"])
def test_what_is_damaged_is_refused_at_every_scale(kind):
    content = encode(**KINDS[kind])
    for at_least in (8, 64, 300):
        with pytest.raises(UnreadableImage, match="truncated or damaged"):
            decode_rgb(content[: len(content) * 2 // 3], at_least=at_least)


def test_a_frame_that_names_more_components_than_it_holds_is_damaged():
    content = bytearray(encode())
    content[content.index(b"\xff\xc0") + 9] = 200
    with pytest.raises(UnreadableImage, match="cut within its header"):
        decode_rgb(bytes(content))


@pytest.mark.parametrize("shrink", [0, 1, 2])
def test_training_sees_what_the_network_says(tmp_path, shrink):
    for i, kind in enumerate(KINDS):
        folder = tmp_path / "pictures" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.jpg").write_bytes(encode(**KINDS[kind]))
    seen = Preprocessing(64, 72, "stretch", (0.5,) * 3, (0.2,) * 3, shrink)
    dataset = open_dataset(tmp_path / "pictures", tmp_path / "run", 72, shrink_on_load=shrink)
    for path, pixels in zip(dataset.paths, dataset.images, strict=True):
        content = (dataset.root / path).read_bytes()
        np.testing.assert_array_equal(pixels, seen.square(decode_rgb(content, at_least=seen.at_least)))
    assert set(zip(dataset.table["width"], dataset.table["height"], strict=True)) == {SIZE}


def test_each_way_has_a_cache_of_its_own(tmp_path):
    for name in "ab":
        (tmp_path / "pictures" / name).mkdir(parents=True)
        (tmp_path / "pictures" / name / "x.jpg").write_bytes(encode(comment=name.encode()))
    shrunk = open_dataset(tmp_path / "pictures", tmp_path / "run", 40)
    whole = open_dataset(tmp_path / "pictures", tmp_path / "run", 40, shrink_on_load=0)
    assert (shrunk.images != whole.images).any()
    assert shrunk.fingerprint == whole.fingerprint
