"""What is kept of each picture is little, whatever is done with all of them: a million fit into memory many times."""

import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest

import data.dataset as dataset_module
from data import index
from data.dataset import ImageDataset, shared_contents
from data.folds import assign_folds
from data.targets import held_out_folds, merge_oof, read_oof, write_oof
from predict import find_pictures
from reports.suspects import near_duplicates

COUNT, CLASSES, FOLDS = 10_000, 10, 4
LIMIT = 300  # bytes a picture


@pytest.fixture(scope="module")
def many():
    """An `ImageDataset` without files."""
    numbers = np.arange(COUNT)
    labels = [f"class_{i * CLASSES // COUNT}" for i in numbers]
    table = pd.DataFrame({
        "path": [f"{label}/{i:07}.jpg" for label, i in zip(labels, numbers, strict=True)], "label": labels,
        "width": 32, "height": 32, "bytes": 1000 + numbers, **dict.fromkeys(index.STATE[1:], 10 ** 18 + numbers),
        "sha256": [f"{i:064x}" for i in numbers], "only_python": "",
    })  # fmt: skip
    images = np.broadcast_to(np.uint8(0), (COUNT, 8, 8, 3))
    return ImageDataset(None, tuple(sorted(set(labels))), table, "fingerprint", images, "pixels")


@pytest.fixture(scope="module")
def folds():
    return np.arange(COUNT) % FOLDS


@pytest.fixture(scope="module")
def parts(many, folds, tmp_path_factory):
    """The OOF table of each fold."""
    paths = [tmp_path_factory.mktemp("oof") / f"{fold}.csv" for fold in range(FOLDS)]
    for fold, path in enumerate(paths):
        rows = np.flatnonzero(folds == fold)
        write_oof(path, many, folds, np.full((len(rows), CLASSES), 0.1, np.float32), rows=rows)
    return paths


def bytes_a_picture(work, count=COUNT):
    """The peak of what Python and NumPy take for `work()`, libraries loaded, by the number of pictures."""
    work()
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / count


def test_a_listing_keeps_little_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "ROWS", 200)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for i in range(2000):
            (tmp_path / label / f"{i:07}.jpg").touch()
            (tmp_path / label / f"{i:07}.json").touch()
    assert bytes_a_picture(lambda: index.list_images(tmp_path), 4000) < LIMIT
    assert bytes_a_picture(lambda: find_pictures([str(tmp_path)]), 4000) < LIMIT


def test_unchanged_pictures_are_recognised_in_little_memory(many):
    again = many.table.copy()
    assert bytes_a_picture(lambda: index.changes_between(many.table, again)) < LIMIT


def test_contents_are_compared_in_little_memory(many):
    few = ImageDataset(None, many.classes, many.table.iloc[:100], "few", many.images[:100], "pixels")
    assert bytes_a_picture(lambda: shared_contents(many, few)) < 100  # of those that are not in both nothing at all
    assert bytes_a_picture(lambda: near_duplicates([many, few], "stretch", limit=10)) < LIMIT


def test_pictures_that_are_there_once_cost_no_time_each(many):
    listed = index.PictureList(None, many.classes, many.table, None)
    start = time.process_time()
    dataset_module._check_duplicates(listed, many.table, None)
    assert time.process_time() - start < 5e-6 * COUNT


def test_folds_are_drawn_in_little_memory(many):
    assert bytes_a_picture(lambda: assign_folds(many.table, 5, seed=0)) < LIMIT


def test_oof_tables_are_read_in_little_memory(many, folds, parts, tmp_path):
    merge_oof(parts, tmp_path / "oof.csv", many)
    assert bytes_a_picture(lambda: read_oof(tmp_path / "oof.csv", many)) < LIMIT
    assert bytes_a_picture(lambda: held_out_folds(parts, many)) < LIMIT
    assert (held_out_folds(parts, many) == folds).all()
