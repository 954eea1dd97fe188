"""What is kept of each picture is little, whatever is done with all of them: a million fit into memory many times."""

import itertools
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import data.dataset as dataset_module
from data import index, tables
from data.contents import numbered
from data.dataset import ImageDataset, shared_contents
from data.folds import assign_folds
from data.picture_table import list_table
from data.targets import held_out_folds, merge_oof, read_oof, write_oof
from predict import find_pictures
from reports.suspects import near_duplicates

COUNT, CLASSES, FOLDS = 50_000, 10, 4
LIMIT = 330  # bytes a picture: 500, less what the table of an opened data set takes


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
    """The peak of what Python and NumPy take for `work()` and that of Arrow, libraries loaded, by the number of pictures.

    The least of three: on a busy machine Arrow's threads may hold some more parts of a file at a time.
    """
    work()
    return min(_peak(work) for _ in range(3)) / count


def _peak(work):
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


def calls_of(work):
    """How many functions `work()` calls, of Python and of its libraries in C."""
    count = itertools.count()
    sys.setprofile(lambda frame, event, argument: event in ("call", "c_call") and next(count))
    try:
        work()
    finally:
        sys.setprofile(None)
    return next(count)


def test_a_listing_keeps_little_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "ROWS", 200)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for i in range(2000):
            (tmp_path / label / f"{i:07}.jpg").touch()
            (tmp_path / label / f"{i:07}.json").touch()
    interned, intern = [], sys.intern
    for work in (lambda: index.list_images(tmp_path), lambda: find_pictures([str(tmp_path)])):
        assert bytes_a_picture(work, 4000) < LIMIT
        with monkeypatch.context() as patch:
            patch.setattr(sys, "intern", lambda text: interned.append(text) or intern(text))
            work()
    assert len(interned) < 400  # of 8000 files; each may let the interpreter's own table of names grow to twice its megabytes


def test_unchanged_pictures_are_recognised_in_little_memory(many):
    again, other = many.table.copy(), many.table.assign(bytes=many.table["bytes"].where(many.table.index > 0, 7))
    assert bytes_a_picture(lambda: index.changes_between(many.table, again)) < 10
    assert bytes_a_picture(lambda: index.changes_between(many.table, other)) < LIMIT
    assert index.changes_between(many.table, other)["changed"] == [many.table["path"][0]]


def test_contents_are_compared_in_little_memory(many):
    few = ImageDataset(None, many.classes, many.table.iloc[:100], "few", many.images[:100], "pixels")
    assert bytes_a_picture(lambda: shared_contents(many, few)) < 100  # of those that are not in both nothing at all
    assert bytes_a_picture(lambda: near_duplicates([many, few], "stretch", limit=10)) < LIMIT


def test_pictures_that_are_there_once_are_not_grouped(many):
    listed = index.PictureList(None, many.classes, many.table, None)
    calls = calls_of(lambda: dataset_module._check_duplicates(listed, many.table, None))
    assert calls < 2 * COUNT  # grouping all of them takes fifty each


def test_a_table_is_listed_in_little_memory(many, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROWS", 200)
    folder, count = tmp_path / "pictures", 4000
    table = many.table.sample(count, random_state=0)[["path", "label"]].assign(split=["train", "val"] * (count // 2))
    for path in table["path"]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    table.to_csv(tmp_path / "labels.csv", index=False)
    assert bytes_a_picture(lambda: list_table(tmp_path / "labels.csv", folder), count) < 500


def test_copies_have_the_number_of_the_first():
    texts = pd.Series([f"{i:03}" for i in np.random.default_rng(0).integers(0, 900, 1000)], dtype="str")
    numbers, first = numbered(texts)
    assert 0 < (~first).sum() < 900
    np.testing.assert_array_equal(numbers, pd.factorize(texts)[0])
    np.testing.assert_array_equal(first, ~texts.duplicated())


def test_folds_are_drawn_in_little_memory(many):
    assert bytes_a_picture(lambda: assign_folds(many.table, 5, seed=0)) < LIMIT


def test_oof_tables_are_read_in_little_memory(many, folds, parts, tmp_path):
    merge_oof(parts, tmp_path / "oof.csv", many)
    assert bytes_a_picture(lambda: read_oof(tmp_path / "oof.csv", many)) < LIMIT
    assert bytes_a_picture(lambda: held_out_folds(parts, many)) < LIMIT
    assert (held_out_folds(parts, many) == folds).all()
