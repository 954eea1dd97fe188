"""All benchmarks run, with their smallest numbers, as a user starts them, and print the table that they promise."""

import re
import runpy
import sys

import numpy as np
import pandas as pd
import pytest
from helpers import REPO
from PIL import Image

PICTURES = 28  # of the validation set
ABOVE = "(against the one above)"


def run(monkeypatch, script, *arguments):
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    runpy.run_path(str(REPO / "benchmarks" / script), run_name="__main__")


def rows(printed):
    """The rows of the table below its line of dashes, as lists of cells."""
    lines = printed.splitlines()
    (start,) = (number for number, line in enumerate(lines) if line and set(line) == {"-"})
    return [[cell.strip() for cell in line.split("  ") if cell] for line in lines[start + 1 :]]


def test_convolutions_compare_training_steps(monkeypatch, capsys):
    smallest = "--sizes 32 48 --batch-size 2 --steps 1 --threads 1"
    run(monkeypatch, "convolutions.py", *smallest.split())
    for size, row in zip((32, 48), rows(capsys.readouterr().out), strict=True):
        numbers = [float(cell) for cell in row]
        assert numbers[0] == size
        assert numbers[1] > 0
        assert numbers[3] > 0


def test_training_compares_four_loops(monkeypatch, capsys):
    smallest = "--picture-size 500x300 --size 32 --batch-size 4 --batches 2 --rounds 1 --threads 1 --workers 0"
    run(monkeypatch, "training.py", *smallest.split())
    *measured, pixels, jpegs = rows(capsys.readouterr().out)
    loops = ["ours", "ours, cache of JPEGs", "torchvision ImageFolder + DataLoader", "timm loader"]
    titles = ["decoding alone, images/s", "first run, images/s", "start of a second run, s", "later epochs, images/s"]
    assert [row[:2] for row in measured] == [[title, loop] for title in titles for loop in loops]
    assert all(float(row[2]) > 0 for row in measured)
    ours, _, torchvision, _ = (float(row[2]) for row in measured[8:12])
    ratio = torchvision / ours  # of seconds, fewer are better; printed with two digits
    assert float(measured[10][-1]) == pytest.approx(ratio, rel=0.002, abs=0.006)
    sizes = []
    for (line,), name in ((pixels, loops[0]), (jpegs, loops[1])):
        assert line.startswith(f"{name}: waits for data ")
        sizes.append(float(re.search(r"cache (\S+) KiB an image", line)[1]))
    assert sizes[0] == pytest.approx(3 * 37**2 / 1024, rel=0.1)
    assert sizes[1] < sizes[0]


def test_operators_share_a_training_step(monkeypatch, capsys):
    smallest = "--sizes 32 --batch-size 4 --steps 1 --threads 1 --rows 99"
    run(monkeypatch, "operators.py", *smallest.split())
    found = {row[0]: row[1:] for row in rows(capsys.readouterr().out)}
    assert found["native_batch_norm"][0] == "34"
    assert {"convolution_backward, depthwise", "hardswish_backward", "mm"} <= set(found)
    assert 0 < sum(float(row[2].rstrip("%")) for row in found.values()) < 300


@pytest.fixture
def table(deployed, tmp_path, monkeypatch, capsys):
    """deploy.py's arguments -> the table that it leaves, whose numbers make sense."""

    def read(name, *arguments):
        run(monkeypatch, "deploy.py", deployed.path, "--output", tmp_path / "new", *arguments)
        assert f"{PICTURES} pictures" in capsys.readouterr().out
        assert Image.open(tmp_path / "new" / f"{name}.png").size > (500, 300)
        table = pd.read_csv(tmp_path / "new" / f"{name}.csv", index_col=0)
        assert (table.drop(columns="accuracy").min() > 0).all()
        assert (table["p50_ms"] <= table["p99_ms"]).all()
        assert (table["infer_p50_ms"] < table["p50_ms"]).all()
        speed = (table["fps"] / 162.5).clip(upper=1)
        pd.testing.assert_series_equal(table["score"], 0.7 * table["accuracy"] + 0.3 * speed, check_names=False)
        return table

    return read


def accuracies(deployed):
    """{engine: accuracy} that the export measured, which tells the engines' answers from those of chance."""
    measured = deployed.results()["deploy"]["accuracy"]
    assert measured["OpenVINO"] > 0
    return measured


