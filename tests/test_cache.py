"""The cache as JPEGs: nearly the same pixels by the same interface, made and kept as pixels are, chosen where they have no room."""

import itertools
import os
import re
import shutil
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import preprocessing
from PIL import Image
from processes import killed_at

from common.errors import UserError
from common.files import read_json, write_json
from common.temporary import remove_leftovers
from data import cache, reading
from data.batches import EvalBatches, TrainBatches
from data.dataset import open_dataset
from data.images import decode, encode
from data.samplers import ShuffleSampler
from data.targets import one_hot
from data.views import TrainView
from recipe.pictures import Pictures
from recipe.training import settings
from utils.config import RunConfig, build_dataclass
from utils.run_folder import RunFolder

SIZE, NUM = 64, 8
PIXELS = 3 * SIZE**2  # bytes of a picture


@pytest.fixture
def root(textiles, tmp_path):
    """Two classes of four pictures, which three files of JPEGs hold."""
    for folder in sorted((textiles / "train").iterdir())[:2]:
        (tmp_path / "root" / folder.name).mkdir(parents=True)
        for file in sorted(folder.iterdir())[: NUM // 2]:
            shutil.copy(file, tmp_path / "root" / folder.name)
    return tmp_path / "root"


@pytest.fixture(autouse=True)
def short_files(monkeypatch):
    monkeypatch.setattr(cache, "FILE", 3 * PIXELS)


@pytest.fixture
def opened(root, tmp_path):
    def open_cache(cache_format="auto", folder="run", **how):
        return open_dataset(root, tmp_path / folder, SIZE, **{"threads": 1, "cache_format": cache_format, **how})

    return open_cache


@pytest.fixture
def decoded(monkeypatch):
    """A list that grows with every picture file that is decoded."""
    calls, decode = [], reading.decode_rgb
    monkeypatch.setattr(reading, "decode_rgb", lambda *arguments, **how: calls.append(1) or decode(*arguments, **how))
    return calls


@pytest.fixture
def disk_of(monkeypatch):
    """size -> a folder lies on a disk of that many bytes, from now on."""

    def disk(size):
        def usage(folder):
            used = sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())
            return shutil._ntuple_diskusage(size, used, max(0, size - used))

        monkeypatch.setattr(shutil, "disk_usage", usage)

    return disk


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# Pixels


def test_jpegs_have_nearly_the_same_pixels(opened):
    pixels, jpegs = opened("pixels"), opened("jpeg")
    assert jpegs.fingerprint == pixels.fingerprint
    difference = np.abs(jpegs.images[:].astype(int) - pixels.images)
    assert 0 < difference.mean() < 3
    assert difference.max() < 40
    assert sum(map(len, jpegs.images.contents)) < pixels.images.nbytes / 2


def test_colours_are_kept_as_fine_as_brightness():
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (255, 0, 0), (0, 0, 255)
    assert np.abs(decode(encode(stripes)).astype(int) - stripes).max() < 30


@pytest.mark.parametrize("threads", [1, 3])
def test_they_are_indexed_as_pixels_are(opened, threads):
    images = opened("jpeg", threads=threads).images
    everything = np.stack([images[row] for row in range(NUM)])
    assert images.shape == everything.shape == (NUM, SIZE, SIZE, 3)
    assert len(images) == NUM
    mask = np.arange(NUM) % 3 == 0
    for which in (0, -1, np.int64(5), slice(2, 7), slice(None), [3, 3, 0], np.array([7, 1]), [-2], mask, np.array([], int), []):
        assert np.array_equal(images[which], everything[which])
    for row in (NUM, -NUM - 1):
        for which in (row, [row]):
            with pytest.raises(IndexError):
                images[which]
    assert np.array_equal(np.stack(list(images)), everything)


def batches(images, labels):
    view = TrainView(preprocessing(32, images.shape[1]), "student_zoom_color")
    how = {"rows": np.arange(len(labels)), "batch_size": 3, "view": view, "seed": 5}
    return TrainBatches(images, one_hot(labels, 2), ShuffleSampler(len(labels)), **how)


def test_batches_are_those_of_the_pixels_that_they_decode_to(opened, tmp_path):
    (tmp_path / "mine.csv").write_text(f"path,label\n{opened('jpeg').paths[1]},drop\n")
    whole, some = opened("jpeg", threads=3), opened("jpeg", threads=3, corrections=tmp_path / "mine.csv")
    together = Pictures((some, whole))
    labels = np.concatenate([some.labels, whole.labels])
    array = np.concatenate([some.images[:], whole.images[:]])
    assert np.array_equal(np.stack([together[row] for row in range(len(together))]), array)
    for found, expected in zip(batches(together, labels).epoch(0), batches(array, labels).epoch(0), strict=True):
        assert all(a.equal(b) for a, b in zip(found, expected, strict=True))
    seen, rows = preprocessing(32, SIZE), [7, 0, 3]
    (x,) = EvalBatches(whole.images, rows, batch_size=4, preprocessing=seen)
    assert np.array_equal(x, seen.network_input(whole.images[rows]))


