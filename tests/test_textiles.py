"""Drawn textiles: reproducible, with known wrong labels, and impossible to tell by colour."""

import numpy as np
import pandas as pd
import pytest
from processes import in_parallel
from sklearn.linear_model import LogisticRegression

from common.errors import UserError
from data.textiles import CLASSES, draw_fabric, write_textiles


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.jpg")}


def test_same_seed_same_files_and_another_seed_others(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_textiles(tmp_path / name, num_train=21, num_val=7, size=32, seed=seed)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert len(a) == 28
    assert set(a.values()).isdisjoint(c.values())


def test_share_of_wrong_labels_is_as_said_and_validation_is_clean(tmp_path):
    write_textiles(tmp_path / "t", num_train=200, num_val=35, size=24, wrong_labels=0.1)
    truth = pd.read_csv(tmp_path / "t" / "truth.csv")
    assert sorted(truth["path"]) == sorted(contents(tmp_path / "t"))
    assert (truth["path"].str.split("/").str[1] == truth["label"]).all()
    wrong = truth["label"] != truth["true_label"]
    is_train = truth["path"].str.startswith("train/")
    assert wrong[is_train].sum() == 20
    assert not wrong[~is_train].any()
    counts = truth[is_train]["true_label"].value_counts()
    assert 3 <= counts.max() / counts.min() <= 5
    assert truth[~is_train]["true_label"].value_counts().nunique() == 1


def test_a_colour_histogram_does_not_tell_the_fabrics_apart():
    def sample(seed, per_class):
        labels = np.repeat(np.arange(7), per_class)
        images = [draw_fabric(CLASSES[k], np.random.default_rng([seed, i]), 48) for i, k in enumerate(labels)]
        bins = [np.histogramdd(image.reshape(-1, 3), bins=6, range=[(0, 256)] * 3)[0].ravel() for image in images]
        return np.sqrt(np.stack(bins) / 48**2), labels

    x, y = sample(0, 40)
    test_x, test_y = sample(1, 40)
    assert max(LogisticRegression(C=c, max_iter=1000).fit(x, y).score(test_x, test_y) for c in (1, 30)) < 0.45


def test_complete_pictures_are_kept_and_ones_drawn_otherwise_are_refused(tmp_path):
    write_textiles(tmp_path / "t", num_train=14, num_val=7, size=24)
    stamp = (tmp_path / "t" / "truth.csv").stat().st_mtime_ns
    write_textiles(tmp_path / "t", num_train=14, num_val=7, size=24)
    assert (tmp_path / "t" / "truth.csv").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match=r"drawn otherwise \(.*num_train=14, .*Name another folder"):
        write_textiles(tmp_path / "t", num_train=21, num_val=7, size=24)
    assert (tmp_path / "t" / "truth.csv").stat().st_mtime_ns == stamp


def test_several_processes_that_draw_the_same_at_once_all_find_it_whole(tmp_path):
    def draw(_):
        write_textiles(tmp_path / "t", num_train=28, num_val=7, size=24)
        assert len(contents(tmp_path / "t")) == 35

    assert in_parallel(draw, range(6)) == [0] * 6
    assert {path.name for path in tmp_path.iterdir()} == {"t", ".t.lock"}


def test_pictures_on_a_disk_that_is_read_only_are_used_as_they_are(tmp_path):
    write_textiles(tmp_path / "t", num_train=14, num_val=7, size=24)
    (tmp_path / ".t.lock").unlink()
    write_textiles(tmp_path / "t", num_train=14, num_val=7, size=24)
    assert {path.name for path in tmp_path.iterdir()} == {"t"}


def test_folder_with_other_things_in_it_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UserError, match="holds something else"):
        write_textiles(tmp_path, num_train=7, num_val=7)
    assert (tmp_path / "mine.txt").read_text() == "keep me"
