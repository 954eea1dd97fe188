"""What judges trials: the answers of exported networks, and their speed from file to class."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from recipe import speed
from recipe.ablation import FP32, INT8
from recipe.judging import judge, measure, right_answers, untrained_fps
from recipe.pictures import held_out_files
from recipe.predictor import open_predictor
from recipe.speed import file_to_class
from utils.config import load_resolved
from utils.run_folder import RunFolder
from utils.session import Session


class FinishedRun:
    """In place of a workplace: one run that was exported with INT8 is every trial."""

    def __init__(self, folder):
        self.folder, self.run = folder.path, Session(load_resolved(folder.config("student")), folder, torch.device("cpu"))

    def place(self, trial):
        return self.run.folder

    def session(self, trial):
        return self.run

    def config(self, trial):
        return self.run.config

    def networks(self, trial, int8=False):
        kinds = {FP32: self.run.folder.exported.network, INT8: self.run.folder.exported.network_int8}
        return kinds if int8 and trial.seed != 9 else {FP32: kinds[FP32]}  # INT8 of seed 9 was refused

    def row(self, trial, budget):
        return {"axis 1": trial.choices[0].name, "seed": trial.seed, "accuracy": 0.0, "minutes": 1.0}


def trial(seed=1, name="a"):
    return SimpleNamespace(choices=(SimpleNamespace(name=name),), seed=seed)


@pytest.fixture
def finished(deployed, tmp_path):
    return FinishedRun(RunFolder(shutil.copytree(deployed.path, tmp_path / "run")))


@pytest.mark.parametrize("kind", [FP32, INT8])
def test_answers_are_those_of_the_network_and_kept(finished, kind):
    right = right_answers(finished, trial(), kind)
    files, labels = held_out_files(finished.run)
    predictor = open_predictor(finished.networks(trial(), int8=True)[kind])
    expected = [predictor.class_of(predictor(predictor.read(file))) == label for file, label in zip(files, labels, strict=True)]
    assert right.tolist() == expected
    assert 0 < right.mean() <= 1
    finished.run.folder.exported.network.unlink()
    finished.run.folder.exported.network_int8.unlink()
    pd.testing.assert_series_equal(right_answers(finished, trial(), kind), right)


def test_accuracies_are_of_those_answers_and_int8_is_left_out_where_a_seed_has_none(finished):
    trials = [trial(1, "a"), trial(2, "a"), trial(1, "b"), trial(9, "b")]
    rows, right = judge(finished, trials, None, [FP32, INT8])
    assert set(right) == {("a", FP32), ("a", INT8), ("b", FP32)}
    for _, row in rows.iterrows():
        assert row["accuracy"] == right[row["axis 1"], row["network"]].loc[row["seed"]].mean()
    assert set(judge(finished, trials, None, [FP32])[1]) == {("a", FP32), ("b", FP32)}


def test_networks_are_timed_from_file_to_class_one_of_each_setting(finished, monkeypatch):
    monkeypatch.setattr(speed, "busy_share", lambda: 0.5)
    table = measure(finished, [trial(1), trial(2)], [FP32, INT8])
    assert list(table.index) == [("a", FP32), ("a", INT8)]
    assert (table["ms"] > 0).all()
    assert table["mib"]["a", INT8] < table["mib"]["a", FP32]
    assert (table["others_busy"] == 0.5).all()
    assert untrained_fps(finished, trial()) > 1


def test_of_a_settings_networks_the_one_of_median_size_is_timed(finished, monkeypatch):
    """Where the first seed's INT8 network kept many layers in FP32, and another's some."""
    whole = finished.networks(trial(), int8=True)
    of_seed = {1: whole[FP32], 2: whole[INT8], 3: whole[INT8]}
    monkeypatch.setattr(finished, "networks", lambda asked, int8: {INT8: of_seed[asked.seed]})
    [[_, row]] = measure(finished, [trial(1), trial(2), trial(3)], [FP32, INT8]).iterrows()
    assert row["mib"] == pytest.approx(sum(path.stat().st_size for path in (whole[INT8], whole[INT8].with_suffix(".bin"))) / 2**20)


class Sleepless:
    """A predictor that notes what it is asked."""

    def __init__(self, name, asked):
        self.name, self.asked = name, asked

    def read(self, path):
        return path

    def logits(self, path):
        self.asked.append((self.name, path))


def test_networks_take_turns_on_the_same_pictures(monkeypatch):
    asked, files = [], list(range(50))
    times = file_to_class({name: Sleepless(name, asked) for name in "ab"}, files)
    assert [len(taken) for taken in times.values()] == [50, 50]
    names = [name for name, _ in asked]
    turns = 1 + np.count_nonzero(np.array(names[1:]) != np.array(names[:-1]))
    assert turns == 2 * 4  # one to warm up, then 20, 20 and 10 pictures
    assert [path for name, path in asked if name == "a"] == [path for name, path in asked if name == "b"]


def test_slow_networks_see_fewer_pictures_but_a_turn_at_least(monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 0)
    times = file_to_class({"a": Sleepless("a", [])}, list(range(50)))
    assert len(times["a"]) == speed.TURN


def test_others_are_seen_where_processes_are_bound_to_no_cores(monkeypatch):
    """As on macOS."""
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    assert 0 <= speed.busy_share(0.1) <= 1


def test_a_busy_machine_is_said(monkeypatch, said):
    shares = iter([0.0, 0.4, 0.0, 0.0])
    monkeypatch.setattr(speed, "busy_share", lambda: next(shares))
    assert speed.quietly(lambda: 7) == (7, 0.4)
    assert "other work keeps 40% of the cores busy" in said.text
    said.clear()
    assert speed.quietly(lambda: 7) == (7, 0.0)
    assert not said.text