def test_memory_does_not_grow_with_the_number_of_pictures(root, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "FILE", 2**31)
    for number in range(100):
        Image.new("RGB", (30, 20), (number, 80, 160)).save(next(root.iterdir()) / f"{number}.png")
    tracemalloc.start()
    dataset = open_dataset(root, tmp_path / "run", 256, cache_format="jpeg", threads=2)
    for _ in batches(dataset.images, dataset.labels).epoch(0):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < np.prod(dataset.images.shape) / 4


# Made and kept


def test_second_run_decodes_no_file_and_has_the_same_bytes(opened, decoded):
    first = opened("jpeg").images[:]
    assert len(decoded) >= NUM
    del decoded[:]
    assert np.array_equal(opened("jpeg").images[:], first)
    assert not decoded


def test_killed_at_any_step_the_next_start_ends_with_the_same_files(opened, root, tmp_path, disk_of):
    for folder in root.iterdir():
        for file in sorted(folder.iterdir())[2:]:
            file.unlink()
    disk_of(NUM / 2 * PIXELS)
    assert opened(folder="whole").cache_format == "jpeg"
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        if not killed_at(step, lambda folder=folder: opened(folder=folder)):
            break
        opened(folder=folder)
        remove_leftovers(folder)
        assert contents(folder) == contents(tmp_path / "whole")
    assert step > 20


def test_an_interrupted_build_goes_on_behind_the_last_whole_file(opened, monkeypatch, decoded, said):
    def fail(square):
        if len(decoded) > 6:
            raise KeyboardInterrupt
        return encode(square)

    with monkeypatch.context() as patched:
        patched.setattr(cache, "SAMPLE", 0)
        patched.setattr(cache, "encode", fail)
        patched.setattr(reading.joblib, "cpu_count", lambda: 1)
        with pytest.raises(KeyboardInterrupt):
            opened("jpeg")
        patched.setattr(cache, "encode", encode)
        del decoded[:]
        opened()  # pixels would have room
    assert len(decoded) == NUM - 6
    assert "goes on with the 6 pictures that are there of 8" in said.text


def test_a_changed_picture_costs_its_file_alone(opened, root, tmp_path, decoded, monkeypatch):
    monkeypatch.setattr(cache, "SAMPLE", 0)
    before = opened("jpeg")
    victim = root / before.paths[4]
    Image.new("RGB", (30, 20), (9, 99, 9)).save(victim)
    del decoded[:]
    after = opened()
    assert len(decoded) == 3
    assert np.abs(after.images[4].astype(int) - (9, 99, 9)).max() < 5
    assert after.fingerprint != before.fingerprint
    victim.unlink()
    (root / before.paths[7]).unlink()
    assert len(opened().images) == 6
    assert len(list((tmp_path / "run" / "cache").glob("*.jpeg/*"))) == 4


def test_a_changed_picture_costs_its_file_alone_after_all_were_touched(opened, root, decoded, monkeypatch):
    monkeypatch.setattr(cache, "SAMPLE", 0)
    paths = opened("jpeg").paths
    for path in paths:
        os.utime(root / path)
    opened()
    Image.new("RGB", (30, 20), (9, 99, 9)).save(root / paths[4])
    del decoded[:]
    opened()
    assert len(decoded) == 3


def test_verifying_hashes_what_an_interrupted_start_left(opened, tmp_path, decoded, monkeypatch):
    monkeypatch.setattr(cache, "SAMPLE", 0)
    opened("jpeg")
    (tmp_path / "run" / "index.csv").unlink()
    (record,) = (tmp_path / "run" / "cache").glob("*.jpeg/1.json")
    noted = read_json(record)
    noted["pictures"]["sha256"][0] = "0" * 64  # a picture changed whose size and dates are the same
    write_json(record, noted)
    del decoded[:]
    opened(verify=True)
    assert len(decoded) == 3


def test_a_picture_that_is_asked_for_several_times_is_decoded_once(opened, monkeypatch):
    images, calls = opened("jpeg").images, []
    monkeypatch.setattr("data.images.decode", lambda jpeg: calls.append(1) or decode(jpeg))
    images[[5, 5, 0, 5]]
    assert len(calls) == 2


def test_what_others_put_beside_the_files_stays(opened, root, tmp_path):
    opened("jpeg")
    (folder,) = (tmp_path / "run" / "cache").glob("*.jpeg")
    (folder / "@eaDir").mkdir()
    (folder / "notes.txt").touch()
    for path in list(root.rglob("*.jpg"))[:3]:
        path.unlink()
    opened()
    assert sorted(path.name for path in folder.iterdir()) == ["0.jpegs", "0.json", "1.jpegs", "1.json", "@eaDir", "notes.txt"]