def test_deploy_measures_every_way_to_run_a_student(deployed, build, table):
    found = table("benchmark", "--classify", build / "classify", "--seconds", 0.02)
    assert (found["memory_mib"] > 10).all()
    measured = accuracies(deployed)
    assert dict(found["accuracy"]) == pytest.approx({
        "PyTorch eager": measured["PyTorch"],
        "PyTorch fused": measured["PyTorch fused"],
        "ONNX Runtime FP32": measured["ONNX Runtime"],
        "OpenVINO FP32": measured["OpenVINO"],
        "OpenVINO INT8": measured["OpenVINO INT8"],
        "C++ FP32": measured["OpenVINO"],
        "C++ INT8": measured["OpenVINO INT8"],
    })  # fmt: skip


def test_deploy_compares_input_sizes(deployed, table):
    found = table("sizes", "--sizes", 32, 48)
    assert list(found.index) == [32, 48]
    assert found["accuracy"][32] == pytest.approx(accuracies(deployed)["OpenVINO"])


def test_deploy_compares_kinds_of_input(deployed, build, table):
    found = table("inputs", "--inputs", "--classify", build / "classify", "--seconds", 0.02)
    assert list(found.index) == ["floats", "uint8", "uint8, resize"]
    assert list(found["accuracy"][:2]) == pytest.approx([accuracies(deployed)["OpenVINO"]] * 2)
    assert 0.5 < found["accuracy"]["uint8, resize"] <= 1  # resized otherwise than in training


def test_all_ways_to_run_a_student_agree(deployed, build, monkeypatch, capsys):
    run(monkeypatch, "agreement.py", deployed.path, "--classify", build / "classify")
    found = {way: (same, float(difference), float(score)) for way, same, difference, score in rows(capsys.readouterr().out)}
    assert list(found) == [
        "PyTorch", "OpenVINO IR, Python", "OpenVINO IR, C++", "INT8, Python", f"INT8, C++ {ABOVE}",
        "IR that resizes, predict.py", f"Model API {ABOVE}",
    ]  # fmt: skip
    limits = {"OpenVINO IR, Python": 1e-4, "OpenVINO IR, C++": 1e-3, f"INT8, C++ {ABOVE}": 1e-3, f"Model API {ABOVE}": 0.1}
    for way, largest in limits.items():
        same, difference, _ = found[way]
        assert same == f"{PICTURES} of {PICTURES}"
        assert difference < largest
    assert found["INT8, Python"][1] > 0.01  # rounded indeed
    assert found["IR that resizes, predict.py"][1] > 0.01  # by another way to resize than that of training
    measured = accuracies(deployed)
    assert {found[way][2] for way in ("PyTorch", "OpenVINO IR, Python", "OpenVINO IR, C++")} == {round(measured["OpenVINO"], 4)}
    assert found["INT8, Python"][2] == found[f"INT8, C++ {ABOVE}"][2] == round(measured["OpenVINO INT8"], 4)


def test_missing_program_is_one_message(deployed, monkeypatch, tmp_path):
    for script in ("deploy.py", "agreement.py"):
        with pytest.raises(SystemExit, match=r"classify: not there\. Run: make cpp"):
            run(monkeypatch, script, deployed.path, "--classify", tmp_path / "classify")


NOISY = """
_base_ = "config.py"
name = "noisy"
student = dict(epochs=1, final_epochs=0, num_views=2)
study = dict(axes=["student.distillation=none | student.distillation=views student.teacher_weight=0.5"], seeds=1)
"""


def test_noise_compares_students_of_moved_labels(monkeypatch, capsys, workplace, tmp_path):
    (workplace / "noisy.py").write_text(NOISY)
    arguments = [workplace / "noisy.py", "--shares", "0.25", "--output", tmp_path]
    run(monkeypatch, "noise.py", *arguments)
    capsys.readouterr()
    run(monkeypatch, "noise.py", *arguments, "--report")
    first, views = rows(capsys.readouterr().out.split("chart.png")[-1])
    assert first[:2] == ["25%", "student.distillation=none"]
    assert first[4:6] == ["+0.0 (+0.0 to +0.0)", "0, 0"]
    assert views[1] == "student.distillation=views student.teacher_weight=0.5"
    moved = pd.read_csv(tmp_path / "25_percent" / "moved.csv")
    assert len(moved) == 21
    assert (moved["label"] != moved["true"]).all()
    assert [path.split("/")[0] for path in moved["path"]] == moved["true"].tolist()
    assert f"of {len(moved)}, " in first[6]


