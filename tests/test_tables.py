"""Data sets that are a table, CSV or Parquet: the same data set as class folders, and every fault told at once by its row."""

import shutil

import numpy as np
import pandas as pd
import pytest
from helpers import refusal, run_script, write_config

from common.errors import UserError
from common.files import read_csv
from data import reading
from data.dataset import open_dataset, open_listed
from data.picture_table import list_table
from utils.run_folder import RunFolder


@pytest.fixture
def root(textiles, tmp_path):
    """A copy of class folders that a test may spoil."""
    return shutil.copytree(textiles / "train", tmp_path / "root")


@pytest.fixture
def rows(root):
    """(path, label) of each picture, in no order."""
    paths = [file.relative_to(root).as_posix() for file in sorted(root.rglob("*.jpg"))]
    return [(paths[i], paths[i].split("/")[0]) for i in np.random.default_rng(0).permutation(len(paths))]


def write(file, rows, *names):
    table = pd.DataFrame(rows, columns=names or ("path", "label"))
    table.to_parquet(file) if file.suffix == ".parquet" else table.to_csv(file, index=False)
    return file


@pytest.fixture
def refused(root, tmp_path):
    """(rows, **how) -> the message with which such a table is refused."""

    def message(rows, *names, **how):
        with pytest.raises(UserError) as caught:
            list_table(write(tmp_path / "labels.csv", rows, *names), root, report=tmp_path / "bad_rows.txt", **how)
        return str(caught.value)

    return message


def same_data_set(a, b):
    return (a.classes, a.fingerprint, a.paths) == (b.classes, b.fingerprint, b.paths) and np.array_equal(a.images, b.images)


# The same data set


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("label", ["text", "number"])
def test_a_table_is_the_same_data_set_as_the_class_folders_that_it_lists(root, rows, tmp_path, kind, label):
    folders = open_dataset(root, tmp_path / "folders", 16)
    if label == "number":
        rows = [(path, folders.classes.index(name)) for path, name in rows]
    file = write(tmp_path / f"labels.{kind}", rows, "file", "class")
    columns = {"path": "file", "label": "class"}
    listed = list_table(file, root, folders.classes if label == "number" else None, columns)
    assert listed.keys() == {"train"}
    assert same_data_set(open_listed(listed["train"], tmp_path / "table", 16), folders)


def test_paths_may_be_absolute_and_come_back_relative_below_the_root(root, rows, tmp_path):
    mixed = [(root / path if i % 2 else f"./{path}", label) for i, (path, label) in enumerate(rows)]
    shutil.move(root / rows[0][0], tmp_path / "elsewhere.jpg")
    mixed[0] = (tmp_path / "elsewhere.jpg", rows[0][1])
    dataset = open_listed(list_table(write(tmp_path / "l.csv", mixed), root)["train"], tmp_path / "run", 16)
    assert dataset.paths == sorted([f"{tmp_path}/elsewhere.jpg", *(path for path, _ in rows[1:])])
    assert all((dataset.root / path).is_file() for path in dataset.paths)


def test_a_split_column_makes_the_parts_in_the_words_that_people_use(root, rows, tmp_path):
    parts = ["Training", "valid", "TEST ", "train"]
    table = [(path, label, parts[i % 4]) for i, (path, label) in enumerate(sorted(rows))]
    listed = list_table(write(tmp_path / "l.csv", table, "path", "label", "split"), root)
    assert {part: len(pictures.table) for part, pictures in listed.items()} == {"train": 42, "validation": 21, "test": 21}
    table = [(path, label, {"valid": "dev"}.get(part, part)) for path, label, part in table]
    again = list_table(write(tmp_path / "l.csv", table, "path", "label", "split"), root, splits={"val": "dev"})
    assert again["validation"].table.equals(listed["validation"].table)


