"""predict.py as strangers call it: odd names, odd places, odd pictures; nothing of theirs is lost, and every file has an answer."""

import io
import json
import os
import shutil
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import contents, refusal, run_script
from other_user import as_another_user, let_enter
from PIL import Image
from tiny_networks import write_student, write_tiny_ir

import predict
from common.errors import UserError
from common.files import read_csv, sha256, write_csv, write_json
from data.decode import read_rgb
from recipe import explaining
from recipe.answers import AnswerFile
from recipe.predictor import IrPredictor, Predictor
from utils.checkpoints import load_checkpoint
from utils.run_folder import RunFolder

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
ODD_CLASSES = ["a,b", 'say "hi"', "line\nbreak", "carriage\rreturn", "NA", "007", " lead", "日本", "ünï"]


def picture(path, colour="red", size=(40, 30)):
    """A picture of one colour; its folders are made."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Image.new("RGB", size, COLOURS[colour]).save(path, "png" if os.fsdecode(path).endswith(".png") else "jpeg")
    return path


@pytest.fixture(scope="module")
def ir(tmp_path_factory):
    """An IR that answers with a picture's colour."""
    return write_tiny_ir(tmp_path_factory.mktemp("ir"))


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("student") / "student.pth")


@pytest.fixture
def answers(tmp_path):
    """(model, *arguments, cwd) -> the rows that predict.py writes, {path: class}."""

    def run(model, *arguments, cwd=tmp_path):
        run_script("predict.py", model, *arguments, "--output", tmp_path / "answers.csv", cwd=cwd)
        table = read_csv(tmp_path / "answers.csv", texts=("path", "class", "error"))
        return dict(zip(table["path"], table["class"], strict=True))

    return run


