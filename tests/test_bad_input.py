"""Whatever lies in a data folder is handled as a person expects, or refused in one message with file, reason and way out."""

import io
import itertools
import os
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image
from processes import in_parallel, killed_at

from common.errors import UserError
from common.temporary import remove_leftovers
from data import dataset as dataset_module
from data import reading
from data.dataset import open_dataset, shared_contents
from data.decode import UnreadableImage, decode_rgb
from data.folds import assign_folds
from recipe.pictures import HeldOut
from tests.odd_pictures import photographs


@pytest.fixture
def root(textiles, tmp_path):
    """A copy that a test may spoil."""
    shutil.copytree(textiles / "train", tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def refused(root, tmp_path):
    """() -> the message with which the root is refused."""

    def message(**kwargs):
        with pytest.raises(UserError) as caught:
            open_dataset(root, tmp_path / "run", 16, **kwargs)
        return str(caught.value)

    return message


def jpeg(color=(200, 30, 40), size=(20, 30), mode="RGB", **kwargs):
    buffer = io.BytesIO()
    Image.new(mode, size[::-1], color).save(buffer, "JPEG", **kwargs)
    return buffer.getvalue()


def encoded(image, kind, **kwargs):
    buffer = io.BytesIO()
    image.save(buffer, kind, **kwargs)
    return buffer.getvalue()


# The folder


def test_missing_root(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        open_dataset(tmp_path / "nowhere", tmp_path / "run", 16)


def test_root_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file"):
        open_dataset(tmp_path / "file", tmp_path / "run", 16)


def test_pictures_without_class_folders(tmp_path):
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.jpg").write_bytes(jpeg())
    with pytest.raises(UserError, match=r"no class folders in it.*<class>"):
        open_dataset(tmp_path / "flat", tmp_path / "run", 16)


def test_empty_class(root, refused):
    (root / "empty").mkdir()
    assert "no pictures in the class folder empty" in refused()


def test_single_class(root, refused):
    for folder in list(root.iterdir())[1:]:
        shutil.rmtree(folder)
    assert "only one class" in refused()


def test_folder_that_is_no_known_class_and_class_without_folder(root, refused):
    classes = sorted(folder.name for folder in root.iterdir())
    assert "the folder 'tartan' is not among the classes" in refused(classes=classes[:-1])
    assert "the class 'tartans' has no folder (near: tartan)" in refused(classes=[*classes, "tartans"])


def test_class_with_fewer_pictures_than_folds(root, tmp_path):
    for file in sorted((root / "tartan").iterdir())[3:]:
        file.unlink()
    dataset = open_dataset(root, tmp_path / "run", 16)
    with pytest.raises(UserError, match=r"5 folds need at least 5 different pictures.*tartan \(3\)"):
        assign_folds(dataset.table, 5, seed=0)


# Bad files


def test_all_bad_files_are_named_at_once(root, refused, tmp_path):
    good = (next((root / "denim").iterdir())).read_bytes()
    (root / "denim" / "zero.jpg").write_bytes(b"")
    (root / "denim" / "cut.jpg").write_bytes(good[: len(good) // 2])
    (root / "floral" / "text.jpg").write_text("I am no picture")
    (root / "floral" / "link.jpg").symlink_to("nowhere.jpg")
    png = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)), "PNG")
    (root / "tartan" / "cut.png").write_bytes(png[: len(png) // 2])
    (root / "tartan" / "song.mp3").write_bytes(b"ID3")
    message = refused()
    assert "6 files cannot be used" in message
    for line in (
        "'denim/zero.jpg': empty file (0 bytes)",
        "'denim/cut.jpg': truncated or damaged",
        "'floral/text.jpg': not an image",
        "'floral/link.jpg': cannot be opened",
        "'tartan/cut.png': truncated or damaged",
        "'tartan/song.mp3': not an image",
    ):
        assert line in message
    assert len((tmp_path / "run" / "bad_files.txt").read_text().splitlines()) == 6
    assert not list((tmp_path / "run" / "cache").glob("*.npy")), "no cache is left half written"


def test_long_lists_are_cut_in_the_message_only(root, refused, tmp_path):
    for i in range(25):
        (root / "denim" / f"zero{i}.jpg").write_bytes(b"")
    assert "... and 5 more" in refused()
    assert len((tmp_path / "run" / "bad_files.txt").read_text().splitlines()) == 25


def test_same_picture_in_two_classes_is_refused(root, refused):
    shutil.copy(next((root / "denim").iterdir()), root / "tartan" / "copy.jpg")
    assert "1 pictures lie in more than one class" in refused()


def test_same_picture_twice_in_a_class_shares_a_fold(root, tmp_path, said):
    for i, file in enumerate(sorted((root / "denim").iterdir())):
        shutil.copy(file, root / "denim" / f"copy{i}.jpg")
    dataset = open_dataset(root, tmp_path / "run", 16)
    assert "there more than once" in said.text
    folds = assign_folds(dataset.table, 3, seed=0)
    assert (dataset.table.assign(fold=folds).groupby("sha256")["fold"].nunique() == 1).all()


def test_full_disk_is_said_before_anything_is_written(root, refused, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1000, 990, 10))
    assert "0 MiB are free" in refused()


def test_text_files_and_hidden_files_are_left_out(root, tmp_path, said):
    count = len(open_dataset(root, tmp_path / "before", 16))
    (root / "denim" / "notes.txt").write_text("seen")
    (root / "denim" / ".DS_Store").write_bytes(b"\0")
    (root / ".git").mkdir()
    assert len(open_dataset(root, tmp_path / "run", 16)) == count
    assert "1 text files among the pictures are left out" in said.text


# Odd but good files


def test_odd_file_names_survive(root, tmp_path):
    names = ["with blank.jpg", "ünï – 牛仔.jpg", "new\nline.jpg", 'quote",comma.jpg', "NA", "UPPER.JPG"]
    for i, name in enumerate(names):
        (root / "denim" / name).write_bytes(jpeg((10 * i, 0, 0)))
    first = open_dataset(root, tmp_path / "run", 16)
    again = open_dataset(root, tmp_path / "run", 16)
    assert {f"denim/{name}" for name in names} <= set(first.paths)
    assert again.paths == first.paths
    assert again.fingerprint == first.fingerprint


def test_folders_below_a_class_count_for_it(root, tmp_path):
    (root / "denim" / "a" / "b").mkdir(parents=True)
    (root / "denim" / "a" / "b" / "deep.jpg").write_bytes(jpeg())
    assert "denim/a/b/deep.jpg" in open_dataset(root, tmp_path / "run", 16).paths


def mean_color(content):
    pixels = decode_rgb(content)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (20, 30, 3)
    return pixels.reshape(-1, 3).mean(0)


def test_cmyk_jpeg():
    np.testing.assert_allclose(mean_color(jpeg((0, 255, 255, 0), mode="CMYK")), (255, 0, 0), atol=4)


def test_grey_jpeg():
    np.testing.assert_allclose(mean_color(jpeg(90, mode="L")), (90, 90, 90), atol=2)


def test_sixteen_bit_png():
    deep = cv2.imencode(".png", np.full((20, 30, 3), (0x1000, 0x8000, 0xFF00), np.uint16))[1].tobytes()
    np.testing.assert_allclose(mean_color(deep), (254, 127, 16), atol=1)
    grey = cv2.imencode(".png", np.full((20, 30), 0x8000, np.uint16))[1].tobytes()
    np.testing.assert_allclose(mean_color(grey), (127, 127, 127), atol=1)


def test_alpha_lies_over_white():
    np.testing.assert_allclose(mean_color(encoded(Image.new("RGBA", (30, 20), (0, 0, 0, 0)), "PNG")), (255, 255, 255))
    half = mean_color(encoded(Image.new("RGBA", (30, 20), (200, 0, 0, 128)), "PNG"))
    np.testing.assert_allclose(half, (227, 127, 127), atol=2)


def test_palette_png():
    image = Image.new("RGB", (30, 20), (10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_allclose(mean_color(encoded(image, "PNG")), (10, 200, 30), atol=2)


def test_exif_rotation_is_applied():
    pixels = np.zeros((30, 20, 3), np.uint8)
    pixels[:5] = 255  # a white bar at the top of the file's pixels
    exif = Image.Exif()
    exif[0x0112] = 6  # turned clockwise for display: the bar is then on the right
    turned = decode_rgb(encoded(Image.fromarray(pixels), "JPEG", quality=95, exif=exif))
    assert turned.shape == (20, 30, 3)
    assert turned[:, -4:].mean() > 240
    assert turned[:, :20].mean() < 10


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (30, 20), color) for color in ((250, 0, 0), (0, 250, 0))]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    np.testing.assert_allclose(mean_color(content), (250, 0, 0), atol=6)


def test_jpeg_with_bytes_after_its_end_is_fine():
    np.testing.assert_allclose(mean_color(jpeg() + b"trailer" * 20), (200, 30, 40), atol=4)


def test_damage_inside_is_not_taken_for_a_picture():
    with pytest.raises(UnreadableImage):
        decode_rgb(b"\xff\xd8\xff" + bytes(2000) + b"\xff\xd9")


# Index and cache


def test_second_run_reads_no_picture(root, tmp_path, monkeypatch):
    first = open_dataset(root, tmp_path / "run", 16)
    monkeypatch.setattr(reading, "decode_rgb", lambda *arguments, **options: pytest.fail("decoded again"))
    second = open_dataset(root, tmp_path / "run", 16)
    assert second.fingerprint == first.fingerprint
    np.testing.assert_array_equal(second.images, first.images)


@pytest.mark.parametrize("what", ["added", "removed", "changed"])
def test_changes_are_noticed(root, tmp_path, said, what):
    before = open_dataset(root, tmp_path / "run", 16)
    victim = sorted((root / "denim").iterdir())[0]
    if what == "removed":
        victim.unlink()
    else:
        (root / "denim" / "new.jpg" if what == "added" else victim).write_bytes(jpeg())
    after = open_dataset(root, tmp_path / "run", 16)
    assert f"1 {what}" in said.text
    assert after.fingerprint != before.fingerprint
    assert len(after) == len(before) + {"added": 1, "removed": -1, "changed": 0}[what]


def test_a_new_date_alone_is_not_called_a_change(root, tmp_path, said):
    before = open_dataset(root, tmp_path / "run", 16)
    os.utime(sorted((root / "denim").iterdir())[0], (0, 0))
    after = open_dataset(root, tmp_path / "run", 16)
    assert "1 with another date" in said.text
    assert "changed (" not in said.text
    assert after.fingerprint == before.fingerprint


def open_without_decoding(root, folder, monkeypatch, **kwargs):
    with monkeypatch.context() as patched:
        patched.setattr(reading, "decode_rgb", lambda *arguments, **options: pytest.fail("decoded again"))
        return open_dataset(root, folder, 16, **kwargs)


def test_a_fresh_copy_is_compared_and_not_decoded(root, tmp_path, monkeypatch, said):
    before = open_dataset(root, tmp_path / "run", 16)
    shutil.copytree(root, tmp_path / "copy")
    shutil.rmtree(root)
    (tmp_path / "copy").rename(root)
    after = open_without_decoding(root, tmp_path / "run", monkeypatch)
    assert "84 with another date or inode" in said.text
    assert "of the same content as in the last run" in said.text
    assert after.fingerprint == before.fingerprint
    said.clear()
    open_without_decoding(root, tmp_path / "run", monkeypatch)
    assert not said.text, "the new dates are remembered"


def exchange(a, b):
    """The two files' places, by renaming: sizes and dates go with them."""
    a.rename(a.with_name("between"))
    b.rename(a)
    a.with_name("between").rename(b)


def test_exchanged_pictures_of_one_size_and_date_are_noticed(root, tmp_path, said):
    a, b = (sorted((root / name).iterdir())[0] for name in ("denim", "floral"))
    for file, shade in ((a, 10), (b, 250)):
        Image.new("RGB", (30, 20), (shade,) * 3).save(file, "BMP")
        os.utime(file, (10**9, 10**9))
    assert a.stat().st_size == b.stat().st_size
    before = open_dataset(root, tmp_path / "run", 16)
    exchange(a, b)
    after = open_dataset(root, tmp_path / "run", 16)
    assert "2 changed (such as 'denim/" in said.text
    assert after.fingerprint != before.fingerprint
    row = after.paths.index(a.relative_to(root).as_posix())
    assert (before.images[row].mean(), after.images[row].mean()) == (10, 250)


def test_verifying_hashes_all_files_again(root, tmp_path, monkeypatch):
    before = open_dataset(root, tmp_path / "run", 16)
    assert open_without_decoding(root, tmp_path / "run", monkeypatch, verify=True).fingerprint == before.fingerprint
    # A change that dates do not show, such as on disks that keep none: here the look at them is what is changed.
    Image.new("RGB", (30, 20), (9, 9, 9)).save(sorted((root / "denim").iterdir())[0], "JPEG")
    monkeypatch.setattr(dataset_module, "changes_between", lambda *tables: dict(added=[], removed=[], changed=[], touched=[]))
    assert open_without_decoding(root, tmp_path / "run", monkeypatch).fingerprint == before.fingerprint
    assert open_dataset(root, tmp_path / "run", 16, verify=True).fingerprint != before.fingerprint


@pytest.mark.parametrize("damage", ["flipped", "truncated", "emptied", "no record", "record of another"])
def test_damaged_pixel_cache_is_made_again(root, tmp_path, said, damage):
    before = open_dataset(root, tmp_path / "run", 16)
    pixels = before.images.copy()
    cache = tmp_path / "run" / "cache" / "train_16_shrunk2.npy"
    content = bytearray(cache.read_bytes())
    if damage == "flipped":
        content[-100] ^= 0x10
    elif damage == "truncated":
        del content[-100:]
    elif damage == "emptied":
        content = b""
    elif damage == "no record":
        cache.with_suffix(".json").unlink()
    else:
        cache.with_suffix(".json").write_text('{"mark": "' + "0" * 64 + '"}')
    cache.unlink()
    cache.write_bytes(content)
    after = open_dataset(root, tmp_path / "run", 16)
    np.testing.assert_array_equal(after.images, pixels)
    assert (": damaged (" in said.text) == ("record" not in damage)


def test_processes_that_want_the_same_pictures_at_once_decode_them_once(root, tmp_path, monkeypatch):
    decoded = os.open(tmp_path / "decoded", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def decode(*arguments, **options):
        os.write(decoded, b".")
        return decode_rgb(*arguments, **options)

    monkeypatch.setattr(reading, "decode_rgb", decode)
    assert in_parallel(lambda _: open_dataset(root, tmp_path / "run", 16), range(4)) == [0] * 4
    os.close(decoded)
    assert (tmp_path / "decoded").stat().st_size == 84


def test_killed_at_any_step_the_next_start_ends_with_the_same_files(root, tmp_path):
    def files(folder):
        return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    for folder in sorted(root.iterdir())[2:]:
        shutil.rmtree(folder)
    open_dataset(root, tmp_path / "whole", 16)
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        if not killed_at(step, lambda folder=folder: open_dataset(root, folder, 16)):
            break
        open_dataset(root, folder, 16)
        remove_leftovers(folder)
        assert files(folder) == files(tmp_path / "whole")
    assert step > 10


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("denim/", "demin/", 1),
        lambda text: text.replace(",48,48,", ",48,84,", 1),
        lambda text: "\n".join(line.rpartition(",")[0] for line in text.splitlines()),
        lambda text: text[: len(text) // 2],
        lambda text: text.partition("\n")[0],
        lambda text: 'path,"label\n',
        lambda text: "\0\0\0",
        lambda text: "",
    ],
)
def test_damaged_index_is_made_again(root, tmp_path, said, damage):
    before = open_dataset(root, tmp_path / "run", 16)
    index = tmp_path / "run" / "index.csv"
    whole = index.read_bytes()
    index.write_text(damage(whole.decode()))
    assert index.read_bytes() != whole
    after = open_dataset(root, tmp_path / "run", 16)
    assert "index.csv: damaged" in said.text
    assert index.read_bytes() == whole
    assert after.fingerprint == before.fingerprint


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"sha256": "0"}'])
def test_index_whose_record_is_damaged_is_made_again(root, tmp_path, record, said):
    before = open_dataset(root, tmp_path / "run", 16)
    record_path = tmp_path / "run" / "index.json"
    whole = record_path.read_text()
    record_path.write_text(record)
    assert open_dataset(root, tmp_path / "run", 16).fingerprint == before.fingerprint
    assert "index.csv: damaged" in said.text
    assert record_path.read_text() == whole


def test_too_many_pixels_are_refused_also_when_the_limit_came_later(root, tmp_path):
    Image.new("RGB", (300, 200), (1, 2, 3)).save(root / "denim" / "large.png")
    open_dataset(root, tmp_path / "run", 16)
    for folder in ("run", "other"):
        with pytest.raises(UserError, match=r"1 files cannot be used:\n    'denim/large.png': 300 x 200 pixels"):
            open_dataset(root, tmp_path / folder, 16, max_pixels=50_000)


def test_pictures_that_only_python_reads_are_told_at_every_start(root, tmp_path, said):
    Image.new("RGB", (30, 20), (1, 2, 3)).save(root / "denim" / "new.jp2", "JPEG2000")
    for _ in range(2):
        said.clear()
        open_dataset(root, tmp_path / "run", 16)
        assert "1 pictures are of a format that the C++ program" in said.text
        assert "'denim/new.jp2', JPEG 2000" in said.text


def test_what_all_programs_are_asked_about_they_all_read(root, tmp_path):
    odd = photographs()
    files = {f"denim/{kind}.{kind}": odd[f"{kind}__only_python.{kind}"] for kind in ("avif", "heic", "jxl")}
    for path, content in files.items():
        (root / path).write_bytes(content)
    dataset = open_dataset(root, tmp_path / "run", 16)
    assert files.keys() <= {*dataset.paths}
    asked, labels = HeldOut(dataset, np.arange(len(dataset)), "all").files()
    assert [root / path for path in dataset.paths if path not in files] == asked
    assert len(labels) == len(asked)


def test_fingerprint_knows_contents_only(root, tmp_path):
    first = open_dataset(root, tmp_path / "a", 16)
    shutil.copytree(root, tmp_path / "elsewhere", copy_function=shutil.copy)  # other times, other place
    assert open_dataset(tmp_path / "elsewhere", tmp_path / "b", 24).fingerprint == first.fingerprint


def test_pixels_are_the_resized_pictures_in_table_order(root, tmp_path):
    dataset = open_dataset(root, tmp_path / "run", 48)  # as large as they were drawn
    assert dataset.paths == sorted(dataset.paths)
    for i in (0, 40, 83):
        expected = cv2.imread(str(root / dataset.paths[i]))[:, :, ::-1]
        np.testing.assert_array_equal(dataset.images[i], expected)


def test_validation_pictures_that_were_trained_on_are_found(root, tmp_path, dataset):
    copy = tmp_path / "val"
    for folder in root.iterdir():
        (copy / folder.name).mkdir(parents=True)
        shutil.copy(sorted(folder.iterdir())[0], copy / folder.name / "x.jpg")
    assert len(shared_contents(dataset, open_dataset(copy, tmp_path / "run", 16, name="validation"))) == 7