def test_what_means_nothing_elsewhere_is_a_class_name(root, rows, tmp_path):
    names = dict(zip(sorted({label for _, label in rows}), ["NA", "None", "nan", "null", "007", "1.0", "N/A"], strict=True))
    for kind in ("csv", "parquet"):
        file = write(tmp_path / f"l.{kind}", [(path, names[label]) for path, label in rows])
        assert list_table(file, root)["train"].classes == tuple(sorted(names.values()))


def test_other_labels_need_no_picture_decoded_again(root, rows, tmp_path, monkeypatch):
    file, run = tmp_path / "l.csv", tmp_path / "run"
    before = open_listed(list_table(write(file, rows), root)["train"], run, 16)
    monkeypatch.setattr(reading, "decode_rgb", lambda *arguments, **options: pytest.fail("decoded again"))
    rows[3] = (rows[3][0], next(name for name in before.classes if name != rows[3][1]))
    after = open_listed(list_table(write(file, rows), root)["train"], run, 16)
    assert after.fingerprint != before.fingerprint
    assert dict(zip(after.paths, after.table["label"], strict=True)) == dict(rows)
    index = read_csv(run / "index.csv", texts=("label",))
    assert dict(zip(index["path"], index["label"], strict=True)) == dict(rows)


# Faults


def test_all_faults_of_all_rows_are_told_at_once(root, rows, refused, tmp_path):
    rows = sorted(rows)
    label = rows[0][1]
    shouted, blank, slip = label.capitalize(), f"{label} ", label[1] + label[0] + label[2:]
    rows[1], rows[2], rows[3] = (rows[1][0], shouted), (rows[2][0], blank), (rows[3][0], slip)
    rows[4], rows[5], rows[6] = (rows[4][0], ""), ("nowhere.jpg", label), rows[0]
    rows[7], rows[8], rows[9] = (f"./{rows[20][0]}", label), (label, label), ("", label)
    rows[10] = (rows[10][0], "line\nbreak")
    said = refused(rows)
    assert "10 rows cannot be used" in said
    for line in (
        f"row 3: the label '{shouted}' (1 rows) is like '{label}'",
        f"row 4: the label '{blank}' (1 rows) is like '{label}'",
        f"row 5: the label '{slip}' (1 rows) is like '{label}'",
        "row 6: no label",
        "row 7: 'nowhere.jpg': no such file",
        f"row 8: '{rows[0][0]}' is there twice, in row 2 too",
        f"row 22: '{rows[20][0]}' is there twice, in row 9 too",
        f"row 10: '{label}': is a folder",
        "row 11: no path",
        "row 12: the label 'line\\nbreak' has line breaks or control characters in it",
    ):
        assert line in said
    assert "list all classes in data.classes" in said
    assert f"Relative paths begin at data.root, {root}." in said


def test_rows_with_the_same_fault_are_one_line_and_all_are_in_a_file(root, rows, refused, tmp_path):
    assert "row 2, 3, 4, 5, 6 and 79 more: no label" in refused([(path, " ") for path, _ in rows])
    numbers = ", ".join(map(str, range(2, 86)))
    assert (tmp_path / "bad_rows.txt").read_text() == f"row {numbers}: no label\n"


def test_labels_are_held_against_the_classes_that_are_listed(rows, refused):
    classes = sorted({label for _, label in rows})
    said = refused(rows, classes=["denims", *classes[1:]])
    assert "the label 'denim' is none of data.classes (near: denims)" in said
    numbers = [(path, classes.index(label)) for path, label in rows]
    assert "the label '6' is none of data.classes and no number from 0 to 5" in refused(numbers, classes=classes[:6])
    assert "no rows of train are of the classes velvet" in refused(rows, classes=[*classes, "velvet"])


