"""Training that is killed, given out in parts or split over processes ends as one that is not."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import REPO

from utils.checkpoints import load_checkpoint


def assert_same_weights(a, b):
    a, b = (load_checkpoint(path)["model"] for path in (a, b))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_killed_student_goes_on_and_ends_with_the_same_weights(trained, workplace, script_environment, call):
    options = ["--cfg-options", "name=killed", f"student.oof={trained / 'oof.csv'}"]
    again = workplace / "runs" / "killed" / "student"
    for last in ("last.pth", "final_last.pth"):  # once in each stage
        process = subprocess.Popen(
            [sys.executable, str(REPO / "m11.py"), "config.py", *options],
            env=script_environment, cwd=workplace, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.time() + 120
        while not (again / last).is_file():
            assert time.time() < deadline, f"{last} did not appear"
            assert process.poll() is None or (again / last).is_file()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    call("m11.py", "config.py", *options)
    for name in ("best.pth", "last.pth", "averaged.pth"):
        assert_same_weights(trained / "student" / name, again / name)


def test_folds_given_out_one_by_one_make_the_same_table(trained, workplace, call):
    options = ["--cfg-options", "name=parts"]
    call("e4.py", "config.py", "--fold", 2, *options)
    refused = call("e4.py", "config.py", "--merge", *options, check=False)
    assert refused.returncode != 0
    assert "fold is not trained yet (2 of 3 are missing)" in refused.stderr
    for fold in (0, 1):
        call("e4.py", "config.py", "--fold", fold, *options)
    call("e4.py", "config.py", "--merge", *options)
    assert (workplace / "runs" / "parts" / "oof.csv").read_bytes() == (trained / "oof.csv").read_bytes()


def test_two_processes_train_and_agree(trained, workplace, call):
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29517"]
    options = ["--cfg-options", "name=two", f"student.oof={trained / 'oof.csv'}"]
    done = call("m11.py", "config.py", *options, launcher=launcher)
    folder = workplace / "runs" / "two" / "student"
    metrics = pd.read_csv(folder / "metrics.csv")
    assert list(metrics["epoch"]) == [1, 2, 3], done.stdout
    assert np.isfinite(metrics["loss"]).all()
    assert (folder / "averaged.pth").is_file()
    # One process must find in the checkpoint exactly what two of them measured together.
    results = json.loads((workplace / "runs" / "two" / "results.json").read_text())["student"]
    assert results["best_accuracy"] == pytest.approx(metrics["accuracy"].max())
