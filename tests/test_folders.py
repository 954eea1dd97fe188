"""Folders of pictures as people have them: copied from zip files and network disks, linked, split, and not always readable."""

import dataclasses
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from other_user import as_another_user, ask
from PIL import Image

from common.errors import UserError
from data.dataset import open_dataset
from data.folds import assign_folds, write_folds
from data.index import list_images, picture_files
from data.targets import read_oof, write_oof
from recipe.pictures import name_parts
from utils.config import DataConfig

SYSTEM = ["__MACOSX", "@eaDir", ".@__thumb", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__",
          ".git", ".ipynb_checkpoints"]  # fmt: skip


def draw(path, shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 9), (shade, 80, 160)).save(path, "PNG")


@pytest.fixture
def root(tmp_path):
    """Two classes of four pictures."""
    for i in range(8):
        draw(tmp_path / "root" / ("jeans" if i < 4 else "skirt") / f"{i}.png", 10 * i)
    return tmp_path / "root"


@pytest.fixture
def public_root(root):
    """A copy of `root` in a place that every user may enter."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        shutil.copytree(root, Path(place, "root"))
        yield Path(place, "root")
        subprocess.run(["chmod", "-R", "u+rwX", place], check=True)


def refused(root, **kwargs):
    with pytest.raises(UserError) as caught:
        list_images(root, **kwargs)
    return str(caught.value)


def listed(root):
    return list_images(root)[1]["path"].tolist()


# Names


@pytest.mark.parametrize("odd", ["a\nb", "a\rb", "a\u2028b", "a\u2029b", "a\x85b", "a\x0bb", "a\tb", "a\udce9b", " ", "\u3000"])
def test_class_names_that_break_a_list_of_classes_are_refused_all_at_once(root, odd):
    draw(root / odd / "x.png")
    draw(root / "ein\nanderer" / "x.png")
    said = refused(root)
    assert "2 class folders have" in said
    assert repr(odd) in said
    assert repr("ein\nanderer") in said
    assert len(said.splitlines()) == 4


@pytest.mark.parametrize(
    "odd", ["$$", "$a_b$", 'quo"te', "com,ma", "semi;colon", "牛仔 裤", "O'Neill", "50%", "p_jeans", "NA", "-1"]
)
def test_other_class_names_work_down_to_the_table_of_soft_labels(root, tmp_path, odd):
    for i in range(4):
        draw(root / odd / f"{i}.png", 100 + i)
    dataset = open_dataset(root, tmp_path / "run", 8)
    assert odd in dataset.classes
    folds = assign_folds(dataset.table, 2, seed=0)
    probs = dataset.labels[:, None] == range(3)
    write_oof(tmp_path / "oof.csv", dataset, folds, probs.astype("float32"))
    assert (read_oof(tmp_path / "oof.csv", dataset) == probs).all()


def test_file_names_that_are_not_utf8_are_refused_before_any_picture_is_decoded(root, tmp_path):
    for name in (b"\xc5\xa3\xd7\xd0.png", b"\xff.png"):
        shutil.copy(root / "jeans" / "0.png", os.fsencode(root / "skirt") + b"/" + name)
    with pytest.raises(UserError) as caught:
        open_dataset(root, tmp_path / "run", 8)
    said = str(caught.value)
    assert "2 names are not UTF-8" in said
    assert repr("skirt/" + os.fsdecode(b"\xff.png")) in said
    assert "convmv" in said
    assert not (tmp_path / "run").exists()
    said.encode()


def test_root_whose_own_name_is_not_utf8_is_refused(root):
    odd = root.with_name(os.fsdecode(b"\xc5\xa3\xd7\xd0"))
    root.rename(odd)
    said = refused(odd)
    assert "1 names are not UTF-8" in said
    said.encode()


def test_file_names_with_any_kind_of_line_break_come_back_from_all_tables(root, tmp_path):
    odd = [f"a{letter}b.png" for letter in "\r\n\v\f\x1c\x85\u2028\t\",'"] + ["\r.png", "$$.png", "NA.png"]
    for i, name in enumerate(odd):
        draw(root / "jeans" / name, 100 + i)
    first = open_dataset(root, tmp_path / "run", 8)
    assert {f"jeans/{name}" for name in odd} <= set(first.paths)
    again = open_dataset(root, tmp_path / "run", 8)
    assert (again.paths, again.fingerprint) == (first.paths, first.fingerprint)
    folds = assign_folds(first.table, 2, seed=0)
    write_folds(tmp_path / "folds.csv", first.table, folds)
    probs = (first.labels[:, None] == range(2)).astype("float32")
    write_oof(tmp_path / "oof.csv", first, folds, probs)
    assert (read_oof(tmp_path / "oof.csv", again) == probs).all()


# What is no class


@pytest.mark.parametrize("system", SYSTEM)
def test_what_systems_leave_is_no_class_and_no_picture_at_any_depth(root, system, said):
    before = listed(root)
    for place in (root, root / "jeans", root / "jeans" / "deep"):
        draw(place / system / "jeans" / "thumb.png", 200)
    draw(root / "jeans" / "deep" / "real.png", 201)
    assert listed(root) == sorted([*before, "jeans/deep/real.png"])
    assert {Path(file).name for file in picture_files(root)} == {Path(path).name for path in listed(root)}
    assert "3 hidden or system files and folders" in said.text
    assert repr(system) in said.text


def test_files_beside_the_class_folders_are_told(root, said):
    draw(root / "stray.png")
    (root / "readme.txt").write_text("x")
    listed(root)
    assert "1 files beside the class folders are of no class and left out (such as 'stray.png')" in said.text


def test_folder_of_checkpoints_is_named_as_what_it_is(root):
    (root / "models").mkdir()
    (root / "models" / "last.pth").write_bytes(b"PK")
    assert "checkpoints of models, no pictures, in models" in refused(root)


@pytest.mark.parametrize(
    ("folders", "options"),
    [
        (("train", "val", "test"), "data.root={}/train data.val_root={}/val"),
        (("Training", "validation"), "data.root={}/Training data.val_root={}/validation"),
        (("train", "testing", "images"), "data.root={}/train data.val_root={}/testing"),
        (("train",), "data.root={}/train"),
        (("valid",), "data.root={}/valid"),
    ],
)
def test_root_with_the_parts_of_a_data_set_is_refused_with_the_right_keys(root, tmp_path, folders, options):
    for name in folders:
        shutil.copytree(root, tmp_path / "parts" / name)
    assert f"Name the parts: {options.replace('{}', str(tmp_path / 'parts'))}\n" in refused(tmp_path / "parts")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "val", "test"), ("train", "val", "test")),
        (("Training", "validation"), ("Training", "validation", None)),
        (("train", "testing", "images"), ("train", None, "testing")),
        (("train",), ("train", None, None)),
        (("valid", "test"), None),  # nothing to train on: list_images says which options name them
        (("train", "locomotive"), None),  # classes
    ],
)
def test_parts_below_the_root_are_used_as_if_they_were_named(root, tmp_path, names, expected):
    for name in names:
        shutil.copytree(root, tmp_path / "parts" / name)
    data = DataConfig(root=str(tmp_path / "parts"))
    found = name_parts(data)
    places = tuple(name and str(tmp_path / "parts" / name) for name in expected or ())
    assert (found.root, found.val_root, found.test_root) == (places or (data.root, None, None))
    assert name_parts(found) == found
    assert name_parts(dataclasses.replace(data, val_root="mine")).val_root == "mine"
    assert name_parts(dataclasses.replace(data, classes=names)) == dataclasses.replace(data, classes=names)


def test_two_folders_for_one_part_are_refused(root, tmp_path):
    for name in ("train", "val", "validation"):
        shutil.copytree(root, tmp_path / "parts" / name)
    with pytest.raises(UserError, match=r"two folders mean the same part of the data set \(train, val, validation\)"):
        name_parts(DataConfig(root=str(tmp_path / "parts")))


def test_a_test_part_may_lack_a_class_but_has_no_other(root, tmp_path, said):
    draw(root / "dress" / "x.png", 200)
    classes = ("dress", "jeans", "shirt", "skirt")
    assert len(list_images(root, classes, key="data.test_root")[1]) == 9
    assert "no pictures of the classes shirt" in said.text
    refusal = refused(root, classes=("jeans", "skirt"), key="data.test_root")
    assert "the folder 'dress' is not among the classes" in refusal
    assert "data.test_root must have pictures of the classes of data.root alone" in refusal


def test_validation_root_with_parts_is_told_its_own_key(root, tmp_path):
    for name in ("train", "val"):
        shutil.copytree(root, tmp_path / "my parts" / name)
    said = refused(tmp_path / "my parts", classes=("jeans", "skirt"), key="data.val_root")
    assert f"Name the parts: 'data.val_root={tmp_path}/my parts/val'\n" in said


def test_classes_that_are_only_called_like_parts_are_classes(root, tmp_path):
    draw(root / "train" / "locomotive.png", 200)
    assert "train/locomotive.png" in listed(root)
    for name in ("train", "test"):
        shutil.copytree(root, tmp_path / "parts" / name)
    assert list_images(tmp_path / "parts", classes=("train", "test"))[0] == ("train", "test")


def test_unexpected_and_missing_classes_are_told_together_with_what_is_near(root):
    said = refused(root, classes=("jean", "skirt", "dress"))
    assert "the folder 'jeans' is not among the classes (near: jean)\n" in said
    assert "the class 'jean' has no folder (near: jeans)\n" in said
    assert "the class 'dress' has no folder\n" in said
    assert "(near: tartan)" not in refused(root, classes=("skirt", "tartan"))


def test_validation_folder_without_a_class_gives_one_way_out_empty_or_missing(root, tmp_path):
    (root / "dress").mkdir()
    empty = refused(root, classes=("dress", "jeans", "skirt"), key="data.val_root")
    (root / "dress").rmdir()
    missing = refused(root, classes=("dress", "jeans", "skirt"), key="data.val_root")
    for said in (empty, missing):
        assert "dress" in said
        assert "leave data.val_root out: a fold of data.root is then held out" in said
        assert "remove" not in said
        assert "data.classes" not in said


# Links, pipes, devices


def test_a_folder_is_visited_once_whatever_links_lead_to_it(root):
    before = listed(root)
    (root / "jeans" / "deep").mkdir()
    draw(root / "jeans" / "deep" / "x.png", 200)
    for name in ("up", "up again"):
        (root / "jeans" / name).symlink_to("..")
        (root / "jeans" / "deep" / name).symlink_to("..")
        (root / "jeans" / "deep" / f"{name} to all").symlink_to("/")
    (root / "jeans" / "zzz").symlink_to("deep")
    assert listed(root) == sorted([*before, "jeans/deep/x.png"])
    assert len(picture_files(root / "jeans")) == 5
    assert len(picture_files(root)) == len(before) + 1


def test_a_linked_class_folder_is_followed(root, tmp_path):
    draw(tmp_path / "elsewhere" / "x.png", 200)
    (root / "dress").symlink_to(tmp_path / "elsewhere")
    assert "dress/x.png" in listed(root)


def test_pipes_and_devices_are_bad_files_and_never_waited_for(root, tmp_path):
    os.mkfifo(root / "jeans" / "pipe.png")
    (root / "jeans" / "endless.png").symlink_to("/dev/zero")
    with pytest.raises(UserError) as caught:
        open_dataset(root, tmp_path / "run", 8)
    assert "2 files cannot be used" in str(caught.value)
    assert "'jeans/pipe.png': not a regular file" in str(caught.value)
    assert "'jeans/endless.png': not a regular file" in str(caught.value)


def test_pictures_are_sorted_as_paths_not_as_the_walk_came_to_them(root):
    for name in ("b.png", "a/z.png", "A.png", "é.png", "a.png"):
        draw(root / "few" / name)
    found = [Path(file).relative_to(root / "few").as_posix() for file in picture_files(root / "few")]
    assert found == ["A.png", "a/z.png", "a.png", "b.png", "é.png"]


# Rights


@pytest.mark.parametrize("mode", [0, stat.S_IRUSR, stat.S_IXUSR])
def test_folders_that_may_not_be_read_are_named_all_at_once(public_root, mode):
    (public_root / "skirt" / "deep").mkdir()
    closed = [public_root / "jeans", public_root / "skirt" / "deep"]
    for folder in closed:
        folder.chmod(mode | mode >> 3 | mode >> 6)
    if mode == stat.S_IRUSR:  # names may be listed, so files are told one by one
        said = as_another_user(lambda: ask(lambda: open_dataset(public_root, Path(tempfile.mkdtemp()), 8)))
        assert "'jeans/0.png': cannot be opened (Permission denied)" in said
        return
    for function in (list_images, picture_files):
        said = as_another_user(lambda function=function: ask(lambda: function(public_root)))
        assert "2 folders may not be read" in said
        assert all(f"{str(folder)!r}: Permission denied" in said for folder in closed)


def test_pictures_that_another_user_cached_are_used_though_nothing_may_be_written(public_root):
    folder = public_root.parent / "cache of all"
    fingerprint = open_dataset(public_root, folder, 8).fingerprint
    assert as_another_user(lambda: open_dataset(public_root, folder, 8).fingerprint) == fingerprint


@pytest.mark.parametrize("mode", [0, 0o444, 0o111])
def test_root_that_may_not_be_read_is_not_called_empty(public_root, mode):
    public_root.chmod(mode)
    said = as_another_user(lambda: ask(lambda: list_images(public_root)))
    assert "may not be read" in said
    assert "Permission denied" in said
    public_root.chmod(0o755)
    public_root.parent.chmod(mode)
    said = as_another_user(lambda: ask(lambda: list_images(public_root)))
    assert mode & 1 or "may not be read (Permission denied)" in said