def test_corrections_compares_students_before_and_after(monkeypatch, capsys, workplace, dataset, tmp_path):
    """A teacher that doubts six of the moved labels and a right one, and is sure of three of them and of that one."""

    def label_issues(labels, probs):
        truth = dataset.labels
        wrong = np.flatnonzero(labels != truth)[:6]
        right = int(np.flatnonzero(labels == truth)[0])
        return [(int(row), int(truth[row]), i < 3) for i, row in enumerate(wrong)] + [(right, (int(truth[right]) + 1) % 7, True)]

    monkeypatch.setattr("reports.suspects.label_issues", label_issues)
    arguments = [workplace / "config.py", "--share", "0.25", "--seeds", "1", "--output", tmp_path]
    run(monkeypatch, "corrections.py", *arguments, "--cfg-options", "student.epochs=1", "student.final_epochs=0")
    printed = capsys.readouterr().out
    suspects, students = (printed[printed.index(f"\n{title} ") :].split("\n\n")[0] for title in ("suspects", "student"))
    assert rows(suspects) == [
        ["surest", "3 of 21", "0.143", "0.750"],
        ["all doubted", "6 of 21", "0.286", "0.857"],
    ]
    assert [row[0] for row in rows(students)] == ["before.csv", "surest.csv", "checked.csv"]
    before, surest, checked = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("before", "surest", "checked"))
    assert (before["label"] != before["true"]).all()
    assert (surest["label"] == surest["true"]).sum() == 3
    assert len(surest) == len(before) + 1
    assert (checked["label"] == checked["true"]).sum() == 6
    assert len(checked) == len(before)


def test_report_times_the_report_of_made_up_pictures(monkeypatch, capsys):
    monkeypatch.setattr("deploy.timing.SECONDS", 0.05)
    run(monkeypatch, "report.py", "--pictures", "140")
    assert re.search(r"^140 pictures: [\d.]+ s, [\d.]+ MiB, ", capsys.readouterr().out, re.MULTILINE)


def test_scale_measures_steps_at_several_sizes(monkeypatch, capsys, tmp_path):
    steps = ["first_start", "second_start", "oof_table"]
    run(monkeypatch, "scale.py", "--folder", tmp_path, "--sizes", "100", "200", "--stages", *steps)
    measured = rows(capsys.readouterr().out)
    assert [row[:2] for row in measured] == [[step, size] for step in steps for size in ("100", "200")]
    assert all(float(cell) >= 0 for row in measured for cell in row[2:5])
    assert all(np.isfinite(float(cell)) for row in measured[1::2] for cell in row[3:])
    assert len(measured[1]) == 8


def test_pipelines_compare_what_is_handed_in_with_what_else_there_is(deployed, build, monkeypatch, capsys):
    run(monkeypatch, "pipelines.py", deployed.path, "--seconds", "0.1", "--phones", "2")
    first, second = capsys.readouterr().out.split("\n\n")
    ways, parts = rows(first), rows(second)
    assert [row[1] for row in ways[:2]] == ["classify (C++)", "predict.py"]
    assert [row[0] for row in ways] == ["validation files"] * 6 + ["3000 x 4000"] * 6
    assert all(float(cell) > 0 for row in ways for cell in row[2:])
    assert ways[0][-1] == ways[6][-1] == "1.0"
    assert len(parts) == 2
    assert all(float(cell) >= 0 for row in parts for cell in row[1:])


def test_start_measures_the_first_answer(deployed, build, monkeypatch, capsys):
    run(monkeypatch, "start.py", deployed.path, "--rounds", "2")
    found = {tuple(row[:2]): row[2:] for row in rows(capsys.readouterr().out)[1:]}
    assert set(found) == {(name, how) for name in ("FP32", "INT8") for how in ("compiled anew", "from the cache")}
    assert all(float(cell) > 0 for cells in found.values() for cell in cells)
