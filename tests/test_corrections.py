"""Corrections: another label, or none at all, without touching the pictures; refused as a whole where anything in them is wrong."""

import shutil

import numpy as np
import pytest
from helpers import refusal, run_script, write_config

from common.errors import UserError
from common.files import write_csv
from data.crops import center_crop, random_crop, random_zoom
from data.dataset import open_dataset
from utils.run_folder import RunFolder


@pytest.fixture
def pictures(textiles, tmp_path):
    return shutil.copytree(textiles / "train", tmp_path / "pictures")


@pytest.fixture
def corrected(pictures, tmp_path):
    """text of a corrections file -> the data set with it."""

    def open_with(text, encoding="utf-8"):
        (tmp_path / "corrections.csv").write_bytes(text.encode(encoding))
        return open_dataset(pictures, tmp_path / "run", 40, corrections=tmp_path / "corrections.csv")

    return open_with


def test_labels_change_and_dropped_pictures_are_gone_with_their_pixels(dataset, corrected, said):
    moved, dropped, kept = dataset.paths[3], dataset.paths[1], dataset.paths[5]
    other = dataset.classes[-1]
    after = corrected(f"path,label\n{moved},{other}\n{dropped},drop\n{kept},{kept.split('/')[0]}\n")
    assert "1 labels changed, 1 pictures left out, 1 rows say what the folder says" in said.text
    assert after.paths == [path for path in dataset.paths if path != dropped]
    labels = dict(zip(after.paths, after.table["label"], strict=True))
    assert labels.pop(moved) == other
    assert all(label == path.split("/")[0] for path, label in labels.items())
    assert len(after.images) == len(after) == len(dataset) - 1
    assert np.array_equal(after.images[:], np.delete(dataset.images, 1, axis=0))


def test_all_cuts_of_what_remains_are_those_of_the_pictures_themselves(dataset, corrected):
    after = corrected(f"path,label\n{dataset.paths[0]},drop\n")
    rows = np.array([0, 4, 2])
    for cut in (center_crop, random_crop, random_zoom):
        expected = cut(dataset.images, rows + 1, 32, np.random.default_rng(0))
        assert np.array_equal(cut(after.images, rows, 32, np.random.default_rng(0)), expected)


def test_corrections_count_in_the_fingerprint_and_no_picture_is_decoded_again(dataset, corrected, said):
    before = corrected("path,label\n")
    assert before.fingerprint == dataset.fingerprint
    said.clear()
    after = corrected(f"path,label\n{dataset.paths[0]},drop\n")
    assert after.fingerprint != before.fingerprint
    assert "cached" not in said.text
    assert corrected("path,label\n").fingerprint == before.fingerprint


def test_every_wrong_row_is_told_at_once(dataset, corrected):
    first, second = dataset.paths[:2]
    moved, wrong = f"blouses/{first.split('/')[1]}", dataset.classes[0].upper()
    with pytest.raises(UserError) as error:
        corrected(f"path,label\n{moved},drop\n{first},{wrong}\n{second},drop\n{second},{dataset.classes[1]}\n")
    message = str(error.value)
    assert "3 rows make no sense" in message
    assert f"row 2: '{moved}' is none of the training pictures (of that name: '{first}')" in message
    assert f"row 3: '{first}' has the label '{wrong}'" in message
    assert f"row 5: '{second}' is '{dataset.classes[1]}' here and 'drop' in another row" in message


def test_a_class_that_nothing_is_left_of_is_refused(dataset, corrected):
    name = dataset.classes[2]
    rows = "".join(f"{path},drop\n" for path in dataset.paths if path.startswith(f"{name}/"))
    with pytest.raises(UserError, match=f"leaves no pictures in the class {name}"):
        corrected(f"path,label\n{rows}")


def test_what_a_spreadsheet_saves_is_read(dataset, corrected):
    path = dataset.paths[0]
    after = corrected(f"\ufeffpath,label,note\r\n{path},drop,blurred\r\n{path},drop,again\r\n,,\r\n\r\n")
    assert path not in after.paths
    after = corrected(f"path,label\n{path},drop,\n")  # a comma too many
    assert path not in after.paths


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        ("path;label\na;b\n", "utf-8", "without 'path' and 'label'"),
        ("", "utf-8", "cannot be read as CSV"),
        ("path,label\nblusen/ä.jpg,drop\n", "latin-1", "not UTF-8"),
        ("path,label\n", "utf-16", "not UTF-8"),
    ],
)
def test_what_is_no_such_table_is_told(corrected, text, encoding, message):
    with pytest.raises(UserError, match=message):
        corrected(text, encoding)


def test_a_missing_file_is_told(pictures, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        open_dataset(pictures, tmp_path / "run", 40, corrections=tmp_path / "none.csv")


def test_a_class_called_drop_cannot_be_told_from_leaving_out(pictures, tmp_path):
    shutil.copytree(next(pictures.iterdir()), pictures / "drop")
    for file in (pictures / "drop").iterdir():
        file.write_bytes(file.read_bytes() + b" ")
    (tmp_path / "corrections.csv").write_text("path,label\n")
    with pytest.raises(UserError, match="a class is called 'drop'"):
        open_dataset(pictures, tmp_path / "run", 40, corrections=tmp_path / "corrections.csv")


def test_a_picture_of_two_classes_can_be_dropped_from_one(dataset, corrected, pictures):
    path, other = dataset.paths[0], dataset.classes[-1]
    shutil.copy(pictures / path, pictures / other / "copy.jpg")
    with pytest.raises(UserError, match="copies take the same label, or 'drop', in "):
        corrected("path,label\n")
    assert len(corrected(f"path,label\n{other}/copy.jpg,drop\n")) == len(dataset)


def test_a_whole_run_obeys_them(pictures, textiles, dataset, tmp_path):
    """Given by a relative path, and found again by the export, which is called from elsewhere."""
    write_config(tmp_path, pictures, textiles / "validation")
    moved, dropped = dataset.paths[:2]
    write_csv(tmp_path / "mine.csv", dataset.table.head(2).assign(label=[dataset.classes[-1], "drop"])[["path", "label"]])
    for script in ("e4.py", "m11.py"):
        run_script(script, "config.py", "--cfg-options", "data.corrections=mine.csv", cwd=tmp_path)
    run = RunFolder(tmp_path / "runs" / "t")
    table = run.oof.read_text()
    assert f"\n{moved},{dataset.classes[-1]}," in table
    assert f"\n{dropped}," not in table
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run_script("export_openvino.py", run.path, cwd=elsewhere)
    assert run.exported.network.is_file()
    said = refusal("m11.py", "config.py", "--cfg-options", "data.corrections=None", cwd=tmp_path)
    assert "another data set" in said