def test_rare_classes_and_numbered_ones_are_no_slips_of_the_pen(root, rows, tmp_path, said):
    def listed(names):
        table = [(path, names[i] if i < len(names) else label) for i, (path, label) in enumerate(sorted(rows))]
        return list_table(write(tmp_path / "l.csv", table), root)["train"].classes

    assert {"wool", "wool2"} <= set(listed(["wool"] * 11 + ["wool2"]))
    assert {"shirt", "skirt"} <= set(listed(["shirt"] * 9 + ["skirt"] * 3))
    assert "Are they two classes?" not in said.text
    assert {"shirt", "skirt"} <= set(listed(["shirt"] * 60 + ["skirt"] * 3))
    assert "the label 'skirt' (3 rows) is like 'shirt' (60 rows). Are they two classes?" in said.text


def test_many_labels_are_compared_in_no_time_and_a_column_of_captions_is_none_of_classes(root, rows, refused):
    many = [(f"{i}.jpg", f"{word}{word[::-1]}") for i in range(5) for word in map("{:012b}".format, range(2000))]
    assert "10000 rows cannot be used" in refused(many)  # no such files
    captions = [(rows[0][0], f"caption {i}") for i in range(1680)]
    for classes in (None, ["shirt", "dress"]):
        said = refused(captions, classes=classes)
        assert "1680 different labels in 1680 rows, such as 'caption 0'. Is that the column of the classes?" in said


def test_parts_have_the_classes_of_train(root, rows, refused, tmp_path, said):
    names, rows = ("path", "label", "split"), sorted(rows)
    classes = sorted({label for _, label in rows})
    parts = [(path, label, ("train", "val", "test")[i % 3]) for i, (path, label) in enumerate(rows)]
    odd = [(path, "velvet" if part == "val" and i == 1 else label, part) for i, (path, label, part) in enumerate(parts)]
    assert "row 3: the label 'velvet' is in no row of train" in refused(odd, *names)
    odd = [(path, label, "eval" if part == "test" else part) for path, label, part in parts]
    assert "row 4, 7, 10, 13, 16 and 23 more: the part 'eval' is none of train, val and test" in refused(odd, *names)
    few = [row for row in parts if row[1:] != (classes[0], "val")]
    assert f"no rows of validation are of the classes {classes[0]}" in refused(few, *names)
    few = [row for row in parts if row[1:] != (classes[0], "test")]
    list_table(write(tmp_path / "l.csv", few, *names), root)
    assert f"no rows of test are of the classes {classes[0]}" in said.text