@pytest.mark.parametrize("damage", ["flipped", "truncated", "removed", "no record", "half a record", "record of other pictures"])
def test_a_damaged_file_is_made_again(opened, tmp_path, said, damage):
    opened("jpeg")
    whole = contents(tmp_path / "run" / "cache")
    (file,) = (tmp_path / "run" / "cache").glob("*.jpeg/1.jpegs")
    content = bytearray(file.read_bytes())
    file.unlink()
    if damage == "flipped":
        content[-100] ^= 0x10
    elif damage == "truncated":
        del content[-100:]
    elif damage == "no record":
        file.with_suffix(".json").unlink()
    elif damage == "half a record":
        noted = read_json(file.with_suffix(".json"))
        del noted["pictures"]["length"]
        write_json(file.with_suffix(".json"), noted)
    elif damage == "record of other pictures":
        shutil.copy(file.with_name("0.json"), file.with_suffix(".json"))
    if damage != "removed":
        file.write_bytes(content)
    opened()
    assert contents(tmp_path / "run" / "cache") == whole
    assert (": damaged (" in said.text) == (damage in ("flipped", "truncated"))


def test_what_is_damaged_under_way_is_told(opened):
    images = opened("jpeg").images
    images.contents[0] = np.zeros_like(images.contents[0])
    with pytest.raises(UserError, match=r"0.jpegs: changed since the start. Run the same command again"):
        images[0]


def test_bad_files_are_told_at_once_and_good_ones_kept(opened, root, decoded, monkeypatch):
    monkeypatch.setattr(cache, "SAMPLE", 0)
    files = sorted(root.rglob("*.jpg"))
    for file in (files[0], files[-1]):
        file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(UserError, match="2 files cannot be used"):
        opened("jpeg")
    for file in (files[0], files[-1]):
        file.write_bytes(files[1].read_bytes() + bytes([file == files[0]]))
    del decoded[:]
    opened("jpeg")
    assert len(decoded) == NUM - 3


# Which of the two


def test_pixels_where_they_have_room_else_jpegs(opened, disk_of, said):
    disk_of(2 * NUM * PIXELS)
    assert opened().cache_format == "pixels"
    assert "JPEG" not in said.text
    disk_of(NUM * PIXELS)  # but for nothing else
    assert opened(folder="other").cache_format == "jpeg"
    assert re.search(r"kept as JPEGs, about 0.\d GiB; their pixels would take 0.\d GiB, and 0.\d GiB are free", said.text)


@pytest.mark.parametrize("cache_format", ["pixels", "jpeg"])
def test_what_is_there_is_kept_however_much_is_free(opened, disk_of, cache_format, decoded):
    opened(cache_format)
    del decoded[:]
    for size in (0, 2**40):
        disk_of(size)
        assert opened().cache_format == cache_format
    assert not decoded


def test_the_format_stays_whatever_happens_to_the_cache(opened, root, tmp_path, disk_of):
    disk_of(NUM * PIXELS)
    assert opened().cache_format == "jpeg"
    disk_of(2**40)
    for path in root.rglob("*.jpg"):
        path.chmod(0o600)  # another ctime
    (file,) = (tmp_path / "run" / "cache").glob("*.jpeg/1.jpegs")
    file.unlink()
    assert opened().cache_format == "jpeg"
    shutil.rmtree(tmp_path / "run" / "cache")
    assert opened().cache_format == "jpeg"
    assert opened(name="validation").cache_format == "jpeg"  # that of the training pictures


def test_jpegs_that_are_replaced_count_as_room(opened, root, disk_of, tmp_path):
    opened("jpeg")
    for path in root.rglob("*.jpg"):
        path.write_bytes(path.read_bytes() + b"0")
    disk_of(sum(512 * path.stat().st_blocks for path in (tmp_path / "run" / "cache").rglob("*")) + 2000)
    assert len(opened().images) == NUM


def test_pixels_of_other_pictures_give_way_where_both_have_no_room(opened, root, disk_of):
    disk_of(1.5 * NUM * PIXELS)
    assert opened().cache_format == "pixels"
    next(root.rglob("*.jpg")).unlink()
    assert opened().cache_format == "pixels"


def test_no_room_for_either_is_one_message(opened, disk_of, tmp_path):
    disk_of(1000)
    with pytest.raises(UserError, match=r"\.jpeg: needs \d+ MiB, 0 MiB are free on this disk. Free some space"):
        opened()
    assert not list((tmp_path / "run" / "cache").rglob("*.jpegs"))


def test_an_unknown_format_is_refused():
    with pytest.raises(UserError, match=r"'data\.cache_format' takes one of auto, pixels, jpeg"):
        build_dataclass(RunConfig, {"data": {"cache_format": "png"}})


def test_a_run_goes_on_with_the_format_that_it_began_with(opened, tmp_path):
    run, folder = SimpleNamespace(config=RunConfig()), RunFolder(tmp_path / "runs")
    pixels, jpegs = (settings(run, run.config.student, opened(name)) for name in ("pixels", "jpeg"))
    old = {key: value for key, value in pixels.items() if key != "cache_format"}
    for begun, same, other in ((old, pixels, jpegs), (jpegs, jpegs, pixels)):
        folder.claim("student", begun, "")
        folder.student.best.touch()
        folder.claim("student", same, "")
        with pytest.raises(UserError, match=r"cache_format: '.*' there, '.*' now"):
            folder.claim("student", other, "")
        shutil.rmtree(folder.path)