def printed(monkeypatch, encoding, *arguments, cwd):
    """The bytes that predict.py writes to a terminal or pipe of that encoding."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        run_script("predict.py", *arguments, cwd=cwd)
    return stream.buffer.getvalue()


# What is answered


def test_folders_and_patterns_may_have_brackets_and_stars_in_their_names(ir, answers, tmp_path):
    for name in ("a[1]/red.jpg", "p/green[2].jpg", "star*/blue.jpg", "starry/red.jpg", "a1/green.jpg"):
        picture(tmp_path / name, name.split("/")[1].split(".")[0].split("[")[0])
    assert answers(ir, "a[1]") == {"a[1]/red.jpg": "red"}
    assert answers(ir, "a[1]/*.jpg") == {"a1/green.jpg": "green"}  # a pattern where it matches as one
    assert answers(ir, "p/green[2].jpg") == {"p/green[2].jpg": "green"}
    assert answers(ir, "p/green[*.jpg") == {"p/green[2].jpg": "green"}
    assert answers(ir, "star*") == {"star*/blue.jpg": "blue"}
    assert answers(ir, "a[1-9]") == {"a1/green.jpg": "green"}


def test_a_pattern_may_match_folders_and_a_tilde_is_home(ir, answers, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    picture(tmp_path / "home" / "mine" / "deep" / "red.jpg")
    picture(tmp_path / "home" / "more" / "blue.jpg", "blue")
    picture(tmp_path / "home" / "mum.jpg", "green")
    (tmp_path / "home" / "mine" / "notes.txt").write_text("no picture")
    home = str(tmp_path / "home")
    expected = {f"{home}/mine/deep/red.jpg": "red", f"{home}/more/blue.jpg": "blue", f"{home}/mum.jpg": "green"}
    assert answers(ir, "~/m*") == expected
    assert answers(ir, "m*", cwd=tmp_path / "home").keys() == {"mine/deep/red.jpg", "more/blue.jpg", "mum.jpg"}
    shutil.copytree(ir.parent, tmp_path / "home" / "model")
    assert answers("~/model/model.xml", "~/mum.jpg") == {f"{home}/mum.jpg": "green"}


ODD_NAMES = ["line\nbreak.jpg", "carriage\rreturn.jpg", 'a, "b".jpg', " blank .jpg", "日本.jpg", os.fsdecode(b"\xff\xfe.jpg")]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_names_of_files_come_back_as_they_were(ir, kind, tmp_path):
    for name in ODD_NAMES:
        picture(tmp_path / "pictures" / name)
    run_script("predict.py", ir, "pictures", "--output", f"answers.{kind}", cwd=tmp_path)
    if kind == "csv":
        paths = pd.read_csv(tmp_path / "answers.csv", keep_default_na=False)["path"]
    else:
        paths = [row["path"] for row in json.loads((tmp_path / "answers.json").read_text(encoding="utf-8"))]
    assert sorted(paths) == sorted(f"pictures/{name}" for name in [*ODD_NAMES[:-1], "\\xff\\xfe.jpg"])


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii", "gbk", "utf-16"])
def test_answers_come_back_from_csv_as_they_were(encoding, tmp_path, monkeypatch):
    """From a file, and from a pipe whatever its encoding."""
    student = write_student(tmp_path / "odd.pth", ODD_CLASSES)
    picture(tmp_path / "pictures" / "日本.jpg")
    run_script("predict.py", student, "pictures", "--output", "answers.csv", cwd=tmp_path)
    (tmp_path / "printed.csv").write_bytes(printed(monkeypatch, encoding, student, "pictures", cwd=tmp_path))
    for name in ("answers.csv", "printed.csv"):
        table = pd.read_csv(tmp_path / name, keep_default_na=False, dtype={"class": str}, float_precision="round_trip")
        assert list(table) == ["path", "class", "confidence", *(f"p_{name}" for name in ODD_CLASSES), "error"]
        (row,) = table.to_dict("records")
        assert row["class"] in ODD_CLASSES
        assert row["confidence"] == row[f"p_{row['class']}"] == max(row[f"p_{name}"] for name in ODD_CLASSES)
        assert row["path"] == "pictures/日本.jpg"


@pytest.mark.parametrize("error", [RuntimeError("of OpenCV"), ValueError(), MemoryError(), IndexError("list")])
def test_whatever_a_decoder_raises_is_one_row(ir, error, tmp_path, monkeypatch):
    picture(tmp_path / "pictures" / "a.png", "green")
    picture(tmp_path / "pictures" / "b.jpg", "blue")

    def fail(*arguments):
        raise error

    monkeypatch.setitem(sys.modules["data.decode"].READERS, "PNG", fail)
    run_script("predict.py", ir, "pictures", "--output", "answers.csv", cwd=tmp_path)
    table = read_csv(tmp_path / "answers.csv", texts=("class", "error"))
    assert list(table["class"]) == ["", "blue"]
    assert table["error"][0]
    assert not table["error"][1]
    assert "\n" not in table["error"][0]


def test_what_is_no_picture_is_a_row_with_the_reason(ir, tmp_path):
    picture(tmp_path / "pictures" / "good.jpg")
    (tmp_path / "pictures" / "empty.jpg").write_bytes(b"")
    (tmp_path / "pictures" / "half.jpg").write_bytes((tmp_path / "pictures" / "good.jpg").read_bytes()[:-300])
    (tmp_path / "pictures" / "broken.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pictures" / "pipe.jpg")
    run_script("predict.py", ir, "pictures", "/dev/zero", "--output", "answers.csv", cwd=tmp_path)
    table = read_csv(tmp_path / "answers.csv", texts=("class", "error")).set_index("path")
    assert table["class"]["pictures/good.jpg"] == "red"
    assert (table["error"] != "").sum() == 5
    assert table["error"]["/dev/zero"] == table["error"]["pictures/pipe.jpg"] == "not a regular file"


def test_status_is_1_only_where_nothing_could_be_answered(ir, answers, tmp_path):
    (tmp_path / "torn.jpg").write_bytes(b"")
    assert answers(ir, "torn.jpg", picture(tmp_path / "good.jpg"))["torn.jpg"] == ""
    assert refusal("predict.py", ir, "torn.jpg", cwd=tmp_path) == (
        "error: none of the 1 files could be answered; the first: torn.jpg: empty file (0 bytes)"
    )


def test_a_spoilt_network_answers_with_a_reason_instead_of_nan(tmp_path):
    student = write_student(tmp_path / "nan.pth", head__1__bias=torch.full((3,), torch.nan))
    picture(tmp_path / "a.jpg")
    message = refusal("predict.py", student, "a.jpg", "--output", "answers.csv", cwd=tmp_path)
    assert "none of the 1 files could be answered" in message
    table = read_csv(tmp_path / "answers.csv", texts=("class", "error"))
    assert table["class"][0] == ""
    assert "not a number (NaN)" in table["error"][0]
    assert "nan" not in (tmp_path / "answers.csv").read_text().split("\n")[1].split(",")[2:6]


# Tables of pictures


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_names_pictures_and_its_paths_come_back(ir, answers, kind, tmp_path):
    names = ["b, 1.jpg", "line\nbreak.jpg", "NA", "007", "b, 1.jpg"]
    for name in names:
        picture(tmp_path / "pictures" / name, "green")
    elsewhere = str(picture(tmp_path / "elsewhere.jpg", "blue"))
    table = pd.DataFrame({"file": [*names, elsewhere, "none.jpg"], "label": ["x"] * 7})
    table.to_csv(tmp_path / "l.csv", index=False) if kind == "csv" else table.to_parquet(tmp_path / "l.parquet")
    arguments = ["--list", f"l.{kind}", "--path-column", "file", "--root", "pictures"]
    expected = {**dict.fromkeys(names, "green"), elsewhere: "blue", "none.jpg": ""}
    assert answers(ir, *arguments) == expected
    assert list(read_csv(tmp_path / "answers.csv", texts=("path",))["path"]) == [*names, elsewhere, "none.jpg"]
    assert answers(ir, picture(tmp_path / "more.jpg"), *arguments) == {f"{tmp_path}/more.jpg": "red", **expected}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\na.jpg\n", "without 'path'. Say which column has the paths: --path-column NAME"),
        ("path\n", "l.csv: names no pictures"),
        ("path,note\n,a\n\n", "l.csv: names no pictures"),
        ("", "cannot be read as CSV"),
        (None, "l.csv: no such file (--list)"),
    ],
)
def test_a_table_that_names_no_pictures_is_refused(ir, text, message, tmp_path):
    if text is not None:
        (tmp_path / "l.csv").write_text(text)
    assert message in refusal("predict.py", ir, "--list", "l.csv", "--output", "answers.csv", cwd=tmp_path)
    assert set(os.listdir(tmp_path)) <= {"l.csv"}


def test_a_long_table_is_not_kept_in_memory(tmp_path):
    (tmp_path / "l.csv").write_text("path\n" + "".join(f"{i:0100}\n" for i in range(500_000)))
    tracemalloc.start()
    assert sum(1 for _ in predict.listed_pictures(tmp_path / "l.csv", "path", tmp_path)) == 500_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # the names alone take 75 MB; the interpreter's table of interned ones, which may grow meanwhile, up to 31


# Interruptions


def interrupted(monkeypatch, after, *arguments, cwd):
    """Ctrl-C at the picture number `after`, from 0."""
    read, asked = Predictor.read, []

    def interrupt(self, *arguments):
        asked.append(arguments[0])
        if len(asked) > after:
            raise KeyboardInterrupt
        return read(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "read", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_script("predict.py", *arguments, cwd=cwd)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_an_interruption_keeps_what_is_answered_and_the_same_command_goes_on(ir, kind, tmp_path, monkeypatch):
    names = ["torn.jpg", "line\nbreak.jpg", 'a, "b".jpg', "carriage\rreturn.jpg", "z.jpg"]
    for i, name in enumerate(names):
        picture(tmp_path / "p" / name, list(COLOURS)[i % 3])
    (tmp_path / "p" / "torn.jpg").write_bytes(b"")
    write_csv(tmp_path / "l.csv", pd.DataFrame({"path": names}))
    arguments = [ir, "--list", "l.csv", "--root", "p", "--output"]
    run_script("predict.py", *arguments, f"whole.{kind}", cwd=tmp_path)
    for after in range(len(names)):
        interrupted(monkeypatch, after, *arguments, f"answers.{kind}", cwd=tmp_path)
        assert not (tmp_path / f"answers.{kind}").exists()
        if kind == "csv":
            assert list(pd.read_csv(tmp_path / "answers.part.csv")["path"]) == names[:after]
        asked = []
        with monkeypatch.context() as patch:
            read = IrPredictor.read
            patch.setattr(IrPredictor, "read", lambda self, path, *more: asked.append(path.name) or read(self, path, *more))  # noqa: B023
            run_script("predict.py", *arguments, f"answers.{kind}", cwd=tmp_path)
        assert asked == names[after:]
        assert (tmp_path / f"answers.{kind}").read_bytes() == (tmp_path / f"whole.{kind}").read_bytes()
        assert sorted(os.listdir(tmp_path)) == sorted(["p", "l.csv", f"whole.{kind}", f"answers.{kind}"])
        (tmp_path / f"answers.{kind}").unlink()


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_row_that_was_cut_anywhere_is_answered_again(kind, tmp_path):
    """Power fails, or the process is killed while it writes."""
    numbers = dict(zip(ODD_CLASSES, np.linspace(0, 1, len(ODD_CLASSES)), strict=True))
    good = {"class": "line\nbreak", "confidence": 1.0, "probabilities": numbers, "error": None}
    bad = {"class": None, "confidence": None, "probabilities": None, "error": "cut,\nor worse"}
    rows = [{"path": "a\nb.jpg", **good}, {"path": "c.jpg", **bad}, {"path": "d\r.jpg", **good}]

    def write(upto=3):
        with AnswerFile(tmp_path / f"a.{kind}", ODD_CLASSES, {}) as answers:
            for path, _ in answers.remaining([(row["path"], None) for row in rows[:upto]]):
                answers.add(next(row for row in rows if row["path"] == path))
        return (tmp_path / f"a.{kind}").read_bytes(), answers.failed

    whole, _ = write()
    write_json(tmp_path / f"a.part.{kind}.json", {})
    for length in range(len(whole) + 1):
        (tmp_path / f"a.part.{kind}").write_bytes(whole[:length])
        assert write() == (whole, 1), length
        write_json(tmp_path / f"a.part.{kind}.json", {})


@pytest.mark.parametrize("change", ["model", "flip", "max_pixels", "pictures", "no note"])
def test_another_command_does_not_go_on_where_one_was_interrupted(ir, change, tmp_path, monkeypatch):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        picture(tmp_path / "p" / name)
    model, more = ir, []
    interrupted(monkeypatch, 2, ir, "p", "--output", "answers.csv", cwd=tmp_path)
    if change == "model":
        model = write_tiny_ir(tmp_path / "other", accuracy="another")
    elif change == "pictures":
        picture(tmp_path / "p" / "aa.jpg")
    elif change == "no note":
        (tmp_path / "answers.part.csv.json").unlink()
    else:
        more = {"flip": ["--flip"], "max_pixels": ["--max-pixels", 5000]}[change]
    before = (tmp_path / "answers.part.csv").read_bytes()
    message = refusal("predict.py", model, "p", "--output", "answers.csv", *more, cwd=tmp_path)
    expected = {"pictures": "number 2 was 'p/b.jpg', and is 'p/aa.jpg' now", "no note": "it differs in: model, classes"}
    assert expected.get(change, f"it differs in: {change}") in message
    assert "delete that file to begin anew" in message
    assert (tmp_path / "answers.part.csv").read_bytes() == before


def test_a_checkpoint_that_was_calibrated_since_and_maps_elsewhere_do_not_go_on(tmp_path, monkeypatch):
    run = RunFolder(tmp_path / "run")
    write_student(run.student.best)
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / "p" / name)
    arguments = [run.student.best, "p", "--output", "answers.csv"]
    interrupted(monkeypatch, 1, *arguments, cwd=tmp_path)
    assert "it differs in: explain)" in refusal("predict.py", *arguments, "--explain", "maps", cwd=tmp_path)
    exported = {"checkpoint": {"file": "best.pth", "sha256": sha256(run.student.best)}, "calibration": {"temperature": 2.0}}
    write_json(run.exported.manifest, exported)
    assert "it differs in: temperature)" in refusal("predict.py", *arguments, cwd=tmp_path)


def test_two_processes_do_not_write_the_same_answers(tmp_path):
    first, second = (AnswerFile(tmp_path / "answers.csv", ["x"], {}) for _ in range(2))
    other = AnswerFile(tmp_path / "answers.csv", ["y"], {"flip": True})
    for late in (second, other):
        with first, pytest.raises(UserError, match="another process is writing it"), late:
            pass


# What is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{ir}", "nothing*.jpg"], "nothing*.jpg: no such file, or nothing in it"),
        (["{ir}", "nothing[0"], "nothing[0: no such file, or nothing in it"),
        (["{ir}", ""], "'': no such file, or nothing in it"),
        (["{ir}", "~nobody_of_that_name/x"], "~nobody_of_that_name/x: no such file"),
        (["{ir}", "a" * 300], "no such file, or nothing in it"),
        (["{ir}", "empty"], "empty: no such file, or nothing in it"),
        (["nowhere", "a.jpg"], "nowhere: no such file. Give a run folder, a model.xml"),
        (["a.jpg", "a.jpg"], "a.jpg: neither a run folder, nor a .xml, nor a .pth file"),
        (["empty", "a.jpg"], "empty: has no student"),
        (["{ir}", "a.jpg", "--output", "folder.csv"], "folder.csv: a folder of this name is in the way"),
        (["{ir}", "a.jpg", "--output", "a.jpg/answers.csv"], "a.jpg is a file, but a folder is needed there"),
        (["{student}", "a.jpg", "--explain", "a.jpg"], "a.jpg is a file, but a folder is needed there"),
        (["{ir}", "a.jpg", "--explain", "maps"], "the student that it was exported from, which makes the maps, does not lie"),
    ],
)
def test_mistakes_are_told_before_the_work(ir, student, arguments, message, tmp_path, monkeypatch):
    picture(tmp_path / "a.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.csv").mkdir()
    monkeypatch.setattr("predict.answer", None)  # so that it cannot be called
    assert message in refusal("predict.py", *(text.format(ir=ir, student=student) for text in arguments), cwd=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "answers.txt"], "answers.txt: takes a name that ends in .csv or .json"),
        (["--output", ""], "argument --output: an empty name"),
        (["--explain", ""], "argument --explain: an empty name"),
        (["--max-pixels", "0"], "0: must be a whole number, 1 or more"),
        (["--max-pixels", "-5"], "must be a whole number"),
        (["--max-pixels", "1e6"], "must be a whole number"),
        (["--reject", "1.01"], "1.01: must be a number from 0 to 1"),
        (["--reject", "nan"], "nan: must be a number from 0 to 1"),
        (["--reject", ""], "must be a number from 0 to 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(ir, arguments, message, tmp_path, capsys):
    """An empty name is a variable of the shell that was not set: once it meant the folder in which the script was called."""
    picture(tmp_path / "a.jpg")
    with pytest.raises(SystemExit):
        run_script("predict.py", ir, "a.jpg", *arguments, cwd=tmp_path)
    assert message in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["a.jpg"]


@pytest.mark.parametrize(
    "arguments", [["--output", "theirs/answers.csv"], ["--output", "theirs/new/a.csv"], ["--explain", "theirs"]]
)
def test_a_place_that_may_not_be_written_is_one_message_before_the_work(ir, student, arguments, tmp_path, monkeypatch):
    """24f: as another user than root."""
    picture(tmp_path / "a.jpg")
    (tmp_path / "theirs").mkdir(mode=0o755)
    let_enter(tmp_path, student.parent)
    monkeypatch.setattr("predict.answer", None)
    message = as_another_user(lambda: refusal("predict.py", student, "a.jpg", *arguments, cwd=tmp_path))
    assert message.startswith("error: theirs")
    assert "cannot be written: permission denied" in message


def test_larger_pictures_than_wanted_are_refused(ir, answers, tmp_path):
    picture(tmp_path / "a.jpg", size=(40, 30))
    assert answers(ir, "a.jpg", "--max-pixels", 1200) == {"a.jpg": "red"}
    assert "more than" in refusal("predict.py", ir, "a.jpg", "--max-pixels", 1199, cwd=tmp_path)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_what_is_rejected_is_unknown_and_keeps_its_confidence(ir, kind, tmp_path):
    picture(tmp_path / "red.jpg")
    Image.new("RGB", (40, 30), (110, 100, 120)).save(tmp_path / "grey.png")
    run_script("predict.py", ir, "red.jpg", "grey.png", "--reject", "0.9", "--output", f"answers.{kind}", cwd=tmp_path)
    if kind == "csv":
        rows = read_csv(tmp_path / "answers.csv", texts=("class",)).to_dict("records")
    else:
        rows = json.loads((tmp_path / "answers.json").read_text())
    assert [row["class"] for row in rows] == ["red", "unknown"]
    grey = rows[1] if kind == "csv" else {f"p_{name}": value for name, value in rows[1]["probabilities"].items()}
    assert rows[1]["confidence"] == grey["p_blue"] == max(grey[f"p_{name}"] for name in ("blue", "green", "red"))


def test_mirroring_is_an_option(ir, tmp_path, monkeypatch):
    monkeypatch.setattr(IrPredictor, "logits", lambda self, pixels: pixels[:, :20].mean((0, 1)) / 100)
    halves = np.zeros((30, 40, 3), np.uint8)
    halves[:, :20] = 255, 0, 0
    for name, pixels in (("left.png", halves), ("right.png", halves[:, ::-1])):
        Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / name)

    def answers(*options):
        run_script("predict.py", ir, "left.png", "right.png", "--output", "answers.csv", *options, cwd=tmp_path)
        return read_csv(tmp_path / "answers.csv").filter(like="p_").to_numpy()

    left, right = answers()
    assert np.abs(left - right).max() > 0.1
    assert answers("--flip") == pytest.approx(np.stack([(left + right) / 2] * 2), abs=1e-6)


def test_a_reader_that_has_seen_enough_is_no_error(ir, tmp_path, monkeypatch):
    """`predict.py ... | head`."""
    picture(tmp_path / "a.jpg")
    reader, writer = os.pipe()
    os.close(reader)
    with monkeypatch.context() as patch, open(writer, "w", encoding="ascii") as pipe:
        patch.setattr(sys, "stdout", pipe)
        run_script("predict.py", ir, "a.jpg", cwd=tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_a_full_disk_behind_the_terminal_is_one_message(ir, tmp_path, monkeypatch):
    """`predict.py ... > answers.csv`."""
    picture(tmp_path / "a.jpg")
    with monkeypatch.context() as patch:
        full = open("/dev/full", "w", encoding="ascii")  # noqa: SIM115 (closing it fails too)
        patch.setattr(sys, "stdout", full)
        message = refusal("predict.py", ir, "a.jpg", cwd=tmp_path)
        with pytest.raises(OSError, match="No space left"):
            full.close()
    assert "standard output: cannot be written: no space left on the disk" in message


# Maps


def test_maps_never_replace_a_file(student, tmp_path):
    """24a: once `--explain` into the folder of the pictures overwrote them."""
    for name in ("a.jpg", "b.jpg", "b.png", "deep/a.jpg"):
        picture(tmp_path / "pictures" / name, size=(60, 50))
    (tmp_path / "pictures" / ".writable").write_text("mine")
    before = contents(tmp_path / "pictures")
    for _ in range(2):
        run_script("predict.py", student, "pictures/a.jpg", "pictures/b.jpg", "pictures/b.png", "pictures/deep",
                   "--explain", "pictures", "--output", "answers.csv", cwd=tmp_path)  # fmt: skip
    after = contents(tmp_path / "pictures")
    assert {path: after[path] for path in before} == before
    made = sorted(path.name for path in after.keys() - before.keys())
    assert made == sorted([*(f"a-{i}.jpg" for i in range(2, 6)), *(f"b-{i}.jpg" for i in range(2, 6))])
    assert all(read_rgb(tmp_path / "pictures" / name).shape == (50, 60, 3) for name in made)


def test_a_file_that_appears_at_the_last_moment_is_not_replaced_either(tmp_path, monkeypatch):
    """Two processes may explain into one folder."""
    (tmp_path / "a.jpg").write_text("theirs")
    monkeypatch.setattr("os.path.exists", lambda path: False)
    monkeypatch.setattr("os.path.lexists", lambda path: False)
    explaining.write_new(tmp_path, "a", b"ours")
    assert (tmp_path / "a.jpg").read_text() == "theirs"
    assert (tmp_path / "a-2.jpg").read_bytes() == b"ours"


@pytest.mark.parametrize("stem", ["x" * 243, "日" * 81, os.fsdecode(b"\xff" * 243), os.fsdecode(b"\xff"), "line\nbreak"])
def test_long_and_odd_names_cost_no_answer_and_no_map(student, answers, stem, tmp_path):
    picture(tmp_path / "pictures" / f"{stem}.jpg")
    assert list(answers(student, "pictures", "--explain", "maps").values()) != [""]
    (made,) = (tmp_path / "maps").iterdir()
    assert made.name.encode()
    assert made.suffix == ".jpg"
    assert read_rgb(made).shape == (30, 40, 3)


def test_a_map_that_cannot_be_written_costs_no_answer(student, answers, tmp_path, monkeypatch, capsys):
    """The disk fills up, or somebody removes the folder while the pictures are answered."""
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / "pictures" / name)
    monkeypatch.setattr(explaining, "check_writable", lambda folder: None)
    assert all(answers(student, "pictures", "--explain", tmp_path / "gone").values())
    told = capsys.readouterr().err
    assert told.count("answered, but without its map") == told.count("cannot be written: no such file or folder") == 2


def test_what_there_was_room_for_of_a_map_is_removed(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(28, "No space left on device")

    def open_full(path, mode):
        path.touch()
        return Full()

    monkeypatch.setattr(explaining, "open", open_full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        explaining.write_new(tmp_path, "a", b"ours")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("size", [(70_000, 3), (1, 1), (9000, 100)])
def test_pictures_of_any_size_have_a_map(student, answers, size, tmp_path):
    """JPEG ends at 65,500 pixels a side."""
    picture(tmp_path / "pictures" / "a.png", size=size)
    assert answers(student, "pictures", "--explain", "maps")["pictures/a.png"]
    width, height = size
    shrunk = min(1, 4096 / width)
    assert read_rgb(tmp_path / "maps" / "a.jpg").shape == (max(1, round(height * shrunk)), round(width * shrunk), 3)


def test_a_map_shows_what_the_student_that_answers_saw(tmp_path, monkeypatch):
    """Not that of an older export, nor another checkpoint of the run."""
    run = RunFolder(tmp_path / "run")
    write_student(run.student.best, seed=1)
    write_student(run.student.averaged, seed=2)
    write_tiny_ir(run.deploy)
    digest = "0" * 64  # of a best.pth that was there when it was exported
    (run.deploy / "manifest.json").write_text(json.dumps({"checkpoint": {"file": "best.pth", "sha256": digest}, "files": {}}))
    asked = []
    monkeypatch.setattr("recipe.explaining.grad_cam", lambda model, x, k: asked.append(model) or np.ones((2, 2), np.float32))
    picture(tmp_path / "a.jpg")
    run_script("predict.py", run.path, "a.jpg", "--explain", "maps", "--output", "a.csv", cwd=tmp_path)
    (model,) = asked
    expected = load_checkpoint(run.student.averaged)["model"]
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