def test_what_decoding_finds_is_told_with_the_row(root, rows, tmp_path):
    (root / rows[5][0]).write_bytes(b"")
    shutil.copy(root / rows[7][0], root / "again.jpg")
    file = write(tmp_path / "l.csv", rows)
    with pytest.raises(UserError, match=rf"l.csv: 1 files cannot be used:\n    row 7: '{rows[5][0]}': empty file"):
        open_listed(list_table(file, root)["train"], tmp_path / "run", 16)
    rows[5] = ("again.jpg", next(label for _, label in rows if label != rows[7][1]))
    with pytest.raises(UserError, match=rf"row 7: 'again.jpg' = row 9: '{rows[7][0]}'"):
        open_listed(list_table(write(file, rows), root)["train"], tmp_path / "run", 16)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.csv", b"", "cannot be read as CSV"),
        ("l.csv", b"path,label\n", "no rows in it"),
        ("l.csv", b"path;label\na;b\n", "Save it with commas between the cells"),
        ("l.csv", b"Path,label\na,b\n", "without 'path' (near: Path). Say which are meant: data.columns=dict("),
        ("l.csv", "path,label\nä,b\n".encode("latin-1"), "not UTF-8 text"),
        ("l.parquet", b"path,label\na,b\n", "cannot be read as Parquet"),
        ("l.parquet", b"PAR1" + bytes(40) + b"PAR1", "cannot be read as Parquet"),
        ("l.csv", b"\npath,label\n", "no columns in its first line"),
        ("l.csv", b'path,label\n"a,b\n', "cannot be read as CSV"),
        ("l.csv", b"path,label\na,b\nc,d, e\n", "row 3 has more cells than the first line has columns: 'c', 'd', ' e'."),
        ("l.csv", b"path,label\n" + b"a" * 300 + b",b\n", "File name too long"),
        ("none.csv", None, "no such file (data.table)"),
    ],
)
def test_what_is_no_such_table_is_told(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        list_table(tmp_path / name, tmp_path)
    assert message in str(caught.value)


def test_binary_columns_of_parquet_are_text_in_utf8(root, rows, tmp_path):
    file, text = tmp_path / "l.parquet", list_table(write(tmp_path / "l.csv", rows), root)["train"]
    of_bytes = [(path.encode(), label.encode()) for path, label in rows]
    assert list_table(write(file, of_bytes), root)["train"].table.equals(text.table)
    with pytest.raises(UserError, match="not UTF-8"):
        list_table(write(file, [(b"a.jpg", b"\xff")]), root)


def test_cells_behind_the_last_column_may_be_blank(root, rows, tmp_path):
    file = tmp_path / "l.csv"
    file.write_text("path,label\n" + "".join(f"{path},{label},, \n" for path, label in rows))
    assert list_table(file, root)["train"].table["path"].tolist() == sorted(path for path, _ in rows)


def test_files_beside_the_table_are_found_for_the_user(root, rows, tmp_path):
    (tmp_path / "nowhere").mkdir()
    with pytest.raises(UserError, match=f"The files lie beside the table: data.root={root}"):
        list_table(write(root / "labels.csv", rows), tmp_path / "nowhere")


def test_options_that_make_no_sense_are_refused(rows, root, tmp_path):
    write(tmp_path / "l.csv", [(*row, "val") for row in rows], "path", "label", "split")
    parts = [(*row, "test" if i < 9 else "train") for i, row in enumerate(rows)]
    write(tmp_path / "parts.csv", parts, "path", "label", "split")
    write_config(tmp_path, root, None)
    for options, message in (
        (["data.columns.path=file"], "config: data.columns: says how data.table is written, but there is none"),
        (["data.table=l.csv", "data.columns.pth=file"], "config: data.columns.pth: there is no such. It takes path, label, split"),
        (["data.table=l.csv", "data.splits.vall=dev"], "config: data.splits.vall: there is no such. It takes train, val, test"),
        (["data.table=l.csv"], "l.csv: no rows of train. Is it called otherwise"),
        (["data.table=parts.csv", f"data.test_root={root}"], "data.test_root: the table "),
    ):
        assert message in refusal("e4.py", "config.py", "--cfg-options", *options, cwd=tmp_path)


# A run


def test_a_run_that_was_begun_on_folders_goes_on_with_a_table_of_them(textiles, trained, rows, tmp_path, said):
    """And the other way round: both are the same data set."""
    run = RunFolder(shutil.copytree(trained, tmp_path / "runs" / "t"))
    before = {path: path.read_bytes() for path in (run.oof, run.student.best, run.settings("student"), run.settings("teacher"))}
    write_config(tmp_path, textiles / "train", textiles / "validation")
    write(tmp_path / "labels.csv", rows, "file", "class")
    options = ["data.table=labels.csv", "data.columns.path=file", "data.columns.label=class"]
    for script in ("e4.py", "m11.py"):
        run_script(script, "config.py", "--cfg-options", *options, cwd=tmp_path)
    assert "epoch 1/" not in said.text
    assert {path: path.read_bytes() for path in before} == before
    run_script("export_openvino.py", run.path, cwd="/")
    assert run.exported.network.is_file()
    rows[0] = (rows[0][0], rows[1][1] if rows[0][1] != rows[1][1] else rows[-1][1])
    write(tmp_path / "labels.csv", rows, "file", "class")
    assert "holds a run with other settings" in refusal("e4.py", "config.py", "--cfg-options", *options, cwd=tmp_path)
